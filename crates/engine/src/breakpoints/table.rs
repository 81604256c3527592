//! What the engine keeps of breakpoints.

use std::collections::BTreeMap;
use std::rc::Rc;

use outpost_base::Va;
use outpost_target::condition::Condition;
use outpost_target::{BreakpointId, ConditionPlace, LogPlan};

use super::{BreakpointLocation, BreakpointRequest};
use crate::{BreakpointNumber, ProcessOrdinal, SystemOrdinal, Temporary, ThreadOrdinal};

/// Numbers from here on are of breakpoints that are not listed.
const HIDDEN: u32 = 1 << 31;

/// All breakpoints of all processes, and what the targets do not know of them yet.
pub(crate) struct BreakpointTable {
    pub(super) breakpoints: Vec<Breakpoint>,
    pub(super) temporaries: Vec<TemporaryBreakpoint>,
    /// Locations that a target still has and nobody wants.
    pub(super) orphans: Vec<(ProcessOrdinal, BreakpointId)>,
    next_id: u32,
    /// What decides about hits may become machine code in the debuggee.
    pub(super) jump_pads: bool,
    /// Whose hits are told by which number of the target's, of those that are gone, too: what was written down by then is
    /// told later.
    pub(super) logged: BTreeMap<BreakpointId, (BreakpointNumber, Rc<str>)>,
}

impl Default for BreakpointTable {
    fn default() -> BreakpointTable {
        BreakpointTable {
            breakpoints: Vec::new(),
            temporaries: Vec::new(),
            orphans: Vec::new(),
            next_id: 0,
            jump_pads: true,
            logged: BTreeMap::new(),
        }
    }
}

/// A user's breakpoint.
pub(super) struct Breakpoint {
    pub(super) number: BreakpointNumber,
    pub(super) process: ProcessOrdinal,
    pub(super) request: BreakpointRequest,
    pub(super) enabled: bool,
    pub(super) locations: Vec<Location>,
    pub(super) condition: CompiledCondition,
    /// Why the target does not write its hits down, though its commands do nothing else; empty if it does.
    pub(super) no_log: String,
    /// Hits counted since it was set or its passes were changed.
    pub(super) hits: u64,
    /// Its process ended by `.restart` and comes back.
    pub(super) awaits_restart: Option<SystemOrdinal>,
}

/// A breakpoint's condition, as far as it could be compiled.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum CompiledCondition {
    /// There is none.
    #[default]
    None,
    /// For the target: each location has its own code, since a variable may be elsewhere in each.
    Target,
    /// Evaluated by the engine at each hit.
    Here {
        /// Why, fit for the user.
        because: String,
    },
}

impl CompiledCondition {
    /// Whether the engine evaluates it.
    pub(super) fn is_here(&self) -> bool {
        matches!(self, CompiledCondition::Here { .. })
    }
}

/// A breakpoint's location with what the target knows of it.
pub(super) struct Location {
    pub(super) shown: BreakpointLocation,
    pub(super) state: LocationState,
    /// The condition as code for the target.
    pub(super) condition: Option<Condition>,
    /// What the target writes down of each hit.
    pub(super) log: Option<LogPlan>,
    /// Why its condition is no code that the debuggee could run.
    pub(super) no_jump: String,
}

