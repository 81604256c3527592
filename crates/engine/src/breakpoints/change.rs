//! Setting, clearing, enabling; telling targets in one batch.

use outpost_base::Va;
use outpost_target::{
    BreakpointChange, BreakpointKind, BreakpointSpec, BreakpointState, HardwareAccess, JumpCode, KillSafety,
    MAX_WATCHED, TargetError, ThreadFilter,
};

use super::info::remaining;
use super::table::{Breakpoint, LocationState};
use super::{BreakpointAccess, BreakpointPlace, BreakpointRequest};
use crate::code::JumpPlan;
use crate::events::{EngineEvent, Notice};
use crate::{BreakpointNumber, Engine, EngineError, ProcessOrdinal, SystemOrdinal};

impl Engine {
    /// Sets a breakpoint in the current process. Targets are told at the next resumption, all of them by one message,
    /// or by [`Engine::flush_breakpoints`].
    ///
    /// An expression that cannot be evaluated yet makes a deferred breakpoint.
    ///
    /// # Errors
    /// [`EngineError::BreakpointExists`]; [`EngineError::Invalid`] for a bad size or alignment;
    /// [`EngineError::Unsupported`] if the target takes no breakpoints.
    pub fn set_breakpoint(&mut self, request: BreakpointRequest) -> Result<BreakpointNumber, EngineError> {
        if let Some(number) = request.number.filter(|&number| self.breakpoints.find(number).is_some()) {
            return Err(EngineError::BreakpointExists { number });
        }
        let (request, places) = self.prepare_breakpoint(request)?;
        self.add_breakpoint(request, &places, true)
    }

    /// Sets breakpoints of the current process anew, each as it is requested and under the number that the request names, or its
    /// own; they stay enabled or disabled, and count anew. All or, with an error, none.
    ///
    /// # Errors
    /// [`EngineError::NoBreakpoint`]; as [`Engine::set_breakpoint`].
    pub fn replace_breakpoints(
        &mut self,
        changes: Vec<(BreakpointNumber, BreakpointRequest)>,
    ) -> Result<(), EngineError> {
        let old: Vec<BreakpointNumber> = changes.iter().map(|(number, _)| *number).collect();
        self.need_breakpoints(&old)?;
        let mut taken = Vec::new();
        let mut prepared = Vec::new();
        for (number, mut request) in changes {
            let new = *request.number.get_or_insert(number);
            if taken.contains(&new) || (self.breakpoints.find(new).is_some() && !old.contains(&new)) {
                return Err(EngineError::BreakpointExists { number: new });
            }
            taken.push(new);
            let is_enabled = self.breakpoints.find(number).is_some_and(|known| known.enabled);
            prepared.push((self.prepare_breakpoint(request)?, is_enabled));
        }
        for number in old {
            self.remove_breakpoint(number);
        }
        for ((request, places), is_enabled) in prepared {
            self.add_breakpoint(request, &places, is_enabled)?;
        }
        Ok(())
    }

