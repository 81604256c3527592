//! What can go wrong in one frame.

use outpost_base::{ImageOffset, RegisterId, Va};

/// Why a frame's caller could not be found by one means. Never fatal: the stack so far is good.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnwindError {
    /// No call frame information covers the address.
    #[error("find call frame information for {address}")]
    NoCfi {
        /// The address that was looked up.
        address: Va,
    },
    /// The call frame information of the address cannot be understood.
    #[error("read call frame information at {entry} of its section: {source}")]
    DamagedCfi {
        /// Offset of the frame description entry in its section.
        entry: ImageOffset,
        /// What the reader of DWARF says.
        source: gimli::Error,
    },
    /// A DWARF expression failed, asked for what does not exist in this context, or ran too long.
    #[error("evaluate unwind expression: {reason}")]
    BadExpression {
        /// What was wrong.
        reason: &'static str,
    },
    /// A rule needs a register whose value is not known in this frame.
    #[error("use register {} that is not known in this frame", register.0)]
    UnknownRegister {
        /// The register.
        register: RegisterId,
    },
    /// A rule names a register that the architecture lacks.
    #[error("use DWARF register {number} that this architecture does not have")]
    NoSuchRegister {
        /// The number.
        number: u16,
    },
    /// The stack could not be read.
    #[error("read stack memory at {at}")]
    UnreadableMemory {
        /// Address of the word.
        at: Va,
    },
    /// The rules do not say where the return address is.
    #[error("find a rule for the return address")]
    NoReturnAddress,
    /// Neither call frame information nor instructions nor the stack itself gave a caller.
    #[error("find a caller for {address} by any means")]
    NoCaller {
        /// Address of the frame.
        address: Va,
    },
}
