//! What happens in targets, as the engine tells it.

mod describe;
mod filters;
mod queue;
mod signals;
mod stop;
mod syscalls;

use std::time::SystemTime;

use outpost_base::{ProcessId, ThreadId, Va};
use outpost_target::{BreakpointId, OutputStream, StopReason};

use crate::{BreakpointNumber, Logged, ProcessOrdinal, ReturnedValue, SystemOrdinal, ThreadOrdinal};

pub use describe::describe as describe_event;
pub use filters::{BreakStatus, EventFilter, EventFilters, HANDLING_CODES};
pub(crate) use signals::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
pub use signals::{signal_code_name, signal_name, signal_number};
pub use syscalls::{syscall_error_name, syscall_name, syscall_numbers};

/// What ended a wait.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one value at a time, moved at once")]
pub enum Wait {
    /// Something happened.
    Event(EngineEvent),
    /// One of the caller's descriptors became readable.
    OtherReadable,
    /// The time was up.
    TimedOut,
}

/// Something that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "one value at a time, and stops are most of them")]
pub enum EngineEvent {
    /// The debuggee stopped for the user to look.
    Stopped(Stop),
    /// A step of several was done and the next one is under way: to be shown as a stop would be, if the user wants.
    Stepped(TracedStep),
    /// Something the filters say is worth a line but not a stop.
    Noticed(Notice),
    /// Breakpoints were hit that the target writes down.
    Logged(Logged),
    /// A created process wrote something.
    Output {
        /// The process.
        process: ProcessOrdinal,
        /// Which of its streams.
        stream: OutputStream,
        /// What it wrote.
        bytes: Vec<u8>,
    },
    /// A process that was waited for by name has started.
    ProcessAppeared {
        /// Where.
        system: SystemOrdinal,
        /// It.
        process: ProcessId,
        /// The name that was waited for.
        name: String,
    },
    /// A system is gone, with all its processes.
    SystemLost {
        /// It was this one.
        system: SystemOrdinal,
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// A server is about to end the session.
    ServerEnding {
        /// Its system.
        system: SystemOrdinal,
        /// Why.
        reason: String,
    },
}

/// Whether a signal is seen before any handler, or because nothing handles it and it is about to end the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chance {
    /// Before its delivery.
    First,
    /// It will be fatal.
    Second,
}

/// A stop that the user sees.
#[derive(Debug, Clone)]
pub struct Stop {
    /// Its system.
    pub system: SystemOrdinal,
    /// Its process; forgotten already if the reason is [`StopReason::Exited`].
    pub process: ProcessOrdinal,
    /// Its thread.
    pub thread: ThreadOrdinal,
    /// The system's id for the process.
    pub process_id: ProcessId,
    /// The system's id for the thread.
    pub thread_id: ThreadId,
    /// Why, as the target says it.
    pub reason: StopReason,
    /// For signals of live processes: which chance this is.
    pub chance: Option<Chance>,
    /// The user's breakpoints that stopped here, with the commands they run; empty for other reasons.
    pub breakpoints: Vec<BreakpointHit>,
    /// It is where a temporary breakpoint of `g` was, or where `pa` was to end.
    pub at_temporary: bool,
    /// It ends a step or a count of steps, so that a front end shows it the way it shows steps.
    pub ends_step: bool,
    /// For `gu`: what the function returned.
    pub returned: Option<ReturnedValue>,
    /// Program counter.
    pub pc: Va,
    /// When the engine learned of it.
    pub time: SystemTime,
    /// Threads that could not be stopped.
    pub unstoppable: Vec<ThreadId>,
    /// Further stops that wait and come with the next resumption.
    pub queued: u32,
    /// A stop as this filter has it; `None` for breakpoints, steps and breaking in.
    pub filter: Option<&'static str>,
    /// Commands of that filter, empty for none.
    pub commands: String,
    /// The filter wants its commands carried out and no stop: [`Engine::go_on`](crate::Engine::go_on) comes after them.
    pub goes_on: bool,
}

/// A user's breakpoint that stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakpointHit {
    /// Its number.
    pub number: BreakpointNumber,
    /// Which of its places.
    pub location: BreakpointId,
    /// Commands to run, empty for none.
    pub commands: String,
    /// Why its condition could not be evaluated, if that is why it stopped.
    pub condition_problem: Option<String>,
}

/// One of several steps, done before the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedStep {
    /// The stepping thread.
    pub thread: ThreadOrdinal,
    /// Registers after it.
    pub registers: outpost_base::RegisterContext,
    /// Code at the new program counter, at most 16 bytes, empty if it did not come along.
    pub code: Vec<u8>,
}

/// Something worth a line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A module was loaded.
    ModuleLoaded {
        /// In which process.
        process: ProcessOrdinal,
        /// Its name.
        name: String,
        /// Its path.
        path: String,
        /// Where.
        range: outpost_base::VaRange,
    },
    /// A module was unloaded.
    ModuleUnloaded {
        /// In which process.
        process: ProcessOrdinal,
        /// Its name.
        name: String,
        /// Its path.
        path: String,
    },
    /// A thread started or ended, a process forked, executed or ended, a signal passed: with the filter's code.
    Event {
        /// The filter: `ct`, `et`, `cpr`, `epr`, `sig`, ... .
        filter: &'static str,
        /// The system's id for the process.
        process_id: ProcessId,
        /// The system's id for the thread.
        thread_id: ThreadId,
        /// What happened.
        reason: StopReason,
    },
    /// A breakpoint could not be set or became what it was not before.
    Breakpoint {
        /// Its number.
        number: BreakpointNumber,
        /// What happened to it.
        message: String,
    },
    /// Anything else the user should know.
    Message {
        /// The text.
        text: String,
    },
}

/// The last event, for `.lastevent` and `.exr -1`.
#[derive(Debug, Clone)]
#[doc(alias = "GetLastEventInformation")]
pub struct LastEvent {
    /// The system's id for the process.
    pub process_id: ProcessId,
    /// The system's id for the thread.
    pub thread_id: ThreadId,
    /// Its thread.
    pub thread: ThreadOrdinal,
    /// What happened.
    pub reason: StopReason,
    /// For signals of live processes: which chance.
    pub chance: Option<Chance>,
    /// The user's breakpoints that stopped.
    pub breakpoints: Vec<BreakpointNumber>,
    /// When the engine learned of it.
    pub time: SystemTime,
    /// Program counter.
    pub pc: Va,
    /// Program counter of the event before it.
    pub previous_pc: Option<Va>,
    /// The filter that it falls under; `None` for breakpoints, steps and breaking in.
    pub filter: Option<&'static str>,
}
