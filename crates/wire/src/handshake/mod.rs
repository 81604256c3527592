//! From the first byte to an open session.
//!
//! ```text
//! client                                    server
//! ClientHello (versions, nonce)      -->
//!                                    <--    ServerHello (version, nonce, salt)
//! Authenticate (proof), OpenSession  -->
//!                                    <--    Authenticated (proof), SessionOpened
//! ```
//!
//! A client that comes back sends `ResumeSession` in place of `OpenSession` and gets `SessionResumed`; one that takes over
//! the session of another gets `SessionOpened`. Requests may follow `OpenSession` at once, so connecting and asking the first question costs two round trips. At any
//! point the server may send `Refusal` and close. Both sides are machines that are handed frames and hand back
//! payloads; time limits, and reading not a byte more than one small frame at a time, are for the server's guardian.

mod client;
mod query;
mod resume;
mod server;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::frame::RequestId;
use crate::message::payload;
use crate::stream::Payload;
use crate::{Kind, proto};

pub use client::{ClientHandshake, ClientStep, Wish};
pub use query::{ListedServer, ServerKind, ServerList, decode_servers, encode_query, encode_servers};
pub use resume::{OnLost, Opening, ResumeKey, ResumeRequest, TOKEN_LEN, encode_bare, encode_resumed};
pub use server::{OpenRequest, ServerHandshake, ServerStep, encode_opened};

/// First bytes of both hellos.
pub(crate) const MAGIC: &[u8] = b"OUTPOST";
/// Versions of the protocol this crate speaks, newest last.
pub const VERSIONS: &[u32] = &[1];
/// Release of the program.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");
/// Longest frame while the other end has not proved anything, header included.
pub const HANDSHAKE_FRAME: usize = 4 << 10;
/// Longest frame a client takes.
pub const MAX_FRAME: usize = 64 << 20;
/// Longest frame a server takes; clients split what is longer.
pub const MAX_REQUEST_FRAME: usize = 16 << 20;
/// No side may ask for less.
pub(crate) const MIN_FRAME: usize = 64 << 10;
/// Requests under way at once.
pub const MAX_REQUESTS: u32 = 1024;
/// The request that opens the session; others count from the next one.
pub const OPEN_REQUEST: RequestId = RequestId(1);

/// What both ends agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// Version of the protocol.
    pub version: u32,
    /// Longest frame the other end takes, header included.
    pub frame_bytes: usize,
    /// Most requests the other end takes at once.
    pub requests: u32,
    /// Both know sessions that outlive their link, and their client's goodbye.
    pub resume: bool,
}

/// Who a client says it is: for logs and lists, proves nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Login name.
    pub user: String,
    /// Host name.
    pub host: String,
}

/// A session as its client sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// Its number on the server.
    pub session: u64,
    /// Secret that names it to its server, for [`ResumeKey`].
    pub token: Vec<u8>,
    /// What the target is.
    pub info: outpost_target::TargetInfo,
    /// Whether the target runs, takes breakpoints, has a machine around it.
    pub capabilities: Capabilities,
    /// The newest stop, if there was one.
    pub stop: Option<outpost_target::StopBundle>,
    /// The command line that the server held pending, if it was asked for and there was one.
    pub command_line: Vec<String>,
    /// How long the session outlives its link, in whole seconds; none: not at all.
    pub grace: Duration,
}

/// Optional parts of a target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// It runs.
    pub live: bool,
    /// It takes breakpoints.
    pub breakpoints: bool,
    /// There is a machine around it.
    pub os: bool,
    /// Its server knows [`crate::Request::ResizeTerminal`], as the hellos have told.
    pub resizes_terminals: bool,
    /// Its server knows [`crate::Request::ThreadTimes`], as the hellos have told.
    pub tells_thread_times: bool,
    /// Its server carries out [`outpost_target::Action::Call`], as the hellos have told.
    pub calls_functions: bool,
    /// Its server puts arguments of calls on the stack, as the hellos have told.
    pub passes_by_stack: bool,
    /// Its server watches data beyond what debug registers hold, as the hellos have told.
    pub watches_by_pages: bool,
    /// Its server knows [`outpost_target::jump_data`], as the hellos have told.
    pub has_jump_data: bool,
}

/// Why a server refuses to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCode {
    /// No common version.
    Version,
    /// Wrong or missing password.
    Authentication,
    /// Something no client of ours sends.
    Protocol,
    /// Too many connections, or out of processes.
    Busy,
    /// The session cannot be had.
    Session,
    /// The session to be resumed is not there, or not for whoever asks.
    Gone,
}

/// The last frame before a server closes.
pub fn encode_refusal(code: RefusalCode, text: &str) -> Payload {
    let code = match code {
        RefusalCode::Version => proto::refusal::Code::Version,
        RefusalCode::Authentication => proto::refusal::Code::Authentication,
        RefusalCode::Protocol => proto::refusal::Code::Protocol,
        RefusalCode::Busy => proto::refusal::Code::Busy,
        RefusalCode::Session => proto::refusal::Code::Session,
        RefusalCode::Gone => proto::refusal::Code::Gone,
    };
    let refusal = proto::Refusal {
        code: code as i32,
        text: text.to_owned(),
        versions: VERSIONS.to_vec(),
        release: RELEASE.to_owned(),
    };
    payload(Kind::Refusal, &refusal)
}

fn limits(frame_bytes: usize) -> proto::Limits {
    proto::Limits { frame_bytes: frame_bytes as u32, requests: MAX_REQUESTS }
}

/// Takes the other end's limits, if they are fit to work with.
fn agree(version: u32, limits: Option<proto::Limits>, features: &[String]) -> Option<Agreed> {
    let limits = limits?;
    let frame_bytes = (limits.frame_bytes as usize).min(MAX_FRAME);
    (frame_bytes >= MIN_FRAME && limits.requests > 0).then_some(Agreed {
        version,
        frame_bytes,
        requests: limits.requests.min(MAX_REQUESTS),
        resume: features.iter().any(|name| name == resume::RESUME),
    })
}
