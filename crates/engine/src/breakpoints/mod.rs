//! The user's breakpoints: numbers, places, what a hit does; and how they become the target's.

mod change;
mod events;
mod hits;
mod info;
mod inherit;
mod logs;
mod resolve;
mod table;

use outpost_base::Va;
use outpost_target::{BreakpointId, ConditionPlace, HardwareAccess, KillSafety};

use crate::{BreakpointNumber, ProcessOrdinal, ThreadOrdinal};

pub use logs::{Logged, LoggedHit};
pub(crate) use table::BreakpointTable;

/// What a breakpoint watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakpointAccess {
    /// Execution, by a changed instruction (`bp`, `bu`).
    Code,
    /// An access, by a debug register or what the target has in its place (`ba`).
    Hardware {
        /// Which.
        access: HardwareAccess,
        /// Bytes: 1 to [`MAX_WATCHED`](outpost_target::MAX_WATCHED); 1 for execution.
        len: u32,
    },
}

/// Where a breakpoint is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakpointPlace {
    /// At an address, for as long as its module is loaded.
    Address(Va),
    /// Where an expression leads: a symbol, a source line in grave accents, an address expression. It is evaluated
    /// again when modules are loaded; until it can be, the breakpoint is deferred.
    Expression(String),
}

/// How deep the stack must be for a hit to count; frames are counted as `k` shows them, inlined ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DepthLimit {
    /// Fewer frames than this (`/c`).
    Below(u32),
    /// More frames than this (`/C`).
    Above(u32),
}

/// What is written down of a hit, by a breakpoint that is logged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// The values, in the order in which they are told.
    pub arguments: Vec<LogArgumentRequest>,
    /// Why the target cannot do it all the same, for the user.
    pub hindrance: Option<String>,
}

/// One value of a hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogArgumentRequest {
    /// An expression of C++.
    pub expression: String,
    /// Its value is the address of a text, which is what is written down.
    pub is_text: bool,
}

/// Who writes hits down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LogPlace {
    /// Nobody: it stops, or nothing of it is shown.
    #[default]
    None,
    /// The target.
    Target,
    /// The debugger, by the commands at each stop.
    Debugger {
        /// Why not the target, for the user.
        because: String,
    },
}

/// A breakpoint a user wants.
#[derive(Debug, Clone, PartialEq, Eq)]
#[doc(alias = "AddBreakpoint2")]
pub struct BreakpointRequest {
    /// Its number; `None`: the lowest free one.
    pub number: Option<BreakpointNumber>,
    /// Where.
    pub place: BreakpointPlace,
    /// What it watches.
    pub access: BreakpointAccess,
    /// Only hits of this thread count.
    pub thread: Option<ThreadOrdinal>,
    /// A hit counts only if this expression is not 0.
    pub condition: Option<String>,
    /// A condition that the commands begin with: where it is 0 they would only go on, so that such a hit does not count.
    pub implied: Option<String>,
    /// A hit counts only at this depth of its thread's stack; the engine looks at each hit for it.
    pub depth: Option<DepthLimit>,
    /// Hits needed to stop, at least 1.
    pub passes: u64,
    /// Goes away when it stopped once (`/1`).
    pub one_shot: bool,
    /// Commands to run at a stop.
    pub commands: String,
    /// A hit that counts never stops: nobody is told but the count. What cannot be judged beside the target stops.
    pub auto_continue: bool,
    /// Keeps its expression even where that is evaluated at once (`bu`).
    pub symbolic: bool,
    /// Its commands do nothing but show these values and go on, so that the target can write them down without a stop.
    pub log: Option<LogRequest>,
    /// It is how an event is noticed: the code of its filter. Such a breakpoint is nobody's and not listed.
    pub event: Option<&'static str>,
}

/// One place of a breakpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakpointLocation {
    /// The target's number for it.
    pub id: BreakpointId,
    /// Where.
    pub address: Va,
    /// Hits counted there.
    pub hits: u64,
    /// Whether it outlives its server; `None` until the target has it.
    pub safety: Option<KillSafety>,
    /// Why not, or why the target refused it; empty if there is nothing to say.
    pub reason: String,
    /// Where its condition is looked at, as of [`Engine::refresh_breakpoints`](crate::Engine::refresh_breakpoints).
    pub condition: ConditionPlace,
    /// Why it watches by the protection of pages, and what has become of that; empty if it does not.
    pub by_pages: String,
}

/// A row of `bl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakpointInfo {
    /// Its number.
    pub number: BreakpointNumber,
    /// Its process.
    pub process: ProcessOrdinal,
    /// Whether hits count.
    pub enabled: bool,
    /// Its expression cannot be evaluated yet.
    pub deferred: bool,
    /// Whether it keeps its expression (`bu`).
    pub symbolic: bool,
    /// What it watches.
    pub access: BreakpointAccess,
    /// Where it is: several places for inlined copies, templates, constructors.
    pub locations: Vec<BreakpointLocation>,
    /// As the user gave it; empty for a plain address.
    pub expression: String,
    /// Only this thread.
    pub thread: Option<ThreadOrdinal>,
    /// Condition, empty if none.
    pub condition: String,
    /// The commands begin with a condition that is looked at before them.
    pub implies_condition: bool,
    /// Whether the conditions are evaluated beside the target, so that a false one costs no message.
    pub condition_on_target: bool,
    /// Why the debugger evaluates them at each hit; empty if it does not.
    pub condition_here: String,
    /// Depth of the stack at which hits count.
    pub depth: Option<DepthLimit>,
    /// Hits needed at first.
    pub passes: u64,
    /// Hits still needed; 1: the next stops.
    pub remaining: u64,
    /// Hits counted.
    pub hits: u64,
    /// Goes away when it stopped once.
    pub one_shot: bool,
    /// Commands to run at a stop.
    pub commands: String,
    /// Who writes its hits down.
    pub log: LogPlace,
}

impl BreakpointRequest {
    /// A plain breakpoint on code: `bp`.
    pub fn code(place: BreakpointPlace) -> BreakpointRequest {
        BreakpointRequest {
            number: None,
            place,
            access: BreakpointAccess::Code,
            thread: None,
            condition: None,
            implied: None,
            depth: None,
            passes: 1,
            one_shot: false,
            commands: String::new(),
            auto_continue: false,
            symbolic: false,
            log: None,
            event: None,
        }
    }

    /// What must not be 0 for a hit to count; `None`: every hit does.
    pub(super) fn whole_condition(&self) -> Option<String> {
        match (&self.condition, &self.implied) {
            (Some(condition), Some(implied)) => Some(format!("({condition}) && ({implied})")),
            (condition, implied) => condition.clone().or_else(|| implied.clone()),
        }
    }
}
