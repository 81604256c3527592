//! Why a command was not carried out.

use outpost_engine::EngineError;
use outpost_engine::expr::ExprError;

/// A failed command. Display texts are what the user reads, without the command's name.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The engine could not do it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An expression in it is wrong or has no value.
    #[error(transparent)]
    Expr(#[from] ExprError),
    /// There is no such command.
    #[error("unknown command '{word}'{}", display_hint(hint))]
    Unknown {
        /// The word as typed.
        word: String,
        /// What was perhaps meant; empty if nothing comes to mind.
        hint: String,
    },
    /// The arguments are not what the command takes.
    #[error("{problem}; usage: {}", syntax.replace('\n', "\n       "))]
    Usage {
        /// What is wrong with them.
        problem: String,
        /// The command's syntax.
        syntax: &'static str,
    },
    /// A documented command that this debugger or this target does not carry out.
    #[error("{command} is not supported: {reason}")]
    Unsupported {
        /// The command.
        command: String,
        /// Why not.
        reason: String,
    },
    /// The arguments are well formed but make no sense now.
    #[error("{reason}")]
    Invalid {
        /// Why.
        reason: String,
    },
    /// A file on the debugger's own machine could not be used.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// The system's words.
        reason: String,
    },
}

impl CommandError {
    /// A failure with nothing more to say than `reason`.
    pub(crate) fn invalid(reason: impl Into<String>) -> CommandError {
        CommandError::Invalid { reason: reason.into() }
    }

    /// A documented command that is not carried out.
    pub(crate) fn unsupported(command: impl Into<String>, reason: impl Into<String>) -> CommandError {
        CommandError::Unsupported { command: command.into(), reason: reason.into() }
    }

    /// The sentence the user reads.
    pub fn message(&self) -> String {
        let text = self.to_string();
        // These begin with what the user typed, which is written as it was.
        if matches!(self, CommandError::Unsupported { .. } | CommandError::File { .. }) {
            return text;
        }
        let mut letters = text.chars();
        match letters.next() {
            Some(first) => first.to_uppercase().chain(letters).collect(),
            None => text,
        }
    }
}

fn display_hint(hint: &str) -> String {
    match hint {
        "" => "; .help lists the commands".to_owned(),
        hint => format!("; {hint}"),
    }
}
