//! What is shown when something happens.

use outpost_engine::{EngineEvent, Stop};

use crate::context::Context;
use crate::{Output, OutputKind};

/// A stop: the event line.
pub(crate) fn stop(context: &mut Context, stop: &Stop, output: &mut dyn Output) {
    if let Some(event) = context.engine.last_event() {
        output.write(OutputKind::Normal, &format!("{}\n", event.description()));
    }
    if let Some(problem) = stop.breakpoints.iter().find_map(|hit| hit.condition_problem.as_ref()) {
        output.write(OutputKind::Warning, &format!("{problem}\n"));
    }
}

/// Anything else.
pub(crate) fn event(_context: &mut Context, event: &EngineEvent, output: &mut dyn Output) {
    match event {
        EngineEvent::Output { bytes, .. } => output.write(OutputKind::Debuggee, &String::from_utf8_lossy(bytes)),
        EngineEvent::ProcessAppeared { process, name, .. } => {
            output.write(OutputKind::Normal, &format!("Process 0n{process} ({name}) has started\n"));
        }
        EngineEvent::ServerEnding { reason, .. } => output.write(OutputKind::Warning, &format!("{reason}\n")),
        _ => {}
    }
}
