//! Counted pointers, and the wrappers around pointers.

use super::{
    Container, MemoryReader, Single, Text, Type, Unavailable, Va, Value, View, ViewKind, ViewLimits, ViewReader,
};
use super::{contiguous, find_inside, garbage, number_within, text_at};

/// The address of a `Weak` that was never made of anything.
const DANGLING: Va = Va(u64::MAX);

/// `Rc`, `Arc` and both `Weak`: a pointer to both counts and the value.
pub(super) fn counted(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let pointer = value.value_type().field_inside("pointer", &Type::is_pointer).ok_or(Unavailable::WrongType)?;
    let inner = value.field(&pointer).deref(memory)?;
    if inner.address() == Some(DANGLING) {
        return Ok(View::Pointer { target: None, note: None });
    }
    let (strong, note) = counts(&inner, memory)?;
    let target = content(&inner, memory)?;
    Ok(View::Pointer { target: (strong > 0).then_some(target), note: Some(note) })
}

/// The strong count, and both as text.
pub(super) fn counts(inner: &Value, memory: &mut dyn MemoryReader) -> Result<(u64, String), Unavailable> {
    let (strong, weak) = (number_within(inner, "strong", memory)?, number_within(inner, "weak", memory)?);
    // All strong pointers together count as one weak one.
    let weak = weak.saturating_sub(u64::from(strong > 0));
    Ok((strong, format!("strong={strong}, weak={weak}")))
}

/// What the counts are for: `value` of an `Rc`, `data` of an `Arc`.
fn content(inner: &Value, memory: &mut dyn MemoryReader) -> Result<Value, Unavailable> {
    inner.member("value", memory).or_else(|_| inner.member("data", memory))
}

/// Those of slices and texts, which show as these do.
pub(super) fn counted_slice_kind(of: &Type) -> Option<(ViewKind, ViewReader)> {
    let name = of.data().name.as_deref()?;
    let of_what = ["Rc<", "Arc<", "Weak<"].iter().find_map(|prefix| name.strip_prefix(prefix))?;
    let path = of.qualified_name();
    if !path.starts_with("alloc::rc::") && !path.starts_with("alloc::sync::") {
        return None;
    }
    find_inside(of, &|name, of| name == "data_ptr" && of.is_pointer())?;
    let texts = ["str,", "str>", "std::path::Path,", "std::path::Path>", "std::ffi::os_str::OsStr"];
    if texts.iter().any(|text| of_what.starts_with(text)) {
        return Some((Text, counted_text));
    }
    Some(if of_what.starts_with('[') { (Container, counted_slice) } else { (Single, unknown) })
}

fn counted_text(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    match counted_elements(value, memory)? {
        Some((_, at, length)) => text_at(at, length, 1, limits, memory),
        None => Ok(View::Pointer { target: None, note: None }),
    }
}

fn counted_slice(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    match counted_elements(value, memory)? {
        Some((element, at, length)) => contiguous(&element, at, length, limits),
        None => Ok(View::Pointer { target: None, note: None }),
    }
}

/// Other types without a size of their own: their members are shown.
fn unknown(_value: &Value, _limits: &ViewLimits, _memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    Err(Unavailable::WrongType)
}

/// Type, place and number of the elements; nothing for a `Weak` whose elements are gone.
fn counted_elements(value: &Value, memory: &mut dyn MemoryReader) -> Result<Option<(Type, Va, u64)>, Unavailable> {
    let data = find_inside(value.value_type(), &|name, of| name == "data_ptr" && of.is_pointer());
    let inner = value.field(&data.ok_or(Unavailable::WrongType)?).deref(memory)?;
    if inner.address() == Some(DANGLING) || number_within(&inner, "strong", memory)? == 0 {
        return Ok(None);
    }
    let first = content(&inner, memory)?;
    let at = first.address().ok_or_else(|| garbage("is not in memory"))?;
    Ok(Some((first.value_type().clone(), at, number_within(value, "length", memory)?)))
}

/// `Pin`, `NonNull`, `Unique`: the pointer alone.
pub(super) fn pinned(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let pointer = ["pointer", "__pointer"].iter().find_map(|name| value.member(name, memory).ok());
    Ok(View::Wrapped(pointer.ok_or(Unavailable::WrongType)?))
}
