//! ptrace(2): taking, resuming and letting go of threads. Registers are in `ptrace_registers`.

use std::ptr::null_mut;

use libc::{c_void, pid_t};
use rustix::io::Errno;

use super::{Request, result};

/// Options every tracee has: tell system call stops apart, and report what makes and ends threads and images.
/// `PTRACE_O_EXITKILL` is left out on purpose: a dead debugger must not take its debuggees along.
pub(crate) const OPTIONS: i32 = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACEVFORKDONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACEEXIT;

/// Size of the kernel's `siginfo_t` (`SI_MAX_SIZE`, include/uapi/asm-generic/siginfo.h).
pub(crate) const SIGINFO_SIZE: usize = 128;

/// A `siginfo_t` as bytes, aligned as the kernel wants it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(8))]
pub(crate) struct RawSigInfo(pub(crate) [u8; SIGINFO_SIZE]);

impl RawSigInfo {
    /// `si_signo`.
    pub(crate) fn signo(&self) -> i32 {
        self.word(0)
    }

    /// `si_errno`.
    pub(crate) fn errno(&self) -> i32 {
        self.word(4)
    }

    /// `si_code`.
    pub(crate) fn code(&self) -> i32 {
        self.word(8)
    }

    /// The first field of the union: `si_pid` of a sent signal.
    pub(crate) fn sender(&self) -> i32 {
        self.word(16)
    }

    /// The first field of the union: `si_addr` of a fault.
    pub(crate) fn address(&self) -> u64 {
        u64::from(self.word(16) as u32) | u64::from(self.word(20) as u32) << 32
    }

    /// One with these three and nothing else.
    pub(crate) fn bare(signo: i32, code: i32, errno: i32) -> RawSigInfo {
        let mut bytes = [0; SIGINFO_SIZE];
        for (at, value) in [(0, signo), (4, errno), (8, code)] {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        RawSigInfo(bytes)
    }

    fn word(&self, at: usize) -> i32 {
        i32::from_le_bytes(std::array::from_fn(|byte| self.0[at + byte]))
    }
}

impl std::fmt::Debug for RawSigInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawSigInfo").field("signo", &self.signo()).field("code", &self.code()).finish_non_exhaustive()
    }
}

/// `PTRACE_GETSIGMASK` and `PTRACE_SETSIGMASK` (include/uapi/linux/ptrace.h).
const GETSIGMASK: Request = 0x420a;
const SETSIGMASK: Request = 0x420b;

/// How a stopped thread goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Go {
    /// `PTRACE_CONT`.
    Continue,
    /// `PTRACE_SINGLESTEP`.
    Step,
    /// `PTRACE_SYSCALL`: to the next entry or return of a system call.
    ToSyscall,
}

/// `PTRACE_SEIZE` with [`OPTIONS`]: traces without stopping.
pub(crate) fn seize(tid: u32) -> Result<(), Errno> {
    raw(libc::PTRACE_SEIZE, tid, null_mut(), OPTIONS as *mut c_void)
}

/// `PTRACE_INTERRUPT`: asks a seized thread to stop; nothing if it is stopped already.
pub(crate) fn interrupt(tid: u32) -> Result<(), Errno> {
    raw(libc::PTRACE_INTERRUPT, tid, null_mut(), null_mut())
}

/// `PTRACE_LISTEN`: leaves a thread in its group-stop, but tells when that ends.
pub(crate) fn listen(tid: u32) -> Result<(), Errno> {
    raw(libc::PTRACE_LISTEN, tid, null_mut(), null_mut())
}

/// Sets a stopped thread going, with a signal (0: none).
pub(crate) fn go(tid: u32, how: Go, signal: i32) -> Result<(), Errno> {
    let request = match how {
        Go::Continue => libc::PTRACE_CONT,
        Go::Step => libc::PTRACE_SINGLESTEP,
        Go::ToSyscall => libc::PTRACE_SYSCALL,
    };
    raw(request, tid, null_mut(), signal as *mut c_void)
}

/// `PTRACE_DETACH` with a signal (0: none); the thread must be stopped.
pub(crate) fn detach(tid: u32, signal: i32) -> Result<(), Errno> {
    raw(libc::PTRACE_DETACH, tid, null_mut(), signal as *mut c_void)
}

/// `PTRACE_GETEVENTMSG`: the id or status that goes with an event.
pub(crate) fn event_message(tid: u32) -> Result<u64, Errno> {
    let mut message: libc::c_ulong = 0;
    raw(libc::PTRACE_GETEVENTMSG, tid, null_mut(), (&raw mut message).cast())?;
    Ok(message)
}

/// `PTRACE_GETSIGINFO`. `EINVAL`: the thread is in a group-stop.
pub(crate) fn signal_info(tid: u32) -> Result<RawSigInfo, Errno> {
    let mut info = RawSigInfo([0; SIGINFO_SIZE]);
    raw(libc::PTRACE_GETSIGINFO, tid, null_mut(), (&raw mut info).cast())?;
    Ok(info)
}

/// `PTRACE_SETSIGINFO`: what the thread will see when it is resumed with that signal.
pub(crate) fn set_signal_info(tid: u32, info: &RawSigInfo) -> Result<(), Errno> {
    let mut info = *info;
    raw(libc::PTRACE_SETSIGINFO, tid, null_mut(), (&raw mut info).cast())
}

/// `PTRACE_GETSIGMASK`: bit `signo - 1` for each blocked signal.
pub(crate) fn signal_mask(tid: u32) -> Result<u64, Errno> {
    let mut mask: u64 = 0;
    raw(GETSIGMASK, tid, size_of::<u64>() as *mut c_void, (&raw mut mask).cast())?;
    Ok(mask)
}

/// `PTRACE_SETSIGMASK`.
pub(crate) fn set_signal_mask(tid: u32, mask: u64) -> Result<(), Errno> {
    let mut mask = mask;
    raw(SETSIGMASK, tid, size_of::<u64>() as *mut c_void, (&raw mut mask).cast())
}

/// Requests whose result is only success. Not for the `PEEK` family, whose result is the word.
fn raw(request: Request, tid: u32, address: *mut c_void, data: *mut c_void) -> Result<(), Errno> {
    // SAFETY: every caller passes either no pointer, or in `data` one to a local of at least the size the request
    // fills or reads (ptrace(2)): a word for GETEVENTMSG, 128 bytes for *SIGINFO, 8 bytes for *SIGMASK. The kernel checks `tid` itself.
    result(unsafe { libc::ptrace(request, tid as pid_t, address, data) }).map(drop)
}
