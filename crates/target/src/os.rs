//! The machine a live target is on: its processes, whether they can be debugged, its files, new processes.

use std::time::Duration;

use outpost_base::ProcessId;

/// How to look at a running process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachMode {
    /// Become its debugger. `break_in`: stop it at once (else it runs until an event, also if job control had stopped it).
    /// A process that job control had stopped runs when it is resumed for the first time; let go before, it stays stopped.
    Invasive {
        /// Stop all threads and report [`crate::StopReason::Attached`].
        break_in: bool,
    },
    /// Inspect only; `suspend` holds its threads meanwhile.
    Noninvasive {
        /// Hold all threads while attached.
        suspend: bool,
    },
    /// Take over a process that another debugger abandoned (left stopped).
    Existing,
}

/// Whether a process could be attached to, found out without trying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attachability {
    /// Nothing known stands against it.
    Yes,
    /// Something does.
    No {
        /// What, for the user.
        reason: String,
        /// What would change it, for the user.
        remedy: String,
    },
}

/// A session of the server that the target is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSession {
    /// Its number on the server.
    pub number: u64,
    /// Who opened it, as it said itself.
    pub user: String,
    /// From which host, as it said itself.
    pub host: String,
    /// Where it came from, as the transport proves it.
    pub peer: String,
    /// When, in microseconds since 1970 by the server's clock.
    pub opened_us: u64,
    /// For how long it is still held without a client; `None`: it has one.
    pub held: Option<Duration>,
    /// Its processes.
    pub processes: Vec<ProcessId>,
    /// It is the one that asks.
    pub own: bool,
}

/// A process of the machine, part of a session or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsProcess {
    /// Its id.
    pub id: ProcessId,
    /// Its parent's.
    pub parent: ProcessId,
    /// Command name (`comm`).
    pub name: String,
    /// Path of its executable, empty if unreadable (kernel threads, other users' processes).
    pub executable: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Owner's user id.
    pub uid: u32,
    /// Owner's name, or the number in decimal.
    pub user: String,
    /// Number of threads.
    pub threads: u32,
    /// State letter of proc_pid_stat(5).
    pub state: char,
    /// Container or unit by its control group, and its id in a pid namespace of its own; empty if none.
    pub container: String,
    /// Its tracer, 0 if none.
    pub tracer: ProcessId,
    /// The tracer's command name, empty if none.
    pub tracer_name: String,
    /// Start time in microseconds since the epoch.
    pub start_time_us: u64,
    /// Whether this server could attach; `None` if it was not asked for.
    pub attachability: Option<Attachability>,
}

/// How a name is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameMatch {
    /// With the file name of the executable, or the command name.
    FileName,
    /// With the whole path of the executable.
    FullPath,
}

/// Which processes to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessQuery {
    /// All.
    All,
    /// One by id.
    Id(ProcessId),
    /// Those of a name.
    Name {
        /// The name.
        name: String,
        /// How it is compared.
        how: NameMatch,
    },
}

/// Where a created process's standard streams lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StdioSpec {
    /// Input from nowhere, output as [`crate::Event::Output`]; input by [`crate::Os::write_stdin`].
    Client,
    /// The server's own terminal.
    Server,
    /// A new pty; output as events, input by [`crate::Os::write_stdin`].
    Pty {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// Files of the server's machine; `None`: `/dev/null`.
    Files {
        /// Standard input.
        stdin: Option<String>,
        /// Standard output.
        stdout: Option<String>,
        /// Standard error.
        stderr: Option<String>,
    },
}

/// A process to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateSpec {
    /// Program: a path, or a name looked up in the server's `PATH`.
    pub program: String,
    /// Arguments after the program's name.
    pub arguments: Vec<String>,
    /// Environment that replaces the server's; `None`: the server's.
    pub environment: Option<Vec<(String, String)>>,
    /// Variables set or (`None`) removed on top of that.
    pub environment_changes: Vec<(String, Option<String>)>,
    /// Working directory; `None`: the server's.
    pub directory: Option<String>,
    /// Standard streams.
    pub stdio: StdioSpec,
    /// Leave address space layout randomisation on; off makes runs comparable, as gdb does.
    pub randomize: bool,
    /// Stop before its first instruction ([`crate::StopReason::Created`]); else it runs until an event.
    pub break_in: bool,
}

/// A file the target has open for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileId(pub u32);

/// A directory's entry, for completion of file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Its name.
    pub name: String,
    /// Whether it is a directory.
    pub is_directory: bool,
}
