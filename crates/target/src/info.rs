//! Descriptions: of a target, its processes, threads, modules and memory regions.

use outpost_base::{AddressSpaceId, Arch, BuildId, LoadBias, ProcessId, ThreadId, Va, VaRange};

/// What kind of system a target is; for display only, callers ask for capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetKind {
    /// Live user-mode processes.
    LiveUser,
    /// A user-mode dump.
    UserDump,
}

/// What a target is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetInfo {
    /// Kind of system.
    pub kind: TargetKind,
    /// Architecture of its processes.
    pub arch: Arch,
    /// Page size in bytes, a power of two.
    pub page_size: u64,
    /// How `||` calls it: `<Local>`, `tcp:Port=1025,Server=alder`, a file name.
    pub name: String,
    /// Host name of the machine, empty if unknown.
    pub host: String,
    /// Operating system and release, such as `Linux 6.1.0 x86_64`, empty if unknown.
    pub os: String,
    /// Processors of the machine, 0 if unknown.
    pub processors: u32,
}

/// How a process came into the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessOrigin {
    /// The session attached to it.
    Attached,
    /// The session looks at it without tracing it.
    Noninvasive,
    /// The session created it.
    Created,
    /// A traced process forked it.
    Child,
    /// It is in a dump.
    Dump,
}

/// A process that is part of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Its id.
    pub id: ProcessId,
    /// Its parent's id, 0 if unknown.
    pub parent: ProcessId,
    /// Its address space.
    pub space: AddressSpaceId,
    /// How it came in.
    pub origin: ProcessOrigin,
    /// Path of its executable on the target's machine.
    pub executable: String,
    /// Arguments, the first being the program's name for itself.
    pub arguments: Vec<String>,
    /// Raw auxiliary vector, pairs of `a_type, a_val` (getauxval(3)); empty if unknown.
    pub auxv: Vec<(u64, u64)>,
    /// Start time in microseconds since the epoch, 0 if unknown.
    pub start_time_us: u64,
    /// User time used in microseconds.
    pub user_time_us: u64,
    /// System time used in microseconds.
    pub system_time_us: u64,
    /// Why a step over a call, or to a place, may end it if the server is killed meanwhile; empty: it does not, or nothing
    /// was tried yet. Breakpoints say this for themselves.
    pub steps_unsafe_because: String,
}

/// What a thread is doing, as the target's machine sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadRunState {
    /// Stopped by the debugger: registers are readable.
    Stopped,
    /// Running, or in a system call.
    Running,
    /// Cannot be stopped now: uninterruptible sleep, or a vfork parent whose child still borrows its memory.
    Unstoppable,
    /// Ended, but not reaped yet.
    Exiting,
}

/// A thread of a process in the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadInfo {
    /// Its id.
    pub id: ThreadId,
    /// Its process.
    pub process: ProcessId,
    /// Name (Linux: `comm`, at most 15 bytes), empty if unknown.
    pub name: String,
    /// What it does.
    pub state: ThreadRunState,
    /// The debugger's suspend count; the kernel keeps none.
    pub suspend_count: u32,
    /// Thread control block (x86-64: `fs_base`), 0 if unknown or running.
    pub teb: Va,
}

/// Processor time that a thread has used, and when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadTimes {
    /// The thread.
    pub id: ThreadId,
    /// Start time in microseconds since the epoch, 0 if unknown.
    pub start_time_us: u64,
    /// User time used in microseconds.
    pub user_time_us: u64,
    /// System time used in microseconds.
    pub system_time_us: u64,
}

/// A loaded image: the program, a shared object, the vdso.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleInfo {
    /// Addresses from the first to the last loaded segment.
    pub range: VaRange,
    /// What loading added to its own addresses.
    pub bias: LoadBias,
    /// Path on the target's machine, as the loader or the mapping names it; `[vdso]` for the vdso.
    pub path: String,
    /// Build-id read from the image in memory, if it has one.
    pub build_id: Option<BuildId>,
    /// Link map namespace: 0 for the base one, then one for each dlmopen(3) list.
    pub namespace: u32,
    /// Whether it is the program itself.
    pub is_main: bool,
}

/// What a memory region is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegionUsage {
    /// Mapped from an executable or shared object.
    Image,
    /// A thread's stack.
    Stack,
    /// The heap (`[heap]`).
    Heap,
    /// Mapped from any other file.
    MappedFile,
    /// Kernel-supplied: vdso, vvar, vsyscall.
    Vdso,
    /// Anonymous.
    Unknown,
}

/// A mapped range of an address space with equal attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Its addresses.
    pub range: VaRange,
    /// Readable.
    pub read: bool,
    /// Writable.
    pub write: bool,
    /// Executable.
    pub execute: bool,
    /// Shared with other processes (`MAP_SHARED`).
    pub shared: bool,
    /// Offset in the file mapped here.
    pub file_offset: u64,
    /// Device number of that file, 0 if none.
    pub device: u64,
    /// Inode of that file, 0 if none.
    pub inode: u64,
    /// Path or bracketed name (`[heap]`), empty if anonymous.
    pub name: String,
    /// What it is used for.
    pub usage: RegionUsage,
}

/// An open file of a process, as `!handle` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandleInfo {
    /// File descriptor number.
    pub number: u32,
    /// What it leads to, as the kernel prints it (`/path`, `socket:[123]`).
    pub target: String,
    /// `File`, `Directory`, `Pipe`, `Socket`, `CharDevice`, `BlockDevice`, `EventFd`, ... .
    pub kind: String,
    /// Open flags (open(2)), as `/proc/PID/fdinfo` gives them.
    pub flags: u32,
    /// File position in bytes.
    pub position: u64,
}
