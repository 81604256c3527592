//! Texts and characters of C++: literals, and comparisons of the strings of libraries, pointers and arrays by what they say.

use std::cmp::Ordering;

use outpost_symbols::{ArrayBound, TypeTable, Value, ViewKind};

use super::cpp::{operand, promoted};
use super::number::Number;
use super::types::builtin;
use super::unavailable;
use crate::expr::{CppBinary, ExprError, Letter, Scope, TextLiteral};

/// Longest text that is compared, in units of its encoding.
pub(super) const TEXT_LIMIT: usize = 4096;

/// A text of the debugger's as a literal.
pub(crate) fn text_value(text: &str) -> Value {
    text_literal(&TextLiteral { letter: Letter::Narrow, bytes: text.as_bytes().to_vec() })
}

/// A comparison of a library's string with another text, which its own operators define; `None` if it is none.
pub(super) fn strings(
    operator: CppBinary,
    left: &Value,
    right: &Value,
    scope: &mut dyn Scope,
) -> Result<Option<bool>, ExprError> {
    let is_string = |value: &Value| value.value_type().view_kind() == Some(ViewKind::Text);
    let holds: fn(Ordering) -> bool = match operator {
        CppBinary::Equal => Ordering::is_eq,
        CppBinary::NotEqual => Ordering::is_ne,
        CppBinary::Less => Ordering::is_lt,
        CppBinary::LessEqual => Ordering::is_le,
        CppBinary::Greater => Ordering::is_gt,
        CppBinary::GreaterEqual => Ordering::is_ge,
        _ => return Ok(None),
    };
    if !is_string(left) && !is_string(right) {
        return Ok(None);
    }
    let (left, right) = (text_of(left, scope)?, text_of(right, scope)?);
    let order = left.cmp(&right);
    match order.is_eq() && left.len() > TEXT_LIMIT {
        true => {
            Err(operand(operator.symbol(), "no more than 4096 characters of texts are compared, and those are equal"))
        }
        false => Ok(Some(holds(order))),
    }
}

/// The text that a value is, in UTF-8: a string of a library, what a pointer leads to, or what an array holds.
pub(super) fn text_of(value: &Value, scope: &mut dyn Scope) -> Result<Vec<u8>, ExprError> {
    if let Some(text) = value.text_bytes(TEXT_LIMIT, scope.memory()) {
        return text.map_err(|reason| unavailable("text", reason));
    }
    match promoted(value, scope)? {
        // `void *`, say: what is there is up to who compares it.
        Number::Pointer { at, .. } => scope.memory().read_cstring(at, TEXT_LIMIT).ok_or(ExprError::Memory { at }),
        _ => Err(operand("==", "text is compared with a string, a pointer to characters or an array of them")),
    }
}

pub(super) fn text_literal(text: &TextLiteral) -> Value {
    let letter = builtin(text.letter.type_name());
    let mut bytes = text.bytes.clone();
    if text.letter != Letter::Byte {
        bytes.extend(vec![0; usize::from(text.letter.size())]);
    }
    let count = ArrayBound::Count(bytes.len() as u64 / u64::from(text.letter.size()));
    let of = TypeTable::builtin().array_of(letter.id(), &[count]);
    Value::from_bytes(of, bytes)
}

pub(super) fn character_literal(of: &str, code: i64) -> Value {
    let of = builtin(of);
    let size = of.size().unwrap_or(4) as usize;
    Value::from_bytes(of, code.to_le_bytes().into_iter().take(size).collect())
}
