//! `!vprot`, `.imgscan`, `!ntauxv`: what is mapped, and what the kernel told the process.

use outpost_base::{MemoryReader, Va, VaRange};
use outpost_engine::target::Region;

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value, fields, json, word};
use crate::language::Arguments;
use crate::text::{hex64, line};
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["!vprot"],
        syntax: "!vprot [Address]",
        summary: "Show the protection of the memory at an address",
        details: "At the pc if none is told. !address shows more of it.",
        example: "!vprot @rsp",
        group: Group::Memory,
        eats_line: false,
        run: carry_out::<Protection>,
    },
    CommandEntry {
        names: &[".imgscan"],
        syntax: ".imgscan [/r Range]",
        summary: "Look for images in memory",
        details: "Wherever a mapped region begins with the header of an ELF file, whether the linker knows of it or not. /r limits \
                  it to regions that touch a range.",
        example: ".imgscan",
        group: Group::Memory,
        eats_line: false,
        run: carry_out::<ScanImages>,
    },
    CommandEntry {
        names: &["!ntauxv"],
        syntax: "!ntauxv",
        summary: "Show the auxiliary vector",
        details: "What the kernel told the program at its start, of a core its NT_AUXV note. !proc shows it, too.",
        example: "!ntauxv",
        group: Group::Processes,
        eats_line: false,
        run: carry_out::<AuxiliaryVector>,
    },
];

/// Shows a protection.
#[derive(Debug, Clone)]
pub struct Protection {
    at: Va,
}

impl Command for Protection {
    type Data = Region;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Protection, CommandError> {
        let at = match arguments.is_empty() {
            true => Va(debugger.engine.register("$ip")?.as_u64()),
            false => arguments.address(debugger)?,
        };
        Ok(Protection { at })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Region, CommandError> {
        let process = debugger.engine.current_process()?;
        let regions = debugger.engine.regions(process)?;
        let found = regions.iter().find(|region| region.range.contains(self.at));
        found.cloned().ok_or_else(|| CommandError::invalid(format!("no memory is mapped at {}", self.at)))
    }

    fn render(data: &Region, text: &mut String) {
        let letter = |is: bool, letter: char| if is { letter } else { '-' };
        let (read, write, execute) = (letter(data.read, 'r'), letter(data.write, 'w'), letter(data.execute, 'x'));
        line!(text, "BaseAddress: {}", data.range.start);
        line!(text, "RegionSize:  {}", hex64(data.range.len()));
        line!(text, "Protect:     {read}{write}{execute} {}", if data.shared { "shared" } else { "private" });
        if !data.name.is_empty() {
            line!(text, "Mapped:      {}", data.name);
        }
    }
}

/// Looks for images.
#[derive(Debug, Clone)]
pub struct ScanImages {
    within: Option<VaRange>,
}

/// An image in memory.
#[derive(Debug, Clone)]
pub struct FoundImage {
    /// Where its header is.
    pub at: Va,
    /// `e_type` in words.
    pub kind: &'static str,
    /// Entry point as the header has it.
    pub entry: u64,
    /// The file that is mapped there, empty if none.
    pub name: String,
    /// The module that it is, if it is one.
    pub module: Option<String>,
}

impl Json for FoundImage {
    fn json(&self) -> Value {
        let Self { at, kind, entry, name, module } = self;
        json!({ "at": at.json(), "kind": kind, "entry": word(*entry), "name": name, "module": module })
    }
}

impl Command for ScanImages {
    type Data = Vec<FoundImage>;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<ScanImages, CommandError> {
        let within = match arguments.take_word("/r") {
            true => {
                let range = arguments.range(debugger, 1, 1)?;
                Some(VaRange::from_len(range.start, range.len))
            }
            false => None,
        };
        Ok(ScanImages { within })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Vec<FoundImage>, CommandError> {
        let process = debugger.engine.current_process()?;
        let regions = debugger.engine.regions(process)?;
        let touches = |range: VaRange| self.within.is_none_or(|own| range.start < own.end && own.start < range.end);
        let readable: Vec<&Region> = regions.iter().filter(|region| region.read && touches(region.range)).collect();
        let mut memory = debugger.engine.memory()?;
        let heads: Vec<VaRange> = readable.iter().map(|region| VaRange::from_len(region.range.start, 64)).collect();
        memory.prefetch(&heads)?;
        let mut found = Vec::new();
        for region in readable {
            debugger.engine.check_interrupt()?;
            let at = region.range.start;
            // ELF gABI, Elf64_Ehdr: e_ident (magic, 64 bits, little-endian, version 1), e_type at 16, e_entry at 24.
            let mut head = [0; 32];
            if memory.read(at, &mut head) != head.len() || !head.starts_with(b"\x7fELF\x02\x01\x01") {
                continue;
            }
            let kind = match u16::from_le_bytes([head[16], head[17]]) {
                1 => "REL",
                2 => "EXEC",
                3 => "DYN",
                4 => "CORE",
                _ => continue,
            };
            let entry = u64::from_le_bytes(std::array::from_fn(|byte| head[24 + byte]));
            let module = debugger.engine.module_at(at).map(|module| module.name);
            found.push(FoundImage { at, kind, entry, name: region.name.clone(), module });
        }
        Ok(found)
    }

    fn render(data: &Vec<FoundImage>, text: &mut String) {
        for image in data {
            let module = image.module.as_ref().map_or_else(|| "no module".to_owned(), |name| format!("module {name}"));
            line!(text, "ELF at {}, {}, entry {:#x}, {module}  {}", image.at, image.kind, image.entry, image.name);
        }
        if data.is_empty() {
            line!(text, "No images found");
        }
    }
}

/// Shows the auxiliary vector.
#[derive(Debug, Clone)]
pub struct AuxiliaryVector;

/// An entry of it.
#[derive(Debug, Clone)]
pub struct AuxiliaryEntry {
    /// `AT_ENTRY`.
    pub name: String,
    /// Its value, as an address.
    pub value: Va,
}

fields!(AuxiliaryEntry { name, value });

impl Command for AuxiliaryVector {
    type Data = Vec<AuxiliaryEntry>;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<AuxiliaryVector, CommandError> {
        Ok(AuxiliaryVector)
    }

    fn run(self, debugger: &mut Debugger) -> Result<Vec<AuxiliaryEntry>, CommandError> {
        let entries = debugger.engine.process_block()?.auxv.into_iter();
        Ok(entries.map(|(name, value)| AuxiliaryEntry { name, value: Va(value) }).collect())
    }

    fn render(data: &Vec<AuxiliaryEntry>, text: &mut String) {
        data.iter().for_each(|entry| line!(text, "{:<20} {}", entry.name, entry.value));
    }
}
