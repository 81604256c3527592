//! One session: requests from a link carried out on a target, its events sent back. One thread.
//!
//! It waits in one place for everything: an event of the target, a frame from the client, room to write, an order from
//! the guardian. Requests are answered in order. What waits to be written is bounded: beyond [`HIGH_WATER`] no further
//! request is read and no event is asked for, so a client that does not read stops its own session and nothing else.

mod direct;
mod dispatch;

use std::convert::Infallible;
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use outpost_target::{Event, Target, TargetError, Waited};
use outpost_transport::Connection;
use outpost_wire::{
    Agreed, Capabilities, FrameQueue, FrameReader, Header, Kind, MAX_REQUEST_FRAME, Opened, Payload, Reply, RequestId,
    WireError, decode_request, encode_event, encode_opened, encode_reply,
};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

pub use direct::serve_connection;

/// Bytes that may wait to be written before the session stops reading and listening.
const HIGH_WATER: usize = 4 << 20;
/// Requests carried out, and bytes of their answers, before events and orders are looked for again: neither may wait
/// behind a long row of pipelined requests.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 512 << 10;
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
}

/// Who is above a session: its guardian.
pub trait Superior {
    /// Becomes readable when there may be an order.
    fn source(&self) -> Option<BorrowedFd<'_>>;

    /// Whether the session is to end, and why.
    fn order_to_end(&mut self) -> Option<String>;

    /// The client asks for the end of the whole server.
    ///
    /// # Errors
    /// If that is not allowed or not possible.
    fn end_server(&mut self) -> Result<(), TargetError>;

    /// A line for the server's log.
    fn log(&mut self, text: fmt::Arguments<'_>);
}

/// Nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSuperior;

impl Superior for NoSuperior {
    fn source(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn order_to_end(&mut self) -> Option<String> {
        None
    }

    fn end_server(&mut self) -> Result<(), TargetError> {
        let reason = "this session has no server of its own".into();
        Err(TargetError::Unsupported { operation: "ending the server", reason })
    }

    fn log(&mut self, _: fmt::Arguments<'_>) {}
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
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionEnd::Closed => f.write_str("ended by the client"),
            SessionEnd::LinkLost(reason) => write!(f, "ended, link lost: {reason}"),
            SessionEnd::Protocol(error) => write!(f, "ended, client breaks the protocol: {error}"),
            SessionEnd::Ordered(reason) => write!(f, "ended: {reason}"),
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
    let mut session = match Session::new(link, target, &setup, superior) {
        Ok(session) => session,
        Err(error) => return SessionEnd::LinkLost(error.to_string()),
    };
    session.open(setup);
    let Err(end) = session.run();
    if let SessionEnd::Ordered(reason) = &end {
        session.farewell(reason.clone());
    }
    end
}

struct Session<'a> {
    link: Connection,
    target: &'a mut dyn Target,
    superior: &'a mut dyn Superior,
    reader: FrameReader,
    queue: FrameQueue,
    /// Link and superior in one descriptor, for targets to wait for.
    watch: OwnedFd,
    watched: epoll::EventFlags,
    /// Number of the last event or reply to an acting request.
    event: u64,
    /// Longest frame the client takes.
    frame_limit: usize,
    /// The target's events cannot be waited for (any more).
    is_deaf: bool,
}

const LINK: u64 = 0;
const SUPERIOR: u64 = 1;

impl<'a> Session<'a> {
    fn new(
        link: Connection,
        target: &'a mut dyn Target,
        setup: &SessionSetup,
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
            link,
            target,
            superior,
            reader: FrameReader::new(MAX_REQUEST_FRAME),
            queue: FrameQueue::new(),
            watch,
            watched,
            event: 0,
            frame_limit: setup.agreed.frame_bytes,
            is_deaf: false,
        })
    }

    fn open(&mut self, setup: SessionSetup) {
        let capabilities = Capabilities {
            live: self.target.as_live().is_some(),
            breakpoints: self.target.as_breakpoints().is_some(),
            os: self.target.as_os().is_some(),
        };
        let payload = encode_opened(Opened {
            session: setup.session,
            token: setup.token,
            info: self.target.info().clone(),
            capabilities,
            stop: self.target.last_stop().cloned(),
            command_line: setup.command_line,
        });
        self.push(Header { request: setup.request, ..Header::default() }, payload);
    }

