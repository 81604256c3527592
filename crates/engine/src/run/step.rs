//! `t`, `p` and their kind: by instruction or by line, by count or until something.

use outpost_base::Va;
use outpost_symbols::Wildcard;
use outpost_target::step::{InstructionKind, InstructionKinds};
use outpost_target::{Fence, FenceKind, StepOutcome, StepPlan};

use super::operation::{Advance, Operation, OperationKind};
use super::unwinding::UnwindTarget;
use super::{RunOptions, StepKind, StepRequest, StepUnit, StepUntil};
use crate::events::{EngineEvent, Stop, TracedStep};
use crate::{Engine, EngineError, ThreadOrdinal};

/// How often a step may go on where it is in the middle of a line, before it ends there all the same.
const MAX_CONTINUATIONS: u32 = 10_000;

/// A step under way.
#[derive(Debug, Clone)]
pub(super) struct StepProgress {
    pub(super) request: StepRequest,
    /// Steps still to be done, this one included, if they are counted.
    left: u64,
    /// The plan of the step itself.
    plan: StepPlan,
    /// The plan sent last, which may be another, as `stage` says.
    sent: StepPlan,
    stage: Stage,
    continuations: u32,
    /// Only functions whose source is at hand are entered, since that of the function stepped is.
    strict: bool,
}

/// What the plan sent last is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The step itself.
    Stepping,
    /// Running back to the frame that is stepped; then the step goes on.
    ComingBack,
    /// Running to where the step ends, at the latest at the next line from there.
    Arriving,
}

impl Engine {
    /// Functions that steps by source line do not enter, by patterns of `function` or `module!function`; none at first.
    pub fn set_step_filter(&mut self, patterns: &[String]) {
        self.step_filter = patterns.iter().map(|pattern| Wildcard::new(pattern)).collect();
    }

    /// Steps the current thread; returns at once, [`Engine::wait`] tells the rest.
    ///
    /// One resumption for instruction steps, whatever the count, and for each line: the target carries out the plan.
    /// Calls of line steps to functions that could not be foreseen cost one more.
    ///
    /// # Errors
    /// As [`Engine::go`].
    pub fn step(&mut self, request: &StepRequest) -> Result<(), EngineError> {
        let thread = self.current_thread()?;
        self.begin_run(&request.options)?;
        if self.gives_second_chance(&request.options) {
            return Ok(());
        }
        self.plant_breakpoints()?;
        let left = match request.until {
            StepUntil::Count(count) => count.max(1),
            _ => 1,
        };
        let plan = self.step_plan(thread, request, left)?;
        let progress = StepProgress {
            request: request.clone(),
            left,
            plan: plan.clone(),
            sent: plan.clone(),
            stage: Stage::Stepping,
            continuations: 0,
            strict: self.has_source(thread),
        };
        let options = request.options.clone();
        self.operation = Some(Operation { thread, options: options.clone(), kind: OperationKind::Step(progress) });
        self.resume_with(&options, Some((thread, plan))).inspect_err(|_| self.operation = None)
    }

    /// The plan for what is left of a request, from where the thread is now.
    fn step_plan(&mut self, thread: ThreadOrdinal, request: &StepRequest, left: u64) -> Result<StepPlan, EngineError> {
        let over_calls = request.kind == StepKind::Over;
        let base = StepPlan { over_calls, trace: request.show_each, ..StepPlan::default() };
        let plan = match request.until {
            StepUntil::Count(_) if request.unit == StepUnit::Line => match self.line_plan(thread, request.kind)? {
                Some(plan) => plan,
                None => self.guarded(thread, StepPlan { count: 1, ..base })?,
            },
            StepUntil::Count(_) => self.guarded(thread, StepPlan { count: left, ..base })?,
            StepUntil::Address(at) => {
                let fence = Fence { at, min_sp: Va(0), kind: FenceKind::User };
                StepPlan { count: u64::MAX, fences: vec![fence], ..base }
            }
            StepUntil::Frame { at, min_sp } => {
                let fence = Fence { at, min_sp, kind: FenceKind::User };
                StepPlan { count: u64::MAX, fences: vec![fence], ..base }
            }
            StepUntil::Call(count) => stop_before(base, count, &[InstructionKind::Call]),
            StepUntil::Return(count) => stop_before(base, count, &[InstructionKind::Return]),
            StepUntil::CallOrReturn(count) => {
                stop_before(base, count, &[InstructionKind::Call, InstructionKind::Return])
            }
            StepUntil::Branch(count) => stop_before(
                base,
                count,
                &[InstructionKind::Call, InstructionKind::Return, InstructionKind::Branch, InstructionKind::SystemCall],
            ),
        };
        Ok(plan)
    }

