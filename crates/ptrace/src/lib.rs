//! Live Linux processes as a [`Target`](outpost_target::Target), and what keeps them unharmed whatever dies.
//!
//! Given a process id or a program to start, it traces, reads and writes processes of this machine. What its parts do:
//!
//! * [`memory`], [`regions`], [`modules`]: a process seen from outside, without stopping it.
//!
//! Symbols, expressions and the wire are for the crates above. All unsafe code is in `sys`.

mod error;
pub mod lifeline;
pub mod memory;
pub mod modules;
pub mod regions;
mod sys;
