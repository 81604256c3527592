//! The sending half of a link, which two threads may use.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use outpost_target::Interrupter;
use outpost_transport::Connection;
use outpost_wire::{FrameQueue, Header, Kind, OPEN_REQUEST, Payload, Request, RequestId, encode_bare, encode_request};
use rustix::event::{EventfdFlags, eventfd};

/// Numbers requests and queues their frames; whoever can, writes.
#[derive(Debug)]
pub(crate) struct Sender {
    outgoing: Mutex<Outgoing>,
    /// Highest event number received; told to the server with every frame.
    seen: AtomicU64,
    /// The highest that was told.
    told: AtomicU64,
    /// Somebody broke in while there was no link: it is not to be waited for.
    given_up: AtomicBool,
    /// Wakes the thread that waits, so that it writes what another one could not.
    nudge: OwnedFd,
    messages: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Debug)]
struct Outgoing {
    /// `None` while the link is lost.
    connection: Option<Connection>,
    queue: FrameQueue,
    /// Given under the lock, so that requests leave in the order of their ids: the server counts on it.
    last: u64,
    /// Requests to be sent again over another link, until they are answered.
    unanswered: Option<BTreeMap<RequestId, Payload>>,
    /// The newest break-in that no stop has answered; one stands for all before it.
    break_in: Option<RequestId>,
}