    /// A plan that steps over calls, with fences where these may leave other than by returning.
    fn guarded(&mut self, thread: ThreadOrdinal, mut plan: StepPlan) -> Result<StepPlan, EngineError> {
        if plan.over_calls {
            let process = self.process_of(thread)?.ordinal;
            let sp = self.registers(thread, Default::default())?.sp();
            plan.fences.extend(self.unwind_fences(process, sp)?);
        }
        Ok(plan)
    }

    /// Judges the end of a plan: the step is done, or goes on.
    pub(super) fn advance_step(
        &mut self,
        operation: Operation,
        mut progress: StepProgress,
        mut outcome: StepOutcome,
        stop: &mut Stop,
    ) -> Result<Advance, EngineError> {
        let thread = operation.thread;
        let process = self.process_of(thread)?.ordinal;
        let by_line = progress.request.unit == StepUnit::Line && matches!(progress.request.until, StepUntil::Count(_));
        let mut fence = match outcome {
            StepOutcome::Fence { index } => progress.sent.fences.get(index as usize).copied(),
            _ => None,
        };
        if progress.stage == Stage::ComingBack && fence.is_some_and(|fence| fence.kind == FenceKind::User) {
            progress.stage = Stage::Stepping;
            let plan = progress.plan.clone();
            if plan.ranges.is_empty() || plan.ranges.iter().any(|range| range.contains(stop.pc)) {
                return self.send(operation, progress, plan);
            }
            // The call was the last of the line.
            (outcome, fence) = (StepOutcome::LeftRanges, None);
        }
        if fence.is_some_and(|fence| fence.kind == FenceKind::Unwind)
            && let Some(target) = self.unwind_target(thread)?
        {
            return self.follow_unwinding(operation, progress, target, stop);
        }
        match outcome {
            StepOutcome::UnknownCall => match self.steppable_body(process, stop.pc, progress.strict)? {
                Some(body) if body != stop.pc => return self.arrive_at(operation, progress, body, Va(0)),
                Some(_) => {}
                None => return self.come_back(operation, progress, stop),
            },
            StepOutcome::LeftRanges | StepOutcome::Returned | StepOutcome::Fence { .. } if by_line => {
                let user =
                    fence.is_some_and(|fence| fence.kind == FenceKind::User) && progress.stage == Stage::Stepping;
                if !user && progress.continuations < MAX_CONTINUATIONS && !self.is_line_start(process, stop.pc)? {
                    return self.continue_line(operation, progress, stop);
                }
            }
            _ => {}
        }
        if by_line && progress.left > 1 && outcome != StepOutcome::Limit {
            progress.left -= 1;
            progress.stage = Stage::Stepping;
            progress.continuations = 0;
            if progress.request.show_each {
                let registers = self.registers(thread, Default::default())?;
                self.queue.push_back(EngineEvent::Stepped(TracedStep { thread, registers, code: Vec::new() }));
            }
            progress.plan = self.step_plan(thread, &progress.request, progress.left)?;
            let plan = progress.plan.clone();
            return self.send(operation, progress, plan);
        }
        stop.ends_step = true;
        Ok(Advance::Stop)
    }

    /// The step has arrived in the middle of a line: it goes on to where the next one begins.
    fn continue_line(
        &mut self,
        operation: Operation,
        mut progress: StepProgress,
        stop: &mut Stop,
    ) -> Result<Advance, EngineError> {
        progress.continuations += 1;
        progress.stage = Stage::Stepping;
        match self.line_plan(operation.thread, progress.request.kind)? {
            Some(plan) => {
                progress.plan = plan.clone();
                self.send(operation, progress, plan)
            }
            None => {
                stop.ends_step = true;
                Ok(Advance::Stop)
            }
        }
    }

