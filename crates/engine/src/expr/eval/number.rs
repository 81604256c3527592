//! Arithmetic of C: promotions, conversions, wrapping at the width of the type.

use outpost_base::Va;
use outpost_symbols::{Scalar, Type, Value};

use super::types::{builtin, pointer_to};
use crate::expr::{CppBinary, ExprError};

/// An operand after promotion.
#[derive(Debug, Clone)]
pub(in crate::expr) enum Number {
    /// An integer of 4, 8 or 16 bytes.
    Integer { value: i128, size: u8, signed: bool },
    /// A floating-point number.
    Float { value: f64, size: u8 },
    /// An address of something of a type.
    Pointer { at: Va, to: Type },
}

use Number::{Float, Integer, Pointer};

impl Number {
    /// From a scalar of a type of `size` bytes, promoted ([conv.prom]).
    pub(in crate::expr) fn promote(scalar: Scalar, size: u64) -> Number {
        let size = size.min(16) as u8;
        match scalar {
            Scalar::Float(value) | Scalar::Complex(value, _) => Float { value, size: size.max(4) },
            other if size < 4 => Integer { value: other.as_i128(), size: 4, signed: true },
            Scalar::Signed(value) => Integer { value, size, signed: true },
            Scalar::Unsigned(value) | Scalar::Bool(value) => Integer { value: value as i128, size, signed: false },
            other => Integer {
                value: other.as_i128(),
                size,
                signed: matches!(other, Scalar::Character { signed: true, .. }),
            },
        }
    }

    /// As a value of its type.
    pub(in crate::expr) fn into_value(self) -> Value {
        match self {
            Integer { value, size, signed } => {
                let bytes = value.to_le_bytes().get(..usize::from(size)).unwrap_or_default().to_vec();
                Value::from_bytes(integer_type(size, signed), bytes)
            }
            Float { value, size: 4 } => Value::from_bytes(builtin("float"), (value as f32).to_le_bytes().to_vec()),
            Float { value, size: 8 } => Value::from_bytes(builtin("double"), value.to_le_bytes().to_vec()),
            Float { value, .. } => {
                let of = builtin("long double");
                let bytes = Scalar::Float(value).encode(&of, 16).unwrap_or_default();
                Value::from_bytes(of, bytes)
            }
            Pointer { at, to } => Value::from_bytes(pointer_to(&to), at.0.to_le_bytes().to_vec()),
        }
    }

    pub(in crate::expr) fn is_true(&self) -> bool {
        match self {
            Integer { value, .. } => *value != 0,
            Float { value, .. } => *value != 0.0,
            Pointer { at, .. } => at.0 != 0,
        }
    }

    fn as_f64(&self) -> f64 {
        match self {
            Integer { value, signed: false, size: 16 } => *value as u128 as f64,
            Integer { value, .. } => *value as f64,
            Float { value, .. } => *value,
            Pointer { at, .. } => at.0 as f64,
        }
    }
}

/// The type of integers of a size, as arithmetic gives them.
pub(in crate::expr) fn integer_type(size: u8, signed: bool) -> Type {
    builtin(match (size, signed) {
        (..=4, true) => "int",
        (..=4, false) => "unsigned int",
        (5..=8, true) => "long",
        (5..=8, false) => "unsigned long",
        (_, true) => "__int128",
        (_, false) => "unsigned __int128",
    })
}

/// Cuts `value` to `size` bytes and extends it again.
pub(in crate::expr) fn wrap(value: i128, size: u8, signed: bool) -> i128 {
    let unused = 128 - 8 * u32::from(size.clamp(1, 16));
    match signed {
        true => (value << unused) >> unused,
        false => (((value as u128) << unused) >> unused) as i128,
    }
}

/// A binary operator on two numbers; the logical ones are not for here, they decide what is evaluated.
pub(in crate::expr) fn apply(operator: CppBinary, left: Number, right: Number) -> Result<Number, ExprError> {
    match (left, right) {
        (Pointer { at, to }, Pointer { at: other, to: other_to }) => match operator {
            CppBinary::Subtract => {
                let size = to.size().filter(|size| *size > 0 && other_to.size() == Some(*size)).unwrap_or(1) as i128;
                let distance = i128::from((at - other) as i64) / size;
                Ok(Integer { value: distance, size: 8, signed: true })
            }
            _ => compare(operator, i128::from(at.0), i128::from(other.0)),
        },
        (Pointer { at, to }, Integer { value, .. }) => match operator {
            CppBinary::Add => Ok(moved(at, to, value)),
            CppBinary::Subtract => Ok(moved(at, to, value.wrapping_neg())),
            // Masks and differences of addresses are what debugging is about, though C++ forbids them.
            CppBinary::And | CppBinary::Or | CppBinary::Xor | CppBinary::Remainder | CppBinary::ShiftRight => {
                integers(operator, (i128::from(at.0), 8, false), (value, 8, false))
            }
            _ => compare(operator, i128::from(at.0), i128::from(value as u64)),
        },
        (Integer { value, .. }, Pointer { at, to }) => match operator {
            CppBinary::Add => Ok(moved(at, to, value)),
            _ => compare(operator, i128::from(value as u64), i128::from(at.0)),
        },
        (Integer { value, size, signed }, Integer { value: other, size: other_size, signed: other_signed }) => {
            integers(operator, (value, size, signed), (other, other_size, other_signed))
        }
        (left, right) => floats(operator, &left, &right),
    }
}

