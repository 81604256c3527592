//! Attributes as text.

use gimli::{AttributeValue, Reader, UnitRef};

use super::{DieAttribute, expression};
use crate::debug_info::die_ranges;
use crate::types::dwarf::attributes::{Entry, file_name};
use crate::{DebugInfo, DieSection, DwarfReader, DwarfUnit, UnitIndex};

/// Rows of a list that are told, and bytes of a block.
const LIST_LIMIT: usize = 256;
const BLOCK_LIMIT: usize = 64;

/// All attributes of a DIE of unit `index`.
pub(super) fn texts(info: &DebugInfo, index: UnitIndex, unit: &DwarfUnit, entry: &Entry) -> Vec<DieAttribute> {
    let reader = info.unit_ref(index, unit);
    let one = |attribute: &gimli::Attribute<DwarfReader>| {
        let value = attribute.value();
        let name = attribute.name();
        let refers_to = info.resolve(index, &value);
        let lines = match name {
            gimli::DW_AT_ranges => ranges(reader, entry),
            _ => locations(reader, &value),
        };
        let value = match (name, &value) {
            _ if !lines.is_empty() => String::new(),
            (gimli::DW_AT_high_pc, value) if !matches!(value, AttributeValue::Addr(_)) => high_pc(reader, entry, value),
            (_, AttributeValue::UnitRef(offset)) => {
                let start =
                    info.span(index).filter(|span| span.section != DieSection::Split).map_or(0, |span| span.start);
                format!("(CU + {:#x} == {:#x})", offset.0, start.wrapping_add(offset.0 as u64))
            }
            (_, value) => text(reader, value),
        };
        DieAttribute { name: name.to_string(), value, lines, refers_to }
    };
    entry.attrs().iter().map(one).collect()
}

/// A length is told with the address that it leads to.
fn high_pc(unit: UnitRef<'_, DwarfReader>, entry: &Entry, value: &AttributeValue<DwarfReader>) -> String {
    let low = entry.attr_value(gimli::DW_AT_low_pc).and_then(|low| unit.attr_address(low).ok().flatten());
    match (low, value.udata_value()) {
        (Some(low), Some(len)) => format!("+{len:#x} (== {:#x})", low.wrapping_add(len)),
        _ => text(unit, value),
    }
}

fn ranges(unit: UnitRef<'_, DwarfReader>, entry: &Entry) -> Vec<String> {
    let mut lines = Vec::new();
    let Ok(mut ranges) = die_ranges(unit.dwarf, unit.unit, entry) else { return lines };
    while let Ok(Some(range)) = ranges.next() {
        if lines.len() >= LIST_LIMIT {
            lines.push("...".to_owned());
            break;
        }
        lines.push(format!("[{:#x} - {:#x})", range.begin, range.end));
    }
    lines
}

fn locations(unit: UnitRef<'_, DwarfReader>, value: &AttributeValue<DwarfReader>) -> Vec<String> {
    let mut lines = Vec::new();
    // Of other attributes the value is none of the forms of a list.
    if !matches!(value, AttributeValue::LocationListsRef(_) | AttributeValue::DebugLocListsIndex(_)) {
        return lines;
    }
    let Ok(Some(mut list)) = unit.attr_locations(value.clone()) else { return lines };
    while let Ok(Some(entry)) = list.next() {
        if lines.len() >= LIST_LIMIT {
            lines.push("...".to_owned());
            break;
        }
        let operations = expression::text(unit, entry.data);
        lines.push(format!("[{:#x} - {:#x}) {operations}", entry.range.begin, entry.range.end));
    }
    lines
}

