//! Hashes: of names for lookup, of content for interning, of files against damage. None is cryptographic.

use std::hash::{BuildHasherDefault, Hasher};

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Hash of a name without regard to ASCII case; stored in index files, so it never changes within a format version.
///
/// Bit 5 of every byte is set, which makes letters of both cases equal, and some other characters, too: whoever uses
/// the hash compares the names as well. The high bits are the good ones, and select a bucket.
pub(crate) fn folded_hash(name: &[u8]) -> u32 {
    const CASE: u64 = 0x2020_2020_2020_2020;
    let mut hash = name.len() as u64;
    let (words, rest) = name.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    for word in words.iter().chain([&last]) {
        hash = (hash.rotate_left(5) ^ (u64::from_le_bytes(*word) | CASE)).wrapping_mul(MULTIPLIER);
    }
    ((hash ^ (hash >> 32)).wrapping_mul(MULTIPLIER) >> 32) as u32
}

/// Hash of exact content, 64 bits.
pub(crate) fn content_hash(bytes: &[u8]) -> u64 {
    let mut hash = bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(MULTIPLIER);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    hash = (hash.rotate_left(5) ^ u64::from_le_bytes(last)).wrapping_mul(MULTIPLIER);
    (hash ^ (hash >> 29)).wrapping_mul(MULTIPLIER)
}

/// Running checksum of a file's content: finds truncation and damage, at memory speed.
///
/// Four independent lanes, as xxHash has them, so that the multiplications overlap.
#[derive(Clone, Debug)]
pub(crate) struct Checksum {
    lanes: [u64; 4],
    pending: Vec<u8>,
    len: u64,
}

impl Checksum {
    pub(crate) fn new() -> Checksum {
        Checksum { lanes: [1, 2, 3, 4], pending: Vec::with_capacity(32), len: 0 }
    }

    /// Adds bytes; how they are cut into calls does not matter.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len() as u64;
        if !self.pending.is_empty() {
            let take = bytes.len().min(32 - self.pending.len());
            self.pending.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if self.pending.len() < 32 {
                return;
            }
            let block = std::mem::take(&mut self.pending);
            self.blocks(&block);
        }
        let whole = bytes.len() / 32 * 32;
        self.blocks(&bytes[..whole]);
        self.pending.extend_from_slice(&bytes[whole..]);
    }

    fn blocks(&mut self, bytes: &[u8]) {
        let mut lanes = self.lanes;
        for block in bytes.as_chunks::<32>().0 {
            for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
                *lane = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(MULTIPLIER).rotate_left(27);
            }
        }
        self.lanes = lanes;
    }

    /// The checksum of all bytes so far.
    pub(crate) fn finish(&self) -> u64 {
        let mut hash = self.len;
        for lane in self.lanes {
            hash = (hash.rotate_left(17) ^ lane).wrapping_mul(MULTIPLIER);
        }
        hash ^ content_hash(&self.pending)
    }
}

/// A fast hasher for maps keyed by integers that we made ourselves.
#[derive(Default, Clone)]
pub(crate) struct IntHasher(u64);

impl Hasher for IntHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.write_u64(content_hash(bytes));
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(23) ^ value).wrapping_mul(MULTIPLIER);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

/// A map keyed by integers.
pub(crate) type IntMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<IntHasher>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_matter_to_names_but_to_content() {
        assert_eq!(folded_hash(b"FooBar"), folded_hash(b"foobar"));
        assert_ne!(folded_hash(b"foobar"), folded_hash(b"foobaz"));
        assert_ne!(content_hash(b"FooBar"), content_hash(b"foobar"));
        assert_ne!(content_hash(b"a"), content_hash(b"a\0"), "length counts");
    }

    #[test]
    fn checksum_is_independent_of_cuts_and_sees_each_byte() {
        let data: Vec<u8> = (0..1000u32).map(|at| (at * 7) as u8).collect();
        let whole = |bytes: &[u8]| {
            let mut sum = Checksum::new();
            sum.update(bytes);
            sum.finish()
        };
        let expected = whole(&data);
        for cut in [1, 31, 32, 33, 500, 999] {
            let mut sum = Checksum::new();
            sum.update(&data[..cut]);
            sum.update(&data[cut..]);
            assert_eq!(sum.finish(), expected);
        }
        for at in 0..data.len() {
            let mut damaged = data.clone();
            damaged[at] ^= 1;
            assert_ne!(whole(&damaged), expected, "byte {at}");
        }
        assert_ne!(whole(&data[..999]), expected);
    }
}
