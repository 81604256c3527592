//! Which namespaces, classes and functions surround a DIE: what its qualified name is made of.

use gimli::{AttributeValue, UnitOffset};

use super::attributes::{Entry, string};
use crate::{DebugInfo, DwarfUnit, UnitIndex};

/// Scopes on the way from a DIE to its unit, stubs and declarations elsewhere included; real programs stay below 20.
const DEPTH_LIMIT: usize = 128;

/// The scopes of one unit: intervals of DIE offsets that nest. Their names are read when asked for.
#[derive(Debug, Default)]
pub(crate) struct Scopes {
    /// Sorted by start.
    spans: Vec<ScopeSpan>,
}

#[derive(Debug)]
struct ScopeSpan {
    start: usize,
    end: usize,
    /// The innermost span around it.
    parent: Option<u32>,
}

impl Scopes {
    /// Reads where the scopes of a unit begin and end; damage ends the reading.
    pub(crate) fn read(unit: &DwarfUnit) -> Scopes {
        let mut spans: Vec<ScopeSpan> = Vec::new();
        let mut open: Vec<(isize, u32)> = Vec::new();
        let Ok(mut entries) = unit.entries_raw(None) else { return Scopes::default() };
        while !entries.is_empty() {
            let (start, depth) = (entries.next_offset(), entries.next_depth());
            let Ok(abbreviation) = entries.read_abbreviation() else { break };
            close(&mut spans, &mut open, depth, start.0);
            let Some(abbreviation) = abbreviation else { continue };
            if entries.skip_attributes(abbreviation.attributes()).is_err() {
                break;
            }
            if abbreviation.has_children() && is_scope(abbreviation.tag()) && open.len() < DEPTH_LIMIT {
                let parent = open.last().map(|(_, at)| *at);
                spans.push(ScopeSpan { start: start.0, end: usize::MAX, parent });
                open.push((depth, spans.len() as u32 - 1));
            }
        }
        let end = entries.next_offset().0;
        close(&mut spans, &mut open, isize::MIN, end);
        Scopes { spans }
    }

    /// Where the innermost scope around the DIE at `offset` begins.
    fn innermost(&self, offset: UnitOffset) -> Option<UnitOffset> {
        let next = self.spans.partition_point(|span| span.start < offset.0);
        let mut at = next.checked_sub(1);
        // Spans nest, so the last that starts before is inside all that surround the DIE.
        while let Some(span) = at.and_then(|at| self.spans.get(at)) {
            if offset.0 < span.end {
                return Some(UnitOffset(span.start));
            }
            at = span.parent.map(|parent| parent as usize);
        }
        None
    }
}

/// What surrounds the DIE at `offset` of a unit, joined by `::`. `scopes` gives the scopes of any unit.
pub(crate) fn surroundings(
    info: &DebugInfo,
    index: UnitIndex,
    offset: UnitOffset,
    scopes: &mut dyn FnMut(UnitIndex) -> Option<std::sync::Arc<Scopes>>,
) -> String {
    let mut names = Vec::new();
    let (mut index, mut offset) = (index, offset);
    for _ in 0..DEPTH_LIMIT {
        let Some(outer) = scopes(index).and_then(|scopes| scopes.innermost(offset)) else { break };
        let Some((place, name)) = named_at(info, index, outer) else { break };
        names.extend(name.filter(|name| !name.is_empty()));
        (index, offset) = place;
    }
    names.reverse();
    names.join("::")
}

/// The name of the scope at `offset`, and the DIE that says what surrounds it: itself, what it completes out of line,
/// or the type in its own unit that it is a stub for.
fn named_at(
    info: &DebugInfo,
    index: UnitIndex,
    offset: UnitOffset,
) -> Option<((UnitIndex, UnitOffset), Option<String>)> {
    let unit = info.unit(index).ok()?;
    let entry = unit.entry(offset).ok()?;
    let references = [gimli::DW_AT_signature, gimli::DW_AT_specification, gimli::DW_AT_abstract_origin];
    let elsewhere = references.into_iter().find_map(|name| {
        let value = entry.attr_value(name)?;
        let refers = !matches!(value, AttributeValue::Flag(_));
        refers.then(|| info.locate(info.resolve(index, &value)?)).flatten()
    });
    let Some((index, offset)) = elsewhere else {
        return Some(((index, offset), own_name(info, index, &unit, &entry)));
    };
    let unit = info.unit(index).ok()?;
    let entry = unit.entry(offset).ok()?;
    match entry.attr_value(gimli::DW_AT_specification) {
        // The type of a type unit is itself out of line.
        Some(AttributeValue::UnitRef(declared)) => {
            let name = own_name(info, index, &unit, &unit.entry(declared).ok()?);
            Some(((index, declared), name))
        }
        _ => Some(((index, offset), own_name(info, index, &unit, &entry))),
    }
}

fn own_name(info: &DebugInfo, index: UnitIndex, unit: &DwarfUnit, entry: &Entry) -> Option<String> {
    let name = string(info.unit_ref(index, unit), entry, gimli::DW_AT_name);
    match entry.tag() {
        gimli::DW_TAG_namespace => name.or_else(|| Some("(anonymous namespace)".to_owned())),
        _ => name,
    }
}

fn close(spans: &mut [ScopeSpan], open: &mut Vec<(isize, u32)>, depth: isize, offset: usize) {
    while let Some((_, at)) = open.pop_if(|(opened, _)| *opened >= depth) {
        if let Some(span) = spans.get_mut(at as usize) {
            span.end = offset;
        }
    }
}

fn is_scope(tag: gimli::DwTag) -> bool {
    matches!(
        tag,
        gimli::DW_TAG_namespace
            | gimli::DW_TAG_module
            | gimli::DW_TAG_structure_type
            | gimli::DW_TAG_class_type
            | gimli::DW_TAG_union_type
            | gimli::DW_TAG_interface_type
            | gimli::DW_TAG_enumeration_type
            | gimli::DW_TAG_subprogram
    )
}
