//! A terminal as a client of a debugging session.
//!
//! Given a session and a client of it, [`run`] shows what happens and reads commands until the session is over. At a
//! terminal: line editing, history kept in a file, completion of commands, symbols, registers and files, colours, a bar
//! for long work. Anywhere else: plain text, each command shown behind its prompt, flushed after each piece, so that
//! scripts and logs read like a session. Ctrl+C always answers ([`block_interrupts`]).

mod editor;
mod interrupt;
mod keyboard;
mod paint;
mod plain;
mod screen;

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use outpost_session::{Client, Ending, Session};

pub use interrupt::{Interrupts, block_interrupts};

/// How a console behaves.
#[derive(Debug, Clone, Default)]
pub struct ConsoleOptions {
    /// Where the history of commands is kept; `None`: nowhere.
    pub history: Option<PathBuf>,
    /// Lines to carry out before any is read, shown behind the prompt as if they were typed.
    pub first: Vec<String>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// The session was ended by a command, or by the end of input.
    Ended(Ending),
    /// The session could not begin.
    Failed(String),
    /// The session broke off.
    Gone,
}

/// Why a console cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsoleError {
    /// The terminal or a stream failed.
    #[error("terminal: {0}")]
    Terminal(#[from] io::Error),
    /// Line editing failed.
    #[error("line editing: {0}")]
    Editing(#[from] rustyline::error::ReadlineError),
}

/// Columns and rows of the terminal that [`run`] works with; `None` where it is not at one.
pub fn terminal_size() -> Option<(u16, u16)> {
    let size = is_terminal().then(|| rustix::termios::tcgetwinsize(io::stdout()).ok())??;
    Some((size.ws_col, size.ws_row))
}

/// Whether a prompt asks for a value that a command wants, and not for a command.
fn is_question(prompt: &str) -> bool {
    prompt.trim_end() == "Input>"
}

/// What the end of input means behind a prompt: the end of the session, but first that nothing more is answered.
fn at_end_of_input(prompt: &str) -> &'static str {
    if is_question(prompt) { "" } else { "q" }
}

fn is_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Runs until the session is over.
///
/// # Errors
/// [`ConsoleError`]; the session is not ended by it.
pub fn run(
    session: &Session,
    client: Client,
    interrupts: Option<Interrupts>,
    options: &ConsoleOptions,
) -> Result<Finish, ConsoleError> {
    if let Some(interrupts) = interrupts {
        interrupts.deliver_to(session.interrupter())?;
    }
    if is_terminal() { editor::run(client, options) } else { plain::run(&client, options) }
}
