//! `dds`, `dda` and their kind, `dl`: memory as pointers.

use outpost_base::{MemoryReader, Va};

use super::display::{number, range, read_known};
use super::display_text::{narrow_text, printable, wide_text};
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value, json, word};
use crate::language::Arguments;
use crate::text::{line, symbols};
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["dds", "dqs", "dps"],
        syntax: "dds|dqs|dps [Range]",
        summary: "Display words with their symbols",
        details: "dds shows double words, dqs and dps what a pointer takes. Symbols have their source lines, unless .lines -d is set.",
        example: "dps @rsp L20",
        group: Group::Memory,
        eats_line: false,
        run: carry_out::<Symbols>,
    },
    CommandEntry {
        names: &["dda", "ddu", "ddp", "dpa", "dpu", "dpp", "dqa", "dqu", "dqp"],
        syntax: "d{d|p|q}{a|u|p} [Range]",
        summary: "Display pointers and what they point to",
        details: "The second letter is the pointer's size, the third what is there: UTF-8 text, UTF-16 text, a pointer.",
        example: "dpa @rsp",
        group: Group::Memory,
        eats_line: false,
        run: carry_out::<Pointers>,
    },
    CommandEntry {
        names: &["dl", "dlb"],
        syntax: "dl[b] Address [MaxCount [Size]]",
        summary: "Display a linked list",
        details: "Follows the pointer at the start of each element, at most MaxCount times, and shows Size pointers of each. \
                  dlb follows the second pointer.",
        example: "dl poi(head) 20 3",
        group: Group::Memory,
        eats_line: false,
        run: carry_out::<LinkedList>,
    },
];

/// Displays words with symbols.
#[derive(Debug, Clone)]
pub struct Symbols {
    start: Va,
    len: u64,
    size: usize,
}

/// Rows of `dps`.
#[derive(Debug, Clone)]
pub struct SymbolRows {
    size: usize,
    /// Address, value, symbol with source line.
    pub rows: Vec<(Va, Option<u64>, String)>,
}

impl Json for SymbolRows {
    fn json(&self) -> Value {
        let rows = self.rows.iter();
        let rows = rows.map(|(at, value, note)| json!({ "at": at.json(), "value": value.map(word), "note": note }));
        Value::Array(rows.collect())
    }
}

impl Command for Symbols {
    type Data = SymbolRows;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Symbols, CommandError> {
        let size = if arguments.name.eq_ignore_ascii_case("dds") { 4 } else { 8 };
        let (start, len) = range(arguments, debugger, size, 128 / size)?;
        debugger.continuations.display = Some(arguments.name.to_ascii_lowercase());
        Ok(Symbols { start, len, size: size as usize })
    }

    fn run(self, debugger: &mut Debugger) -> Result<SymbolRows, CommandError> {
        let bytes = read_known(&debugger.engine.memory()?, self.start, self.len)?;
        debugger.continuations.display_at = Some(self.start + self.len);
        let mut rows = Vec::new();
        for (row, bytes) in bytes.chunks(self.size).enumerate() {
            debugger.engine.check_interrupt()?;
            let value = number(bytes);
            let symbol = value.and_then(|value| debugger.engine.symbol_at(Va(value)));
            let mut name = symbol.map(|symbol| symbol.to_string()).unwrap_or_default();
            if let (false, true, Some(value)) = (name.is_empty(), debugger.settings.lines, value) {
                name.push_str(&symbols::line_suffix(debugger.engine.line_at(Va(value)).as_ref()));
            }
            rows.push((self.start + (row * self.size) as u64, value, name));
        }
        Ok(SymbolRows { size: self.size, rows })
    }

    fn render(data: &SymbolRows, text: &mut String) {
        for (at, value, name) in &data.rows {
            let shown = shown_word(*value, data.size);
            match name.as_str() {
                "" => line!(text, "{at}  {shown}"),
                name => line!(text, "{at}  {shown} {name}"),
            }
        }
    }
}

fn shown_word(value: Option<u64>, size: usize) -> String {
    match (value, size) {
        (Some(value), 8) => crate::text::hex64(value),
        (Some(value), _) => format!("{value:08x}"),
        (None, 8) => "????????`????????".to_owned(),
        (None, _) => "????????".to_owned(),
    }
}

/// Displays pointers with what is there.
#[derive(Debug, Clone)]
pub struct Pointers {
    start: Va,
    len: u64,
    size: usize,
    target: char,
}

