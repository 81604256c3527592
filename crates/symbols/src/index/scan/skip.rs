//! Passing over DIEs that nothing is taken of.

use crate::index::abbrev::{AbbrevTable, Compiled, Slot, Step};
use crate::index::cursor::{Cursor, Value};

/// Passes over a DIE's attributes; the offset of its sibling, if it says so.
pub(super) fn pass_over(abbreviation: &Compiled, cursor: &mut Cursor<'_>) -> Option<Option<u64>> {
    if !(abbreviation.has_sibling && abbreviation.has_children) {
        for pass in &abbreviation.skip {
            cursor.pass(*pass)?;
        }
        return Some(None);
    }
    let mut sibling = None;
    for step in &abbreviation.steps {
        match *step {
            Step::Pass(pass) => cursor.pass(pass)?,
            Step::Take(slot, form, constant) => {
                let value = cursor.value(form, constant)?;
                if let (Slot::Sibling, Value::UnitRef(offset)) = (slot, value) {
                    sibling = Some(offset);
                }
            }
        }
    }
    Some(sibling)
}

/// Passes over all DIEs below the one just read.
pub(super) fn skip_children(
    cursor: &mut Cursor<'_>,
    table: &mut AbbrevTable,
    abbreviations: &gimli::Abbreviations,
    sibling: Option<u64>,
) -> Option<()> {
    if let Some(sibling) = sibling {
        return cursor.jump(sibling);
    }
    let mut depth = 1_usize;
    while depth > 0 {
        match cursor.uleb()? {
            0 => depth -= 1,
            code => {
                let abbreviation = table.get(code, abbreviations)?;
                let sibling = pass_over(abbreviation, cursor)?;
                if abbreviation.has_children {
                    match sibling {
                        Some(sibling) => cursor.jump(sibling)?,
                        None => depth += 1,
                    }
                }
            }
        }
    }
    Some(())
}
