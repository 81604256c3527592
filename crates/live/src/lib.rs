//! The live processes of this machine as a server's backend.
//!
//! `server` knows no ptrace and `ptrace` knows no server; [`LiveBackend`] puts the two together for the programs that
//! serve this machine: `dbgsrv` for others, `cdb` for itself. The worker gets a target that writes its journal ahead; the
//! guardian gets a rescuer that reads it when the worker is gone.

use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use outpost_base::ProcessId;
use outpost_ptrace::LiveTarget;
use outpost_ptrace::journal::{SharedJournal, create_shared};
use outpost_ptrace::rescue::{Rescuer, become_subreaper};
use outpost_server::{Backend, Guard, WorkerSetup};
use outpost_target::{BundleRequest, CreateSpec, DetachMode, StdioSpec, Target, TargetError};

/// This machine. What `||` shows for it is `<Local>`; a client behind a link knows it by its connection string.
#[derive(Debug, Clone, Copy, Default)]
pub struct LiveBackend;

const NAME: &str = "<Local>";

/// How often threads that could not be stopped are tried again, and how many times: an uninterruptible sleep that
/// outlasts that is beyond help.
const RETRY: Duration = Duration::from_millis(100);
const RETRIES: u32 = 600;

impl Backend for LiveBackend {
    fn journal(&self) -> io::Result<OwnedFd> {
        create_shared()
    }

    fn target(&self, setup: WorkerSetup) -> Result<Box<dyn Target>, TargetError> {
        let WorkerSetup { journal, doorbell } = setup;
        let journal = SharedJournal::open(journal, Some(Box::new(move || doorbell.ring())));
        let journal = journal.map_err(|error| TargetError::Os {
            operation: "map the journal".into(),
            errno: error.raw_os_error().unwrap_or(0),
            reason: error.to_string(),
        })?;
        Ok(Box::new(LiveTarget::with_journal(NAME, Box::new(journal))?))
    }

    fn guard(&self, journal: OwnedFd) -> io::Result<Box<dyn Guard>> {
        // Debuggees of a dead worker must become the guardian's children, or it may not seize them.
        become_subreaper()?;
        Ok(Box::new(LiveGuard(Rescuer::new(journal))))
    }
}

/// Starts a program and leaves it before its first instruction, stopped and traced by nobody: a debugger may attach, or
/// SIGCONT lets it run. It is a child of the calling process and shares its terminal.
///
/// # Errors
/// As [`outpost_target::Live::create`].
pub fn create_suspended(program: &str, arguments: &[String]) -> Result<ProcessId, TargetError> {
    let spec = CreateSpec {
        program: program.into(),
        arguments: arguments.to_vec(),
        environment: None,
        environment_changes: Vec::new(),
        directory: None,
        stdio: StdioSpec::Server,
        randomize: true,
        break_in: true,
    };
    let mut target = LiveTarget::new(NAME)?;
    let Some(live) = target.as_live() else {
        return Err(TargetError::Invalid { reason: "live processes do not run".into() });
    };
    let (process, _) = live.create(&spec, &BundleRequest::default())?;
    live.detach(process, DetachMode::LeaveStopped)?;
    Ok(process)
}

struct LiveGuard(Rescuer);

impl Guard for LiveGuard {
    fn refresh(&mut self) {
        self.0.watch();
    }

    fn rescue(&mut self) {
        self.0.rescue();
        for _ in 0..RETRIES {
            if self.0.continue_rescue() {
                return;
            }
            thread::sleep(RETRY);
        }
    }
}
