//! Functions of the debuggee, called from expressions and by `.call`.
//!
//! A call is one plan and one stop (see [`outpost_target::CallPlan`]), with which the thread is back where it was, as are
//! the selected thread and frame. What stops the thread on the way is a stop like any other: it is shown, the thread is in
//! the function, and the call ends when that returns, or is given up.
//!
//! Expressions call functions only while a command permits it that was told to by its user: no condition, no view and no
//! display of variables does.

mod convention;
mod resolve;

use std::time::{Duration, Instant};

use outpost_base::{ProcessId, RegisterContext, ThreadId, Va};
use outpost_symbols::{Type, TypeKind, Value};
use outpost_target::{Action, CallPlan, Event, StepOutcome, StopBundle, StopReason, ThreadPlan, Waited};

pub(crate) use convention::value_of_registers;
use resolve::Prepared;
pub(crate) use resolve::Wanted;

use crate::events::LastEvent;
use crate::expr::{ExprError, Name};
use crate::run::{Operation, vector_of};
use crate::{Engine, EngineError, ReturnedValue, RunOptions, RunThreads, SystemOrdinal, ThreadOrdinal};

/// Where exceptions are thrown, of C++ and of Rust's panics (Itanium C++ ABI, exception handling, 1.3): one that left the
/// function would go on into what the call interrupted.
const THROWERS: [&str; 2] = ["_Unwind_RaiseException", "_Unwind_Resume_or_Rethrow"];
/// How long a thread that is asked to stop may take to.
const BREAK_IN_LIMIT: Duration = Duration::from_secs(5);

/// How functions are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallOptions {
    /// How long one may take before it is stopped.
    pub limit: Duration,
    /// Whether the other threads run meanwhile. A function that waits for one of them, by a lock it holds, needs that.
    pub others_run: bool,
    /// Whether functions of Rust's own calling convention are called as if they were C's.
    pub force: bool,
}

impl Default for CallOptions {
    fn default() -> CallOptions {
        CallOptions { limit: Duration::from_secs(5), others_run: false, force: false }
    }
}

/// A call that something has stopped.
#[derive(Debug)]
pub(crate) struct PendingCall {
    system: SystemOrdinal,
    process: ProcessId,
    thread: ThreadId,
    /// What was called, for the user.
    function: String,
    returns: Type,
    /// The last event before it.
    event: Option<LastEvent>,
}

impl Engine {
    /// Permits expressions to call functions, until it is taken back by `None`.
    pub fn permit_calls(&mut self, options: Option<CallOptions>) {
        self.calls = options;
    }

    /// The function that the current thread was made to call last and has not come back from.
    pub fn pending_call(&self) -> Option<&str> {
        let (system, _, thread) = self.locate(self.current?).ok()?;
        let mut of_thread = self.pending_calls.iter().filter(|call| (call.system, call.thread) == (system, thread));
        of_thread.next_back().map(|call| call.function.as_str())
    }

    /// Takes the current thread back from the function that it was made to call last, as if that had returned.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] if it is in none; [`EngineError::Target`] if it cannot be taken back now.
    pub fn give_up_call(&mut self) -> Result<(), EngineError> {
        let thread = self.current_thread()?;
        let (system, _, _) = self.locate(thread)?;
        if self.pending_call().is_none() {
            let reason = "the current thread was made to call nothing that has not returned".into();
            return Err(EngineError::Invalid { reason });
        }
        self.resume_for_call(system, thread, Action::EndCall, false)?;
        let deadline = Instant::now() + BREAK_IN_LIMIT;
        let ended = self.await_call(system, thread, deadline)?;
        let call = self.take_pending(system, thread);
        self.back_from_call(thread, call.and_then(|call| call.event), 0);
        match ended {
            Some(_) => Ok(()),
            None => Err(EngineError::Invalid { reason: "something else happened first".into() }),
        }
    }

    /// Calls a function for an expression; `returns` is what a cast around it says.
    pub(crate) fn call_function(
        &mut self,
        name: &Name,
        wanted: Wanted,
        arguments: &[Value],
        returns: Option<&Type>,
    ) -> Result<Value, ExprError> {
        // Nothing that is evaluated while the function runs calls another.
        let Some(options) = self.calls.clone() else {
            return Err(ExprError::Unsupported {
                what: name.to_string(),
                reason: "functions are called by ?, ??, dx and .call alone",
            });
        };
        let prepared = self.prepare_call(name, wanted, arguments, returns)?;
        self.calls = None;
        let done = self.carry_out_call(prepared, &options);
        self.calls = Some(options);
        done.map_err(|error| match error {
            EngineError::Invalid { reason } => ExprError::Call { function: name.to_string(), reason },
            error => ExprError::Call { function: name.to_string(), reason: error.to_string() },
        })
    }

