//! The client's breakpoints with their counts.

use std::collections::BTreeMap;

use outpost_base::AddressSpaceId;
use outpost_target::{BreakpointId, BreakpointSpec};

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
        self.breakpoints.insert(id, Breakpoint { spec, hits: 0, told: 0, to_skip });
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
