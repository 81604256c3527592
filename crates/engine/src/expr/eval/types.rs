//! Types by name.

use outpost_symbols::{ArrayBound, Type, TypeId, TypeTable};

use crate::expr::{ExprError, Parameters, Scope, TypeName};

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
    if let Some(parameters) = &name.function {
        found = function_type(&found, parameters, scope)?;
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

/// The type of functions that return `returns`, in a table that has all its parts.
fn function_type(returns: &Type, parameters: &Parameters, scope: &mut dyn Scope) -> Result<Type, ExprError> {
    let types: Vec<Type> = parameters.types.iter().map(|name| resolve(name, scope)).collect::<Result<_, _>>()?;
    let found = std::iter::once(returns).chain(&types).find_map(|of| {
        let table = of.table();
        let ids: Option<Vec<TypeId>> = types.iter().map(|of| table.adopted(of)).collect();
        Some(table.function(table.adopted(returns)?, &ids?, parameters.variadic))
    });
    found.ok_or_else(|| ExprError::Operand {
        operation: "cast".to_owned(),
        reason: "no module has all types of the function".to_owned(),
    })
}

/// A pointer to `target`, in its own table.
pub(in crate::expr) fn pointer_to(target: &Type) -> Type {
    target.table().pointer_to(target.id())
}
