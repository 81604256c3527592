//! Building an index: units scanned in parallel, merged in order, written as tables.

use std::io::{Seek, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::chunk::{Absorb, Chunk, EntryKind, NO_ENTRY, pack_die};
use super::format::{IndexWriter, Table};
use super::names::{last_component, without_arguments};
use super::scan::{Scan, ScannedPiece};
use super::strings::{Place, Source, Sources, StringId};
use crate::debug_info::{TypeSignature, UnitSpan};
use crate::demangle::{demangle_name, text};
use crate::dwarf_sections::DwarfFile;
use crate::elf::SymbolTable;
use crate::hash::{IntMap, folded_hash};
use crate::split::{PiecePlace, Pieces, Survey};
use crate::{DieSection, ElfSymbol, ElfSymbolBinding, ElfSymbolKind, ElfSymbolSource, ImageRange, Problem};

/// Bytes of DIEs that one task scans; less if there is less than enough for all threads.
const TASK_LEN: u64 = 4 << 20;
/// Fewest bytes of DIEs that are worth a task of their own.
const MIN_TASK_LEN: u64 = 256 << 10;
/// Most problems that an index keeps; a damaged file can have one per unit.
const MAX_PROBLEMS: usize = 64;
/// Symbols at one address that are compared with a further one; hundreds of thousands would take forever.
const MAX_COMPARED: usize = 256;
/// In [`Table::Names`], marks the number of a symbol; others are numbers of entries.
pub(super) const IS_SYMBOL: u32 = 1 << 31;
/// In [`Table::Code`], marks the range in which the function is entered.
pub(super) const IS_ENTERED: u32 = 1 << 31;
/// In [`Table::Units`], what a unit's number is: the signature of a type unit, ...
pub(super) const HAS_SIGNATURE: u8 = 1;
/// ... or what a skeleton has in common with the unit that it stands for.
pub(super) const HAS_DWO_ID: u8 = 2;

/// What an index is built from.
pub(crate) struct BuildInput<'a> {
    /// Stored in the index and compared when it is opened again.
    pub(crate) identity: &'a [u8],
    /// DWARF, if there is any.
    pub(crate) dwarf: Option<&'a DwarfFile>,
    /// Its units, those of split DWARF last.
    pub(crate) units: &'a [UnitSpan],
    /// Its split DWARF.
    pub(crate) split: &'a Survey,
    /// Image addresses that hold code, sorted.
    pub(crate) text: &'a [ImageRange],
    /// Symbol tables, the best one first.
    pub(crate) tables: &'a [NamedTable],
    /// Symbols of PLT entries.
    pub(crate) plt: &'a [ElfSymbol],
    /// Sections in which strings may stay.
    pub(crate) sources: &'a Sources,
    /// Problems found so far.
    pub(crate) problems: Vec<Problem>,
    /// Set by another thread to stop.
    pub(crate) cancel: &'a AtomicBool,
    /// Told how much is done, from 0 to 1000.
    pub(crate) progress: &'a (dyn Fn(u32) + Sync),
}

/// A symbol table, and what its strings are called.
#[derive(Debug)]
pub(crate) struct NamedTable {
    pub(crate) table: SymbolTable,
    pub(crate) source: ElfSymbolSource,
    /// `None` if the strings will not be there the next time.
    pub(crate) strings: Option<Source>,
}

/// Builds an index and writes it to `out`.
/// # Errors
/// [`BuildError`].
pub(crate) fn build<W: Write + Seek>(input: BuildInput<'_>, out: W) -> Result<W, BuildError> {
    let mut all = scan(&input)?;
    let symbols = symbols(&input, &mut all);
    all.problems.extend(input.problems.iter().cloned());
    if all.strings.refused() > 0 {
        let reason = format!("{} names overlap others and were left out", all.strings.refused());
        all.problems.push(Problem::new("debug info", reason));
    }
    check_cancel(&input)?;
    Ok(write(&input, all, symbols, out)?)
}

/// Why an index could not be built.
#[derive(Debug)]
pub(crate) enum BuildError {
    /// The caller asked to stop.
    Cancelled,
    /// The output could not be written.
    Write(std::io::Error),
}

