//! The macros of C++ expressions: facts about types and their members.

use outpost_base::Va;
use outpost_symbols::{Field, Type, TypeKind, Value};

use super::cpp::{as_u64, dereference, evaluate as value_of, operand, size, truth};
use super::number::Number;
use super::{number_value, resolve};
use crate::expr::{Cpp, ExprError, FieldFact, Scope};

pub(super) fn evaluate(expr: &Cpp, scope: &mut dyn Scope) -> Result<Value, ExprError> {
    match expr {
        Cpp::Field(fact, of, member) => {
            let of = resolve(of, scope)?;
            let field = field_of(&of, member)?;
            match fact {
                FieldFact::Offset => Ok(number_value(field.offset)),
                FieldFact::Size => size(&field.field_type, || member.clone()),
                FieldFact::End => Ok(number_value(end_of(&field)?)),
            }
        }
        Cpp::ContainingRecord(address, of, member) => {
            let at = value_of(address, scope).and_then(|address| as_u64(&address, scope))?;
            let to = resolve(of, scope)?;
            let offset = field_of(&to, member)?.offset;
            Ok(Number::Pointer { at: Va(at.wrapping_sub(offset)), to }.into_value())
        }
        Cpp::ContainsField { of, size, member } => {
            let pointer = value_of(of, scope)?;
            let object = dereference(&pointer, scope)?;
            let end = end_of(&field_of(object.value_type(), member)?)?;
            let size = value_of(size, scope).and_then(|size| as_u64(&size, scope))?;
            Ok(truth(end <= size))
        }
        Cpp::NumberOf(array) => {
            let array = value_of(array, scope)?;
            let of = array.value_type();
            let is_array = matches!(of.resolved().kind(), TypeKind::Array { .. });
            match of.element().filter(|_| is_array) {
                Some((_, Some(count))) => Ok(number_value(count)),
                _ => Err(operand("#RTL_NUMBER_OF", "the operand is no array whose length its type says")),
            }
        }
        other => value_of(other, scope),
    }
}

/// A member, `path` through members; its offset is from the start of `of`.
fn field_of(of: &Type, path: &str) -> Result<Field, ExprError> {
    let mut found: Option<Field> = None;
    for member in path.split('.') {
        let inside = found.as_ref().map_or_else(|| of.clone(), |field| field.field_type.clone());
        let field = inside.field(member);
        let missing = || ExprError::NoMember { member: member.to_owned(), of: inside.to_string() };
        let mut field = field.ok_or_else(missing)?;
        field.offset = field.offset.wrapping_add(found.map_or(0, |outer| outer.offset));
        found = Some(field);
    }
    found.ok_or_else(|| operand("#", "the member is missing"))
}

fn end_of(field: &Field) -> Result<u64, ExprError> {
    let len = field.field_type.size();
    let unknown = || ExprError::Value { name: field.name.clone(), reason: outpost_symbols::Unavailable::NoSize };
    len.map(|len| field.offset.wrapping_add(len)).ok_or_else(unknown)
}
