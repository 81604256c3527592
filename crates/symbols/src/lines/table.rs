//! The line table of one unit. Source: DWARF 5, 6.2.

use gimli::{AttributeValue, ColumnType, Reader, ReaderOffset, UnitRef};

use super::paths::{directories, join};
use crate::ImageRange;

/// Most rows of one unit that are believed: what 64 MiB of special opcodes could make.
const MAX_ROWS: usize = 64 << 20;
/// Most files of one unit that are believed.
const MAX_FILES: usize = 1 << 20;

const IS_STATEMENT: u8 = 1;
const PROLOGUE_END: u8 = 2;
const END_SEQUENCE: u8 = 4;

/// A row: from `address` on, code belongs to `line` of `file`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) address: u64,
    /// Number of a file in [`UnitLines::files`].
    pub(crate) file: u32,
    /// 0 for code that belongs to no line.
    pub(crate) line: u32,
    /// 0 if not stated.
    pub(crate) column: u16,
    flags: u8,
}

impl Row {
    /// Whether it is a good place to stop.
    pub(crate) fn is_statement(&self) -> bool {
        self.flags & IS_STATEMENT != 0
    }

    /// Whether the compiler says that a function's arguments are in place here.
    pub(crate) fn is_prologue_end(&self) -> bool {
        self.flags & PROLOGUE_END != 0
    }

    /// Whether it only says where the sequence ends.
    pub(crate) fn is_end(&self) -> bool {
        self.flags & END_SEQUENCE != 0
    }
}

/// Decoded line table of one unit.
#[derive(Debug, Default)]
pub(crate) struct UnitLines {
    /// Rows by address; each sequence ends with a row that [`Row::is_end`].
    pub(crate) rows: Vec<Row>,
    /// Paths as far as the unit makes them absolute, by the number that rows use.
    pub(crate) files: Vec<String>,
    /// MD5 of the files, by the same number; empty if the compiler has noted none.
    pub(crate) checksums: Vec<[u8; 16]>,
    /// What DWARF calls the first of them: 0 since DWARF 5, 1 before.
    first_file: u64,
}

impl UnitLines {
    /// Decodes the line program of `unit`. Sequences outside of `text` were discarded by the linker and are left out.
    ///
    /// What precedes damage is kept; the damage is returned beside it.
    pub(crate) fn decode<R: Reader<Offset = usize>>(
        unit: UnitRef<'_, R>,
        text: &[ImageRange],
    ) -> (UnitLines, Option<gimli::Error>) {
        let Some(program) = unit.line_program.clone() else { return (UnitLines::default(), None) };
        let files = files(unit, program.header());
        let checksums = checksums(program.header());
        let first_file = if program.header().version() >= 5 { 0 } else { 1 };
        let mut sequences: Vec<Vec<Row>> = Vec::new();
        let mut sequence: Vec<Row> = Vec::new();
        let mut rows = program.rows();
        let mut damage = None;
        let mut count = 0;
        loop {
            let row = match rows.next_row() {
                Ok(Some((_, row))) => row,
                Ok(None) => break,
                Err(error) => {
                    damage = Some(error);
                    break;
                }
            };
            count += 1;
            if count > MAX_ROWS {
                damage = Some(gimli::Error::TooManyIterations);
                break;
            }
            let mut flags = 0;
            for (set, flag) in
                [(row.is_stmt(), IS_STATEMENT), (row.prologue_end(), PROLOGUE_END), (row.end_sequence(), END_SEQUENCE)]
            {
                flags |= if set { flag } else { 0 };
            }
            let column = match row.column() {
                ColumnType::LeftEdge => 0,
                ColumnType::Column(column) => u16::try_from(column.get()).unwrap_or(0),
            };
            sequence.push(Row {
                address: row.address(),
                file: u32::try_from(row.file_index().saturating_sub(first_file)).unwrap_or(u32::MAX),
                line: row.line().map_or(0, |line| u32::try_from(line.get()).unwrap_or(0)),
                column,
                flags,
            });
            if row.end_sequence() {
                let done = std::mem::take(&mut sequence);
                if is_text(&done, text) {
                    sequences.push(done);
                }
            }
        }
        for sequence in &mut sequences {
            // Addresses must ascend (DWARF 5, 6.2.5); assemblers have been seen to break the rule.
            if !sequence.is_sorted_by_key(|row| (row.is_end(), row.address)) {
                sequence.sort_by_key(|row| (row.is_end(), row.address));
            }
        }
        sequences.sort_by_key(|sequence| sequence.first().map_or(0, |row| row.address));
        (UnitLines { rows: sequences.concat(), files, checksums, first_file }, damage)
    }

