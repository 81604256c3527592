//! What views say of objects, in one line.

use std::cell::RefCell;

use outpost_base::{MemoryReader, Va};
use outpost_symbols::{NumberFormat, PointerFlavour, Scalar, TextOptions, Type, TypeKind, Value};

use super::evaluate::{Context, deeper, evaluate, holds, written};
use super::file::DisplayString;
use super::is_unreadable;
use super::piece::Piece;
use super::store::pointee;
use crate::Engine;
use crate::expr::{ExprError, PointerUse};
use crate::model::{Format, value_text};

/// Longest text that a view gives, in bytes.
const LENGTH_LIMIT: usize = 4096;
/// Names of names of types that are looked through.
const ALIAS_LIMIT: usize = 16;

/// What a view says of a value. Of a pointer it is said behind its address.
pub(super) fn of_value(
    engine: &mut Engine,
    value: &Value,
    name: Option<&str>,
    memory: &mut dyn MemoryReader,
) -> Option<String> {
    if let TypeKind::Pointer { flavour, .. } = value.value_type().resolved().kind() {
        if *flavour != PointerFlavour::Pointer {
            return None;
        }
        let target = pointee(&mut engine.views, value, memory)?.ok()?;
        let text = of_value(engine, &target, name, memory)?;
        return Some(format!("0x{} {text}", target.address()?));
    }
    if let Some(text) = of_call_result(engine, value, false, memory) {
        return Some(text);
    }
    let place = value.address().map(|at| (at, value.value_type().qualified_name()));
    if place.as_ref().is_some_and(|place| engine.views.path.contains(place)) {
        return Some("{...}".to_owned());
    }
    engine.views.path.extend(place.clone());
    let text = of_object(engine, value, name, memory);
    if place.is_some() {
        engine.views.path.pop();
    }
    text
}

fn of_object(engine: &mut Engine, value: &Value, name: Option<&str>, memory: &mut dyn MemoryReader) -> Option<String> {
    deeper(engine, |engine| {
        for (found, this) in engine.views.of_object(value, memory) {
            let name = name.map(str::to_owned);
            let context = Context { found: found.clone(), this, names: Vec::new(), name };
            context.read(memory);
            match holds(engine, &context, &found.view().guard, memory) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    engine.views.note_failure(&found, value.value_type(), &error);
                    continue;
                }
            }
            let mut said = of_strings(engine, &context, &found.view().strings, memory);
            if matches!(said, Ok(None)) {
                said = of_pointer(engine, &context, memory);
            }
            match said {
                Ok(Some(text)) => return Ok(Some(text)),
                // One that only looks inside says nothing, and is no reason for another to.
                Ok(None) if found.view().expand.is_some() => return Ok(None),
                Err(ExprError::Interrupted) => return Err(ExprError::Interrupted),
                Err(error) if is_unreadable(&error) => return Ok(Some(format!("<{error}>"))),
                Ok(None) => {}
                Err(error) => engine.views.note_failure(&found, value.value_type(), &error),
            }
        }
        Ok(None)
    })
    .ok()
    .flatten()
}

/// What a smart pointer that has no text of its own says: what the pointer says.
fn of_pointer(
    engine: &mut Engine,
    context: &Context,
    memory: &mut dyn MemoryReader,
) -> Result<Option<String>, ExprError> {
    let found = context.found.clone();
    for pointer in &found.view().pointers {
        if holds(engine, context, &pointer.value.guard, memory)? {
            let (value, format) = evaluate(engine, context, &pointer.value.value, memory)?;
            return Ok(Some(of_formatted(engine, &value, &format, memory)));
        }
    }
    Ok(None)
}

/// The name of a result of calls, if it is one: by its type, or because the format says so.
pub(super) fn of_call_result(
    engine: &mut Engine,
    value: &Value,
    is_asked_for: bool,
    memory: &mut dyn MemoryReader,
) -> Option<String> {
    if !engine.views.has_call_results() || !(is_asked_for || is_call_result(value.value_type())) {
        return None;
    }
    let number = match value.scalar(memory).ok()? {
        number @ (Scalar::Signed(_) | Scalar::Unsigned(_)) => number.as_u64() as u32,
        _ => return None,
    };
    Some(format!("{number:#010x} {}", engine.views.call_result(number)?))
}

/// Whether a type is `HRESULT`, by whatever further names.
pub(super) fn is_call_result(of: &Type) -> bool {
    let mut of = of.clone();
    for _ in 0..ALIAS_LIMIT {
        match of.kind() {
            TypeKind::Typedef { target, .. } if of.data().name.as_deref() != Some("HRESULT") => {
                of = of.sibling(*target)
            }
            TypeKind::Typedef { .. } => return true,
            _ => return false,
        }
    }
    false
}

