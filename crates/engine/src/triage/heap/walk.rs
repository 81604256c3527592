//! Going through a heap from chunk to chunk.

use std::collections::HashMap;

use outpost_base::{Va, VaRange};
use outpost_target::Region;

use super::find::HEAP_ALIGNMENT;
use super::layout::Layout;
use super::{
    ALIGNMENT, Chunk, ChunkState, FLAGS, FreeList, HEADER, HeapProblem, MAPPED, OTHER_ARENA, PREVIOUS_IN_USE, SMALLEST,
    word,
};
use crate::{EngineError, ProcessMemory};

/// Heaps of one arena, and bytes of one heap, that are followed.
const HEAPS: usize = 4096;
const LARGEST: u64 = 64 << 30;
/// Damaged places in one heap behind which the way is looked for again.
const REPAIRS: usize = 64;
/// Ways that are followed at once while it is looked for.
const WAYS: usize = 1 << 16;

/// A heap's range, from first chunk to end.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeapRange {
    pub(super) range: VaRange,
    /// The arena's rest, if it lies in this heap.
    pub(super) top: Option<Va>,
    pub(super) is_main: bool,
}

/// The heaps that an arena's chunks lie in.
pub(super) fn heaps_of(
    arena: Va,
    break_start: Option<Va>,
    is_main: bool,
    layout: &Layout,
    memory: &ProcessMemory,
    regions: &[Region],
) -> Vec<HeapRange> {
    let Some(top) = word(memory, arena + layout.top).map(Va) else { return Vec::new() };
    if is_main {
        return main_heaps(arena, top, break_start, regions);
    }
    let mut found: Vec<HeapRange> = Vec::new();
    let mut head = Va(top.0 & !(HEAP_ALIGNMENT - 1));
    while head.0 != 0
        && found.len() < HEAPS
        && found.iter().all(|known| known.range.start.0 & !(HEAP_ALIGNMENT - 1) != head.0)
    {
        let is_first = arena > head && arena - head < HEAP_ALIGNMENT;
        // The arena lies in its first heap, behind the heap's own head.
        let start = if is_first { (arena + layout.arena).align_up(ALIGNMENT) } else { head + layout.heap_head };
        let size = word(memory, head + 16).filter(|size| *size <= HEAP_ALIGNMENT).unwrap_or(0);
        if word(memory, head) != Some(arena.0) || head + size <= start {
            break;
        }
        let range = VaRange { start, end: head + size };
        found.push(HeapRange { range, top: range.contains(top).then_some(top), is_main });
        if is_first {
            break;
        }
        head = Va(word(memory, head + 8).unwrap_or(0));
    }
    found
}

/// Where the program break began, and what the main arena mapped when the break could not be moved.
fn main_heaps(arena: Va, top: Va, break_start: Option<Va>, regions: &[Region]) -> Vec<HeapRange> {
    let around = |at: Va| {
        let first = regions.iter().position(|region| region.range.contains(at) && region.write && region.read)?;
        // A change of protection may have split it.
        let mut end = regions[first].range.end;
        for region in &regions[first + 1..] {
            if end > top || region.range.start != end || !region.write || region.inode != 0 {
                break;
            }
            end = region.range.end;
        }
        Some(VaRange { start: regions[first].range.start, end })
    };
    // An arena without memory has its own bins for a top.
    let Some(last) = around(top).filter(|range| !range.contains(arena)) else { return Vec::new() };
    let heap = |range: VaRange| HeapRange { range, top: range.contains(top).then_some(top), is_main: true };
    let Some(start) = break_start.filter(|at| at.0 != 0) else { return vec![heap(last)] };
    let start = start.align_up(ALIGNMENT);
    match around(start) {
        Some(range) if range.contains(top) => vec![heap(VaRange { start, end: range.end })],
        Some(range) => vec![heap(VaRange { start, end: range.end }), heap(last)],
        None => vec![heap(last)],
    }
}

/// What a walk through one heap found.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) chunks: Vec<Chunk>,
    pub(super) problems: Vec<HeapProblem>,
    /// What lies between chunks and could not be followed.
    pub(super) gaps: Vec<VaRange>,
}

/// Bytes of a heap in pieces.
pub(super) trait Pieces {
    /// Hands over the bytes of a range in order until `take` answers `false`.
    fn read(&self, range: VaRange, take: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), EngineError>;
}

impl Pieces for ProcessMemory {
    fn read(&self, range: VaRange, take: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), EngineError> {
        // What was read ahead with others is at hand.
        if range.len() <= super::READ_AHEAD {
            let bytes = self.read_vec(range.start, range.len()).unwrap_or_default();
            if !bytes.is_empty() {
                take(&bytes);
                return Ok(());
            }
        }
        self.read_stream(range, take).map(drop)
    }
}

