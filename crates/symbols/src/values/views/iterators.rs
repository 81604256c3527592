//! Iterators of libstdc++: what they stand at. Where an end can be told from an element, it is.
//!
//! Source: `bits/stl_iterator.h`, `stl_deque.h`, `stl_list.h`, `forward_list.h`, `stl_tree.h`, `hashtable_policy.h` and
//! `stl_bvector.h` of GCC 12.

use outpost_base::{MemoryReader, Va};

use super::cpp::pointer_view;
use super::erased::arguments_of;
use super::libstdcxx::TREE_NODE;
use super::nodes::storage_offset;
use super::{View, ViewLimits, garbage, number};
use crate::types::{Type, TypeTable};
use crate::{Unavailable, Value};

/// A tree's node: its colour, then links to the parent and both children.
const TREE_PARENT: u64 = 8;
const TREE_LEFT: u64 = 16;
const TREE_RIGHT: u64 = 24;
/// Links that are followed from one node of a tree to the one before it; a balanced one needs 128 at most.
const STEP_LIMIT: usize = 256;

/// What an iterator's container has. GCC leaves the arguments of some templates out that it only names.
fn element_of(iterator: &Type) -> Result<Type, Unavailable> {
    if let Some(element) = iterator.template_argument("_Tp", 0) {
        return Ok(element);
    }
    let name = iterator.qualified_name();
    let arguments = name.split_once('<').and_then(|(_, rest)| rest.trim_end().strip_suffix('>')).unwrap_or_default();
    let element = arguments_of(arguments).first().map(|argument| argument.trim().to_owned()).unwrap_or_default();
    let found = iterator.table().named(&element);
    found.into_iter().find(|element| element.size().is_some()).ok_or(Unavailable::WrongType)
}

fn at_element(element: Type, at: Va) -> View {
    View::Pointer { target: Some(Value::in_memory(element, at)), note: None }
}

/// `__gnu_cxx::__normal_iterator`, of vectors, strings and spans.
pub(super) fn normal(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    pointer_view(&value.member("_M_current", memory)?, memory)
}

/// Of a `std::deque`.
pub(super) fn deque(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    pointer_view(&value.member("_M_cur", memory)?, memory)
}

/// Of a `std::list`, whose nodes have links to both sides.
pub(super) fn list(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    linked(value, "_M_node", 16, memory)
}

/// Of a `std::forward_list`.
pub(super) fn forward_list(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    linked(value, "_M_node", 8, memory)
}

/// Of the unordered containers, whose elements are all on one list.
pub(super) fn hash(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    linked(value, "_M_cur", 8, memory)
}

fn linked(value: &Value, node: &str, links: u64, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let element = element_of(&value.value_type().resolved())?;
    Ok(match number(value, node, memory)? {
        0 => View::Empty("end"),
        at => at_element(element.clone(), Va(at.wrapping_add(storage_offset(links, &element)))),
    })
}

/// Of maps and sets. The end is the tree's header, which no way from the root leads to.
pub(super) fn tree(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let element = element_of(&value.value_type().resolved())?;
    let at = Va(number(value, "_M_node", memory)?);
    if at == Va(0) || is_header(at, memory)? {
        return Ok(View::Empty("end"));
    }
    Ok(at_element(element.clone(), Va(at.0.wrapping_add(storage_offset(TREE_NODE, &element)))))
}

/// The header is red, and the root's parent as the root is its; a root is black.
fn is_header(node: Va, memory: &mut dyn MemoryReader) -> Result<bool, Unavailable> {
    let colour = memory.read_uint(node, 4).ok_or(Unavailable::Memory { at: node })?;
    let parent = link(node, TREE_PARENT, memory)?;
    Ok(colour & 1 == 0 && (parent == Va(0) || link(parent, TREE_PARENT, memory)? == node))
}

fn link(node: Va, offset: u64, memory: &mut dyn MemoryReader) -> Result<Va, Unavailable> {
    let at = Va(node.0.wrapping_add(offset));
    memory.read_u64(at).map(Va).ok_or(Unavailable::Memory { at })
}

