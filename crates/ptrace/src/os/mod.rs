//! The machine around the debuggees: its processes and whether they can be attached to, files, new processes.
//!
//! [`OsAccess`] holds what must be remembered between calls; a live target hands its [`Os`](outpost_target::Os) methods
//! on to it. All it knows comes from `/proc`; names of users from `/etc/passwd`, so that a static program needs no name
//! service. Nothing here traces: what must be done as tracer while a process is created is in [`create`].

mod access;
mod attachability;
mod container;
pub mod create;
mod files;
mod handles;
mod proc_files;
mod processes;
mod users;
mod waiter;

pub use access::{OsAccess, ProcessTimes};
pub use attachability::explain_refusal;
pub(crate) use attachability::{is_32_bit, refuse_32_bit};
pub use proc_files::ProcRoot;
