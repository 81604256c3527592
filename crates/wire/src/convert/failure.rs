//! Errors: a code with its fields, so that the far side can act on them.

use std::collections::BTreeSet;
use std::sync::Mutex;

use outpost_base::{ProcessId, ThreadId, Va};
use outpost_target::TargetError;

use super::required;
use crate::proto::failure::{
    AlreadyTraced, Error, FileFailure, OsFailure, Permission, StaleGeneration, Unmapped, Unsupported, WrongThreadState,
};
use crate::{WireError, proto};

impl From<TargetError> for proto::Failure {
    fn from(error: TargetError) -> proto::Failure {
        let error = match error {
            TargetError::Unmapped { at } => Error::Unmapped(Unmapped { at: at.0 }),
            TargetError::NoProcess { process } => Error::NoProcess(process.0),
            TargetError::NoThread { thread } => Error::NoThread(thread.0),
            TargetError::WrongThreadState { thread, state } => {
                Error::WrongThreadState(WrongThreadState { thread: thread.0, state })
            }
            TargetError::StaleGeneration { asked, current } => {
                Error::StaleGeneration(StaleGeneration { asked, current })
            }
            TargetError::AlreadyTraced { process, tracer, tracer_name } => {
                Error::AlreadyTraced(AlreadyTraced { process: process.0, tracer: tracer.0, tracer_name })
            }
            TargetError::Permission { what, remedy } => Error::Permission(Permission { what, remedy }),
            TargetError::Unsupported { operation, reason } => {
                Error::Unsupported(Unsupported { operation: operation.to_owned(), reason })
            }
            TargetError::Invalid { reason } => Error::Invalid(reason),
            TargetError::File { path, reason } => Error::File(FileFailure { path, reason }),
            TargetError::Os { operation, errno, reason } => Error::Os(OsFailure { operation, errno, reason }),
            TargetError::Gone { process } => Error::Gone(process.0),
            TargetError::ConnectionLost { reason } => Error::ConnectionLost(reason),
            other => Error::Other(other.to_string()),
        };
        proto::Failure { error: Some(error) }
    }
}

impl TryFrom<proto::Failure> for TargetError {
    type Error = WireError;

    fn try_from(failure: proto::Failure) -> Result<TargetError, WireError> {
        Ok(match required(failure.error, "error")? {
            Error::Unmapped(Unmapped { at }) => TargetError::Unmapped { at: Va(at) },
            Error::NoProcess(process) => TargetError::NoProcess { process: ProcessId(process) },
            Error::NoThread(thread) => TargetError::NoThread { thread: ThreadId(thread) },
            Error::WrongThreadState(WrongThreadState { thread, state }) => {
                TargetError::WrongThreadState { thread: ThreadId(thread), state }
            }
            Error::StaleGeneration(StaleGeneration { asked, current }) => {
                TargetError::StaleGeneration { asked, current }
            }
            Error::AlreadyTraced(AlreadyTraced { process, tracer, tracer_name }) => {
                TargetError::AlreadyTraced { process: ProcessId(process), tracer: ProcessId(tracer), tracer_name }
            }
            Error::Permission(Permission { what, remedy }) => TargetError::Permission { what, remedy },
            Error::Unsupported(Unsupported { operation, reason }) => {
                TargetError::Unsupported { operation: interned(operation), reason }
            }
            Error::Invalid(reason) => TargetError::Invalid { reason },
            Error::File(FileFailure { path, reason }) => TargetError::File { path, reason },
            Error::Os(OsFailure { operation, errno, reason }) => TargetError::Os { operation, errno, reason },
            Error::Gone(process) => TargetError::Gone { process: ProcessId(process) },
            Error::ConnectionLost(reason) => TargetError::ConnectionLost { reason },
            Error::Other(reason) => TargetError::Os { operation: "the server".into(), errno: 0, reason },
        })
    }
}

/// Most operation names kept, and their greatest length; a hostile server gets no further.
const MAX_NAMES: usize = 64;
const MAX_NAME: usize = 64;

/// The name of an operation as a text that lives as long as the program, since [`TargetError::Unsupported`] wants one.
/// Few different names exist; each is kept once.
fn interned(name: String) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    match names.get(name.as_str()) {
        Some(&known) => known,
        None if names.len() >= MAX_NAMES || name.len() > MAX_NAME => "the operation",
        None => {
            let kept: &'static str = Box::leak(name.into_boxed_str());
            names.insert(kept);
            kept
        }
    }
}
