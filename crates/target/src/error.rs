//! What can go wrong at the seam, with the fields the far side needs to act.

use outpost_base::{ProcessId, ThreadId, Va};

/// A failed operation on a target. Display texts are fragments that fit "failed to {error}"-style sentences.
///
/// [`TargetError::severity`] tells whether the session goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Not even the first byte of a range could be accessed.
    #[error("memory access at {at} failed")]
    Unmapped {
        /// First address of the range.
        at: Va,
    },
    /// No process of that id, or it is not part of this session.
    #[error("no process {process}")]
    NoProcess {
        /// The id asked for.
        process: ProcessId,
    },
    /// No thread of that id in this session.
    #[error("no thread {thread}")]
    NoThread {
        /// The id asked for.
        thread: ThreadId,
    },
    /// The operation needs a stopped thread, or a running one, and this one is not.
    #[error("thread {thread} is {state}")]
    WrongThreadState {
        /// The thread.
        thread: ThreadId,
        /// What it is instead: `running`, `stopped`, `exiting`.
        state: String,
    },
    /// An acting request named a stop that is no longer the newest.
    #[error("the request answers stop {asked}, but the target is at stop {current}")]
    StaleGeneration {
        /// Generation the request carried.
        asked: u64,
        /// Newest generation.
        current: u64,
    },
    /// Another tracer holds the process; a process has one at most (ptrace(2)).
    #[error("process {process} is already traced by process {tracer} ({tracer_name})")]
    AlreadyTraced {
        /// The process asked for.
        process: ProcessId,
        /// Its tracer.
        tracer: ProcessId,
        /// The tracer's command name, empty if unreadable.
        tracer_name: String,
    },
    /// The system refused for lack of rights.
    #[error("permission denied for {what}: {remedy}")]
    Permission {
        /// The object, such as `process 1234 (user root)`.
        what: String,
        /// What would make it work, in words for the user.
        remedy: String,
    },
    /// The target cannot do this at all; `reason` says why, for the user.
    #[error("{operation} is not supported: {reason}")]
    Unsupported {
        /// The operation.
        operation: &'static str,
        /// Why not.
        reason: String,
    },
    /// Arguments that no target could honour.
    #[error("invalid request: {reason}")]
    Invalid {
        /// What is wrong with them.
        reason: String,
    },
    /// A file of the target's machine could not be used.
    #[error("{path}: {reason}")]
    File {
        /// Path on the target's machine.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// A system call failed in a way none of the above names.
    #[error("{operation}: {reason} (errno {errno})")]
    Os {
        /// What was tried.
        operation: String,
        /// `errno`, 0 if none.
        errno: i32,
        /// The system's words for it.
        reason: String,
    },
    /// The debuggee ended.
    #[error("process {process} has ended")]
    Gone {
        /// The process.
        process: ProcessId,
    },
    /// The connection to the server ended; nothing of this target can be used any more.
    #[error("the connection is gone: {reason}")]
    ConnectionLost {
        /// How it ended.
        reason: String,
    },
}

/// How far a failure reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// One operation failed; the target is as before.
    Operation,
    /// One debuggee is gone; the session goes on with the others.
    Debuggee,
    /// The whole target is gone.
    Connection,
}

impl TargetError {
    /// How far this failure reaches.
    pub fn severity(&self) -> Severity {
        match self {
            TargetError::Gone { .. } => Severity::Debuggee,
            TargetError::ConnectionLost { .. } => Severity::Connection,
            _ => Severity::Operation,
        }
    }
}
