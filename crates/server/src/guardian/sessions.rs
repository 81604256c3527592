//! Sessions as the guardian sees them: a worker process, its control socket, and what stands by for its debuggees.
//!
//! | state | left by |
//! | --- | --- |
//! | running | `done`, `lost`: over; control socket closed without it: rescuing |
//! | rescuing | the rescue thread returns: over |

use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use outpost_base::ProcessId;
use outpost_target::ServerSession;
use outpost_transport::{Connection, Peer};
use outpost_wire::{Identity, OnLost, OpenRequest, ResumeRequest, TOKEN_LEN};
use subtle::ConstantTimeEq;

use super::{microseconds, pending, random};
use crate::access::{Access, Proved};
use crate::control::{Control, Received};
use crate::handover::{self, Handover};
use crate::role::{Backend, Guard};
use crate::spawner::Spawner;
use crate::{Log, Record, Role, ServerError};

/// A rescue walks threads and writes bytes; it needs no deep stack, and a server may carry out many at once.
const RESCUE_STACK: usize = 256 << 10;

/// What the server decides for a session.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    /// Its time is given.
    pub(super) on_lost: OnLost,
    /// Whether its client may end the server.
    pub(super) remote_end: bool,
    /// Whether its client hears of the sessions of this user's other servers.
    pub(super) has_neighbours: bool,
    /// What its client may do.
    pub(super) access: Access,
}

/// One session.
pub(super) struct Session {
    number: u64,
    state: State,
    /// The secret that its client knows.
    token: Vec<u8>,
    identity: Identity,
    /// What who opened it proved. Its role is the session's, whoever has it; its peer is whoever has it now.
    owner: Proved,
    opened: SystemTime,
    /// Without a client until then.
    held: Option<Instant>,
    processes: Vec<ProcessId>,
    /// Whoever brought the link waits at the other end for as long as it is in use.
    leash: Option<Control>,
}

enum State {
    Running { control: Control, guard: Box<dyn Guard> },
    Rescuing(JoinHandle<()>),
    Over,
}

/// What there is to tell.
#[derive(Debug)]
pub(super) enum News {
    /// Its client did something, or was refused.
    Deed(Record),
    /// Its client asked for the end of the server.
    EndServer,
    /// Its client asks for a list of the sessions.
    WantsList,
    /// It ended because its link broke.
    LinkLost,
    /// Its worker died; the rescue has begun.
    Died,
    /// The rescue is over.
    Rescued,
}

/// Starts a worker and hands the session over. The client is told if that fails.
pub(super) fn start(
    (backend, spawner): (&dyn Backend, &Spawner),
    number: u64,
    open: OpenRequest,
    command_line: Vec<String>,
    policy: Policy,
    log: Log,
    link: Connection,
) -> Result<Session, ServerError> {
    let started = start_worker(backend, spawner);
    let (control, journal, guard) = match started {
        Ok(started) => started,
        Err(error) => {
            pending::refuse(&link, &format!("no session could be started: {error}"));
            return Err(error);
        }
    };
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().or_else(|_| null());
    let stdin = stdin.map_err(ServerError::io("share standard input"))?;
    let token = match open.opening.token.is_empty() {
        true => random::<TOKEN_LEN>()?.to_vec(),
        false => open.opening.token.clone(),
    };
    let identity = open.identity.clone();
    let owner = Proved { peer: link.peer(), certificate: link.peer_certificate(), role: policy.access.role };
    let Policy { on_lost, remote_end, has_neighbours, access } = policy;
    let handover = Handover {
        session: number,
        token: token.clone(),
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
    };
    handover.send(&control).map_err(ServerError::io("hand a session over"))?;
    let state = State::Running { control, guard };
    let opened = SystemTime::now();
    let (held, processes, leash) = (None, Vec::new(), None);
    Ok(Session { number, state, token, identity, owner, opened, held, processes, leash })
}

/// A request for a session that may be there, as one for the session of that number.
pub(super) fn reopening(open: &OpenRequest, session: u64) -> ResumeRequest {
    let OpenRequest { request, identity, opening, agreed, .. } = open.clone();
    ResumeRequest { request, session, token: opening.token, seen: 0, identity, agreed, opens: true }
}

fn start_worker(backend: &dyn Backend, spawner: &Spawner) -> Result<(Control, OwnedFd, Box<dyn Guard>), ServerError> {
    let journal = backend.journal().map_err(ServerError::io("make a journal"))?;
    let shared = journal.try_clone().map_err(ServerError::io("share a journal"))?;
    let guard = backend.guard(shared).map_err(ServerError::io("stand by for a session"))?;
    let (control, theirs) = Control::pair().map_err(ServerError::io("make a control socket"))?;
    spawner.start_worker(theirs.into_fd())?;
    Ok((control, journal, guard))
}

