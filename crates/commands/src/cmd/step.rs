//! `p`, `t` and their kind: stepping.

use outpost_engine::{RunOptions, StepKind, StepRequest, StepUnit, StepUntil};

use super::go::run_options;
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::debugger::Resumption;
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &[".step_filter"],
        syntax: ".step_filter [\"Patterns\"]\n.step_filter /c",
        summary: "Show or set the functions that t by source lines steps over, or clear them (/c)",
        details: "Patterns of function or module!function with * and the like, separated by ;. Steps by instruction go everywhere.",
        example: ".step_filter \"std::*; libc_so!*\"",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<StepFilter>,
    },
    CommandEntry {
        names: &["p", "pr", "t", "tr"],
        syntax: "[~Thread] p|t[r] [= StartAddress] [Count] [\"Command\"]",
        summary: "Step over (p) or into (t) calls",
        details: "One instruction, or one source line after l+t. Each of several steps is shown; the command runs \
                  before the last is. The suffix r switches the registers at stops on or off, and that stays so.",
        example: "p 5; tr; p 3 \"r rax\"",
        group: Group::Execution,
        eats_line: false,
        run: carry_out::<Step>,
    },
    CommandEntry {
        names: &["pa", "par", "ta", "tar"],
        syntax: "[~Thread] pa|ta[r] [= StartAddress] StopAddress",
        summary: "Step over or into calls up to an address, showing every step",
        details: "p steps over calls, t into them; each step is shown until control is at the address. r toggles whether registers are shown.",
        example: "pa 401020",
        group: Group::Execution,
        eats_line: false,
        run: carry_out::<Step>,
    },
    CommandEntry {
        names: &["pc", "pcr", "tc", "tcr"],
        syntax: "[~Thread] pc|tc[r] [= StartAddress] [Count]",
        summary: "Step to the next call",
        details: "At a call already, pc carries it out first and tc enters it. Each of several calls is shown.",
        example: "pc; tc 2",
        group: Group::Execution,
        eats_line: false,
        run: carry_out::<Step>,
    },
    CommandEntry {
        names: &["pt", "ptr", "tt", "ttr"],
        syntax: "[~Thread] pt|tt[r] [= StartAddress] [Count]",
        summary: "Step to the next return",
        details: "pt stays in the function; tt stops at the return of functions it calls, too. Each of several returns is shown.",
        example: "pt",
        group: Group::Execution,
        eats_line: false,
        run: carry_out::<Step>,
    },
    CommandEntry {
        names: &["pct", "pctr", "tct", "tctr"],
        syntax: "[~Thread] pct|tct[r] [= StartAddress] [Count]",
        summary: "Step to the next call or return",
        details: "p steps over calls, t into them; r toggles whether registers are shown. Each of several is shown.",
        example: "pct",
        group: Group::Execution,
        eats_line: false,
        run: carry_out::<Step>,
    },
    CommandEntry {
        names: &["ph", "phr", "th", "thr"],
        syntax: "[~Thread] ph|th[r] [= StartAddress] [Count]",
        summary: "Step to the next branch of any kind, system calls included",
        details: "Branches of any kind count, also those that are not taken, and system calls. p steps over calls, t into them. Each \
                  of several is shown.",
        example: "ph",
        group: Group::Execution,
        eats_line: false,
        run: carry_out::<Step>,
    },
];

/// A step of the current thread.
#[derive(Debug, Clone)]
pub struct Step {
    /// What is asked of the engine.
    pub request: StepRequest,
    /// Runs before the last stop is shown.
    pub command: Option<String>,
}

impl Command for Step {
    type Data = ();

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Step, CommandError> {
        let name = arguments.name.to_ascii_lowercase();
        let (bare, toggle) = match name.strip_suffix('r') {
            Some(bare) => (bare, true),
            None => (name.as_str(), false),
        };
        let options: RunOptions = run_options(arguments, debugger)?;
        let kind = if bare.starts_with('p') { StepKind::Over } else { StepKind::Into };
        let unit = if debugger.settings.step_by_line { StepUnit::Line } else { StepUnit::Instruction };
        let goal = bare.get(1..).unwrap_or_default();
        let mut command = None;
        let (until, unit, show_each) = match goal {
            "a" => {
                if arguments.is_empty() {
                    return Err(arguments.usage("the address is missing"));
                }
                (StepUntil::Address(arguments.code_address(debugger)?), StepUnit::Instruction, true)
            }
            "" => {
                let count = count(arguments, debugger)?;
                command = arguments.quoted();
                (StepUntil::Count(count), unit, count > 1)
            }
            goal => {
                let count = count(arguments, debugger)?;
                let until = match goal {
                    "c" => StepUntil::Call(count),
                    "t" => StepUntil::Return(count),
                    "ct" => StepUntil::CallOrReturn(count),
                    _ => StepUntil::Branch(count),
                };
                (until, StepUnit::Instruction, count > 1)
            }
        };
        if toggle {
            debugger.settings.show_registers = !debugger.settings.show_registers;
        }
        Ok(Step { request: StepRequest { kind, unit, until, show_each, options }, command })
    }

    fn run(self, debugger: &mut Debugger) -> Result<(), CommandError> {
        debugger.engine.step(&self.request)?;
        debugger.step_command = self.command;
        debugger.resumption = Some(Resumption::Step(self.request));
        Ok(())
    }

    fn render(_: &(), _: &mut String) {}
}

/// A count of at least 1; 1 if none is given.
fn count(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<u64, CommandError> {
    if arguments.is_empty() || arguments.rest().starts_with('"') {
        return Ok(1);
    }
    match arguments.number(debugger)? {
        0 => Err(arguments.usage("the count is 0")),
        count => Ok(count),
    }
}

/// Shows, sets or clears what steps do not enter.
#[derive(Debug, Clone)]
pub struct StepFilter {
    patterns: Option<Vec<String>>,
}

impl Command for StepFilter {
    type Data = Vec<String>;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<StepFilter, CommandError> {
        match arguments.take_switch() {
            Some('c') => return Ok(StepFilter { patterns: Some(Vec::new()) }),
            Some(other) => return Err(arguments.usage(format!("unknown option /{other}"))),
            None if arguments.is_empty() => return Ok(StepFilter { patterns: None }),
            None => {}
        }
        let patterns = arguments.quoted().ok_or_else(|| arguments.usage("the patterns stand in quotes"))?;
        let patterns = patterns.split(';').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty());
        Ok(StepFilter { patterns: Some(patterns.collect()) })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Vec<String>, CommandError> {
        if let Some(patterns) = self.patterns {
            debugger.engine.set_step_filter(&patterns);
            debugger.settings.step_filter = patterns;
        }
        Ok(debugger.settings.step_filter.clone())
    }

    fn render(data: &Vec<String>, text: &mut String) {
        match data.is_empty() {
            true => line!(text, "No step filter is set"),
            false => line!(text, "Step filter: \"{}\"", data.join("; ")),
        }
    }
}
