//! The commands, one module each (families of one shape share one).

mod echo;
mod help;
mod leave;
mod logs;
pub(crate) mod prefix;
mod unsupported;

use crate::CommandError;
use crate::command::{Entry, entry};

/// Every command.
pub(crate) static ALL: &[Entry] = &[
    entry::<echo::Echo>(),
    entry::<help::Help>(),
    entry::<leave::Quit>(),
    entry::<leave::QuitAndDetach>(),
    entry::<logs::LogOpen>(),
    entry::<logs::LogAppend>(),
    entry::<logs::LogClose>(),
    entry::<logs::LogFile>(),
];

/// What to say of a name that is no command: the documented ones that do not apply here are told apart.
pub(crate) fn unknown(name: &str) -> CommandError {
    match unsupported::reason(name) {
        Some(reason) => CommandError::Unsupported { name: name.into(), reason },
        None => CommandError::Unknown { name: name.into() },
    }
}

/// A prefix that cannot be read.
pub(crate) fn bad_prefix(sign: &str) -> CommandError {
    let usage = match sign {
        "~" => "~[.|#|*|N|~[tid]|[expr]] [s|e COMMANDS|f|u|n|m|COMMAND]",
        "|" => "|[.|#|*|N|~[pid]] [s]",
        _ => "||[.|#|*|N] [s]",
    };
    CommandError::Usage { reason: format!("the prefix {sign} cannot be read"), usage }
}

/// A command that `~T e` refuses.
pub(crate) fn not_for_each(name: &str) -> CommandError {
    CommandError::Usage { reason: format!("'{name}' resumes, which ~e does not allow"), usage: "~* e COMMANDS" }
}
