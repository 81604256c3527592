//! A value: a type and where its bytes are.

use std::ops::Range;
use std::sync::Arc;

use outpost_base::{MemoryReader, Va, VaRange};

use super::scalar::{Scalar, extract_bits, unsigned};
use super::{Unavailable, ValueLocation};
use crate::types::{BaseOffset, BitField, Enumerator, Field, Type, TypeKind};
use crate::variables::expression::evaluate_detached;

/// Largest value that is read at once; larger ones are read by their parts.
const SIZE_LIMIT: u64 = 16 << 20;
/// How many bases are looked through for a member that only a virtual base may have.
const SEARCH_LIMIT: usize = 64;
/// How deep bases and anonymous members are looked into.
const DEPTH_LIMIT: usize = 32;

/// A value: a type and the place of its bytes. It is a view: bytes in memory are read when asked for, each time.
///
/// All reading goes through a [`MemoryReader`], so a caller who gives a [`BatchMemory`](crate::BatchMemory) learns what
/// would be read before it is.
#[derive(Clone, Debug)]
pub struct Value {
    value_type: Type,
    object: Arc<Object>,
    /// Bytes into the object.
    offset: u64,
    /// Bits within the object, for a bit field.
    bits: Option<BitField>,
}

/// What a value is a part of: a variable, or something in memory.
#[derive(Debug)]
struct Object {
    location: ValueLocation,
    contents: Contents,
}

#[derive(Debug)]
enum Contents {
    Memory(Va),
    Known(KnownBytes),
    Missing(Unavailable),
}

/// Bytes gathered from registers, constants and memory, with those that could not be had.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownBytes {
    pub(crate) bytes: Vec<u8>,
    /// Ranges of bits that are not known, and why: bit fields have locations of their own.
    pub(crate) gaps: Vec<(std::ops::Range<u64>, Unavailable)>,
    /// Pointers in the gaps of which it is known what they point to.
    pub(crate) pointees: Vec<Pointee>,
}

/// What a pointer that was optimised away points to.
#[derive(Clone, Debug)]
pub(crate) struct Pointee {
    /// Where the pointer begins.
    pub(crate) at: u64,
    /// The object it points into.
    pub(crate) object: Value,
    /// How far into it.
    pub(crate) offset: i64,
}

/// One write that an assignment comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Store {
    /// To memory.
    Memory {
        /// First byte.
        at: Va,
        /// What to write.
        bytes: Vec<u8>,
    },
    /// To a register of the frame.
    Register {
        /// DWARF number.
        dwarf: u16,
        /// Lowest bit written, a multiple of 8; bits below and above stay.
        bit: u64,
        /// What to write from there on.
        bytes: Vec<u8>,
    },
}

impl Value {
    /// A value in memory.
    pub fn in_memory(value_type: Type, at: Va) -> Value {
        Value::new(value_type, ValueLocation::Address(at), Contents::Memory(at))
    }

    /// A bit of the byte at `at`, counted from its least significant one, as a value.
    pub(crate) fn bit_in_memory(value_type: Type, at: Va, bit: u64) -> Value {
        let bits = BitField { offset: bit, size: 1 };
        Value { bits: Some(bits), ..Value::in_memory(value_type, at) }
    }

    /// A value whose bytes are known and have no place.
    pub fn from_bytes(value_type: Type, bytes: Vec<u8>) -> Value {
        let known = KnownBytes { bytes: bytes.clone(), ..KnownBytes::default() };
        Value::new(value_type, ValueLocation::Bytes(bytes), Contents::Known(known))
    }

    /// A value that cannot be had.
    pub fn unavailable(value_type: Type, reason: Unavailable) -> Value {
        let location = ValueLocation::OptimizedOut { reason: reason.clone() };
        Value::new(value_type, location, Contents::Missing(reason))
    }

    /// A value gathered from places that are not plain memory.
    pub(crate) fn gathered(value_type: Type, location: ValueLocation, known: KnownBytes) -> Value {
        Value::new(value_type, location, Contents::Known(known))
    }

