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
//! | `ssl`, `spipe` | the same inside TLS 1.3; `ssl` listens on every address, unless `bind=` says otherwise |
//! | `exec` | a command of the client's machine whose standard input and output are the link |
//! | `ssh` | the user's ssh, as such a command; it starts the server there, and copies it there before if need be |
//! | the first four with `clicon` | the other way round: the server dials, the client listens |
//! | `com` | a channel of a serial line, which an owner per line carries for all processes (`com`'s own documentation) |
//! | `gdb` | checked, then refused: not in this release |

mod com;
mod connection;
mod error;
mod listener;
mod multicast;
mod npipe;
mod password;
mod peer;
mod program;
mod reverse;
mod secret_file;
mod ssh;
mod tcp;
mod text;
mod title;
mod tls;

#[doc(hidden)]
pub use com::fuzz::serial_line as fuzz_serial_line;
pub use connection::Connection;
pub use error::TransportError;
pub use listener::{BACKLOG, Listener};
pub use multicast::{Interface, LocalGroup};
pub use npipe::{is_this_machine, runtime_directory};
pub use password::Password;
pub use peer::Peer;
pub use program::LinkProgram;
pub use reverse::ReverseListener;
pub use text::{
    ClientTransport, ComClient, ComListen, Credential, ExecClient, PipeClient, PipeListen, PortRange, ReverseDial,
    ReverseListen, ServerTransport, SshClient, TcpClient, TcpListen,
};
pub use title::{hide_passwords, without_passwords};
pub use tls::{CertificateName, Store, Thumbprint, TlsClient, TlsListen, Which};

/// To be called last in `main`: what was written to connections of this process is given some seconds to reach the other
/// end, where a thread of ours carries it: over TLS, and over serial lines, which this process gives up.
pub fn end_links() {
    tls::hear_last_words();
    com::end_serial_lines();
}
