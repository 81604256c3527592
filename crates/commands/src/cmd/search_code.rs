//! `#`: searches instructions by their text.

use outpost_base::Va;
use outpost_engine::disassembly::{Instruction, disassemble};
use outpost_engine::values::Wildcard;

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::line;
use crate::text::symbols::{EngineSymbols, name_of};
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["#"],
    syntax: "# [Pattern] [Address [LBytes]]",
    summary: "Search for an instruction by its text",
    details: "The next one with the pattern in its mnemonic and operands, blanks in a row being one. A pattern with blanks is \
              quoted; * and ? are wildcards. Without an address, goes on behind the last that was found, at first at the \
              pc; without a pattern, with the last one. It looks through 0x10000 bytes unless told another number.",
    example: "# \"call*malloc\" main L200; #",
    group: Group::Symbols,
    eats_line: false,
    run: carry_out::<SearchCode>,
}];

/// Bytes that are looked through by default, and at most.
const USUAL: u64 = 0x10000;
const LIMIT: u64 = 0x100_0000;
/// Instructions that are decoded at once.
const CHUNK: usize = 256;

/// Searches.
#[derive(Debug, Clone)]
pub struct SearchCode {
    pattern: String,
    at: Va,
    len: u64,
}

/// An instruction and where it is.
#[derive(Debug, Clone)]
pub struct FoundInstruction {
    /// `module!symbol+0x5`.
    pub place: String,
    /// It.
    pub instruction: Instruction,
}

fields!(FoundInstruction { place, instruction });

impl Command for SearchCode {
    type Data = FoundInstruction;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<SearchCode, CommandError> {
        let given = match arguments.quoted() {
            Some(quoted) => Some(quoted),
            None => arguments.word().map(str::to_owned),
        };
        let pattern = match given {
            Some(pattern) if !pattern.is_empty() => pattern,
            _ => {
                let last = debugger.continuations.code_pattern.clone();
                last.ok_or_else(|| CommandError::invalid("there was no # before; name a pattern"))?
            }
        };
        let at = match (arguments.is_empty(), debugger.continuations.unassemble_at) {
            (false, _) => arguments.code_address(debugger)?,
            (true, Some(at)) => at,
            (true, None) => Va(debugger.engine.register("$ip")?.as_u64()),
        };
        let count = arguments.object_count(debugger)?;
        let len = count.map_or(USUAL, |count| count.objects).min(LIMIT);
        Ok(SearchCode { pattern, at, len })
    }

    fn run(self, debugger: &mut Debugger) -> Result<FoundInstruction, CommandError> {
        let pattern = Wildcard::new(&format!("*{}*", escaped(&single_blanks(&self.pattern))));
        debugger.continuations.code_pattern = Some(self.pattern.clone());
        let (arch, mut memory) = (debugger.engine.arch(), debugger.engine.memory()?);
        let end = Va(self.at.0.saturating_add(self.len));
        let mut at = self.at;
        while at < end {
            debugger.engine.check_interrupt()?;
            let symbols = &mut EngineSymbols(&mut debugger.engine);
            let chunk = disassemble(arch, &mut memory, symbols, at, CHUNK, true);
            let Some(last) = chunk.last().map(Instruction::end).filter(|last| *last > at) else { break };
            let matches =
                |one: &Instruction| one.at < end && !one.bytes.is_empty() && pattern.matches(&single_blanks(&one.text));
            if let Some(instruction) = chunk.into_iter().find(matches) {
                debugger.continuations.unassemble_at = Some(instruction.end());
                let place = name_of(&mut debugger.engine, instruction.at);
                return Ok(FoundInstruction { place, instruction });
            }
            at = last;
        }
        Err(CommandError::invalid(format!("no instruction from {} to {end} is like '{}'", self.at, self.pattern)))
    }

    fn render(data: &FoundInstruction, text: &mut String) {
        line!(text, "{}:", data.place);
        line!(text, "{}", data.instruction.line());
    }
}

/// What stands in operands means itself.
fn escaped(pattern: &str) -> String {
    let letters = pattern.chars();
    letters.flat_map(|c| ["[]+#\\".contains(c).then_some('\\'), Some(c)]).flatten().collect()
}

/// Operands begin at a column; who searches need not know which.
fn single_blanks(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
