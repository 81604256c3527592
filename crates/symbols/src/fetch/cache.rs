//! The disk cache, laid out as libdebuginfod's, so that it is shared with `debuginfod-find`, gdb and others.
//!
//! `DIR/BUILDID/{debuginfo,executable,source##path}`; an empty file says that no server has it, for `cache_miss_s`
//! seconds. Source: debuginfod_find_debuginfo(3), "CACHE"; names and defaults: elfutils 0.188, debuginfod-client.c.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use super::{Artifact, FetchRequest};

/// Seconds for which it is remembered that no server has a file.
const MISS: (&str, u64) = ("cache_miss_s", 600);
/// Seconds between two cleanings; the file's time is that of the last.
const CLEAN: (&str, u64) = ("cache_clean_interval_s", 24 * 3600);
/// Seconds after which a file that nobody used is removed.
const UNUSED: (&str, u64) = ("max_unused_age_s", 7 * 24 * 3600);

/// Longest name of a file that file systems take.
const MAX_NAME: usize = 255;

/// What the cache has of a request.
pub(super) enum Cached {
    /// The file.
    File(PathBuf),
    /// That no server had it a short while ago.
    Missing(PathBuf),
    /// Nothing.
    Nothing,
}

/// Where `directory` has the artifact; `None` if its name would be too long.
fn place(directory: &Path, request: &FetchRequest) -> Option<PathBuf> {
    let name = match &request.artifact {
        Artifact::DebugInfo => "debuginfo".to_owned(),
        Artifact::Executable => "executable".to_owned(),
        Artifact::Source(path) => format!("source{}", path.replace('#', "#_").replace('/', "##")),
    };
    (name.len() <= MAX_NAME - 8).then(|| directory.join(request.build_id.to_string()).join(name))
}

/// Looks for the artifact in `directory`.
pub(super) fn look(directory: &Path, request: &FetchRequest) -> Cached {
    let Some(path) = place(directory, request) else { return Cached::Nothing };
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() && metadata.len() > 0 => Cached::File(path),
        Ok(metadata) if metadata.is_file() && is_younger(metadata.modified(), setting(directory, MISS)) => {
            Cached::Missing(path)
        }
        _ => Cached::Nothing,
    }
}

/// Remembers that no server has the artifact.
pub(super) fn remember_missing(directory: &Path, request: &FetchRequest) {
    let Some(path) = place(directory, request) else { return };
    let note = || -> io::Result<()> {
        prepare(&path)?;
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.set_modified(SystemTime::now())
    };
    // What is not remembered is asked for again, no more.
    let _ = note();
}

/// A file on its way into the cache: it has its name only when it is whole, and goes if it never is.
pub(super) struct Incoming {
    file: Option<File>,
    temporary: PathBuf,
    place: PathBuf,
}

