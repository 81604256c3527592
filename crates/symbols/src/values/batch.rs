//! Reading in batches: learn what would be read, fetch it all at once, then read.

use std::collections::{BTreeMap, BTreeSet};

use outpost_base::{MemoryReader, Va, VaRange};

/// Gaps up to this many bytes between wanted ranges are fetched with them: one range of 64 KiB costs a target less than
/// two of 100 bytes.
const JOIN_GAP: u64 = 256;
/// Read-ahead of one round, over all its ranges.
const READ_AHEAD_LIMIT: u64 = 1 << 20;
/// Pages are readable or not as a whole, on every architecture so far.
const PAGE_SIZE: u64 = 4096;
/// Bytes held at most; beyond it nothing more is asked for, and reads of it fail.
const HELD_LIMIT: u64 = 64 << 20;

/// Memory that is asked first and fetched later, so that reading a thousand things costs a round trip or two.
///
/// Reads answer from what was put in; what is missing is noted and counts as unreadable for now. Whoever reads runs
/// once, lets everything in `wanted` be fetched in one go, and runs again until nothing is wanted:
/// pointers found in the first round are followed in the second. [`BatchMemory::run`] is that loop.
///
/// ```
/// use outpost_base::{MemoryReader, Va};
/// use outpost_symbols::BatchMemory;
///
/// let mut round_trips = 0;
/// let sum = BatchMemory::new().run(8, |memory| {
///     (0..1000).filter_map(|at| memory.read_uint(Va(0x1000 + 16 * at), 4)).sum::<u64>()
/// }, |ranges| {
///     round_trips += 1;
///     ranges.iter().map(|range| vec![1; range.len() as usize]).collect()
/// });
/// assert_eq!((sum, round_trips), (1000 * 0x01010101, 1));
/// ```
#[derive(Default)]
pub struct BatchMemory<'a> {
    /// Memory that costs nothing to read, and holds only a part.
    known: Option<Box<dyn MemoryReader + 'a>>,
    /// Bytes by address; ranges neither touch nor overlap.
    held: BTreeMap<u64, Vec<u8>>,
    held_bytes: u64,
    /// Ranges that were fetched and could not be read.
    unreadable: Vec<VaRange>,
    wanted: Vec<VaRange>,
    read_ahead: u64,
}

