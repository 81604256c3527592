//! The C library's heap, against what the allocator says of itself, sound and damaged.

use std::process::Command;

use outpost_base::{MemoryReader, Va};
use outpost_engine::triage::{Chunk, ChunkState, FreeList, Heap};
use outpost_testkit::{Build, skip};

use crate::common::*;

fn program() -> std::path::PathBuf {
    Build::fixture("heap.c").flags("-g -O0 -w").path()
}

/// The fixture where it has done what `mode` says.
fn at_stop(mode: &str) -> Session {
    let mut session = Session::create(program(), &[mode]);
    session.run_to("heap!stop");
    session
}

fn pointer(session: &mut Session, name: &str, index: u64) -> Va {
    let at = session.address(&format!("heap!{name}")) + 8 * index;
    Va(session.engine.memory().unwrap().read_u64(at).unwrap())
}

/// What the program was given lies in this chunk, whose user part begins there.
fn chunk_of(heap: &Heap, given: Va) -> Chunk {
    let chunk = heap.chunk_at(given).unwrap_or_else(|| panic!("no chunk at {given}"));
    assert_eq!(chunk.user().start, given, "{chunk:?}");
    chunk
}

/// Sums are those of mallinfo2(3), which counts what caches keep as used, and the states of arenas with them.
fn agrees_with_the_allocator(session: &mut Session) -> Heap {
    let heap = session.engine.heap().unwrap();
    assert_eq!(heap.problems, [], "{:?}", heap.found_by);
    let [used, free, mapped, mapped_count] =
        ["used_bytes", "free_bytes", "mapped_bytes", "mapped_count"].map(|name| pointer(session, name, 0).0);
    let total =
        |fits: &dyn Fn(ChunkState) -> bool| heap.arenas.iter().map(|arena| arena.total(fits).bytes).sum::<u64>();
    let is_used = |state: ChunkState| !state.is_free() || matches!(state, ChunkState::Free(FreeList::Cache(_)));
    // A further arena's first heap has its own head and the arena's state in front of the chunks.
    let heads: u64 = heap.arenas.iter().skip(1).map(|arena| arena.chunks[0].at - Va(arena.at.0 & !0xffff)).sum();
    assert_eq!(total(&is_used) + heads, used, "used");
    assert_eq!(total(&|state| !is_used(state)), free, "free");
    assert_eq!(heap.mapped.iter().map(|chunk| chunk.size).sum::<u64>(), mapped);
    assert_eq!(heap.mapped.len() as u64, mapped_count);
    let system: u64 = heap.arenas.iter().map(|arena| arena.system_bytes).sum();
    assert_eq!(used + free, system);
    heap
}

#[test]
fn the_sums_are_the_allocators_own_and_each_chunk_is_where_it_was_put() {
    let mut session = at_stop("");
    let heap = agrees_with_the_allocator(&mut session);
    let thread = session.engine.current_thread().unwrap();
    let mut state = |name: &str| chunk_of(&heap, pointer(&mut session, name, 0)).state;
    assert_eq!(state("kept"), ChunkState::Busy);
    assert_eq!(state("freed"), ChunkState::Free(FreeList::Cache(Some(thread))));
    assert_eq!(state("fast"), ChunkState::Free(FreeList::Fast));
    assert_eq!(state("binned"), ChunkState::Free(FreeList::Unsorted));
    assert_eq!(state("sorted"), ChunkState::Free(FreeList::Large));
    assert_eq!(state("mapped"), ChunkState::Mapped);
    let kept = chunk_of(&heap, pointer(&mut session, "kept", 0));
    assert_eq!((kept.size, kept.user().len()), (0x20, 0x18));
    assert_eq!(heap.before(kept.at).map(|before| before.user().start), Some(pointer(&mut session, "sorted", 0)));
    assert_eq!(heap.after(&kept).map(|after| after.user().start), Some(pointer(&mut session, "binned", 0)));
}

#[test]
fn arenas_of_threads_are_followed() {
    let mut session = at_stop("threads");
    let heap = agrees_with_the_allocator(&mut session);
    assert_eq!(heap.arenas.len(), 3);
    let other = pointer(&mut session, "kept", 7);
    assert_eq!(chunk_of(&heap, other).state, ChunkState::Busy);
    assert_ne!(heap.arena_of(other).unwrap().at, heap.arenas[0].at);
    let caches = heap.arenas.iter().flat_map(|arena| &arena.chunks);
    assert_eq!(caches.filter(|chunk| matches!(chunk.state, ChunkState::Cache(Some(_)))).count(), 3);
}

