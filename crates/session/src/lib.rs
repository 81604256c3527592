//! A debugging session: one debugger on a thread of its own, commanded by any number of clients.
//!
//! Given a way to make a [`Debugger`], [`Session::start`] gives a handle; each [`Client`] of it
//! submits command lines and receives everything that is shown, in one order for all. The thread waits for the
//! debuggee's events and for requests at the same time; lines that come while the debuggee runs are queued. An
//! interrupt ([`Client::interrupt`]) goes past the queue: it breaks in, or cancels what the debugger is doing.
//!
//! This is the shared session in memory; terminals, IDEs and browsers are clients alike.

mod client;
mod service;
mod wake;

pub use client::{Client, Session, Update, Updates};
pub use outpost_commands::{Completion, Debugger, Ending, Output, OutputKind};
