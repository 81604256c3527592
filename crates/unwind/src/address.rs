//! Where a frame is: a program counter or a return address.

use outpost_base::Va;

/// The code address of a frame, which is a program counter in some frames and a return address in the others.
///
/// The two must be kept apart, for a return address may lie outside the code that made the call: where a call does
/// not return, the compiler places nothing behind it, and the return address belongs to the next function, the next
/// line or the next unwind row. What looks up functions, lines, variables or unwind rules uses [`lookup_address`],
/// which is one less in a return address and so lies within the call instruction.
///
/// The innermost frame has a program counter, and so has a frame that was interrupted by a signal.
///
/// [`lookup_address`]: FrameAddress::lookup_address
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FrameAddress {
    /// The next instruction to run.
    Pc(Va),
    /// Where the callee will return to.
    ReturnAddress(Va),
}

impl FrameAddress {
    /// The address as the registers state it, which is what the user is shown.
    pub fn address(self) -> Va {
        match self {
            FrameAddress::Pc(address) | FrameAddress::ReturnAddress(address) => address,
        }
    }

    /// The address to look up what the frame was executing.
    pub fn lookup_address(self) -> Va {
        match self {
            FrameAddress::Pc(address) => address,
            FrameAddress::ReturnAddress(address) => Va(address.0.saturating_sub(1)),
        }
    }
}
