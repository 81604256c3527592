//! Asking an index. Every number found in it is checked before it is followed.

use super::chunk::{EntryKind, HAS_CODE, IS_INLINED, NO_ENTRY, unpack_die};
use super::format::{Index, Table, u32_at, u64_at};
use super::names::{split_components, without_arguments};
use super::strings::{Place, Source};
use super::write::{HAS_DWO_ID, HAS_SIGNATURE, IS_ENTERED, IS_SYMBOL};
use crate::debug_info::{TypeSignature, UnitSpan};
use crate::demangle::{demangle_name, text};
use crate::hash::folded_hash;
use crate::split::{Origin, Piece, PiecePlace};
use crate::{DieRef, DieSection, ElfSymbolBinding, ElfSymbolKind, ElfSymbolSource, ImageRange, Problem, UnitIndex};
use outpost_base::ImageOffset;

/// Most scopes around a name that are followed; a circle in a damaged index ends here.
const MAX_SCOPES: usize = 64;
/// How far behind the nearest start of a range a longer range around it is looked for.
const LOOK_BACK: usize = 16;
/// What scopes without a name are called; they need not be typed.
const ANONYMOUS: &str = "(anonymous namespace)";

/// Number of an entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct EntryId(pub(crate) u32);

/// Number of an ELF symbol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct SymbolId(pub(crate) u32);

/// Number of a source file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct FileId(pub(crate) u32);

/// What a name was found to name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum NameHit {
    Entry(EntryId),
    Symbol(SymbolId),
}

/// An entry as the index has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryRecord {
    pub(crate) die: DieRef,
    pub(crate) kind: EntryKind,
    pub(crate) has_code: bool,
    pub(crate) is_inlined: bool,
    pub(super) name: u32,
    pub(super) parent: u32,
}

/// An ELF symbol as the index has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SymbolRecord {
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) kind: ElfSymbolKind,
    pub(crate) binding: ElfSymbolBinding,
    pub(crate) source: ElfSymbolSource,
    /// Whether the debug info has a function of this name at its address. Aliases are not described: the debug info of
    /// glibc knows `__libc_malloc`, and only the symbol table knows `malloc`.
    pub(crate) is_described: bool,
    name: Place,
    display: u32,
}

/// How a name that is typed is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CaseRule {
    /// Letters must agree.
    Exact,
    /// ASCII letters may differ in case.
    Ignore,
}

impl Index {
    pub(crate) fn string(&self, id: u32) -> &[u8] {
        let record = self.record::<8>(Table::Strings, id as usize);
        record.map(|record| self.at(Place(u64_at(record, 0)))).unwrap_or_default()
    }

    fn at(&self, place: Place) -> &[u8] {
        if place.source() == Source::Own as u8 { place.of(self.table(Table::Text)) } else { self.sources.get(place) }
    }

    /// The units, as the builder was given them.
    pub(crate) fn units(&self) -> Vec<UnitSpan> {
        let section = |number| match number {
            0 => DieSection::Info,
            1 => DieSection::Types,
            2 => DieSection::Alt,
            _ => DieSection::Split,
        };
        let units = self.table(Table::Units).as_chunks::<32>().0.iter();
        units
            .map(|unit| UnitSpan {
                section: section(unit[24]),
                start: u64_at(unit, 0),
                end: u64_at(unit, 8),
                signature: (unit[25] == HAS_SIGNATURE)
                    .then(|| TypeSignature { signature: u64_at(unit, 16), type_offset: u32_at(unit, 28).into() }),
                dwo_id: (unit[25] == HAS_DWO_ID).then(|| u64_at(unit, 16)),
            })
            .collect()
    }

    /// The pieces of split DWARF, as the builder was given them.
    pub(crate) fn pieces(&self) -> Vec<Piece> {
        let records = self.table(Table::Pieces).as_chunks::<56>().0.iter();
        let piece = |record: &[u8; 56]| {
            let text = |at| self.string(u32_at(record, at)).to_vec();
            let place = match u32_at(record, 44) {
                0 => PiecePlace::File(Origin { directory: text(48), name: text(52) }),
                1 => PiecePlace::Unit(u32_at(record, 40)),
                _ => PiecePlace::TypeUnit(u32_at(record, 40)),
            };
            let [base, info_len, types_len, id, fingerprint] = [0, 8, 16, 24, 32].map(|at| u64_at(record, at));
            Piece { base, info_len, types_len, id, place, fingerprint }
        };
        records.map(piece).collect()
    }