    fn new(value_type: Type, location: ValueLocation, contents: Contents) -> Value {
        Value { value_type, object: Arc::new(Object { location, contents }), offset: 0, bits: None }
    }

    /// Its type as declared.
    pub fn value_type(&self) -> &Type {
        &self.value_type
    }

    /// Its address, if it is in memory; that of the first byte involved for a bit field.
    pub fn address(&self) -> Option<Va> {
        match self.object.contents {
            Contents::Memory(at) => Some(at + self.offset),
            _ => None,
        }
    }

    /// The memory it occupies, if that is where it is and its size is known.
    pub fn range(&self) -> Option<VaRange> {
        let (offset, size) = self.byte_span()?;
        match self.object.contents {
            Contents::Memory(at) => Some(VaRange::from_len(at + offset, size)),
            _ => None,
        }
    }

    /// What lies `offset` bytes on in the same object.
    pub(crate) fn advanced(&self, value_type: Type, offset: i64) -> Value {
        Value { value_type, offset: self.offset.wrapping_add_signed(offset), bits: None, ..self.clone() }
    }

    /// Where it is, to write it. Bits of a bit field are within this: see [`Value::bit_field`].
    pub fn location(&self) -> ValueLocation {
        let reason = Unavailable::WrongType;
        self.object.location.advanced(self.offset).unwrap_or(ValueLocation::OptimizedOut { reason })
    }

    /// The bits it has, counted from [`Value::location`], if it is a bit field.
    pub fn bit_field(&self) -> Option<BitField> {
        let bits = self.bits?;
        Some(BitField { offset: bits.offset.checked_sub(self.offset.checked_mul(8)?)?, size: bits.size })
    }

    /// Whether no part of it can be had, and why.
    pub fn missing(&self) -> Option<&Unavailable> {
        match &self.object.contents {
            Contents::Missing(reason) => Some(reason),
            Contents::Known(known) => known.missing(self.bit_span()?),
            Contents::Memory(_) => None,
        }
    }

    /// Whether it is a pointer that was optimised away although what it points to was not ([`Value::deref`] has it).
    pub fn is_implicit_pointer(&self) -> bool {
        self.pointee().is_some()
    }

    fn pointee(&self) -> Option<&Pointee> {
        let Contents::Known(known) = &self.object.contents else { return None };
        let found = known.pointees.iter().find(|pointee| pointee.at == self.offset)?;
        self.value_type.target().is_some().then_some(found)
    }

    /// Offset in the object and length of the bytes it touches.
    fn byte_span(&self) -> Option<(u64, u64)> {
        match self.bits {
            Some(bits) => {
                let first = bits.offset / 8;
                Some((first, bits.offset.checked_add(bits.size)?.div_ceil(8).checked_sub(first)?))
            }
            None => Some((self.offset, self.value_type.size()?)),
        }
    }

    /// Its bits in the object: the first, and how many.
    fn bit_span(&self) -> Option<(u64, u64)> {
        match self.bits {
            Some(bits) => Some((bits.offset, bits.size)),
            None => Some((self.offset.checked_mul(8)?, self.value_type.size()?.checked_mul(8)?)),
        }
    }

    /// Its bytes; those of a bit field moved down to bit 0.
    /// # Errors
    /// Why they cannot be had; [`Unavailable::NoSize`] for types without size, [`Unavailable::TooLarge`] above 16 MiB.
    pub fn bytes(&self, memory: &mut dyn MemoryReader) -> Result<Vec<u8>, Unavailable> {
        let (offset, size) = self.byte_span().ok_or(Unavailable::NoSize)?;
        let Some(bits) = self.bits else { return self.span_bytes(offset, size, memory) };
        let bytes = match &self.object.contents {
            // Its neighbours in the same byte may be unknown.
            Contents::Known(known) => {
                known.gap((bits.offset, bits.size)).map_or(Ok(()), |reason| Err(reason.clone()))?;
                known.slice(offset, size)?
            }
            _ => self.span_bytes(offset, size, memory)?,
        };
        extract_bits(&bytes, bits.offset % 8, bits.size)
            .ok_or_else(|| Unavailable::Damaged { problem: "bit field outside its record".to_owned() })
    }

