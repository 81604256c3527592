//! Cells, atomics, and wrappers that add nothing to see.

use super::{MemoryReader, Unavailable, Va, Value, View, ViewLimits};
use super::{argument, find_inside, number_within, thin_pointer};

/// One value in the bytes of its wrapper (`repr(transparent)`): `Cell`, `MaybeUninit`, `Wrapping`.
pub(super) fn transparent(
    value: &Value,
    _limits: &ViewLimits,
    _memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let inner = argument(value)?;
    if inner.size() != value.value_type().size() {
        return Err(Unavailable::WrongType);
    }
    Ok(View::Wrapped(value.cast(inner)))
}

/// A struct of one unnamed member without a generic argument: numbers whose niche is told by their type.
pub(super) fn newtype(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    Ok(View::Wrapped(value.member("__0", memory)?))
}

/// A number, truth value or pointer in a cell, since Rust 1.96 aligned by another wrapper.
pub(super) fn atomic(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    if let Ok(inner) = argument(value)
        && inner.size() == value.value_type().size()
        && !value.value_type().qualified_name().starts_with("core::sync::atomic::AtomicPtr<")
    {
        return Ok(View::Wrapped(value.cast(inner)));
    }
    let inner = ["v", "p"].iter().find_map(|name| value.member(name, memory).ok()).ok_or(Unavailable::WrongType)?;
    let inner = inner.member("value", memory)?;
    if value.value_type().qualified_name() == "core::sync::atomic::AtomicBool" {
        let truth = value.value_type().table().named("bool").into_iter().find(|found| found.size() == Some(1));
        return Ok(View::Wrapped(truth.map_or(inner.clone(), |truth| inner.cast(truth))));
    }
    Ok(View::Wrapped(inner))
}

/// How a cell is borrowed: below zero uniquely, above it so many times.
fn borrows(value: &Value, memory: &mut dyn MemoryReader) -> Result<Option<String>, Unavailable> {
    Ok(match number_within(value, "borrow", memory)? as i64 {
        0 => None,
        count @ ..0 => Some(format!("borrow_mut={}", count.unsigned_abs())),
        count => Some(format!("borrow={count}")),
    })
}

pub(super) fn ref_cell(
    value: &Value,
    _limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let inner = value.member("value", memory)?;
    Ok(match borrows(value, memory)? {
        Some(note) => View::Noted { inner, note },
        None => View::Wrapped(inner),
    })
}

/// `Ref` and `RefMut`: what they point to, and how the cell is borrowed.
pub(super) fn borrowed(
    value: &Value,
    _limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let held = value.member("value", memory)?;
    let pointer = thin_pointer(held.value_type()).ok_or(Unavailable::WrongType)?;
    let target = held.field(&pointer).deref(memory)?;
    let guard = value.member("borrow", memory)?;
    let cell = find_inside(guard.value_type(), &|_, of| of.target().is_some()).ok_or(Unavailable::WrongType)?;
    let cell = guard.field(&cell).deref(memory)?;
    let note = match find_inside(cell.value_type(), &|_, of| !of.is_aggregate()) {
        Some(count) => match cell.field(&count).scalar(memory)?.as_i128() {
            count @ ..0 => Some(format!("borrow_mut={}", count.unsigned_abs())),
            count => Some(format!("borrow={count}")),
        },
        None => None,
    };
    Ok(View::Pointer { target: target.address().filter(|at| *at != Va(0)).map(|_| target), note })
}

/// A value, or that there is none yet.
pub(super) fn once(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let option = value.member("inner", memory)?.member("value", memory)?;
    let (name, payload) = option.variant(memory)?;
    match name.as_str() {
        "Some" => Ok(View::Wrapped(payload.member("__0", memory)?)),
        "None" => Ok(View::Empty("<uninit>")),
        _ => Err(Unavailable::WrongType),
    }
}

pub(super) fn lazy(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let state = value.member("state", memory)?.member("value", memory)?;
    let (name, payload) = state.variant(memory)?;
    match name.as_str() {
        "Init" => Ok(View::Wrapped(payload.member("__0", memory)?)),
        "Uninit" => Ok(View::Empty("<uninit>")),
        "Poisoned" => Ok(View::Empty("<poisoned>")),
        _ => Err(Unavailable::WrongType),
    }
}
