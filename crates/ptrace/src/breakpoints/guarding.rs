//! System calls, signals and threads of a process with watched pages: the kernel finds them open where it may touch them.

use std::time::{Duration, Instant};

use outpost_base::{AddressSpaceId, MemoryReader, ThreadId, Va, VaRange};

use super::hits::Unbroken;
use super::kernel_access;
use super::watching::{CONTROL_BLOCK, SIGNAL_FRAME, stack_range, wait_for};
use crate::pages::PAGE;
use crate::regions::read_regions;
use crate::sys::ptrace::{self, Go};
use crate::sys::ptrace_registers::{self as registers, GeneralRegisters, word};
use crate::sys::ptrace_state::{SyscallStop, syscall_stop};
use crate::sys::ptrace_wait::{Decoded, Whom, wait_now};
use crate::tracer::{State, Thread, Tracer, state_letter};

/// Word of rax in `user_regs_struct`.
const RAX: usize = 10;
/// Others are held for so long while a thread makes a call with open pages, before it is looked whether it blocks.
const CALL: Duration = Duration::from_millis(2);
/// For so long at most, though it does not block.
const LONGEST: Duration = Duration::from_secs(1);

impl Tracer {
    /// How a thread is set going in an address space with watched pages: it stops at its system calls.
    pub(crate) fn guarded(&mut self, tid: ThreadId, how: Go) -> Go {
        let Some(space_id) = self.space_id_of(tid) else { return how };
        let is_used = self.spaces.get(&space_id).is_some_and(|space| space.pages.is_used());
        let thread = self.threads.get(&tid).filter(|_| is_used);
        if !is_used || thread.is_some_and(|thread| thread.is_exiting) {
            return how;
        }
        let has_signal = thread.is_some_and(|thread| thread.signal.is_some());
        if has_signal && let Some(sp) = self.registers(tid).map(|registers| registers.sp()) {
            let frame = VaRange { start: Va(sp.saturating_sub(SIGNAL_FRAME)), end: Va(sp) };
            if self.spaces.get(&space_id).is_some_and(|space| space.pages.overlaps(frame)) {
                self.give_up_pages(space_id, Some(tid), "a thread has its stack there");
            }
        } else if how == Go::Step && self.is_at_syscall(tid, 0) && syscall_stop(tid.0) != SyscallStop::Entry {
            // A step over a call does not stop at its entry.
            if let Some(space) = self.spaces.get_mut(&space_id) {
                space.pages.callers.insert(tid);
            }
            self.sync_pages(space_id, Some(tid));
        }
        if how == Go::Continue { Go::ToSyscall } else { how }
    }

    /// Whether a system call instruction is `back` bytes before the thread's pc.
    fn is_at_syscall(&mut self, tid: ThreadId, back: u64) -> bool {
        let Some(pc) = self.registers(tid).map(|registers| Va(registers.pc()) - back) else { return false };
        let Some(space) = self.space_of(tid) else { return false };
        let mut code = [0; 2];
        let count = Unbroken(space).read(pc, &mut code);
        count == 2 && matches!(code, [0x0f, 0x05] | [0xcd, 0x80])
    }

    /// A thread stopped at the entry or return of a system call; `true`: it is dealt with.
    pub(crate) fn guard_syscall(&mut self, tid: ThreadId, stop: SyscallStop) -> bool {
        let Some(space_id) = self.space_id_of(tid) else { return false };
        let Some(space) = self.spaces.get(&space_id).filter(|space| space.pages.is_used()) else { return false };
        match stop {
            SyscallStop::Entry => {
                let is_open = space.pages.callers.contains(&tid) && !space.pages.is_closed();
                let Some(registers) = self.registers(tid).filter(|_| !is_open) else { return false };
                let Some(space) = self.spaces.get(&space_id) else { return false };
                let number = registers.0[word::ORIG_RAX] as i64;
                if !kernel_access::may_touch(&registers, number, |range| space.pages.overlaps(range)) {
                    return false;
                }
                self.repeat_with_open_pages(tid, space_id, registers)
            }
            SyscallStop::Return => self.close_behind(tid),
            SyscallStop::None => false,
        }
    }

