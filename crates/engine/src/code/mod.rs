//! Code that goes into a debuggee, made here because the client has the disassembler.
//!
//! A **pad** runs the instruction that a breakpoint displaced, somewhere else, and goes on behind it. The server
//! chooses the place, so the code comes as bytes and fixups ([`outpost_target::PadCode`]). Passing a hit then means
//! moving pc into the pad: no single step, and no instant without the breakpoint for other threads.

mod fuzz;
#[cfg(test)]
pub(crate) mod real_code;
mod x86_64;

use outpost_base::{Arch, Va};
use outpost_target::condition::Condition;
use outpost_target::{BreakpointId, JumpCode, LogPlan, PadCode};

pub use fuzz::fuzz_pads;

/// Why an instruction has no pad; the breakpoint is passed by stepping over it, and is not kill-safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoPad {
    /// The bytes are no instruction.
    #[error("the bytes at {at} are no instruction")]
    NotAnInstruction {
        /// Site.
        at: Va,
    },
    /// A system call blocks for as long as it likes, and the pad could not be taken away meanwhile.
    #[error("a system call is not run out of line")]
    SystemCall,
    /// Far transfers, transactions and the like: their meaning depends on where they stand.
    #[error("{mnemonic} is not run out of line")]
    Position {
        /// Lower-case mnemonic.
        mnemonic: &'static str,
    },
}

/// Why a condition is not run in the debuggee; the server looks at it then. Fit for the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoJump {
    /// One of the instructions under the jump cannot be moved.
    #[error("the instruction at {at} cannot be moved: {why}")]
    Displaced {
        /// Its address.
        at: Va,
        /// Why not.
        why: NoPad,
    },
    /// Flags, segment bases, vectors.
    #[error("the expression uses {register}, which a jump pad does not read")]
    Register {
        /// Its name.
        register: &'static str,
    },
    /// More code than fits.
    #[error("the expression is too long for a jump pad")]
    TooLong,
    /// Nothing is known for this processor.
    #[error("there are no jump pads for this processor")]
    Processor,
}

/// What a jump pad decides about hits.
#[derive(Debug, Clone, Copy, Default)]
pub struct JumpPlan<'a> {
    /// Only one thread's count: whose, the target puts where the pad looks ([`outpost_target::jump_data::THREAD`]).
    pub one_thread: bool,
    /// Only those count for which this is not 0.
    pub condition: Option<&'a Condition>,
    /// Some of those that count pass: how many, the target puts where the pad looks ([`outpost_target::jump_data::PASSES`]).
    pub passes: bool,
    /// The others are written down and do not stop.
    pub log: Option<(BreakpointId, &'a LogPlan)>,
}

impl<'a> From<&'a Condition> for JumpPlan<'a> {
    fn from(condition: &'a Condition) -> JumpPlan<'a> {
        JumpPlan { condition: Some(condition), ..JumpPlan::default() }
    }
}

/// Makes what decides about hits, and the instructions at `at`, whose bytes `code` starts with, into code for a jump pad.
///
/// # Errors
/// [`NoJump`].
pub fn make_jump(arch: Arch, at: Va, code: &[u8], plan: JumpPlan<'_>) -> Result<JumpCode, NoJump> {
    match arch {
        Arch::X86_64 => x86_64::make_jump(at, code, plan),
        _ => Err(NoJump::Processor),
    }
}

/// Makes the pad for the instruction at `at`, whose bytes `code` starts with.
///
/// # Errors
/// [`NoPad`]: the kind of instruction rules it out.
pub fn make_pad(arch: Arch, at: Va, code: &[u8]) -> Result<PadCode, NoPad> {
    match arch {
        Arch::X86_64 => x86_64::make_pad(at, code),
        _ => Err(NoPad::NotAnInstruction { at }),
    }
}
