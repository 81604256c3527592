//! The servers of this machine, as each other's users find them: a small file for each, in one of two directories.
//!
//! | directory | written by | seen by |
//! | --- | --- | --- |
//! | `/run/outpost/servers` | root, and members of the group that an administrator gives it to | everybody |
//! | `servers` in the user's runtime directory | everybody else | the same user and root |
//!
//! A file has lines of `key value`: kind, connection string without a secret, process id with its start time, release and
//! protocol. It is removed in order; what a killed server leaves is recognised by process id, start time and owner, not
//! shown, and removed by whoever may. Hidden servers and those that dial have none. Readers trust no file: its size,
//! their number and what is in them are bounded.

use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use outpost_wire::{ListedServer, RELEASE, ServerKind, VERSIONS};
use rustix::fs::{Mode, OFlags};

/// Where servers are that all may see.
const SYSTEM: &str = "/run/outpost/servers";
/// Longest file that is read.
const MAX_FILE: u64 = 4 << 10;
/// Most files of a directory that are looked at.
const MAX_FILES: usize = 1024;

/// The directories, the one that is preferred first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    directories: Vec<PathBuf>,
}

/// A server's file; removed on drop.
#[derive(Debug)]
pub struct Registration {
    path: PathBuf,
}

impl Registry {
    /// What this user sees of this machine.
    pub fn of_this_machine() -> Registry {
        let mut directories = vec![PathBuf::from(SYSTEM)];
        // A user without a runtime directory of its own has the common one only.
        let own = outpost_transport::runtime_directory().map(|directory| directory.join("servers"));
        directories.extend(own.ok().filter(|own| own != Path::new(SYSTEM)));
        Registry { directories }
    }

    /// The registry in these directories.
    pub fn of(directories: Vec<PathBuf>) -> Registry {
        Registry { directories }
    }

    /// Enters this process as a server, in the first directory that takes it. `None`: none does, so that nobody will
    /// find it; it serves as well.
    pub fn register(&self, kind: ServerKind, transport: &str) -> Option<Registration> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let pid = std::process::id();
        let start = start_time(pid)?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // With the start time in its name it is nobody else's, however often ids come round.
        let name = format!("{pid}-{start}-{number}");
        let versions: Vec<String> = VERSIONS.iter().map(u32::to_string).collect();
        let text = format!(
            "kind {}\ntransport {transport}\npid {pid}\nstart {start}\nrelease {RELEASE}\nprotocol {}\n",
            keyword(kind),
            versions.join(","),
        );
        let path = self.directories.iter().find_map(|directory| write(directory, &name, &text).ok())?;
        Some(Registration { path })
    }

    /// The servers that are there, sorted. Entries of those that are gone are removed, as far as they may be.
    pub fn list(&self) -> Vec<ListedServer> {
        let mut servers: Vec<ListedServer> = self.directories.iter().flat_map(|directory| list(directory)).collect();
        servers.sort();
        servers
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // If it stays, readers see that its process is gone.
        let _ = std::fs::remove_file(&self.path);
    }
}

pub(crate) fn keyword(kind: ServerKind) -> &'static str {
    match kind {
        ServerKind::Debugger => "debugger",
        ServerKind::Process => "process",
        ServerKind::Kernel => "kernel",
    }
}

/// Writes the file under another name first, so that nobody reads half of it.
fn write(directory: &Path, name: &str, text: &str) -> std::io::Result<PathBuf> {
    make(directory)?;
    let is_common = directory == Path::new(SYSTEM);
    let (unfinished, path) = (directory.join(format!(".{name}")), directory.join(name));
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| {
        let mode = if is_common { 0o644 } else { 0o600 };
        file.set_permissions(Permissions::from_mode(mode))?;
        std::fs::rename(&unfinished, &path)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    written.map(|()| path)
}

/// Makes a directory that is not there. In the common one everybody may look; of what lies beside it, pipes, each is its
/// owner's all the same.
fn make(directory: &Path) -> std::io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    if directory == Path::new(SYSTEM) {
        std::fs::set_permissions(directory, Permissions::from_mode(0o755))?;
        if let Some(parent) = directory.parent() {
            std::fs::set_permissions(parent, Permissions::from_mode(0o711))?;
        }
    }
    Ok(())
}

fn list(directory: &Path) -> Vec<ListedServer> {
    let Ok(files) = std::fs::read_dir(directory) else { return Vec::new() };
    let own = rustix::process::geteuid();
    let mut servers = Vec::new();
    for file in files.take(MAX_FILES).flatten() {
        let path = file.path();
        if file.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let Some((text, owner)) = read(&path) else { continue };
        match parse(&text) {
            Some(entry) if entry.is_of_a_living_process(owner) => servers.push(entry.server),
            // Only what is this user's, or anybody's to root: another's process may be there without being seen
            // (proc(5), hidepid).
            Some(_) if own.is_root() || own.as_raw() == owner => drop(std::fs::remove_file(&path)),
            _ => {}
        }
    }
    servers
}

/// Text and owner of a file; nothing of what is no plain file, or too long.
fn read(path: &Path) -> Option<(String, u32)> {
    // Nothing that somebody put there can make this wait or lead it elsewhere.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return None;
    }
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).ok()?;
    Some((text, metadata.uid()))
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    server: ListedServer,
    pid: u32,
    start: u64,
}

