//! One DIE with its unit, and the DIEs it completes.

use std::ops::ControlFlow;
use std::sync::Arc;

use gimli::{AttributeValue, DwAt, UnitOffset, UnitRef};

use crate::debug_info::die_ranges;
use crate::types::dwarf::attributes::{Entry, string};
use crate::types::dwarf::type_id;
use crate::{DebugInfo, DieRef, DwarfReader, DwarfUnit, TypeId, UnitIndex};

/// How many abstract origins and specifications are followed. Three are possible in real debug info.
const ORIGIN_LIMIT: usize = 8;

/// A DIE, its unit, and where it is.
#[derive(Clone)]
pub(super) struct Die {
    pub(super) index: UnitIndex,
    pub(super) unit: Arc<DwarfUnit>,
    pub(super) entry: Entry,
    pub(super) at: DieRef,
}

impl Die {
    pub(super) fn read(info: &DebugInfo, at: DieRef) -> Option<Die> {
        let (index, offset) = info.locate(at)?;
        let unit = info.unit(index).ok()?;
        let entry = unit.entry(offset).ok()?;
        Some(Die { index, unit, entry, at })
    }

    pub(super) fn unit_ref<'a>(&'a self, info: &'a DebugInfo) -> UnitRef<'a, DwarfReader> {
        info.unit_ref(self.index, &self.unit)
    }

    /// The DIE that this one completes: its abstract origin, or the declaration it specifies.
    pub(super) fn origin(&self, info: &DebugInfo) -> Option<Die> {
        let value = self
            .entry
            .attr_value(gimli::DW_AT_abstract_origin)
            .or_else(|| self.entry.attr_value(gimli::DW_AT_specification))?;
        Die::read(info, info.resolve(self.index, &value)?)
    }

    /// This DIE and all it completes, nearest first.
    pub(super) fn with_origins<'a>(&self, info: &'a DebugInfo) -> impl Iterator<Item = Die> + use<'a> {
        std::iter::successors(Some(self.clone()), |die| die.origin(info)).take(ORIGIN_LIMIT)
    }

    /// An attribute of this DIE or of the nearest it completes, with the DIE that has it.
    pub(super) fn inherited(&self, info: &DebugInfo, name: DwAt) -> Option<(Die, AttributeValue<DwarfReader>)> {
        self.with_origins(info).find_map(|die| {
            let value = die.entry.attr_value(name)?;
            Some((die, value))
        })
    }

    pub(super) fn name(&self, info: &DebugInfo) -> Option<String> {
        self.with_origins(info).find_map(|die| string(die.unit_ref(info), &die.entry, gimli::DW_AT_name))
    }

    pub(super) fn linkage_name(&self, info: &DebugInfo) -> Option<String> {
        [gimli::DW_AT_linkage_name, gimli::DW_AT_MIPS_linkage_name]
            .into_iter()
            .find_map(|name| self.with_origins(info).find_map(|die| string(die.unit_ref(info), &die.entry, name)))
    }

    pub(super) fn type_id(&self, info: &DebugInfo) -> TypeId {
        let Some((die, value)) = self.inherited(info, gimli::DW_AT_type) else { return TypeId::VOID };
        info.resolve(die.index, &value).map_or(TypeId::VOID, type_id)
    }
}

/// Whether the code addresses of `entry` include `at`; `None` if it states none.
///
/// Ranges that are all empty, or damaged, are stated: code that was dropped, and is never entered.
pub(super) fn ranges_cover(unit: UnitRef<'_, DwarfReader>, entry: &Entry, at: u64) -> Option<bool> {
    if !entry.has_attr(gimli::DW_AT_high_pc) && !entry.has_attr(gimli::DW_AT_ranges) {
        return None;
    }
    let Ok(mut ranges) = die_ranges(unit.dwarf, unit.unit, entry) else { return Some(false) };
    while let Ok(Some(range)) = ranges.next() {
        if (range.begin..range.end).contains(&at) {
            return Some(true);
        }
    }
    Some(false)
}

/// Calls `visit` with each child of the DIE at `parent`, not with grandchildren, until it breaks; damage ends it too.
pub(super) fn for_each_child<B>(
    unit: &DwarfUnit,
    parent: UnitOffset,
    mut visit: impl FnMut(&Entry) -> ControlFlow<B>,
) -> Option<B> {
    let mut tree = unit.entries_tree(Some(parent)).ok()?;
    let mut children = tree.root().ok()?.children();
    while let Ok(Some(child)) = children.next() {
        if let ControlFlow::Break(found) = visit(child.entry()) {
            return Some(found);
        }
    }
    None
}
