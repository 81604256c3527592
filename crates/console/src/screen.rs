//! What is shown.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use outpost_session::OutputKind;

/// Work shorter than this shows no progress.
const PROGRESS_AFTER: Duration = Duration::from_millis(300);

/// Standard output, with colours if it is a terminal.
pub(crate) struct Screen {
    colours: bool,
    terminal: bool,
    progress: Option<ProgressBar>,
    since: Option<Instant>,
}

impl Screen {
    pub(crate) fn new() -> Screen {
        let terminal = std::io::stdout().is_terminal();
        // The convention of no-color.org.
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Screen { colours, terminal, progress: None, since: None }
    }

    pub(crate) fn text(&mut self, kind: OutputKind, text: &str) {
        self.settle();
        let colour = match kind {
            OutputKind::Error => "\x1b[31m",
            OutputKind::Warning => "\x1b[33m",
            OutputKind::Debuggee => "\x1b[36m",
            OutputKind::Symbols => "\x1b[2m",
            OutputKind::Normal => "",
        };
        if self.colours && !colour.is_empty() {
            self.write(&format!("{colour}{text}\x1b[0m"));
        } else {
            self.write(text);
        }
    }

    /// Shows a line that nobody typed here.
    pub(crate) fn echo(&mut self, prompt: &str, line: &str) {
        self.write(&format!("{prompt}{line}\n"));
    }

    pub(crate) fn progress(&mut self, what: &str, done: Option<(u64, u64)>) {
        let Some((done, total)) = done.filter(|_| self.terminal) else { return self.settle() };
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() < PROGRESS_AFTER {
            return;
        }
        let bar = self.progress.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{msg} [{wide_bar}] {percent}%");
            ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        bar.set_message(what.to_owned());
        bar.set_length(total);
        bar.set_position(done);
    }

    /// Takes progress off the screen.
    pub(crate) fn settle(&mut self) {
        self.since = None;
        if let Some(bar) = self.progress.take() {
            bar.finish_and_clear();
        }
    }

    fn write(&mut self, text: &str) {
        let mut out = std::io::stdout().lock();
        // A reader that went away (`cdb ... | head`) is no reason to fail: the session ends with its input.
        drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    }
}
