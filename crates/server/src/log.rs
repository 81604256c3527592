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

/// How many lines may be written about those who could fill a disk with them: some at once, then a few a second.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// Lines that may be written at once.
    left: u32,
    since: Instant,
    left_out: u64,
}

impl Bucket {
    /// Lines at once.
    const BURST: u32 = 40;
    /// Time for which one more is allowed.
    const INTERVAL: Duration = Duration::from_millis(500);

    pub(crate) fn new(now: Instant) -> Bucket {
        Bucket { left: Bucket::BURST, since: now, left_out: 0 }
    }

    /// Whether a line may be written: then with the number of those that were left out before it.
    pub(crate) fn take(&mut self, now: Instant) -> Option<u64> {
        let earned = now.saturating_duration_since(self.since).as_millis() / Bucket::INTERVAL.as_millis();
        if earned > 0 {
            self.left = Bucket::BURST.min(self.left.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX)));
            self.since = now;
        }
        if self.left == 0 {
            self.left_out += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Lines about those who have proved nothing.
#[derive(Debug)]
pub(crate) struct BoundedLog {
    log: Log,
    bucket: Bucket,
}

impl BoundedLog {
    pub(crate) fn new(log: Log, now: Instant) -> BoundedLog {
        BoundedLog { log, bucket: Bucket::new(now) }
    }

    pub(crate) fn line(&mut self, now: Instant, text: fmt::Arguments<'_>) {
        let Some(left_out) = self.bucket.take(now) else { return };
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
        let mut bucket = Bucket::new(now);
        assert_eq!((0..1000).filter(|_| bucket.take(now) == Some(0)).count(), 40);
        assert_eq!((bucket.left, bucket.left_out), (0, 960));
        assert_eq!(bucket.take(now + Bucket::INTERVAL * 3), Some(960));
        assert_eq!((bucket.left, bucket.left_out), (2, 0));
        assert_eq!(bucket.take(now + Bucket::INTERVAL * 3000), Some(0));
        assert_eq!(bucket.left, Bucket::BURST - 1);
    }
}
