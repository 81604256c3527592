//! DWARF expressions as call frame information has them: registers, memory and arithmetic, nothing of the debug info.

use gimli::{EndianSlice, Evaluation, EvaluationResult, LittleEndian, Location, Value};
use outpost_base::{MemoryReader, Va};

use super::Bytes;
use crate::{FrameRegisters, UnwindError, x86_64};

/// Operations per expression. Real ones have about ten; branches make endless ones possible.
const MAX_OPERATIONS: u32 = 4096;

/// Evaluates an expression to a value, `initial` being on the stack when it starts.
pub(super) fn evaluate(
    bytes: &[u8],
    initial: Option<u64>,
    registers: &FrameRegisters,
    memory: &mut dyn MemoryReader,
) -> Result<u64, UnwindError> {
    let encoding = gimli::Encoding { format: gimli::Format::Dwarf32, version: 4, address_size: 8 };
    let mut evaluation: Evaluation<Bytes<'_>> = Evaluation::new(EndianSlice::new(bytes, LittleEndian), encoding);
    evaluation.set_max_iterations(MAX_OPERATIONS);
    if let Some(value) = initial {
        evaluation.set_initial_value(value);
    }
    let damaged = |_| UnwindError::BadExpression { reason: "damaged or too long" };
    let mut state = evaluation.evaluate().map_err(damaged)?;
    loop {
        state = match state {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresMemory { address, size, .. } => {
                let at = Va(address);
                let value = memory.read_uint(at, usize::from(size)).ok_or(UnwindError::UnreadableMemory { at })?;
                evaluation.resume_with_memory(Value::Generic(value))
            }
            EvaluationResult::RequiresRegister { register, .. } => {
                let value = x86_64::read_dwarf_register(registers, register.0)?;
                evaluation.resume_with_register(Value::Generic(value))
            }
            // DWARF 5, 6.4.2: operators that need a compilation unit, or the frame itself, are not allowed here.
            _ => return Err(UnwindError::BadExpression { reason: "operator not allowed in call frame information" }),
        }
        .map_err(damaged)?;
    }
    if let Some(Value::Generic(value)) = evaluation.value_result() {
        return Ok(value);
    }
    match evaluation.as_result() {
        [piece] => match piece.location {
            Location::Address { address } => Ok(address),
            Location::Register { register } => x86_64::read_dwarf_register(registers, register.0),
            Location::Value { value: Value::Generic(value) } => Ok(value),
            _ => Err(UnwindError::BadExpression { reason: "result is not an address" }),
        },
        _ => Err(UnwindError::BadExpression { reason: "result is in pieces" }),
    }
}
