//! The heap of glibc: arenas, chunks, and what is wrong with them.
//!
//! All is read from memory: heaps as wholes, once, then everything else is looked up in what was read. A process that
//! stands in the middle of `malloc` may have lists half changed; [`Arena::is_locked`] tells.

mod find;
mod layout;
mod lists;
mod mapped;
mod walk;

use outpost_base::{MemoryReader, Va, VaRange};
use outpost_target::Region;

use crate::{Engine, EngineError, ProcessMemory, ThreadOrdinal};

/// Chunks begin at multiples of this, and are at least two of it large (glibc malloc/malloc.c, MALLOC_ALIGNMENT, MINSIZE).
const ALIGNMENT: u64 = 16;
const SMALLEST: u64 = 32;
/// Bits of a chunk's size (PREV_INUSE, IS_MMAPPED, NON_MAIN_ARENA).
const PREVIOUS_IN_USE: u64 = 1;
const MAPPED: u64 = 2;
const OTHER_ARENA: u64 = 4;
const FLAGS: u64 = 7;
/// From a chunk to what the program was given.
pub(super) const HEADER: u64 = 16;
/// Heaps up to this size are read by one request together.
const READ_AHEAD: u64 = 1 << 20;

/// The list that a freed chunk is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FreeList {
    /// Freed lately and not sorted into a bin yet.
    Unsorted,
    /// One for each small size.
    Small,
    /// One for a range of sizes.
    Large,
    /// Small ones of an arena that are not merged with their neighbours.
    Fast,
    /// Those that a thread keeps for itself (tcache).
    Cache(Option<ThreadOrdinal>),
    /// None, though its neighbour takes it for free.
    None,
}

impl std::fmt::Display for FreeList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FreeList::Unsorted => write!(f, "unsorted bin"),
            FreeList::Small => write!(f, "small bin"),
            FreeList::Large => write!(f, "large bin"),
            FreeList::Fast => write!(f, "fast bin"),
            FreeList::Cache(Some(thread)) => write!(f, "tcache of thread {thread}"),
            FreeList::Cache(None) => write!(f, "tcache of a thread"),
            FreeList::None => write!(f, "in no list"),
        }
    }
}

/// What a chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChunkState {
    /// The program has it.
    Busy,
    /// Freed, and in a list.
    Free(FreeList),
    /// The rest at the end of an arena.
    Top,
    /// A thread's own lists of freed chunks (tcache), themselves.
    Cache(Option<ThreadOrdinal>),
    /// The program has it, and it has a mapping of its own.
    Mapped,
}

impl ChunkState {
    /// Whether the program has no business with it.
    pub fn is_free(self) -> bool {
        matches!(self, ChunkState::Free(_) | ChunkState::Top)
    }
}

impl std::fmt::Display for ChunkState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ChunkState::Busy => write!(f, "busy"),
            ChunkState::Free(list) => write!(f, "free, {list}"),
            ChunkState::Top => write!(f, "top"),
            ChunkState::Cache(Some(thread)) => write!(f, "busy, lists of the tcache of thread {thread}"),
            ChunkState::Cache(None) => write!(f, "busy, lists of a tcache"),
            ChunkState::Mapped => write!(f, "busy, mapped"),
        }
    }
}

/// A chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Where its header is.
    pub at: Va,
    /// Bytes from header to header.
    pub size: u64,
    /// What it is.
    pub state: ChunkState,
    /// The first word of its header: the size of the chunk before it while that is free, else that one's last bytes.
    previous_size: u64,
    /// The two words behind its header: links, while it is free.
    links: [u64; 2],
    /// Bytes at its end that the program cannot use, though no other chunk follows.
    tail: u64,
}

impl Chunk {
    /// What the program may use of it: the next chunk's first word belongs to it while it is in use.
    pub fn user(&self) -> VaRange {
        let more = if self.state == ChunkState::Mapped { 0 } else { 8 };
        VaRange::from_len(self.at + HEADER, (self.size + more).saturating_sub(HEADER + self.tail))
    }
}

/// Something that is not as the allocator leaves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeapProblem {
    /// The chunk that is wrong.
    pub at: Va,
    /// The chunk before it, which may have been written over its end.
    pub before: Option<Chunk>,
    /// What is wrong.
    pub text: String,
}

