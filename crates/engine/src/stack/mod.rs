//! Stacks: frames with their functions, lines and registers, inline frames marked.

mod code;
mod frames;
mod tail;
mod walk;

use outpost_base::Va;
use outpost_unwind::FrameTrust;

use crate::ThreadOrdinal;
use crate::symbols::SourceLocation;

pub(crate) use code::ProcessCode;
pub(crate) use walk::PhysicalStack;

/// Frames shown unless the user asks for another number (`.kframes`).
pub const DEFAULT_FRAMES: usize = 256;

/// Whether a frame has a place on the stack of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A function that was called.
    Physical,
    /// A function whose code the compiler put into the next frame's.
    Inline,
    /// A function that ended by a tail call, so that its frame is gone: what it called returns to its caller. Debug info
    /// tells of it.
    TailCall,
}

/// One row of `k`.
#[derive(Debug, Clone, PartialEq)]
#[doc(alias = "DEBUG_STACK_FRAME_EX")]
pub struct StackFrame {
    /// Its number, inline frames counted, the innermost being 0.
    pub index: u32,
    /// Whether it has a place of its own.
    pub kind: FrameKind,
    /// Number of the physical frame that it is or lies in; for one that ended by a tail call, of the frame that called it.
    pub physical: u32,
    /// Next instruction to run here, which is a return address in all frames that called. It is behind a tail call, and
    /// never run, unless debug info tells only where the tail call is.
    pub instruction: Va,
    /// Address inside the instruction that is executing here: what to look symbols and lines up by.
    pub lookup_address: Va,
    /// Stack pointer in this frame (`Child-SP`).
    pub sp: Va,
    /// Canonical frame address: the caller's stack pointer just before the call. `None` if it could not be found.
    pub cfa: Option<Va>,
    /// Where it returns to (`RetAddr`); `None` in the outermost frame.
    pub return_address: Option<Va>,
    /// Module of its code, empty if none.
    pub module: String,
    /// Its function, empty if unknown.
    pub function: String,
    /// Distance of [`StackFrame::instruction`] from the function's start, or from the module's without one.
    pub displacement: u64,
    /// Source line being executed, where known; in an inline frame's outer frame, the line of the call.
    pub source: Option<SourceLocation>,
    /// How it was found.
    pub trust: FrameTrust,
    /// Whether it is the kernel's signal trampoline.
    pub is_signal_frame: bool,
    /// Whether it is a function that ended by a tail call, or was inlined into one.
    pub is_tail_call: bool,
}

/// A thread's stack.
#[derive(Debug, Clone, PartialEq)]
pub struct ThreadStack {
    /// The thread.
    pub thread: ThreadOrdinal,
    /// Frames, innermost first; empty only if its registers could not be read.
    pub frames: Vec<StackFrame>,
    /// Why there are no more, in words; empty where that is as it should be: outermost frame, or enough frames.
    pub problem: String,
}
