//! From a variable and a frame to a value: location attributes, lists, pieces.

use gimli::{AttributeValue, DebugAddrIndex, DieReference, Expression, UnitOffset, ValueType};
use outpost_base::{ImageOffset, MemoryReader, RegisterValue, Va};

use super::die::Die;
use super::expression::{ExpressionContext, damaged, evaluate, unsupported, value_bytes};
use super::{FrameContext, Variable, Variables};
use crate::types::dwarf::attributes::constant_bytes;
use crate::values::{KnownBytes, Pointee, extract_bits};
use crate::{DieRef, DwarfReader, Piece, Type, Unavailable, Value, ValueLocation};

/// How many values may be computed inside each other: entry values of callers, implicit pointers, frame bases.
const DEPTH_LIMIT: usize = 16;
/// Bytes of a value that are gathered from pieces.
const GATHER_LIMIT: u64 = 1 << 20;

impl Variables {
    /// The variable's value in `frame`. Never fails: a value that cannot be had says why ([`Value::missing`]).
    ///
    /// Values in memory are not read yet; those in registers and pieces are gathered now.
    pub fn value(&self, variable: &Variable, frame: &mut dyn FrameContext) -> Value {
        let Some(die) = Die::read(&self.info, variable.die) else {
            let problem = "variable's entry cannot be read".to_owned();
            return Value::unavailable(variable.value_type.clone(), Unavailable::Damaged { problem });
        };
        let mut evaluator = Evaluator { variables: self, frame, function: variable.function, depth: DEPTH_LIMIT };
        let value_type = evaluator.with_computed_bounds(&variable.value_type);
        evaluator.value(&die, &value_type).unwrap_or_else(|reason| Value::unavailable(value_type, reason))
    }
}

/// Evaluates locations of one image in one frame.
pub(super) struct Evaluator<'a> {
    pub(super) variables: &'a Variables,
    pub(super) frame: &'a mut dyn FrameContext,
    /// The function that the frame executes.
    pub(super) function: Option<DieRef>,
    pub(super) depth: usize,
}

