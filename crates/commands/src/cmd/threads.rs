//! `~`: threads, and commands for them.

use outpost_engine::{ThreadOrdinal, ThreadSummary};

use crate::command::{CommandEntry, Group, give};
use crate::json::{Json, Value};
use crate::language::{Arguments, ThreadSpec, recognise};
use crate::text::{line, stop, threads};
use crate::{CommandError, Debugger, Output, OutputKind, registry};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["~"],
    syntax: "~ [Thread]\n~Thread s|f|u|n|m\n~Thread e Commands\n~Thread Command",
    summary: "List, select, freeze or suspend threads; run a command for them",
    details: "Thread is . for the current one, # for that of the last event, * for all, a decimal ordinal, ~[tid] or \
              [expression]. s makes it current; f freezes and u unfreezes it for the debugger only; n and m add to and \
              take from its suspend count. e runs the rest of the line for each thread in turn. Of the other commands, \
              those about breakpoints, stacks, registers and running take the prefix.",
    example: "~*e r rip; k 2",
    group: Group::Processes,
    eats_line: false,
    run: threads_command,
}];

/// The threads that a prefix means; at least one.
///
/// # Errors
/// [`CommandError::Engine`] if there is none.
pub(crate) fn select(spec: &ThreadSpec, debugger: &mut Debugger) -> Result<Vec<ThreadOrdinal>, CommandError> {
    let process = debugger.engine.current_process()?;
    Ok(match spec {
        ThreadSpec::Current => vec![debugger.engine.current_thread()?],
        ThreadSpec::Event => {
            let event = debugger.engine.event_thread();
            vec![event.ok_or_else(|| CommandError::invalid("the thread of the last event is gone"))?]
        }
        ThreadSpec::All => debugger.engine.threads(process)?.iter().map(|thread| thread.ordinal).collect(),
        ThreadSpec::Ordinal(ordinal) => vec![existing(ThreadOrdinal(*ordinal), debugger)?],
        ThreadSpec::Expression(text) => {
            let ordinal = number(text, debugger)?;
            let ordinal = u32::try_from(ordinal).map_err(|_| CommandError::invalid("no such thread"))?;
            vec![existing(ThreadOrdinal(ordinal), debugger)?]
        }
        ThreadSpec::Id(text) => {
            let id = number(text, debugger)?;
            let all = debugger.engine.threads(process)?;
            let found = all.iter().find(|thread| u64::from(thread.id.0) == id);
            vec![found.ok_or_else(|| CommandError::invalid(format!("no thread with id {id:x}")))?.ordinal]
        }
    })
}

fn existing(ordinal: ThreadOrdinal, debugger: &Debugger) -> Result<ThreadOrdinal, CommandError> {
    Ok(debugger.engine.thread(ordinal)?.ordinal)
}

/// A number by the default evaluator, all of `text`.
pub(super) fn number(text: &str, debugger: &mut Debugger) -> Result<u64, CommandError> {
    let mut arguments = Arguments::new("", "", None, text);
    let value = arguments.number(debugger)?;
    arguments.finish()?;
    Ok(value)
}

