//! Machine code as text: forwards from an address, backwards to it, and whole functions along their blocks.
//!
//! Everything here reads through a [`MemoryReader`] and asks a [`CodeSymbols`] for names; what is current, what is a
//! function and where source lines are is the caller's knowledge.

mod backward;
mod blocks;
mod x86_64;

use outpost_base::{Arch, MemoryReader, RegisterContext, Va};

pub use backward::disassemble_before;
pub use blocks::{Block, function_blocks};

/// Names of addresses, as operands show them.
pub trait CodeSymbols {
    /// The symbol at or before `at` with its distance (`svc!main+0x1f`); `None` if nothing is near.
    fn symbolize(&mut self, at: Va) -> Option<String>;
}

/// No address has a name.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSymbols;

impl CodeSymbols for NoSymbols {
    fn symbolize(&mut self, _: Va) -> Option<String> {
        None
    }
}

/// Where control goes after an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// To the next one; system calls and traps too.
    Next,
    /// To a function, and back behind it.
    Call,
    /// To its target only.
    Jump,
    /// To its target or to the next one.
    ConditionalJump,
    /// To the caller.
    Return,
    /// Nowhere: `ud2`, `hlt`.
    End,
}

/// One instruction, or a byte that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// Address.
    pub at: Va,
    /// Its bytes; empty if not even the first could be read.
    pub bytes: Vec<u8>,
    /// Mnemonic, padded to 8 columns, and operands; `???` for what is no instruction.
    pub text: String,
    /// Where control goes.
    pub flow: Flow,
    /// Where a direct jump or call leads.
    pub target: Option<Va>,
}

impl Instruction {
    /// Address of the byte after it; at least one further on.
    pub fn end(&self) -> Va {
        self.at + (self.bytes.len() as u64).max(1)
    }

    /// Its bytes in hexadecimal, `??` if unreadable.
    pub fn hex(&self) -> String {
        match self.bytes[..] {
            [] => "??".to_owned(),
            ref bytes => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// The line that `u` shows: address, bytes, text.
    pub fn line(&self) -> String {
        format!("{} {:<15} {}", self.at, self.hex(), self.text)
    }
}

/// Disassembles `count` instructions from `at` on.
///
/// Unreadable memory gives one entry without bytes and ends the list unless `skip_unreadable` (`uu`).
pub fn disassemble(
    arch: Arch,
    memory: &mut dyn MemoryReader,
    symbols: &mut dyn CodeSymbols,
    at: Va,
    count: usize,
    skip_unreadable: bool,
) -> Vec<Instruction> {
    let mut listed = Vec::new();
    let mut here = at;
    let mut window = Window::default();
    while listed.len() < count {
        let longest = arch.max_instruction_len();
        let code = window.at(memory, here, longest, longest.saturating_mul(count - listed.len()));
        let instruction = decode(arch, here, code, symbols);
        let unreadable = instruction.bytes.is_empty();
        let end = instruction.end();
        listed.push(instruction);
        if unreadable && !skip_unreadable || end < here {
            break;
        }
        here = end;
    }
    listed
}

/// What the next instruction is about to touch, as the line after a stop shows it: ` ss:00007fff`ffffde08=...` for
/// an operand in memory, ` [br=1]` for a conditional jump; empty for others.
/// Without memory, which may have changed since, operands have an address and no value.
pub fn annotation(
    instruction: &Instruction,
    registers: &RegisterContext,
    memory: Option<&mut dyn MemoryReader>,
    symbols: &mut dyn CodeSymbols,
) -> String {
    match registers.arch {
        Arch::X86_64 => x86_64::annotation(instruction, registers, memory, symbols),
        _ => String::new(),
    }
}

/// The effective addresses that an instruction uses, in operand order (`$ea`, `$ea2`).
pub fn effective_addresses(instruction: &Instruction, registers: &RegisterContext) -> Vec<Va> {
    match registers.arch {
        Arch::X86_64 => x86_64::effective_addresses(instruction, registers),
        _ => Vec::new(),
    }
}

/// The registers that an instruction reads or writes (`r.`), full registers, in the table's order.
pub fn registers_used(arch: Arch, instruction: &Instruction) -> Vec<outpost_base::RegisterId> {
    match arch {
        Arch::X86_64 => x86_64::registers_used(instruction),
        _ => Vec::new(),
    }
}

/// Decodes the one instruction that `code` starts with.
pub fn decode(arch: Arch, at: Va, code: &[u8], symbols: &mut dyn CodeSymbols) -> Instruction {
    match arch {
        Arch::X86_64 => x86_64::decode(at, code, symbols),
        _ => Instruction { at, bytes: Vec::new(), text: "???".to_owned(), flow: Flow::Next, target: None },
    }
}

/// Code read ahead, so that a listing does not read instruction by instruction.
#[derive(Default)]
struct Window {
    start: Va,
    bytes: Vec<u8>,
}

impl Window {
    /// Most that is read at once.
    const LEN: usize = 256;

    /// Up to `want` bytes at `at`, of a listing that needs no more than `whole`: what came with a stop holds a page's
    /// listing, and must do without a round trip for code that is not shown.
    fn at(&mut self, memory: &mut dyn MemoryReader, at: Va, want: usize, whole: usize) -> &[u8] {
        let skip = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        let held = self.bytes.len().saturating_sub(skip);
        if held < want {
            self.start = at;
            self.bytes = vec![0; whole.clamp(want, Window::LEN.max(want))];
            let got = memory.read(at, &mut self.bytes);
            self.bytes.truncate(got);
            return self.bytes.get(..want).unwrap_or(&self.bytes);
        }
        self.bytes.get(skip..skip + want).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
