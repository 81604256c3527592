//! Connection strings: split into parameters, checked against a table of keys, made into values.

mod client;
mod keys;
mod params;
mod server;

pub use client::{ClientTransport, ExecClient, PipeClient, ReverseListen, SshClient, TcpClient};
pub use keys::PortRange;
pub use server::{PipeListen, ReverseDial, ServerTransport, TcpListen};
