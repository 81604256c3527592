//! One body of checks over every way to a live system: in this process, over memory, and over every transport, on links
//! that are slow, that lose and garble bytes, through a chain of repeaters, dialled from the other end.
//!
//! What a check sees must not depend on what lies between; only round trips differ, and they are counted against the
//! budgets of the architecture.

#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]

mod budgets;
#[path = "../common/mod.rs"]
mod common;
#[path = "../debuggee/mod.rs"]
mod debuggee;
mod links;
mod logging;
mod suite;
