//! One line per lifecycle event.

use std::fmt;
use std::io::Write;

/// Where lifecycle events go: lines on standard error, or nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// `dbgsrv: ...` on standard error.
    Stderr,
    /// Nowhere: a debugger's own guardian has no business on its terminal.
    Quiet,
}

impl Log {
    /// Writes a line at once, so that lines of several processes do not mix. A closed standard error is no obstacle.
    pub fn line(self, text: fmt::Arguments<'_>) {
        if self == Log::Stderr {
            let line = format!("dbgsrv: {text}\n");
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }
}
