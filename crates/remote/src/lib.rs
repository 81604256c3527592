//! A target whose other end is a server.
//!
//! Given a connection string (or a connection), [`RemoteTarget::connect`] gives a
//! [`Target`](outpost_target::Target) with all its capabilities. Its business is round trips: requests that belong
//! together leave together, large reads are split and pipelined, and what came with a stop is answered from here until
//! the target runs again. What else to remember, and which ranges the next stop shall bring, is for the engine; how
//! messages look, for `wire`.
//!
//! A link that is lost is made anew, and the session goes on: what was asked for and not answered is asked for again, what
//! arrives twice is dropped, and a caller notices nothing but time (`keeper`).
//!
//! There is no reading thread: whoever waits for an answer reads it, and events that arrive meanwhile are queued. The
//! one thing another thread may do is to break in, for which the sending side has a lock of its own.

mod cache;
mod connect;
mod error;
mod keeper;
mod link;
mod query;
mod sender;
mod target;
mod transfer;

pub use connect::{Connector, Options, Session};
pub use error::RemoteError;
pub use outpost_wire::{Identity, ListedServer, OnLost, ServerKind, ServerList};
pub use query::list_servers;
pub use target::RemoteTarget;
