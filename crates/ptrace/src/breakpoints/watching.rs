//! Data watched by the protection of its pages, where debug registers cannot: too many, too long, not aligned.
//!
//! The pages are taken from the program by mprotect(2), called in one of its threads: writing for watched writes, all
//! access for watched reads. A thread that faults there stops for the tracer; all others of the address space are
//! held, the pages are opened, the thread executes its one instruction, they are closed again. Whether it hit is told by the
//! address of the fault, by a debug register that is borrowed for this step where the address alone does not tell, and by
//! comparing what is watched with what was there.
//!
//! **The kernel's accesses.** A system call that is given a closed page fails with EFAULT, which the program would see. So
//! while pages are watched every thread stops at its system calls, and before one that may touch the pages
//! ([`super::kernel_access`]) they are opened until it returns; then they are closed and compared, and what the kernel
//! wrote is a hit of the thread that asked for it. Opening takes a call in the debuggee, which cannot be made in a
//! thread that is about to make one: its call is cancelled by number -1 with pc moved back before the instruction, both by one
//! write, so that it makes it again by itself whoever dies. The other threads are held meanwhile, but for calls that
//! block: while one does, accesses of others go unnoticed, but for changes, which are found when it returns. A forked child's copy is always open, since fork is such a
//! call.
//!
//! The kernel also writes without being asked: signal frames, `struct rseq`, the thread id that a thread's end clears. A closed
//! page there would kill the program. So pages of stacks, signal stacks and thread control blocks are refused, and so is a
//! process with io_uring; where a page becomes one of these later, watching ends, and `bl` tells.
//!
//! **When debuggers die.** The journal has the program's own protection, which the guardian gives back. When all are
//! killed, the lifeline does at the first access. But a system call that is given the page before fails with EFAULT: such
//! a watch is never kill-safe.
//!
//! Ways that were not taken: userfaultfd's write protection ends with its owner and holds up the kernel, too, but knows
//! neither reads nor pages of files mapped privately, which is where a program's variables are, and needs a privilege of the
//! debuggee's (`vm.unprivileged_userfaultfd`). Protection keys are per thread, the best of all, where the processor has them.
//! Soft-dirty bits tell too late. Single steps (gdb's way) cost each instruction what this costs each access.

use std::time::{Duration, Instant};

use outpost_base::{AddressSpaceId, ThreadId, Va, VaRange};
use outpost_target::{BreakpointId, BreakpointSpec, HardwareAccess, KillSafety, MAX_WATCHED, RegionUsage, TargetError};

use super::hits::Unbroken;
use super::pages::Watch;
use super::{Passed, kernel_access};
use crate::lifeline::NotSafe;
use crate::pages::{self, PAGE};
use crate::regions::read_regions;
use crate::sys::ptrace::{self, Go, RawSigInfo};
use crate::sys::ptrace_registers::{self as registers, GeneralRegisters, word};
use crate::sys::ptrace_state::{SyscallStop, rseq_area, syscall_stop};
use crate::sys::ptrace_wait::{Decoded, Whom, wait_blocking, wait_now};
use crate::tracer::{Space, State, Thread, Tracer, trap_code};

/// `si_code` of SIGSEGV: the protection of the page forbids it.
const SEGV_ACCERR: i32 = 2;
/// Word of rax in `user_regs_struct`.
const RAX: usize = 10;
/// A thread's control block is within so many bytes of its FS base (glibc's and musl's `struct pthread`).
const CONTROL_BLOCK: u64 = 4096;
/// Longest access of one instruction that can begin before a range: xsave areas are longer, and change something.
const LONGEST_ACCESS: u64 = 64;
/// Room of a signal frame below sp, extended state of any present processor included.
const SIGNAL_FRAME: u64 = 16 << 10;
/// Others are held for so long while a thread makes a call with open pages; one that takes longer blocks.
const CALL: Duration = Duration::from_millis(2);
/// Changes of protection that follow from others, until it must be as wanted.
const ROUNDS: usize = 4;