impl Evaluator<'_> {
    pub(super) fn value(&mut self, die: &Die, value_type: &Type) -> Result<Value, Unavailable> {
        let info = &self.variables.info;
        if let Some((owner, location)) = die.inherited(info, gimli::DW_AT_location) {
            let expression = self.current_expression(&owner, location)?;
            return self.value_of_expression(&owner, expression, value_type);
        }
        if let Some((owner, constant)) = die.inherited(info, gimli::DW_AT_const_value) {
            let bytes = constant_bytes(owner.unit_ref(info), &constant, value_type.size());
            return bytes
                .map(|bytes| Value::from_bytes(value_type.clone(), bytes))
                .ok_or_else(|| unsupported("form of a constant"));
        }
        Err(Unavailable::OptimizedOut)
    }

    /// The expression of a location attribute that holds at the frame's address.
    fn current_expression(
        &mut self,
        die: &Die,
        location: AttributeValue<DwarfReader>,
    ) -> Result<Expression<DwarfReader>, Unavailable> {
        if let Some(expression) = location.exprloc_value() {
            return Ok(expression);
        }
        let unit = die.unit_ref(&self.variables.info);
        let mut list =
            unit.attr_locations(location).map_err(damaged)?.ok_or_else(|| unsupported("form of a location"))?;
        let at = self.frame.lookup_address().ok_or(Unavailable::NotHere)?.to_image(self.frame.load_bias());
        while let Some(entry) = list.next().map_err(damaged)? {
            if (entry.range.begin..entry.range.end).contains(&at.0) {
                return Ok(entry.data);
            }
        }
        Err(Unavailable::NotHere)
    }

    fn value_of_expression(
        &mut self,
        die: &Die,
        expression: Expression<DwarfReader>,
        value_type: &Type,
    ) -> Result<Value, Unavailable> {
        if gimli::Reader::is_empty(&expression.0) {
            return Err(Unavailable::OptimizedOut);
        }
        let pieces = self.pieces(die, expression)?;
        match pieces.as_slice() {
            [] => Err(Unavailable::OptimizedOut),
            [gimli::Piece { size_in_bits: None, location: gimli::Location::Address { address }, .. }] => {
                Ok(Value::in_memory(value_type.clone(), Va(*address)))
            }
            _ => self.gather(die, &pieces, value_type),
        }
    }

    pub(super) fn pieces(
        &mut self,
        die: &Die,
        expression: Expression<DwarfReader>,
    ) -> Result<Vec<gimli::Piece<DwarfReader>>, Unavailable> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| unsupported("expressions in expressions"))?;
        let encoding = die.unit.encoding();
        let mut context = FrameExpression {
            evaluator: Evaluator { variables: self.variables, frame: &mut *self.frame, function: self.function, depth },
            die,
        };
        evaluate(expression, encoding, None, &mut context)
    }

    /// The value, with its type, that an expression leaves on the stack: not a location (DWARF 5, 2.5).
    pub(super) fn computed(
        &mut self,
        die: &Die,
        expression: &Expression<DwarfReader>,
    ) -> Result<gimli::Value, Unavailable> {
        // gimli takes what is left on the stack for an address, which floats cannot be; so say that it is the value.
        let mut bytes = gimli::Reader::to_slice(&expression.0).map_err(damaged)?.into_owned();
        bytes.push(gimli::DW_OP_stack_value.0);
        let reader = gimli::EndianReader::new(crate::SectionData::from(bytes), gimli::LittleEndian);
        let pieces = self.pieces(die, Expression(reader))?;
        match pieces.as_slice() {
            [gimli::Piece { location: gimli::Location::Value { value }, .. }] => Ok(*value),
            _ => Err(unsupported("expression for a value")),
        }
    }

    /// The number that an expression computes, whatever kind of location it ends with.
    pub(super) fn number(&mut self, die: &Die, expression: Expression<DwarfReader>) -> Result<u64, Unavailable> {
        let pieces = self.pieces(die, expression)?;
        match pieces.as_slice() {
            [gimli::Piece { location, .. }] => match location {
                gimli::Location::Address { address } => Ok(*address),
                gimli::Location::Value { value } => {
                    let bytes = value_bytes(*value);
                    let mut wide = [0; 8];
                    wide[..bytes.len()].copy_from_slice(&bytes);
                    Ok(u64::from_le_bytes(wide))
                }
                gimli::Location::Register { register } => self
                    .frame
                    .register(register.0)
                    .map(|value| value.as_u64())
                    .ok_or(Unavailable::Register { dwarf: register.0 }),
                _ => Err(unsupported("expression for a number")),
            },
            _ => Err(unsupported("expression for a number")),
        }
    }

    /// `DW_OP_implicit_pointer` (DWARF 5, 2.6.1.1.4): the pointer is gone, the variable it points to is not.
    fn pointed_to(&mut self, die: &Die, target: gimli::DebugInfoOffset) -> Result<Value, Unavailable> {
        let info = &self.variables.info;
        let target = info.die_in_info(die.index, target.0 as u64).and_then(|target| Die::read(info, target));
        let target =
            target.ok_or_else(|| Unavailable::Damaged { problem: "implicit pointer to no entry".to_owned() })?;
        let target_type = self.variables.types.get(target.type_id(info));
        let depth = self.depth.checked_sub(1).ok_or_else(|| unsupported("implicit pointers to each other"))?;
        let mut inner =
            Evaluator { variables: self.variables, frame: &mut *self.frame, function: self.function, depth };
        Ok(inner.value(&target, &target_type).unwrap_or_else(|reason| Value::unavailable(target_type, reason)))
    }

    /// Puts a value together from registers, constants and memory.
    fn gather(
        &mut self,
        die: &Die,
        pieces: &[gimli::Piece<DwarfReader>],
        value_type: &Type,
    ) -> Result<Value, Unavailable> {
        let size = value_type.size().ok_or(Unavailable::NoSize)?;
        if size > GATHER_LIMIT {
            return Err(Unavailable::TooLarge { size });
        }
        let total = size * 8;
        let mut known = KnownBytes { bytes: vec![0; size as usize], ..KnownBytes::default() };
        let mut places = Vec::new();
        let mut cursor = 0;
        for piece in pieces {
            if cursor >= total {
                break;
            }
            let bits = piece.size_in_bits.unwrap_or(total).min(total - cursor);
            let (mut location, bytes) = self.piece(piece, bits);
            if let gimli::Location::ImplicitPointer { value, byte_offset } = piece.location {
                let object = self.pointed_to(die, value)?;
                location = ValueLocation::ImplicitPointer { target: Box::new(object.location()), offset: byte_offset };
                known.pointees.push(Pointee { at: cursor / 8, object, offset: byte_offset });
            }
            match bytes {
                Ok(bytes) => place_bits(&mut known.bytes, cursor, &bytes, bits),
                Err(reason) => {
                    known.gaps.push((cursor..cursor + bits, reason));
                }
            }
            places.push(Piece { bits, location });
            cursor += bits;
        }
        if cursor < total {
            // clang ends the list of pieces with the last that it knows.
            known.gaps.push((cursor..total, Unavailable::OptimizedOut));
        }
        // Known nowhere, for one reason: say so as a whole.
        if let Some(reason) =
            known.missing((0, total)).filter(|first| known.gaps.iter().all(|(_, other)| other == *first))
        {
            return Err(reason.clone());
        }
        let location = match <[Piece; 1]>::try_from(places) {
            Ok([only]) => only.location,
            Err(places) => ValueLocation::Pieces(places),
        };
        Ok(Value::gathered(value_type.clone(), location, known))
    }

    /// One piece: where it is, and its `bits` bits moved down to bit 0.
    fn piece(&mut self, piece: &gimli::Piece<DwarfReader>, bits: u64) -> (ValueLocation, Result<Vec<u8>, Unavailable>) {
        let bit = piece.bit_offset.unwrap_or(0);
        let out = |reason: Unavailable| (ValueLocation::OptimizedOut { reason: reason.clone() }, Err(reason));
        let cut = |bytes: &[u8]| {
            let short = || Unavailable::Damaged { problem: "piece larger than its place".to_owned() };
            extract_bits(bytes, bit, bits).ok_or_else(short)
        };
        match &piece.location {
            gimli::Location::Empty => out(Unavailable::OptimizedOut),
            gimli::Location::ImplicitPointer { .. } => out(Unavailable::OptimizedOut),
            gimli::Location::Register { register } => match self.frame.register(register.0) {
                None => out(Unavailable::Register { dwarf: register.0 }),
                Some(value) => (ValueLocation::Register { dwarf: register.0, bit }, cut(value.bytes())),
            },
            gimli::Location::Address { address } => {
                let at = Va(*address) + bit / 8;
                let mut bytes = vec![0; (bit % 8 + bits).div_ceil(8) as usize];
                let read = self.frame.memory().read_exact(at, &mut bytes).ok_or(Unavailable::Memory { at });
                let moved =
                    read.and_then(|()| extract_bits(&bytes, bit % 8, bits).ok_or_else(|| unsupported("piece of bits")));
                (ValueLocation::Address(at), moved)
            }
            gimli::Location::Value { value } => {
                // A computed value is as wide as the object, upper bits zero (DWARF 5, 2.6.1.1.4).
                let mut bytes = value_bytes(*value);
                bytes.resize(bytes.len().max((bit + bits).div_ceil(8) as usize), 0);
                let bytes = cut(&bytes);
                (ValueLocation::Bytes(bytes.clone().unwrap_or_default()), bytes)
            }
            gimli::Location::Bytes { value } => match gimli::Reader::to_slice(value) {
                Ok(bytes) => {
                    let bytes = cut(&bytes);
                    (ValueLocation::Bytes(bytes.clone().unwrap_or_default()), bytes)
                }
                Err(error) => out(damaged(error)),
            },
        }
    }

    /// `DW_AT_frame_base` of the function (DWARF 5, 3.3.5).
    fn frame_base(&mut self) -> Result<u64, Unavailable> {
        let function = self.function.and_then(|die| Die::read(&self.variables.info, die));
        let function = function.ok_or_else(|| unsupported("frame base without function"))?;
        let (owner, location) = function
            .inherited(&self.variables.info, gimli::DW_AT_frame_base)
            .ok_or_else(|| Unavailable::Damaged { problem: "function without frame base".to_owned() })?;
        let expression = self.current_expression(&owner, location)?;
        self.number(&owner, expression)
    }

    /// The type with array bounds computed in this frame (variable-length arrays), as it is if it has none.
    fn with_computed_bounds(&mut self, of: &Type) -> Type {
        super::dynamic::with_computed_bounds(self, of)
    }
}

