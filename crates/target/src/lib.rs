//! The one seam of the debugger: whatever can be debugged is a [`Target`].
//!
//! A target is one *system*: the live processes of one machine as one session sees them, the same at the far end of a
//! wire, a dump, a kernel. This crate gives the trait with its optional parts ([`Live`], [`Breakpoints`], [`Os`]), the
//! plain data that crosses it ([`Plan`], [`Event`], [`StopBundle`]), and the two machines that every backend which runs
//! shares: [`step`] decides the next primitive action of a step plan, [`condition`] verifies and evaluates breakpoint
//! conditions. It does no I/O and knows no operating system call; symbols, expressions and display are for the crates
//! above.
//!
//! The operations are shaped by the wire, not by ptrace: reads are scatter lists, registers come for many threads at
//! once, breakpoints change in batches, resuming takes a plan and a stop delivers a bundle. Everything a stop usually
//! makes the client ask for is in the bundle, so that looking around after a stop costs no round trip.

mod breakpoint;
pub mod condition;
mod error;
mod event;
pub mod fake;
mod file_locks;
mod info;
pub mod jump_data;
pub mod link_map;
mod log;
mod os;
mod plan;
mod search;
pub mod step;
mod target;

pub use breakpoint::{
    BreakpointChange, BreakpointId, BreakpointKind, BreakpointSpec, BreakpointState, ConditionPlace, DisplacedCopy,
    FaultExit, Fixup, FixupKind, HardwareAccess, JumpCode, KillSafety, MAX_WATCHED, PadCode, ThreadFilter,
};
pub use error::{Severity, TargetError};
pub use event::{
    Event, ExitStatus, MemoryBlock, Output, OutputStream, SigInfo, StepOutcome, StopBundle, StopGeneration, StopReason,
    StopRecord, TraceStep,
};
pub use file_locks::{FileIdentity, FileLock, FileLockKind};
pub use info::{
    HandleInfo, ModuleInfo, ProcessInfo, ProcessOrigin, Region, RegionUsage, TargetInfo, TargetKind, ThreadInfo,
    ThreadRunState, ThreadTimes,
};
pub use log::{LogArgument, LogPlan, LogRecord, LogValue};
pub use os::{
    AttachMode, Attachability, CreateSpec, DirectoryEntry, FileId, NameMatch, OsProcess, ProcessQuery, ServerSession,
    StdioSpec,
};
pub use plan::{
    Action, BundleRequest, CallPlan, CallWord, EntryPoint, EventMask, Fence, FenceKind, Plan, SignalAction, StepPlan,
    StopScope, ThreadPlan,
};
pub use target::{
    Breakpoints, DetachMode, Interrupter, LinkNews, LinkStatistics, LinkWatcher, Live, Os, ReadRequest, RegisterSets,
    SearchRequest, Target, Waited, WriteRequest,
};
