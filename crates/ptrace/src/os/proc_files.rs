//! Single files of `/proc`, parsed; the folder is a value, so that recorded trees can be read in tests.

use std::fs;
use std::path::PathBuf;

/// Where `/proc` is.
#[derive(Debug, Clone)]
pub struct ProcRoot(PathBuf);

impl Default for ProcRoot {
    fn default() -> ProcRoot {
        ProcRoot("/proc".into())
    }
}

/// What is used of `/proc/PID/stat`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) name: String,
    pub(crate) state: char,
    pub(crate) parent: u32,
    /// `PF_` bits (include/linux/sched.h).
    pub(crate) flags: u64,
    pub(crate) user_ticks: u64,
    pub(crate) system_ticks: u64,
    pub(crate) threads: u32,
    /// Since the machine was started.
    pub(crate) start_ticks: u64,
    /// The number of the one it ran on last.
    pub(crate) processor: u64,
    /// As sched_setscheduler(2) has it.
    pub(crate) policy: u64,
}

/// What is used of `/proc/PID/status`. The arrays hold the real, effective, saved and file system ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) uids: [u32; 4],
    pub(crate) gids: [u32; 4],
    pub(crate) tracer: u32,
    pub(crate) permitted: u64,
    pub(crate) effective: u64,
    /// What it is called in its own pid namespace, if that is one below this one's (pid_namespaces(7)).
    pub(crate) inner_id: Option<u32>,
    /// Whether system call filters apply to it (`SECCOMP_MODE_FILTER`).
    pub(crate) is_filtered: bool,
}

impl ProcRoot {
    /// A recorded tree.
    pub fn at(path: impl Into<PathBuf>) -> ProcRoot {
        ProcRoot(path.into())
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.0.join(below)
    }

    pub(crate) fn of(&self, process: u32, below: &str) -> PathBuf {
        self.0.join(process.to_string()).join(below)
    }

    /// Ids of all processes, ascending.
    pub(crate) fn process_ids(&self) -> Vec<u32> {
        ids_in(self.0.clone())
    }

    pub(crate) fn stat(&self, process: u32) -> Option<Stat> {
        parse_stat(&fs::read(self.of(process, "stat")).ok()?)
    }

    /// Ids of a process's threads, ascending.
    pub(crate) fn threads(&self, process: u32) -> Vec<u32> {
        ids_in(self.of(process, "task"))
    }

    pub(crate) fn thread_stat(&self, process: u32, thread: u32) -> Option<Stat> {
        parse_stat(&fs::read(self.of(process, &format!("task/{thread}/stat"))).ok()?)
    }

    pub(crate) fn status(&self, process: u32) -> Option<Status> {
        parse_status(&fs::read_to_string(self.of(process, "status")).ok()?)
    }

    /// Command name, at most 15 bytes of it.
    pub(crate) fn name(&self, process: u32) -> Option<String> {
        let bytes = fs::read(self.of(process, "comm")).ok()?;
        Some(lossy(bytes.strip_suffix(b"\n").unwrap_or(&bytes)))
    }

    /// Arguments, each ended by NUL in the file; a program that rewrote them may leave one long string.
    pub(crate) fn arguments(&self, process: u32) -> Vec<String> {
        let bytes = fs::read(self.of(process, "cmdline")).unwrap_or_default();
        let mut arguments: Vec<String> = bytes.split(|&byte| byte == 0).map(lossy).collect();
        // What follows the last NUL is no argument, and titles are padded with NULs.
        while arguments.last().is_some_and(String::is_empty) {
            arguments.pop();
        }
        arguments
    }

    /// Path of the executable in the process's own file system; empty if unreadable.
    pub(crate) fn executable(&self, process: u32) -> String {
        let path = fs::read_link(self.of(process, "exe")).unwrap_or_default();
        let path = path.to_string_lossy().into_owned();
        path.strip_suffix(" (deleted)").map(str::to_owned).unwrap_or(path)
    }

    /// Root of the process's file system, through which its files can be named.
    pub(crate) fn root_of(&self, process: u32) -> PathBuf {
        self.of(process, "root")
    }

    /// A number in a file of its own, such as `sys/kernel/yama/ptrace_scope`.
    pub(crate) fn number(&self, below: &str) -> Option<u32> {
        fs::read_to_string(self.path(below)).ok()?.trim().parse().ok()
    }

