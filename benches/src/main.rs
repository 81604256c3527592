//! Outpost beside gdb+gdbserver and lldb+lldb-server, all in one run, directly and through a link with 50 ms round trip.
//!
//! Every figure is taken the same way for all three: a script is given to the debugger's own command-line client, which
//! talks to its own server over TCP on loopback, and the time the process takes is read. Rates come from two runs with
//! different counts, so that start-up is not in them. Medians of several runs. The table goes to `docs/BENCHMARKS.md`.

mod debuggee;
mod debugger;
mod machine;
mod memory;
mod report;
mod scenario;

use std::path::Path;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().context("the workspace's folder")?;
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let runs = if arguments.iter().any(|argument| argument == "--quick") { 1 } else { 3 };
    let bench = scenario::Bench::new(&root, runs)?;
    let mut rows = Vec::new();
    for scenario in scenario::all() {
        if filter.is_some_and(|filter| !scenario.name.contains(filter.as_str())) {
            continue;
        }
        let row = bench.measure(&scenario);
        report::progress(&row);
        rows.push(row);
    }
    if filter.is_none() {
        report::write(&root.join("docs/BENCHMARKS.md"), &rows, &bench)?;
    }
    Ok(())
}
