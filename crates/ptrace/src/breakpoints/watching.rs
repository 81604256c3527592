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
//! process with io_uring; where a page becomes one of these later, watching ends, and `bl` tells. Robust mutexes may be
//! anywhere: [`super::robust`] sees to them.
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
use outpost_target::{
    BreakpointId, BreakpointSpec, HardwareAccess, KillSafety, MAX_WATCHED, Region, RegionUsage, TargetError,
};

use super::pages::Watch;
use super::robust::list_head;
use crate::lifeline::NotSafe;
use crate::pages::{self, PAGE, ProtectedPages};
use crate::regions::read_regions;
use crate::sys::ptrace_registers::word;
use crate::sys::ptrace_state::{SyscallStop, rseq_area, syscall_stop};
use crate::sys::ptrace_wait::{WaitStatus, Whom, wait_blocking, wait_now};
use crate::tracer::{Space, Thread, Tracer};

/// A thread's control block is within so many bytes of its FS base (glibc's and musl's `struct pthread`).
pub(super) const CONTROL_BLOCK: u64 = 4096;
/// Room of a signal frame below sp, extended state of any present processor included.
pub(super) const SIGNAL_FRAME: u64 = 16 << 10;
/// A thread that cannot be used now (the parent of a vfork) is waited for so long.
const PATIENCE: Duration = Duration::from_secs(1);
/// Changes of protection that follow from others, until it must be as wanted.
const ROUNDS: usize = 4;

/// Why a range cannot be watched.
struct Refused {
    /// For the user.
    why: String,
    /// It may be otherwise in a moment.
    passes: bool,
}

