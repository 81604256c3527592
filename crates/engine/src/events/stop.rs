//! From a target's stop to what the user sees of it: lists brought up to date, filters applied, operations carried on.

use std::time::SystemTime;

use outpost_target::{BreakpointId, StopBundle, StopReason, TraceStep};

use super::signals::SIGSEGV;
use super::{BreakStatus, Chance, EngineEvent, LastEvent, Notice, Stop, TracedStep};
use crate::run::Advance;
use crate::{Engine, EngineError, SystemOrdinal};

impl Engine {
    /// Takes in a stop. Its consequences are queued as events, or the system is set going again where no user wants to
    /// see it.
    pub(crate) fn take_stop(&mut self, system: SystemOrdinal, mut bundle: StopBundle) -> Result<(), EngineError> {
        // What a stop shows is what is at hand; the next command waits for what servers have.
        self.symbols.patient.set(false);
        let previous_pc = self.last_event.as_ref().map(|event| event.pc);
        if matches!(bundle.stop.reason, StopReason::Execed { .. }) {
            self.forget_image(system, bundle.stop.process);
        }
        self.absorb_bundle(system, &mut bundle)?;
        self.interrupter.set_running(self.systems.iter().any(|system| system.running));
        self.count_hits(system, &bundle.hits);
        let record = bundle.stop.clone();
        if let StopReason::Exited { status } = record.reason
            && let Some(process) = self.process_by_id(system, record.process).map(|process| process.ordinal)
        {
            return self.take_exit(system, process, record, status, bundle.queued);
        }
        let Some(thread) = self.thread_ordinal(system, record.thread) else {
            // A stop of a thread that is in no list is damage, but it is a stop: say so rather than run on.
            let text = format!("thread {:x} stopped, but no list has it", record.thread.0);
            self.queue.push_back(EngineEvent::Noticed(Notice::Message { text }));
            return Ok(());
        };
        self.emit_trace(thread, std::mem::take(&mut bundle.trace));
        if let StopReason::Execed { executable, .. } = &record.reason {
            self.process_execed(thread, executable.clone())?;
        }
        if let StopReason::Forked { child, followed: true, .. } = &record.reason {
            let parent = self.process_of(thread)?.ordinal;
            self.process_forked(system, parent, *child)?;
        }
        let returned = match &record.reason {
            StopReason::CallEnded { returned } => self.call_ended(system, thread, returned.as_deref()),
            _ => None,
        };
        let mut stop = Stop {
            system,
            process: self.process_of(thread)?.ordinal,
            thread,
            process_id: record.process,
            thread_id: record.thread,
            reason: record.reason,
            chance: None,
            breakpoints: Vec::new(),
            at_temporary: false,
            ends_step: false,
            returned,
            pc: self.registers(thread, Default::default()).map(|registers| registers.pc()).unwrap_or_default(),
            time: SystemTime::now(),
            unstoppable: bundle.unstoppable,
            queued: bundle.queued,
            filter: None,
            commands: String::new(),
            goes_on: false,
        };
        if self.wants_stop(&mut stop, &bundle.undecided)? {
            self.show_stop(stop, previous_pc)?;
        }
        Ok(())
    }

    /// Whether the user sees this stop; if not, the system was set going again, or a notice was queued and it was.
    /// `undecided` are breakpoints that stop only since the target could not evaluate their conditions.
    fn wants_stop(&mut self, stop: &mut Stop, undecided: &[BreakpointId]) -> Result<bool, EngineError> {
        if let StopReason::Breakpoint { ids } = &stop.reason {
            let ids = ids.clone();
            let verdict = self.judge_hits(stop.thread, &ids, undecided)?;
            stop.breakpoints = verdict.hits;
            stop.at_temporary = verdict.at_temporary;
            if stop.breakpoints.is_empty() && !stop.at_temporary && verdict.event.is_none() {
                // None of ours wants it (condition false, internal, cleared meanwhile): the operation goes on.
                return match self.advance_operation(stop)? {
                    Advance::Stop => Ok(true),
                    Advance::Resumed => Ok(false),
                };
            }
            if verdict.event == Some(crate::modules::REGISTRATION) {
                self.read_registered_code(stop.process);
            }
            if let Some(code) = verdict.event.filter(|_| stop.breakpoints.is_empty() && !stop.at_temporary) {
                stop.filter = Some(code);
                return self.filtered(stop, code);
            }
            self.end_operation();
            return Ok(true);
        }
        if matches!(stop.reason, StopReason::Step { .. }) {
            return Ok(matches!(self.advance_operation(stop)?, Advance::Stop));
        }
        if self.code_may_be_done(stop) {
            self.resume_unseen(stop)?;
            return Ok(false);
        }
        // Executing a program is how a process is created here: what is followed begins like what is created.
        let begins = matches!(stop.reason, StopReason::Execed { .. }) && self.process(stop.process)?.is_copy;
        if begins {
            self.process_mut(stop.process)?.is_copy = false;
        }
        let overflowed = self.is_stack_overflow(stop);
        let filter = match begins {
            true => self.filters.by_code("ibp"),
            false => self.filters.of_reason(&stop.reason),
        };
        let Some(filter) = filter else {
            self.end_operation();
            return Ok(true);
        };
        let code = if overflowed { "sov" } else { filter.code };
        stop.filter = Some(code);
        self.filtered(stop, code)
    }

