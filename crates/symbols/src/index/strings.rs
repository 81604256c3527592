//! Names, each kept once: by where they lie in a section, or, if they lie in none, by a copy.

use std::ffi::CStr;

use super::names::without_arguments;
use crate::SectionData;
use crate::hash::{IntMap, content_hash, folded_hash};

/// Number of a string within its interner. 0 is the empty string.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct StringId(pub(crate) u32);

/// What a string lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Source {
    /// The index itself.
    Own = 0,
    /// `.debug_str` of the file with the DWARF.
    DebugStr = 1,
    /// Strings of `.symtab` of the separate debug file.
    DebugStrtab = 2,
    /// Strings of `.symtab` of the image.
    ImageStrtab = 3,
    /// Strings of `.dynsym` of the image.
    Dynstr = 4,
}

/// How many sources there are besides the index itself.
const SECTIONS: usize = 4;

/// The sections that strings may be left in, since they are there again when the index is opened the next time and
/// cost nothing: those that are mapped. A compressed section, or one on a server, is not among them.
#[derive(Clone, Default, Debug)]
pub(crate) struct Sources {
    sections: [SectionData; SECTIONS],
}

impl Sources {
    /// Offers a section; one that is not mapped is declined, and its strings will be copied.
    pub(crate) fn offer(&mut self, source: Source, section: &SectionData) {
        if section.is_mapped() {
            self.set(source, section.clone());
        }
    }

    /// Puts a section in its place.
    pub(crate) fn set(&mut self, source: Source, section: SectionData) {
        if let Some(slot) = (source as usize).checked_sub(1).and_then(|at| self.sections.get_mut(at)) {
            *slot = section;
        }
    }

    /// Whether strings may be left in this section.
    pub(crate) fn has(&self, source: Source) -> bool {
        !self.section(source as u8).is_empty()
    }

    fn section(&self, source: u8) -> &[u8] {
        let at = usize::from(source).checked_sub(1);
        at.and_then(|at| self.sections.get(at)).map(|section| &**section).unwrap_or_default()
    }

    /// The string at a place that is not in the index itself.
    pub(crate) fn get(&self, place: Place) -> &[u8] {
        place.of(self.section(place.source()))
    }

    /// Gives back the memory of all sections.
    pub(crate) fn release(&self) {
        self.sections.iter().for_each(|section| section.release(0..section.len()));
    }
}

/// Where a string lies: source (4 bits), length (24 bits), offset (36 bits).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Place(pub(crate) u64);

const MAX_LEN: usize = (1 << 24) - 1;
const MAX_OFFSET: usize = (1 << 36) - 1;

impl Place {
    /// `None` if offset or length are too large to be expressed.
    pub(crate) fn new(source: Source, offset: usize, len: usize) -> Option<Place> {
        let fits = len <= MAX_LEN && offset <= MAX_OFFSET;
        fits.then_some(Place(((source as u64) << 60) | ((len as u64) << 36) | offset as u64))
    }

    pub(crate) fn source(self) -> u8 {
        (self.0 >> 60) as u8
    }

    /// The string, out of the bytes that it lies in.
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        let start = (self.0 & MAX_OFFSET as u64) as usize;
        let len = ((self.0 >> 36) & MAX_LEN as u64) as usize;
        bytes.get(start..start.saturating_add(len)).unwrap_or_default()
    }
}

/// Strings, found again by content.
#[derive(Debug)]
pub(crate) struct Interner<'a> {
    sources: &'a Sources,
    arena: Vec<u8>,
    places: Vec<Place>,
    hashes: Vec<u64>,
    /// By what each is found as a name. Computed while its text is at hand: later it would have to be read again.
    keys: Vec<u32>,
    by_hash: IntMap<u64, StringId>,
    limit: usize,
    used: usize,
    refused: u64,
}

