//! Debugging on this machine takes the same path: a guardian and a worker, started by the debugger itself, at the far
//! end of a socket pair. The debugger never traces, so killing it harms nobody.

use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use outpost_transport::{Connection, Peer};

use crate::control::{Control, Received};
use crate::guardian::{ServeOptions, Source, serve};
use crate::role::{self, Backend, GUARDIAN};
use crate::{AllowList, Audit, Grace, Log, ServerError, attended};

/// A server of this debugger's own.
#[derive(Debug)]
pub struct Local {
    /// The link to it; no password.
    pub connection: Connection,
    /// Process id of its guardian.
    pub guardian: u32,
}

/// Starts a guardian (this program again, so `main` must call [`crate::run_hidden_role`]) that serves one session and
/// ends with it, also when this process is killed.
///
/// # Errors
/// Out of processes or descriptors.
pub fn spawn_local() -> Result<Local, ServerError> {
    let (near, far) = Connection::pair().map_err(ServerError::io("make a socket pair"))?;
    let (control, mut command) = guardian()?;
    // A group of its own: Ctrl+C at the debugger's terminal is a break-in, not the end of the guardian.
    let child = command.process_group(0).spawn().map_err(ServerError::io("start a guardian"))?;
    let stdin = std::io::stdin();
    control.send(b"serve", &[far.as_fd(), stdin.as_fd()]).map_err(ServerError::io("hand the link to the guardian"))?;
    Ok(Local { connection: near, guardian: child.id() })
}

/// This program again, to be started as a guardian, and where it takes its orders.
pub(crate) fn guardian() -> Result<(Control, Command), ServerError> {
    let (control, theirs) = Control::pair().map_err(ServerError::io("make a control socket"))?;
    Ok((control, role::again(GUARDIAN, theirs.into_fd())))
}

/// Runs this process as the guardian of a debugger, or of one link (`attended`).
pub(crate) fn run_guardian(backend: &dyn Backend) -> Result<(), ServerError> {
    let control = Control::from_stdin().map_err(ServerError::io("open the control socket"))?;
    let missing = |reason| ServerError::Handover { reason };
    let received = control.receive(true).map_err(|_| missing("standard input is no control socket"))?;
    let Received::Message(text, descriptors) = received else {
        return Err(missing("no connection was handed over"));
    };
    drop(control);
    if text != b"serve" {
        let text = String::from_utf8(text).map_err(|_| missing("the orders are no text"))?;
        return attended::run_guardian(backend, &text, descriptors);
    }
    let [link, stdin] = <[_; 2]>::try_from(descriptors).map_err(|_| missing("wrong number of descriptors"))?;
    rustix::stdio::dup2_stdin(&stdin).map_err(ServerError::io("restore standard input"))?;
    drop(stdin);
    // A debugger that is gone cannot come back to its own end of a socket pair.
    let options = ServeOptions {
        log: Log::Quiet,
        command_line: Vec::new(),
        grace: Grace::NONE,
        remote_end: true,
        idle_exit: None,
        roles: Vec::new(),
        allowed: AllowList::default(),
        audit: Audit::default(),
        announce: false,
    };
    serve(Source::Connection(Connection::new(link, Peer::Memory)), backend, options).map(drop)
}