/// Goes through a heap. What is free is told by the chunk behind it; a size that cannot be ends the way, and where it goes
/// on is looked for: at the first chunk from which sizes lead to the arena's rest.
pub(super) fn walk(heap: &HeapRange, memory: &dyn Pieces) -> Result<Walked, EngineError> {
    let mut walked = Walked::default();
    let end = heap.range.end.min(heap.range.start + LARGEST);
    let mut start = heap.range.start;
    for _ in 0..REPAIRS {
        let mut walker = Walker { next: start, end, heap: *heap, chunks: Vec::new(), stop: None };
        let mut window = Window::new(start);
        memory.read(VaRange { start, end }, &mut |piece| {
            window.append(piece);
            walker.advance(&window);
            window.forget_before(walker.next);
            walker.stop.is_none()
        })?;
        let (at, stop) = (walker.next, walker.stop.take());
        let last = walker.chunks.last().copied();
        let is_begun = !walked.chunks.is_empty() || !walker.chunks.is_empty();
        walked.chunks.append(&mut walker.chunks);
        let Some(stop) = stop else { break };
        let again = match (&stop, heap.top) {
            (StopKind::Top | StopKind::End, _) | (_, None) => None,
            (_, Some(top)) if top == at => None,
            // Nothing but the allocator's own mark is before the break was moved by somebody else.
            (StopKind::Mark, Some(top)) => way_to(top, VaRange { start: at, end }, heap, memory)?,
            // The size of the chunk before it may be what is wrong.
            (StopKind::Impossible(_), Some(top)) => {
                let from = last.map_or(start, |last| last.at) + ALIGNMENT;
                way_to(top, VaRange { start: from, end }, heap, memory)?
            }
        };
        if let StopKind::Impossible(header) = stop
            && (is_begun || again.is_none())
        {
            walked.problems.push(impossible(at, header, last, again));
            if let (Some(again), Some(last)) = (again.filter(|again| *again < at), walked.chunks.last_mut()) {
                last.size = again - last.at;
            }
        }
        let Some(again) = again else {
            if !matches!(stop, StopKind::Top | StopKind::End) && at + SMALLEST < end && heap.top.is_some() {
                walked.gaps.push(VaRange { start: at, end });
            }
            break;
        };
        if is_begun && again > at {
            walked.gaps.push(VaRange { start: at, end: again });
        }
        start = again;
    }
    walked.chunks.sort_by_key(|chunk| chunk.at);
    Ok(walked)
}

/// Bytes from an address on.
struct Window {
    start: Va,
    bytes: Vec<u8>,
}

impl Window {
    fn new(start: Va) -> Window {
        Window { start, bytes: Vec::new() }
    }

