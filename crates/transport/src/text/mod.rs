//! Connection strings: split into parameters, checked against a table of keys, made into values.

mod client;
mod keys;
mod params;
mod server;

pub use client::{ClientTransport, ComClient, ExecClient, PipeClient, ReverseListen, SshClient, TcpClient};
pub use keys::PortRange;
pub use server::{ComListen, PipeListen, ReverseDial, ServerTransport, TcpListen};
