//! A byte stream in each direction over frames that get lost: numbered, acknowledged, sent again.
//!
//! A line keeps the order of what it carries and delivers nothing twice, so a frame that is missing below one that
//! arrived is lost for certain: it is sent again at once, without waiting for a timer. Frames have numbers of their
//! own and bytes have offsets, so what is sent again may be cut anew: on a bad line in smaller pieces, since the chance
//! of a frame to arrive falls with its length. Nothing here knows a clock or a device; time is a value.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::frame::{MAX_BODY, OVERHEAD};

/// Bytes beyond the next expected one that a receiver keeps, and so the most that may be on their way. Below half of
/// the offsets' range, so that 16 bits tell an offset.
pub(crate) const WINDOW: usize = 16 << 10;
/// Frames that may be on their way, far below half of the numbers' range.
const MAX_FRAMES: usize = 512;
/// Number, offset, highest number received, those below it.
pub(crate) const DATA_HEADER: usize = 10;
/// Highest number received, those below it.
pub(crate) const ACK_HEADER: usize = 6;
/// Payload of a frame on a clean line; one byte of the body is its kind.
const MAX_PAYLOAD: usize = MAX_BODY - DATA_HEADER - 1;
/// Payload of a frame on the worst line; below that the header costs more than it saves.
const MIN_PAYLOAD: usize = 16;
/// What each frame that arrives adds to the payload of the next, until one is lost, which takes a quarter away.
const PAYLOAD_STEP: usize = 8;
/// How much of the line's time may be on its way, so that stops and acknowledgements do not wait long behind bulk.
const FLIGHT_TIME: Duration = Duration::from_millis(400);
const MIN_FLIGHT: usize = 1 << 10;
/// Bounds of the time after which a frame without an answer is sent again, on top of what it takes to send two.
const MIN_TIMEOUT: Duration = Duration::from_millis(40);
const MAX_TIMEOUT: Duration = Duration::from_secs(2);

/// A sent frame that nothing is known of.
#[derive(Debug, Clone, Copy)]
struct Flight {
    number: u64,
    offset: u64,
    len: usize,
    at: Duration,
}

/// Both directions of one link, from the first byte of it.
#[derive(Debug)]
pub(crate) struct Reliable {
    // Sending.
    /// Bytes from `base` on that have not been acknowledged or not been sent.
    buffer: VecDeque<u8>,
    base: u64,
    /// First offset never sent.
    next: u64,
    /// Ranges to send again: offset to length.
    lost: BTreeMap<u64, usize>,
    flights: VecDeque<Flight>,
    next_number: u64,
    highest_acknowledged: u64,
    payload: usize,
    max_flight: usize,
    // Round trips (RFC 6298).
    smoothed: Option<(Duration, Duration)>,
    two_frames: Duration,
    backoff: u32,
    // Receiving.
    expected: u64,
    /// From `expected` on; `None` is a gap.
    ahead: VecDeque<Option<u8>>,
    ready: VecDeque<u8>,
    highest_received: u64,
    /// Bit n: number `highest_received - 1 - n` was received.
    below: u32,
    /// Frames since the last acknowledgement that was sent.
    unacknowledged: u32,
}

impl Reliable {
    /// `byte_time`: what one byte takes on the line.
    pub(crate) fn new(byte_time: Duration) -> Reliable {
        let in_time = FLIGHT_TIME.as_nanos() / byte_time.as_nanos().max(1);
        let max_flight = usize::try_from(in_time).unwrap_or(WINDOW).clamp(MIN_FLIGHT, WINDOW);
        Reliable {
            buffer: VecDeque::new(),
            base: 0,
            next: 0,
            lost: BTreeMap::new(),
            flights: VecDeque::new(),
            // 0 stands for "nothing received".
            next_number: 1,
            highest_acknowledged: 0,
            payload: MAX_PAYLOAD / 2,
            max_flight,
            smoothed: None,
            two_frames: byte_time * 2 * (MAX_BODY + OVERHEAD) as u32,
            backoff: 0,
            expected: 0,
            ahead: VecDeque::new(),
            ready: VecDeque::new(),
            highest_received: 0,
            below: 0,
            unacknowledged: 0,
        }
    }