/// The pointer that an object acts as, where it is one for such a use.
pub(super) fn smart_pointer_of(
    engine: &mut Engine,
    value: &Value,
    usage: PointerUse,
    memory: &mut dyn MemoryReader,
) -> Result<Option<Value>, ExprError> {
    deeper(engine, |engine| {
        for (found, this) in engine.views.of_object(value, memory) {
            let pointers = &found.view().pointers;
            if pointers.is_empty() {
                continue;
            }
            let context = Context { found: found.clone(), this, names: Vec::new(), name: None };
            context.read(memory);
            for pointer in pointers.iter().filter(|pointer| pointer.usage >= usage) {
                if !holds(engine, &context, &pointer.value.guard, memory)? {
                    continue;
                }
                match evaluate(engine, &context, &pointer.value.value, memory) {
                    Ok((pointer, _)) => return Ok(Some(pointer)),
                    Err(error) if is_unreadable(&error) || error == ExprError::Interrupted => return Err(error),
                    Err(error) => engine.views.note_failure(&found, value.value_type(), &error),
                }
            }
        }
        Ok(None)
    })
}

/// The first text that holds.
pub(super) fn of_strings(
    engine: &mut Engine,
    context: &Context,
    strings: &[DisplayString],
    memory: &mut dyn MemoryReader,
) -> Result<Option<String>, ExprError> {
    for string in strings {
        if !holds(engine, context, &string.guard, memory)? {
            continue;
        }
        match of_pieces(engine, context, &string.pieces, memory) {
            Err(error) if string.guard.optional && !is_unreadable(&error) => {}
            other => return other.map(Some),
        }
    }
    Ok(None)
}

/// A text with its expressions evaluated. What cannot be read says so in its place.
pub(super) fn of_pieces(
    engine: &mut Engine,
    context: &Context,
    pieces: &[Piece],
    memory: &mut dyn MemoryReader,
) -> Result<String, ExprError> {
    let mut text = String::new();
    for piece in pieces {
        if text.len() > LENGTH_LIMIT {
            text.push_str("...");
            break;
        }
        match piece {
            Piece::Text(literal) => text.push_str(&written(literal, &context.found, &context.names)),
            Piece::Value(value) => match evaluate(engine, context, value, memory) {
                Ok((value, format)) => text.push_str(&of_formatted(engine, &value, &format, memory)),
                Err(error) if is_unreadable(&error) => text.push_str(&format!("<{error}>")),
                Err(error) => return Err(error),
            },
        }
    }
    Ok(text)
}

/// A value within a text. Numbers are decimal unless they are asked for otherwise.
fn of_formatted(engine: &mut Engine, value: &Value, format: &Format, memory: &mut dyn MemoryReader) -> String {
    if let Some(text) = format.text(value, memory) {
        return text;
    }
    if format.hresult
        && let Some(text) = of_call_result(engine, value, true, memory)
    {
        return text;
    }
    if !format.raw
        && let Some(text) = engine.view_text_by(value, format.view.as_deref(), memory)
    {
        return format.finished(value, text);
    }
    let numbers = if format.numbers == NumberFormat::Plain { NumberFormat::Decimal } else { format.numbers };
    let options = TextOptions {
        numbers,
        names_only: format.names_only,
        raw: format.raw,
        depth_limit: 1,
        ..TextOptions::default()
    };
    let engine = RefCell::new(engine);
    format.finished(value, value_text(&engine, value, &options, memory))
}

/// The text that an object is: what its `StringView` points to.
pub(super) fn string_of(
    engine: &mut Engine,
    value: &Value,
    memory: &mut dyn MemoryReader,
) -> Result<Option<String>, ExprError> {
    let found = deeper(engine, |engine| {
        for (found, this) in engine.views.of_object(value, memory) {
            let context = Context { found: found.clone(), this, names: Vec::new(), name: None };
            context.read(memory);
            for text in &found.view().texts {
                if !holds(engine, &context, &text.guard, memory)? {
                    continue;
                }
                let (value, format) = evaluate(engine, &context, &text.value, memory)?;
                let format = if format.is_text() { format.without_quotes() } else { Format::plain_text() };
                let is_empty = matches!(value.scalar(memory), Ok(Scalar::Pointer(Va(0))));
                let found = if is_empty { Some(String::new()) } else { format.text(&value, memory) };
                return found.map(Some).ok_or(ExprError::Memory { at: value.address().unwrap_or_default() });
            }
        }
        Ok(None)
    });
    match found {
        Err(error) if !is_unreadable(&error) && error != ExprError::Interrupted => Ok(None),
        other => other,
    }
}
