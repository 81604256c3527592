//! `gu`: until this instance of the current function returns, with the value it returned.

use outpost_base::{Va, VaRange};
use outpost_target::{Fence, FenceKind, StepOutcome, StepPlan};

use super::RunOptions;
use super::operation::{Advance, Operation, OperationKind};
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
    /// For a function that was inlined: its code, and that of the function around it.
    inlined: Option<(Vec<VaRange>, Vec<VaRange>)>,
}

impl UpProgress {
    pub(super) fn plan(&self) -> StepPlan {
        let fence = Fence { at: self.return_address, min_sp: self.cfa, kind: FenceKind::Return };
        let base = StepPlan { cfa: self.cfa, fences: vec![fence], stop_on_return: true, ..StepPlan::default() };
        match &self.inlined {
            // Nothing returns from it: its code is left, calls stepped over.
            Some((ranges, function)) => {
                StepPlan { ranges: ranges.clone(), function: function.clone(), over_calls: true, ..base }
            }
            None => StepPlan { run: true, ..base },
        }
    }
}

impl Engine {
    /// Lets the debuggee run until the function of the current scope's frame has returned to its caller (`gu`).
    ///
    /// It is the instance that counts: recursion below it does not end the run. A function that was inlined has
    /// returned when its code is left.
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
        let inlined = match frame.is_inline() && frame.index == 0 {
            true => {
                let around = self.functions_around(inside);
                let own = around.first().map(|function| function.ranges.clone()).unwrap_or_default();
                Some((own, around.last().map(|function| function.ranges.clone()).unwrap_or_default()))
            }
            false => None,
        };
        self.begin_run(options)?;
        if self.gives_second_chance(options) {
            return Ok(());
        }
        self.plant_breakpoints()?;
        let progress = UpProgress { return_address, cfa, inside, inlined };
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
        if returned && progress.inlined.is_none() && stop.pc == progress.return_address {
            stop.returned = self.returned_value(stop.thread, progress.inside);
        }
        stop.ends_step = true;
        Ok(Advance::Stop)
    }
}
