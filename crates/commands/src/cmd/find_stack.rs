//! `!findstack`: threads in whose stacks a name is.

use outpost_engine::values::Wildcard;
use outpost_engine::{StackFrame, ThreadOrdinal};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::{Arguments, ThreadSpec};
use crate::text::frames::{FrameColumns, head, row};
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["!findstack"],
    syntax: "!findstack Name [0|1|2]",
    summary: "Show the threads in whose stacks a function is",
    details: "Name is a pattern for function or module!function; a plain word is looked for anywhere in it. 0 shows the \
              threads only, 1 (as by default) the frames that are meant, 2 the whole stacks.",
    example: "!findstack pthread_mutex_lock 2",
    group: Group::State,
    eats_line: false,
    run: carry_out::<FindStack>,
}];

/// Searches stacks.
#[derive(Debug, Clone)]
pub struct FindStack {
    name: String,
    level: u64,
}

/// A thread that was found.
#[derive(Debug, Clone)]
pub struct FoundStack {
    /// The thread.
    pub thread: ThreadOrdinal,
    /// How many of its frames are meant.
    pub matching: usize,
    /// What is shown of its stack.
    pub frames: Vec<StackFrame>,
}

fields!(FoundStack { thread, matching, frames });

impl Command for FindStack {
    type Data = Vec<FoundStack>;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<FindStack, CommandError> {
        let name = arguments.word().ok_or_else(|| arguments.usage("the name is missing"))?.to_owned();
        let level = arguments.optional_number(debugger)?.unwrap_or(1);
        if level > 2 {
            return Err(arguments.usage("the level is 0, 1 or 2"));
        }
        Ok(FindStack { name, level })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Vec<FoundStack>, CommandError> {
        let pattern = match self.name.contains(['*', '?', '!']) {
            true => self.name.clone(),
            false => format!("*{}*", self.name),
        };
        let pattern = Wildcard::new(&pattern);
        let is_meant = |frame: &StackFrame| {
            pattern.matches(&frame.function) || pattern.matches(&format!("{}!{}", frame.module, frame.function))
        };
        let threads = super::threads::select(&ThreadSpec::All, debugger)?;
        let mut found = Vec::new();
        for stack in debugger.engine.stacks(&threads, outpost_engine::DEFAULT_FRAMES)? {
            let matching = stack.frames.iter().filter(|frame| is_meant(frame)).count();
            let is_shown = |frame: &StackFrame| self.level == 2 || self.level == 1 && is_meant(frame);
            if matching > 0 {
                let frames = stack.frames.into_iter().filter(is_shown).collect();
                found.push(FoundStack { thread: stack.thread, matching, frames });
            }
        }
        if found.is_empty() {
            return Err(CommandError::invalid(format!("no stack has a frame like '{}'", self.name)));
        }
        Ok(found)
    }

    fn render(data: &Vec<FoundStack>, text: &mut String) {
        let columns = FrameColumns::default();
        for found in data {
            let frames = if found.matching == 1 { "frame matches" } else { "frames match" };
            line!(text, "Thread {:03}, {} {frames}", found.thread.0, found.matching);
            if !found.frames.is_empty() {
                line!(text, "{}", head(columns));
            }
            found.frames.iter().for_each(|frame| line!(text, "{}", row(frame, columns, None, "", "")));
        }
    }
}