    fn run(&mut self) -> Result<Infallible, SessionEnd> {
        loop {
            self.answer_requests()?;
            self.flush()?;
            let is_full = self.queue.len() >= HIGH_WATER;
            let has_request = !is_full && self.reader.has_frame().map_err(SessionEnd::Protocol)?;
            self.wait(is_full, has_request)?;
        }
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
            let request = decode_request(&frame).map_err(SessionEnd::Protocol)?;
            let kind = request.kind();
            let reply = dispatch::carry_out(self.target, self.superior, request, self.frame_limit);
            let Some(reply) = reply else { continue };
            let mut event = 0;
            if kind.is_acting() {
                self.event += 1;
                event = self.event;
            }
            self.push_reply(kind, Header { request: header.request, event, ..Header::default() }, reply);
        }
        Ok(())
    }

    fn push_reply(&mut self, kind: Kind, header: Header, reply: Reply) {
        let payload = encode_reply(kind, reply);
        let len = payload.frame_len();
        if len <= self.frame_limit {
            return self.push(header, payload);
        }
        let reason = format!("the answer has {len} bytes, the client takes {}", self.frame_limit);
        self.push(header, encode_reply(kind, Reply::Failed(TargetError::Invalid { reason })));
    }

    fn push_event(&mut self, event: Event) {
        // A kind of event that this protocol cannot carry is none the client could have asked for.
        let Some(payload) = encode_event(event) else { return };
        self.event += 1;
        self.push(Header { event: self.event, ..Header::default() }, payload);
    }

    fn push(&mut self, header: Header, payload: Payload) {
        if let Err(error) = self.queue.push(header, payload) {
            self.superior.log(format_args!("a message was not sent: {error}"));
        }
    }

    /// Writes as much as the link takes.
    fn flush(&mut self) -> Result<(), SessionEnd> {
        while !self.queue.is_empty() {
            match self.queue.write_to(&mut &self.link) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(SessionEnd::LinkLost(error.to_string())),
            }
        }
        Ok(())
    }

    /// Waits until something can be done, and takes in what came. With a request at hand it only looks.
    fn wait(&mut self, is_full: bool, has_request: bool) -> Result<(), SessionEnd> {
        self.watch_link(!is_full, !self.queue.is_empty());
        if !is_full
            && !self.is_deaf
            && let Some(live) = self.target.as_live()
        {
            match live.wait_event(has_request.then_some(Duration::ZERO), &[self.watch.as_fd()]) {
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
            let timeout = has_request.then_some(Timespec { tv_sec: 0, tv_nsec: 0 });
            let _ = poll(&mut [PollFd::new(&self.watch, PollFlags::IN)], timeout.as_ref());
        }
        // A frame at hand needs no more bytes; reading on would only fill the buffer.
        self.take_in(!is_full && !has_request)
    }

    fn take_in(&mut self, may_read: bool) -> Result<(), SessionEnd> {
        let mut ready = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 2];
        let count = epoll::wait(&self.watch, &mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap_or(0);
        for event in &ready[..count] {
            // The kernel's structure is packed, so its fields are copied out.
            let (data, flags) = (event.data, event.flags);
            match data.u64() {
                SUPERIOR => {
                    if let Some(reason) = self.superior.order_to_end() {
                        return Err(SessionEnd::Ordered(reason));
                    }
                }
                _ if may_read && flags.intersects(!epoll::EventFlags::OUT) => self.read_link()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_link(&mut self) -> Result<(), SessionEnd> {
        match self.reader.fill_from(&mut &self.link) {
            Ok(0) if self.reader.is_empty() => Err(SessionEnd::Closed),
            Ok(0) => Err(SessionEnd::LinkLost("closed within a message".into())),
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(()),
            Err(error) => Err(SessionEnd::LinkLost(error.to_string())),
        }
    }

    fn watch_link(&mut self, read: bool, write: bool) {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, read);
        flags.set(epoll::EventFlags::OUT, write);
        if flags != self.watched
            && epoll::modify(&self.watch, &self.link, epoll::EventData::new_u64(LINK), flags).is_ok()
        {
            self.watched = flags;
        }
    }

    /// Tells the client why it ends, if it listens.
    fn farewell(&mut self, reason: String) {
        self.push_event(Event::ServerEnding { reason });
        let deadline = Instant::now() + FAREWELL;
        while self.flush().is_ok() && !self.queue.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()) };
            let _ = poll(&mut [PollFd::new(&self.link, PollFlags::OUT)], Some(&timeout));
        }
    }
}