    /// What the filter `code` makes of a stop, as [`Engine::wants_stop`].
    fn filtered(&mut self, stop: &mut Stop, code: &'static str) -> Result<bool, EngineError> {
        let filter = match (&stop.reason, code) {
            // A signal may have a filter of its own.
            (StopReason::Signal(_), code) if code != "sov" => self.filters.of_reason(&stop.reason),
            (StopReason::ModulesChanged, _) => self.filter_of_modules(stop),
            _ => self.filters.by_code(code).filter(|filter| self.is_meant(filter, stop)),
        };
        let Some(filter) = filter else {
            self.resume_unseen(stop)?;
            return Ok(false);
        };
        let status = filter.status;
        stop.filter = Some(filter.code);
        let fatal = matches!(&stop.reason, StopReason::Signal(info) if info.fatal_by_default);
        let is_signal = matches!(stop.reason, StopReason::Signal(_));
        // A dump does not tell whether a handler was still to come.
        if is_signal && self.system(stop.system)?.is_live() {
            stop.chance = Some(match status {
                BreakStatus::SecondChance if fatal => Chance::Second,
                _ => Chance::First,
            });
        }
        let stops = match status {
            BreakStatus::Break => true,
            // What was thrown may be caught.
            BreakStatus::SecondChance => fatal || !(is_signal || matches!(stop.reason, StopReason::Breakpoint { .. })),
            BreakStatus::Notify | BreakStatus::Ignore => false,
        };
        let code = stop.filter.unwrap_or(code);
        stop.commands = self.commands_of(code, Some(stop));
        if stops {
            self.end_operation();
            return Ok(true);
        }
        if status == BreakStatus::Notify && !matches!(stop.reason, StopReason::ModulesChanged) {
            self.queue.push_back(EngineEvent::Noticed(Notice::Event {
                filter: code,
                process_id: stop.process_id,
                thread_id: stop.thread_id,
                reason: stop.reason.clone(),
            }));
        }
        if !stop.commands.is_empty() {
            stop.goes_on = true;
            return Ok(true);
        }
        self.resume_unseen(stop)?;
        Ok(false)
    }

    /// Whether a thread ran over the end of its stack: it touched what it may not, right where its stack pointer is.
    fn is_stack_overflow(&mut self, stop: &Stop) -> bool {
        /// A function with more locals than this touches them one page after the other (`-fstack-clash-protection`).
        const BELOW: u64 = 64 << 10;
        /// What was pushed last, or what a call does before it moves the stack pointer.
        const ABOVE: u64 = 4096;
        let StopReason::Signal(info) = &stop.reason else { return false };
        if info.signo != SIGSEGV || info.code <= 0 {
            return false;
        }
        let Ok(registers) = self.registers(stop.thread, Default::default()) else { return false };
        let sp = registers.sp().0;
        (sp.saturating_sub(BELOW)..sp.saturating_add(ABOVE)).contains(&info.address.0)
    }

    /// Commands of a filter for a stop.
    pub(crate) fn commands_of(&self, code: &str, stop: Option<&Stop>) -> String {
        let of_signal = stop.and_then(|stop| match stop.reason {
            StopReason::Signal(_) if code != "sov" => self.filters.of_reason(&stop.reason),
            _ => None,
        });
        let Some(filter) = of_signal.or_else(|| self.filters.by_code(code)) else { return String::new() };
        let second = stop.is_some_and(|stop| stop.chance == Some(Chance::Second));
        filter.commands[usize::from(second)].clone()
    }

