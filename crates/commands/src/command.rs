//! What every command is: parsed from text, carried out, rendered.

use crate::arguments::Arguments;
use crate::context::Context;
use crate::output::{Output, OutputKind};
use crate::{CommandError, Settings};

/// What a command is called and how it explains itself.
#[derive(Debug)]
pub struct CommandInfo {
    /// Spellings, the main one first. Plain words, or with the leading `.` or `!`.
    pub names: &'static [&'static str],
    /// Further spellings with option letters attached, such as `kpn`; given what was typed up to the first character
    /// that is no letter, digit or sign of the kind the command allows.
    pub also: Option<fn(&str) -> bool>,
    /// Where it is listed.
    pub group: Group,
    /// Forms, one each.
    pub syntax: &'static [&'static str],
    /// One line without a full stop.
    pub summary: &'static str,
    /// The rest: options, units, examples. Lines end with `\n`.
    pub details: &'static str,
    /// What must be there before it can run.
    pub needs: Needs,
    /// It takes the rest of the line, `;` included.
    pub takes_line: bool,
}

/// Groups of the command reference, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Running and stepping.
    Execution,
    /// Breakpoints.
    Breakpoints,
    /// Stacks, registers, scope.
    Stack,
    /// Reading, writing and searching memory.
    Memory,
    /// Code, symbols, types, source.
    Symbols,
    /// Expressions.
    Expressions,
    /// Systems, processes, threads.
    Processes,
    /// The session itself: logs, help, settings, leaving.
    Session,
}

/// What a command needs before it can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// A stopped debuggee, live or a dump.
    Debuggee,
    /// A debuggee that can run.
    Live,
}

impl CommandInfo {
    /// Whether it resumes the debuggee.
    pub(crate) fn resumes(&self) -> bool {
        self.group == Group::Execution && self.needs == Needs::Live
    }
}

/// What happens after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The next command.
    Next,
    /// The debuggee was resumed: the rest of the line waits for the next stop.
    Resumed,
    /// The session is over.
    Quit,
}

/// One command. See the crate's documentation for the division of labour.
pub(crate) trait Command: Sized {
    /// What it is called.
    const INFO: CommandInfo;
    /// What it finds out.
    type Result;

    /// Reads its arguments; evaluates those that are expressions.
    fn parse(arguments: &mut Arguments<'_>, context: &mut Context) -> Result<Self, CommandError>;

    /// Does it.
    fn run(self, context: &mut Context) -> Result<Self::Result, CommandError>;

    /// Writes the result as text.
    fn render(result: &Self::Result, settings: &Settings, text: &mut String);

    /// What happens next; only commands that resume or quit say otherwise.
    fn flow(_result: &Self::Result) -> Flow {
        Flow::Next
    }
}

/// A command in the table: its type is behind a function.
pub(crate) struct Entry {
    pub(crate) info: &'static CommandInfo,
    pub(crate) execute: fn(&mut Context, &mut Arguments<'_>, &mut dyn Output) -> Result<Flow, CommandError>,
}

/// The table's row for a command.
pub(crate) const fn entry<C: Command>() -> Entry {
    Entry { info: &C::INFO, execute: execute::<C> }
}

fn execute<C: Command>(
    context: &mut Context,
    arguments: &mut Arguments<'_>,
    output: &mut dyn Output,
) -> Result<Flow, CommandError> {
    let command = C::parse(arguments, context)?;
    arguments.end(&C::INFO)?;
    let result = command.run(context)?;
    let mut text = String::new();
    C::render(&result, &context.settings, &mut text);
    if !text.is_empty() {
        output.write(OutputKind::Normal, &text);
    }
    Ok(C::flow(&result))
}