impl From<std::io::Error> for BuildError {
    fn from(error: std::io::Error) -> BuildError {
        BuildError::Write(error)
    }
}

fn check_cancel(input: &BuildInput<'_>) -> Result<(), BuildError> {
    if input.cancel.load(Ordering::Relaxed) { Err(BuildError::Cancelled) } else { Ok(()) }
}

fn scan<'a>(input: &BuildInput<'a>) -> Result<Chunk<'a>, BuildError> {
    let symbol_text: usize = input.tables.iter().map(|table| table.table.strings().len()).sum();
    let section_text = input.dwarf.map_or(0, DwarfFile::text_len).saturating_add(input.split.text_len);
    // Demangled names come on top; they are longer than mangled ones, but seldom by so much.
    let limit = section_text.saturating_add(symbol_text.saturating_mul(4)).saturating_add(1 << 20);
    let mut all = Chunk::new(limit, input.sources);
    let Some(dwarf) = input.dwarf else { return Ok(all) };
    let slices = dwarf.slices();
    let signatures = input.units.iter().filter_map(|unit| {
        let kind = unit.signature?;
        Some((kind.signature, pack_die(unit.section, unit.start + kind.type_offset)))
    });
    let signatures = signatures.collect();
    let skeletons = input.units.iter().filter(|unit| unit.section == DieSection::Info);
    let skeletons = skeletons.filter_map(|unit| Some((unit.dwo_id?, *unit))).collect();
    let max_ranges = section_text / 2 + 1024;
    let scan = Scan { dwarf: &slices, text: input.text, signatures: &signatures, max_ranges, piece: None };
    let scans = Scans { program: scan, split: &input.split.pieces, skeletons };

    let total: u64 = input.units.iter().map(|unit| unit.end - unit.start).sum();
    let threads = rayon::current_num_threads().max(1);
    let task_len = TASK_LEN.min(total / (threads as u64 * 4)).max(MIN_TASK_LEN);
    let tasks = tasks(input.units, task_len);
    let run = |task: &std::ops::Range<usize>| {
        let mut chunk = Chunk::new(section_text, input.sources);
        let mut table = None;
        let mut at = task.start;
        while at < task.end && !input.cancel.load(Ordering::Relaxed) {
            let Some(first) = input.units.get(at) else { break };
            let count = scans.units_together(input.units.get(at..task.end).unwrap_or_default());
            let scanned = scans.with(first, &mut chunk, |scan, chunk| {
                for (number, span) in input.units.iter().enumerate().skip(at).take(count) {
                    if input.cancel.load(Ordering::Relaxed) {
                        break;
                    }
                    scan.unit(number as u32, *span, &mut table, chunk);
                }
            });
            if let Err(problem) = scanned {
                chunk.problems.push(Problem::new("split debug info", problem));
            }
            at += count;
        }
        dwarf.release_units(input.units.get(task.clone()).unwrap_or_default());
        chunk
    };
    // While one wave of tasks is scanned, the one before is merged: in order, whatever finishes first.
    let mut waves = tasks.chunks(threads);
    let mut scanned: Vec<Chunk<'_>> = Vec::new();
    let mut done = 0;
    loop {
        let wave = waves.next();
        let (next, ()) = rayon::join(
            || wave.map(|wave| wave.par_iter().map(run).collect::<Vec<_>>()).unwrap_or_default(),
            || {
                for chunk in std::mem::take(&mut scanned) {
                    all.absorb(chunk, Absorb::All);
                }
            },
        );
        check_cancel(input)?;
        // Names are spread over all of the strings; without this, every page of them would stay.
        dwarf.release_strings();
        done += wave.map_or(0, <[_]>::len);
        (input.progress)((done * 900 / tasks.len().max(1)) as u32);
        scanned = next;
        if scanned.is_empty() && wave.is_none() {
            break;
        }
    }
    resolve_cross_references(&scans, input, &mut all);
    all.sort_entries();
    all.forget_maps();
    dwarf.release_strings();
    Ok(all)
}

/// Scans of the program's own sections and of each piece of its split DWARF.
struct Scans<'a> {
    program: Scan<'a>,
    split: &'a Pieces,
    skeletons: IntMap<u64, UnitSpan>,
}