    /// The path of a row's file.
    pub(crate) fn file(&self, row: &Row) -> &str {
        self.files.get(row.file as usize).map_or("", String::as_str)
    }

    /// The path of the file that attributes such as `DW_AT_call_file` call `number`.
    pub(crate) fn file_by_number(&self, number: u64) -> Option<&str> {
        let at = usize::try_from(number.checked_sub(self.first_file)?).ok()?;
        self.files.get(at).map(String::as_str)
    }

    /// The row that covers `address`, with its position: of several at one address the last, but a statement first.
    pub(crate) fn find(&self, address: u64) -> Option<(usize, &Row)> {
        let after = self.rows.partition_point(|row| row.address <= address);
        let mut at = after.checked_sub(1)?;
        let last = self.rows.get(at)?;
        // Where one sequence ends, the next may begin.
        let same = self.rows[..after].iter().rev().take_while(|row| row.address == last.address);
        let candidates: Vec<(usize, &Row)> =
            same.enumerate().map(|(back, row)| (after - 1 - back, row)).filter(|(_, row)| !row.is_end()).collect();
        if let Some((best, _)) = candidates.iter().find(|(_, row)| row.is_statement()).or_else(|| candidates.first()) {
            at = *best;
        }
        let row = self.rows.get(at)?;
        (!row.is_end()).then_some((at, row))
    }

    /// Where the code of row `at` ends: at the next row with a higher address.
    pub(crate) fn end_of(&self, at: usize) -> u64 {
        let Some(row) = self.rows.get(at) else { return 0 };
        let next = self.rows[at..].iter().find(|next| next.address > row.address);
        next.map_or(row.address, |next| next.address)
    }

    /// Rows, with their positions, whose addresses lie in `range`.
    pub(crate) fn rows_in(&self, range: ImageRange) -> impl Iterator<Item = (usize, &Row)> {
        let start = self.rows.partition_point(|row| row.address < range.start.0);
        let end = self.rows.partition_point(|row| row.address < range.end.0).max(start);
        self.rows[start..end]
            .iter()
            .enumerate()
            .map(move |(at, row)| (start + at, row))
            .filter(|(_, row)| !row.is_end())
    }
}

fn is_text(sequence: &[Row], text: &[ImageRange]) -> bool {
    let (Some(first), Some(last)) = (sequence.first(), sequence.last()) else { return false };
    let after = text.partition_point(|range| range.start.0 <= first.address);
    let within = after.checked_sub(1).and_then(|at| text.get(at));
    first.address < last.address && within.is_some_and(|range| last.address <= range.end.0)
}

/// Paths of a line program's files, by number, from 0 on in DWARF 5 and from 1 on before.
fn files<R: Reader<Offset = usize>>(unit: UnitRef<'_, R>, header: &gimli::LineProgramHeader<R>) -> Vec<String> {
    let text = |value: AttributeValue<R, R::Offset>| -> Vec<u8> {
        unit.attr_string(value).and_then(|text| Ok(text.to_slice()?.into_owned())).unwrap_or_default()
    };
    let directories = directories(unit, header);
    let path = |file: &gimli::FileEntry<R>| {
        let directory = directories.get(file.directory_index().into_u64() as usize);
        let path = join(directory.map(Vec::as_slice).unwrap_or_default(), &text(file.path_name()));
        String::from_utf8_lossy(&path).into_owned()
    };
    header.file_names().iter().take(MAX_FILES).map(path).collect()
}

/// MD5 of a line program's files, by number. Source: DWARF 5, 6.2.4.1, `DW_LNCT_MD5`.
fn checksums<R: Reader<Offset = usize>>(header: &gimli::LineProgramHeader<R>) -> Vec<[u8; 16]> {
    let files = if header.file_has_md5() { header.file_names() } else { &[] };
    files.iter().take(MAX_FILES).map(|file| *file.md5()).collect()
}
