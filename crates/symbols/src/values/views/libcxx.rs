//! Containers of LLVM's libc++ by the names of their members, those of releases 14 to 19.
//!
//! Until LLVM 19 a container keeps each of its members that could be empty together with another in a
//! `__compressed_pair`; later they lie side by side. Source: `<string>`, `<vector>`, `<deque>`, `<list>`, `<forward_list>`,
//! `__tree`, `__hash_table`, `__memory/unique_ptr.h`, `__memory/shared_ptr.h`, `<optional>`, `<variant>`, `<tuple>`.

use outpost_base::{MemoryReader, Va};

use super::cpp::{alternative, bits, counted_view, inside, last_number, own_elements, pointer_view};
use super::nodes::{alignment, chain, forward_items, storage_offset, wanted};
use super::tree::nodes_in_order;
use super::{LENGTH_LIMIT, View, ViewLimits, contiguous, garbage, number, number_inside, text_at};
use crate::types::Type;
use crate::{Unavailable, Value};

/// Own part of a tree's node: two children, the parent, and a flag, behind which the element may begin at once.
const TREE_NODE: u64 = 25;
const TREE_LINKS: u64 = 0;
/// Own part of a hash table's node: the next one, and the hash.
const HASH_NODE: u64 = 16;
/// Own part of a list's node: the one before, then the next.
const LIST_NODE: u64 = 16;
const LIST_NEXT: u64 = 8;
/// Counts in `__shared_weak_count`, behind the pointer to its virtual functions; the library's own debug info has them.
const OWNERS: u64 = 8;
const WEAK_OWNERS: u64 = 16;

/// The member that has one of these names, out of the pair that it may be kept in.
fn stored(value: &Value, names: &[&str], memory: &mut dyn MemoryReader) -> Result<Value, Unavailable> {
    let member = names.iter().find_map(|name| value.member(name, memory).ok()).ok_or(Unavailable::WrongType)?;
    let of = member.value_type().resolved();
    let is_pair = of.data().name.as_deref().is_some_and(|name| name.starts_with("__compressed_pair<"));
    if is_pair { inside(&member, "__value_") } else { Ok(member) }
}

fn stored_number(value: &Value, names: &[&str], memory: &mut dyn MemoryReader) -> Result<u64, Unavailable> {
    Ok(stored(value, names, memory)?.scalar(memory)?.as_u64())
}

pub(super) fn valarray(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let begin = value.member("__begin_", memory)?;
    let element = begin.value_type().target().ok_or(Unavailable::WrongType)?;
    let size = element.size().filter(|size| *size > 0).ok_or(Unavailable::NoSize)?;
    let (begin, end) = (begin.scalar(memory)?.as_u64(), number(value, "__end_", memory)?);
    let bytes = end.checked_sub(begin).filter(|bytes| bytes % size == 0);
    contiguous(&element, Va(begin), bytes.ok_or_else(|| garbage("ends before it starts"))? / size, limits)
}

/// Text that is short enough lies in the string itself; the lowest bit of its first byte tells.
pub(super) fn string(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let unit = value.value_type().template_argument("_CharT", 0).and_then(|unit| unit.size()).unwrap_or(1);
    let parts = stored(value, &["__r_", "__rep_"], memory)?;
    let (long, short) = (parts.member("__l", memory)?, parts.member("__s", memory)?);
    let size = number(&short, "__size_", memory)?;
    let (is_long, size) = match number(&short, "__is_long_", memory) {
        Ok(flag) => (flag != 0, size),
        Err(_) => (size & 1 != 0, size >> 1),
    };
    if is_long {
        return text_at(Va(number(&long, "__data_", memory)?), number(&long, "__size_", memory)?, unit, limits, memory);
    }
    let data = short.member("__data_", memory)?;
    let room = data.value_type().size().unwrap_or(0);
    if size * unit > room {
        return Err(garbage("longer than its room"));
    }
    match data.address() {
        Some(at) => text_at(at, size, unit, limits, memory),
        None => Err(Unavailable::WrongType),
    }
}

pub(super) fn string_view(
    value: &Value,
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let unit = value.value_type().template_argument("_CharT", 0).and_then(|unit| unit.size()).unwrap_or(1);
    let at = Va(stored_number(value, &["__data_", "__data"], memory)?);
    text_at(at, stored_number(value, &["__size_", "__size"], memory)?, unit, limits, memory)
}

