//! From addresses to lines and back.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use gimli::UnitRef;
use outpost_base::ImageOffset;
use rayon::prelude::*;

use super::Module;
use crate::debug_info::unit_header;
use crate::index::FileId;
use crate::lines::{Row, UnitLines, join};
use crate::{DieSection, ImageRange, Problem, UnitIndex};

/// A place in source text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SourceLocation {
    /// Path as the compiler recorded it, made absolute by the directory of compilation where that is recorded.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 if not recorded.
    pub column: u16,
    /// Whether the address is a good place to stop for this line.
    pub is_statement: bool,
}

/// Addresses that a source line stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineMatch {
    /// The file, as the compiler recorded it.
    pub file: String,
    /// The line that has code: the one asked for, else the next one after it.
    pub line: u32,
    /// One address per function, and per inlined copy, by address.
    pub addresses: Vec<LineAddress>,
}

/// Where a line begins within one function or inlined copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineAddress {
    /// The address; behind the prologue if the line is the function's first.
    pub address: ImageOffset,
    /// Column, from 1; 0 if not recorded.
    pub column: u16,
    /// Name of the function, or of the inlined function.
    pub function: Option<String>,
    /// Whether it lies in an inlined copy.
    pub is_inlined: bool,
}

/// What debug info knows of a source file's content.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SourceFacts {
    /// MD5 sums that units have noted of it; several if it was changed between their compilations.
    pub checksums: Vec<[u8; 16]>,
    /// The highest line that code belongs to: the file has at least as many lines. 0 if none is known.
    pub last_line: u32,
}

/// Most units that are asked about one file: a header can concern them all, and its checksum is the same in each.
const MAX_UNITS_OF_FILE: usize = 16;

impl Module {
    /// What is known of the content of a source file, by its whole path as [`Module::source_files`] and
    /// [`Module::line_at`] have it. `None` if no unit refers to it.
    pub fn source_facts(&self, path: &str) -> Option<SourceFacts> {
        let (_, units) = self.files_like(path).into_iter().find(|(known, _)| same_path(known, path))?;
        let mut facts = SourceFacts::default();
        for unit in units.into_iter().take(MAX_UNITS_OF_FILE) {
            let lines = self.lines.find(unit).unwrap_or_else(|| Arc::new(self.decode_lines(unit)));
            let mut is_file = vec![false; lines.files.len()];
            for (number, _) in lines.files.iter().enumerate().filter(|(_, name)| same_path(name, path)) {
                is_file[number] = true;
                // Of files that are not there when it compiles, as what a generator pipes to it, a compiler notes zeros.
                let checksum = lines.checksums.get(number).filter(|sum| **sum != [0; 16]);
                facts.checksums.extend(checksum.filter(|sum| !facts.checksums.contains(sum)).copied());
            }
            let of_file = lines.rows.iter().filter(|row| is_file.get(row.file as usize).copied().unwrap_or(false));
            facts.last_line = of_file.map(|row| row.line).fold(facts.last_line, u32::max);
        }
        Some(facts)
    }

    /// The line that the instruction at `at` belongs to; `None` for code of no line.
    ///
    /// Inside inlined calls it is a line of the innermost one. For a return address ask with the address less one.
    pub fn line_at(&self, at: ImageOffset) -> Option<SourceLocation> {
        let (lines, _) = self.lines_at(at)?;
        let (_, row) = lines.find(at.0)?;
        (row.line != 0).then(|| SourceLocation {
            file: lines.file(row).to_owned(),
            line: row.line,
            column: row.column,
            is_statement: row.is_statement(),
        })
    }

    /// The consecutive code around `at` that belongs to one line.
    pub fn line_range_at(&self, at: ImageOffset) -> Option<ImageRange> {
        let (lines, _) = self.lines_at(at)?;
        let (position, row) = lines.find(at.0)?;
        Some(ImageRange::new(row.address, lines.end_of(position)))
    }

