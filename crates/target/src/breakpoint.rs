//! Breakpoints as a target keeps them: by address, with everything that decides whether a hit is a stop.

use outpost_base::{AddressSpaceId, ThreadId, Va};

use crate::condition::Condition;

/// The client's number for a breakpoint location, unique in its session. Internal ones use it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BreakpointId(pub u32);

/// What access a hardware breakpoint reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HardwareAccess {
    /// Execution at the address; the stop comes before the instruction.
    Execute,
    /// Writes; the stop comes after the instruction.
    Write,
    /// Reads and writes; the stop comes after the instruction.
    ReadWrite,
}

/// How a breakpoint is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakpointKind {
    /// A changed instruction byte.
    Software,
    /// A debug register of each thread.
    Hardware {
        /// Access reported.
        access: HardwareAccess,
        /// Bytes watched: 1, 2, 4 or 8; 1 for execution.
        len: u8,
    },
}

/// Whose hits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ThreadFilter {
    /// Every thread's.
    All,
    /// One thread's; others pass without a stop.
    Only(ThreadId),
}

/// Where a fixup's four bytes get their final value once the pad's place is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FixupKind {
    /// A signed 32-bit displacement from the end of the field to an absolute address.
    Relative32,
    /// The absolute address, 8 bytes.
    Absolute64,
}

/// A field of pad code that depends on where the pad is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixup {
    /// Offset of the field in the pad's bytes.
    pub offset: u16,
    /// How it is filled in.
    pub kind: FixupKind,
    /// What it leads to.
    pub destination: Va,
}

/// The displaced instruction as position-independent code, made by the client, which has the disassembler.
///
/// It runs the instruction that stood at the site and jumps to the one after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PadCode {
    /// Code with the fixups' fields zero; at most 64 bytes.
    pub bytes: Vec<u8>,
    /// Fields to fill in.
    pub fixups: Vec<Fixup>,
    /// The bytes the client saw at the site when it made this; the target refuses the pad if they differ.
    pub expected: Vec<u8>,
}

/// A breakpoint a client wants.
#[derive(Debug, Clone, PartialEq)]
pub struct BreakpointSpec {
    /// The client's number.
    pub id: BreakpointId,
    /// Address space it is in.
    pub space: AddressSpaceId,
    /// Where.
    pub at: Va,
    /// How it is made.
    pub kind: BreakpointKind,
    /// Whose hits count.
    pub threads: ThreadFilter,
    /// A hit counts only if this is true.
    pub condition: Option<Condition>,
    /// Counted hits that pass before one stops.
    pub skip: u64,
    /// Removed by the target when it stopped once.
    pub one_shot: bool,
    /// A hit is counted and the thread goes on without a stop or a message.
    pub auto_continue: bool,
    /// How to run the displaced instruction out of line.
    pub pad: Option<PadCode>,
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum BreakpointChange {
    /// Adds it, or replaces the one of the same id.
    Set(BreakpointSpec),
    /// Removes it; unknown ids are no error.
    Clear(BreakpointId),
}

/// What would happen to a thread that hits the site just as server and tracer are killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillSafety {
    /// It runs on: pad and lifeline are in place.
    Safe,
    /// It may die: a plain trap byte without a handler in the debuggee.
    Unsafe,
}

/// What became of a [`BreakpointChange::Set`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakpointState {
    /// The client's number.
    pub id: BreakpointId,
    /// Hits counted so far (condition true, filter passed), including skipped ones.
    pub hits: u64,
    /// Whether it outlives its server.
    pub safety: KillSafety,
    /// Why it does not, for the user; empty if it does.
    pub reason: String,
}
