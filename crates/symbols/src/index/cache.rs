//! Indexes on disk, one file per build, in the user's cache directory.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use super::format::Index;
use crate::SectionData;
use crate::hash::content_hash;
use crate::mapping::Mapping;

/// Bytes of indexes that are kept; about three hundred programs with 300 MB of debug info each.
const MAX_CACHE: u64 = 20 << 30;
/// Longest that writing an index may take before its file is taken for one left by a killed debugger.
const MAX_WRITING: Duration = Duration::from_secs(24 * 3600);

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
    directory: PathBuf,
}

impl IndexCache {
    /// Indexes below `cache`, the debugger's cache directory.
    pub(crate) fn new(cache: &Path) -> IndexCache {
        IndexCache { directory: cache.join("index") }
    }

    /// The index of `key`, if there is one that can be trusted; otherwise why not.
    ///
    /// It must belong to this user and be writable by nobody else, its checksum must fit, and it must be of this build.
    pub(crate) fn open(&self, key: &CacheKey) -> Result<Option<Index>, String> {
        let path = self.directory.join(key.file_name());
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let metadata = file.metadata().map_err(|error| error.to_string())?;
        if metadata.uid() != own_uid().map_err(|error| error.to_string())? || metadata.mode() & 0o022 != 0 {
            return Err("others could have written it".to_owned());
        }
        let index = Index::open(map(&file).map_err(|error| error.to_string())?)?;
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
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let temporary = self.directory.join(format!(".{}-{}-{number}", key.file_name(), std::process::id()));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&temporary)?;
        let remove = Remove(&temporary);
        let file = write(BufWriter::with_capacity(1 << 18, file))?.into_inner().map_err(|error| error.into_error())?;
        let index = Index::open_unchecked(map(&file)?).map_err(io::Error::other)?;
        fs::rename(&temporary, self.directory.join(key.file_name()))?;
        std::mem::forget(remove);
        self.prune(MAX_CACHE);
        Ok(index)
    }

    /// Removes the indexes used longest ago until the rest fits into `limit` bytes, and what killed writers left.
    fn prune(&self, limit: u64) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        let now = SystemTime::now();
        let mut kept = Vec::new();
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let used = metadata.accessed().or_else(|_| metadata.modified()).unwrap_or(now);
            let is_temporary = entry.file_name().as_encoded_bytes().starts_with(b".");
            if is_temporary && now.duration_since(used).is_ok_and(|age| age > MAX_WRITING) {
                let _ = fs::remove_file(entry.path());
            } else {
                kept.push((used, metadata.len(), entry.path()));
            }
        }
        let mut total: u64 = kept.iter().map(|(_, len, _)| len).sum();
        kept.sort();
        for (_, len, path) in kept {
            if total <= limit {
                break;
            }
            // Whoever has it mapped keeps it until they end.
            let _ = fs::remove_file(path);
            total -= len;
        }
    }
}

/// The debugger's cache directory: `$XDG_CACHE_HOME/outpost`, else `~/.cache/outpost`; `None` without a home.
///
/// Source: XDG Base Directory Specification.
pub fn default_directory() -> Option<PathBuf> {
    let absolute = |value: OsString| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
    let cache = std::env::var_os("XDG_CACHE_HOME").and_then(absolute);
    let cache = cache.or_else(|| Some(std::env::var_os("HOME").and_then(absolute)?.join(".cache")))?;
    Some(cache.join("outpost"))
}

/// Removes an unfinished file.
struct Remove<'a>(&'a Path);

impl Drop for Remove<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0);
    }
}

fn map(file: &File) -> io::Result<SectionData> {
    let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    if len == 0 {
        return Ok(SectionData::empty());
    }
    // Mapping is safe here: nobody but us writes to this directory, and we replace files whole.
    Mapping::new(file, 0, len).map(SectionData::mapped)
}

/// The user that this process acts for: the owner of its own directory in /proc (proc(5)).
fn own_uid() -> io::Result<u32> {
    Ok(fs::metadata("/proc/self")?.uid())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

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

        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(cache.open(&key(b"one")).unwrap_err().contains("others"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"x").unwrap();
        assert!(cache.open(&key(b"one")).is_err());
        File::create(&path).unwrap();
        assert!(cache.open(&key(b"one")).is_err(), "an empty file");
        store(&cache, b"one").unwrap();
        assert!(cache.open(&key(b"one")).unwrap().is_some(), "a new one replaces the damaged one");
    }

    #[test]
    fn the_cache_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let cache = IndexCache::new(dir.path());
        for identity in [b"one", b"two", b"six"] {
            store(&cache, identity).unwrap();
        }
        let len = fs::metadata(dir.path().join("index").join(key(b"one").file_name())).unwrap().len();
        let old = SystemTime::now() - Duration::from_secs(60);
        let times = fs::FileTimes::new().set_accessed(old).set_modified(old);
        let oldest = dir.path().join("index").join(key(b"two").file_name());
        File::options().write(true).open(oldest).unwrap().set_times(times).unwrap();
        cache.prune(2 * len);
        let kept = [b"one", b"two", b"six"].map(|identity| cache.open(&key(identity)).unwrap().is_some());
        assert_eq!(kept, [true, false, true], "the one used longest ago goes");
    }

    #[test]
    fn unfinished_indexes_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = IndexCache::new(dir.path());
        let failed = cache.store(&key(b"one"), |_| Err(io::Error::other("stopped")));
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(dir.path().join("index")).unwrap().count(), 0);
    }
}
