//! Frames in a byte stream: a buffer that cuts them out, a queue that sends them.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};

use crate::WireError;
use crate::frame::{self, Frame, HEADER_LEN, Header};

/// What the buffer starts with; small, since an idle session keeps it.
const INITIAL: usize = 4 << 10;
/// What one read asks for once more than that came.
const COMFORTABLE: usize = 64 << 10;
/// A buffer beyond this is given back once it is empty.
const KEEP: usize = 2 << 20;
/// Tails up to this are copied behind their message, longer ones are sent from where they are.
const COPY_TAIL: usize = 4 << 10;
/// Pieces written at once.
const PIECES: usize = 64;

/// Cuts frames out of a byte stream. Holds at most one frame beyond what it was asked for.
#[derive(Debug)]
pub struct FrameReader {
    /// All of it is initialised; bytes `start..end` are unread.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    limit: usize,
}

impl FrameReader {
    /// Refuses frames longer than `limit` bytes, header included.
    pub fn new(limit: usize) -> FrameReader {
        FrameReader { buffer: Vec::new(), start: 0, end: 0, limit }
    }

    /// Changes the limit, once the ends have agreed.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Reads once from `source`; returns the number of bytes, 0 at its end.
    ///
    /// # Errors
    /// The source's.
    pub fn fill_from(&mut self, source: &mut impl Read) -> io::Result<usize> {
        self.make_room();
        let count = source.read(&mut self.buffer[self.end..])?;
        self.end += count;
        Ok(count)
    }

    /// Reads once, but never beyond the end of the frame that has begun: what follows stays in the source, for another
    /// process to read.
    ///
    /// # Errors
    /// The source's, and [`WireError`] as [`io::ErrorKind::InvalidData`] if the frame is refused by its length.
    pub fn fill_exactly_from(&mut self, source: &mut impl Read) -> io::Result<usize> {
        let have = self.end - self.start;
        let wanted = match self.pending_len().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            Some(total) => total.saturating_sub(have),
            None => 4 - have,
        };
        if wanted == 0 {
            return Ok(0);
        }
        self.make_room();
        let room = (self.buffer.len() - self.end).min(wanted);
        let count = source.read(&mut self.buffer[self.end..self.end + room])?;
        self.end += count;
        Ok(count)
    }

    /// Whether a whole frame is there.
    ///
    /// # Errors
    /// If it is refused by its length.
    pub fn has_frame(&self) -> Result<bool, WireError> {
        Ok(self.pending_len()?.is_some_and(|total| self.end - self.start >= total))
    }

    /// Whether no byte is left over, so that the stream could be handed to somebody else.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The next whole frame, if there is one.
    ///
    /// # Errors
    /// A broken frame; the stream cannot be read further then.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, WireError> {
        let Some(total) = self.pending_len()?.filter(|&total| self.end - self.start >= total) else { return Ok(None) };
        let start = self.start;
        self.start += total;
        frame::parse(&self.buffer[start..start + total]).map(Some)
    }

    fn pending_len(&self) -> Result<Option<usize>, WireError> {
        frame::frame_len(&self.buffer[self.start..self.end], self.limit)
    }

    /// Room for the rest of the frame that has begun, or for a comfortable read.
    fn make_room(&mut self) {
        let have = self.end - self.start;
        if have == 0 {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > KEEP {
                self.buffer = Vec::new();
            }
        }
        let wanted = match self.pending_len() {
            Ok(Some(total)) => total.max(INITIAL),
            _ => INITIAL,
        };
        if self.buffer.len() - self.start < wanted || self.buffer.len() == self.end {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, have);
            // A full buffer says that much is coming; only then is it worth more memory.
            let size = if have >= INITIAL { wanted.max(COMFORTABLE).max(have * 2) } else { wanted };
            let size = size.min(self.limit.max(wanted)).max(have + 1);
            if self.buffer.len() < size {
                self.buffer.resize(size, 0);
            }
        }
    }
}

/// An encoded message with its tail, in pieces that lie one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payload {
    /// Number of the message.
    pub kind: u16,
    /// Protobuf.
    pub message: Vec<u8>,
    /// Pieces of the tail.
    pub tail: Vec<Vec<u8>>,
}

impl Payload {
    /// Bytes of the whole frame.
    pub fn frame_len(&self) -> usize {
        HEADER_LEN + self.message.len() + self.tail.iter().map(Vec::len).sum::<usize>()
    }
}

/// Frames on their way out. Knows how many bytes wait, so that its owner can bound them.
#[derive(Debug, Default)]
pub struct FrameQueue {
    pieces: VecDeque<Vec<u8>>,
    /// Bytes of the first piece already written.
    written: usize,
    len: usize,
}

impl FrameQueue {
    /// Nothing waits.
    pub fn new() -> FrameQueue {
        FrameQueue::default()
    }

