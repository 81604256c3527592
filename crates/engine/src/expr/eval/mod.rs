//! From trees to values.

mod assign;
mod cpp;
mod macros;
mod masm;
mod number;
mod texts;
mod types;

use outpost_base::Va;
use outpost_symbols::{TypeTable, Unavailable, Value};

pub(crate) use assign::{assign_value, snapshot, stepped};
pub(crate) use cpp::{arithmetic, cast, element_of, member_of, truth, unary};
pub(super) use number::integer_type;
pub(crate) use texts::text_value;
pub(super) use types::pointer_to;
pub(crate) use types::{builtin, resolve};

use super::{Expr, ExprError, Masm, Scope};

/// What an expression gave.
#[derive(Debug, Clone)]
pub enum Evaluated {
    /// MASM's number.
    Number(u64),
    /// C++'s value.
    Value(Value),
}

/// Evaluates.
///
/// # Errors
/// The first thing that has no value.
pub fn evaluate(expr: &Expr, scope: &mut dyn Scope) -> Result<Evaluated, ExprError> {
    match expr {
        Expr::Masm(masm) => masm::evaluate(masm, scope).map(Evaluated::Number),
        Expr::Cpp(cpp) => cpp::evaluate(cpp, scope).map(Evaluated::Value),
    }
}

/// Evaluates to a number of 64 bits. A C++ value that is no number stands for its address.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_number(expr: &Expr, scope: &mut dyn Scope) -> Result<u64, ExprError> {
    match expr {
        Expr::Masm(masm) => masm::evaluate(masm, scope),
        Expr::Cpp(cpp) => cpp::evaluate(cpp, scope).and_then(|value| cpp::as_u64(&value, scope)),
    }
}

/// Evaluates to a typed value; MASM's numbers are of type `unsigned long`.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_value(expr: &Expr, scope: &mut dyn Scope) -> Result<Value, ExprError> {
    match evaluate(expr, scope)? {
        Evaluated::Number(number) => Ok(number_value(number)),
        Evaluated::Value(value) => Ok(value),
    }
}

/// Evaluates to addresses: all places of a symbol or source line that stands alone, else the one value.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_addresses(expr: &Expr, scope: &mut dyn Scope) -> Result<Vec<Va>, ExprError> {
    match expr {
        Expr::Masm(Masm::Name(name)) => {
            let found = scope.addresses(name)?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Expr::Masm(Masm::SourceLine(line)) => return scope.line_addresses(line),
        _ => {}
    }
    evaluate_number(expr, scope).map(|at| vec![Va(at)])
}

/// A number of 64 bits as a typed value.
pub fn number_value(number: u64) -> Value {
    Value::from_bytes(builtin("unsigned long"), number.to_le_bytes().to_vec())
}

/// A value that is not to be had, as an error about `name`.
fn unavailable(name: &str, reason: Unavailable) -> ExprError {
    match reason {
        Unavailable::Memory { at } => ExprError::Memory { at },
        reason => ExprError::Value { name: name.to_owned(), reason },
    }
}

/// A value of no type, which only has an address: what a symbol without debug info is.
pub fn untyped(at: Va) -> Value {
    Value::in_memory(TypeTable::builtin().get(outpost_symbols::TypeId::VOID), at)
}
