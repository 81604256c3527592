//! The tables: processes, threads, address spaces.

use std::collections::BTreeMap;
use std::time::Instant;

use outpost_base::{AddressSpaceId, ProcessId, ThreadId, Va};
use outpost_target::{ModuleInfo, ProcessOrigin};

use crate::breakpoints::{DebugRegisters, Pages, Protection, Retired, Sites};
use crate::lifeline::Installed;
use crate::memory::ProcessMemory;
use crate::remote_call::PendingCall;
use crate::step::Stepping;
use crate::sys::ptrace::RawSigInfo;
use crate::sys::ptrace_registers::GeneralRegisters;

/// What a thread is doing as far as ptrace goes. The transitions are in the documentation of `tracer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Set going, no stop seen since.
    Running,
    /// In a ptrace-stop: registers can be read, it can be resumed.
    Stopped,
    /// In a group-stop (job control), seen as a ptrace-stop; resumed by `PTRACE_LISTEN`.
    GroupStopped,
    /// In a group-stop and told to listen: cannot be read, tells when the group-stop ends.
    Listening,
    /// Past `PTRACE_EVENT_EXIT` or found dead: only its exit status is still to come.
    Exiting,
}

/// What a thread does while its plan goes.
#[derive(Debug)]
pub(crate) enum Part {
    /// Runs freely.
    Run,
    /// Stays stopped.
    Hold,
    /// Follows a step plan.
    Step(Box<Stepping>),
}

/// Where a thread stands whose breakpoint was judged already: it passes the site without another hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) pc: Va,
    pub(crate) sp: Va,
}

/// A traced thread.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) id: ThreadId,
    pub(crate) process: ProcessId,
    pub(crate) state: State,
    pub(crate) part: Part,
    /// Registers as read in this stop or as they shall be.
    pub(crate) registers: Option<GeneralRegisters>,
    /// The registers differ from the kernel's and are written before the thread goes on.
    pub(crate) dirty: bool,
    /// The debugger's suspend count.
    pub(crate) suspend: u32,
    /// Part of a stop that was delivered to the client and not answered yet.
    pub(crate) held: bool,
    /// Stopped for a moment on behalf of another thread that passes a breakpoint, or of a change to all threads.
    pub(crate) paused: bool,
    /// `PTRACE_INTERRUPT` was sent and no stop seen since.
    pub(crate) interrupted: bool,
    /// The signal it is to be resumed with.
    pub(crate) signal: Option<RawSigInfo>,
    /// The present stop is the delivery of a signal, so that resuming may inject one.
    pub(crate) in_delivery: bool,
    /// A signal that had to be sent again, with what it carried at first.
    pub(crate) sent_again: Option<RawSigInfo>,
    /// A signal that came while the thread was in a pad, sent again and not seen since, with what it carried at first.
    pub(crate) postponed: Option<RawSigInfo>,
    /// When it was last seen not to have had its signal mask changed by a fault of ours.
    pub(crate) mask_seen_at: Option<Instant>,
    /// The processor's trap flag was set for a step and stays until it is set going without; the journal knows.
    pub(crate) is_trapping: bool,
    /// The signal mask to put back at its next stop, after a step plan that unblocked SIGTRAP.
    pub(crate) mask_before_step: Option<u64>,
    pub(crate) arrival: Option<Arrival>,
    /// Which version of the process's debug registers it has.
    pub(crate) debug_version: u64,
    /// The child that borrows this thread's address space, so that the thread cannot be stopped.
    pub(crate) vfork_child: Option<ProcessId>,
    /// Its first stop has not been seen yet.
    pub(crate) is_new: bool,
    /// Stopped in `PTRACE_EVENT_EXIT`.
    pub(crate) is_exiting: bool,
    /// It was set going with `PTRACE_SINGLESTEP`.
    pub(crate) single_step: bool,
    /// Functions that it was made to call and has not come back from, the newest last.
    pub(crate) calls: Vec<PendingCall>,
    /// Order of appearance.
    pub(crate) sequence: u64,
}

/// How a process was when it was attached. A stop by SIGSTOP is taken back by SIGCONT when the client lets it run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Running, or nothing is left of the stop it was in.
    Running,
    /// Stopped by job control, by `dbgsrv -cs` for one: if it is let go before it was resumed, it stays so, as with gdb.
    Stopped,
    /// Left stopped by a debugger that is gone: it is continued also if it is let go before.
    Abandoned,
}

/// A traced process, or one looked at.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) id: ProcessId,
    pub(crate) space: AddressSpaceId,
    pub(crate) origin: ProcessOrigin,
    /// Traced only until it stops sharing memory with a debuggee, or until it can be let go: not shown to the client.
    pub(crate) hidden: bool,
    /// Let go as soon as its threads can be.
    pub(crate) leaving: bool,
    /// How it was found, until it is resumed for the first time.
    pub(crate) found: Found,
    pub(crate) debug: DebugRegisters,
    /// The last list that was read.
    pub(crate) modules: Vec<ModuleInfo>,
    /// Threads are held and looked at, but never run: noninvasive.
    pub(crate) only_looked_at: bool,
    /// A lifeline that this child was forked with and that is to be taken away before it is let go.
    pub(crate) inherited: Option<Box<Installed>>,
}

/// An address space with the breakpoints in it.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) memory: ProcessMemory,
    pub(crate) sites: Sites,
    /// Originals of sites that were removed: a fork child made before still has the trap.
    pub(crate) retired: BTreeMap<Va, Retired>,
    pub(crate) protection: Protection,
    /// What is watched by the protection of pages.
    pub(crate) pages: Pages,
}

impl Space {
    /// A space without anything of ours in it.
    pub(crate) fn new(memory: ProcessMemory) -> Space {
        Space {
            memory,
            sites: Sites::default(),
            retired: BTreeMap::new(),
            protection: Protection::NotTried,
            pages: Pages::default(),
        }
    }
}

impl Thread {
    /// A thread that runs, as one does after `PTRACE_SEIZE`.
    pub(crate) fn new(id: ThreadId, process: ProcessId) -> Thread {
        Thread {
            id,
            process,
            state: State::Running,
            part: Part::Run,
            registers: None,
            dirty: false,
            suspend: 0,
            held: false,
            paused: false,
            interrupted: false,
            signal: None,
            in_delivery: false,
            sent_again: None,
            postponed: None,
            mask_seen_at: None,
            mask_before_step: None,
            is_trapping: false,
            arrival: None,
            debug_version: 0,
            vfork_child: None,
            is_new: false,
            is_exiting: false,
            single_step: false,
            calls: Vec::new(),
            sequence: 0,
        }
    }

    /// Whether it stays stopped for now, whatever it stopped for.
    pub(crate) fn stays(&self) -> bool {
        self.held || self.paused || self.suspend > 0 || matches!(self.part, Part::Hold)
    }

    /// Whether a stop of it can still come.
    pub(crate) fn is_out(&self) -> bool {
        matches!(self.state, State::Running | State::Listening)
    }

    /// Whether its registers can be read.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped | State::GroupStopped)
    }
}
