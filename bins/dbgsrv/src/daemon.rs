//! Going to the background, without fork(2): the server is started again, and this process waits until it listens.

use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;

use crate::exit_codes;
use crate::options::DAEMON_CHILD;

/// Starts the server in the background with these arguments; the exit status is known once it listens or has failed.
pub(crate) fn start(arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let mut child = Command::new("/proc/self/exe")
        .arg(DAEMON_CHILD)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the server in the background")?;
    let mut said = Vec::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_end(&mut said)?;
    }
    if said == b"ready" {
        return Ok(ExitCode::from(exit_codes::SUCCESS));
    }
    let status = child.wait()?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(exit_codes::FAILURE)))
}

/// In the background: lets the process that waits go, and the terminal, too. Standard error stays if it is a file.
pub(crate) fn is_ready() {
    // It fails only for a process that leads its group already, and then there is no terminal to leave either.
    let _ = rustix::process::setsid();
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(b"ready").and_then(|()| stdout.flush());
    let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null") else { return };
    let _ = rustix::stdio::dup2_stdout(&null);
    if std::io::stderr().is_terminal() {
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}
