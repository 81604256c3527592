//! What scanning some units found, before it is merged with what other units hold.

use crate::hash::IntMap;
use crate::{ImageRange, Problem};

use super::strings::{Interner, Sources, StringId};

/// "None" for numbers of entries.
pub(crate) const NO_ENTRY: u32 = u32::MAX;

/// What an entry names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub(crate) enum EntryKind {
    /// A namespace, or a class of which only a declaration was seen: a scope for others.
    Scope = 0,
    /// Class, structure, union, enumeration.
    Type = 1,
    /// Base type or typedef.
    LeafType = 2,
    /// Constant of an enumeration.
    Enumerator = 3,
    /// Function, with code or abstract.
    Function = 4,
    /// Variable with static storage, or a constant.
    Variable = 5,
}

impl EntryKind {
    pub(crate) fn from_number(number: u8) -> Option<EntryKind> {
        use EntryKind::*;
        [Scope, Type, LeafType, Enumerator, Function, Variable].into_iter().find(|kind| *kind as u8 == number)
    }
}

/// The function has code of its own.
pub(crate) const HAS_CODE: u8 = 1;
/// The function is an abstract instance: code of it may lie inlined in others.
pub(crate) const IS_INLINED: u8 = 2;

/// The type or scope has its own scope from a DIE that was not seen yet: it cannot be compared with others.
pub(crate) const WAITS: u8 = 4;

/// A named DIE. Numbers of entries and strings are those of the chunk, later those of the index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// Section and offset, as [`pack_die`] packs them.
    pub(crate) die: u64,
    pub(crate) name: StringId,
    /// The entry whose scope it is in, or [`NO_ENTRY`].
    pub(crate) parent: u32,
    pub(crate) kind: EntryKind,
    pub(crate) flags: u8,
    /// Size of a type: two types of one name and different sizes are different types.
    pub(crate) size: u32,
}

/// Addresses of a function's code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct CodeRange {
    pub(crate) range: ImageRange,
    pub(crate) entry: u32,
    /// Whether the function is entered here.
    pub(crate) is_first: bool,
}

/// Address of a variable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct DataAddress {
    pub(crate) address: u64,
    pub(crate) entry: u32,
}

/// A source file by directory and base name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct FileName {
    pub(crate) directory: StringId,
    pub(crate) base: StringId,
}

/// An entry that has its name and scope from a DIE of another unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CrossReference {
    pub(crate) entry: u32,
    /// As [`pack_die`] packs it.
    pub(crate) target: u64,
}

/// Everything found in some consecutive units.
#[derive(Debug)]
pub(crate) struct Chunk<'a> {
    pub(crate) strings: Interner<'a>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) code: Vec<CodeRange>,
    pub(crate) data: Vec<DataAddress>,
    /// Addresses of units, by number of the unit.
    pub(crate) unit_ranges: Vec<(ImageRange, u32)>,
    pub(crate) languages: Vec<(u32, u16)>,
    pub(crate) files: Vec<FileName>,
    /// Which unit refers to which file, by number of each.
    pub(crate) file_units: Vec<(u32, u32)>,
    pub(crate) cross_references: Vec<CrossReference>,
    /// Functions, packed, that are inlined in other units than their own, and which.
    pub(crate) inlined: Vec<(u64, u32)>,
    pub(crate) problems: Vec<Problem>,
    pub(super) scopes: IntMap<(u32, u32, u8, u32), u32>,
    pub(super) file_numbers: IntMap<(u32, u32), u32>,
    pub(super) by_offset: IntMap<u64, StringId>,
}

impl<'a> Chunk<'a> {
    /// An empty chunk whose names come from sections of `text_limit` bytes together.
    pub(crate) fn new(text_limit: usize, sources: &'a Sources) -> Chunk<'a> {
        Chunk {
            strings: Interner::new(text_limit, sources),
            entries: Vec::new(),
            code: Vec::new(),
            data: Vec::new(),
            unit_ranges: Vec::new(),
            languages: Vec::new(),
            files: Vec::new(),
            file_units: Vec::new(),
            cross_references: Vec::new(),
            inlined: Vec::new(),
            problems: Vec::new(),
            scopes: IntMap::default(),
            file_numbers: IntMap::default(),
            by_offset: IntMap::default(),
        }
    }

    /// The entry for a scope, type or enumerator: the one that is there already, or `entry`.
    pub(super) fn share(&mut self, entry: Entry) -> u32 {
        let number = self.entries.len() as u32;
        let key = (entry.parent, entry.name.0, entry.kind as u8, entry.size);
        match self.scopes.entry(key) {
            std::collections::hash_map::Entry::Occupied(found) => *found.get(),
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(number);
                self.entries.push(entry);
                number
            }
        }
    }

    /// A new entry.
    pub(super) fn push(&mut self, entry: Entry) -> u32 {
        let number = self.entries.len() as u32;
        self.entries.push(entry);
        number
    }

    /// Forgets what finds entries and files again, when no more will come.
    pub(super) fn forget_maps(&mut self) {
        self.scopes = IntMap::default();
        self.file_numbers = IntMap::default();
        self.by_offset = IntMap::default();
    }

