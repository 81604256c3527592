//! What a target reports: stops with all a client usually asks for next, and notices that stop nothing.

use outpost_base::{AddressSpaceId, ProcessId, RegisterContext, ThreadId, Va, VaRange};

use crate::{BreakpointId, LogRecord, ModuleInfo, ThreadInfo};

/// Number of a stop, counting up from 1 within a session. Acting requests name the stop they answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StopGeneration(pub u64);

/// A signal with its `siginfo_t`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigInfo {
    /// Signal number.
    pub signo: i32,
    /// `si_code`.
    pub code: i32,
    /// `si_errno`.
    pub errno: i32,
    /// `si_addr` for faults, else 0.
    pub address: Va,
    /// `si_pid` for signals sent by a process, else 0.
    pub sender: ProcessId,
    /// The whole structure as the kernel gave it (128 bytes), or empty.
    pub raw: Vec<u8>,
    /// What the process would do with it, when known: `true` if the default action applies and ends the process.
    pub fatal_by_default: bool,
}

/// How a process or thread ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// `exit` with this code.
    Code(i32),
    /// Killed by this signal.
    Signal {
        /// Its number.
        signo: i32,
        /// Whether a core was written.
        core_dumped: bool,
    },
    /// Not known.
    Unknown,
}

/// How a step plan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepOutcome {
    /// The instructions asked for were executed.
    Counted,
    /// pc left the ranges within the same frame.
    LeftRanges,
    /// It arrived at the body of a function it was told to enter.
    Entered,
    /// The frame returned to its caller.
    Returned,
    /// It hit fence number `index` of the plan.
    Fence {
        /// Index into the plan's fences.
        index: u32,
    },
    /// It entered a function of which the plan said nothing; the client decides.
    UnknownCall,
    /// The plan's limit was used up.
    Limit,
    /// The next instruction is of the kind the plan stops before.
    BeforeInstruction,
}

/// Why a thread stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// The session attached to the process.
    Attached,
    /// A created process stands before its first user instruction (after exec, before the loader ran).
    Created,
    /// One or more breakpoints at pc; for data breakpoints pc is after the access.
    Breakpoint {
        /// Every breakpoint that stops here.
        ids: Vec<BreakpointId>,
    },
    /// A step plan ended.
    Step {
        /// How.
        outcome: StepOutcome,
    },
    /// A signal is about to be delivered (first chance).
    Signal(SigInfo),
    /// The client broke in.
    BreakIn,
    /// A trap instruction that is not ours, in the program's own code.
    ForeignTrap,
    /// A thread was created; the stopped thread is the new one.
    ThreadStarted,
    /// A thread is about to end; its registers are still there.
    ThreadExiting {
        /// How.
        status: ExitStatus,
    },
    /// The process made another by fork, vfork or clone without `CLONE_THREAD`.
    Forked {
        /// The child.
        child: ProcessId,
        /// Whether it borrows its parent's memory until exec or exit.
        vfork: bool,
        /// Whether the session follows it.
        followed: bool,
    },
    /// The process replaced its image. Threads other than the one named are gone.
    Execed {
        /// Path of the new executable.
        executable: String,
        /// Id the executing thread had before it took over the leader's.
        former_thread: ThreadId,
    },
    /// Modules were loaded or unloaded; the bundle has the new list.
    ModulesChanged,
    /// A system call was entered or left (`EventMask::syscalls`).
    Syscall {
        /// Its number.
        number: u64,
        /// Whether it returns.
        leaving: bool,
    },
    /// The process ended: no thread is left.
    Exited {
        /// How.
        status: ExitStatus,
    },
    /// The event a dump was written for, when it was no signal.
    DumpOpened,
    /// A function that a plan called is over; the thread is back where it was before.
    CallEnded {
        /// General and vector registers as they were when it returned; `None` if it was given up.
        returned: Option<Box<RegisterContext>>,
    },
}