    fn carry_out_call(&mut self, mut prepared: Prepared, options: &CallOptions) -> Result<Value, EngineError> {
        let thread = self.current_thread()?;
        if prepared.callee.is_indirect {
            let plan = CallPlan { function: prepared.callee.at, ..CallPlan::default() };
            let word = crate::expr::builtin("unsigned long");
            let registers = self.run_call(thread, plan, &prepared.callee.name, &word, options)?;
            prepared.callee.at = Va(registers.get_u64(registers.arch.return_value()).unwrap_or_default());
        }
        let plan = CallPlan {
            function: prepared.callee.at,
            integers: prepared.placed.integers,
            vectors: prepared.placed.vectors,
            stack: prepared.placed.stack,
            data: prepared.placed.data,
            stops: self.throwers(),
        };
        let registers = self.run_call(thread, plan, &prepared.callee.name, &prepared.returns, options)?;
        let register = registers.get_u64(registers.arch.return_value()).unwrap_or_default();
        self.scope.recent.call = Some(register);
        let returned = prepared.returns;
        if matches!(returned.resolved().kind(), TypeKind::Void) {
            return Ok(Value::from_bytes(returned, Vec::new()));
        }
        let reason = || EngineError::Invalid { reason: format!("what it returned, a {returned}, cannot be told") };
        value_of_registers(&registers, returned.clone(), &mut |name, len| vector_of(&registers, name, len))
            .ok_or_else(reason)
    }

    /// Makes a call and waits for its end; gives the registers with which the function returned.
    fn run_call(
        &mut self,
        thread: ThreadOrdinal,
        plan: CallPlan,
        function: &str,
        returns: &Type,
        options: &CallOptions,
    ) -> Result<RegisterContext, EngineError> {
        let (system, process, thread_id) = self.locate(thread)?;
        let process = self.process(process)?.id();
        let (event, frame) = (self.last_event.clone(), self.scope.frame());
        self.resume_for_call(system, thread, Action::Call(plan), options.others_run)?;
        let function = function.to_owned();
        let call = PendingCall {
            system,
            process,
            thread: thread_id,
            function,
            returns: returns.clone(),
            event: event.clone(),
        };
        self.pending_calls.push(call);
        let deadline = Instant::now().checked_add(options.limit);
        let is_late = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let ended = self.await_call(system, thread, deadline.unwrap_or_else(|| Instant::now() + Duration::MAX / 4));
        let ended = match ended {
            Ok(None) if is_late() && !self.is_stop_due() => {
                if let Some(live) = self.system(system)?.target.clone().borrow_mut().as_live() {
                    live.interrupter().break_in();
                }
                self.await_call(system, thread, Instant::now() + BREAK_IN_LIMIT)
            }
            ended => ended,
        };
        match ended? {
            Some(Some(registers)) => {
                self.take_pending(system, thread);
                self.back_from_call(thread, event, frame);
                Ok(*registers)
            }
            Some(None) => {
                self.take_pending(system, thread);
                Err(EngineError::Invalid { reason: "it was given up".into() })
            }
            None => Err(EngineError::Invalid { reason: self.why_unfinished(system, process, is_late(), options) }),
        }
    }

    /// What to tell of a call that did not return.
    fn why_unfinished(&self, system: SystemOrdinal, process: ProcessId, late: bool, options: &CallOptions) -> String {
        let way_out = "g lets it go on, .call /c gives it up";
        if self.process_by_id(system, process).is_none() {
            return "the process ended in it".into();
        }
        let reason = self.last_event.as_ref().map(|event| &event.reason);
        let throws = matches!(reason, Some(StopReason::Step { outcome: StepOutcome::Fence { .. } }));
        match (late, options.others_run) {
            (false, _) if throws => format!(
                "it throws an exception, which would go on into what the call interrupted if the function let it out; {way_out}"
            ),
            (true, false) => format!(
                "it did not return within {} s, with the other threads held: one of them may have what it waits for (.call /o lets \
                 them run); {way_out}",
                options.limit.as_secs_f32()
            ),
            (true, true) => format!("it did not return within {} s; {way_out}", options.limit.as_secs_f32()),
            (false, _) => format!("it was stopped before it returned; {way_out}"),
        }
    }

