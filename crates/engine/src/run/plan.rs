//! From what is wanted to the plan a target carries out.

use outpost_base::VaRange;
use outpost_target::{
    Action, BundleRequest, Plan, SignalAction, StepPlan, StopReason, StopScope, TargetError, ThreadPlan, ThreadRunState,
};

use super::{RunOptions, RunThreads, SignalChoice};
use crate::modules::MPROTECT;
use crate::{Engine, EngineError, SystemOrdinal, ThreadOrdinal};

/// Ranges brought along with the next stop at most, and their bytes.
const MAX_SUBSCRIPTIONS: usize = 128;
const MAX_SUBSCRIBED_BYTES: u64 = 32 << 10;

impl Engine {
    /// Sets all live systems going: `step`, if given, is what the thread does that is stepped; the others run or are
    /// held as `options` say.
    ///
    /// A system with an event that nobody has fetched stays stopped: that event is what the next wait gives.
    pub(crate) fn resume_with(
        &mut self,
        options: &RunOptions,
        step: Option<(ThreadOrdinal, StepPlan)>,
    ) -> Result<(), EngineError> {
        self.passing = None;
        self.watch_registrations();
        self.set_event_breakpoints();
        self.flush_breakpoints()?;
        let signal = self.signal_action(options.signal);
        let all: Vec<SystemOrdinal> = self.systems.iter().map(|system| system.ordinal).collect();
        let mut any = false;
        for ordinal in all {
            let system = self.system(ordinal)?;
            let has_processes = self.processes.iter().any(|process| process.system == ordinal);
            let waits = !system.pending.is_empty();
            if system.running || waits || !has_processes || !system.is_live() {
                any |= system.running || waits;
                continue;
            }
            let plan = self.plan_for(ordinal, options, &step, signal.clone())?;
            {
                let system = self.system(ordinal)?;
                let mut target = system.target.borrow_mut();
                let Some(live) = target.as_live() else { continue };
                match live.resume(&plan) {
                    // Another stop, such as the end of a further process, is on its way. It counts as what comes of this:
                    // nobody moves until it was seen.
                    Ok(()) | Err(TargetError::StaleGeneration { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            self.mark_running(ordinal)?;
            any = true;
        }
        if any { Ok(()) } else { Err(crate::acquire::cannot_run("running")) }
    }

    /// Notes that a system runs: what was known of its memory and registers is void.
    pub(crate) fn mark_running(&mut self, ordinal: SystemOrdinal) -> Result<(), EngineError> {
        self.epoch += 1;
        self.reset_scope();
        let system = self.system_mut(ordinal)?;
        (system.running, system.states_known) = (true, false);
        system.registers.clear();
        for process in self.processes.iter_mut().filter(|process| process.system == ordinal) {
            process.memory.invalidate();
            process.regions = None;
        }
        self.interrupter.set_running(true);
        Ok(())
    }

    /// The plan for a call in one thread: what the others do.
    pub(crate) fn plan_of_call(&mut self, ordinal: SystemOrdinal, options: &RunOptions) -> Result<Plan, EngineError> {
        self.passing = None;
        self.plan_for(ordinal, options, &None, SignalAction::Deliver)
    }

    fn plan_for(
        &mut self,
        ordinal: SystemOrdinal,
        options: &RunOptions,
        step: &Option<(ThreadOrdinal, StepPlan)>,
        signal: SignalAction,
    ) -> Result<Plan, EngineError> {
        let system = self.system(ordinal)?;
        let mut plan = Plan::run_all(system.generation);
        plan.scope = StopScope::System;
        plan.events = self.filters.mask();
        // A breakpoint in a module that is not there yet must be set before the module's code runs.
        let own = |process: crate::ProcessOrdinal| self.process(process).is_ok_and(|known| known.system == ordinal);
        plan.events.modules |= self.breakpoints.has_deferred(own);
        if self.awaits_code(ordinal) && !plan.events.syscalls.contains(&MPROTECT) {
            plan.events.syscalls.push(MPROTECT);
        }
        plan.bundle = self.bundle_request(ordinal);
        let only = match &options.threads {
            RunThreads::All => None,
            RunThreads::Only(threads) => Some(threads),
        };
        if only.is_some() {
            plan.others = Action::Hold;
        }
        let event = self.event;
        let own = self.processes.iter().filter(|process| process.system == ordinal);
        for thread in own.flat_map(|process| &process.threads) {
            let stepped = step.as_ref().filter(|(stepped, _)| *stepped == thread.ordinal).map(|(_, plan)| plan);
            let may_run = only.is_none_or(|only| only.contains(&thread.ordinal));
            let action = match stepped {
                Some(plan) => Action::Step(plan.clone()),
                None if thread.frozen || !may_run => Action::Hold,
                None => Action::Run,
            };
            let is_event = event == Some(thread.ordinal);
            let differs = action != plan.others || (is_event && signal != plan.others_signal);
            if differs && thread.info.state != ThreadRunState::Exiting {
                let signal = if is_event { signal.clone() } else { SignalAction::Deliver };
                plan.threads.push(ThreadPlan { thread: thread.info.id, action, signal });
            }
        }
        Ok(plan)
    }

    /// What the next stop shall bring: what was read at this one and some before.
    fn bundle_request(&mut self, ordinal: SystemOrdinal) -> BundleRequest {
        let mut request = BundleRequest::default();
        let mut left = MAX_SUBSCRIBED_BYTES;
        for process in self.processes.iter_mut().filter(|process| process.system == ordinal) {
            let space = process.memory.space();
            for range in process.memory.take_touched() {
                if request.subscriptions.len() >= MAX_SUBSCRIPTIONS || left == 0 {
                    break;
                }
                let len = range.len().min(left);
                left -= len;
                request.subscriptions.push((space, VaRange::from_len(range.start, len)));
            }
        }
        request
    }

    /// What happens to the event thread's signal.
    pub(super) fn signal_action(&self, choice: SignalChoice) -> SignalAction {
        let handled = match choice {
            SignalChoice::Handled => true,
            SignalChoice::NotHandled => false,
            SignalChoice::ByFilter => {
                let reason = self.last_event.as_ref().map(|event| &event.reason);
                let signal = reason.filter(|reason| matches!(reason, StopReason::Signal(_)));
                signal.and_then(|reason| self.filters.of_reason(reason)).is_some_and(|filter| filter.handled)
            }
        };
        if handled { SignalAction::Swallow } else { SignalAction::Deliver }
    }
}
