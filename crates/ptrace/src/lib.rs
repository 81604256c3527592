//! Live Linux processes of this machine as a [`Target`](outpost_target::Target), and what keeps them unharmed whatever
//! dies. x86-64 only.
//!
//! Given a process id or a program to start, it traces, reads and writes processes of this machine. Its parts:
//!
//! * [`memory`], [`regions`], [`modules`]: a process seen from outside, without stopping it.
//! * [`os`]: the machine around it: processes, whether they can be attached to, files, new processes.
//! * `live`: [`LiveTarget`], the one type that traces; `tracer` has the state of its threads and all that changes it,
//!   `breakpoints` the sites and what a hit means, `step` the step plans, `bundle` what a stop brings along.
//! * [`journal`]: what must be undone if this process dies, told ahead of the deed.
//! * [`rescue`]: the guardian's part, which undoes it then.
//! * `pages`: the protection of pages of a program, which `breakpoints` takes to watch data beyond the debug registers.
//! * `remote_call`: system calls in a debuggee's thread that restore themselves.
//! * `seccomp`: sleeping threads whose system call filter would end them for having been stopped.
//! * [`lifeline`]: what keeps a debuggee alive when a breakpoint outlives its server.
//!
//! Symbols, expressions and the wire are for the crates above. All unsafe code is in `sys`.
//!
//! A [`LiveTarget`] belongs to the thread that made it, since the kernel ties a tracee to its tracer *thread*. That
//! thread must not have children of its own beside the target's: waiting for any tracee would take their status.

mod breakpoints;
mod bundle;
mod error;
mod guards;
pub mod journal;
pub mod lifeline;
mod live;
pub mod memory;
pub mod modules;
pub mod os;
mod pages;
pub mod regions;
mod remote_call;
pub mod rescue;
mod seccomp;
mod step;
mod sys;
mod tracer;
mod traps;

pub use journal::{Journal, NoJournal};
pub use live::LiveTarget;
pub use pages::ProtectedPages;
