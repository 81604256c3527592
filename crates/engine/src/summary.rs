//! What there is, as plain data for front ends.

use outpost_base::{BuildId, LoadBias, ProcessId, ThreadId, Va, VaRange};
use outpost_target::{ProcessOrigin, TargetKind, ThreadRunState};

use crate::{ProcessOrdinal, SystemOrdinal, ThreadOrdinal};

/// What the engine as a whole is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineState {
    /// There is no process: nothing can be inspected or run.
    NoDebuggee,
    /// Everything can be inspected.
    Stopped,
    /// At least one system runs; only breaking in and waiting make sense.
    Running,
}

/// A row of `||`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemSummary {
    /// Its ordinal.
    pub ordinal: SystemOrdinal,
    /// What it is.
    pub kind: TargetKind,
    /// How it is called: `<Local>`, a connection string, a file.
    pub name: String,
    /// Host name, empty if unknown.
    pub host: String,
    /// Operating system, empty if unknown.
    pub os: String,
    /// Processors, 0 if unknown.
    pub processors: u32,
    /// Whether commands go to it.
    pub is_current: bool,
    /// Whether the last event happened in it.
    pub is_event: bool,
    /// Whether it runs.
    pub is_running: bool,
}

/// A row of `|`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessSummary {
    /// Its ordinal.
    pub ordinal: ProcessOrdinal,
    /// Its system.
    pub system: SystemOrdinal,
    /// The system's id for it.
    pub id: ProcessId,
    /// Its parent's id, 0 if unknown.
    pub parent: ProcessId,
    /// How it came into the session.
    pub origin: ProcessOrigin,
    /// Path of its executable on its machine.
    pub executable: String,
    /// Its arguments, program name first.
    pub arguments: Vec<String>,
    /// Threads it has.
    pub threads: u32,
    /// Whether commands go to it.
    pub is_current: bool,
    /// Whether the last event happened in it.
    pub is_event: bool,
    /// Start time in microseconds since the epoch, 0 if unknown.
    pub start_time_us: u64,
}

/// A row of `~`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadSummary {
    /// Its ordinal.
    pub ordinal: ThreadOrdinal,
    /// Its process's ordinal.
    pub process: ProcessOrdinal,
    /// The system's id for its process.
    pub process_id: ProcessId,
    /// The system's id for it.
    pub id: ThreadId,
    /// Its name, empty if unknown.
    pub name: String,
    /// What it does.
    pub state: ThreadRunState,
    /// Suspend count as users know it: at least 1 while stopped under the debugger.
    pub suspend_count: u32,
    /// Whether `~f` holds it at the next resumption.
    pub is_frozen: bool,
    /// Thread control block, 0 if unknown.
    pub teb: Va,
    /// Whether commands go to it.
    pub is_current: bool,
    /// Whether the last event happened in it.
    pub is_event: bool,
}

/// How much is known of a module's symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolState {
    /// Not looked for yet.
    Deferred,
    /// Debug info: functions, lines, types, variables.
    Dwarf,
    /// A symbol table only.
    Symtab,
    /// The names it exports only.
    Dynsym,
    /// Nothing was found.
    None,
}

/// A row of `lm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleSummary {
    /// Name for `module!symbol`.
    pub name: String,
    /// Addresses from its first to its last segment.
    pub range: VaRange,
    /// What loading added to its own addresses.
    pub bias: LoadBias,
    /// Path on its machine, `[vdso]` for the vdso.
    pub path: String,
    /// Its build, if it says.
    pub build_id: Option<BuildId>,
    /// What is known of its symbols.
    pub status: SymbolState,
    /// File the symbols come from, empty if deferred or none.
    pub symbol_file: String,
    /// Why there are not more: what was looked for and where; damage found.
    pub problems: Vec<String>,
    /// Whether it is the program itself.
    pub is_main: bool,
}