impl<'a> Interner<'a> {
    /// An interner for at most `limit` bytes of text; what does not fit becomes the empty string and is counted.
    ///
    /// The limit is the size of the sections that the names come from: distinct strings of a sound file cannot be
    /// longer together, while overlapping ones of a hostile file could take forever.
    pub(crate) fn new(limit: usize, sources: &'a Sources) -> Interner<'a> {
        let mut interner = Interner {
            sources,
            arena: Vec::new(),
            places: Vec::new(),
            hashes: Vec::new(),
            keys: Vec::new(),
            by_hash: IntMap::default(),
            limit,
            used: 0,
            refused: 0,
        };
        interner.add(Place(0), b"", content_hash(b""), content_hash(b""));
        interner
    }

    /// The number of a string, which is copied.
    pub(crate) fn intern(&mut self, text: &[u8]) -> StringId {
        self.intern_hashed(text, content_hash(text))
    }

    fn intern_hashed(&mut self, text: &[u8], hash: u64) -> StringId {
        let probe = match self.probe(None, text, hash) {
            Ok(found) => return found,
            Err(probe) => probe,
        };
        let Some(place) = Place::new(Source::Own, self.arena.len(), text.len()).filter(|_| self.fits(text)) else {
            self.refused += 1;
            return StringId(0);
        };
        self.arena.extend_from_slice(text);
        self.add(place, text, hash, probe)
    }

    /// The number of the string that begins at `offset` of a section and ends at a NUL; it stays there if it may.
    pub(crate) fn intern_at(&mut self, source: Source, section: &[u8], offset: usize) -> Option<StringId> {
        let text = string_at(section, offset)?;
        if self.sources.has(source)
            && let Some(place) = Place::new(source, offset, text.len())
        {
            return Some(self.intern_place(place, text, content_hash(text)));
        }
        Some(self.intern(text))
    }

    fn intern_place(&mut self, place: Place, text: &[u8], hash: u64) -> StringId {
        match self.probe(Some(place), text, hash) {
            Ok(found) => found,
            Err(probe) if self.fits(text) => self.add(place, text, hash, probe),
            Err(_) => {
                self.refused += 1;
                StringId(0)
            }
        }
    }

    /// The number that a string of another interner has in this one.
    pub(crate) fn adopt(&mut self, other: &Interner<'_>, id: StringId) -> StringId {
        let place = other.place(id);
        let (text, hash) = (other.get(id), other.hashes.get(id.0 as usize).copied().unwrap_or(0));
        if place.source() == Source::Own as u8 {
            self.intern_hashed(text, hash)
        } else {
            self.intern_place(place, text, hash)
        }
    }

    /// The string if it is there, else where its hash is to be put.
    fn probe(&self, place: Option<Place>, text: &[u8], hash: u64) -> Result<StringId, u64> {
        let mut probe = hash;
        while let Some(&found) = self.by_hash.get(&probe) {
            // Linkers merge strings, so one text has mostly one place, and need not be read to be compared.
            if place == Some(self.place(found)) || self.get(found) == text {
                return Ok(found);
            }
            probe = probe.wrapping_add(1);
        }
        Err(probe)
    }

    fn fits(&self, text: &[u8]) -> bool {
        self.used.saturating_add(text.len()) <= self.limit
    }

    fn add(&mut self, place: Place, text: &[u8], hash: u64, probe: u64) -> StringId {
        let id = StringId(self.places.len() as u32);
        self.places.push(place);
        self.hashes.push(hash);
        self.keys.push(folded_hash(without_arguments(text)));
        self.by_hash.insert(probe, id);
        self.used += text.len();
        id
    }

    /// The string; empty for an id that is not of this interner.
    pub(crate) fn get(&self, id: StringId) -> &[u8] {
        self.at(self.place(id))
    }

    /// Where the string lies.
    pub(crate) fn place(&self, id: StringId) -> Place {
        self.places.get(id.0 as usize).copied().unwrap_or_default()
    }

    /// The string at a place.
    pub(crate) fn at(&self, place: Place) -> &[u8] {
        if place.source() == Source::Own as u8 { place.of(&self.arena) } else { self.sources.get(place) }
    }

    /// The hash by which a name is found: of its base, in any case.
    pub(crate) fn key(&self, id: StringId) -> u32 {
        self.keys.get(id.0 as usize).copied().unwrap_or(0)
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many strings found no room.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// The text of strings that were copied, and where each string lies.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Vec<Place>) {
        (self.arena, self.places)
    }
}

/// The NUL-terminated string at `offset`.
pub(crate) fn string_at(section: &[u8], offset: usize) -> Option<&[u8]> {
    Some(CStr::from_bytes_until_nul(section.get(offset..)?).ok()?.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_text_is_kept_once() {
        let mut sources = Sources::default();
        sources.set(Source::DebugStr, SectionData::from(b"alpha\0gamma\0".to_vec()));
        let section = b"alpha\0gamma\0";
        let mut interner = Interner::new(100, &sources);
        let a = interner.intern(b"alpha");
        let b = interner.intern(b"beta");
        assert_eq!(interner.intern_at(Source::DebugStr, section, 0), Some(a));
        let c = interner.intern_at(Source::DebugStr, section, 6).unwrap();
        assert_eq!([a, b, c].map(|id| interner.get(id)), [&b"alpha"[..], b"beta", b"gamma"]);
        assert_eq!(interner.intern(b""), StringId(0));
        assert_eq!(interner.get(StringId(77)), b"");
        assert_eq!(interner.intern_at(Source::DebugStr, section, 50), None);

        let mut other = Interner::new(100, &sources);
        let adopted = [c, b].map(|id| other.adopt(&interner, id));
        assert_eq!(adopted.map(|id| other.get(id)), [&b"gamma"[..], b"beta"]);
        assert_eq!(other.into_parts().0, b"beta", "what lies in a section is not copied");
    }

    #[test]
    fn text_beyond_the_limit_is_counted_not_kept() {
        let sources = Sources::default();
        let mut interner = Interner::new(8, &sources);
        interner.intern(b"12345");
        assert_eq!(interner.intern(b"6789"), StringId(0));
        assert_ne!(interner.intern(b"678"), StringId(0));
        assert_eq!(interner.refused(), 1);
    }

    #[test]
    fn strings_with_one_hash_are_told_apart() {
        let sources = Sources::default();
        let mut interner = Interner::new(100, &sources);
        let a = interner.intern_hashed(b"one", 5);
        let b = interner.intern_hashed(b"two", 5);
        assert_ne!(a, b);
        assert_eq!(interner.intern_hashed(b"two", 5), b);
    }

    #[test]
    fn places_hold_what_fits() {
        let place = Place::new(Source::Dynstr, 3, 2).unwrap();
        assert_eq!((place.source(), place.of(b"abcdef")), (4, &b"de"[..]));
        assert_eq!(place.of(b"abcd"), b"");
        assert!(Place::new(Source::Own, 0, MAX_LEN + 1).is_none());
        assert!(Place::new(Source::Own, MAX_OFFSET + 1, 0).is_none());
    }
}
