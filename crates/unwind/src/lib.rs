//! Stack unwinding with all registers.
//!
//! Given: a thread's registers, a [`MemoryReader`](outpost_base::MemoryReader) for its stack and code, and
//! [`UnwindModules`], which says what module covers an address and hands out that module's call frame information
//! ([`ModuleCfi`]). All of it is plain data: where sections come from (file, debug file, memory, server) is left to
//! the caller.
//!
//! Gives: [`Stack`], frames from the innermost outwards, each with its canonical frame address, every register that can
//! be known there, how far it can be trusted, and the reason why the stack ended. [`unwind_frame`] does one frame.
//!
//! The means, best first, chosen anew for every frame:
//!
//! 1. call frame information of `.eh_frame` and `.debug_frame` (DWARF 5, 6.4; all rules, expressions, signal frames);
//! 2. the kernel's signal frame, where its trampoline is recognised by its instructions;
//! 3. the instructions of the function themselves, followed from its entry or to its return;
//! 4. the chain of frame pointers, where it is plausible;
//! 5. the first plausible return address on the stack, marked as the guess it is ([`FrameTrust::Scan`]).
//!
//! Architectures are values; what is particular to one lives in its folder (`x86_64/`).

mod address;
mod cfi;
mod error;
mod frame;
mod fuzz;
mod modules;
mod registers;
mod walk;
mod x86_64;

pub use address::FrameAddress;
pub use cfi::{CfiSection, CfiSections, ModuleCfi, SectionBytes};
pub use error::UnwindError;
pub use frame::{Frame, FrameTrust, Stack, StackEnd, Unwound};
#[doc(hidden)]
pub use fuzz::fuzz_unwind;
pub use modules::{ModuleList, UnwindModule, UnwindModules};
pub use registers::FrameRegisters;
pub use walk::{DEFAULT_FRAME_LIMIT, unwind_frame, unwind_stack, unwind_stack_from};
pub use x86_64::signal_frame::saved_context;
