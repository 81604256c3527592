//! Serves targets over connections.
//!
//! Given a listener (or one connection) and a [`Backend`] that makes targets, this crate runs the process server: a
//! *guardian* process that accepts and authenticates, and one *worker* process for each session, which alone touches
//! the debuggees. A worker is this same program, started again ([`run_hidden_role`] must therefore be the first thing
//! its `main` does); it gets its connection handed over as a descriptor and speaks to the client directly. Between the
//! two is a *spawner*, which starts the workers, since a guardian that meets strangers has given up the right to.
//!
//! ```text
//!                      guardian ---- control socket, one per session ----+
//!   client === link ===^ hello, password                                 |
//!   client ============= link, handed over ============================ worker == Target
//! ```
//!
//! What is told by which end of a control socket:
//!
//! | seen by | what | meaning |
//! | --- | --- | --- |
//! | guardian | `done` | the session ended in order: nothing is left to undo |
//! | guardian | `lost` | the same, because its link broke |
//! | guardian | `end server` | the client asked for the end of everything |
//! | guardian | `held SECONDS`, `served`, `processes PIDS` | how the session stands, for lists |
//! | guardian | `audit ...` | what its client did, for the audit log |
//! | guardian | `sessions` | its client asks for such a list: answered by `sessions` and one line for each |
//! | guardian | `journal` | the journal names another process |
//! | guardian | closed without either | the worker died: [`Guard::rescue`] |
//! | worker | `end REASON` | tell the client, apply the exit policy, exit |
//! | worker | `link ...`, with a descriptor | its client is back, or another takes over: go on over this link |
//! | worker | closed | the guardian died: the same |
//!
//! It knows no ptrace: `dbgsrv` hands it the backend. [`serve_connection`] does all of it in the caller's thread, for
//! tests and for targets that need no process of their own.

mod access;
mod allow;
mod announce;
mod attended;
mod audit;
mod control;
mod dial;
mod error;
mod grace;
mod guardian;
mod handover;
mod local;
mod lockdown;
mod log;
pub mod registry;
mod rendezvous;
mod role;
mod session;
mod signals;
mod spawner;
mod stdio;
mod takeover;
mod version;
mod worker;

pub use access::{Access, Grant, Role};
pub use allow::{AllowList, Allowed, OPERATIONS};
#[doc(hidden)]
pub use announce::fuzz_datagram;
pub use attended::{StdioOptions, serve_stdio};
pub use audit::{Audit, JOURNAL_SOCKET, Record};
pub use dial::serve_reverse;
pub use error::ServerError;
pub use grace::Grace;
pub use guardian::{Leash, Outcome, ServeOptions, Source, serve};
pub use local::{Local, spawn_local};
pub use log::Log;
pub use role::{Backend, Doorbell, Guard, NoGuard, WorkerSetup, run_hidden_role};
pub use session::{
    Claim, NewLink, NoSuperior, Order, SessionEnd, SessionSetup, Standing, Superior, serve_connection, serve_session,
};
pub use stdio::StdioLink;
pub use version::version_text;
