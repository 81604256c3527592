//! What a server program brings along, and how it is started a second time.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use outpost_target::{Target, TargetError};

use crate::control::Control;
use crate::{announce, local, spawner, worker};

/// First argument of a worker.
pub(crate) const WORKER: &str = "--outpost-worker";
/// First argument of a process that announces a server.
pub(crate) const ANNOUNCER: &str = "--outpost-announcer";
/// First argument of a spawner.
pub(crate) const SPAWNER: &str = "--outpost-spawner";
/// First argument of the guardian of a local debugger.
pub(crate) const GUARDIAN: &str = "--outpost-guardian";

/// Makes targets, and undoes what they leave behind when they die.
pub trait Backend: Sync {
    /// Makes a session's journal: a memory file that guardian and worker share.
    ///
    /// # Errors
    /// The session is not opened then.
    fn journal(&self) -> io::Result<OwnedFd>;

    /// In a worker, once: the session's target. Dropping it ends the session in order and carries out the exit policy.
    ///
    /// # Errors
    /// Told to the client, whose session is not opened then.
    fn target(&self, setup: WorkerSetup) -> Result<Box<dyn Target>, TargetError>;

    /// In the guardian, before a session's worker starts: what stands by to undo its deeds.
    ///
    /// # Errors
    /// The session is not opened then.
    fn guard(&self, journal: OwnedFd) -> io::Result<Box<dyn Guard>>;
}

/// What a worker makes its target from.
#[derive(Debug)]
pub struct WorkerSetup {
    /// The shared memory, from [`Backend::journal`].
    pub journal: OwnedFd,
    /// Tells the guardian that the journal names another process.
    pub doorbell: Doorbell,
}

/// Tells the guardian that the journal names another process.
#[derive(Debug)]
pub struct Doorbell(Control);

/// In the guardian: stands by for one session.
pub trait Guard: Send {
    /// The journal names another process. Called in the guardian's only thread, so it must not block.
    fn refresh(&mut self);

    /// The worker is gone, and its tracees are about to be let go or were: undoes all that the journal holds, as far as
    /// it is still there. Called in a thread of its own.
    fn rescue(&mut self);
}

/// For backends whose targets leave nothing behind.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoGuard;

impl Guard for NoGuard {
    fn refresh(&mut self) {}
    fn rescue(&mut self) {}
}

impl Doorbell {
    pub(crate) fn new(control: Control) -> Doorbell {
        Doorbell(control)
    }

    /// Rings. A guardian that is gone hears nothing, and the session ends soon.
    pub fn ring(&self) {
        let _ = self.0.send(b"journal", &[]);
    }
}

/// This program again, to be started in a role, with this as its standard input.
pub(crate) fn again(role: &str, control: OwnedFd) -> Command {
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    command.arg(role).stdin(Stdio::from(control));
    command
}

/// Carries out what this program was started again for, if it was: first thing in `main`. `None`: it was not.
pub fn run_hidden_role(backend: &dyn Backend) -> Option<ExitCode> {
    let mut words = std::env::args_os();
    let program = words.next()?;
    let run: fn(&dyn Backend) -> _ = match words.next()?.to_str()? {
        WORKER => worker::run,
        SPAWNER => spawner::run,
        GUARDIAN => local::run_guardian,
        ANNOUNCER => announce::run,
        _ => return None,
    };
    name_process(&program);
    Some(match run(backend) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::Log::Stderr.line(format_args!("{error}"));
            ExitCode::FAILURE
        }
    })
}

/// Started again by way of `/proc/self/exe`, a process is called `exe` in every list (comm, proc_pid_comm(5)).
fn name_process(program: &OsStr) {
    let name = Path::new(program).file_name().unwrap_or(program).as_encoded_bytes();
    // Without a name of its own it works as well.
    if let Ok(name) = CString::new(name) {
        let _ = rustix::thread::set_name(&name);
    }
}
