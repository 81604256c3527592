//! The one value a live target hands its questions about the machine to.

use std::time::{SystemTime, UNIX_EPOCH};

use outpost_base::{ProcessId, ThreadId};
use outpost_target::{DirectoryEntry, FileId, HandleInfo, OsProcess, ProcessQuery, TargetError, ThreadTimes};
use rustix::time::{ClockId, clock_gettime};

use super::attachability::Preflight;
use super::create::StdioTable;
use super::files::{self, FileTable};
use super::handles;
use super::proc_files::ProcRoot;
use super::processes::{self, ticks_to_us};
use super::users::Users;
use super::waiter::NameWaiter;

/// What a session remembers of the machine: open files, the name it waits for, streams of processes it created.
///
/// The methods are those of [`Os`](outpost_target::Os) by the same names, with its errors.
#[derive(Debug, Default)]
pub struct OsAccess {
    proc: ProcRoot,
    users: Users,
    files: FileTable,
    waiter: Option<NameWaiter>,
    /// Standard streams of created processes; the owner of the event loop polls and reads them.
    pub stdio: StdioTable,
}

/// A process's start and the time it used, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessTimes {
    /// Parent's id.
    pub parent: ProcessId,
    /// Start, since the epoch.
    pub start_us: u64,
    /// Used in user mode.
    pub user_us: u64,
    /// Used in the kernel.
    pub system_us: u64,
}

impl OsAccess {
    /// Lists processes of the machine.
    pub fn list_processes(&mut self, query: &ProcessQuery, with_attachability: bool) -> Vec<OsProcess> {
        let preflight = with_attachability.then(|| Preflight::new(&self.proc, &mut self.users));
        processes::list(&self.proc, &mut self.users, query, preflight.as_ref(), machine_start_us())
    }

    /// A process's arguments, the program's name for itself first; empty if unreadable.
    pub fn arguments(&self, process: ProcessId) -> Vec<String> {
        self.proc.arguments(process.0)
    }

    /// A process's parent and times; `None` if it is gone.
    pub fn times(&self, process: ProcessId) -> Option<ProcessTimes> {
        let stat = self.proc.stat(process.0)?;
        Some(ProcessTimes {
            parent: ProcessId(stat.parent),
            start_us: machine_start_us() + ticks_to_us(stat.start_ticks),
            user_us: ticks_to_us(stat.user_ticks),
            system_us: ticks_to_us(stat.system_ticks),
        })
    }

    /// Times of a process's threads; empty if it is gone.
    pub fn thread_times(&self, process: ProcessId) -> Vec<ThreadTimes> {
        let start = machine_start_us();
        let times = |stat: &super::proc_files::Stat, id: u32| ThreadTimes {
            id: ThreadId(id),
            start_time_us: start + ticks_to_us(stat.start_ticks),
            user_time_us: ticks_to_us(stat.user_ticks),
            system_time_us: ticks_to_us(stat.system_ticks),
        };
        let threads = self.proc.threads(process.0);
        threads.into_iter().filter_map(|id| Some(times(&self.proc.thread_stat(process.0, id)?, id))).collect()
    }

    /// Waits for a process of this name from now on; `None` forgets the wish.
    pub fn wait_for_process(&mut self, name: Option<&str>) {
        self.waiter = name.map(|name| NameWaiter::new(&self.proc, name));
    }

    /// Whether [`OsAccess::poll_name`] has anything to look for.
    pub fn waits_for_name(&self) -> bool {
        self.waiter.is_some()
    }

    /// A process that got the name waited for since the last look; the wish is then granted and forgotten. To be called
    /// every 50 ms or so while [`OsAccess::waits_for_name`].
    pub fn poll_name(&mut self) -> Option<(ProcessId, String)> {
        let found = self.waiter.as_mut()?.poll(&self.proc)?;
        self.waiter = None;
        Some(found)
    }

    /// Opens a file as `process` sees it, or as the server does.
    ///
    /// # Errors
    /// [`TargetError::File`].
    pub fn open_file(&mut self, process: Option<ProcessId>, path: &str) -> Result<(FileId, u64), TargetError> {
        self.files.open(&self.proc, process, path)
    }

    /// Reads ranges of an open file.
    ///
    /// # Errors
    /// [`TargetError::Invalid`] for an unknown file or more than 256 MiB, [`TargetError::File`] if reading failed.
    pub fn read_file(&self, file: FileId, ranges: &[(u64, u64)]) -> Result<Vec<Vec<u8>>, TargetError> {
        self.files.read(file, ranges)
    }

    /// Closes a file.
    pub fn close_file(&mut self, file: FileId) {
        self.files.close(file);
    }

    /// A directory's entries, sorted by name.
    ///
    /// # Errors
    /// [`TargetError::File`].
    pub fn list_directory(&self, path: &str) -> Result<Vec<DirectoryEntry>, TargetError> {
        files::list_directory(path)
    }

    /// Open files of a process, by number.
    ///
    /// # Errors
    /// [`TargetError::NoProcess`], [`TargetError::Permission`].
    pub fn handles(&self, process: ProcessId) -> Result<Vec<HandleInfo>, TargetError> {
        handles::list(&self.proc, process)
    }

    /// Time of the machine since the epoch and its uptime, in microseconds.
    pub fn clock(&self) -> (u64, u64) {
        (now_us(), uptime_us())
    }
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// Time since the machine was started, sleep included: what `/proc/PID/stat` counts from.
fn uptime_us() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

/// When the machine was started, rounded so that two calls agree on it.
fn machine_start_us() -> u64 {
    const ROUND_TO: u64 = 10_000;
    now_us().saturating_sub(uptime_us()) / ROUND_TO * ROUND_TO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_and_times_agree() {
        let access = OsAccess::default();
        let (now, uptime) = access.clock();
        let times = access.times(ProcessId(std::process::id())).unwrap();
        assert!(times.start_us <= now && now - times.start_us < 3_600_000_000, "this test started within the hour");
        assert!(uptime < now && times.start_us + 1_000_000 > now - uptime);
        assert_eq!(access.times(ProcessId(u32::MAX >> 1)), None);
    }

    #[test]
    fn a_wish_is_granted_once() {
        let mut access = OsAccess::default();
        assert!(!access.waits_for_name());
        access.wait_for_process(Some("no-process-is-called-this"));
        assert!(access.waits_for_name() && access.poll_name().is_none());
        access.wait_for_process(None);
        assert!(!access.waits_for_name());
    }
}
