//! The signal that takes the tracer out of wait4(2), and sending signals to threads.

use std::sync::Mutex;

use libc::{c_int, pid_t};
use rustix::io::Errno;

use super::{last_errno, result};

/// How many sentinels use the handler, and what was there before.
static INSTALLED: Mutex<(usize, Option<Disposition>)> = Mutex::new((0, None));

/// A signal disposition, kept to be put back.
struct Disposition(libc::sigaction);

/// The no-op handler of [`wake_signal`] is installed as long as one of these lives.
#[derive(Debug)]
pub(crate) struct WakeHandler(());

/// The realtime signal that wakes: the highest but two, which neither C libraries nor runtimes use.
pub(crate) fn wake_signal() -> c_int {
    libc::SIGRTMAX() - 2
}

/// The calling thread's id.
pub(crate) fn own_tid() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::gettid() as u32 }
}

/// Sends a signal to one thread of this process.
pub(crate) fn send_to_own(tid: u32, signal: c_int) -> Result<(), Errno> {
    send(std::process::id(), tid, signal)
}

/// Sends a signal to one thread (tgkill(2)).
pub(crate) fn send(pid: u32, tid: u32, signal: c_int) -> Result<(), Errno> {
    // SAFETY: plain numbers; the kernel checks that the thread belongs to the process.
    result(unsafe { libc::syscall(libc::SYS_tgkill, pid as pid_t, tid as pid_t, signal) }).map(drop)
}

/// Blocks every signal in the calling thread: a helper thread takes none of the program's.
pub(crate) fn block_all() {
    // SAFETY: `set` is initialised by sigfillset before it is read; pthread_sigmask writes no old set.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut set);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Lets the calling thread receive [`wake_signal`]; returns whether it was blocked.
pub(crate) fn unblock_wake() -> bool {
    // SAFETY: `set` is initialised before it is read, `old` is filled by the call and read only after that.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        let mut old = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, wake_signal());
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, &raw mut old);
        libc::sigismember(&raw const old, wake_signal()) == 1
    }
}

impl WakeHandler {
    /// Installs the handler, without `SA_RESTART`, so that wait4(2) returns.
    pub(crate) fn install() -> Result<WakeHandler, Errno> {
        let mut installed = INSTALLED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if installed.0 == 0 {
            // SAFETY: both structures are valid for the call; the handler does nothing, so it is async-signal-safe.
            let before = unsafe {
                let mut wanted = std::mem::zeroed::<libc::sigaction>();
                let mut before = std::mem::zeroed::<libc::sigaction>();
                wanted.sa_sigaction = wake as extern "C" fn(c_int) as usize;
                libc::sigemptyset(&raw mut wanted.sa_mask);
                if libc::sigaction(wake_signal(), &raw const wanted, &raw mut before) == -1 {
                    return Err(last_errno());
                }
                before
            };
            installed.1 = Some(Disposition(before));
        }
        installed.0 += 1;
        Ok(WakeHandler(()))
    }
}

impl Drop for WakeHandler {
    fn drop(&mut self) {
        let mut installed = INSTALLED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        installed.0 -= 1;
        if installed.0 == 0
            && let Some(Disposition(before)) = installed.1.take()
        {
            // SAFETY: `before` is what sigaction gave.
            unsafe { libc::sigaction(wake_signal(), &raw const before, std::ptr::null_mut()) };
        }
    }
}

extern "C" fn wake(_: c_int) {}
