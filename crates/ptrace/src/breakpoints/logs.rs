//! Hits that are written down: from when they are counted to when the client is told.
//!
//! They are told many at a time: when there are enough, when the oldest has waited for [`LATEST`], and before anything else
//! that is told, so that a stop comes after the hits that came before it.

use std::time::{Duration, Instant};

use outpost_target::{BreakpointId, Event, LogRecord};

use crate::tracer::Tracer;

/// How long a record waits for others.
const LATEST: Duration = Duration::from_millis(10);
/// Bytes of records that are told at once.
const ENOUGH: usize = 64 << 10;

/// Hits that were written down and not told yet.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    records: Vec<LogRecord>,
    size: usize,
    dropped: Vec<(BreakpointId, u64)>,
    /// When the oldest of them is to be told.
    due: Option<Instant>,
}

impl Logs {
    /// Takes a record; they come in the order of the hits.
    pub(super) fn push(&mut self, record: LogRecord) {
        self.size += record.size();
        self.records.push(record);
        self.due.get_or_insert_with(|| Instant::now() + LATEST);
    }

    /// When the next are to be told.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether so many wait that they are to be told now.
    pub(crate) fn is_due(&self) -> bool {
        self.size >= ENOUGH || self.due.is_some_and(|due| Instant::now() >= due)
    }

    fn take(&mut self) -> Option<Event> {
        let Logs { records, dropped, .. } = std::mem::take(self);
        (!records.is_empty() || !dropped.is_empty()).then_some(Event::Logged { records, dropped })
    }
}

impl Tracer {
    /// All that was written down and not told yet.
    pub(crate) fn take_logged(&mut self) -> Option<Event> {
        self.logs.take()
    }
}
