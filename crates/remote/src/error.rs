//! Why there is no session.

use std::io;
use std::time::Duration;

use outpost_transport::TransportError;
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
}