impl Command for Pointers {
    type Data = SymbolRows;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Pointers, CommandError> {
        let name = arguments.name.to_ascii_lowercase();
        let size = if name.starts_with("dd") { 4 } else { 8 };
        let target = name.chars().last().unwrap_or('p');
        let (start, len) = range(arguments, debugger, size, 128 / size)?;
        debugger.continuations.display = Some(name);
        Ok(Pointers { start, len, size: size as usize, target })
    }

    fn run(self, debugger: &mut Debugger) -> Result<SymbolRows, CommandError> {
        let mut memory = debugger.engine.memory()?;
        let bytes = read_known(&memory, self.start, self.len)?;
        debugger.continuations.display_at = Some(self.start + self.len);
        let values: Vec<Option<u64>> = bytes.chunks(self.size).map(number).collect();
        let targets: Vec<_> = values.iter().flatten().map(|&at| outpost_base::VaRange::from_len(Va(at), 64)).collect();
        memory.prefetch(&targets)?;
        let mut rows = Vec::new();
        for (row, value) in values.into_iter().enumerate() {
            debugger.engine.check_interrupt()?;
            let shown = match value {
                None => String::new(),
                Some(at) if memory.read_exact(Va(at), &mut [0]).is_none() => "????????".to_owned(),
                Some(at) => match self.target {
                    'a' => format!("\"{}\"", printable(&narrow_text(&mut memory, Va(at), 64).0)),
                    'u' => format!("\"{}\"", printable(&wide_text(&mut memory, Va(at), 64).0)),
                    _ => {
                        let there = memory.read_uint(Va(at), self.size);
                        let symbol = there.and_then(|there| debugger.engine.symbol_at(Va(there)));
                        let name = symbol.map(|symbol| format!(" {symbol}")).unwrap_or_default();
                        format!("{}{name}", shown_word(there, self.size))
                    }
                },
            };
            rows.push((self.start + (row * self.size) as u64, value, shown));
        }
        Ok(SymbolRows { size: self.size, rows })
    }

    fn render(data: &SymbolRows, text: &mut String) {
        Symbols::render(data, text);
    }
}

/// Walks a list.
#[derive(Debug, Clone)]
pub struct LinkedList {
    start: Va,
    limit: u64,
    words: u64,
    /// Which pointer of an element leads on.
    link: usize,
}

/// An element of a list with its first words; `None` for those that cannot be read.
#[derive(Debug, Clone)]
pub struct ListElement {
    /// Where it is.
    pub at: Va,
    /// Its words.
    pub words: Vec<Option<u64>>,
}

impl Json for ListElement {
    fn json(&self) -> Value {
        let words: Vec<Option<Value>> = self.words.iter().map(|value| value.map(word)).collect();
        json!({ "at": self.at.json(), "words": words })
    }
}

impl Command for LinkedList {
    type Data = Vec<ListElement>;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<LinkedList, CommandError> {
        let start = arguments.address(debugger)?;
        let limit = arguments.optional_number(debugger)?.unwrap_or(0x20).min(0x10000);
        let words = arguments.optional_number(debugger)?.unwrap_or(2).clamp(1, 64);
        let link = usize::from(arguments.name.eq_ignore_ascii_case("dlb"));
        Ok(LinkedList { start, limit, words, link })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Self::Data, CommandError> {
        let mut memory = debugger.engine.memory()?;
        let mut seen = std::collections::HashSet::new();
        let mut elements = Vec::new();
        let mut at = self.start;
        while (elements.len() as u64) < self.limit && at.0 != 0 && seen.insert(at) {
            debugger.engine.check_interrupt()?;
            let words: Vec<Option<u64>> = (0..self.words.max(2)).map(|word| memory.read_u64(at + 8 * word)).collect();
            let next = words.get(self.link).copied().flatten();
            elements.push(ListElement { at, words: words.into_iter().take(self.words as usize).collect() });
            match next {
                Some(next) => at = Va(next),
                None => break,
            }
        }
        Ok(elements)
    }

    fn render(data: &Self::Data, text: &mut String) {
        for ListElement { at, words } in data {
            let shown: Vec<String> = words.iter().map(|word| shown_word(*word, 8)).collect();
            line!(text, "{at}  {}", shown.join(" "));
        }
    }
}
