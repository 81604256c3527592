//! Trait objects: what a `dyn Trait` is, told by its table of functions.

use super::{MemoryReader, Type, Unavailable, Va, Value};
use super::{find_inside, pointers};
use crate::types::Language;

/// The table's function that drops the object. Source: `rustc_middle/src/ty/vtable.rs` (drop, size, alignment, methods).
const DROP: &str = "core::ptr::drop_in_place<";
/// Where the alignment of the object stands in the table.
const ALIGNMENT: u64 = 16;
/// Both counts of an `Rc` or `Arc`, before the object.
const COUNTS: u64 = 16;

/// A pointer to a trait object: `&dyn Trait`, `Box<dyn Trait>`, `Rc<dyn Trait>`, `Arc<dyn Trait>`.
pub(in crate::values) struct TraitObject {
    /// Where the object is.
    pub(in crate::values) at: Va,
    /// What else there is to say: counts of references.
    pub(in crate::values) note: Option<String>,
    table: Va,
    /// Any type of the image.
    of: Type,
}

/// The trait object that `value` points to; `None` for all other values, and where memory does not hold it.
pub(in crate::values) fn trait_object(value: &Value, memory: &mut dyn MemoryReader) -> Option<TraitObject> {
    let of = value.value_type().resolved();
    if of.language() != Language::Rust {
        return None;
    }
    let is_plain = of.own_field("vtable").is_some() && of.own_field("pointer").is_some();
    let name = of.qualified_name();
    let is_counted = ["alloc::rc::Rc<dyn ", "alloc::sync::Arc<dyn "].iter().any(|prefix| name.starts_with(prefix));
    if !is_plain && !is_counted {
        return None;
    }
    let part = |name: &str| find_inside(&of, &|called, of| called == name && of.target().is_some());
    let (pointer, table) = (value.field(&part("pointer")?), value.field(&part("vtable")?));
    let table = Va(table.scalar(memory).ok()?.as_u64());
    let at = Va(pointer.scalar(memory).ok()?.as_u64());
    if !is_counted {
        return Some(TraitObject { at, note: None, table, of });
    }
    let alignment = memory.read_u64(table + ALIGNMENT).filter(|alignment| alignment.is_power_of_two())?;
    let note = pointers::counts(&pointer.deref(memory).ok()?, memory).ok().map(|(_, note)| note);
    Some(TraitObject { at: at + COUNTS.checked_next_multiple_of(alignment)?, note, table, of })
}

impl TraitObject {
    /// The object as what it was before it became one, by the name of its table, else of the function that drops it.
    ///
    /// # Errors
    /// [`Unavailable::WrongType`] if neither has a name, or the debug info no type of it; memory errors for the table.
    pub(in crate::values) fn object(
        &self,
        symbol: &dyn Fn(Va) -> Option<String>,
        memory: &mut dyn MemoryReader,
    ) -> Result<Value, Unavailable> {
        // `prog!<prog::Dog as prog::Speak>::{vtable}`
        let of_table =
            |name: &str| Some(name.strip_suffix("::{vtable}")?.split_once('<')?.1.rsplit_once(" as ")?.0.to_owned());
        let name = match symbol(self.table).and_then(|name| of_table(&name)) {
            Some(name) => name,
            None => {
                let drop = memory.read_u64(self.table).ok_or(Unavailable::Memory { at: self.table })?;
                let name = symbol(Va(drop)).ok_or(Unavailable::WrongType)?;
                let of = name.split_once(DROP).and_then(|(_, of)| of.strip_suffix('>'));
                of.ok_or(Unavailable::WrongType)?.to_owned()
            }
        };
        let of = self.of.table().named(&name).into_iter().next().ok_or(Unavailable::WrongType)?;
        Ok(Value::in_memory(of, self.at))
    }
}
