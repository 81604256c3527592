//! The parts of a value, as a tree view opens them.

use outpost_base::MemoryReader;

use super::{TextOptions, Unavailable, Value, View, ViewKind, ViewLimits};
use crate::types::{PointerFlavour, TypeKind};

/// Wrappers within wrappers that are looked through for something to open.
const DEPTH_LIMIT: usize = 8;

/// A part of a value.
#[derive(Clone, Debug)]
pub struct Child {
    /// What it is called within the whole: a member's name, `[3]`, `["key"]`, a base class's name; empty for anonymous
    /// members.
    pub name: String,
    /// The part.
    pub value: Value,
}

/// Parts of a value, some or all.
#[derive(Clone, Debug, Default)]
pub struct Children {
    /// Those that were asked for.
    pub items: Vec<Child>,
    /// How many there are.
    pub total: u64,
}

impl Value {
    /// Whether [`Value::children`] may find any; told by the type alone, without reading.
    pub fn may_have_children(&self) -> bool {
        let resolved = self.value_type().resolved();
        match (resolved.view_kind(), resolved.kind()) {
            (Some(ViewKind::Text), _) => false,
            (_, TypeKind::Record(_) | TypeKind::Array { .. }) => true,
            (_, TypeKind::Pointer { target, .. }) => {
                let target = resolved.sibling(*target).resolved();
                !matches!(target.kind(), TypeKind::Void | TypeKind::Function { .. })
            }
            _ => false,
        }
    }

    /// The value's parts: members, elements, entries of containers, what a pointer points to.
    ///
    /// A pointer or reference to a record has that record's parts, a Rust enum those of its active variant; with `raw`
    /// library types have their members. Parts are not read, only found.
    /// # Errors
    /// Why the parts cannot be told: a container or pointer that cannot be read.
    pub fn children(
        &self,
        limits: &ViewLimits,
        raw: bool,
        memory: &mut dyn MemoryReader,
    ) -> Result<Children, Unavailable> {
        self.children_within(limits, raw, DEPTH_LIMIT, memory)
    }

    fn children_within(
        &self,
        limits: &ViewLimits,
        raw: bool,
        depth: usize,
        memory: &mut dyn MemoryReader,
    ) -> Result<Children, Unavailable> {
        let Some(depth) = depth.checked_sub(1) else { return Ok(Children::default()) };
        if !raw && let Some(view) = self.view(limits, memory) {
            match view? {
                View::Words(_) | View::Range { .. } => return self.members(limits, memory),
                view => return children_of_view(view, limits, depth, memory),
            }
        }
        let resolved = self.value_type().resolved();
        match resolved.kind() {
            TypeKind::Record(record) if record.variants.is_some() => {
                self.variant(memory)?.1.children_within(limits, raw, depth, memory)
            }
            TypeKind::Record(_) => self.members(limits, memory),
            TypeKind::Array { .. } => self.elements(limits, memory),
            TypeKind::Pointer { flavour, .. } => {
                let target = self.deref(memory)?;
                let opens = target.value_type().is_aggregate() || *flavour != PointerFlavour::Pointer;
                if opens && target.may_have_children() {
                    return target.children_within(limits, raw, depth, memory);
                }
                if !self.may_have_children() || target.address().is_some_and(|at| at.0 == 0) {
                    return Ok(Children::default());
                }
                Ok(Children { items: vec![Child { name: "*".to_owned(), value: target }], total: 1 })
            }
            _ => Ok(Children::default()),
        }
    }

    fn members(&self, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<Children, Unavailable> {
        let resolved = self.value_type().resolved();
        let bases = resolved.record().map_or(&[][..], |record| &record.bases);
        let fields = resolved.fields();
        let mut items = Vec::new();
        for (number, base) in bases.iter().enumerate() {
            let base_type = resolved.sibling(base.base_type);
            if base_type.is_library_tag() {
                continue;
            }
            let name = base_type.qualified_name();
            let value = self.base(number, memory).unwrap_or_else(|reason| Value::unavailable(base_type, reason));
            items.push(Child { name, value });
        }
        items.extend(fields.into_iter().map(|field| Child { value: self.field(&field), name: field.name }));
        let total = items.len() as u64;
        Ok(Children { items: part(items, limits), total })
    }

    fn elements(&self, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<Children, Unavailable> {
        let total = self.value_type().element().and_then(|(_, count)| count).unwrap_or(0);
        let end = total.min(limits.start.saturating_add(limits.count));
        let mut items = Vec::new();
        for index in limits.start..end {
            items.push(Child { name: format!("[{index}]"), value: self.index(index as i64, memory)? });
        }
        Ok(Children { items, total })
    }
}

fn children_of_view(
    view: View,
    limits: &ViewLimits,
    depth: usize,
    memory: &mut dyn MemoryReader,
) -> Result<Children, Unavailable> {
    match view {
        View::Text(_) | View::Empty(_) | View::Pointer { target: None, .. } | View::Words(_) | View::Range { .. } => {
            Ok(Children::default())
        }
        View::Sequence { items, length } => {
            let named = items.into_iter().zip(limits.start..);
            let items = named.map(|(value, index)| Child { name: format!("[{index}]"), value }).collect();
            Ok(Children { items, total: length })
        }
        View::Tuple(items) => {
            let total = items.len() as u64;
            let named = items.into_iter().enumerate();
            let items = named.map(|(index, value)| Child { name: format!("[{index}]"), value }).collect();
            Ok(Children { items: part(items, limits), total })
        }
        View::Map { entries, length } => {
            let options = TextOptions { depth_limit: 1, string_limit: 60, ..TextOptions::default() };
            let named = entries.into_iter().map(|(key, value)| {
                let name = format!("[{}]", key.text(&options, memory));
                Child { name, value }
            });
            Ok(Children { items: named.collect(), total: length })
        }
        View::Wrapped(inner) | View::Noted { inner, .. } | View::Pointer { target: Some(inner), .. } => {
            if inner.may_have_children() {
                return inner.children_within(limits, false, depth, memory);
            }
            Ok(Children { items: vec![Child { name: "*".to_owned(), value: inner }], total: 1 })
        }
    }
}

fn part(items: Vec<Child>, limits: &ViewLimits) -> Vec<Child> {
    let count = usize::try_from(limits.count).unwrap_or(usize::MAX);
    items.into_iter().skip(usize::try_from(limits.start).unwrap_or(usize::MAX)).take(count).collect()
}
