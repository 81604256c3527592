//! DIEs as they stand in the debug info, for those who ask why a variable or a type is shown as it is.
//!
//! Nothing is interpreted beyond what makes it readable: names of constants, of files, and operations of expressions.

mod attribute;
mod expression;

use std::sync::Arc;

use gimli::UnitOffset;

use crate::{DebugInfo, DieRef, DieSection, DwarfUnit, UnitIndex};

/// Deepest that units nest; what is deeper is damage.
const DEPTH_LIMIT: isize = 4096;

/// A DIE with its attributes as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DieText {
    /// Where it is.
    pub at: DieRef,
    /// Levels below the DIE that was asked for, which has 0.
    pub depth: u32,
    /// `DW_TAG_subprogram`.
    pub tag: String,
    /// Its attributes, in the order of the debug info.
    pub attributes: Vec<DieAttribute>,
}

/// An attribute of a DIE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DieAttribute {
    /// `DW_AT_name`.
    pub name: String,
    /// Its value; empty if it is all in `lines`.
    pub value: String,
    /// Rows of a list of ranges or locations.
    pub lines: Vec<String>,
    /// The DIE that it refers to.
    pub refers_to: Option<DieRef>,
}

impl DebugInfo {
    /// The DIE at `at` and those below it, `levels` levels in all, at most `limit` of them, in the order of the debug info.
    /// `None` if there is none at that offset.
    pub fn die_texts(&self, at: DieRef, levels: u32, limit: usize) -> Option<Vec<DieText>> {
        let (index, offset, unit) = self.unit_of_die(at)?;
        let mut entries = unit.entries_raw(Some(offset)).ok()?;
        let mut entry = gimli::DebuggingInformationEntry::null();
        let mut found = Vec::new();
        while !entries.is_empty() && found.len() < limit {
            let (depth, here) = (entries.next_depth(), entries.next_offset());
            if depth < 0 || (depth == 0 && !found.is_empty()) || depth > DEPTH_LIMIT {
                break;
            }
            match entries.read_entry(&mut entry) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(_) => break,
            }
            let depth = u32::try_from(depth).unwrap_or(0);
            if depth >= levels {
                continue;
            }
            let Some(at) = self.die(index, here) else { break };
            let attributes = attribute::texts(self, index, &unit, &entry);
            found.push(DieText { at, depth, tag: entry.tag().to_string(), attributes });
            if levels == 1 {
                break;
            }
        }
        Some(found).filter(|found| !found.is_empty())
    }

    /// The DIEs that the one at `at` lies in, the nearest first and the unit's own last; `None` if there is none at that
    /// offset.
    pub fn die_ancestors(&self, at: DieRef) -> Option<Vec<DieRef>> {
        let (index, wanted, unit) = self.unit_of_die(at)?;
        let mut entries = unit.entries_raw(None).ok()?;
        let mut entry = gimli::DebuggingInformationEntry::null();
        let mut path: Vec<UnitOffset> = Vec::new();
        while !entries.is_empty() {
            let (depth, here) = (usize::try_from(entries.next_depth()).ok()?, entries.next_offset());
            if !entries.read_entry(&mut entry).ok()? {
                continue;
            }
            path.truncate(depth);
            if here == wanted {
                return Some(path.into_iter().rev().filter_map(|offset| self.die(index, offset)).collect());
            }
            if here > wanted || path.len() > DEPTH_LIMIT as usize {
                return None;
            }
            path.push(here);
        }
        None
    }

    /// The DIE at an offset of `.debug_info`, or of `.debug_types`; the unit's own where the offset is that of its header.
    /// `None` if no unit has it.
    pub fn die_at_offset(&self, offset: u64, is_type_unit: bool) -> Option<DieRef> {
        let section = if is_type_unit { DieSection::Types } else { DieSection::Info };
        let (index, _) = self.locate(DieRef { section, offset })?;
        let unit = self.unit(index).ok()?;
        let root = self.die(index, unit.header.root_offset())?;
        Some(DieRef { section, offset: offset.max(root.offset) })
    }

    fn unit_of_die(&self, at: DieRef) -> Option<(UnitIndex, UnitOffset, Arc<DwarfUnit>)> {
        let (index, offset) = self.locate(at)?;
        let unit = self.unit(index).ok()?;
        (offset >= unit.header.root_offset()).then_some((index, offset, unit))
    }
}