impl Scans<'_> {
    /// How many of `units`, from the first on, lie in the same sections; at least one.
    fn units_together(&self, units: &[UnitSpan]) -> usize {
        let piece = |unit: &UnitSpan| match unit.section {
            DieSection::Split => self.split.at(unit.start).map(|(number, _)| number),
            _ => None,
        };
        let Some(first) = units.first() else { return 1 };
        units.iter().take_while(|unit| piece(unit) == piece(first)).count().max(1)
    }

    /// Has `work` done with the sections that `unit` lies in. A piece is read for this, and given back afterwards.
    fn with<T>(
        &self,
        unit: &UnitSpan,
        chunk: &mut Chunk<'_>,
        work: impl FnOnce(&Scan<'_>, &mut Chunk<'_>) -> T,
    ) -> Result<T, String> {
        if unit.section != DieSection::Split {
            return Ok(work(&self.program, chunk));
        }
        let (_, piece) = self.split.at(unit.start).ok_or("a unit outside of all files")?;
        let sections = self.split.sections(piece)?;
        let dwarf = sections.slices(self.program.dwarf).map_err(|error| error.to_string())?;
        let scanned = ScannedPiece { piece, program: self.program.dwarf, skeletons: &self.skeletons };
        // Offsets of strings mean those of this piece.
        chunk.by_offset.clear();
        let done = work(&Scan { dwarf: &dwarf, piece: Some(scanned), ..self.program }, chunk);
        chunk.by_offset.clear();
        Ok(done)
    }
}

/// Cuts the units into runs of about `len` bytes.
fn tasks(units: &[UnitSpan], len: u64) -> Vec<std::ops::Range<usize>> {
    let mut tasks = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, unit) in units.iter().enumerate() {
        bytes += unit.end - unit.start;
        if bytes >= len || at + 1 == units.len() {
            tasks.push(start..at + 1);
            (start, bytes) = (at + 1, 0);
        }
    }
    tasks
}

/// Gives their names to entries that have them from other units, by scanning those units once more.
fn resolve_cross_references(scans: &Scans<'_>, input: &BuildInput<'_>, all: &mut Chunk<'_>) {
    // Most references lead to entries that are there. A reference may lead to an entry that itself has a reference:
    // go round again for those.
    for _ in 0..3 {
        let sorted = if all.entries.is_sorted_by_key(|entry| entry.die) { all.entries.len() } else { 0 };
        chase(all, sorted);
        let mut waiting = std::mem::take(&mut all.cross_references);
        if waiting.is_empty() {
            return;
        }
        waiting.sort_by_key(|reference| reference.target);
        let mut at = 0;
        while let Some(first) = waiting.get(at) {
            let Some(unit) = unit_of(input.units, first.target) else {
                at += 1;
                continue;
            };
            let base = pack_die(unit.section, unit.start);
            let count = waiting[at..].iter().take_while(|it| it.target - base < unit.end - unit.start).count().max(1);
            let mut chunk = Chunk::new(usize::MAX, input.sources);
            let dies = scans.with(unit, &mut chunk, |scan, chunk| scan.named_dies(*unit, &mut None, chunk));
            if let Ok(Ok(dies)) = dies {
                let found: Vec<_> = waiting[at..at + count]
                    .iter()
                    .map(|reference| (*reference, dies.get(reference.target - base)))
                    .map(|(reference, found)| {
                        let name = found.map(|(name, parent)| (chunk.strings.get(name).to_vec(), parent));
                        (reference, name)
                    })
                    .collect();
                let numbers = all.absorb(chunk, Absorb::Again { sorted });
                for (reference, found) in found {
                    let Some((name, parent)) = found else {
                        all.cross_references.push(reference);
                        continue;
                    };
                    let name = all.strings.intern(&name);
                    if let Some(entry) = all.entries.get_mut(reference.entry as usize) {
                        entry.name = name;
                        entry.parent = numbers.get(parent as usize).copied().unwrap_or(NO_ENTRY);
                    }
                }
            }
            at += count;
        }
        chase(all, sorted);
    }
}

