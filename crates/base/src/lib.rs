//! Vocabulary of the debugger: addresses, ids, architectures, registers and the memory-reader trait.
//!
//! Given nothing, it gives the words that all other crates speak in; it does no I/O, knows no format and
//! depends on nothing. What a word *does* (reading a process, parsing a file) is left to the crates above.

mod address;
mod arch;
mod ids;
mod memory;
mod registers;
mod x86_64;

pub use address::{ImageOffset, LoadBias, Va, VaRange};
pub use arch::{Arch, RegisterDef, RegisterGroup, RegisterId, Storage};
pub use ids::{AddressSpaceId, BuildId, ProcessId, ThreadId};
pub use memory::{MemoryReader, SliceMemory};
pub use registers::{RegisterContext, RegisterValue};
