//! Strings: owned, borrowed, of the operating system and of C.

use super::{Container, MemoryReader, Text, Type, Unavailable, Va, Value, View, ViewKind, ViewLimits, ViewReader};
use super::{number, sequences, text_at};

/// References, boxes and raw pointers to slices and strings: structs of two words.
pub(super) fn fat_pointer(of: &Type) -> Option<(ViewKind, ViewReader)> {
    let (data, length) = (of.own_field("data_ptr")?, of.own_field("length")?);
    let target = data.field_type.target().filter(|_| length.field_type.size() == Some(8))?;
    if let Some(read) = text_reader(of.data().name.as_deref().unwrap_or_default(), &target) {
        return Some((Text, read));
    }
    Some((Container, sequences::slice))
}

/// How to read the text that a pointer of type `name` points to, if it is one; `target` is what the debug info says it
/// points to, a `u8` for `str`.
fn text_reader(name: &str, target: &Type) -> Option<ViewReader> {
    let pointee = name.trim_start_matches(['&', '*']);
    let is_str = ["str", "mut str", "const str"].contains(&pointee) || name.contains("Box<str");
    match target.resolved().qualified_name().as_str() {
        _ if is_str => Some(slice),
        "std::path::Path" | "std::ffi::os_str::OsStr" | "std::sys::os_str::bytes::Slice" => Some(slice),
        "core::ffi::c_str::CStr" => Some(c_slice),
        _ => None,
    }
}

fn slice(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let at = Va(number(value, "data_ptr", memory)?);
    text_at(at, number(value, "length", memory)?, 1, limits, memory)
}

/// Its length counts the NUL.
fn c_slice(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let at = Va(number(value, "data_ptr", memory)?);
    text_at(at, number(value, "length", memory)?.saturating_sub(1), 1, limits, memory)
}

pub(super) fn string(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let (at, length) = sequences::buffer(&value.member("vec", memory)?, memory)?;
    text_at(at, length, 1, limits, memory)
}

/// `OsString`, and `PathBuf` around it: bytes in a vector.
pub(super) fn os_string(
    value: &Value,
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let is_vector = |_: &str, of: &Type| of.resolved().qualified_name().starts_with("alloc::vec::Vec<");
    let bytes = super::find_inside(value.value_type(), &is_vector).ok_or(Unavailable::WrongType)?;
    let (at, length) = sequences::buffer(&value.field(&bytes), memory)?;
    text_at(at, length, 1, limits, memory)
}

/// A boxed slice that ends with the NUL.
pub(super) fn c_string(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    c_slice(&value.member("inner", memory)?, limits, memory)
}

/// What is left of a text that is gone through by its characters.
pub(super) fn chars(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let (at, length) = super::sequences::ahead(&value.member("iter", memory)?, 1, memory)?;
    text_at(at, length, 1, limits, memory)
}
