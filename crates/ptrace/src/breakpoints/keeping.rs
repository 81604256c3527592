//! What faults of ours do to a program's signals, undone; and what the program does to ours.
//!
//! A fault in a thread that blocks its signal makes the kernel reset the process's action to the default one and unblock
//! the signal in the thread, traced or not (kernel/signal.c, `force_sig_info_to_task`). Both are put back after the hit.
//! That it happened is seen by the action, which keeps all of ours but the handler. Whose mask was changed is only known of
//! the first such thread; others that hit sites meanwhile are known by what they block: whoever blocks all other faults
//! blocked this one, too.
//!
//! While a thread blocks the signal, nothing leads it on if all debuggers are killed as it faults: the kernel ends the
//! process then. So the safety of sites depends on the threads.

use std::time::{Duration, Instant};

use outpost_base::{AddressSpaceId, ProcessId, ThreadId};
use outpost_target::KillSafety;

use super::protection::Protection;
use crate::lifeline::SIGNALS;
use crate::sys::ptrace;
use crate::tracer::{Tracer, blocked_signals, has_handler};
use crate::traps::OTHER_FAULTS;

/// How often the program's signal actions are looked at, when it is stopped anyway or sites are hit.
const KEEP_INTERVAL: Duration = Duration::from_millis(100);
/// How often a thread that hits a site is asked whether it blocks signals; one that does is asked each time.
const MASK_INTERVAL: Duration = Duration::from_millis(20);

impl Protection {
    /// Whether it is some time ago that the process's signal actions were looked at.
    fn is_to_be_kept(&self) -> bool {
        matches!(self, Protection::Installed { kept_at, .. } if kept_at.elapsed() >= KEEP_INTERVAL)
    }
}

impl Tracer {
    /// Puts right what a fault of ours did to the signals of the thread that has just stopped for it.
    pub(crate) fn keep_after_fault(&mut self, tid: ThreadId, signo: i32) {
        let is_protected = self.space_of(tid).is_some_and(|space| space.protection.lifeline().is_some());
        let Some(thread) = self.threads.get_mut(&tid).filter(|_| is_protected) else { return };
        // Not at every hit, which would cost some system calls each.
        if thread.mask_seen_at.is_some_and(|seen| seen.elapsed() < MASK_INTERVAL) {
            return;
        }
        thread.mask_seen_at = Some(Instant::now());
        let Some(space) = self.space_id_of(tid) else { return };
        // A thread that blocks nothing tells of the action only, which another one's fault may have reset.
        let is_due = self.spaces.get(&space).is_some_and(|space| space.protection.is_to_be_kept());
        if !is_due && ptrace::signal_mask(tid.0) == Ok(0) {
            return;
        }
        let mut reset = 0;
        if !has_handler(tid, signo) {
            reset = self.keep_lifeline(space, Some(tid));
        } else if let Some(Protection::Installed { kept_at, .. }) =
            self.spaces.get_mut(&space).map(|space| &mut space.protection)
        {
            *kept_at = Instant::now();
        }
        if self.unmask_undone(tid, signo, reset >> (signo - 1) & 1 == 1)
            && let Some(thread) = self.threads.get_mut(&tid)
        {
            thread.mask_seen_at = None;
        }
    }

    /// Blocks a signal again that the kernel unblocked in a stopped thread; `false`: it did not. `surely`: the action was
    /// found reset just now.
    fn unmask_undone(&mut self, tid: ThreadId, signo: i32, surely: bool) -> bool {
        let bit = 1 << (signo - 1);
        let forced = self.space_of(tid).is_some_and(|space| space.protection.forced() & bit != 0);
        if !forced && !surely {
            return false;
        }
        let Ok(mask) = ptrace::signal_mask(tid.0) else { return false };
        let others = OTHER_FAULTS & !bit;
        let blocks_others = mask & others == others;
        let was_blocked = mask & bit == 0 && (blocks_others || (surely && mask != 0));
        was_blocked && ptrace::set_signal_mask(tid.0, mask | bit).is_ok()
    }

    /// Blocks again what faults of ours unblocked, in all threads of a process that is about to be let go.
    pub(crate) fn restore_masks(&mut self, process: ProcessId) {
        for tid in self.thread_ids(process) {
            if self.threads.get(&tid).is_some_and(crate::tracer::Thread::is_stopped) {
                for signo in SIGNALS {
                    self.unmask_undone(tid, signo, false);
                }
            }
        }
    }

    /// Looks, not too often, whether the program has set actions of its own for the lifeline's signals.
    pub(crate) fn keep_lifelines(&mut self) {
        let due = self.spaces.iter().filter(|(_, space)| space.protection.is_to_be_kept());
        let spaces: Vec<AddressSpaceId> = due.map(|(id, _)| *id).collect();
        for space in spaces {
            self.keep_lifeline(space, None);
        }
    }

    /// The same now, in the thread `first` if it can be; gives the signals whose action the kernel had reset.
    fn keep_lifeline(&mut self, space_id: AddressSpaceId, first: Option<ThreadId>) -> u64 {
        let Some(lifeline) = self.spaces.get(&space_id).and_then(|space| space.protection.lifeline()).cloned() else {
            return 0;
        };
        let kept = self.with_caller(space_id, first, |mut caller, _, journal| {
            let mut lifeline = lifeline.clone();
            let reset = lifeline.keep(&mut caller, journal)?;
            Ok((lifeline, reset))
        });
        let Some(space) = self.spaces.get_mut(&space_id) else { return 0 };
        let Protection::Installed { lifeline, kept_at, forced, .. } = &mut space.protection else { return 0 };
        *kept_at = Instant::now();
        match kept {
            Ok((kept, reset)) => {
                **lifeline = kept;
                *forced |= reset;
                reset
            }
            // It stays as it is; the next stop looks again.
            Err(why) => {
                tracing::debug!(%why, "the lifeline could not be looked at");
                0
            }
        }
    }

    /// Whether the lifeline can lead a thread on that gets this signal, as far as its threads' masks go.
    pub(super) fn safety_by_masks(&self, space: AddressSpaceId, signo: i32) -> (KillSafety, String) {
        let bit = 1 << (signo - 1);
        let forced = self.spaces.get(&space).is_some_and(|space| space.protection.forced() & bit != 0);
        let processes = self.processes_in(space);
        let mut threads = self.threads.values().filter(|thread| processes.contains(&thread.process)).peekable();
        // A thread that makes another or a process blocks everything for a moment: one alone says nothing.
        // One that has just been hit by our fault seems not to block this signal.
        let blocks = |tid: ThreadId| {
            blocked_signals(tid).is_some_and(|mask| mask & bit != 0 || mask & OTHER_FAULTS == OTHER_FAULTS)
        };
        if forced || (threads.peek().is_some() && threads.all(|thread| blocks(thread.id))) {
            let name = if signo == libc::SIGILL { "SIGILL" } else { "SIGTRAP" };
            return (
                KillSafety::Unsafe,
                format!("the program blocks {name}, which nothing but a debugger can get it past"),
            );
        }
        (KillSafety::Safe, String::new())
    }
}
