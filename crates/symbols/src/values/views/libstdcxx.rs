//! Containers of libstdc++ (GCC 5 and later, and the reference-counted strings before), by the names of their members.
//!
//! Source: `bits/basic_string.h`, `stl_vector.h`, `stl_bvector.h`, `stl_deque.h`, `stl_list.h`, `forward_list.h`,
//! `stl_tree.h`, `hashtable.h`, `unique_ptr.h`, `shared_ptr_base.h`, `refwrap.h`, `optional`, `variant`, `tuple`, `span`
//! and `bitset` of GCC 12.

use outpost_base::{MemoryReader, Va};

use super::cpp::{alternative, bits, counted_view, inside, last_number, own_elements, pointer_view};
use super::nodes::{chain, forward_items, storage_offset, wanted};
use super::tree::nodes_in_order;
use super::{LENGTH_LIMIT, View, ViewLimits, contiguous, garbage, number, text_at};
use crate::{Unavailable, Value};

/// A tree's node has its colour and the parent before the children; so much in all.
pub(super) const TREE_NODE: u64 = 32;
const TREE_LINKS: u64 = 16;
/// Bases of a tuple that are gone through.
const TUPLE_LIMIT: usize = 256;

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
        return flags(value, &start, &finish, limits, memory);
    }
    let element = start.value_type().target().ok_or(Unavailable::WrongType)?;
    let size = element.size().filter(|size| *size > 0).ok_or(Unavailable::NoSize)?;
    let (start, finish) = (start.scalar(memory)?.as_u64(), finish.scalar(memory)?.as_u64());
    let bytes = finish.checked_sub(start).filter(|bytes| bytes % size == 0);
    contiguous(&element, Va(start), bytes.ok_or_else(|| garbage("ends before it starts"))? / size, limits)
}

/// `std::vector<bool>`: iterators of a word's address and a bit in it.
fn flags(
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
    bits(&element, Va(from), first, length.ok_or_else(|| garbage("ends before it starts"))?, limits, memory)
}

pub(super) fn valarray(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let data = value.member("_M_data", memory)?;
    let element = data.value_type().target().ok_or(Unavailable::WrongType)?;
    contiguous(&element, Va(data.scalar(memory)?.as_u64()), number(value, "_M_size", memory)?, limits)
}

pub(super) fn array(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    own_elements(&value.member("_M_elems", memory)?, limits, memory)
}

pub(super) fn span(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let data = value.member("_M_ptr", memory)?;
    let element = data.value_type().target().ok_or(Unavailable::WrongType)?;
    let length = match inside(value, "_M_extent_value") {
        Ok(length) => length.scalar(memory)?.as_u64(),
        Err(_) => last_number(value.value_type()).ok_or(Unavailable::WrongType)?,
    };
    contiguous(&element, Va(data.scalar(memory)?.as_u64()), length, limits)
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
    let nodes = chain(Va(first), at_head, 0, limits, memory)?;
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
    let nodes = chain(Va(first), Va(0), 0, limits, memory)?;
    let offset = storage_offset(8, &element);
    let nodes = wanted(nodes, limits).take(length as usize);
    Ok((nodes.map(|node| Value::in_memory(element.clone(), node + offset)).collect(), length))
}

pub(super) fn forward_list(
    value: &Value,
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let element = value.value_type().template_argument("_Tp", 0).ok_or(Unavailable::WrongType)?;
    let head = value.member("_M_impl", memory)?.member("_M_head", memory)?;
    forward_items(Va(number(&head, "_M_next", memory)?), &element, limits, memory)
}

pub(super) fn map(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let (items, length) = tree_elements(value, limits, memory)?;
    let mut entries = Vec::new();
    for item in items {
        entries.push((item.member("first", memory)?, item.member("second", memory)?));
    }
    Ok(View::Map { entries, length })
}

pub(super) fn set(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let (items, length) = tree_elements(value, limits, memory)?;
    Ok(View::Sequence { items, length })
}

fn tree_elements(
    value: &Value,
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<(Vec<Value>, u64), Unavailable> {
    let tree = value.member("_M_t", memory)?;
    let element = tree.value_type().template_argument("_Val", 1).ok_or(Unavailable::WrongType)?;
    let implementation = tree.member("_M_impl", memory)?;
    let header = implementation.member("_M_header", memory)?;
    let length = number(&implementation, "_M_node_count", memory)?;
    let root = Va(number(&header, "_M_parent", memory)?);
    let nodes = nodes_in_order(root, length, TREE_LINKS, limits, memory)?;
    let offset = storage_offset(TREE_NODE, &element);
    Ok((nodes.into_iter().map(|node| Value::in_memory(element.clone(), node + offset)).collect(), length))
}

/// A tuple of the pointer and what deletes it.
pub(super) fn unique_pointer(
    value: &Value,
    _limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let parts = value.member("_M_t", memory)?;
    // GCC 7 and later keep it one level deeper.
    let parts = parts.member("_M_t", memory).unwrap_or(parts);
    pointer_view(tuple_elements(&parts, memory)?.first().ok_or(Unavailable::WrongType)?, memory)
}

/// Also `std::weak_ptr`, whose object may be gone.
pub(super) fn shared_pointer(
    value: &Value,
    _limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let pointer = value.member("_M_ptr", memory)?;
    let counts = value.member("_M_refcount", memory)?.member("_M_pi", memory)?;
    if counts.scalar(memory)?.as_u64() == 0 {
        return pointer_view(&pointer, memory);
    }
    let counts = counts.deref(memory)?;
    let shared = counts.member("_M_use_count", memory)?.scalar(memory)?.as_i128();
    let weak = counts.member("_M_weak_count", memory)?.scalar(memory)?.as_i128();
    // All shared pointers together count as one weak one.
    Ok(counted_view(&pointer.deref(memory)?, shared, if shared > 0 { weak - 1 } else { weak }))
}

pub(super) fn reference(
    value: &Value,
    _limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    pointer_view(&value.member("_M_data", memory)?, memory)
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
    Ok(if engaged { View::Wrapped(inner.cast(element)) } else { View::Empty("nullopt") })
}

pub(super) fn variant(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    Ok(alternative(value, number(value, "_M_index", memory)?, &value.member("_M_u", memory)?))
}

pub(super) fn tuple(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    Ok(View::Tuple(tuple_elements(value, memory)?))
}

/// An element is in the last base class of what has it and those behind it, as a member or, without data, as its base.
fn tuple_elements(tuple: &Value, memory: &mut dyn MemoryReader) -> Result<Vec<Value>, Unavailable> {
    let bases = |of: &Value| of.value_type().resolved().record().map_or(0, |record| record.bases.len());
    let (mut items, mut rest) = (Vec::new(), tuple.clone());
    while bases(&rest) > 0 && items.len() < TUPLE_LIMIT {
        rest = rest.base(0, memory)?;
        let Some(last) = bases(&rest).checked_sub(1) else { break };
        let own = rest.base(last, memory)?;
        let element = own.value_type().own_field("_M_head_impl").map(|field| own.field(&field));
        items.push(element.map_or_else(|| own.base(0, memory), Ok)?);
    }
    Ok(items)
}

pub(super) fn path(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    Ok(View::Wrapped(value.member("_M_pathname", memory)?))
}
