//! Where a function's body begins: behind the code that sets up its frame.

use gimli::Reader;
use outpost_base::{Arch, ImageOffset};

use super::{Function, Module};
use crate::{ImageRange, SectionData, UnitIndex};

/// Bytes of a function that are looked at for its prologue.
const PROLOGUE_LEN: usize = 64;

impl Module {
    /// Where a breakpoint on `function` belongs so that its arguments can be read: behind its prologue.
    ///
    /// The compiler says so in the line table (`prologue_end`, as clang and rustc do), else it is where the line of the
    /// frame set-up ends. It is the entry without a frame pointer and without that mark, as the first instruction may
    /// already be the body's; and where gcc optimised, as its variables then have locations from the first instruction
    /// on. This agrees with where gdb puts breakpoints.
    pub fn body_of(&self, function: &Function) -> ImageOffset {
        let Some(range) = function.ranges.first().copied().filter(|range| !range.is_empty()) else {
            return function.entry();
        };
        let Some((lines, unit)) = self.lines_at(range.start) else { return self.after_frame_setup(range) };
        let marked = lines.rows_in(range).find(|(_, row)| row.is_prologue_end());
        if let Some((_, row)) = marked {
            return ImageOffset(row.address);
        }
        let setup_end = self.after_frame_setup(range);
        if setup_end == range.start || self.has_gcc_locations(unit) {
            return range.start;
        }
        let Some((at, row)) = lines.find(setup_end.0) else { return setup_end };
        if row.address == setup_end.0 {
            return setup_end;
        }
        let end = ImageOffset(lines.end_of(at));
        if range.contains(end) { end } else { setup_end }
    }

    /// Whether a unit is by gcc, with location lists: they are right in prologues, too. Source: gdb, `locations_valid`.
    fn has_gcc_locations(&self, index: UnitIndex) -> bool {
        let Some(info) = self.load_debug_info() else { return false };
        let index = info.described_by(index);
        let Ok(unit) = info.unit(index) else { return false };
        let producer = unit.entry(unit.header.root_offset()).ok().and_then(|root| {
            let text = info.unit_ref(index, &unit).attr_string(root.attr_value(gimli::DW_AT_producer)?).ok()?;
            text.to_string_lossy().ok().map(|text| text.into_owned())
        });
        let is_gcc = producer.is_some_and(|text| text.starts_with("GNU ") && !text.starts_with("GNU AS"));
        // gcc gives each unit abbreviations of its own, so they tell which forms the unit has.
        is_gcc && (1..).map_while(|code| unit.abbreviations.get(code)).any(has_location_list)
    }

    /// The address behind `push rbp; mov rbp, rsp` at the start of `range`; its start if that is not there.
    pub(super) fn after_frame_setup(&self, range: ImageRange) -> ImageOffset {
        let len = PROLOGUE_LEN.min(usize::try_from(range.len()).unwrap_or(PROLOGUE_LEN));
        let code = self.files.image.image_bytes(range.start, len).unwrap_or_else(SectionData::empty);
        let skipped = match self.files.image.arch() {
            Some(Arch::X86_64) => frame_setup_len(&code).unwrap_or(0),
            _ => 0,
        };
        ImageOffset(range.start.0 + skipped as u64)
    }
}

/// Whether DIEs of this kind are variables with location lists.
fn has_location_list(abbreviation: &gimli::Abbreviation) -> bool {
    let is_list = |form| matches!(form, gimli::DW_FORM_sec_offset | gimli::DW_FORM_loclistx);
    let mut attributes = abbreviation.attributes().iter();
    matches!(abbreviation.tag(), gimli::DW_TAG_variable | gimli::DW_TAG_formal_parameter)
        && attributes.any(|attribute| attribute.name() == gimli::DW_AT_location && is_list(attribute.form()))
}

/// Bytes of frame set-up at the start of `code`, if it sets up rbp. Source: gdb, `amd64_analyze_prologue`.
fn frame_setup_len(code: &[u8]) -> Option<usize> {
    const ENDBR64: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];
    let mut at = if code.starts_with(ENDBR64) { ENDBR64.len() } else { 0 };
    at += realignment_len(code.get(at..)?).unwrap_or(0);
    let rest = code.get(at..)?;
    at += match rest {
        [0x55, ..] => 1,
        [0x40, 0x55, ..] => 2,
        _ => return None,
    };
    match code.get(at..)? {
        // mov rbp, rsp in both encodings
        [0x48, 0x89, 0xe5, ..] | [0x48, 0x8b, 0xec, ..] => Some(at + 3),
        // and as the x32 ABI has it
        [0x89, 0xe5, ..] | [0x8b, 0xec, ..] => Some(at + 2),
        _ => None,
    }
}

/// `lea r10, [rsp+8]; and rsp, -n; push [r10-8]`, by which gcc aligns the stack of `main`.
fn realignment_len(code: &[u8]) -> Option<usize> {
    let rest = code.strip_prefix(&[0x4c, 0x8d, 0x54, 0x24, 0x08])?;
    let (and_len, rest) = match rest {
        [0x48, 0x83, 0xe4, _, rest @ ..] => (4, rest),
        [0x48, 0x81, 0xe4, _, _, _, _, rest @ ..] => (7, rest),
        _ => return None,
    };
    rest.starts_with(&[0x41, 0xff, 0x72, 0xf8]).then_some(5 + and_len + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_setups() {
        for (code, expected) in [
            (&[0x55, 0x48, 0x89, 0xe5, 0x90][..], Some(4)),
            (&[0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x48, 0x89, 0xe5], Some(8)),
            (&[0x55, 0x53, 0x48, 0x89, 0xe5], None),
            (&[0x48, 0x83, 0xec, 0x08], None),
            (
                &[0x4c, 0x8d, 0x54, 0x24, 0x08, 0x48, 0x83, 0xe4, 0xe0, 0x41, 0xff, 0x72, 0xf8, 0x55, 0x48, 0x89, 0xe5],
                Some(17),
            ),
            (&[], None),
            (&[0x55], None),
        ] {
            assert_eq!(frame_setup_len(code), expected, "{code:x?}");
        }
    }
}
