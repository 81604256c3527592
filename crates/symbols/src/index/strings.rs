//! Names, each kept once.

use crate::hash::{IntMap, content_hash};

/// Number of a string within its interner. 0 is the empty string.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct StringId(pub(crate) u32);

/// Strings in one arena, found again by content.
#[derive(Debug)]
pub(crate) struct Interner {
    arena: Vec<u8>,
    /// Where each string ends; it begins where the one before ends.
    ends: Vec<u32>,
    hashes: Vec<u64>,
    by_hash: IntMap<u64, StringId>,
    limit: usize,
    refused: u64,
}

impl Interner {
    /// An interner for at most `limit` bytes of text; what does not fit becomes the empty string and is counted.
    ///
    /// The limit is the size of the sections that the names come from: distinct strings of a sound file cannot be
    /// longer together, while overlapping ones of a hostile file could fill any memory.
    pub(crate) fn new(limit: usize) -> Interner {
        let limit = limit.min(u32::MAX as usize);
        let mut interner = Interner {
            arena: Vec::new(),
            ends: Vec::new(),
            hashes: Vec::new(),
            by_hash: IntMap::default(),
            limit,
            refused: 0,
        };
        interner.add(b"", content_hash(b""));
        interner
    }

    pub(crate) fn intern(&mut self, text: &[u8]) -> StringId {
        self.intern_hashed(text, content_hash(text))
    }

    /// As [`Interner::intern`], for text whose [`content_hash`] is known.
    pub(crate) fn intern_hashed(&mut self, text: &[u8], hash: u64) -> StringId {
        let mut probe = hash;
        while let Some(&found) = self.by_hash.get(&probe) {
            if self.get(found) == text {
                return found;
            }
            probe = probe.wrapping_add(1);
        }
        if self.arena.len() + text.len() > self.limit {
            self.refused += 1;
            return StringId(0);
        }
        self.add(text, probe)
    }

    fn add(&mut self, text: &[u8], probe: u64) -> StringId {
        let id = StringId(self.ends.len() as u32);
        self.arena.extend_from_slice(text);
        self.ends.push(self.arena.len() as u32);
        self.hashes.push(content_hash(text));
        self.by_hash.insert(probe, id);
        id
    }

    /// The string; empty for an id that is not of this interner.
    pub(crate) fn get(&self, id: StringId) -> &[u8] {
        let at = id.0 as usize;
        let end = self.ends.get(at).copied().unwrap_or(0) as usize;
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0) as usize;
        self.arena.get(start..end).unwrap_or_default()
    }

    /// The string's [`content_hash`].
    pub(crate) fn hash(&self, id: StringId) -> u64 {
        self.hashes.get(id.0 as usize).copied().unwrap_or(0)
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// How many strings found no room.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// The text of all strings and where each ends; the maps are given back to the system.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Vec<u32>) {
        (self.arena, self.ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_text_is_kept_once() {
        let mut interner = Interner::new(100);
        let a = interner.intern(b"alpha");
        let b = interner.intern(b"beta");
        assert_eq!(interner.intern(b"alpha"), a);
        assert_ne!(a, b);
        assert_eq!((interner.get(a), interner.get(b)), (&b"alpha"[..], &b"beta"[..]));
        assert_eq!(interner.intern(b""), StringId(0));
        assert_eq!(interner.get(StringId(77)), b"");
    }

    #[test]
    fn text_beyond_the_limit_is_counted_not_kept() {
        let mut interner = Interner::new(8);
        interner.intern(b"12345");
        assert_eq!(interner.intern(b"6789"), StringId(0));
        assert_ne!(interner.intern(b"678"), StringId(0));
        assert_eq!(interner.refused(), 1);
    }

    #[test]
    fn strings_with_one_hash_are_told_apart() {
        let mut interner = Interner::new(100);
        let a = interner.intern_hashed(b"one", 5);
        let b = interner.intern_hashed(b"two", 5);
        assert_ne!(a, b);
        assert_eq!(interner.intern_hashed(b"two", 5), b);
    }
}
