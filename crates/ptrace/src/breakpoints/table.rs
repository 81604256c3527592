//! The client's breakpoints with their counts.

use std::collections::BTreeMap;

use outpost_base::{AddressSpaceId, ThreadId};
use outpost_target::{BreakpointId, BreakpointSpec, StopReason};

/// A breakpoint as the client asked for it.
#[derive(Debug)]
pub(crate) struct Breakpoint {
    pub(crate) spec: BreakpointSpec,
    /// Hits counted so far.
    pub(crate) hits: u64,
    /// Hits the client has been told of.
    told: u64,
    /// Hits that still pass.
    pub(crate) to_skip: u64,
    /// Threads whose last hit counted since its condition could not be evaluated.
    undecided: Vec<ThreadId>,
}

impl Breakpoint {
    /// Notes whether the condition of a thread's hit could be evaluated.
    pub(crate) fn note_undecided(&mut self, thread: ThreadId, is_undecided: bool) {
        self.undecided.retain(|other| *other != thread);
        if is_undecided {
            self.undecided.push(thread);
        }
    }
}

/// All of them, by the client's number.
#[derive(Debug, Default)]
pub(crate) struct Table {
    breakpoints: BTreeMap<BreakpointId, Breakpoint>,
    /// Hits of removed ones that the client has not been told of.
    departed: Vec<(BreakpointId, u64)>,
}

impl Table {
    pub(crate) fn get(&self, id: BreakpointId) -> Option<&Breakpoint> {
        self.breakpoints.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: BreakpointId) -> Option<&mut Breakpoint> {
        self.breakpoints.get_mut(&id)
    }

    /// Adds one, with no hits yet.
    pub(crate) fn insert(&mut self, spec: BreakpointSpec) {
        let (id, to_skip) = (spec.id, spec.skip);
        self.breakpoints.insert(id, Breakpoint { spec, hits: 0, told: 0, to_skip, undecided: Vec::new() });
    }

    pub(crate) fn remove(&mut self, id: BreakpointId) {
        if let Some(gone) = self.breakpoints.remove(&id).filter(|gone| gone.hits != gone.told) {
            self.departed.push((id, gone.hits - gone.told));
        }
    }

    /// Numbers of those in an address space.
    pub(crate) fn in_space(&self, space: AddressSpaceId) -> Vec<BreakpointId> {
        let all = self.breakpoints.iter();
        all.filter(|(_, breakpoint)| breakpoint.spec.space == space).map(|(id, _)| *id).collect()
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Breakpoint> {
        self.breakpoints.values()
    }

    /// Those of a thread's stop that stop it since their conditions could not be evaluated.
    pub(crate) fn take_undecided(&mut self, thread: ThreadId, reason: &StopReason) -> Vec<BreakpointId> {
        let StopReason::Breakpoint { ids } = reason else { return Vec::new() };
        let mut found = Vec::new();
        for id in ids {
            let Some(breakpoint) = self.breakpoints.get_mut(id) else { continue };
            if breakpoint.undecided.contains(&thread) {
                breakpoint.note_undecided(thread, false);
                found.push(*id);
            }
        }
        found
    }

    /// Hits since the last time this was asked.
    pub(crate) fn take_new_hits(&mut self) -> Vec<(BreakpointId, u64)> {
        let mut new = std::mem::take(&mut self.departed);
        for (id, breakpoint) in &mut self.breakpoints {
            if breakpoint.hits != breakpoint.told {
                new.push((*id, breakpoint.hits - breakpoint.told));
                breakpoint.told = breakpoint.hits;
            }
        }
        new
    }
}
