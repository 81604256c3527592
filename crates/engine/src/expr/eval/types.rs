//! Types by name.

use outpost_symbols::{ArrayBound, Type, TypeTable};

use crate::expr::{ExprError, Scope, TypeName};

/// A built-in type; `void` for a name that is none.
pub(crate) fn builtin(name: &str) -> Type {
    let table = TypeTable::builtin();
    table.named(name).pop().unwrap_or_else(|| table.get(outpost_symbols::TypeId::VOID))
}

/// The type that a cast names: from the debug info, else a built-in one, with its pointers and bounds.
pub(crate) fn resolve(name: &TypeName, scope: &mut dyn Scope) -> Result<Type, ExprError> {
    let plain = name.name.module.is_none() && !name.name.text.contains("::");
    let found = scope.named_type(&name.name);
    let found = found.or_else(|| plain.then(|| TypeTable::builtin().named(&name.name.text).pop()).flatten());
    let mut found = found.ok_or_else(|| ExprError::UnknownType { name: name.to_string() })?;
    for _ in 0..name.pointers {
        found = pointer_to(&found);
    }
    if !name.bounds.is_empty() {
        let bounds: Vec<_> = name.bounds.iter().map(|&count| ArrayBound::Count(count)).collect();
        found = found.table().array_of(found.id(), &bounds);
    }
    for _ in 0..name.array_pointers {
        found = pointer_to(&found);
    }
    Ok(found)
}

/// A pointer to `target`, in its own table.
pub(in crate::expr) fn pointer_to(target: &Type) -> Type {
    target.table().pointer_to(target.id())
}
