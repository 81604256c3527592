//! `.time`, and dates for other commands.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::UtcDateTime;

use crate::command::{Command, CommandEntry, Group, carry_out, give};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger, Output};

/// What `.formats` shows of a number that is no date.
const INVALID: &str = "***** Invalid";

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &[".echotime"],
        syntax: ".echotime",
        summary: "Show the time of the debugger's machine",
        details: "In UTC. .time shows that of the target, and its uptimes.",
        example: "bp main \".echotime; g\"",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<EchoTime>,
    },
    CommandEntry {
        names: &[".sleep"],
        syntax: ".sleep Milliseconds",
        summary: "Wait",
        details: "The number is an expression, so plain digits are in the base of n. Ctrl+C ends it. What is stopped stays stopped.",
        example: ".sleep 0n500",
        group: Group::Session,
        eats_line: false,
        run: sleep,
    },
    CommandEntry {
        names: &[".ttime"],
        syntax: ".ttime",
        summary: "Show times of the thread",
        details: "When it began, and its kernel and user time. !runaway compares those of all threads.",
        example: "~1s; .ttime",
        group: Group::Processes,
        eats_line: false,
        run: carry_out::<ShowThreadTimes>,
    },
    CommandEntry {
        names: &[".time"],
        syntax: ".time",
        summary: "Show times of session, system and process",
        details: "Times are in UTC.",
        example: ".time",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<Time>,
    },
];

/// How long `.sleep` waits before it looks for Ctrl+C.
const NAP: Duration = Duration::from_millis(20);
/// What is longer is meant to be something else: `-1`, an address.
const LONGEST_SLEEP: Duration = Duration::from_hours(24);

fn sleep(arguments: &mut Arguments<'_>, debugger: &mut Debugger, out: &mut dyn Output) -> Result<(), CommandError> {
    let mut left = Duration::from_millis(arguments.number(debugger)?);
    arguments.finish()?;
    if left > LONGEST_SLEEP {
        return Err(CommandError::invalid("that is longer than a day"));
    }
    out.flush();
    while !left.is_zero() {
        debugger.engine.check_interrupt()?;
        let nap = left.min(NAP);
        std::thread::sleep(nap);
        left -= nap;
    }
    give(&(), |(), _| {}, out);
    Ok(())
}

/// Shows times.
#[derive(Debug, Clone)]
pub struct Time;

/// Times in microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// Now, since the epoch.
    pub now: u64,
    /// Uptime of the target's machine.
    pub system: Option<u64>,
    /// How long the process runs.
    pub process: Option<u64>,
    /// Its kernel time.
    pub kernel: Option<u64>,
    /// Its user time.
    pub user: Option<u64>,
}

fields!(Times { now, system, process, kernel, user });

impl Command for Time {
    type Data = Times;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<Time, CommandError> {
        Ok(Time)
    }

    fn run(self, debugger: &mut Debugger) -> Result<Times, CommandError> {
        let own = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64);
        let mut times = Times { now: own, ..Times::default() };
        let Some(system) = debugger.engine.current_system() else { return Ok(times) };
        let process = debugger.engine.current_process().ok();
        let id = process.and_then(|process| debugger.engine.processes().into_iter().find(|row| row.ordinal == process));
        let (clock, info) = debugger.engine.with_target(system, |target| {
            let clock = target.as_os().and_then(|os| os.clock().ok());
            let all = target.processes().unwrap_or_default();
            (clock, id.as_ref().and_then(|id| all.into_iter().find(|info| info.id == id.id)))
        })?;
        if let Some((now, uptime)) = clock {
            times.now = now;
            times.system = Some(uptime);
        }
        if let Some(info) = info {
            let started = Some(info.start_time_us).filter(|start| *start != 0);
            times.process = started.map(|start| times.now.saturating_sub(start));
            times.kernel = Some(info.system_time_us);
            times.user = Some(info.user_time_us);
        }
        Ok(times)
    }

    fn render(data: &Times, text: &mut String) {
        line!(text, "Debug session time: {} (UTC + 0:00)", date(data.now / 1000));
        let span = |time: Option<u64>| time.map_or_else(|| "not available".to_owned(), duration);
        line!(text, "System Uptime: {}", span(data.system));
        line!(text, "Process Uptime: {}", span(data.process));
        line!(text, "  Kernel time: {}", span(data.kernel));
        line!(text, "  User time: {}", span(data.user));
    }
}