    fn span_bytes(&self, offset: u64, size: u64, memory: &mut dyn MemoryReader) -> Result<Vec<u8>, Unavailable> {
        if size > SIZE_LIMIT {
            return Err(Unavailable::TooLarge { size });
        }
        match &self.object.contents {
            Contents::Missing(reason) => Err(reason.clone()),
            Contents::Memory(at) => {
                let at = *at + offset;
                let mut bytes = vec![0; size as usize];
                memory.read_exact(at, &mut bytes).ok_or(Unavailable::Memory { at })?;
                Ok(bytes)
            }
            Contents::Known(known) => {
                let span = (offset.saturating_mul(8), size.saturating_mul(8));
                known.gap(span).map_or_else(|| known.slice(offset, size), |reason| Err(reason.clone()))
            }
        }
    }

    /// Its scalar: integers, floats, characters, truth values, pointers, enumerations.
    /// # Errors
    /// As [`Value::bytes`]; [`Unavailable::WrongType`] for records, arrays and functions.
    pub fn scalar(&self, memory: &mut dyn MemoryReader) -> Result<Scalar, Unavailable> {
        let resolved = self.value_type.resolved();
        if let TypeKind::Record(_) | TypeKind::Array { .. } | TypeKind::Function { .. } | TypeKind::Void =
            resolved.kind()
        {
            return Err(Unavailable::WrongType);
        }
        let bytes = self.bytes(memory)?;
        let bit_size = self.bits.map_or(8 * bytes.len() as u64, |bits| bits.size);
        Scalar::decode(&resolved, &bytes, bit_size).ok_or(Unavailable::WrongType)
    }

    /// The writes that set this value to `scalar`, converted as C assigns. Bit fields are read first, to keep their
    /// neighbours.
    /// # Errors
    /// Why it cannot be written; [`Unavailable::WrongType`] for what has no scalar.
    pub fn stores(&self, scalar: Scalar, memory: &mut dyn MemoryReader) -> Result<Vec<Store>, Unavailable> {
        let (offset, size) = self.byte_span().ok_or(Unavailable::NoSize)?;
        let bytes = match self.bits {
            None => scalar.encode(&self.value_type, size as usize).ok_or(Unavailable::WrongType)?,
            Some(bits) => {
                let old = self.span_bytes(offset, size, memory)?;
                insert_bits(&old, bits.offset % 8, bits.size, scalar.as_i128() as u128).ok_or(Unavailable::WrongType)?
            }
        };
        let location = self.object.location.advanced(offset).ok_or(Unavailable::WrongType)?;
        let mut stores = Vec::new();
        store(&location, &bytes, &mut stores)?;
        Ok(stores)
    }

    /// The same bytes as another type.
    pub fn cast(&self, to: Type) -> Value {
        Value { value_type: to, bits: None, ..self.clone() }
    }

    /// A data member that was found by [`Type::field`].
    pub fn field(&self, field: &Field) -> Value {
        self.part(field.field_type.clone(), field.offset, field.bits)
    }

    fn part(&self, value_type: Type, offset: u64, bits: Option<BitField>) -> Value {
        let start = self.offset.saturating_mul(8);
        let bits = bits.map(|bits| BitField { offset: bits.offset.saturating_add(start), size: bits.size });
        Value { value_type, object: self.object.clone(), offset: self.offset.wrapping_add(offset), bits }
    }

    /// The data member `name`, through anonymous members, bases and, by reading vtables, virtual bases; of the variant
    /// that is active, for a Rust enum.
    /// # Errors
    /// [`Unavailable::WrongType`] if there is no such member; reasons for a virtual base that cannot be found.
    pub fn member(&self, name: &str, memory: &mut dyn MemoryReader) -> Result<Value, Unavailable> {
        let mut budget = SEARCH_LIMIT;
        self.member_within(name, DEPTH_LIMIT, &mut budget, memory)
    }