/// `std::reverse_iterator` stands at the element before the one that its iterator stands at.
pub(super) fn reverse(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let current = value.member("current", memory)?;
    let of = current.value_type().resolved();
    if of.is_pointer() {
        return pointer_view(&before(&current, memory)?, memory);
    }
    let name = of.qualified_name();
    let element = || element_of(&of);
    if name.contains("__normal_iterator<") {
        return pointer_view(&before(&current.member("_M_current", memory)?, memory)?, memory);
    }
    if name.contains("_List_iterator<") || name.contains("_List_const_iterator<") {
        let (element, node) = (element()?, Va(number(&current, "_M_node", memory)?));
        let previous = link(node, 8, memory)?;
        return Ok(at_element(element.clone(), Va(previous.0.wrapping_add(storage_offset(16, &element)))));
    }
    if name.contains("_Rb_tree_iterator<") || name.contains("_Rb_tree_const_iterator<") {
        let (element, node) = (element()?, Va(number(&current, "_M_node", memory)?));
        let previous = tree_before(node, memory)?;
        return Ok(at_element(element.clone(), Va(previous.0.wrapping_add(storage_offset(TREE_NODE, &element)))));
    }
    if name.contains("_Deque_iterator<") {
        let (here, first) = (current.member("_M_cur", memory)?, number(&current, "_M_first", memory)?);
        if here.scalar(memory)?.as_u64() != first {
            return pointer_view(&before(&here, memory)?, memory);
        }
        // The last element of the block before.
        let element = here.value_type().target().ok_or(Unavailable::WrongType)?;
        let size = element.size().filter(|size| *size > 0).ok_or(Unavailable::NoSize)?;
        let node = Va(number(&current, "_M_node", memory)?.wrapping_sub(8));
        let block = memory.read_u64(node).ok_or(Unavailable::Memory { at: node })?;
        return Ok(at_element(element, Va(block.wrapping_add(((512 / size).max(1) - 1) * size))));
    }
    Ok(View::Words("before what it holds".to_owned()))
}

/// The pointer to the element before.
pub(super) fn before(pointer: &Value, memory: &mut dyn MemoryReader) -> Result<Value, Unavailable> {
    let size = pointer.value_type().target().and_then(|target| target.size()).ok_or(Unavailable::NoSize)?;
    let at = pointer.scalar(memory)?.as_u64().wrapping_sub(size);
    Ok(Value::from_bytes(pointer.value_type().clone(), at.to_le_bytes().to_vec()))
}

/// The node before one of a tree, as `_Rb_tree_decrement` finds it.
fn tree_before(node: Va, memory: &mut dyn MemoryReader) -> Result<Va, Unavailable> {
    if is_header(node, memory)? {
        return link(node, TREE_RIGHT, memory);
    }
    let mut at = link(node, TREE_LEFT, memory)?;
    if at != Va(0) {
        for _ in 0..STEP_LIMIT {
            match link(at, TREE_RIGHT, memory)? {
                Va(0) => return Ok(at),
                right => at = right,
            }
        }
        return Err(garbage("tree is too deep"));
    }
    let mut below = node;
    for _ in 0..STEP_LIMIT {
        at = link(below, TREE_PARENT, memory)?;
        if link(at, TREE_LEFT, memory)? != below {
            return Ok(at);
        }
        below = at;
    }
    Err(garbage("tree is too deep"))
}

/// Iterators of `std::vector<bool>`.
pub(super) fn flag(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let bit = number(value, "_M_offset", memory)?;
    if bit >= 64 {
        return Err(garbage("iterator outside its word"));
    }
    truth_at(Va(number(value, "_M_p", memory)?), 1 << bit, memory)
}

/// What they give: `std::vector<bool>::reference`.
pub(super) fn flag_reference(
    value: &Value,
    _: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    truth_at(Va(number(value, "_M_p", memory)?), number(value, "_M_mask", memory)?, memory)
}

pub(super) fn truth_at(at: Va, mask: u64, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let word = memory.read_u64(at).ok_or(Unavailable::Memory { at })?;
    let bool_type = TypeTable::builtin().named("bool").into_iter().next().ok_or(Unavailable::WrongType)?;
    Ok(View::Wrapped(Value::from_bytes(bool_type, vec![u8::from(word & mask != 0)])))
}
