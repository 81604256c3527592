//! Setting threads going: a plan's parts, and going on after stops of no interest.

use outpost_base::{ProcessId, ThreadId, Va};
use outpost_target::{Action, Plan, SignalAction, TargetError};
use rustix::process::Signal;

use super::letting_go::send;
use super::signals::raw_of;
use super::{Found, Part, State, Tracer};
use crate::breakpoints::Passed;
use crate::step::Stepping;
use crate::sys::ptrace::{self, Go};
use crate::sys::signal;

impl Tracer {
    /// Carries out a plan.
    pub(crate) fn resume(&mut self, plan: &Plan) -> Result<(), TargetError> {
        if plan.generation != self.generation {
            let (asked, current) = (plan.generation.0, self.generation.0);
            return Err(TargetError::StaleGeneration { asked, current });
        }
        if !matches!(plan.others, Action::Run | Action::Hold) {
            return Err(TargetError::Invalid { reason: "the other threads run or stay".into() });
        }
        for part in &plan.threads {
            self.visible_thread(part.thread)?;
        }
        let mut calls = plan.threads.iter().filter(|part| matches!(part.action, Action::Call(_) | Action::EndCall));
        let call = calls.next();
        if calls.next().is_some() {
            return Err(TargetError::Invalid { reason: "a plan has one call at most".into() });
        }
        match call.map(|part| (part.thread, &part.action)) {
            Some((thread, Action::Call(call))) => self.begin_call(thread, call)?,
            Some((thread, Action::EndCall)) => self.give_up_call(thread)?,
            _ => {}
        }
        self.rules.scope = plan.scope;
        self.rules.events = plan.events.clone();
        self.rules.bundle = plan.bundle.clone();
        self.rules.others_run = matches!(plan.others, Action::Run);
        let going = self.take_parts(plan);
        // A stop that happened before counts as happening now: nobody moves until the client has seen it.
        if self.has_deliverable_report() {
            return Ok(());
        }
        self.continue_found_stopped(&plan.processes);
        self.pass_all(&going);
        for tid in going {
            self.settle(tid);
        }
        Ok(())
    }

    /// Gives each stopped thread of the plan's processes its part; returns those that are to go.
    fn take_parts(&mut self, plan: &Plan) -> Vec<ThreadId> {
        let concerned = |process| plan.processes.is_empty() || plan.processes.contains(&process);
        let mut threads: Vec<(u64, ThreadId)> = Vec::new();
        for process in self.processes.values().filter(|process| concerned(process.id)) {
            if process.hidden || process.only_looked_at {
                continue;
            }
            let of_process = self.threads.values().filter(|thread| thread.process == process.id && thread.held);
            threads.extend(of_process.map(|thread| (thread.sequence, thread.id)));
        }
        threads.sort_unstable();
        let mut going = Vec::new();
        for (_, tid) in threads {
            let Some(thread) = self.threads.get_mut(&tid) else { continue };
            let action = plan.action(tid);
            if matches!(action, Action::Hold) || thread.suspend > 0 {
                thread.part = Part::Hold;
                continue;
            }
            match plan.signal(tid) {
                SignalAction::Deliver => {}
                SignalAction::Swallow => thread.signal = None,
                SignalAction::Replace(info) => thread.signal = Some(raw_of(info)),
            }
            thread.held = false;
            thread.part = match action {
                Action::Step(step) => Part::Step(Box::new(Stepping::new(step.clone()))),
                _ => Part::Run,
            };
            going.push(tid);
            if matches!(action, Action::Step(_)) {
                // Whoever is told to step stands on nothing he has yet to hit.
                self.has_arrived(tid);
            }
        }
        going
    }

    /// Processes (all, if none is named) that were found stopped are let run for the first time. Their SIGCONT ends the
    /// group-stop for good: threads set going without it would be stopped again when they are let go.
    pub(super) fn continue_found_stopped(&mut self, processes: &[ProcessId]) {
        for process in self.processes.values_mut() {
            let concerned = processes.is_empty() || processes.contains(&process.id);
            if concerned && std::mem::replace(&mut process.found, Found::Running) != Found::Running {
                send(process.id, Signal::CONT);
            }
        }
    }

    /// Takes threads past the sites they stand on while all others are still stopped, which costs nobody a pause.
    fn pass_all(&mut self, going: &[ThreadId]) {
        for tid in going {
            let runs = self.threads.get(tid).is_some_and(|thread| {
                matches!(thread.part, Part::Run) && thread.state == State::Stopped && thread.signal.is_none()
            });
            if runs && self.stands_on_judged_site(*tid) {
                self.pass_running(*tid);
            }
        }
    }

