//! wait4(2) for tracees.

use libc::{c_int, pid_t};
use rustix::io::Errno;

use super::last_errno;

/// Whom to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    /// One thread.
    Thread(u32),
    /// Any tracee or child of the calling *thread*; other threads' children are left to them (`__WNOTHREAD`).
    Any,
}

/// A thread's wait status, undecoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitStatus(pub(crate) c_int);

/// What a status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// It exited with a code.
    Exited(i32),
    /// It was killed.
    Killed {
        /// By this signal.
        signal: i32,
        /// A core was written.
        core_dumped: bool,
    },
    /// It stopped.
    Stopped {
        /// The signal, with bit 7 set for system call stops.
        signal: i32,
        /// The ptrace event, 0 if none.
        event: i32,
    },
}

/// Waits until a status is there. `EINTR`: a signal came to this thread instead; `ECHILD`: nobody to wait for.
pub(crate) fn wait_blocking(whom: Whom) -> Result<(u32, WaitStatus), Errno> {
    match wait(whom, 0)? {
        Some(found) => Ok(found),
        None => Err(Errno::INTR),
    }
}

/// A status that is there already.
pub(crate) fn wait_now(whom: Whom) -> Result<Option<(u32, WaitStatus)>, Errno> {
    wait(whom, libc::WNOHANG)
}

fn wait(whom: Whom, flags: c_int) -> Result<Option<(u32, WaitStatus)>, Errno> {
    let mut status: c_int = 0;
    let pid = match whom {
        Whom::Thread(tid) => tid as pid_t,
        Whom::Any => -1,
    };
    // SAFETY: `status` is a local that the call fills; no usage structure is asked for.
    let found =
        unsafe { libc::wait4(pid, &raw mut status, flags | libc::__WALL | libc::__WNOTHREAD, std::ptr::null_mut()) };
    match found {
        -1 => Err(last_errno()),
        0 => Ok(None),
        tid => Ok(Some((tid as u32, WaitStatus(status)))),
    }
}

impl WaitStatus {
    /// What it says.
    pub(crate) fn decode(self) -> Decoded {
        let status = self.0;
        if libc::WIFEXITED(status) {
            Decoded::Exited(libc::WEXITSTATUS(status))
        } else if libc::WIFSIGNALED(status) {
            Decoded::Killed { signal: libc::WTERMSIG(status), core_dumped: libc::WCOREDUMP(status) }
        } else {
            Decoded::Stopped { signal: libc::WSTOPSIG(status), event: status >> 16 }
        }
    }
}
