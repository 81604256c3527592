//! Large chunks, each with a mapping of its own.

use outpost_base::{MemoryReader, Va, VaRange};
use outpost_target::{Region, RegionUsage};

use super::{Chunk, ChunkState, FLAGS, HEADER, Heap, MAPPED};
use crate::{EngineError, ProcessMemory};

const PAGE: u64 = 0x1000;
/// Rounds of reads: each goes on by one chunk in all mappings at once, since the kernel puts equal mappings together.
const ROUNDS: usize = 256;
/// Bytes that are searched page by page for chunks that do not begin their mapping.
const SEARCHED: u64 = 64 << 20;
/// Smaller ones are not taken for chunks there: the least size that gets a mapping, unless the program asks for another
/// (glibc malloc/malloc.c, DEFAULT_MMAP_THRESHOLD_MIN).
const LEAST: u64 = 128 << 10;

/// Finds them: at the starts of anonymous mappings that are no heaps, where nearly all are, since the kernel puts each new
/// mapping below the last; those that are missing then within such mappings. `tail`: bytes at a mapping's end that the chunk
/// in it does not count.
pub(super) fn find(heap: &mut Heap, tail: u64, memory: &ProcessMemory, regions: &[Region]) -> Result<(), EngineError> {
    let is_candidate = |region: &&Region| {
        region.read && region.write && region.inode == 0 && region.usage != RegionUsage::Stack && !region.shared
    };
    let ranges = regions.iter().filter(is_candidate).map(|region| region.range);
    let mut open: Vec<VaRange> = ranges.filter(|range| !heap.heaps.iter().any(|heap| heap.overlaps(*range))).collect();
    let mut rest = Vec::new();
    for _ in 0..ROUNDS {
        if open.is_empty() {
            break;
        }
        let heads: Vec<VaRange> = open.iter().map(|range| VaRange::from_len(range.start, HEADER)).collect();
        memory.prefetch(&heads)?;
        let mut next = Vec::new();
        for range in open {
            let mut reader = memory.clone();
            let (before, header) = (reader.read_u64(range.start), reader.read_u64(range.start + 8));
            match before.zip(header).and_then(|(before, header)| mapped_chunk(range, before, header, tail)) {
                Some(chunk) => {
                    next.extend(behind(range, &chunk));
                    heap.mapped.push(chunk);
                }
                None => rest.push(range),
            }
        }
        open = next;
    }
    let mut searched = 0;
    for range in rest {
        let is_all = heap.mapped_known.is_some_and(|known| heap.mapped.len() as u64 >= known.count);
        searched += range.len();
        if is_all || searched > SEARCHED {
            break;
        }
        search(range, tail, memory, &mut heap.mapped)?;
    }
    heap.mapped.sort_by_key(|chunk| chunk.at);
    Ok(())
}

/// What a chunk leaves of a range.
fn behind(range: VaRange, chunk: &Chunk) -> Option<VaRange> {
    let rest = VaRange { start: chunk.at + chunk.size, end: range.end };
    (rest.start < rest.end && rest.start.0.is_multiple_of(PAGE)).then_some(rest)
}

/// The chunk that a range begins with, by its header.
fn mapped_chunk(range: VaRange, before: u64, header: u64, tail: u64) -> Option<Chunk> {
    let size = (header & !FLAGS).checked_add(tail)?;
    // Where there is a tail, the lowest bit says whether the mapping has huge pages (`MMAP_HP`).
    let before = if tail == 0 { before } else { before & !1 };
    // What alignment left free before it is noted there (glibc malloc/malloc.c, sysmalloc_mmap).
    let whole = size.checked_add(before)?;
    let fits = size >= PAGE && before < PAGE && whole.is_multiple_of(PAGE) && whole <= range.len();
    // Of a tail the program has one word, as everywhere of what follows its chunk (`memsize`).
    let tail = tail.saturating_sub(8);
    let found = Chunk { at: range.start, size, state: ChunkState::Mapped, previous_size: before, links: [0, 0], tail };
    (header & FLAGS == MAPPED && fits).then_some(found)
}

/// Looks at the start of each page.
fn search(range: VaRange, tail: u64, memory: &ProcessMemory, found: &mut Vec<Chunk>) -> Result<(), EngineError> {
    let mut bytes: Vec<u8> = Vec::new();
    let (mut start, mut next) = (range.start, range.start);
    memory.read_stream(range, &mut |piece| {
        bytes.extend_from_slice(piece);
        while let Some(head) = bytes.get((next.0 - start.0) as usize..).and_then(|rest| rest.first_chunk::<16>()) {
            let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
            let left = VaRange { start: next, end: range.end };
            match mapped_chunk(left, word(0), word(8), tail).filter(|chunk| chunk.size >= LEAST && word(0) == 0) {
                Some(chunk) => {
                    next += chunk.size;
                    found.push(chunk);
                }
                None => next += PAGE,
            }
        }
        let done = (next.0 - start.0).min(bytes.len() as u64);
        bytes.drain(..done as usize);
        start += done;
        true
    })?;
    Ok(())
}

impl Heap {
    /// The chunk with a mapping of its own that an address is in.
    pub(super) fn mapped_at(&self, at: Va) -> Option<Chunk> {
        let next = self.mapped.partition_point(|chunk| chunk.at <= at);
        let chunk = self.mapped.get(next.checked_sub(1)?)?;
        (at.0 - chunk.at.0 < chunk.size).then_some(*chunk)
    }
}
