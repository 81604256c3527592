//! How the kernel schedules a thread of this process (sched(7)).

use std::sync::OnceLock;

use libc::{c_int, pid_t};
use rustix::io::Errno;

use super::result;

/// A scheduling policy without a priority: SCHED_OTHER, SCHED_BATCH or SCHED_IDLE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy(c_int);

impl Policy {
    /// For threads that anybody else may interrupt. A processor that runs nobody else counts as an idle one.
    pub(crate) const IDLE: Policy = Policy(libc::SCHED_IDLE);
    const FAIR: &[c_int] = &[libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_IDLE];

    /// The policy of that number if it is one of these, whose threads let others have the processor.
    pub(crate) fn fair(number: u64) -> Option<Policy> {
        Policy::FAIR.iter().copied().find(|fair| *fair as u64 == number).map(Policy)
    }

    /// That of the calling thread; `None` if it has another.
    pub(crate) fn own() -> Option<Policy> {
        // SAFETY: a plain number.
        let number = result(unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0 as pid_t) }).ok()?;
        Policy::fair(number as u64)
    }

    /// Gives the calling thread this one. Its nice value stays.
    ///
    /// # Errors
    ///
    /// `EPERM`: it has [`Policy::IDLE`], which only the privileged, and whoever may have nice value 20, come back from.
    pub(crate) fn take(self) -> Result<(), Errno> {
        // `struct sched_param` of the kernel, which musl's is not, and musl's function does nothing. These have priority 0.
        let priority: c_int = 0;
        // SAFETY: the kernel reads one int, a local.
        result(unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0 as pid_t, self.0, &raw const priority) })
            .map(drop)
    }
}

/// Whether this process may give a thread [`Policy::IDLE`] and take it back. A thread that is made for it tries.
pub(crate) fn idle_is_left_again() -> bool {
    static IS_LEFT: OnceLock<bool> = OnceLock::new();
    *IS_LEFT.get_or_init(|| {
        let back = || Policy::own().is_some_and(|own| Policy::IDLE.take().and_then(|()| own.take()).is_ok());
        std::thread::Builder::new().stack_size(32 << 10).spawn(back).is_ok_and(|thread| thread.join().unwrap_or(false))
    })
}