fn threads_command(
    arguments: &mut Arguments<'_>,
    debugger: &mut Debugger,
    out: &mut dyn Output,
) -> Result<(), CommandError> {
    let (spec, rest) = ThreadSpec::parse(arguments.take_rest());
    let rest = rest.trim();
    if rest.is_empty() {
        let chosen = select(spec.as_ref().unwrap_or(&ThreadSpec::All), debugger)?;
        list(&chosen, debugger, out)?;
        return Ok(());
    }
    let missing = || CommandError::Usage { problem: "the thread is missing".into(), syntax: ENTRIES[0].syntax };
    let action = rest.chars().next().filter(|_| rest.len() == 1);
    match action {
        Some('s' | 'S') => {
            let chosen = select(&spec.ok_or_else(missing)?, debugger)?;
            let [thread] = chosen[..] else { return Err(CommandError::invalid("only one thread can be current")) };
            debugger.engine.select_thread(thread)?;
            let shown = Selected { now: debugger.engine.thread(thread)?, place: stop::place(debugger) };
            give(&shown, Selected::render, out);
            Ok(())
        }
        Some('f' | 'F') => freeze(spec.as_ref(), true, debugger),
        Some('u' | 'U') if spec.is_some() => freeze(spec.as_ref(), false, debugger),
        Some('n' | 'N') if spec.is_some() => suspend(spec.as_ref(), 1, debugger),
        Some('m' | 'M') if spec.is_some() => suspend(spec.as_ref(), -1, debugger),
        _ => {
            let commands = rest.strip_prefix(['e', 'E']).filter(|text| text.starts_with(char::is_whitespace));
            match commands {
                Some(commands) => for_each(&spec.unwrap_or(ThreadSpec::Current), commands, debugger, out),
                None => prefixed(spec.unwrap_or(ThreadSpec::Current), rest, debugger, out),
            }
        }
    }
}

/// What was made the current one, and where that is, as at a stop.
pub(super) struct Selected<T> {
    pub(super) now: T,
    pub(super) place: String,
}

impl<T: Json> Json for Selected<T> {
    fn json(&self) -> Value {
        self.now.json()
    }
}

impl<T> Selected<T> {
    pub(super) fn render(&self, text: &mut String) {
        text.push_str(&self.place);
    }
}

fn list(chosen: &[ThreadOrdinal], debugger: &mut Debugger, out: &mut dyn Output) -> Result<(), CommandError> {
    let process = debugger.engine.current_process()?;
    let all: Vec<ThreadSummary> = debugger.engine.threads(process)?;
    let listed: Vec<ThreadSummary> = all.into_iter().filter(|thread| chosen.contains(&thread.ordinal)).collect();
    give(&listed, |listed, text| listed.iter().for_each(|thread| line!(text, "{}", threads::row(thread))), out);
    Ok(())
}

fn freeze(spec: Option<&ThreadSpec>, frozen: bool, debugger: &mut Debugger) -> Result<(), CommandError> {
    let chosen = select(spec.unwrap_or(&ThreadSpec::Current), debugger)?;
    Ok(debugger.engine.freeze(&chosen, frozen)?)
}

fn suspend(spec: Option<&ThreadSpec>, delta: i32, debugger: &mut Debugger) -> Result<(), CommandError> {
    let chosen = select(spec.unwrap_or(&ThreadSpec::Current), debugger)?;
    Ok(debugger.engine.adjust_suspend(&chosen, delta)?)
}

/// `~T e`: the rest of the line for each thread; a failure for one does not keep the others from it.
fn for_each(
    spec: &ThreadSpec,
    commands: &str,
    debugger: &mut Debugger,
    out: &mut dyn Output,
) -> Result<(), CommandError> {
    let chosen = select(spec, debugger)?;
    debugger.for_threads(&chosen, |debugger, _| {
        debugger.run_nested(commands, "threads cannot be resumed one after the other; use ~T g", out);
        Ok(())
    })
}

/// A command with a prefix: once with all threads for those that know what to do with them, else once for each.
fn prefixed(
    spec: ThreadSpec,
    command: &str,
    debugger: &mut Debugger,
    out: &mut dyn Output,
) -> Result<(), CommandError> {
    let found = recognise(command).map_err(registry::unknown)?;
    let mut arguments = Arguments::new(found.name, found.entry.syntax, Some(spec.clone()), found.rest);
    if registry::takes_threads(found.entry) {
        let done = debugger.carry_out(found.entry, &mut arguments, out);
        debugger.awaits_event |= debugger.engine.state() == outpost_engine::EngineState::Running;
        return done;
    }
    let chosen = select(&spec, debugger)?;
    debugger.for_threads(&chosen, |debugger, thread| {
        if matches!(spec, ThreadSpec::All) {
            let summary = debugger.engine.thread(thread)?;
            out.write(OutputKind::Normal, &format!("\n{}\n", threads::row(&summary)));
        }
        debugger.one_command(command, out)
    })
}
