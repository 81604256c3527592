//! New processes: made ready, held before they execute, so that their debugger can take hold of them first.
//!
//! [`prepare`] forks a child that has its directory, standard streams and personality already and waits. The caller,
//! whose child it is, seizes it (asking for exec events) and calls [`Prepared::release`]: the child executes and stops
//! before its first instruction. No shell is involved, and no PTRACE_TRACEME, whose stop cannot be listened to. If exec
//! fails the child exits with code 127 and [`Prepared::outcome`] says why, as precisely as can be found out.
//!
//! If the server dies before it released the child, the child sees its pipe close and exits: nothing is left behind.

mod environment;
mod failure;
mod lookup;
mod stdio;

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use outpost_base::ProcessId;
use outpost_target::{CreateSpec, TargetError};
use rustix::pipe::{PipeFlags, pipe_with};

pub use stdio::{StdioTable, Streams};

use crate::error::os_error;
use crate::os::{is_32_bit, refuse_32_bit};
use crate::sys::spawn::{ChildPlan, fork_child};

/// Longest list of arguments or variables; the kernel has bounds on their bytes of its own.
const MAX_STRINGS: usize = 1 << 20;

/// A child that waits to execute its program.
#[derive(Debug)]
pub struct Prepared {
    process: ProcessId,
    /// Path of the program as it was found.
    program: PathBuf,
    directory: Option<String>,
    go: Option<File>,
    failure: File,
    streams: Streams,
}

/// Forks a child that will execute `spec`'s program. It is a child of the calling process.
///
/// # Errors
/// [`TargetError::File`] for a program, a directory or a file for a standard stream that cannot be used, as far as that
/// is known before the child tries; [`TargetError::Invalid`] for text with NUL in it.
pub fn prepare(spec: &CreateSpec) -> Result<Prepared, TargetError> {
    if spec.arguments.len() > MAX_STRINGS {
        return Err(TargetError::Invalid { reason: "too many arguments".into() });
    }
    let program = lookup::find_program(&spec.program)?;
    if is_32_bit(&program) {
        return Err(refuse_32_bit(&program.display().to_string()));
    }
    let path = c_string(program.as_os_str().as_encoded_bytes())?;
    let arguments: Vec<CString> = std::iter::once(&spec.program)
        .chain(&spec.arguments)
        .map(|argument| c_string(argument.as_bytes()))
        .collect::<Result<_, _>>()?;
    let environment = environment::make(spec)?;
    let directory = spec.directory.as_ref().map(|path| c_string(path.as_bytes())).transpose()?;
    let stdio = stdio::open(&spec.stdio, spec.directory.as_deref())?;

    let (go, go_writer) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| os_error("pipe", errno))?;
    let (failure, failure_writer) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| os_error("pipe", errno))?;
    let go = stdio::above_standard(go)?;
    let failure_writer = stdio::above_standard(failure_writer)?;
    let process = fork_child(&ChildPlan {
        program: &path,
        arguments: &as_c_strs(&arguments),
        environment: &as_c_strs(&environment),
        directory: directory.as_deref(),
        stdio: stdio.child.as_ref().map(|[input, output, error]| [input.as_fd(), output.as_fd(), error.as_fd()]),
        session: stdio.session,
        randomize: spec.randomize,
        go: go.as_fd(),
        go_writer: go_writer.as_fd(),
        failure: failure_writer.as_fd(),
    })
    .map_err(|error| os_error("fork", error))?;
    Ok(Prepared {
        process: ProcessId(process),
        program,
        directory: spec.directory.clone(),
        go: Some(go_writer.into()),
        failure: failure.into(),
        streams: stdio.streams,
    })
}

impl Prepared {
    /// The child's process id.
    pub fn process(&self) -> ProcessId {
        self.process
    }

    /// Lets the child execute its program; a second call does nothing.
    pub fn release(&mut self) {
        if let Some(mut go) = self.go.take() {
            // A child that was killed meanwhile shows in its wait status.
            drop(go.write_all(&[1]));
        }
    }

    /// What came of it. To be asked when the child has executed (its exec stop was seen) or has ended; before that it
    /// would wait.
    ///
    /// # Errors
    /// [`TargetError::File`] names what could not be used, and why.
    pub fn outcome(mut self) -> Result<Streams, TargetError> {
        self.release();
        let mut message = Vec::new();
        self.failure.read_to_end(&mut message).map_err(|error| os_error("read from child", error))?;
        match failure::explain(&message, &self.program, self.directory.as_deref()) {
            None => Ok(self.streams),
            Some(error) => Err(error),
        }
    }
}

fn as_c_strs(strings: &[CString]) -> Vec<&CStr> {
    strings.iter().map(CString::as_c_str).collect()
}

fn c_string(bytes: &[u8]) -> Result<CString, TargetError> {
    CString::new(bytes).map_err(|_| TargetError::Invalid {
        reason: format!("{:?} has a NUL byte in it", String::from_utf8_lossy(bytes)),
    })
}

#[cfg(test)]
mod tests;
