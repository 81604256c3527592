//! Why there is no session.

use outpost_transport::TransportError;
use outpost_wire::WireError;

/// A session that did not come about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// No connection.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The server refused, or is none of ours.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The connection broke before the session was open.
    #[error("the connection broke while the session was being opened: {reason}")]
    Broken {
        /// How.
        reason: String,
    },
}

impl From<std::io::Error> for RemoteError {
    fn from(error: std::io::Error) -> RemoteError {
        RemoteError::Broken { reason: error.to_string() }
    }
}
