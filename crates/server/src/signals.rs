//! Signals as a descriptor, so that they wait in the guardian's loop with everything else.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::ServerError;

/// The signals a guardian lives by, blocked and readable.
#[derive(Debug)]
pub(crate) struct Signals(SignalFd);

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// A child changed its state.
    Child,
    /// Somebody wants the server to end.
    End(&'static str),
}

impl Signals {
    /// Blocks them in this thread, which must be the only one. Children inherit that: they call [`unblock_all`].
    pub(crate) fn take() -> Result<Signals, ServerError> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT] {
            set.add(signal);
        }
        // A blocked signal is queued even where it is ignored (nohup(1) ignores this one), so leave it alone then.
        if !is_ignored(Signal::SIGHUP) {
            set.add(Signal::SIGHUP);
        }
        let failed = |operation| move |error: nix::Error| ServerError::io(operation)(error);
        set.thread_block().map_err(failed("block signals"))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&set, flags).map(Signals).map_err(failed("watch signals"))
    }

    /// The next signal, if one waits.
    pub(crate) fn next(&self) -> Option<Arrived> {
        let info = self.0.read_signal().ok().flatten()?;
        Some(match Signal::try_from(info.ssi_signo as i32) {
            Ok(Signal::SIGTERM) => Arrived::End("SIGTERM"),
            Ok(Signal::SIGINT) => Arrived::End("SIGINT"),
            Ok(Signal::SIGHUP) => Arrived::End("SIGHUP"),
            _ => Arrived::Child,
        })
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Undoes what a guardian's child inherited: the debuggees it creates must not start with blocked signals.
pub(crate) fn unblock_all() -> Result<(), ServerError> {
    SigSet::empty().thread_set_mask().map_err(ServerError::io("unblock signals"))
}

/// Signals that were not blocked before.
pub(crate) struct Blocked(SigSet);

/// Blocks all of them, so that threads started now never take one from the guardian.
pub(crate) fn block_all() -> Result<Blocked, ServerError> {
    SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).map(Blocked).map_err(ServerError::io("block signals"))
}

impl Blocked {
    /// As it was before.
    pub(crate) fn restore(self) {
        // It fails only for an unknown `how` (pthread_sigmask(3)).
        let _ = self.0.thread_set_mask();
    }
}

/// Source: proc_pid_status(5), `SigIgn`.
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal as i32 - 1)) != 0
}
