//! `sx` and its family: which events stop, which are told, and what is done about them.

use outpost_engine::{BreakStatus, EventFilter, EventFilters, HANDLING_CODES};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["sx"],
        syntax: "sx",
        summary: "List the event filters",
        details: "Code, event, what it does, whether g delivers the signal (not handled) or not, and the commands.",
        example: "sx",
        group: Group::State,
        eats_line: false,
        run: carry_out::<ListFilters>,
    },
    CommandEntry {
        names: &["sxe", "sxd", "sxn", "sxi"],
        syntax: "sxe|sxd|sxn|sxi [-c \"Commands\"] [-c2 \"Commands\"] [-h] Event",
        summary: "Choose what an event does: stop, stop at the second chance, be told, nothing",
        details: "Event is a code of sx, one of them with what is meant of it (ld:libfoo*, ud:Module, cpr:Program, \
                  epr:Program, sc:openat,close), sig:Number or a signal's name, a number of the reference's exceptions, or * \
                  for all other signals. -c sets commands for the event, for signals at the first chance, -c2 at the \
                  second; they run whatever it does. With -h, g swallows the signal after sxe, and delivers it after the \
                  others. eh is a C++ throw, rp a panic of Rust.",
        example: "sxe ld:libssl*; sxn -c \"k 3\" eh; sxe -h SIGUSR1; sxe sc:openat",
        group: Group::State,
        eats_line: false,
        run: carry_out::<SetFilter>,
    },
    CommandEntry {
        names: &["sx-"],
        syntax: "sx- [-c \"Commands\"] [-c2 \"Commands\"] Event",
        summary: "Change the commands of an event and nothing else",
        details: "Event is written as for sxe.",
        example: "sx- -c \"\" av",
        group: Group::State,
        eats_line: false,
        run: carry_out::<SetFilter>,
    },
    CommandEntry {
        names: &["sxr"],
        syntax: "sxr",
        summary: "Set all event filters as they were at first",
        details: "Their commands are forgotten, too.",
        example: "sxr",
        group: Group::State,
        eats_line: false,
        run: carry_out::<ResetFilters>,
    },
];

/// Numbers of the reference's exceptions that have a filter here (ntstatus.h).
const NUMBERS: [(&str, &str); 11] = [
    ("c0000005", "av"),
    ("c0000006", "ip"),
    ("c000001d", "ii"),
    ("c0000094", "dz"),
    ("c0000095", "iov"),
    ("c00000fd", "sov"),
    ("c0000420", "asrt"),
    ("80000002", "dm"),
    ("80000003", "bpe"),
    ("80000004", "sse"),
    ("e06d7363", "eh"),
];
/// Filters whose events are about something with a name.
const WITH_ARGUMENT: [&str; 6] = ["ld", "ud", "cpr", "epr", "sc", "out"];

/// Lists the filters.
#[derive(Debug, Clone)]
pub struct ListFilters;

/// A row of the list.
#[derive(Debug, Clone)]
pub struct ListedFilter {
    /// The signal, if it is one that has a row of its own.
    pub signal: Option<i32>,
    /// What is done.
    pub filter: EventFilter,
}

fields!(ListedFilter { signal, filter });

impl Command for ListFilters {
    type Data = Vec<ListedFilter>;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<ListFilters, CommandError> {
        Ok(ListFilters)
    }

    fn run(self, debugger: &mut Debugger) -> Result<Self::Data, CommandError> {
        Ok(debugger
            .engine
            .filters()
            .all()
            .map(|(signal, filter)| ListedFilter { signal, filter: filter.clone() })
            .collect())
    }

    fn render(data: &Self::Data, text: &mut String) {
        for ListedFilter { signal, filter } in data {
            let (code, description) = match signal {
                Some(signal) => (outpost_engine::signal_name(*signal), format!("Signal {signal}")),
                None if filter.code == "sig" => ("*".to_owned(), filter.description.to_owned()),
                None => (filter.code.to_owned(), filter.description.to_owned()),
            };
            let status = match filter.status {
                BreakStatus::Break => "break",
                BreakStatus::SecondChance => "second-chance break",
                BreakStatus::Notify => "output",
                BreakStatus::Ignore => "ignore",
            };
            let handling = match (filter.is_exception(), filter.handled) {
                (false, _) => "",
                (true, true) => " - handled",
                (true, false) => " - not handled",
            };
            line!(text, "{code:>8} - {description} - {status}{handling}");
            if let Some(argument) = &filter.argument {
                line!(text, "           (only {argument})");
            }
            for (commands, title) in filter.commands.iter().zip(["Command", "Second command"]) {
                if !commands.is_empty() {
                    line!(text, "           {title}: \"{commands}\"");
                }
            }
        }
    }
}

