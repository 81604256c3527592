//! A connection that has not proved yet that it may have a session: one small frame of memory, and little time.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use outpost_transport::{Connection, Peer};
use outpost_wire::{
    FrameQueue, FrameReader, HANDSHAKE_FRAME, Header, Kind, NONCE_LEN, OPEN_REQUEST, OpenRequest, Payload, RefusalCode,
    ResumeRequest, ServerHandshake, ServerStep, WireError, encode_refusal,
};
use rustix::event::PollFlags;

use super::attempts::{Attempts, PENALTY};
use crate::ServerError;
use crate::access::{Keys, Proved};

/// Time from the first byte to the request for a session.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A connection in the guardian's hands.
#[derive(Debug)]
pub(crate) struct Pending {
    connection: Connection,
    reader: FrameReader,
    queue: FrameQueue,
    handshake: ServerHandshake,
    keys: Keys,
    since: Instant,
    deadline: Instant,
    /// It said something that made sense.
    has_spoken: bool,
    /// The refusal, or last answer, to be sent, when, and what the log says.
    refusal: Option<(Payload, Instant, String)>,
}

/// How far it came.
#[derive(Debug)]
pub(crate) enum Progress {
    /// It needs more time.
    Waiting,
    /// It is to be dropped; with what the log says, if anything.
    Over(Option<String>),
    /// It may have a session.
    Open(OpenRequest),
    /// It asks for a session that is there.
    Resume(ResumeRequest),
    /// It is to be told which servers there are, by [`Pending::answer`].
    List,
}

impl Pending {
    pub(crate) fn new(
        connection: Connection,
        keys: Keys,
        salt: &[u8],
        nonce: [u8; NONCE_LEN],
        resume: bool,
    ) -> Result<Pending, ServerError> {
        connection.set_nonblocking(true).map_err(ServerError::io("accept a connection"))?;
        let since = Instant::now();
        Ok(Pending {
            connection,
            reader: FrameReader::new(HANDSHAKE_FRAME),
            queue: FrameQueue::new(),
            handshake: ServerHandshake::accepting(keys.keys(), salt, nonce).offering_resume(resume),
            keys,
            since,
            deadline: since + TIMEOUT,
            has_spoken: false,
            refusal: None,
        })
    }

    /// The last frame for it; then it is over.
    pub(crate) fn answer(&mut self, payload: Payload, now: Instant, log: &str) {
        self.refusal = Some((payload, now, log.to_owned()));
    }

    pub(crate) fn peer(&self) -> Peer {
        self.connection.peer()
    }

    /// What it has proved so far.
    pub(crate) fn proved(&self) -> Proved {
        let certificate = self.connection.peer_certificate();
        let role = self.keys.role(self.handshake.proved(), certificate);
        Proved { peer: self.peer(), certificate, role }
    }

    pub(crate) fn has_spoken(&self) -> bool {
        self.has_spoken
    }

    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// When it must be looked at again even if nothing came.
    pub(crate) fn deadline(&self) -> Instant {
        self.refusal.as_ref().map_or(self.deadline, |(_, at, _)| *at)
    }

