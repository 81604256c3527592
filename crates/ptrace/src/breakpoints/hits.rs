//! What a hit means: whose it is, whether it counts, whether it stops.

use outpost_base::{AddressSpaceId, Arch, MemoryReader, ProcessId, RegisterContext, ThreadId, Va, VaRange};
use outpost_target::{
    BreakpointChange, BreakpointId, BreakpointKind, BreakpointSpec, BreakpointState, HardwareAccess, JumpCode, PadCode,
    StopReason, TargetError, ThreadFilter,
};

use super::debug_registers::{Unfit, take_status};
use super::sites::{Owner, Retired, TRAP};
use crate::memory::ProcessMemory;
use crate::sys::ptrace_registers::GeneralRegisters;
use crate::tracer::{Arrival, Part, Space, Tracer};

/// Most originals of removed sites that are remembered for fork children made meanwhile.
const MAX_RETIRED: usize = 4096;

/// Memory of an address space as the program sees it.
pub(crate) struct Unbroken<'a>(pub(crate) &'a Space);

impl MemoryReader for Unbroken<'_> {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        let count = self.0.memory.read(at, buf);
        self.0.sites.hide(at, &mut buf[..count]);
        count
    }
}

/// What is to be done with a thread at a site.
pub(crate) enum Judgement {
    /// These breakpoints stop it.
    Stop(Vec<BreakpointId>),
    /// It has come where its step plan sent it.
    StepPlan,
    /// The dynamic loader is about to change, or has changed, its lists.
    Loader,
    /// It passes.
    Pass,
    /// The same, and a jump pad could have found that out.
    Quiet,
}

/// What a hit of one breakpoint comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hit {
    /// The thread goes on, since it does not count, passes, or was written down: a jump pad could have done that.
    Quiet,
    /// It counts, and the thread goes on.
    Passes,
    Stops,
}

impl Tracer {
    /// Judges a thread that stands at a site, having executed its trap or stepped onto it. Counts the hits.
    pub(crate) fn judge(&mut self, tid: ThreadId, at: Va) -> Judgement {
        let Some(thread) = self.threads.get(&tid) else { return Judgement::Pass };
        let Some(process) = self.processes.get(&thread.process) else { return Judgement::Pass };
        let (space_id, hidden) = (process.space, process.hidden);
        let Some(space) = self.spaces.get(&space_id) else { return Judgement::Pass };
        let Some(site) = space.sites.get(at) else { return Judgement::Pass };
        let owners = site.owners.clone();
        let registers = thread.registers.unwrap_or_default();
        let (mut ids, mut step_plan, mut loader, mut quiet) = (Vec::new(), false, false, false);
        let mut context = None;
        for owner in owners {
            match owner {
                Owner::Client(id) if !hidden => match self.hit(id, tid, space_id, &registers, &mut context) {
                    Hit::Quiet => quiet = true,
                    Hit::Passes => {}
                    Hit::Stops => ids.push(id),
                },
                Owner::Client(_) | Owner::Jump(_) => {}
                Owner::Stepping(stepper) => step_plan |= stepper == tid,
                Owner::Loader => loader = !hidden,
            }
        }
        // A breakpoint in the loader's function stops, and its hit is looked at again when the thread passes.
        match (ids.is_empty(), step_plan, loader) {
            (false, ..) => Judgement::Stop(ids),
            (true, true, _) => Judgement::StepPlan,
            (true, false, true) => Judgement::Loader,
            (true, false, false) if quiet => Judgement::Quiet,
            (true, false, false) => Judgement::Pass,
        }
    }

    /// A thread executed an `int3`. pc is behind it.
    pub(crate) fn trap_byte_hit(&mut self, tid: ThreadId) {
        let Some(registers) = self.registers(tid) else { return self.settle(tid) };
        let at = Va(registers.pc()) - 1;
        let Some(space) = self.space_of(tid) else { return self.settle(tid) };
        if space.sites.get(at).is_none() {
            let mut byte = [0];
            if space.memory.read(at, &mut byte) == 1 && byte[0] == TRAP {
                return self.foreign_trap(tid);
            }
            // It was ours when the thread executed it and was removed since: the original is executed instead.
            self.set_pc(tid, at);
            self.keep_after_fault(tid, libc::SIGTRAP);
            return self.settle(tid);
        }
        self.set_pc(tid, at);
        self.keep_after_fault(tid, libc::SIGTRAP);
        self.site_hit(tid, at);
    }

