//! What tests share: debuggees built on demand, running programs that end with the test, skips that are counted.
//!
//! A dev-dependency only. Everything here may panic: in a test that is the message.

mod build;
mod container;
mod lan;
pub mod link;
mod namespace;
mod process;
mod serial;
mod server;
mod skip;
mod sshd;

pub use build::{Build, Compiler, fixture};
pub use container::Container;
pub use lan::Lan;
pub use namespace::sleeper_in_its_own_network;
pub use process::{Running, state, text_differences, tracer, wait_until};
pub use serial::SerialLine;
pub use server::{ProcessServer, program};
pub use skip::skip;
pub use sshd::{Sshd, script};