    /// What its socket is watched for.
    pub(crate) fn interest(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.refusal.is_none());
        flags.set(PollFlags::OUT, !self.queue.is_empty());
        flags
    }

    /// The connection, for its worker; everything that follows the request for a session is still in its socket.
    pub(crate) fn into_connection(mut self) -> Result<Connection, ServerError> {
        self.settle()?;
        Ok(self.connection)
    }

    /// Makes the connection fit for [`Pending::into_connection`], or for another server.
    pub(crate) fn settle(&mut self) -> Result<(), ServerError> {
        // Some hundred bytes into an empty socket buffer: this does not block.
        self.connection.set_nonblocking(false).map_err(ServerError::io("hand over a connection"))?;
        while !self.queue.is_empty() {
            self.queue.write_to(&mut &self.connection).map_err(ServerError::io("answer a client"))?;
        }
        Ok(())
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn advance(&mut self, now: Instant, attempts: &mut Attempts) -> Progress {
        if let Some(over) = self.send_due_refusal(now) {
            return over;
        }
        if self.refusal.is_some() {
            return Progress::Waiting;
        }
        if now >= self.deadline {
            return Progress::Over(Some("no session asked for in time".into()));
        }
        loop {
            match self.reader.fill_exactly_from(&mut &self.connection) {
                Ok(0) if !self.has_frame() => {
                    let said = (!self.reader.is_empty()).then(|| "gone within a message".into());
                    return Progress::Over(said);
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A length that no frame of a handshake has: not worth an answer, it is no client of ours.
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    return Progress::Over(Some(format!("refused: {error}")));
                }
                Err(error) => return Progress::Over(Some(error.to_string())),
            }
            if !self.has_frame() {
                continue;
            }
            if let Some(progress) = self.handle_frame(now, attempts) {
                return progress;
            }
        }
        self.flush()
    }

    /// Refuses a session that is asked for, as late as a wrong password.
    pub(crate) fn refuse_session(&mut self, text: String, now: Instant) {
        let log = format!("refused: {text}");
        self.refusal = Some((encode_refusal(RefusalCode::Gone, &text), now + PENALTY, log));
    }

    fn has_frame(&self) -> bool {
        self.reader.has_frame().unwrap_or(false)
    }

    fn handle_frame(&mut self, now: Instant, attempts: &mut Attempts) -> Option<Progress> {
        let peer = self.peer();
        let step = match self.reader.next_frame() {
            Ok(Some(frame)) if frame.header.kind == Kind::Authenticate.number() => {
                let closed_for = attempts.closed_for(peer, now);
                if !closed_for.is_zero() {
                    return Some(self.refuse_unseen(now, closed_for));
                }
                self.handshake.bind_channel(self.connection.channel_binding());
                if let Some(key) = self.keys.key_of(self.connection.peer_certificate()) {
                    self.handshake.accept_also(key);
                }
                self.handshake.handle(&frame)
            }
            Ok(Some(frame)) => self.handshake.handle(&frame),
            Ok(None) => return None,
            Err(error) => return Some(Progress::Over(Some(format!("refused: {error}")))),
        };
        self.has_spoken = true;
        match step {
            ServerStep::Send(payload) => {
                self.push(payload);
                None
            }
            ServerStep::Open(request) => {
                attempts.right(peer, now);
                Some(Progress::Open(request))
            }
            ServerStep::Resume(request) => {
                attempts.right(peer, now);
                Some(Progress::Resume(request))
            }
            ServerStep::List => Some(Progress::List),
            ServerStep::Refuse(payload, error) => {
                let is_wrong = error == WireError::Authentication;
                if is_wrong {
                    attempts.wrong(peer, now);
                }
                let penalty = if is_wrong { PENALTY } else { Duration::ZERO };
                self.refusal = Some((payload, now + penalty, format!("refused: {error}")));
                Some(self.send_due_refusal(now).unwrap_or(Progress::Waiting))
            }
        }
    }

    /// Too many wrong passwords came from there: this one is not looked at.
    fn refuse_unseen(&mut self, now: Instant, closed_for: Duration) -> Progress {
        let seconds = closed_for.as_millis().div_ceil(1000);
        let text = format!("too many wrong passwords: try again in {seconds} seconds");
        self.refusal = Some((encode_refusal(RefusalCode::Busy, &text), now, format!("refused: {text}")));
        self.send_due_refusal(now).unwrap_or(Progress::Waiting)
    }

    fn send_due_refusal(&mut self, now: Instant) -> Option<Progress> {
        let (payload, _, text) = self.refusal.take_if(|(_, at, _)| *at <= now)?;
        self.push(payload);
        // A peer that does not read even this gets nothing.
        let _ = self.flush();
        Some(Progress::Over(Some(text)))
    }

    fn push(&mut self, payload: Payload) {
        let header = Header { request: OPEN_REQUEST, ..Header::default() };
        // Messages of the handshake are far from the layout's limits.
        let _ = self.queue.push(header, payload);
    }

    fn flush(&mut self) -> Progress {
        while !self.queue.is_empty() {
            match self.queue.write_to(&mut &self.connection) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Progress::Over(Some(error.to_string())),
            }
        }
        Progress::Waiting
    }
}

impl AsFd for Pending {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

/// A refusal on a connection that is not pending any more.
pub(crate) fn refuse(connection: &Connection, text: &str) {
    let mut queue = FrameQueue::new();
    if queue
        .push(Header { request: OPEN_REQUEST, ..Header::default() }, encode_refusal(RefusalCode::Busy, text))
        .is_ok()
    {
        let _ = queue.write_to(&mut &*connection);
    }
}
