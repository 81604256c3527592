//! Building an index: units scanned in parallel and merged in order; then `symbols` and `write`.

use std::io::{Seek, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::chunk::{Absorb, Chunk, pack_die};
use super::references::resolve_cross_references;
use super::scan::Scan;
use super::scans::Scans;
use super::strings::{Source, Sources};
use super::symbols::symbols;
use super::write::write;
use crate::debug_info::UnitSpan;
use crate::dwarf_sections::DwarfFile;
use crate::elf::SymbolTable;
use crate::split::Survey;
use crate::{DieSection, ElfSymbol, ElfSymbolSource, ImageRange, Problem};

/// Bytes of DIEs that one task scans; less if there is less than enough for all threads.
const TASK_LEN: u64 = 4 << 20;
/// Fewest bytes of DIEs that are worth a task of their own.
const MIN_TASK_LEN: u64 = 256 << 10;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_cover_all_units_once() {
        let span = |start, end| UnitSpan { section: DieSection::Info, start, end, signature: None, dwo_id: None };
        let units = [span(0, 5), span(5, 30), span(30, 31), span(31, 32)];
        assert_eq!(tasks(&units, 10), [0..2, 2..4]);
        assert_eq!(tasks(&[], 10), []);
    }
}
