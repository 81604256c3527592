//! A [`Target`](outpost_target::Target) whose other end is a process server.
//!
//! Given a connection string or an open connection, [`RemoteTarget`] speaks the wire for whoever uses it as a target: one
//! method is one request, batches are pipelined, events that arrive meanwhile are kept in order. The caller's thread reads
//! its own answers; there is no thread here. What round trips cost is counted ([`LinkStatistics`]). What was read once is
//! remembered by the engine, which alone knows when it is stale; so nothing is cached here.
//!
//! [`LinkStatistics`]: outpost_target::LinkStatistics

mod connect;
mod error;
mod interrupter;
mod link;
mod read;
mod target;

pub use connect::{Options, Session};
pub use error::RemoteError;
pub use target::RemoteTarget;
