//! Memory that jump pads share with the tracer: what hits wrote down, and what pads count. [`jump_data`] has the layout.
//!
//! All of its state is in the debuggee, and what the program may have done to it is checked: at worst records are lost.

use outpost_base::{Va, VaRange};
use outpost_target::jump_data::{
    self, CAPACITY, CELLS_LEN, DROPPED, HEAD, LONGEST, PADS, PASSES, RECORDS, TAIL, THREAD, TOLD, cells_of, read_header,
};
use outpost_target::{BreakpointId, LogPlan, LogRecord, Region};

use super::installed::{Installed, NotSafe, map};
use crate::journal::{Journal, RegionKind};
use crate::memory::ProcessMemory;
use crate::remote_call::Caller;

/// Whose records a pad writes, and what they look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PadLog {
    pub(crate) id: BreakpointId,
    pub(crate) plan: LogPlan,
}

/// What pads have written since the last time.
#[derive(Debug, Default)]
pub(crate) struct Drained {
    /// Oldest first.
    pub(crate) records: Vec<LogRecord>,
    /// Records for which there was no room.
    pub(crate) dropped: Vec<(BreakpointId, u64)>,
    /// For each pad with words, its number and how many hits still pass there.
    pub(crate) passes: Vec<(u64, u64)>,
    /// How many bytes of the ring were in use.
    pub(crate) used: u64,
}

impl Installed {
    /// The memory that pads share with us, which is mapped if it is not yet.
    pub(super) fn data_for(
        &mut self,
        caller: &Caller<'_>,
        regions: &[Region],
        journal: &mut dyn Journal,
    ) -> Result<Va, NotSafe> {
        if let Some(at) = self.data {
            return Ok(at);
        }
        if !journal.has_room() {
            return Err(NotSafe::Full);
        }
        let at = map(caller, regions, self.lifeline.at, u64::MAX, jump_data::LEN, RegionKind::Data, journal)?;
        self.data = Some(at);
        Ok(at)
    }

    /// Whether pads share memory with us.
    pub(crate) fn has_data(&self) -> bool {
        self.data.is_some()
    }

    /// Sets how many hits pass at a pad, and the thread pointer of the thread whose hits count there.
    pub(crate) fn set_cells(&self, pad: u64, passes: u64, thread: u64, memory: &ProcessMemory) -> bool {
        let Some(data) = self.data else { return false };
        let cells = data + cells_of(pad);
        // They are next to each other.
        let words = [passes.min(i64::MAX as u64).to_le_bytes(), thread.to_le_bytes()].concat();
        memory.write(cells + PASSES, &words) == words.len()
    }

    /// Takes what pads have written.
    pub(crate) fn drain(&self, memory: &ProcessMemory) -> Drained {
        let Some(data) = self.data else { return Drained::default() };
        let pads = self.jumps.iter().filter_map(|jump| jump.pad()).max().map_or(0, |last| last + 1).min(PADS);
        let mut words = vec![0; cells_of(pads) as usize];
        if memory.read(data, &mut words) != words.len() {
            return Drained::default();
        }
        let word = |at: u64| words.get(at as usize..).and_then(|rest| rest.first_chunk()).copied();
        let word = |at: u64| u64::from_le_bytes(word(at).unwrap_or_default());
        let (head, tail) = (word(HEAD), word(TAIL));
        let mut drained = Drained { used: head.wrapping_sub(tail), ..Drained::default() };
        if drained.used > CAPACITY {
            tracing::warn!(process = %memory.process(), "the program wrote over what its jump pads share with us");
            memory.write(data + TAIL, &head.to_le_bytes());
            memory.write(data + RECORDS, &vec![0; (CAPACITY + LONGEST) as usize]);
            drained.used = 0;
        } else if drained.used > 0 {
            self.take_records(data, tail, head, memory, &mut drained.records);
        }
        for jump in &self.jumps {
            let Some(pad) = jump.pad() else { continue };
            let cells = cells_of(pad);
            drained.passes.push((pad, (word(cells + PASSES) as i64).max(0) as u64));
            let (dropped, told) = (word(cells + DROPPED), word(cells + TOLD));
            if let Some(log) = jump.log().filter(|_| dropped != told) {
                drained.dropped.push((log.id, dropped.wrapping_sub(told)));
                memory.write(data + cells + TOLD, &dropped.to_le_bytes());
            }
        }
        drained
    }

    /// Takes records in a row, up to one that is not finished.
    fn take_records(&self, data: Va, mut tail: u64, head: u64, memory: &ProcessMemory, records: &mut Vec<LogRecord>) {
        while tail < head {
            let start = tail % CAPACITY;
            // The last record of a round may end behind the ring.
            let len = (head - tail).min(CAPACITY + LONGEST - start);
            let mut bytes = vec![0; len as usize];
            let got = memory.read(data + RECORDS + start, &mut bytes);
            bytes.truncate(got);
            let mut at = 0;
            while start + (at as u64) < CAPACITY
                && let Some((record, len)) = self.record(&bytes[at..])
            {
                records.extend(record);
                at += len;
            }
            if at == 0 {
                return;
            }
            // Zeros first: whoever sees the new tail may write there at once.
            memory.write(data + RECORDS + start, &vec![0; at]);
            tail += at as u64;
            memory.write(data + TAIL, &tail.to_le_bytes());
        }
    }

    /// The record that `bytes` begin with, if it is finished, and its length.
    fn record(&self, bytes: &[u8]) -> Option<(Option<LogRecord>, usize)> {
        let (header, rest) = bytes.split_first_chunk()?;
        let (id, words) = read_header(u64::from_le_bytes(*header))?;
        let values = rest.get(..8 * usize::from(words))?;
        let id = BreakpointId(id);
        let log = self.jumps.iter().rev().find_map(|jump| jump.log().filter(|log| log.id == id));
        let log = log.filter(|log| log.plan.words() == words);
        Some((log.map(|log| log.plan.read(id, values)), 8 + values.len()))
    }

    /// In a copy that a fork made, what its parent's threads had written is nobody's.
    pub(crate) fn forget_records(&self, memory: &ProcessMemory) {
        let Some(data) = self.data else { return };
        let mut words = [0; TAIL as usize + 8];
        memory.read(data, &mut words);
        let word = |at: u64| u64::from_le_bytes(std::array::from_fn(|byte| words[at as usize + byte]));
        let (head, tail) = (word(HEAD), word(TAIL));
        if head != tail {
            memory.write(data + RECORDS, &vec![0; (CAPACITY + LONGEST) as usize]);
            memory.write(data + TAIL, &head.to_le_bytes());
        }
    }

    /// Where it is, if it is anywhere.
    pub(super) fn data_range(&self) -> Option<VaRange> {
        self.data.map(|at| VaRange::from_len(at, jump_data::LEN))
    }
}

const _: () = assert!(cells_of(PADS) <= RECORDS && CELLS_LEN == TOLD + 8 && THREAD == PASSES + 8);
