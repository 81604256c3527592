//! What hides its type behind functions: `std::any`, `std::function`. The names of their functions and tables tell.
//!
//! Sources: `any` and `bits/std_function.h` of GCC 12; `any` and `__functional/function.h` of LLVM 14.

use outpost_base::{MemoryReader, Va};

use super::{LIBCXX_NAMESPACES, View, ViewLimits, number};
use crate::types::Type;
use crate::{Unavailable, Value};

/// An object whose type only its functions know.
pub(in crate::values) struct Erased {
    /// A function or virtual table with the type in its name.
    named: Va,
    /// Where the object or its address is.
    storage: Va,
    kind: Kind,
    /// Any type of the image.
    of: Type,
}

#[derive(Clone, Copy)]
enum Kind {
    Any,
    Function,
    LibcxxAny,
    LibcxxFunction,
}

/// What there is to say of one.
pub(in crate::values) enum Revealed {
    /// A value of the type that it was made of.
    Value(Value),
    /// A function.
    Function(Va),
    /// Something of a type that debug info does not have, or that lies where it cannot be told.
    Named(String),
}

/// The view without names: whether there is anything.
pub(super) fn holder(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    Ok(held(number(value, "_M_manager", memory)?))
}

/// As [`holder`], of LLVM's `std::any`.
pub(super) fn libcxx_any(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    Ok(held(number(value, "__h", memory)?))
}

/// As [`holder`], of LLVM's `std::function`.
pub(super) fn libcxx_function(
    value: &Value,
    _: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    Ok(held(number(&value.member("__f_", memory)?, "__f_", memory)?))
}

fn held(by: u64) -> View {
    match by {
        0 => View::Empty("empty"),
        _ => View::Words("something".to_owned()),
    }
}

/// The object that a `std::any` or `std::function` holds; `None` for all other values, and where it holds none.
pub(in crate::values) fn erased(value: &Value, memory: &mut dyn MemoryReader) -> Option<Erased> {
    let of = value.value_type().resolved();
    let name = of.qualified_name();
    let libcxx = LIBCXX_NAMESPACES.iter().find_map(|space| name.strip_prefix(space));
    let plain = libcxx.or_else(|| name.strip_prefix("std::"))?;
    let kind = match (plain == "any", plain.starts_with("function<"), libcxx.is_some()) {
        (true, _, false) => Kind::Any,
        (true, _, true) => Kind::LibcxxAny,
        (_, true, false) => Kind::Function,
        (_, true, true) => Kind::LibcxxFunction,
        _ => return None,
    };
    let word = |of: &Value, name: &str, memory: &mut dyn MemoryReader| {
        number(of, name, memory).ok().filter(|word| *word != 0).map(Va)
    };
    let place = |name: &str, memory: &mut dyn MemoryReader| value.member(name, memory).ok()?.address();
    let (named, storage) = match kind {
        Kind::Any => (word(value, "_M_manager", memory)?, place("_M_storage", memory)?),
        Kind::LibcxxAny => (word(value, "__h", memory)?, place("__s", memory)?),
        Kind::Function => {
            word(value, "_M_manager", memory)?;
            (word(value, "_M_invoker", memory)?, place("_M_functor", memory)?)
        }
        // An object with a virtual table, and behind that what is called.
        Kind::LibcxxFunction => {
            let object = word(&value.member("__f_", memory).ok()?, "__f_", memory)?;
            (Va(memory.read_u64(object)?), object.checked_add(8)?)
        }
    };
    Some(Erased { named, storage, kind, of })
}

impl Erased {
    /// What it is, by the name of its function; `None` if that has none that tells.
    pub(in crate::values) fn revealed(
        &self,
        symbol: &dyn Fn(Va) -> Option<String>,
        memory: &mut dyn MemoryReader,
    ) -> Option<Revealed> {
        let name = symbol(self.named)?;
        match self.kind {
            // `std::any::_Manager_internal<int>::_S_manage`
            Kind::Any => {
                let (place, of) = name.split_once("::_Manager_")?.1.split_once('<')?;
                self.object(of.rsplit_once(">::_S_manage")?.0, place == "internal", memory)
            }
            // `std::__1::__any_imp::_SmallHandler<int>::__handle`
            Kind::LibcxxAny => {
                let (place, of) = name.split_once("::__any_imp::_")?.1.split_once('<')?;
                self.object(of.rsplit_once(">::__handle")?.0, place == "SmallHandler", memory)
            }
            // `std::_Function_handler<int(int), int (*)(int)>::_M_invoke`
            Kind::Function => {
                let arguments = name.split_once("::_Function_handler<")?.1.rsplit_once(">::_M_invoke")?.0;
                Some(self.function(arguments_of(arguments).last()?, memory))
            }
            // `{vtable(std::__1::__function::__func<int (*)(int), std::__1::allocator<int (*)(int)>, int (int)>)}`
            Kind::LibcxxFunction => {
                let arguments = name.split_once("::__function::__func<")?.1.rsplit_once('>')?.0;
                Some(self.function(arguments_of(arguments).first()?, memory))
            }
        }
    }

    fn object(&self, of: &str, is_inside: bool, memory: &mut dyn MemoryReader) -> Option<Revealed> {
        let of = of.trim_end();
        let at = if is_inside { self.storage } else { Va(memory.read_u64(self.storage)?) };
        let found = self.of.table().named(of).into_iter().find(|of| of.size().is_some());
        Some(match found {
            Some(found) => Revealed::Value(Value::in_memory(found, at)),
            None => Revealed::Named(of.to_owned()),
        })
    }

    fn function(&self, functor: &str, memory: &mut dyn MemoryReader) -> Revealed {
        // Pointers to functions and to methods that are not virtual are addresses; others lie where the library likes.
        let is_pointer = functor.contains("(*)") || functor.contains("::*)");
        let at = memory.read_u64(self.storage).filter(|at| is_pointer && at & 1 == 0);
        at.map_or_else(|| Revealed::Named(functor.to_owned()), |at| Revealed::Function(Va(at)))
    }
}

/// The arguments of a list, which commas outside of brackets separate.
pub(super) fn arguments_of(list: &str) -> Vec<&str> {
    let (mut depth, mut start) = (0_usize, 0);
    let mut arguments = Vec::new();
    for (at, c) in list.char_indices() {
        match c {
            '<' | '(' | '[' | '{' => depth += 1,
            '>' | ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                arguments.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    arguments.push(list[start..].trim());
    arguments
}

#[cfg(test)]
mod tests {
    use super::arguments_of;

    #[test]
    fn commas_within_brackets_separate_nothing() {
        assert_eq!(arguments_of("int(int, char), f<a, b>"), ["int(int, char)", "f<a, b>"]);
        assert_eq!(arguments_of("main::{lambda(int, int)#1}, x[2]"), ["main::{lambda(int, int)#1}", "x[2]"]);
        assert_eq!(arguments_of(""), [""]);
        assert_eq!(arguments_of(">>, a"), [">>", "a"]);
    }
}
