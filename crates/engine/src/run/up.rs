//! `gu`: until this instance of the current function returns, with the value it returned.

use outpost_base::Va;
use outpost_target::{Fence, FenceKind, StepOutcome, StepPlan};

use super::operation::{Advance, Operation, OperationKind};
use super::{ReturnedValue, RunOptions};
use crate::events::Stop;
use crate::{Engine, EngineError};

/// A `gu` under way.
#[derive(Debug, Clone)]
pub(super) struct UpProgress {
    /// Where the frame returns to.
    return_address: Va,
    /// Its canonical frame address: lower instances of the same function return below it.
    cfa: Va,
    /// Address inside the function, to look up what it returns.
    inside: Va,
}

impl UpProgress {
    pub(super) fn plan(&self) -> StepPlan {
        let fence = Fence { at: self.return_address, min_sp: self.cfa, kind: FenceKind::Return };
        StepPlan { run: true, cfa: self.cfa, fences: vec![fence], stop_on_return: true, ..StepPlan::default() }
    }
}

impl Engine {
    /// Lets the debuggee run until the function of the current scope's frame has returned to its caller (`gu`).
    ///
    /// It is the instance that counts: recursion below it does not end the run.
    ///
    /// # Errors
    /// As [`Engine::go`]; [`EngineError::Invalid`] if the frame has no caller.
    pub fn go_up(&mut self, options: &RunOptions) -> Result<(), EngineError> {
        let thread = self.current_thread()?;
        let frame = self.scope_frame()?;
        let place = (frame.return_address, frame.cfa, frame.lookup_address);
        let (Some(return_address), Some(cfa), inside) = place else {
            return Err(EngineError::Invalid { reason: "the function has no caller".into() });
        };
        self.begin_run(options)?;
        let progress = UpProgress { return_address, cfa, inside };
        let plan = progress.plan();
        self.operation = Some(Operation { thread, options: options.clone(), kind: OperationKind::Up(progress) });
        self.resume_with(options, Some((thread, plan))).inspect_err(|_| self.operation = None)
    }

    pub(super) fn advance_up(
        &mut self,
        _operation: Operation,
        progress: UpProgress,
        outcome: StepOutcome,
        stop: &mut Stop,
    ) -> Result<Advance, EngineError> {
        let returned = matches!(outcome, StepOutcome::Returned | StepOutcome::Fence { .. });
        if returned && stop.pc == progress.return_address {
            stop.returned = self.returned_value(stop.thread, progress.inside);
        }
        stop.ends_step = true;
        Ok(Advance::Stop)
    }

    /// What the function around `inside` has just returned to its caller in `thread`.
    fn returned_value(&mut self, thread: crate::ThreadOrdinal, inside: Va) -> Option<ReturnedValue> {
        let registers = self.registers(thread, Default::default()).ok()?;
        let register = registers.get_u64(self.arch().return_value())?;
        let function = self.symbol_at(inside).map(|symbol| symbol.name).unwrap_or_default();
        Some(ReturnedValue { function, type_name: String::new(), register, value: None })
    }
}