pub(super) fn vector(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let begin = value.member("__begin_", memory)?;
    let Ok(end) = value.member("__end_", memory) else {
        // `std::vector<bool>`.
        let element = value.value_type().template_argument("_Tp", 0).ok_or(Unavailable::WrongType)?;
        let length = stored_number(value, &["__size_"], memory)?;
        return bits(&element, Va(begin.scalar(memory)?.as_u64()), 0, length, limits, memory);
    };
    let element = begin.value_type().target().ok_or(Unavailable::WrongType)?;
    let size = element.size().filter(|size| *size > 0).ok_or(Unavailable::NoSize)?;
    let (begin, end) = (begin.scalar(memory)?.as_u64(), end.scalar(memory)?.as_u64());
    let bytes = end.checked_sub(begin).filter(|bytes| bytes % size == 0);
    contiguous(&element, Va(begin), bytes.ok_or_else(|| garbage("ends before it starts"))? / size, limits)
}

pub(super) fn array(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let element = value.value_type().template_argument("_Tp", 0).ok_or(Unavailable::WrongType)?;
    let elements = value.member("__elems_", memory)?;
    // Of no elements it is an array of bytes.
    let is_own = elements.value_type().element().is_some_and(|(own, _)| own.size() == element.size());
    match is_own && last_number(value.value_type()) != Some(0) {
        true => own_elements(&elements, limits, memory),
        false => Ok(View::Sequence { items: Vec::new(), length: 0 }),
    }
}

pub(super) fn span(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let data = stored(value, &["__data_", "__data"], memory)?;
    let element = data.value_type().target().ok_or(Unavailable::WrongType)?;
    let length = match stored_number(value, &["__size_", "__size"], memory) {
        Ok(length) => length,
        Err(_) => last_number(value.value_type()).ok_or(Unavailable::WrongType)?,
    };
    contiguous(&element, Va(data.scalar(memory)?.as_u64()), length, limits)
}

/// Blocks of 4,096 bytes (or 16 elements), their addresses in a map.
pub(super) fn deque(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let element = value.value_type().template_argument("_Tp", 0).ok_or(Unavailable::WrongType)?;
    let size = element.size().filter(|size| *size > 0).ok_or(Unavailable::NoSize)?;
    let block = if size < 256 { 4096 / size } else { 16 };
    let map = value.member("__map_", memory)?;
    let (begin, end) = (number(&map, "__begin_", memory)?, number(&map, "__end_", memory)?);
    let (start, length) = (number(value, "__start_", memory)?, stored_number(value, &["__size_"], memory)?);
    let room = end.checked_sub(begin).filter(|bytes| *bytes < LENGTH_LIMIT).map(|bytes| bytes / 8 * block);
    if room.is_none_or(|room| start.checked_add(length).is_none_or(|end| end > room)) {
        return Err(garbage("longer than its blocks"));
    }
    let end = length.min(limits.start.saturating_add(limits.count));
    let mut items = Vec::new();
    for index in limits.start..end {
        let number = start + index;
        let node = Va(begin) + number / block * 8;
        items.push(match memory.read_u64(node).map(Va) {
            Some(first) => Value::in_memory(element.clone(), first + number % block * size),
            None => Value::unavailable(element.clone(), Unavailable::Memory { at: node }),
        });
    }
    Ok(View::Sequence { items, length })
}

pub(super) fn list(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let element = value.value_type().template_argument("_Tp", 0).ok_or(Unavailable::WrongType)?;
    let head = value.member("__end_", memory)?;
    let end = head.address().ok_or(Unavailable::WrongType)?;
    let length = stored_number(value, &["__size_alloc_", "__size_"], memory)?;
    let nodes = chain(Va(number(&head, "__next_", memory)?), end, LIST_NEXT, limits, memory)?;
    let offset = storage_offset(LIST_NODE, &element);
    let items = wanted(nodes, limits).map(|node| Value::in_memory(element.clone(), node + offset)).collect();
    Ok(View::Sequence { items, length })
}

pub(super) fn forward_list(
    value: &Value,
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let element = value.value_type().template_argument("_Tp", 0).ok_or(Unavailable::WrongType)?;
    let first = number_inside(&value.member("__before_begin_", memory)?, "__next_", memory)?;
    forward_items(Va(first), &element, limits, memory)
}

pub(super) fn map(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let entry = Entry::of(value)?;
    let (nodes, length) = tree_nodes(value, limits, memory)?;
    let offset = TREE_NODE.next_multiple_of(entry.alignment);
    Ok(View::Map { entries: nodes.into_iter().map(|node| entry.at(node + offset)).collect(), length })
}

pub(super) fn set(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let element = value.value_type().template_argument("_Key", 0).ok_or(Unavailable::WrongType)?;
    let (nodes, length) = tree_nodes(value, limits, memory)?;
    let offset = storage_offset(TREE_NODE, &element);
    let items = nodes.into_iter().map(|node| Value::in_memory(element.clone(), node + offset)).collect();
    Ok(View::Sequence { items, length })
}