/// Shows the debugger's time.
#[derive(Debug, Clone)]
pub struct EchoTime;

impl Command for EchoTime {
    type Data = String;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<EchoTime, CommandError> {
        Ok(EchoTime)
    }

    fn run(self, _: &mut Debugger) -> Result<String, CommandError> {
        Ok(now())
    }

    fn render(data: &String, text: &mut String) {
        line!(text, "Debugger (not debuggee) time: {data} (UTC + 0:00)");
    }
}

/// The time of this machine as a date.
pub(crate) fn now() -> String {
    date(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64))
}

/// Shows times of the current thread.
#[derive(Debug, Clone)]
pub struct ShowThreadTimes;

/// Times of a thread in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct ThreadClock {
    /// When it began, since the epoch; 0 if that is not known.
    pub created: u64,
    /// Time in the kernel.
    pub kernel: u64,
    /// Time in the program.
    pub user: u64,
}

fields!(ThreadClock { created, kernel, user });

impl Command for ShowThreadTimes {
    type Data = ThreadClock;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<ShowThreadTimes, CommandError> {
        Ok(ShowThreadTimes)
    }

    fn run(self, debugger: &mut Debugger) -> Result<ThreadClock, CommandError> {
        let (process, thread) = (debugger.engine.current_process()?, debugger.engine.current_thread()?);
        let all = debugger.engine.thread_times(process)?;
        let own = all.into_iter().find(|(ordinal, _)| *ordinal == thread);
        let (_, own) = own.ok_or_else(|| CommandError::invalid("times of threads are not known of this target"))?;
        Ok(ThreadClock { created: own.start_time_us, kernel: own.system_time_us, user: own.user_time_us })
    }

    fn render(data: &ThreadClock, text: &mut String) {
        let created = if data.created == 0 { "not available".to_owned() } else { date(data.created / 1000) };
        line!(text, "Created: {created} (UTC + 0:00)");
        line!(text, "  Kernel time: {}", duration(data.kernel));
        line!(text, "  User time: {}", duration(data.user));
    }
}

/// `12 days 4:11:09.330` from microseconds.
pub(super) fn duration(microseconds: u64) -> String {
    let milliseconds = microseconds / 1000;
    let seconds = milliseconds / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    format!("{days} days {hours}:{minutes:02}:{:02}.{:03}", seconds % 60, milliseconds % 1000)
}

/// A date from seconds since the epoch, for `.formats`.
pub(super) fn date_of(seconds: u64) -> String {
    seconds.checked_mul(1000).map_or_else(|| INVALID.to_owned(), date)
}

/// `Mon Mar  3 10:15:02.117 2025` from milliseconds since the epoch.
fn date(milliseconds: u64) -> String {
    let Ok(at) = UtcDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000) else {
        return INVALID.to_owned();
    };
    let (weekday, month) = (at.weekday().to_string(), at.month().to_string());
    let (hour, minute, second, milli) = at.time().as_hms_milli();
    let (day, year) = (at.day(), at.year());
    format!("{weekday:.3} {month:.3} {day:2} {hour:02}:{minute:02}:{second:02}.{milli:03} {year}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_durations() {
        assert_eq!(date(1_740_996_902_117), "Mon Mar  3 10:15:02.117 2025");
        assert_eq!(date(0), "Thu Jan  1 00:00:00.000 1970");
        assert_eq!(date(951_782_400_000), "Tue Feb 29 00:00:00.000 2000");
        assert_eq!(date(1_767_225_599_999), "Wed Dec 31 23:59:59.999 2025");
        assert_eq!(duration(1_051_869_330_000), "12 days 4:11:09.330");
        assert_eq!(duration(40_000), "0 days 0:00:00.040");
        assert_eq!(date_of(u64::MAX), "***** Invalid");
    }
}
