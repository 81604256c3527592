//! `!address`, `!handle`: memory map and open files.

use outpost_base::{Va, VaRange};
use outpost_engine::target::{HandleInfo, Region, RegionUsage};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value, json};
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger, Output};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["!address"],
        syntax: "!address [Address]\n!address -summary\n!address [-f:Filter[,...]] [-c:\"Commands\"]",
        summary: "Show the memory map, or the region of an address",
        details: "-f limits the list to usages (Image, Stack, Heap, MappedFile, Vdso, Unknown), types (PRIVATE, SHARED, \
                  FILE, FILECOW) and protections (rw-, r-x, ...): a region has to be of one of the named words of each \
                  kind. -c runs commands for each region instead of listing it, with %1 base address, %2 end address, %3 \
                  size, %4 type, %5 state, %6 protection, %7 usage; they cannot resume the debuggee. -summary adds up \
                  sizes by usage, type and protection.",
        example: "!address -f:Heap -c:\"s -a %1 L?%3 secret\"",
        group: Group::Memory,
        eats_line: false,
        run: address_command,
    },
    CommandEntry {
        names: &["!handle"],
        syntax: "!handle [Number]",
        summary: "Show the open files of the process",
        details: "Number, kind, flags, position and target of each file descriptor. The number is read in the default radix.",
        example: "!handle 3",
        group: Group::Processes,
        eats_line: false,
        run: carry_out::<Handle>,
    },
];

/// Shows the map.
#[derive(Debug, Clone)]
pub enum Address {
    /// All regions, or those that pass a filter.
    List(Filter),
    /// The region around an address.
    At(Va),
    /// Sums.
    Summary,
}

/// Which regions are meant; an empty list means any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    usages: Vec<RegionUsage>,
    kinds: Vec<&'static str>,
    protections: Vec<String>,
}

/// What `!address` shows.
#[derive(Debug, Clone)]
pub enum AddressData {
    /// Regions.
    List(Vec<Region>),
    /// One region with the address and its symbol.
    One {
        /// The region.
        region: Region,
        /// The address.
        at: Va,
        /// Its symbol, empty if none.
        symbol: String,
    },
    /// No region is there; the free range around the address.
    Free {
        /// The address.
        at: Va,
        /// From the end of the region before it to the start of the one after it.
        range: VaRange,
    },
    /// Sums over all regions.
    Summary(Vec<Region>),
}

impl Json for AddressData {
    fn json(&self) -> Value {
        match self {
            AddressData::List(regions) | AddressData::Summary(regions) => regions.json(),
            AddressData::One { region, at, symbol } => {
                json!({ "at": at.json(), "region": region.json(), "symbol": symbol })
            }
            AddressData::Free { at, range } => json!({ "at": at.json(), "free": range.json() }),
        }
    }
}

impl Command for Address {
    type Data = AddressData;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Address, CommandError> {
        if arguments.take_word("-summary") {
            return Ok(Address::Summary);
        }
        if arguments.rest().starts_with("-f:") {
            return Ok(Address::List(filter(arguments)?));
        }
        if arguments.rest().starts_with('-') {
            return Err(arguments.usage(format!("unknown option '{}'", arguments.rest())));
        }
        match arguments.is_empty() {
            true => Ok(Address::List(Filter::default())),
            false => Ok(Address::At(arguments.address(debugger)?)),
        }
    }

    fn run(self, debugger: &mut Debugger) -> Result<AddressData, CommandError> {
        let process = debugger.engine.current_process()?;
        let regions = debugger.engine.regions(process)?;
        Ok(match self {
            Address::List(filter) => {
                AddressData::List(regions.iter().filter(|region| filter.passes(region)).cloned().collect())
            }
            Address::Summary => AddressData::Summary(regions.to_vec()),
            Address::At(at) => match regions.iter().find(|region| region.range.contains(at)) {
                Some(region) => {
                    let symbol = debugger.engine.symbol_at(at).map(|symbol| symbol.to_string()).unwrap_or_default();
                    AddressData::One { region: region.clone(), at, symbol }
                }
                None => {
                    let before = regions.iter().rev().find(|region| region.range.end <= at);
                    let after = regions.iter().find(|region| region.range.start > at);
                    let start = before.map_or(Va(0), |region| region.range.end);
                    let end = after.map_or(Va(u64::MAX), |region| region.range.start);
                    AddressData::Free { at, range: VaRange { start, end } }
                }
            },
        })
    }

