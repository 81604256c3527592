//! DWARF expressions: gimli's machine, driven with what a frame can tell, within bounds.

use gimli::{
    DebugAddrIndex, DieReference, Encoding, Evaluation, EvaluationResult, Expression, Format, Piece, Reader,
    ReaderOffset, UnitOffset, ValueType,
};
use outpost_base::{MemoryReader, RegisterValue, Va};

use crate::Unavailable;

/// Operations of one expression, calls included. The longest that compilers write have some dozens.
const OPERATION_LIMIT: u32 = 4096;

/// Encoding of expressions kept apart from their unit. Only operations that refer to other DIEs depend on it, and those
/// have no meaning without a unit either.
pub(crate) const DETACHED: Encoding = Encoding { format: Format::Dwarf32, version: 5, address_size: 8 };

/// What an expression may ask for. What a context does not have, it does not override.
pub(crate) trait ExpressionContext<R: Reader> {
    /// Memory of the process.
    fn memory(&mut self) -> &mut dyn MemoryReader;

    fn register(&mut self, dwarf: u16) -> Result<RegisterValue, Unavailable> {
        Err(Unavailable::Register { dwarf })
    }

    fn frame_base(&mut self) -> Result<u64, Unavailable> {
        Err(unsupported("frame base"))
    }

    fn cfa(&mut self) -> Result<u64, Unavailable> {
        Err(Unavailable::Cfa)
    }

    fn thread_local(&mut self, _offset: u64) -> Result<u64, Unavailable> {
        Err(Unavailable::ThreadLocal)
    }

    /// The value that `expression` had when the function was entered.
    fn entry_value(&mut self, _expression: Expression<R>) -> Result<gimli::Value, Unavailable> {
        Err(Unavailable::EntryValue { why: "no frame" })
    }

    /// The value of the parameter with this DIE when the function was entered.
    fn parameter_at_entry(&mut self, _parameter: UnitOffset<R::Offset>) -> Result<u64, Unavailable> {
        Err(Unavailable::EntryValue { why: "no frame" })
    }

    /// `DW_AT_location` of another DIE, to be run as a subroutine.
    fn subroutine(&mut self, _die: DieReference<R::Offset>) -> Result<R, Unavailable> {
        Err(unsupported("DW_OP_call"))
    }

    /// Where an address of the image is in the process.
    fn relocate(&mut self, address: u64) -> u64 {
        address
    }

    fn indexed_address(&mut self, _index: DebugAddrIndex<R::Offset>) -> Result<u64, Unavailable> {
        Err(unsupported("DW_OP_addrx"))
    }

    fn base_type(&mut self, _die: UnitOffset<R::Offset>) -> Result<ValueType, Unavailable> {
        Err(unsupported("typed operation"))
    }
}

/// Runs `expression`; `initial` is pushed first, where the operation that uses the expression says so.
pub(crate) fn evaluate<R: Reader>(
    expression: Expression<R>,
    encoding: Encoding,
    initial: Option<u64>,
    context: &mut dyn ExpressionContext<R>,
) -> Result<Vec<Piece<R>>, Unavailable> {
    if !matches!(encoding.address_size, 1 | 2 | 4 | 8) {
        return Err(unsupported("address size"));
    }
    let mut evaluation = Evaluation::new(without_mark(expression, encoding)?.0, encoding);
    evaluation.set_max_iterations(OPERATION_LIMIT);
    if let Some(initial) = initial {
        evaluation.set_initial_value(initial);
        evaluation.set_object_address(initial);
    }
    let mut state = evaluation.evaluate().map_err(damaged)?;
    // Each request belongs to an operation, so this ends when the operations do.
    loop {
        state = match state {
            EvaluationResult::Complete => return Ok(evaluation.result()),
            other => answer(&mut evaluation, other, context)?,
        };
    }
}

/// `DW_OP_GNU_uninit`, which ends an expression and says that the variable has not been set yet. Its place is as told.
const GNU_UNINIT: u8 = 0xf0;

