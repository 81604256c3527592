//! What front ends ask for: going, stepping, going up.

use outpost_base::Va;

use crate::ThreadOrdinal;

/// Which threads run; the others are held meanwhile. Frozen threads never run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RunThreads {
    /// All.
    #[default]
    All,
    /// Only these (`~N g`).
    Only(Vec<ThreadOrdinal>),
}

/// What happens to the signal that the event thread stopped for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SignalChoice {
    /// What its filter says (`g`).
    #[default]
    ByFilter,
    /// It is swallowed (`gh`).
    Handled,
    /// It is delivered (`gn`).
    NotHandled,
}

/// How to resume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Which threads.
    pub threads: RunThreads,
    /// What happens to the signal.
    pub signal: SignalChoice,
    /// Where the current thread goes on instead of where it is (`g = addr`).
    pub at: Option<Va>,
}

/// A breakpoint that lives for one resumption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Temporary {
    /// Where.
    pub at: Va,
    /// By a debug register (`ga`).
    pub hardware: bool,
    /// Only for the current thread.
    pub current_thread_only: bool,
}

/// Whether calls are entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// `t`.
    Into,
    /// `p`.
    Over,
}

/// What one step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepUnit {
    /// An instruction.
    Instruction,
    /// A source line (`l+t`); an instruction where there is no line.
    Line,
}

/// How many steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepUntil {
    /// So many, at least 1.
    Count(u64),
    /// Until control is at an address (`pa`, `ta`).
    Address(Va),
    /// Until control is at an address with the stack pointer no lower than `min_sp`: in the caller, if these are the frame's
    /// return address and CFA (`wt`).
    Frame {
        /// The address.
        at: Va,
        /// The lowest stack pointer.
        min_sp: Va,
    },
    /// To the next call (`pc`, `tc`), if this is 1, else to so many later, at least 1; as the following.
    Call(u64),
    /// To a return (`pt`, `tt`).
    Return(u64),
    /// To a call or return (`pct`, `tct`).
    CallOrReturn(u64),
    /// To a branch of any kind, system calls included (`ph`, `th`).
    Branch(u64),
}

/// A step, of the current thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRequest {
    /// Whether calls are entered.
    pub kind: StepKind,
    /// What one step is.
    pub unit: StepUnit,
    /// How many.
    pub until: StepUntil,
    /// Whether each step on the way is an event ([`crate::EngineEvent::Stepped`]).
    pub show_each: bool,
    /// How to resume.
    pub options: RunOptions,
}

/// What a function returned to the frame that `gu` went up to.
#[derive(Debug, Clone)]
pub struct ReturnedValue {
    /// The function's name.
    pub function: String,
    /// The type it returns, as its language spells it; empty if unknown.
    pub type_name: String,
    /// The integer return register.
    pub register: u64,
    /// The value by its type; `None` if the type is unknown or returned in a way that cannot be followed.
    pub value: Option<outpost_symbols::Value>,
}
