//! What can go wrong in the engine.

use outpost_base::Va;
use outpost_symbols::SymbolsError;
use outpost_target::{Severity, TargetError};

use crate::{BreakpointNumber, ProcessOrdinal, SystemOrdinal, ThreadOrdinal};

/// A failed operation. Display texts are fragments that fit "cannot do this: {error}".
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The target refused, or is gone; see [`TargetError::severity`].
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Symbols could not be read.
    #[error(transparent)]
    Symbols(#[from] SymbolsError),
    /// There is nothing to debug.
    #[error("no debuggee")]
    NoDebuggee,
    /// The operation needs a stopped debuggee and this one runs.
    #[error("the debuggee is running")]
    Running,
    /// The operation needs a running debuggee and nothing runs.
    #[error("no debuggee is running")]
    NotRunning,
    /// No system of that ordinal.
    #[error("no system {ordinal}")]
    NoSystem {
        /// The ordinal asked for.
        ordinal: SystemOrdinal,
    },
    /// No process of that ordinal.
    #[error("no process {ordinal}")]
    NoProcess {
        /// The ordinal asked for.
        ordinal: ProcessOrdinal,
    },
    /// No thread of that ordinal.
    #[error("no thread {ordinal}")]
    NoThread {
        /// The ordinal asked for.
        ordinal: ThreadOrdinal,
    },
    /// No breakpoint of that number.
    #[error("no breakpoint {number}")]
    NoBreakpoint {
        /// The number asked for.
        number: BreakpointNumber,
    },
    /// The number is taken by another breakpoint.
    #[error("breakpoint {number} exists")]
    BreakpointExists {
        /// The number.
        number: BreakpointNumber,
    },
    /// The stack has no frame of that number.
    #[error("no frame {index:#x}; the stack has {count:#x} frames")]
    NoFrame {
        /// The number asked for.
        index: u32,
        /// Frames there are.
        count: u32,
    },
    /// No module of that name.
    #[error("no module {name}")]
    NoModule {
        /// The name asked for.
        name: String,
    },
    /// No symbol of that name in the modules searched.
    #[error("couldn't resolve '{name}'")]
    NoSymbol {
        /// The name asked for.
        name: String,
    },
    /// No code for a source line.
    #[error("no code for {file}:{line}")]
    NoLine {
        /// The file asked for.
        file: String,
        /// The line asked for.
        line: u32,
    },
    /// No source file of that name was found; `looked` says where it was looked for.
    #[error("source file {path} not found{}", display_looked(looked))]
    NoSource {
        /// Path as debug info or user gave it.
        path: String,
        /// Places tried.
        looked: Vec<String>,
    },
    /// The architecture has no register, and the engine no pseudo-register, of that name.
    #[error("no register '{name}'")]
    NoRegister {
        /// The name asked for.
        name: String,
    },
    /// The register exists but has no value here.
    #[error("register {name} is not available{}", display_reason(reason))]
    RegisterUnavailable {
        /// Its name.
        name: String,
        /// Why, empty if that is all there is to say.
        reason: String,
    },
    /// Memory could not be read.
    #[error("memory access error at {at}")]
    Unreadable {
        /// First address that could not be read.
        at: Va,
    },
    /// An expression could not be evaluated.
    #[error("{reason} in '{text}'{}", display_position(*position))]
    Expression {
        /// The expression.
        text: String,
        /// Byte offset in it of what is wrong, if one place can be named.
        position: Option<usize>,
        /// What is wrong.
        reason: String,
    },
    /// The target cannot do this at all: a dump cannot run, an attached process cannot be restarted.
    #[error("{operation} is not supported on this target: {reason}")]
    Unsupported {
        /// The operation.
        operation: &'static str,
        /// Why not, for the user.
        reason: String,
    },
    /// The request makes no sense.
    #[error("{reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The user interrupted.
    #[error("interrupted")]
    Cancelled,
}

impl EngineError {
    /// How far the failure reaches.
    pub fn severity(&self) -> Severity {
        match self {
            EngineError::Target(error) => error.severity(),
            _ => Severity::Operation,
        }
    }
}

fn display_looked(looked: &[String]) -> String {
    if looked.is_empty() { String::new() } else { format!(" (looked for {})", looked.join(", ")) }
}

fn display_reason(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

fn display_position(position: Option<usize>) -> String {
    position.map(|at| format!(" at {}", at + 1)).unwrap_or_default()
}
