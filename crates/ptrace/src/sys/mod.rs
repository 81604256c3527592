//! System calls that no library covers, one thin safe function each.
//!
//! The only place of this crate with `unsafe`; `README.md` lists every use. `nix` is not used for ptrace and wait: its
//! `Signal` has no realtime signals, so that a debuggee using one could neither be waited for nor continued.

#![expect(unsafe_code, reason = "the system call layer")]

pub(crate) mod lifeline;
pub(crate) mod ptrace;
pub(crate) mod ptrace_registers;
pub(crate) mod ptrace_wait;
pub(crate) mod signal;
pub(crate) mod spawn;

use rustix::io::Errno;

/// `-1` becomes the thread's `errno`, everything else the value.
fn result(value: libc::c_long) -> Result<libc::c_long, Errno> {
    match value {
        -1 => Err(last_errno()),
        value => Ok(value),
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