    pub(crate) fn entry(&self, id: EntryId) -> Option<EntryRecord> {
        let record = self.record::<16>(Table::Entries, id.0 as usize)?;
        let die = u64_at(record, 0) & 0xffff_ffff_ffff;
        Some(EntryRecord {
            die: unpack_die(die),
            kind: EntryKind::from_number(record[6])?,
            has_code: record[7] & HAS_CODE != 0,
            is_inlined: record[7] & IS_INLINED != 0,
            name: u32_at(record, 8),
            parent: u32_at(record, 12),
        })
    }

    pub(crate) fn entry_count(&self) -> u32 {
        self.count(Table::Entries, 16) as u32
    }

    /// The entry of a DIE.
    pub(crate) fn entry_by_die(&self, die: DieRef) -> Option<EntryId> {
        let wanted = super::chunk::pack_die(die.section, die.offset);
        let at = self.search::<16>(Table::Entries, |record| u64_at(record, 0) & 0xffff_ffff_ffff < wanted);
        let record = self.record::<16>(Table::Entries, at)?;
        (u64_at(record, 0) & 0xffff_ffff_ffff == wanted).then_some(EntryId(at as u32))
    }

    /// Name of an entry with all its scopes: `a::b::c`.
    pub(crate) fn qualified_name(&self, id: EntryId) -> String {
        let mut parts = Vec::new();
        let mut next = id.0;
        while next != NO_ENTRY && parts.len() < MAX_SCOPES {
            let Some(entry) = self.entry(EntryId(next)) else { break };
            parts.push(text(self.string(entry.name)));
            next = entry.parent;
        }
        parts.reverse();
        parts.join("::")
    }