    /// Whether a filter's argument fits what the stop is about: the program of a process that begins or ends.
    fn is_meant(&self, filter: &super::EventFilter, stop: &Stop) -> bool {
        if !matches!(filter.code, "cpr" | "epr") {
            return true;
        }
        let executable = self.process(stop.process).map(|process| process.info.executable.clone()).unwrap_or_default();
        let name = executable.rsplit('/').next().unwrap_or_default();
        filter.is_about(name) || filter.is_about(&executable)
    }

    /// The filter under which modules fall that came or went with this stop.
    fn filter_of_modules(&self, stop: &Stop) -> Option<&super::EventFilter> {
        let changes = self.queue.iter().filter_map(|event| match event {
            EngineEvent::Noticed(Notice::ModuleLoaded { process, name, path, .. }) => Some(("ld", process, name, path)),
            EngineEvent::Noticed(Notice::ModuleUnloaded { process, name, path }) => Some(("ud", process, name, path)),
            _ => None,
        });
        let fitting =
            changes.filter(|(_, process, ..)| **process == stop.process).filter_map(|(code, _, name, path)| {
                let filter = self.filters.by_code(code)?;
                let file = path.rsplit('/').next().unwrap_or_default();
                (filter.is_about(name) || filter.is_about(file)).then_some(filter)
            });
        let mut fitting: Vec<_> = fitting.collect();
        fitting.sort_by_key(|filter| !filter.needs_stop());
        fitting.into_iter().next()
    }

    /// Goes on after a stop that [`Stop::goes_on`] says is for its commands alone.
    ///
    /// # Errors
    /// As [`Engine::go`](crate::Engine::go).
    pub fn go_on(&mut self) -> Result<(), EngineError> {
        match self.passing.take() {
            Some(stop) => self.resume_unseen(&stop),
            None => Ok(()),
        }
    }

    /// Makes a stop the last event and queues it for the user.
    fn show_stop(&mut self, stop: Stop, previous_pc: Option<outpost_base::Va>) -> Result<(), EngineError> {
        self.event = Some(stop.thread);
        self.current = Some(stop.thread);
        self.reset_scope();
        let known = self.process(stop.process)?;
        if known.registered.is_known() || known.module_at(stop.pc).is_none() {
            self.read_registered_code(stop.process);
        }
        self.last_event = Some(LastEvent {
            process_id: stop.process_id,
            thread_id: stop.thread_id,
            thread: stop.thread,
            reason: stop.reason.clone(),
            chance: stop.chance,
            breakpoints: stop.breakpoints.iter().map(|hit| hit.number).collect(),
            time: stop.time,
            pc: stop.pc,
            previous_pc,
            filter: stop.filter,
        });
        self.passing = stop.goes_on.then(|| stop.clone());
        self.queue.push_back(EngineEvent::Stopped(stop));
        Ok(())
    }

