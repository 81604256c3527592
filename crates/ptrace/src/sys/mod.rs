//! System calls that no library covers, one thin safe function each.
//!
//! The only place of this crate with `unsafe`; `README.md` lists every use. `nix` is not used for ptrace and wait: its
//! `Signal` has no realtime signals, so that a debuggee using one could neither be waited for nor continued.

#![expect(unsafe_code, reason = "the system call layer")]

pub(crate) mod guard_query;
pub(crate) mod lifeline;
pub(crate) mod mapping_query;
pub(crate) mod ptrace;
pub(crate) mod ptrace_registers;
pub(crate) mod ptrace_state;
pub(crate) mod ptrace_wait;
pub(crate) mod rescue;
pub(crate) mod scheduling;
pub(crate) mod shared;
pub(crate) mod signal;
pub(crate) mod spawn;

use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::Errno;

/// A request of ptrace(2), as the C library that this is built for has it.
#[cfg(not(target_env = "musl"))]
pub(crate) type Request = libc::c_uint;
#[cfg(target_env = "musl")]
pub(crate) type Request = libc::c_int;

/// A descriptor by number, to be polled.
pub(crate) fn descriptor(number: &RawFd) -> BorrowedFd<'_> {
    // SAFETY: it is only polled. Its owner lends it for the length of a wait; one that was closed since makes poll(2)
    // say so, and one whose number was used again makes a wait end early, which every caller must expect.
    unsafe { BorrowedFd::borrow_raw(*number) }
}

/// Whether two processes share their memory (kcmp(2)); `None` if the kernel does not say.
pub(crate) fn share_memory(one: u32, other: u32) -> Option<bool> {
    // include/uapi/linux/kcmp.h
    const KCMP_VM: libc::c_long = 1;
    // SAFETY: plain numbers.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, one as libc::pid_t, other as libc::pid_t, KCMP_VM, 0, 0) };
    (order >= 0).then_some(order == 0)
}

/// Address of the head of the list of robust mutexes that a thread holds (get_robust_list(2)); `None` if it has none.
pub(crate) fn robust_list(tid: u32) -> Option<u64> {
    let (mut head, mut len) = (0_u64, 0_usize);
    // SAFETY: the kernel writes a pointer and a size to the two locals.
    let done = unsafe { libc::syscall(libc::SYS_get_robust_list, tid as libc::pid_t, &raw mut head, &raw mut len) };
    (done == 0 && head != 0).then_some(head)
}

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
