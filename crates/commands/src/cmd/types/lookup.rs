//! What a name means: a variable, a type, the symbol at an address.

use outpost_base::Va;
use outpost_engine::SymbolAt;
use outpost_engine::expr::{Lookup, Name};
use outpost_engine::values::{Type, TypeKind, Value};

use crate::language::Arguments;
use crate::text::values;
use crate::{CommandError, Debugger};

pub(super) fn strip_keyword(name: &str) -> &str {
    ["struct ", "class ", "union ", "enum "]
        .iter()
        .find_map(|keyword| name.strip_prefix(keyword))
        .unwrap_or(name)
        .trim()
}

pub(super) fn split_module(name: &str) -> Name {
    match name.split_once('!') {
        Some((module, text)) => Name { module: Some(module.to_owned()), text: text.to_owned(), local: false },
        None => Name::plain(name),
    }
}

pub(super) fn evaluate(text: &str, debugger: &mut Debugger) -> Result<Value, CommandError> {
    let mut arguments = Arguments::new("dt", super::ENTRIES[0].syntax, None, text);
    arguments.value(debugger)
}

/// A variable of that name with the heading that says where it is.
pub(super) fn variable(name: &Name, debugger: &mut Debugger) -> Result<Option<(String, Value)>, CommandError> {
    let local = debugger.engine.lookup(name, Lookup::Local)?;
    let kind = if local.is_some() { "Local var" } else { "Global var" };
    let found = match local {
        Some(value) => Some(value),
        None => debugger.engine.lookup(name, Lookup::Everywhere)?,
    };
    let Some(value) = found else { return Ok(None) };
    // A function of the name is not what is asked for where there is a type, too.
    if matches!(value.value_type().resolved().kind(), TypeKind::Function { .. }) && named_type(name, debugger).is_ok() {
        return Ok(None);
    }
    // Nor is a variable of some library, where the program has a type of the name.
    if kind == "Global var" && name.module.is_none() && is_elsewhere(&value, name, debugger) {
        return Ok(None);
    }
    let place = value.address().map_or_else(|| "in a register".to_owned(), |at| format!("@ 0x{at}"));
    Ok(Some((format!("{kind} {place} Type {}\n", value.value_type()), value)))
}

/// Whether a variable lies in another module than a type of its name, which is in the main one or the current one.
fn is_elsewhere(value: &Value, name: &Name, debugger: &mut Debugger) -> bool {
    let Some(owner) = value.address().and_then(|at| debugger.engine.module_at(at)) else { return false };
    let pc = debugger.engine.register("$ip").map(|value| Va(value.as_u64()));
    let current = pc.ok().and_then(|pc| debugger.engine.module_at(pc));
    let process = debugger.engine.current_process().ok();
    let modules = process.and_then(|process| debugger.engine.modules(process).ok()).unwrap_or_default();
    let main = modules.into_iter().find(|module| module.is_main);
    let near: Vec<String> = current.into_iter().chain(main).map(|module| module.name).collect();
    !near.contains(&owner.name)
        && near.into_iter().any(|module| {
            let qualified = Name { module: Some(module), ..name.clone() };
            named_type(&qualified, debugger).is_ok()
        })
}

pub(super) fn named_type(name: &Name, debugger: &mut Debugger) -> Result<Type, CommandError> {
    let unknown = || CommandError::Expr(outpost_engine::expr::ExprError::UnknownType { name: name.to_string() });
    match debugger.engine.find_types(&name.to_string()) {
        Ok(found) => found.into_iter().next().ok_or_else(unknown),
        Err(outpost_engine::EngineError::NoSymbol { .. }) => {
            let builtin = outpost_engine::values::TypeTable::builtin().named(&name.text).pop();
            builtin.filter(|_| name.module.is_none()).ok_or_else(unknown)
        }
        Err(error) => Err(error.into()),
    }
}

/// What a pointer to a structure points to; other values themselves.
pub(super) fn pointee(value: Value, debugger: &mut Debugger) -> Value {
    let points_to_record =
        value.value_type().target().is_some_and(|target| matches!(target.resolved().kind(), TypeKind::Record(_)));
    if !points_to_record {
        return value;
    }
    let mut memory = values::ValueMemory(debugger.engine.memory().ok());
    value.deref(&mut memory).unwrap_or(value)
}

/// The variable whose symbol covers an address, and its name.
pub(super) fn symbol_of(at: Va, debugger: &mut Debugger) -> Option<(SymbolAt, Name)> {
    let symbol = debugger.engine.symbol_at(at)?;
    let inside = symbol.displacement == 0 || symbol.displacement < symbol.size;
    let name = Name { module: Some(symbol.module.clone()), text: symbol.name.clone(), local: false };
    (inside && !symbol.name.is_empty()).then_some((symbol, name))
}
