//! The interpreter: command lines in, text out, stops shown as they come.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use outpost_engine::target::{CreateSpec, StdioSpec, StopReason, Target};
use outpost_engine::{
    Engine, EngineError, EngineEvent, EngineState, ProcessOrdinal, RunOptions, StepRequest, Stop, SystemOrdinal,
};

use crate::cmd::event::EventHistory;
use crate::cmd::hold_memory::HeldRange;
use crate::cmd::json;
use crate::cmd::logpoint::{self, KnownFormats};
use crate::cmd::memory_allocate::OwnMemory;
use crate::cmd::output_mask::OutputMask;
use crate::cmd::push::SavedState;
use crate::cmd::restrict;
use crate::cmd::symbol_failures::Unresolved;
use crate::cmd::trace::{self, TraceProgress};
use crate::language::{Arguments, cut_command, recognise};
use crate::log::{Log, Tee};
use crate::questions::{self, Question};
use crate::script::alias::Aliases;
use crate::script::{Frame, Script};
use crate::settings::{Continuations, Settings};
use crate::text::debuggee::DebuggeeText;
use crate::{CommandEntry, CommandError, Output, OutputKind, registry, text};

/// How deep commands may run commands (`~*e ~*e k`).
const NESTING_LIMIT: usize = 16;

/// What the caller does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Show the prompt and take a command.
    Prompt,
    /// Wait for an event of the engine and pass it to [`Debugger::event`].
    Running,
    /// The session is over.
    Ended(Ending),
}

/// How the session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// `q`: created processes are ended, attached ones let go.
    Quit,
    /// `qd`: everything is let go.
    Detach,
    /// Either, after a system was lost: whoever waits for the result must know that it is not whole.
    Lost,
}

/// Opens targets by connection string, `None` meaning this machine. Errors are sentences for the user.
pub type Connector = Box<dyn FnMut(Option<&str>) -> Result<Box<dyn Target>, String>>;

/// Gives the servers of this machine as text: a heading, then one on each line.
pub type ServerList = Box<dyn Fn() -> String>;

/// An engine with the state of the command language: settings, tails of lines that wait for a stop, the log.
///
/// It lives on the engine's thread. After [`Progress::Running`] the caller waits for events by
/// [`Engine::wait`] and hands each to [`Debugger::event`].
pub struct Debugger {
    /// What commands work on.
    pub engine: Engine,
    /// What the user has set.
    pub settings: Settings,
    pub(crate) continuations: Continuations,
    pub(crate) log: Rc<RefCell<Option<Log>>>,
    pub(crate) connector: Option<Connector>,
    pub(crate) server_list: Option<ServerList>,
    /// How the debuggee was resumed last, for `gc`.
    pub(crate) resumption: Option<Resumption>,
    /// A stop is due: the debuggee was resumed, or something was attached, created or opened.
    pub(crate) awaits_event: bool,
    pub(crate) ending: Option<Ending>,
    /// The system that was lost last.
    pub(crate) lost: Option<String>,
    /// What debuggees write, as it comes.
    pub(crate) debuggee_text: DebuggeeText,
    /// Command for each stop (`p 3 "cmd"`), done when the step is.
    pub(crate) step_command: Option<String>,
    /// Program and arguments of this debugger (`vercommand`).
    pub(crate) command_line: Vec<String>,
    /// Link statistics at the last prompt, by system.
    pub(crate) link_marks: Vec<(SystemOrdinal, outpost_engine::target::LinkStatistics)>,
    /// What is being carried out, and what of it waits for the next stop.
    pub(crate) script: Script,
    pub(crate) aliases: Aliases,
    /// Values that are asked for; the next line is the answer to the first.
    pub(crate) questions: VecDeque<Question>,
    last_line: String,
    /// What `wt` has counted so far.
    pub(crate) trace: Option<TraceProgress>,
    /// What has happened so far (`.eventlog`).
    pub(crate) events: EventHistory,
    /// What comes of the last command is shown as JSON.
    pub(crate) stops_as_json: bool,
    /// The next stop is shown and gone on from, before anything else that waits for it.
    pub(crate) goes_on_at_stop: bool,
    /// What is not shown, by kinds (`.outmask`).
    pub(crate) output_mask: OutputMask,
    /// Names that were looked for in vain (`.show_sym_failures`).
    pub(crate) unresolved: Unresolved,
    /// Ranges whose content is remembered (`.holdmem`).
    pub(crate) held_memory: Vec<HeldRange>,
    /// Memory of debuggees that `.dvalloc` has allocated.
    pub(crate) own_memory: Vec<OwnMemory>,
    /// States that `.push` put aside, the last one last.
    pub(crate) saved_states: Vec<SavedState>,
    /// How many commands are under way, one within the other.
    nesting: usize,
    /// What lines of logpoints look like.
    pub(crate) known_formats: KnownFormats,
}

