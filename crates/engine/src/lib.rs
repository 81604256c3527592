//! The debugging engine: everything that is debugging and no I/O of its own.
//!
//! Given targets ([`outpost_target::Target`]) it gives an [`Engine`]: systems, processes and threads with ordinals,
//! memory cached for the length of a stop, registers by name, symbols and source lines, stacks with inline frames,
//! variables, breakpoints that wait for their modules, running and stepping, events with their filters. Front ends see
//! plain data with public fields.
//!
//! It is synchronous, on one thread, and names no socket, no `/proc` path and no ptrace request: a live process, one at
//! the far end of a wire and a dump are the same to it, except for what their targets say they cannot do. The language
//! of commands and how things look is left to the crates above.

mod acquire;
pub mod assembly;
mod breakpoints;
mod call;
pub mod code;
pub mod disassembly;
mod engine;
mod error;
mod events;
pub mod expr;
mod interrupt;
mod memory;
pub mod model;
mod modules;
pub mod natvis;
mod ordinals;
mod process;
mod registers;
mod run;
mod safety;
mod scope;
mod select;
mod sources;
mod stack;
mod summary;
mod symbols;
mod system;
mod terminal;
pub mod triage;
mod variables;

pub use acquire::Leave;
pub use breakpoints::{
    BreakpointAccess, BreakpointInfo, BreakpointLocation, BreakpointPlace, BreakpointRequest, DepthLimit,
    LogArgumentRequest, LogPlace, LogRequest, Logged, LoggedHit,
};
pub use call::CallOptions;
pub use engine::Engine;
pub use error::EngineError;
pub use events::{
    BreakStatus, BreakpointHit, Chance, EngineEvent, EventFilter, EventFilters, HANDLING_CODES, LastEvent, Notice,
    Stop, TracedStep, Wait, describe_event, signal_code_name, signal_name, signal_number, syscall_error_name,
    syscall_name, syscall_numbers,
};
pub use interrupt::Interrupter;
pub use memory::ProcessMemory;
pub use ordinals::{BreakpointNumber, ProcessOrdinal, SystemOrdinal, ThreadOrdinal};
pub use outpost_target as target;
pub use outpost_unwind::{FrameRegisters, FrameTrust, saved_context};
pub use registers::{PSEUDO_REGISTERS, RecentValues, SavedUserRegisters};
pub use run::{
    ReturnedValue, RunOptions, RunThreads, SignalChoice, StepKind, StepRequest, StepUnit, StepUntil, Temporary,
};
pub use sources::{LearntSourceMap, SourceFile, SourceGrounds, SourceProof, SourceRule, TreeReason};
pub use stack::{DEFAULT_FRAMES, FrameKind, StackFrame, ThreadStack};
pub use summary::{EngineState, ModuleSummary, ProcessSummary, SymbolState, SystemSummary, ThreadSummary};
pub use symbols::{
    DiePlace, Dies, FunctionAt, ImageChange, ImageCheck, ImageHeaders, ImageSection, ImageSegment, LinePlace,
    NamedAddress, ReloadOptions, SourceLocation, SymbolAt, SymbolProgress, die_section,
};
pub use variables::{FrameVariable, ThreadKey, ThreadLocalBlock, ThreadStorage};

/// Types and values of debuggees, as this crate's interface gives them.
pub mod values {
    pub use outpost_symbols::{
        ArrayBound, BaseEncoding, BatchMemory, BitField, Child, DieAttribute, DieRef, DieSection, DieText, ElementKey,
        FieldRole, FieldRow, Language, NumberFormat, Scalar, SymbolKind, TextOptions, TextView, Type, TypeKind,
        TypeTable, Value, ValueLocation, VariableKind, View, ViewKind, ViewLimits, Wildcard, declaration, demangle,
        field_rows,
    };
}
