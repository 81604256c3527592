//! `!heap`: the C library's heap.

use std::collections::BTreeMap;

use outpost_base::{MemoryReader, Va};
use outpost_engine::triage::{Arena, Chunk, ChunkState, ChunkTotal, FreeList, Heap};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value, json};
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

/// Sizes that `-stat` shows, as many as the reference.
const SIZES: usize = 20;
/// Bytes of a chunk that are shown where it is damaged.
const SHOWN_BYTES: u64 = 0x20;
/// Chunks that are listed.
const LISTED: usize = 1 << 16;

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["!heap"],
    syntax: "!heap [[-p] [-a|-x] Address | -h Arena | -stat [-h Arena] | -flt s Size | -v|-c]",
    summary: "Show the heap of the C library: arenas, the chunk at an address, sizes, damage",
    details: "Without arguments, each arena with the bytes that are in use, free, and kept in threads' caches (tcache); and \
              large chunks, which have mappings of their own. With an address, the chunk that it is in, whether that is in \
              use or which list of freed chunks has it, and its neighbours. -h lists all chunks of an arena. -stat counts \
              chunks in use by size, -flt s lists those of one size. -v or -c checks all and tells each damaged place with the \
              chunk before it, which was probably written over its end. For glibc 2.27 to 2.43, by memory alone: with the \
              library's debug info or without it, on a process or a core. A process that stands within malloc may have \
              lists half changed, which is told.",
    example: "!heap -v",
    group: Group::Memory,
    eats_line: false,
    run: carry_out::<HeapCommand>,
}];

/// Shows the heap.
#[derive(Debug, Clone, Copy)]
pub enum HeapCommand {
    /// Sums of all arenas.
    Summary,
    /// The chunk at an address.
    At(Va),
    /// All chunks of an arena.
    List(Va),
    /// Sizes, of all arenas or of one.
    Sizes(Option<Va>),
    /// Chunks of one size.
    OfSize(u64),
    /// What is wrong.
    Check,
}

/// A heap with what is shown of it.
#[derive(Debug, Clone)]
pub struct ShownHeap {
    /// The heap.
    pub heap: Heap,
    /// Of each problem, the first bytes of the chunk that is wrong, empty if they cannot be read.
    pub bytes: Vec<Vec<u8>>,
    command: HeapCommand,
}

impl Json for ShownHeap {
    fn json(&self) -> Value {
        let heap = &self.heap;
        let arena = |arena: &Arena| {
            json!({
                "at": arena.at.json(),
                "system_bytes": arena.system_bytes,
                "is_locked": arena.is_locked,
                "busy": arena.total(|state| !state.is_free()).json(),
                "free": arena.total(ChunkState::is_free).json(),
            })
        };
        let chunks: Vec<Chunk> = match self.command {
            HeapCommand::At(at) => heap.chunk_at(at).into_iter().collect(),
            HeapCommand::List(at) => {
                heap.arenas.iter().filter(|arena| arena.at == at).flat_map(|arena| arena.chunks.clone()).collect()
            }
            HeapCommand::OfSize(size) => {
                all(heap).filter(|chunk| chunk.user().len() == size || chunk.size == size).copied().collect()
            }
            HeapCommand::Summary | HeapCommand::Sizes(_) | HeapCommand::Check => Vec::new(),
        };
        let sizes = match self.command {
            HeapCommand::Sizes(at) => by_size(heap, at),
            _ => Vec::new(),
        };
        json!({
            "arenas": heap.arenas.iter().map(arena).collect::<Vec<_>>(),
            "mapped": ChunkTotal::of(heap.mapped.iter()).json(),
            "problems": heap.problems.json(),
            "gaps": heap.gaps.json(),
            "found_by": heap.found_by,
            "chunks": chunks.json(),
            "sizes": sizes.json(),
        })
    }
}

impl Command for HeapCommand {
    type Data = ShownHeap;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<HeapCommand, CommandError> {
        let mut found = None;
        while let Some(option) = arguments.take_option() {
            let next = match (option, found) {
                // What `-p` asks for in the reference is kept by its page heap.
                ("p", None) => continue,
                ("a" | "x", None) => HeapCommand::At(arguments.address(debugger)?),
                ("h", None) => HeapCommand::List(arguments.address(debugger)?),
                ("h", Some(HeapCommand::Sizes(None))) => HeapCommand::Sizes(Some(arguments.address(debugger)?)),
                ("stat", None) => HeapCommand::Sizes(None),
                ("flt", None) if arguments.take_word("s") => HeapCommand::OfSize(
                    arguments.optional_number(debugger)?.ok_or_else(|| arguments.usage("the size is missing"))?,
                ),
                ("flt", None) => return Err(arguments.usage("of filters there is s, for a size")),
                ("v" | "c", None) => HeapCommand::Check,
                ("p" | "a" | "x" | "h" | "stat" | "flt" | "v" | "c", Some(_)) => {
                    return Err(arguments.usage(format!("-{option} does not go with the option before it")));
                }
                (other, _) => return Err(arguments.usage(format!("unknown option -{other}"))),
            };
            found = Some(next);
        }
        match found {
            Some(found) => Ok(found),
            None if arguments.is_empty() => Ok(HeapCommand::Summary),
            None => Ok(HeapCommand::At(arguments.address(debugger)?)),
        }
    }

