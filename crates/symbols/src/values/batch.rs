//! Reading in batches: learn what would be read, fetch it all at once, then read.

use std::collections::BTreeMap;

use outpost_base::{MemoryReader, Va, VaRange};

/// Gaps up to this many bytes between wanted ranges are fetched with them: one range of 64 KiB costs a target less than
/// two of 100 bytes.
const JOIN_GAP: u64 = 256;
/// Bytes held at most; beyond it nothing more is asked for, and reads of it fail.
const HELD_LIMIT: u64 = 64 << 20;

/// Memory that is asked first and fetched later, so that reading a thousand things costs a round trip or two.
///
/// Reads answer from what was put in; what is missing is noted and counts as unreadable for now. Whoever reads runs
/// once, lets everything in [`BatchMemory::wanted`] be fetched in one go, and runs again until nothing is wanted:
/// pointers found in the first round are followed in the second. [`BatchMemory::run`] is that loop.
///
/// ```
/// use outpost_base::{MemoryReader, Va};
/// use outpost_symbols::BatchMemory;
///
/// let mut round_trips = 0;
/// let (sum, _) = BatchMemory::run(8, |memory| {
///     (0..1000).filter_map(|at| memory.read_uint(Va(0x1000 + 16 * at), 4)).sum::<u64>()
/// }, |ranges| {
///     round_trips += 1;
///     ranges.iter().map(|range| vec![1; range.len() as usize]).collect()
/// });
/// assert_eq!((sum, round_trips), (1000 * 0x01010101, 1));
/// ```
#[derive(Debug, Default)]
pub struct BatchMemory {
    /// Bytes by address; ranges neither touch nor overlap.
    held: BTreeMap<u64, Vec<u8>>,
    held_bytes: u64,
    /// Ranges that were fetched and could not be read.
    unreadable: Vec<VaRange>,
    wanted: Vec<VaRange>,
}

impl BatchMemory {
    /// Nothing held.
    pub fn new() -> BatchMemory {
        BatchMemory::default()
    }

    /// Runs `read` until it wants nothing more, at most `rounds` times, and calls `fetch` between, with ranges that are
    /// sorted and apart. `fetch` gives for each range its leading bytes that were readable, in the same order.
    ///
    /// Gives what the last run gave, and the memory it ran on.
    pub fn run<T>(
        rounds: usize,
        mut read: impl FnMut(&mut BatchMemory) -> T,
        mut fetch: impl FnMut(&[VaRange]) -> Vec<Vec<u8>>,
    ) -> (T, BatchMemory) {
        let mut memory = BatchMemory::new();
        let mut left = rounds;
        loop {
            let result = read(&mut memory);
            let wanted = memory.take_wanted();
            left = left.saturating_sub(1);
            if wanted.is_empty() || left == 0 {
                return (result, memory);
            }
            let fetched = fetch(&wanted);
            let mut fetched = fetched.into_iter();
            for range in wanted {
                memory.put(range, fetched.next().unwrap_or_default());
            }
        }
    }

    /// Adds what `range` holds; `bytes` shorter than the range means that the rest is not readable.
    pub fn put(&mut self, range: VaRange, mut bytes: Vec<u8>) {
        bytes.truncate(usize::try_from(range.len()).unwrap_or(usize::MAX));
        let readable = VaRange::from_len(range.start, bytes.len() as u64);
        if readable.end < range.end {
            self.unreadable.push(VaRange { start: readable.end, end: range.end });
        }
        if bytes.is_empty() || self.held_bytes.saturating_add(bytes.len() as u64) > HELD_LIMIT {
            return;
        }
        // Joined with the ranges it touches, so that a read across the seam finds both sides in one piece.
        let (mut start, mut joined) = (range.start.0, bytes);
        let before = self.held.range(..start).next_back().map(|(at, held)| (*at, at.saturating_add(held.len() as u64)));
        if let Some((at, end)) = before.filter(|(_, end)| *end >= start) {
            if end >= start.saturating_add(joined.len() as u64) {
                return;
            }
            if let Some(mut earlier) = self.held.remove(&at) {
                self.held_bytes -= earlier.len() as u64;
                earlier.truncate((start - at) as usize);
                earlier.append(&mut joined);
                (start, joined) = (at, earlier);
            }
        }
        loop {
            let end = start.saturating_add(joined.len() as u64);
            let next = self.held.range(start..=end).next().map(|(at, _)| *at);
            let Some(next) = next else { break };
            let Some(later) = self.held.remove(&next) else { break };
            self.held_bytes -= later.len() as u64;
            joined.extend_from_slice(later.get((end - next) as usize..).unwrap_or_default());
        }
        self.held_bytes += joined.len() as u64;
        self.held.insert(start, joined);
    }

