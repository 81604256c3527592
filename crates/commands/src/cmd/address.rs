//! `!address`, `!handle`: memory map and open files.

use outpost_base::{Va, VaRange};
use outpost_engine::target::{HandleInfo, Region, RegionUsage};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["!address"],
        syntax: "!address [Address]\n!address -summary\n!address -f:Usage[,...]",
        summary: "Show the memory map, or the region of an address",
        details: "-f limits the list to usages: Image, Stack, Heap, MappedFile, Vdso, Unknown. -summary adds up sizes by \
                  usage, type and protection.",
        group: Group::Memory,
        eats_line: false,
        run: carry_out::<Address>,
    },
    CommandEntry {
        names: &["!handle"],
        syntax: "!handle [Number]",
        summary: "Show the open files of the process",
        details: "Number, kind, flags, position and target of each file descriptor. The number is read in the default radix.",
        group: Group::Processes,
        eats_line: false,
        run: carry_out::<Handle>,
    },
];

/// Shows the map.
#[derive(Debug, Clone)]
pub enum Address {
    /// All regions, or those of some usages.
    List(Vec<String>),
    /// The region around an address.
    At(Va),
    /// Sums.
    Summary,
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

impl Command for Address {
    type Data = AddressData;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Address, CommandError> {
        if arguments.take_word("-summary") {
            return Ok(Address::Summary);
        }
        if arguments.take("-f:") {
            let usages = arguments.take_rest().split(',').map(|usage| usage.trim().to_ascii_lowercase()).collect();
            return Ok(Address::List(usages));
        }
        if arguments.rest().starts_with("-c:") {
            return Err(CommandError::unsupported("!address -c", "not implemented yet"));
        }
        match arguments.is_empty() {
            true => Ok(Address::List(Vec::new())),
            false => Ok(Address::At(arguments.address(debugger)?)),
        }
    }

    fn run(self, debugger: &mut Debugger) -> Result<AddressData, CommandError> {
        let process = debugger.engine.current_process()?;
        let regions = debugger.engine.regions(process)?;
        Ok(match self {
            Address::List(usages) => {
                let wanted = |region: &&Region| {
                    usages.is_empty() || usages.iter().any(|usage| usage.eq_ignore_ascii_case(usage_word(region.usage)))
                };
                AddressData::List(regions.iter().filter(wanted).cloned().collect())
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
