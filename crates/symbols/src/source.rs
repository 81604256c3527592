//! Where the bytes of an image come from.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::mapping::Mapping;
use crate::{SectionData, SymbolsError};

/// Ranges of a local file at least this long are mapped, shorter ones read.
///
/// A mapped file that shrinks raises SIGBUS, so small sections, which are most, are copied; large ones would cost the
/// memory that the index is there to save (see [`Mapping::new`]).
const MAP_FROM_LEN: u64 = 4 << 20;

/// The bytes of an image or a debug file, wherever they are: a local file, memory, a file on a server.
///
/// Parsers ask for headers, then for the sections they need, never for the whole; a remote source pays for what is
/// asked. [`ByteSource::read_many`] is its chance to ask for several ranges in one round trip. Sections are read by the
/// thread that asks the question; threads that share the work on them read nothing.
pub trait ByteSource: Send + Sync + fmt::Debug {
    /// What to call it in messages: a path, or where it was found.
    fn name(&self) -> String;

    /// Length in bytes, as of when the source was opened.
    fn len(&self) -> u64;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What tells this content from any other that could be found by the same name: for caches, where an image has no
    /// build-id. `None` if nothing does.
    fn identity(&self) -> Option<String> {
        None
    }

    /// The `len` bytes at `offset`, all of them.
    /// # Errors
    /// [`SymbolsError::OutOfBounds`] if they are not all inside; [`SymbolsError::Read`] if reading fails.
    fn read(&self, offset: u64, len: u64) -> Result<SectionData, SymbolsError>;

    /// Several ranges, in the order asked; the first failure fails all.
    /// # Errors
    /// As [`ByteSource::read`].
    fn read_many(&self, ranges: &[Range<u64>]) -> Result<Vec<SectionData>, SymbolsError> {
        ranges.iter().map(|range| self.read(range.start, range.end.saturating_sub(range.start))).collect()
    }
}

/// A file of this machine.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    file: File,
    len: u64,
}

impl FileSource {
    /// Opens `path` for reading.
    /// # Errors
    /// [`SymbolsError::Open`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Arc<FileSource>, SymbolsError> {
        let path = path.into();
        let opened = File::open(&path).and_then(|file| {
            let metadata = file.metadata()?;
            if metadata.is_file() { Ok((file, metadata.len())) } else { Err(io::ErrorKind::InvalidInput.into()) }
        });
        match opened {
            Ok((file, len)) => Ok(Arc::new(FileSource { path, file, len })),
            Err(source) => Err(SymbolsError::Open { path, source: Arc::new(source) }),
        }
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl ByteSource for FileSource {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn identity(&self) -> Option<String> {
        let metadata = self.file.metadata().ok()?;
        let (device, inode) = (metadata.dev(), metadata.ino());
        Some(format!("{device}:{inode} changed {}.{:09}", metadata.ctime(), metadata.ctime_nsec()))
    }

    fn read(&self, offset: u64, len: u64) -> Result<SectionData, SymbolsError> {
        let size = check_bounds(self, offset, len)?;
        let failed =
            |source: io::Error| SymbolsError::Read { name: self.name(), offset, len, source: Arc::new(source) };
        if len >= MAP_FROM_LEN {
            // The file may have shrunk since it was opened; then mapping it would only postpone the failure.
            let now = self.file.metadata().map_err(failed)?.len();
            if now < offset + len {
                return Err(SymbolsError::OutOfBounds { name: self.name(), offset, len, file_len: now });
            }
            return Mapping::new(&self.file, offset, size).map(SectionData::mapped).map_err(failed);
        }
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, offset).map_err(failed)?;
        Ok(SectionData::from(bytes))
    }
}

/// Bytes already in memory: the vdso as read from a process, a decompressed mini-symtab, a test.
#[derive(Debug)]
pub struct MemorySource {
    name: String,
    bytes: SectionData,
}

impl MemorySource {
    /// `bytes` under the name `name`.
    pub fn new(name: impl Into<String>, bytes: impl Into<SectionData>) -> Arc<MemorySource> {
        Arc::new(MemorySource { name: name.into(), bytes: bytes.into() })
    }
}

impl ByteSource for MemorySource {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, offset: u64, len: u64) -> Result<SectionData, SymbolsError> {
        let size = check_bounds(self, offset, len)?;
        let start = offset as usize;
        Ok(self.bytes.slice(start..start + size).unwrap_or_default())
    }
}

/// `len` as a size of this host, once `offset..offset + len` is known to lie inside `source`.
fn check_bounds(source: &dyn ByteSource, offset: u64, len: u64) -> Result<usize, SymbolsError> {
    let inside = offset.checked_add(len).is_some_and(|end| end <= source.len());
    usize::try_from(len).ok().filter(|_| inside).ok_or_else(|| SymbolsError::OutOfBounds {
        name: source.name(),
        offset,
        len,
        file_len: source.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_checked_before_anything_is_allocated() {
        let source = MemorySource::new("test", vec![1, 2, 3]);
        assert_eq!(&*source.read(1, 2).unwrap(), &[2, 3]);
        assert!(matches!(source.read(1, u64::MAX), Err(SymbolsError::OutOfBounds { .. })));
        assert!(matches!(source.read(4, 0), Err(SymbolsError::OutOfBounds { .. })));
    }

    #[test]
    fn large_ranges_are_mapped_and_survive_release() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large");
        let len = MAP_FROM_LEN as usize + 10_000;
        let content: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let source = FileSource::open(&path).unwrap();
        let data = source.read(5_000, MAP_FROM_LEN).unwrap();
        assert!(format!("{data:?}").contains("mapped"));
        assert_eq!(&data[..], &content[5_000..][..MAP_FROM_LEN as usize]);
        data.release(0..data.len());
        assert_eq!(&data[100_000..100_100], &content[105_000..105_100]);
    }

    #[test]
    fn directories_are_refused() {
        assert!(matches!(FileSource::open("/"), Err(SymbolsError::Open { .. })));
    }
}