impl Location {
    /// Notes where the target looks at the condition. Why not in the debuggee, we may know better.
    pub(super) fn note_condition(&mut self, place: ConditionPlace) {
        self.shown.condition = match place {
            ConditionPlace::Target { .. } if !self.no_jump.is_empty() => {
                ConditionPlace::Target { because: self.no_jump.clone() }
            }
            place => place,
        };
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LocationState {
    /// The target has to be told.
    Changed,
    /// The target has it.
    Set,
    /// The target refused it; it is tried again at the next change.
    Refused,
}

/// A breakpoint of `g`.
pub(super) struct TemporaryBreakpoint {
    pub(super) process: ProcessOrdinal,
    pub(super) id: BreakpointId,
    pub(super) at: Va,
    pub(super) hardware: bool,
    pub(super) thread: Option<ThreadOrdinal>,
    pub(super) is_set: bool,
    /// Why the target did not take it.
    pub(super) refused: Option<String>,
}

impl Breakpoint {
    /// An enabled one that has no locations yet.
    pub(super) fn new(number: BreakpointNumber, process: ProcessOrdinal, request: BreakpointRequest) -> Breakpoint {
        Breakpoint {
            number,
            process,
            request,
            enabled: true,
            locations: Vec::new(),
            condition: CompiledCondition::None,
            no_log: String::new(),
            hits: 0,
            awaits_restart: None,
        }
    }
}

impl Breakpoint {
    /// Whether there may be hits that the target passes over without a stop, so that a jump pad could.
    pub(super) fn has_quiet_hits(&self) -> bool {
        let judged_there = !self.condition.is_here();
        self.condition == CompiledCondition::Target
            || self.request.thread.is_some()
            || (self.request.passes > 1 && self.locations.len() == 1 && judged_there)
            || self.locations.iter().any(|location| location.log.is_some())
    }
}

impl BreakpointTable {
    pub(super) fn new_id(&mut self) -> BreakpointId {
        self.next_id += 1;
        BreakpointId(self.next_id)
    }

    /// The lowest number no breakpoint has.
    pub(super) fn free_number(&self) -> BreakpointNumber {
        let taken = |number: u32| self.breakpoints.iter().any(|known| known.number.0 == number);
        BreakpointNumber((0..).find(|&number| !taken(number)).unwrap_or(u32::MAX))
    }

    /// A number for a breakpoint that is not listed.
    pub(super) fn hidden_number(&self) -> BreakpointNumber {
        let taken = |number: u32| self.breakpoints.iter().any(|known| known.number.0 == number);
        BreakpointNumber((HIDDEN..).find(|&number| !taken(number)).unwrap_or(u32::MAX))
    }

    pub(super) fn find(&self, number: BreakpointNumber) -> Option<&Breakpoint> {
        self.breakpoints.iter().find(|known| known.number == number)
    }

    pub(super) fn find_mut(&mut self, number: BreakpointNumber) -> Option<&mut Breakpoint> {
        self.breakpoints.iter_mut().find(|known| known.number == number)
    }

    /// Whether a breakpoint of such a process waits for a module.
    pub(crate) fn has_deferred(&self, of: impl Fn(ProcessOrdinal) -> bool) -> bool {
        self.breakpoints.iter().any(|known| known.enabled && known.locations.is_empty() && of(known.process))
    }

    pub(crate) fn add_temporary(
        &mut self,
        process: ProcessOrdinal,
        temporary: &Temporary,
        thread: Option<ThreadOrdinal>,
    ) {
        let (id, at, hardware) = (self.new_id(), temporary.at, temporary.hardware);
        self.temporaries.push(TemporaryBreakpoint { process, id, at, hardware, thread, is_set: false, refused: None });
    }

    /// Why a temporary breakpoint was not taken, if one was not.
    pub(crate) fn refused_temporary(&self) -> Option<String> {
        self.temporaries.iter().find_map(|temporary| temporary.refused.clone())
    }

    /// Temporary breakpoints are over; the target is told with the next change.
    pub(crate) fn drop_temporaries(&mut self) {
        let set = self.temporaries.drain(..).filter(|temporary| temporary.is_set);
        self.orphans.extend(set.map(|temporary| (temporary.process, temporary.id)));
    }

    /// A process left: its breakpoints with it, but for those that wait for its restart.
    pub(crate) fn process_gone(&mut self, process: ProcessOrdinal) {
        self.breakpoints.retain(|known| known.process != process || known.awaits_restart.is_some());
        self.temporaries.retain(|known| known.process != process);
        self.orphans.retain(|(owner, _)| *owner != process);
    }

    /// The process is about to be ended and created again.
    pub(crate) fn keep_for_restart(&mut self, process: ProcessOrdinal, system: SystemOrdinal) {
        for known in self.breakpoints.iter_mut().filter(|known| known.process == process) {
            known.awaits_restart = Some(system);
            known.locations.clear();
        }
    }

    /// The process that breakpoints wait for is there.
    pub(crate) fn restarted(&mut self, process: ProcessOrdinal, system: SystemOrdinal) {
        for known in self.breakpoints.iter_mut().filter(|known| known.awaits_restart == Some(system)) {
            known.process = process;
            known.awaits_restart = None;
        }
    }

    /// A new image: the old sites are gone with the old address space, and with its modules what was set at addresses in
    /// them. Whatever is there now is no place that anyone asked for.
    pub(crate) fn process_execed(&mut self, process: ProcessOrdinal) {
        self.breakpoints.retain(|known| known.process != process || !known.request.place.is_address());
        for known in self.breakpoints.iter_mut().filter(|known| known.process == process) {
            known.locations.clear();
        }
        self.temporaries.retain(|known| known.process != process);
        self.orphans.retain(|(owner, _)| *owner != process);
    }
}
