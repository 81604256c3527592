//! Hits that are written down: from when they are counted to when the client is told.
//!
//! They are told many at a time: when there are enough, when the oldest has waited for [`LATEST`], and before anything else
//! that is told, so that a stop comes after the hits that came before it. What jump pads have written is looked for as often,
//! and whenever the order matters: when all is stopped for the client, before a hit that we write down ourselves, and before a
//! pad goes out of use or its process ends.

use std::time::{Duration, Instant};

use outpost_base::AddressSpaceId;
use outpost_target::jump_data::CAPACITY;
use outpost_target::{BreakpointId, Event, LogRecord};

use super::sites::Owner;
use crate::tracer::Tracer;

/// How long a record waits for others.
const LATEST: Duration = Duration::from_millis(10);
/// Bytes of records that are told at once.
const ENOUGH: usize = 64 << 10;
/// Bytes that are not exceeded by much, so that a flood goes in pieces.
const MOST: usize = 256 << 10;

/// Hits that were written down and not told yet.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    records: Vec<LogRecord>,
    size: usize,
    dropped: Vec<(BreakpointId, u64)>,
    /// When the oldest of them is to be told.
    due: Option<Instant>,
    /// When pads are looked at, while there are some that write hits down.
    look: Option<Instant>,
}

impl Logs {
    /// Takes a record; they come in the order of the hits.
    pub(super) fn push(&mut self, record: LogRecord) {
        self.size += record.size();
        self.records.push(record);
        self.due.get_or_insert_with(|| Instant::now() + LATEST);
    }

    fn drop_some(&mut self, id: BreakpointId, count: u64) {
        match self.dropped.iter_mut().find(|(known, _)| *known == id) {
            Some((_, dropped)) => *dropped += count,
            None => self.dropped.push((id, count)),
        }
        self.due.get_or_insert_with(|| Instant::now() + LATEST);
    }

    /// When something is to be told or, while threads run, looked for.
    pub(crate) fn due(&self, runs: bool) -> Option<Instant> {
        self.due.into_iter().chain(self.look.filter(|_| runs)).min()
    }

    /// Whether so many wait, or for so long, that they are to be told now.
    pub(crate) fn is_due(&self) -> bool {
        self.size >= ENOUGH || self.due.is_some_and(|due| Instant::now() >= due)
    }

    /// Whether it is time to look for what pads have written.
    pub(crate) fn is_to_look(&self) -> bool {
        self.look.is_some_and(|look| Instant::now() >= look)
    }

    /// The rings are to be looked at again, sooner where they are filled quickly: the last time `used` bytes were found.
    pub(super) fn look_again(&mut self, used: u64) {
        let after = if used > CAPACITY / 16 { LATEST / 10 } else { LATEST };
        let look = Instant::now() + after;
        self.look = Some(self.look.map_or(look, |earlier| earlier.min(look)));
    }

    /// As many as are told at once; the rest is due.
    fn take(&mut self) -> Option<Event> {
        self.due = None;
        let (mut count, mut size) = (0, 0);
        while size < MOST
            && let Some(record) = self.records.get(count)
        {
            size += record.size();
            count += 1;
        }
        let rest = self.records.split_off(count);
        let records = std::mem::replace(&mut self.records, rest);
        self.size = self.size.saturating_sub(size);
        if !self.records.is_empty() {
            self.due = Some(Instant::now());
        }
        // What was dropped comes after what was not.
        let dropped = if self.records.is_empty() { std::mem::take(&mut self.dropped) } else { Vec::new() };
        (!records.is_empty() || !dropped.is_empty()).then_some(Event::Logged { records, dropped })
    }
}

impl Tracer {
    /// All that was written down and not told yet, or as much of it as is told at once.
    pub(crate) fn take_logged(&mut self) -> Option<Event> {
        self.logs.take()
    }

    /// Takes what the pads of all processes have written.
    pub(crate) fn drain_all_logs(&mut self) {
        self.logs.look = None;
        let spaces: Vec<AddressSpaceId> = self.spaces.keys().copied().collect();
        spaces.into_iter().for_each(|space| self.drain_logs(space));
    }

    /// Takes what the pads of an address space have written since the last time: hits that were written down or dropped, and
    /// those that have passed.
    pub(crate) fn drain_logs(&mut self, space_id: AddressSpaceId) {
        let Some(space) = self.spaces.get(&space_id) else { return };
        let Some(lifeline) = space.protection.lifeline().filter(|lifeline| lifeline.has_data()) else { return };
        let drained = lifeline.drain(&space.memory);
        let planted = space.sites.jumps().filter_map(|(at, covered)| {
            let jump = lifeline.jump_of(at, covered.jump)?;
            let owner = space.sites.get(at)?.owners.iter().find_map(|owner| match owner {
                Owner::Client(id) => Some(*id),
                _ => None,
            })?;
            Some((owner, jump.pad()?, jump.log().is_some()))
        });
        let planted: Vec<(BreakpointId, u64, bool)> = planted.collect();
        for (id, pad, _) in &planted {
            let left = drained.passes.iter().find(|(known, _)| known == pad).map(|(_, left)| *left);
            if let Some((breakpoint, left)) = self.breakpoints.get_mut(*id).zip(left)
                && left < breakpoint.to_skip
            {
                breakpoint.hits += breakpoint.to_skip - left;
                breakpoint.to_skip = left;
            }
        }
        for record in drained.records {
            if let Some(breakpoint) = self.breakpoints.get_mut(record.breakpoint) {
                breakpoint.hits += 1;
            }
            self.logs.push(record);
        }
        for (id, count) in drained.dropped {
            if let Some(breakpoint) = self.breakpoints.get_mut(id) {
                breakpoint.hits += count;
            }
            self.logs.drop_some(id, count);
        }
        if planted.iter().any(|(_, _, logs)| *logs) {
            self.logs.look_again(drained.used);
        }
    }
}