    /// The number of a file.
    pub(super) fn file(&mut self, name: FileName) -> u32 {
        let next = self.files.len() as u32;
        let number = *self.file_numbers.entry((name.directory.0, name.base.0)).or_insert(next);
        if number == next {
            self.files.push(name);
        }
        number
    }
}

/// Whether [`Chunk::absorb`] takes functions and variables, or looks for those that are there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Absorb {
    /// The chunk's units are new.
    All,
    /// The chunk's units were scanned before; the first so many entries are sorted by DIE.
    Again {
        /// How many.
        sorted: usize,
    },
}

impl Chunk<'_> {
    /// Takes over what `other` found; the result says which entry each of its entries became.
    pub(crate) fn absorb(&mut self, other: Chunk<'_>, how: Absorb) -> Vec<u32> {
        let strings: Vec<StringId> =
            (0..other.strings.len() as u32).map(|id| self.strings.adopt(&other.strings, StringId(id))).collect();
        let string = |id: StringId| strings.get(id.0 as usize).copied().unwrap_or_default();
        let mut numbers: Vec<u32> = Vec::with_capacity(other.entries.len());
        let mut forward = Vec::new();
        for (at, entry) in other.entries.iter().enumerate() {
            let mut moved = Entry { name: string(entry.name), ..*entry };
            if entry.parent != NO_ENTRY {
                moved.parent = numbers.get(entry.parent as usize).copied().unwrap_or(NO_ENTRY);
                if entry.parent as usize >= at {
                    forward.push(at);
                }
            }
            let own = matches!(entry.kind, EntryKind::Function | EntryKind::Variable) || entry.flags & WAITS != 0;
            numbers.push(match how {
                Absorb::All if own => self.push(moved),
                Absorb::Again { sorted } if own => self.find(entry.die, sorted).unwrap_or(NO_ENTRY),
                _ => self.share(moved),
            });
        }
        if how != Absorb::All {
            return numbers;
        }
        // The name of a function may come from a DIE behind it, and so may its scope.
        for at in forward {
            let parent = other.entries.get(at).and_then(|entry| numbers.get(entry.parent as usize)).copied();
            let number = numbers.get(at).copied().unwrap_or(NO_ENTRY);
            if let (Some(parent), Some(entry)) = (parent, self.entries.get_mut(number as usize)) {
                entry.parent = parent;
            }
        }
        let number = |entry: u32| numbers.get(entry as usize).copied().unwrap_or(NO_ENTRY);
        self.code.extend(other.code.iter().map(|code| CodeRange { entry: number(code.entry), ..*code }));
        self.data.extend(other.data.iter().map(|data| DataAddress { entry: number(data.entry), ..*data }));
        let cross = other.cross_references.iter();
        self.cross_references.extend(cross.map(|it| CrossReference { entry: number(it.entry), ..*it }));
        self.inlined.extend(other.inlined);
        self.unit_ranges.extend(other.unit_ranges);
        self.languages.extend(other.languages);
        let files: Vec<u32> = other
            .files
            .iter()
            .map(|file| self.file(FileName { directory: string(file.directory), base: string(file.base) }))
            .collect();
        let pairs = other.file_units.iter();
        self.file_units.extend(pairs.filter_map(|&(file, unit)| Some((*files.get(file as usize)?, unit))));
        self.problems.extend(other.problems);
        numbers
    }

    fn find(&self, die: u64, sorted: usize) -> Option<u32> {
        let at = self.entries.get(..sorted)?.binary_search_by_key(&die, |entry| entry.die).ok()?;
        Some(at as u32)
    }

    /// Sorts the entries by DIE, as lookups by DIE need them.
    pub(crate) fn sort_entries(&mut self) {
        if self.entries.is_sorted_by_key(|entry| entry.die) {
            return;
        }
        let mut order: Vec<u32> = (0..self.entries.len() as u32).collect();
        order.sort_by_key(|&at| self.entries.get(at as usize).map_or(0, |entry| entry.die));
        let mut numbers = vec![NO_ENTRY; order.len()];
        for (to, &from) in order.iter().enumerate() {
            if let Some(slot) = numbers.get_mut(from as usize) {
                *slot = to as u32;
            }
        }
        let number = |entry: u32| numbers.get(entry as usize).copied().unwrap_or(NO_ENTRY);
        let moved = order.iter().filter_map(|&from| self.entries.get(from as usize));
        self.entries = moved.map(|entry| Entry { parent: number(entry.parent), ..*entry }).collect();
        self.code.iter_mut().for_each(|code| code.entry = number(code.entry));
        self.data.iter_mut().for_each(|data| data.entry = number(data.entry));
        self.cross_references.iter_mut().for_each(|cross| cross.entry = number(cross.entry));
    }
}

/// Section (two bits) and offset of a DIE in one word that sorts by section, then offset.
pub(crate) fn pack_die(section: crate::DieSection, offset: u64) -> u64 {
    ((section as u64) << 46) | (offset & ((1 << 46) - 1))
}

/// Reverses [`pack_die`].
pub(crate) fn unpack_die(packed: u64) -> crate::DieRef {
    let section = match packed >> 46 {
        0 => crate::DieSection::Info,
        1 => crate::DieSection::Types,
        2 => crate::DieSection::Alt,
        _ => crate::DieSection::Split,
    };
    crate::DieRef { section, offset: packed & ((1 << 46) - 1) }
}
