//! `s`: searching memory.

use outpost_base::{MemoryReader, Va, VaRange};
use outpost_engine::target::SearchRequest;

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["s"],
    syntax: "s [-[Flags]b|w|d|q|a|u] Range Pattern\ns -[Flags]sa|su Range",
    summary: "Search memory",
    details: "For bytes (the default), words, double words, quad words (only at multiples of their size), UTF-8 or UTF-16 \
              text. -sa and -su list any printable text of at least 3 characters; [lN] sets another length. Flags in \
              brackets before the type: w writable memory only, nN at most N hits (400 at first), 1 addresses only. The \
              search is made beside the target.",
    group: Group::Memory,
    eats_line: false,
    run: carry_out::<Search>,
}];

/// Bytes shown of each hit.
const SHOWN: u64 = 16;

/// Searches.
#[derive(Debug, Clone)]
pub struct Search {
    range: VaRange,
    what: What,
    limit: u32,
    writable_only: bool,
    addresses_only: bool,
}

#[derive(Debug, Clone)]
enum What {
    Pattern { bytes: Vec<u8>, alignment: u32 },
    Texts { wide: bool, least: usize },
}

/// Hits with what is there.
#[derive(Debug, Clone)]
pub struct Hits {
    /// Address and leading bytes of each.
    pub hits: Vec<(Va, Vec<u8>)>,
    /// Texts found, where texts were looked for.
    pub texts: Vec<(Va, String)>,
    addresses_only: bool,
    /// More may be there.
    pub limited: bool,
}

impl Command for Search {
    type Data = Hits;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Search, CommandError> {
        let mut search = Search {
            range: VaRange::default(),
            what: What::Pattern { bytes: Vec::new(), alignment: 1 },
            limit: 1024,
            writable_only: false,
            addresses_only: false,
        };
        let mut kind = 'b';
        let mut texts = None;
        let mut least = 3;
        if arguments.take("-") {
            let word = arguments.word().unwrap_or_default();
            let (flags, rest) = match word.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
                Some((flags, rest)) => (flags, rest),
                None => ("", word),
            };
            for flag in flags.split([',', ' ']).filter(|flag| !flag.is_empty()) {
                let number = |digits: &str| u32::from_str_radix(digits, 16).ok();
                match (flag.split_at(1), flag) {
                    (_, "1") => search.addresses_only = true,
                    (_, "w") => search.writable_only = true,
                    (("n", count), _) => {
                        search.limit = number(count).ok_or_else(|| arguments.usage("n needs a number"))?;
                    }
                    (("l", length), _) => {
                        least = number(length).ok_or_else(|| arguments.usage("l needs a number"))? as usize;
                    }
                    (_, other) => {
                        return Err(CommandError::unsupported(format!("s flag {other}"), "not implemented yet"));
                    }
                }
            }
            match rest {
                "sa" => texts = Some(false),
                "su" => texts = Some(true),
                "b" | "w" | "d" | "q" | "a" | "u" => kind = rest.chars().next().unwrap_or('b'),
                other => return Err(arguments.usage(format!("unknown type '{other}'"))),
            }
        }
        let size = match kind {
            'w' | 'u' => 2,
            'd' => 4,
            'q' => 8,
            _ => 1,
        };
        let range = arguments.range(debugger, if texts.is_some() { 1 } else { size }, 128)?;
        search.range = VaRange::from_len(range.start, range.len);
        search.what = match texts {
            Some(wide) => What::Texts { wide, least: least.max(1) },
            None => {
                What::Pattern { bytes: pattern(kind, size as usize, arguments, debugger)?, alignment: alignment(kind) }
            }
        };
        Ok(search)
    }

    fn run(self, debugger: &mut Debugger) -> Result<Hits, CommandError> {
        let mut memory = debugger.engine.memory()?;
        let addresses_only = self.addresses_only;
        match self.what {
            What::Pattern { bytes, alignment } => {
                let request = SearchRequest {
                    range: self.range,
                    pattern: bytes,
                    alignment,
                    writable_only: self.writable_only,
                    limit: self.limit,
                };
                let system = debugger.engine.current_system().ok_or(outpost_engine::EngineError::NoDebuggee)?;
                let space = memory.space();
                let found = debugger.engine.with_target(system, |target| target.search(space, &request))?;
                let found = found.map_err(outpost_engine::EngineError::from)?;
                debugger.continuations.search_hits.clone_from(&found);
                let limited = found.len() as u32 >= self.limit;
                let mut hits = Vec::new();
                for at in found {
                    let mut bytes = vec![0; SHOWN as usize];
                    let got = if addresses_only { 0 } else { memory.read(at, &mut bytes) };
                    bytes.truncate(got);
                    hits.push((at, bytes));
                }
                Ok(Hits { hits, texts: Vec::new(), addresses_only, limited })
            }
            What::Texts { wide, least } => {
                let texts = texts(debugger, self.range, wide, least, self.limit as usize)?;
                let limited = texts.len() >= self.limit as usize;
                Ok(Hits { hits: Vec::new(), texts, addresses_only, limited })
            }
        }
    }

    fn render(data: &Hits, text: &mut String) {
        for (at, bytes) in &data.hits {
            if data.addresses_only {
                line!(text, "{at}");
                continue;
            }
            let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let row = digits.chunks(8).map(|half| half.join(" ")).collect::<Vec<_>>().join("-");
            let letters: String =
                bytes.iter().map(|&byte| if (0x20..0x7f).contains(&byte) { char::from(byte) } else { '.' }).collect();
            line!(text, "{at}  {row:47}  {letters}");
        }
        for (at, found) in &data.texts {
            match data.addresses_only {
                true => line!(text, "{at}"),
                false => line!(text, "{at}  \"{found}\""),
            }
        }
        if data.limited {
            line!(text, "The limit of hits is reached; [nN] sets another");
        }
    }
}

