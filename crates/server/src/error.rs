//! What can go wrong with a server as a whole; a session's errors go to its client.

use std::io;
use std::path::PathBuf;

use outpost_transport::TransportError;

/// The server could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The system refused something the guardian needs.
    #[error("cannot {operation}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Listening failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// There is no place for the audit log.
    #[error("cannot write the audit log to {}: {source}", path.display())]
    Audit {
        /// The file, or the journal's socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A process that was started as guardian or worker did not get what it was to work with.
    #[error("this process was not started by an Outpost program: {reason}")]
    Handover {
        /// What is missing.
        reason: &'static str,
    },
}

impl ServerError {
    /// Adapter for `map_err`: the failed operation in words.
    pub(crate) fn io<E: Into<io::Error>>(operation: &'static str) -> impl FnOnce(E) -> ServerError {
        move |source| ServerError::Io { operation, source: source.into() }
    }
}
