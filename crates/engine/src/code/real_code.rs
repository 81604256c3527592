//! Code of programs that nobody here wrote, for tests.

use std::path::{Path, PathBuf};

use outpost_base::ImageOffset;
use outpost_symbols::{ElfFile, FileSource};

/// Where this machine has its libraries.
pub(crate) const LIBRARIES: [&str; 3] = ["/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"];

/// Bytes of code looked at in one stretch of a file; large files are looked at in as many as fit into [`MAX_CODE`].
const STRETCH: u64 = 64 << 10;
/// Most bytes of code looked at in one file.
const MAX_CODE: u64 = 16 << 20;

/// A file of one of the folders whose name begins with `name`.
pub(crate) fn find(folders: &[&str], name: &str) -> PathBuf {
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
    files
        .map(|file| file.path())
        .find(|path| path.file_name().is_some_and(|file| file.as_encoded_bytes().starts_with(name.as_bytes())))
        .unwrap_or_else(|| panic!("{name} is in one of {folders:?}"))
}

/// The code of an image, evenly spread stretches of it if it is large, each with its place in the image.
pub(crate) fn code_of(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let image = ElfFile::parse(FileSource::open(path).unwrap()).unwrap();
    let ranges = image.text_ranges();
    let len: u64 = ranges.iter().map(|range| range.end.0 - range.start.0).sum();
    let stride = STRETCH * len.div_ceil(MAX_CODE).max(1);
    let stretches = ranges.iter().flat_map(|range| {
        let end = range.end.0;
        (range.start.0..end).step_by(stride as usize).map(move |start| (start, STRETCH.min(end - start)))
    });
    stretches
        .map(|(start, len)| (start, image.image_bytes(ImageOffset(start), len as usize).unwrap().to_vec()))
        .collect()
}
