//! Where a value is: what a caller needs to write it, and why it cannot be had.

use outpost_base::Va;

/// Where the bytes of a variable are.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ValueLocation {
    /// In memory from here on.
    Address(Va),
    /// In a register of the frame, least significant byte first.
    Register {
        /// Its DWARF number.
        dwarf: u16,
        /// Lowest bit of the value in it; 0 unless it is a part of something that was split.
        bit: u64,
    },
    /// Nowhere, but its value is known.
    Bytes(Vec<u8>),
    /// In several places, lowest bits first.
    Pieces(Vec<Piece>),
    /// Nowhere: a pointer that was optimised away while what it points to can still be told.
    ImplicitPointer {
        /// Where the object pointed to is.
        target: Box<ValueLocation>,
        /// Bytes into that object.
        offset: i64,
    },
    /// Not to be had.
    OptimizedOut {
        /// Why.
        reason: Unavailable,
    },
}

/// One of the places of a value that was split (DWARF 5, 2.6.1.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// How many bits of the value.
    pub bits: u64,
    /// Where they are; never pieces again.
    pub location: ValueLocation,
}

impl ValueLocation {
    /// The address, for what is in memory as a whole.
    pub fn address(&self) -> Option<Va> {
        match self {
            ValueLocation::Address(at) => Some(*at),
            _ => None,
        }
    }

    /// The location of what begins `bytes` further into the value; `None` where there is no such place to name.
    pub(crate) fn advanced(&self, bytes: u64) -> Option<ValueLocation> {
        match self {
            ValueLocation::Address(at) => Some(ValueLocation::Address(*at + bytes)),
            ValueLocation::Register { dwarf, bit } => {
                Some(ValueLocation::Register { dwarf: *dwarf, bit: bit.checked_add(bytes.checked_mul(8)?)? })
            }
            ValueLocation::Bytes(value) => {
                Some(ValueLocation::Bytes(value.get(usize::try_from(bytes).ok()?..)?.to_vec()))
            }
            ValueLocation::Pieces(pieces) => {
                let mut skip = bytes.checked_mul(8)?;
                let mut rest = pieces.as_slice();
                let first = loop {
                    let (first, others) = rest.split_first()?;
                    rest = others;
                    match skip.checked_sub(first.bits) {
                        Some(left) => skip = left,
                        None => break first,
                    }
                };
                let location = match skip {
                    0 => first.location.clone(),
                    _ if skip % 8 == 0 => first.location.advanced(skip / 8)?,
                    _ => return None,
                };
                let first = Piece { bits: first.bits - skip, location };
                Some(ValueLocation::Pieces(std::iter::once(first).chain(rest.iter().cloned()).collect()))
            }
            ValueLocation::ImplicitPointer { .. } | ValueLocation::OptimizedOut { .. } => {
                (bytes == 0).then(|| self.clone())
            }
        }
    }
}

/// Why a value cannot be had. A result like any other: optimised programs are full of it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The compiler kept no location for it.
    #[error("optimized out")]
    OptimizedOut,
    /// It has locations, but none at this program counter.
    #[error("optimized out at this address")]
    NotHere,
    /// The frame does not know the register.
    #[error("register {dwarf} of this frame is unknown")]
    Register {
        /// DWARF number.
        dwarf: u16,
    },
    /// The frame's CFA is not known.
    #[error("frame address unknown")]
    Cfa,
    /// Memory was not readable.
    #[error("memory at {at} is not readable")]
    Memory {
        /// First address that was wanted.
        at: Va,
    },
    /// It was a parameter's value at the call, and the caller does not tell it.
    #[error("value at entry unknown: {why}")]
    EntryValue {
        /// What was missing.
        why: &'static str,
    },
    /// The thread's copy of the variable could not be found.
    #[error("thread-local address unknown")]
    ThreadLocal,
    /// The type has no values, or its size is unknown.
    #[error("its type has no size")]
    NoSize,
    /// It is larger than what is read at once.
    #[error("{size} bytes are too many to read at once")]
    TooLarge {
        /// Its size.
        size: u64,
    },
    /// The operation does not apply to values of the type.
    #[error("not possible for its type")]
    WrongType,
    /// An expression does what this crate does not support, or computes longer than it may.
    #[error("unsupported location: {what}")]
    Unsupported {
        /// The operation.
        what: String,
    },
    /// What is there is no object of its type: it was not made yet, is gone already, or was never one.
    #[error("not a valid object: {problem}")]
    Nonsense {
        /// What gives it away.
        problem: String,
    },
    /// The debug info contradicts itself.
    #[error("damaged debug info: {problem}")]
    Damaged {
        /// What is wrong.
        problem: String,
    },
}

impl Unavailable {
    /// Whether it is the compiler's doing, as opposed to missing memory, registers or damage.
    pub fn is_optimized_out(&self) -> bool {
        matches!(self, Unavailable::OptimizedOut | Unavailable::NotHere | Unavailable::EntryValue { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advancing_into_pieces_keeps_the_rest() {
        let register = |dwarf, bit| ValueLocation::Register { dwarf, bit };
        let split = ValueLocation::Pieces(vec![
            Piece { bits: 64, location: register(0, 0) },
            Piece { bits: 64, location: register(1, 0) },
        ]);
        assert_eq!(
            split.advanced(12),
            Some(ValueLocation::Pieces(vec![Piece { bits: 32, location: register(1, 32) }]))
        );
        assert_eq!(split.advanced(0), Some(split.clone()));
        assert_eq!(split.advanced(16), None);
    }
}