/// The kind that a keyword stands for.
pub fn kind(keyword: &str) -> Option<ServerKind> {
    match keyword {
        "debugger" => Some(ServerKind::Debugger),
        "process" => Some(ServerKind::Process),
        "kernel" => Some(ServerKind::Kernel),
        _ => None,
    }
}

fn parse(text: &str) -> Option<Entry> {
    let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    let kind = kind(field("kind")?)?;
    let transport = field("transport")?.chars().filter(|c| !c.is_control()).collect();
    let (pid, start) = (field("pid")?.parse().ok()?, field("start")?.parse().ok()?);
    Some(Entry { server: ListedServer { kind, transport }, pid, start })
}

impl Entry {
    /// Whether its process is there and belongs to the file's owner: nobody can speak for the process of another.
    fn is_of_a_living_process(&self, owner: u32) -> bool {
        start_time(self.pid) == Some(self.start) && effective_user(self.pid).is_some_and(|user| user == owner)
    }
}

/// When a process started, in clock ticks since boot. The name before it is in parentheses and may hold any byte; the
/// start is field 22, the state behind the name field 3 (proc_pid_stat(5)).
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Source: proc_pid_status(5), `Uid`: real, effective, saved, of the file system.
fn effective_user(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(registry: &Registry) -> Vec<String> {
        registry.list().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_user_sees_the_common_servers_and_the_own_ones() {
        let place = tempfile::tempdir().unwrap();
        let [common, ada, bob] = ["common", "ada", "bob"].map(|name| place.path().join(name));
        let registry = |own: &Path| Registry::of(vec![common.clone(), own.to_owned()]);
        let only = |own: &Path| Registry::of(vec![own.to_owned()]);
        let kernel = registry(&ada).register(ServerKind::Kernel, "npipe:Pipe=KernelPipe").unwrap();
        let debugger = only(&ada).register(ServerKind::Debugger, "npipe:Pipe=MainPipe").unwrap();
        let process = only(&bob).register(ServerKind::Process, "tcp:Port=1025,Password=*").unwrap();
        let seen_by_both = "Remote Kernel Debugger Server - npipe:Pipe=KernelPipe";
        assert_eq!(lines(&registry(&ada)), ["Debugger Server - npipe:Pipe=MainPipe", seen_by_both]);
        assert_eq!(lines(&registry(&bob)), ["Remote Process Server - tcp:Port=1025,Password=*", seen_by_both]);
        drop((kernel, debugger, process));
        assert!(lines(&registry(&ada)).is_empty() && std::fs::read_dir(&ada).unwrap().next().is_none());
    }

    #[test]
    fn entries_of_the_dead_are_not_shown_and_go_away() {
        let place = tempfile::tempdir().unwrap();
        let registry = Registry::of(vec![place.path().to_owned()]);
        let alive = registry.register(ServerKind::Process, "tcp:Port=1").unwrap();
        let text = std::fs::read_to_string(&alive.path).unwrap();
        let start = start_time(std::process::id()).unwrap();
        // The id is another process's now, or nobody's.
        let dead = place.path().join("dead");
        std::fs::write(&dead, text.replace(&format!("start {start}"), "start 1")).unwrap();
        let gone = place.path().join("gone");
        std::fs::write(&gone, text.replace(&format!("pid {}", std::process::id()), "pid 4194999")).unwrap();
        assert_eq!(lines(&registry), ["Remote Process Server - tcp:Port=1"]);
        assert!(!dead.exists() && !gone.exists() && alive.path.exists());
    }

    #[test]
    fn what_is_no_entry_is_passed_over() {
        let place = tempfile::tempdir().unwrap();
        let registry = Registry::of(vec![place.path().to_owned()]);
        let alive = registry.register(ServerKind::Process, "tcp:Port=1").unwrap();
        let text = std::fs::read_to_string(&alive.path).unwrap();
        for (name, text) in [
            (".half", text.clone()),
            ("kind", text.replace("kind process", "kind toaster")),
            ("noise", "\u{1b}[31m\n\n".to_owned()),
            ("long", format!("{text}{}", "x".repeat(5000))),
            ("number", text.replace("start ", "start -")),
        ] {
            std::fs::write(place.path().join(name), text).unwrap();
        }
        std::fs::create_dir(place.path().join("directory")).unwrap();
        std::os::unix::fs::symlink(&alive.path, place.path().join("link")).unwrap();
        let fifo = place.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(lines(&registry), ["Remote Process Server - tcp:Port=1"]);
        assert!(place.path().join("kind").exists(), "another release may know what it is");
    }

    #[test]
    fn a_directory_that_takes_nothing_is_passed_over() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        std::fs::write(&file, "").unwrap();
        let own = place.path().join("own");
        let registration = Registry::of(vec![file.join("servers"), own.clone()]).register(ServerKind::Process, "x");
        assert!(registration.unwrap().path.starts_with(&own));
        assert!(Registry::of(vec![file.join("servers")]).register(ServerKind::Process, "x").is_none());
    }
}