    /// How many bytes [`Reliable::push`] takes now. Little is kept unsent, so that what is urgent is soon next.
    pub(crate) fn room(&self) -> usize {
        let unsent = self.end() - self.next;
        let soon = (2 * MAX_PAYLOAD).saturating_sub(usize::try_from(unsent).unwrap_or(usize::MAX));
        soon.min(WINDOW.saturating_sub(self.buffer.len()))
    }

    /// Adds bytes to the stream; not more than there is room for.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
    }

    /// Whether everything was sent and acknowledged.
    pub(crate) fn is_settled(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Bytes that arrived, in order. Whoever calls takes them at once, so they are bounded by the window.
    pub(crate) fn received(&mut self) -> &mut VecDeque<u8> {
        &mut self.ready
    }

    /// The next data frame's body behind its kind, if there is something to send. With `ping`, an empty one if need be:
    /// it is answered like any other.
    pub(crate) fn data(&mut self, now: Duration, ping: bool) -> Option<Vec<u8>> {
        let range = self.lost_range().or_else(|| self.new_range());
        let (offset, len) = match range {
            Some(range) => range,
            None if ping && self.flights.len() < MAX_FRAMES => (self.next, 0),
            None => return None,
        };
        let number = self.next_number;
        self.next_number += 1;
        self.flights.push_back(Flight { number, offset, len, at: now });
        let mut body = Vec::with_capacity(DATA_HEADER + len);
        body.extend((number as u16).to_le_bytes());
        body.extend((offset as u16).to_le_bytes());
        body.extend(self.acknowledgement());
        let start = (offset - self.base) as usize;
        body.extend(self.buffer.range(start..start + len));
        Some(body)
    }

    /// Whether an acknowledgement should not wait until all that arrived was looked at: one tells of 33 frames, and
    /// four of them may get lost.
    pub(crate) fn is_acknowledgement_urgent(&self) -> bool {
        self.unacknowledged >= 8
    }

    /// The body of an acknowledgement behind its kind, if one is owed.
    pub(crate) fn pure_acknowledgement(&mut self) -> Option<Vec<u8>> {
        (self.unacknowledged > 0).then(|| self.acknowledgement())
    }

    /// When frames count as lost if nothing is heard until then.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        Some(self.flights.front()?.at + self.timeout())
    }

    /// Whether there is something to send, whatever the time.
    pub(crate) fn wants_to_send(&self) -> bool {
        self.unacknowledged > 0 || self.may_send_again() || self.may_send_new()
    }

    /// Gives up what was not answered in time.
    pub(crate) fn tick(&mut self, now: Duration) {
        let limit = self.timeout();
        let mut late = false;
        while let Some(flight) = self.flights.front().copied().filter(|flight| flight.at + limit <= now) {
            self.flights.pop_front();
            self.lose(flight);
            late = true;
        }
        if late {
            self.backoff = (self.backoff + 1).min(8);
        }
    }

    /// Takes the body of a data frame behind its kind; `None` if it is not well formed.
    pub(crate) fn take_data(&mut self, body: &[u8], now: Duration) -> Option<()> {
        let (header, payload) = body.split_first_chunk::<DATA_HEADER>()?;
        let [n0, n1, o0, o1, acknowledgement @ ..] = header;
        self.take_acknowledgement(acknowledgement, now)?;
        let number = widen(u16::from_le_bytes([*n0, *n1]), self.highest_received)?;
        self.note_received(number);
        self.unacknowledged = self.unacknowledged.saturating_add(1);
        let offset = widen(u16::from_le_bytes([*o0, *o1]), self.expected)?;
        for (at, &byte) in (offset..).zip(payload) {
            let Some(at) = at.checked_sub(self.expected) else { continue };
            if at >= WINDOW as u64 {
                break;
            }
            let at = at as usize;
            if self.ahead.len() <= at {
                self.ahead.resize(at + 1, None);
            }
            self.ahead[at] = Some(byte);
        }
        while let Some(byte) = self.ahead.front().copied().flatten() {
            self.ahead.pop_front();
            self.expected += 1;
            self.ready.push_back(byte);
        }
        Some(())
    }

    /// Takes the body of an acknowledgement behind its kind; `None` if it is not well formed.
    pub(crate) fn take_acknowledgement(&mut self, body: &[u8], now: Duration) -> Option<()> {
        let [h0, h1, below @ ..] = <&[u8; ACK_HEADER]>::try_from(body).ok()?;
        let below = u32::from_le_bytes(*below);
        let highest = widen(u16::from_le_bytes([*h0, *h1]), self.highest_acknowledged)?;
        // Of a number that was never sent, or older than one that came already: nothing that this line can say.
        if highest >= self.next_number || highest < self.highest_acknowledged {
            return Some(());
        }
        self.highest_acknowledged = highest;
        while let Some(flight) = self.flights.front().copied().filter(|flight| flight.number <= highest) {
            self.flights.pop_front();
            let distance = highest - flight.number;
            let arrived = match distance.checked_sub(1) {
                None => true,
                Some(bit) => bit < 32 && below & (1 << bit) != 0,
            };
            if !arrived {
                self.lose(flight);
                continue;
            }
            self.backoff = 0;
            if flight.len * 2 >= self.payload {
                self.payload = (self.payload + PAYLOAD_STEP).min(MAX_PAYLOAD);
            }
            if distance == 0 {
                self.measure(now.saturating_sub(flight.at));
            }
        }
        self.release();
        Some(())
    }

    fn end(&self) -> u64 {
        self.base + self.buffer.len() as u64
    }

    fn in_flight(&self) -> usize {
        self.flights.iter().map(|flight| flight.len).sum()
    }

    fn may_send_again(&self) -> bool {
        !self.lost.is_empty() && self.flights.len() < MAX_FRAMES
    }

    fn may_send_new(&self) -> bool {
        self.next < self.end() && self.flights.len() < MAX_FRAMES && self.in_flight() < self.max_flight
    }

    /// The lowest lost bytes, as many as fit a frame.
    fn lost_range(&mut self) -> Option<(u64, usize)> {
        if !self.may_send_again() {
            return None;
        }
        let (offset, mut len) = self.lost.pop_first()?;
        while len < self.payload
            && let Some(more) = self.lost.remove(&(offset + len as u64))
        {
            len += more;
        }
        if len > self.payload {
            self.lost.insert(offset + self.payload as u64, len - self.payload);
            len = self.payload;
        }
        Some((offset, len))
    }

    fn new_range(&mut self) -> Option<(u64, usize)> {
        if !self.may_send_new() {
            return None;
        }
        let len = ((self.end() - self.next) as usize).min(self.payload);
        let offset = self.next;
        self.next += len as u64;
        Some((offset, len))
    }

    fn lose(&mut self, flight: Flight) {
        if flight.len > 0 {
            self.lost.insert(flight.offset, flight.len);
            self.payload = (self.payload * 3 / 4).max(MIN_PAYLOAD);
        }
    }

    /// Forgets what no longer needs to be sent again.
    fn release(&mut self) {
        let flying = self.flights.iter().filter(|flight| flight.len > 0).map(|flight| flight.offset).min();
        let lost = self.lost.first_key_value().map(|(offset, _)| *offset);
        let base = [flying, lost].into_iter().flatten().fold(self.next, u64::min);
        self.buffer.drain(..(base - self.base) as usize);
        self.base = base;
    }

    fn acknowledgement(&mut self) -> Vec<u8> {
        self.unacknowledged = 0;
        [&(self.highest_received as u16).to_le_bytes()[..], &self.below.to_le_bytes()].concat()
    }

    fn note_received(&mut self, number: u64) {
        match number.checked_sub(self.highest_received) {
            Some(0) => {}
            Some(ahead) => {
                let shifted = if ahead < 32 { self.below << ahead } else { 0 };
                // The one that was the highest; 0 never was a number.
                let former = if ahead <= 32 && self.highest_received > 0 { 1 << (ahead - 1) } else { 0 };
                self.below = shifted | former;
                self.highest_received = number;
            }
            None => {
                let bit = self.highest_received - number - 1;
                self.below |= if bit < 32 { 1 << bit } else { 0 };
            }
        }
    }

    fn measure(&mut self, round_trip: Duration) {
        self.smoothed = Some(match self.smoothed {
            None => (round_trip, round_trip / 2),
            Some((mean, deviation)) => ((mean * 7 + round_trip) / 8, (deviation * 3 + mean.abs_diff(round_trip)) / 4),
        });
    }

    fn timeout(&self) -> Duration {
        let measured = match self.smoothed {
            Some((mean, deviation)) => mean + deviation * 4,
            None => FLIGHT_TIME,
        };
        let patient = measured.max(MIN_TIMEOUT) * 3_u32.pow(self.backoff) / 2_u32.pow(self.backoff);
        self.two_frames + patient.min(MAX_TIMEOUT)
    }
}