/// A way to resume.
#[derive(Debug, Clone)]
pub(crate) enum Resumption {
    Go(RunOptions),
    Up(RunOptions),
    Step(StepRequest),
}

impl Debugger {
    /// A debugger over `engine`.
    pub fn new(engine: Engine) -> Debugger {
        Debugger {
            engine,
            settings: Settings::default(),
            continuations: Continuations::default(),
            log: Rc::default(),
            connector: None,
            server_list: None,
            resumption: None,
            awaits_event: false,
            ending: None,
            lost: None,
            debuggee_text: DebuggeeText::default(),
            step_command: None,
            command_line: Vec::new(),
            link_marks: Vec::new(),
            script: Script::default(),
            aliases: Aliases::default(),
            questions: VecDeque::new(),
            last_line: String::new(),
            trace: None,
            events: EventHistory::default(),
            stops_as_json: false,
            goes_on_at_stop: false,
            output_mask: OutputMask::default(),
            unresolved: Unresolved::default(),
            held_memory: Vec::new(),
            own_memory: Vec::new(),
            saved_states: Vec::new(),
            nesting: 0,
            known_formats: KnownFormats::default(),
        }
    }

    /// Lets `.attach -premote` and `.create -premote` open targets.
    pub fn set_connector(&mut self, connector: Connector) {
        self.connector = Some(connector);
    }

    /// Lets `.servers` list.
    pub fn set_server_list(&mut self, list: ServerList) {
        self.server_list = Some(list);
    }

    /// What `vercommand` shows.
    pub fn set_command_line(&mut self, words: Vec<String>) {
        self.command_line = words;
    }

    /// Creates a process as the settings say; its first event is due. Nobody types to one whose output is merely brought
    /// here: it finds the end of its input rather than wait for ever.
    ///
    /// # Errors
    /// As [`Engine::create`].
    pub fn create(
        &mut self,
        system: SystemOrdinal,
        program: &str,
        arguments: &[String],
    ) -> Result<ProcessOrdinal, EngineError> {
        let spec = CreateSpec {
            program: program.to_owned(),
            arguments: arguments.to_vec(),
            environment: None,
            environment_changes: Vec::new(),
            directory: self.settings.create_directory.clone(),
            stdio: self.settings.stdio.clone(),
            randomize: false,
            break_in: true,
        };
        let process = self.engine.create(system, &spec)?;
        if spec.stdio == StdioSpec::Client {
            self.engine.write_input(process, &[])?;
        }
        self.awaits_event = true;
        Ok(process)
    }

    /// Carries out one command before there is anything to debug.
    ///
    /// # Errors
    /// Why it was not.
    pub fn set_up(&mut self, command: &str, out: &mut dyn Output) -> Result<(), CommandError> {
        self.one_command(command, out)
    }

    /// An event is due although nothing runs: the caller has attached, created or opened something by the engine.
    pub fn expect_event(&mut self) {
        self.awaits_event = true;
    }

    /// Commands to be carried out after the next stop, as if they were the rest of the line that resumed.
    pub fn run_after_stop(&mut self, commands: &str) {
        if !commands.trim().is_empty() {
            self.script.push(commands);
        }
    }

    /// What the caller does now.
    pub fn progress(&self) -> Progress {
        match self.ending {
            Some(_) if self.lost.is_some() => Progress::Ended(Ending::Lost),
            Some(ending) => Progress::Ended(ending),
            None if self.awaits_event => Progress::Running,
            None => Progress::Prompt,
        }
    }

    /// The prompt: process and thread ordinal, before them the system's where there are several; `Input>` where a command
    /// asks for a value.
    pub fn prompt(&self) -> String {
        if self.is_asking() {
            return questions::PROMPT.to_owned();
        }
        let current = self.engine.current_thread().and_then(|thread| self.engine.thread(thread));
        let Ok(thread) = current else { return "NoTarget> ".to_owned() };
        let systems = self.engine.systems();
        let base = format!("{}:{:03}> ", thread.process, thread.ordinal.0);
        match systems.iter().find(|system| system.is_current).filter(|_| systems.len() > 1) {
            Some(system) => format!("||{}:{base}", system.ordinal),
            None => base,
        }
    }