    /// Appends a frame; `header.kind` is taken from the payload.
    ///
    /// # Errors
    /// [`WireError::FrameTooLong`] beyond what the layout holds; nothing is appended then.
    pub fn push(&mut self, header: Header, payload: Payload) -> Result<(), WireError> {
        let tail_len = payload.tail.iter().map(Vec::len).sum();
        let header = Header { kind: payload.kind, ..header };
        let head = header.encode(payload.message.len(), tail_len)?;
        let copied = if tail_len <= COPY_TAIL { tail_len } else { 0 };
        let mut piece = Vec::with_capacity(HEADER_LEN + payload.message.len() + copied);
        piece.extend_from_slice(&head);
        piece.extend_from_slice(&payload.message);
        self.len += HEADER_LEN + payload.message.len() + tail_len;
        if tail_len <= COPY_TAIL {
            payload.tail.iter().for_each(|bytes| piece.extend_from_slice(bytes));
            self.pieces.push_back(piece);
        } else {
            self.pieces.push_back(piece);
            self.pieces.extend(payload.tail.into_iter().filter(|bytes| !bytes.is_empty()));
        }
        Ok(())
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether everything was written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes once, as much as `sink` takes; returns the number of bytes.
    ///
    /// # Errors
    /// The sink's; [`io::ErrorKind::WriteZero`] if it takes nothing.
    pub fn write_to(&mut self, sink: &mut impl Write) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); PIECES];
        let mut count = 0;
        for (slot, piece) in slices.iter_mut().zip(&self.pieces) {
            *slot = IoSlice::new(if count == 0 { &piece[self.written..] } else { piece });
            count += 1;
        }
        if count == 0 {
            return Ok(0);
        }
        let written = sink.write_vectored(&slices[..count])?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.advance(written);
        Ok(written)
    }

    fn advance(&mut self, written: usize) {
        self.len = self.len.saturating_sub(written);
        self.written += written;
        while let Some(first) = self.pieces.front().filter(|first| first.len() <= self.written) {
            self.written -= first.len();
            self.pieces.pop_front();
        }
        if self.pieces.is_empty() {
            self.pieces.shrink_to(PIECES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::RequestId;

    fn payload(message: usize, tail: &[usize]) -> Payload {
        let fill = |len: usize| (0..len).map(|at| at as u8).collect::<Vec<_>>();
        Payload { kind: 0x105, message: fill(message), tail: tail.iter().copied().map(fill).collect() }
    }

    fn bytes(payloads: &[Payload]) -> Vec<u8> {
        let mut queue = FrameQueue::new();
        for (at, payload) in payloads.iter().enumerate() {
            let header = Header { request: RequestId(at as u64 + 1), event: 7, seen: 9, ..Header::default() };
            queue.push(header, payload.clone()).unwrap();
        }
        assert_eq!(queue.len(), payloads.iter().map(Payload::frame_len).sum::<usize>());
        let mut bytes = Vec::new();
        while !queue.is_empty() {
            queue.write_to(&mut bytes).unwrap();
        }
        bytes
    }

    /// A source that gives at most `step` bytes at a time.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let step = self.1.min(buf.len());
            self.0.read(&mut buf[..step])
        }
    }

    #[test]
    fn frames_come_out_as_they_went_in_whatever_the_pieces() {
        let payloads = [payload(0, &[]), payload(10, &[3, 5]), payload(100, &[70_000, 1, 5_000]), payload(9_000, &[])];
        let bytes = bytes(&payloads);
        for step in [1, 2, 35, 4096, 1 << 20] {
            let mut source = Trickle(&bytes, step);
            let mut reader = FrameReader::new(1 << 20);
            let mut at = 0;
            while at < payloads.len() {
                while let Some(frame) = reader.next_frame().unwrap() {
                    let expected = &payloads[at];
                    assert_eq!(
                        frame.header,
                        Header { kind: 0x105, request: RequestId(at as u64 + 1), event: 7, seen: 9 }
                    );
                    assert_eq!(frame.message, expected.message);
                    assert_eq!(frame.tail, expected.tail.concat());
                    at += 1;
                }
                assert!(at == payloads.len() || reader.fill_from(&mut source).unwrap() > 0);
            }
            assert!(reader.is_empty() && source.0.is_empty());
        }
    }

    #[test]
    fn reading_exactly_leaves_what_follows_in_the_source() {
        let bytes = bytes(&[payload(10, &[]), payload(20, &[30])]);
        let mut source = Trickle(&bytes, 7);
        let mut reader = FrameReader::new(1 << 10);
        while !reader.has_frame().unwrap() {
            assert!(reader.fill_exactly_from(&mut source).unwrap() > 0);
        }
        assert_eq!(source.0.len(), payload(20, &[30]).frame_len());
        assert_eq!(reader.next_frame().unwrap().unwrap().message.len(), 10);
        assert!(reader.is_empty());
    }

    #[test]
    fn a_length_is_refused_before_anything_is_read_for_it() {
        for (length, expected) in [(u32::MAX, "exceeds"), (1021, "exceeds"), (31, "contradict"), (0, "contradict")] {
            let mut reader = FrameReader::new(1024);
            reader.fill_from(&mut &length.to_le_bytes()[..]).unwrap();
            let error = reader.next_frame().unwrap_err().to_string();
            assert!(error.contains(expected), "{length}: {error}");
            assert!(reader.buffer.len() <= INITIAL);
        }
    }

    #[test]
    fn a_message_longer_than_its_frame_and_unknown_flags_are_refused() {
        let mut wrong = bytes(&[payload(10, &[])]);
        wrong[32] = 11;
        let parse = |bytes: &[u8]| frame::parse(bytes).map(|frame| frame.len());
        assert_eq!(parse(&wrong), Err(WireError::FrameLengths));
        wrong[32] = 10;
        assert_eq!(parse(&wrong), Ok(46));
        wrong[6] = 1;
        assert_eq!(parse(&wrong), Err(WireError::Flags { flags: 1 }));
    }

    #[test]
    fn an_idle_reader_holds_little() {
        let bytes = bytes(&[payload(0, &[5 << 20])]);
        let mut reader = FrameReader::new(16 << 20);
        let mut source = bytes.as_slice();
        while reader.next_frame().unwrap().is_none() {
            reader.fill_from(&mut source).unwrap();
        }
        assert!(reader.buffer.len() >= 5 << 20);
        reader.fill_from(&mut &[0][..]).unwrap();
        assert_eq!(reader.buffer.len(), INITIAL);
    }
}