    /// Looks whether a breakpoint can be set as it is requested, and where.
    fn prepare_breakpoint(&mut self, request: BreakpointRequest) -> Result<(BreakpointRequest, Vec<Va>), EngineError> {
        let process = self.current_process()?;
        let target = self.target_of(process)?;
        if target.borrow_mut().as_breakpoints().is_none() {
            return Err(crate::acquire::cannot_run("setting breakpoints"));
        }
        self.need_debugged(process, "setting breakpoints")?;
        if let Some(thread) = request.thread {
            self.locate(thread)?;
        }
        let places = match self.places_of(&request.place, request.access) {
            Ok(places) => places,
            Err(EngineError::NoSymbol { .. } | EngineError::NoModule { .. } | EngineError::NoLine { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        check_access(request.access)?;
        let mut request = BreakpointRequest { passes: request.passes.max(1), ..request };
        if places.is_empty() {
            // What cannot be resolved becomes symbolic, silently, as the reference has it.
            request.symbolic = true;
        }
        Ok((request, places))
    }

    fn add_breakpoint(
        &mut self,
        request: BreakpointRequest,
        places: &[Va],
        enabled: bool,
    ) -> Result<BreakpointNumber, EngineError> {
        let process = self.current_process()?;
        let number = request.number.unwrap_or_else(|| self.breakpoints.free_number());
        self.breakpoints.breakpoints.push(Breakpoint { enabled, ..Breakpoint::new(number, process, request) });
        self.set_locations(number, places);
        Ok(number)
    }

    /// Removes breakpoints.
    ///
    /// # Errors
    /// [`EngineError::NoBreakpoint`] at the first that does not exist; the others are not touched then.
    #[doc(alias = "RemoveBreakpoint2")]
    pub fn clear_breakpoints(&mut self, numbers: &[BreakpointNumber]) -> Result<(), EngineError> {
        self.need_breakpoints(numbers)?;
        for &number in numbers {
            self.remove_breakpoint(number);
        }
        Ok(())
    }

    /// Enables or disables breakpoints.
    ///
    /// # Errors
    /// [`EngineError::NoBreakpoint`] at the first that does not exist; the others are not touched then.
    pub fn enable_breakpoints(&mut self, numbers: &[BreakpointNumber], enabled: bool) -> Result<(), EngineError> {
        self.need_breakpoints(numbers)?;
        for &number in numbers {
            let Some(known) = self.breakpoints.find_mut(number).filter(|known| known.enabled != enabled) else {
                continue;
            };
            known.enabled = enabled;
            let process = known.process;
            let mut orphans = Vec::new();
            for location in &mut known.locations {
                if !enabled && location.state == LocationState::Set {
                    orphans.push((process, location.shown.id));
                }
                location.state = LocationState::Changed;
            }
            self.breakpoints.orphans.extend(orphans);
        }
        Ok(())
    }

    /// Tells targets what changed, by one message each. What a target refuses becomes a notice, and shows in the
    /// breakpoint's location.
    ///
    /// # Errors
    /// [`EngineError::Target`] if a target is gone.
    pub fn flush_breakpoints(&mut self) -> Result<(), EngineError> {
        let systems: Vec<SystemOrdinal> = self.systems.iter().map(|system| system.ordinal).collect();
        systems.into_iter().try_for_each(|system| self.flush_system(system, false))
    }

    /// Tells a target what changed, and with `asks` asks it of all.
    fn flush_system(&mut self, system: SystemOrdinal, asks: bool) -> Result<(), EngineError> {
        let own = |process: ProcessOrdinal, engine: &Engine| {
            engine.process(process).is_ok_and(|process| process.system == system)
        };
        let mut changes = Vec::new();
        let orphans = std::mem::take(&mut self.breakpoints.orphans);
        for (process, id) in orphans {
            if own(process, self) {
                changes.push(BreakpointChange::Clear(id));
            } else {
                self.breakpoints.orphans.push((process, id));
            }
        }
        let mut places = Vec::new();
        let mut no_jumps = Vec::new();
        for known in self.breakpoints.breakpoints.iter().filter(|known| known.enabled && own(known.process, self)) {
            for location in known.locations.iter().filter(|location| location.state == LocationState::Changed) {
                let (spec, no_jump) = self.spec(known, location)?;
                changes.push(BreakpointChange::Set(spec));
                places.push(location.shown.id);
                no_jumps.push((location.shown.id, no_jump));
            }
        }
        for temporary in self.breakpoints.temporaries.iter().filter(|known| !known.is_set && own(known.process, self)) {
            let kind = match temporary.hardware {
                true => BreakpointKind::Hardware { access: HardwareAccess::Execute, len: 1 },
                false => BreakpointKind::Software,
            };
            changes.push(BreakpointChange::Set(BreakpointSpec {
                id: temporary.id,
                space: self.process(temporary.process)?.info.space,
                at: temporary.at,
                kind,
                threads: self.thread_filter(temporary.thread),
                condition: None,
                skip: 0,
                one_shot: false,
                auto_continue: false,
                log: None,
                pad: self.pad_for(temporary.process, temporary.at, kind),
                jump: None,
            }));
            places.push(temporary.id);
        }
        let is_known = self.system(system)?.states_known && !self.system(system)?.running;
        let asks = asks && (!is_known || !changes.is_empty()) && self.has_changing_states(system);
        if changes.is_empty() && !asks {
            return Ok(());
        }
        let target = self.system(system)?.target.clone();
        let (answers, states) = {
            let mut target = target.borrow_mut();
            let breakpoints =
                target.as_breakpoints().ok_or_else(|| crate::acquire::cannot_run("setting breakpoints"))?;
            match (changes.is_empty(), asks) {
                (true, _) => (Vec::new(), breakpoints.breakpoint_states()?),
                (false, true) => breakpoints.change_and_ask(&changes)?,
                (false, false) => (breakpoints.change_breakpoints(&changes)?, Vec::new()),
            }
        };
        self.system_mut(system)?.states_known = asks;
        self.note_logged(&places);
        for (id, why) in no_jumps {
            let known = self.breakpoints.breakpoints.iter_mut();
            let mut locations = known.flat_map(|known| &mut known.locations);
            if let Some(location) = locations.find(|location| location.shown.id == id) {
                location.no_jump = why;
            }
        }
        for (id, answer) in places.into_iter().zip(answers) {
            self.note_answer(id, answer);
        }
        self.note_states(system, &states);
        Ok(())
    }

    /// As [`Engine::flush_breakpoints`], and asks targets where they look at hits by now, if that may have changed since the
    /// last time: one round trip for each target, with what it is told.
    ///
    /// # Errors
    /// [`EngineError::Target`] if a target is gone.
    pub fn refresh_breakpoints(&mut self) -> Result<(), EngineError> {
        let systems: Vec<SystemOrdinal> = self.systems.iter().map(|system| system.ordinal).collect();
        systems.into_iter().try_for_each(|system| self.flush_system(system, true))
    }

    /// Whether a target may have more to say of a breakpoint than it did when that was set.
    fn has_changing_states(&self, system: SystemOrdinal) -> bool {
        let changes = |known: &Breakpoint| {
            known.has_quiet_hits() || known.locations.iter().any(|location| !location.shown.by_pages.is_empty())
        };
        let here = |known: &&Breakpoint| self.process(known.process).is_ok_and(|process| process.system == system);
        self.breakpoints.breakpoints.iter().filter(here).any(changes)
    }

    fn note_states(&mut self, system: SystemOrdinal, states: &[BreakpointState]) {
        let of_system = self.processes.iter().filter(|process| process.system == system);
        let here: Vec<ProcessOrdinal> = of_system.map(|process| process.ordinal).collect();
        let known = self.breakpoints.breakpoints.iter_mut().filter(|known| here.contains(&known.process));
        for location in known.flat_map(|known| &mut known.locations) {
            if let Some(state) = states.iter().find(|state| state.id == location.shown.id) {
                location.note_condition(state.condition.clone());
                location.shown.by_pages.clone_from(&state.by_pages);
            }
        }
    }

    /// Lets what decides about hits become machine code in the debuggee, or not; those that are set follow.
    pub fn allow_jump_pads(&mut self, allowed: bool) {
        if std::mem::replace(&mut self.breakpoints.jump_pads, allowed) == allowed {
            return;
        }
        for known in self.breakpoints.breakpoints.iter_mut().filter(|known| known.has_quiet_hits()) {
            let set = known.locations.iter_mut().filter(|location| location.state == LocationState::Set);
            set.for_each(|location| location.state = LocationState::Changed);
        }
    }

    /// Whether that may become machine code in the debuggee.
    pub fn jump_pads_allowed(&self) -> bool {
        self.breakpoints.jump_pads
    }

    /// Notes what a target made of a location.
    fn note_answer(
        &mut self,
        id: outpost_target::BreakpointId,
        answer: Result<outpost_target::BreakpointState, TargetError>,
    ) {
        if let Some(temporary) = self.breakpoints.temporaries.iter_mut().find(|temporary| temporary.id == id) {
            match answer {
                Ok(_) => temporary.is_set = true,
                Err(error) => {
                    let text = format!("temporary breakpoint at {} cannot be set: {error}", temporary.at);
                    temporary.refused = Some(text);
                }
            }
            return;
        }
        for known in &mut self.breakpoints.breakpoints {
            let Some(location) = known.locations.iter_mut().find(|location| location.shown.id == id) else { continue };
            match answer {
                Ok(state) => {
                    location.state = LocationState::Set;
                    location.shown.safety = Some(state.safety);
                    location.note_condition(state.condition);
                    location.shown.by_pages = state.by_pages;
                    location.shown.reason = if state.safety == KillSafety::Safe { String::new() } else { state.reason };
                }
                Err(error) => {
                    location.state = LocationState::Refused;
                    location.shown.safety = None;
                    location.shown.reason = error.to_string();
                    let message = format!("cannot be set at {}: {error}", location.shown.address);
                    let number = known.number;
                    self.queue.push_back(EngineEvent::Noticed(Notice::Breakpoint { number, message }));
                }
            }
            return;
        }
    }

    /// What the target is told of a location, and why it gets no code for the condition.
    fn spec(
        &self,
        known: &Breakpoint,
        location: &super::table::Location,
    ) -> Result<(BreakpointSpec, String), EngineError> {
        let at = location.shown.address;
        let kind = match known.request.access {
            BreakpointAccess::Code => BreakpointKind::Software,
            BreakpointAccess::Hardware { access, len } => BreakpointKind::Hardware { access, len },
        };
        let condition = location.condition.clone();
        let threads = self.thread_filter(known.request.thread);
        // Passes over several places, or after a condition that only the engine can evaluate, are counted here.
        let counted_there = known.locations.len() == 1 && !known.condition.is_here();
        let skip = if counted_there { remaining(known) - 1 } else { 0 };
        let plan = JumpPlan {
            one_thread: threads != ThreadFilter::All,
            condition: condition.as_ref(),
            passes: skip > 0,
            log: location.log.as_ref().map(|log| (location.shown.id, log)),
        };
        let (jump, no_jump) = match known.has_quiet_hits() && kind == BreakpointKind::Software {
            true => match self.jump_for(known.process, at, plan) {
                Ok(code) => (Some(Box::new(code)), String::new()),
                Err(why) => (None, why),
            },
            false => (None, String::new()),
        };
        let spec = BreakpointSpec {
            id: location.shown.id,
            space: self.process(known.process)?.info.space,
            at,
            kind,
            threads,
            condition,
            skip,
            one_shot: false,
            auto_continue: known.request.auto_continue && !known.condition.is_here(),
            log: location.log.clone(),
            pad: self.pad_for(known.process, at, kind),
            jump,
        };
        Ok((spec, no_jump))
    }

    fn thread_filter(&self, thread: Option<crate::ThreadOrdinal>) -> ThreadFilter {
        let id = thread.and_then(|thread| self.locate(thread).ok());
        id.map_or(ThreadFilter::All, |(_, _, id)| ThreadFilter::Only(id))
    }

    /// The displaced instruction for running out of line, where its code can be had and moved.
    fn pad_for(&self, process: ProcessOrdinal, at: Va, kind: BreakpointKind) -> Option<outpost_target::PadCode> {
        if kind != BreakpointKind::Software {
            return None;
        }
        let code = self.code_bytes(process, at, self.arch().max_instruction_len())?;
        crate::code::make_pad(self.arch(), at, &code).ok()
    }

    /// What decides about hits as code for a jump pad, or why the target looks at them.
    fn jump_for(&self, process: ProcessOrdinal, at: Va, plan: JumpPlan<'_>) -> Result<JumpCode, String> {
        if !self.breakpoints.jump_pads {
            return Err("jump pads are off".into());
        }
        let len = JumpCode::WINDOW + self.arch().max_instruction_len();
        let code = self.code_bytes(process, at, len).ok_or("its code cannot be read")?;
        crate::code::make_jump(self.arch(), at, &code, plan).map_err(|why| why.to_string())
    }

    pub(super) fn remove_breakpoint(&mut self, number: BreakpointNumber) {
        let Some(at) = self.breakpoints.breakpoints.iter().position(|known| known.number == number) else { return };
        let known = self.breakpoints.breakpoints.remove(at);
        // One that was changed since may be set as it was before.
        let set = known.locations.iter().filter(|location| location.state != LocationState::Refused);
        let ids: Vec<_> = set.map(|location| (known.process, location.shown.id)).collect();
        self.breakpoints.orphans.extend(ids);
    }

    fn need_breakpoints(&self, numbers: &[BreakpointNumber]) -> Result<(), EngineError> {
        match numbers.iter().find(|number| self.breakpoints.find(**number).is_none()) {
            Some(&number) => Err(EngineError::NoBreakpoint { number }),
            None => Ok(()),
        }
    }
}

/// What no target can watch; how it watches the rest is the target's business.
fn check_access(access: BreakpointAccess) -> Result<(), EngineError> {
    let BreakpointAccess::Hardware { access, len } = access else { return Ok(()) };
    let invalid = |reason: &str| Err(EngineError::Invalid { reason: reason.into() });
    match len {
        1 => Ok(()),
        _ if access == HardwareAccess::Execute => invalid("the size of an execution breakpoint is 1"),
        2..=MAX_WATCHED => Ok(()),
        _ => invalid("the size of a data breakpoint is 1 to 1048576"),
    }
}

impl BreakpointPlace {
    /// Whether it is an address and no expression.
    pub fn is_address(&self) -> bool {
        matches!(self, BreakpointPlace::Address(_))
    }
}
