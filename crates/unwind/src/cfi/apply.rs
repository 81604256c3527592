//! Applying a row of rules: from the registers of a frame to those of its caller.

use outpost_base::{MemoryReader, Va};

use super::expression::evaluate;
use super::row::{Cfa, Rule};
use super::{ModuleCfi, Row};
use crate::{FrameRegisters, UnwindError, x86_64};

/// What a row makes of a frame.
#[derive(Debug)]
pub(crate) struct Applied {
    /// Canonical frame address.
    pub(crate) cfa: Va,
    /// The caller's registers, or `None` if the rules say that there is no caller.
    pub(crate) caller: Option<FrameRegisters>,
    /// Where the caller's part of the stack may be.
    pub(crate) growth: StackGrowth,
}

/// Where, seen from a frame's stack pointer, its caller's may be. Everything else means damage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StackGrowth {
    /// Further out: the caller pushed a return address, at least.
    Outwards,
    /// There or further out: the return address was taken off the stack into a register.
    NotInwards,
    /// Anywhere: the rules find it without the stack pointer, so that it may be on another stack. Signal handlers,
    /// coroutines and functions that make room by changing stacks do so.
    Anywhere,
}

/// Applies `row` of `cfi` to a frame's registers.
pub(crate) fn apply(
    cfi: &ModuleCfi,
    row: &Row,
    registers: &FrameRegisters,
    memory: &mut dyn MemoryReader,
) -> Result<Applied, UnwindError> {
    let section = cfi.section_bytes(row.section);
    let arch = registers.arch();
    let cfa = match &row.cfa {
        Cfa::Register(number, offset) => x86_64::read_dwarf_register(registers, *number)?.wrapping_add_signed(*offset),
        Cfa::Expression(range) => evaluate(section.get(range.clone()).unwrap_or_default(), None, registers, memory)?,
    };
    let stack_pointer = arch.register(arch.sp()).and_then(|def| def.dwarf);
    let is_by_stack_pointer = matches!(row.cfa, Cfa::Register(number, _) if Some(number) == stack_pointer);
    let growth = if row.is_signal_frame
        || !is_by_stack_pointer
        || row.rules.iter().any(|(number, _)| Some(*number) == stack_pointer)
    {
        StackGrowth::Anywhere
    } else if matches!(row.rule(row.return_address), Some(Rule::At(_))) {
        StackGrowth::Outwards
    } else {
        StackGrowth::NotInwards
    };

    let mut caller = x86_64::registers_kept_by_calls(registers);
    caller.set(arch.sp(), cfa);
    for (number, rule) in &row.rules {
        // Rules for registers that we do not have (shadow stack pointers, vector registers) concern nobody else.
        let Some(id) = x86_64::general_register(arch, *number) else { continue };
        let value = match rule {
            Rule::Undefined => Err(UnwindError::UnknownRegister { register: id }),
            Rule::SameValue => x86_64::read_dwarf_register(registers, *number),
            Rule::At(offset) => read_word(memory, Va(cfa.wrapping_add_signed(*offset))),
            Rule::IsCfaPlus(offset) => Ok(cfa.wrapping_add_signed(*offset)),
            Rule::Register(other) => x86_64::read_dwarf_register(registers, *other),
            Rule::AtExpression(range) => {
                evaluate(section.get(range.clone()).unwrap_or_default(), Some(cfa), registers, memory)
                    .and_then(|at| read_word(memory, Va(at)))
            }
            Rule::IsExpression(range) => {
                evaluate(section.get(range.clone()).unwrap_or_default(), Some(cfa), registers, memory)
            }
        };
        match value {
            Ok(value) => caller.set(id, value),
            // Without a return address or stack pointer there is no frame; any other register may be missing.
            Err(_) if matches!(rule, Rule::Undefined) && *number == row.return_address => {
                return Ok(Applied { cfa: Va(cfa), caller: None, growth });
            }
            Err(error) if *number == row.return_address || id == arch.sp() => return Err(error),
            Err(_) => caller.forget(id),
        }
    }
    // The column of the return address need not be the program counter's own (DWARF 5, 6.4.1).
    let return_address = match row.rule(row.return_address) {
        Some(_) => x86_64::read_dwarf_register(&caller, row.return_address)?,
        None => return Err(UnwindError::NoReturnAddress),
    };
    caller.set(arch.pc(), return_address);
    Ok(Applied { cfa: Va(cfa), caller: Some(caller), growth })
}

fn read_word(memory: &mut dyn MemoryReader, at: Va) -> Result<u64, UnwindError> {
    memory.read_u64(at).ok_or(UnwindError::UnreadableMemory { at })
}
