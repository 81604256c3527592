//! Breakpoints that make events: where libraries pass when a program throws or panics.

use super::table::Breakpoint;
use super::{BreakpointPlace, BreakpointRequest};
use crate::events::BreakStatus;
use crate::{Engine, ProcessOrdinal};

/// Codes of filters and the functions that stand for them: the C++ runtime's, and the one that Rust's standard library
/// has for debuggers (`std::panicking::rust_panic`).
const FUNCTIONS: [(&str, &str); 2] = [("eh", "__cxa_throw"), ("rp", "rust_panic")];

impl Engine {
    /// Sets and clears them as the filters are now, in all processes.
    pub(crate) fn set_event_breakpoints(&mut self) {
        for (code, function) in FUNCTIONS {
            let filter = self.filters.by_code(code);
            let wanted = filter.is_some_and(|filter| filter.needs_stop() || filter.status == BreakStatus::Notify);
            let processes: Vec<ProcessOrdinal> = self.processes.iter().map(|process| process.ordinal).collect();
            for process in processes {
                let of_process = |known: &&Breakpoint| known.process == process && known.request.event == Some(code);
                let present = self.breakpoints.breakpoints.iter().find(of_process).map(|known| known.number);
                match present {
                    Some(number) if !wanted => self.remove_breakpoint(number),
                    None if wanted && self.can_have_breakpoints(process) => {
                        self.add_event_breakpoint(process, code, function)
                    }
                    _ => {}
                }
            }
        }
    }

    fn can_have_breakpoints(&self, process: ProcessOrdinal) -> bool {
        let takes = self.target_of(process).is_ok_and(|target| target.borrow_mut().as_breakpoints().is_some());
        takes && self.need_debugged(process, "an event").is_ok()
    }

    fn add_event_breakpoint(&mut self, process: ProcessOrdinal, code: &'static str, function: &str) {
        let place = BreakpointPlace::Expression(function.to_owned());
        let request = BreakpointRequest { symbolic: true, event: Some(code), ..BreakpointRequest::code(place) };
        let number = self.breakpoints.hidden_number();
        self.breakpoints.breakpoints.push(Breakpoint::new(number, process, request));
        self.resolve_deferred(process);
    }
}
