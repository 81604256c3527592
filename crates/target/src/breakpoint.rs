//! Breakpoints as a target keeps them: by address, with everything that decides whether a hit is a stop.

use outpost_base::{AddressSpaceId, ThreadId, Va};

use crate::LogPlan;
use crate::condition::Condition;

/// The client's number for a breakpoint location, unique in its session. Internal ones use it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BreakpointId(pub u32);

/// Most bytes that one data breakpoint watches.
pub const MAX_WATCHED: u32 = 1 << 20;

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
    /// A debug register of each thread; for data that the registers cannot hold, what the target has in their place.
    Hardware {
        /// Access reported.
        access: HardwareAccess,
        /// Bytes watched: 1 to [`MAX_WATCHED`]; 1 for execution. A register holds 1, 2, 4 or 8 at a multiple of that.
        len: u32,
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
    /// The address of [`crate::jump_data`] in this process, 8 bytes; a jump pad's only.
    Data64,
    /// The address of this pad's own words there, 8 bytes; a jump pad's only.
    Cells64,
}

impl FixupKind {
    /// Bytes of the field.
    pub const fn size(self) -> usize {
        match self {
            FixupKind::Relative32 => 4,
            FixupKind::Absolute64 | FixupKind::Data64 | FixupKind::Cells64 => 8,
        }
    }
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

/// Where a thread goes on that faulted in a jump pad's own code, which then is in none of its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultExit {
    /// Offset of the instruction that may fault.
    pub at: u16,
    /// Where it goes on to be seen: puts the registers back and leads to the trap.
    pub seen: u16,
    /// Where it goes on when nobody is there to see it: puts the registers back and leads to the displaced code.
    pub unseen: u16,
}

/// A displaced instruction in a jump pad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisplacedCopy {
    /// Its offset from the site.
    pub site_offset: u8,
    /// Where its copy begins in the pad.
    pub pad_offset: u16,
}

/// What decides about a breakpoint's hits as machine code, for a pad that a jump in place of the site's instructions leads to: a
/// hit that does not stop costs no signal. Made by the client, which has the disassembler; planted where a site is hot.
///
/// The code is entered at its first byte with everything as it was at the site. Where the hit does not stop - it is another
/// thread's, the condition is false, it still passes, or it was written down - it puts back what it used and runs the
/// displaced instructions. Otherwise, and where something cannot be read, it comes, with everything as it was at the site,
/// to the **trap**: one byte that faults. Its running time is bounded: its jumps go forward, but for counted loops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JumpCode {
    /// Code with the fixups' fields zero; at most [`JumpCode::MAX_LEN`] bytes.
    pub bytes: Vec<u8>,
    /// Fields to fill in.
    pub fixups: Vec<Fixup>,
    /// The displaced instructions, at least the [`JumpCode::WINDOW`] bytes of the jump; the target refuses the code if
    /// others stand there.
    pub expected: Vec<u8>,
    /// Offset of the trap, which is [`JumpCode::TRAP`].
    pub trap: u16,
    /// The instructions that may fault before the displaced ones.
    pub exits: Vec<FaultExit>,
    /// Copies of the displaced instructions, ascending, the site's own first.
    pub copies: Vec<DisplacedCopy>,
}

impl JumpCode {
    /// Most bytes of code.
    pub const MAX_LEN: usize = 4096;
    /// Bytes of the jump: `jmp rel32`.
    pub const WINDOW: usize = 5;
    /// Undefined in 64-bit mode (Intel SDM vol. 2, appendix A, table A-2).
    pub const TRAP: u8 = 0xd6;

    /// Whether it shares [`crate::jump_data`] with the target.
    pub fn needs_data(&self) -> bool {
        self.fixups.iter().any(|fixup| matches!(fixup.kind, FixupKind::Data64 | FixupKind::Cells64))
    }

    /// Whether all offsets lie where they must, so that it can be placed. What the code does is the client's business,
    /// who could write anything anywhere.
    pub fn is_sound(&self) -> bool {
        let len = self.bytes.len();
        let is_inside = |offset: u16| usize::from(offset) < len;
        let fits = |fixup: &Fixup| usize::from(fixup.offset) + fixup.kind.size() <= len;
        let first = self.copies.first().is_some_and(|copy| copy.site_offset == 0);
        let ascending = self
            .copies
            .is_sorted_by(|one, next| one.site_offset < next.site_offset && one.pad_offset < next.pad_offset);
        let displaced = |copy: &DisplacedCopy| {
            usize::from(copy.site_offset) < JumpCode::WINDOW
                && copy.pad_offset > self.trap
                && is_inside(copy.pad_offset)
        };
        len <= JumpCode::MAX_LEN
            && (JumpCode::WINDOW..64).contains(&self.expected.len())
            && self.bytes.get(usize::from(self.trap)) == Some(&JumpCode::TRAP)
            && self.fixups.iter().all(fits)
            && self.exits.iter().all(|exit| is_inside(exit.at) && is_inside(exit.seen) && is_inside(exit.unseen))
            && first
            && ascending
            && self.copies.iter().all(displaced)
    }
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
    /// A hit that counts is written down and does not stop.
    pub log: Option<LogPlan>,
    /// How to run the displaced instruction out of line.
    pub pad: Option<PadCode>,
    /// All of this as machine code, where it can be had. The target goes by the rest wherever it cannot use this.
    pub jump: Option<Box<JumpCode>>,
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

/// What looks at a breakpoint's condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConditionPlace {
    /// The target, at each hit; why nothing faster does, for the user, empty where there is no condition or no reason yet.
    Target {
        /// Reason.
        because: String,
    },
    /// The debuggee itself, in a jump pad.
    Debuggee,
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
    /// Where its condition is looked at.
    pub condition: ConditionPlace,
    /// Whether hits that count are written down, as its [`BreakpointSpec::log`] asked.
    pub logs: bool,
    /// Why it watches data by the protection of pages, and what has become of that, for the user; empty if it does not.
    pub by_pages: String,
}