    fn run(self, debugger: &mut Debugger) -> Result<ShownHeap, CommandError> {
        let heap = debugger.engine.heap()?;
        if let HeapCommand::List(at) | HeapCommand::Sizes(Some(at)) = self
            && !heap.arenas.iter().any(|arena| arena.at == at)
        {
            return Err(CommandError::invalid(format!("no arena is at {at}; !heap lists them")));
        }
        let mut bytes = Vec::new();
        if matches!(self, HeapCommand::Check) {
            let mut memory = debugger.engine.memory()?;
            for problem in &heap.problems {
                let mut piece = vec![0; SHOWN_BYTES as usize];
                let count = memory.read(problem.at, &mut piece);
                piece.truncate(count);
                bytes.push(piece);
            }
        }
        Ok(ShownHeap { heap, bytes, command: self })
    }

    fn render(data: &ShownHeap, text: &mut String) {
        let heap = &data.heap;
        match data.command {
            HeapCommand::Summary => summary(heap, text),
            HeapCommand::At(at) => chunk(heap, at, text),
            HeapCommand::List(at) => {
                let chunks = heap.arenas.iter().filter(|arena| arena.at == at).flat_map(|arena| arena.chunks.iter());
                list(chunks, text);
            }
            HeapCommand::Sizes(at) => sizes(heap, at, text),
            HeapCommand::OfSize(size) => {
                list(all(heap).filter(|chunk| chunk.user().len() == size || chunk.size == size), text)
            }
            HeapCommand::Check => check(data, text),
        }
    }
}

fn all(heap: &Heap) -> impl Iterator<Item = &Chunk> {
    heap.arenas.iter().flat_map(|arena| &arena.chunks).chain(&heap.mapped)
}

fn summary(heap: &Heap, text: &mut String) {
    line!(text, "{}", heap.found_by.join("; "));
    let head = ["Busy", "Tcache", "Fast", "Bins", "Top"].map(|head| format!("{head:>16}"));
    line!(text, "  Arena              {:>12} {}", "System", head.join(" "));
    let cell = |total: ChunkTotal| match total.count {
        0 => format!("{:>16}", "-"),
        count => format!("{:>9x} {:<6}", total.bytes, format!("({count:x})")),
    };
    for arena in &heap.arenas {
        let cells = columns(arena).map(cell);
        let locked = if arena.is_locked { " (in use by a thread: may be half changed)" } else { "" };
        line!(text, "  {}  {:>12x} {}{locked}", arena.at, arena.system_bytes, cells.join(" ").trim_end());
    }
    let mapped = ChunkTotal::of(heap.mapped.iter());
    line!(text, "Mapped chunks: {:x} bytes in 0n{}", mapped.bytes, mapped.count);
    if let Some(known) = heap.mapped_known.filter(|known| *known != mapped) {
        line!(text, "  of {:x} bytes in 0n{} that the allocator counts", known.bytes, known.count);
    }
    let total = |fits: &dyn Fn(ChunkState) -> bool| ChunkTotal::of(all(heap).filter(|chunk| fits(chunk.state)));
    let (busy, free) = (total(&|state| !state.is_free()), total(&ChunkState::is_free));
    line!(
        text,
        "In use: {:x} bytes in 0n{} chunks; free: {:x} bytes in 0n{}",
        busy.bytes,
        busy.count,
        free.bytes,
        free.count
    );
    gaps(heap, text);
    if !heap.problems.is_empty() {
        line!(text, "0n{} problems; !heap -v tells them", heap.problems.len());
    }
}

fn columns(arena: &Arena) -> [ChunkTotal; 5] {
    let is_cached = |state| matches!(state, ChunkState::Free(FreeList::Cache(_)));
    let is_fast = |state| state == ChunkState::Free(FreeList::Fast);
    [
        arena.total(|state| !state.is_free()),
        arena.total(is_cached),
        arena.total(is_fast),
        arena.total(|state| matches!(state, ChunkState::Free(_)) && !is_cached(state) && !is_fast(state)),
        arena.total(|state| state == ChunkState::Top),
    ]
}

fn gaps(heap: &Heap, text: &mut String) {
    for gap in &heap.gaps {
        line!(text, "Not followed: {} to {} ({:x} bytes)", gap.start, gap.end, gap.len());
    }
}

const HEAD: &str = "    HeaderAddress        Size  UserAddress        UserSize  State";

fn row(mark: &str, chunk: &Chunk, text: &mut String) {
    let user = chunk.user();
    line!(text, "{mark:2}  {}  {:>6x}  {}  {:>7x}  {}", chunk.at, chunk.size, user.start, user.len(), chunk.state);
}