    /// A thread hit a site; its pc is there.
    pub(super) fn site_hit(&mut self, tid: ThreadId, at: Va) {
        let Some(registers) = self.registers(tid) else { return self.settle(tid) };
        let arrival = Arrival { pc: at, sp: Va(registers.sp()) };
        if let Some(thread) = self.threads.get_mut(&tid)
            && thread.arrival.replace(arrival) == Some(arrival)
        {
            // Judged before; a signal handler ran in between and came back, which a step plan may be waiting for.
            return self.step_plan_arrived(tid);
        }
        self.settle_pads(tid, at);
        match self.judge(tid, at) {
            Judgement::Stop(ids) => self.stop_at_breakpoints(tid, ids),
            Judgement::StepPlan => self.step_plan_arrived(tid),
            Judgement::Loader => self.loader_hit(tid),
            Judgement::Pass => self.settle(tid),
            Judgement::Quiet => {
                self.heat(tid, at);
                self.settle(tid);
            }
        }
    }

    /// A trap instruction of the program's own; the thread goes on behind it.
    pub(crate) fn foreign_trap(&mut self, tid: ThreadId) {
        self.report(tid, StopReason::ForeignTrap);
    }

    /// Debug registers fired.
    pub(crate) fn debug_registers_hit(&mut self, tid: ThreadId) {
        self.keep_after_fault(tid, libc::SIGTRAP);
        let ids = self.judge_debug_registers(tid);
        if ids.is_empty() {
            return self.settle(tid);
        }
        self.stop_at_breakpoints(tid, ids);
    }

    /// Which breakpoints in debug registers stop this thread now; counts the hits and clears the status.
    pub(crate) fn judge_debug_registers(&mut self, tid: ThreadId) -> Vec<BreakpointId> {
        let Some(process) = self.threads.get(&tid).and_then(|thread| self.processes.get(&thread.process)) else {
            return Vec::new();
        };
        let hit = process.debug.hit(take_status(tid));
        self.count_hits(tid, hit)
    }

    /// Which of the breakpoints that a stopped thread hit stop it; counts the hits.
    pub(super) fn count_hits(&mut self, tid: ThreadId, hit: Vec<BreakpointId>) -> Vec<BreakpointId> {
        let Some(registers) = self.registers(tid).filter(|_| !hit.is_empty() && !self.is_hidden(tid)) else {
            return Vec::new();
        };
        let Some(space) = self.space_id_of(tid) else { return Vec::new() };
        self.drain_logs(space);
        let mut context = None;
        hit.into_iter().filter(|id| self.hit(*id, tid, space, &registers, &mut context) == Hit::Stops).collect()
    }

    /// What a thread's hit of one breakpoint comes to; counts it, and writes it down.
    fn hit(
        &mut self,
        id: BreakpointId,
        tid: ThreadId,
        space: AddressSpaceId,
        registers: &GeneralRegisters,
        context: &mut Option<RegisterContext>,
    ) -> Hit {
        let (Some(space), Some(breakpoint)) = (self.spaces.get(&space), self.breakpoints.get_mut(id)) else {
            return Hit::Passes;
        };
        let counted = counts(&breakpoint.spec, tid, registers, space, context);
        if counted == Counts::No {
            return Hit::Quiet;
        }
        breakpoint.note_undecided(tid, counted == Counts::Undecided);
        breakpoint.hits += 1;
        if breakpoint.to_skip > 0 {
            breakpoint.to_skip -= 1;
            return Hit::Quiet;
        }
        if let Some(plan) = &breakpoint.spec.log {
            let context = context.get_or_insert_with(|| context_of(registers));
            self.logs.push(plan.record(id, context, &mut Unbroken(space)));
            return Hit::Quiet;
        }
        if breakpoint.spec.auto_continue { Hit::Passes } else { Hit::Stops }
    }

    /// Reports a stop; breakpoints that stop once are removed.
    pub(crate) fn stop_at_breakpoints(&mut self, tid: ThreadId, ids: Vec<BreakpointId>) {
        for id in &ids {
            if self.breakpoints.get(*id).is_some_and(|breakpoint| breakpoint.spec.one_shot) {
                self.disarm_breakpoint(*id);
            }
        }
        self.report(tid, StopReason::Breakpoint { ids });
    }

