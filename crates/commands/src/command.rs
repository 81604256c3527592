//! What a command is: parsed from text, run to give data, rendered as text.

use serde_json::Value;

use crate::json::Json;
use crate::language::Arguments;
use crate::output::CommandResult;
use crate::{CommandError, Debugger, Output};

/// A command in three pieces, so that a front end can call the one in the middle with data and get data.
pub trait Command: Sized {
    /// What it gives.
    type Data: Json;

    /// Reads the arguments; expressions in them are evaluated in the debugger's current scope.
    ///
    /// # Errors
    /// [`CommandError::Usage`], or what is wrong with an expression.
    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Self, CommandError>;

    /// Does it.
    ///
    /// # Errors
    /// Why it could not be done; nothing was changed then unless the command says otherwise.
    fn run(self, debugger: &mut Debugger) -> Result<Self::Data, CommandError>;

    /// The text for a console, appended to `text`.
    fn render(data: &Self::Data, text: &mut String);
}

/// Which page of the reference a command belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Running and stepping.
    Execution,
    /// Breakpoints.
    Breakpoints,
    /// Stack, registers, scope, events.
    State,
    /// Memory.
    Memory,
    /// Code, symbols, types, expressions, sources.
    Symbols,
    /// Systems, processes, threads.
    Processes,
    /// Control tokens, aliases, command files, formatted output.
    Scripts,
    /// The session, its output and its end.
    Session,
}

/// A row of the registry: a command with everything that is said about it, once for help, completion and reference.
#[derive(Debug, Clone, Copy)]
pub struct CommandEntry {
    /// Its names, the most usual first. A name with upper-case letters is meant as it is written.
    pub names: &'static [&'static str],
    /// Its syntax, one form per line.
    pub syntax: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// The rest of what there is to say.
    pub details: &'static str,
    /// Lines as one would type them.
    pub example: &'static str,
    /// Where it belongs.
    pub group: Group,
    /// Whether it takes the rest of the line, `;` included.
    pub eats_line: bool,
    /// Carries it out.
    pub run: Handler,
}

/// Carries out a command from its arguments and shows what it gives.
pub type Handler = fn(&mut Arguments<'_>, &mut Debugger, &mut dyn Output) -> Result<(), CommandError>;

/// The handler of a [`Command`].
pub(crate) fn carry_out<C: Command>(
    arguments: &mut Arguments<'_>,
    debugger: &mut Debugger,
    out: &mut dyn Output,
) -> Result<(), CommandError> {
    let command = C::parse(arguments, debugger)?;
    arguments.finish()?;
    let data = command.run(debugger)?;
    give(&data, C::render, out);
    Ok(())
}

/// Hands out data with the way in which they are shown as text.
pub(crate) fn give<T: Json>(data: &T, render: fn(&T, &mut String), out: &mut dyn Output) {
    out.result(&Rendered { data, render });
}

/// Data with their text.
struct Rendered<'a, T> {
    data: &'a T,
    render: fn(&T, &mut String),
}

impl<T: Json> CommandResult for Rendered<'_, T> {
    fn text(&self) -> String {
        let mut text = String::new();
        (self.render)(self.data, &mut text);
        text
    }

    fn json(&self) -> Value {
        self.data.json()
    }
}
