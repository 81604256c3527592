//! Why there is no session.

use std::io;
use std::time::Duration;

use outpost_transport::{LinkProgram, TransportError};
use outpost_wire::WireError;

/// A failed connect. Once a session is open, failures are [`outpost_target::TargetError`]s.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// No connection.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The other end is no server for us, or refused.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The connection broke before the session was open.
    #[error("the connection was lost before the session was open: {0}")]
    Lost(#[from] io::Error),
    /// The other end closed the connection without a word.
    #[error("the server closed the connection before the session was open")]
    Closed,
    /// The other end says nothing.
    #[error("the server did not answer within {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// The command that carries the link ended, or was no server; in its own words.
    #[error("{0}")]
    Program(String),
}

impl RemoteError {
    /// The same failure in the words of the command that carries the link, which knows more.
    pub(crate) fn explained_by(self, program: Option<LinkProgram>) -> RemoteError {
        let Some(program) = program else { return self };
        match self {
            RemoteError::Closed | RemoteError::Lost(_) => RemoteError::Program(program.last_words()),
            // Whatever it printed is no frame.
            RemoteError::Wire(
                error @ (WireError::NotOutpost
                | WireError::FrameTooLong { .. }
                | WireError::FrameLengths
                | WireError::Flags { .. }
                | WireError::UnexpectedKind { .. }),
            ) => RemoteError::Program(format!("{error}; {}", program.last_words())),
            RemoteError::TimedOut(_) => RemoteError::Program(format!("{self}; {}", program.last_words())),
            other => other,
        }
    }
}
