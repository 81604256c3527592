//! `u`, `uu`, `ub`, `uf`: code.

use outpost_base::{Va, VaRange};
use outpost_engine::SourceLocation;
use outpost_engine::disassembly::{Block, Flow, Instruction, disassemble, disassemble_before, function_blocks};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value, fields, json};
use crate::language::Arguments;
use crate::text::line;
use crate::text::symbols::{EngineSymbols, line_suffix, name_of};
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["u", "ub", "uu"],
        syntax: "u|uu [Range]\nub [Address] [LCount]",
        summary: "Disassemble",
        details: "8 instructions; ub those before the address. Without a range, goes on where the last ended, at first at \
                  the pc. uu goes on past bytes that cannot be read.",
        example: "u main L4; ub @rip L2",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<Unassemble>,
    },
    CommandEntry {
        names: &["uf"],
        syntax: "uf [/c] [/i] Address",
        summary: "Disassemble a function along its blocks",
        details: "/c shows only its calls, /i also counts its instructions. /o, /m and /D are taken and change nothing: blocks are \
                  always in the order of their addresses.",
        example: "uf /c main",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<UnassembleFunction>,
    },
];

/// Instructions shown by default.
const COUNT: u64 = 8;
/// Most instructions of one command.
const LIMIT: u64 = 100_000;

/// Disassembles.
#[derive(Debug, Clone)]
pub struct Unassemble {
    at: Va,
    extent: Extent,
}

#[derive(Debug, Clone, Copy)]
enum Extent {
    Count { count: u64, skip_unreadable: bool },
    To(Va),
    Before(u64),
}

/// A listing.
pub type Listing = Vec<ListedInstruction>;

/// An instruction, with what stands above it.
#[derive(Debug, Clone)]
pub struct ListedInstruction {
    /// `prog!main+0x5 [/src/prog.c @ 12]`, where symbol or line begins or the listing does.
    pub heading: Option<String>,
    /// It.
    pub instruction: Instruction,
}

fields!(ListedInstruction { heading, instruction });

impl Command for Unassemble {
    type Data = Listing;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Unassemble, CommandError> {
        let skip_unreadable = arguments.name.eq_ignore_ascii_case("uu");
        let backward = arguments.name.eq_ignore_ascii_case("ub");
        let default = |debugger: &mut Debugger| match debugger.continuations.unassemble_at.filter(|_| !backward) {
            Some(at) => Ok(at),
            None => debugger.engine.register("$ip").map(|value| Va(value.as_u64())),
        };
        let at = match arguments.is_empty()
            || arguments.rest().starts_with(['L', 'l']) && looks_like_count(arguments.rest())
        {
            true => default(debugger)?,
            false => arguments.code_address(debugger)?,
        };
        let extent = match arguments.object_count(debugger)? {
            Some(count) if count.backward || backward => Extent::Before(count.objects.min(LIMIT)),
            Some(count) => Extent::Count { count: count.objects.min(LIMIT), skip_unreadable },
            None if arguments.is_empty() && backward => Extent::Before(COUNT),
            None if arguments.is_empty() => Extent::Count { count: COUNT, skip_unreadable },
            None if backward => return Err(arguments.usage("ub takes an address and a count")),
            None => Extent::To(arguments.code_address(debugger)?),
        };
        Ok(Unassemble { at, extent })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Listing, CommandError> {
        let arch = debugger.engine.arch();
        let mut memory = debugger.engine.memory()?;
        let instructions = match self.extent {
            Extent::Count { count, skip_unreadable } => {
                let symbols = &mut EngineSymbols(&mut debugger.engine);
                disassemble(arch, &mut memory, symbols, self.at, count as usize, skip_unreadable)
            }
            Extent::To(end) => {
                let count = (end - self.at).min(LIMIT) as usize + 1;
                let symbols = &mut EngineSymbols(&mut debugger.engine);
                let mut all = disassemble(arch, &mut memory, symbols, self.at, count, false);
                all.retain(|instruction| instruction.at <= end);
                all
            }
            Extent::Before(count) => {
                let starts = known_starts(debugger, self.at);
                let symbols = &mut EngineSymbols(&mut debugger.engine);
                disassemble_before(arch, &mut memory, symbols, self.at, count as usize, &starts)
            }
        };
        if let (Some(last), false) = (instructions.last(), matches!(self.extent, Extent::Before(_))) {
            debugger.continuations.unassemble_at = Some(last.end());
        }
        if instructions.is_empty() && matches!(self.extent, Extent::Before(_)) {
            return Err(CommandError::invalid(format!("no instructions lead to {}", self.at)));
        }
        Ok(with_headings(instructions, debugger))
    }

    fn render(data: &Listing, text: &mut String) {
        for listed in data {
            if let Some(heading) = &listed.heading {
                line!(text, "{heading}:");
            }
            line!(text, "{}", listed.instruction.line());
        }
    }
}

/// `L10` and not a name.
fn looks_like_count(text: &str) -> bool {
    text[1..].starts_with(|c: char| c.is_ascii_hexdigit() || matches!(c, '?' | '-' | '(' | '@'))
}

/// Addresses before `at` where an instruction is known to begin.
fn known_starts(debugger: &mut Debugger, at: Va) -> Vec<Va> {
    let symbol = debugger.engine.symbol_at(at).filter(|symbol| !symbol.name.is_empty());
    symbol.map(|symbol| vec![symbol.start]).unwrap_or_default()
}

/// Headings where the listing begins, a function begins or the source line changes.
fn with_headings(instructions: Vec<Instruction>, debugger: &mut Debugger) -> Listing {
    let mut line_before: Option<(String, u32)> = None;
    let mut listing = Vec::new();
    for (number, instruction) in instructions.into_iter().enumerate() {
        let at = instruction.at;
        let location = source_line(debugger, at);
        let symbol = debugger.engine.symbol_at(at);
        let starts_function = symbol.as_ref().is_some_and(|symbol| symbol.displacement == 0 && !symbol.name.is_empty());
        let line_now = location.as_ref().map(|location| (location.file.clone(), location.line));
        let changed = line_now.is_some() && line_now != line_before;
        let heading = (number == 0 || starts_function || changed).then(|| {
            let name = symbol.map_or_else(|| at.to_string(), |symbol| symbol.to_string());
            format!("{name}{}", line_suffix(location.as_ref()))
        });
        if line_now.is_some() {
            line_before = line_now;
        }
        listing.push(ListedInstruction { heading, instruction });
    }
    listing
}

fn source_line(debugger: &mut Debugger, at: Va) -> Option<SourceLocation> {
    if debugger.settings.lines { debugger.engine.line_at(at) } else { None }
}

/// Disassembles a function.
#[derive(Debug, Clone)]
pub struct UnassembleFunction {
    at: Va,
    calls_only: bool,
    count: bool,
}

/// A block of a function.
#[derive(Debug, Clone)]
pub struct ListedBlock {
    /// `prog!main+0x20 [/src/prog.c @ 12]`.
    pub heading: String,
    /// Its instructions with their source lines.
    pub instructions: Vec<(Option<u32>, Instruction)>,
}

impl Json for ListedBlock {
    fn json(&self) -> Value {
        let rows = self.instructions.iter();
        let rows = rows.map(|(line, instruction)| json!({ "line": line, "instruction": instruction.json() }));
        json!({ "heading": self.heading, "instructions": rows.collect::<Vec<_>>() })
    }
}

/// A function's blocks.
#[derive(Debug, Clone)]
pub struct FunctionListing {
    /// In ascending order.
    pub blocks: Vec<ListedBlock>,
    /// Number of instructions, if it was asked for.
    pub count: Option<usize>,
    calls_only: bool,
}

fields!(FunctionListing { blocks, count, .. });

impl Command for UnassembleFunction {
    type Data = FunctionListing;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<UnassembleFunction, CommandError> {
        let (mut calls_only, mut count) = (false, false);
        while let Some(switch) = arguments.take_switch() {
            match switch {
                'c' => calls_only = true,
                'i' => count = true,
                'o' | 'm' | 'D' => {}
                other => return Err(arguments.usage(format!("unknown option /{other}"))),
            }
        }
        let at = match arguments.is_empty() {
            true => Va(debugger.engine.register("$ip")?.as_u64()),
            false => arguments.code_address(debugger)?,
        };
        Ok(UnassembleFunction { at, calls_only, count })
    }