    /// Carries out one change of a batch.
    pub(crate) fn set_breakpoint(&mut self, spec: &BreakpointSpec) -> Result<BreakpointState, TargetError> {
        self.clear_breakpoint(spec.id);
        let Some(process) = self.process_in(spec.space) else {
            return Err(TargetError::Invalid { reason: "the breakpoint's address space is not in the session".into() });
        };
        match spec.kind {
            BreakpointKind::Software => {
                self.add_owner_with_pad(spec.space, spec.at, Owner::Client(spec.id), spec.pad.as_ref())?;
            }
            BreakpointKind::Hardware { access, len } => {
                self.protect(spec.space);
                let added = self.add_to_registers(spec, access, len);
                if let Err(Unfit::ForPages(because)) = added {
                    self.watch_pages(spec, access, len, because)?;
                } else if let Err(Unfit::ForAll(error)) = added {
                    return Err(error);
                } else if let Err(error) = self.refresh_debug_registers(process) {
                    for process in self.processes_in(spec.space) {
                        self.processes.get_mut(&process).map(|process| process.debug.remove(spec.id));
                    }
                    return Err(error);
                }
            }
        }
        self.breakpoints.insert(spec.clone());
        self.breakpoints
            .get(spec.id)
            .map(|breakpoint| self.state_of(breakpoint))
            .ok_or_else(|| TargetError::Invalid { reason: "the breakpoint was not kept".into() })
    }

    fn add_to_registers(&mut self, spec: &BreakpointSpec, access: HardwareAccess, len: u32) -> Result<(), Unfit> {
        for process in self.processes_in(spec.space) {
            if let Some(process) = self.processes.get_mut(&process) {
                process.debug.add(spec.id, spec.at, access, len)?;
            }
        }
        Ok(())
    }

    /// Counts and safety of all breakpoints.
    pub(crate) fn breakpoint_states(&self) -> Vec<BreakpointState> {
        self.breakpoints.iter().map(|breakpoint| self.state_of(breakpoint)).collect()
    }

    fn state_of(&self, breakpoint: &super::table::Breakpoint) -> BreakpointState {
        let spec = &breakpoint.spec;
        let by_pages = self.spaces.get(&spec.space).map(|space| space.pages.remark(spec.id)).unwrap_or_default();
        let (safety, reason) = match spec.kind {
            _ if !by_pages.is_empty() => Tracer::safety_of_pages(),
            BreakpointKind::Software => self.safety_of_site(spec.space, spec.at),
            BreakpointKind::Hardware { .. } => self.safety_of_registers(spec.space),
        };
        let condition = self.condition_place(spec.space, spec.at);
        let logs = spec.log.is_some();
        BreakpointState { id: spec.id, hits: breakpoint.hits, safety, reason, condition, by_pages, logs }
    }

    /// Forgets a breakpoint; unknown ones are no error.
    pub(crate) fn clear_breakpoint(&mut self, id: BreakpointId) {
        if self.breakpoints.get(id).is_none() {
            return;
        }
        self.disarm_breakpoint(id);
        self.breakpoints.remove(id);
        self.forget_queued_hits(id);
    }

    /// Carries out a batch.
    pub(crate) fn change_breakpoints(
        &mut self,
        changes: &[BreakpointChange],
    ) -> Vec<Result<BreakpointState, TargetError>> {
        let mut answers = Vec::new();
        for change in changes {
            match change {
                BreakpointChange::Set(spec) => answers.push(self.set_breakpoint(spec)),
                BreakpointChange::Clear(id) => self.clear_breakpoint(*id),
            }
        }
        answers
    }

    /// Takes a breakpoint out of memory or registers; its counts stay.
    fn disarm_breakpoint(&mut self, id: BreakpointId) {
        let Some(breakpoint) = self.breakpoints.get(id) else { return };
        let (space, at) = (breakpoint.spec.space, breakpoint.spec.at);
        match breakpoint.spec.kind {
            BreakpointKind::Software => self.remove_owner(space, at, Owner::Client(id)),
            BreakpointKind::Hardware { .. } => {
                self.unwatch_pages(space, Some(id));
                for process in self.processes_in(space) {
                    let removed = self.processes.get_mut(&process).is_some_and(|process| process.debug.remove(id));
                    if removed {
                        // Clearing registers does not fail on a living thread.
                        drop(self.refresh_debug_registers(process));
                    }
                }
            }
        }
    }