/// Without the C library's debug info: what is found by code and release is the same.
#[test]
fn the_heap_is_the_same_without_debug_info() {
    let Ok(output) = Command::new("gcc").arg("-print-file-name=libc.so.6").output() else { return skip("no gcc") };
    let library = String::from_utf8(output.stdout).unwrap();
    let mut bytes = std::fs::read(library.trim()).unwrap();
    // Another build id has no debug info anywhere: the note has sizes, type and owner before it (elf(5)).
    let note = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";
    let Some(at) = bytes.windows(note.len()).position(|window| window == note) else { return skip("no build id") };
    bytes[at + note.len()] ^= 0xff;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("libc.so.6"), bytes).unwrap();
    let mut session = Session::empty();
    let mut spec = spec(&program(), &["threads"]);
    spec.environment_changes.push(("LD_LIBRARY_PATH".into(), Some(folder.path().to_str().unwrap().into())));
    session.engine.create(session.system, &spec).unwrap();
    session.stop();
    session.run_to("heap!stop");
    let heap = agrees_with_the_allocator(&mut session);
    let found_by = heap.found_by.join("; ");
    for way in ["layout by that release", "main arena by the code of ", "thread caches by the code of malloc"] {
        assert!(found_by.contains(way), "{found_by}");
    }
    let other = pointer(&mut session, "kept", 7);
    assert_eq!(chunk_of(&heap, other).state, ChunkState::Busy);
    let freed = chunk_of(&heap, pointer(&mut session, "freed", 0));
    assert!(matches!(freed.state, ChunkState::Free(FreeList::Cache(Some(_)))), "{freed:?}");
}

/// One problem, at the chunk that was damaged, and all of its text.
fn only_problem(mode: &str, name: &str, index: u64, parts: &[&str]) {
    let mut session = at_stop(mode);
    let heap = session.engine.heap().unwrap();
    let [problem] = &heap.problems[..] else { panic!("{mode}: {:#?}", heap.problems) };
    assert_eq!(problem.at + 16, pointer(&mut session, name, index), "{mode}: {problem:?}");
    for part in parts {
        assert!(problem.text.contains(part), "{mode}: {problem:?} does not say {part}");
    }
}

#[test]
fn damage_is_told_where_it_is() {
    only_problem("overrun", "kept", 4, &["0x4141414141414141 (\"AAAAAAAA\")", "over the end of the chunk before it"]);
    only_problem("size", "kept", 4, &["its size field, 0x60, leads to", "another begins within it"]);
    only_problem("twice", "kept", 4, &["freed twice"]);
    only_problem("written", "freed", 0, &["\"still mi\"", "tcache of thread 0", "written to after it was freed"]);
}

#[test]
fn the_chunk_before_damage_is_the_one_that_was_overrun() {
    let mut session = at_stop("overrun");
    let heap = session.engine.heap().unwrap();
    let before = heap.problems[0].before.unwrap();
    assert_eq!(before.user().start, pointer(&mut session, "kept", 3));
    // What lies behind the damage is there all the same.
    assert_eq!(chunk_of(&heap, pointer(&mut session, "kept", 5)).state, ChunkState::Busy);
    let lost = pointer(&mut session, "kept", 4);
    assert!(heap.chunk_at(lost).is_none() && heap.gaps.iter().any(|gap| gap.contains(lost)), "{:?}", heap.gaps);
}

#[test]
fn a_rest_and_a_bin_that_were_written_over_are_told() {
    let mut session = at_stop("top");
    let heap = session.engine.heap().unwrap();
    assert!(heap.problems.iter().all(|problem| problem.text.contains("TTTTTTTT")), "{:#?}", heap.problems);
    assert_eq!(heap.problems.len(), 1);
    let mut session = at_stop("bin");
    let heap = session.engine.heap().unwrap();
    let binned = pointer(&mut session, "binned", 0);
    assert!(!heap.problems.is_empty());
    assert!(heap.problems.iter().all(|problem| problem.at + 16 == binned), "{:#?}", heap.problems);
}

#[test]
fn memory_that_the_program_took_from_the_break_is_no_damage() {
    let mut session = at_stop("break");
    let heap = session.engine.heap().unwrap();
    assert_eq!(heap.problems, []);
    assert_eq!(heap.gaps.len(), 1, "{:?}", heap.gaps);
    let behind = pointer(&mut session, "kept", 0);
    assert!(behind > heap.gaps[0].end, "chunks behind it are there");
    assert_eq!(chunk_of(&heap, behind).state, ChunkState::Busy);
}
