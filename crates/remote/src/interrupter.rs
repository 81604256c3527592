//! Sending, which two threads do: the target's own, and whoever breaks in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use outpost_target::{Interrupter, TargetError};
use outpost_transport::Connection;
use outpost_wire::{FrameQueue, Header, Request, RequestId, encode_request};

/// The sending half of a link.
#[derive(Debug)]
pub(crate) struct Sender {
    state: Mutex<State>,
    pub(crate) messages: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

#[derive(Debug)]
struct State {
    connection: Connection,
    last: RequestId,
    seen: u64,
    queue: FrameQueue,
}

impl Sender {
    pub(crate) fn new(connection: Connection, last: RequestId) -> Sender {
        let state = State { connection, last, seen: 0, queue: FrameQueue::new() };
        Sender { state: Mutex::new(state), messages: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    /// Sends requests back to back and gives the id of the first; the others follow it.
    pub(crate) fn send(
        &self,
        requests: impl IntoIterator<Item = Request>,
        seen: u64,
    ) -> Result<RequestId, TargetError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let first = RequestId(state.last.0 + 1);
        state.seen = state.seen.max(seen);
        for request in requests {
            state.last = RequestId(state.last.0 + 1);
            let header = Header { request: state.last, seen: state.seen, ..Header::default() };
            let pushed = state.queue.push(header, encode_request(request));
            pushed.map_err(|error| TargetError::Invalid { reason: error.to_string() })?;
            self.messages.fetch_add(1, Ordering::Relaxed);
        }
        let State { connection, queue, .. } = &mut *state;
        while !queue.is_empty() {
            let written = queue.write_to(&mut &*connection).map_err(|error| lost(&error))?;
            self.bytes.fetch_add(written as u64, Ordering::Relaxed);
        }
        Ok(first)
    }
}

impl Interrupter for Sender {
    fn break_in(&self) {
        // A link that is gone needs no breaking in: the waiting thread learns of it by itself.
        drop(self.send([Request::BreakIn], 0));
    }
}

/// The error for a stream that failed.
pub(crate) fn lost(error: &std::io::Error) -> TargetError {
    TargetError::ConnectionLost { reason: error.to_string() }
}
