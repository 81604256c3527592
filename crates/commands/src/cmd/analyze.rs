//! `!analyze`: what is wrong with the process.

use outpost_engine::triage::Analysis;

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::language::Arguments;
use crate::text::frames::{FrameColumns, call_site, head, row};
use crate::text::line;
use crate::{CommandError, Debugger};

/// Frames of the stack that are shown.
const FRAMES: usize = 32;

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["!analyze"],
    syntax: "!analyze [-v]",
    summary: "Say what is wrong: kind of failure, cause, frame to blame",
    details: "Of the thread that the last event's signal struck, else of the current one. BUCKET is the same for the same \
              bug in every run. -v adds the signal in words, the access with what is at its address, how the bad value \
              came about, and the stack. Memory is only read.",
    example: "!analyze -v",
    group: Group::State,
    eats_line: false,
    run: carry_out::<Analyze>,
}];

/// Analyses the process.
#[derive(Debug, Clone)]
pub struct Analyze {
    verbose: bool,
}

/// An analysis with how much of it is shown.
#[derive(Debug, Clone)]
pub struct ShownAnalysis {
    /// What was found.
    pub analysis: Analysis,
    verbose: bool,
}

impl Command for Analyze {
    type Data = ShownAnalysis;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<Analyze, CommandError> {
        let mut verbose = false;
        while let Some(option) = arguments.take_option() {
            match option {
                "v" => verbose = true,
                "hang" => return Err(CommandError::unsupported("!analyze -hang", "not implemented yet")),
                other => return Err(arguments.usage(format!("unknown option -{other}"))),
            }
        }
        Ok(Analyze { verbose })
    }

    fn run(self, debugger: &mut Debugger) -> Result<ShownAnalysis, CommandError> {
        Ok(ShownAnalysis { analysis: debugger.engine.analyze()?, verbose: self.verbose })
    }

    fn render(data: &ShownAnalysis, text: &mut String) {
        let found = &data.analysis;
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
