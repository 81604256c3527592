//! Containers of libstdc++ (GCC 5 and later, and the reference-counted strings before), by the names of their members.
//!
//! Source: `bits/basic_string.h`, `stl_vector.h`, `stl_bvector.h`, `stl_deque.h`, `stl_list.h`, `hashtable.h`,
//! `unique_ptr.h`, `shared_ptr_base.h`, and `optional` of GCC 12.

use std::collections::HashSet;

use outpost_base::{MemoryReader, Va};

use super::{LENGTH_LIMIT, View, ViewLimits, contiguous, garbage, number, text_at};
use crate::types::Type;
use crate::{Unavailable, Value};

/// Most nodes of a list that are walked over.
const NODE_LIMIT: u64 = 1 << 20;

pub(super) fn string(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let unit = value.value_type().template_argument("_CharT", 0).and_then(|unit| unit.size()).unwrap_or(1);
    let at = Va(value.member("_M_dataplus", memory)?.member("_M_p", memory)?.scalar(memory)?.as_u64());
    let length = match value.member("_M_string_length", memory) {
        Ok(length) => length.scalar(memory)?.as_u64(),
        // Reference-counted strings keep length, capacity and count before the text.
        Err(_) => memory.read_u64(at - 24).ok_or(Unavailable::Memory { at: at - 24 })?,
    };
    text_at(at, length, unit, limits, memory)
}

pub(super) fn string_view(
    value: &Value,
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let unit = value.value_type().template_argument("_CharT", 0).and_then(|unit| unit.size()).unwrap_or(1);
    let at = Va(number(value, "_M_str", memory)?);
    text_at(at, number(value, "_M_len", memory)?, unit, limits, memory)
}

pub(super) fn vector(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let implementation = value.member("_M_impl", memory)?;
    let (start, finish) = (implementation.member("_M_start", memory)?, implementation.member("_M_finish", memory)?);
    if start.value_type().is_aggregate() {
        return bits(value, &start, &finish, limits, memory);
    }
    let element = start.value_type().target().ok_or(Unavailable::WrongType)?;
    let size = element.size().filter(|size| *size > 0).ok_or(Unavailable::NoSize)?;
    let (start, finish) = (start.scalar(memory)?.as_u64(), finish.scalar(memory)?.as_u64());
    let bytes = finish.checked_sub(start).filter(|bytes| bytes % size == 0);
    contiguous(&element, Va(start), bytes.ok_or_else(|| garbage("ends before it starts"))? / size, limits)
}

/// `std::vector<bool>`: iterators of a word's address and a bit in it.
fn bits(
    value: &Value,
    start: &Value,
    finish: &Value,
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let element = value.value_type().template_argument("_Tp", 0).ok_or(Unavailable::WrongType)?;
    let mut place = |iterator: &Value| -> Result<(u64, u64), Unavailable> {
        Ok((number(iterator, "_M_p", memory)?, number(iterator, "_M_offset", memory)?))
    };
    let ((from, first), (to, last)) = (place(start)?, place(finish)?);
    let bytes = to.checked_sub(from).filter(|bytes| *bytes < LENGTH_LIMIT);
    let length = bytes.and_then(|bytes| (8 * bytes + last.min(64)).checked_sub(first));
    let length = length.ok_or_else(|| garbage("ends before it starts"))?;
    let end = length.min(limits.start.saturating_add(limits.count));
    let mut items = Vec::new();
    for index in limits.start..end {
        let bit = first + index;
        let at = Va(from) + bit / 8;
        let byte = memory.read_uint(at, 1).ok_or(Unavailable::Memory { at })?;
        items.push(Value::from_bytes(element.clone(), vec![(byte >> (bit % 8) & 1) as u8]));
    }
    Ok(View::Sequence { items, length })
}

