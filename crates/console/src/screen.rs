//! What is shown.

use std::io::{IsTerminal, Write};

use outpost_session::OutputKind;

/// Standard output, with colours if it is a terminal.
pub(crate) struct Screen {
    colours: bool,
}

impl Screen {
    pub(crate) fn new() -> Screen {
        // The convention of no-color.org.
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Screen { colours: wanted && std::io::stdout().is_terminal() }
    }

    pub(crate) fn text(&mut self, kind: OutputKind, text: &str) {
        let colour = match kind {
            OutputKind::Error => "\x1b[31m",
            OutputKind::Warning => "\x1b[33m",
            OutputKind::Debuggee => "\x1b[36m",
            OutputKind::Verbose => "\x1b[2m",
            OutputKind::Normal | OutputKind::Stop => "",
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

    fn write(&mut self, text: &str) {
        let mut out = std::io::stdout().lock();
        // A reader that went away (`cdb ... | head`) is no reason to fail: the session ends with its input.
        drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    }
}