    /// Inode of the user namespace; `None` also where the kernel refuses to say, as it does where it refuses tracing.
    pub(crate) fn user_namespace(&self, process: u32) -> Option<u64> {
        let link = fs::read_link(self.of(process, "ns/user")).ok()?;
        link.to_str()?.strip_prefix("user:[")?.strip_suffix(']')?.parse().ok()
    }
}

/// Entries of a folder that are numbers, ascending.
fn ids_in(folder: PathBuf) -> Vec<u32> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut ids: Vec<u32> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    ids.sort_unstable();
    ids
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The name stands in parentheses and may hold any byte, parentheses too: fields are counted from the last one.
fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let open = bytes.iter().position(|&byte| byte == b'(')?;
    let close = bytes.iter().rposition(|&byte| byte == b')')?;
    let name = lossy(bytes.get(open + 1..close)?);
    let rest = std::str::from_utf8(bytes.get(close + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // proc_pid_stat(5) numbers the fields from 1; the state is number 3.
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok());
    Some(Stat {
        name,
        state: fields.first()?.chars().next()?,
        parent: number(4)? as u32,
        flags: number(9)?,
        user_ticks: number(14)?,
        system_ticks: number(15)?,
        threads: number(20)? as u32,
        start_ticks: number(22)?,
        processor: number(39).unwrap_or(0),
        policy: number(41).unwrap_or(0),
    })
}

fn parse_status(text: &str) -> Option<Status> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let ids = |key: &str| -> Option<[u32; 4]> {
        let ids: Vec<u32> = value(key)?.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect();
        ids.try_into().ok()
    };
    let bits = |key: &str| value(key).and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    Some(Status {
        uids: ids("Uid")?,
        gids: ids("Gid")?,
        tracer: value("TracerPid").and_then(|text| text.trim().parse().ok()).unwrap_or(0),
        permitted: bits("CapPrm").unwrap_or(0),
        effective: bits("CapEff").unwrap_or(0),
        is_filtered: value("Seccomp").is_some_and(|mode| mode.trim() == "2"),
        inner_id: value("NSpid").and_then(|ids| ids.split_ascii_whitespace().skip(1).last()?.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        let stat = b"12 (a) R 1) (b) S 7 12 12 0 -1 4194560 1 2 3 4 55 66 0 0 20 0 3 0 4711 1 1";
        let stat = parse_stat(stat).unwrap();
        assert_eq!((stat.name.as_str(), stat.state, stat.parent), ("a) R 1) (b", 'S', 7));
        assert_eq!((stat.flags, stat.user_ticks, stat.system_ticks), (4_194_560, 55, 66));
        assert_eq!((stat.threads, stat.start_ticks), (3, 4711));
        assert_eq!(parse_stat(b"12 (short) S 1"), None);
    }

    #[test]
    fn status_gives_ids_tracer_and_capabilities() {
        let text = "Name:\tx\nTracerPid:\t9\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nCapPrm:\t00000000000000ff\n";
        let status = parse_status(text).unwrap();
        assert_eq!((status.uids, status.gids), ([1, 2, 3, 4], [5, 6, 7, 8]));
        assert_eq!((status.tracer, status.permitted, status.effective), (9, 0xff, 0));
        let inner = |ids: &str| parse_status(&format!("{text}NSpid:\t{ids}\n")).unwrap().inner_id;
        assert_eq!((status.inner_id, inner("77"), inner("77\t12\t1")), (None, None, Some(1)));
    }

    #[test]
    fn the_real_files_are_understood() {
        let (root, own) = (ProcRoot::default(), std::process::id());
        assert!(root.process_ids().contains(&own));
        assert!(root.stat(own).is_some_and(|stat| stat.threads >= 1 && stat.start_ticks > 0));
        assert_eq!(root.status(own).unwrap().uids[1], rustix::process::geteuid().as_raw());
        assert_eq!(root.arguments(own)[0], std::env::args().next().unwrap());
        assert_eq!(root.executable(own), std::env::current_exe().unwrap().to_str().unwrap());
        let threads = root.threads(own);
        assert!(threads.contains(&own) && threads.iter().all(|&id| root.thread_stat(own, id).is_some()));
        assert!(root.user_namespace(own).is_some());
    }
}