    /// Cancels the call that a thread is about to make, opens the pages, and has it make the call again.
    fn repeat_with_open_pages(&mut self, tid: ThreadId, space_id: AddressSpaceId, registers: GeneralRegisters) -> bool {
        if !self.is_at_syscall(tid, 2) {
            // Not made by the instruction before pc: another thread has to open the pages.
            self.note_caller(tid, space_id);
            self.sync_pages(space_id, None);
            return false;
        }
        let mut cancelled = registers;
        cancelled.0[RAX] = registers.0[word::ORIG_RAX];
        cancelled.0[word::ORIG_RAX] = u64::MAX;
        cancelled.set_pc(registers.pc() - 2);
        let status = registers::set_general(tid.0, &cancelled)
            .and_then(|()| ptrace::go(tid.0, Go::ToSyscall, 0))
            .and_then(|()| wait_for(tid));
        let Ok(status) = status else {
            self.lost(tid);
            return true;
        };
        if let Some(thread) = self.threads.get_mut(&tid) {
            (thread.registers, thread.dirty, thread.state) = (None, false, State::Stopped);
        }
        let is_return =
            matches!(status.decode(), Decoded::Stopped { signal, event: 0 } if signal == libc::SIGTRAP | 0x80);
        if !is_return {
            // It was killed.
            self.on_status(tid, status);
            return true;
        }
        // Whoever is held makes it when he goes on, and comes here again.
        if self.threads.get(&tid).is_none_or(Thread::stays) {
            return true;
        }
        let paused = self.pause(&|tracer, thread| tracer.space_id_of(thread.id) == Some(space_id), Some(tid));
        self.note_caller(tid, space_id);
        self.sync_pages(space_id, Some(tid));
        self.settle(tid);
        self.await_return(tid, space_id);
        self.unpause(paused);
        true
    }

    pub(super) fn note_caller(&mut self, tid: ThreadId, space_id: AddressSpaceId) {
        if let Some(space) = self.spaces.get_mut(&space_id) {
            space.pages.callers.insert(tid);
            space.pages.calls += 1;
        }
    }

    /// Waits for the end of a call with open pages, for as long as one takes that does not block.
    fn await_return(&mut self, tid: ThreadId, space_id: AddressSpaceId) {
        let begun = Instant::now();
        let blocks = || {
            // On a busy machine it may not have had a processor yet.
            let sleeps = || matches!(state_letter(tid), Some(b'S' | b'D'));
            begun.elapsed() >= CALL && (begun.elapsed() >= LONGEST || sleeps())
        };
        let is_under_way = |tracer: &Tracer| {
            tracer.spaces.get(&space_id).is_some_and(|space| space.pages.callers.contains(&tid))
                && tracer.threads.get(&tid).is_some_and(|thread| !thread.is_stopped())
        };
        let newest = self.threads.values().map(|thread| thread.sequence).max();
        self.set_holding(space_id, true);
        while is_under_way(self) && !blocks() {
            match wait_now(Whom::Thread(tid.0)) {
                Ok(Some((found, status))) => self.on_status(ThreadId(found), status),
                Ok(None) => std::thread::yield_now(),
                Err(_) => break,
            }
        }
        self.set_holding(space_id, false);
        let made: Vec<ThreadId> =
            self.threads.values().filter(|thread| Some(thread.sequence) > newest).map(|thread| thread.id).collect();
        made.into_iter().for_each(|tid| self.settle(tid));
    }

    fn set_holding(&mut self, space_id: AddressSpaceId, holding: bool) {
        if let Some(space) = self.spaces.get_mut(&space_id) {
            space.pages.holding = holding;
        }
    }

    /// Whether a new thread waits until the call that made it has returned, and the pages are closed.
    pub(crate) fn waits_for_maker(&self, tid: ThreadId) -> bool {
        self.space_of(tid).is_some_and(|space| space.pages.holding)
    }