/// An arena with its chunks in the order of their addresses.
#[derive(Debug, Clone)]
pub struct Arena {
    /// Where its state is.
    pub at: Va,
    /// Bytes it has from the system, as it says.
    pub system_bytes: u64,
    /// A thread is at work in it: lists may be half changed.
    pub is_locked: bool,
    /// Its chunks, as far as they could be followed.
    pub chunks: Vec<Chunk>,
}

/// Number of chunks and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChunkTotal {
    /// How many.
    pub count: u64,
    /// Bytes with headers.
    pub bytes: u64,
}

impl ChunkTotal {
    /// The sum over chunks.
    pub fn of<'a>(chunks: impl Iterator<Item = &'a Chunk>) -> ChunkTotal {
        chunks.fold(ChunkTotal::default(), |total, chunk| ChunkTotal {
            count: total.count + 1,
            bytes: total.bytes.saturating_add(chunk.size),
        })
    }
}

impl Arena {
    /// Chunks whose state fits.
    pub fn total(&self, fits: impl Fn(ChunkState) -> bool) -> ChunkTotal {
        ChunkTotal::of(self.chunks.iter().filter(|chunk| fits(chunk.state)))
    }
}

/// The heap of a process.
#[derive(Debug, Clone)]
pub struct Heap {
    /// Its arenas, the main one first.
    pub arenas: Vec<Arena>,
    /// Chunks with mappings of their own, by address.
    pub mapped: Vec<Chunk>,
    /// How many of those the allocator says there are, with their bytes; `None` without its debug info.
    pub mapped_known: Option<ChunkTotal>,
    /// What is wrong, by address.
    pub problems: Vec<HeapProblem>,
    /// Parts of heaps that could not be followed: behind damage, or memory that the program took by moving the break.
    pub gaps: Vec<VaRange>,
    /// By what the allocator's structures were found.
    pub found_by: Vec<String>,
    /// Ranges of arenas' chunks.
    heaps: Vec<VaRange>,
}

impl Heap {
    /// The chunk that an address is in.
    pub fn chunk_at(&self, at: Va) -> Option<Chunk> {
        match self.place_of(at) {
            Some((arena, number)) => Some(self.arenas[arena].chunks[number]),
            None => self.mapped_at(at),
        }
    }

    /// The arena of an address in one of its chunks.
    pub fn arena_of(&self, at: Va) -> Option<&Arena> {
        self.arenas.get(self.place_of(at)?.0)
    }

    /// The chunk that ends where the one at `at` begins.
    pub fn before(&self, at: Va) -> Option<Chunk> {
        self.chunk_at(Va(at.0.checked_sub(1)?)).filter(|chunk| chunk.at + chunk.size == at)
    }

    /// The chunk that begins at or behind the end of one, in the same arena.
    pub fn after(&self, chunk: &Chunk) -> Option<Chunk> {
        self.chunk_at(chunk.at + chunk.size).filter(|next| next.at == chunk.at + chunk.size)
    }

    /// Whether an address is in an arena's memory or in a chunk with a mapping of its own.
    pub fn contains(&self, at: Va) -> bool {
        self.heaps.iter().any(|range| range.contains(at)) || self.mapped_at(at).is_some()
    }

    /// The chunk in a list of single links in which the allocator noted `value`, or what is at most `reach` less: a masked
    /// link or the mark of a cache; and where.
    pub(super) fn noted(&self, value: u64, reach: u64) -> Option<(Chunk, Va)> {
        let chunks = self.arenas.iter().flat_map(|arena| &arena.chunks);
        let single =
            chunks.filter(|chunk| matches!(chunk.state, ChunkState::Free(FreeList::Fast | FreeList::Cache(_))));
        let words = single.flat_map(|chunk| chunk.links.iter().zip([0, 8]).map(move |(word, at)| (chunk, *word, at)));
        let (chunk, _, at) = words
            .filter(|(_, word, _)| *word >= reach && value.checked_sub(*word).is_some_and(|more| more < reach))
            .min_by_key(|(_, word, _)| value - word)?;
        Some((*chunk, chunk.at + HEADER + at))
    }

    fn place_of(&self, at: Va) -> Option<(usize, usize)> {
        self.arenas.iter().enumerate().find_map(|(number, arena)| {
            let next = arena.chunks.partition_point(|chunk| chunk.at <= at);
            let chunk = arena.chunks.get(next.checked_sub(1)?)?;
            (at.0 - chunk.at.0 < chunk.size).then_some((number, next - 1))
        })
    }
}

