//! Processes come into the session and leave it.

use outpost_base::ProcessId;
use outpost_target::{AttachMode, BundleRequest, CreateSpec, DetachMode, ProcessOrigin};

use crate::{Engine, EngineError, ProcessOrdinal, RunOptions, SystemOrdinal};

/// How a process leaves the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// It runs on, every trace of the debugger removed; `deliver`: with the signal it stopped for (`/n`), else without.
    Detach {
        /// Whether the pending signal is delivered.
        deliver: bool,
    },
    /// It stays stopped for another debugger.
    Abandon,
    /// It is ended.
    Kill,
}

impl Engine {
    /// Refuses what a process that is only looked at would not survive, or not tell of.
    pub(crate) fn need_debugged(&self, process: ProcessOrdinal, operation: &'static str) -> Result<(), EngineError> {
        if self.process(process)?.info.origin == ProcessOrigin::Noninvasive {
            let reason = "the debugger only looks at this process; .detach lets it run, .attach debugs it then".into();
            return Err(EngineError::Unsupported { operation, reason });
        }
        Ok(())
    }

    /// Attaches to a process of a system's machine. Its first stop, if the mode makes one, is an event to be waited for.
    ///
    /// A process that is not to be stopped runs, and so does then what the system has besides, since a system runs or is
    /// stopped as a whole.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] if the system cannot; [`EngineError::Target`] with the reason of a refusal.
    #[doc(alias = "AttachProcess")]
    pub fn attach(
        &mut self,
        system: SystemOrdinal,
        process: ProcessId,
        mode: AttachMode,
    ) -> Result<ProcessOrdinal, EngineError> {
        let target = self.system(system)?.target.clone();
        let has_others = self.processes.iter().any(|process| process.system == system && !process.ended);
        let stop = {
            let mut target = target.borrow_mut();
            let live = target.as_live().ok_or_else(|| cannot_run("attaching"))?;
            live.attach(process, mode, &BundleRequest::default())?
        };
        match stop {
            Some(stop) => self.take_stop(system, stop)?,
            None => {
                self.adopt(system, process)?;
                if matches!(mode, AttachMode::Invasive { break_in: false }) {
                    match has_others && !self.system(system)?.running {
                        true => self.go(&RunOptions::default(), &[])?,
                        false => self.mark_running(system)?,
                    }
                }
            }
        }
        self.ordinal_of(system, process)
    }

    /// Creates a process on a system's machine. Its first stop, if the spec asks for one, is an event to be waited for.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] if the system cannot; [`EngineError::Target`] with the reason of a failure.
    #[doc(alias = "CreateProcess2")]
    pub fn create(&mut self, system: SystemOrdinal, spec: &CreateSpec) -> Result<ProcessOrdinal, EngineError> {
        let target = self.system(system)?.target.clone();
        let (process, stop) = {
            let mut target = target.borrow_mut();
            let live = target.as_live().ok_or_else(|| cannot_run("creating a process"))?;
            live.create(spec, &BundleRequest::default())?
        };
        self.system_mut(system)?.created.push((process, spec.clone()));
        match stop {
            Some(stop) => self.take_stop(system, stop)?,
            None => {
                self.adopt(system, process)?;
                self.mark_running(system)?;
            }
        }
        self.ordinal_of(system, process)
    }

    /// Lets a process go, or ends it.
    ///
    /// A process of a dump is merely forgotten, with its system once it was the last.
    ///
    /// # Errors
    /// [`EngineError::NoProcess`]; [`EngineError::Target`].
    #[doc(alias = "DetachCurrentProcess")]
    #[doc(alias = "TerminateCurrentProcess")]
    #[doc(alias = "AbandonCurrentProcess")]
    pub fn leave(&mut self, process: ProcessOrdinal, how: Leave) -> Result<(), EngineError> {
        let known = self.process(process)?;
        let (system, id, ended) = (known.system, known.id(), known.ended);
        let target = self.system(system)?.target.clone();
        let is_live = {
            let mut target = target.borrow_mut();
            match target.as_live() {
                Some(_) if ended => true,
                Some(live) => {
                    match how {
                        Leave::Detach { deliver: true } => live.detach(id, DetachMode::Deliver)?,
                        Leave::Detach { deliver: false } => live.detach(id, DetachMode::Swallow)?,
                        Leave::Abandon => live.detach(id, DetachMode::LeaveStopped)?,
                        Leave::Kill => live.kill(id)?,
                    }
                    true
                }
                None => false,
            }
        };
        self.forget_process(process);
        let is_last = !self.processes.iter().any(|process| process.system == system);
        if is_last {
            self.system_mut(system)?.running = false;
            self.interrupter.set_running(self.systems.iter().any(|system| system.running));
            if !is_live {
                self.remove_system(system)?;
            }
        }
        Ok(())
    }