fn tree_nodes(
    value: &Value,
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<(Vec<Va>, u64), Unavailable> {
    let tree = value.member("__tree_", memory)?;
    let length = stored_number(&tree, &["__pair3_", "__size_"], memory)?;
    let end = stored(&tree, &["__pair1_", "__end_node_"], memory)?;
    let root = Va(number(&end, "__left_", memory)?);
    Ok((nodes_in_order(root, length, TREE_LINKS, limits, memory)?, length))
}

pub(super) fn hash_map(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let entry = Entry::of(value)?;
    let (nodes, length) = hash_nodes(value, limits, memory)?;
    let offset = HASH_NODE.next_multiple_of(entry.alignment);
    Ok(View::Map { entries: nodes.into_iter().map(|node| entry.at(node + offset)).collect(), length })
}

pub(super) fn hash_set(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let element = value.value_type().template_argument("_Value", 0).ok_or(Unavailable::WrongType)?;
    let (nodes, length) = hash_nodes(value, limits, memory)?;
    let offset = storage_offset(HASH_NODE, &element);
    let items = nodes.into_iter().map(|node| Value::in_memory(element.clone(), node + offset)).collect();
    Ok(View::Sequence { items, length })
}

fn hash_nodes(
    value: &Value,
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<(Vec<Va>, u64), Unavailable> {
    let table = value.member("__table_", memory)?;
    let length = stored_number(&table, &["__p2_", "__size_"], memory)?;
    if length > LENGTH_LIMIT {
        return Err(garbage("length is nonsense"));
    }
    let first = stored(&table, &["__p1_", "__first_node_"], memory)?;
    let nodes = chain(Va(number(&first, "__next_", memory)?), Va(0), 0, limits, memory)?;
    Ok((wanted(nodes, limits).take(length as usize).collect(), length))
}

/// Key and value of a map, as `std::pair` lays them out. The type of the pair itself is not always in the debug info.
struct Entry {
    key: Type,
    value: Type,
    value_offset: u64,
    alignment: u64,
}

impl Entry {
    fn of(map: &Value) -> Result<Entry, Unavailable> {
        let argument = |name, at| map.value_type().template_argument(name, at).ok_or(Unavailable::WrongType);
        let (key, value) = (argument("_Key", 0)?, argument("_Tp", 1)?);
        let key_size = key.size().ok_or(Unavailable::NoSize)?;
        Ok(Entry {
            value_offset: storage_offset(key_size, &value),
            alignment: alignment(&key).max(alignment(&value)),
            key,
            value,
        })
    }

    fn at(&self, at: Va) -> (Value, Value) {
        (Value::in_memory(self.key.clone(), at), Value::in_memory(self.value.clone(), at + self.value_offset))
    }
}

pub(super) fn unique_pointer(
    value: &Value,
    _limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    pointer_view(&stored(value, &["__ptr_"], memory)?, memory)
}

/// Also `std::weak_ptr`. Counts are less by one than what they count.
pub(super) fn shared_pointer(
    value: &Value,
    _limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let pointer = value.member("__ptr_", memory)?;
    let counts = Va(number(value, "__cntrl_", memory)?);
    if counts == Va(0) {
        return pointer_view(&pointer, memory);
    }
    let mut count = |offset| {
        let at = counts + offset;
        memory.read_u64(at).map(|count| i128::from(count as i64)).ok_or(Unavailable::Memory { at })
    };
    let (owners, weak) = (count(OWNERS)? + 1, count(WEAK_OWNERS)? + 1);
    // All owners together count as one weak one.
    Ok(counted_view(&pointer.deref(memory)?, owners, if owners > 0 { weak - 1 } else { weak }))
}

pub(super) fn reference(
    value: &Value,
    _limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    pointer_view(&value.member("__f_", memory)?, memory)
}

pub(super) fn optional(
    value: &Value,
    _limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    match value.member("__engaged_", memory)?.scalar(memory)?.is_true() {
        true => Ok(View::Wrapped(value.member("__val_", memory)?)),
        false => Ok(View::Empty("nullopt")),
    }
}

pub(super) fn variant(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let index = inside(value, "__index")?.scalar(memory)?.as_u64();
    Ok(alternative(value, index, &inside(value, "__data")?))
}

/// Each element is in a base class of its own, or is one if it has no data.
pub(super) fn tuple(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let Ok(elements) = value.member("__base_", memory) else { return Ok(View::Tuple(Vec::new())) };
    let of = value.value_type().resolved();
    let arguments = of.record().map_or(&[][..], |record| &record.template);
    let mut items = Vec::new();
    for (number, argument) in arguments.iter().enumerate() {
        let leaf = elements.base(number, memory)?;
        let own = leaf.member("__value_", memory);
        items.push(own.unwrap_or_else(|_| leaf.cast(of.sibling(argument.argument_type))));
    }
    Ok(View::Tuple(items))
}

pub(super) fn path(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    Ok(View::Wrapped(value.member("__pn_", memory)?))
}