fn word(memory: &ProcessMemory, at: Va) -> Option<u64> {
    memory.clone().read_u64(at)
}

impl Engine {
    /// The heap of the current process: all chunks of all arenas, checked. Each heap is read as a whole, once.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] without glibc, with a release whose allocator is not known, or if that was not found;
    /// [`EngineError::Cancelled`]; [`EngineError::Target`].
    pub fn heap(&mut self) -> Result<Heap, EngineError> {
        self.heap_up_to(u64::MAX)
    }

    /// As [`Engine::heap`], unless there are more than `limit` bytes to read for it.
    ///
    /// # Errors
    /// As [`Engine::heap`]; [`EngineError::Unsupported`] beyond the limit.
    pub(super) fn heap_up_to(&mut self, limit: u64) -> Result<Heap, EngineError> {
        self.need_stopped()?;
        let allocator = self.allocator()?;
        let process = self.current_process()?;
        let memory = self.memory()?;
        let regions = self.regions(process)?;
        let layout = &allocator.layout;
        let parameter = |offset: u64| word(&memory, allocator.parameters? + offset);
        let fields = layout.parameters.as_ref();
        let break_start = fields.and_then(|fields| parameter(fields.break_start)).map(Va);
        let mapped_known = fields.and_then(|fields| {
            let count = parameter(fields.mapped_chunks)? & 0xffff_ffff;
            Some(ChunkTotal { count, bytes: parameter(fields.mapped_bytes)? })
        });
        let mut heap = Heap {
            arenas: Vec::new(),
            mapped: Vec::new(),
            mapped_known,
            problems: Vec::new(),
            gaps: Vec::new(),
            found_by: allocator.found_by.clone(),
            heaps: Vec::new(),
        };
        let arenas = find::arenas(allocator.main, layout, &memory, &regions);
        let ranges: Vec<Vec<walk::HeapRange>> = arenas
            .iter()
            .map(|at| walk::heaps_of(*at, break_start, *at == allocator.main, layout, &memory, &regions))
            .collect();
        heap.heaps = ranges.iter().flatten().map(|heap| heap.range).collect();
        let bytes: u64 = heap.heaps.iter().map(|range| range.len()).sum();
        if bytes > limit {
            let reason = format!("it has {bytes:#x} bytes, which are not read unasked; !heap does");
            return Err(EngineError::Unsupported { operation: "reading the whole heap", reason });
        }
        let small: Vec<VaRange> = heap.heaps.iter().filter(|range| range.len() <= READ_AHEAD).copied().collect();
        memory.prefetch(&small)?;
        for (at, ranges) in arenas.into_iter().zip(ranges) {
            let arena = self.arena(at, &ranges, &allocator, &memory, &mut heap)?;
            heap.arenas.push(arena);
        }
        mapped::find(&mut heap, layout.mapped_tail, &memory, &regions)?;
        self.mark_lists(&mut heap, &allocator, &memory)?;
        Ok(heap)
    }

    fn arena(
        &mut self,
        at: Va,
        ranges: &[walk::HeapRange],
        allocator: &find::Allocator,
        memory: &ProcessMemory,
        heap: &mut Heap,
    ) -> Result<Arena, EngineError> {
        let system_bytes = word(memory, at + allocator.layout.system_memory).unwrap_or(0);
        // The mutex is the first field.
        let is_locked = memory.clone().read_uint(at, 4).unwrap_or(0) != 0;
        let mut arena = Arena { at, system_bytes, is_locked, chunks: Vec::new() };
        for range in ranges {
            self.check_interrupt()?;
            let mut walked = walk::walk(range, memory)?;
            arena.chunks.append(&mut walked.chunks);
            heap.problems.append(&mut walked.problems);
            heap.gaps.append(&mut walked.gaps);
        }
        arena.chunks.sort_by_key(|chunk| chunk.at);
        Ok(arena)
    }

    /// Whether an address may be in the heap, by the mapping that it is in: no file's, writable.
    pub(super) fn may_be_heap(&mut self, at: Va) -> bool {
        let is_around = |region: &Region| region.range.contains(at) && region.write && region.inode == 0;
        let regions = self.current_process().and_then(|process| self.regions(process));
        regions.is_ok_and(|regions| regions.iter().any(is_around))
    }
}