fn alignment(kind: char) -> u32 {
    match kind {
        'w' => 2,
        'd' => 4,
        'q' => 8,
        _ => 1,
    }
}

/// The bytes that values or a text come to.
fn pattern(
    kind: char,
    size: usize,
    arguments: &mut Arguments<'_>,
    debugger: &mut Debugger,
) -> Result<Vec<u8>, CommandError> {
    if matches!(kind, 'a' | 'u') {
        let text = match arguments.quoted() {
            Some(text) => text,
            None => arguments.take_rest().to_owned(),
        };
        if text.is_empty() {
            return Err(arguments.usage("the text is missing"));
        }
        return Ok(match kind {
            'a' => text.into_bytes(),
            _ => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        });
    }
    if size == 1 {
        return super::enter::pattern(arguments, debugger);
    }
    let mut bytes = Vec::new();
    while !arguments.is_empty() {
        bytes.extend(&arguments.number(debugger)?.to_le_bytes()[..size]);
    }
    if bytes.is_empty() { Err(arguments.usage("the pattern is missing")) } else { Ok(bytes) }
}

/// Runs of printable characters.
fn texts(
    debugger: &mut Debugger,
    range: VaRange,
    wide: bool,
    least: usize,
    limit: usize,
) -> Result<Vec<(Va, String)>, CommandError> {
    const CHUNK: u64 = 1 << 20;
    let memory = debugger.engine.memory()?;
    let unit = if wide { 2 } else { 1 };
    let mut found: Vec<(Va, String)> = Vec::new();
    let mut run: Option<(Va, String)> = None;
    let mut at = range.start;
    while at < range.end && found.len() < limit {
        debugger.engine.check_interrupt()?;
        let len = CHUNK.min(range.end - at);
        let bytes = super::display::read_known(&memory, at, len)?;
        for (number, cell) in bytes.chunks(unit).enumerate() {
            let character = match cell {
                [Some(byte)] | [Some(byte), Some(0)] => Some(*byte).filter(|byte| (0x20..0x7f).contains(byte)),
                _ => None,
            };
            let here = at + (number * unit) as u64;
            match (character, &mut run) {
                (Some(byte), Some((_, text))) => text.push(char::from(byte)),
                (Some(byte), None) => run = Some((here, char::from(byte).to_string())),
                (None, _) => found.extend(run.take().filter(|(_, text)| text.len() >= least)),
            }
        }
        at += len;
    }
    found.extend(run.filter(|(_, text)| text.len() >= least));
    found.truncate(limit);
    Ok(found)
}
