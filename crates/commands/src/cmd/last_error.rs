//! `!gle`: what the last call of the C library that failed has left.

use outpost_engine::{ThreadOrdinal, syscall_error_name};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["!gle"],
    syntax: "!gle [-all]",
    summary: "Show errno of the thread",
    details: "With its name and meaning; -all: of each thread.",
    example: "!gle -all",
    group: Group::Processes,
    eats_line: false,
    run: carry_out::<LastError>,
}];

/// Shows `errno`.
#[derive(Debug, Clone)]
pub struct LastError {
    all: bool,
}

/// `errno` of a thread.
#[derive(Debug, Clone)]
pub struct ThreadError {
    /// The thread.
    pub thread: ThreadOrdinal,
    /// It; `None` if the thread has none yet.
    pub errno: Option<i32>,
    /// `ENOENT`.
    pub name: Option<&'static str>,
    /// What it means.
    pub meaning: String,
}

fields!(ThreadError { thread, errno, name, meaning });

impl Command for LastError {
    type Data = Vec<ThreadError>;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<LastError, CommandError> {
        Ok(LastError { all: arguments.take_word("-all") })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Vec<ThreadError>, CommandError> {
        let threads = match self.all {
            true => {
                let process = debugger.engine.current_process()?;
                debugger.engine.threads(process)?.iter().map(|thread| thread.ordinal).collect()
            }
            false => vec![debugger.engine.current_thread()?],
        };
        let mut errors = Vec::new();
        for thread in threads {
            debugger.engine.check_interrupt()?;
            let errno = debugger.engine.thread_block(thread)?.errno;
            let name = errno.and_then(syscall_error_name);
            errors.push(ThreadError { thread, errno, name, meaning: errno.map(meaning).unwrap_or_default() });
        }
        Ok(errors)
    }

    fn render(data: &Vec<ThreadError>, text: &mut String) {
        for error in data {
            if data.len() > 1 {
                line!(text, "Last error for thread {}:", error.thread);
            }
            match error.errno {
                None => line!(text, "errno: not available"),
                Some(0) => line!(text, "errno: 0n0"),
                Some(errno) => line!(text, "errno: 0n{errno} ({}) - {}", error.name.unwrap_or("?"), error.meaning),
            }
        }
    }
}

/// `No such file or directory`.
pub(super) fn meaning(errno: i32) -> String {
    let words = std::io::Error::from_raw_os_error(errno).to_string();
    words.split(" (os error").next().unwrap_or_default().to_owned()
}
