//! One session: requests from a link carried out on a target, its events sent back. One thread.
//!
//! It waits in one place for everything: an event of the target, a frame from the client, room to write, an order from
//! the guardian. Requests are answered in order. What waits to be written is bounded: beyond [`HIGH_WATER`] no further
//! request is read and no event is asked for, so a client that does not read stops its own session and nothing else.

mod direct;
mod dispatch;
mod kept;
mod lost;
mod superior;

use std::convert::Infallible;
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use outpost_base::ProcessId;
use outpost_target::{Event, StopReason, Target, TargetError, Waited};
use outpost_transport::Connection;
use outpost_wire::{
    Agreed, Capabilities, FrameQueue, FrameReader, Header, Kind, MAX_REQUEST_FRAME, OPEN_REQUEST, OnLost, Opened,
    Payload, Reply, RequestId, WireError, decode_request, encode_event, encode_opened, encode_reply,
};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

use crate::guardian::timespec;

pub use direct::serve_connection;
pub use superior::{Claim, NewLink, NoSuperior, Order, Standing, Superior};

use kept::Kept;
use lost::Held;

/// Bytes that may wait to be written before the session stops reading and listening.
const HIGH_WATER: usize = 4 << 20;
/// Requests carried out, and bytes of their answers, before events and orders are looked for again: neither may wait
/// behind a long row of pipelined requests.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 512 << 10;
/// How long the answer to a resumption waits for a stop.
const SOON: Duration = Duration::from_micros(500);
/// How long the last words to a client may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a session starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSetup {
    /// Its number on this server.
    pub session: u64,
    /// The secret that names it.
    pub token: Vec<u8>,
    /// Id of the request that opened it.
    pub request: RequestId,
    /// What client and server agreed on.
    pub agreed: Agreed,
    /// The pending command line the client asked for, if there was one.
    pub command_line: Vec<String>,
    /// What becomes of it if its link is lost; of no consequence for a client that knows nothing of that. Its time must be
    /// given: without one it is not held.
    pub on_lost: OnLost,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEnd {
    /// The client closed the link between two frames.
    Closed,
    /// The link broke.
    LinkLost(String),
    /// The client sent something that is no frame or no request.
    Protocol(WireError),
    /// The guardian ended it.
    Ordered(String),
    /// Its link was lost, and nobody came back within this time.
    GivenUp(Duration),
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionEnd::Closed => f.write_str("ended by the client"),
            SessionEnd::LinkLost(reason) => write!(f, "ended, link lost: {reason}"),
            SessionEnd::Protocol(error) => write!(f, "ended, client breaks the protocol: {error}"),
            SessionEnd::Ordered(reason) => write!(f, "ended: {reason}"),
            SessionEnd::GivenUp(grace) => {
                write!(f, "ended, given up: nobody came back within {} s", grace.as_secs())
            }
        }
    }
}

/// Serves `target` over `link` until one of the three parties ends it. The caller then drops the target, which carries
/// out the exit policy.
pub fn serve_session(
    link: Connection,
    target: &mut dyn Target,
    setup: SessionSetup,
    superior: &mut dyn Superior,
) -> SessionEnd {
    let mut session = match Session::new(link, target, setup, superior) {
        Ok(session) => session,
        Err(error) => return SessionEnd::LinkLost(error.to_string()),
    };
    session.open();
    let Err(end) = session.run();
    if let SessionEnd::Ordered(reason) = &end {
        session.farewell(reason.clone());
    }
    end
}

struct Session<'a> {
    /// `None` while the session is held.
    link: Option<Connection>,
    setup: SessionSetup,
    target: &'a mut dyn Target,
    superior: &'a mut dyn Superior,
    reader: FrameReader,
    queue: FrameQueue,
    /// Link and superior in one descriptor, for targets to wait for.
    watch: OwnedFd,
    watched: epoll::EventFlags,
    /// Number of the last event or reply to an acting request.
    event: u64,
    /// Highest id of an acting request that was carried out.
    carried_out: RequestId,
    /// What was sent and may have to be sent again.
    kept: Kept,
    held: Option<Held>,
    /// Something was set running that its client believes to be stopped: that one cannot come back.
    moved: bool,
    /// Output of debuggees for the client that takes over.
    unseen_output: Vec<Event>,
    /// What the client takes.
    agreed: Agreed,
    on_lost: OnLost,
    processes: Vec<ProcessId>,
    /// The target's events cannot be waited for (any more).
    is_deaf: bool,
    /// The debuggee was resumed, and the answer to that was not sent yet.
    has_resumed: bool,
}

