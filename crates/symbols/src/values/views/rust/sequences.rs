//! Slices, vectors, ring buffers, heaps and linked lists.

use super::super::nodes::{chain, wanted};
use super::{MemoryReader, Unavailable, Va, Value, View, ViewLimits};
use super::{Type, argument, contiguous, end_of, garbage, number, number_inside, thin_pointer};

pub(super) fn slice(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let data = value.member("data_ptr", memory)?;
    let element = data.value_type().target().ok_or(Unavailable::WrongType)?;
    let at = Va(data.scalar(memory)?.as_u64());
    contiguous(&element, at, number(value, "length", memory)?, limits)
}

pub(super) fn vector(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let element = argument(value)?;
    let (at, length) = buffer(value, memory)?;
    contiguous(&element, at, length, limits)
}

/// Iterators over elements that lie one after the other: what they have not given yet.
pub(super) fn iterator(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let element = argument(value)?;
    let (at, length) = ahead(value, element.size().ok_or(Unavailable::NoSize)?, memory)?;
    contiguous(&element, at, length, limits)
}

/// Where an iterator stands, and how many elements are ahead of it.
pub(super) fn ahead(value: &Value, size: u64, memory: &mut dyn MemoryReader) -> Result<(Va, u64), Unavailable> {
    // Where it began has a pointer of its own.
    let at = pointer(&value.member("ptr", memory)?, memory)?;
    let end = number(value, "end_or_len", memory).or_else(|_| number(value, "end", memory))?;
    let length = match size {
        // Of what takes no room they are counted, from an address on or from nothing.
        0 => Some(if value.member("end", memory).is_ok() { end.wrapping_sub(at.0) } else { end }),
        size => end.checked_sub(at.0).filter(|bytes| bytes % size == 0).map(|bytes| bytes / size),
    };
    Ok((at, length.ok_or_else(|| garbage("ends before it starts"))?))
}

/// A heap is shown as it lies in its vector: the greatest first, the others as they are.
pub(super) fn heap(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    vector(&value.member("data", memory)?, limits, memory)
}

/// Where a vector's elements are and how many; a capacity below the length means that it was never made.
pub(super) fn buffer(value: &Value, memory: &mut dyn MemoryReader) -> Result<(Va, u64), Unavailable> {
    let length = number(value, "len", memory)?;
    let element_size = value.value_type().template_argument("T", 0).and_then(|element| element.size());
    let capacity = number_inside(value, "cap", memory).or_else(|_| number_inside(value, "__0", memory));
    if element_size != Some(0) && capacity.is_ok_and(|capacity| capacity < length) {
        return Err(garbage("longer than its capacity"));
    }
    Ok((pointer(value, memory)?, length))
}

/// The first thin pointer called `pointer` inside: that of `NonNull`.
fn pointer(value: &Value, memory: &mut dyn MemoryReader) -> Result<Va, Unavailable> {
    let field = value.value_type().field_inside("pointer", &Type::is_pointer).ok_or(Unavailable::WrongType)?;
    Ok(Va(value.field(&field).scalar(memory)?.as_u64()))
}

/// A ring buffer: `len` elements from `head` on, modulo the capacity.
pub(super) fn deque(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let element = argument(value)?;
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

/// Nodes that hold the address of the next, from `head` on.
pub(super) fn list(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let length = number(value, "len", memory)?;
    let head = value.member("head", memory)?;
    let first = thin_pointer(head.value_type()).ok_or(Unavailable::WrongType)?;
    let node = first.field_type.target().ok_or(Unavailable::WrongType)?;
    let element = node.field("element").ok_or(Unavailable::WrongType)?;
    let next = node.field("next").and_then(|next| Some(next.offset + thin_pointer(&next.field_type)?.offset));
    let next = next.ok_or(Unavailable::WrongType)?;
    let first = Va(head.field(&first).scalar(memory)?.as_u64());
    let all = ViewLimits { start: 0, count: end_of(limits, length), ..*limits };
    let nodes = wanted(chain(first, Va(0), next, &all, memory)?, limits);
    let place = |node: Va| Value::in_memory(element.field_type.clone(), node + element.offset);
    Ok(View::Sequence { items: nodes.map(place).collect(), length })
}
