//! The trait and its optional parts.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use outpost_base::{AddressSpaceId, ProcessId, RegisterContext, ThreadId, Va, VaRange};

use crate::{
    AttachMode, BreakpointChange, BreakpointState, CreateSpec, DirectoryEntry, Event, FileId, FileIdentity, FileLock,
    HandleInfo, ModuleInfo, OsProcess, Plan, ProcessInfo, ProcessQuery, Region, ServerSession, SigInfo, StopBundle,
    TargetError, TargetInfo, ThreadInfo, ThreadTimes, file_locks,
};

/// One range of a scatter read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRequest {
    /// First address.
    pub at: Va,
    /// Bytes wanted.
    pub len: u64,
}

/// One range of a scatter write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteRequest {
    /// First address.
    pub at: Va,
    /// Bytes to put there; at a breakpoint's site they land under the breakpoint.
    pub bytes: Vec<u8>,
}

/// Which blocks of registers are wanted; the general ones always are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RegisterSets {
    /// x87, SSE, AVX.
    pub floating: bool,
    /// Debug registers.
    pub debug: bool,
}

/// A byte pattern to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchRequest {
    /// Where to look; unreadable parts are passed over.
    pub range: VaRange,
    /// What to look for, 1 to 1024 bytes.
    pub pattern: Vec<u8>,
    /// Only at multiples of this, counted from the range's start; 1: anywhere.
    pub alignment: u32,
    /// Only in writable regions.
    pub writable_only: bool,
    /// Stop after this many hits.
    pub limit: u32,
}

/// How to let a process go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DetachMode {
    /// It runs on; a pending signal is delivered.
    Deliver,
    /// It runs on; a pending signal is forgotten.
    Swallow,
    /// It stays stopped (SIGSTOP) for another debugger (`.abandon`): each of its threads is when this is done.
    LeaveStopped,
}

/// What a link has cost so far; all zero for a target in this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkStatistics {
    /// Frames sent.
    pub messages_sent: u64,
    /// Frames received.
    pub messages_received: u64,
    /// Bytes sent, framing included.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Times the caller had to wait for an answer before it could go on.
    pub round_trips: u64,
    /// Times the link was lost and the session resumed over another.
    pub resumes: u64,
}

/// What became of the link to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkNews {
    /// It is lost; another is being made.
    Lost {
        /// What was noticed.
        reason: String,
    },
    /// The session goes on over another one.
    Resumed,
}

/// Who is told of it, from whatever thread notices.
pub type LinkWatcher = Arc<dyn Fn(LinkNews) + Send + Sync>;

/// What ended a wait.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one value at a time, moved at once")]
pub enum Waited {
    /// Something happened.
    Event(Event),
    /// One of the other descriptors became readable.
    OtherReadable,
    /// The time was up.
    TimedOut,
}

/// One system that can be debugged. See the crate's documentation for what the parts are for.
///
/// Methods are called from one thread. Lists are per process; memory is per address space; registers per thread.
/// Nothing here requires that the target can run: see the `as_` methods, which ask for capabilities.
pub trait Target {
    /// What it is.
    fn info(&self) -> &TargetInfo;

    /// The processes that are part of the session.
    fn processes(&mut self) -> Result<Vec<ProcessInfo>, TargetError>;

    /// A process's threads, in the order of their creation as far as known.
    fn threads(&mut self, process: ProcessId) -> Result<Vec<ThreadInfo>, TargetError>;

    /// A process's loaded images, the program first.
    fn modules(&mut self, process: ProcessId) -> Result<Vec<ModuleInfo>, TargetError>;

    /// A process's mappings, ascending.
    fn regions(&mut self, process: ProcessId) -> Result<Vec<Region>, TargetError>;

    /// Reads many ranges at once. Each answer holds the leading bytes of its range that were readable, maybe none.
    ///
    /// Breakpoint bytes are hidden: the caller sees the original instruction.
    ///
    /// # Errors
    /// Only if the space does not exist or the target is gone; unreadable memory is a short answer.
    fn read_many(&mut self, space: AddressSpaceId, reads: &[ReadRequest]) -> Result<Vec<Vec<u8>>, TargetError>;