impl Tracer {
    /// Watches a range by its pages, `because` no debug register holds it.
    pub(super) fn watch_pages(
        &mut self,
        spec: &BreakpointSpec,
        access: HardwareAccess,
        len: u32,
        because: &'static str,
    ) -> Result<(), TargetError> {
        let invalid = |reason: String| TargetError::Invalid { reason };
        let range = VaRange::from_len(spec.at, u64::from(len));
        if !(1..=MAX_WATCHED).contains(&len) || range.end.0 >> 47 != 0 {
            return Err(invalid("a range that is watched by its pages has 1 to 1048576 bytes of user space".into()));
        }
        self.protect(spec.space);
        let space = spec.space;
        let paused = self.pause(&|tracer, thread| tracer.space_id_of(thread.id) == Some(space), None);
        let result = self.add_watch(space, Watch::new(spec.id, range, access, because), range);
        self.unpause(paused);
        result.map_err(|why| invalid(format!("{because}, and its pages cannot be protected instead: {why}")))
    }

    fn add_watch(&mut self, space_id: AddressSpaceId, watch: Watch, range: VaRange) -> Result<(), String> {
        let in_space = |thread: &&Thread| self.space_id_of(thread.id) == Some(space_id);
        if self.threads.values().filter(in_space).any(Thread::is_out) {
            return Err("a thread cannot be stopped now; try again when it is out of its system call".into());
        }
        let id = watch.id;
        let threads: Vec<ThreadId> = self.threads.values().filter(in_space).map(|thread| thread.id).collect();
        self.check_range(space_id, range, &threads)?;
        // Whoever is about to make a call was not asked what it touches.
        let about_to_call: Vec<ThreadId> =
            threads.iter().filter(|tid| syscall_stop(tid.0) == SyscallStop::Entry).copied().collect();
        let lifeline = self.spaces.get(&space_id).and_then(|space| space.protection.lifeline());
        let lifeline = lifeline.ok_or("nothing can be put into the process")?.clone();
        let changed = self.with_caller(space_id, None, |caller, _, journal| {
            let mut lifeline = lifeline.clone();
            let regions = read_regions(caller.process(), &[]).unwrap_or_default();
            let memory = caller.memory();
            lifeline.take_faults_of_pages(caller, journal)?;
            let mut page = range.start.align_down(PAGE);
            while page < range.end {
                let own = regions.iter().find(|region| region.range.contains(page)).map_or(0, pages::protection_of);
                lifeline.add_page(page, own, memory)?;
                page += PAGE;
            }
            Ok(lifeline)
        });
        let changed = changed.map_err(|why| why.to_string())?;
        let space = self.spaces.get_mut(&space_id).ok_or("its address space is gone")?;
        space.protection.replace_lifeline(changed);
        self.open_pages(space_id, None).map_err(|why| why.to_string())?;
        let space = self.spaces.get_mut(&space_id).ok_or("its address space is gone")?;
        space.pages.callers.extend(about_to_call);
        space.pages.add(watch, &space.memory);
        self.sync_pages(space_id, None);
        let refused = self.spaces.get(&space_id).map(|space| space.pages.lost.clone()).filter(|lost| !lost.is_empty());
        match refused {
            None => Ok(()),
            Some(why) => {
                self.unwatch_pages(space_id, Some(id));
                Err(why)
            }
        }
    }

    /// Refuses pages that the kernel writes to by itself, or that cannot be protected.
    fn check_range(&mut self, space_id: AddressSpaceId, range: VaRange, threads: &[ThreadId]) -> Result<(), String> {
        let process = self.process_in(space_id).ok_or("its address space is gone")?;
        let pages = VaRange { start: range.start.align_down(PAGE), end: range.end.align_up(PAGE) };
        let stacks: Vec<Va> = threads.iter().filter_map(|tid| self.registers(*tid)).map(|r| Va(r.sp())).collect();
        let regions = read_regions(process, &stacks).map_err(|error| error.to_string())?;
        let mut covered = pages.start;
        for region in regions.iter().filter(|region| region.range.overlaps(pages)) {
            let why = match region.usage {
                RegionUsage::Stack => "it is in a stack, where the kernel puts signal frames",
                RegionUsage::Vdso => "it is the kernel's",
                _ if region.execute => "it is in code",
                _ if region.shared => "it is mapped shared",
                _ => "",
            };
            if !why.is_empty() {
                return Err(why.into());
            }
            if region.range.start <= covered {
                covered = region.range.end;
            }
        }
        if covered < pages.end {
            return Err(format!("nothing is mapped at {covered}"));
        }
        for tid in threads {
            if let Some(why) = self.needs_pages(*tid, pages) {
                return Err(why.into());
            }
            let stack = self.signal_stack(space_id, *tid).map_err(|why| format!("thread {tid}: {why}"))?;
            if stack.overlaps(pages) {
                return Err("a signal stack is in its pages, where the kernel puts signal frames".into());
            }
        }
        let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        let mut leads_to = descriptors.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        if leads_to.any(|target| target.as_os_str() == "anon_inode:[io_uring]") {
            return Err("the process uses io_uring, by which the kernel reads and writes at any time".into());
        }
        Ok(())
    }