/// References to an entry that has its name by now take it from there.
fn chase(all: &mut Chunk<'_>, sorted: usize) {
    let entries = std::mem::take(&mut all.entries);
    let mut known = Vec::new();
    all.cross_references.retain(|reference| {
        let at =
            entries.get(..sorted).and_then(|it| it.binary_search_by_key(&reference.target, |entry| entry.die).ok());
        match at.and_then(|at| entries.get(at)).filter(|entry| entry.name != StringId(0)) {
            Some(entry) => {
                known.push((reference.entry, entry.name, entry.parent));
                false
            }
            None => true,
        }
    });
    all.entries = entries;
    for (number, name, parent) in known {
        if let Some(entry) = all.entries.get_mut(number as usize) {
            (entry.name, entry.parent) = (name, parent);
        }
    }
}

fn unit_of(units: &[UnitSpan], target: u64) -> Option<&UnitSpan> {
    let die = super::chunk::unpack_die(target);
    let after = units.partition_point(|unit| (unit.section, unit.start) <= (die.section, die.offset));
    let unit = units.get(after.checked_sub(1)?)?;
    (unit.section == die.section && die.offset < unit.end).then_some(unit)
}

/// A symbol ready to be written.
struct IndexedSymbol {
    address: u64,
    size: u64,
    name: Place,
    display: StringId,
    kind: ElfSymbolKind,
    binding: ElfSymbolBinding,
    source: ElfSymbolSource,
    is_described: bool,
}

/// Collects the symbols, each once, and demangles those that DWARF does not name.
fn symbols(input: &BuildInput<'_>, all: &mut Chunk<'_>) -> Vec<IndexedSymbol> {
    let count = input.tables.iter().map(|named| named.table.len()).sum::<usize>() + input.plt.len();
    let mut symbols = Vec::with_capacity(count);
    for named in input.tables {
        let stays = named.strings.filter(|source| input.sources.has(*source));
        for symbol in named.table.defined() {
            let place = stays.and_then(|source| Place::new(source, symbol.name_offset as usize, symbol.name.len()));
            let name = place.unwrap_or_else(|| {
                let id = all.strings.intern(symbol.name);
                all.strings.place(id)
            });
            symbols.push(IndexedSymbol {
                address: symbol.address,
                size: symbol.size,
                name,
                display: StringId(0),
                kind: symbol.kind,
                binding: symbol.binding,
                source: named.source,
                is_described: false,
            });
        }
    }
    for symbol in input.plt {
        let id = all.strings.intern(symbol.name.as_bytes());
        symbols.push(IndexedSymbol {
            address: symbol.address.0,
            size: symbol.size,
            name: all.strings.place(id),
            display: StringId(0),
            kind: symbol.kind,
            binding: symbol.binding,
            source: symbol.source,
            is_described: false,
        });
    }
    let strings = &all.strings;
    symbols.sort_by_key(|symbol| (symbol.kind == ElfSymbolKind::ThreadLocal, symbol.address));
    // The tables are sorted best first and the sort is stable: of equal symbols the better one stays.
    let mut at_address: Vec<Place> = Vec::new();
    let mut last = None;
    symbols.retain(|symbol| {
        if last != Some(symbol.address) {
            at_address.clear();
            last = Some(symbol.address);
        }
        let known = at_address.iter().take(MAX_COMPARED).any(|place| strings.at(*place) == strings.at(symbol.name));
        at_address.push(symbol.name);
        !known
    });
    let mut starts: Vec<(u64, u32)> = all.code.iter().map(|code| (code.range.start.0, code.entry)).collect();
    starts.par_sort_unstable();
    symbols.par_iter_mut().for_each(|symbol| {
        let has_address = symbol.kind != ElfSymbolKind::ThreadLocal && symbol.source != ElfSymbolSource::Plt;
        let first = starts.partition_point(|(start, _)| *start < symbol.address);
        let here = starts.iter().skip(first).take_while(|(start, _)| *start == symbol.address);
        let name = strings.at(symbol.name);
        symbol.is_described = has_address
            && here
                .filter_map(|(_, entry)| all.entries.get(*entry as usize))
                .any(|entry| entry.name == StringId(0) || is_mangled(name) || strings.get(entry.name) == name);
    });
    let demangled: Vec<(usize, String)> = symbols
        .par_iter()
        .enumerate()
        .filter(|(_, symbol)| !symbol.is_described)
        .filter_map(|(number, symbol)| {
            let name = demangle_name(&text(strings.at(symbol.name)))?;
            let suffix = if symbol.source == ElfSymbolSource::Plt { "@plt" } else { "" };
            Some((number, name + suffix))
        })
        .collect();
    for (number, name) in demangled {
        let display = all.strings.intern(name.as_bytes());
        if let Some(symbol) = symbols.get_mut(number) {
            symbol.display = display;
        }
    }
    symbols
}