/// `expression` without the mark at its end, which is no operation that gimli knows.
fn without_mark<R: Reader>(expression: Expression<R>, encoding: Encoding) -> Result<Expression<R>, Unavailable> {
    let length = expression.0.len();
    let Some(before) = length.into_u64().checked_sub(1).and_then(|before| R::Offset::from_u64(before).ok()) else {
        return Ok(expression);
    };
    let mut last = expression.0.clone();
    last.skip(before).map_err(damaged)?;
    if last.read_u8().map_err(damaged)? != GNU_UNINIT {
        return Ok(expression);
    }
    let mut rest = expression.clone();
    rest.0.truncate(before).map_err(damaged)?;
    // Else the byte is an operand: of the one before, which is cut short without it.
    let mut operations = rest.clone().operations(encoding);
    loop {
        match operations.next() {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(rest),
            Err(_) => return Ok(expression),
        }
    }
}

/// As [`evaluate`], for an expression that computes an address or a number and uses nothing but memory.
pub(crate) fn evaluate_detached(bytes: &[u8], initial: u64, memory: &mut dyn MemoryReader) -> Result<u64, Unavailable> {
    struct Detached<'a>(&'a mut dyn MemoryReader);
    impl<'b> ExpressionContext<gimli::EndianSlice<'b, gimli::LittleEndian>> for Detached<'_> {
        fn memory(&mut self) -> &mut dyn MemoryReader {
            &mut *self.0
        }
    }
    let expression = Expression(gimli::EndianSlice::new(bytes, gimli::LittleEndian));
    let pieces = evaluate(expression, DETACHED, Some(initial), &mut Detached(memory))?;
    match pieces.as_slice() {
        [Piece { location: gimli::Location::Address { address }, .. }] => Ok(*address),
        [Piece { location: gimli::Location::Value { value }, .. }] => value.to_u64(u64::MAX).map_err(damaged),
        _ => Err(unsupported("expression for an address")),
    }
}

fn answer<R: Reader>(
    evaluation: &mut Evaluation<R>,
    request: EvaluationResult<R>,
    context: &mut dyn ExpressionContext<R>,
) -> Result<EvaluationResult<R>, Unavailable> {
    let next = match request {
        EvaluationResult::Complete => return Ok(EvaluationResult::Complete),
        EvaluationResult::RequiresMemory { address, size, space: None, base_type } => {
            let mut bytes = [0; 8];
            let wanted = bytes.get_mut(..usize::from(size)).ok_or_else(|| unsupported("wide memory operand"))?;
            let at = Va(address);
            context.memory().read_exact(at, wanted).ok_or(Unavailable::Memory { at })?;
            let value = typed_value(context, base_type, &bytes)?;
            evaluation.resume_with_memory(value)
        }
        EvaluationResult::RequiresMemory { .. } => return Err(unsupported("address spaces")),
        EvaluationResult::RequiresRegister { register, base_type } => {
            let register = context.register(register.0)?;
            // Registers narrower than their type are zero-extended; flags are the only ones.
            let mut bytes = [0; 32];
            let count = register.bytes().len();
            bytes[..count].copy_from_slice(register.bytes());
            let value = typed_value(context, base_type, &bytes)?;
            evaluation.resume_with_register(value)
        }
        EvaluationResult::RequiresFrameBase => {
            let base = context.frame_base()?;
            evaluation.resume_with_frame_base(base)
        }
        EvaluationResult::RequiresTls(offset) => {
            let address = context.thread_local(offset)?;
            evaluation.resume_with_tls(address)
        }
        EvaluationResult::RequiresCallFrameCfa => {
            let cfa = context.cfa()?;
            evaluation.resume_with_call_frame_cfa(cfa)
        }
        EvaluationResult::RequiresAtLocation(die) => {
            let location = context.subroutine(die)?;
            evaluation.resume_with_at_location(location)
        }
        EvaluationResult::RequiresEntryValue(expression) => {
            let value = context.entry_value(expression)?;
            evaluation.resume_with_entry_value(value)
        }
        EvaluationResult::RequiresParameterRef(parameter) => {
            let value = context.parameter_at_entry(parameter)?;
            evaluation.resume_with_parameter_ref(value)
        }
        EvaluationResult::RequiresRelocatedAddress(address) => {
            let address = context.relocate(address);
            evaluation.resume_with_relocated_address(address)
        }
        EvaluationResult::RequiresIndexedAddress { index, relocate } => {
            let address = context.indexed_address(index)?;
            let address = if relocate { context.relocate(address) } else { address };
            evaluation.resume_with_indexed_address(address)
        }
        EvaluationResult::RequiresBaseType(die) => {
            // DW_OP_convert to type 0 means the generic type (DWARF 5, 2.5.1.6).
            let base = if die.0.into_u64() == 0 { ValueType::Generic } else { context.base_type(die)? };
            evaluation.resume_with_base_type(base)
        }
        EvaluationResult::RequiresWasmLocal { .. }
        | EvaluationResult::RequiresWasmGlobal { .. }
        | EvaluationResult::RequiresWasmStack { .. } => return Err(unsupported("WebAssembly")),
    };
    next.map_err(damaged)
}

