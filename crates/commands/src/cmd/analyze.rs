//! `!analyze`: what is wrong with the process.

use outpost_engine::triage::{Analysis, Chunk, Hang, HangClass, HeapFinding};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value, fields, json};
use crate::language::Arguments;
use crate::text::frames::{FrameColumns, call_site, head, row};
use crate::text::line;
use crate::{CommandError, Debugger};

/// Frames of the stack that are shown.
const FRAMES: usize = 32;
/// Stacks that are shown of a standstill.
const STACKS: usize = 8;

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["!analyze"],
    syntax: "!analyze [-v] [-hang]",
    summary: "Say what is wrong: kind of failure, cause, frame to blame",
    details: "Of the thread that the last event's signal struck, else of the current one. BUCKET is the same for the same \
              bug in every run. -v adds the signal in words, the access with what is at its address, how the bad value \
              came about, what the heap has to do with it (which chunk, what is just before it, which list of freed chunks \
              holds it), and the stack. -hang says why nothing goes on instead: circles of locks and joins, locks whose \
              holder has ended, threads that wait with none left to wake them, that run all the time or wait for a file; \
              with the stacks of the threads in it, and with -v what every thread waits for. Memory is only read.",
    example: "!analyze -v",
    group: Group::State,
    eats_line: false,
    run: carry_out::<Analyze>,
}];

/// Analyses the process.
#[derive(Debug, Clone)]
pub struct Analyze {
    verbose: bool,
    hang: bool,
}

/// What was found.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one value at a time")]
pub enum Found {
    /// Of a failure.
    Failure(Analysis),
    /// Of a standstill.
    Standstill(Hang),
}

impl Json for Found {
    fn json(&self) -> Value {
        match self {
            Found::Failure(analysis) => json!({ "failure": analysis.json() }),
            Found::Standstill(hang) => json!({ "standstill": hang.json() }),
        }
    }
}

/// An analysis with how much of it is shown.
#[derive(Debug, Clone)]
pub struct ShownAnalysis {
    /// What was found.
    pub found: Found,
    verbose: bool,
}

fields!(ShownAnalysis { found, .. });

impl Command for Analyze {
    type Data = ShownAnalysis;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<Analyze, CommandError> {
        let (mut verbose, mut hang) = (false, false);
        while let Some(option) = arguments.take_option() {
            match option {
                "v" => verbose = true,
                "hang" => hang = true,
                other => return Err(arguments.usage(format!("unknown option -{other}"))),
            }
        }
        Ok(Analyze { verbose, hang })
    }

    fn run(self, debugger: &mut Debugger) -> Result<ShownAnalysis, CommandError> {
        let found = match self.hang {
            true => Found::Standstill(debugger.engine.analyze_hang()?),
            false => Found::Failure(debugger.engine.analyze()?),
        };
        Ok(ShownAnalysis { found, verbose: self.verbose })
    }

    fn render(data: &ShownAnalysis, text: &mut String) {
        let found = match &data.found {
            Found::Failure(found) => found,
            Found::Standstill(hang) => return standstill(hang, data.verbose, text),
        };
        line!(text, "FAULT: {}", found.class);
        line!(text, "CAUSE: {}", found.cause);
        line!(text, "THREAD: {:x}.{:x}", found.process_id.0, found.thread_id.0);
        if let Some(frame) = found.blamed_frame() {
            line!(text, "BLAMED: {}{}", call_site(frame), crate::text::symbols::line_suffix(frame.source.as_ref()));
        }
        line!(text, "BUCKET: {}", found.bucket);
        if data.verbose {
            details(found, text);
        }
    }
}