    /// Adds somebody who wants a site, planting it if it is new.
    pub(crate) fn add_owner(&mut self, space_id: AddressSpaceId, at: Va, owner: Owner) -> Result<(), TargetError> {
        self.add_owner_with_pad(space_id, at, owner, None)
    }

    /// The same with the client's pad for the displaced instruction.
    fn add_owner_with_pad(
        &mut self,
        space_id: AddressSpaceId,
        at: Va,
        owner: Owner,
        pad: Option<&PadCode>,
    ) -> Result<(), TargetError> {
        // A jump serves one breakpoint, and none within it.
        self.remove_jumps(space_id, VaRange::from_len(at, 1));
        let process = self.process_in(space_id).unwrap_or(ProcessId(space_id.0 as u32));
        let unmapped = TargetError::Unmapped { at };
        let space = self.spaces.get(&space_id).ok_or(unmapped.clone())?;
        let is_known = space.sites.get(at).is_some();
        // What somebody of ours planted without a pad is planted anew when the client brings one.
        let has_pad = space.protection.lifeline().is_some_and(|lifeline| lifeline.pad_of(at).is_some());
        if is_known && (has_pad || pad.is_none()) {
            if let Some(site) = self.spaces.get_mut(&space_id).and_then(|space| space.sites.get_mut(at))
                && !site.is_owned_by(owner)
            {
                site.owners.push(owner);
                site.misses = 0;
            }
            return Ok(());
        }
        if !self.journal.has_room() {
            return Err(TargetError::Invalid { reason: "the undo journal is full".into() });
        }
        let chosen = self.choose_trap(space_id, at, pad);
        let Some(space) = self.spaces.get_mut(&space_id) else { return Err(unmapped) };
        let mut owners = Vec::new();
        if let Some(site) = space.sites.remove(at) {
            space.restore(at, site.retire());
            owners = site.owners;
        }
        let mut site = space.sites.prepare(at, owner, &space.memory).ok_or(unmapped.clone())?;
        site.owners.extend(owners.into_iter().filter(|other| *other != owner));
        match chosen {
            Ok(trap) => site.trap = trap,
            Err(why) => site.unsafe_because = why,
        }
        self.journal.site_planned(space_id, process, at, &[site.original], &[site.trap]);
        if space.memory.write(at, &[site.trap]) != 1 {
            self.journal.site_removed(space_id, at);
            return Err(unmapped);
        }
        site.planted = true;
        space.retired.remove(&at);
        space.sites.insert(at, site);
        Ok(())
    }

    /// Removes somebody who wanted a site; the byte goes back with the last.
    pub(crate) fn remove_owner(&mut self, space_id: AddressSpaceId, at: Va, owner: Owner) {
        if self.spaces.get(&space_id).is_some_and(|space| space.sites.jump(at).is_some()) {
            self.remove_jumps(space_id, VaRange::from_len(at, 1));
        }
        let Some(space) = self.spaces.get_mut(&space_id) else { return };
        let Some(site) = space.sites.get_mut(at) else { return };
        site.owners.retain(|known| *known != owner);
        site.misses = 0;
        if !site.owners.is_empty() {
            return;
        }
        if let Some(site) = space.sites.remove(at) {
            space.restore(at, site.retire());
            if space.retired.len() < MAX_RETIRED {
                space.retired.insert(at, site.retire());
            }
        }
        self.journal.site_removed(space_id, at);
    }

    /// Makes every thread of a process take over its debug registers: stopped ones now, running ones are stopped for it.
    fn refresh_debug_registers(&mut self, process: ProcessId) -> Result<(), TargetError> {
        let paused = self.pause(&|_, thread| thread.process == process, None);
        let threads = self.thread_ids(process);
        let mut result = Ok(());
        for tid in threads {
            if let Err(errno) = self.update_debug_registers(tid) {
                result = Err(TargetError::Os {
                    operation: format!("set debug registers of thread {tid}"),
                    errno: errno.raw_os_error(),
                    reason: errno.to_string(),
                });
            }
        }
        self.unpause(paused);
        result
    }

