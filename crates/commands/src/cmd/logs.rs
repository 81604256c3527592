//! `.logopen`, `.logappend`, `.logclose`, `.logfile`

use std::fmt::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::arguments::Arguments;
use crate::command::{Command, CommandInfo, Group, Needs};
use crate::context::Context;
use crate::{CommandError, Settings};

/// The log's name where none is given.
const DEFAULT_NAME: &str = "dbgeng.log";

/// What became of logs.
pub(crate) struct Change {
    closed: Option<PathBuf>,
    opened: Option<PathBuf>,
}

/// `.logopen [/t] [file]`
pub(crate) struct LogOpen {
    path: PathBuf,
}

/// `.logappend [/t] [file]`
pub(crate) struct LogAppend {
    path: PathBuf,
}

/// `.logclose`
pub(crate) struct LogClose;

/// `.logfile`
pub(crate) struct LogFile;

impl Command for LogOpen {
    const INFO: CommandInfo = CommandInfo {
        names: &[".logopen"],
        also: None,
        group: Group::Session,
        syntax: &[".logopen [/t] [FILE]"],
        summary: "writes everything typed and shown to a file, from its beginning",
        details: "The file is on this machine, `dbgeng.log` by default; `/t` puts process id and time into its name.\n\
                  An open log is closed first.\n",
        needs: Needs::Nothing,
        takes_line: false,
    };
    type Result = Change;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Context) -> Result<LogOpen, CommandError> {
        Ok(LogOpen { path: log_path(arguments) })
    }

    fn run(self, context: &mut Context) -> Result<Change, CommandError> {
        open(context, self.path, false)
    }

    fn render(result: &Change, _: &Settings, text: &mut String) {
        show(result, text);
    }
}

impl Command for LogAppend {
    const INFO: CommandInfo = CommandInfo {
        names: &[".logappend"],
        syntax: &[".logappend [/t] [FILE]"],
        summary: "writes everything typed and shown to the end of a file",
        details: "As `.logopen`.\n",
        ..LogOpen::INFO
    };
    type Result = Change;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Context) -> Result<LogAppend, CommandError> {
        Ok(LogAppend { path: log_path(arguments) })
    }

    fn run(self, context: &mut Context) -> Result<Change, CommandError> {
        open(context, self.path, true)
    }

    fn render(result: &Change, _: &Settings, text: &mut String) {
        show(result, text);
    }
}

impl Command for LogClose {
    const INFO: CommandInfo = CommandInfo {
        names: &[".logclose"],
        syntax: &[".logclose"],
        summary: "closes the log",
        details: "",
        ..LogOpen::INFO
    };
    type Result = Change;

    fn parse(_: &mut Arguments<'_>, _: &mut Context) -> Result<LogClose, CommandError> {
        Ok(LogClose)
    }

    fn run(self, context: &mut Context) -> Result<Change, CommandError> {
        Ok(Change { closed: context.log.borrow_mut().close(), opened: None })
    }

    fn render(result: &Change, _: &Settings, text: &mut String) {
        match result.closed {
            Some(_) => show(result, text),
            None => text.push_str("No log is open\n"),
        }
    }
}

impl Command for LogFile {
    const INFO: CommandInfo = CommandInfo {
        names: &[".logfile"],
        syntax: &[".logfile"],
        summary: "tells which log is open",
        details: "",
        ..LogOpen::INFO
    };
    type Result = Option<PathBuf>;

    fn parse(_: &mut Arguments<'_>, _: &mut Context) -> Result<LogFile, CommandError> {
        Ok(LogFile)
    }

    fn run(self, context: &mut Context) -> Result<Option<PathBuf>, CommandError> {
        Ok(context.log.borrow().path().cloned())
    }

    fn render(result: &Option<PathBuf>, _: &Settings, text: &mut String) {
        let _ = match result {
            Some(path) => writeln!(text, "Log '{}' open", path.display()),
            None => writeln!(text, "No log is open"),
        };
    }
}

fn log_path(arguments: &mut Arguments<'_>) -> PathBuf {
    let mut stamped = false;
    while arguments.keyword("/t") {
        stamped = true;
    }
    let name = arguments.quoted().unwrap_or_else(|| arguments.take_rest().into());
    let mut path = PathBuf::from(if name.is_empty() { DEFAULT_NAME } else { &name });
    if stamped {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let extension = path.extension().map_or_else(String::new, |end| format!(".{}", end.to_string_lossy()));
        path.set_file_name(format!("{stem}_{}_{seconds}{extension}", std::process::id()));
    }
    path
}

fn open(context: &mut Context, path: PathBuf, append: bool) -> Result<Change, CommandError> {
    let closed = context.log.borrow_mut().open(path.clone(), append);
    let closed = closed.map_err(|source| CommandError::File { path: path.display().to_string(), source })?;
    Ok(Change { closed, opened: Some(path) })
}

fn show(change: &Change, text: &mut String) {
    if let Some(path) = &change.closed {
        let _ = writeln!(text, "Closing open log file {}", path.display());
    }
    if let Some(path) = &change.opened {
        let _ = writeln!(text, "Opened log file '{}'", path.display());
    }
}
