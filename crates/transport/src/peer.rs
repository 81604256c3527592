//! Who is at the other end, as far as the transport proves it.

use std::fmt;
use std::net::SocketAddr;

/// The other end of a [`crate::Connection`]; its `Display` goes into logs and client lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// An address.
    Address(SocketAddr),
    /// A process of this machine, as the kernel says (`SO_PEERCRED`, unix(7)).
    Process {
        /// Its process id when it connected.
        pid: u32,
        /// Its effective user id.
        uid: u32,
    },
    /// A command of ours that carries the link.
    Program {
        /// Its process id.
        pid: u32,
    },
    /// Whoever is at the other end of a serial line.
    Serial {
        /// The channel of the connection.
        channel: u8,
    },
    /// This process, or one that inherited the other end.
    Memory,
}

impl From<SocketAddr> for Peer {
    /// An IPv4 address that came through an IPv6 socket is shown as what it is.
    fn from(address: SocketAddr) -> Peer {
        Peer::Address(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Address(address) => write!(f, "tcp {address}"),
            Peer::Process { pid, uid } => write!(f, "npipe pid {pid} uid {uid}"),
            Peer::Program { pid } => write!(f, "exec pid {pid}"),
            Peer::Serial { channel } => write!(f, "com channel {channel}"),
            Peer::Memory => f.write_str("local"),
        }
    }
}