impl<T: Into<String>> From<T> for Refused {
    fn from(why: T) -> Refused {
        Refused { why: why.into(), passes: false }
    }
}

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
        let end = Instant::now() + PATIENCE;
        loop {
            let paused = self.pause(&|tracer, thread| tracer.space_id_of(thread.id) == Some(space), None);
            let result = self.add_watch(space, Watch::new(spec.id, range, access, because), range);
            self.unpause(paused);
            match result {
                Ok(()) => return Ok(()),
                Err(Refused { passes: true, .. }) if Instant::now() < end => self.let_events_pass(),
                Err(Refused { why, .. }) => {
                    let reason = format!("{because}, and its pages cannot be protected instead: {why}");
                    return Err(invalid(reason));
                }
            }
        }
    }

    /// Deals with what threads do for a moment.
    fn let_events_pass(&mut self) {
        match wait_now(Whom::Any) {
            Ok(Some((found, status))) => self.on_status(ThreadId(found), status),
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }

    fn add_watch(&mut self, space_id: AddressSpaceId, watch: Watch, range: VaRange) -> Result<(), Refused> {
        let in_space = |thread: &&Thread| self.space_id_of(thread.id) == Some(space_id);
        let id = watch.id;
        let threads: Vec<ThreadId> = self.threads.values().filter(in_space).map(|thread| thread.id).collect();
        let unasked = self.check_range(space_id, range, &threads)?;
        let lifeline = self.spaces.get(&space_id).and_then(|space| space.protection.lifeline());
        let lifeline = lifeline.ok_or("nothing can be put into the process")?.clone();
        // Another watch may have taken the same pages: the lifeline is to know the program's own protection.
        self.open_pages(space_id, None).map_err(|why| why.to_string())?;
        let changed = self.with_caller(space_id, None, |caller, _, journal| {
            let mut lifeline = lifeline.clone();
            let regions = read_regions(caller.process(), &[]).unwrap_or_default();
            let memory = caller.memory();
            lifeline.take_faults_of_pages(caller, journal)?;
            let mut page = range.start.align_down(PAGE);
            while page < range.end {
                lifeline.add_page(page, pages::own_protection(&regions, page), memory)?;
                page += PAGE;
            }
            Ok(lifeline)
        });
        let changed = changed.map_err(|why| {
            self.sync_pages(space_id, None);
            Refused { why: why.to_string(), passes: true }
        })?;
        let space = self.spaces.get_mut(&space_id).ok_or("its address space is gone")?;
        space.protection.replace_lifeline(changed);
        // Until they are back, the pages stay open.
        space.pages.callers.extend(&unasked);
        space.pages.unasked.extend(unasked);
        space.pages.add(watch, &space.memory);
        self.sync_pages(space_id, None);
        let refused = self.spaces.get(&space_id).map(|space| space.pages.lost.clone()).filter(|lost| !lost.is_empty());
        match refused {
            None => Ok(()),
            Some(why) => {
                self.unwatch_pages(space_id, Some(id));
                Err(why.into())
            }
        }
    }

    /// Refuses pages that the kernel writes to by itself, or that cannot be protected. Gives the threads that could not be
    /// asked for their signal stack, since they are in a system call or about to make one.
    fn check_range(
        &mut self,
        space_id: AddressSpaceId,
        range: VaRange,
        threads: &[ThreadId],
    ) -> Result<Vec<ThreadId>, Refused> {
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
            return Err(format!("nothing is mapped at {covered}").into());
        }
        let mut unasked = Vec::new();
        for tid in threads {
            let is_in_call = self.threads.get(tid).is_some_and(|thread| {
                thread.is_out() || thread.vfork_child.is_some() || syscall_stop(tid.0) == SyscallStop::Entry
            });
            if is_in_call {
                unasked.push(*tid);
            }
            if let Some(why) = self.needs_pages(*tid, pages) {
                return Err(why.into());
            }
            if !is_in_call {
                let stack = self.signal_stack(space_id, *tid);
                let stack = stack.map_err(|why| Refused { why: format!("thread {tid}: {why}"), passes: true })?;
                if stack.overlaps(pages) {
                    return Err("a signal stack is in its pages, where the kernel puts signal frames".into());
                }
            }
        }
        let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
        let mut leads_to = descriptors.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        if leads_to.any(|target| target.as_os_str() == "anon_inode:[io_uring]") {
            return Err("the process uses io_uring, by which the kernel reads and writes at any time".into());
        }
        Ok(unasked)
    }

    /// Why the kernel may write to `pages` on behalf of a stopped thread, whatever it does.
    pub(super) fn needs_pages(&mut self, tid: ThreadId, pages: VaRange) -> Option<&'static str> {
        let registers = self.registers(tid)?;
        let block = VaRange::from_len(Va(registers.0[word::FS_BASE]), CONTROL_BLOCK);
        let rseq = VaRange::from_len(Va(rseq_area(tid.0).unwrap_or(0)), 64);
        if [block, rseq, list_head(tid)].iter().any(|range| range.overlaps(pages)) {
            return Some("a thread's control block is in its pages, where the kernel writes at any time");
        }
        let below = Va(registers.sp().saturating_sub(SIGNAL_FRAME));
        let frame = VaRange { start: below, end: Va(registers.sp().saturating_add(PAGE)) };
        frame.overlaps(pages).then_some("a thread has its stack there, where the kernel puts signal frames")
    }

    /// Where a thread's handlers run that ask for a stack of their own (`SA_ONSTACK`).
    pub(super) fn signal_stack(&mut self, space_id: AddressSpaceId, tid: ThreadId) -> Result<VaRange, String> {
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
            if space.pages.watches().is_empty() && !space.pages.is_closed() {
                for at in std::mem::take(&mut space.pages.journaled) {
                    self.journal.pages_restored(space.memory.process(), at);
                }
            }
            if let Some(mut lifeline) = space.protection.lifeline().cloned() {
                free.into_iter().for_each(|page| lifeline.forget_page(page, &space.memory));
                space.protection.replace_lifeline(lifeline);
            }
        }
        self.sync_pages(space_id, None);
        self.unpause(paused);
    }

    /// Nothing of a space is watched any more, since it would harm the program.
    pub(super) fn give_up_pages(&mut self, space_id: AddressSpaceId, first: Option<ThreadId>, why: &str) {
        if let Some(space) = self.spaces.get_mut(&space_id) {
            space.pages.lost = why.into();
        }
        self.sync_pages(space_id, first);
    }

    /// Closes or opens the pages, as is wanted now. `first` is a stopped thread to call in.
    pub(super) fn sync_pages(&mut self, space_id: AddressSpaceId, first: Option<ThreadId>) {
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
        let mapped = read_regions(process, &[]).unwrap_or_default();
        space.tell_own_protection(&mapped);
        let pieces = space.pages.to_close(&mapped);
        let frames = space.protection.lifeline().map(|lifeline| lifeline.frames());
        // Whatever becomes of it, the pages are ours from now on as far as faults go.
        space.pages.closed.clone_from(&pieces);
        space.pages.journaled.extend(pieces.iter().map(|piece| piece.range.start));
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
                // A thread's fault may still be on its way: whoever finds it has to know of the pages.
                self.journal.pages_protected(process, ProtectedPages { ours: piece.own, ..piece });
            }
        }
        done
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

impl Space {
    /// Tells the lifeline what the program's own protection of the watched pages is by now, `mapped` being what is mapped
    /// while they are open: a fault that this protection forbids is the program's, which its own handler gets.
    pub(super) fn tell_own_protection(&mut self, mapped: &[Region]) {
        let changed = self.pages.own_changed(mapped);
        // It is asked each time the pages are closed, and nearly never so.
        if changed.is_empty() {
            return;
        }
        let Some(mut lifeline) = self.protection.lifeline().cloned() else { return };
        for (page, own) in changed {
            if let Err(why) = lifeline.add_page(page, own, &self.memory) {
                tracing::warn!(%page, %why, "the lifeline does not know the program's protection of a watched page");
            }
        }
        self.protection.replace_lifeline(lifeline);
    }
}

/// `stack_t`: address, flags, size; a disabled one has flag 2.
pub(super) fn stack_range(bytes: &[u8; 24]) -> VaRange {
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
    VaRange::from_len(Va(word(0)), if bytes[8] & 2 == 0 { word(16) } else { 0 })
}

pub(super) fn wait_for(tid: ThreadId) -> Result<WaitStatus, rustix::io::Errno> {
    loop {
        match wait_blocking(Whom::Thread(tid.0)) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map(|(_, status)| status),
        }
    }
}