/// Whether a linkage name stands for a qualified one, as those of C++ and Rust do.
fn is_mangled(name: &[u8]) -> bool {
    name.starts_with(b"_Z") || name.starts_with(b"_R")
}

fn write<W: Write + Seek>(
    input: &BuildInput<'_>,
    mut all: Chunk<'_>,
    symbols: Vec<IndexedSymbol>,
    out: W,
) -> std::io::Result<W> {
    let mut writer = IndexWriter::new(out)?;
    writer.bytes(Table::Identity, input.identity)?;
    write_names(&mut writer, &all, &symbols)?;
    input.sources.release();

    let mut languages: IntMap<u32, u16> = IntMap::default();
    languages.extend(all.languages.iter().copied());
    writer.table(Table::Units, input.units.iter().enumerate(), |buffer, (at, unit)| {
        let signature = unit.signature.unwrap_or(TypeSignature { signature: 0, type_offset: 0 });
        let (number, kind) = match (unit.signature, unit.dwo_id) {
            (Some(signature), _) => (signature.signature, HAS_SIGNATURE),
            (None, Some(id)) => (id, HAS_DWO_ID),
            (None, None) => (0, 0),
        };
        for word in [unit.start, unit.end, number] {
            buffer.extend_from_slice(&word.to_le_bytes());
        }
        buffer.extend_from_slice(&[unit.section as u8, kind]);
        buffer.extend_from_slice(&languages.get(&(at as u32)).copied().unwrap_or(0).to_le_bytes());
        buffer.extend_from_slice(&(signature.type_offset as u32).to_le_bytes());
    })?;

    write_pieces(&mut writer, input.split, &mut all)?;

    writer.table(Table::Entries, &all.entries, |buffer, entry| {
        buffer.extend_from_slice(&entry.die.to_le_bytes()[..6]);
        buffer.extend_from_slice(&[entry.kind as u8, entry.flags]);
        buffer.extend_from_slice(&entry.name.0.to_le_bytes());
        buffer.extend_from_slice(&entry.parent.to_le_bytes());
    })?;

    all.code.par_sort_unstable();
    writer.table(Table::Code, &all.code, |buffer, code| {
        buffer.extend_from_slice(&code.range.start.0.to_le_bytes());
        let len = u32::try_from(code.range.len()).unwrap_or(u32::MAX).min(!IS_ENTERED);
        buffer.extend_from_slice(&(len | if code.is_first { IS_ENTERED } else { 0 }).to_le_bytes());
        buffer.extend_from_slice(&code.entry.to_le_bytes());
    })?;
    writer.numbers(Table::CodeByEntry, order_by(&all.code, |code| code.entry))?;

    all.data.par_sort_unstable();
    writer.table(Table::Data, &all.data, |buffer, data| {
        buffer.extend_from_slice(&data.address.to_le_bytes());
        buffer.extend_from_slice(&data.entry.to_le_bytes());
        buffer.extend_from_slice(&[0; 4]);
    })?;
    writer.numbers(Table::DataByEntry, order_by(&all.data, |data| data.entry))?;

    all.inlined.par_sort_unstable();
    writer.table(Table::Inlined, &all.inlined, |buffer, (die, unit)| {
        buffer.extend_from_slice(&die.to_le_bytes());
        buffer.extend_from_slice(&unit.to_le_bytes());
        buffer.extend_from_slice(&[0; 4]);
    })?;

    let ranges = disjoint(std::mem::take(&mut all.unit_ranges));
    writer.table(Table::UnitRanges, ranges, |buffer, (range, unit)| {
        buffer.extend_from_slice(&range.start.0.to_le_bytes());
        buffer.extend_from_slice(&range.end.0.to_le_bytes());
        buffer.extend_from_slice(&unit.to_le_bytes());
        buffer.extend_from_slice(&[0; 4]);
    })?;

    write_files(&mut writer, &mut all)?;

    writer.table(Table::Symbols, &symbols, |buffer, symbol| {
        buffer.extend_from_slice(&symbol.address.to_le_bytes());
        buffer.extend_from_slice(&symbol.size.to_le_bytes());
        buffer.extend_from_slice(&symbol.name.0.to_le_bytes());
        buffer.extend_from_slice(&symbol.display.0.to_le_bytes());
        buffer.extend_from_slice(&[
            symbol.kind as u8,
            symbol.binding as u8,
            symbol.source as u8,
            u8::from(symbol.is_described),
        ]);
    })?;

    let left_out = all.problems.len().saturating_sub(MAX_PROBLEMS);
    all.problems.truncate(MAX_PROBLEMS);
    if left_out > 0 {
        all.problems.push(Problem::new("debug info", format!("{left_out} more problems")));
    }
    writer.table(Table::Problems, &all.problems, |buffer, problem| {
        for part in [&problem.what, &problem.reason] {
            buffer.extend(part.bytes().filter(|&byte| byte != 0));
            buffer.push(0);
        }
    })?;

    let (arena, places) = all.strings.into_parts();
    writer.bytes(Table::Text, &arena)?;
    let in_symbols = symbols.iter().map(|symbol| symbol.name);
    let used = places.iter().copied().chain(in_symbols).fold(0, |used: u32, place| used | (1 << place.source()));
    writer.numbers(Table::Sources, [used])?;
    writer.table(Table::Strings, places, |buffer, place| buffer.extend_from_slice(&place.0.to_le_bytes()))?;
    (input.progress)(1000);
    writer.finish()
}