    /// A thread is back from a call with the pages open; `true`: what the kernel wrote stops it.
    pub(crate) fn close_behind(&mut self, tid: ThreadId) -> bool {
        let Some(space_id) = self.space_id_of(tid) else { return false };
        let Some(space) = self.spaces.get_mut(&space_id) else { return false };
        if !space.pages.callers.remove(&tid) {
            return false;
        }
        let is_unasked = space.pages.unasked.remove(&tid);
        if let Some(why) = self.new_stack_of(tid, space_id).or_else(|| self.stack_in_pages(tid, space_id, is_unasked)) {
            self.give_up_pages(space_id, Some(tid), why);
        }
        if self.registers(tid).is_some_and(|registers| changes_protection(registers.0[word::ORIG_RAX] as i64))
            && let Some(space) = self.spaces.get_mut(&space_id).filter(|space| !space.pages.is_closed())
        {
            let mapped = read_regions(space.memory.process(), &[]).unwrap_or_default();
            space.tell_own_protection(&mapped);
        }
        self.sync_pages(space_id, Some(tid));
        let Some(space) = self.spaces.get_mut(&space_id) else { return false };
        let changed = space.pages.changed(&space.memory);
        let ids = self.count_hits(tid, changed);
        if ids.is_empty() {
            return false;
        }
        self.stop_at_breakpoints(tid, ids);
        true
    }

    /// The same by the signal stack of a thread that could not be asked for it before.
    fn stack_in_pages(&mut self, tid: ThreadId, space_id: AddressSpaceId, is_unasked: bool) -> Option<&'static str> {
        if !is_unasked {
            return None;
        }
        let stack = self.signal_stack(space_id, tid);
        let pages = &self.spaces.get(&space_id)?.pages;
        match stack {
            Ok(stack) => pages.overlaps(stack).then_some("a signal stack is there"),
            Err(_) => Some("a thread could not be asked for its signal stack"),
        }
    }

    /// Why pages cannot be watched any more behind the call that a thread has just made.
    fn new_stack_of(&mut self, tid: ThreadId, space_id: AddressSpaceId) -> Option<&'static str> {
        let registers = self.registers(tid)?;
        let space = self.spaces.get(&space_id)?;
        match registers.0[word::ORIG_RAX] as i64 {
            libc::SYS_sigaltstack => {
                let mut bytes = [0; 24];
                let at = Va(registers.0[14]);
                let is_set = at != Va(0) && space.memory.read(at, &mut bytes) == 24;
                (is_set && space.pages.overlaps(stack_range(&bytes))).then_some("a signal stack is there")
            }
            libc::SYS_io_uring_setup => Some("the process uses io_uring"),
            libc::SYS_rseq | libc::SYS_set_tid_address | libc::SYS_set_robust_list | libc::SYS_arch_prctl => {
                let at = VaRange::from_len(Va(registers.0[14]), CONTROL_BLOCK);
                let second = VaRange::from_len(Va(registers.0[13]), CONTROL_BLOCK);
                let is_there = space.pages.overlaps(at) || space.pages.overlaps(second);
                is_there.then_some("a thread's control block is there")
            }
            _ => None,
        }
    }

    /// A thread that has just been made must not find its stack taken.
    pub(crate) fn guard_new_thread(&mut self, tid: ThreadId) {
        let Some(space_id) = self.space_id_of(tid) else { return };
        let Some(space) = self.spaces.get(&space_id).filter(|space| space.pages.is_used()) else { return };
        let all: Vec<VaRange> = space.pages.watches().iter().map(|watch| watch.range).collect();
        let process = space.memory.process();
        let Some(sp) = self.registers(tid).map(|registers| Va(registers.sp())) else { return };
        let regions = read_regions(process, &[sp]).unwrap_or_default();
        let stack = regions.iter().find(|region| region.range.contains(sp)).map(|region| region.range);
        let is_stack = |range: &VaRange| stack.is_some_and(|stack| stack.overlaps(*range));
        let pages = |range: &VaRange| VaRange { start: range.start.align_down(PAGE), end: range.end.align_up(PAGE) };
        if all.iter().any(|range| is_stack(range) || self.needs_pages(tid, pages(range)).is_some()) {
            self.give_up_pages(space_id, Some(tid), "a new thread has its stack there");
        }
    }

    /// A thread or what it knew is gone: it is in no call any more.
    pub(crate) fn forget_caller(&mut self, tid: ThreadId) {
        let Some(space_id) = self.space_id_of(tid) else { return };
        let is_caller = self.spaces.get_mut(&space_id).is_some_and(|space| space.pages.callers.remove(&tid));
        if is_caller {
            self.sync_pages(space_id, None);
        }
    }
}

/// Calls after which pages may have another protection than before, or be others.
fn changes_protection(number: i64) -> bool {
    matches!(
        number,
        libc::SYS_mprotect | libc::SYS_pkey_mprotect | libc::SYS_mmap | libc::SYS_munmap | libc::SYS_mremap
    )
}
