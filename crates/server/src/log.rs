//! One line per lifecycle event.

use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant};

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

/// Lines about those who have proved nothing, and who could fill a disk with them: some at once, then a few a second, and
/// the number of the others.
#[derive(Debug)]
pub(crate) struct BoundedLog {
    log: Log,
    /// Lines that may be written at once.
    left: u32,
    since: Instant,
    left_out: u64,
}

impl BoundedLog {
    /// Lines at once.
    const BURST: u32 = 40;
    /// Time for which one more is allowed.
    const INTERVAL: Duration = Duration::from_millis(500);

    pub(crate) fn new(log: Log, now: Instant) -> BoundedLog {
        BoundedLog { log, left: BoundedLog::BURST, since: now, left_out: 0 }
    }

    pub(crate) fn line(&mut self, now: Instant, text: fmt::Arguments<'_>) {
        let earned = now.saturating_duration_since(self.since).as_millis() / BoundedLog::INTERVAL.as_millis();
        if earned > 0 {
            self.left = BoundedLog::BURST.min(self.left.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX)));
            self.since = now;
        }
        if self.left == 0 {
            self.left_out += 1;
            return;
        }
        self.left -= 1;
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            self.log.line(format_args!("{left_out} lines about refused connections were left out"));
        }
        self.log.line(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_cut_and_counted() {
        let now = Instant::now();
        let mut log = BoundedLog::new(Log::Quiet, now);
        (0..1000).for_each(|_| log.line(now, format_args!("")));
        assert_eq!((log.left, log.left_out), (0, 1000 - u64::from(BoundedLog::BURST)));
        log.line(now + BoundedLog::INTERVAL * 3, format_args!(""));
        assert_eq!((log.left, log.left_out), (2, 0));
        log.line(now + BoundedLog::INTERVAL * 3000, format_args!(""));
        assert_eq!(log.left, BoundedLog::BURST - 1);
    }
}