    /// The ranges that reads missed since the last call: sorted, joined where they are near each other, and apart.
    pub fn take_wanted(&mut self) -> Vec<VaRange> {
        let mut wanted = std::mem::take(&mut self.wanted);
        wanted.sort_unstable();
        let mut joined: Vec<VaRange> = Vec::new();
        for range in wanted {
            match joined.last_mut() {
                Some(last) if range.start.0 <= last.end.0.saturating_add(JOIN_GAP) => {
                    last.end = last.end.max(range.end)
                }
                _ => joined.push(range),
            }
        }
        joined
    }

    /// Leading bytes at `at` that are held, at most `length`.
    fn held_at(&self, at: Va, length: usize) -> &[u8] {
        let Some((start, bytes)) = self.held.range(..=at.0).next_back() else { return &[] };
        let skip = usize::try_from(at.0 - start).unwrap_or(usize::MAX);
        let rest = bytes.get(skip..).unwrap_or_default();
        rest.get(..length).unwrap_or(rest)
    }
}

impl MemoryReader for BatchMemory {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        let held = self.held_at(at, buf.len());
        let count = held.len();
        if let Some(start) = buf.get_mut(..count) {
            start.copy_from_slice(held);
        }
        let missing = VaRange::from_len(at + count as u64, (buf.len() - count) as u64);
        let known_bad = self.unreadable.iter().any(|bad| bad.contains(missing.start));
        if !missing.is_empty() && !known_bad && self.held_bytes < HELD_LIMIT {
            self.wanted.push(missing);
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> VaRange {
        VaRange { start: Va(start), end: Va(end) }
    }

    #[test]
    fn what_was_put_is_read_whatever_way_it_came() {
        // Overlapping and nested pieces of one truth, in any order.
        let truth: Vec<u8> = (0..=255).collect();
        let pieces = [(10, 20), (30, 40), (15, 35), (0, 5), (5, 10), (12, 18), (40, 100), (90, 256), (0, 256)];
        let mut memory = BatchMemory::new();
        for (start, end) in pieces {
            memory.put(range(start, end), truth[start as usize..end as usize].to_vec());
            let mut buf = vec![0; (end - start) as usize];
            assert_eq!(memory.read(Va(start), &mut buf), buf.len(), "{start}..{end}");
            assert_eq!(buf, truth[start as usize..end as usize]);
        }
        assert_eq!(memory.held.len(), 1);
        assert!(memory.take_wanted().is_empty());
    }

    #[test]
    fn misses_are_joined_and_unreadable_memory_is_asked_for_once() {
        let mut memory = BatchMemory::new();
        for at in [0x5000, 0x1010, 0x1000] {
            assert_eq!(memory.read_u64(Va(at)), None);
        }
        assert_eq!(memory.take_wanted(), [range(0x1000, 0x1018), range(0x5000, 0x5008)]);
        memory.put(range(0x5000, 0x5008), vec![1, 2]);
        assert_eq!(memory.read_u64(Va(0x5000)), None);
        assert_eq!(memory.read_uint(Va(0x5000), 2), Some(0x201));
        assert!(memory.take_wanted().is_empty(), "the rest is known to be unreadable");
    }

    #[test]
    fn chains_take_a_round_for_each_link() {
        let fetch = |ranges: &[VaRange]| ranges.iter().map(|r| (r.start.0 + 8).to_le_bytes().to_vec()).collect();
        let (end, _) =
            BatchMemory::run(10, |memory| (0..3).try_fold(Va(0x1000), |at, _| memory.read_u64(at).map(Va)), fetch);
        assert_eq!(end, Some(Va(0x1018)));
    }
}
