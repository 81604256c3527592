//! `s`: searching memory.

use outpost_base::{MemoryReader, Va, VaRange};
use outpost_engine::target::{ReadRequest, SearchRequest};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value, json};
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["s"],
    syntax: "s [-[[Flags]]b|w|d|q|a|u] Range Pattern\ns -[[Flags]]sa|su Range",
    summary: "Search memory",
    details: "For bytes (the default), words, double words, quad words (only at multiples of their size from the start), \
              UTF-8 or UTF-16 text. -sa and -su list any printable text of at least 3 characters. Flags stand in brackets \
              before the type: s saves the hits; r looks only at the hits that were saved, whatever the range, and takes \
              no flags but s and 1; n N stops after N hits (0x400 at first); l N sets the least length of -sa and -su; w \
              looks at writable memory only; 1 shows addresses only. The search is made beside the target.",
    example: "s -[w1]d @rsp L100 1234; s -a 601000 L?10000 \"password\"",
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
    flags: Flags,
}

/// What stands in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Flags {
    save: bool,
    among_saved: bool,
    writable_only: bool,
    addresses_only: bool,
    limit: u32,
    least: usize,
}

impl Default for Flags {
    fn default() -> Flags {
        Flags { save: false, among_saved: false, writable_only: false, addresses_only: false, limit: 1024, least: 3 }
    }
}

#[derive(Debug, Clone)]
enum What {
    Pattern { bytes: Vec<u8>, alignment: u32 },
    Texts { wide: bool },
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

impl Json for Hits {
    fn json(&self) -> Value {
        let hits = self.hits.iter().map(|(at, bytes)| {
            let bytes: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "at": at.json(), "bytes": bytes })
        });
        let texts = self.texts.iter().map(|(at, text)| json!({ "at": at.json(), "text": text }));
        json!({ "hits": hits.chain(texts).collect::<Vec<_>>(), "limited": self.limited })
    }
}