    /// The addresses of line `line` of the files that `file` names: a base name, or the end of a path, or a whole path.
    ///
    /// If the line has no code, the next line that has some is taken, in each file for itself. Several files of one
    /// name give several matches; a file that has no code at or after the line gives none.
    ///
    /// Of a line in which optimisation has left no beginning of a statement anywhere, the first instructions are taken.
    pub fn addresses_of_line(&self, file: &str, line: u32) -> Vec<LineMatch> {
        let mut matches = Vec::new();
        // Loaded by this thread: the others only read what is there.
        self.load_debug_info();
        for (path, units) in self.files_like(file) {
            let found = units.par_iter().map(|&unit| self.unit_rows(unit, &path, line));
            let (line, rows) = found.reduce(|| (u32::MAX, Vec::new()), nearer_line);
            if !rows.is_empty() {
                matches.push(LineMatch { file: path, line, addresses: self.best_addresses(rows) });
            }
        }
        matches
    }

    /// The rows of the line in the file `path` of a unit; if there are none, of the first line behind it that has statements.
    fn unit_rows(&self, unit: UnitIndex, path: &str, line: u32) -> (u32, Vec<Row>) {
        // A header can concern every unit: their tables are decoded and dropped, not kept.
        let kept = self.lines.find(unit);
        let decoded;
        let lines = match &kept {
            Some(lines) => lines,
            None => {
                decoded = self.decode_lines(unit);
                &decoded
            }
        };
        let wanted: Vec<bool> = lines.files.iter().map(|name| same_path(name, path)).collect();
        let (mut best, mut rows) = (u32::MAX, Vec::new());
        let mut after_no_line = false;
        for row in &lines.rows {
            let follows_none = std::mem::replace(&mut after_no_line, row.line == 0);
            let is_unmarked = !row.is_statement() && !follows_none;
            let is_meant = row.line == line || row.line > line && row.is_statement();
            let candidate = is_meant && row.line > 0 && row.line <= best && !row.is_end();
            if candidate && wanted.get(row.file as usize).copied().unwrap_or(false) {
                if row.line < best {
                    best = row.line;
                    rows.clear();
                }
                rows.push((*row, is_unmarked));
            }
        }
        // Where the line has statements, other rows of it go on with what began elsewhere, save after code of no line.
        let has_statements = rows.iter().any(|(row, _)| row.is_statement());
        let rows = rows.into_iter().filter(|(_, is_unmarked)| !(*is_unmarked && has_statements)).map(|(row, _)| row);
        (best, rows.collect())
    }

    /// Of the rows of one line, the first of each function and each inlined copy: the first statement, if the line has one
    /// anywhere. A further copy of what has one counts without: LLVM takes the mark from a line that comes again after code
    /// of no line.
    fn best_addresses(&self, mut rows: Vec<Row>) -> Vec<LineAddress> {
        let has_statements = rows.iter().any(Row::is_statement);
        rows.sort_unstable_by_key(|row| (row.address, !row.is_statement(), row.column));
        rows.dedup_by_key(|row| row.address);
        let (marked, others): (Vec<Row>, Vec<Row>) =
            rows.into_iter().partition(|row| row.is_statement() || !has_statements);
        let mut found: BTreeMap<(u64, Option<crate::DieRef>), LineAddress> = BTreeMap::new();
        let mut copied: Vec<crate::DieRef> = Vec::new();
        for (Row { address, column, .. }, is_marked) in
            marked.into_iter().map(|row| (row, true)).chain(others.into_iter().map(|row| (row, false)))
        {
            let at = ImageOffset(address);
            let function = self.function_at(at);
            let inlined = self.inline_frames_at(at).into_iter().next();
            let origin = inlined.as_ref().and_then(|frame| frame.origin);
            let is_further = origin.is_some_and(|origin| copied.contains(&origin));
            if !is_marked && !is_further {
                continue;
            }
            copied.extend(origin);
            let key = (function.as_ref().map_or(address, |f| f.entry().0), inlined.as_ref().map(|frame| frame.die));
            found.entry(key).or_insert_with(|| {
                let address = match &function {
                    Some(function) if inlined.is_none() && function.entry() == at => self.body_of(function),
                    _ => at,
                };
                LineAddress {
                    address,
                    column,
                    is_inlined: inlined.is_some(),
                    function: inlined.map(|frame| frame.name).or(function.map(|function| function.name)),
                }
            });
        }
        let mut addresses: Vec<LineAddress> = found.into_values().collect();
        addresses.sort_by_key(|address| address.address);
        addresses.dedup_by_key(|address| address.address);
        addresses
    }

