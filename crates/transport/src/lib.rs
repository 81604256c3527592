//! Connection strings and the byte streams they name.
//!
//! Given a string such as `tcp:port=1025:1030,password=Xy12` or `npipe:server=.,pipe=lab` (grammar: the protocol, a
//! colon, then `key=value` pairs), this crate says whether it is well formed ([`ServerTransport`], [`ClientTransport`]),
//! listens or connects, and gives [`Connection`]s: one owned descriptor each, read and written by plain blocking calls.
//! It reads no message and checks no password; both are for the crates above. Whatever is shown of a string shows no
//! password.
//!
//! | Protocol | Meaning here |
//! | --- | --- |
//! | `tcp` | TCP, on loopback unless `bind=` says otherwise |
//! | `npipe` | Unix-domain stream socket in the runtime directory, for its owner only |
//! | `ssl`, `spipe`, `com`, `gdb`, `ssh`, `exec` and the key `clicon` | checked, then refused: not in this release |

mod connection;
mod error;
mod listener;
mod npipe;
mod password;
mod peer;
mod tcp;
mod text;

pub use connection::Connection;
pub use error::TransportError;
pub use listener::Listener;
pub use npipe::runtime_directory;
pub use password::Password;
pub use peer::Peer;
pub use text::{ClientTransport, PipeClient, PipeListen, PortRange, ServerTransport, TcpClient, TcpListen};