/// An expression of one DIE in a frame.
struct FrameExpression<'a, 'b> {
    evaluator: Evaluator<'a>,
    die: &'b Die,
}

impl ExpressionContext<DwarfReader> for FrameExpression<'_, '_> {
    fn memory(&mut self) -> &mut dyn MemoryReader {
        self.evaluator.frame.memory()
    }

    fn register(&mut self, dwarf: u16) -> Result<RegisterValue, Unavailable> {
        self.evaluator.frame.register(dwarf).ok_or(Unavailable::Register { dwarf })
    }

    fn frame_base(&mut self) -> Result<u64, Unavailable> {
        self.evaluator.frame_base()
    }

    fn cfa(&mut self) -> Result<u64, Unavailable> {
        self.evaluator.frame.cfa().map(|cfa| cfa.0).ok_or(Unavailable::Cfa)
    }

    fn thread_local(&mut self, offset: u64) -> Result<u64, Unavailable> {
        self.evaluator.frame.thread_local(offset).map(|at| at.0).ok_or(Unavailable::ThreadLocal)
    }

    fn entry_value(&mut self, expression: Expression<DwarfReader>) -> Result<gimli::Value, Unavailable> {
        self.evaluator.entry_value(expression)
    }

    fn parameter_at_entry(&mut self, parameter: UnitOffset) -> Result<u64, Unavailable> {
        let die = self.evaluator.variables.info.die(self.die.index, parameter);
        let die = die.ok_or(Unavailable::EntryValue { why: "no such parameter" })?;
        let value = self.evaluator.parameter_at_entry(die)?;
        value.to_u64(u64::MAX).map_err(damaged)
    }

