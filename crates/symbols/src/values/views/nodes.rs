//! Nodes that containers link to each other: lists of them, and what lies behind their links.

use std::collections::HashSet;

use outpost_base::{MemoryReader, Va};

use super::{View, ViewLimits, garbage};
use crate::types::Type;
use crate::{Unavailable, Value};

/// Most nodes of a list that are walked over.
const NODE_LIMIT: u64 = 1 << 20;

/// Nodes of a list from `first` up to `end`, as far as `limits` need; each has the address of the next `link` bytes from
/// its start.
pub(super) fn chain(
    first: Va,
    end: Va,
    link: u64,
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<Vec<Va>, Unavailable> {
    let most = limits.start.saturating_add(limits.count).min(NODE_LIMIT) as usize;
    let (mut nodes, mut seen) = (Vec::new(), HashSet::new());
    let mut at = first;
    while at != end && at != Va(0) && nodes.len() < most {
        if !seen.insert(at) {
            return Err(garbage("list runs in a circle"));
        }
        nodes.push(at);
        // What is not readable is shown as such by the element.
        let Some(next) = memory.read_u64(at + link) else { break };
        at = Va(next);
    }
    Ok(nodes)
}

/// Those of the leading nodes that are asked for.
pub(super) fn wanted(nodes: Vec<Va>, limits: &ViewLimits) -> impl Iterator<Item = Va> {
    nodes.into_iter().skip(limits.start as usize)
}

/// Where the element of a node lies whose own part takes `taken` bytes.
pub(super) fn storage_offset(taken: u64, element: &Type) -> u64 {
    taken.next_multiple_of(alignment(element))
}

/// What the element's address is a multiple of.
pub(super) fn alignment(element: &Type) -> u64 {
    element.alignment().filter(|alignment| alignment.is_power_of_two()).unwrap_or(8)
}

/// A list whose nodes have nothing of their own but the next one's address, and which keeps no count.
pub(super) fn forward_items(
    first: Va,
    element: &Type,
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    // One more tells whether there are more.
    let all = ViewLimits { count: limits.count.saturating_add(1), ..*limits };
    let nodes = chain(first, Va(0), 0, &all, memory)?;
    let length = nodes.len() as u64;
    let offset = storage_offset(8, element);
    let items = wanted(nodes, limits).take(limits.count as usize);
    let items = items.map(|node| Value::in_memory(element.clone(), node + offset)).collect();
    Ok(View::Sequence { items, length })
}
