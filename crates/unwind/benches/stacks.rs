//! What `~*k` waits for: stacks of a thousand threads, when everything is known and when nothing is.
//!
//! The stacks are those of a real program with threads that wait in the C library, recorded under gdb.

#[path = "../tests/recorded/mod.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod recorded;

use std::sync::OnceLock;

use divan::Bencher;
use outpost_testkit::Compiler;
use outpost_unwind::unwind_stack;
use recorded::{Record, Symbols, build, record};

const THREADS: usize = 1000;
/// The recursing thread is another matter.
const ORDINARY: usize = 100;

fn main() {
    if recorded::have(&["gdb", "gcc"]) {
        divan::main();
    }
}

fn threads() -> &'static Record {
    static RECORD: OnceLock<Record> = OnceLock::new();
    RECORD.get_or_init(|| {
        let program = build("threads.c", Compiler::Gcc, "-O1 -fno-optimize-sibling-calls");
        record(&program, r#"[("break", "stop_here"), ("run",), ("threads",)]"#)
    })
}

/// Unwinds a thousand stacks; gives the number of frames.
fn unwind_all(modules: &mut recorded::Modules, stops: &[(outpost_base::RegisterContext, recorded::Overlay)]) -> usize {
    let all = stops.iter().cycle().take(THREADS);
    all.map(|(context, memory)| unwind_stack(context, ORDINARY, modules, &mut memory.clone()).frames.len()).sum()
}

fn stops() -> Vec<(outpost_base::RegisterContext, recorded::Overlay)> {
    let record = threads();
    let ordinary = record.stops.iter().filter(|stop| stop.frames.len() < ORDINARY);
    ordinary.map(|stop| (stop.context.clone(), record.memory(stop))).collect()
}

#[divan::bench]
fn thousand_threads_again(bencher: Bencher<'_, '_>) {
    let stops = stops();
    let mut modules = threads().modules(None, Symbols::Stripped);
    unwind_all(&mut modules, &stops);
    bencher.bench_local(|| unwind_all(&mut modules, &stops));
}

#[divan::bench(sample_count = 20)]
fn thousand_threads_for_the_first_time(bencher: Bencher<'_, '_>) {
    let stops = stops();
    bencher
        .with_inputs(|| threads().modules(None, Symbols::Stripped))
        .bench_local_values(|mut modules| unwind_all(&mut modules, &stops));
}

#[divan::bench(sample_count = 10)]
fn thousand_threads_without_call_frame_information(bencher: Bencher<'_, '_>) {
    let stops = stops();
    let mut modules = threads().modules(Some("libc.so"), Symbols::Known);
    bencher.bench_local(|| unwind_all(&mut modules, &stops));
}

#[divan::bench(sample_count = 10)]
fn recursion_of_ten_thousand(bencher: Bencher<'_, '_>) {
    let record = threads();
    let deep = record.stops.iter().max_by_key(|stop| stop.frames.len()).expect("a stop");
    let mut modules = record.modules(None, Symbols::Stripped);
    let mut memory = record.memory(deep);
    bencher.bench_local(|| unwind_stack(&deep.context, 20_000, &mut modules, &mut memory).frames.len());
}
