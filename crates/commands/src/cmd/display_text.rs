//! `da`, `du`, `ds`: memory as text.

use outpost_base::{MemoryReader, Va};

use super::display::{columns, range};
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["da", "du"],
        syntax: "da|du [/c Columns] [Range]",
        summary: "Display text up to a zero",
        details: "da is UTF-8, du UTF-16; 48 characters on a line.",
        example: "da poi(name)",
        group: Group::Memory,
        eats_line: false,
        run: carry_out::<Text>,
    },
    CommandEntry {
        names: &["ds", "dS"],
        syntax: "ds Address",
        summary: "Display text given by pointer and length (Rust's &str)",
        details: "Two words at the address: where the text is, and how many bytes it has.",
        example: "ds @rsp+10",
        group: Group::Memory,
        eats_line: false,
        run: carry_out::<Slice>,
    },
];

/// Longest text shown by `da` and its kind, in bytes.
const TEXT_LIMIT: u64 = 4096;
/// Characters on a line of text.
const TEXT_COLUMNS: usize = 48;
/// Displays text.
#[derive(Debug, Clone)]
pub struct Text {
    start: Va,
    limit: u64,
    wide: bool,
    columns: usize,
}

/// Text as it was read.
#[derive(Debug, Clone)]
pub struct ReadText {
    /// First address.
    pub start: Va,
    /// Lines: address and characters.
    pub lines: Vec<(Va, String)>,
    /// Nothing could be read.
    pub unreadable: bool,
}

fields!(ReadText { start, lines, unreadable });

impl Command for Text {
    type Data = ReadText;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Text, CommandError> {
        let wide = arguments.name.eq_ignore_ascii_case("du");
        let columns = columns(arguments, debugger)?.unwrap_or(TEXT_COLUMNS);
        let size = if wide { 2 } else { 1 };
        let (start, limit) = range(arguments, debugger, size, TEXT_LIMIT / size)?;
        debugger.continuations.display = Some(arguments.name.to_ascii_lowercase());
        Ok(Text { start, limit, wide, columns })
    }

    fn run(self, debugger: &mut Debugger) -> Result<ReadText, CommandError> {
        let mut memory = debugger.engine.memory()?;
        let (text, used) = match self.wide {
            false => narrow_text(&mut memory, self.start, self.limit),
            true => wide_text(&mut memory, self.start, self.limit),
        };
        debugger.continuations.display_at = Some(self.start + used);
        let unreadable = memory.read_exact(self.start, &mut [0]).is_none();
        let mut lines = Vec::new();
        let mut at = self.start;
        let characters: Vec<char> = text.chars().collect();
        for chunk in characters.chunks(self.columns) {
            let line: String = chunk.iter().collect();
            let len = if self.wide { line.encode_utf16().count() * 2 } else { line.len() };
            lines.push((at, line));
            at += len as u64;
        }
        if lines.is_empty() {
            lines.push((self.start, String::new()));
        }
        Ok(ReadText { start: self.start, lines, unreadable })
    }

    fn render(data: &ReadText, text: &mut String) {
        if data.unreadable {
            line!(text, "{}  ????????", data.start);
            return;
        }
        for (at, characters) in &data.lines {
            line!(text, "{at}  \"{}\"", printable(characters));
        }
    }
}

/// Characters that would upset a terminal as dots.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '.' } else { c }).collect()
}

/// Text up to a NUL and the bytes it took, the NUL included.
pub(super) fn narrow_text(memory: &mut dyn MemoryReader, at: Va, limit: u64) -> (String, u64) {
    let bytes = memory.read_cstring(at, limit as usize).unwrap_or_default();
    let used = (bytes.len() as u64 + 1).min(limit);
    // A byte that is no UTF-8 is a dot, as it is in the columns of db.
    (String::from_utf8_lossy(&bytes).replace(char::REPLACEMENT_CHARACTER, "."), used)
}

pub(super) fn wide_text(memory: &mut dyn MemoryReader, at: Va, limit: u64) -> (String, u64) {
    let mut units = Vec::new();
    while (units.len() as u64) < limit / 2 {
        match memory.read_uint(at + 2 * units.len() as u64, 2) {
            Some(0) | None => break,
            Some(unit) => units.push(unit as u16),
        }
    }
    (String::from_utf16_lossy(&units), 2 * (units.len() as u64 + 1))
}

/// Displays a pointer-and-length text.
#[derive(Debug, Clone)]
pub struct Slice {
    at: Va,
}

impl Command for Slice {
    type Data = (Va, String);

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Slice, CommandError> {
        Ok(Slice { at: arguments.address(debugger)? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<(Va, String), CommandError> {
        let mut memory = debugger.engine.memory()?;
        let unreadable = |at| outpost_engine::EngineError::Unreadable { at };
        let start = Va(memory.read_u64(self.at).ok_or_else(|| unreadable(self.at))?);
        let len = memory.read_u64(self.at + 8).ok_or_else(|| unreadable(self.at + 8))?;
        if len > TEXT_LIMIT {
            return Err(CommandError::invalid(format!("the length {len:#x} is not that of a text")));
        }
        let bytes = memory.read_vec(start, len)?;
        Ok((start, String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn render(data: &(Va, String), text: &mut String) {
        line!(text, "{}  \"{}\"", data.0, printable(&data.1));
    }
}