    /// Carries out a command line; an empty one repeats the last, commands that list going on where they ended. Where a
    /// command has asked for a value, the line is that.
    ///
    /// Failures are shown and end the line.
    pub fn execute(&mut self, line: &str, out: &mut dyn Output) -> Progress {
        let is_answer = self.is_asking();
        let line = match line.trim() {
            _ if is_answer => line.to_owned(),
            "" => repeated(&self.last_line),
            line => {
                line.clone_into(&mut self.last_line);
                line.to_owned()
            }
        };
        let log = self.log.clone();
        if let Some(log) = log.borrow_mut().as_mut() {
            log.write(&format!("{}{line}\n", self.prompt()));
        }
        self.engine.clear_interrupt();
        let out = &mut Tee { out, log, mask: self.output_mask.clone() };
        if is_answer {
            self.take_answer(&line, out);
        } else {
            match self.block(&line) {
                Ok(block) => self.script.enter(block),
                Err(error) => out.write(OutputKind::Error, &format!("{}\n", error.message())),
            }
        }
        self.run_frames(out);
        // What the command brought about belongs to it, before the next prompt and not somewhere after it.
        while self.progress() == Progress::Prompt
            && let Some(event) = self.engine.queued_event()
        {
            self.take_event(event, out);
        }
        self.idle(out)
    }

    /// Takes an event: shows what is to be shown and goes on with what waited for it.
    pub fn event(&mut self, event: EngineEvent, out: &mut dyn Output) -> Progress {
        let log = self.log.clone();
        let out = &mut Tee { out, log, mask: self.output_mask.clone() };
        match self.take_event(event, out) {
            Progress::Prompt => self.idle(out),
            progress => progress,
        }
    }

    /// Carries out what was meant for when nothing is left to do, if nothing is.
    fn idle(&mut self, out: &mut dyn Output) -> Progress {
        if self.progress() == Progress::Prompt && !self.is_asking() && !self.settings.idle_commands.is_empty() {
            let commands = self.settings.idle_commands.clone();
            self.run_nested(&commands, "the commands of .idle_cmd cannot resume", out);
        }
        self.progress()
    }

    fn take_event(&mut self, event: EngineEvent, out: &mut dyn Output) -> Progress {
        match event {
            EngineEvent::Stopped(stop) => {
                self.awaits_event = false;
                self.questions.clear();
                // A breakpoint with commands alone interrupts it as any other stop does.
                trace::end(self, out);
                let has_ended = matches!(stop.reason, StopReason::Exited { .. });
                let is_there = |process| !has_ended || process != stop.process;
                let unfinished = self.debuggee_text.rest_of_the_gone(is_there);
                if !unfinished.is_empty() {
                    out.write(OutputKind::Debuggee, &unfinished);
                }
                // What is listed next is where the debuggee is now.
                self.continuations.unassemble_at = None;
                if let Some(command) = self.step_command.take().filter(|_| stop.ends_step) {
                    self.run_nested(&command, "the command of a step cannot resume", out);
                }
                if stop.goes_on {
                    self.script.enter(Frame::GoOn);
                    self.script.push(&stop.commands);
                    return self.run_frames(out);
                }
                let is_step = matches!(stop.reason, StopReason::Step { .. });
                if let Some(event) = self.engine.last_event().filter(|_| !is_step) {
                    let (process, thread) = (event.process_id.0, event.thread_id.0);
                    self.events.note(&format!("({process:x}.{thread:x}): {}", event.description()));
                }
                // Where each breakpoint has commands these may all resume: then there was no stop to speak of.
                let have_commands = stop.breakpoints.iter().all(|hit| !hit.commands.trim().is_empty());
                let may_resume = have_commands && !stop.breakpoints.is_empty();
                if !may_resume {
                    self.show_stop(&stop, out);
                }
                if stop.reason == StopReason::BreakIn && self.script.has_loop() {
                    // Whoever breaks in wants the loop to end, too, which would resume again.
                    self.script.clear();
                }
                if !stop.commands.is_empty() {
                    self.script.push(&stop.commands);
                }
                let hits = stop.breakpoints.iter().map(|hit| hit.commands.clone()).collect();
                if may_resume {
                    self.script.hold(stop);
                }
                self.script.push_hits(hits);
                if std::mem::take(&mut self.goes_on_at_stop) {
                    self.script.push("g");
                }
                return self.run_frames(out);
            }
            EngineEvent::Stepped(step) if self.trace.is_some() => trace::step(self, &step, out),
            EngineEvent::Stepped(step) => {
                let shown = match self.stops_as_json {
                    true => json::step(&step),
                    false => text::stop::describe_step(self, &step),
                };
                out.write(OutputKind::Stop, &shown);
            }
            EngineEvent::Logged(logged) => {
                let (lines, lost) = logpoint::describe(&logged, self);
                if !lines.is_empty() {
                    out.write(OutputKind::Normal, &lines);
                }
                if !lost.is_empty() {
                    out.write(OutputKind::Warning, &lost);
                }
            }
            EngineEvent::SystemLost { name, reason, .. } => {
                (self.awaits_event, self.stops_as_json, self.trace) = (false, false, None);
                self.forget_what_waits();
                out.write(OutputKind::Error, &format!("{name} is lost: {reason}\n"));
                self.lost = Some(name);
            }
            other => {
                let (kind, shown) = text::notice::describe(self, &other);
                if kind == OutputKind::Stop {
                    self.events.note(&shown);
                    self.tell(kind, &shown, out);
                } else if !shown.is_empty() {
                    out.write(kind, &shown);
                }
            }
        }
        self.progress()
    }

