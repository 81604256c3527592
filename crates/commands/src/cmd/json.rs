//! `.json`: what commands give, as JSON.

use outpost_engine::EngineError;
use outpost_engine::target::StopReason;

use crate::command::{CommandEntry, Group};
use crate::json::{Collector, json};
use crate::language::{Arguments, cut_command, recognise};
use crate::nested::resumes;
use crate::{CommandError, Debugger, Json, Output, OutputKind, registry};

const NAME: &str = ".json";

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &[NAME],
    syntax: ".json Command [; Command ...]",
    summary: "Show what commands give as JSON, one document on a line for each",
    details: "A document has the command and its result; results instead where it ran others (~*e, .foreach, !for_each_frame), one \
              for each; error with kind and message where it failed; text where something was written that is no \
              result. After a command that resumes, the stop is a document, too: {\"stop\": ...}, steps on the way are \
              {\"step\": ...}. Addresses, registers and words of memory are strings in hexadecimal, counts, sizes, ids \
              and ordinals are numbers, enumerations are their names, and null stands for what is not known. docs/json.md \
              shows the documents of the usual commands.",
    example: ".json k; r rip",
    group: Group::Scripts,
    eats_line: true,
    run: as_json,
}];

fn as_json(arguments: &mut Arguments<'_>, debugger: &mut Debugger, out: &mut dyn Output) -> Result<(), CommandError> {
    let text = arguments.take_rest();
    let mut collector = Collector::default();
    let found = match recognise(text) {
        Err("") => return Err(arguments.usage("the command is missing")),
        Err(word) => {
            let document = collector.document(text.trim(), Err(registry::unknown(word)));
            out.write(OutputKind::Normal, &format!("{document}\n"));
            return Ok(());
        }
        Ok(found) if found.entry.names.contains(&NAME) => return Err(arguments.usage("it stands once before a line")),
        Ok(found) => found,
    };
    let (command, after) = match registry::eats_line(&found) || registry::cuts_itself(found.entry) {
        true => text.split_once('\n').unwrap_or((text, "")),
        false => cut_command(text),
    };
    let done = match resumes(command) {
        true => debugger.one_command(command, &mut collector),
        // Files of commands and control tokens bring in others, which are a part of it.
        false => debugger.run_all(command, "commands that .json runs within others cannot resume", &mut collector),
    };
    if let Err(error @ CommandError::Engine(EngineError::Cancelled)) = done {
        return Err(error);
    }
    if done.is_ok() && !after.trim().is_empty() {
        // It may be said again, which means no more.
        let rest = after.trim_start_matches([';', ' ']);
        let again = recognise(rest).is_ok_and(|found| found.entry.names.contains(&NAME));
        debugger.script.push(&if again { rest.to_owned() } else { format!("{NAME} {after}") });
    }
    debugger.stops_as_json |= debugger.awaits_event;
    out.write(OutputKind::Normal, &format!("{}\n", collector.document(command.trim(), done)));
    Ok(())
}

/// The document of an event that a command of `.json` brought about.
pub(crate) fn stop(stop: &outpost_engine::Stop) -> String {
    // Of a process that has ended, there is no place where it is.
    let mut shown = stop.json();
    if matches!(stop.reason, StopReason::Exited { .. }) {
        shown["pc"] = json!(null);
    }
    format!("{}\n", json!({ "stop": shown }))
}

/// The document of a step on the way.
pub(crate) fn step(step: &outpost_engine::TracedStep) -> String {
    let shown = json!({
        "thread": step.thread.json(), "pc": step.registers.pc().json(), "registers": step.registers.json(),
    });
    format!("{}\n", json!({ "step": shown }))
}
