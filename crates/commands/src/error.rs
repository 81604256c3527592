//! Why a command was not carried out.

use outpost_engine::EngineError;
use outpost_engine::expr::ExprError;

/// A command that failed; nothing of the session is lost. Shown as one line, `name: text`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no such command.
    #[error("no command '{name}' (.help lists them)")]
    Unknown {
        /// What was typed.
        name: String,
    },
    /// A documented command that does not apply here.
    #[error("'{name}' is not supported: {reason}")]
    Unsupported {
        /// The command.
        name: String,
        /// Why, for the user.
        reason: &'static str,
    },
    /// The arguments are not of the command's form.
    #[error("{reason}; usage: {usage}")]
    Usage {
        /// What is wrong.
        reason: String,
        /// The command's form.
        usage: &'static str,
    },
    /// There is nothing to look at.
    #[error("there is no debuggee (.attach PID, .create PROGRAM)")]
    NoDebuggee,
    /// A command that needs something running, on a target that is a dump.
    #[error("dump targets cannot run")]
    CannotRun,
    /// An expression could not be read or evaluated.
    #[error(transparent)]
    Expression(#[from] ExprError),
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A file of this machine could not be used.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// The host could not do what was asked of it, such as connecting.
    #[error("{0}")]
    Host(String),
}
