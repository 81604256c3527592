//! `g`, `ga`, `gh`, `gn`, `gN`, `gu`, `gc`: running.

use outpost_base::Va;
use outpost_engine::expr::{Expr, ExprError, Masm};
use outpost_engine::{BreakpointPlace, BreakpointRequest, RunOptions, RunThreads, SignalChoice, Temporary};

use super::breakpoint::{BreakpointSet, SetBreakpoint};
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::debugger::Resumption;
use crate::json::{Json, Value, json};
use crate::language::{Arguments, is_named_in_digits};
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["g", "ga", "gh", "gn", "gN"],
        syntax: "[~Thread] g[a] [= StartAddress] [BreakAddress ...]\n[~Thread] gh|gn|gN [= StartAddress] [BreakAddress ...]",
        summary: "Run until an event",
        details: "Temporary breakpoints at the given addresses last until the next stop; ga makes them by debug \
                  registers. What is not loaded yet becomes a deferred breakpoint that goes away with its first stop. g treats \
                  a signal as its filter says; gh swallows it, gn delivers it; one that nothing handles stops again at \
                  its second chance, before it ends the process. gn is refused at a stop that is no signal, gN \
                  insists. With a thread prefix only those threads run.",
        example: "g main; g `list.c:40`",
        group: Group::Execution,
        eats_line: false,
        run: carry_out::<Go>,
    },
    CommandEntry {
        names: &["gu"],
        syntax: "[~Thread] gu",
        summary: "Run until the current function returns",
        details: "This instance of the function is meant, so recursion does not end it early. Shows what it returned. \
                  With a frame selected by .frame, it is that frame's function.",
        example: "gu",
        group: Group::Execution,
        eats_line: false,
        run: carry_out::<GoUp>,
    },
    CommandEntry {
        names: &["gc"],
        syntax: "gc",
        summary: "Resume the way it was resumed",
        details: "For the commands of breakpoints: goes on running, stepping or tracing, whatever the hit interrupted.",
        example: "gc",
        group: Group::Execution,
        eats_line: false,
        run: carry_out::<GoConditionally>,
    },
];

/// Lets the debuggee run.
#[derive(Debug, Clone)]
pub struct Go {
    /// How.
    pub options: RunOptions,
    /// Breakpoints for this resumption.
    pub temporaries: Vec<Temporary>,
    /// Expressions of what is not loaded yet.
    pub deferred: Vec<String>,
}

/// What a resumption still waits to be able to set.
#[derive(Debug, Clone)]
pub struct GoStarted {
    /// Breakpoints that go away with their first stop.
    pub deferred: Vec<BreakpointSet>,
}

impl Json for GoStarted {
    fn json(&self) -> Value {
        if self.deferred.is_empty() { Value::Null } else { json!({ "deferred": self.deferred.json() }) }
    }
}

