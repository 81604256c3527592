//! `.allow_exec_cmds`, `.quit_lock`, `.secure`: what may not be done in this session.

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &[".allow_exec_cmds"],
        syntax: ".allow_exec_cmds [0|1]",
        summary: "Show whether commands may set the debuggee going, or forbid it (0) and permit it (1)",
        details: "Forbidden are then g, steps, wt, .call and .restart, so that several can look at a stop and nobody ends it by \
                  mistake.",
        example: ".allow_exec_cmds",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<AllowExecution>,
    },
    CommandEntry {
        names: &[".quit_lock"],
        syntax: ".quit_lock [/s \"Text\" | /e | /d]",
        summary: "Show why nobody may quit, or set a text (/s), lock quitting by it (/e) and unlock it (/d)",
        details: "q, qq and qd show the text instead of quitting while the lock is on. /s also locks. The end of input quits all the \
                  same.",
        example: ".quit_lock",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<QuitLock>,
    },
    CommandEntry {
        names: &[".secure"],
        syntax: ".secure [0|1]",
        summary: "Show whether secure mode is on, or switch it on for good (1)",
        details: "In it nothing of the debugger's machine can be changed or started, for sessions that others take part in: no \
                  .shell, no editor, no logs, no .writemem, no further processes or systems (.attach, .create, .restart), no \
                  files of commands. A log that is open is closed. It is never switched \
                  off.",
        example: ".secure",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<Secure>,
    },
];

/// Commands that secure mode refuses: they change or start something on the debugger's machine, or show its files.
const INSECURE: &[&str] = &[
    ".attach",
    ".create",
    ".endpsrv",
    ".logappend",
    ".logopen",
    ".nvload",
    ".readmem",
    ".restart",
    ".shell",
    ".writemem",
    "lse",
    "$<",
    "$><",
    "$$<",
    "$$><",
    "$$>a<",
];

/// Refuses what the session's settings forbid.
///
/// # Errors
/// [`CommandError::Invalid`] with the setting that is in the way.
pub(crate) fn permitted(entry: &CommandEntry, debugger: &Debugger) -> Result<(), CommandError> {
    let settings = &debugger.settings;
    let name = entry.names.first().copied().unwrap_or_default();
    if settings.secure && entry.names.iter().any(|name| INSECURE.contains(name)) {
        return Err(CommandError::invalid(format!("secure mode (.secure) refuses {name}")));
    }
    if !settings.execution_allowed && entry.group == Group::Execution {
        let reason = format!("commands may not set the debuggee going, as {name} would; .allow_exec_cmds 1 permits it");
        return Err(CommandError::invalid(reason));
    }
    match (&settings.quit_lock, name) {
        (Some(text), "q") => {
            Err(CommandError::invalid(format!("quitting is locked (.quit_lock /d unlocks it): {text}")))
        }
        _ => Ok(()),
    }
}

/// Refuses to read a file of the debugger's machine in secure mode.
///
/// # Errors
/// [`CommandError::Invalid`].
pub(crate) fn may_read_files(debugger: &Debugger) -> Result<(), CommandError> {
    match debugger.settings.secure {
        true => Err(CommandError::invalid("files of the debugger's machine are not read in secure mode (.secure)")),
        false => Ok(()),
    }
}

/// 0 or 1, or nothing.
pub(super) fn switch(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Option<bool>, CommandError> {
    match arguments.optional_number(debugger)? {
        None => Ok(None),
        Some(0) => Ok(Some(false)),
        Some(1) => Ok(Some(true)),
        Some(other) => Err(arguments.usage(format!("{other:#x} is neither 0 nor 1"))),
    }
}

/// Shows, forbids or permits execution.
#[derive(Debug, Clone)]
pub struct AllowExecution {
    allowed: Option<bool>,
}

impl Command for AllowExecution {
    type Data = bool;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<AllowExecution, CommandError> {
        Ok(AllowExecution { allowed: switch(arguments, debugger)? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<bool, CommandError> {
        let setting = &mut debugger.settings.execution_allowed;
        *setting = self.allowed.unwrap_or(*setting);
        Ok(*setting)
    }

    fn render(data: &bool, text: &mut String) {
        line!(text, "Execution commands are {}", if *data { "allowed" } else { "not allowed" });
    }
}

/// Shows or changes the lock.
#[derive(Debug, Clone)]
pub struct QuitLock {
    change: Option<LockChange>,
}

#[derive(Debug, Clone)]
enum LockChange {
    Text(String),
    Lock,
    Unlock,
}

/// What is shown for a lock that nobody gave a text.
const LOCKED: &str = "this session is in use";

impl Command for QuitLock {
    type Data = Option<String>;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<QuitLock, CommandError> {
        let change = match arguments.take_switch() {
            None => None,
            Some('s') => {
                let text = arguments.quoted().filter(|text| !text.trim().is_empty());
                Some(LockChange::Text(text.ok_or_else(|| arguments.usage("the text in quotes is missing"))?))
            }
            Some('e') => Some(LockChange::Lock),
            Some('d') => Some(LockChange::Unlock),
            Some(other) => return Err(arguments.usage(format!("unknown option /{other}"))),
        };
        Ok(QuitLock { change })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Option<String>, CommandError> {
        let lock = &mut debugger.settings.quit_lock;
        match self.change {
            None => {}
            Some(LockChange::Text(text)) => *lock = Some(text),
            Some(LockChange::Lock) => {
                lock.get_or_insert_with(|| LOCKED.to_owned());
            }
            Some(LockChange::Unlock) => *lock = None,
        }
        Ok(lock.clone())
    }

    fn render(data: &Option<String>, text: &mut String) {
        match data {
            Some(reason) => line!(text, "Quitting is locked: {reason}"),
            None => line!(text, "Quitting is not locked"),
        }
    }
}

/// Shows or switches on secure mode.
#[derive(Debug, Clone)]
pub struct Secure {
    on: Option<bool>,
}

/// Whether the mode is on.
#[derive(Debug, Clone)]
pub struct SecureMode {
    /// It is.
    pub secure: bool,
}

fields!(SecureMode { secure });

impl Command for Secure {
    type Data = SecureMode;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Secure, CommandError> {
        Ok(Secure { on: switch(arguments, debugger)? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<SecureMode, CommandError> {
        let secure = &mut debugger.settings.secure;
        match self.on {
            Some(false) if *secure => {
                return Err(CommandError::invalid("secure mode cannot be switched off; it ends with the debugger"));
            }
            Some(on) => *secure = on,
            None => {}
        }
        let secure = *secure;
        if secure {
            // A log that is open would go on being written.
            *debugger.log.borrow_mut() = None;
        }
        Ok(SecureMode { secure })
    }

    fn render(data: &SecureMode, text: &mut String) {
        line!(text, "Secure mode is {}", if data.secure { "on" } else { "off" });
    }
}
