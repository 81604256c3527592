//! How to resume: what each thread does, which signals it gets, and what ends the run.

use outpost_base::{AddressSpaceId, ProcessId, ThreadId, Va, VaRange};

use crate::{SigInfo, StopGeneration};

/// How far a stop reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopScope {
    /// Only the thread that stopped; the others go on.
    Thread,
    /// All threads of its process.
    Process,
    /// All threads of the session.
    System,
}

/// What happens to the signal a thread stopped for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignalAction {
    /// Deliver what it stopped for, if anything (`gn`).
    Deliver,
    /// Forget it (`gh`).
    Swallow,
    /// Deliver this one instead.
    Replace(SigInfo),
}

/// What a thread does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Runs freely.
    Run,
    /// Stays stopped.
    Hold,
    /// Follows a step plan.
    Step(StepPlan),
    /// Calls a function and comes back to where it is, which is the stop [`crate::StopReason::CallEnded`]. What stops it on
    /// the way leaves it in the function; it comes back whenever that returns.
    Call(CallPlan),
    /// Gives up the function that it was made to call last and comes back without its result.
    EndCall,
}

/// A function to call, by the calling convention of the processor's System V ABI. See [`Action::Call`].
///
/// The thread's registers wait in a signal frame on its stack: if every debugger process is killed, the thread finishes the
/// function and goes on where it was. A plan has at most one such action.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallPlan {
    /// Its first instruction.
    pub function: Va,
    /// Integer registers for arguments, in the order of the convention, at most [`CallPlan::MAX_INTEGERS`].
    pub integers: Vec<CallWord>,
    /// Low halves of vector registers for arguments, at most [`CallPlan::MAX_VECTORS`].
    pub vectors: Vec<u64>,
    /// Arguments on the stack, the first at the lowest address, which is a multiple of 16; at most
    /// [`CallPlan::MAX_STACK`].
    pub stack: Vec<CallWord>,
    /// Bytes that the call finds above its frame, aligned to 64: texts, records, room for what it returns; at most
    /// [`CallPlan::MAX_DATA`]. They stay where they are until the thread goes on.
    pub data: Vec<u8>,
    /// Places that end the call's run (not the call) when it comes there: where exceptions are thrown. At most
    /// [`CallPlan::MAX_STOPS`].
    pub stops: Vec<Va>,
}

/// A word that a called function gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallWord {
    /// This number.
    Value(u64),
    /// The address of the call's data plus this offset.
    Data(u32),
}

impl CallPlan {
    /// Arguments in integer registers at most (SysV x86-64 psABI, 3.2.3).
    pub const MAX_INTEGERS: usize = 6;
    /// Arguments in vector registers at most.
    pub const MAX_VECTORS: usize = 8;
    /// Words of arguments on the stack at most.
    pub const MAX_STACK: usize = 2048;
    /// Longest data, in bytes.
    pub const MAX_DATA: usize = 64 << 10;
    /// Most places that end its run.
    pub const MAX_STOPS: usize = 16;
}

/// A function that stepping may enter: the client knows its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryPoint {
    /// Its first instruction.
    pub entry: Va,
    /// Where its body starts, after the prologue; the stop is there. Equal to `entry` to stop at once.
    pub body: Va,
}

/// Why a fence is where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceKind {
    /// The frame's return address.
    Return,
    /// `longjmp`, a landing pad, a catch handler: control may arrive here from anywhere below.
    Unwind,
    /// An address the user named (`pa`, `g ADDR`).
    User,
}

/// An address that ends a step plan when control arrives there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// The address.
    pub at: Va,
    /// Only when sp is at least this, so that deeper instances of the same code do not count; 0: always.
    pub min_sp: Va,
    /// Why it is there.
    pub kind: FenceKind,
}

/// A step, as far as the client can think ahead: executed beside the target without asking back.
///
/// Every field is a stop condition or a rule for leaving `ranges`; the empty plan with `count: 1` is one instruction.
/// The rules are carried out by [`crate::step::StepMachine`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepPlan {
    /// Instructions to execute; 0: no count, the ranges decide. With `stop_before`, which arrival at such an instruction
    /// ends the plan; 0 is the first, as 1 is.
    pub count: u64,
    /// Step over calls: an instruction that pushed a return address into the current function runs to its return.
    pub over_calls: bool,
    /// Keep stepping while pc is inside; empty for instruction steps.
    pub ranges: Vec<VaRange>,
    /// All ranges of the function being stepped; leaving them by a jump is a tail call. Empty: not known.
    pub function: Vec<VaRange>,
    /// The frame that is stepped: its canonical frame address. Returning is leaving it upwards. 0: not tracked.
    pub cfa: Va,
    /// Functions to enter (`t` in source mode). A call to any other is stepped over, or stops if `stop_unknown`.
    pub enter: Vec<EntryPoint>,
    /// Stop as [`crate::StepOutcome::UnknownCall`] at a call to a function that `enter` does not list.
    pub stop_unknown_calls: bool,
    /// PLT stubs, resolvers, trampolines: stepped through towards what they lead to, never stopped in.
    pub pass_through: Vec<VaRange>,
    /// Addresses that end the plan.
    pub fences: Vec<Fence>,
    /// Stop at the first instruction after the frame returned, instead of going on to `ranges_after_return`.
    pub stop_on_return: bool,
    /// After the frame returned, keep stepping while pc is inside: the rest of the caller's line.
    pub ranges_after_return: Vec<VaRange>,
    /// Stop before an instruction of these kinds (`pc`, `pt`, `ph`); empty: none.
    pub stop_before: crate::step::InstructionKinds,
    /// Instructions after which the plan ends by itself; 0: none.
    pub limit: u64,
    /// Run freely between fences instead of stepping (`gu`, `g ADDR`).
    pub run: bool,
    /// Record registers and code of every step on the way: what `count` counts, a call stepped over being one.
    pub trace: bool,
}

