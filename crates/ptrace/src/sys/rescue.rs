//! What the guardian does to threads of debuggees whose tracer died.

use libc::pid_t;
use rustix::io::Errno;

use super::result;

/// `PTRACE_SEIZE` with the one option that calls in the thread need: nothing that it makes becomes ours, too.
pub(crate) fn seize_alone(tid: u32) -> Result<(), Errno> {
    let none = std::ptr::null_mut::<libc::c_void>();
    let options = libc::PTRACE_O_TRACESYSGOOD as usize as *mut libc::c_void;
    // SAFETY: no memory of ours is named; the kernel checks `tid`.
    result(unsafe { libc::ptrace(libc::PTRACE_SEIZE, tid as pid_t, none, options) }).map(drop)
}