    fn append(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    /// Frees what lies before `at`, or all if that lies further on; what then comes is skipped by its address.
    fn forget_before(&mut self, at: Va) {
        let done = at.0.saturating_sub(self.start.0).min(self.bytes.len() as u64);
        self.bytes.drain(..done as usize);
        self.start += done;
    }

    fn word(&self, at: Va) -> Option<u64> {
        let offset = at.0.checked_sub(self.start.0)?;
        let bytes = self.bytes.get(usize::try_from(offset).ok()?..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    }

    fn end(&self) -> Va {
        self.start + self.bytes.len() as u64
    }
}

/// Why a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopKind {
    /// At the arena's rest.
    Top,
    /// At the marks that the allocator puts where a heap ends that is followed by another.
    End,
    /// At such marks, with more behind them.
    Mark,
    /// At a size field that no chunk can have.
    Impossible(u64),
}

struct Walker {
    next: Va,
    end: Va,
    heap: HeapRange,
    chunks: Vec<Chunk>,
    stop: Option<StopKind>,
}

impl Walker {
    fn advance(&mut self, window: &Window) {
        while self.stop.is_none() {
            if self.next + HEADER > self.end {
                self.stop = Some(StopKind::End);
                return;
            }
            let Some(header) = window.word(self.next + 8) else { return };
            let size = header & !FLAGS;
            let is_top = self.heap.top == Some(self.next);
            // The links may lie in the next piece.
            if !is_top && self.next + SMALLEST <= self.end && window.end() < self.next + SMALLEST {
                return;
            }
            let is_sound = size == HEADER || is_plausible(header, self.next, self.end, self.heap.is_main);
            if is_sound
                && header & PREVIOUS_IN_USE == 0
                && let Some(last) = self.chunks.last_mut()
            {
                last.state = ChunkState::Free(FreeList::None);
            }
            if size == HEADER || size == 0 && self.end - self.next <= HEADER {
                let more = self.heap.top.is_some_and(|top| top > self.next);
                self.stop = Some(if more { StopKind::Mark } else { StopKind::End });
                self.next += HEADER;
                return;
            }
            if size == 0 || !is_sound {
                self.stop = Some(StopKind::Impossible(header));
                return;
            }
            let link = |offset: u64| window.word(self.next + offset).unwrap_or(0);
            self.chunks.push(Chunk {
                at: self.next,
                size,
                state: if is_top { ChunkState::Top } else { ChunkState::Busy },
                previous_size: link(0),
                links: [link(16), link(24)],
                tail: 0,
            });
            self.next += size;
            if is_top {
                self.stop = Some(StopKind::Top);
            }
        }
    }
}

/// Whether a chunk at `at` in a heap that ends at `end` can have this size field.
fn is_plausible(header: u64, at: Va, end: Va, is_main: bool) -> bool {
    let size = header & !FLAGS;
    let is_foreign = is_main && header & OTHER_ARENA != 0;
    size >= SMALLEST && size.is_multiple_of(ALIGNMENT) && size <= end - at && header & MAPPED == 0 && !is_foreign
}

/// The first address in `range` from which sizes lead to `top`.
fn way_to(top: Va, range: VaRange, heap: &HeapRange, memory: &dyn Pieces) -> Result<Option<Va>, EngineError> {
    if top < range.start || range.start >= range.end {
        return Ok(None);
    }
    // Where each way goes on, and where it began.
    let mut ways: HashMap<u64, Va> = HashMap::new();
    let mut at = range.start.align_up(ALIGNMENT);
    let mut window = Window::new(range.start);
    memory.read(range, &mut |piece| {
        window.append(piece);
        while at < top {
            let Some(header) = window.word(at + 8) else { break };
            let begun = ways.remove(&at.0);
            if is_plausible(header, at, top, heap.is_main) && (begun.is_some() || ways.len() < WAYS) {
                let began = begun.unwrap_or(at);
                let earliest = ways.entry(at.0 + (header & !FLAGS)).or_insert(began);
                *earliest = began.min(*earliest);
            }
            at += ALIGNMENT;
        }
        window.forget_before(at);
        at < top
    })?;
    // If only the rest itself is sound, the way goes on there.
    Ok(Some(ways.get(&top.0).copied().unwrap_or(top)))
}

/// What is wrong where a walk ended: the size field there, or that of the chunk before it, in which another begins.
fn impossible(at: Va, header: u64, last: Option<Chunk>, again: Option<Va>) -> HeapProblem {
    let field = format!("{header:#x}{}", printable(header));
    if let (Some(last), Some(again)) = (last, again.filter(|again| *again < at)) {
        let text = format!(
            "its size field, {:#x}, leads to {at}, where no chunk is ({field}), and another begins within it, at {again}: its \
             size field was written over",
            last.size
        );
        return HeapProblem { at: last.at, before: None, text };
    }
    let mut text = format!("its size field is {field}, which no chunk can have");
    if let Some(last) = last {
        let user = last.user();
        text += &format!(
            ": probably written over the end of the chunk before it, of which the program was given {:#x} bytes at {}",
            user.len(),
            user.start
        );
    }
    if let Some(again) = again {
        text += &format!("; chunks go on at {again}");
    }
    HeapProblem { at, before: None, text }
}

/// ` ("AAAAAAAA")` if a word is text.
pub(super) fn printable(word: u64) -> String {
    let bytes = word.to_le_bytes();
    let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let text = bytes.get(..len).unwrap_or_default();
    let is_text = len >= 2 && text.iter().all(|byte| (0x20..0x7f).contains(byte));
    if is_text { format!(" (\"{}\")", String::from_utf8_lossy(text)) } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bytes(Vec<u8>);

    impl Pieces for Bytes {
        fn read(&self, range: VaRange, take: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), EngineError> {
            let from = (range.start.0 - 0x1000) as usize;
            // Odd pieces, so that headers lie across them.
            for piece in self.0[from..(range.end.0 - 0x1000) as usize].chunks(24) {
                if !take(piece) {
                    break;
                }
            }
            Ok(())
        }
    }

    fn walked(words: &[(u64, u64)], len: u64, top: u64) -> Walked {
        let mut bytes = vec![0; len as usize];
        for (at, value) in words {
            bytes[*at as usize..*at as usize + 8].copy_from_slice(&value.to_le_bytes());
        }
        let range = VaRange::from_len(Va(0x1000), len);
        walk(&HeapRange { range, top: Some(Va(0x1000 + top)), is_main: true }, &Bytes(bytes)).unwrap()
    }

    fn states(walked: &Walked) -> Vec<(u64, u64, ChunkState)> {
        walked.chunks.iter().map(|chunk| (chunk.at.0, chunk.size, chunk.state)).collect()
    }

    const BUSY: ChunkState = ChunkState::Busy;
    const FREE: ChunkState = ChunkState::Free(FreeList::None);

    #[test]
    fn free_is_what_the_next_chunk_says() {
        let found = walked(&[(8, 0x31), (0x38, 0x21), (0x50, 0x20), (0x58, 0xa0)], 0xf0, 0x50);
        assert_eq!(states(&found), [(0x1000, 0x30, BUSY), (0x1030, 0x20, FREE), (0x1050, 0xa0, ChunkState::Top)]);
        assert!(found.problems.is_empty() && found.gaps.is_empty(), "{found:?}");
    }

    #[test]
    fn an_impossible_size_names_the_chunk_before_and_the_way_goes_on_behind_it() {
        let words = [(8, 0x31), (0x38, 0x4141_4141_4141_4141), (0x58, 0x21), (0x78, 0x31), (0xa8, 0x51)];
        let found = walked(&words, 0xf0, 0xa0);
        let [problem] = &found.problems[..] else { panic!("{found:?}") };
        assert_eq!(problem.at, Va(0x1030));
        assert!(problem.text.contains("0x28 bytes at 00000000`00001010"), "{problem:?}");
        assert!(problem.text.contains("0x4141414141414141 (\"AAAAAAAA\")"), "{problem:?}");
        assert!(problem.text.contains("chunks go on at 00000000`00001050"), "{problem:?}");
        let expected =
            [(0x1000, 0x30, BUSY), (0x1050, 0x20, BUSY), (0x1070, 0x30, BUSY), (0x10a0, 0x50, ChunkState::Top)];
        assert_eq!(states(&found), expected);
        assert_eq!(found.gaps, [VaRange { start: Va(0x1030), end: Va(0x1050) }]);
    }

    #[test]
    fn a_size_that_leads_past_another_chunk_is_what_is_wrong() {
        let words = [(8, 0x31), (0x38, 0x41), (0x58, 0x31), (0x88, 0x21), (0xa8, 0x51)];
        let found = walked(&words, 0xf0, 0xa0);
        let [problem] = &found.problems[..] else { panic!("{found:?}") };
        assert_eq!(problem.at, Va(0x1030));
        assert_eq!(states(&found)[1], (0x1030, 0x20, BUSY), "as large as the next one leaves it");
    }

    #[test]
    fn a_break_that_somebody_else_moved_is_a_gap_and_no_damage() {
        let words = [(8, 0x31), (0x38, 0x11), (0x48, 0x11), (0x60, 77), (0x88, 0x21), (0xa8, 0x51)];
        let found = walked(&words, 0xf0, 0xa0);
        assert_eq!(found.problems, []);
        assert_eq!(found.gaps.len(), 1, "{found:?}");
        assert_eq!(states(&found).last(), Some(&(0x10a0, 0x50, ChunkState::Top)));
    }

    #[test]
    fn chunks_that_begin_later_than_the_mapping_are_found() {
        let found = walked(&[(0x48, 0x21), (0x68, 0x31), (0x98, 0x61)], 0xf0, 0x90);
        assert_eq!(states(&found), [(0x1040, 0x20, BUSY), (0x1060, 0x30, BUSY), (0x1090, 0x60, ChunkState::Top)]);
        assert_eq!(found.problems, []);
    }

    proptest::proptest! {
        /// Whatever a heap's memory has in it: chunks lie in the heap, and no way is longer than that.
        #[test]
        fn nothing_in_memory_leads_astray(
            words in proptest::collection::vec((0u64..0x40, 0u64..0x120), 0..80),
            top in 0u64..0x400,
            is_main: bool,
        ) {
            let mut bytes = vec![0; 0x400];
            for (at, value) in words {
                bytes[at as usize * 16 + 8..][..8].copy_from_slice(&value.to_le_bytes());
            }
            let range = VaRange::from_len(Va(0x1000), 0x400);
            let heap = HeapRange { range, top: Some(Va(0x1000 + top)), is_main };
            let walked = walk(&heap, &Bytes(bytes)).unwrap();
            for chunk in &walked.chunks {
                proptest::prop_assert!(range.contains(chunk.at) && chunk.at + chunk.size <= range.end, "{:?}", chunk);
                proptest::prop_assert!(chunk.size >= ALIGNMENT, "{:?}", chunk);
            }
            proptest::prop_assert!(walked.problems.len() <= REPAIRS);
        }
    }
}