impl Command for Search {
    type Data = Hits;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Search, CommandError> {
        let (mut flags, mut kind, mut texts) = (Flags::default(), 'b', None);
        if arguments.take("-") {
            if arguments.take("[") {
                flags = read_flags(arguments, debugger)?;
            }
            match arguments.word().unwrap_or_default() {
                "sa" => texts = Some(false),
                "su" => texts = Some(true),
                known @ ("b" | "w" | "d" | "q" | "a" | "u") => kind = known.chars().next().unwrap_or('b'),
                other => return Err(arguments.usage(format!("unknown type '{other}'"))),
            }
        }
        if flags.among_saved && texts.is_some() {
            return Err(arguments.usage("r needs a pattern"));
        }
        let size = match kind {
            'w' | 'u' => 2,
            'd' => 4,
            'q' => 8,
            _ if texts == Some(true) => 2,
            _ => 1,
        };
        let range = arguments.range(debugger, size, 128)?;
        let what = match texts {
            Some(wide) => What::Texts { wide },
            None => {
                What::Pattern { bytes: pattern(kind, size as usize, arguments, debugger)?, alignment: alignment(kind) }
            }
        };
        Ok(Search { range: VaRange::from_len(range.start, range.len), what, flags })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Hits, CommandError> {
        let flags = self.flags;
        let limit = flags.limit as usize;
        let mut memory = debugger.engine.memory()?;
        let (mut hits, mut found_texts) = (Vec::new(), Vec::new());
        let found: Vec<Va> = match self.what {
            What::Pattern { bytes, .. } if flags.among_saved => among_saved(debugger, &bytes, limit)?,
            What::Pattern { bytes, alignment } => {
                let request = SearchRequest {
                    range: self.range,
                    pattern: bytes,
                    alignment,
                    writable_only: flags.writable_only,
                    limit: flags.limit,
                };
                search(debugger, request)?
            }
            What::Texts { wide } => {
                found_texts = texts(debugger, self.range, wide, &flags)?;
                found_texts.iter().map(|(at, _)| *at).collect()
            }
        };
        if flags.save {
            debugger.continuations.search_hits.clone_from(&found);
        }
        let limited = found.len() >= limit && !flags.among_saved;
        for at in found.into_iter().filter(|_| found_texts.is_empty()) {
            let mut bytes = vec![0; SHOWN as usize];
            let got = if flags.addresses_only { 0 } else { memory.read(at, &mut bytes) };
            bytes.truncate(got);
            hits.push((at, bytes));
        }
        Ok(Hits { hits, texts: found_texts, addresses_only: flags.addresses_only, limited })
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

/// What stands in brackets: letters in any order, separated or not; `n` and `l` have a number.
fn read_flags(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Flags, CommandError> {
    let mut flags = Flags::default();
    let rest = arguments.rest();
    let Some((inside, _)) = rest.split_once(']') else { return Err(arguments.usage("the bracket ] is missing")) };
    arguments.take(inside);
    arguments.take("]");
    let mut own = Arguments::new(arguments.name, arguments.syntax, None, inside);
    let number = |own: &mut Arguments<'_>, debugger: &mut Debugger| {
        let word: String = own.rest().chars().take_while(char::is_ascii_alphanumeric).collect();
        if word.is_empty() {
            return Err(own.usage("n and l need a number"));
        }
        own.take(&word);
        let value = Arguments::new("s", own.syntax, None, &word).number(debugger)?;
        u32::try_from(value).ok().filter(|value| *value > 0).ok_or_else(|| own.usage("n and l need a number above 0"))
    };
    while !own.is_empty() {
        match () {
            () if own.take("s") => flags.save = true,
            () if own.take("r") => flags.among_saved = true,
            () if own.take("w") => flags.writable_only = true,
            () if own.take("1") => flags.addresses_only = true,
            () if own.take("n") => flags.limit = number(&mut own, debugger)?,
            () if own.take("l") => flags.least = number(&mut own, debugger)? as usize,
            () if own.take(",") => {}
            () => return Err(arguments.usage(format!("unknown flag '{}'", own.rest()))),
        }
    }
    let default = Flags::default();
    let narrowed = flags.writable_only || flags.limit != default.limit || flags.least != default.least;
    if flags.among_saved && narrowed {
        return Err(arguments.usage("with r there can be no flags but s and 1"));
    }
    Ok(flags)
}

/// Those saved hits at which the pattern is, too.
fn among_saved(debugger: &mut Debugger, pattern: &[u8], limit: usize) -> Result<Vec<Va>, CommandError> {
    let saved = debugger.continuations.search_hits.clone();
    if saved.is_empty() {
        return Err(CommandError::invalid("no hits were saved; s -[s]b saves some"));
    }
    let reads: Vec<ReadRequest> = saved.iter().map(|&at| ReadRequest { at, len: pattern.len() as u64 }).collect();
    let answers = debugger.engine.memory()?.read_many(&reads)?;
    let found = saved.into_iter().zip(answers).filter(|(_, bytes)| bytes == pattern).map(|(at, _)| at);
    Ok(found.take(limit).collect())
}

/// Looks for a pattern beside the target; a dump, which has nothing beside it, piece by piece.
fn search(debugger: &mut Debugger, request: SearchRequest) -> Result<Vec<Va>, CommandError> {
    let system = debugger.engine.current_system().ok_or(outpost_engine::EngineError::NoDebuggee)?;
    let space = debugger.engine.memory()?.space();
    let is_live = debugger.engine.with_target(system, |target| target.as_live().is_some())?;
    let pieces = match is_live {
        true => vec![request.range],
        false => pieces(debugger, request.range, request.writable_only)?,
    };
    let mut found: Vec<Va> = Vec::new();
    for piece in pieces {
        debugger.engine.check_interrupt()?;
        // Multiples count from the start of the whole range.
        let start = (piece.start - request.range.start).next_multiple_of(u64::from(request.alignment));
        let range = VaRange { start: request.range.start + start, end: piece.end };
        let limit = request.limit - found.len() as u32;
        if range.start >= range.end || limit == 0 {
            continue;
        }
        let part = SearchRequest { range, limit, ..request.clone() };
        let hits = debugger.engine.with_target(system, |target| target.search(space, &part))?;
        found.extend(hits.map_err(outpost_engine::EngineError::from)?);
    }
    Ok(found)
}

/// The parts of a range that are mapped to be read; those that touch are one, since a hit may lie across.
fn pieces(debugger: &mut Debugger, range: VaRange, writable_only: bool) -> Result<Vec<VaRange>, CommandError> {
    let process = debugger.engine.current_process()?;
    let regions = debugger.engine.regions(process)?;
    let mut pieces: Vec<VaRange> = Vec::new();
    for region in regions.iter().filter(|region| region.read && (region.write || !writable_only)) {
        let piece = VaRange { start: region.range.start.max(range.start), end: region.range.end.min(range.end) };
        if piece.start >= piece.end {
            continue;
        }
        match pieces.last_mut() {
            Some(last) if last.end == piece.start => last.end = piece.end,
            _ => pieces.push(piece),
        }
    }
    Ok(pieces)
}

/// Runs of printable characters.
fn texts(
    debugger: &mut Debugger,
    range: VaRange,
    wide: bool,
    flags: &Flags,
) -> Result<Vec<(Va, String)>, CommandError> {
    const CHUNK: u64 = 1 << 20;
    let memory = debugger.engine.memory()?;
    let unit = if wide { 2 } else { 1 };
    let limit = flags.limit as usize;
    let mut found: Vec<(Va, String)> = Vec::new();
    for piece in pieces(debugger, range, flags.writable_only)? {
        let mut run: Option<(Va, String)> = None;
        let mut at = piece.start;
        while at < piece.end && found.len() < limit {
            debugger.engine.check_interrupt()?;
            let len = CHUNK.min(piece.end - at);
            let bytes = super::display::read_known(&memory, at, len)?;
            for (number, cell) in bytes.chunks(unit).enumerate() {
                let character = match cell {
                    [Some(byte)] if !wide => Some(*byte),
                    [Some(byte), Some(0)] => Some(*byte),
                    _ => None,
                };
                let here = at + (number * unit) as u64;
                match (character.filter(|byte| (0x20..0x7f).contains(byte)), &mut run) {
                    (Some(byte), Some((_, text))) => text.push(char::from(byte)),
                    (Some(byte), None) => run = Some((here, char::from(byte).to_string())),
                    (None, _) => found.extend(run.take().filter(|(_, text)| text.len() >= flags.least)),
                }
            }
            at += len;
        }
        found.extend(run.filter(|(_, text)| text.len() >= flags.least));
    }
    found.truncate(limit);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use outpost_engine::Engine;

    use super::*;

    #[track_caller]
    fn flags(text: &str) -> Result<Flags, CommandError> {
        read_flags(&mut Arguments::new("s", ENTRIES[0].syntax, None, text), &mut Debugger::new(Engine::new()))
    }

    #[test]
    fn flags_in_any_order_with_or_without_blanks() {
        let expected = Flags { save: true, writable_only: true, limit: 0x10, least: 5, ..Flags::default() };
        for text in ["swn10 l5]b", "w, s, l 5, n 10]b", "l 5 n10,ws]"] {
            assert_eq!(flags(text).unwrap(), expected, "{text}");
        }
        assert!(flags("1]").unwrap().addresses_only);
        assert!(flags("rs1]").unwrap().among_saved);
        for wrong in ["s", "x]", "n]", "n0]", "rw]", "rn5]"] {
            assert!(flags(wrong).is_err(), "{wrong}");
        }
    }
}
