//! `d`, `db` to `dyd`: memory as numbers.

use outpost_base::Va;
use outpost_engine::ProcessMemory;
use outpost_engine::target::ReadRequest;

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{self, Json, Value, json};
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["d", "db", "dw", "dW", "dd", "dc", "dq", "dp", "df", "dD", "dyb", "dyd"],
    syntax: "d{b|w|W|d|c|q|p|f|D|yb|yd} [/c Columns] [Range]",
    summary: "Display memory",
    details: "Bytes with text (db), words (dw, with text dW), double words (dd, with text dc), quad words (dq), \
                  pointers (dp), floats (df), doubles (dD), binary bytes and double words (dyb, dyd). d repeats the last \
                  form. Without a range, goes on where the last ended. A range is Start End, Start LCount, Start L-Count; \
                  counts are objects. Bytes that cannot be read are question marks.",
    example: "db @rsp L20; dd 601000 601010; dq /c 1 @rsp",
    group: Group::Memory,
    eats_line: false,
    run: carry_out::<Display>,
}];

/// Most bytes that one command shows; nobody reads more lines than that, and each may need a symbol.
const READ_LIMIT: u64 = 4 << 20;
/// Pages asked for at once behind one that could not be read.
const PAGES_AHEAD: u64 = 1024;
const PAGE: u64 = 4096;

/// How units look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Hex { with_text: bool },
    Float,
    Binary,
}

/// Displays memory.
#[derive(Debug, Clone)]
pub struct Display {
    start: Va,
    len: u64,
    size: usize,
    unit: Unit,
    columns: usize,
}

/// Bytes as they were read, with how to show them.
#[derive(Debug, Clone)]
pub struct Dump {
    /// First address.
    pub start: Va,
    /// One entry for each byte; `None` where it could not be read.
    pub bytes: Vec<Option<u8>>,
    size: usize,
    unit: Unit,
    columns: usize,
}

impl Json for Dump {
    fn json(&self) -> Value {
        // What the form shows: words as they are, floats as numbers.
        let values = self.bytes.chunks(self.size).map(|cell| match (number(cell), self.unit) {
            (None, _) => Value::Null,
            (Some(bits), Unit::Float) if self.size == 4 => json!(f32::from_bits(bits as u32)),
            (Some(bits), Unit::Float) => json!(f64::from_bits(bits)),
            (Some(bits), _) => json::word(bits),
        });
        json!({ "start": self.start.json(), "size": self.size, "values": values.collect::<Vec<_>>() })
    }
}