    fn subroutine(&mut self, die: DieReference) -> Result<DwarfReader, Unavailable> {
        let info = &self.evaluator.variables.info;
        let target = match die {
            DieReference::UnitRef(offset) => info.die(self.die.index, offset),
            DieReference::DebugInfoRef(offset) => info.die_in_info(self.die.index, offset.0 as u64),
        };
        let target = target.and_then(|target| Die::read(info, target));
        // A DIE without location is a subroutine that does nothing (DWARF 5, 2.5.1.5).
        let location = target.as_ref().and_then(|target| target.entry.attr_value(gimli::DW_AT_location));
        let empty = || gimli::EndianReader::new(crate::SectionData::empty(), gimli::LittleEndian);
        let (Some(target), Some(location)) = (target, location) else { return Ok(empty()) };
        self.evaluator.current_expression(&target, location).map(|expression| expression.0)
    }

    fn relocate(&mut self, address: u64) -> u64 {
        ImageOffset(address).to_va(self.evaluator.frame.load_bias()).0
    }

    fn indexed_address(&mut self, index: DebugAddrIndex) -> Result<u64, Unavailable> {
        self.die.unit_ref(&self.evaluator.variables.info).address(index).map_err(damaged)
    }

    fn base_type(&mut self, die: UnitOffset) -> Result<ValueType, Unavailable> {
        let entry = self.die.unit.entry(die).map_err(damaged)?;
        ValueType::from_entry(&entry).map_err(damaged)?.ok_or_else(|| unsupported("base type of an operation"))
    }
}

/// Copies `bits` bits of `source`, from bit 0 on, to bit `at` of `target`.
fn place_bits(target: &mut [u8], at: u64, source: &[u8], bits: u64) {
    if at.is_multiple_of(8) && bits.is_multiple_of(8) {
        let (start, length) = ((at / 8) as usize, (bits / 8) as usize);
        if let (Some(to), Some(from)) = (target.get_mut(start..start + length), source.get(..length)) {
            to.copy_from_slice(from);
        }
        return;
    }
    for bit in 0..bits {
        let from = source.get((bit / 8) as usize).map_or(0, |byte| byte >> (bit % 8) & 1);
        if let Some(to) = target.get_mut(((at + bit) / 8) as usize) {
            let shift = (at + bit) % 8;
            *to = *to & !(1 << shift) | from << shift;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_odd_widths_meet_without_overlap() {
        let mut target = [0; 3];
        place_bits(&mut target, 0, &[0b101], 3);
        place_bits(&mut target, 3, &[0xff, 0x01], 9);
        place_bits(&mut target, 16, &[0x5a], 8);
        assert_eq!(target, [0b1111_1101, 0b0000_1111, 0x5a]);
    }
}
