//! Ways to a server that are not a port it listens on, and finding those that do: real `cdb`, real `dbgsrv`.

#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]

mod announced;
mod conformance;
mod container;
mod discovery;
mod exec;
mod readme;
mod reverse;
mod ssh;
mod support;