    fn member_within(
        &self,
        name: &str,
        depth: usize,
        budget: &mut usize,
        memory: &mut dyn MemoryReader,
    ) -> Result<Value, Unavailable> {
        if let Some(field) = self.value_type.field(name) {
            return Ok(self.field(&field));
        }
        let resolved = self.value_type.resolved();
        let (Some(depth), Some(record)) = (depth.checked_sub(1), resolved.record()) else {
            return Err(Unavailable::WrongType);
        };
        if record.variants.is_some() {
            return self.variant(memory)?.1.member_within(name, depth, budget, memory);
        }
        let mut problem = Unavailable::WrongType;
        for number in 0..record.bases.len() {
            *budget = budget.checked_sub(1).ok_or(Unavailable::WrongType)?;
            let found = self.base(number, memory).and_then(|base| base.member_within(name, depth, budget, memory));
            match found {
                Ok(found) => return Ok(found),
                Err(Unavailable::WrongType) => {}
                Err(other) => problem = other,
            }
        }
        Err(problem)
    }

    /// Base class number `number` of its record.
    /// # Errors
    /// [`Unavailable::WrongType`] if there is none; memory and location errors for a virtual base.
    pub fn base(&self, number: usize, memory: &mut dyn MemoryReader) -> Result<Value, Unavailable> {
        let resolved = self.value_type.resolved();
        let base = resolved.record().and_then(|record| record.bases.get(number)).ok_or(Unavailable::WrongType)?;
        let base_type = resolved.sibling(base.base_type);
        match &base.offset {
            BaseOffset::Fixed(offset) => Ok(self.part(base_type, *offset, None)),
            BaseOffset::Virtual(expression) => {
                let at = self.address().ok_or(Unavailable::WrongType)?;
                let base = evaluate_detached(expression, at.0, memory)?;
                Ok(Value::in_memory(base_type, Va(base)))
            }
        }
    }

    /// Element `index` of an array; of what a pointer points to, counted in elements.
    /// # Errors
    /// [`Unavailable::WrongType`] for other types and for indexes outside a known bound of an array without address.
    pub fn index(&self, index: i64, memory: &mut dyn MemoryReader) -> Result<Value, Unavailable> {
        if let Some((element, count)) = self.value_type.element() {
            let size = element.size().ok_or(Unavailable::NoSize)?;
            let offset = index.wrapping_mul(size as i64) as u64;
            let outside = u64::try_from(index).map_or(true, |index| count.is_some_and(|count| index >= count));
            if outside && self.address().is_none() {
                return Err(Unavailable::WrongType);
            }
            return Ok(self.part(element, offset, None));
        }
        let target = self.deref(memory)?;
        let size = target.value_type.size().ok_or(Unavailable::NoSize)?;
        match target.address() {
            Some(at) => Ok(Value::in_memory(target.value_type, at.wrapping_offset(index.wrapping_mul(size as i64)))),
            None if index == 0 => Ok(target),
            None => Err(Unavailable::OptimizedOut),
        }
    }

    /// What a pointer or reference points to.
    /// # Errors
    /// As [`Value::scalar`]; [`Unavailable::WrongType`] if it is neither. The target itself is not read.
    pub fn deref(&self, memory: &mut dyn MemoryReader) -> Result<Value, Unavailable> {
        let target = self.value_type.target().ok_or(Unavailable::WrongType)?;
        if let Some(pointee) = self.pointee() {
            return Ok(pointee.object.advanced(target, pointee.offset));
        }
        match self.scalar(memory)? {
            Scalar::Pointer(at) => Ok(Value::in_memory(target, at)),
            _ => Err(Unavailable::WrongType),
        }
    }

