//! Strings, vectors and pointers of Rust's standard library, by the layout that the debug info states.
//!
//! Field names are private to the library and change; those used here have been stable since 2018 (`len`, `pointer`) and
//! are searched for at any depth. Source: `library/alloc` of Rust 1.95.

use outpost_base::{MemoryReader, Va};

use super::{View, ViewKind, ViewLimits, ViewReader, contiguous, garbage, number, number_inside, text_at};
use crate::types::{Field, Type};
use crate::{Unavailable, Value};

/// References, boxes and raw pointers to slices, strings and trait objects: structs of two words.
pub(super) fn fat_pointer(of: &Type) -> Option<(ViewKind, ViewReader)> {
    let (data, length) = (of.own_field("data_ptr")?, of.own_field("length")?);
    let is_text = of.data().name.as_deref().is_some_and(|name| {
        let pointee = name.trim_start_matches(['&', '*']);
        ["str", "mut str", "const str"].contains(&pointee) || name.contains("Box<str")
    });
    let sized = data.field_type.target().is_some() && length.field_type.size() == Some(8);
    let found: (ViewKind, ViewReader) =
        if is_text { (ViewKind::Text, text_slice) } else { (ViewKind::Container, slice) };
    sized.then_some(found)
}

fn text_slice(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let at = Va(number(value, "data_ptr", memory)?);
    text_at(at, number(value, "length", memory)?, 1, limits, memory)
}

fn slice(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let data = value.member("data_ptr", memory)?;
    let element = data.value_type().target().ok_or(Unavailable::WrongType)?;
    let at = Va(data.scalar(memory)?.as_u64());
    contiguous(&element, at, number(value, "length", memory)?, limits)
}

pub(super) fn string(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let (at, length) = buffer(&value.member("vec", memory)?, memory)?;
    text_at(at, length, 1, limits, memory)
}

pub(super) fn vector(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let element = value.value_type().template_argument("T", 0).ok_or(Unavailable::WrongType)?;
    let (at, length) = buffer(value, memory)?;
    contiguous(&element, at, length, limits)
}

/// Where a vector's elements are and how many; a capacity below the length means that it was never made.
fn buffer(value: &Value, memory: &mut dyn MemoryReader) -> Result<(Va, u64), Unavailable> {
    let length = number(value, "len", memory)?;
    let element_size = value.value_type().template_argument("T", 0).and_then(|element| element.size());
    let capacity = number_inside(value, "cap", memory).or_else(|_| number_inside(value, "__0", memory));
    if element_size != Some(0) && capacity.is_ok_and(|capacity| capacity < length) {
        return Err(garbage("longer than its capacity"));
    }
    Ok((pointer(value, memory)?, length))
}

/// The only thin pointer called `pointer` inside: that of `NonNull`.
fn pointer(value: &Value, memory: &mut dyn MemoryReader) -> Result<Va, Unavailable> {
    let field = value.value_type().field_inside("pointer", &Type::is_pointer).ok_or(Unavailable::WrongType)?;
    Ok(Va(value.field(&field).scalar(memory)?.as_u64()))
}

/// A ring buffer: `len` elements from `head` on, modulo the capacity.
pub(super) fn deque(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let element = value.value_type().template_argument("T", 0).ok_or(Unavailable::WrongType)?;
    let size = element.size().ok_or(Unavailable::NoSize)?;
    let (head, length) = (number(value, "head", memory)?, number(value, "len", memory)?);
    let capacity = number_inside(value, "cap", memory).or_else(|_| number_inside(value, "__0", memory))?;
    let at = pointer(value, memory)?;
    if length == 0 {
        return Ok(View::Sequence { items: Vec::new(), length });
    }
    if size > 0 && (head >= capacity || length > capacity || capacity.checked_mul(size).is_none()) {
        return Err(garbage("longer than its capacity"));
    }
    let end = length.min(limits.start.saturating_add(limits.count));
    let place = |index: u64| if size == 0 { at } else { at + head.wrapping_add(index) % capacity * size };
    let items = (limits.start..end).map(|index| Value::in_memory(element.clone(), place(index))).collect();
    Ok(View::Sequence { items, length })
}

/// `Rc` and `Arc`: a pointer to both counts and the value.
pub(super) fn counted(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let field: Field = value.value_type().field_inside("pointer", &Type::is_pointer).ok_or(Unavailable::WrongType)?;
    let inner = value.field(&field).deref(memory)?;
    let (strong, weak) = (inner.member("strong", memory)?, inner.member("weak", memory)?);
    let mut count = |counter: &Value| {
        let is_number = |of: &Type| !of.is_aggregate();
        let number = ["value", "v", "__0"].iter().find_map(|name| counter.value_type().field_inside(name, &is_number));
        let number = number.map_or_else(|| counter.clone(), |field| counter.field(&field));
        number.scalar(memory).map(|number| number.as_u64())
    };
    let (strong, weak) = (count(&strong)?, count(&weak)?);
    let target = inner.member("value", memory).or_else(|_| inner.member("data", memory))?;
    // All strong pointers together count as one weak one.
    let note = format!("strong={strong}, weak={}", weak.saturating_sub(u64::from(strong > 0)));
    Ok(View::Pointer { target: (strong > 0).then_some(target), note: Some(note) })
}

/// A cell, possibly in a cell; also the atomic integers, whose `v` is one.
pub(super) fn cell(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let inner = value.member("value", memory).or_else(|_| value.member("v", memory))?;
    Ok(View::Wrapped(inner))
}

pub(super) fn nonzero(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let element = value.value_type().template_argument("T", 0).ok_or(Unavailable::WrongType)?;
    Ok(View::Wrapped(value.member("__0", memory)?.cast(element)))
}
