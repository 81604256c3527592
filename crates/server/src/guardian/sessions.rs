//! Sessions as the guardian sees them: a worker process, its control socket, and what stands by for its debuggees.
//!
//! | state | left by |
//! | --- | --- |
//! | running | `done`, `lost`: over; control socket closed without it: rescuing |
//! | rescuing | the rescue thread returns: over |

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use outpost_transport::Connection;
use outpost_wire::OpenRequest;

use super::{pending, random};
use crate::control::{Control, Received};
use crate::handover::Handover;
use crate::role::{Backend, Guard, WORKER};
use crate::{Log, ServerError};

/// A rescue walks threads and writes bytes; it needs no deep stack, and a server may carry out many at once.
const RESCUE_STACK: usize = 256 << 10;

/// One session.
pub(super) struct Session {
    number: u64,
    state: State,
}

enum State {
    Running { control: Control, guard: Box<dyn Guard> },
    Rescuing(JoinHandle<()>),
    Over,
}

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Its client asked for the end of the server.
    EndServer,
    /// It ended because its link broke.
    LinkLost,
    /// Its worker died; the rescue has begun.
    Died,
    /// The rescue is over.
    Rescued,
}

/// Starts a worker and hands the session over. The client is told if that fails.
pub(super) fn start(
    backend: &dyn Backend,
    number: u64,
    open: OpenRequest,
    command_line: Vec<String>,
    log: Log,
    link: Connection,
) -> Result<Session, ServerError> {
    let started = start_worker(backend);
    let (control, journal, guard) = match started {
        Ok(started) => started,
        Err(error) => {
            pending::refuse(&link, &format!("no session could be started: {error}"));
            return Err(error);
        }
    };
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().or_else(|_| null());
    let stdin = stdin.map_err(ServerError::io("share standard input"))?;
    let token = random::<16>()?.to_vec();
    let handover = Handover { session: number, token, open, command_line, log, link, journal, stdin };
    handover.send(&control).map_err(ServerError::io("hand a session over"))?;
    Ok(Session { number, state: State::Running { control, guard } })
}

fn start_worker(backend: &dyn Backend) -> Result<(Control, OwnedFd, Box<dyn Guard>), ServerError> {
    let journal = backend.journal().map_err(ServerError::io("make a journal"))?;
    let shared = journal.try_clone().map_err(ServerError::io("share a journal"))?;
    let guard = backend.guard(shared).map_err(ServerError::io("stand by for a session"))?;
    let (control, theirs) = Control::pair().map_err(ServerError::io("make a control socket"))?;
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    // A group of its own: Ctrl+C at the server's terminal is for the guardian, which ends the sessions in order.
    command.arg(WORKER).stdin(Stdio::from(theirs.into_fd())).process_group(0);
    // Its end is seen on the control socket, its status is collected with everybody's.
    command.spawn().map_err(ServerError::io("start a worker"))?;
    Ok((control, journal, guard))
}

fn null() -> std::io::Result<OwnedFd> {
    Ok(std::fs::File::open("/dev/null")?.into())
}

impl Session {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// What to watch.
    pub(super) fn control(&self) -> Option<&Control> {
        match &self.state {
            State::Running { control, .. } => Some(control),
            _ => None,
        }
    }

    pub(super) fn is_rescuing(&self) -> bool {
        matches!(self.state, State::Rescuing(_))
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Tells the worker to end. One that is gone is noticed elsewhere.
    pub(super) fn order_to_end(&self, reason: &str) {
        if let State::Running { control, .. } = &self.state {
            let _ = control.send(format!("end {reason}").as_bytes(), &[]);
        }
    }

    /// The next thing there is to tell, if any.
    pub(super) fn hear(&mut self) -> Option<News> {
        match &mut self.state {
            State::Running { control, guard } => match control.receive(false) {
                Ok(Received::Nothing) => None,
                Ok(Received::Message(message, _)) => match message.as_slice() {
                    b"journal" => {
                        guard.refresh();
                        self.hear()
                    }
                    b"end server" => Some(News::EndServer),
                    b"done" => {
                        self.state = State::Over;
                        None
                    }
                    b"lost" => {
                        self.state = State::Over;
                        Some(News::LinkLost)
                    }
                    _ => self.hear(),
                },
                Ok(Received::Closed) | Err(_) => {
                    self.rescue();
                    Some(News::Died)
                }
            },
            State::Rescuing(thread) if thread.is_finished() => {
                self.state = State::Over;
                Some(News::Rescued)
            }
            _ => None,
        }
    }

    fn rescue(&mut self) {
        let State::Running { mut guard, .. } = std::mem::replace(&mut self.state, State::Over) else { return };
        // The thread gets the guard through a cell, so that it is not lost if no thread can be had.
        let (send, receive) = std::sync::mpsc::channel::<Box<dyn Guard>>();
        let thread = std::thread::Builder::new().name("rescue".into()).stack_size(RESCUE_STACK).spawn(move || {
            if let Ok(mut guard) = receive.recv() {
                guard.rescue();
            }
        });
        match thread {
            Ok(thread) => {
                if let Err(std::sync::mpsc::SendError(mut guard)) = send.send(guard) {
                    guard.rescue();
                }
                self.state = State::Rescuing(thread);
            }
            Err(_) => guard.rescue(),
        }
    }
}
