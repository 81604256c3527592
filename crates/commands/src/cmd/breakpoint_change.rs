//! `br`, `bs`, `bsc`: other numbers and commands for breakpoints that are there.

use outpost_base::Va;
use outpost_engine::{BreakpointInfo, BreakpointNumber, BreakpointPlace, BreakpointRequest, EngineError};

use super::breakpoint::{calls, implied_condition, only_goes_on};
use super::logpoint::log_request;
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["br"],
        syntax: "br OldID NewID [OldID NewID ...]",
        summary: "Give breakpoints other numbers",
        details: "All at once, so that two can change places. The new numbers must be free then. Hits and passes are counted anew.",
        example: "br 2 0",
        group: Group::Breakpoints,
        eats_line: false,
        run: carry_out::<Renumber>,
    },
    CommandEntry {
        names: &["bs"],
        syntax: "bs ID [\"Commands\"]",
        summary: "Change the commands of a breakpoint",
        details: "Without commands it has none any more. Hits and passes are counted anew.",
        example: "bs 0 \"k 3; g\"",
        group: Group::Breakpoints,
        eats_line: false,
        run: carry_out::<SetCommands>,
    },
    CommandEntry {
        names: &["bsc"],
        syntax: "bsc ID Condition [\"Commands\"]",
        summary: "Change the commands of a breakpoint, and let it stop only if a condition holds",
        details: "The condition is an expression of the default evaluator. It is evaluated beside the target where that can be \
                  done, as that of bp with .if is. Hits and passes are counted anew.",
        example: "bsc 0 (@rdi > 2) \"k 3\"",
        group: Group::Breakpoints,
        eats_line: false,
        run: carry_out::<SetCommands>,
    },
];

/// Renumbers.
#[derive(Debug, Clone)]
pub struct Renumber {
    pairs: Vec<(BreakpointNumber, BreakpointNumber)>,
}

fn number(arguments: &mut Arguments<'_>) -> Result<BreakpointNumber, CommandError> {
    let number = arguments.decimal().ok_or_else(|| arguments.usage("the number of a breakpoint is missing"))?;
    arguments.take(",");
    Ok(BreakpointNumber(number))
}

impl Command for Renumber {
    type Data = ();

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<Renumber, CommandError> {
        let mut pairs = Vec::new();
        while pairs.is_empty() || !arguments.is_empty() {
            pairs.push((number(arguments)?, number(arguments)?));
        }
        Ok(Renumber { pairs })
    }

    fn run(self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let engine = &mut debugger.engine;
        let is_old = |number| self.pairs.iter().any(|(old, _)| *old == number);
        let mut changed = Vec::new();
        for (at, &(old, new)) in self.pairs.iter().enumerate() {
            let info = engine.breakpoint(old)?;
            let is_taken = engine.breakpoint(new).is_ok() && !is_old(new);
            let is_twice = self.pairs[..at].iter().any(|&(other, to)| other == old || to == new);
            if is_taken || is_twice {
                return Err(EngineError::BreakpointExists { number: if is_taken { new } else { old } }.into());
            }
            changed.push((info, new));
        }
        replace(changed, debugger)
    }

    fn render((): &(), _: &mut String) {}
}

/// Changes commands.
#[derive(Debug, Clone)]
pub struct SetCommands {
    number: BreakpointNumber,
    commands: String,
}

/// A breakpoint and its commands.
#[derive(Debug, Clone)]
pub struct ChangedCommands {
    /// The breakpoint.
    pub number: BreakpointNumber,
    /// What it carries out now.
    pub commands: String,
}

fields!(ChangedCommands { number, commands });

impl Command for SetCommands {
    type Data = ChangedCommands;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<SetCommands, CommandError> {
        let number = number(arguments)?;
        let condition = match arguments.name.eq_ignore_ascii_case("bsc") {
            true if arguments.is_empty() => return Err(arguments.usage("the condition is missing")),
            true => {
                let text = arguments.expression_text(debugger)?.trim();
                let (expr, _) = debugger.engine.parse_expression(text, debugger.settings.expressions())?;
                if let Some(function) = expr.called_function() {
                    return Err(calls(&function));
                }
                Some(text)
            }
            false => None,
        };
        if !arguments.is_empty() && !arguments.rest().starts_with('"') {
            return Err(arguments.usage("the commands stand in quotes"));
        }
        let commands = arguments.quoted().unwrap_or_default();
        let commands = match condition {
            Some(condition) => format!(".if ({condition}) {{{commands}}} .else {{gc}}"),
            None => commands,
        };
        Ok(SetCommands { number, commands })
    }

    fn run(self, debugger: &mut Debugger) -> Result<ChangedCommands, CommandError> {
        let info = debugger.engine.breakpoint(self.number)?;
        let changed = BreakpointInfo { commands: self.commands.clone(), ..info };
        replace(vec![(changed, self.number)], debugger)?;
        Ok(ChangedCommands { number: self.number, commands: self.commands })
    }

    fn render(_: &ChangedCommands, _: &mut String) {}
}

/// Sets breakpoints anew, each under the number that is given with it.
fn replace(changed: Vec<(BreakpointInfo, BreakpointNumber)>, debugger: &mut Debugger) -> Result<(), CommandError> {
    let process = debugger.engine.current_process()?;
    if let Some((other, _)) = changed.iter().find(|(info, _)| info.process != process) {
        let reason =
            format!("breakpoint {} is of process {}; |{}s selects it", other.number, other.process, other.process);
        return Err(CommandError::invalid(reason));
    }
    let mut requests = Vec::new();
    for (info, number) in &changed {
        requests.push((info.number, request(info, *number, debugger)?));
    }
    Ok(debugger.engine.replace_breakpoints(requests)?)
}

/// What sets a breakpoint like one that is there.
fn request(
    info: &BreakpointInfo,
    number: BreakpointNumber,
    debugger: &mut Debugger,
) -> Result<BreakpointRequest, CommandError> {
    let place = match (info.expression.as_str(), info.locations.first()) {
        ("", Some(location)) => BreakpointPlace::Address(Va(location.address.0)),
        ("", None) => return Err(CommandError::invalid(format!("breakpoint {} has no place", info.number))),
        (expression, _) => BreakpointPlace::Expression(expression.to_owned()),
    };
    let is_plain = info.passes <= 1 && !info.one_shot;
    let implied = if is_plain { implied_condition(&info.commands, debugger) } else { None };
    let log = match info.one_shot {
        true => None,
        false => log_request(&info.commands, implied.is_some(), debugger),
    };
    Ok(BreakpointRequest {
        number: Some(number),
        place,
        access: info.access,
        thread: info.thread,
        condition: Some(info.condition.clone()).filter(|condition| !condition.is_empty()),
        implied,
        depth: info.depth,
        passes: info.passes,
        one_shot: info.one_shot,
        commands: info.commands.clone(),
        auto_continue: only_goes_on(&info.commands) && !info.one_shot,
        symbolic: info.symbolic,
        log,
        event: None,
    })
}
