//! The source files that a unit's line program names.

use gimli::{AttributeValue, Dwarf, LineProgramHeader, Unit};

use super::chunk::{Chunk, FileName};
use crate::dwarf_sections::DwarfSlice;

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
    let compile_directory = unit.comp_dir.map(|text| text.slice()).unwrap_or_default();
    // Number 0 is the compile directory: implied before DWARF 5, listed since.
    let mut directories = Vec::new();
    let mut next = 0;
    while let Some(value) = header.directory(next) {
        let path = join(compile_directory, text(value));
        directories.push((chunk.strings.intern(&path), path));
        next += 1;
        if directories.len() >= MAX_FILES {
            break;
        }
    }
    for file in header.file_names().iter().take(MAX_FILES) {
        let name = text(file.path_name());
        let directory = usize::try_from(file.directory_index()).ok().and_then(|index| directories.get(index));
        let number_of_file = match directory {
            Some((id, _)) if !name.contains(&b'/') => {
                let name = FileName { directory: *id, base: chunk.strings.intern(name) };
                chunk.file(name)
            }
            other => {
                let path = join(other.map(|(_, path)| path.as_slice()).unwrap_or(compile_directory), name);
                let (directory, base) = split(&path);
                let name = FileName { directory: chunk.strings.intern(directory), base: chunk.strings.intern(base) };
                chunk.file(name)
            }
        };
        chunk.file_units.push((number_of_file, number));
    }
}

/// `name` as seen from `directory`.
pub(crate) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if name.starts_with(b"/") || directory.is_empty() {
        return name.to_vec();
    }
    if name.is_empty() {
        return directory.to_vec();
    }
    [directory.strip_suffix(b"/").unwrap_or(directory), b"/", name].concat()
}

/// Directory and base name of a path.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(0) => (b"/", &path[1..]),
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_join_and_split() {
        assert_eq!(join(b"/src", b"a.c"), b"/src/a.c");
        assert_eq!(join(b"/", b"a.c"), b"/a.c");
        assert_eq!(join(b"/src", b"/usr/include/x.h"), b"/usr/include/x.h");
        assert_eq!(join(b"", b"a.c"), b"a.c");
        assert_eq!(split(b"/src/a.c"), (&b"/src"[..], &b"a.c"[..]));
        assert_eq!(split(b"/a.c"), (&b"/"[..], &b"a.c"[..]));
        assert_eq!(split(b"a.c"), (&b""[..], &b"a.c"[..]));
    }
}
