//! `g` and its kind.

use outpost_base::RegisterValue;

use super::{Operation, RunOptions, RunThreads, Temporary};
use crate::{Engine, EngineError};

impl Engine {
    /// Lets the debuggee run until an event (`g`, `gh`, `gn`, `ga`); returns at once, [`Engine::wait`] tells the rest.
    ///
    /// # Errors
    /// [`EngineError::Running`]; [`EngineError::NoDebuggee`]; [`EngineError::Unsupported`] if all targets are dumps;
    /// [`EngineError::Invalid`] if a temporary breakpoint cannot be set.
    #[doc(alias = "SetExecutionStatus")]
    pub fn go(&mut self, options: &RunOptions, temporaries: &[Temporary]) -> Result<(), EngineError> {
        self.begin_run(options)?;
        let thread = self.current_thread()?;
        for temporary in temporaries {
            let only = temporary.current_thread_only.then_some(thread);
            self.breakpoints.add_temporary(self.current_process()?, temporary, only);
        }
        // Without the breakpoint that it was to run to, the debuggee would be gone.
        self.flush_breakpoints()?;
        if let Some(reason) = self.breakpoints.refused_temporary() {
            self.end_operation();
            return Err(EngineError::Invalid { reason });
        }
        self.operation = Some(Operation::go(thread, options.clone()));
        self.resume_with(options, None).inspect_err(|_| self.operation = None)
    }

    /// What every resumption begins with: the debuggee is stopped, named threads exist, pc is where it is wanted.
    pub(super) fn begin_run(&mut self, options: &RunOptions) -> Result<(), EngineError> {
        self.need_stopped()?;
        if !self.systems.iter().any(|system| system.is_live()) {
            return Err(crate::acquire::cannot_run("running"));
        }
        // It would go on unwatched, and never come back to a prompt.
        self.need_debugged(self.current_process()?, "running")?;
        if let RunThreads::Only(threads) = &options.threads {
            threads.iter().try_for_each(|&thread| self.locate(thread).map(drop))?;
        }
        self.end_operation();
        if let Some(at) = options.at {
            self.set_register("$ip", RegisterValue::from_u64(at.0, 64))?;
        }
        Ok(())
    }
}