    /// Sets the thread going for a call, the others as told.
    fn resume_for_call(
        &mut self,
        system: SystemOrdinal,
        thread: ThreadOrdinal,
        action: Action,
        others_run: bool,
    ) -> Result<(), EngineError> {
        if !self.system(system)?.is_live() {
            let reason = "nothing runs here".into();
            return Err(EngineError::Unsupported { operation: "calling functions", reason });
        }
        if self.state() != crate::EngineState::Stopped {
            return Err(EngineError::Running);
        }
        let threads = if others_run { RunThreads::All } else { RunThreads::Only(vec![thread]) };
        let options = RunOptions { threads, ..RunOptions::default() };
        self.set_event_breakpoints();
        self.flush_breakpoints()?;
        let mut plan = self.plan_of_call(system, &options)?;
        let thread_id = self.locate(thread)?.2;
        let signal = outpost_target::SignalAction::Deliver;
        plan.threads.retain(|part| part.thread != thread_id);
        plan.threads.push(ThreadPlan { thread: thread_id, action, signal });
        {
            let target = self.system(system)?.target.clone();
            let mut target = target.borrow_mut();
            let Some(live) = target.as_live() else { return Err(EngineError::Running) };
            live.resume(&plan)?;
        }
        self.mark_running(system)?;
        // What nobody wants to see on the way goes on in the same manner.
        self.operation = Some(Operation::go(thread, options));
        Ok(())
    }

    /// Waits for the end of the thread's newest call: the registers it returned with, if it was not given up. `None`: a stop
    /// that the user sees came first, or the time is up.
    #[expect(clippy::option_option, reason = "whether it ended, and whether by returning")]
    fn await_call(
        &mut self,
        system: SystemOrdinal,
        thread: ThreadOrdinal,
        deadline: Instant,
    ) -> Result<Option<Option<Box<RegisterContext>>>, EngineError> {
        loop {
            if self.is_stop_due() || !self.systems.iter().any(|known| known.ordinal == system && known.running) {
                return Ok(None);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let event = {
                let target = self.system(system)?.target.clone();
                let mut target = target.borrow_mut();
                let Some(live) = target.as_live() else { return Ok(None) };
                match live.wait_event(Some(left), &[])? {
                    Waited::Event(event) => event,
                    Waited::OtherReadable | Waited::TimedOut => continue,
                }
            };
            match event {
                Event::Stopped(mut bundle) if self.ends_call(system, thread, &bundle) => {
                    let StopReason::CallEnded { returned } = bundle.stop.reason.clone() else { continue };
                    self.end_operation();
                    self.absorb_bundle(system, &mut bundle)?;
                    self.count_hits(system, &bundle.hits);
                    self.interrupter.set_running(self.systems.iter().any(|system| system.running));
                    return Ok(Some(returned));
                }
                event => self.take_event(system, event)?,
            }
        }
    }

    fn ends_call(&self, system: SystemOrdinal, thread: ThreadOrdinal, bundle: &StopBundle) -> bool {
        matches!(bundle.stop.reason, StopReason::CallEnded { .. })
            && self.thread_ordinal(system, bundle.stop.thread) == Some(thread)
    }

    /// All is as it was before a call: the event, and what is selected.
    fn back_from_call(&mut self, thread: ThreadOrdinal, event: Option<LastEvent>, frame: u32) {
        self.last_event = event;
        self.current = Some(thread);
        if frame != 0 {
            // The stack is the one it was.
            let _ = self.select_frame(frame);
        }
    }

    fn take_pending(&mut self, system: SystemOrdinal, thread: ThreadOrdinal) -> Option<PendingCall> {
        let thread = self.locate(thread).ok()?.2;
        let at = self.pending_calls.iter().rposition(|call| (call.system, call.thread) == (system, thread))?;
        Some(self.pending_calls.remove(at))
    }

    /// A call that was stopped on its way has returned: what it gave, for the stop that tells of it.
    pub(crate) fn call_ended(
        &mut self,
        system: SystemOrdinal,
        thread: ThreadOrdinal,
        registers: Option<&RegisterContext>,
    ) -> Option<ReturnedValue> {
        let call = self.take_pending(system, thread)?;
        let registers = registers?;
        let register = registers.get_u64(registers.arch.return_value())?;
        self.scope.recent.call = Some(register);
        let type_name = call.returns.to_string();
        let value = value_of_registers(registers, call.returns, &mut |name, len| vector_of(registers, name, len));
        Some(ReturnedValue { function: call.function, type_name, register, value })
    }

    /// Calls of a process that is gone, or is another program now, never return.
    pub(crate) fn forget_calls(&mut self, system: SystemOrdinal, process: ProcessId) {
        self.pending_calls.retain(|call| (call.system, call.process) != (system, process));
    }

    /// Where exceptions are thrown in the current process.
    fn throwers(&mut self) -> Vec<Va> {
        let Ok(process) = self.current_process() else { return Vec::new() };
        let Ok(known) = self.process(process) else { return Vec::new() };
        let modules: Vec<String> = known.modules.iter().map(|module| module.name.clone()).collect();
        // A program that is linked with it has its own; then no module is called so.
        let of_library = modules.iter().find(|name| name.starts_with("libgcc_s"));
        let module = of_library.or(modules.first()).cloned().unwrap_or_default();
        let found = THROWERS.iter().filter_map(|name| self.find_name(&format!("{module}!{name}")).ok());
        found.flatten().map(|found| found.address).take(CallPlan::MAX_STOPS).collect()
    }
}
