//! Dump files as targets that cannot run.
//!
//! Given a file, it gives a [`Target`](outpost_target::Target) with the same reading operations as a live process, so
//! every command that only reads works unchanged. Today that is [`ElfCore`]: x86-64 ELF cores as the kernel and gdb's
//! `generate-core-file` write them. Symbols and stacks are for the crates above.

mod elf_core;
mod error;

pub use elf_core::ElfCore;
pub use error::DumpError;

#[doc(hidden)]
pub use elf_core::fuzz_notes;
