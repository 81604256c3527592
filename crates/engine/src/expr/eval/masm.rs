//! MASM: unsigned numbers of 64 bits, no side effects.

use std::cmp::Ordering;

use outpost_base::Va;

use super::cpp;
use crate::expr::{ExprError, Lookup, Masm, MasmArgument, MasmBinary, MasmFunction, MasmUnary, Name, Scope};
use outpost_symbols::Wildcard;

/// Longest range that `$vvalid` looks at, in pages.
const VALID_PAGES: u64 = 1 << 20;

pub(super) fn evaluate(expr: &Masm, scope: &mut dyn Scope) -> Result<u64, ExprError> {
    match expr {
        Masm::Number(number) => Ok(*number),
        Masm::Name(name) => self::name(name, scope),
        Masm::Register(name) => register(name, scope),
        Masm::Here => register("$ip", scope),
        Masm::SourceLine(line) => {
            let found = scope.line_addresses(line)?;
            found.first().map(|at| at.0).ok_or_else(|| ExprError::NoCode { line: line.to_string() })
        }
        Masm::Unary(operator, operand) => unary(*operator, evaluate(operand, scope)?, scope),
        Masm::Binary(operator, left, right) => {
            let (left, right) = (evaluate(left, scope)?, evaluate(right, scope)?);
            binary(*operator, left, right)
        }
        Masm::Call(function, arguments) => call(*function, arguments, scope),
        Masm::Cpp(inner) => {
            let value = cpp::evaluate(inner, scope)?;
            cpp::as_u64(&value, scope)
        }
    }
}

/// A local's address, else that of a symbol or module, else a register's value.
fn name(name: &Name, scope: &mut dyn Scope) -> Result<u64, ExprError> {
    if name.module.is_none()
        && let Some(local) = scope.variable(name, Lookup::Local)?
    {
        return local.address().map(|at| at.0).ok_or_else(|| ExprError::Unsupported {
            what: name.to_string(),
            reason: "it is not in memory; @@c++(name) gives its value",
        });
    }
    let found = if name.local { Vec::new() } else { scope.addresses(name)? };
    match found[..] {
        [at] => return Ok(at.0),
        [] => {}
        [..] => return Err(ExprError::Ambiguous { name: name.to_string(), count: found.len() }),
    }
    let id = scope.arch().register_by_name(&name.text).filter(|_| name.module.is_none() && !name.local);
    match id {
        Some(id) => {
            let value = scope.register(id).ok_or_else(|| ExprError::Register { name: name.to_string() })?;
            Ok(value.as_u64())
        }
        None => Err(ExprError::Unresolved { name: name.to_string() }),
    }
}

/// A register or pseudo-register.
fn register(name: &str, scope: &mut dyn Scope) -> Result<u64, ExprError> {
    let value = cpp::register(name, scope)?;
    cpp::as_u64(&value, scope)
}

fn unary(operator: MasmUnary, value: u64, scope: &mut dyn Scope) -> Result<u64, ExprError> {
    Ok(match operator {
        MasmUnary::Negate => value.wrapping_neg(),
        MasmUnary::Not => u64::from(value == 0),
        MasmUnary::High => (value >> 16) & 0xffff,
        MasmUnary::Low => value & 0xffff,
        MasmUnary::Read(size) => {
            let at = Va(value);
            scope.memory().read_uint(at, usize::from(size)).ok_or(ExprError::Memory { at })?
        }
    })
}

fn binary(operator: MasmBinary, left: u64, right: u64) -> Result<u64, ExprError> {
    let shift = u32::try_from(right).unwrap_or(u32::MAX);
    let division =
        |symbol: &str| ExprError::Operand { operation: symbol.to_owned(), reason: "division by zero".into() };
    Ok(match operator {
        MasmBinary::Multiply => left.wrapping_mul(right),
        MasmBinary::Divide => left.checked_div(right).ok_or_else(|| division("/"))?,
        MasmBinary::Modulo => left.checked_rem(right).ok_or_else(|| division("mod"))?,
        MasmBinary::Add => left.wrapping_add(right),
        MasmBinary::Subtract => left.wrapping_sub(right),
        MasmBinary::ShiftLeft => left.checked_shl(shift).unwrap_or(0),
        MasmBinary::ShiftRight => left.checked_shr(shift).unwrap_or(0),
        MasmBinary::ShiftRightSigned => ((left as i64) >> right.min(63)) as u64,
        MasmBinary::Equal => u64::from(left == right),
        MasmBinary::NotEqual => u64::from(left != right),
        MasmBinary::Less => u64::from(left < right),
        MasmBinary::Greater => u64::from(left > right),
        MasmBinary::LessEqual => u64::from(left <= right),
        MasmBinary::GreaterEqual => u64::from(left >= right),
        MasmBinary::And => left & right,
        MasmBinary::Xor => left ^ right,
        MasmBinary::Or => left | right,
    })
}

fn call(function: MasmFunction, arguments: &[MasmArgument], scope: &mut dyn Scope) -> Result<u64, ExprError> {
    let ordering = |order: Ordering| order as i64 as u64;
    match (function, arguments) {
        (MasmFunction::Compare, [MasmArgument::Text(left), MasmArgument::Text(right)]) => Ok(ordering(left.cmp(right))),
        (MasmFunction::CompareNoCase, [MasmArgument::Text(left), MasmArgument::Text(right)]) => {
            Ok(ordering(left.to_lowercase().cmp(&right.to_lowercase())))
        }
        (MasmFunction::Pattern, [MasmArgument::Text(text), MasmArgument::Text(pattern)]) => {
            Ok(u64::from(Wildcard::new(pattern).matches(text)))
        }
        (MasmFunction::ImageEntry, [MasmArgument::Value(base)]) => {
            let base = Va(evaluate(base, scope)?);
            scope.entry_point(base).map(|at| at.0).ok_or(ExprError::Memory { at: base })
        }
        (MasmFunction::Valid, [MasmArgument::Value(at), MasmArgument::Value(len)]) => {
            let (at, len) = (Va(evaluate(at, scope)?), evaluate(len, scope)?);
            Ok(u64::from(readable(at, len, scope)))
        }
        _ => Err(ExprError::Missing { text: String::new() }),
    }
}

/// Whether every page of the range can be read.
fn readable(at: Va, len: u64, scope: &mut dyn Scope) -> bool {
    let Some(last) = len.checked_sub(1).and_then(|more| at.checked_add(more)) else { return len == 0 };
    let pages = (last.0 >> 12) - (at.0 >> 12) + 1;
    pages <= VALID_PAGES
        && (0..pages).all(|page| {
            let here = if page == 0 { at } else { at.align_down(4096) + page * 4096 };
            scope.memory().read_exact(here.min(last), &mut [0]).is_some()
        })
        && scope.memory().read_exact(last, &mut [0]).is_some()
}