fn list<'a>(chunks: impl Iterator<Item = &'a Chunk>, text: &mut String) {
    line!(text, "{HEAD}");
    let mut count = 0;
    for chunk in chunks {
        count += 1;
        if count <= LISTED {
            row("", chunk, text);
        }
    }
    if count > LISTED {
        line!(text, "and 0n{} more", count - LISTED);
    }
    line!(text, "0n{count} chunks");
}

fn chunk(heap: &Heap, at: Va, text: &mut String) {
    let Some(found) = heap.chunk_at(at) else {
        match heap.gaps.iter().find(|gap| gap.contains(at)) {
            Some(gap) => line!(
                text,
                "{at} is in a part of the heap that cannot be followed, {} to {}; !heap -v tells what is before it",
                gap.start,
                gap.end
            ),
            None => line!(text, "{at} is in no chunk of the heap; !address {at} tells what is there"),
        }
        return;
    };
    let user = found.user();
    match at.0.checked_sub(user.start.0) {
        Some(0) => line!(text, "{at} is what the program was given"),
        Some(offset) if offset < user.len() => line!(text, "{at} is {offset:x} bytes into what the program was given"),
        _ => line!(text, "{at} is in the chunk's header"),
    }
    if let Some(arena) = heap.arena_of(at) {
        line!(text, "Arena {}", arena.at);
    }
    line!(text, "{HEAD}");
    if let Some(before) = heap.before(found.at) {
        row("", &before, text);
    }
    row(">", &found, text);
    if let Some(after) = heap.after(&found) {
        row("", &after, text);
    }
    for problem in heap.problems.iter().filter(|problem| problem.at == found.at) {
        line!(text, "Damaged: {}", problem.text);
    }
}

/// Busy chunks by their size for the program, the most bytes first.
fn by_size(heap: &Heap, only: Option<Va>) -> Vec<(u64, ChunkTotal)> {
    let arenas = heap.arenas.iter().filter(|arena| only.is_none_or(|at| arena.at == at));
    let mapped = heap.mapped.iter().filter(|_| only.is_none());
    let chunks = arenas.flat_map(|arena| &arena.chunks).chain(mapped);
    let mut by_size: BTreeMap<u64, ChunkTotal> = BTreeMap::new();
    for chunk in chunks.filter(|chunk| matches!(chunk.state, ChunkState::Busy | ChunkState::Mapped)) {
        let size = chunk.user().len();
        let entry = by_size.entry(size).or_default();
        entry.count += 1;
        entry.bytes += size;
    }
    let mut rows: Vec<(u64, ChunkTotal)> = by_size.into_iter().collect();
    rows.sort_by_key(|(size, total)| (std::cmp::Reverse(total.bytes), *size));
    rows
}

fn sizes(heap: &Heap, only: Option<Va>, text: &mut String) {
    let rows = by_size(heap, only);
    let all: u64 = rows.iter().map(|(_, total)| total.bytes).sum();
    match only {
        Some(at) => line!(text, " heap @ {at}"),
        None => line!(text, " all arenas"),
    }
    line!(text, "group-by: TOTSIZE max-display: {SIZES}");
    line!(text, "    size     #blocks     total     ( %) (percent of total busy bytes)");
    for (size, total) in rows.iter().take(SIZES) {
        let percent = if all == 0 { 0.0 } else { total.bytes as f64 * 100.0 / all as f64 };
        line!(text, "    {size:x} {:x} - {:x}  ({percent:.2})", total.count, total.bytes);
    }
    if rows.len() > SIZES {
        line!(text, "    and 0n{} more sizes", rows.len() - SIZES);
    }
}

fn check(data: &ShownHeap, text: &mut String) {
    let heap = &data.heap;
    line!(text, "{}", heap.found_by.join("; "));
    for (problem, bytes) in heap.problems.iter().zip(&data.bytes) {
        line!(text, "{}: {}", problem.at, problem.text);
        if let Some(before) = &problem.before {
            line!(text, "    before it: {} of {:x} bytes, {}", before.at, before.size, before.state);
        }
        for (number, row) in bytes.chunks(16).enumerate() {
            let hex: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
            let letters: String =
                row.iter().map(|byte| if (0x20..0x7f).contains(byte) { *byte as char } else { '.' }).collect();
            line!(text, "    {}  {}  {letters}", problem.at + 16 * number as u64, hex.join(" "));
        }
    }
    gaps(heap, text);
    for arena in heap.arenas.iter().filter(|arena| arena.is_locked) {
        line!(text, "Arena {} is in use by a thread: what is wrong may be half changed only", arena.at);
    }
    let chunks: usize = heap.arenas.iter().map(|arena| arena.chunks.len()).sum();
    let (arenas, problems) = (heap.arenas.len(), heap.problems.len());
    line!(text, "0n{chunks} chunks in 0n{arenas} arenas, 0n{} mapped; 0n{problems} problems", heap.mapped.len());
}
