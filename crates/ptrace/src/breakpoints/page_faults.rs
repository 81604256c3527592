//! A thread that touched a watched page: one instruction with the pages open, and what it hit.

use outpost_base::{AddressSpaceId, ThreadId, Va};
use outpost_target::BreakpointId;

use super::Passed;
use super::pages::Watch;
use super::watching::wait_for;
use crate::regions::read_regions;
use crate::sys::ptrace::{self, Go, RawSigInfo};
use crate::sys::ptrace_registers as registers;
use crate::sys::ptrace_wait::Decoded;
use crate::tracer::{State, Tracer, trap_code};

/// `si_code` of SIGSEGV: the protection of the page forbids it.
const SEGV_ACCERR: i32 = 2;
/// Longest access of one instruction that can begin before a range: xsave areas are longer, and change something.
const LONGEST_ACCESS: u64 = 64;

impl Tracer {
    /// A thread got SIGSEGV; `true`: by a page that is watched, and that is dealt with.
    pub(crate) fn page_fault(&mut self, tid: ThreadId, info: &RawSigInfo) -> bool {
        if info.code() != SEGV_ACCERR {
            return false;
        }
        let at = Va(info.address());
        let Some(space_id) = self.space_id_of(tid) else { return false };
        let Some(space) = self.spaces.get(&space_id) else { return false };
        if !space.pages.covers(at) {
            let is_stale = space.pages.were_at(at) && self.is_stale_fault(tid, at);
            if is_stale {
                self.keep_after_fault(tid, libc::SIGSEGV);
                self.settle(tid);
            }
            return is_stale;
        }
        match space.pages.stepper {
            // With the pages open it faults again: it is the program's own.
            Some(stepper) if stepper == tid => return false,
            // Another one's turn; it faults again when its own has come.
            Some(_) => self.settle(tid),
            None => self.step_with_open_pages(tid, space_id, at),
        }
        true
    }

    /// Whether a fault at `at` was raised while the page had our protection, and would not be now.
    pub(crate) fn is_stale_fault(&self, tid: ThreadId, at: Va) -> bool {
        let Some(space) = self.space_of(tid).filter(|space| space.pages.were_at(at)) else { return false };
        let regions = read_regions(space.memory.process(), &[]).unwrap_or_default();
        regions.iter().any(|region| region.range.contains(at) && region.read && region.write)
    }

    fn step_with_open_pages(&mut self, tid: ThreadId, space_id: AddressSpaceId, at: Va) {
        self.keep_after_fault(tid, libc::SIGSEGV);
        let paused = self.pause(&|tracer, thread| tracer.space_id_of(thread.id) == Some(space_id), Some(tid));
        if let Some(space) = self.spaces.get_mut(&space_id) {
            space.pages.stepper = Some(tid);
            space.pages.faults += 1;
        }
        self.sync_pages(space_id, Some(tid));
        let probes = self.set_probes(tid, at);
        let passed = self.execute_one(tid);
        let mut hit = Vec::new();
        if passed == Passed::Done {
            hit = self.probed(tid, at, probes);
        }
        if let Some(space) = self.spaces.get_mut(&space_id) {
            hit.extend(space.pages.changed(&space.memory));
            space.pages.stepper = None;
        }
        hit.sort_unstable();
        hit.dedup();
        self.sync_pages(space_id, Some(tid));
        self.unpause(paused);
        if passed != Passed::Done {
            return;
        }
        let mut ids = self.judge_debug_registers(tid);
        ids.extend(self.count_hits(tid, hit));
        match ids.is_empty() {
            false => self.stop_at_breakpoints(tid, ids),
            true if self.is_stepping(tid) => self.stepped(tid),
            true => self.settle(tid),
        }
    }

