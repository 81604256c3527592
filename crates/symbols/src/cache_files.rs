//! Files in the user's cache directory: written whole or not at all, trusted only if nobody else could have written them,
//! mapped, and removed when they become too many.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use crate::SectionData;
use crate::mapping::Mapping;

/// Longest that writing a file may take before it is taken for one left by a killed debugger.
const MAX_WRITING: Duration = Duration::from_secs(24 * 3600);

/// The debugger's cache directory: `$XDG_CACHE_HOME/outpost`, else `~/.cache/outpost`; `None` without a home.
///
/// Source: XDG Base Directory Specification.
pub fn default_cache_directory() -> Option<PathBuf> {
    let absolute = |value: OsString| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
    let cache = std::env::var_os("XDG_CACHE_HOME").and_then(absolute);
    let cache = cache.or_else(|| Some(std::env::var_os("HOME").and_then(absolute)?.join(".cache")))?;
    Some(cache.join("outpost"))
}

/// A directory of files of one kind.
#[derive(Clone, Debug)]
pub(crate) struct CacheDirectory {
    path: PathBuf,
    limit: u64,
}

impl CacheDirectory {
    /// The directory `path`, whose files shall have `limit` bytes together at most. It need not exist.
    pub(crate) fn new(path: PathBuf, limit: u64) -> CacheDirectory {
        CacheDirectory { path, limit }
    }

    /// The file `name`, mapped; `None` if there is none; why not, if it cannot be trusted or read.
    pub(crate) fn open(&self, name: &str) -> Result<Option<SectionData>, String> {
        let file = match File::open(self.path.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let checked = || -> io::Result<bool> {
            let metadata = file.metadata()?;
            Ok(metadata.uid() == own_uid()? && metadata.mode() & 0o022 == 0)
        };
        match checked() {
            Ok(true) => map(&file).map(Some).map_err(|error| error.to_string()),
            Ok(false) => Err("others could have written it".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Stores what `write` writes as the file `name`, all or nothing, and maps it.
    pub(crate) fn store<E: From<io::Error>>(
        &self,
        name: &str,
        write: impl FnOnce(BufWriter<File>) -> Result<BufWriter<File>, E>,
    ) -> Result<SectionData, E> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let temporary = self.path.join(format!(".{name}-{}-{number}", std::process::id()));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&temporary)?;
        let remove = Remove(&temporary);
        let file = write(BufWriter::with_capacity(1 << 18, file))?.into_inner().map_err(|error| error.into_error())?;
        let data = map(&file)?;
        fs::rename(&temporary, self.path.join(name))?;
        std::mem::forget(remove);
        self.prune(self.limit);
        Ok(data)
    }

    /// Removes the files used longest ago until the rest fits into `limit` bytes, and what killed writers left.
    fn prune(&self, limit: u64) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
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

    use super::*;

    fn store(cache: &CacheDirectory, name: &str, content: &[u8]) -> io::Result<SectionData> {
        cache.store(name, |mut out| {
            out.write_all(content)?;
            Ok(out)
        })
    }

    #[test]
    fn files_come_back_unless_others_could_have_written_them() {
        let dir = tempfile::tempdir().unwrap();
        let cache = CacheDirectory::new(dir.path().join("deep/er"), 100);
        assert!(cache.open("one").unwrap().is_none());
        assert_eq!(&*store(&cache, "one", b"content").unwrap(), b"content");
        assert_eq!(&*cache.open("one").unwrap().unwrap(), b"content");
        store(&cache, "one", b"new").unwrap();
        assert_eq!(&*cache.open("one").unwrap().unwrap(), b"new");
        fs::set_permissions(dir.path().join("deep/er/one"), fs::Permissions::from_mode(0o666)).unwrap();
        assert!(cache.open("one").unwrap_err().contains("others"));
    }

    #[test]
    fn unfinished_files_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = CacheDirectory::new(dir.path().to_owned(), 100);
        assert!(cache.store("one", |_| Err(io::Error::other("stopped"))).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_file_used_longest_ago_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = CacheDirectory::new(dir.path().to_owned(), 10);
        for name in ["one", "two"] {
            store(&cache, name, b"1234").unwrap();
        }
        let old = SystemTime::now() - Duration::from_secs(60);
        let times = fs::FileTimes::new().set_accessed(old).set_modified(old);
        File::options().write(true).open(dir.path().join("two")).unwrap().set_times(times).unwrap();
        store(&cache, "six", b"1234").unwrap();
        let kept = ["one", "two", "six"].map(|name| cache.open(name).unwrap().is_some());
        assert_eq!(kept, [true, false, true]);
    }
}