    /// A thread goes on as its part says, unless it stays.
    pub(crate) fn settle(&mut self, tid: ThreadId) {
        let Some(thread) = self.threads.get(&tid) else { return };
        if !thread.is_stopped() || thread.stays() {
            return;
        }
        match thread.part {
            Part::Step(_) if !thread.is_exiting => self.go_stepping(tid),
            _ => self.go_running(tid),
        }
    }

    fn go_running(&mut self, tid: ThreadId) {
        let Some(thread) = self.threads.get(&tid) else { return };
        if thread.state == State::GroupStopped {
            return self.listen(tid);
        }
        // With a signal to deliver, a handler may run first; the thread comes back to the site then.
        if !thread.is_exiting
            && thread.signal.is_none()
            && self.stands_on_judged_site(tid)
            && self.pass_running(tid) == Passed::Elsewhere
        {
            return;
        }
        let sees_syscalls = !self.rules.events.syscalls.is_empty() && !self.is_hidden(tid);
        self.launch(tid, if sees_syscalls { Go::ToSyscall } else { Go::Continue });
    }

    /// Whether a thread is at a site whose hit was judged already.
    pub(crate) fn stands_on_judged_site(&mut self, tid: ThreadId) -> bool {
        let Some(arrival) = self.threads.get(&tid).and_then(|thread| thread.arrival) else { return false };
        let is_site = self.space_of(tid).is_some_and(|space| space.sites.get(arrival.pc).is_some());
        let watched = self.threads.get(&tid).and_then(|thread| self.processes.get(&thread.process));
        let is_watched = watched.is_some_and(|process| process.debug.executes_at(arrival.pc));
        let here = self.registers(tid).is_some_and(|registers| Va(registers.pc()) == arrival.pc);
        if here && is_watched {
            self.set_resume_flag(tid);
        }
        here && is_site
    }

    /// RF: an execution breakpoint in a debug register does not fire for the next instruction.
    fn set_resume_flag(&mut self, tid: ThreadId) {
        const RESUME_FLAG: u64 = 1 << 16;
        if let Some(mut registers) = self.registers(tid) {
            registers.0[crate::sys::ptrace_registers::word::FLAGS] |= RESUME_FLAG;
            self.set_registers(tid, registers);
        }
    }

    /// Tells the journal of a step ahead of it: the processor's flag for it outlives us, up to the next time somebody sets
    /// the thread going, and its trap must not be taken for the program's.
    pub(crate) fn tell_step(&mut self, tid: ThreadId) {
        if let Some(thread) = self.threads.get_mut(&tid)
            && !std::mem::replace(&mut thread.is_trapping, true)
        {
            self.journal.stepping(thread.process, tid, true);
        }
    }

    /// Leaves a thread in its group-stop.
    fn listen(&mut self, tid: ThreadId) {
        if self.flush(tid).is_err() || ptrace::listen(tid.0).is_err() {
            return self.lost(tid);
        }
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.state = State::Listening;
            thread.registers = None;
        }
        self.out.insert(tid);
    }

    /// Sets a stopped thread going, with its signal.
    pub(crate) fn launch(&mut self, tid: ThreadId, how: Go) {
        let how = self.guarded(tid, how);
        if self.update_debug_registers(tid).is_err() || self.flush(tid).is_err() {
            return self.lost(tid);
        }
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        let mut signo = 0;
        if let Some(info) = thread.signal.take() {
            self.journal.signal_held(thread.process, tid, 0);
            if thread.in_delivery {
                signo = info.signo();
                // Refused for a signal the kernel does not know; it then makes up its own information.
                let _ = ptrace::set_signal_info(tid.0, &info);
            } else {
                thread.sent_again = Some(info);
                let _ = signal::send(thread.process.0, tid.0, info.signo());
            }
        }
        thread.single_step = how == Go::Step;
        if how == Go::Step {
            self.tell_step(tid);
        }
        if ptrace::go(tid.0, how, signo).is_err() {
            return self.lost(tid);
        }
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        if how != Go::Step && std::mem::take(&mut thread.is_trapping) {
            self.journal.stepping(thread.process, tid, false);
        }
        thread.state = if thread.is_exiting { State::Exiting } else { State::Running };
        thread.registers = None;
        thread.in_delivery = false;
        self.out.insert(tid);
    }
}
