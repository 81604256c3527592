//! What was asked for and is under way, between the resumption and the stop that fulfils it.

use outpost_target::{StepOutcome, StopReason};

use super::step::StepProgress;
use super::up::UpProgress;
use super::{RunOptions, RunThreads};
use crate::events::Stop;
use crate::{Engine, EngineError, ThreadOrdinal};

/// A request under way.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    /// The thread it is about.
    pub(super) thread: ThreadOrdinal,
    /// How to resume again.
    pub(super) options: RunOptions,
    pub(super) kind: OperationKind,
}

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one operation at a time")]
pub(super) enum OperationKind {
    Go,
    Up(UpProgress),
    Step(StepProgress),
}

/// What became of an operation at a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advance {
    /// The user sees the stop.
    Stop,
    /// It goes on; the debuggee runs again.
    Resumed,
}

impl Operation {
    pub(crate) fn go(thread: ThreadOrdinal, options: RunOptions) -> Operation {
        Operation { thread, options, kind: OperationKind::Go }
    }

    /// Whether it comes to nothing without the threads that are gone: it was about one of them, or for them alone.
    pub(crate) fn ends_with(&self, is_gone: impl Fn(ThreadOrdinal) -> bool) -> bool {
        let is_over = match &self.options.threads {
            RunThreads::All => false,
            RunThreads::Only(threads) => threads.iter().all(|thread| is_gone(*thread)),
        };
        is_over || !matches!(self.kind, OperationKind::Go) && is_gone(self.thread)
    }
}

impl Engine {
    /// Judges a stop that belongs to the operation under way, or to none.
    pub(crate) fn advance_operation(&mut self, stop: &mut Stop) -> Result<Advance, EngineError> {
        let Some(operation) = self.operation.take() else { return Ok(Advance::Stop) };
        let is_step = matches!(stop.reason, StopReason::Step { .. });
        if !is_step || stop.thread != operation.thread {
            // A stop that nobody wants, of whatever thread: the operation goes on from where its thread is now.
            return self.resume_operation(operation, false);
        }
        let outcome = match stop.reason {
            StopReason::Step { outcome } => outcome,
            _ => StepOutcome::Counted,
        };
        match operation.kind.clone() {
            OperationKind::Go => Ok(Advance::Stop),
            OperationKind::Up(progress) => self.advance_up(operation, progress, outcome, stop),
            OperationKind::Step(progress) => self.advance_step(operation, progress, outcome, stop),
        }
    }

    /// After a stop that the user does not see: the debuggee goes on, and so does what was under way.
    ///
    /// The signal that the thread stopped for, if any, is delivered or forgotten as its filter says.
    pub(crate) fn resume_unseen(&mut self, stop: &Stop) -> Result<(), EngineError> {
        // The signal belongs to the thread of this stop, which is not the event thread: no user saw it.
        let shown = self.event.replace(stop.thread);
        let handled = self.filters.of_reason(&stop.reason).is_some_and(|filter| filter.handled);
        let operation = self.operation.take();
        let resumed = match operation {
            Some(operation) => self.resume_operation(operation, handled).map(drop),
            None => {
                let signal = if handled { super::SignalChoice::Handled } else { super::SignalChoice::NotHandled };
                self.resume_with(&RunOptions { signal, ..RunOptions::default() }, None)
            }
        };
        self.event = shown;
        resumed
    }

    /// Sets an operation going again after an interruption that the user does not see.
    fn resume_operation(&mut self, mut operation: Operation, handled: bool) -> Result<Advance, EngineError> {
        let signal = if handled { super::SignalChoice::Handled } else { super::SignalChoice::NotHandled };
        let options = RunOptions { signal, at: None, threads: operation.options.threads.clone() };
        let plan = match &mut operation.kind {
            OperationKind::Go => None,
            OperationKind::Up(progress) => Some(progress.plan()),
            OperationKind::Step(progress) => Some(self.interrupted_step(operation.thread, progress)?),
        };
        let step = plan.map(|plan| (operation.thread, plan));
        self.operation = Some(operation);
        self.resume_with(&options, step)?;
        Ok(Advance::Resumed)
    }

    /// Forgets what was under way, with its temporary breakpoints: another event came first.
    pub(crate) fn end_operation(&mut self) {
        self.operation = None;
        self.breakpoints.drop_temporaries();
    }
}