fn typed_value<R: Reader>(
    context: &mut dyn ExpressionContext<R>,
    base_type: UnitOffset<R::Offset>,
    bytes: &[u8],
) -> Result<gimli::Value, Unavailable> {
    let value_type = if base_type.0.into_u64() == 0 { ValueType::Generic } else { context.base_type(base_type)? };
    if let ValueType::Generic = value_type {
        let low = bytes.first_chunk().copied().unwrap_or_default();
        return Ok(gimli::Value::Generic(u64::from_le_bytes(low)));
    }
    gimli::Value::parse(value_type, gimli::EndianSlice::new(bytes, gimli::LittleEndian)).map_err(damaged)
}

/// The bytes of a computed value, least significant first.
pub(crate) fn value_bytes(value: gimli::Value) -> Vec<u8> {
    match value {
        gimli::Value::Generic(value) | gimli::Value::U64(value) => value.to_le_bytes().to_vec(),
        gimli::Value::I8(value) => value.to_le_bytes().to_vec(),
        gimli::Value::U8(value) => value.to_le_bytes().to_vec(),
        gimli::Value::I16(value) => value.to_le_bytes().to_vec(),
        gimli::Value::U16(value) => value.to_le_bytes().to_vec(),
        gimli::Value::I32(value) => value.to_le_bytes().to_vec(),
        gimli::Value::U32(value) => value.to_le_bytes().to_vec(),
        gimli::Value::I64(value) => value.to_le_bytes().to_vec(),
        gimli::Value::F32(value) => value.to_le_bytes().to_vec(),
        gimli::Value::F64(value) => value.to_le_bytes().to_vec(),
    }
}

pub(crate) fn unsupported(what: impl Into<String>) -> Unavailable {
    Unavailable::Unsupported { what: what.into() }
}

pub(crate) fn damaged(error: gimli::Error) -> Unavailable {
    match error {
        gimli::Error::TooManyIterations => unsupported("expression that computes too long"),
        gimli::Error::UnsupportedEvaluation | gimli::Error::InvalidDerefSize(_) => unsupported(error.to_string()),
        _ => Unavailable::Damaged { problem: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use gimli::{EndianSlice, LittleEndian, Location, Register};
    use outpost_base::SliceMemory;

    use super::*;

    struct Nothing(SliceMemory<'static>);

    impl<R: Reader> ExpressionContext<R> for Nothing {
        fn memory(&mut self) -> &mut dyn MemoryReader {
            &mut self.0
        }
    }

    #[test]
    fn variables_that_are_not_set_yet_have_a_place() {
        let location = |bytes: &[u8]| {
            let expression = Expression(EndianSlice::new(bytes, LittleEndian));
            let mut nothing = Nothing(SliceMemory { start: Va(0), bytes: &[] });
            let pieces = evaluate(expression, DETACHED, None, &mut nothing).unwrap();
            pieces.first().map(|piece| format!("{:?}", piece.location))
        };
        let register = Location::<EndianSlice<'_, LittleEndian>>::Register { register: Register(5) };
        assert_eq!(location(&[0x55, 0xf0]), Some(format!("{register:?}")), "gcc: DW_OP_reg5; DW_OP_GNU_uninit");
        let address = Location::<EndianSlice<'_, LittleEndian>>::Address { address: 0xf0 };
        assert_eq!(location(&[0x08, 0xf0]), Some(format!("{address:?}")), "the operand of DW_OP_const1u");
    }
}