    /// A process ended: it leaves the lists at once. The session stops for it if it was the last that runs, or if the
    /// filter wants that.
    fn take_exit(
        &mut self,
        system: SystemOrdinal,
        process: crate::ProcessOrdinal,
        record: outpost_target::StopRecord,
        status: outpost_target::ExitStatus,
        queued: u32,
    ) -> Result<(), EngineError> {
        let thread = self.thread_ordinal(system, record.thread);
        let thread = thread.or_else(|| self.process(process).ok()?.threads.first().map(|thread| thread.ordinal));
        let thread = thread.unwrap_or_default();
        let others_live = self.processes.iter().any(|known| known.system == system && known.ordinal != process);
        let stops = self.filters.by_code("epr").is_some_and(|filter| filter.status == BreakStatus::Break);
        let goes_on = others_live && !stops;
        // What is under way in another process goes on, with its temporary breakpoints.
        let is_gone = |thread| self.process_of(thread).is_ok_and(|known| known.ordinal == process);
        if !goes_on || self.operation.as_ref().is_some_and(|operation| operation.ends_with(is_gone)) {
            self.end_operation();
        }
        if self.system(system)?.created.iter().any(|(created, _)| *created == record.process) {
            // `.restart` works after the end, too, and finds the breakpoints as they were.
            self.breakpoints.keep_for_restart(process, system);
        }
        self.process_mut(process)?.ended = true;
        self.forget_process(process);
        let previous_pc = self.last_event.as_ref().map(|event| event.pc);
        let reason = StopReason::Exited { status };
        let stop = Stop {
            system,
            process,
            thread,
            process_id: record.process,
            thread_id: record.thread,
            reason: reason.clone(),
            chance: None,
            breakpoints: Vec::new(),
            at_temporary: false,
            ends_step: false,
            returned: None,
            pc: outpost_base::Va(0),
            time: SystemTime::now(),
            unstoppable: Vec::new(),
            queued,
            filter: Some("epr"),
            commands: self.commands_of("epr", None),
            goes_on: false,
        };
        if goes_on {
            let (process_id, thread_id) = (record.process, record.thread);
            self.queue.push_back(EngineEvent::Noticed(Notice::Event { filter: "epr", process_id, thread_id, reason }));
            return self.resume_unseen(&stop);
        }
        self.last_event = Some(LastEvent {
            process_id: record.process,
            thread_id: record.thread,
            thread,
            reason,
            chance: None,
            breakpoints: Vec::new(),
            time: stop.time,
            pc: stop.pc,
            previous_pc,
            filter: stop.filter,
        });
        self.queue.push_back(EngineEvent::Stopped(stop));
        Ok(())
    }

    /// The old image of a process is gone, before anything is said of the new one: its modules do not count as unloaded,
    /// nor those of the same name and place as being there still.
    fn forget_image(&mut self, system: SystemOrdinal, process: outpost_base::ProcessId) {
        let Some(process) = self.process_by_id(system, process).map(|process| process.ordinal) else { return };
        if let Ok(known) = self.process_mut(process) {
            known.modules = Default::default();
            known.registered = Default::default();
        }
        self.breakpoints.process_execed(process);
        if let Ok(known) = self.process(process) {
            self.forget_calls(known.system, known.id());
        }
    }

    /// The process has a new image.
    fn process_execed(&mut self, thread: crate::ThreadOrdinal, executable: String) -> Result<(), EngineError> {
        let (system, process, _) = self.locate(thread)?;
        let id = self.process(process)?.id();
        let (infos, modules) = {
            let target = self.system(system)?.target.clone();
            let mut target = target.borrow_mut();
            (target.processes()?, target.modules(id)?)
        };
        let target = self.system(system)?.target.clone();
        let known = self.process_mut(process)?;
        known.info.executable = executable;
        if let Some(info) = infos.into_iter().find(|info| info.id == id) {
            // A child made by vfork was in its parent's memory until now.
            if info.space != known.info.space {
                known.memory = crate::ProcessMemory::new(target, info.space);
            }
            known.info = info;
        }
        self.stop_sharing(process)?;
        self.take_modules(system, id, modules);
        Ok(())
    }

    /// The steps of a traced plan before the stop, as events.
    fn emit_trace(&mut self, thread: crate::ThreadOrdinal, mut steps: Vec<TraceStep>) {
        let Some(last) = steps.last() else { return };
        // The last one is the stop itself, unless something else stopped the thread on its way from there.
        if self.registers(thread, Default::default()).is_ok_and(|stop| stop.general == last.general) {
            steps.pop();
        }
        self.emit_steps(thread, steps);
    }

    /// All of `steps`, which a plan that goes on has reported.
    pub(super) fn emit_steps(&mut self, thread: crate::ThreadOrdinal, steps: Vec<TraceStep>) {
        let arch = self.arch();
        for step in steps {
            let mut registers = outpost_base::RegisterContext::new(arch);
            registers.general = step.general;
            self.queue.push_back(EngineEvent::Stepped(TracedStep { thread, registers, code: step.code }));
        }
    }

    /// The last event, if there was one.
    pub fn last_event(&self) -> Option<&LastEvent> {
        self.last_event.as_ref()
    }

    /// The event filters.
    pub fn filters(&self) -> &super::EventFilters {
        &self.filters
    }

    /// The event filters, to be changed; in effect from the next resumption on.
    pub fn filters_mut(&mut self) -> &mut super::EventFilters {
        &mut self.filters
    }
}
