//! Values of everything that crosses the wire, made from a number: the same number, the same value.

mod events;
mod replies;
mod requests;

use outpost_base::*;
use outpost_wire::{FrameQueue, FrameReader, Header, Payload};

/// The bytes of a frame with this payload.
pub(crate) fn frame_bytes(payload: Payload) -> Vec<u8> {
    let mut queue = FrameQueue::new();
    queue.push(Header::default(), payload).expect("it fits");
    let mut bytes = Vec::new();
    while !queue.is_empty() {
        queue.write_to(&mut bytes).expect("memory takes everything");
    }
    bytes
}

/// A reader that holds these bytes.
pub(crate) fn reader_of(bytes: &[u8]) -> FrameReader {
    let mut reader = FrameReader::new(64 << 20);
    let mut source = bytes;
    while !source.is_empty() {
        reader.fill_from(&mut source).expect("memory gives everything");
    }
    reader
}

/// A source of values (xorshift64).
pub(crate) struct Values(u64);

impl Values {
    pub(crate) fn new(seed: u64) -> Values {
        Values(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // Small numbers, large ones and the ends are all worth trying.
        match self.0 % 5 {
            0 => self.0 >> 32 & 0xff,
            1 => 0,
            2 => u64::MAX,
            _ => self.0,
        }
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }

    fn u32(&mut self) -> u32 {
        self.number() as u32
    }

    fn i32(&mut self) -> i32 {
        self.number() as i32
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize].clone()
    }

    fn some<T>(&mut self, make: impl FnOnce(&mut Values) -> T) -> Option<T> {
        self.flag().then(|| make(self))
    }

    fn list<T>(&mut self, mut make: impl FnMut(&mut Values) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| make(self)).collect()
    }

    fn va(&mut self) -> Va {
        Va(self.number())
    }

    fn range(&mut self) -> VaRange {
        VaRange { start: self.va(), end: self.va() }
    }

    fn process(&mut self) -> ProcessId {
        ProcessId(self.u32())
    }

    fn thread(&mut self) -> ThreadId {
        ThreadId(self.u32())
    }

    fn space(&mut self) -> AddressSpaceId {
        AddressSpaceId(self.number())
    }

    fn text(&mut self) -> String {
        self.one_of(&["", "a", "/usr/lib/\u{e4}\u{1f41b}.so", "two words\n", "[heap]"]).into()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = self.one_of(&[0, 1, 15, 2047, 2049, 20_000]);
        let fill = self.u32() as u8;
        vec![fill; len]
    }

    fn short_bytes(&mut self, limit: u64) -> Vec<u8> {
        (0..self.below(limit)).map(|at| at as u8).collect()
    }
}