/// Numbers of `items`, sorted by a key.
fn order_by<T: Sync>(items: &[T], key: impl Fn(&T) -> u32 + Sync) -> Vec<u32> {
    let mut order: Vec<u64> =
        items.iter().enumerate().map(|(at, item)| (u64::from(key(item)) << 32) | at as u64).collect();
    order.par_sort_unstable();
    order.into_iter().map(|packed| packed as u32).collect()
}

/// Writes what is found by name: entries, and symbols by both of their names.
fn write_names<W: Write + Seek>(
    writer: &mut IndexWriter<W>,
    all: &Chunk<'_>,
    symbols: &[IndexedSymbol],
) -> std::io::Result<()> {
    let named = all.entries.iter().enumerate().filter(|(_, entry)| entry.name != StringId(0));
    let named = named.filter(|(_, entry)| {
        // A declared class is a scope; whoever looks for it wants a definition.
        entry.kind != EntryKind::Scope
    });
    let mut names: Vec<u64> =
        named.map(|(number, entry)| (u64::from(all.strings.key(entry.name)) << 32) | number as u64).collect();
    names.par_extend(symbols.par_iter().enumerate().flat_map_iter(|(number, symbol)| {
        let target = u64::from(number as u32 | IS_SYMBOL);
        let linkage = folded_hash(without_arguments(all.strings.at(symbol.name)));
        let display = text(all.strings.get(symbol.display));
        let display = (symbol.display != StringId(0))
            .then(|| folded_hash(without_arguments(last_component(&display).as_bytes())));
        [Some(linkage), display].into_iter().flatten().map(move |hash| (u64::from(hash) << 32) | target)
    }));
    names.par_sort_unstable();
    names.dedup();
    let bits = bucket_bits(names.len());
    let mut starts = Vec::with_capacity((1 << bits) + 1);
    for (at, name) in names.iter().enumerate() {
        let bucket = (name >> (64 - bits)) as usize;
        while starts.len() <= bucket {
            starts.push(at as u32);
        }
    }
    starts.resize((1 << bits) + 1, names.len() as u32);
    writer.numbers(Table::NameBuckets, starts)?;
    writer.table(Table::Names, names, |buffer, name| {
        buffer.extend_from_slice(&((name >> 32) as u32).to_le_bytes());
        buffer.extend_from_slice(&(name as u32).to_le_bytes());
    })
}

