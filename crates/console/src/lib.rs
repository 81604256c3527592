//! cdb's terminal: lines with editing, history and completion in; text and colours out.
//!
//! Given a [`Session`], [`run`] talks to its user until it ends. On a terminal lines are edited and Ctrl+C breaks in or
//! cancels; elsewhere lines are read from standard input as they are and what comes out is plain, so that it can be
//! scripted. The console reaches the debugger only through the session.

mod editor;
mod screen;

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

use outpost_session::{Chunk, Ending, Session};

use editor::{Editor, Line};
use screen::Screen;

/// How a console behaves.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where typed lines are remembered; `None`: nowhere.
    pub history: Option<PathBuf>,
    /// Lines to carry out before any is read.
    pub first: Vec<String>,
    /// No line is read after those.
    pub no_input: bool,
}

/// Runs a console until its session ends; `None` if the session never began.
///
/// # Errors
/// If the terminal cannot be used at all.
pub fn run(session: &Session, options: &Options) -> std::io::Result<Option<Ending>> {
    let interactive = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    break_in_on_interrupt(session)?;
    let mut screen = Screen::new();
    let mut input = match interactive {
        true => Input::Terminal(Box::new(Editor::new(session, options.history.clone())?)),
        false => Input::Plain,
    };
    let mut first = options.first.iter();
    loop {
        match session.next() {
            Chunk::Text(kind, text) => screen.text(kind, &text),
            Chunk::Ready(prompt) => {
                if let Some(line) = first.next() {
                    screen.echo(&prompt, line);
                    session.submit(line);
                } else if options.no_input {
                    session.submit(QUIT);
                } else {
                    let line = input.command(&mut screen, &prompt)?;
                    session.submit(line.as_deref().unwrap_or(QUIT));
                }
            }
            Chunk::Ended(ending) => return Ok(ending),
        }
    }
}

/// What the end of input stands for.
const QUIT: &str = "q";

enum Input<'a> {
    Terminal(Box<Editor<'a>>),
    Plain,
}

impl Input<'_> {
    /// The next command line; `None` at the end of input.
    fn command(&mut self, screen: &mut Screen, prompt: &str) -> std::io::Result<Option<String>> {
        match self {
            Input::Terminal(editor) => loop {
                match editor.read(prompt)? {
                    Line::Text(line) => return Ok(Some(line)),
                    Line::Interrupted => {}
                    Line::End => return Ok(None),
                }
            },
            Input::Plain => {
                let line = plain_line()?;
                // In a transcript of a script the command stands behind its prompt.
                screen.echo(prompt, line.as_deref().unwrap_or(""));
                Ok(line)
            }
        }
    }
}

fn plain_line() -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let count = std::io::stdin().lock().read_until(b'\n', &mut bytes)?;
    let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
    Ok((count > 0).then_some(line))
}

/// From now on SIGINT breaks in or cancels. A second one within an answered first does no more and no less.
fn break_in_on_interrupt(session: &Session) -> std::io::Result<()> {
    let interrupt = session.interrupter();
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT])?;
    std::thread::spawn(move || signals.forever().for_each(|_| interrupt()));
    Ok(())
}
