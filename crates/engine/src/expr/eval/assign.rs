//! Changes of variables: `=`, `+=` and their kind, `++` and `--`.

use outpost_symbols::{Scalar, Store, Unavailable, Value, View, ViewLimits};

use super::cpp::{evaluate, promoted};
use super::number::{Number, apply};
use super::unavailable;
use crate::expr::{Cpp, CppBinary, ExprError, Scope};

/// Objects in objects that are looked through for what they wrap.
const WRAPPERS: usize = 4;

pub(super) fn assign(
    operator: Option<CppBinary>,
    left: &Cpp,
    right: &Cpp,
    scope: &mut dyn Scope,
) -> Result<Value, ExprError> {
    if let Cpp::Register(name) = left {
        return Err(ExprError::Assign { reason: format!("registers are changed by 'r {name} = value'") });
    }
    let target = evaluate(left, scope)?;
    let source = evaluate(right, scope)?;
    assign_value(operator, &target, &source, scope)
}

/// Gives a variable the value of another, or what an operator makes of both. What is wrapped in an object (an optional, a
/// variant, an atomic) takes what is no object itself.
pub(crate) fn assign_value(
    operator: Option<CppBinary>,
    target: &Value,
    source: &Value,
    scope: &mut dyn Scope,
) -> Result<Value, ExprError> {
    let mut target = target.clone();
    for _ in 0..WRAPPERS {
        if !target.value_type().is_aggregate() || source.value_type().is_aggregate() {
            break;
        }
        let mut seen = None;
        scope.in_batches(&mut |memory| {
            seen = target.view(&ViewLimits { count: 0, text: 0, ..ViewLimits::default() }, memory)
        });
        target = match seen {
            Some(Ok(View::Wrapped(inner))) => inner,
            Some(Ok(View::Empty(state))) => {
                let reason = format!("the left side is {state}, and its own code alone can put something into it");
                return Err(ExprError::Assign { reason });
            }
            _ => break,
        };
    }
    let target = &target;
    if target.value_type().is_aggregate() {
        let bytes = source.bytes(scope.memory()).map_err(|reason| unavailable("=", reason))?;
        let (Some(at), Some(size)) = (target.address(), target.value_type().size()) else {
            return Err(ExprError::Assign { reason: "the left side is not in memory".into() });
        };
        if operator.is_some() || bytes.len() as u64 != size {
            return Err(ExprError::Assign { reason: "the sides differ in type".into() });
        }
        scope.write(&[Store::Memory { at, bytes }])?;
        return Ok(target.clone());
    }
    let right = promoted(source, scope)?;
    let result = match operator {
        Some(operator) => apply(operator, promoted(target, scope)?, right)?,
        None => right,
    };
    store(target, &result, scope)
}

/// `++` and `--`: changes the value and gives it as it is then.
pub(crate) fn stepped(target: &Value, step: i8, scope: &mut dyn Scope) -> Result<Value, ExprError> {
    let one = Number::Integer { value: i128::from(step), size: 4, signed: true };
    let result = apply(CppBinary::Add, promoted(target, scope)?, one)?;
    store(target, &result, scope)
}

fn store(target: &Value, to: &Number, scope: &mut dyn Scope) -> Result<Value, ExprError> {
    let scalar = match to {
        Number::Integer { value, signed: true, .. } => Scalar::Signed(*value),
        Number::Integer { value, .. } => Scalar::Unsigned(*value as u128),
        Number::Float { value, .. } => Scalar::Float(*value),
        Number::Pointer { at, .. } => Scalar::Pointer(*at),
    };
    let stores = target.stores(scalar, scope.memory()).map_err(|reason| match reason {
        Unavailable::WrongType => ExprError::Assign { reason: "the left side is no variable".into() },
        reason => ExprError::Assign { reason: reason.to_string() },
    })?;
    scope.write(&stores)?;
    // A value in registers was gathered before the write; its new bytes are known from what was stored.
    if target.address().is_some() {
        return Ok(target.clone());
    }
    let size = target.value_type().size().unwrap_or(8) as usize;
    let bytes = scalar.encode(target.value_type(), size).unwrap_or_default();
    Ok(Value::from_bytes(target.value_type().clone(), bytes))
}

/// The value as it is now, whatever becomes of its place.
pub(crate) fn snapshot(value: &Value, scope: &mut dyn Scope) -> Result<Value, ExprError> {
    let mut bytes = value.bytes(scope.memory()).map_err(|reason| unavailable("value", reason))?;
    // Of a bit field these are as many as it needs, and not those of its type.
    if value.bit_field().is_some()
        && let Some(size) = value.value_type().size()
    {
        let scalar = value.scalar(scope.memory()).map_err(|reason| unavailable("value", reason))?;
        bytes = scalar.encode(value.value_type(), size as usize).unwrap_or(bytes);
    }
    Ok(Value::from_bytes(value.value_type().clone(), bytes))
}
