//! Ctrl+C: read by a thread of its own, so that it answers whatever the others do.

use std::io;
use std::thread;

use nix::sys::signal::{SigSet, Signal};

/// SIGINT, blocked and waiting to be read.
#[derive(Debug)]
pub struct Interrupts(SigSet);

/// Blocks SIGINT in this thread and all that it starts from now on; call it before any other thread is started.
///
/// Programs started by [`std::process::Command`] are not affected: it unblocks all signals there.
///
/// # Errors
/// As pthread_sigmask(3).
pub fn block_interrupts() -> io::Result<Interrupts> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.thread_block()?;
    Ok(Interrupts(set))
}

impl Interrupts {
    /// Calls `interrupt` for each SIGINT, from a thread of its own, for as long as the process lives.
    pub(crate) fn deliver_to(self, interrupt: impl Fn() + Send + 'static) -> io::Result<()> {
        let wait = move || {
            while self.0.wait().is_ok() {
                interrupt();
            }
        };
        thread::Builder::new().name("interrupts".into()).spawn(wait)?;
        Ok(())
    }
}
