//! Events that are told but stop nothing.

use outpost_engine::target::StopReason;
use outpost_engine::{EngineEvent, Notice};

use crate::{Debugger, OutputKind};

/// The text of an event; empty if there is nothing to say.
pub(crate) fn describe(debugger: &mut Debugger, event: &EngineEvent) -> (OutputKind, String) {
    match event {
        EngineEvent::Noticed(notice) => (OutputKind::Stop, notice_line(notice)),
        EngineEvent::Output { process, stream, bytes } => {
            (OutputKind::Debuggee, debugger.debuggee_text.decode(*process, *stream, bytes))
        }
        EngineEvent::ProcessAppeared { process, name, .. } => {
            (OutputKind::Normal, format!("Process {name} has started: 0n{process}\n"))
        }
        EngineEvent::ServerEnding { reason, .. } => {
            (OutputKind::Warning, format!("The server is ending the session: {reason}\n"))
        }
        _ => (OutputKind::Normal, String::new()),
    }
}

fn notice_line(notice: &Notice) -> String {
    match notice {
        Notice::ModuleLoaded { path, range, .. } => {
            format!("ModLoad: {} {}   {path}\n", range.start, range.end)
        }
        Notice::ModuleUnloaded { path, .. } => format!("Unload module {path}\n"),
        // The modules are told one by one.
        Notice::Event { reason: StopReason::ModulesChanged, .. } => String::new(),
        Notice::Event { filter, process_id, thread_id, reason } => {
            let words = match *filter {
                "eh" => "C++ exception (first chance)".to_owned(),
                "rp" => "Rust panic".to_owned(),
                _ => outpost_engine::describe_event(reason, None),
            };
            format!("({:x}.{:x}): {words}\n", process_id.0, thread_id.0)
        }
        Notice::Breakpoint { number, message } => format!("Breakpoint {number} {message}\n"),
        Notice::Message { text } => format!("{text}\n"),
        _ => String::new(),
    }
}