    /// One instruction of a stopped thread, all others being held.
    fn execute_one(&mut self, tid: ThreadId) -> Passed {
        let Some(pc) = self.registers(tid).map(|registers| Va(registers.pc())) else { return Passed::Elsewhere };
        if self.space_of(tid).is_some_and(|space| space.sites.get(pc).is_some()) {
            return self.pass(tid);
        }
        self.tell_step(tid);
        let status = self.flush(tid).and_then(|()| ptrace::go(tid.0, Go::Step, 0)).and_then(|()| wait_for(tid));
        let Ok(status) = status else {
            self.lost(tid);
            return Passed::Elsewhere;
        };
        if let Some(thread) = self.threads.get_mut(&tid) {
            (thread.registers, thread.dirty, thread.state) = (None, false, State::Stopped);
        }
        let is_step = matches!(status.decode(), Decoded::Stopped { signal: libc::SIGTRAP, event: 0 })
            && ptrace::signal_info(tid.0)
                .is_ok_and(|info| trap_code::is_step(info.code()) || trap_code::is_debug_register(info.code()));
        if !is_step {
            self.on_status(tid, status);
            return Passed::Elsewhere;
        }
        if let Some(thread) = self.threads.get_mut(&tid) {
            (thread.in_delivery, thread.interrupted) = (false, false);
        }
        self.keep_after_fault(tid, libc::SIGTRAP);
        Passed::Done
    }

    /// Lends the thread's debug registers to the ranges of which the fault's address alone does not tell whether they
    /// are hit, for one step. Gives their breakpoints, in the registers' order.
    fn set_probes(&mut self, tid: ThreadId, at: Va) -> Vec<BreakpointId> {
        let Some(space) = self.space_of(tid) else { return Vec::new() };
        let reads_there = space.pages.watches().iter().any(|watch| watch.reads);
        let is_open = |watch: &&Watch| {
            let begins_behind = at < watch.range.start && watch.range.start - at < LONGEST_ACCESS;
            begins_behind || (watch.range.contains(at) && reads_there)
        };
        let probes: Vec<(BreakpointId, Va, bool)> = space
            .pages
            .watches()
            .iter()
            .filter(is_open)
            .take(4)
            .map(|watch| (watch.id, watch.range.start.max(at), watch.reads))
            .collect();
        let Some(process) = self.threads.get(&tid).map(|thread| thread.process) else { return Vec::new() };
        if probes.is_empty() {
            return Vec::new();
        }
        self.journal.debug_registers_set(process, tid);
        // Whoever had them gets them back at the thread's next start.
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.debug_version = u64::MAX;
        }
        let mut control = 0;
        let set = registers::set_debug(tid.0, 7, 0).and_then(|()| {
            for (index, (_, place, reads)) in probes.iter().enumerate() {
                registers::set_debug(tid.0, index, place.0)?;
                let access = if *reads { 0b11 } else { 0b01 };
                control |= 1 << (2 * index) | access << (16 + 4 * index);
            }
            registers::set_debug(tid.0, 6, 0)?;
            registers::set_debug(tid.0, 7, control)
        });
        match set {
            Ok(()) => probes.into_iter().map(|(id, ..)| id).collect(),
            Err(_) => Vec::new(),
        }
    }

    /// Takes the registers back; gives the breakpoints that the instruction hit.
    fn probed(&mut self, tid: ThreadId, at: Va, probes: Vec<BreakpointId>) -> Vec<BreakpointId> {
        let mut hit = Vec::new();
        if !probes.is_empty() {
            let status = registers::debug(tid.0, 6).unwrap_or(0);
            let fired = probes.iter().enumerate().filter(|(index, _)| status >> index & 1 == 1);
            hit.extend(fired.map(|(_, id)| *id));
            // Whatever is set again later, these must not be judged as the client's.
            let _ = registers::set_debug(tid.0, 6, 0);
            let _ = self.update_debug_registers(tid);
        }
        let Some(space) = self.space_of(tid) else { return hit };
        let told = space.pages.watches().iter().filter(|watch| !probes.contains(&watch.id));
        hit.extend(told.filter(|watch| watch.range.contains(at)).map(|watch| watch.id));
        hit
    }
}
