//! From `errno` to the seam's error.

use std::io;

use outpost_target::TargetError;

/// A failed system call that no other [`TargetError`] names.
pub(crate) fn os_error(operation: impl Into<String>, error: impl Into<io::Error>) -> TargetError {
    let error = error.into();
    TargetError::Os { operation: operation.into(), errno: error.raw_os_error().unwrap_or(0), reason: words(&error) }
}

/// The system's words for an error, without the number that `io::Error` appends.
pub(crate) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}