    /// Removes every site and debug register of a process that is about to be let go, unless others live in its space.
    pub(crate) fn remove_all_breakpoints(&mut self, process: ProcessId) {
        let Some(space_id) = self.processes.get(&process).map(|process| process.space) else { return };
        // A child of vfork that nobody follows has no claim to what is planted in its parent's memory.
        let mut others = self.processes.values().filter(|other| other.id != process && !other.hidden);
        let shared = others.any(|other| other.space == space_id);
        if !shared {
            self.unwatch_pages(space_id, None);
            self.remove_jumps(space_id, VaRange { start: Va(0), end: Va(u64::MAX) });
        }
        if !shared && let Some(space) = self.spaces.get_mut(&space_id) {
            let sites: Vec<(Va, Retired)> = space.sites.iter().map(|(at, site)| (at, site.retire())).collect();
            for (at, site) in sites {
                space.sites.remove(at);
                space.restore(at, site);
                space.retired.insert(at, site);
                self.journal.site_removed(space_id, at);
            }
        }
        if !shared {
            for id in self.breakpoints.in_space(space_id) {
                self.breakpoints.remove(id);
            }
        }
        if let Some(known) = self.processes.get_mut(&process).filter(|known| known.debug.is_used()) {
            known.debug.clear();
            for tid in self.thread_ids(process) {
                let _ = self.update_debug_registers(tid);
            }
        }
    }

    /// A thread's plan is over or the thread is: nothing is planted for it any more.
    pub(crate) fn unplant_for(&mut self, tid: ThreadId, planted: &[Va]) {
        let Some(space) = self.space_id_of(tid) else { return };
        for at in planted {
            self.remove_owner(space, *at, Owner::Stepping(tid));
        }
    }

    /// Whether a thread follows a step plan.
    pub(crate) fn is_stepping(&self, tid: ThreadId) -> bool {
        self.threads.get(&tid).is_some_and(|thread| matches!(thread.part, Part::Step(_)))
    }
}

impl Space {
    /// Puts an original byte back, if the trap is still there: the mapping may be gone or another one by now.
    fn restore(&self, at: Va, site: Retired) {
        put_back(&self.memory, at, site);
    }

    /// Takes our traps out of a copy of this space that a fork made.
    pub(crate) fn clean_copy(&self, copy: &ProcessMemory) {
        for (at, covered) in self.sites.jumps() {
            let mut present = [0; JumpCode::WINDOW];
            if copy.read(at, &mut present) == present.len() && present == covered.jump {
                copy.write(at, &covered.original);
            }
        }
        let planted = self.sites.iter().map(|(at, site)| (at, site.retire()));
        let retired = self.retired.iter().map(|(at, site)| (*at, *site));
        for (at, site) in planted.chain(retired) {
            put_back(copy, at, site);
        }
    }
}

fn put_back(memory: &ProcessMemory, at: Va, site: Retired) {
    let mut byte = [0];
    if memory.read(at, &mut byte) == 1 && byte[0] == site.trap {
        memory.write(at, &[site.original]);
    }
}

/// Whether a hit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    No,
    Yes,
    /// The condition cannot be evaluated: it counts, so that its author learns of it.
    Undecided,
}

/// Whether a hit by this thread counts: filter and condition.
fn counts(
    spec: &BreakpointSpec,
    tid: ThreadId,
    registers: &GeneralRegisters,
    space: &Space,
    context: &mut Option<RegisterContext>,
) -> Counts {
    if let ThreadFilter::Only(only) = spec.threads
        && only != tid
    {
        return Counts::No;
    }
    let Some(condition) = &spec.condition else { return Counts::Yes };
    let context = context.get_or_insert_with(|| context_of(registers));
    match condition.evaluate(context, &mut Unbroken(space)) {
        Ok(0) => Counts::No,
        Ok(_) => Counts::Yes,
        Err(_) => Counts::Undecided,
    }
}

fn context_of(registers: &GeneralRegisters) -> RegisterContext {
    let general = registers.0.to_vec();
    RegisterContext { arch: Arch::X86_64, general, floating: Vec::new(), debug: Vec::new() }
}