    /// Names of an entry's scopes, outermost last, itself first.
    fn components(&self, id: EntryId) -> Vec<std::borrow::Cow<'_, str>> {
        let mut parts = Vec::new();
        let mut next = id.0;
        while next != NO_ENTRY && parts.len() < MAX_SCOPES {
            let Some(entry) = self.entry(EntryId(next)) else { break };
            parts.push(text(self.string(entry.name)));
            next = entry.parent;
        }
        parts
    }

    /// The scopes around a DIE, joined by `::`; `None` for a DIE that the index does not have.
    pub(crate) fn scope_of(&self, die: DieRef) -> Option<String> {
        let entry = self.entry(self.entry_by_die(die)?)?;
        Some(self.qualified_name(EntryId(entry.parent)))
    }

    pub(crate) fn symbol(&self, id: SymbolId) -> Option<SymbolRecord> {
        let record = self.record::<32>(Table::Symbols, id.0 as usize)?;
        use ElfSymbolKind::*;
        let kinds = [Function, IndirectFunction, Object, ThreadLocal, Label];
        let bindings = [ElfSymbolBinding::Local, ElfSymbolBinding::Weak, ElfSymbolBinding::Global];
        let sources = [ElfSymbolSource::Symtab, ElfSymbolSource::Dynsym, ElfSymbolSource::Plt];
        Some(SymbolRecord {
            address: u64_at(record, 0),
            size: u64_at(record, 8),
            name: Place(u64_at(record, 16)),
            display: u32_at(record, 24),
            kind: *kinds.get(usize::from(record[28]))?,
            binding: *bindings.get(usize::from(record[29]))?,
            source: *sources.get(usize::from(record[30]))?,
            is_described: record[31] != 0,
        })
    }

    pub(crate) fn symbol_count(&self) -> u32 {
        self.count(Table::Symbols, 32) as u32
    }

    /// A symbol's name as its table has it.
    pub(crate) fn linkage_name(&self, symbol: &SymbolRecord) -> String {
        text(self.at(symbol.name)).into_owned()
    }

    /// A symbol's name as it is shown: demangled, if it was mangled.
    pub(crate) fn display_name(&self, symbol: &SymbolRecord) -> String {
        let name = if symbol.display == 0 { self.at(symbol.name) } else { self.string(symbol.display) };
        text(name).into_owned()
    }

    /// How many symbols have addresses: those of thread-local variables come behind.
    fn addressed_symbols(&self) -> usize {
        self.search::<32>(Table::Symbols, |record| record[28] != ElfSymbolKind::ThreadLocal as u8)
    }

    /// Symbols at or below `at`, nearest first.
    pub(crate) fn symbols_below(&self, at: ImageOffset) -> impl Iterator<Item = (SymbolId, SymbolRecord)> {
        let limit = self.addressed_symbols();
        let end = self.addresses_end(at, limit);
        (0..end).rev().filter_map(|at| Some((SymbolId(at as u32), self.symbol(SymbolId(at as u32))?)))
    }

    /// Symbols above `at`, nearest first.
    pub(crate) fn symbols_above(&self, at: ImageOffset) -> impl Iterator<Item = (SymbolId, SymbolRecord)> {
        let limit = self.addressed_symbols();
        let start = self.addresses_end(at, limit);
        (start..limit).filter_map(|at| Some((SymbolId(at as u32), self.symbol(SymbolId(at as u32))?)))
    }

    /// How many of the first `limit` symbols lie at or below `at`.
    fn addresses_end(&self, at: ImageOffset, limit: usize) -> usize {
        let (mut low, mut high) = (0, limit);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.record::<32>(Table::Symbols, middle) {
                Some(record) if u64_at(record, 0) <= at.0 => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }

    /// The function whose code covers `at`, with the range that does.
    pub(crate) fn function_at(&self, at: ImageOffset) -> Option<(EntryId, ImageRange)> {
        let after = self.search::<16>(Table::Code, |record| u64_at(record, 0) <= at.0);
        let mut best: Option<(EntryId, ImageRange)> = None;
        for number in (after.saturating_sub(LOOK_BACK)..after).rev() {
            let (range, entry) = self.code(number)?;
            // The innermost function, and of several at one place the first.
            if range.contains(at) && best.is_none_or(|(_, found)| range.len() <= found.len()) {
                best = Some((entry, range));
            }
        }
        best
    }

    /// The function that begins nearest above `at`.
    pub(crate) fn function_above(&self, at: ImageOffset) -> Option<(EntryId, ImageRange)> {
        let after = self.search::<16>(Table::Code, |record| u64_at(record, 0) <= at.0);
        let (range, entry) = self.code(after)?;
        Some((entry, range))
    }

    fn code(&self, number: usize) -> Option<(ImageRange, EntryId)> {
        let record = self.record::<16>(Table::Code, number)?;
        let start = u64_at(record, 0);
        let end = start.checked_add(u64::from(u32_at(record, 8) & !IS_ENTERED))?;
        Some((ImageRange::new(start, end), EntryId(u32_at(record, 12))))
    }

    fn is_entered(&self, number: usize) -> bool {
        self.record::<16>(Table::Code, number).is_some_and(|record| u32_at(record, 8) & IS_ENTERED != 0)
    }

    /// The ranges of a function's code: the one in which it is entered, then the others, lowest first.
    pub(crate) fn code_of(&self, id: EntryId) -> Vec<ImageRange> {
        let entry_of = |number: u32| self.code(number as usize).map(|(_, entry)| entry.0);
        let numbers = self.by_entry(Table::CodeByEntry, id, entry_of);
        let mut ranges: Vec<(bool, ImageRange)> = numbers
            .into_iter()
            .filter_map(|number| Some((!self.is_entered(number as usize), self.code(number as usize)?.0)))
            .collect();
        ranges.sort();
        ranges.into_iter().map(|(_, range)| range).collect()
    }

    /// Where a variable lies, if its location is a plain address.
    pub(crate) fn address_of(&self, id: EntryId) -> Option<ImageOffset> {
        let record = |number: u32| self.record::<16>(Table::Data, number as usize);
        let numbers = self.by_entry(Table::DataByEntry, id, |number| record(number).map(|data| u32_at(data, 8)));
        Some(ImageOffset(u64_at(record(*numbers.first()?)?, 0)))
    }

    /// Variables at `at` exactly.
    pub(crate) fn variable_at(&self, at: ImageOffset) -> Option<EntryId> {
        let number = self.search::<16>(Table::Data, |record| u64_at(record, 0) < at.0);
        let record = self.record::<16>(Table::Data, number)?;
        (u64_at(record, 0) == at.0).then(|| EntryId(u32_at(record, 8)))
    }

    /// The run of a table of numbers, sorted by entry, that belongs to `id`.
    fn by_entry(&self, table: Table, id: EntryId, entry_of: impl Fn(u32) -> Option<u32>) -> Vec<u32> {
        let start = self.search::<4>(table, |record| entry_of(u32_at(record, 0)).is_some_and(|entry| entry < id.0));
        (start..self.count(table, 4))
            .map_while(|at| self.number(table, at))
            .take_while(|&number| entry_of(number) == Some(id.0))
            .collect()
    }

    /// Units other than its own into which an abstract function was inlined.
    pub(crate) fn units_inlining(&self, die: DieRef) -> Vec<UnitIndex> {
        let wanted = super::chunk::pack_die(die.section, die.offset);
        let start = self.search::<16>(Table::Inlined, |record| u64_at(record, 0) < wanted);
        (start..self.count(Table::Inlined, 16))
            .map_while(|at| self.record::<16>(Table::Inlined, at))
            .take_while(|record| u64_at(*record, 0) == wanted)
            .map(|record| UnitIndex(u32_at(record, 8)))
            .collect()
    }

    /// The unit whose root says that it covers `at`.
    pub(crate) fn unit_at(&self, at: ImageOffset) -> Option<UnitIndex> {
        let after = self.search::<24>(Table::UnitRanges, |record| u64_at(record, 0) <= at.0);
        let record = self.record::<24>(Table::UnitRanges, after.checked_sub(1)?)?;
        (at.0 < u64_at(record, 8)).then(|| UnitIndex(u32_at(record, 16)))
    }

    /// Addresses of all units.
    pub(crate) fn unit_ranges(&self) -> Vec<(ImageRange, UnitIndex)> {
        let records = self.table(Table::UnitRanges).as_chunks::<24>().0.iter();
        records
            .map(|record| (ImageRange::new(u64_at(record, 0), u64_at(record, 8)), UnitIndex(u32_at(record, 16))))
            .collect()
    }

    /// Directory and base name of a file.
    pub(crate) fn file(&self, id: FileId) -> Option<(&[u8], &[u8])> {
        let record = self.record::<8>(Table::Files, id.0 as usize)?;
        Some((self.string(u32_at(record, 0)), self.string(u32_at(record, 4))))
    }

    pub(crate) fn file_count(&self) -> u32 {
        self.count(Table::Files, 8) as u32
    }

    /// Files of that base name, in any case.
    pub(crate) fn files_named(&self, base: &[u8]) -> Vec<FileId> {
        let hash = folded_hash(base);
        let start = self.search::<8>(Table::FileNames, |record| u32_at(record, 0) < hash);
        (start..self.count(Table::FileNames, 8))
            .map_while(|at| self.record::<8>(Table::FileNames, at))
            .take_while(|record| u32_at(*record, 0) == hash)
            .map(|record| FileId(u32_at(record, 4)))
            .filter(|&file| self.file(file).is_some_and(|(_, name)| name.eq_ignore_ascii_case(base)))
            .collect()
    }

    /// Units that refer to a file.
    pub(crate) fn units_of_file(&self, file: FileId) -> Vec<UnitIndex> {
        let at = file.0 as usize;
        let bounds = self.number(Table::FileUnitStarts, at).zip(self.number(Table::FileUnitStarts, at + 1));
        let Some((start, end)) = bounds else { return Vec::new() };
        (start..end).map_while(|at| self.number(Table::FileUnits, at as usize)).map(UnitIndex).collect()
    }

    /// What was damaged or left out when the index was built.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let parts: Vec<&[u8]> = self.table(Table::Problems).split(|&byte| byte == 0).collect();
        let pairs = parts.as_chunks::<2>().0.iter();
        pairs.map(|[what, reason]| Problem::new(text(what), text(reason))).collect()
    }

    /// What is called `name`, with the number of scopes that were not typed; of `a::b::c` also `b::c` and `c` are found.
    ///
    /// Template arguments may be left out, and so may anonymous namespaces.
    pub(crate) fn find(&self, name: &str, case: CaseRule) -> Vec<(NameHit, usize)> {
        let typed: Vec<&str> = split_components(name.strip_prefix("::").unwrap_or(name));
        let Some(last) = typed.last() else { return Vec::new() };
        let hash = folded_hash(without_arguments(last.as_bytes()));
        let mut hits: Vec<(NameHit, usize)> = self
            .hits(hash)
            .into_iter()
            .filter_map(|hit| Some((hit, self.match_hit(hit, name, &typed, case)?)))
            .collect();
        hits.dedup();
        hits
    }

    /// Candidates whose last component has that hash.
    fn hits(&self, hash: u32) -> Vec<NameHit> {
        let buckets = self.count(Table::NameBuckets, 4).saturating_sub(1);
        if buckets < 2 {
            return Vec::new();
        }
        let bucket = (hash >> (32 - buckets.ilog2())) as usize;
        let bounds = self.number(Table::NameBuckets, bucket).zip(self.number(Table::NameBuckets, bucket + 1));
        let Some((start, end)) = bounds else { return Vec::new() };
        (start..end)
            .map_while(|at| self.record::<8>(Table::Names, at as usize))
            .filter(|record| u32_at(*record, 0) == hash)
            .map(|record| match u32_at(record, 4) {
                number if number & IS_SYMBOL != 0 => NameHit::Symbol(SymbolId(number & !IS_SYMBOL)),
                number => NameHit::Entry(EntryId(number)),
            })
            .collect()
    }

    fn match_hit(&self, hit: NameHit, name: &str, typed: &[&str], case: CaseRule) -> Option<usize> {
        match hit {
            NameHit::Entry(id) => {
                let components = self.components(id);
                let mut actual = components.iter().map(|part| part.as_ref());
                unmatched_scopes(typed, &mut actual, case).or_else(|| self.match_linkage(id, typed, case))
            }
            NameHit::Symbol(id) => {
                let symbol = self.symbol(id)?;
                if same(name, &text(self.at(symbol.name)), case) {
                    return Some(0);
                }
                let display = self.display_name(&symbol);
                unmatched_scopes(typed, &mut split_components(&display).into_iter().rev(), case)
            }
        }
    }

    /// The same by the linkage name, for what debug info of Rust has no names of: `<T as Trait>` is `{impl#0}` there.
    fn match_linkage(&self, id: EntryId, typed: &[&str], case: CaseRule) -> Option<usize> {
        if !typed.iter().any(|part| part.starts_with('<')) {
            return None;
        }
        let start = self.code_of(id).first()?.start;
        let here = self.symbols_below(start).take_while(|(_, symbol)| symbol.address == start.0);
        here.filter_map(|(_, symbol)| {
            let name = demangle_name(&text(self.at(symbol.name)))?;
            unmatched_scopes(typed, &mut split_components(&name).into_iter().rev(), case)
        })
        .min()
    }

    /// How many leading records of a table satisfy `before`, if those that do come first.
    fn search<const N: usize>(&self, table: Table, before: impl Fn(&[u8; N]) -> bool) -> usize {
        self.table(table).as_chunks::<N>().0.partition_point(before)
    }
}