    /// Reads one range; returns the number of leading bytes that were readable.
    ///
    /// # Errors
    /// As [`Target::read_many`].
    fn read_memory(&mut self, space: AddressSpaceId, at: Va, buf: &mut [u8]) -> Result<usize, TargetError> {
        let answers = self.read_many(space, &[ReadRequest { at, len: buf.len() as u64 }])?;
        let bytes = answers.first().map_or(&[][..], Vec::as_slice);
        let count = bytes.len().min(buf.len());
        buf[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// Reads the leading readable bytes of a range in pieces, ascending, each handed to `take` as it comes: for more than
    /// is to be held in memory. `take` ends the read by answering `false`. Returns how many bytes were handed over.
    ///
    /// # Errors
    /// As [`Target::read_many`].
    fn read_stream(
        &mut self,
        space: AddressSpaceId,
        range: VaRange,
        take: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<u64, TargetError> {
        const PIECE: u64 = 1 << 20;
        let mut done = 0;
        while done < range.len() {
            let read = ReadRequest { at: range.start + done, len: PIECE.min(range.len() - done) };
            let bytes = self.read_many(space, &[read])?.pop().unwrap_or_default();
            done += bytes.len() as u64;
            if !take(&bytes) || (bytes.len() as u64) < read.len {
                break;
            }
        }
        Ok(done)
    }

    /// Registers of many threads. A thread that cannot be read now (running, ended) gives its own error.
    ///
    /// # Errors
    /// Only if the whole target is gone.
    fn registers_many(
        &mut self,
        threads: &[ThreadId],
        sets: RegisterSets,
    ) -> Result<Vec<Result<RegisterContext, TargetError>>, TargetError>;

    /// Processor time of a process's threads, as it is now; threads that end meanwhile are missing.
    ///
    /// # Errors
    /// [`TargetError::Unsupported`] where it is not known.
    fn thread_times(&mut self, process: ProcessId) -> Result<Vec<ThreadTimes>, TargetError> {
        let _ = process;
        let reason = "this target does not record it".into();
        Err(TargetError::Unsupported { operation: "telling the times of threads", reason })
    }

    /// Finds a pattern; ascending addresses of hits, overlapping ones included.
    fn search(&mut self, space: AddressSpaceId, request: &SearchRequest) -> Result<Vec<Va>, TargetError> {
        crate::search::by_reading(self, space, request)
    }

    /// The newest stop, if the target is stopped: a dump's stored event, a live target's last bundle.
    fn last_stop(&self) -> Option<&StopBundle>;

    /// Running, stopping, writing.
    fn as_live(&mut self) -> Option<&mut dyn Live> {
        None
    }

    /// Breakpoints.
    fn as_breakpoints(&mut self) -> Option<&mut dyn Breakpoints> {
        None
    }

    /// The machine around the processes.
    fn as_os(&mut self) -> Option<&mut dyn Os> {
        None
    }

    /// Says who is told when the link to it is lost and comes back. A target without a link that can is silent.
    fn watch_link(&mut self, _watcher: Option<LinkWatcher>) {}

    /// What the link to it has cost.
    fn link_statistics(&self) -> LinkStatistics {
        LinkStatistics::default()
    }
}

/// A target that runs.
///
/// States: after [`Live::attach`], [`Live::create`] or a stop the threads in scope are stopped; [`Live::resume`] sets
/// them running and returns at once; [`Live::wait_event`] gives what happens then. Reads are allowed at any time,
/// registers only of stopped threads.
pub trait Live {
    /// Makes a process part of the session. With `break_in` the answer is its stop, with `request` filling the bundle.
    ///
    /// # Errors
    /// [`TargetError::AlreadyTraced`], [`TargetError::Permission`], [`TargetError::NoProcess`].
    fn attach(
        &mut self,
        process: ProcessId,
        mode: AttachMode,
        request: &crate::BundleRequest,
    ) -> Result<Option<StopBundle>, TargetError>;

    /// Creates a process as part of the session, stopped before its first instruction if the spec says so.
    fn create(
        &mut self,
        spec: &CreateSpec,
        request: &crate::BundleRequest,
    ) -> Result<(ProcessId, Option<StopBundle>), TargetError>;

    /// Carries out a plan; returns as soon as the threads are set going.
    ///
    /// # Errors
    /// [`TargetError::StaleGeneration`] if the plan answers an older stop; nothing was resumed then.
    fn resume(&mut self, plan: &Plan) -> Result<(), TargetError>;

    /// Waits for an event, for one of `others` to become readable, or for the time to pass (`None`: for ever).
    ///
    /// # Errors
    /// [`TargetError::ConnectionLost`] if no event can come any more.
    fn wait_event(&mut self, timeout: Option<Duration>, others: &[BorrowedFd<'_>]) -> Result<Waited, TargetError>;

    /// A descriptor that becomes readable when an event may be there; lets one thread wait on several targets.
    fn event_source(&self) -> Option<BorrowedFd<'_>>;

    /// The one thing another thread may use: asks the target to stop.
    fn interrupter(&self) -> Arc<dyn Interrupter>;

    /// Writes many ranges. Each answer counts the leading bytes written.
    ///
    /// Read-only pages are no obstacle; a breakpoint's site keeps its breakpoint and changes under it.
    fn write_many(&mut self, space: AddressSpaceId, writes: &[WriteRequest]) -> Result<Vec<u64>, TargetError>;

    /// Writes the blocks of `context` that are present into a stopped thread.
    fn set_registers(&mut self, thread: ThreadId, context: &RegisterContext) -> Result<(), TargetError>;

    /// Adds `delta` to the suspend counts; a thread runs only at count 0. Returns the new counts.
    fn adjust_suspend(&mut self, threads: &[ThreadId], delta: i32) -> Result<Vec<u32>, TargetError>;

    /// The signal a stopped thread would be resumed with, in full.
    fn pending_signal(&mut self, thread: ThreadId) -> Result<Option<SigInfo>, TargetError>;

    /// Lets a process go, running or stopped, with every trace of the debugger removed.
    fn detach(&mut self, process: ProcessId, mode: DetachMode) -> Result<(), TargetError>;

    /// Ends a process.
    fn kill(&mut self, process: ProcessId) -> Result<(), TargetError>;

    /// Says what happens to created processes when the session ends without a word: `true` lets them go.
    fn set_detach_on_exit(&mut self, detach: bool) -> Result<(), TargetError>;
}

/// Asks a target to stop, from any thread.
pub trait Interrupter: Send + Sync {
    /// Every running thread in scope is to stop; answered by [`crate::StopReason::BreakIn`]. Nothing if all is stopped.
    /// Ends the waiting for a lost link as [`Interrupter::give_up`] does.
    fn break_in(&self);

    /// Ends the waiting for a lost link: the call that waits fails. Nothing while there is a link.
    fn give_up(&self) {}
}

/// A target that takes breakpoints.
pub trait Breakpoints {
    /// Carries out a batch; one answer for each [`BreakpointChange::Set`], in order.
    ///
    /// One failing change does not undo the others.
    ///
    /// # Errors
    /// Only if the target is gone.
    fn change_breakpoints(
        &mut self,
        changes: &[BreakpointChange],
    ) -> Result<Vec<Result<BreakpointState, TargetError>>, TargetError>;

    /// Hit counts and safety of all breakpoints.
    fn breakpoint_states(&mut self) -> Result<Vec<BreakpointState>, TargetError>;

    /// [`Breakpoints::change_breakpoints`], then [`Breakpoints::breakpoint_states`].
    ///
    /// # Errors
    /// Theirs.
    #[expect(clippy::type_complexity, reason = "the answers of both")]
    fn change_and_ask(
        &mut self,
        changes: &[BreakpointChange],
    ) -> Result<(Vec<Result<BreakpointState, TargetError>>, Vec<BreakpointState>), TargetError> {
        let answers = self.change_breakpoints(changes)?;
        Ok((answers, self.breakpoint_states()?))
    }
}

/// The machine a live target is on.
pub trait Os {
    /// Processes of the machine.
    fn list_processes(&mut self, query: &ProcessQuery, with_attachability: bool)
    -> Result<Vec<OsProcess>, TargetError>;

    /// Reports [`Event::ProcessAppeared`] when a process of this name starts; `None` forgets the wish.
    fn wait_for_process(&mut self, name: Option<&str>) -> Result<(), TargetError>;

    /// Opens a file of the machine as `process` sees it (its root and namespaces); `None`: as the server does.
    /// Returns its length, too.
    fn open_file(&mut self, process: Option<ProcessId>, path: &str) -> Result<(FileId, u64), TargetError>;

    /// Opens the file that a process has mapped at exactly `mapping`, also if its name is gone or leads to another file by
    /// now. The system wants more rights for that than tracing does (proc_pid_map_files(5)).
    ///
    /// # Errors
    /// As [`Os::open_file`].
    fn open_mapped(&mut self, process: ProcessId, mapping: VaRange) -> Result<(FileId, u64), TargetError> {
        let (start, end) = (mapping.start.0, mapping.end.0);
        self.open_file(Some(process), &format!("/proc/self/map_files/{start:x}-{end:x}"))
    }

    /// Opens the file that a process executes, whatever its name leads to by now (proc_pid_exe(5)).
    ///
    /// # Errors
    /// As [`Os::open_file`].
    fn open_executable(&mut self, process: ProcessId) -> Result<(FileId, u64), TargetError> {
        self.open_file(Some(process), "/proc/self/exe")
    }

    /// Reads ranges of an open file; each answer is short only at its end.
    fn read_file(&mut self, file: FileId, ranges: &[(u64, u64)]) -> Result<Vec<Vec<u8>>, TargetError>;

    /// Closes it; unknown ids are no error.
    fn close_file(&mut self, file: FileId) -> Result<(), TargetError>;

    /// A directory's entries.
    fn list_directory(&mut self, path: &str) -> Result<Vec<DirectoryEntry>, TargetError>;

    /// Open files of a process.
    fn handles(&mut self, process: ProcessId) -> Result<Vec<HandleInfo>, TargetError>;

    /// Locks of files that the machine knows of, held and waited for, those of other pid namespaces left out (proc_locks(5)).
    ///
    /// # Errors
    /// As [`Os::open_file`].
    fn file_locks(&mut self) -> Result<Vec<FileLock>, TargetError> {
        Ok(file_locks::parse(&whole_file(self, None, "/proc/locks")?))
    }

    /// Which file a descriptor of a process leads to; `None` if the system does not tell (Linux before 5.14).
    ///
    /// # Errors
    /// As [`Os::open_file`].
    fn file_identity(&mut self, process: ProcessId, descriptor: u32) -> Result<Option<FileIdentity>, TargetError> {
        let info = whole_file(self, Some(process), &format!("/proc/self/fdinfo/{descriptor}"))?;
        let Some((inode, mount)) = file_locks::parse_descriptor(&info) else { return Ok(None) };
        let mounts = whole_file(self, Some(process), "/proc/self/mountinfo")?;
        Ok(file_locks::parse_device(&mounts, mount).map(|device| FileIdentity { device, inode }))
    }

    /// The system call that the first thread of a process is blocked in, its number and arguments; `None` if it runs
    /// (proc_pid_syscall(5)). The process need not be debugged.
    ///
    /// # Errors
    /// As [`Os::open_file`]; the system wants the rights of a tracer for that.
    fn blocked_call(&mut self, process: ProcessId) -> Result<Option<(u64, [u64; 6])>, TargetError> {
        Ok(blocked_call(&whole_file(self, Some(process), "/proc/self/syscall")?))
    }

    /// Sends bytes to a created process's standard input; an empty slice closes it.
    fn write_stdin(&mut self, process: ProcessId, bytes: &[u8]) -> Result<(), TargetError>;

    /// Tells a process that was created on a terminal of its own that its window has another size.
    ///
    /// # Errors
    /// [`TargetError::Invalid`] if it has no terminal here; [`TargetError::Unsupported`] by a server that cannot do it.
    fn resize_terminal(&mut self, process: ProcessId, columns: u16, rows: u16) -> Result<(), TargetError> {
        let _ = (process, columns, rows);
        let reason = "this target creates no processes on terminals".into();
        Err(TargetError::Unsupported { operation: "resizing a terminal", reason })
    }

    /// Time of the machine and its uptime, both in microseconds.
    fn clock(&mut self) -> Result<(u64, u64), TargetError>;

    /// Ends the server for everyone, if it allows that.
    fn end_server(&mut self) -> Result<(), TargetError>;

    /// Sessions of the server, this one included.
    ///
    /// # Errors
    /// [`TargetError::Unsupported`] where there is no server, or one that does not tell.
    fn sessions(&mut self) -> Result<Vec<ServerSession>, TargetError> {
        Err(TargetError::Unsupported { operation: "listing sessions", reason: "this target has no server".into() })
    }
}

/// A small file of the machine as text.
fn whole_file(os: &mut (impl Os + ?Sized), process: Option<ProcessId>, path: &str) -> Result<String, TargetError> {
    let (file, len) = os.open_file(process, path)?;
    let answer = os.read_file(file, &[(0, len)]);
    os.close_file(file)?;
    Ok(String::from_utf8_lossy(&answer?.concat()).into_owned())
}

/// `73 0x4 0x2 0x0 0x0 0x0 0x0 0x7fff92ef5e68 0x7f4a16d16897`, or `running`, or `-1` and two addresses.
fn blocked_call(text: &str) -> Option<(u64, [u64; 6])> {
    let mut words = text.split_whitespace();
    let number = words.next()?.parse().ok()?;
    let mut arguments = [0; 6];
    for slot in &mut arguments {
        *slot = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    }
    Some((number, arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_call_has_a_number_and_six_arguments() {
        let flock = "73 0x4 0x2 0x0 0x7f4a165bf1d8 0x0 0x0 0x7fff92ef5e68 0x7f4a16d16897\n";
        assert_eq!(blocked_call(flock), Some((73, [4, 2, 0, 0x7f4a_165b_f1d8, 0, 0])));
        assert_eq!(blocked_call("running\n"), None);
        assert_eq!(blocked_call("-1 0x7fff92ef5e68 0x7f4a16d16897\n"), None);
    }
}
