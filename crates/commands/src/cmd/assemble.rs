//! `a`: instructions as text are written as code.

use outpost_base::Va;
use outpost_engine::assembly::{AssemblyError, assemble};
use outpost_engine::disassembly::{Instruction, decode};

use super::enter;
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::language::Arguments;
use crate::questions::Question;
use crate::text::line;
use crate::text::symbols::EngineSymbols;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["a"],
    syntax: SYNTAX,
    summary: "Assemble: write instructions to memory",
    details: "At the address, by default at the pc. Each instruction that is there is shown, and another asked for at Input>: \
              a blank keeps it, an empty line ends. Those in quotes, with ; between them, are written at once and shown. They \
              are written as u shows them; numbers and symbols are MASM's, an address in brackets is relative to the pc. \
              Longer instructions than were there cover what follows. Needs as and objcopy (binutils) on the debugger's machine.",
    example: "a prog!check \"mov eax,1; ret\"",
    group: Group::Memory,
    eats_line: false,
    run: carry_out::<Assemble>,
}];

const SYNTAX: &str = "a [Address] [\"Instruction; ...\"]";

impl From<AssemblyError> for CommandError {
    fn from(error: AssemblyError) -> CommandError {
        CommandError::invalid(error.to_string())
    }
}

/// Writes instructions.
#[derive(Debug, Clone)]
pub struct Assemble {
    at: Va,
    /// Their code.
    code: Vec<Vec<u8>>,
}

impl Command for Assemble {
    type Data = Vec<Instruction>;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Assemble, CommandError> {
        let at = match arguments.is_empty() || arguments.rest().starts_with('"') {
            true => Va(debugger.engine.register("$ip")?.as_u64()),
            false => arguments.code_address(debugger)?,
        };
        let Some(text) = arguments.quoted() else {
            arguments.finish()?;
            debugger.engine.memory()?;
            debugger.ask(Question::Code { at });
            return Ok(Assemble { at, code: Vec::new() });
        };
        let mut code: Vec<Vec<u8>> = Vec::new();
        let mut next = at;
        for instruction in text.split(';') {
            let bytes = code_of(next, instruction, debugger)?;
            next += bytes.len() as u64;
            code.push(bytes);
        }
        Ok(Assemble { at, code })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Vec<Instruction>, CommandError> {
        enter::write(self.at, &self.code.concat(), debugger)?;
        let arch = debugger.engine.arch();
        let mut at = self.at;
        let instructions = self.code.into_iter().map(|code| {
            let instruction = decode(arch, at, &code, &mut EngineSymbols(&mut debugger.engine));
            at = instruction.end();
            instruction
        });
        Ok(instructions.collect())
    }

    fn render(data: &Vec<Instruction>, text: &mut String) {
        for instruction in data {
            line!(text, "{}", instruction.line());
        }
    }
}

/// The code of an instruction at an address.
pub(crate) fn code_of(at: Va, instruction: &str, debugger: &mut Debugger) -> Result<Vec<u8>, CommandError> {
    assemble(debugger.engine.arch(), at, instruction, &mut |word| {
        let mut arguments = Arguments::new("a", SYNTAX, None, word);
        let value = arguments.number(debugger)?;
        arguments.finish()?;
        Ok(value)
    })
}