/// How many scopes of `actual` (innermost first) `typed` (outermost first) leaves out; `None` if they do not agree.
fn unmatched_scopes(typed: &[&str], actual: &mut dyn Iterator<Item = &str>, case: CaseRule) -> Option<usize> {
    let mut typed = typed.iter().rev().peekable();
    let mut unmatched = 0;
    for part in actual {
        match typed.peek() {
            Some(wanted) if same_component(wanted, part, case) => {
                typed.next();
            }
            _ if part == ANONYMOUS => {}
            Some(_) => return None,
            None => unmatched += 1,
        }
    }
    typed.peek().is_none().then_some(unmatched)
}

fn same_component(typed: &str, actual: &str, case: CaseRule) -> bool {
    if same(typed, actual, case) {
        return true;
    }
    if let (Some(typed), Some(actual)) = (qualified_self(typed), qualified_self(actual)) {
        // `<Circle as Shape>` for `<prog::Circle as prog::Shape>`.
        return match (typed.1, actual.1) {
            (Some(wanted), Some(of)) => ends_alike(typed.0, actual.0, case) && ends_alike(wanted, of, case),
            (None, None) => ends_alike(typed.0, actual.0, case),
            _ => false,
        };
    }
    if typed.contains('<') {
        // `vector<int>` for `vector<int >`, `map<a,b>` for `map<a, b>`: spaces do not tell types apart here.
        let squeeze = |name: &str| name.split_whitespace().collect::<String>();
        return same(&squeeze(typed), &squeeze(actual), case);
    }
    let plain = without_arguments(actual.as_bytes());
    plain.len() < actual.len() && same(typed, &text(plain), case)
}

