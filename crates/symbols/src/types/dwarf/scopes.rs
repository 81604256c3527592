//! Which namespaces, classes and functions surround a DIE: what its qualified name is made of.

use gimli::UnitRef;

use super::attributes::string;
use crate::{DwarfReader, DwarfUnit};

/// Nesting deeper than this is not named further; real programs stay below 20.
const DEPTH_LIMIT: usize = 128;
/// Longest qualified prefix that is made.
const NAME_LIMIT: usize = 16 << 10;

/// The scopes of one unit: intervals of DIE offsets that nest, with the name each adds.
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
    /// What it is called; empty for those that add nothing.
    name: String,
}

impl Scopes {
    /// Reads the scopes of `unit`; damage ends the reading.
    pub(crate) fn read(unit: UnitRef<'_, DwarfReader>) -> Scopes {
        let mut spans: Vec<ScopeSpan> = Vec::new();
        let mut open: Vec<(isize, u32)> = Vec::new();
        let whole: &DwarfUnit = unit.unit;
        let Ok(mut entries) = whole.entries_raw(None) else { return Scopes::default() };
        while !entries.is_empty() {
            let (start, depth) = (entries.next_offset(), entries.next_depth());
            let Ok(abbreviation) = entries.read_abbreviation() else { break };
            close(&mut spans, &mut open, depth, start.0);
            let Some(abbreviation) = abbreviation else { continue };
            let scope = abbreviation.has_children() && is_scope(abbreviation.tag());
            if !scope || open.len() >= DEPTH_LIMIT {
                if entries.skip_attributes(abbreviation.attributes()).is_err() {
                    break;
                }
                continue;
            }
            if entries.skip_attributes(abbreviation.attributes()).is_err() {
                break;
            }
            let Ok(entry) = whole.entry(start) else { break };
            let parent = open.last().map(|(_, at)| *at);
            spans.push(ScopeSpan { start: start.0, end: usize::MAX, parent, name: scope_name(unit, &entry) });
            open.push((depth, spans.len() as u32 - 1));
        }
        let end = entries.next_offset().0;
        close(&mut spans, &mut open, isize::MIN, end);
        Scopes { spans }
    }

    /// What surrounds the DIE at `offset`, joined by `::`.
    pub(crate) fn around(&self, offset: usize) -> String {
        let next = self.spans.partition_point(|span| span.start < offset);
        let mut at = next.checked_sub(1);
        let mut names = Vec::new();
        let mut length = 0;
        while let Some(span) = at.and_then(|at| self.spans.get(at)) {
            // Spans nest, so the last that starts before is inside all that surround the DIE.
            if offset < span.end && !span.name.is_empty() && length < NAME_LIMIT {
                length += span.name.len();
                names.push(span.name.as_str());
            }
            at = span.parent.map(|parent| parent as usize);
        }
        names.reverse();
        names.join("::")
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

fn scope_name(unit: UnitRef<'_, DwarfReader>, entry: &super::attributes::Entry) -> String {
    let name = string(unit, entry, gimli::DW_AT_name);
    match (entry.tag(), name) {
        (_, Some(name)) => name,
        (gimli::DW_TAG_namespace, None) => "(anonymous namespace)".to_owned(),
        // Out-of-line definitions are named by what they complete.
        (_, None) => {
            let completed = [gimli::DW_AT_specification, gimli::DW_AT_abstract_origin].into_iter();
            let mut completed = completed.filter_map(|name| entry.attr_value(name));
            completed
                .find_map(|value| match value {
                    gimli::AttributeValue::UnitRef(offset) => {
                        string(unit, &unit.unit.entry(offset).ok()?, gimli::DW_AT_name)
                    }
                    _ => None,
                })
                .unwrap_or_default()
        }
    }
}