impl Incoming {
    /// Begins the artifact's file in `directory`.
    pub(super) fn create(directory: &Path, request: &FetchRequest) -> io::Result<Incoming> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let place = place(directory, request).ok_or(io::ErrorKind::InvalidFilename)?;
        // First, since it removes what is empty.
        clean(directory);
        prepare(&place)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // If we are killed meanwhile, a later cleaning takes it away.
        let temporary = place.with_file_name(format!("incoming.{}-{number}", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        Ok(Incoming { file: Some(file), temporary, place })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Where the bytes are meanwhile.
    pub(super) fn path(&self) -> &Path {
        &self.temporary
    }

    /// Gives the file its name and returns that.
    pub(super) fn keep(mut self) -> io::Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        if let Some(file) = self.file.take() {
            file.set_permissions(fs::Permissions::from_mode(0o400))?;
        }
        fs::rename(&self.temporary, &self.place)?;
        Ok(self.place.clone())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Gone already if it was kept.
        let _ = fs::remove_file(&self.temporary);
    }
}

fn prepare(place: &Path) -> io::Result<()> {
    match place.parent() {
        Some(directory) => fs::DirBuilder::new().recursive(true).mode(0o700).create(directory),
        None => Ok(()),
    }
}

/// A number of seconds that a file of the cache holds, else its default.
fn setting(directory: &Path, (name, default): (&str, u64)) -> Duration {
    let text = fs::read_to_string(directory.join(name)).ok();
    Duration::from_secs(text.and_then(|text| text.trim().parse().ok()).unwrap_or(default))
}

fn is_younger(time: io::Result<SystemTime>, than: Duration) -> bool {
    // A time in the future is no age.
    time.ok().and_then(|time| time.elapsed().ok()).is_some_and(|age| age < than)
}

/// Removes what nobody used for long, at most once in the cleaning interval.
fn clean(directory: &Path) {
    let note = directory.join(CLEAN.0);
    let interval = setting(directory, CLEAN);
    match fs::metadata(&note) {
        Ok(metadata) if is_younger(metadata.modified(), interval) => return,
        Ok(_) => {}
        // As libdebuginfod does: a cache is cleaned first when it is a day old.
        Err(_) => {
            let _ = fs::write(&note, CLEAN.1.to_string());
            return;
        }
    }
    let Ok(file) = File::options().write(true).open(&note) else { return };
    // Others that come meanwhile see that it is being done.
    let _ = file.set_modified(SystemTime::now());
    let unused = setting(directory, UNUSED);
    let builds = fs::read_dir(directory).into_iter().flatten().flatten();
    // The directory may be the user's and have other things in it.
    let is_build = |name: &str| name.len() >= 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    for build in builds.filter(|entry| entry.file_name().to_str().is_some_and(is_build)) {
        for entry in fs::read_dir(build.path()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let ours = ["debuginfo", "executable", "source", "incoming."];
            let is_ours = ours.iter().any(|start| name.as_encoded_bytes().starts_with(start.as_bytes()));
            let used = entry.metadata().and_then(|metadata| Ok(metadata.accessed()?.max(metadata.modified()?)));
            if is_ours && !is_younger(used, unused) {
                let _ = fs::remove_file(entry.path());
            }
        }
        // Refused while anything is left in it.
        let _ = fs::remove_dir(build.path());
    }
}

#[cfg(test)]
mod tests {
    use outpost_base::BuildId;

    use super::*;
    use crate::ServerLayout;

    fn request(artifact: Artifact) -> FetchRequest {
        let build_id = BuildId(vec![0xab, 0xcd]);
        FetchRequest { build_id, artifact, urls: Vec::new(), layout: ServerLayout::Debuginfod, caches: Vec::new() }
    }

    fn age(path: &Path, seconds: u64) {
        let then = SystemTime::now() - Duration::from_secs(seconds);
        let times = fs::FileTimes::new().set_accessed(then).set_modified(then);
        File::open(path).unwrap().set_times(times).unwrap();
    }

    #[test]
    fn names_are_those_of_libdebuginfod() {
        let check = |artifact, expected: &str| {
            assert_eq!(place(Path::new("/c"), &request(artifact)).unwrap(), Path::new(expected));
        };
        check(Artifact::DebugInfo, "/c/abcd/debuginfo");
        check(Artifact::Source("/tmp/a#b.c".into()), "/c/abcd/source##tmp##a#_b.c");
        assert!(place(Path::new("/c"), &request(Artifact::Source("/x".repeat(200)))).is_none());
    }

    #[test]
    fn what_no_server_has_is_remembered_for_ten_minutes() {
        let dir = tempfile::tempdir().unwrap();
        let request = request(Artifact::DebugInfo);
        assert!(matches!(look(dir.path(), &request), Cached::Nothing));
        remember_missing(dir.path(), &request);
        let Cached::Missing(path) = look(dir.path(), &request) else { panic!("it is remembered") };
        age(&path, 601);
        assert!(matches!(look(dir.path(), &request), Cached::Nothing));
    }

    #[test]
    fn unfinished_files_go_and_unused_ones_are_cleaned_away() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (request(Artifact::Executable), request(Artifact::DebugInfo));
        let mut begun = Incoming::create(dir.path(), &old).unwrap();
        begun.write(b"old").unwrap();
        let kept = begun.keep().unwrap();
        drop(Incoming::create(dir.path(), &new).unwrap());
        assert_eq!(fs::read_dir(kept.parent().unwrap()).unwrap().count(), 1);
        age(&kept, 8 * 24 * 3600);
        age(&dir.path().join(CLEAN.0), 2 * 24 * 3600);
        fs::write(dir.path().join("precious"), b"").unwrap();
        Incoming::create(dir.path(), &new).unwrap().keep().unwrap();
        assert!(!kept.exists() && dir.path().join("precious").exists());
    }
}