/// One thread's stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopRecord {
    /// Its process.
    pub process: ProcessId,
    /// The thread; for [`StopReason::Exited`] the last one known.
    pub thread: ThreadId,
    /// Why.
    pub reason: StopReason,
}

/// Memory that came with a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryBlock {
    /// Address space.
    pub space: AddressSpaceId,
    /// First address.
    pub at: Va,
    /// The bytes, as they were at the stop, breakpoint bytes hidden.
    pub bytes: Vec<u8>,
}

/// Registers of one executed instruction in a traced step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceStep {
    /// General registers after the step.
    pub general: Vec<u64>,
    /// Bytes at the new pc, at most 16.
    pub code: Vec<u8>,
}

/// A stop, with what the client will want to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopBundle {
    /// Its number.
    pub generation: StopGeneration,
    /// Who stopped and why.
    pub stop: StopRecord,
    /// Registers of the stopped thread (first) and of others whose registers changed, if asked for.
    pub registers: Vec<(ThreadId, RegisterContext)>,
    /// Code at pc, the live stack from sp upwards, and the subscribed ranges.
    pub memory: Vec<MemoryBlock>,
    /// All threads of the session, when that list changed since the last bundle.
    pub threads: Option<Vec<ThreadInfo>>,
    /// All modules by process, when a list changed since the last bundle.
    pub modules: Option<Vec<(ProcessId, Vec<ModuleInfo>)>>,
    /// Threads in the plan's scope that could not be stopped.
    pub unstoppable: Vec<ThreadId>,
    /// How often breakpoints were hit since the last bundle, those that did not stop included.
    pub hits: Vec<(BreakpointId, u64)>,
    /// Breakpoints of the stop whose conditions could not be evaluated: they stop, so that their author learns of it.
    pub undecided: Vec<BreakpointId>,
    /// For a traced step plan: every instruction on the way, oldest first, the last being the stop itself.
    pub trace: Vec<TraceStep>,
    /// Further stops that wait behind this one; each is delivered as an event of its own when asked for.
    pub queued: u32,
}

/// Which of a created process's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output, or the pty.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a created process wrote, when its output was asked to come to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The process.
    pub process: ProcessId,
    /// Which stream.
    pub stream: OutputStream,
    /// What it wrote.
    pub bytes: Vec<u8>,
}

/// Something that happened in a target.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one value at a time, moved at once")]
#[non_exhaustive]
pub enum Event {
    /// Something in scope stopped.
    Stopped(StopBundle),
    /// Instructions executed so far by a traced step plan that goes on; the stop brings the rest.
    Trace {
        /// The stepping thread.
        thread: ThreadId,
        /// Oldest first.
        steps: Vec<TraceStep>,
    },
    /// Noted but not a stop (`EventMask` did not ask for one).
    Noticed(StopRecord),
    /// Breakpoints were hit that are logged.
    Logged {
        /// Oldest first.
        records: Vec<LogRecord>,
        /// How many more there were of which nothing could be kept, by breakpoint.
        dropped: Vec<(BreakpointId, u64)>,
    },
    /// A created process wrote something.
    Output(Output),
    /// A process waited for by name has appeared.
    ProcessAppeared {
        /// It.
        process: ProcessId,
        /// The name that was waited for.
        name: String,
    },
    /// The server is about to end this session.
    ServerEnding {
        /// Why, for the user.
        reason: String,
    },
}

impl StopBundle {
    /// A bundle with nothing but the stop itself.
    pub fn bare(generation: StopGeneration, stop: StopRecord) -> StopBundle {
        StopBundle {
            generation,
            stop,
            registers: Vec::new(),
            memory: Vec::new(),
            threads: None,
            modules: None,
            unstoppable: Vec::new(),
            hits: Vec::new(),
            undecided: Vec::new(),
            trace: Vec::new(),
            queued: 0,
        }
    }
}

impl MemoryBlock {
    /// The addresses it covers.
    pub fn range(&self) -> VaRange {
        VaRange::from_len(self.at, self.bytes.len() as u64)
    }
}
