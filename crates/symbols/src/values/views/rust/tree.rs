//! `BTreeMap` and `BTreeSet`: B-trees whose nodes know their height only from the root's.
//!
//! Source: `library/alloc/src/collections/btree/node.rs`. A leaf has up to 11 keys and values; an inner node begins with a
//! leaf and has an edge more than keys. All but the root are filled with 5 keys at least.

use super::{MemoryReader, Type, Unavailable, Va, Value, View, ViewLimits};
use super::{end_of, find_inside, garbage, number_within, thin_pointer};

/// Levels that are believed: with 6 edges to a node at least, 24 hold more than 2^62 elements.
const HEIGHT_LIMIT: u64 = 24;
/// Edges of a node that is not the root, at least.
const LEAST_EDGES: u64 = 6;

pub(super) fn map(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let (entries, length) = entries(value, limits, memory)?;
    Ok(View::Map { entries, length })
}

/// A map whose values have no size.
pub(super) fn set(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let (entries, length) = entries(&value.member("map", memory)?, limits, memory)?;
    Ok(View::Sequence { items: entries.into_iter().map(|(key, _)| key).collect(), length })
}

/// Keys with values that are asked for, and how many there are.
type Entries = (Vec<(Value, Value)>, u64);

fn entries(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<Entries, Unavailable> {
    let length = number_within(value, "length", memory)?;
    let root = value.member("root", memory)?;
    let pointer = find_inside(root.value_type(), &|name, _| name == "node").ok_or(Unavailable::WrongType)?;
    let node = root.field(&pointer);
    let pointer = thin_pointer(node.value_type()).ok_or(Unavailable::WrongType)?;
    let layout = Layout::of(&pointer.field_type.target().ok_or(Unavailable::WrongType)?)?;
    // `None` is the pointer that cannot be.
    let at = Va(node.field(&pointer).scalar(memory)?.as_u64());
    if length == 0 {
        return Ok((Vec::new(), 0));
    }
    let height = number_within(&root, "height", memory)?;
    if at == Va(0) || height > HEIGHT_LIMIT {
        return Err(garbage("counts elements that it has no nodes for"));
    }
    let mut walk = Walk { layout: &layout, end: end_of(limits, length), places: Vec::new(), passed: 0, hole: None };
    if walk.end > limits.start {
        walk.visit(at, height, memory)?;
    }
    if let (Some(at), true) = (walk.hole, walk.places.is_empty()) {
        return Err(Unavailable::Memory { at });
    }
    let wanted = walk.places.into_iter().skip(usize::try_from(limits.start).unwrap_or(usize::MAX));
    Ok((wanted.map(|(node, index)| layout.entry(node, index)).collect(), length))
}

/// Where things are in a node.
struct Layout {
    key: Type,
    value: Type,
    keys: u64,
    values: u64,
    length: u64,
    /// Most keys of a node.
    capacity: u64,
    /// In an inner node; none if the debug info has no such type.
    edges: Option<u64>,
}

impl Layout {
    /// Inner nodes are what the leaf's parent is said to be.
    fn of(leaf: &Type) -> Result<Layout, Unavailable> {
        let place = |name: &str| leaf.field(name).ok_or(Unavailable::WrongType);
        let argument = |name: &str, position| leaf.template_argument(name, position).ok_or(Unavailable::WrongType);
        let (keys, values) = (place("keys")?, place("vals")?);
        let capacity = keys.field_type.element().and_then(|(_, count)| count).ok_or(Unavailable::WrongType)?;
        let inner = thin_pointer_of(&place("parent")?.field_type);
        let edges = inner.and_then(|inner| Some(inner.field("edges")?.offset));
        Ok(Layout {
            key: argument("K", 0)?,
            value: argument("V", 1)?,
            keys: keys.offset,
            values: values.offset,
            length: place("len")?.offset,
            capacity: capacity.min(255),
            edges,
        })
    }

    fn entry(&self, node: Va, index: u64) -> (Value, Value) {
        let part = |of: &Type, offset: u64| {
            Value::in_memory(of.clone(), node + (offset + index.wrapping_mul(of.size().unwrap_or(0))))
        };
        (part(&self.key, self.keys), part(&self.value, self.values))
    }

    /// The number of keys, and the edges of an inner node. Both are asked for before one that is missing is told of, so
    /// that whoever batches learns of both.
    fn read(&self, node: Va, is_inner: bool, memory: &mut dyn MemoryReader) -> Result<(u64, Vec<Va>), Unavailable> {
        let length = memory.read_uint(node + self.length, 2);
        let mut edges = Vec::new();
        if is_inner {
            let at = node + self.edges.ok_or(Unavailable::WrongType)?;
            let mut bytes = vec![0; 8 * (self.capacity as usize + 1)];
            memory.read_exact(at, &mut bytes).ok_or(Unavailable::Memory { at })?;
            edges = bytes.as_chunks().0.iter().map(|edge| Va(u64::from_le_bytes(*edge))).collect();
        }
        Ok((length.ok_or(Unavailable::Memory { at: node })?, edges))
    }
}

/// What a pointer points to, itself or within an option and wrappers.
fn thin_pointer_of(of: &Type) -> Option<Type> {
    match of.target() {
        Some(target) => Some(target),
        None => thin_pointer(of)?.field_type.target(),
    }
}

/// A walk in order over the first elements.
struct Walk<'a> {
    layout: &'a Layout,
    end: u64,
    /// Nodes and indexes in them, up to the first hole.
    places: Vec<(Va, u64)>,
    /// Elements behind the first hole, those within holes as few as can be: what a batch has still to fetch is not
    /// fetched in breadth where the next elements would do.
    passed: u64,
    /// The first node that could not be read.
    hole: Option<Va>,
}

impl Walk<'_> {
    fn is_done(&self) -> bool {
        self.places.len() as u64 + self.passed >= self.end
    }

    /// Ends in garbage, too: each node brings an element at least, and each step down is one of the root's height.
    fn visit(&mut self, node: Va, height: u64, memory: &mut dyn MemoryReader) -> Result<(), Unavailable> {
        if self.is_done() {
            return Ok(());
        }
        let (count, edges) = match self.layout.read(node, height > 0, memory) {
            Ok(read) => read,
            Err(Unavailable::Memory { .. }) => {
                self.hole.get_or_insert(node);
                self.passed += LEAST_EDGES.saturating_pow(height as u32 + 1) - 1;
                return Ok(());
            }
            Err(reason) => return Err(reason),
        };
        if count == 0 || count > self.layout.capacity {
            return Err(garbage("a node has more or less than it can"));
        }
        for index in 0..=count {
            if let Some(edge) = edges.get(index as usize) {
                self.visit(*edge, height - 1, memory)?;
            }
            if index == count || self.is_done() {
                break;
            }
            match self.hole {
                None => self.places.push((node, index)),
                Some(_) => self.passed += 1,
            }
        }
        Ok(())
    }
}
