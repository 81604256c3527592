//! Writing what was found as the tables of an index.

use std::io::{Seek, Write};

use rayon::prelude::*;

use super::build::BuildInput;
use super::chunk::{Chunk, EntryKind};
use super::format::{IndexWriter, Table};
use super::names::{last_component, without_arguments};
use super::strings::StringId;
use super::symbols::IndexedSymbol;
use crate::debug_info::TypeSignature;
use crate::demangle::text;
use crate::hash::{IntMap, folded_hash};
use crate::split::{PiecePlace, Survey};
use crate::{ImageRange, Problem};

/// Most problems that an index keeps; a damaged file can have one per unit.
const MAX_PROBLEMS: usize = 64;
/// In [`Table::Names`], marks the number of a symbol; others are numbers of entries.
pub(super) const IS_SYMBOL: u32 = 1 << 31;
/// In [`Table::Code`], marks the range in which the function is entered.
pub(super) const IS_ENTERED: u32 = 1 << 31;
/// In [`Table::Units`], what a unit's number is: the signature of a type unit, ...
pub(super) const HAS_SIGNATURE: u8 = 1;
/// ... or what a skeleton has in common with the unit that it stands for.
pub(super) const HAS_DWO_ID: u8 = 2;

/// Writes all tables.
pub(super) fn write<W: Write + Seek>(
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
}