/// An order to end that came over a leash; drops one whose other end is gone.
pub(super) fn hear_leash(leash: &mut Option<Control>) -> Option<String> {
    match leash.as_ref()?.receive(false) {
        Ok(Received::Message(text, _)) => Some(String::from_utf8_lossy(&text).into_owned()),
        Ok(Received::Nothing) => None,
        Ok(Received::Closed) | Err(_) => {
            *leash = None;
            None
        }
    }
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

    /// Whether this is its number and its secret; takes the same time wherever the secret is wrong.
    pub(super) fn is_named(&self, number: u64, token: &[u8]) -> bool {
        self.number == number && self.control().is_some() && bool::from(self.token.as_slice().ct_eq(token))
    }

    /// Whether its link may be that of somebody in this role: no lower one may have it.
    pub(super) fn is_open_to(&self, role: Role) -> bool {
        role >= self.owner.role
    }

    /// For how long it is held without a client; `None`: it has one.
    pub(super) fn held_for(&self) -> Option<Duration> {
        self.control()?;
        self.held.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Whether who proved that it may have sessions here may have this one. Where the transport proves users, it is for
    /// the user who opened it, and for root; where it proves certificates, for the same one.
    pub(super) fn may_be_taken_by(&self, by: Proved) -> bool {
        let is_user = match (self.owner.peer, by.peer) {
            (Peer::Process { uid: own, .. }, Peer::Process { uid, .. }) => uid == own || uid == 0,
            (Peer::Process { .. }, _) => false,
            _ => true,
        };
        is_user && by.certificate == self.owner.certificate && self.is_open_to(by.role)
    }

    /// A record of it: its number, and who its client is.
    pub(super) fn name(&self, record: Record) -> Record {
        record.field("session", self.number).field("role", self.owner.role).by(self.owner, Some(&self.identity))
    }

    /// It has another client from now on.
    pub(super) fn belongs_to(&mut self, identity: Identity, peer: Peer) {
        (self.identity, self.owner.peer) = (identity, peer);
    }

    /// Whoever brought its link may leave when this is dropped, and may ask for the end through it.
    pub(super) fn set_leash(&mut self, leash: Option<Control>) {
        self.leash = leash;
    }

    /// What to watch besides [`Session::control`].
    pub(super) fn leash(&self) -> Option<&Control> {
        self.leash.as_ref()
    }

    /// Why whoever brought the link wants the end of it all, if so.
    pub(super) fn hear_leash(&mut self) -> Option<String> {
        hear_leash(&mut self.leash)
    }

    /// For a list.
    pub(super) fn describe(&self) -> ServerSession {
        ServerSession {
            number: self.number,
            user: self.identity.user.clone(),
            host: self.identity.host.clone(),
            peer: self.owner.peer.to_string(),
            opened_us: microseconds(self.opened),
            held: self.held_for(),
            processes: self.processes.clone(),
            own: false,
        }
    }

    /// Hands its worker a link of its client, or of one who takes it over.
    pub(super) fn give_link(&mut self, link: &Connection, request: &ResumeRequest) -> Result<(), ServerError> {
        let State::Running { control, .. } = &self.state else { return Ok(()) };
        let token = match request.token.is_empty() {
            true => Some(random::<TOKEN_LEN>()?.to_vec()),
            false => None,
        };
        let text = handover::link_order(request, token.as_deref());
        control.send(text.as_bytes(), &[link.as_fd()]).map_err(ServerError::io("hand a link over"))?;
        if let Some(token) = token {
            self.token = token;
        }
        // Its worker says so, too; until then nobody else may have it.
        self.held = None;
        Ok(())
    }

    /// Tells the worker. One that is gone is noticed elsewhere.
    pub(super) fn tell(&self, text: &str) {
        if let State::Running { control, .. } = &self.state {
            let _ = control.send(text.as_bytes(), &[]);
        }
    }

    fn note_standing(&mut self, text: &str) {
        let mut words = text.split(' ');
        match (words.next(), words.next()) {
            (Some("held"), Some(seconds)) => {
                let grace = Duration::from_secs(seconds.parse().unwrap_or(0));
                self.held = Some(Instant::now() + grace);
                self.leash = None;
            }
            (Some("served"), _) => self.held = None,
            (Some("processes"), first) => {
                let pids = first.into_iter().chain(words).filter_map(|pid| pid.parse().ok());
                self.processes = pids.map(ProcessId).collect();
            }
            _ => {}
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
        self.tell(&format!("end {reason}"));
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
                    b"sessions" => Some(News::WantsList),
                    b"done" => {
                        self.state = State::Over;
                        None
                    }
                    b"lost" => {
                        self.state = State::Over;
                        Some(News::LinkLost)
                    }
                    other => {
                        let text = String::from_utf8_lossy(other).into_owned();
                        if let Some(record) = Record::read(&text) {
                            return Some(News::Deed(self.name(record)));
                        }
                        self.note_standing(&text);
                        self.hear()
                    }
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