    /// Source files of the module whose path ends in `name`, component by component; all with an empty name. Sorted.
    pub fn source_files(&self, name: &str) -> Vec<String> {
        if name.is_empty() {
            let index = self.index();
            let all = (0..index.file_count()).filter_map(|number| self.path_of(FileId(number)));
            let mut all: Vec<String> = all.collect();
            all.sort();
            all.dedup();
            return all;
        }
        self.files_like(name).into_iter().map(|(path, _)| path).collect()
    }

    /// Files whose path ends in `name`, with the units that refer to them.
    fn files_like(&self, name: &str) -> Vec<(String, Vec<UnitIndex>)> {
        let index = self.index();
        let wanted = normalized(name);
        let Some(base) = wanted.last() else { return Vec::new() };
        let mut files: BTreeMap<String, Vec<UnitIndex>> = BTreeMap::new();
        for file in index.files_named(base.as_bytes()) {
            let Some(path) = self.path_of(file) else { continue };
            let actual = normalized(&path);
            let fits = if name.starts_with('/') { actual == wanted } else { actual.ends_with(&wanted) };
            if fits {
                let root = if path.starts_with('/') { "/" } else { "" };
                files.entry(format!("{root}{}", actual.join("/"))).or_default().extend(index.units_of_file(file));
            }
        }
        let mut files: Vec<(String, Vec<UnitIndex>)> = files.into_iter().collect();
        for (_, units) in &mut files {
            units.sort_unstable();
            units.dedup();
        }
        files
    }

    fn path_of(&self, file: FileId) -> Option<String> {
        let (directory, base) = self.index().file(file)?;
        let path = join(directory, base);
        Some(String::from_utf8_lossy(&path).into_owned())
    }

    /// The decoded line table that covers `at`, with its unit.
    pub(super) fn lines_at(&self, at: ImageOffset) -> Option<(Arc<UnitLines>, UnitIndex)> {
        let index = self.index();
        let unit = index.unit_at(at).or_else(|| {
            let (entry, _) = index.function_at(at)?;
            Some(self.load_debug_info()?.locate(index.entry(entry)?.die)?.0)
        })?;
        let lines = self.unit_lines(unit);
        (!lines.rows.is_empty()).then_some((lines, unit))
    }

    pub(super) fn unit_lines(&self, number: UnitIndex) -> Arc<UnitLines> {
        let number = self.load_debug_info().map_or(number, |info| info.lines_of(number));
        self.lines.get(number, || self.decode_lines(number))
    }

    fn decode_lines(&self, number: UnitIndex) -> UnitLines {
        let span = self.load_debug_info().and_then(|info| info.span(number).copied());
        let (Some(span), Some(sections)) = (span, self.sections()) else { return UnitLines::default() };
        let dwarf = sections.slices();
        let dwarf = match span.section {
            DieSection::Alt => dwarf.sup().unwrap_or(&dwarf),
            DieSection::Info | DieSection::Types => &dwarf,
            // Their lines are the skeleton's; type units have none.
            DieSection::Split => return UnitLines::default(),
        };
        let unit = match unit_header(dwarf, &span).and_then(|header| dwarf.unit(header)) {
            Ok(unit) => unit,
            Err(error) => {
                self.report(Problem::new(format!("unit {}", number.0), error));
                return UnitLines::default();
            }
        };
        let (lines, damage) = UnitLines::decode(UnitRef::new(dwarf, &unit), &self.text);
        if let Some(error) = damage {
            self.report(Problem::new(format!("line table of unit {}", number.0), error));
        }
        lines
    }
}

/// The rows of the lower line; of both, if it is one.
fn nearer_line(left: (u32, Vec<Row>), right: (u32, Vec<Row>)) -> (u32, Vec<Row>) {
    match left.0.cmp(&right.0) {
        Ordering::Less => left,
        Ordering::Greater => right,
        Ordering::Equal => (left.0, [left.1, right.1].concat()),
    }
}

/// Components of a path, without `.` and with `..` taken back.
fn normalized(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts
}

fn same_path(left: &str, right: &str) -> bool {
    left == right || normalized(left) == normalized(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_by_meaning() {
        assert!(same_path("/src/./a/../b.c", "/src/b.c"));
        assert!(!same_path("/src/a.c", "/src/b.c"));
        assert_eq!(normalized("../x/y.c"), ["x", "y.c"]);
    }
}
