//! The source files that a unit's line program names.

use gimli::{AttributeValue, Dwarf, LineProgramHeader, Unit, UnitRef};

use super::chunk::{Chunk, FileName};
use crate::dwarf_sections::DwarfSlice;
use crate::lines::{directories, join, split};

/// Most files of one unit that are believed.
const MAX_FILES: usize = 1 << 20;

/// Adds the files of a unit to `chunk`.
pub(super) fn collect<'a>(
    dwarf: &Dwarf<DwarfSlice<'a>>,
    unit: &Unit<DwarfSlice<'a>>,
    header: &LineProgramHeader<DwarfSlice<'a>>,
    number: u32,
    chunk: &mut Chunk<'_>,
) {
    let text = |value: AttributeValue<DwarfSlice<'a>>| {
        dwarf.attr_string(unit, value).map(|text| text.slice()).unwrap_or_default()
    };
    let unit_ref = UnitRef::new(dwarf, unit);
    let directories: Vec<_> =
        directories(unit_ref, header).into_iter().map(|path| (chunk.strings.intern(&path), path)).collect();
    for file in header.file_names().iter().take(MAX_FILES) {
        let name = text(file.path_name());
        let directory = usize::try_from(file.directory_index()).ok().and_then(|index| directories.get(index));
        let number_of_file = match directory {
            Some((id, _)) if !name.contains(&b'/') => {
                let name = FileName { directory: *id, base: chunk.strings.intern(name) };
                chunk.file(name)
            }
            other => {
                let path = join(other.map(|(_, path)| path.as_slice()).unwrap_or_default(), name);
                let (directory, base) = split(&path);
                let name = FileName { directory: chunk.strings.intern(directory), base: chunk.strings.intern(base) };
                chunk.file(name)
            }
        };
        chunk.file_units.push((number_of_file, number));
    }
}
