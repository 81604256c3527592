//! What the guardian does to threads of debuggees whose tracer died.

use libc::pid_t;
use rustix::io::Errno;

use super::result;

/// `PTRACE_SEIZE` without options: nothing that the thread makes becomes ours, too.
pub(crate) fn seize_plain(tid: u32) -> Result<(), Errno> {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: no memory of ours is named; the kernel checks `tid`.
    result(unsafe { libc::ptrace(libc::PTRACE_SEIZE, tid as pid_t, none, none) }).map(drop)
}
