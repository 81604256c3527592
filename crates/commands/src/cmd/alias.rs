//! `as`, `aS`, `ad`, `al`: aliases.

use outpost_base::{MemoryReader, Va};

use crate::command::{CommandEntry, Group, give};
use crate::json::fields;
use crate::language::{Arguments, cut_command};
use crate::script::alias::bare_name;
use crate::text::line;
use crate::text::values::ValueMemory;
use crate::{CommandError, Debugger, Output};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["as", "aS"],
        syntax: "as Name Rest of the line\n\
                 aS Name Text|\"Text\"\n\
                 as|aS /x Name Expression\n\
                 as|aS /e Name EnvironmentVariable\n\
                 as|aS /ma|/mu|/msa|/msu Name Address\n\
                 as|aS /f Name File\n\
                 as|aS /c Name Commands",
        summary: "Let a name stand for a text",
        details: "In lines and blocks that begin later, where the name stands between blanks, ; or quotes, and as ${Name} \
                  anywhere. /x is a number, /ma and /mu are a string in memory (UTF-8, UTF-16), /msa and /msu a counted \
                  one, /f the text of a file of the debugger's machine, /c what commands show. aS ends at ;. Each line of a file \
                  is a command of its own, or belongs to a block that is open, so that ${Name} carries them all out, and .echo \
                  ${Name} shows the first and carries out the others; the line break at the end is left out.",
        example: "aS hot \"k 5; r\"; as /x here @rip",
        group: Group::Scripts,
        eats_line: false,
        run: set,
    },
    CommandEntry {
        names: &["ad"],
        syntax: "ad [/q] Name|*",
        summary: "Forget an alias, or all",
        details: "/q does not complain of one that is not there. In blocks where the name would be replaced: \
                  ad ${/v:Name}.",
        example: "ad *",
        group: Group::Scripts,
        eats_line: false,
        run: forget,
    },
    CommandEntry {
        names: &["al"],
        syntax: "al",
        summary: "List the aliases",
        details: "Those that have names; $u0 to $u9 are not among them.",
        example: "al",
        group: Group::Scripts,
        eats_line: false,
        run: list,
    },
];

/// Longest string that an alias takes from memory, in bytes.
const MAX_STRING: usize = 4096;

fn set(arguments: &mut Arguments<'_>, debugger: &mut Debugger, _: &mut dyn Output) -> Result<(), CommandError> {
    let unread = arguments.unread();
    let has_switch = unread.trim_start().starts_with('/');
    // Plain `as` takes the line, with whatever stands in it.
    let line_len = unread.find('\n').unwrap_or(unread.len());
    let own = if arguments.name == "as" && !has_switch { &unread[..line_len] } else { cut_command(unread).0 };
    arguments.read_to(&unread[own.len()..]);
    let mut own = Arguments::new(arguments.name, arguments.syntax, None, own);
    let switch = own.take_option();
    let name = bare_name(own.word().ok_or_else(|| arguments.usage("the name is missing"))?);
    let value = match switch {
        None => match own.quoted().filter(|_| arguments.name == "aS") {
            Some(text) => text,
            None => own.take_rest().to_owned(),
        },
        Some("x") => {
            let value = own.number(debugger)?;
            // As C writes it, so that it is the same number in any radix.
            format!("0x{value:x}")
        }
        Some("e") => {
            let variable = own.take_rest();
            std::env::var(variable)
                .map_err(|_| CommandError::invalid(format!("there is no environment variable {variable}")))?
        }
        Some("ma") => string_at(own.address(debugger)?, 1, None, debugger)?,
        Some("mu") => string_at(own.address(debugger)?, 2, None, debugger)?,
        Some("msa") => counted_string_at(own.address(debugger)?, 1, debugger)?,
        Some("msu") => counted_string_at(own.address(debugger)?, 2, debugger)?,
        Some("f") => super::script_file::read(own.take_rest().trim_matches('"'), debugger)?,
        Some("c") => debugger.capture_all(own.take_rest(), "commands whose output is kept cannot resume")?,
        Some(other) => return Err(arguments.usage(format!("unknown option /{other}"))),
    };
    own.finish()?;
    debugger.aliases.set(name, value.trim_end_matches('\n'));
    Ok(())
}

