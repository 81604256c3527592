//! Lists of freed chunks: what they say of chunks, and whether they are sound.

use std::collections::{HashMap, HashSet};

use outpost_base::{MemoryReader, Va, VaRange};

use super::find::Allocator;
use super::layout::{BINS, FAST_BINS, Layout, SMALL_BINS};
use super::walk::printable;
use super::{ALIGNMENT, Chunk, ChunkState, FreeList, HEADER, Heap, HeapProblem, SMALLEST, word};
use crate::{Engine, EngineError, ProcessMemory, ThreadOrdinal};

/// Problems that are told.
const PROBLEMS: usize = 256;

/// A list of single links.
struct Singly {
    /// Where the first is noted.
    head: Va,
    first: u64,
    /// From what links lead to to the chunk: fast bins lead to chunks, caches to what the program had.
    to_chunk: u64,
    /// Least and greatest size of its chunks.
    sizes: (u64, u64),
    list: FreeList,
    /// How many chunks it says to have.
    count: Option<u64>,
}

impl Engine {
    /// Goes through all lists of freed chunks; their chunks look like those in use otherwise.
    pub(super) fn mark_lists(
        &mut self,
        heap: &mut Heap,
        allocator: &Allocator,
        memory: &ProcessMemory,
    ) -> Result<(), EngineError> {
        let layout = &allocator.layout;
        let mut marker = Marker { heap, memory, layout, listed: HashSet::new() };
        let caches = match allocator.cache_offset {
            Some(offset) => self.caches_of_threads(offset, layout, memory)?,
            None => marker.caches_by_look(),
        };
        for (thread, cache) in caches {
            self.check_interrupt()?;
            marker.cache(thread, cache);
        }
        for number in 0..marker.heap.arenas.len() {
            self.check_interrupt()?;
            marker.arena(number);
        }
        marker.unlisted();
        heap.problems.truncate(PROBLEMS);
        heap.problems.sort_by_key(|problem| problem.at);
        let before: Vec<_> = heap.problems.iter().map(|problem| heap.before(problem.at)).collect();
        for (problem, before) in heap.problems.iter_mut().zip(before) {
            problem.before = before;
        }
        Ok(())
    }

    /// Where threads have their caches: what their `tcache` leads to.
    fn caches_of_threads(
        &mut self,
        offset: i64,
        layout: &Layout,
        memory: &ProcessMemory,
    ) -> Result<Vec<(Option<ThreadOrdinal>, Va)>, EngineError> {
        let process = self.current_process()?;
        let threads = self.threads(process)?;
        let places = threads.iter().filter(|thread| thread.teb.0 != 0);
        let places: Vec<(ThreadOrdinal, Va)> =
            places.map(|thread| (thread.ordinal, Va(thread.teb.0.wrapping_add_signed(offset)))).collect();
        memory.prefetch(&places.iter().map(|(_, at)| VaRange::from_len(*at, 8)).collect::<Vec<_>>())?;
        let caches = places.into_iter().filter_map(|(thread, at)| {
            let cache = word(memory, at).filter(|cache| *cache != 0)?;
            Some((Some(thread), Va(cache)))
        });
        let caches: Vec<_> = caches.collect();
        memory.prefetch(&caches.iter().map(|(_, at)| VaRange::from_len(*at, layout.cache())).collect::<Vec<_>>())?;
        Ok(caches)
    }
}

struct Marker<'a> {
    heap: &'a mut Heap,
    memory: &'a ProcessMemory,
    layout: &'a Layout,
    /// Chunks that are in a list.
    listed: HashSet<Va>,
}

