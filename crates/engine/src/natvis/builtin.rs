//! What built-in views say that takes more than a value's own bytes: names of functions, and what is in other modules.
//!
//! Sources: `system_error`, `coroutine` of GCC 12; `__coroutine/coroutine_handle.h`, `__system_error/error_code.h` of LLVM
//! 14; "C++ coroutines" of LLVM's documentation and `coroutines.cc` of GCC for what a frame begins with.

use outpost_base::{MemoryReader, Va};
use outpost_symbols::Value;

use crate::Engine;
use crate::events::syscall_error_name;

/// Bytes of a function that gives a category: `endbr64`, `lea rax,[rip+offset]`, `ret`.
const CATEGORY_FUNCTION: usize = 12;
/// The categories whose numbers are those of system calls, and what the library calls the functions that give them.
const CATEGORIES: [(&str, [&str; 3]); 2] = [
    ("generic", ["std::_V2::generic_category", "std::__1::generic_category", "std::generic_category"]),
    ("system", ["std::_V2::system_category", "std::__1::system_category", "std::system_category"]),
];

/// What there is to say of a value of the standard library in one line; `None` of all others, and where it cannot be told.
pub(super) fn text_of(engine: &mut Engine, value: &Value, memory: &mut dyn MemoryReader) -> Option<String> {
    let of = value.value_type().resolved();
    let name = of.data().name.as_deref()?;
    let is_error = matches!(name, "error_code" | "error_condition");
    if !(is_error || name.starts_with("coroutine_handle<")) || !of.qualified_name().starts_with("std::") {
        return None;
    }
    let mut word = |names: [&str; 2]| {
        let member = names.iter().find_map(|name| value.member(name, memory).ok())?;
        Some(member.scalar(memory).ok()?.as_u64())
    };
    if is_error {
        let (number, category) = (word(["_M_value", "__val_"])?, word(["_M_cat", "__cat_"])?);
        return error_text(engine, number as i32, Va(category), memory);
    }
    match word(["_M_fr_ptr", "__handle_"])? {
        0 => Some("empty".to_owned()),
        frame => coroutine_text(engine, Va(frame), memory),
    }
}

/// `generic: ENOENT (2)`; a category of the program's own by the name of its class.
fn error_text(engine: &mut Engine, number: i32, category: Va, memory: &mut dyn MemoryReader) -> Option<String> {
    let name = match standard_category(engine, category, memory) {
        Some(name) => name.to_owned(),
        None => category_class(engine, category, memory)?,
    };
    let error = syscall_error_name(number).filter(|_| matches!(name.as_str(), "generic" | "system"));
    Some(match error {
        Some(error) => format!("{name}: {error} ({number})"),
        None => format!("{name}: {number}"),
    })
}

/// Which of the two standard categories is there: of a library without debug info what its functions for them give, as
/// their code says.
fn standard_category(engine: &mut Engine, category: Va, memory: &mut dyn MemoryReader) -> Option<&'static str> {
    // No other module is looked at, and none loaded, for the sake of a line of text.
    let module = engine.symbol_at(category)?.module;
    CATEGORIES.iter().find_map(|(name, functions)| {
        let is_it = functions.iter().any(|function| {
            let found = engine.find_name(&format!("{module}!{function}")).unwrap_or_default();
            found.iter().any(|found| given_by(found.address, memory) == Some(category))
        });
        is_it.then_some(*name)
    })
}

/// The address that a function gives which does nothing else.
fn given_by(function: Va, memory: &mut dyn MemoryReader) -> Option<Va> {
    let mut code = [0; CATEGORY_FUNCTION];
    memory.read_exact(function, &mut code)?;
    let (skipped, lea) = match code {
        [0xf3, 0x0f, 0x1e, 0xfa, rest @ ..] => (4, rest),
        [rest @ .., _, _, _, _] => (0, rest),
    };
    let [0x48, 0x8d, 0x05, offset @ .., _] = lea else { return None };
    let end = function.checked_add(skipped + 7)?;
    Some(end.wrapping_offset(i64::from(i32::from_le_bytes(offset))))
}

/// The class of a category, by its virtual table; of the standard ones their short names.
fn category_class(engine: &mut Engine, category: Va, memory: &mut dyn MemoryReader) -> Option<String> {
    let table = Va(memory.read_u64(category)?);
    let name = engine.symbol_at(table)?.name;
    let class = name.strip_prefix("{vtable(").and_then(|rest| rest.strip_suffix(")}"));
    let class = class.or_else(|| name.strip_prefix("vtable for "))?;
    let last = class.rsplit("::").next().unwrap_or(class);
    let standard = last.strip_suffix("_error_category").or_else(|| last.strip_suffix("_category"));
    Some(match standard.filter(|name| matches!(*name, "generic" | "system")) {
        Some(name) => name.to_owned(),
        None => class.to_owned(),
    })
}

/// Whether a coroutine is done, which its frame says by having no function to resume it by, and which one it is. Both
/// functions are made of the coroutine and carry its name.
fn coroutine_text(engine: &mut Engine, frame: Va, memory: &mut dyn MemoryReader) -> Option<String> {
    let resume = memory.read_u64(frame)?;
    let destroy = memory.read_u64(frame.checked_add(8)?)?;
    let state = if resume == 0 { "done" } else { "suspended" };
    let symbol = engine.symbol_at(Va(if resume == 0 { destroy } else { resume }))?;
    if symbol.displacement != 0 || symbol.name.is_empty() {
        return None;
    }
    let name = ["resume", "destroy", "actor"].iter().find_map(|part| {
        let name = symbol.name.strip_suffix(part)?.strip_suffix([' ', '.'])?;
        Some(name.strip_suffix(".Frame").unwrap_or(name))
    });
    Some(format!("{state} in {}!{}", symbol.module, name.unwrap_or(&symbol.name)))
}