/// Changes a filter.
#[derive(Debug, Clone)]
pub struct SetFilter {
    code: String,
    argument: Option<String>,
    status: Option<BreakStatus>,
    handling: bool,
    commands: [Option<String>; 2],
}

impl Command for SetFilter {
    type Data = ();

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<SetFilter, CommandError> {
        let status = match arguments.name.to_ascii_lowercase().as_str() {
            "sxe" => Some(BreakStatus::Break),
            "sxd" => Some(BreakStatus::SecondChance),
            "sxn" => Some(BreakStatus::Notify),
            "sxi" => Some(BreakStatus::Ignore),
            _ => None,
        };
        let (mut handling, mut commands, mut event) = (false, [None, None], None);
        while !arguments.is_empty() {
            let second = arguments.take_word("-c2");
            if second || arguments.take_word("-c") {
                let text = arguments.quoted().ok_or_else(|| arguments.usage("the commands in quotes are missing"))?;
                commands[usize::from(second)] = Some(text);
            } else if status.is_some() && arguments.take_word("-h") {
                handling = true;
            } else if event.is_none() {
                let text = arguments.rest();
                // Names of system calls are separated by commas.
                let len = text.find(char::is_whitespace).unwrap_or(text.len());
                event = Some(text[..len].to_owned());
                arguments.read_to(&text[len..]);
            } else {
                return Err(arguments.usage(format!("extra characters '{}'", arguments.rest())));
            }
        }
        let event = event.ok_or_else(|| arguments.usage("the event is missing; sx lists them"))?;
        if status.is_none() && commands == [None, None] {
            return Err(arguments.usage("the commands are missing"));
        }
        let (code, argument) = match event.split_once(':') {
            Some((code, argument)) if !code.eq_ignore_ascii_case("sig") => (code, Some(argument)),
            _ => (event.as_str(), None),
        };
        let lower = code.to_ascii_lowercase();
        let known = NUMBERS.iter().find(|(number, _)| *number == lower.trim_start_matches("0x"));
        let code = if code == "*" { "sig" } else { known.map_or(lower.as_str(), |(_, code)| code) };
        if let Some(argument) = argument
            && (!WITH_ARGUMENT.contains(&code) || argument.is_empty())
        {
            return Err(CommandError::invalid(format!("the event {code} takes no '{argument}'")));
        }
        if let Some(argument) = argument.filter(|_| code == "sc") {
            known_calls(argument)?;
        }
        Ok(SetFilter { code: code.to_owned(), argument: argument.map(str::to_owned), status, handling, commands })
    }

    fn run(self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let handles = HANDLING_CODES.iter().find(|(code, _)| *code == self.code).map(|(_, of)| *of);
        let filters = debugger.engine.filters_mut();
        let Some(filter) = filters.get_mut(handles.unwrap_or(&self.code)) else {
            return Err(CommandError::invalid(format!("there is no event '{}'; sx lists them", self.code)));
        };
        if let Some(status) = self.status {
            if self.handling || handles.is_some() {
                filter.handled = status == BreakStatus::Break;
            } else {
                filter.status = status;
                filter.argument = self.argument;
            }
        }
        for (commands, given) in filter.commands.iter_mut().zip(self.commands) {
            if let Some(given) = given {
                *commands = given;
            }
        }
        Ok(())
    }

    fn render((): &(), _: &mut String) {}
}

/// Complains of names that no system call has.
fn known_calls(names: &str) -> Result<(), CommandError> {
    let is_known = |name: &str| {
        let pattern = outpost_engine::values::Wildcard::new(name);
        outpost_engine::syscall_numbers().any(|(_, known)| pattern.matches(known))
    };
    match names.split(',').map(str::trim).find(|name| !is_known(name)) {
        Some(unknown) => Err(CommandError::invalid(format!("there is no system call '{unknown}'"))),
        None => Ok(()),
    }
}

/// Sets them as they were at first.
#[derive(Debug, Clone)]
pub struct ResetFilters;

impl Command for ResetFilters {
    type Data = ();

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<ResetFilters, CommandError> {
        Ok(ResetFilters)
    }

    fn run(self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let filters = debugger.engine.filters_mut();
        let follow_forks = filters.follow_forks;
        *filters = EventFilters::default();
        filters.follow_forks = follow_forks;
        Ok(())
    }

    fn render((): &(), _: &mut String) {}
}
