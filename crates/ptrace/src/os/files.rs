//! Files of the machine, read by chunks, as a process sees them or as the server does.
//!
//! A process in a container has its own root and mounts. The kernel shows them below `/proc/PID/root`, but a symbolic
//! link in a path would be followed from *our* root; so the last steps are taken by `openat2(2)` with
//! `RESOLVE_IN_ROOT`, for which the process's root is the root of all links.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use outpost_base::ProcessId;
use outpost_target::{DirectoryEntry, FileId, TargetError};
use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use super::proc_files::ProcRoot;
use crate::error::words;

/// Files one session may have open; more would starve the server of descriptors.
const MAX_OPEN: usize = 256;
/// All that one batch of reads may ask for.
const MAX_BATCH: u64 = 256 << 20;
/// Files of `/proc` have no length; up to this much of them is read when they are opened.
const MAX_UNSIZED: u64 = 16 << 20;
/// Entries of one directory.
const MAX_ENTRIES: usize = 100_000;

/// The files a session has open.
#[derive(Debug, Default)]
pub(crate) struct FileTable {
    open: HashMap<FileId, OpenFile>,
    last: u32,
}

#[derive(Debug)]
enum OpenFile {
    Stored(File),
    /// Contents of a file without a length, such as those of `/proc`, taken when it was opened.
    Taken(Vec<u8>),
}

impl FileTable {
    /// Opens a file; gives its length, too.
    pub(crate) fn open(
        &mut self,
        proc: &ProcRoot,
        process: Option<ProcessId>,
        path: &str,
    ) -> Result<(FileId, u64), TargetError> {
        let failed = |error: io::Error| TargetError::File { path: path.to_owned(), reason: words(&error) };
        if self.open.len() >= MAX_OPEN {
            return Err(TargetError::File { path: path.to_owned(), reason: "too many files are open".into() });
        }
        let found = find_in_root(proc, process, path).map_err(failed)?;
        let metadata = found.metadata().map_err(failed)?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        // Opening a device does things to it, and reading a pipe takes bytes away from others. What has a length in
        // `/proc` is the kernel's memory (kcore, proc_kcore(5)).
        let is_proc = rustix::fs::fstatfs(&found).is_ok_and(|system| system.f_type == PROC_SUPER_MAGIC);
        if !kind.is_file() || (is_proc && metadata.len() != 0) {
            return Err(TargetError::File { path: path.to_owned(), reason: "not a file that can be read".into() });
        }
        let file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).map_err(failed)?;
        let (open, len) = match metadata.len() {
            0 => {
                let taken = take(&file).map_err(failed)?;
                let len = taken.len() as u64;
                (OpenFile::Taken(taken), len)
            }
            len => (OpenFile::Stored(file), len),
        };
        self.last = self.last.wrapping_add(1);
        while self.open.contains_key(&FileId(self.last)) {
            self.last = self.last.wrapping_add(1);
        }
        self.open.insert(FileId(self.last), open);
        Ok((FileId(self.last), len))
    }

    /// Reads ranges of an open file, `(offset, length)`; each answer is short only at its end.
    pub(crate) fn read(&self, file: FileId, ranges: &[(u64, u64)]) -> Result<Vec<Vec<u8>>, TargetError> {
        let open = self.open.get(&file).ok_or_else(|| TargetError::Invalid { reason: "no such open file".into() })?;
        if ranges.iter().fold(0u64, |sum, (_, len)| sum.saturating_add(*len)) > MAX_BATCH {
            return Err(TargetError::Invalid { reason: format!("a batch of reads has at most {MAX_BATCH} bytes") });
        }
        ranges
            .iter()
            .map(|&(offset, len)| {
                open.read(offset, len)
                    .map_err(|error| TargetError::File { path: format!("file {}", file.0), reason: words(&error) })
            })
            .collect()
    }

    pub(crate) fn close(&mut self, file: FileId) {
        self.open.remove(&file);
    }
}

