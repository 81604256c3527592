//! Iterators of libc++: what they stand at. Where an end can be told from an element, it is.
//!
//! Source: `__iterator/wrap_iter.h`, `<deque>`, `<list>`, `<forward_list>`, `<map>`, `__tree`, `__hash_table` and
//! `__bit_reference` of LLVM 14 and 19.

use outpost_base::{MemoryReader, Va};

use super::cpp::{inside, pointer_view};
use super::iterators::{before, truth_at};
use super::nodes::storage_offset;
use super::{View, ViewLimits, garbage, number};
use crate::types::Type;
use crate::{Unavailable, Value};

/// Own part of a list's node: the one before, then the next.
const LIST_NODE: u64 = 16;
/// Where a tree's node has its parent, behind both children.
const TREE_PARENT: u64 = 16;

fn at_object(target: Value) -> View {
    View::Pointer { target: Some(target), note: None }
}

/// Of vectors, strings and spans.
pub(super) fn wrapped(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    pointer_view(&pointer_in(value, memory)?, memory)
}

fn pointer_in(value: &Value, memory: &mut dyn MemoryReader) -> Result<Value, Unavailable> {
    value.member("__i_", memory).or_else(|_| value.member("__i", memory))
}

pub(super) fn deque(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    pointer_view(&value.member("__ptr_", memory)?, memory)
}

pub(super) fn list(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    list_element(value, Va(number(value, "__ptr_", memory)?))
}

fn list_element(value: &Value, node: Va) -> Result<View, Unavailable> {
    let element = value.value_type().template_argument("_Tp", 0).ok_or(Unavailable::WrongType)?;
    Ok(match node {
        Va(0) => View::Empty("end"),
        Va(node) => {
            let at = Va(node.wrapping_add(storage_offset(LIST_NODE, &element)));
            at_object(Value::in_memory(element, at))
        }
    })
}

pub(super) fn forward_list(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let node = Va(number(value, "__ptr_", memory)?);
    in_node(&node_type(value, "_NodePtr", 0)?, node)
}

pub(super) fn hash(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let node = Va(number(value, "__node_", memory)?);
    in_node(&node_type(value, "_NodePtr", 0)?, node)
}

/// The end is a node that the tree has in itself, which is no child of what lies where others have their parent.
pub(super) fn tree(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let node = Va(number(value, "__ptr_", memory)?);
    if node == Va(0) {
        return Ok(View::Empty("end"));
    }
    let mut word = |at: u64| memory.read_u64(Va(at)).ok_or(Unavailable::Memory { at: Va(at) });
    let parent = word(node.0.wrapping_add(TREE_PARENT))?;
    let is_child = word(parent).is_ok_and(|left| left == node.0)
        || word(parent.wrapping_add(8)).is_ok_and(|right| right == node.0);
    if !is_child {
        return Ok(View::Empty("end"));
    }
    in_node(&node_type(value, "_NodePtr", 1)?, node)
}

/// Of maps, which have another within them.
pub(super) fn of_map(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let iterator = value.member("__i_", memory)?;
    match iterator.value_type().resolved().data().name.as_deref() {
        Some(name) if name.starts_with("__hash_") => hash(&iterator, limits, memory),
        _ => tree(&iterator, limits, memory),
    }
}

fn node_type(value: &Value, name: &str, position: usize) -> Result<Type, Unavailable> {
    let pointer = value.value_type().template_argument(name, position);
    pointer.and_then(|pointer| pointer.target()).ok_or(Unavailable::WrongType)
}

/// What a node has; of maps the pair within the union that lets keys be moved.
fn in_node(node: &Type, at: Va) -> Result<View, Unavailable> {
    if at == Va(0) {
        return Ok(View::Empty("end"));
    }
    let element = inside(&Value::in_memory(node.clone(), at), "__value_")?;
    let pair = inside(&element, "__cc_").or_else(|_| inside(&element, "__cc"));
    Ok(at_object(pair.unwrap_or(element)))
}

/// `std::reverse_iterator` stands at the element before the one that its iterator stands at.
pub(super) fn reverse(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let current = value.member("current", memory)?;
    let of = current.value_type().resolved();
    let name = of.data().name.clone().unwrap_or_default();
    if of.is_pointer() {
        return pointer_view(&before(&current, memory)?, memory);
    }
    if name.starts_with("__wrap_iter<") {
        return pointer_view(&before(&pointer_in(&current, memory)?, memory)?, memory);
    }
    if name.starts_with("__list_") {
        let node = Va(number(&current, "__ptr_", memory)?);
        return list_element(&current, Va(memory.read_u64(node).ok_or(Unavailable::Memory { at: node })?));
    }
    Ok(View::Words("before what it holds".to_owned()))
}

/// Iterators of `std::vector<bool>`, and what they give.
pub(super) fn flag(value: &Value, _: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let word = Va(number(value, "__seg_", memory)?);
    let mask = match number(value, "__mask_", memory) {
        Ok(mask) => mask,
        Err(_) => {
            let bit = u32::try_from(number(value, "__ctz_", memory)?).ok();
            bit.and_then(|bit| 1u64.checked_shl(bit)).ok_or_else(|| garbage("iterator outside its word"))?
        }
    };
    truth_at(word, mask, memory)
}
