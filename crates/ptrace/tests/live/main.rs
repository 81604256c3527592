//! Live processes through the seam: each test has debuggees of its own and a deadline on every wait.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "in a test a panic is the message")]

mod attach;
mod breakpoints;
mod calls;
mod common;
mod events;
mod family;
mod sandbox;
mod speed;
mod steps;
mod watching;
