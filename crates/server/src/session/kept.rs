//! What was sent and not yet seen: events, and replies to acting requests, in order of their numbers.

use std::collections::VecDeque;

use outpost_target::Event;
use outpost_wire::{Kind, Payload, RequestId};

/// Bytes of unseen frames from which the target is asked for no further event.
const FULL: usize = 4 << 20;
/// The same for what breakpoints log, which is never worth waiting behind for long.
const FULL_OF_LOGS: usize = 512 << 10;
/// Unseen frames from which it is not, whatever their size.
const FULL_FRAMES: usize = 16 << 10;
/// Bytes of unseen frames that a client which asks on without taking note of the answers may cause: the longest frame,
/// and what may be unseen beside it.
const MOST: usize = outpost_wire::MAX_FRAME + 4 * FULL;

/// Frames kept for a client that may have to be sent them again.
#[derive(Debug, Default)]
pub(super) struct Kept {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Those of them that breakpoints log.
    logged: usize,
    /// Highest number that was given up.
    seen: u64,
}

/// One kept frame.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) event: u64,
    /// The acting request it answers; 0: it is an event.
    pub(super) request: RequestId,
    pub(super) payload: Payload,
}

impl Kept {
    /// Keeps a frame; numbers come in order.
    pub(super) fn push(&mut self, event: u64, request: RequestId, payload: Payload) {
        self.bytes += payload.frame_len();
        self.logged += logged(&payload);
        self.frames.push_back(Frame { event, request, payload });
    }

    /// The client has everything up to `event`.
    pub(super) fn note_seen(&mut self, event: u64) {
        while let Some(frame) = self.frames.pop_front_if(|frame| frame.event <= event) {
            self.bytes -= frame.payload.frame_len();
            self.logged -= logged(&frame.payload);
        }
        self.seen = self.seen.max(event);
    }

    /// Whether everything above `event` is still here.
    pub(super) fn reaches_back_to(&self, event: u64) -> bool {
        event >= self.seen
    }

    /// Takes what debuggees wrote out of it.
    pub(super) fn take_output(&mut self) -> Vec<Event> {
        let output = self.frames.iter().filter(|frame| frame.payload.kind == Kind::Output.number());
        output.filter_map(|frame| frame.payload.decode_event().ok()).collect()
    }

    /// The reply to an acting request, unless it was seen.
    pub(super) fn reply_to(&self, request: RequestId) -> Option<&Frame> {
        self.frames.iter().find(|frame| frame.request == request)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter()
    }

    /// The target is to be asked for no further event for now.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= FULL || self.logged >= FULL_OF_LOGS || self.frames.len() >= FULL_FRAMES
    }

    /// More than a client of ours lets come to be.
    pub(super) fn is_beyond_bounds(&self) -> bool {
        self.bytes > MOST || self.frames.len() > 2 * FULL_FRAMES
    }
}

/// Bytes of a frame that breakpoints log.
fn logged(payload: &Payload) -> usize {
    if payload.kind == Kind::Logged.number() { payload.frame_len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(len: usize) -> Payload {
        Payload { kind: 0x4001, message: vec![0; len], tail: Vec::new() }
    }

    #[test]
    fn what_was_seen_is_given_up_and_the_rest_is_there() {
        let mut kept = Kept::default();
        for event in 1..=5 {
            kept.push(event, RequestId(if event % 2 == 0 { event + 10 } else { 0 }), payload(10));
        }
        kept.note_seen(2);
        assert!(kept.reply_to(RequestId(12)).is_none(), "seen");
        assert_eq!(kept.reply_to(RequestId(14)).map(|frame| frame.event), Some(4));
        assert_eq!(kept.iter().map(|frame| frame.event).collect::<Vec<_>>(), [3, 4, 5]);
        assert!(kept.reaches_back_to(2) && !kept.reaches_back_to(1));
        kept.note_seen(5);
        assert_eq!((kept.bytes, kept.iter().count()), (0, 0));
    }

    #[test]
    fn logs_are_bounded_more_closely() {
        let logged = || Payload { kind: Kind::Logged.number(), ..payload(FULL_OF_LOGS / 2) };
        let mut kept = Kept::default();
        kept.push(1, RequestId(0), logged());
        kept.push(2, RequestId(0), payload(FULL_OF_LOGS));
        assert!(!kept.is_full());
        kept.push(3, RequestId(0), logged());
        assert!(kept.is_full());
        kept.note_seen(1);
        assert!(!kept.is_full());
    }

    #[test]
    fn bytes_and_frames_are_bounded() {
        let mut kept = Kept::default();
        kept.push(1, RequestId(0), payload(FULL));
        assert!(kept.is_full() && !kept.is_beyond_bounds());
        kept.push(2, RequestId(0), payload(MOST));
        assert!(kept.is_beyond_bounds());
        let mut kept = Kept::default();
        for event in 0..=2 * FULL_FRAMES as u64 {
            kept.push(event + 1, RequestId(0), payload(0));
        }
        assert!(kept.is_full() && kept.is_beyond_bounds());
    }
}
