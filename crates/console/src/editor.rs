//! Line editing.

use std::path::PathBuf;

use outpost_session::Session;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Helper};

/// A line, or why there is none.
pub(crate) enum Line {
    Text(String),
    /// Ctrl+C at the prompt: the line is dropped.
    Interrupted,
    /// Ctrl+D on an empty line, or the terminal is gone.
    End,
}

/// The terminal's line editor.
pub(crate) struct Editor<'a> {
    editor: rustyline::Editor<Words<'a>, DefaultHistory>,
    history: Option<PathBuf>,
}

impl<'a> Editor<'a> {
    pub(crate) fn new(session: &'a Session, history: Option<PathBuf>) -> std::io::Result<Editor<'a>> {
        let config = Config::builder().completion_type(CompletionType::List).auto_add_history(false).build();
        let mut editor = rustyline::Editor::with_config(config).map_err(std::io::Error::other)?;
        editor.set_helper(Some(Words { session }));
        if let Some(path) = &history {
            // No file yet is how every history begins.
            drop(editor.load_history(path));
        }
        Ok(Editor { editor, history })
    }

    /// Reads a line.
    pub(crate) fn read(&mut self, prompt: &str) -> std::io::Result<Line> {
        match self.editor.readline(prompt) {
            Ok(line) => {
                if !line.trim().is_empty() {
                    drop(self.editor.add_history_entry(line.as_str()));
                    if let Some(path) = &self.history {
                        drop(self.editor.append_history(path));
                    }
                }
                Ok(Line::Text(line))
            }
            Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(ReadlineError::Io(error)) => Err(error),
            Err(error) => Err(std::io::Error::other(error)),
        }
    }
}

/// Completion by the session.
struct Words<'a> {
    session: &'a Session,
}

impl Completer for Words<'_> {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let found = self.session.complete(line, position);
        let start = found.first().map_or(position, |completion| completion.start);
        let pairs =
            found.into_iter().map(|completion| Pair { display: completion.text.clone(), replacement: completion.text });
        Ok((start, pairs.collect()))
    }
}

impl Hinter for Words<'_> {
    type Hint = String;
}

impl Highlighter for Words<'_> {}
impl Validator for Words<'_> {}
impl Helper for Words<'_> {}