fn integers(
    operator: CppBinary,
    (left, left_size, left_signed): (i128, u8, bool),
    (right, right_size, right_signed): (i128, u8, bool),
) -> Result<Number, ExprError> {
    if let CppBinary::ShiftLeft | CppBinary::ShiftRight = operator {
        // The right side's type plays no part ([expr.shift]).
        let bits = u32::from(left_size) * 8;
        let count = u32::try_from(right).unwrap_or(u32::MAX);
        let value = match operator {
            CppBinary::ShiftLeft => left.checked_shl(count).filter(|_| count < bits).unwrap_or(0),
            _ if left_signed || left_size < 16 => left >> count.min(127),
            _ => ((left as u128).checked_shr(count).unwrap_or(0)) as i128,
        };
        return Ok(Integer { value: wrap(value, left_size, left_signed), size: left_size, signed: left_signed });
    }
    // The usual arithmetic conversions ([expr.arith.conv]): the wider type; of equal width the unsigned one.
    let size = left_size.max(right_size);
    let signed = match left_size.cmp(&right_size) {
        std::cmp::Ordering::Less => right_signed,
        std::cmp::Ordering::Greater => left_signed,
        std::cmp::Ordering::Equal => left_signed && right_signed,
    };
    let (left, right) = (wrap(left, size, signed), wrap(right, size, signed));
    let zero = || ExprError::Operand { operation: operator.symbol().to_owned(), reason: "division by zero".into() };
    let unsigned_wide = !signed && size == 16;
    let value = match operator {
        CppBinary::Add => left.wrapping_add(right),
        CppBinary::Subtract => left.wrapping_sub(right),
        CppBinary::Multiply => left.wrapping_mul(right),
        CppBinary::Divide | CppBinary::Remainder if right == 0 => return Err(zero()),
        CppBinary::Divide if unsigned_wide => (left as u128 / right as u128) as i128,
        CppBinary::Divide => left.wrapping_div(right),
        CppBinary::Remainder if unsigned_wide => (left as u128 % right as u128) as i128,
        CppBinary::Remainder => left.wrapping_rem(right),
        CppBinary::And => left & right,
        CppBinary::Or => left | right,
        CppBinary::Xor => left ^ right,
        _ if unsigned_wide => return compare(operator, left as u128, right as u128),
        _ => return compare(operator, left, right),
    };
    Ok(Integer { value: wrap(value, size, signed), size, signed })
}

fn floats(operator: CppBinary, left: &Number, right: &Number) -> Result<Number, ExprError> {
    let size_of = |number: &Number| if let Float { size, .. } = number { *size } else { 4 };
    let size = size_of(left).max(size_of(right));
    let (left, right) = (left.as_f64(), right.as_f64());
    let value = match operator {
        CppBinary::Add => left + right,
        CppBinary::Subtract => left - right,
        CppBinary::Multiply => left * right,
        CppBinary::Divide => left / right,
        _ => return compare(operator, left, right),
    };
    Ok(Float { value, size })
}

fn moved(at: Va, to: Type, count: i128) -> Number {
    let size = to.size().unwrap_or(1) as i64;
    Pointer { at: at.wrapping_offset((count as i64).wrapping_mul(size)), to }
}

fn compare<T: PartialOrd>(operator: CppBinary, left: T, right: T) -> Result<Number, ExprError> {
    let holds = match operator {
        CppBinary::Equal => left == right,
        CppBinary::NotEqual => left != right,
        CppBinary::Less => left < right,
        CppBinary::Greater => left > right,
        CppBinary::LessEqual => left <= right,
        CppBinary::GreaterEqual => left >= right,
        _ => {
            let reason = "not possible for these types".into();
            return Err(ExprError::Operand { operation: operator.symbol().to_owned(), reason });
        }
    };
    Ok(Integer { value: i128::from(holds), size: 1, signed: false })
}
