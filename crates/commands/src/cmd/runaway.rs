//! `!runaway`: which threads use the processors.

use outpost_base::ThreadId;
use outpost_engine::ThreadOrdinal;
use outpost_engine::target::ThreadTimes;

use super::time::duration;
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

/// Bits of the argument.
const USER: u64 = 1;
const KERNEL: u64 = 2;
const ELAPSED: u64 = 4;

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["!runaway"],
    syntax: "!runaway [Flags]",
    summary: "Show the processor time of each thread, the busiest first",
    details: "Flags are added: 1 user time (what is shown without any), 2 kernel time, 4 time since the thread began. On a \
              core, user and kernel time are those at its end, and when threads began is not known.",
    example: "!runaway 7",
    group: Group::Processes,
    eats_line: false,
    run: carry_out::<Runaway>,
}];

/// Shows times of threads.
#[derive(Debug, Clone)]
pub struct Runaway {
    flags: u64,
}

/// A thread and its time.
#[derive(Debug, Clone)]
pub struct ThreadTime {
    /// The thread.
    pub thread: ThreadOrdinal,
    /// Its id.
    pub id: ThreadId,
    /// Its name.
    pub name: String,
    /// Microseconds; `None` if not known.
    pub time_us: Option<u64>,
}

fields!(ThreadTime { thread, id, name, time_us });

/// Tables by their titles, each with its longest time first.
pub type TimeTables = Vec<(&'static str, Vec<ThreadTime>)>;

impl Command for Runaway {
    type Data = TimeTables;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Runaway, CommandError> {
        let flags = arguments.optional_number(debugger)?.unwrap_or(USER);
        if flags == 0 || flags & !(USER | KERNEL | ELAPSED) != 0 {
            return Err(arguments.usage("the flags are a sum of 1 (user), 2 (kernel) and 4 (elapsed)"));
        }
        Ok(Runaway { flags })
    }

    fn run(self, debugger: &mut Debugger) -> Result<TimeTables, CommandError> {
        let process = debugger.engine.current_process()?;
        let threads = debugger.engine.threads(process)?;
        let times = debugger.engine.thread_times(process)?;
        let mut now = None;
        if self.flags & ELAPSED != 0
            && let Some(system) = debugger.engine.current_system()
        {
            let clock = debugger.engine.with_target(system, |target| target.as_os().and_then(|os| os.clock().ok()))?;
            now = clock.map(|(now, _)| now);
        }
        let table = |time: &dyn Fn(&ThreadTimes) -> Option<u64>| {
            let mut rows: Vec<ThreadTime> = Vec::new();
            for (ordinal, times) in &times {
                let name = threads.iter().find(|thread| thread.ordinal == *ordinal);
                let name = name.map(|thread| thread.name.clone()).unwrap_or_default();
                rows.push(ThreadTime { thread: *ordinal, id: times.id, name, time_us: time(times) });
            }
            rows.sort_by_key(|row| (std::cmp::Reverse(row.time_us), row.thread));
            rows
        };
        let mut tables: TimeTables = Vec::new();
        if self.flags & USER != 0 {
            tables.push(("User Mode Time", table(&|times| Some(times.user_time_us))));
        }
        if self.flags & KERNEL != 0 {
            tables.push(("Kernel Mode Time", table(&|times| Some(times.system_time_us))));
        }
        if self.flags & ELAPSED != 0 {
            let elapsed =
                |times: &ThreadTimes| Some(now?.saturating_sub(Some(times.start_time_us).filter(|start| *start != 0)?));
            tables.push(("Elapsed Time", table(&elapsed)));
        }
        Ok(tables)
    }

    fn render(data: &TimeTables, text: &mut String) {
        for (title, rows) in data {
            line!(text, " {title}");
            line!(text, "  Thread       Time");
            for ThreadTime { thread, id, name, time_us } in rows {
                let thread = format!("{thread}:{:x}", id.0);
                let time = time_us.map_or_else(|| "not known".to_owned(), duration);
                let name = if name.is_empty() { String::new() } else { format!("  \"{name}\"") };
                line!(text, "  {thread:<12} {time}{name}");
            }
        }
    }
}
