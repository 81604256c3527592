//! Frames and stacks as plain data.

use outpost_base::Va;

use crate::{FrameAddress, FrameRegisters, UnwindError};

/// One frame of a stack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Where it is executing.
    pub address: FrameAddress,
    /// Registers as they are in this frame: what it will find in them when control is back in it.
    pub registers: FrameRegisters,
    /// Canonical frame address: the stack pointer of the caller just before its call instruction. `None` in a frame
    /// whose caller could not be found, and in one that was not unwound yet.
    pub cfa: Option<Va>,
    /// By what means this frame was found from the one it called.
    pub trust: FrameTrust,
    /// Whether this is the kernel's signal trampoline: the frame outside it was interrupted and not calling.
    /// Known once the frame was unwound, like [`Frame::cfa`].
    pub is_signal_frame: bool,
}

/// By what means a frame was found, best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FrameTrust {
    /// It is the innermost one: registers are the thread's.
    Context,
    /// Rules of call frame information.
    Cfi,
    /// Registers that the kernel saved when it delivered a signal.
    SignalFrame,
    /// The callee's instructions.
    Prologue,
    /// The chain of frame pointers; callee-saved registers are those of the callee and may be wrong.
    FramePointer,
    /// A guess: the first word on the stack that looks like a return address.
    Scan,
}

/// A thread's frames, innermost first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stack {
    /// The frames; never empty.
    pub frames: Vec<Frame>,
    /// Why there are no more.
    pub end: StackEnd,
}

/// Why a stack ends where it does.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StackEnd {
    /// The last frame has no caller: its rules say so, or its return address is 0. The regular end.
    Outermost,
    /// As many frames were found as the caller had asked for.
    FrameLimit,
    /// The next frame would not lie further out on the stack, so the stack is damaged or was misread.
    NotGrowing {
        /// Stack pointer that the next frame would have.
        sp: Va,
    },
    /// The next frame is one that was seen before.
    Cycle,
    /// The last frame's caller could not be found.
    Failed(UnwindError),
}

/// What unwinding one frame gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unwound {
    /// Canonical frame address of the frame that was unwound.
    pub cfa: Option<Va>,
    /// Whether that frame is a signal trampoline.
    pub is_signal_frame: bool,
    /// Its caller (or the code that the signal interrupted), or why there is none.
    pub caller: Result<Frame, StackEnd>,
}

impl Frame {
    /// The innermost frame of a thread with these registers.
    pub fn innermost(registers: FrameRegisters) -> Frame {
        Frame {
            address: FrameAddress::Pc(registers.pc()),
            registers,
            cfa: None,
            trust: FrameTrust::Context,
            is_signal_frame: false,
        }
    }
}
