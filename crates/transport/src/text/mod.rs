//! Connection strings: split into parameters, checked against a table of keys, made into values.

mod client;
mod credential;
mod keys;
mod params;
mod reverse;
mod server;

pub use client::{ClientTransport, ComClient, ExecClient, PipeClient, SshClient, TcpClient};
pub use credential::Credential;
pub use keys::PortRange;
pub use reverse::{ReverseDial, ReverseListen};
pub use server::{ComListen, PipeListen, ServerTransport, TcpListen};