    fn render(data: &AddressData, text: &mut String) {
        match data {
            AddressData::List(regions) => {
                line!(text, "  BaseAddress        EndAddress+1       RegionSize        Type     Protect  Usage");
                for region in regions {
                    line!(
                        text,
                        "  {}  {}  {:16x}  {:8} {:8} {} {}",
                        region.range.start,
                        region.range.end,
                        region.range.len(),
                        kind(region),
                        protection(region),
                        usage_word(region.usage),
                        region.name
                    );
                }
            }
            AddressData::One { region, at, symbol } => {
                line!(text, "Usage:        {}", usage_word(region.usage));
                line!(text, "Base Address: {}", region.range.start);
                line!(text, "End Address:  {}", region.range.end);
                line!(text, "Region Size:  {:x} ({} kB)", region.range.len(), region.range.len() / 1024);
                line!(text, "Type:         {}", kind(region));
                line!(text, "Protect:      {}", protection(region));
                if !region.name.is_empty() {
                    line!(text, "Mapped from:  {} (offset {:x})", region.name, region.file_offset);
                }
                line!(text, "Offset:       {:x} into the region", *at - region.range.start);
                if !symbol.is_empty() {
                    line!(text, "Symbol:       {symbol}");
                }
                let more = match region.usage {
                    RegionUsage::Image => format!("lm a {at}; ln {at}"),
                    _ => format!("dps {at}"),
                };
                line!(text, "More info:    {more}");
            }
            AddressData::Free { at, range } => {
                line!(text, "Usage:        Free");
                line!(text, "{at} is not mapped; free from {} to {}", range.start, range.end);
            }
            AddressData::Summary(regions) => summary(regions, text),
        }
    }
}

impl Filter {
    fn passes(&self, region: &Region) -> bool {
        let usage = self.usages.is_empty() || self.usages.contains(&region.usage);
        let kind = self.kinds.is_empty() || self.kinds.contains(&kind(region));
        usage && kind && (self.protections.is_empty() || self.protections.contains(&protection(region)))
    }
}

/// `-f:` with its words, if it comes next.
fn filter(arguments: &mut Arguments<'_>) -> Result<Filter, CommandError> {
    let mut filter = Filter::default();
    if !arguments.take("-f:") {
        return Ok(filter);
    }
    let words = arguments.rest().split_whitespace().next().unwrap_or_default();
    arguments.take(words);
    for word in words.split(',') {
        let named = |known: &str| known.eq_ignore_ascii_case(word);
        let lower = word.to_ascii_lowercase();
        let is_protection = lower.len() == 3 && lower.chars().zip("rwx".chars()).all(|(c, on)| c == on || c == '-');
        match (USAGES.iter().find(|usage| named(usage_word(**usage))), KINDS.iter().find(|kind| named(kind))) {
            (Some(usage), _) => filter.usages.push(*usage),
            (None, Some(kind)) => filter.kinds.push(kind),
            (None, None) if is_protection => filter.protections.push(lower),
            (None, None) => {
                return Err(arguments.usage(format!("'{word}' is no usage, type or protection")));
            }
        }
    }
    Ok(filter)
}

/// Lists, or runs commands for each region.
fn address_command(
    arguments: &mut Arguments<'_>,
    debugger: &mut Debugger,
    out: &mut dyn Output,
) -> Result<(), CommandError> {
    let rest = arguments.rest();
    let Some(at) = rest.find("-c:").filter(|at| *at == 0 || rest.starts_with("-f:")) else {
        return carry_out::<Address>(arguments, debugger, out);
    };
    let filter = filter(arguments)?;
    if !arguments.take("-c:") {
        return Err(arguments.usage(format!("extra characters '{}'", &rest[..at])));
    }
    let commands = match arguments.quoted() {
        Some(commands) => commands,
        None => arguments.take_rest().to_owned(),
    };
    arguments.finish()?;
    if commands.trim().is_empty() {
        return Err(arguments.usage("the commands are missing"));
    }
    let AddressData::List(regions) = Address::List(filter).run(debugger)? else { return Ok(()) };
    for region in regions {
        debugger.engine.check_interrupt()?;
        let refusal = "the regions would be others after it; !address -c cannot resume the debuggee";
        if !debugger.run_nested(&with_fields(&commands, &region), refusal, out) {
            break;
        }
    }
    Ok(())
}

/// `%1` to `%7` replaced by what they stand for, as the reference numbers them.
fn with_fields(commands: &str, region: &Region) -> String {
    let range = region.range;
    let mut text = String::new();
    let mut rest = commands;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let mut letters = after.chars();
        let field = match letters.next() {
            Some('1') => Some(range.start.to_string()),
            Some('2') => Some(range.end.to_string()),
            Some('3') => Some(format!("{:x}", range.len())),
            Some('4') => Some(kind(region).to_owned()),
            // What is not mapped is in no list here, so all are of one state.
            Some('5') => Some("COMMIT".to_owned()),
            Some('6') => Some(protection(region)),
            Some('7') => Some(usage_word(region.usage).to_owned()),
            _ => None,
        };
        match field {
            Some(field) => {
                text.push_str(&field);
                rest = letters.as_str();
            }
            None => {
                text.push('%');
                rest = after;
            }
        }
    }
    text + rest
}