    /// A function of no interest was entered: the step goes on when it has returned.
    fn come_back(
        &mut self,
        operation: Operation,
        mut progress: StepProgress,
        stop: &mut Stop,
    ) -> Result<Advance, EngineError> {
        match self.way_back(operation.thread, &progress)? {
            Some(plan) => {
                progress.stage = Stage::ComingBack;
                self.send(operation, progress, plan)
            }
            None => {
                stop.ends_step = true;
                Ok(Advance::Stop)
            }
        }
    }

    /// The plan that runs from inside a call back to the frame that is stepped; `None` if that frame is gone.
    fn way_back(&mut self, thread: ThreadOrdinal, progress: &StepProgress) -> Result<Option<StepPlan>, EngineError> {
        let mut stacks = self.physical_stacks(&[thread], outpost_unwind::DEFAULT_FRAME_LIMIT)?;
        let Some(Ok(stack)) = stacks.pop() else { return Ok(None) };
        let own = stack.frames.iter().position(|frame| frame.cfa == Some(progress.plan.cfa));
        let Some(own) = own.filter(|&own| own > 0).and_then(|own| stack.frames.get(own)) else { return Ok(None) };
        let back = Fence { at: own.address.address(), min_sp: own.registers.sp(), kind: FenceKind::User };
        let unwinding = progress.plan.fences.iter().filter(|fence| fence.kind == FenceKind::Unwind);
        let fences = std::iter::once(back).chain(unwinding.copied()).collect();
        Ok(Some(StepPlan { run: true, fences, ..StepPlan::default() }))
    }

    /// Control leaves a call by jumping: the step ends where it lands, unless that is further in.
    fn follow_unwinding(
        &mut self,
        operation: Operation,
        progress: StepProgress,
        target: UnwindTarget,
        stop: &mut Stop,
    ) -> Result<Advance, EngineError> {
        match target {
            UnwindTarget::Handler { at } => self.arrive_at(operation, progress, at, Va(0)),
            UnwindTarget::Jump { at, sp } => {
                let own_sp = self.frame_sp(&progress);
                if own_sp.is_none_or(|own| sp >= own) {
                    return self.arrive_at(operation, progress, at, Va(sp.0.saturating_sub(8)));
                }
                self.come_back(operation, progress, stop)
            }
        }
    }

    /// Lowest stack pointer that the frame being stepped has between calls, as the fences for handlers say it.
    fn frame_sp(&self, progress: &StepProgress) -> Option<Va> {
        let fences = progress.plan.fences.iter().filter(|fence| fence.kind == FenceKind::Unwind);
        fences.map(|fence| fence.min_sp).filter(|sp| sp.0 != 0).max()
    }

    /// Runs to `at`, where the step ends.
    fn arrive_at(
        &mut self,
        operation: Operation,
        mut progress: StepProgress,
        at: Va,
        min_sp: Va,
    ) -> Result<Advance, EngineError> {
        let fence = Fence { at, min_sp, kind: FenceKind::User };
        let plan = StepPlan { run: true, fences: vec![fence], ..StepPlan::default() };
        progress.stage = Stage::Arriving;
        self.send(operation, progress, plan)
    }

    fn send(
        &mut self,
        operation: Operation,
        mut progress: StepProgress,
        plan: StepPlan,
    ) -> Result<Advance, EngineError> {
        progress.sent = plan.clone();
        let thread = operation.thread;
        let options = RunOptions { at: None, ..operation.options.clone() };
        self.operation = Some(Operation { kind: OperationKind::Step(progress), ..operation });
        self.resume_with(&options, Some((thread, plan)))?;
        Ok(Advance::Resumed)
    }

    /// What a step that an unseen event interrupted goes on with.
    pub(super) fn interrupted_step(
        &mut self,
        thread: ThreadOrdinal,
        progress: &mut StepProgress,
    ) -> Result<StepPlan, EngineError> {
        if progress.plan.cfa.0 != 0
            && let Some(plan) = self.way_back(thread, progress)?
        {
            progress.stage = Stage::ComingBack;
            progress.sent = plan.clone();
            return Ok(plan);
        }
        if progress.stage == Stage::Stepping {
            progress.sent = progress.plan.clone();
        }
        Ok(progress.sent.clone())
    }
}

fn stop_before(base: StepPlan, count: u64, kinds: &[InstructionKind]) -> StepPlan {
    StepPlan { stop_before: InstructionKinds::of(kinds), count, ..base }
}
