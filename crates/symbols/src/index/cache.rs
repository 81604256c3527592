//! Indexes on disk, one file per build, in the user's cache directory.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use super::format::Index;
use crate::cache_files::CacheDirectory;
use crate::hash::content_hash;

/// Bytes of indexes that are kept; about three hundred programs with 300 MB of debug info each.
const MAX_CACHE: u64 = 20 << 30;

/// Which build, with which debug files, an index is of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CacheKey {
    /// Readable beginning of the file name: the build-id, or "file" without one.
    pub(crate) stem: String,
    /// Everything that must agree; stored in the index.
    pub(crate) identity: Vec<u8>,
}

impl CacheKey {
    fn file_name(&self) -> String {
        format!("{}-{:016x}.index", self.stem, content_hash(&self.identity))
    }
}

/// The directory of indexes.
#[derive(Clone, Debug)]
pub(crate) struct IndexCache {
    directory: CacheDirectory,
}

impl IndexCache {
    /// Indexes below `cache`, the debugger's cache directory.
    pub(crate) fn new(cache: &Path) -> IndexCache {
        IndexCache { directory: CacheDirectory::new(cache.join("index"), MAX_CACHE) }
    }

    /// The index of `key`, if there is one that can be trusted; otherwise why not.
    ///
    /// It must belong to this user and be writable by nobody else, its checksum must fit, and it must be of this build.
    pub(crate) fn open(&self, key: &CacheKey) -> Result<Option<Index>, String> {
        let Some(data) = self.directory.open(&key.file_name())? else { return Ok(None) };
        let index = Index::open(data)?;
        if index.identity() != key.identity {
            return Err("it is of another build".to_owned());
        }
        Ok(Some(index))
    }

    /// Stores what `write` writes as the index of `key`, all or nothing, and opens it.
    pub(crate) fn store<E: From<io::Error>>(
        &self,
        key: &CacheKey,
        write: impl FnOnce(BufWriter<File>) -> Result<BufWriter<File>, E>,
    ) -> Result<Index, E> {
        let data = self.directory.store(&key.file_name(), write)?;
        Ok(Index::open_unchecked(data).map_err(io::Error::other)?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;

    use super::super::format::{IndexWriter, Table};
    use super::*;

    fn key(identity: &[u8]) -> CacheKey {
        CacheKey { stem: "abcd".to_owned(), identity: identity.to_vec() }
    }

    fn store(cache: &IndexCache, identity: &[u8]) -> io::Result<Index> {
        cache.store(&key(identity), |out| {
            let mut writer = IndexWriter::new(out)?;
            writer.bytes(Table::Identity, identity)?;
            writer.finish()
        })
    }

    #[test]
    fn indexes_are_found_again_until_they_are_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let cache = IndexCache::new(dir.path());
        assert!(cache.open(&key(b"one")).unwrap().is_none());
        assert_eq!(store(&cache, b"one").unwrap().identity(), b"one");
        assert_eq!(cache.open(&key(b"one")).unwrap().unwrap().identity(), b"one");
        assert!(cache.open(&key(b"two")).unwrap().is_none());

        let path = dir.path().join("index").join(key(b"one").file_name());
        fs::copy(&path, dir.path().join("index").join(key(b"two").file_name())).unwrap();
        assert!(cache.open(&key(b"two")).unwrap_err().contains("another build"));

        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"x").unwrap();
        assert!(cache.open(&key(b"one")).is_err());
        File::create(&path).unwrap();
        assert!(cache.open(&key(b"one")).is_err(), "an empty file");
        store(&cache, b"one").unwrap();
        assert!(cache.open(&key(b"one")).unwrap().is_some(), "a new one replaces the damaged one");
    }
}