    /// [`Engine::leave`] for every process: what `q` (kill), `qd` (detach) and their kind do.
    ///
    /// # Errors
    /// The first failure; the others were tried all the same.
    #[doc(alias = "DetachProcesses")]
    #[doc(alias = "TerminateProcesses")]
    pub fn leave_all(&mut self, how: Leave) -> Result<(), EngineError> {
        let all: Vec<_> = self.processes.iter().map(|process| process.ordinal).collect();
        let results: Vec<_> = all.into_iter().map(|process| self.leave(process, how)).collect();
        results.into_iter().collect()
    }

    /// Ends the session the way its processes came into it: attached ones are let go, created ones ended.
    ///
    /// # Errors
    /// As [`Engine::leave_all`].
    #[doc(alias = "EndSession")]
    pub fn end_session(&mut self) -> Result<(), EngineError> {
        let plan = |process: &crate::process::Process| match process.info.origin {
            ProcessOrigin::Created | ProcessOrigin::Child => (process.ordinal, Leave::Kill),
            _ => (process.ordinal, Leave::Detach { deliver: true }),
        };
        let all: Vec<_> = self.processes.iter().map(plan).collect();
        let results: Vec<_> = all.into_iter().map(|(process, how)| self.leave(process, how)).collect();
        results.into_iter().collect()
    }

    /// Ends the current process's newest created one and creates it again as it was created (`.restart`); works after
    /// it ended, too.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] if the session created no process on the system.
    pub fn restart(&mut self, system: SystemOrdinal) -> Result<ProcessOrdinal, EngineError> {
        let Some((id, spec)) = self.system(system)?.created.last().cloned() else {
            let reason = "the session created no process".into();
            return Err(EngineError::Unsupported { operation: "restarting", reason });
        };
        if let Some(process) = self.process_by_id(system, id).map(|process| process.ordinal) {
            self.breakpoints.keep_for_restart(process, system);
            self.leave(process, Leave::Kill)?;
        }
        self.system_mut(system)?.created.retain(|(created, _)| *created != id);
        let process = self.create(system, &spec)?;
        self.breakpoints.restarted(process, system);
        self.resolve_deferred(process);
        Ok(process)
    }

    /// Asks to be told ([`crate::EngineEvent::ProcessAppeared`]) when a process of this name starts; `None` forgets it.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] if the system is not a live machine.
    pub fn wait_for_process(&mut self, system: SystemOrdinal, name: Option<&str>) -> Result<(), EngineError> {
        let target = self.system(system)?.target.clone();
        let mut target = target.borrow_mut();
        let os = target.as_os().ok_or_else(|| cannot_run("waiting for a process"))?;
        Ok(os.wait_for_process(name)?)
    }

    /// Puts a process that the target has taken in, without a stop, into the lists.
    fn adopt(&mut self, system: SystemOrdinal, process: ProcessId) -> Result<(), EngineError> {
        if self.process_by_id(system, process).is_none() {
            let infos = self.system(system)?.target.borrow_mut().processes()?;
            let info = infos.into_iter().find(|info| info.id == process);
            self.add_process(system, info.ok_or(outpost_target::TargetError::NoProcess { process })?)?;
        }
        if self.current.is_none() {
            self.select_any();
        }
        Ok(())
    }

    fn ordinal_of(&self, system: SystemOrdinal, process: ProcessId) -> Result<ProcessOrdinal, EngineError> {
        let known = self.process_by_id(system, process).map(|process| process.ordinal);
        Ok(known.ok_or(outpost_target::TargetError::NoProcess { process })?)
    }
}

/// The documented answer to execution commands on dumps.
pub(crate) fn cannot_run(operation: &'static str) -> EngineError {
    EngineError::Unsupported { operation, reason: "the target is a dump and cannot run".into() }
}
