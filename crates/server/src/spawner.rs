//! Starts workers for a guardian that has given up the right to start anything.
//!
//! A guardian reads what strangers send, so it keeps only what rescues need (`lockdown`), and what it started would be bound
//! by the same. A spawner is started before that. It takes one kind of order and reads nobody else's bytes; it ends with its
//! guardian. Workers are its children; when one dies, what it created is the guardian's, which is the nearest child
//! subreaper (prctl(2), `PR_SET_CHILD_SUBREAPER`).

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use crate::control::{Control, Received, is_readable};
use crate::role::{self, Backend, SPAWNER, WORKER};
use crate::signals::Signals;
use crate::{ServerError, signals};

/// How long a process may take to be started: far above what a busy machine needs.
const ANSWER: Duration = Duration::from_secs(10);
/// The answer to an order that was carried out; any other says what failed.
const STARTED: &[u8] = b"started";

/// Who starts a guardian's workers.
#[derive(Debug)]
pub(crate) enum Spawner {
    /// The guardian itself.
    Guardian,
    /// A process of its own.
    Process(Control),
}

impl Spawner {
    /// Starts the process: this program again.
    pub(crate) fn start() -> Result<Spawner, ServerError> {
        let (control, theirs) = Control::pair().map_err(ServerError::io("make a control socket"))?;
        start(SPAWNER, theirs.into_fd()).map_err(ServerError::io("start a spawner"))?;
        Ok(Spawner::Process(control))
    }

    /// Starts a worker with this as its standard input.
    pub(crate) fn start_worker(&self, control: OwnedFd) -> Result<(), ServerError> {
        let failed = ServerError::io("start a worker");
        match self {
            // Its end is seen on the control socket, its status is collected with everybody's.
            Spawner::Guardian => start(WORKER, control).map_err(failed),
            Spawner::Process(spawner) => ask(spawner, control).map_err(failed),
        }
    }
}

fn ask(spawner: &Control, control: OwnedFd) -> std::io::Result<()> {
    let gone = || std::io::Error::other("the spawner has ended; start the server again");
    spawner.send(b"worker", &[control.as_fd()]).map_err(|_| gone())?;
    if !is_readable(spawner, ANSWER) {
        return Err(std::io::ErrorKind::TimedOut.into());
    }
    match spawner.receive(false)? {
        Received::Message(answer, _) if answer == STARTED => Ok(()),
        Received::Message(answer, _) => Err(std::io::Error::other(String::from_utf8_lossy(&answer).into_owned())),
        Received::Nothing | Received::Closed => Err(gone()),
    }
}

/// In a group of its own: Ctrl+C at the server's terminal is for the guardian, which ends the sessions in order.
fn start(role: &str, control: OwnedFd) -> std::io::Result<()> {
    role::again(role, control).process_group(0).spawn().map(drop)
}

/// Runs this process as a spawner.
pub(crate) fn run(_: &dyn Backend) -> Result<(), ServerError> {
    signals::unblock_all()?;
    let control = Control::from_stdin().map_err(ServerError::io("open the control socket"))?;
    // Whoever asks it to end means the server; it is there for as long as its guardian.
    let signals = Signals::take()?;
    loop {
        while signals.next().is_some() {}
        while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
        match control.receive(false) {
            Ok(Received::Message(_, descriptors)) => {
                let failed = || std::io::Error::other("no descriptor came with the order");
                let started = descriptors.into_iter().next().ok_or_else(failed);
                let started = started.and_then(|theirs| start(WORKER, theirs));
                let answer = started.map_or_else(|error| error.to_string().into_bytes(), |_| STARTED.to_vec());
                // A guardian that is gone is seen by the next look.
                let _ = control.send(&answer, &[]);
            }
            Ok(Received::Nothing) => {
                let mut fds = [PollFd::new(&control, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
                let _ = poll(&mut fds, None);
            }
            Ok(Received::Closed) | Err(_) => return Ok(()),
        }
    }
}
