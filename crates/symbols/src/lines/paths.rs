//! Paths of source files, as line programs put them together.

use gimli::{LineProgramHeader, Reader, UnitRef};

/// Most directories of one unit that are believed.
const MAX_DIRECTORIES: u64 = 1 << 20;

/// The directories of a line program, by number, as seen from the directory of compilation, which is number 0.
///
/// Source: DWARF 5, 6.2.4.1; before DWARF 5 number 0 is implied.
pub(crate) fn directories<R: Reader<Offset = usize>>(
    unit: UnitRef<'_, R>,
    header: &LineProgramHeader<R>,
) -> Vec<Vec<u8>> {
    let compile_directory = unit.comp_dir.as_ref().and_then(|directory| directory.to_slice().ok()).unwrap_or_default();
    let mut directories = Vec::new();
    while let Some(value) = header.directory(directories.len() as u64) {
        let text = unit.attr_string(value).and_then(|text| Ok(text.to_slice()?.into_owned())).unwrap_or_default();
        // Number 0 may itself be relative: then it is relative to nothing that we know.
        let path = if directories.is_empty() && !text.is_empty() { text } else { join(&compile_directory, &text) };
        directories.push(path);
        if directories.len() as u64 >= MAX_DIRECTORIES {
            break;
        }
    }
    directories
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
