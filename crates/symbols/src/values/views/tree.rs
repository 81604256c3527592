//! Binary search trees, as `std::map` and `std::set` are.

use std::collections::{HashMap, HashSet, VecDeque};

use outpost_base::{MemoryReader, Va};

use super::{ViewLimits, garbage};
use crate::Unavailable;

/// Trees up to this many nodes are read level by level, which takes few rounds; of larger ones only the nodes on the way
/// to what is wanted.
const WHOLE_LIMIT: u64 = 1 << 14;
/// Levels of a tree that are believed: a red-black tree of 2^32 nodes has at most 64.
const HEIGHT_LIMIT: usize = 128;

/// The nodes that `limits` ask for of a tree of `length`, in order. A node's link to the left child is `links` bytes from its
/// start, that to the right one behind it.
pub(super) fn nodes_in_order(
    root: Va,
    length: u64,
    links: u64,
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<Vec<Va>, Unavailable> {
    let end = limits.start.saturating_add(limits.count).min(length);
    let nodes = if root == Va(0) || end <= limits.start {
        Vec::new()
    } else if length <= WHOLE_LIMIT {
        whole_tree(root, length, links, memory)?
    } else {
        leading_nodes(root, end, links, memory)?
    };
    Ok(nodes.into_iter().take(end as usize).skip(limits.start as usize).collect())
}

/// All nodes in order. They are read in breadth, so that whoever batches learns a level's nodes at once; a node that is
/// not readable is kept as a leaf and shows itself as unreadable.
fn whole_tree(root: Va, length: u64, links: u64, memory: &mut dyn MemoryReader) -> Result<Vec<Va>, Unavailable> {
    let mut children: HashMap<Va, (Va, Va)> = HashMap::new();
    let mut queue = VecDeque::from([root]);
    while let Some(node) = queue.pop_front() {
        let (left, right) = children_of(node + links, memory).unwrap_or_default();
        if children.insert(node, (left, right)).is_some() {
            return Err(garbage("tree runs in a circle"));
        }
        queue.extend([left, right].into_iter().filter(|child| *child != Va(0)));
        if children.len() as u64 + queue.len() as u64 > length {
            return Err(garbage("more nodes than it counts"));
        }
    }
    let mut sorted = Vec::with_capacity(children.len());
    let mut stack = Vec::new();
    let mut at = root;
    loop {
        while let Some((left, _)) = children.get(&at).filter(|_| at != Va(0)) {
            stack.push(at);
            at = *left;
        }
        let Some(node) = stack.pop() else { return Ok(sorted) };
        sorted.push(node);
        at = children.get(&node).map_or(Va(0), |(_, right)| *right);
    }
}

/// The first `count` nodes in order, reading those on the way only.
fn leading_nodes(root: Va, count: u64, links: u64, memory: &mut dyn MemoryReader) -> Result<Vec<Va>, Unavailable> {
    let (mut sorted, mut stack, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    let mut at = root;
    while (sorted.len() as u64) < count {
        while at != Va(0) {
            if stack.len() > HEIGHT_LIMIT || !seen.insert(at) {
                return Err(garbage("tree runs in a circle"));
            }
            let (left, right) = children_of(at + links, memory).unwrap_or_default();
            stack.push((at, right));
            at = left;
        }
        let Some((node, right)) = stack.pop() else { break };
        sorted.push(node);
        at = right;
    }
    Ok(sorted)
}

/// What two links at `at` lead to.
fn children_of(at: Va, memory: &mut dyn MemoryReader) -> Option<(Va, Va)> {
    let mut bytes = [0; 16];
    memory.read_exact(at, &mut bytes)?;
    let (left, right) = bytes.split_first_chunk()?;
    Some((Va(u64::from_le_bytes(*left)), Va(u64::from_le_bytes(*right.first_chunk()?))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BatchMemory;
    use outpost_base::VaRange;

    const LINKS: u64 = 16;

    /// A perfect tree of `levels` levels laid out in order, 64 bytes a node from 0x1000.
    fn perfect(levels: u32) -> (Va, Vec<u8>) {
        let count = (1u64 << levels) - 1;
        let at = |index: u64| 0x1000 + index * 64;
        let mut bytes = vec![0; (count * 64) as usize];
        for index in 0..count {
            let reach = 1u64 << (index + 1).trailing_zeros() >> 1;
            if reach > 0 {
                for (link, child) in [(LINKS, index - reach), (LINKS + 8, index + reach)] {
                    let place = (index * 64 + link) as usize;
                    bytes[place..place + 8].copy_from_slice(&at(child).to_le_bytes());
                }
            }
        }
        (Va(at(count / 2)), bytes)
    }

    #[test]
    fn a_tree_of_a_thousand_takes_a_round_with_read_ahead() {
        let (root, bytes) = perfect(10);
        for (read_ahead, most_rounds) in [(0, 11), (64 << 10, 1)] {
            let mut rounds = 0;
            let mut fetch = |ranges: &[VaRange]| {
                rounds += 1;
                let mut memory = outpost_base::SliceMemory { start: Va(0x1000), bytes: &bytes };
                let mut one = |range: &VaRange| {
                    let mut buf = vec![0; range.len() as usize];
                    let count = memory.read(range.start, &mut buf);
                    buf.truncate(count);
                    buf
                };
                ranges.iter().map(&mut one).collect()
            };
            let mut memory = BatchMemory::with_read_ahead(read_ahead);
            let nodes = memory.run(20, |memory| whole_tree(root, 1023, LINKS, memory), &mut fetch).unwrap();
            let expected: Vec<Va> = (0..1023).map(|index| Va(0x1000 + index * 64)).collect();
            assert_eq!(nodes, expected);
            assert!(rounds <= most_rounds, "{rounds} rounds with {read_ahead}");
        }
    }

    #[test]
    fn leading_nodes_are_the_first_of_all() {
        let (root, bytes) = perfect(6);
        let mut memory = outpost_base::SliceMemory { start: Va(0x1000), bytes: &bytes };
        let all = whole_tree(root, 63, LINKS, &mut memory).unwrap();
        assert_eq!(leading_nodes(root, 10, LINKS, &mut memory).unwrap(), all[..10]);
        assert_eq!(leading_nodes(root, 100, LINKS, &mut memory).unwrap(), all);
    }

    #[test]
    fn circles_and_wrong_counts_end() {
        let (root, mut bytes) = perfect(3);
        assert!(
            whole_tree(root, 6, LINKS, &mut outpost_base::SliceMemory { start: Va(0x1000), bytes: &bytes }).is_err()
        );
        // The first leaf points back to the root.
        bytes[LINKS as usize..LINKS as usize + 8].copy_from_slice(&root.0.to_le_bytes());
        let mut memory = outpost_base::SliceMemory { start: Va(0x1000), bytes: &bytes };
        assert!(whole_tree(root, 100, LINKS, &mut memory).is_err());
        assert!(leading_nodes(root, 100, LINKS, &mut memory).is_err());
    }
}
