//! A terminal: lines are edited, remembered and completed.

use std::io::{self, Write};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use outpost_session::{Client, Update};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, ExternalPrinter, Helper};

use crate::keyboard::Keyboard;
use crate::paint::Colours;
use crate::screen::Screen;
use crate::{ConsoleError, ConsoleOptions, Finish};

/// Lines of history that are kept.
const HISTORY: usize = 5000;

/// What the terminal's thread must know of what happens.
enum Happened {
    Prompt(String),
    Finished(Finish),
}

/// Shared by the thread that shows and the one that edits.
struct Shown {
    screen: Screen,
    /// Set while a line is being edited: what is shown then goes above it.
    above: Option<Box<dyn ExternalPrinter + Send>>,
}

pub(crate) fn run(client: Client, options: &ConsoleOptions) -> Result<Finish, ConsoleError> {
    let config = Config::builder().max_history_size(HISTORY)?.history_ignore_dups(true)?.auto_add_history(false);
    // As shells and gdb do: what is common first, then the list.
    let config = config.completion_type(CompletionType::List);
    let mut editor: Editor<Assistant, FileHistory> = Editor::with_config(config.build())?;
    let colours = Colours::of_environment(true);
    let shown = Arc::new(Mutex::new(Shown { screen: Screen::new(colours, true), above: None }));
    let (sender, happened) = mpsc::channel();
    let client = Arc::new(Mutex::new(client));
    // Updates are taken by a thread of their own, so that a stop shows while a line is being edited.
    let updates = client.lock().unwrap_or_else(PoisonError::into_inner).split_updates();
    let to_show = shown.clone();
    let typist = client.clone();
    let typed = move |bytes| typist.lock().unwrap_or_else(PoisonError::into_inner).type_input(bytes);
    let watcher = client.clone();
    let resized =
        move |(columns, rows)| watcher.lock().unwrap_or_else(PoisonError::into_inner).resize_terminal(columns, rows);
    let keyboard = Keyboard::new(typed, resized);
    thread::Builder::new().name("console".into()).spawn(move || show_all(&updates, &to_show, keyboard, &sender))?;
    editor.set_helper(Some(Assistant { client: client.clone(), colours }));
    if let Some(path) = &options.history {
        if let Some(folder) = path.parent() {
            // Without a folder there is no history, which is told by nothing worse.
            let _ = std::fs::create_dir_all(folder);
        }
        let _ = editor.load_history(path);
    }
    let mut first = options.first.iter();
    let finish = loop {
        let prompt = match happened.recv() {
            Ok(Happened::Prompt(prompt)) => prompt,
            Ok(Happened::Finished(finish)) => break finish,
            Err(_) => break Finish::Gone,
        };
        let line = match first.next() {
            Some(line) => {
                shown.lock().unwrap_or_else(PoisonError::into_inner).screen.echo(&prompt, line)?;
                line.clone()
            }
            None => {
                let line = read_line(&mut editor, &prompt, &shown)?;
                let line = line.unwrap_or_else(|| crate::at_end_of_input(&prompt).to_owned());
                if !line.trim().is_empty() {
                    editor.add_history_entry(line.as_str())?;
                }
                line
            }
        };
        client.lock().unwrap_or_else(PoisonError::into_inner).submit(&line);
    };
    if let Some(path) = &options.history {
        // The session is over; a history that cannot be written is not worth an error.
        let _ = editor.save_history(path);
    }
    Ok(finish)
}

/// One line; `None` at the end of input (Ctrl+D). Ctrl+C clears the line and begins a new one.
fn read_line(
    editor: &mut Editor<Assistant, FileHistory>,
    prompt: &str,
    shown: &Mutex<Shown>,
) -> Result<Option<String>, ConsoleError> {
    loop {
        let printer = editor.create_external_printer()?;
        let set = |above| shown.lock().unwrap_or_else(PoisonError::into_inner).above = above;
        set(Some(Box::new(printer)));
        let line = editor.readline(prompt);
        set(None);
        match line {
            Ok(line) => return Ok(Some(line)),
            // What a command asks for need not be answered.
            Err(ReadlineError::Interrupted) if crate::is_question(prompt) => return Ok(Some(String::new())),
            Err(ReadlineError::Interrupted) => {
                let mut out = io::stdout().lock();
                writeln!(out, "^C (q quits)")?;
            }
            Err(ReadlineError::Eof) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

fn show_all(
    updates: &outpost_session::Updates,
    shown: &Mutex<Shown>,
    mut keyboard: Keyboard,
    sender: &Sender<Happened>,
) {
    loop {
        let update = updates.next();
        match &update {
            // Without the keyboard the debuggee still runs, and Ctrl+C still breaks in.
            Some(Update::Running { takes_input: true }) => drop(keyboard.lend()),
            Some(Update::Output { .. } | Update::Progress { .. }) => {}
            _ => keyboard.take_back(),
        }
        let happened = match update {
            None => Happened::Finished(Finish::Gone),
            Some(Update::Ended(ending)) => Happened::Finished(Finish::Ended(ending)),
            Some(Update::Failed(reason)) => Happened::Finished(Finish::Failed(reason)),
            Some(Update::Prompt(prompt)) => {
                let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                // A bar in progress is over.
                let _ = shown.screen.show(&Update::Busy);
                // Somebody else's command changed the prompt while a line is being edited: it stays as it is.
                if shown.above.is_some() {
                    continue;
                }
                Happened::Prompt(prompt)
            }
            Some(update) => {
                let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                let Shown { screen, above } = &mut *shown;
                let failed = match (above, &update) {
                    (Some(above), Update::Output { kind, text }) => {
                        above.print(screen.colours.paint(*kind, text)).is_err()
                    }
                    _ => screen.show(&update).is_err(),
                };
                if failed {
                    return;
                }
                continue;
            }
        };
        let over = matches!(happened, Happened::Finished(_));
        if sender.send(happened).is_err() || over {
            return;
        }
    }
}

/// Completion and the prompt's colour.
struct Assistant {
    client: Arc<Mutex<Client>>,
    colours: Colours,
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, cursor: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(completion) = client.complete(line, cursor) else { return Ok((cursor, Vec::new())) };
        let pair = |candidate: String| Pair { display: candidate.clone(), replacement: candidate };
        Ok((completion.start, completion.candidates.into_iter().map(pair).collect()))
    }
}

impl Highlighter for Assistant {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> std::borrow::Cow<'b, str> {
        self.colours.prompt(prompt).into()
    }
}

impl Hinter for Assistant {
    type Hint = String;
}

impl Validator for Assistant {}

impl Helper for Assistant {}