    /// The enumerators that an enumeration's value is: one that equals it, else flags that together make it up (as gdb
    /// joins them with `|`); empty if neither.
    /// # Errors
    /// As [`Value::scalar`].
    pub fn enumerators(&self, memory: &mut dyn MemoryReader) -> Result<Vec<Enumerator>, Unavailable> {
        let resolved = self.value_type.resolved();
        let TypeKind::Enumeration { enumerators, .. } = resolved.kind() else { return Err(Unavailable::WrongType) };
        let value = self.scalar(memory)?.as_i128();
        if let Some(exact) = enumerators.iter().find(|entry| entry.value == value) {
            return Ok(vec![exact.clone()]);
        }
        // Flags are single bits each, and names for several of them (`All`, masks); then any value is a sum of bits.
        let (bits, several): (Vec<_>, Vec<_>) = enumerators.iter().partition(|entry| entry.value.count_ones() <= 1);
        let named = bits.iter().fold(0, |sum, entry| sum | entry.value);
        let is_sum = |entry: &&Enumerator| entry.value > 0 && entry.value & !named == 0;
        if value <= 0 || !bits.iter().all(|entry| entry.value >= 0) || !several.iter().all(is_sum) {
            return Ok(Vec::new());
        }
        let set: Vec<_> = bits.into_iter().filter(|entry| entry.value & value != 0).cloned().collect();
        let sum = set.iter().fold(0, |sum, entry| sum | entry.value);
        Ok(if sum == value { set } else { Vec::new() })
    }

    /// The active variant of a Rust enum and its payload.
    /// # Errors
    /// As [`Value::bytes`]; [`Unavailable::WrongType`] for other types; [`Unavailable::Nonsense`] if the discriminant
    /// is that of no variant.
    pub fn variant(&self, memory: &mut dyn MemoryReader) -> Result<(String, Value), Unavailable> {
        let resolved = self.value_type.resolved();
        let part = resolved.record().and_then(|record| record.variants.as_ref()).ok_or(Unavailable::WrongType)?;
        let chosen = match &part.discriminant {
            // Only one can exist: the others have a payload without values (`Result<Infallible, _>`).
            None => {
                let exists =
                    |variant: &&crate::types::Variant| !resolved.sibling(variant.member.member_type).is_uninhabited();
                part.variants.iter().find(exists).or_else(|| part.variants.first())
            }
            Some(discriminant) => {
                let discriminant = self.field(&resolved.field_of(discriminant, 0));
                let bytes = discriminant.bytes(memory)?;
                let value = unsigned(&bytes, 8 * bytes.len() as u64).ok_or(Unavailable::NoSize)?;
                let listed = part
                    .variants
                    .iter()
                    .find(|variant| variant.values.iter().any(|(low, high)| (*low..=*high).contains(&value)));
                listed.or_else(|| part.variants.iter().find(|variant| variant.values.is_empty()))
            }
        };
        let chosen = chosen.ok_or_else(|| Unavailable::Nonsense { problem: "no such variant".to_owned() })?;
        let field = resolved.field_of(&chosen.member, 0);
        Ok((field.name.clone(), self.field(&field)))
    }
}

impl KnownBytes {
    /// Why nothing is known of `length` bits from `start` on, if that is so.
    pub(crate) fn missing(&self, (start, length): (u64, u64)) -> Option<&Unavailable> {
        let end = start.checked_add(length)?;
        if self.pointees.iter().any(|pointee| (start / 8..end / 8).contains(&pointee.at)) {
            return None;
        }
        // Gaps do not overlap: each is a piece, or what is behind the last.
        let covered = |gap: &Range<u64>| gap.end.min(end).saturating_sub(gap.start.max(start));
        let total: u64 = self.gaps.iter().map(|(gap, _)| covered(gap)).sum();
        if start == end || total < length {
            return None;
        }
        self.gap((start, length))
    }

    /// Why something of `length` bits from `start` on is not known, if that is so.
    fn gap(&self, (start, length): (u64, u64)) -> Option<&Unavailable> {
        let end = start.saturating_add(length);
        let found = self.gaps.iter().find(|(gap, _)| gap.start < end && start < gap.end);
        found.map(|(_, reason)| reason)
    }

    /// Bytes, whether known or not.
    fn slice(&self, offset: u64, length: u64) -> Result<Vec<u8>, Unavailable> {
        let range = || {
            let start = usize::try_from(offset).ok()?;
            self.bytes.get(start..start.checked_add(usize::try_from(length).ok()?)?)
        };
        let short = || Unavailable::Damaged { problem: "location smaller than its type".to_owned() };
        range().map(<[u8]>::to_vec).ok_or_else(short)
    }
}

