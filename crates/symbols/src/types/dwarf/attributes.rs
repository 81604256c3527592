//! Small readers of DIE attributes, shared by types and variables.

use gimli::{AttributeValue, DebuggingInformationEntry, DwAt, UnitRef};

use crate::DwarfReader;

pub(crate) type Entry = DebuggingInformationEntry<DwarfReader>;

/// `DW_AT_name` or another string attribute, bytes that are not UTF-8 replaced.
pub(crate) fn string(unit: UnitRef<'_, DwarfReader>, entry: &Entry, name: DwAt) -> Option<String> {
    let text = unit.attr_string(entry.attr_value(name)?).ok()?;
    Some(String::from_utf8_lossy(&gimli::Reader::to_slice(&text).ok()?).into_owned())
}

/// A constant that is not negative.
pub(crate) fn unsigned(entry: &Entry, name: DwAt) -> Option<u64> {
    entry.attr(name)?.udata_value()
}

/// Whether a flag is set.
pub(crate) fn flag(entry: &Entry, name: DwAt) -> bool {
    matches!(entry.attr_value(name), Some(AttributeValue::Flag(true)))
}

/// A file of the unit's line table, with its directory where it is relative to one.
pub(crate) fn file_name(unit: UnitRef<'_, DwarfReader>, index: u64) -> Option<String> {
    let header = unit.unit.line_program.as_ref()?.header();
    let file = header.file(index)?;
    let text = |value| {
        let text = unit.attr_string(value).ok()?;
        Some(String::from_utf8_lossy(&gimli::Reader::to_slice(&text).ok()?).into_owned())
    };
    let name = text(file.path_name())?;
    let directory = file.directory(header).and_then(text).filter(|directory| !directory.is_empty());
    Some(match directory {
        Some(directory) if !name.starts_with('/') => format!("{directory}/{name}"),
        _ => name,
    })
}

/// A constant of either sign.
///
/// Fixed-size forms do not tell their sign (DWARF 5, 7.5.5): they are sign-extended where `signed_bits` is their width,
/// and unsigned otherwise. Producers use `DW_FORM_sdata` for negative numbers in narrower forms.
pub(crate) fn constant(value: &AttributeValue<DwarfReader>, signed_bits: Option<u64>) -> Option<i128> {
    let fixed = |value: u128, bits: u64| match signed_bits {
        Some(wanted) if wanted == bits => crate::values::sign_extend(value, bits),
        _ => value as i128,
    };
    Some(match value {
        AttributeValue::Data1(value) => fixed(u128::from(*value), 8),
        AttributeValue::Data2(value) => fixed(u128::from(*value), 16),
        AttributeValue::Data4(value) => fixed(u128::from(*value), 32),
        AttributeValue::Data8(value) => fixed(u128::from(*value), 64),
        AttributeValue::Data16(value) => *value as i128,
        AttributeValue::Sdata(value) => i128::from(*value),
        AttributeValue::Udata(value) => i128::from(*value),
        AttributeValue::Block(block) => {
            let bytes = gimli::Reader::to_slice(block).ok()?;
            crate::values::unsigned(&bytes, 8 * bytes.len().min(16) as u64)? as i128
        }
        _ => return None,
    })
}

/// `DW_AT_const_value` as the target's bytes of an object of `size` bytes.
pub(crate) fn constant_bytes(
    unit: UnitRef<'_, DwarfReader>,
    value: &AttributeValue<DwarfReader>,
    size: Option<u64>,
) -> Option<Vec<u8>> {
    match value {
        AttributeValue::Block(block) => Some(gimli::Reader::to_slice(block).ok()?.into_owned()),
        AttributeValue::Exprloc(expression) => Some(gimli::Reader::to_slice(&expression.0).ok()?.into_owned()),
        AttributeValue::Addr(address) => Some(address.to_le_bytes().to_vec()),
        AttributeValue::String(_)
        | AttributeValue::DebugStrRef(_)
        | AttributeValue::DebugStrRefSup(_)
        | AttributeValue::DebugLineStrRef(_)
        | AttributeValue::DebugStrOffsetsIndex(_) => {
            let text = unit.attr_string(value.clone()).ok()?;
            let mut bytes = gimli::Reader::to_slice(&text).ok()?.into_owned();
            bytes.push(0);
            Some(bytes)
        }
        other => {
            let number = constant(other, size.and_then(|size| size.checked_mul(8)))?;
            let size = usize::try_from(size.unwrap_or(8)).ok()?.min(16);
            Some(number.to_le_bytes()[..size].to_vec())
        }
    }
}

/// The bytes of an expression attribute.
pub(crate) fn expression(entry: &Entry, name: DwAt) -> Option<Vec<u8>> {
    let expression = entry.attr(name)?.exprloc_value()?;
    Some(gimli::Reader::to_slice(&expression.0).ok()?.into_owned())
}
