//! `e*`, `f`, `m`, `c`: changing and comparing memory.

use outpost_base::Va;

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::questions::Question;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["e", "eb", "ew", "ed", "eq", "ep", "ef", "eD"],
        syntax: SYNTAX,
        summary: "Write values to memory",
        details: "Bytes (eb, also texts in quotes), words, double words, quad words, pointers, floats (ef), doubles (eD). \
                  Read-only pages are no obstacle; a breakpoint at the place stays. Without values, each is shown and \
                  asked for at Input>: a blank keeps it, an empty line ends.",
        example: "ed @rsp+8 1 2; eb 601000 \"text\" 0",
        group: Group::Memory,
        eats_line: false,
        run: carry_out::<Enter>,
    },
    CommandEntry {
        names: &["ea", "eza", "eu", "ezu"],
        syntax: "ea|eza|eu|ezu Address \"Text\"",
        summary: "Write text to memory",
        details: "As UTF-8 (ea) or UTF-16 (eu); with z, a zero behind it.",
        example: "eza 601000 \"new\"",
        group: Group::Memory,
        eats_line: false,
        run: carry_out::<EnterText>,
    },
    CommandEntry {
        names: &["f", "fp"],
        syntax: "f Range Byte ...",
        summary: "Fill memory with a pattern",
        details: "The bytes, numbers or text in quotes, are repeated over the range.",
        example: "f 601000 L20 0",
        group: Group::Memory,
        eats_line: false,
        run: carry_out::<Fill>,
    },
    CommandEntry {
        names: &["m"],
        syntax: "m Range Address",
        summary: "Copy memory",
        details: "The places may overlap.",
        example: "m 601000 L20 602000",
        group: Group::Memory,
        eats_line: false,
        run: carry_out::<Move>,
    },
    CommandEntry {
        names: &["c"],
        syntax: "c Range Address",
        summary: "Compare memory",
        details: "Lists the addresses whose bytes differ.",
        example: "c 601000 L20 602000",
        group: Group::Memory,
        eats_line: false,
        run: carry_out::<Compare>,
    },
];

pub(crate) const SYNTAX: &str = "e{b|w|d|q|p|f|D} Address [Value ...]";

/// Most bytes that one command writes or compares.
const LIMIT: u64 = 64 << 20;

/// Writes bytes.
#[derive(Debug, Clone)]
pub struct Enter {
    /// Where.
    pub at: Va,
    /// What.
    pub bytes: Vec<u8>,
}