fn standstill(hang: &Hang, verbose: bool, text: &mut String) {
    line!(text, "HANG: {}", hang.class);
    line!(text, "CAUSE: {}", hang.cause);
    if let Some(wait) = hang.blamed.and_then(|at| hang.threads.get(at)) {
        line!(text, "THREAD: {:x}.{:x}", hang.process_id.0, wait.id.0);
    }
    if let Some(frame) = hang.blamed_frame() {
        line!(text, "BLAMED: {}{}", call_site(frame), crate::text::symbols::line_suffix(frame.source.as_ref()));
    }
    line!(text, "BUCKET: {}", hang.bucket);
    if verbose {
        line!(text, "THREADS:");
        for wait in &hang.threads {
            line!(text, "{}", super::locks::wait_line(wait));
        }
    }
    // A standstill of all is not told by hundreds of stacks.
    let is_told = verbose || matches!(hang.class, HangClass::Deadlock | HangClass::SelfDeadlock);
    for wait in hang.involved.iter().filter_map(|at| hang.threads.get(*at)).take(STACKS).filter(|_| is_told) {
        line!(text, "STACK OF THREAD {} (id {:x}):", wait.thread, wait.id.0);
        let columns = FrameColumns::default();
        line!(text, "{}", head(columns));
        for frame in wait.stack.frames.iter().take(FRAMES) {
            line!(text, "{}", row(frame, columns, None, "", ""));
        }
    }
}

fn details(found: &Analysis, text: &mut String) {
    if let Some(signal) = &found.signal {
        line!(text, "SIGNAL: {} {}: {}", signal.name, signal.code, signal.meaning);
    }
    if !found.instruction.is_empty() {
        line!(text, "INSTRUCTION: {}", found.instruction);
    }
    if let Some(access) = &found.access {
        let place = access.address.map(|at| format!(" at {at}")).unwrap_or_default();
        let size = if access.size == 0 { String::new() } else { format!(" of {:#x} bytes", access.size) };
        let what = if access.expression.is_empty() { String::new() } else { format!(" ({})", access.expression) };
        line!(text, "ACCESS: {}{size}{place}{what}", access.kind);
    }
    if let Some(note) = &found.address {
        line!(text, "ADDRESS: {}: {note}", note.at);
    }
    for message in &found.messages {
        let place = if message.place.is_empty() { String::new() } else { format!(" [{}]", message.place) };
        line!(text, "MESSAGE: {}: {}{place}", message.source, message.text);
    }
    if let Some(heap) = &found.heap {
        heap_lines(heap, text);
    }
    if let Some(recursion) = &found.recursion {
        let (rounds, bytes) = (recursion.rounds, recursion.bytes_per_round);
        line!(text, "RECURSION: {}; about 0n{rounds} rounds of {bytes:#x} bytes", recursion.cycle.join(", "));
    }
    for step in &found.origin {
        line!(text, "ORIGIN: {}: {}", step.at, step.text);
    }
    for note in &found.notes {
        line!(text, "NOTE: {note}");
    }
    line!(text, "STACK:");
    let columns = FrameColumns::default();
    line!(text, "{}", head(columns));
    for frame in found.stack.frames.iter().take(FRAMES) {
        line!(text, "{}", row(frame, columns, None, "", ""));
    }
    if !found.stack.problem.is_empty() {
        line!(text, "{}", found.stack.problem);
    }
}

fn heap_lines(heap: &HeapFinding, text: &mut String) {
    if !heap.text.is_empty() {
        line!(text, "HEAP: {}", heap.text);
    }
    let chunk = |chunk: &Chunk| format!("{} of {:#x} bytes, {}", chunk.at, chunk.size, chunk.state);
    if let Some(found) = &heap.chunk {
        line!(text, "HEAP: chunk {}", chunk(found));
    }
    if let Some(before) = &heap.before {
        line!(text, "HEAP: before it {}", chunk(before));
    }
    for problem in &heap.problems {
        line!(text, "HEAP: {}: {}", problem.at, problem.text);
        if let Some(before) = &problem.before {
            line!(text, "HEAP:     before it {}", chunk(before));
        }
    }
}