impl StepPlan {
    /// Executes `count` instructions.
    pub fn instructions(count: u64) -> StepPlan {
        StepPlan { count, ..StepPlan::default() }
    }
}

/// One thread's part of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadPlan {
    /// The thread.
    pub thread: ThreadId,
    /// What it does.
    pub action: Action,
    /// What happens to its signal.
    pub signal: SignalAction,
}

/// Which events stop; the others are only noticed. Signals, breakpoints, steps and the end always stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventMask {
    /// Thread creation stops.
    pub thread_start: bool,
    /// Thread exit stops.
    pub thread_exit: bool,
    /// fork and vfork stop.
    pub fork: bool,
    /// Children made by fork and vfork become part of the session.
    pub follow_forks: bool,
    /// exec stops.
    pub exec: bool,
    /// Module load and unload stop.
    pub modules: bool,
    /// System calls of these numbers stop.
    pub syscalls: Vec<u64>,
    /// Signals that do not stop and are delivered at once, as bits `1 << signo` (`sxi`); `SIGCHLD` and the like.
    pub pass_signals: u128,
    /// Signals that do not stop and are forgotten.
    pub drop_signals: u128,
    /// Signals that stop only if they are about to end the process (`sxd`); others are delivered at once.
    pub second_chance_signals: u128,
}

impl Default for EventMask {
    fn default() -> EventMask {
        EventMask {
            thread_start: false,
            thread_exit: false,
            fork: false,
            follow_forks: false,
            exec: true,
            modules: false,
            syscalls: Vec::new(),
            pass_signals: 0,
            drop_signals: 0,
            second_chance_signals: 0,
        }
    }
}

/// What a stop's bundle shall hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleRequest {
    /// Bytes of the stopped thread's stack, from below sp's red zone upwards; the target may bound it lower.
    pub stack_bytes: u32,
    /// Bytes of code around pc, before and after.
    pub code_bytes: u32,
    /// Floating-point and debug registers too.
    pub all_registers: bool,
    /// Ranges to bring along: what the client read at the last stop.
    pub subscriptions: Vec<(AddressSpaceId, VaRange)>,
}

impl Default for BundleRequest {
    fn default() -> BundleRequest {
        BundleRequest { stack_bytes: 16 << 10, code_bytes: 128, all_registers: false, subscriptions: Vec::new() }
    }
}

/// How to go on from a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The stop this answers; a late one is refused.
    pub generation: StopGeneration,
    /// Processes that go on; empty: all.
    pub processes: Vec<ProcessId>,
    /// Threads with a part of their own.
    pub threads: Vec<ThreadPlan>,
    /// What all other threads of those processes do: [`Action::Run`] or [`Action::Hold`].
    pub others: Action,
    /// What happens to the other threads' signals.
    pub others_signal: SignalAction,
    /// How far the next stop reaches.
    pub scope: StopScope,
    /// Which events stop.
    pub events: EventMask,
    /// What its bundle shall hold.
    pub bundle: BundleRequest,
}

impl Plan {
    /// Everything runs; signals are delivered; the next stop holds the whole system.
    pub fn run_all(generation: StopGeneration) -> Plan {
        Plan {
            generation,
            processes: Vec::new(),
            threads: Vec::new(),
            others: Action::Run,
            others_signal: SignalAction::Deliver,
            scope: StopScope::System,
            events: EventMask::default(),
            bundle: BundleRequest::default(),
        }
    }

    /// The part of `thread`: its own, or what the others do.
    pub fn action(&self, thread: ThreadId) -> &Action {
        self.threads.iter().find(|part| part.thread == thread).map_or(&self.others, |part| &part.action)
    }

    /// What happens to `thread`'s signal.
    pub fn signal(&self, thread: ThreadId) -> &SignalAction {
        self.threads.iter().find(|part| part.thread == thread).map_or(&self.others_signal, |part| &part.signal)
    }
}