/// Type and trait of `<Type as Trait>`; `<Type>` has no trait.
fn qualified_self(component: &str) -> Option<(&str, Option<&str>)> {
    let inner = component.strip_prefix('<')?.strip_suffix('>')?;
    let mut depth = 0_usize;
    for (at, letter) in inner.char_indices() {
        match letter {
            '>' if inner[..at].ends_with('-') => {}
            '<' | '(' | '[' => depth += 1,
            '>' | ')' | ']' => depth = depth.checked_sub(1)?,
            ' ' if depth == 0 && inner[at..].starts_with(" as ") => {
                return Some((&inner[..at], Some(&inner[at + 4..])));
            }
            _ => {}
        }
    }
    Some((inner, None))
}

/// Whether one path is the end of the other.
fn ends_alike(typed: &str, actual: &str, case: CaseRule) -> bool {
    let typed = split_components(typed.trim());
    unmatched_scopes(&typed, &mut split_components(actual.trim()).into_iter().rev(), case).is_some()
}

fn same(left: &str, right: &str, case: CaseRule) -> bool {
    match case {
        CaseRule::Exact => left == right,
        CaseRule::Ignore => left.eq_ignore_ascii_case(right),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &str, actual: &str, expected: Option<usize>) {
        let typed = split_components(typed);
        let found = unmatched_scopes(&typed, &mut split_components(actual).into_iter().rev(), CaseRule::Exact);
        assert_eq!(found, expected, "{typed:?} {actual}");
    }

    #[test]
    fn names_match_by_their_ends() {
        check("c", "a::b::c", Some(2));
        check("b::c", "a::b::c", Some(1));
        check("a::b::c", "a::b::c", Some(0));
        check("x::c", "a::b::c", None);
        check("z::a::b::c", "a::b::c", None);
        check("f", "(anonymous namespace)::f", Some(0));
        check("<Circle as Shape>::area", "<prog::Circle as prog::Shape>::area", Some(0));
        check("<prog::Circle as prog::Shape>::area", "<prog::Circle as prog::Shape>::area", Some(0));
        check("<Vec<u8> as Shape>::area", "<alloc::vec::Vec<u8> as prog::Shape>::area", Some(0));
        check("<Vec<u16> as Shape>::area", "<alloc::vec::Vec<u8> as prog::Shape>::area", None);
        check("<Circle as Display>::area", "<prog::Circle as prog::Shape>::area", None);
        check("<Circle>::grow", "<prog::Circle>::grow", Some(0));
        check("<Circle>::grow", "<prog::Circle as prog::Grow>::grow", None);
        check("<fn(i32) -> B as Shape>::area", "<fn(i32) -> B as prog::Shape>::area", Some(0));
        check("a::f", "a::(anonymous namespace)::f", Some(0));
        check("vector::size", "std::vector<int, std::allocator<int> >::size", Some(1));
        check("vector<int,std::allocator<int>>::size", "std::vector<int, std::allocator<int> >::size", Some(1));
        check("vector<char>::size", "std::vector<int>::size", None);
    }

    #[test]
    fn case_can_be_ignored() {
        assert!(same_component("MAIN", "main", CaseRule::Ignore));
        assert!(!same_component("MAIN", "main", CaseRule::Exact));
    }
}