pub(super) fn array(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let elements = value.member("_M_elems", memory)?;
    // Of no elements it is an empty struct.
    let length = elements.value_type().element().and_then(|(_, count)| count).unwrap_or(0);
    let end = length.min(limits.start.saturating_add(limits.count));
    let items: Result<_, _> = (limits.start..end).map(|index| elements.index(index as i64, memory)).collect();
    Ok(View::Sequence { items: items?, length })
}

/// Blocks of 512 bytes (or one element), their addresses in a map that the iterators point into.
pub(super) fn deque(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let implementation = value.member("_M_impl", memory)?;
    let (start, finish) = (implementation.member("_M_start", memory)?, implementation.member("_M_finish", memory)?);
    let element = start.member("_M_cur", memory)?.value_type().target().ok_or(Unavailable::WrongType)?;
    let size = element.size().filter(|size| *size > 0).ok_or(Unavailable::NoSize)?;
    let block = (512 / size).max(1);
    let mut place = |iterator: &Value| -> Result<(u64, u64), Unavailable> {
        let (current, first) = (number(iterator, "_M_cur", memory)?, number(iterator, "_M_first", memory)?);
        let inside = current.checked_sub(first).map(|bytes| bytes / size).filter(|inside| *inside <= block);
        Ok((number(iterator, "_M_node", memory)?, inside.ok_or_else(|| garbage("iterator outside its block"))?))
    };
    let ((first_node, first), (last_node, last)) = (place(&start)?, place(&finish)?);
    let nodes = last_node.checked_sub(first_node).map(|bytes| bytes / 8).filter(|nodes| *nodes < LENGTH_LIMIT / block);
    let length = nodes.and_then(|nodes| (nodes * block + last).checked_sub(first));
    let length = length.ok_or_else(|| garbage("ends before it starts"))?;
    let end = length.min(limits.start.saturating_add(limits.count));
    let mut items = Vec::new();
    for index in limits.start..end {
        let number = first + index;
        let node = Va(first_node) + number / block * 8;
        let start = memory.read_u64(node).map(Va);
        items.push(match start {
            Some(start) => Value::in_memory(element.clone(), start + number % block * size),
            None => Value::unavailable(element.clone(), Unavailable::Memory { at: node }),
        });
    }
    Ok(View::Sequence { items, length })
}

pub(super) fn list(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let element = value.value_type().template_argument("_Tp", 0).ok_or(Unavailable::WrongType)?;
    let head = value.member("_M_impl", memory)?.member("_M_node", memory)?;
    let at_head = head.address().ok_or(Unavailable::WrongType)?;
    let first = number(&head, "_M_next", memory)?;
    // Nodes begin with the links to both sides.
    let nodes = chain(Va(first), at_head, limits, memory)?;
    let length = match number(&head, "_M_size", memory) {
        Ok(length) => length,
        Err(_) => nodes.len() as u64,
    };
    let offset = storage_offset(2 * 8, &element);
    let items = wanted(nodes, limits).map(|node| Value::in_memory(element.clone(), node + offset)).collect();
    Ok(View::Sequence { items, length })
}

pub(super) fn hash_map(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let (nodes, length) = hash_nodes(value, limits, memory)?;
    let mut entries = Vec::new();
    for node in nodes {
        entries.push((node.member("first", memory)?, node.member("second", memory)?));
    }
    Ok(View::Map { entries, length })
}

pub(super) fn hash_set(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let (items, length) = hash_nodes(value, limits, memory)?;
    Ok(View::Sequence { items, length })
}