impl Command for Enter {
    type Data = ();

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Enter, CommandError> {
        let at = arguments.address(debugger)?;
        if arguments.is_empty() {
            debugger.ask(Question::Memory { form: arguments.name.to_owned(), at });
        }
        Ok(Enter { at, bytes: values(arguments, debugger)? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<(), CommandError> {
        write(self.at, &self.bytes, debugger)
    }

    fn render(_: &(), _: &mut String) {}
}

/// Bytes of one value of a form.
pub(crate) fn size(form: &str) -> usize {
    match form {
        "eD" => 8,
        _ => match form.to_ascii_lowercase().as_str() {
            "ew" => 2,
            "ed" | "ef" => 4,
            "eq" | "ep" => 8,
            _ => 1,
        },
    }
}

/// One value as its form shows it; `None` is what cannot be read.
pub(crate) fn item(form: &str, bytes: Option<&Vec<u8>>) -> String {
    let size = size(form);
    let Some(bytes) = bytes else { return "??".repeat(size) };
    let mut word = [0; 8];
    word[..size].copy_from_slice(bytes);
    let word = u64::from_le_bytes(word);
    match form {
        "eD" => crate::text::double(f64::from_bits(word)),
        _ if form.eq_ignore_ascii_case("ef") => crate::text::single(f32::from_bits(word as u32)),
        _ if size == 8 => crate::text::hex64(word),
        _ => format!("{word:0width$x}", width = 2 * size),
    }
}

/// The bytes of all values that follow.
pub(crate) fn values(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Vec<u8>, CommandError> {
    let form = arguments.name;
    let size = size(form);
    let mut bytes = Vec::new();
    while !arguments.is_empty() {
        if arguments.rest().starts_with('"') {
            bytes.extend(arguments.quoted().unwrap_or_default().bytes());
            continue;
        }
        if form == "eD" || form.eq_ignore_ascii_case("ef") {
            let word = arguments.word().unwrap_or_default();
            let value: f64 = word.parse().map_err(|_| arguments.usage(format!("'{word}' is no number")))?;
            match form {
                "eD" => bytes.extend(value.to_le_bytes()),
                _ => bytes.extend((value as f32).to_le_bytes()),
            }
            continue;
        }
        let value = arguments.number(debugger)?;
        let excess = if size == 8 { 0 } else { value >> (8 * size) };
        // A negative number is as good as its low part.
        if excess != 0 && excess != u64::MAX >> (8 * size) {
            return Err(CommandError::invalid(format!("{value:#x} does not fit {size} bytes")));
        }
        bytes.extend(&value.to_le_bytes()[..size]);
    }
    Ok(bytes)
}

/// Writes bytes, if there are any.
pub(crate) fn write(at: Va, bytes: &[u8], debugger: &mut Debugger) -> Result<(), CommandError> {
    if !bytes.is_empty() {
        debugger.engine.memory()?.write(at, bytes)?;
        debugger.engine.state_changed();
    }
    Ok(())
}

/// Writes text.
#[derive(Debug, Clone)]
pub struct EnterText;

impl Command for EnterText {
    type Data = ();

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<EnterText, CommandError> {
        let form = arguments.name.to_ascii_lowercase();
        let at = arguments.address(debugger)?;
        let text = arguments.quoted().ok_or_else(|| arguments.usage("the text in quotes is missing"))?;
        let mut bytes: Vec<u8> = match form.ends_with('u') {
            false => text.into_bytes(),
            true => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        };
        if form.contains('z') {
            bytes.extend(if form.ends_with('u') { &[0, 0][..] } else { &[0][..] });
        }
        write(at, &bytes, debugger)?;
        Ok(EnterText)
    }

    fn run(self, _: &mut Debugger) -> Result<(), CommandError> {
        Ok(())
    }

    fn render(_: &(), _: &mut String) {}
}

/// Fills a range.
#[derive(Debug, Clone)]
pub struct Fill {
    start: Va,
    len: u64,
    pattern: Vec<u8>,
}

impl Command for Fill {
    type Data = u64;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Fill, CommandError> {
        if arguments.name.eq_ignore_ascii_case("fp") {
            return Err(CommandError::unsupported("fp", "physical memory needs a kernel target"));
        }
        let range = bounded(arguments, debugger)?;
        let pattern = pattern(arguments, debugger)?;
        Ok(Fill { start: range.0, len: range.1, pattern })
    }

    fn run(self, debugger: &mut Debugger) -> Result<u64, CommandError> {
        let bytes: Vec<u8> = self.pattern.iter().copied().cycle().take(self.len as usize).collect();
        debugger.engine.memory()?.write(self.start, &bytes)?;
        debugger.engine.state_changed();
        Ok(self.len)
    }

    fn render(data: &u64, text: &mut String) {
        line!(text, "Filled 0x{data:x} bytes");
    }
}

/// Bytes as numbers or texts in quotes; at least one.
pub(super) fn pattern(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Vec<u8>, CommandError> {
    let mut pattern = Vec::new();
    while !arguments.is_empty() {
        if arguments.rest().starts_with('"') {
            pattern.extend(arguments.quoted().unwrap_or_default().bytes());
            continue;
        }
        let value = arguments.number(debugger)?;
        let byte = u8::try_from(value).map_err(|_| CommandError::invalid(format!("{value:#x} is no byte")))?;
        pattern.push(byte);
    }
    if pattern.is_empty() { Err(arguments.usage("the pattern is missing")) } else { Ok(pattern) }
}

fn bounded(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<(Va, u64), CommandError> {
    let range = arguments.range(debugger, 1, 1)?;
    if range.len > LIMIT {
        return Err(CommandError::invalid("more than 64 MB are not changed or compared at once"));
    }
    Ok((range.start, range.len))
}

/// Copies memory.
#[derive(Debug, Clone)]
pub struct Move {
    from: Va,
    len: u64,
    to: Va,
}

impl Command for Move {
    type Data = ();

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Move, CommandError> {
        let (from, len) = bounded(arguments, debugger)?;
        Ok(Move { from, len, to: arguments.address(debugger)? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let memory = debugger.engine.memory()?;
        let bytes = memory.read_vec(self.from, self.len)?;
        memory.write(self.to, &bytes)?;
        debugger.engine.state_changed();
        Ok(())
    }

    fn render(_: &(), _: &mut String) {}
}

/// Compares memory.
#[derive(Debug, Clone)]
pub struct Compare {
    one: Va,
    len: u64,
    other: Va,
}

/// Two bytes that are not the same.
#[derive(Debug, Clone)]
pub struct Difference {
    /// Where the one is.
    pub at: Va,
    /// It.
    pub byte: u8,
    /// Where the other is.
    pub other_at: Va,
    /// It.
    pub other: u8,
}

fields!(Difference { at, byte, other_at, other });

impl Command for Compare {
    type Data = Vec<Difference>;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Compare, CommandError> {
        let (one, len) = bounded(arguments, debugger)?;
        Ok(Compare { one, len, other: arguments.address(debugger)? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Self::Data, CommandError> {
        let memory = debugger.engine.memory()?;
        let one = memory.read_vec(self.one, self.len)?;
        let other = memory.read_vec(self.other, self.len)?;
        let pairs = one.into_iter().zip(other).enumerate();
        let differing = pairs.filter(|(_, (left, right))| left != right);
        let difference = |(at, (byte, other))| {
            let at = at as u64;
            Difference { at: self.one + at, byte, other_at: self.other + at, other }
        };
        Ok(differing.map(difference).collect())
    }

    fn render(data: &Self::Data, text: &mut String) {
        for Difference { at, byte, other_at, other } in data {
            line!(text, "{at}  {byte:02x} - {other_at}  {other:02x}");
        }
    }
}