impl Sender {
    /// `connection` must not block.
    pub(crate) fn new(connection: Connection) -> io::Result<Sender> {
        Ok(Sender {
            outgoing: Mutex::new(Outgoing {
                connection: Some(connection),
                queue: FrameQueue::new(),
                last: OPEN_REQUEST.0,
                unanswered: None,
                break_in: None,
            }),
            seen: AtomicU64::new(0),
            told: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
            nudge: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    /// For a link of a session of which events were seen.
    pub(crate) fn having_seen(connection: Connection, seen: u64) -> io::Result<Sender> {
        let sender = Sender::new(connection)?;
        sender.seen.store(seen, Ordering::Relaxed);
        Ok(sender)
    }

    /// Keeps requests from now on, so that they can be sent again. Call it before the first one.
    pub(crate) fn keep_unanswered(&self) {
        self.outgoing().unanswered = Some(BTreeMap::new());
    }

    /// Queues a request and writes what can be written. An error of the link shows when its answer is read.
    pub(crate) fn send(&self, request: Request) -> RequestId {
        let is_break_in = request.kind() == Kind::BreakIn;
        let payload = encode_request(request);
        let mut outgoing = self.outgoing();
        outgoing.last += 1;
        let id = RequestId(outgoing.last);
        match &mut outgoing.unanswered {
            Some(_) if is_break_in => outgoing.break_in = Some(id),
            Some(unanswered) => drop(unanswered.insert(id, payload.clone())),
            None => {}
        }
        self.push(&mut outgoing, id, payload);
        id
    }

    /// Queues a frame under a given number.
    pub(crate) fn send_as(&self, request: RequestId, payload: Payload) {
        self.push(&mut self.outgoing(), request, payload);
    }

    fn push(&self, outgoing: &mut Outgoing, request: RequestId, payload: Payload) {
        let Outgoing { connection: Some(connection), queue, .. } = outgoing else { return };
        let seen = self.seen.load(Ordering::Relaxed);
        self.told.store(seen, Ordering::Relaxed);
        let header = Header { request, seen, ..Header::default() };
        let len = payload.frame_len() as u64;
        // Requests are split long before they reach the layout's limit.
        if queue.push(header, payload).is_ok() {
            self.messages.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(len, Ordering::Relaxed);
        }
        let _ = write(queue, connection);
    }

    /// Writes what can be written; gives whether something is left.
    pub(crate) fn flush(&self) -> io::Result<bool> {
        let mut outgoing = self.outgoing();
        let Outgoing { connection: Some(connection), queue, .. } = &mut *outgoing else { return Ok(false) };
        write(queue, connection)?;
        Ok(!queue.is_empty())
    }

    /// A request was answered.
    pub(crate) fn answered(&self, request: RequestId) {
        if let Some(unanswered) = &mut self.outgoing().unanswered {
            unanswered.remove(&request);
        }
    }

    /// The target stopped: a break-in before that needs no repeating.
    pub(crate) fn stopped(&self) {
        self.outgoing().break_in = None;
    }

    /// Whether an event of this number, or a numbered reply, comes for the first time, and none before it is missing.
    pub(crate) fn note_seen(&self, event: u64) -> Arrival {
        let seen = self.seen.load(Ordering::Relaxed);
        if event == seen + 1 {
            self.seen.store(event, Ordering::Relaxed);
            return Arrival::New;
        }
        if event <= seen { Arrival::Again } else { Arrival::Gap }
    }

    /// Highest event number received.
    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// Tells the server what was seen, if it was not told for a while: it keeps what it does not know to have arrived.
    /// Gives whether it was.
    pub(crate) fn acknowledge(&self, numbers: u64) -> bool {
        let is_due = self.seen().saturating_sub(self.told.load(Ordering::Relaxed)) >= numbers;
        if is_due {
            self.send_as(RequestId::default(), encode_bare(Kind::Seen));
        }
        is_due
    }

    /// There is no link any more: requests are kept for the next one.
    pub(crate) fn pause(&self) {
        let mut outgoing = self.outgoing();
        outgoing.connection = None;
        outgoing.queue = FrameQueue::new();
    }

    /// Goes on over another link: what was not answered is sent again, less the acting requests up to `carried_out`, whose
    /// answers are under way.
    pub(crate) fn go_on(&self, connection: Connection, carried_out: RequestId) {
        let mut outgoing = self.outgoing();
        outgoing.connection = Some(connection);
        outgoing.queue = FrameQueue::new();
        let unanswered = outgoing.unanswered.clone().unwrap_or_default();
        let is_done = |id: RequestId, kind: u16| id <= carried_out && Kind::of(kind).is_ok_and(Kind::is_acting);
        let mut again: Vec<(RequestId, Payload)> =
            unanswered.into_iter().filter(|(id, payload)| !is_done(*id, payload.kind)).collect();
        match outgoing.break_in {
            Some(id) if id > carried_out => again.push((id, encode_request(Request::BreakIn))),
            _ => {}
        }
        again.sort_by_key(|(id, _)| *id);
        for (id, payload) in again {
            self.push(&mut outgoing, id, payload);
        }
        self.given_up.store(false, Ordering::SeqCst);
    }

    /// Whether somebody broke in while there was no link.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::SeqCst)
    }

    /// Frames and bytes sent so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.messages.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Readable when another thread left something to write.
    pub(crate) fn nudge_source(&self) -> BorrowedFd<'_> {
        self.nudge.as_fd()
    }

    /// Makes it unreadable again.
    pub(crate) fn clear_nudge(&self) {
        let _ = rustix::io::read(&self.nudge, &mut [0_u8; 8]);
    }

    /// Wakes the thread that waits.
    pub(crate) fn nudge(&self) {
        // It fails only when the counter is full, and then it is readable.
        let _ = rustix::io::write(&self.nudge, &1_u64.to_ne_bytes());
    }

    fn outgoing(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// How a numbered frame fits behind those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    New,
    /// It was sent again, and had arrived.
    Again,
    /// One before it is missing.
    Gap,
}

/// From any thread: the request leaves at once, or as soon as the thread that uses the target waits for anything. While
/// the link is lost it ends the waiting for another.
impl Interrupter for Sender {
    fn break_in(&self) {
        self.give_up();
        self.send(Request::BreakIn);
        if self.flush().unwrap_or(false) {
            self.nudge();
        }
    }

    fn give_up(&self) {
        if self.outgoing().connection.is_none() {
            self.given_up.store(true, Ordering::SeqCst);
            self.nudge();
        }
    }
}

fn write(queue: &mut FrameQueue, mut connection: &Connection) -> io::Result<()> {
    while !queue.is_empty() {
        match queue.write_to(&mut connection) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