fn text(unit: UnitRef<'_, DwarfReader>, value: &AttributeValue<DwarfReader>) -> String {
    /// The name of a constant with its number.
    macro_rules! constant {
        ($value:expr) => {
            match $value.static_string() {
                Some(name) => format!("{name} ({})", u64::from($value.0)),
                None => format!("{:#x}", u64::from($value.0)),
            }
        };
    }
    if let Ok(string) = unit.attr_string(value.clone()) {
        return string.to_slice().map(|text| format!("'{}'", String::from_utf8_lossy(&text))).unwrap_or_default();
    }
    match value {
        AttributeValue::Flag(set) => format!("({set})"),
        AttributeValue::Exprloc(operations) => expression::text(unit, operations.clone()),
        AttributeValue::FileIndex(number) => match file_name(unit, *number) {
            Some(name) => format!("{number} ('{name}')"),
            None => number.to_string(),
        },
        AttributeValue::Encoding(value) => constant!(value),
        AttributeValue::DecimalSign(value) => constant!(value),
        AttributeValue::Endianity(value) => constant!(value),
        AttributeValue::Accessibility(value) => constant!(value),
        AttributeValue::Visibility(value) => constant!(value),
        AttributeValue::Virtuality(value) => constant!(value),
        AttributeValue::Language(value) => constant!(value),
        AttributeValue::AddressClass(value) => constant!(value),
        AttributeValue::IdentifierCase(value) => constant!(value),
        AttributeValue::CallingConvention(value) => constant!(value),
        AttributeValue::Inline(value) => constant!(value),
        AttributeValue::Ordering(value) => constant!(value),
        AttributeValue::DwoId(id) => format!("{:#x}", id.0),
        AttributeValue::DebugTypesRef(signature) => format!("(type unit {:#018x})", signature.0),
        AttributeValue::DebugInfoRef(offset) => format!("({:#x})", offset.0),
        AttributeValue::DebugInfoRefSup(offset) => format!("({:#x} of the shared file)", offset.0),
        AttributeValue::Data16(number) => format!("{number:#x}"),
        AttributeValue::Sdata(number) => number.to_string(),
        AttributeValue::Block(block) => bytes(block),
        AttributeValue::Addr(_) | AttributeValue::DebugAddrIndex(_) => match unit.attr_address(value.clone()) {
            Ok(Some(address)) => format!("{address:#x}"),
            _ => "(an address that is not to be had)".to_owned(),
        },
        other => match other.udata_value().or_else(|| offset_of(other)) {
            Some(number) => format!("{number:#x}"),
            None => "(not understood)".to_owned(),
        },
    }
}

/// The offset that a reference to another section is.
fn offset_of(value: &AttributeValue<DwarfReader>) -> Option<u64> {
    Some(match value {
        AttributeValue::SecOffset(offset) => *offset as u64,
        AttributeValue::DebugAddrBase(base) => base.0 as u64,
        AttributeValue::DebugLineRef(offset) => offset.0 as u64,
        AttributeValue::LocationListsRef(offset) => offset.0 as u64,
        AttributeValue::DebugLocListsBase(base) => base.0 as u64,
        AttributeValue::DebugLocListsIndex(index) => index.0 as u64,
        AttributeValue::DebugMacinfoRef(offset) => offset.0 as u64,
        AttributeValue::DebugMacroRef(offset) => offset.0 as u64,
        AttributeValue::RangeListsRef(offset) => offset.0 as u64,
        AttributeValue::DebugRngListsBase(base) => base.0 as u64,
        AttributeValue::DebugRngListsIndex(index) => index.0 as u64,
        AttributeValue::DebugStrOffsetsBase(base) => base.0 as u64,
        AttributeValue::UnitRef(offset) => offset.0 as u64,
        _ => return None,
    })
}

/// Bytes in hexadecimal.
pub(super) fn bytes(block: &DwarfReader) -> String {
    let Ok(all) = block.to_slice() else { return String::new() };
    let shown: Vec<String> = all.iter().take(BLOCK_LIMIT).map(|byte| format!("{byte:02x}")).collect();
    let more = if all.len() > BLOCK_LIMIT { " ..." } else { "" };
    format!("{}{more}", shown.join(" "))
}