    fn run(self, debugger: &mut Debugger) -> Result<FunctionListing, CommandError> {
        let arch = debugger.engine.arch();
        let function = debugger.engine.functions_around(self.at).pop();
        let (entry, ranges): (Va, Vec<VaRange>) = match function {
            Some(function) => (function.start, function.ranges.into_iter().filter(|range| !range.is_empty()).collect()),
            None => (self.at, Vec::new()),
        };
        let mut memory = debugger.engine.memory()?;
        memory.prefetch(&ranges)?;
        let blocks = function_blocks(arch, &mut memory, &mut EngineSymbols(&mut debugger.engine), entry, &ranges);
        if blocks.first().and_then(|block| block.instructions.first()).is_none_or(|first| first.bytes.is_empty()) {
            return Err(outpost_engine::EngineError::Unreadable { at: entry }.into());
        }
        let count = self.count.then(|| blocks.iter().map(|block| block.instructions.len()).sum());
        let mut listed = Vec::new();
        for Block { instructions } in blocks {
            debugger.engine.check_interrupt()?;
            let start = instructions.first().map_or(entry, |first| first.at);
            let heading = name_of(&mut debugger.engine, start);
            let heading = format!("{heading}{}", line_suffix(source_line(debugger, start).as_ref()));
            let shown =
                instructions.into_iter().filter(|instruction| !self.calls_only || instruction.flow == Flow::Call);
            let shown: Vec<_> = shown
                .map(|instruction| (source_line(debugger, instruction.at).map(|location| location.line), instruction))
                .collect();
            listed.push(ListedBlock { heading, instructions: shown });
        }
        Ok(FunctionListing { blocks: listed, count, calls_only: self.calls_only })
    }

    fn render(data: &FunctionListing, text: &mut String) {
        if let Some(count) = data.count {
            line!(text, "{count} instructions scanned\n");
        }
        for (number, ListedBlock { heading, instructions }) in data.blocks.iter().enumerate() {
            if data.calls_only {
                // The calls of all blocks are one list.
                if number == 0 {
                    line!(text, "{heading}:");
                }
            } else {
                if number > 0 {
                    line!(text);
                }
                line!(text, "{heading}:");
            }
            for (source, instruction) in instructions {
                match source {
                    Some(source) => line!(text, "{source:5} {}", instruction.line()),
                    None => line!(text, "{}", instruction.line()),
                }
            }
        }
    }
}