/// `old` with `size` bits from bit `offset` on replaced.
fn insert_bits(old: &[u8], offset: u64, size: u64, value: u128) -> Option<Vec<u8>> {
    if size == 0 || size > 64 || offset > 7 {
        return None;
    }
    let mut wide = [0; 16];
    wide.get_mut(..old.len())?.copy_from_slice(old);
    let mask = ((1u128 << size) - 1) << offset;
    let merged = (u128::from_le_bytes(wide) & !mask) | ((value << offset) & mask);
    merged.to_le_bytes().get(..old.len()).map(<[u8]>::to_vec)
}

fn store(location: &ValueLocation, bytes: &[u8], stores: &mut Vec<Store>) -> Result<(), Unavailable> {
    match location {
        ValueLocation::Address(at) => stores.push(Store::Memory { at: *at, bytes: bytes.to_vec() }),
        ValueLocation::Register { dwarf, bit } if bit % 8 == 0 => {
            stores.push(Store::Register { dwarf: *dwarf, bit: *bit, bytes: bytes.to_vec() });
        }
        ValueLocation::Pieces(pieces) => {
            let mut rest = bytes;
            for piece in pieces {
                if rest.is_empty() {
                    break;
                }
                if piece.bits % 8 != 0 {
                    return Err(Unavailable::WrongType);
                }
                let length = usize::try_from(piece.bits / 8).unwrap_or(usize::MAX).min(rest.len());
                let (part, others) = rest.split_at(length);
                // Pieces do not nest.
                if let ValueLocation::Pieces(_) = piece.location {
                    return Err(Unavailable::WrongType);
                }
                store(&piece.location, part, stores)?;
                rest = others;
            }
        }
        ValueLocation::OptimizedOut { reason } => return Err(reason.clone()),
        ValueLocation::Register { .. } | ValueLocation::Bytes(_) | ValueLocation::ImplicitPointer { .. } => {
            return Err(Unavailable::WrongType);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use outpost_base::SliceMemory;

    use super::*;

    #[test]
    fn bits_are_inserted_between_their_neighbours() {
        let check = |old: &[u8], offset, size, value, expected: &[u8]| {
            assert_eq!(insert_bits(old, offset, size, value).as_deref(), Some(expected));
        };
        check(&[0xff, 0xff], 3, 4, 0, &[0b1000_0111, 0xff]);
        check(&[0, 0], 6, 4, 0xf, &[0b1100_0000, 0b11]);
        check(&[0; 9], 7, 64, u128::from(u64::MAX), &[0x80, 255, 255, 255, 255, 255, 255, 255, 0x7f]);
        assert_eq!(insert_bits(&[0], 0, 0, 1), None);
    }

    #[test]
    fn gaps_hide_only_what_they_cover() {
        let mut nothing = SliceMemory { start: Va(0), bytes: &[] };
        let gaps = vec![(20..32, Unavailable::OptimizedOut)];
        let known = KnownBytes { bytes: vec![1, 2, 3, 4], gaps, pointees: Vec::new() };
        let object = Value::gathered(
            crate::TypeTable::builtin().get(crate::TypeId::VOID),
            ValueLocation::Bytes(Vec::new()),
            known.clone(),
        );
        let mut bytes = |offset, length| object.span_bytes(offset, length, &mut nothing);
        assert_eq!(bytes(0, 2), Ok(vec![1, 2]));
        assert_eq!(bytes(1, 2), Err(Unavailable::OptimizedOut));
        assert!(bytes(4, 1).is_err() && bytes(u64::MAX, 1).is_err());
        let field = |offset, size| Value { bits: Some(BitField { offset, size }), ..object.clone() };
        assert_eq!(field(16, 4).bytes(&mut nothing), Ok(vec![3]), "of a byte that is half known");
        assert_eq!(field(16, 5).bytes(&mut nothing), Err(Unavailable::OptimizedOut));
        assert_eq!(known.missing((24, 8)), Some(&Unavailable::OptimizedOut));
        assert_eq!((known.missing((16, 8)), known.missing((24, 0))), (None, None));
    }
}