impl<'a> BatchMemory<'a> {
    /// Nothing held.
    pub fn new() -> BatchMemory<'a> {
        BatchMemory::default()
    }

    /// Nothing held; what is fetched in [`BatchMemory::run`] is fetched with up to `bytes` around it.
    ///
    /// For trees and lists, whose nodes tell one round at a time where the next are: an allocator lays them close
    /// to each other, so with 64 KiB a tree of 1,000 small nodes takes a round or two and not ten.
    pub fn with_read_ahead(bytes: u64) -> BatchMemory<'a> {
        BatchMemory { read_ahead: bytes, ..BatchMemory::default() }
    }

    /// Takes what `known` can read from there, asking it first, and fetches only the rest: what came with a stop is not
    /// fetched again, nor is anything around it.
    pub fn over(self, known: impl MemoryReader + 'a) -> BatchMemory<'a> {
        BatchMemory { known: Some(Box::new(known)), ..self }
    }

    /// Runs `read` until it wants nothing more, at most `rounds` times, and calls `fetch` between, with ranges that are
    /// sorted and apart. `fetch` gives for each range its leading bytes that were readable, in the same order.
    ///
    /// Gives what the last run gave.
    pub fn run<T>(
        &mut self,
        rounds: usize,
        mut read: impl FnMut(&mut BatchMemory<'a>) -> T,
        mut fetch: impl FnMut(&[VaRange]) -> Vec<Vec<u8>>,
    ) -> T {
        let mut left = rounds;
        loop {
            let result = read(self);
            let wanted = self.take_wanted();
            left = left.saturating_sub(1);
            if wanted.is_empty() || left == 0 {
                return result;
            }
            let ranges = self.ahead_of(&wanted);
            let mut fetched = fetch(&ranges).into_iter();
            for range in ranges {
                self.put(range, fetched.next().unwrap_or_default());
            }
        }
    }

    /// `wanted` in whole pages, with the pages around. Those around are ranges of their own: a range is read from its
    /// start up to the first unreadable page, and none that is wanted may be lost that way.
    fn ahead_of(&self, wanted: &[VaRange]) -> Vec<VaRange> {
        let share = READ_AHEAD_LIMIT / 2 / (wanted.len() as u64).max(1);
        let around = self.read_ahead.min(share) / PAGE_SIZE;
        if around == 0 {
            return wanted.to_vec();
        }
        let whole = |range: &VaRange| (range.start.0 / PAGE_SIZE, range.end.0.div_ceil(PAGE_SIZE));
        let mut pages = BTreeSet::new();
        for (first, end) in wanted.iter().map(whole) {
            pages.extend(first.saturating_sub(around)..first);
            pages.extend(end..end.saturating_add(around).min(u64::MAX / PAGE_SIZE));
        }
        let mut ranges: Vec<VaRange> = Vec::new();
        for (first, end) in wanted.iter().map(whole) {
            pages.retain(|page| !(first..end).contains(page));
            let range = VaRange { start: Va(first * PAGE_SIZE), end: Va(end.saturating_mul(PAGE_SIZE)) };
            match ranges.last_mut() {
                Some(last) if range.start < last.end => last.end = last.end.max(range.end),
                _ => ranges.push(range),
            }
        }
        pages.retain(|page| self.held_at(Va(page * PAGE_SIZE), 1).is_empty());
        ranges.extend(pages.into_iter().map(|page| VaRange::from_len(Va(page * PAGE_SIZE), PAGE_SIZE)));
        ranges.sort_unstable();
        ranges
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
                Some(last) if range.start < last.end || near(last.end, range.start) => {
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

/// Whether one range that reaches from before `end` to after `start` is as good as two. Not across pages: if the first
/// were unreadable, the second would be lost with it.
fn near(end: Va, start: Va) -> bool {
    let last = Va(end.0.saturating_sub(1));
    start.0 <= end.0.saturating_add(JOIN_GAP) && last.align_down(PAGE_SIZE) == start.align_down(PAGE_SIZE)
}

impl MemoryReader for BatchMemory<'_> {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        // The known memory first, so that it learns what is read.
        let mut count = self.known.as_mut().map_or(0, |known| known.read(at, buf));
        if let Some(rest) = buf.get_mut(count..) {
            let held = self.held_at(at + count as u64, rest.len());
            rest.iter_mut().zip(held).for_each(|(to, from)| *to = *from);
            count += held.len();
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
    fn what_is_known_is_not_fetched_and_nothing_around_it() {
        let known = outpost_base::SliceMemory { start: Va(0x1000), bytes: &0x5000_u64.to_le_bytes() };
        let mut asked = Vec::new();
        let found = BatchMemory::with_read_ahead(4096).over(known).run(
            10,
            |memory| memory.read_u64(Va(0x1000)).and_then(|at| memory.read_u64(Va(at))),
            |ranges| {
                asked.extend_from_slice(ranges);
                ranges.iter().map(|range| vec![7; range.len() as usize]).collect()
            },
        );
        assert_eq!(found, Some(0x0707_0707_0707_0707));
        assert_eq!(asked, [range(0x4000, 0x5000), range(0x5000, 0x6000), range(0x6000, 0x7000)]);
    }

    #[test]
    fn chains_take_a_round_for_each_link() {
        let fetch = |ranges: &[VaRange]| ranges.iter().map(|r| (r.start.0 + 8).to_le_bytes().to_vec()).collect();
        let follow = |memory: &mut BatchMemory| (0..3).try_fold(Va(0x1000), |at, _| memory.read_u64(at).map(Va));
        assert_eq!(BatchMemory::new().run(10, follow, fetch), Some(Va(0x1018)));
        assert_eq!(BatchMemory::new().run(2, follow, fetch), None, "rounds are bounded");
    }

    #[test]
    fn read_ahead_stops_at_unreadable_memory_and_covers_the_neighbours() {
        // Two readable pages with nothing around; a list goes back and forth in them.
        let mut bytes = vec![0u8; 0x2000];
        let links = [0x10800, 0x10010, 0x11ff8, 0x10400, 0];
        for pair in links.windows(2) {
            let at = pair[0] - 0x10000;
            bytes[at..at + 8].copy_from_slice(&(pair[1] as u64).to_le_bytes());
        }
        let mut rounds = 0;
        let mut memory = BatchMemory::with_read_ahead(64 << 10);
        let last = memory.run(
            10,
            |memory| (0..4).try_fold(Va(0x10800), |at, _| memory.read_u64(at).map(Va)),
            |ranges| {
                rounds += 1;
                let one = |range: &VaRange| {
                    let mut reader = outpost_base::SliceMemory { start: Va(0x10000), bytes: &bytes };
                    let mut buf = vec![0; range.len() as usize];
                    let count = reader.read(range.start, &mut buf);
                    buf.truncate(count);
                    buf
                };
                ranges.iter().map(one).collect()
            },
        );
        assert_eq!((last, rounds), (Some(Va(0)), 1));
    }
}