impl OpenFile {
    fn read(&self, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        match self {
            OpenFile::Taken(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let end = start.saturating_add(usize::try_from(len).unwrap_or(usize::MAX)).min(bytes.len());
                Ok(bytes[start..end].to_vec())
            }
            OpenFile::Stored(file) => {
                let rest = file.metadata()?.len().saturating_sub(offset);
                let mut bytes = vec![0; len.min(rest) as usize];
                let mut done = 0;
                while done < bytes.len() {
                    match file.read_at(&mut bytes[done..], offset + done as u64) {
                        Ok(0) => break,
                        Ok(count) => done += count,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
                bytes.truncate(done);
                Ok(bytes)
            }
        }
    }
}

/// A directory's entries as the server sees them, sorted by name.
pub(crate) fn list_directory(path: &str) -> Result<Vec<DirectoryEntry>, TargetError> {
    let failed = |error: io::Error| TargetError::File { path: path.to_owned(), reason: words(&error) };
    let mut entries: Vec<DirectoryEntry> = fs::read_dir(path)
        .map_err(failed)?
        .take(MAX_ENTRIES)
        .filter_map(|entry| {
            let entry = entry.ok()?;
            // A link to a directory completes like one.
            let is_directory = fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_dir());
            Some(DirectoryEntry { name: entry.file_name().to_string_lossy().into_owned(), is_directory })
        })
        .collect();
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

/// A handle that names the file, and nothing more.
fn find_in_root(proc: &ProcRoot, process: Option<ProcessId>, path: &str) -> io::Result<File> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let Some(process) = process else {
        return Ok(File::from(openat(CWD, path, flags, Mode::empty())?));
    };
    // `/proc/self` of the debuggee is not ours, and its proc may be mounted for another pid namespace.
    let own_proc = Path::new(path).strip_prefix("/proc/self").ok();
    if let Some(below) = own_proc {
        let path = proc.of(process.0, "").join(below);
        return Ok(File::from(openat(CWD, path, flags, Mode::empty())?));
    }
    let root = openat(CWD, proc.root_of(process.0), flags, Mode::empty())?;
    match openat2(&root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS) {
        Ok(file) => Ok(File::from(file)),
        // Before Linux 5.6 there is only the way that follows links from our root.
        Err(Errno::NOSYS) => {
            let path = proc.root_of(process.0).join(path.trim_start_matches('/'));
            Ok(File::from(openat(CWD, path, flags, Mode::empty())?))
        }
        Err(error) => Err(error.into()),
    }
}

fn take(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, MAX_UNSIZED), &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn ranges_are_short_only_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers");
        fs::write(&path, b"0123456789").unwrap();
        let mut files = FileTable::default();
        let (id, len) = files.open(&ProcRoot::default(), None, path.to_str().unwrap()).unwrap();
        assert_eq!(len, 10);
        let answers = files.read(id, &[(0, 3), (8, 5), (10, 1), (u64::MAX, 1), (2, 0)]).unwrap();
        assert_eq!(answers, [&b"012"[..], b"89", b"", b"", b""]);
        assert!(matches!(files.read(id, &[(0, u64::MAX)]), Err(TargetError::Invalid { .. })));
        files.close(id);
        assert!(matches!(files.read(id, &[(0, 1)]), Err(TargetError::Invalid { .. })));
    }

    #[test]
    fn files_without_a_length_are_taken_whole() {
        let mut files = FileTable::default();
        let own = ProcessId(std::process::id());
        let (id, len) = files.open(&ProcRoot::default(), Some(own), "/proc/self/status").unwrap();
        let text = files.read(id, &[(0, 1 << 20)]).unwrap().concat();
        assert_eq!(text.len() as u64, len);
        assert!(String::from_utf8(text).unwrap().contains(&format!("Pid:\t{own}\n")));
    }

    #[test]
    fn links_stay_in_the_process_root() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("7/root/etc")).unwrap();
        fs::write(folder.path().join("7/root/etc/inside"), "inside").unwrap();
        symlink("/etc/inside", folder.path().join("7/root/link")).unwrap();
        let mut files = FileTable::default();
        let proc = ProcRoot::at(folder.path());
        let (id, _) = files.open(&proc, Some(ProcessId(7)), "/link").unwrap();
        assert_eq!(files.read(id, &[(0, 10)]).unwrap(), [b"inside"]);
        symlink("/../../../etc/passwd", folder.path().join("7/root/outside")).unwrap();
        assert!(matches!(files.open(&proc, Some(ProcessId(7)), "/outside"), Err(TargetError::File { .. })));
    }

    #[test]
    fn what_cannot_be_read_by_ranges_is_refused() {
        let mut files = FileTable::default();
        let mut refused = |path: &str| match files.open(&ProcRoot::default(), None, path) {
            Err(TargetError::File { reason, .. }) => reason,
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(refused("/"), "is a directory");
        assert_eq!(refused("/dev/null"), "not a file that can be read");
        assert_eq!(refused("/no/such/file"), "no such file or directory");
    }

    #[test]
    fn directories_are_sorted_and_links_to_them_are_directories() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        fs::write(folder.path().join("a"), "").unwrap();
        symlink("b", folder.path().join("c")).unwrap();
        let entries = list_directory(folder.path().to_str().unwrap()).unwrap();
        let entries: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.is_directory)).collect();
        assert_eq!(entries, [("a", false), ("b", true), ("c", true)]);
    }
}
