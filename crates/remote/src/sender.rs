//! The sending half of a link, which two threads may use.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use outpost_target::Interrupter;
use outpost_transport::Connection;
use outpost_wire::{FrameQueue, Header, OPEN_REQUEST, Payload, Request, RequestId, encode_request};
use rustix::event::{EventfdFlags, eventfd};

/// Numbers requests and queues their frames; whoever can, writes.
#[derive(Debug)]
pub(crate) struct Sender {
    connection: Connection,
    queue: Mutex<FrameQueue>,
    last: AtomicU64,
    /// Highest event number received; told to the server with every frame.
    seen: AtomicU64,
    /// Wakes the thread that waits, so that it writes what another one could not.
    nudge: OwnedFd,
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Sender {
    /// `connection` must not block.
    pub(crate) fn new(connection: Connection) -> io::Result<Sender> {
        Ok(Sender {
            connection,
            queue: Mutex::new(FrameQueue::new()),
            last: AtomicU64::new(OPEN_REQUEST.0),
            seen: AtomicU64::new(0),
            nudge: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    /// Queues a request and writes what can be written. An error of the link shows when its answer is read.
    pub(crate) fn send(&self, request: Request) -> RequestId {
        let id = RequestId(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        self.send_as(id, encode_request(request));
        id
    }

    /// Queues a frame under a given number.
    pub(crate) fn send_as(&self, request: RequestId, payload: Payload) {
        let header = Header { request, seen: self.seen.load(Ordering::Relaxed), ..Header::default() };
        let len = payload.frame_len() as u64;
        let mut queue = self.queue();
        // Requests are split long before they reach the layout's limit.
        if queue.push(header, payload).is_ok() {
            self.messages.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(len, Ordering::Relaxed);
        }
        let _ = write(&mut queue, &self.connection);
    }

    /// Writes what can be written; gives whether something is left.
    pub(crate) fn flush(&self) -> io::Result<bool> {
        let mut queue = self.queue();
        write(&mut queue, &self.connection)?;
        Ok(!queue.is_empty())
    }

    pub(crate) fn note_seen(&self, event: u64) {
        self.seen.fetch_max(event, Ordering::Relaxed);
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

    fn queue(&self) -> MutexGuard<'_, FrameQueue> {
        self.queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// From any thread: the request leaves at once, or as soon as the thread that uses the target waits for anything.
impl Interrupter for Sender {
    fn break_in(&self) {
        self.send(Request::BreakIn);
        if !self.queue().is_empty() {
            // It fails only when the counter is full, and then it is readable.
            let _ = rustix::io::write(&self.nudge, &1_u64.to_ne_bytes());
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