/// All elements of a hash table are on one list, whatever bucket they are in.
fn hash_nodes(
    value: &Value,
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<(Vec<Value>, u64), Unavailable> {
    let table = value.member("_M_h", memory)?;
    let element = table.value_type().template_argument("_Value", 1).ok_or(Unavailable::WrongType)?;
    let length = number(&table, "_M_element_count", memory)?;
    if length > LENGTH_LIMIT {
        return Err(garbage("length is nonsense"));
    }
    let first = number(&table.member("_M_before_begin", memory)?, "_M_nxt", memory)?;
    let nodes = chain(Va(first), Va(0), limits, memory)?;
    let offset = storage_offset(8, &element);
    let nodes = wanted(nodes, limits).take(length as usize);
    Ok((nodes.map(|node| Value::in_memory(element.clone(), node + offset)).collect(), length))
}

/// Nodes of a list from `first` up to `end`, as far as `limits` need; each begins with the address of the next.
fn chain(first: Va, end: Va, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<Vec<Va>, Unavailable> {
    let most = limits.start.saturating_add(limits.count).min(NODE_LIMIT) as usize;
    let (mut nodes, mut seen) = (Vec::new(), HashSet::new());
    let mut at = first;
    while at != end && at != Va(0) && nodes.len() < most {
        if !seen.insert(at) {
            return Err(garbage("list runs in a circle"));
        }
        nodes.push(at);
        // What is not readable is shown as such by the element.
        let Some(next) = memory.read_u64(at) else { break };
        at = Va(next);
    }
    Ok(nodes)
}

fn wanted(nodes: Vec<Va>, limits: &ViewLimits) -> impl Iterator<Item = Va> {
    nodes.into_iter().skip(limits.start as usize)
}

/// Where the element of a node lies whose links take `links` bytes.
pub(super) fn storage_offset(links: u64, element: &Type) -> u64 {
    let alignment = element.alignment().filter(|alignment| alignment.is_power_of_two()).unwrap_or(8);
    links.next_multiple_of(alignment)
}

/// The pointer is `_M_head_impl` of one of the tuple's bases; a deleter with data is another of that name.
pub(super) fn unique_pointer(
    value: &Value,
    _limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let pointer = value.value_type().field_inside("_M_head_impl", &Type::is_pointer);
    let pointer = value.field(&pointer.ok_or(Unavailable::WrongType)?);
    let target = pointer.deref(memory)?;
    let target = target.address().filter(|at| at.0 != 0).map(|_| target);
    Ok(View::Pointer { target, note: None })
}

/// Also `std::weak_ptr`, whose object may be gone.
pub(super) fn shared_pointer(
    value: &Value,
    _limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let target = value.member("_M_ptr", memory)?.deref(memory)?;
    let counts = value.member("_M_refcount", memory)?.member("_M_pi", memory)?;
    if counts.scalar(memory)?.as_u64() == 0 {
        let target = target.address().filter(|at| at.0 != 0).map(|_| target);
        return Ok(View::Pointer { target, note: None });
    }
    let counts = counts.deref(memory)?;
    let shared = counts.member("_M_use_count", memory)?.scalar(memory)?.as_i128();
    let weak = counts.member("_M_weak_count", memory)?.scalar(memory)?.as_i128();
    // All shared pointers together count as one weak one.
    let weak = if shared > 0 { weak - 1 } else { weak };
    let target = if shared > 0 { target.address().filter(|at| at.0 != 0).map(|_| target) } else { None };
    Ok(View::Pointer { target, note: Some(format!("shared={shared}, weak={weak}")) })
}

pub(super) fn optional(
    value: &Value,
    _limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let payload = value.member("_M_payload", memory)?;
    let engaged = payload.member("_M_engaged", memory)?.scalar(memory)?.is_true();
    let element = value.value_type().template_argument("_Tp", 0).ok_or(Unavailable::WrongType)?;
    // The element is in a union with a byte; GCC 8 and later call it `_M_value`.
    let inner = payload.member("_M_payload", memory)?;
    Ok(View::Optional(engaged.then(|| inner.cast(element))))
}

pub(super) fn atomic(value: &Value, _limits: &ViewLimits, _memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let element = value.value_type().template_argument("_Tp", 0).ok_or(Unavailable::WrongType)?;
    Ok(View::Wrapped(value.cast(element)))
}
