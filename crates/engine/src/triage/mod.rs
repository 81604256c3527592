//! Triage: what an expert would say of a stopped process from memory and registers alone (`!analyze`).
//!
//! Everything here reads, nothing runs in the debuggee, so it is the same on a live process, at the far end of a link
//! and on a core. What cannot be told is left out; what is a guess says so.

mod abort;
mod access;
mod address;
mod analysis;
mod blame;
mod blocks;
mod cpp_exception;
mod fault;
mod heap;
mod heap_verdict;
mod memory_shortage;
mod origin;
mod recursion;
mod rust_panic;
mod tasks;
mod terminate;
mod thread_ids;
mod thread_local;
mod times;
mod transfer;
mod type_path;
mod unique;
mod waits;
mod x86_64;

use outpost_base::{ProcessId, ThreadId, Va};

use crate::{StackFrame, ThreadOrdinal, ThreadStack};

pub use address::{AddressKind, AddressNote};
pub use blocks::{ProcessBlock, ThreadBlock};
pub use cpp_exception::{CppException, CppExceptions};
pub use fault::FaultClass;
pub use heap::{Arena, Chunk, ChunkState, ChunkTotal, FreeList, Heap, HeapProblem};
pub use heap_verdict::HeapFinding;
pub use tasks::{AwaitFrame, Task, TaskState};
pub use unique::StackGroup;
pub use waits::{Hang, HangClass, Lock, LockKind, OtherProcess, ProcessPart, ThreadWait, WaitedFile, Waiting};

/// What an access does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessKind {
    /// It reads.
    Read,
    /// It writes.
    Write,
    /// It executes.
    Execute,
}

/// The signal behind an analysis, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalWords {
    /// `SIGSEGV`.
    pub name: String,
    /// `SEGV_MAPERR`; empty if unknown.
    pub code: String,
    /// What the two say together.
    pub meaning: String,
}

/// The memory access that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultAccess {
    /// What it did.
    pub kind: AccessKind,
    /// Where; `None` if neither the kernel nor the registers tell.
    pub address: Option<Va>,
    /// How many bytes; 0 if that is not fixed.
    pub size: u32,
    /// How the source would write what was accessed (`list->head->next`); empty if unknown.
    pub expression: String,
}

/// A step on the way of a bad value, backwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginStep {
    /// The instruction that did it.
    pub at: Va,
    /// What it did, in words.
    pub text: String,
}

/// What a program or its runtime said of its own end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramMessage {
    /// Who said it: `glibc`, `Rust panic`, `C++ exception`, `AddressSanitizer`.
    pub source: String,
    /// What, without line end.
    pub text: String,
    /// Where in the source, if it says (`src/main.rs:5:9`); empty if not.
    pub place: String,
}

/// A recursion that used up a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recursion {
    /// Functions of one round, innermost first.
    pub cycle: Vec<String>,
    /// Stack bytes that a round takes.
    pub bytes_per_round: u64,
    /// Rounds that fit on the stack as it is; an estimate.
    pub rounds: u64,
}

/// What `!analyze` finds.
#[derive(Debug, Clone)]
pub struct Analysis {
    /// The thread that it is about.
    pub thread: ThreadOrdinal,
    /// The system's id for its process.
    pub process_id: ProcessId,
    /// The system's id for it.
    pub thread_id: ThreadId,
    /// What kind of failure it is.
    pub class: FaultClass,
    /// The likely cause in one sentence.
    pub cause: String,
    /// The signal, if there was one.
    pub signal: Option<SignalWords>,
    /// Next instruction of the failing frame.
    pub instruction_at: Va,
    /// Its text as `u` shows it; empty if it could not be read.
    pub instruction: String,
    /// The access that failed, if one did.
    pub access: Option<FaultAccess>,
    /// What is where the access went.
    pub address: Option<AddressNote>,
    /// How the bad value came about, newest first.
    pub origin: Vec<OriginStep>,
    /// What was said of it.
    pub messages: Vec<ProgramMessage>,
    /// What the heap says of it.
    pub heap: Option<HeapFinding>,
    /// The cycle of a stack overflow.
    pub recursion: Option<Recursion>,
    /// The stack of the thread.
    pub stack: ThreadStack,
    /// Row of the stack that is to blame: the innermost that is the program's own.
    pub blamed: Option<usize>,
    /// Name of the bug: the same for the same bug, over runs and address space layouts.
    pub bucket: String,
    /// What could not be found out, in words.
    pub notes: Vec<String>,
}

impl Analysis {
    /// The frame that is to blame.
    pub fn blamed_frame(&self) -> Option<&StackFrame> {
        self.stack.frames.get(self.blamed?)
    }
}

impl std::fmt::Display for AccessKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            AccessKind::Read => "read",
            AccessKind::Write => "write",
            AccessKind::Execute => "execute",
        })
    }
}