impl Marker<'_> {
    fn wrong(&mut self, at: Va, text: String) {
        if self.heap.problems.len() < PROBLEMS {
            self.heap.problems.push(HeapProblem { at, before: None, text });
        }
    }

    /// Whether an address is where the heap cannot be followed, which is told already.
    fn is_lost(&self, at: Va) -> bool {
        self.heap.gaps.iter().any(|gap| gap.contains(at))
    }

    fn chunk(&self, at: Va) -> Option<Chunk> {
        self.heap.chunk_at(at).filter(|chunk| chunk.at == at)
    }

    fn set(&mut self, at: Va, state: ChunkState) {
        if let Some((arena, number)) = self.heap.place_of(at) {
            self.heap.arenas[arena].chunks[number].state = state;
        }
    }

    /// Caches without the variable that leads to them: chunks of their size whose counts are the lengths of their lists.
    fn caches_by_look(&self) -> Vec<(Option<ThreadOrdinal>, Va)> {
        let of_size = |chunk: &&Chunk| chunk.size == self.layout.cache_chunk();
        let chunks: Vec<Chunk> =
            self.heap.arenas.iter().flat_map(|arena| arena.chunks.iter().filter(of_size)).copied().collect();
        let caches = chunks.iter().map(|chunk| chunk.at + HEADER);
        caches.filter(|cache| self.looks_like_cache(*cache)).map(|cache| (None, cache)).collect()
    }

    fn looks_like_cache(&self, cache: Va) -> bool {
        let mut used = false;
        let room = self.room(cache);
        let agrees = (0..self.layout.cache_bins).all(|number| {
            let (Some(count), Some(mut entry)) = (self.count(cache, number, room), self.entry(cache, number)) else {
                return false;
            };
            used |= count != 0;
            let sizes = self.layout.cached_sizes(number);
            for _ in 0..count {
                let Some(chunk) = self.chunk(Va(entry.wrapping_sub(HEADER))) else { return false };
                if !(sizes.0..=sizes.1).contains(&chunk.size) {
                    return false;
                }
                entry = self.layout.link(chunk.at + HEADER, chunk.links[0]);
            }
            entry == 0
        });
        agrees && used
    }

    /// How many chunks each list of a cache takes, where that is noted as what is left of it. A tunable sets it, so it is
    /// what most of the empty lists have left; `None` if none is empty.
    fn room(&self, cache: Va) -> Option<u64> {
        if !self.layout.notes_room {
            return None;
        }
        let mut times: HashMap<u64, u64> = HashMap::new();
        for number in (0..self.layout.cache_bins).filter(|number| self.entry(cache, *number) == Some(0)) {
            *times.entry(self.noted(cache, number)?).or_default() += 1;
        }
        times.into_iter().max_by_key(|(room, times)| (*times, *room)).map(|(room, _)| room)
    }

    fn noted(&self, cache: Va, number: u64) -> Option<u64> {
        let mut memory = self.memory.clone();
        memory.read_uint(cache + self.layout.count * number, self.layout.count as usize)
    }

    /// How many chunks a list of a cache says to have; `room` as [`Marker::room`] has it.
    fn count(&self, cache: Va, number: u64, room: Option<u64>) -> Option<u64> {
        let noted = self.noted(cache, number)?;
        if self.layout.notes_room { room.map(|room| room.wrapping_sub(noted)) } else { Some(noted) }
    }

    fn entry(&self, cache: Va, number: u64) -> Option<u64> {
        word(self.memory, self.head(cache, number))
    }

    fn head(&self, cache: Va, number: u64) -> Va {
        cache + self.layout.count * self.layout.cache_bins + 8 * number
    }

    fn cache(&mut self, thread: Option<ThreadOrdinal>, cache: Va) {
        // Since 2.42 a thread without one is led to a constant.
        if self.layout.notes_room && !self.heap.contains(cache) {
            return;
        }
        self.set(Va(cache.0.wrapping_sub(HEADER)), ChunkState::Cache(thread));
        let room = self.room(cache);
        for number in 0..self.layout.cache_bins {
            let Some(first) = self.entry(cache, number) else { return };
            self.follow(&Singly {
                head: self.head(cache, number),
                first,
                to_chunk: HEADER,
                sizes: self.layout.cached_sizes(number),
                list: FreeList::Cache(thread),
                count: self.count(cache, number, room),
            });
        }
    }

    fn arena(&mut self, number: usize) {
        let at = self.heap.arenas[number].at;
        for number in 0..self.layout.fast_bins.map_or(0, |_| FAST_BINS) {
            let head = at + self.layout.fast_bins.unwrap_or(0) + 8 * number;
            let Some(first) = word(self.memory, head) else { return };
            let size = SMALLEST + ALIGNMENT * number;
            self.follow(&Singly { head, first, to_chunk: 0, sizes: (size, size), list: FreeList::Fast, count: None });
        }
        for number in 1..BINS {
            self.bin(at, number);
        }
    }

    fn follow(&mut self, singly: &Singly) {
        let (list, (least, greatest)) = (singly.list, singly.sizes);
        let sizes = if least == greatest { format!("{least:#x}") } else { format!("{least:#x} to {greatest:#x}") };
        let name = format!("{list} for {sizes} bytes");
        let mut entry = singly.first;
        let mut last: Option<Chunk> = None;
        let mut length = 0;
        while entry != 0 {
            let at = Va(entry.wrapping_sub(singly.to_chunk));
            let Some(chunk) = self.chunk(at) else {
                if self.is_lost(at) {
                    return;
                }
                let (place, how) = match last {
                    Some(last) => (
                        last.at,
                        format!("its link, in its first word ({:#x}{})", last.links[0], printable(last.links[0])),
                    ),
                    None => (singly.head, "the head".to_owned()),
                };
                let which = if last.is_some() { "in" } else { "of" };
                let mut text = format!("{how} {which} the {name} leads to {at}, where no chunk begins: ");
                text += match last {
                    Some(_) => "it was written to after it was freed, or over the end of the chunk before it",
                    None => "the chunk that was at its head was written to after it was freed",
                };
                return self.wrong(place, text);
            };
            if !(least..=greatest).contains(&chunk.size) {
                self.wrong(chunk.at, format!("it has {:#x} bytes and is in the {name}", chunk.size));
            }
            if !self.listed.insert(chunk.at) {
                let text =
                    format!("it is in a list of freed chunks ({}) and in the {name}: it was freed twice", chunk.state);
                return self.wrong(chunk.at, text);
            }
            self.set(chunk.at, ChunkState::Free(list));
            length += 1;
            last = Some(chunk);
            entry = self.layout.link(chunk.at + HEADER, chunk.links[0]);
        }
        if let Some(count) = singly.count.filter(|count| *count != length) {
            let at = last.map_or(Va(singly.first), |last| last.at);
            let count = count as i64;
            let text =
                format!("the {name} has 0n{length} chunks and counts 0n{count}: a link or the count was overwritten");
            self.wrong(at, text);
        }
    }

    /// A list with links both ways.
    fn bin(&mut self, arena: Va, number: u64) {
        let head = self.layout.bin(arena, number);
        let list = match number {
            1 => FreeList::Unsorted,
            _ if number < SMALL_BINS => FreeList::Small,
            _ => FreeList::Large,
        };
        let (Some(first), Some(tail)) = (word(self.memory, head + HEADER), word(self.memory, head + HEADER + 8)) else {
            return;
        };
        let (mut at, mut last) = (Va(first), head);
        while at != head && at.0 != 0 {
            let Some(chunk) = self.chunk(at) else {
                if self.is_lost(at) {
                    return;
                }
                let place = if last == head { at } else { last };
                let text = format!(
                    "a link of the {list} leads to {at}, where no chunk begins: a freed chunk was written to, or over the \
                     end of the one before it"
                );
                return self.wrong(place, text);
            };
            if !self.listed.insert(at) {
                let text = format!("it is in a list of freed chunks ({}) and in the {list}", chunk.state);
                return self.wrong(at, text);
            }
            if !matches!(chunk.state, ChunkState::Free(_)) {
                let text = format!("it is in the {list}, and the chunk behind it takes it for one in use");
                self.wrong(at, text);
            }
            if chunk.links[1] != last.0 {
                let back = chunk.links[1];
                let text = format!(
                    "its link back in the {list} is {back:#x}{} and not {last}: it was written to after it was freed, or \
                     over the end of the chunk before it",
                    printable(back)
                );
                self.wrong(at, text);
            }
            if list == FreeList::Small && chunk.size != ALIGNMENT * number {
                let text = format!("it has {:#x} bytes and is in the {list} for {:#x}", chunk.size, ALIGNMENT * number);
                self.wrong(at, text);
            }
            self.set(at, ChunkState::Free(list));
            (last, at) = (at, Va(chunk.links[0]));
        }
        if at == head && Va(tail) != last && tail != 0 {
            self.wrong(last, format!("the {list} ends with {last}, and its head says {}", Va(tail)));
        }
    }

    /// Chunks that their neighbours take for free: they are in a list, and the neighbour notes their size.
    fn unlisted(&mut self) {
        let mut found = Vec::new();
        for arena in &self.heap.arenas {
            for (number, chunk) in arena.chunks.iter().enumerate() {
                let ChunkState::Free(list) = chunk.state else { continue };
                let next = arena.chunks.get(number + 1).filter(|next| next.at == chunk.at + chunk.size);
                if list == FreeList::None {
                    let text = "the chunk behind it takes it for free, and it is in no list: the size field there was \
                                written over, from its end";
                    let at = next.map_or(chunk.at, |next| next.at);
                    found.push(HeapProblem { at, before: None, text: text.to_owned() });
                } else if !matches!(list, FreeList::Fast | FreeList::Cache(_))
                    && let Some(next) = next.filter(|next| next.previous_size != chunk.size)
                {
                    let noted = next.previous_size;
                    let text = format!(
                        "the chunk behind it notes {noted:#x} bytes for it{}, and it has {:#x}",
                        printable(noted),
                        chunk.size
                    );
                    found.push(HeapProblem { at: chunk.at, before: None, text });
                }
            }
        }
        self.heap.problems.append(&mut found);
    }
}