const LINK: u64 = 0;
const SUPERIOR: u64 = 1;

impl<'a> Session<'a> {
    fn new(
        link: Connection,
        target: &'a mut dyn Target,
        setup: SessionSetup,
        superior: &'a mut dyn Superior,
    ) -> io::Result<Session<'a>> {
        link.set_nonblocking(true)?;
        let watch = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let watched = epoll::EventFlags::IN;
        epoll::add(&watch, &link, epoll::EventData::new_u64(LINK), watched)?;
        if let Some(source) = superior.source() {
            epoll::add(&watch, source, epoll::EventData::new_u64(SUPERIOR), epoll::EventFlags::IN)?;
        }
        Ok(Session {
            link: Some(link),
            agreed: setup.agreed,
            on_lost: setup.on_lost,
            setup,
            target,
            superior,
            reader: FrameReader::new(MAX_REQUEST_FRAME),
            queue: FrameQueue::new(),
            watch,
            watched,
            event: 0,
            carried_out: OPEN_REQUEST,
            kept: Kept::default(),
            held: None,
            moved: false,
            unseen_output: Vec::new(),
            processes: Vec::new(),
            is_deaf: false,
            has_resumed: false,
        })
    }

    fn open(&mut self) {
        let capabilities = Capabilities {
            live: self.target.as_live().is_some(),
            breakpoints: self.target.as_breakpoints().is_some(),
            os: self.target.as_os().is_some(),
            ..Capabilities::default()
        };
        // The last stop of a process that is gone tells a newcomer nothing.
        let stop = self.target.last_stop().cloned();
        let stop = stop.filter(|stop| {
            let processes = self.target.processes().unwrap_or_default();
            processes.iter().any(|known| known.id == stop.stop.process)
        });
        let payload = encode_opened(Opened {
            session: self.setup.session,
            token: self.setup.token.clone(),
            info: self.target.info().clone(),
            capabilities,
            stop,
            command_line: self.setup.command_line.clone(),
            grace: if self.agreed.resume { self.on_lost.grace() } else { Duration::ZERO },
        });
        self.push(Header { request: self.setup.request, ..Header::default() }, payload);
    }

    fn run(&mut self) -> Result<Infallible, SessionEnd> {
        loop {
            if let Err(end) = self.take_turn() {
                self.lose_link(end)?;
            }
        }
    }

    fn take_turn(&mut self) -> Result<(), SessionEnd> {
        self.answer_requests()?;
        if std::mem::take(&mut self.has_resumed) {
            self.take_soon();
        }
        self.flush()?;
        let is_full = self.queue.len() >= HIGH_WATER;
        let has_request = !is_full && self.reader.has_frame().map_err(SessionEnd::Protocol)?;
        self.wait(is_full, has_request)
    }

    /// Carries out requests that have arrived, a batch at most, and as long as there is room for their answers.
    fn answer_requests(&mut self) -> Result<(), SessionEnd> {
        let room = HIGH_WATER.min(self.queue.len() + BATCH_BYTES);
        for _ in 0..BATCH {
            if self.queue.len() >= room {
                return Ok(());
            }
            let Some(frame) = self.reader.next_frame().map_err(SessionEnd::Protocol)? else { return Ok(()) };
            let header = frame.header;
            if header.seen > self.event {
                return Err(SessionEnd::Protocol(WireError::Field { field: "seen" }));
            }
            match Kind::of(header.kind) {
                Ok(Kind::Goodbye) => return Err(SessionEnd::Closed),
                Ok(Kind::Seen) => {
                    self.kept.note_seen(header.seen);
                    continue;
                }
                _ => {}
            }
            let request = decode_request(&frame).map_err(SessionEnd::Protocol)?;
            self.kept.note_seen(header.seen);
            let kind = request.kind();
            if kind.is_acting() && self.agreed.resume {
                if header.request <= self.carried_out {
                    self.answer_again(kind, header.request)?;
                    continue;
                }
                self.carried_out = header.request;
            }
            let reply = dispatch::carry_out(self.target, self.superior, request, self.agreed.frame_bytes);
            self.has_resumed |= kind == Kind::Resume;
            if matches!(kind, Kind::Attach | Kind::Create | Kind::Detach | Kind::Kill) {
                self.note_processes();
            }
            let Some(reply) = reply else { continue };
            self.push_reply(kind, header.request, reply);
            if self.kept.is_beyond_bounds() {
                return Err(SessionEnd::Protocol(WireError::Unseen));
            }
        }
        Ok(())
    }

    /// An acting request that was carried out before its link was lost: never twice.
    fn answer_again(&mut self, kind: Kind, request: RequestId) -> Result<(), SessionEnd> {
        match self.kept.reply_to(request) {
            Some(frame) => {
                let header = Header { request, event: frame.event, ..Header::default() };
                let payload = frame.payload.clone();
                self.push(header, payload);
                Ok(())
            }
            None if kind == Kind::BreakIn => Ok(()),
            None => Err(SessionEnd::Protocol(WireError::Repeated { request: request.0 })),
        }
    }

    fn push_reply(&mut self, kind: Kind, request: RequestId, reply: Reply) {
        let mut payload = encode_reply(kind, reply);
        let len = payload.frame_len();
        if len > self.agreed.frame_bytes {
            let reason = format!("the answer has {len} bytes, the client takes {}", self.agreed.frame_bytes);
            payload = encode_reply(kind, Reply::Failed(TargetError::Invalid { reason }));
        }
        match kind.is_acting() {
            true => self.push_numbered(request, payload),
            false => self.push(Header { request, ..Header::default() }, payload),
        }
    }

    /// Sends an event or the reply to an acting request, and keeps it for a client that may lose its link.
    fn push_numbered(&mut self, request: RequestId, payload: Payload) {
        self.event += 1;
        if self.agreed.resume {
            self.kept.push(self.event, request, payload.clone());
        }
        if self.link.is_some() {
            self.push(Header { request, event: self.event, ..Header::default() }, payload);
        }
    }

    /// Tells the guardian of processes that came or went.
    fn note_processes(&mut self) {
        if self.superior.source().is_none() {
            return;
        }
        let now: Vec<ProcessId> = self.target.processes().unwrap_or_default().iter().map(|known| known.id).collect();
        if now != self.processes {
            self.processes = now;
            self.superior.note(Standing::Processes(&self.processes));
        }
    }

    fn push_event(&mut self, event: Event) {
        // A kind of event that this protocol cannot carry is none the client could have asked for.
        let changes = matches!(&event, Event::Stopped(stop)
            if matches!(stop.stop.reason, StopReason::Exited { .. } | StopReason::Forked { .. }));
        if let Some(payload) = encode_event(event) {
            self.push_numbered(RequestId::default(), payload);
        }
        if changes {
            self.note_processes();
        }
    }

    fn push(&mut self, header: Header, payload: Payload) {
        if let Err(error) = self.queue.push(header, payload) {
            self.superior.log(format_args!("a message was not sent: {error}"));
        }
    }

    /// Writes as much as the link takes.
    fn flush(&mut self) -> Result<(), SessionEnd> {
        let Some(link) = &self.link else { return Ok(()) };
        while !self.queue.is_empty() {
            match self.queue.write_to(&mut &*link) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(SessionEnd::LinkLost(error.to_string())),
            }
        }
        Ok(())
    }

    /// A step is over in no time: its stop and the answer to what began it go out together, and wake the client once.
    fn take_soon(&mut self) {
        if self.is_deaf || self.held.is_some() || self.kept.is_full() || self.superior.has_order() {
            return;
        }
        let Some(live) = self.target.as_live() else { return };
        // A failure is met again, and dealt with, by the wait that comes next.
        if let Ok(Waited::Event(event)) = live.wait_event(Some(SOON), &[self.watch.as_fd()]) {
            self.push_event(event);
        }
    }

    /// Waits until something can be done, and takes in what came. With a request at hand it only looks.
    fn wait(&mut self, is_full: bool, has_request: bool) -> Result<(), SessionEnd> {
        self.watch_link(!is_full, !self.queue.is_empty());
        self.check_grace()?;
        let is_waited_for = has_request || self.superior.has_order();
        let timeout = if is_waited_for { Some(Duration::ZERO) } else { self.held.map(|held| held.left()) };
        if !is_full
            && !self.is_deaf
            && !self.kept.is_full()
            && let Some(live) = self.target.as_live()
        {
            match live.wait_event(timeout, &[self.watch.as_fd()]) {
                Ok(Waited::Event(event)) if self.held.is_some() => {
                    if let Some(event) = self.note_unattended(event) {
                        self.push_event(event);
                    }
                }
                Ok(Waited::Event(event)) => {
                    self.push_event(event);
                    return Ok(());
                }
                Ok(Waited::OtherReadable | Waited::TimedOut) => {}
                Err(error) => {
                    self.superior.log(format_args!("no further events: {error}"));
                    self.is_deaf = true;
                }
            }
        } else {
            let timeout = timeout.map(timespec);
            let _ = poll(&mut [PollFd::new(&self.watch, PollFlags::IN)], timeout.as_ref());
        }
        // A frame at hand needs no more bytes; reading on would only fill the buffer.
        self.take_in(!is_full && !has_request)
    }

    fn take_in(&mut self, may_read: bool) -> Result<(), SessionEnd> {
        let mut ready = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 2];
        let count = epoll::wait(&self.watch, &mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap_or(0);
        if self.superior.has_order() {
            return self.obey();
        }
        for event in &ready[..count] {
            // The kernel's structure is packed, so its fields are copied out.
            let (data, flags) = (event.data, event.flags);
            match data.u64() {
                // What else was found may be on the link of before.
                SUPERIOR => return self.obey(),
                _ if may_read && flags.intersects(!epoll::EventFlags::OUT) => self.read_link()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn obey(&mut self) -> Result<(), SessionEnd> {
        match self.superior.order() {
            Some(Order::End(reason)) => return Err(SessionEnd::Ordered(reason)),
            Some(Order::Link(new)) => self.take_link(new),
            None => {}
        }
        Ok(())
    }

    fn read_link(&mut self) -> Result<(), SessionEnd> {
        let Some(link) = &self.link else { return Ok(()) };
        match self.reader.fill_from(&mut &*link) {
            Ok(0) if !self.reader.is_empty() => Err(SessionEnd::LinkLost("closed within a message".into())),
            // Whoever knows the word would have said goodbye.
            Ok(0) if self.agreed.resume => Err(SessionEnd::LinkLost("closed without a goodbye".into())),
            Ok(0) => Err(SessionEnd::Closed),
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(()),
            Err(error) => Err(SessionEnd::LinkLost(error.to_string())),
        }
    }

    fn watch_link(&mut self, read: bool, write: bool) {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, read);
        flags.set(epoll::EventFlags::OUT, write);
        if let Some(link) = &self.link
            && flags != self.watched
            && epoll::modify(&self.watch, link, epoll::EventData::new_u64(LINK), flags).is_ok()
        {
            self.watched = flags;
        }
    }

    /// Tells the client why it ends, if it listens.
    fn farewell(&mut self, reason: String) {
        self.push_event(Event::ServerEnding { reason });
        let deadline = Instant::now() + FAREWELL;
        let Some(link) = self.link.as_ref().and_then(|link| link.try_clone().ok()) else { return };
        while self.flush().is_ok() && !self.queue.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()) };
            let _ = poll(&mut [PollFd::new(&link, PollFlags::OUT)], Some(&timeout));
        }
    }
}
