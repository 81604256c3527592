//! What can be wrong with what the other end sent.

/// Bytes that are no frame, or a frame that is no message. The connection cannot go on after a broken frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Longer than was agreed; it was not read.
    #[error("a frame of {len} bytes exceeds the limit of {limit}")]
    FrameTooLong {
        /// Its length, header included.
        len: u64,
        /// What was agreed.
        limit: usize,
    },
    /// Its length does not hold its header, or its message does not fit into it.
    #[error("a frame's lengths contradict each other")]
    FrameLengths,
    /// Flags that no version known here uses.
    #[error("a frame has unknown flags {flags:#06x}")]
    Flags {
        /// All its flags.
        flags: u16,
    },
    /// A kind that is not known, or has no business here.
    #[error("unexpected message kind {kind:#06x}")]
    UnexpectedKind {
        /// The kind.
        kind: u16,
    },
    /// Not a message of its kind.
    #[error("malformed message of kind {kind:#06x}: {reason}")]
    Malformed {
        /// The kind.
        kind: u16,
        /// The decoder's words.
        reason: String,
    },
    /// A field is missing, or its value is out of its range.
    #[error("field '{field}' is missing or has an invalid value")]
    Field {
        /// Its name.
        field: &'static str,
    },
    /// Lengths in a message do not agree with the tail.
    #[error("the lengths in a message do not match its tail of {len} bytes")]
    Tail {
        /// Length of the tail.
        len: usize,
    },
    /// The other end does not speak this protocol at all.
    #[error("the other end does not speak the Outpost protocol")]
    NotOutpost,
    /// The other end refused to go on.
    #[error("{text}")]
    Refused {
        /// Why.
        code: crate::RefusalCode,
        /// For the user.
        text: String,
    },
    /// The other end is of a release without this.
    #[error("the server is of a release that knows no {feature}, or was told not to use them")]
    Feature {
        /// What it lacks.
        feature: &'static str,
    },
    /// An acting request that was carried out, and whose answer was seen.
    #[error("request {request} was answered, and comes again")]
    Repeated {
        /// Its id.
        request: u64,
    },
    /// Numbered frames whose arrival is never told.
    #[error("answers and events are asked for, and never noted as seen")]
    Unseen,
    /// No version in common.
    #[error(transparent)]
    Version(Box<VersionMismatch>),
    /// The password is wrong or missing; 0x80004005 (`E_FAIL`) is what debuggers have always said then.
    #[error("authentication failed (error 0x80004005): wrong or missing password")]
    Authentication,
    /// The server did not prove that it knows the password.
    #[error("authentication failed (error 0x80004005): the server does not know the password")]
    ServerNotAuthentic,
}

/// Two ends without a protocol version in common.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "protocol versions differ: the client (release {client_release}) speaks {client}, the server (release \
     {server_release}) speaks {server}; the {older} is older and is not using same version of remoting protocol as the \
     {newer}"
)]
pub struct VersionMismatch {
    /// Versions of the client.
    pub client: String,
    /// Release of the client.
    pub client_release: String,
    /// Versions of the server.
    pub server: String,
    /// Release of the server.
    pub server_release: String,
    /// `client` or `server`.
    pub older: &'static str,
    /// The other one.
    pub newer: &'static str,
}
