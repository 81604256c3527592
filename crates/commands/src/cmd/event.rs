//! `.lastevent`, `.eventlog`, `.exr`: what has happened.

use std::collections::VecDeque;

use outpost_engine::LastEvent;
use outpost_engine::target::{SigInfo, StopReason};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &[".lastevent"],
        syntax: ".lastevent",
        summary: "Show the last event",
        details: "With process and thread, for signals the chance.",
        example: ".lastevent",
        group: Group::State,
        eats_line: false,
        run: carry_out::<ShowLastEvent>,
    },
    CommandEntry {
        names: &[".eventlog"],
        syntax: ".eventlog",
        summary: "Show the events so far, with their times",
        details: "The last 256 stops and notices, steps left out, on the clock of the debugger's machine.",
        example: ".eventlog",
        group: Group::State,
        eats_line: false,
        run: carry_out::<EventLog>,
    },
    CommandEntry {
        names: &[".exr"],
        syntax: ".exr -1",
        summary: "Show the signal of the last event in full",
        details: "Number, code, address or sender, from its siginfo.",
        example: ".exr -1",
        group: Group::State,
        eats_line: false,
        run: carry_out::<ExceptionRecord>,
    },
];

/// Events so far, the last of them.
#[derive(Debug, Default)]
pub(crate) struct EventHistory {
    events: VecDeque<LoggedEvent>,
}

/// An event that was told.
#[derive(Debug, Clone)]
pub struct LoggedEvent {
    /// When, on the debugger's machine.
    pub time: String,
    /// It, in words.
    pub text: String,
}

fields!(LoggedEvent { time, text });

/// Events that are kept.
const KEPT: usize = 256;

impl EventHistory {
    /// Notes an event; what takes several lines is one for each.
    pub(crate) fn note(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.is_empty()) {
            if self.events.len() == KEPT {
                self.events.pop_front();
            }
            self.events.push_back(LoggedEvent { time: super::time::now(), text: line.to_owned() });
        }
    }
}

/// Shows the events so far.
#[derive(Debug, Clone)]
pub struct EventLog;

impl Command for EventLog {
    type Data = Vec<LoggedEvent>;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<EventLog, CommandError> {
        Ok(EventLog)
    }

    fn run(self, debugger: &mut Debugger) -> Result<Vec<LoggedEvent>, CommandError> {
        Ok(debugger.events.events.iter().cloned().collect())
    }

    fn render(data: &Vec<LoggedEvent>, text: &mut String) {
        data.iter().for_each(|event| line!(text, "{}: {}", event.time, event.text));
        if data.is_empty() {
            line!(text, "No events so far");
        }
    }
}

/// Shows the last event.
#[derive(Debug, Clone)]
pub struct ShowLastEvent;

impl Command for ShowLastEvent {
    type Data = LastEvent;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<ShowLastEvent, CommandError> {
        Ok(ShowLastEvent)
    }

    fn run(self, debugger: &mut Debugger) -> Result<LastEvent, CommandError> {
        let last = debugger.engine.last_event().cloned();
        last.ok_or_else(|| CommandError::invalid("there was no event yet"))
    }

    fn render(data: &LastEvent, text: &mut String) {
        line!(text, "Last event: {:x}.{:x}: {}", data.process_id.0, data.thread_id.0, data.description());
    }
}

/// Shows a signal.
#[derive(Debug, Clone)]
pub struct ExceptionRecord;

/// A signal and where it struck.
#[derive(Debug, Clone)]
pub struct SignalRecord {
    /// The signal.
    pub info: SigInfo,
    /// `module!symbol+0x5` at the pc of the event.
    pub place: String,
    pc: outpost_base::Va,
}

fields!(SignalRecord { info, place, pc });

impl Command for ExceptionRecord {
    type Data = SignalRecord;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<ExceptionRecord, CommandError> {
        match arguments.take_rest() {
            "-1" => Ok(ExceptionRecord),
            "" => Err(arguments.usage("-1, the last event, is the record there is")),
            _ => Err(CommandError::unsupported(
                ".exr Address",
                "Linux keeps no exception records in memory; .exr -1 shows the last signal",
            )),
        }
    }

    fn run(self, debugger: &mut Debugger) -> Result<SignalRecord, CommandError> {
        let last = debugger.engine.last_event().cloned();
        match last.as_ref().map(|event| (&event.reason, event.pc)) {
            Some((StopReason::Signal(info), pc)) => {
                let place = crate::text::symbols::name_of(&mut debugger.engine, pc);
                Ok(SignalRecord { info: info.clone(), place, pc })
            }
            _ => Err(CommandError::invalid("the last event is no signal")),
        }
    }

    fn render(data: &SignalRecord, text: &mut String) {
        let info = &data.info;
        let name = outpost_engine::signal_name(info.signo);
        let code = outpost_engine::signal_code_name(info.signo, info.code).unwrap_or("");
        line!(text, "ExceptionAddress: {} ({})", data.pc, data.place);
        line!(text, "  ExceptionCode: {name} ({})", info.signo);
        line!(text, "  si_code: {} {code}", info.code);
        line!(text, "  si_errno: {}", info.errno);
        if info.sender.0 != 0 {
            line!(text, "  si_pid: 0n{}", info.sender);
        }
        // Of a signal that somebody sent, the address is not filled in (sigaction(2), siginfo_t).
        if info.sender.0 == 0 {
            line!(text, "  si_addr: {}", info.address);
        }
        let fatal = if info.fatal_by_default { "ends the process" } else { "is handled or ignored" };
        line!(text, "  When it is delivered, it {fatal}");
    }
}