fn summary(regions: &[Region], text: &mut String) {
    let total: u64 = regions.iter().map(|region| region.range.len()).sum();
    let mut table = |title: &str, key: &dyn Fn(&Region) -> String| {
        let mut sums: Vec<(String, usize, u64)> = Vec::new();
        for region in regions {
            let key = key(region);
            match sums.iter_mut().find(|(known, ..)| *known == key) {
                Some((_, count, size)) => {
                    *count += 1;
                    *size += region.range.len();
                }
                None => sums.push((key, 1, region.range.len())),
            }
        }
        sums.sort_by(|one, other| other.2.cmp(&one.2).then(one.0.cmp(&other.0)));
        line!(text, "--- {title:<12} RgnCount ----------- Total Size -------- %ofTotal");
        for (key, count, size) in sums {
            let percent = if total == 0 { 0.0 } else { size as f64 * 100.0 / total as f64 };
            line!(text, "{key:<16} {count:8} {size:16x} ({:>10} kB) {percent:8.2}%", size / 1024);
        }
        line!(text);
    };
    table("Usage", &|region| usage_word(region.usage).to_owned());
    table("Type", &|region| kind(region).to_owned());
    table("Protection", &protection);
}

fn kind(region: &Region) -> &'static str {
    match (region.inode, region.shared) {
        (0, true) => "SHARED",
        (0, false) => "PRIVATE",
        (_, true) => "FILE",
        (_, false) => "FILECOW",
    }
}

fn protection(region: &Region) -> String {
    let letter = |on: bool, letter: char| if on { letter } else { '-' };
    [letter(region.read, 'r'), letter(region.write, 'w'), letter(region.execute, 'x')].iter().collect()
}

/// Types, as [`kind`] names them.
const KINDS: [&str; 4] = ["PRIVATE", "SHARED", "FILE", "FILECOW"];
const USAGES: [RegionUsage; 6] = [
    RegionUsage::Image,
    RegionUsage::Stack,
    RegionUsage::Heap,
    RegionUsage::MappedFile,
    RegionUsage::Vdso,
    RegionUsage::Unknown,
];

fn usage_word(usage: RegionUsage) -> &'static str {
    match usage {
        RegionUsage::Image => "Image",
        RegionUsage::Stack => "Stack",
        RegionUsage::Heap => "Heap",
        RegionUsage::MappedFile => "MappedFile",
        RegionUsage::Vdso => "Vdso",
        RegionUsage::Unknown => "Unknown",
    }
}

/// Shows open files.
#[derive(Debug, Clone)]
pub struct Handle {
    number: Option<u32>,
}

impl Command for Handle {
    type Data = Vec<HandleInfo>;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Handle, CommandError> {
        let number = arguments.optional_number(debugger)?;
        // The reference's second argument selects what is shown; here all is.
        arguments.take_rest();
        Ok(Handle { number: number.and_then(|number| u32::try_from(number).ok()) })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Vec<HandleInfo>, CommandError> {
        let process = debugger.engine.current_process()?;
        let row = debugger.engine.processes().into_iter().find(|row| row.ordinal == process);
        let row = row.ok_or(outpost_engine::EngineError::NoDebuggee)?;
        let handles = debugger.engine.with_target(row.system, |target| match target.as_os() {
            Some(os) => os.handles(row.id),
            None => Err(outpost_engine::target::TargetError::Unsupported {
                operation: "listing open files",
                reason: "a dump does not hold them".into(),
            }),
        })?;
        let mut handles = handles.map_err(outpost_engine::EngineError::from)?;
        handles.sort_by_key(|handle| handle.number);
        if let Some(number) = self.number {
            handles.retain(|handle| handle.number == number);
            if handles.is_empty() {
                return Err(CommandError::invalid(format!("file descriptor {number:x} is not open")));
            }
        }
        Ok(handles)
    }

    fn render(data: &Vec<HandleInfo>, text: &mut String) {
        for handle in data {
            line!(text, "Handle {:x}", handle.number);
            line!(text, "  Type:     {}", handle.kind);
            line!(text, "  Target:   {}", handle.target);
            line!(text, "  Flags:    {:o} {}", handle.flags, flag_words(handle.flags));
            line!(text, "  Position: {:x}", handle.position);
        }
        if data.len() != 1 {
            line!(text, "{} Handles", data.len());
        }
    }
}

/// Open flags in words (open(2), x86-64 values of `asm-generic/fcntl.h`).
fn flag_words(flags: u32) -> String {
    let mut words = vec![match flags & 3 {
        0 => "O_RDONLY",
        1 => "O_WRONLY",
        _ => "O_RDWR",
    }];
    let known = [(0o2000, "O_APPEND"), (0o4000, "O_NONBLOCK"), (0o2000000, "O_CLOEXEC"), (0o200000, "O_DIRECTORY")];
    words.extend(known.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, word)| *word));
    words.join("|")
}