    /// Shows where the debuggee has stopped for whoever types.
    pub(crate) fn show_stop(&mut self, stop: &Stop, out: &mut dyn Output) {
        let shown = match std::mem::take(&mut self.stops_as_json) {
            true => json::stop(stop),
            false => text::stop::describe(self, stop),
        };
        self.tell(OutputKind::Stop, &shown, out);
        let own = self.settings.stop_commands.clone();
        if !own.is_empty() && self.engine.current_thread().is_ok() {
            self.run_nested(&own, "the commands of .pcmd cannot resume", out);
        }
    }

    /// Shows an event, with the time if that is wanted.
    fn tell(&self, kind: OutputKind, shown: &str, out: &mut dyn Output) {
        if self.settings.timestamps && !shown.is_empty() {
            out.write(kind, &format!("{}: ", crate::cmd::time::now()));
        }
        if !shown.is_empty() {
            out.write(kind, shown);
        }
    }

    /// A wait for an event that is due failed: there will be none.
    pub fn event_failed(&mut self, error: &EngineError, out: &mut dyn Output) -> Progress {
        (self.awaits_event, self.stops_as_json, self.trace) = (false, false, None);
        self.script.clear();
        out.write(OutputKind::Error, &format!("{}\n", CommandError::from(error.clone()).message()));
        self.progress()
    }

    /// Runs one command; the text behind it is not looked at.
    pub(crate) fn one_command(&mut self, command: &str, out: &mut dyn Output) -> Result<(), CommandError> {
        let found = recognise(command).map_err(registry::unknown)?;
        if registry::cuts_itself(found.entry) {
            return Err(CommandError::invalid(format!("{} cannot stand here; ~T e takes it", found.name)));
        }
        let mut arguments = Arguments::new(found.name, found.entry.syntax, None, found.rest);
        self.carry_out(found.entry, &mut arguments, out)
    }

    /// Runs a command whose arguments are cut already.
    pub(crate) fn carry_out(
        &mut self,
        entry: &'static CommandEntry,
        arguments: &mut Arguments<'_>,
        out: &mut dyn Output,
    ) -> Result<(), CommandError> {
        if self.nesting >= NESTING_LIMIT {
            return Err(CommandError::invalid("commands are nested too deep"));
        }
        if arguments.rest().trim() == "--help" && !entry.eats_line && !entry.names.contains(&".echo") {
            // Those that cut their own text would leave it to be the next command.
            arguments.take_rest();
            return crate::cmd::help::show(entry, out);
        }
        restrict::permitted(entry, self)?;
        self.nesting += 1;
        let done = (entry.run)(arguments, self, out);
        self.nesting -= 1;
        if let Err(error) = &done {
            self.unresolved.note(error);
        }
        // What runs will stop. The engine may have stopped it already, with notices to be told before the stop.
        self.awaits_event |= self.engine.state() == EngineState::Running || self.engine.is_stop_due();
        done
    }

    /// Drops what was to be done and asked for: something that it was meant to follow has failed.
    pub(crate) fn forget_what_waits(&mut self) {
        self.script.clear();
        self.questions.clear();
    }
}

/// The line that an empty one stands for: listing commands lose their arguments, so that they go on where they ended.
fn repeated(last: &str) -> String {
    let (command, after) = cut_command(last);
    match recognise(command) {
        Ok(found) if after.trim().is_empty() && registry::continues(found.entry) => found.name.to_owned(),
        _ => last.to_owned(),
    }
}