/// The number nearest to `near` whose low 16 bits are these.
fn widen(low: u16, near: u64) -> Option<u64> {
    near.checked_add_signed(i64::from(low.wrapping_sub(near as u16) as i16))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn pair() -> (Reliable, Reliable) {
        let new = || Reliable::new(Duration::from_micros(87));
        (new(), new())
    }

    fn take(stream: &mut Reliable) -> Vec<u8> {
        stream.received().drain(..).collect()
    }

    #[test]
    fn a_gap_is_sent_again_without_waiting() {
        let (mut a, mut b) = pair();
        a.push(&[1; 300]);
        let frames: Vec<_> = std::iter::from_fn(|| a.data(MS, false)).collect();
        assert!(frames.len() >= 3, "{}", frames.len());
        b.take_data(&frames[0], MS).unwrap();
        b.take_data(&frames[2], MS).unwrap();
        assert_eq!(take(&mut b).len(), frames[0].len() - DATA_HEADER);
        let acknowledgement = b.pure_acknowledgement().unwrap();
        assert_eq!(b.pure_acknowledgement(), None, "once");
        a.take_acknowledgement(&acknowledgement, MS).unwrap();
        assert!(a.wants_to_send() && !a.is_settled());
        while let Some(frame) = a.data(MS, false) {
            b.take_data(&frame, MS).unwrap();
        }
        let acknowledgement = b.pure_acknowledgement().unwrap();
        a.take_acknowledgement(&acknowledgement, MS).unwrap();
        assert_eq!(take(&mut b).len() + frames[0].len() - DATA_HEADER, 300);
        assert!(a.is_settled() && !a.wants_to_send());
        assert_eq!(a.deadline(), None);
    }

    #[test]
    fn the_last_frame_is_sent_again_when_its_time_is_over() {
        let (mut a, mut b) = pair();
        a.push(b"last words");
        let _lost = a.data(MS, false).unwrap();
        assert_eq!(a.data(MS, false), None);
        let deadline = a.deadline().unwrap();
        a.tick(deadline - MS / 2);
        assert!(!a.wants_to_send());
        a.tick(deadline);
        b.take_data(&a.data(deadline, false).unwrap(), deadline).unwrap();
        assert_eq!(take(&mut b), b"last words");
        assert!(a.deadline().unwrap() - deadline > deadline - MS, "it is more patient now");
    }

    #[test]
    fn what_is_beyond_the_window_and_what_was_had_is_dropped() {
        let (_, mut b) = pair();
        let frame = |number: u16, offset: u16, payload: &[u8]| {
            [&number.to_le_bytes()[..], &offset.to_le_bytes(), &[0; ACK_HEADER], payload].concat()
        };
        b.take_data(&frame(1, WINDOW as u16, b"x"), MS).unwrap();
        assert!(b.ahead.is_empty());
        b.take_data(&frame(2, 2, b"cd"), MS).unwrap();
        b.take_data(&frame(3, 0, b"ab"), MS).unwrap();
        b.take_data(&frame(4, 0, b"ab"), MS).unwrap();
        assert_eq!(take(&mut b), b"abcd");
        assert_eq!((b.take_data(b"short", MS), b.take_acknowledgement(b"short", MS)), (None, None));
    }

    #[test]
    fn numbers_and_offsets_go_round() {
        let (mut a, mut b) = pair();
        let mut sum = 0;
        for _ in 0..70_000 {
            a.push(&[5; 7]);
            b.take_data(&a.data(MS, false).unwrap(), MS).unwrap();
            a.take_acknowledgement(&b.pure_acknowledgement().unwrap(), MS).unwrap();
            sum += take(&mut b).len();
        }
        assert_eq!(sum, 490_000);
        assert!(a.is_settled());
    }
}
