//! `g` and its kind.

use std::time::SystemTime;

use outpost_base::RegisterValue;
use outpost_target::{SignalAction, StopReason};

use super::{Operation, RunOptions, RunThreads, Temporary};
use crate::events::Notice;
use crate::{Chance, Engine, EngineError, EngineEvent, Stop};

impl Engine {
    /// Lets the debuggee run until an event (`g`, `gh`, `gn`, `ga`); returns at once, [`Engine::wait`] tells the rest.
    ///
    /// # Errors
    /// [`EngineError::Running`]; [`EngineError::NoDebuggee`]; [`EngineError::Unsupported`] if all targets are dumps;
    /// [`EngineError::Invalid`] if a breakpoint cannot be set; the next resumption does without it, unless it is temporary.
    #[doc(alias = "SetExecutionStatus")]
    pub fn go(&mut self, options: &RunOptions, temporaries: &[Temporary]) -> Result<(), EngineError> {
        self.begin_run(options)?;
        if self.gives_second_chance(options) {
            return Ok(());
        }
        let thread = self.current_thread()?;
        for temporary in temporaries {
            let only = temporary.current_thread_only.then_some(thread);
            self.breakpoints.add_temporary(self.current_process()?, temporary, only);
        }
        self.plant_breakpoints()?;
        self.operation = Some(Operation::go(thread, options.clone()));
        self.resume_with(options, None).inspect_err(|_| self.operation = None)
    }

    /// A signal that nothing handles, seen at its first chance and about to be delivered, would end the process: that is
    /// its second chance, and a stop of its own before anything runs. `true`: it is queued.
    pub(super) fn gives_second_chance(&mut self, options: &RunOptions) -> bool {
        let delivers = matches!(self.signal_action(options.signal), SignalAction::Deliver);
        let Some(last) = self.last_event.as_mut().filter(|last| self.event == Some(last.thread)) else { return false };
        let is_fatal = matches!(&last.reason, StopReason::Signal(info) if info.fatal_by_default);
        if !delivers || !is_fatal || last.chance != Some(Chance::First) {
            return false;
        }
        last.chance = Some(Chance::Second);
        let last = last.clone();
        let Ok((system, process, _)) = self.locate(last.thread) else { return false };
        let code = last.filter.unwrap_or("sig");
        let mut stop = Stop {
            system,
            process,
            thread: last.thread,
            process_id: last.process_id,
            thread_id: last.thread_id,
            reason: last.reason,
            chance: last.chance,
            breakpoints: Vec::new(),
            at_temporary: false,
            ends_step: false,
            returned: None,
            pc: last.pc,
            time: SystemTime::now(),
            unstoppable: Vec::new(),
            queued: 0,
            filter: last.filter,
            commands: String::new(),
            goes_on: false,
        };
        stop.commands = self.commands_of(code, Some(&stop));
        self.queue.push_back(EngineEvent::Stopped(stop));
        true
    }

    /// Sets what is to be hit by a resumption that was asked for. Without the breakpoint that it was to run to, the
    /// debuggee would be gone.
    pub(super) fn plant_breakpoints(&mut self) -> Result<(), EngineError> {
        self.set_event_breakpoints();
        let queued = self.queue.len();
        self.flush_breakpoints()?;
        let mut refused = self.breakpoints.refused_temporary();
        if refused.is_none() {
            let refusals = self.queue.split_off(queued).into_iter().filter_map(|event| match event {
                EngineEvent::Noticed(Notice::Breakpoint { number, message }) => {
                    Some(format!("breakpoint {number} {message}"))
                }
                _ => None,
            });
            let texts = refusals.collect::<Vec<_>>().join("; ");
            refused = (!texts.is_empty()).then(|| texts + "; nothing ran, and the next time it does without");
        }
        let Some(reason) = refused else { return Ok(()) };
        self.end_operation();
        Err(EngineError::Invalid { reason })
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
