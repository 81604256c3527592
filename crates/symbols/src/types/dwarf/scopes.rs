//! Which namespaces, classes and functions surround a DIE: what its qualified name is made of.

use gimli::UnitRef;

use super::attributes::{Entry, string};
use crate::{DebugInfo, DwarfReader, DwarfUnit, UnitIndex};

/// Nesting deeper than this is not named further; real programs stay below 20.
const DEPTH_LIMIT: usize = 128;
/// Longest qualified prefix that is made.
const NAME_LIMIT: usize = 16 << 10;
/// How many stubs for type units may lead to each other. Real ones lead to the unit itself.
const STUB_LIMIT: usize = 4;

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
    /// Whether the name has all that surrounds it already: a stub for a type unit is not where its type is.
    complete: bool,
}

impl Scopes {
    /// Reads the scopes of a unit; damage ends the reading.
    pub(crate) fn read(info: &DebugInfo, index: UnitIndex) -> Scopes {
        Scopes::read_within(info, index, STUB_LIMIT)
    }

    fn read_within(info: &DebugInfo, index: UnitIndex, stubs: usize) -> Scopes {
        let Ok(unit) = info.unit(index) else { return Scopes::default() };
        let unit = info.unit_ref(index, &unit);
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
            let stub = stubs.checked_sub(1).and_then(|stubs| stub_name(info, index, &entry, stubs));
            let whole_name = stub.or_else(|| completed_name(unit, &spans, &entry));
            let complete = whole_name.is_some();
            let name = whole_name.unwrap_or_else(|| string(unit, &entry, gimli::DW_AT_name).unwrap_or_default());
            let name = if name.is_empty() && entry.tag() == gimli::DW_TAG_namespace {
                "(anonymous namespace)".to_owned()
            } else {
                name
            };
            spans.push(ScopeSpan { start: start.0, end: usize::MAX, parent, name, complete });
            open.push((depth, spans.len() as u32 - 1));
        }
        let end = entries.next_offset().0;
        close(&mut spans, &mut open, isize::MIN, end);
        Scopes { spans }
    }

    /// What surrounds the DIE at `offset`, joined by `::`.
    pub(crate) fn around(&self, offset: usize) -> String {
        around(&self.spans, offset)
    }
}

fn around(spans: &[ScopeSpan], offset: usize) -> String {
    let next = spans.partition_point(|span| span.start < offset);
    let mut at = next.checked_sub(1);
    let mut names = Vec::new();
    let mut length = 0;
    while let Some(span) = at.and_then(|at| spans.get(at)) {
        // Spans nest, so the last that starts before is inside all that surround the DIE.
        if offset < span.end && !span.name.is_empty() && length < NAME_LIMIT {
            length += span.name.len();
            names.push(span.name.as_str());
            if span.complete {
                break;
            }
        }
        at = span.parent.map(|parent| parent as usize);
    }
    names.reverse();
    names.join("::")
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

/// The qualified name of the type that a stub stands for.
fn stub_name(info: &DebugInfo, index: UnitIndex, entry: &Entry, stubs: usize) -> Option<String> {
    let target = info.resolve(index, &entry.attr_value(gimli::DW_AT_signature)?)?;
    let (index, offset) = info.locate(target)?;
    let unit = info.unit(index).ok()?;
    let scopes = Scopes::read_within(info, index, stubs);
    qualified(&scopes.spans, info.unit_ref(index, &unit), &unit.entry(offset).ok()?)
}

/// The qualified name of what `entry` completes out of line: it is named, and scoped, by its declaration.
fn completed_name(unit: UnitRef<'_, DwarfReader>, spans: &[ScopeSpan], entry: &Entry) -> Option<String> {
    let completed = [gimli::DW_AT_specification, gimli::DW_AT_abstract_origin].into_iter();
    let completed = completed.filter_map(|name| entry.attr_value(name));
    let mut declarations = completed.filter_map(|value| match value {
        gimli::AttributeValue::UnitRef(offset) => unit.unit.entry(offset).ok(),
        _ => None,
    });
    declarations.find_map(|declaration| qualified(spans, unit, &declaration))
}

fn qualified(spans: &[ScopeSpan], unit: UnitRef<'_, DwarfReader>, entry: &Entry) -> Option<String> {
    let specified = match entry.attr_value(gimli::DW_AT_specification) {
        Some(gimli::AttributeValue::UnitRef(offset)) => unit.unit.entry(offset).ok(),
        _ => None,
    };
    let declaration = specified.as_ref().unwrap_or(entry);
    let name = string(unit, declaration, gimli::DW_AT_name)?;
    let around = around(spans, declaration.offset().0);
    Some(if around.is_empty() { name } else { format!("{around}::{name}") })
}