    /// Why the kernel may write to `pages` on behalf of a stopped thread, whatever it does.
    fn needs_pages(&mut self, tid: ThreadId, pages: VaRange) -> Option<&'static str> {
        let registers = self.registers(tid)?;
        let block = VaRange::from_len(Va(registers.0[word::FS_BASE]), CONTROL_BLOCK);
        let rseq = VaRange::from_len(Va(rseq_area(tid.0).unwrap_or(0)), 64);
        if block.overlaps(pages) || rseq.overlaps(pages) {
            return Some("a thread's control block is in its pages, where the kernel writes at any time");
        }
        let below = Va(registers.sp().saturating_sub(SIGNAL_FRAME));
        let frame = VaRange { start: below, end: Va(registers.sp().saturating_add(PAGE)) };
        frame.overlaps(pages).then_some("a thread has its stack there, where the kernel puts signal frames")
    }

    /// Where a thread's handlers run that ask for a stack of their own (`SA_ONSTACK`).
    fn signal_stack(&mut self, space_id: AddressSpaceId, tid: ThreadId) -> Result<VaRange, String> {
        if self.threads.get(&tid).is_none_or(|thread| !thread.is_stopped() || thread.is_exiting) {
            return Ok(VaRange { start: Va(0), end: Va(0) });
        }
        let bytes = self.call_in(space_id, tid, &mut |caller, _, _| {
            let scratch = caller.scratch()?;
            let result = caller.call(libc::SYS_sigaltstack, [0, scratch.0, 0, 0, 0, 0])?;
            result.map_err(|errno| NotSafe::Refused("its signal stack read", errno))?;
            let mut bytes = [0; 24];
            caller.memory().read(scratch, &mut bytes);
            Ok(bytes)
        });
        bytes.map(|bytes| stack_range(&bytes)).map_err(|why| why.to_string())
    }

    /// Ends one watch of a space, or all; the program has its pages back then, if it has a thread to call in.
    pub(super) fn unwatch_pages(&mut self, space_id: AddressSpaceId, id: Option<BreakpointId>) {
        let concerned = |space: &Space| match id {
            Some(id) => space.pages.has(id),
            None => space.pages.is_used(),
        };
        if !self.spaces.get(&space_id).is_some_and(concerned) {
            return;
        }
        let paused = self.pause(&|tracer, thread| tracer.space_id_of(thread.id) == Some(space_id), None);
        if let Err(why) = self.open_pages(space_id, None) {
            tracing::warn!(%why, "watched pages could not be given back");
        }
        if let Some(space) = self.spaces.get_mut(&space_id) {
            let free = space.pages.remove(id);
            if let Some(mut lifeline) = space.protection.lifeline().cloned() {
                free.into_iter().for_each(|page| lifeline.forget_page(page, &space.memory));
                space.protection.replace_lifeline(lifeline);
            }
        }
        self.sync_pages(space_id, None);
        self.unpause(paused);
    }

    /// Nothing of a space is watched any more, since it would harm the program.
    fn give_up_pages(&mut self, space_id: AddressSpaceId, first: Option<ThreadId>, why: &str) {
        if let Some(space) = self.spaces.get_mut(&space_id) {
            space.pages.lost = why.into();
        }
        self.sync_pages(space_id, first);
    }

    /// Closes or opens the pages, as is wanted now. `first` is a stopped thread to call in.
    fn sync_pages(&mut self, space_id: AddressSpaceId, first: Option<ThreadId>) {
        for _ in 0..ROUNDS {
            let Some(pages) = self.spaces.get(&space_id).map(|space| &space.pages) else { return };
            let close = pages.shall_be_closed();
            if pages.busy || close == pages.is_closed() {
                return;
            }
            let done = if close { self.close_pages(space_id, first) } else { self.open_pages(space_id, first) };
            if let Err(why) = done {
                tracing::warn!(%why, "the protection of watched pages could not be changed");
                let Some(space) = self.spaces.get_mut(&space_id) else { return };
                space.pages.lost = why.to_string();
                if !close {
                    return;
                }
            }
            // Nothing of what is watched can be written: there is nothing to close.
            if close && self.spaces.get(&space_id).is_some_and(|space| !space.pages.is_closed()) {
                return;
            }
        }
    }

    fn close_pages(&mut self, space_id: AddressSpaceId, first: Option<ThreadId>) -> Result<(), NotSafe> {
        let Some(space) = self.spaces.get_mut(&space_id) else { return Ok(()) };
        space.pages.busy = true;
        let process = space.memory.process();
        let pieces = space.pages.to_close(&read_regions(process, &[]).unwrap_or_default());
        let frames = space.protection.lifeline().map(|lifeline| lifeline.frames());
        // Whatever becomes of it, the pages are ours from now on as far as faults go.
        space.pages.closed.clone_from(&pieces);
        let done = self.with_caller(space_id, first, |mut caller, _, journal| {
            frames.into_iter().for_each(|frames| caller.move_to(frames));
            pieces.iter().try_for_each(|piece| {
                journal.pages_protected(process, *piece);
                pages::protect(&caller, piece.range, piece.ours)
            })
        });
        if let Some(space) = self.spaces.get_mut(&space_id) {
            space.pages.busy = false;
        }
        done
    }

    fn open_pages(&mut self, space_id: AddressSpaceId, first: Option<ThreadId>) -> Result<(), NotSafe> {
        let Some(space) = self.spaces.get_mut(&space_id).filter(|space| space.pages.is_closed()) else { return Ok(()) };
        space.pages.busy = true;
        let process = space.memory.process();
        let pieces = space.pages.closed.clone();
        let frames = space.protection.lifeline().map(|lifeline| lifeline.frames());
        let done = self.with_caller(space_id, first, |mut caller, _, _| {
            frames.into_iter().for_each(|frames| caller.move_to(frames));
            let mapped = read_regions(process, &[]).unwrap_or_default();
            pieces.iter().try_for_each(|piece| pages::give_back(&caller, piece, &mapped))
        });
        let Some(space) = self.spaces.get_mut(&space_id) else { return Ok(()) };
        space.pages.busy = false;
        if done.is_ok() {
            for piece in space.pages.closed.drain(..) {
                self.journal.pages_restored(process, piece.range.start);
            }
        }
        done
    }

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
        let count = outpost_base::MemoryReader::read(&mut Unbroken(space), pc, &mut code);
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

    fn note_caller(&mut self, tid: ThreadId, space_id: AddressSpaceId) {
        if let Some(space) = self.spaces.get_mut(&space_id) {
            space.pages.callers.insert(tid);
            space.pages.calls += 1;
        }
    }

    /// Waits for the end of a call with open pages, for as long as one takes that does not block.
    fn await_return(&mut self, tid: ThreadId, space_id: AddressSpaceId) {
        let end = Instant::now() + CALL;
        let is_under_way = |tracer: &Tracer| {
            tracer.spaces.get(&space_id).is_some_and(|space| space.pages.callers.contains(&tid))
                && tracer.threads.get(&tid).is_some_and(|thread| !thread.is_stopped())
        };
        let newest = self.threads.values().map(|thread| thread.sequence).max();
        self.set_holding(space_id, true);
        while is_under_way(self) && Instant::now() < end {
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
        if let Some(why) = self.new_stack_of(tid, space_id) {
            self.give_up_pages(space_id, Some(tid), why);
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
            libc::SYS_rseq | libc::SYS_set_tid_address | libc::SYS_arch_prctl => {
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

    /// Why a watch by pages is not kill-safe.
    pub(super) fn safety_of_pages() -> (KillSafety, String) {
        let why =
            "while no debugger is left, system calls that are given its pages fail until the program touches them";
        (KillSafety::Unsafe, why.into())
    }

    /// The client wrote to memory: that is no hit.
    pub(crate) fn note_written(&mut self, space_id: AddressSpaceId) {
        if let Some(space) = self.spaces.get_mut(&space_id) {
            drop(space.pages.changed(&space.memory));
        }
    }
}

/// `stack_t`: address, flags, size; a disabled one has flag 2.
fn stack_range(bytes: &[u8; 24]) -> VaRange {
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
    VaRange::from_len(Va(word(0)), if bytes[8] & 2 == 0 { word(16) } else { 0 })
}

fn wait_for(tid: ThreadId) -> Result<crate::sys::ptrace_wait::WaitStatus, rustix::io::Errno> {
    loop {
        match wait_blocking(Whom::Thread(tid.0)) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map(|(_, status)| status),
        }
    }
}