/// The string at an address, in units of so many bytes: up to its zero, or `len` bytes.
pub(crate) fn string_at(
    at: Va,
    unit: usize,
    len: Option<usize>,
    debugger: &mut Debugger,
) -> Result<String, CommandError> {
    let mut bytes = vec![0; len.unwrap_or(MAX_STRING).min(MAX_STRING)];
    let count = ValueMemory(debugger.engine.memory().ok()).read(at, &mut bytes);
    if count == 0 && !bytes.is_empty() {
        return Err(CommandError::invalid(format!("the memory at {at} cannot be read")));
    }
    bytes.truncate(count);
    let ends = |unit: &&[u8]| len.is_some() || unit.iter().any(|byte| *byte != 0);
    let units = bytes.chunks_exact(unit).take_while(ends);
    Ok(match unit {
        1 => String::from_utf8_lossy(&units.flatten().copied().collect::<Vec<u8>>()).into_owned(),
        _ => {
            let units: Vec<u16> = units.map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
            String::from_utf16_lossy(&units)
        }
    })
}

/// A string with its length before it, as ANSI_STRING and UNICODE_STRING have it: 16 bits of length in bytes, and at
/// offset 8 where the text is.
pub(crate) fn counted_string_at(at: Va, unit: usize, debugger: &mut Debugger) -> Result<String, CommandError> {
    let mut head = [0; 16];
    if ValueMemory(debugger.engine.memory().ok()).read(at, &mut head) != head.len() {
        return Err(CommandError::invalid(format!("the memory at {at} cannot be read")));
    }
    let len = usize::from(u16::from_le_bytes([head[0], head[1]]));
    let text = u64::from_le_bytes(std::array::from_fn(|byte| head[8 + byte]));
    string_at(Va(text), unit, Some(len), debugger)
}

fn forget(arguments: &mut Arguments<'_>, debugger: &mut Debugger, _: &mut dyn Output) -> Result<(), CommandError> {
    let is_quiet = arguments.take_word("/q");
    let name = bare_name(arguments.word().ok_or_else(|| arguments.usage("the name is missing"))?);
    arguments.finish()?;
    match name {
        "*" => debugger.aliases.clear(),
        name if debugger.aliases.remove(name) || is_quiet => {}
        name => return Err(CommandError::invalid(format!("there is no alias '{name}'; al lists them"))),
    }
    Ok(())
}

fn list(arguments: &mut Arguments<'_>, debugger: &mut Debugger, out: &mut dyn Output) -> Result<(), CommandError> {
    arguments.finish()?;
    let named = debugger.aliases.named().map(|(name, value)| Alias { name: name.to_owned(), value: value.to_owned() });
    let named: Vec<Alias> = named.collect();
    give(&named, |named, text| render(named, text), out);
    Ok(())
}

/// A name and what it stands for.
#[derive(Debug, Clone)]
struct Alias {
    name: String,
    value: String,
}

fields!(Alias { name, value });

fn render(named: &[Alias], text: &mut String) {
    match named {
        [] => line!(text, "No aliases"),
        _ => line!(text, "  Alias            Value\n -------          -------"),
    }
    named.iter().for_each(|Alias { name, value }| line!(text, " {name:<16} {value}"));
}

/// Sets `$u0` to `$u9`: the form `r $.u0=text`. `false`: the arguments are something else.
pub(crate) fn set_fixed(text: &str, debugger: &mut Debugger) -> bool {
    let Some(rest) = text.trim_start().strip_prefix("$.u") else { return false };
    let Some(index) = rest.chars().next().and_then(|digit| digit.to_digit(10)) else { return false };
    let Some(value) = rest[1..].trim_start().strip_prefix('=') else { return false };
    debugger.aliases.set_fixed(index as usize, value.trim().trim_matches('"'));
    true
}
