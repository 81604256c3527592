//! `t`, `p` and their kind: by instruction or by line, by count or until something.

use outpost_base::Va;
use outpost_target::step::{InstructionKind, InstructionKinds};
use outpost_target::{Fence, FenceKind, StepOutcome, StepPlan};

use super::operation::{Advance, Operation, OperationKind};
use super::{StepKind, StepRequest, StepUnit, StepUntil};
use crate::events::{EngineEvent, Stop, TracedStep};
use crate::{Engine, EngineError, ThreadOrdinal};

/// A step under way.
#[derive(Debug, Clone)]
pub(super) struct StepProgress {
    pub(super) request: StepRequest,
    /// Steps still to be done, this one included, if they are counted.
    pub(super) left: u64,
    /// The plan that was sent last.
    pub(super) plan: StepPlan,
}

impl Engine {
    /// Steps the current thread; returns at once, [`Engine::wait`] tells the rest.
    ///
    /// One resumption, whatever the count: the target carries out the whole plan. Calls of line steps to functions that
    /// could not be foreseen cost one more.
    ///
    /// # Errors
    /// As [`Engine::go`].
    pub fn step(&mut self, request: &StepRequest) -> Result<(), EngineError> {
        let thread = self.current_thread()?;
        self.begin_run(&request.options)?;
        let left = match request.until {
            StepUntil::Count(count) => count.max(1),
            _ => 1,
        };
        let plan = self.step_plan(thread, request, left)?;
        let progress = StepProgress { request: request.clone(), left, plan: plan.clone() };
        let options = request.options.clone();
        self.operation = Some(Operation { thread, options: options.clone(), kind: OperationKind::Step(progress) });
        self.resume_with(&options, Some((thread, plan))).inspect_err(|_| self.operation = None)
    }

    /// The plan for what is left of a request, from where the thread is now.
    fn step_plan(&mut self, thread: ThreadOrdinal, request: &StepRequest, left: u64) -> Result<StepPlan, EngineError> {
        let over_calls = request.kind == StepKind::Over;
        let base = StepPlan { over_calls, trace: request.show_each, ..StepPlan::default() };
        let plan = match request.until {
            StepUntil::Count(_) if request.unit == StepUnit::Line => match self.line_plan(thread, request)? {
                Some(plan) => plan,
                None => StepPlan { count: 1, ..base },
            },
            StepUntil::Count(_) => StepPlan { count: left, ..base },
            StepUntil::Address(at) => {
                let fence = Fence { at, min_sp: Va(0), kind: FenceKind::User };
                StepPlan { count: u64::MAX, fences: vec![fence], ..base }
            }
            StepUntil::Call => stop_before(base, &[InstructionKind::Call]),
            StepUntil::Return => stop_before(base, &[InstructionKind::Return]),
            StepUntil::CallOrReturn => stop_before(base, &[InstructionKind::Call, InstructionKind::Return]),
            StepUntil::Branch => stop_before(
                base,
                &[InstructionKind::Call, InstructionKind::Return, InstructionKind::Branch, InstructionKind::SystemCall],
            ),
        };
        Ok(plan)
    }

    /// The plan for the source line at the thread's pc; `None` where no line is known.
    fn line_plan(&mut self, thread: ThreadOrdinal, request: &StepRequest) -> Result<Option<StepPlan>, EngineError> {
        let _ = (thread, request);
        Ok(None)
    }

    pub(super) fn advance_step(
        &mut self,
        operation: Operation,
        mut progress: StepProgress,
        outcome: StepOutcome,
        stop: &mut Stop,
    ) -> Result<Advance, EngineError> {
        let by_line = progress.request.unit == StepUnit::Line && matches!(progress.request.until, StepUntil::Count(_));
        if by_line && progress.left > 1 && !matches!(outcome, StepOutcome::Limit) {
            progress.left -= 1;
            let thread = operation.thread;
            if progress.request.show_each {
                let registers = self.registers(thread, Default::default())?;
                self.queue.push_back(EngineEvent::Stepped(TracedStep { thread, registers, code: Vec::new() }));
            }
            progress.plan = self.step_plan(thread, &progress.request, progress.left)?;
            let plan = progress.plan.clone();
            let options = super::RunOptions { at: None, ..operation.options.clone() };
            self.operation = Some(Operation { kind: OperationKind::Step(progress), ..operation });
            self.resume_with(&options, Some((thread, plan)))?;
            return Ok(Advance::Resumed);
        }
        stop.ends_step = true;
        Ok(Advance::Stop)
    }

    /// What a step that was interrupted goes on with.
    pub(super) fn interrupted_step(
        &mut self,
        _thread: ThreadOrdinal,
        progress: &StepProgress,
    ) -> Result<StepPlan, EngineError> {
        Ok(progress.plan.clone())
    }
}

fn stop_before(base: StepPlan, kinds: &[InstructionKind]) -> StepPlan {
    StepPlan { stop_before: InstructionKinds::of(kinds), count: 0, ..base }
}