impl Command for Display {
    type Data = Dump;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Display, CommandError> {
        let form = match arguments.name {
            "d" | "D" => debugger.continuations.display.clone().unwrap_or_else(|| "db".to_owned()),
            name => name.to_owned(),
        };
        let plain = |size, columns| (size, Unit::Hex { with_text: false }, columns, 128 / size as u64);
        let lower = form.to_ascii_lowercase();
        let (size, unit, usual, count) = match form.as_str() {
            "dW" => (2, Unit::Hex { with_text: true }, 8, 64),
            "dD" => (8, Unit::Float, 3, 15),
            _ => match lower.as_str() {
                "dw" => plain(2, 8),
                "dd" => plain(4, 4),
                "dc" => (4, Unit::Hex { with_text: true }, 4, 32),
                "dq" => plain(8, 2),
                "dp" => plain(8, 2),
                "df" => (4, Unit::Float, 4, 16),
                "dyb" => (1, Unit::Binary, 4, 32),
                "dyd" => (4, Unit::Binary, 1, 8),
                _ => (1, Unit::Hex { with_text: true }, 16, 128),
            },
        };
        let columns = columns(arguments, debugger)?.unwrap_or(usual);
        let (start, len) = range(arguments, debugger, size as u64, count)?;
        debugger.continuations.display = Some(form);
        Ok(Display { start, len, size, unit, columns })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Dump, CommandError> {
        let bytes = read_known(&debugger.engine.memory()?, self.start, self.len)?;
        debugger.continuations.display_at = Some(self.start + self.len);
        if let Some(last) = bytes.chunks_exact(self.size).next_back().and_then(number) {
            debugger.engine.recent_values().displayed = last;
        }
        Ok(Dump { start: self.start, bytes, size: self.size, unit: self.unit, columns: self.columns })
    }

    fn render(data: &Dump, text: &mut String) {
        let row_bytes = data.size * data.columns;
        if data.unit == Unit::Binary {
            let indent = " ".repeat(19);
            line!(text, "{indent}{}", vec!["76543210"; row_bytes].join(" "));
            line!(text, "{indent}{}", vec!["--------"; row_bytes].join(" "));
        }
        for (row, bytes) in data.bytes.chunks(row_bytes).enumerate() {
            let at = data.start + (row * row_bytes) as u64;
            let shown = match (data.unit, data.size) {
                (Unit::Hex { .. }, 1) => byte_row(bytes, data.columns),
                (Unit::Hex { .. }, _) => {
                    let cells: Vec<String> = bytes.chunks(data.size).map(word).collect();
                    cells.join(" ")
                }
                (Unit::Float, _) => {
                    let cells: Vec<String> = bytes.chunks(data.size).map(float).collect();
                    cells.join(" ")
                }
                (Unit::Binary, _) => {
                    let cells: Vec<String> = bytes.chunks(data.size).map(binary).collect();
                    let words: Vec<String> = bytes.chunks(data.size).map(word).collect();
                    // The digits of a short last row stand where the others do.
                    format!("{:width$}  {}", cells.join(" "), words.join(" "), width = row_bytes * 9 - 1)
                }
            };
            match data.unit {
                Unit::Hex { with_text: true } if data.size == 1 => {
                    let width = data.columns * 3 - 1;
                    line!(text, "{at}  {shown:width$}  {}", characters(bytes));
                }
                Unit::Hex { with_text: true } => {
                    let width = data.columns * (data.size * 2 + 1) - 1;
                    line!(text, "{at}  {shown:width$}  {}", characters(bytes));
                }
                _ => line!(text, "{at}  {shown}"),
            }
        }
    }
}

/// `/c n`.
pub(super) fn columns(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Option<usize>, CommandError> {
    if !arguments.take_word("/c") {
        return Ok(None);
    }
    match arguments.number(debugger)? {
        columns @ 1..=256 => Ok(Some(columns as usize)),
        _ => Err(arguments.usage("the number of columns is between 1 and 100")),
    }
}

/// A range; without one, where the last command ended, at first the pc.
pub(super) fn range(
    arguments: &mut Arguments<'_>,
    debugger: &mut Debugger,
    size: u64,
    count: u64,
) -> Result<(Va, u64), CommandError> {
    if arguments.is_empty() {
        let start = match debugger.continuations.display_at {
            Some(at) => at,
            None => Va(debugger.engine.register("$ip")?.as_u64()),
        };
        return Ok((start, count * size));
    }
    let range = arguments.range(debugger, size, count)?;
    if range.len > READ_LIMIT {
        return Err(CommandError::invalid("more than 4 MB are not displayed at once; .writemem writes them to a file"));
    }
    Ok((range.start, range.len))
}

/// Every byte of a range, `None` where it cannot be read; cut at the end of the address space.
pub(super) fn read_known(memory: &ProcessMemory, start: Va, len: u64) -> Result<Vec<Option<u8>>, CommandError> {
    let total = if start.0 == 0 { len } else { len.min(start.0.wrapping_neg()) };
    let mut known = Vec::new();
    let mut reads = vec![ReadRequest { at: start, len: total }];
    while !reads.is_empty() {
        for (read, bytes) in reads.iter().zip(memory.read_many(&reads)?) {
            let got = bytes.len() as u64;
            known.extend(bytes.into_iter().map(Some));
            // To the end of this page nothing can be read.
            let hole = (PAGE - (read.at + got).0 % PAGE).min(read.len - got);
            known.extend(std::iter::repeat_n(None, hole as usize));
        }
        // A hole may be large, so the pages behind it are asked for together, each for itself.
        let done = known.len() as u64;
        let pages = (0..PAGES_AHEAD).map(|page| done + page * PAGE).take_while(|offset| *offset < total);
        reads = pages.map(|offset| ReadRequest { at: start + offset, len: PAGE.min(total - offset) }).collect();
    }
    Ok(known)
}

/// Pairs of digits, `-` between the 8th and the 9th.
fn byte_row(bytes: &[Option<u8>], columns: usize) -> String {
    let mut row = String::new();
    for (at, byte) in bytes.iter().enumerate() {
        if at > 0 {
            row.push(if at == 8 && columns == 16 { '-' } else { ' ' });
        }
        match byte {
            Some(byte) => row.push_str(&format!("{byte:02x}")),
            None => row.push_str("??"),
        }
    }
    row
}

fn characters(bytes: &[Option<u8>]) -> String {
    let character = |byte: &Option<u8>| match byte {
        Some(byte @ 0x20..=0x7e) => char::from(*byte),
        Some(_) => '.',
        None => '?',
    };
    bytes.iter().map(character).collect()
}

/// The little-endian number of whole bytes.
pub(super) fn number(bytes: &[Option<u8>]) -> Option<u64> {
    bytes.iter().rev().try_fold(0u64, |value, byte| Some((value << 8) | u64::from((*byte)?)))
}

fn word(bytes: &[Option<u8>]) -> String {
    let width = bytes.len() * 2;
    match number(bytes) {
        Some(value) if bytes.len() == 8 => crate::text::hex64(value),
        Some(value) => format!("{value:0width$x}"),
        None if bytes.len() == 8 => "????????`????????".to_owned(),
        None => "?".repeat(width),
    }
}

fn float(bytes: &[Option<u8>]) -> String {
    let value = match (number(bytes), bytes.len()) {
        (Some(bits), 4) => Some(f64::from(f32::from_bits(bits as u32))),
        (Some(bits), 8) => Some(f64::from_bits(bits)),
        _ => None,
    };
    match (value, bytes.len()) {
        (Some(value), 4) => format!("{:>16}", crate::text::single(value as f32)),
        (Some(value), _) => format!("{:>24}", crate::text::double(value)),
        (None, 4) => format!("{:>16}", "????????????????"),
        (None, _) => format!("{:>24}", "????????????????????????"),
    }
}

fn binary(bytes: &[Option<u8>]) -> String {
    let digits = |byte: &Option<u8>| match byte {
        Some(byte) => format!("{byte:08b}"),
        None => "????????".to_owned(),
    };
    let cells: Vec<String> = bytes.iter().rev().map(digits).collect();
    cells.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(bytes: &[u8], missing: usize, size: usize, unit: Unit, columns: usize) -> String {
        let known = bytes.iter().copied().map(Some).chain(std::iter::repeat_n(None, missing)).collect();
        let mut text = String::new();
        Display::render(&Dump { start: Va(0x7fff_ffff_d9a0), bytes: known, size, unit, columns }, &mut text);
        text
    }

    #[test]
    fn rows_as_scripts_expect_them() {
        let bytes = [0x10, 0xda, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0xc7, 0xb0, 0x55, 0x55, 0x55, 0x55, 0, 0];
        let with_text = Unit::Hex { with_text: true };
        let plain = Unit::Hex { with_text: false };
        assert_eq!(
            dump(&bytes, 0, 1, with_text, 16),
            "00007fff`ffffd9a0  10 da ff ff ff 7f 00 00-c7 b0 55 55 55 55 00 00  ..........UUUU..\n"
        );
        assert_eq!(
            dump(&bytes[..2], 2, 1, with_text, 16),
            "00007fff`ffffd9a0  10 da ?? ??                                      ..??\n"
        );
        assert_eq!(dump(&bytes, 0, 8, plain, 2), "00007fff`ffffd9a0  00007fff`ffffda10 00005555`5555b0c7\n");
        assert_eq!(dump(&bytes[..4], 4, 4, plain, 4), "00007fff`ffffd9a0  ffffda10 ????????\n");
        assert_eq!(dump(&[0x41, 0x42, 0x43, 0], 0, 4, with_text, 1), "00007fff`ffffd9a0  00434241  ABC.\n");
        let binary = dump(&[5], 0, 1, Unit::Binary, 2);
        let head = "                   76543210 76543210\n                   -------- --------\n";
        assert_eq!(binary, format!("{head}00007fff`ffffd9a0  00000101           05\n"));
        let float = dump(&1.5f32.to_le_bytes(), 0, 4, Unit::Float, 4);
        assert_eq!(float, "00007fff`ffffd9a0               1.5\n");
    }
}
