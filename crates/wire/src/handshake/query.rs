//! The question that needs no proof: which servers are there on the machine? Asked instead of a hello, answered once.

use std::fmt;

use prost::Message;

use super::{HANDSHAKE_FRAME, MAGIC, RELEASE};
use crate::frame::{Frame, HEADER_LEN};
use crate::message::{decode, payload};
use crate::stream::Payload;
use crate::{Kind, WireError, proto};

/// Longest connection string in an answer; longer ones are left out.
const MAX_TRANSPORT: usize = 256;

/// What a server serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerKind {
    /// A debugging session, for debugging clients.
    Debugger,
    /// Processes, for smart clients.
    Process,
    /// Kernel links, for smart clients.
    Kernel,
}

impl fmt::Display for ServerKind {
    /// As lists of servers have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ServerKind::Debugger => "Debugger Server",
            ServerKind::Process => "Remote Process Server",
            ServerKind::Kernel => "Remote Kernel Debugger Server",
        })
    }
}

/// A server as lists show it: `Remote Process Server - tcp:Port=1025`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedServer {
    /// What it serves.
    pub kind: ServerKind,
    /// Where it listens, without a secret.
    pub transport: String,
}

impl fmt::Display for ListedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} - {}", self.kind, self.transport)
    }
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerList {
    /// The servers.
    pub servers: Vec<ListedServer>,
    /// There are more than fit into one small frame.
    pub more: bool,
}

/// The question.
pub fn encode_query() -> Payload {
    payload(Kind::QueryServers, &proto::QueryServers { magic: MAGIC.to_vec() })
}

/// Whether a frame is the question.
pub(super) fn check_query(frame: &Frame<'_>) -> Result<(), WireError> {
    let query: proto::QueryServers = decode(frame)?;
    if query.magic == MAGIC { Ok(()) } else { Err(WireError::NotOutpost) }
}

/// The answer; what does not fit into a frame of a handshake is left out.
pub fn encode_servers(servers: &[ListedServer]) -> Payload {
    let mut message = proto::ServersReply { servers: Vec::new(), more: false, release: RELEASE.to_owned() };
    for server in servers {
        let kind = match server.kind {
            ServerKind::Debugger => proto::listed_server::Kind::Debugger,
            ServerKind::Process => proto::listed_server::Kind::Process,
            ServerKind::Kernel => proto::listed_server::Kind::Kernel,
        };
        message.servers.push(proto::ListedServer { kind: kind as i32, transport: server.transport.clone() });
        // The mark of an answer that is not whole takes two bytes.
        let fits = HEADER_LEN + message.encoded_len() + 2 <= HANDSHAKE_FRAME;
        if !fits || server.transport.len() > MAX_TRANSPORT {
            message.servers.pop();
            message.more = true;
        }
    }
    payload(Kind::Servers, &message)
}

/// Reads an answer. Kinds that this release does not know are left out; what a name says reaches a terminal, so it has no
/// control characters.
///
/// # Errors
/// A refusal, in the server's words; another frame, or one that is damaged.
pub fn decode_servers(frame: &Frame<'_>) -> Result<ServerList, WireError> {
    match Kind::of(frame.header.kind) {
        Ok(Kind::Servers) => {}
        Ok(Kind::Refusal) => return Err(super::client::refused(frame)),
        _ => return Err(WireError::NotOutpost),
    }
    let message: proto::ServersReply = decode(frame)?;
    let servers = message.servers.into_iter().filter_map(|server| {
        let kind = match proto::listed_server::Kind::try_from(server.kind).ok()? {
            proto::listed_server::Kind::Debugger => ServerKind::Debugger,
            proto::listed_server::Kind::Process => ServerKind::Process,
            proto::listed_server::Kind::Kernel => ServerKind::Kernel,
            proto::listed_server::Kind::Unspecified => return None,
        };
        let transport = server.transport.chars().filter(|c| !c.is_control()).take(MAX_TRANSPORT).collect();
        Some(ListedServer { kind, transport })
    });
    Ok(ServerList { servers: servers.collect(), more: message.more })
}