/// Bits of the hash that select a bucket, so that a bucket holds about four names.
fn bucket_bits(names: usize) -> u32 {
    (names / 4).max(2).ilog2().clamp(1, 24)
}

fn write_pieces<W: Write + Seek>(
    writer: &mut IndexWriter<W>,
    split: &Survey,
    all: &mut Chunk<'_>,
) -> std::io::Result<()> {
    writer.table(Table::Pieces, split.pieces.all(), |buffer, piece| {
        for word in [piece.base, piece.info_len, piece.types_len, piece.id, piece.fingerprint] {
            buffer.extend_from_slice(&word.to_le_bytes());
        }
        let words = match &piece.place {
            PiecePlace::File(origin) => {
                [0, 0, all.strings.intern(&origin.directory).0, all.strings.intern(&origin.name).0]
            }
            PiecePlace::Unit(row) => [*row, 1, 0, 0],
            PiecePlace::TypeUnit(row) => [*row, 2, 0, 0],
        };
        words.into_iter().for_each(|word| buffer.extend_from_slice(&word.to_le_bytes()));
    })
}

fn write_files<W: Write + Seek>(writer: &mut IndexWriter<W>, all: &mut Chunk<'_>) -> std::io::Result<()> {
    writer.table(Table::Files, &all.files, |buffer, file| {
        buffer.extend_from_slice(&file.directory.0.to_le_bytes());
        buffer.extend_from_slice(&file.base.0.to_le_bytes());
    })?;
    let mut names: Vec<(u32, u32)> = all
        .files
        .iter()
        .enumerate()
        .map(|(number, file)| (folded_hash(all.strings.get(file.base)), number as u32))
        .collect();
    names.sort_unstable();
    writer.table(Table::FileNames, names, |buffer, (hash, file)| {
        buffer.extend_from_slice(&hash.to_le_bytes());
        buffer.extend_from_slice(&file.to_le_bytes());
    })?;
    all.file_units.par_sort_unstable();
    all.file_units.dedup();
    let mut starts = Vec::with_capacity(all.files.len() + 1);
    for (at, (file, _)) in all.file_units.iter().enumerate() {
        while starts.len() <= *file as usize {
            starts.push(at as u32);
        }
    }
    starts.resize(all.files.len() + 1, all.file_units.len() as u32);
    writer.numbers(Table::FileUnitStarts, starts)?;
    writer.numbers(Table::FileUnits, all.file_units.iter().map(|(_, unit)| *unit))
}

/// Sorts ranges of units, joins neighbours of one unit, and cuts overlaps, so that one search finds the unit.
fn disjoint(mut ranges: Vec<(ImageRange, u32)>) -> Vec<(ImageRange, u32)> {
    ranges.par_sort_unstable();
    let mut joined: Vec<(ImageRange, u32)> = Vec::with_capacity(ranges.len());
    for (mut range, unit) in ranges {
        if let Some((last, last_unit)) = joined.last_mut() {
            range.start = range.start.max(last.end);
            if range.is_empty() {
                continue;
            }
            if *last_unit == unit && last.end == range.start {
                last.end = range.end;
                continue;
            }
        }
        joined.push((range, unit));
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_ranges_become_disjoint() {
        let range = ImageRange::new;
        let given =
            vec![(range(10, 20), 1), (range(0, 10), 1), (range(15, 30), 2), (range(16, 18), 3), (range(40, 50), 1)];
        assert_eq!(disjoint(given), [(range(0, 20), 1), (range(20, 30), 2), (range(40, 50), 1)]);
    }

    #[test]
    fn tasks_cover_all_units_once() {
        let span = |start, end| UnitSpan { section: DieSection::Info, start, end, signature: None, dwo_id: None };
        let units = [span(0, 5), span(5, 30), span(30, 31), span(31, 32)];
        assert_eq!(tasks(&units, 10), [0..2, 2..4]);
        assert_eq!(tasks(&[], 10), []);
    }
}