impl Command for Go {
    type Data = GoStarted;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Go, CommandError> {
        let signal = match arguments.name {
            "gN" => SignalChoice::NotHandled,
            name if name.eq_ignore_ascii_case("gh") => SignalChoice::Handled,
            name if name.eq_ignore_ascii_case("gn") => {
                if debugger.engine.last_event().is_some_and(|event| event.chance.is_none()) {
                    let reason = "the last event was no signal, there is nothing to deliver; gN insists";
                    return Err(CommandError::invalid(reason));
                }
                SignalChoice::NotHandled
            }
            _ => SignalChoice::ByFilter,
        };
        let by_signal = signal != SignalChoice::ByFilter;
        let options = RunOptions { signal, ..run_options(arguments, debugger)? };
        let hardware = arguments.name.eq_ignore_ascii_case("ga");
        let (mut temporaries, mut deferred) = (Vec::new(), Vec::new());
        while !arguments.is_empty() {
            let before = arguments.rest();
            match addresses(arguments, debugger) {
                Ok(found) => {
                    let temporary = |at| Temporary { at, hardware, current_thread_only: by_signal };
                    temporaries.extend(found.into_iter().map(temporary));
                }
                Err(error) if !hardware && is_unresolved(&error) => {
                    let text = before.strip_suffix(arguments.rest()).unwrap_or(before);
                    deferred.push(text.trim().to_owned());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Go { options, temporaries, deferred })
    }

    fn run(self, debugger: &mut Debugger) -> Result<GoStarted, CommandError> {
        let mut deferred = Vec::new();
        for expression in self.deferred {
            let place = BreakpointPlace::Expression(expression);
            let request = BreakpointRequest { one_shot: true, symbolic: true, ..BreakpointRequest::code(place) };
            deferred.push(SetBreakpoint::of(request).run(debugger)?);
        }
        debugger.engine.go(&self.options, &self.temporaries)?;
        debugger.resumption = Some(Resumption::Go(self.options));
        Ok(GoStarted { deferred })
    }

    fn render(data: &GoStarted, text: &mut String) {
        data.deferred.iter().for_each(|set| SetBreakpoint::render(set, text));
    }
}

/// Runs to the caller.
#[derive(Debug, Clone)]
pub struct GoUp {
    /// How.
    pub options: RunOptions,
}

impl Command for GoUp {
    type Data = ();

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<GoUp, CommandError> {
        Ok(GoUp { options: run_options(arguments, debugger)? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<(), CommandError> {
        debugger.engine.go_up(&self.options)?;
        debugger.resumption = Some(Resumption::Up(self.options));
        Ok(())
    }

    fn render(_: &(), _: &mut String) {}
}

/// Resumes as before.
#[derive(Debug, Clone)]
pub struct GoConditionally;

impl Command for GoConditionally {
    type Data = ();

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<GoConditionally, CommandError> {
        Ok(GoConditionally)
    }

    fn run(self, debugger: &mut Debugger) -> Result<(), CommandError> {
        // Start addresses were for the first time only.
        let again = |options: &RunOptions| RunOptions { at: None, ..options.clone() };
        match debugger.resumption.clone() {
            Some(Resumption::Go(options)) => debugger.engine.go(&again(&options), &[])?,
            Some(Resumption::Up(options)) => debugger.engine.go_up(&again(&options))?,
            Some(Resumption::Step(mut request)) => {
                request.options = again(&request.options);
                debugger.engine.step(&request)?;
            }
            None => debugger.engine.go(&RunOptions::default(), &[])?,
        }
        Ok(())
    }

    fn render(_: &(), _: &mut String) {}
}

/// The thread prefix and `= address` that execution commands share.
pub(super) fn run_options(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<RunOptions, CommandError> {
    let threads = match arguments.threads.clone() {
        None => RunThreads::All,
        Some(spec) => {
            let chosen = super::threads::select(&spec, debugger)?;
            // The command is about this thread where there is one.
            if let [only] = chosen[..] {
                debugger.engine.select_thread(only)?;
            }
            RunThreads::Only(chosen)
        }
    };
    let at = if arguments.take("=") { Some(arguments.code_address(debugger)?) } else { None };
    Ok(RunOptions { threads, at, ..RunOptions::default() })
}

/// Whether nothing of a name, or no code of a line, is loaded.
fn is_unresolved(error: &CommandError) -> bool {
    matches!(error, CommandError::Expr(ExprError::Unresolved { .. } | ExprError::NoCode { .. }))
}

/// All places of one address expression.
fn addresses(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Vec<Va>, CommandError> {
    let text = arguments.expression_text(debugger)?;
    let (expr, _) = debugger.engine.parse_expression(text, debugger.settings.expressions())?;
    // A name means what it means to bp: behind the prologue, where the function's variables are what they seem.
    let is_name = matches!(expr, Expr::Masm(Masm::Name(_)))
        || is_named_in_digits(text, debugger)
        || text.chars().all(|c| c.is_ascii_alphabetic()) && debugger.engine.names_code(text);
    if is_name
        && let Ok(places) = debugger.engine.resolve_place(&BreakpointPlace::Expression(text.to_owned()))
        && !places.is_empty()
    {
        return Ok(places);
    }
    Ok(debugger.engine.evaluate_addresses(&expr)?)
}
