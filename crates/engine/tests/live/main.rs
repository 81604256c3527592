//! The engine over live processes of this machine: each test has debuggees of its own and a deadline on every wait.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod budgets;
mod common;
mod counting;
mod happening;
mod heap;
mod looking;
mod registered;
mod returning;
mod running;
mod thread_locals;
mod ways_out;
