//! What is shown where: commands' answers on standard output, progress on standard error.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use outpost_session::{OutputKind, Update};

use crate::paint::Colours;

/// Work that is done sooner needs no bar.
const BAR_DELAY: Duration = Duration::from_millis(500);

/// The output side of a console.
pub(crate) struct Screen {
    pub(crate) colours: Colours,
    /// Whether bars are drawn.
    bars: bool,
    bar: Option<(String, Instant, Option<ProgressBar>)>,
}

impl Screen {
    pub(crate) fn new(colours: Colours, bars: bool) -> Screen {
        Screen { colours, bars, bar: None }
    }

    /// Shows output or progress; other updates are not for the screen.
    pub(crate) fn show(&mut self, update: &Update) -> io::Result<()> {
        match update {
            Update::Output { kind, text } => {
                self.clear_bar();
                self.write(*kind, text)
            }
            Update::Progress { what, permille } => {
                self.progress(what, *permille);
                Ok(())
            }
            _ => {
                self.clear_bar();
                Ok(())
            }
        }
    }

    /// Shows a command line that was not typed here behind its prompt.
    pub(crate) fn echo(&mut self, prompt: &str, line: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}{line}", self.colours.prompt(prompt))?;
        out.flush()
    }

    fn write(&mut self, kind: OutputKind, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(self.colours.paint(kind, text).as_bytes())?;
        out.flush()
    }

    fn progress(&mut self, what: &str, permille: u32) {
        if !self.bars {
            return;
        }
        if permille >= 1000 {
            return self.clear_bar();
        }
        if self.bar.as_ref().is_none_or(|(known, ..)| known != what) {
            self.clear_bar();
            self.bar = Some((what.to_owned(), Instant::now(), None));
        }
        let Some((_, since, bar)) = &mut self.bar else { return };
        if bar.is_none() && since.elapsed() >= BAR_DELAY {
            let drawn = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {percent}%") {
                drawn.set_style(style);
            }
            drawn.set_message(format!("Loading symbols of {what}"));
            *bar = Some(drawn);
        }
        if let Some(bar) = bar {
            bar.set_position(u64::from(permille));
        }
    }

    fn clear_bar(&mut self) {
        if let Some((_, _, Some(bar))) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
