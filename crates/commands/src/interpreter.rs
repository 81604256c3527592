//! Lines in, commands carried out one after the other, stops waited for and shown.

use std::collections::HashSet;

use outpost_engine::target::StopReason;
use outpost_engine::{Engine, EngineError, EngineEvent, EngineState, Interrupter, Stop, ThreadOrdinal, Wait};

use crate::arguments::Arguments;
use crate::command::{Flow, Needs};
use crate::context::Context;
use crate::line::{Prefix, ThreadVerb, first_command, name_of, parse_prefix};
use crate::log::Logged;
use crate::{CommandError, Completion, Host, Output, OutputKind, Settings, cmd, prompt, registry, stop_display};

/// How a session ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// Exit code for the program: 0 if the user quit, else what `docs/commands.md` lists.
    pub code: u8,
}

/// Carries out command lines on an engine. Lives on the engine's thread.
pub struct Interpreter {
    context: Context,
    /// What an empty line repeats.
    last_line: String,
    ended: Option<Ended>,
}

/// Command strings that wait for a stop of something they resumed; more is a loop that never ends.
const MAX_PENDING: usize = 1000;

impl Interpreter {
    /// An interpreter over an engine.
    pub fn new(engine: Engine, host: Box<dyn Host>, settings: Settings) -> Interpreter {
        Interpreter { context: Context::new(engine, host, settings), last_line: String::new(), ended: None }
    }

    /// Carries out a line; returns when all of it is done, stops included that it had to wait for. An empty line repeats
    /// the last. `Some` when the session is over.
    pub fn execute(&mut self, line: &str, output: &mut dyn Output) -> Option<Ended> {
        let log = std::rc::Rc::clone(&self.context.log);
        drop(log.borrow_mut().write(&format!("{}{line}\n", self.prompt())));
        let mut output = Logged { inner: output, log };
        let line = if line.trim().is_empty() { self.last_line.clone() } else { line.to_owned() };
        self.last_line.clone_from(&line);
        self.run(vec![line], &mut output);
        self.ended
    }

    /// Waits for the next stop and shows it, as after a command that resumes: for the start of a session.
    pub fn wait_for_stop(&mut self, output: &mut dyn Output) -> Option<Ended> {
        let log = std::rc::Rc::clone(&self.context.log);
        let mut output = Logged { inner: output, log };
        match self.next_stop(&mut output) {
            Ok(pending) => self.run(pending, &mut output),
            Err(error) => show_error(&mut output, &error),
        }
        self.ended
    }

    /// The prompt for the next line.
    pub fn prompt(&self) -> String {
        prompt::prompt(&self.context.engine)
    }

    /// The handle by which another thread breaks in or cancels.
    pub fn interrupter(&self) -> Interrupter {
        self.context.engine.interrupter()
    }

    /// How the session ended, if it has.
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// What the word that ends at byte `position` of `line` could become.
    pub fn complete(&mut self, line: &str, position: usize) -> Vec<Completion> {
        crate::completion::complete(&mut self.context, line, position)
    }

    /// The user is gone without quitting: debuggees are let go or ended as the session's rules say.
    pub fn abandoned(mut self) -> Ended {
        // Nobody is left to read an error; the server applies its own rules to what could not be told.
        drop(self.context.engine.end_session());
        self.ended.unwrap_or_default()
    }

    /// Runs command texts, the last first. A stop's own commands come before the rest of the line that resumed.
    fn run(&mut self, mut pending: Vec<String>, output: &mut dyn Output) {
        self.context.engine.clear_interrupt();
        while let Some(text) = pending.pop() {
            let (outcome, rest) = self.one(&text, output);
            if !rest.trim().is_empty() {
                pending.push(rest);
            }
            let outcome = match outcome {
                Ok(Flow::Next) => continue,
                Ok(Flow::Quit) => {
                    self.ended = Some(self.ended.unwrap_or_default());
                    return;
                }
                Ok(Flow::Resumed) => self.next_stop(output),
                Err(error) => Err(error),
            };
            match outcome {
                Ok(commands) => pending.extend(commands.into_iter().rev()),
                Err(error) => {
                    // What follows was written for the case that this works.
                    show_error(output, &error);
                    return;
                }
            }
            if self.broken_in() {
                return;
            }
            if pending.len() > MAX_PENDING {
                output.write(OutputKind::Error, "breakpoint commands resume each other without end\n");
                return;
            }
        }
    }

    /// Carries out the first command of a text; gives what is left of it.
    fn one(&mut self, text: &str, output: &mut dyn Output) -> (Result<Flow, CommandError>, String) {
        let text = text.trim_start_matches(|character: char| character.is_whitespace() || character == ';');
        let (name, behind) = name_of(text);
        match name {
            "" | "*" => (Ok(Flow::Next), String::new()),
            "$$" => (Ok(Flow::Next), text.split_once(';').map_or(String::new(), |(_, rest)| rest.into())),
            "~" => self.prefixed("~", behind, output),
            "|" if behind.starts_with('|') => self.prefixed("||", &behind[1..], output),
            "|" => self.prefixed("|", behind, output),
            _ => self.plain(text, Vec::new(), output),
        }
    }

