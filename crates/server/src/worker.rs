//! The worker process: one session, from its handover to its end.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use outpost_target::{ServerSession, TargetError};
use outpost_wire::{FrameQueue, Header, RefusalCode, encode_refusal};

use crate::access::Access;
use crate::audit::{Record, Tally};
use crate::control::{Control, Received};
use crate::guardian::listing;
use crate::handover::{self, Handover};
use crate::role::{Backend, Doorbell, WorkerSetup};
use crate::session::{Order, SessionEnd, SessionSetup, Standing, Superior, serve_session};
use crate::{Log, ServerError, rendezvous, signals};

/// Runs this process as a worker.
pub(crate) fn run(backend: &dyn Backend) -> Result<(), ServerError> {
    signals::unblock_all()?;
    let control = Control::from_stdin().map_err(ServerError::io("open the control socket"))?;
    let Handover {
        session,
        token,
        open,
        command_line,
        on_lost,
        remote_end,
        has_neighbours,
        access,
        log,
        link,
        journal,
        stdin,
    } = Handover::receive(&control)?;
    // From here on the control socket has one handle, closed by exec, and created processes find the server's terminal.
    rustix::stdio::dup2_stdin(&stdin).map_err(ServerError::io("restore standard input"))?;
    drop(stdin);

    let doorbell = Doorbell::new(control.try_clone().map_err(ServerError::io("share the control socket"))?);
    let mut target = match backend.target(WorkerSetup { journal, doorbell }) {
        Ok(target) => target,
        Err(error) => {
            refuse(&link, &error);
            let record = Record::new("end").field("error", &error);
            let _ = control.send(record.message().as_bytes(), &[]);
            let _ = control.send(b"done", &[]);
            return Ok(());
        }
    };
    let setup = SessionSetup { session, token, request: open.request, agreed: open.agreed, command_line, on_lost };
    let tally = Tally::new(Instant::now());
    let orders = VecDeque::new();
    let mut guardian = Guardian { control, session, log, remote_end, has_neighbours, access, tally, orders };
    let end = serve_session(link, target.as_mut(), setup, &mut guardian);
    drop(target);
    guardian.log(format_args!("{end}"));
    let _ = guardian.control.send(guardian.tally.end(&end).message().as_bytes(), &[]);
    // A guardian that is gone needs no report.
    let how: &[u8] = if matches!(end, SessionEnd::LinkLost(_) | SessionEnd::GivenUp(_)) { b"lost" } else { b"done" };
    let _ = guardian.control.send(how, &[]);
    Ok(())
}

fn refuse(mut link: &outpost_transport::Connection, error: &TargetError) {
    let text = format!("the session could not be opened: {error}");
    let mut queue = FrameQueue::new();
    if queue.push(Header::default(), encode_refusal(RefusalCode::Session, &text)).is_ok() {
        let _ = queue.write_to(&mut link);
    }
}

/// The guardian as the worker's session sees it.
struct Guardian {
    control: Control,
    session: u64,
    log: Log,
    /// Whether the client may end the server.
    remote_end: bool,
    /// Sessions of this user's other servers are listed, too.
    has_neighbours: bool,
    /// What the client may do.
    access: Access,
    tally: Tally,
    /// Orders that came while something else was waited for.
    orders: VecDeque<Order>,
}

impl Guardian {
    /// What a message from the guardian means.
    fn read(&self, message: &[u8], descriptors: Vec<OwnedFd>) -> Option<Order> {
        let text = String::from_utf8_lossy(message);
        match (text.strip_prefix("end "), descriptors.into_iter().next()) {
            (Some(reason), _) => Some(Order::End(reason.to_owned())),
            (None, Some(descriptor)) => handover::read_link_order(&text, descriptor).map(Order::Link),
            (None, None) => None,
        }
    }

    fn ask(&self, what: &[u8]) -> Result<(), TargetError> {
        self.control.send(what, &[]).map_err(|error| TargetError::Os {
            operation: "reach the guardian".into(),
            errno: error.raw_os_error().unwrap_or(0),
            reason: error.to_string(),
        })
    }

    fn gone(&self) -> Order {
        Order::End("the server's guardian is gone".into())
    }
}

impl Superior for Guardian {
    fn source(&self) -> Option<BorrowedFd<'_>> {
        Some(self.control.as_fd())
    }

    fn order(&mut self) -> Option<Order> {
        if let Some(order) = self.orders.pop_front() {
            return Some(order);
        }
        match self.control.receive(false) {
            Ok(Received::Nothing) => None,
            Ok(Received::Message(message, descriptors)) => self.read(&message, descriptors),
            Ok(Received::Closed) | Err(_) => Some(self.gone()),
        }
    }

    fn has_order(&self) -> bool {
        !self.orders.is_empty()
    }

    fn note(&mut self, standing: Standing<'_>) {
        let text = match standing {
            Standing::Held(grace) => format!("held {}", grace.as_secs()),
            Standing::Served => "served".to_owned(),
            Standing::Processes(processes) => {
                // A message on this socket is bounded, and a list is for people.
                let words: Vec<String> = processes.iter().take(1000).map(ToString::to_string).collect();
                format!("processes {}", words.join(" "))
            }
        };
        // A guardian that is gone is noticed elsewhere.
        let _ = self.control.send(text.as_bytes(), &[]);
    }

    fn sessions(&mut self) -> Result<Vec<ServerSession>, TargetError> {
        self.ask(b"sessions")?;
        loop {
            match self.control.receive(true) {
                Ok(Received::Message(message, descriptors)) => {
                    let text = String::from_utf8_lossy(&message);
                    if let Some(lines) = text.strip_prefix("sessions\n") {
                        let mut sessions = listing::decode(lines);
                        if self.has_neighbours {
                            sessions.extend(rendezvous::sessions(self.session));
                        }
                        return Ok(sessions);
                    }
                    let order = self.read(&message, descriptors);
                    self.orders.extend(order);
                }
                Ok(Received::Nothing) => {}
                Ok(Received::Closed) | Err(_) => {
                    self.orders.push_back(self.gone());
                    return Err(TargetError::ConnectionLost { reason: "the server's guardian is gone".into() });
                }
            }
        }
    }

    fn end_server(&mut self) -> Result<(), TargetError> {
        if !self.remote_end {
            let reason = "the server was started with --no-remote-end; who runs it there can end it by SIGTERM".into();
            return Err(TargetError::Unsupported { operation: "ending the server", reason });
        }
        self.ask(b"end server")
    }

    fn access(&self) -> &Access {
        &self.access
    }

    fn audit(&mut self, record: Record) {
        if let Some(record) = self.tally.count(Instant::now(), record) {
            // A guardian that is gone writes nothing more.
            let _ = self.control.send(record.message().as_bytes(), &[]);
        }
    }

    fn log(&mut self, text: std::fmt::Arguments<'_>) {
        self.log.line(format_args!("session {}: {text}", self.session));
    }
}