    fn plain(
        &mut self,
        text: &str,
        threads: Vec<ThreadOrdinal>,
        output: &mut dyn Output,
    ) -> (Result<Flow, CommandError>, String) {
        let (name, behind) = name_of(text);
        let Some(entry) = registry::find(name) else {
            let (_, rest) = first_command(text);
            return (Err(cmd::unknown(name)), rest.into());
        };
        let (arguments, rest) = if entry.info.takes_line { (behind, "") } else { first_command(behind) };
        let outcome = self.check(entry.info.needs).and_then(|()| {
            let mut arguments = Arguments::new(name, arguments);
            arguments.threads = threads;
            (entry.execute)(&mut self.context, &mut arguments, output)
        });
        (outcome, rest.into())
    }

    fn prefixed(&mut self, sign: &str, text: &str, output: &mut dyn Output) -> (Result<Flow, CommandError>, String) {
        let Some(prefix) = parse_prefix(sign, text) else {
            return (Err(cmd::bad_prefix(sign)), String::new());
        };
        match prefix.verb {
            ThreadVerb::Each => (self.each(&prefix, output), String::new()),
            ThreadVerb::Command => {
                let threads = match sign {
                    "~" => cmd::prefix::threads(&mut self.context, &prefix),
                    _ => Err(cmd::bad_prefix(sign)),
                };
                match threads {
                    Ok(threads) => self.plain(prefix.rest, threads, output),
                    Err(error) => (Err(error), String::new()),
                }
            }
            _ => {
                let outcome = cmd::prefix::execute(&mut self.context, sign, &prefix, output);
                let (_, rest) = first_command(text);
                (outcome.map(|()| Flow::Next), rest.into())
            }
        }
    }

    /// `~T e commands`: the rest of the line for each thread; an error does not stop the others.
    fn each(&mut self, prefix: &Prefix<'_>, output: &mut dyn Output) -> Result<Flow, CommandError> {
        let threads = cmd::prefix::threads(&mut self.context, prefix)?;
        let current = self.context.engine.current_thread()?;
        for thread in threads {
            self.context.engine.check_interrupt()?;
            self.context.engine.select_thread(thread)?;
            let mut rest = prefix.rest.to_owned();
            while !rest.trim().is_empty() {
                let (name, _) = name_of(&rest);
                if registry::find(name).is_some_and(|entry| entry.info.resumes()) {
                    self.context.engine.select_thread(current)?;
                    return Err(cmd::not_for_each(name));
                }
                let (outcome, left) = self.one(&rest, output);
                if let Err(error) = outcome {
                    show_error(output, &error);
                }
                rest = left;
            }
        }
        self.context.engine.select_thread(current)?;
        Ok(Flow::Next)
    }

    fn check(&self, needs: Needs) -> Result<(), CommandError> {
        let engine = &self.context.engine;
        match needs {
            Needs::Nothing => Ok(()),
            _ if engine.state() == EngineState::NoDebuggee => Err(CommandError::NoDebuggee),
            Needs::Debuggee => Ok(()),
            Needs::Live
                if engine.current_system().is_some_and(|system| {
                    engine.with_target(system, |target| target.as_live().is_some()).unwrap_or(false)
                }) =>
            {
                Ok(())
            }
            Needs::Live => Err(CommandError::CannotRun),
        }
    }

    /// Whether the user broke in: what was to follow is forgotten then.
    fn broken_in(&self) -> bool {
        matches!(self.context.engine.last_event(), Some(event) if event.reason == StopReason::BreakIn)
    }

    /// Waits until something stops and shows it; gives the command strings of the breakpoints that were hit.
    fn next_stop(&mut self, output: &mut dyn Output) -> Result<Vec<String>, CommandError> {
        loop {
            let event = match self.context.engine.wait(None, &[])? {
                Wait::Event(event) => event,
                _ => continue,
            };
            match event {
                EngineEvent::Stopped(stop) => {
                    stop_display::stop(&mut self.context, &stop, output);
                    return Ok(commands_of(&stop));
                }
                EngineEvent::SystemLost { name, reason, .. } => {
                    output.write(OutputKind::Error, &format!("{name} is gone: {reason}\n"));
                    return Ok(Vec::new());
                }
                other => stop_display::event(&mut self.context, &other, output),
            }
            if self.context.engine.state() != EngineState::Running {
                return Ok(Vec::new());
            }
        }
    }
}

/// Each command string once, though several places of one breakpoint may have been hit.
fn commands_of(stop: &Stop) -> Vec<String> {
    let mut seen = HashSet::new();
    let hits = stop.breakpoints.iter().filter(|hit| !hit.commands.is_empty());
    hits.filter(|hit| seen.insert(hit.number)).map(|hit| hit.commands.clone()).collect()
}

fn show_error(output: &mut dyn Output, error: &CommandError) {
    match error {
        CommandError::Engine(EngineError::Cancelled) => output.write(OutputKind::Warning, "cancelled\n"),
        error => output.write(OutputKind::Error, &format!("{error}\n")),
    }
}
