//! Letting processes go, ending them, and the end of the session.

use std::time::{Duration, Instant};

use outpost_base::{ProcessId, ThreadId, Va};
use outpost_target::{DetachMode, Event, ProcessOrigin, StopReason, StopRecord, TargetError};
use rustix::process::{Pid, Signal, kill_process};

use super::{Found, Tracer, state_letter, trap_code};
use crate::breakpoints::TRAP;
use crate::memory::ProcessMemory;
use crate::sys::ptrace::{self, RawSigInfo};
use crate::sys::ptrace_registers;
use crate::sys::ptrace_wait::{Whom, wait_now};
use crate::sys::signal;
use crate::traps::has_pending_trap;

/// A killed process is gone within this, or the kernel holds it.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// A child of vfork that takes longer is not waited for.
const BORROW_LIMIT: Duration = Duration::from_secs(1);
/// A thread past its exit event is a zombie within this.
const REAP_LIMIT: Duration = Duration::from_secs(1);
/// A thread that does not come to its SIGSTOP within this sleeps in the kernel.
const STOP_LIMIT: Duration = Duration::from_secs(2);

impl Tracer {
    /// Lets a process go.
    pub(crate) fn detach(&mut self, process: ProcessId, mode: DetachMode) -> Result<(), TargetError> {
        self.visible(process)?;
        if mode == DetachMode::LeaveStopped {
            send(process, Signal::STOP);
        }
        self.stop_process(process);
        for tid in self.thread_ids(process) {
            if let Some(thread) = self.threads.get_mut(&tid).filter(|_| mode == DetachMode::Swallow) {
                thread.signal = None;
            }
        }
        // Taken over as another debugger had left it: stopped, and nothing has resumed it yet.
        let continues = self.processes.get(&process).is_some_and(|known| known.found == Found::Abandoned);
        self.let_go(process);
        if mode == DetachMode::LeaveStopped {
            self.await_group_stop(process);
        }
        if continues && mode != DetachMode::LeaveStopped {
            send(process, Signal::CONT);
        }
        Ok(())
    }

    /// Stops all threads of a process for good.
    fn stop_process(&mut self, process: ProcessId) {
        let threads = self.thread_ids(process);
        for tid in &threads {
            drop(self.end_step_plan(*tid));
            if let Some(thread) = self.threads.get_mut(tid) {
                thread.held = true;
            }
        }
        self.interrupt(&threads);
        drop(self.collect(&|thread| thread.process == process));
        self.await_borrowers(process);
    }

    /// Children of vfork go on until they execute a program or end; only then can their parents be stopped, and taken what
    /// both have in their memory.
    fn await_borrowers(&mut self, process: ProcessId) {
        // Whoever stands where vfork told of its child goes on into the kernel's wait, and to nothing else before it ends:
        // no call could be made in it here.
        for tid in self.thread_ids(process) {
            let in_vfork = |thread: &super::Thread| thread.vfork_child.is_some() && thread.is_stopped();
            if self.threads.get(&tid).is_some_and(in_vfork) && self.flush(tid).is_ok() {
                self.let_run(tid);
            }
        }
        let end = Instant::now() + BORROW_LIMIT;
        let waits =
            |thread: &super::Thread| thread.process == process && thread.vfork_child.is_some() && thread.is_out();
        while self.threads.values().any(waits) && Instant::now() < end {
            match wait_now(Whom::Any) {
                Ok(Some((found, status))) => self.on_status(ThreadId(found), status),
                _ => std::thread::sleep(Duration::from_micros(100)),
            }
        }
    }

    /// A process that was let go stops once each of its threads has come to its SIGSTOP: until then another debugger would find it
    /// running, and take the stop for its own.
    fn await_group_stop(&mut self, process: ProcessId) {
        let end = Instant::now() + STOP_LIMIT;
        loop {
            let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
            let threads = tasks.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(ThreadId));
            let is_on_its_way = |tid| !matches!(state_letter(tid), None | Some(b'T' | b't' | b'Z' | b'X'));
            if !threads.into_iter().any(is_on_its_way) {
                return;
            }
            if Instant::now() >= end {
                return tracing::warn!(%process, "a thread of a process that is left stopped does not stop");
            }
            // Threads that could not be stopped are let go when they can.
            match wait_now(Whom::Any) {
                Ok(Some((found, status))) => self.on_status(ThreadId(found), status),
                _ => std::thread::sleep(Duration::from_micros(100)),
            }
        }
    }

    /// Removes everything of ours from a process whose threads are stopped and detaches it, threads that could not be
    /// stopped when they can.
    pub(super) fn let_go(&mut self, process: ProcessId) {
        for tid in self.thread_ids(process) {
            self.leave_calls(tid);
        }
        self.remove_all_breakpoints(process);
        self.drain_traps(process);
        self.end_steps(process);
        self.restore_masks(process);
        let aside = self.set_signals_aside(process);
        self.unprotect(process);
        self.give_signals_back(aside);
        for tid in self.thread_ids(process) {
            if self.threads.get(&tid).is_some_and(super::Thread::is_stopped) {
                self.let_go_thread(tid);
            }
        }
        self.forget_reports(process);
        self.reap_ending(process);
        if !self.thread_ids(process).is_empty() {
            if let Some(known) = self.processes.get_mut(&process) {
                known.hidden = true;
                known.leaving = true;
            }
        } else {
            self.forget_process(process);
        }
        self.threads_changed = true;
    }

    /// Where every thread has a signal to get, none could be called in: they get it behind the calls.
    fn set_signals_aside(&mut self, process: ProcessId) -> Vec<(ThreadId, RawSigInfo)> {
        let stopped = |thread: &&super::Thread| thread.process == process && thread.is_stopped() && !thread.is_exiting;
        if self.threads.values().filter(stopped).any(|thread| thread.signal.is_none()) {
            return Vec::new();
        }
        let threads: Vec<ThreadId> = self.threads.values().filter(stopped).map(|thread| thread.id).collect();
        let signal = |tid: ThreadId| Some((tid, self.threads.get_mut(&tid)?.signal.take()?));
        threads.into_iter().filter_map(signal).collect()
    }

    /// A thread that a call was made in is not at the delivery of its signal any more: it is sent again, and what it carried is
    /// put back as the thread comes to it, before it executes anything.
    fn give_signals_back(&mut self, aside: Vec<(ThreadId, RawSigInfo)>) {
        for (tid, info) in aside {
            let Some(thread) = self.threads.get_mut(&tid).filter(|thread| thread.is_stopped()) else { continue };
            thread.signal = Some(info);
            if !thread.in_delivery {
                self.launch(tid, ptrace::Go::Continue);
                drop(self.collect(&|thread| thread.id == tid));
            }
        }
    }

    /// Takes the exit statuses of threads that are about to end: one that nobody takes would keep its process a zombie as
    /// long as we live. A leader that ended before its threads is reaped when they are gone.
    fn reap_ending(&mut self, process: ProcessId) {
        let end = Instant::now() + REAP_LIMIT;
        loop {
            let ending = |thread: &&super::Thread| thread.process == process && thread.state == super::State::Exiting;
            let threads: Vec<ThreadId> = self.threads.values().filter(ending).map(|thread| thread.id).collect();
            for tid in &threads {
                if let Ok(Some((found, status))) = wait_now(Whom::Thread(tid.0)) {
                    self.on_status(ThreadId(found), status);
                }
            }
            let only_leader = threads.iter().all(|tid| tid.0 == process.0);
            if only_leader || Instant::now() >= end {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Threads that executed one of our bytes, now gone, and stopped for something else first: the trap is still to be
    /// delivered, and would end the process once nobody is there to see it.
    fn drain_traps(&mut self, process: ProcessId) {
        for tid in self.thread_ids(process) {
            let waits = self.threads.get(&tid).is_some_and(|thread| {
                thread.state == super::State::Stopped && thread.signal.is_none() && !thread.is_exiting
            });
            if !waits || !has_pending_trap(process, tid.0) || self.flush(tid).is_err() {
                continue;
            }
            // It is delivered before the thread executes anything.
            self.let_run(tid);
            drop(self.collect(&|thread| thread.id == tid));
        }
    }

    /// Takes from the threads what their steps left: what goes next is what they would need for it, should we be killed.
    fn end_steps(&mut self, process: ProcessId) {
        for tid in self.thread_ids(process) {
            self.disarm_step(tid);
            self.restore_mask_before_step(tid);
        }
    }

    /// Continues a stopped thread that will stop again by itself before it executes anything.
    fn let_run(&mut self, tid: ThreadId) {
        if ptrace::go(tid.0, ptrace::Go::Continue, 0).is_err() {
            return self.lost(tid);
        }
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.state = super::State::Running;
            thread.registers = None;
            self.out.insert(tid);
        }
    }

    fn let_go_thread(&mut self, tid: ThreadId) {
        // A thread that is gone by now needs nothing.
        let _ = self.flush(tid);
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        let mut signo = 0;
        if let Some(info) = thread.signal.take() {
            self.journal.signal_held(thread.process, tid, 0);
            if thread.in_delivery {
                signo = info.signo();
                let _ = ptrace::set_signal_info(tid.0, &info);
            } else {
                let _ = signal::send(thread.process.0, tid.0, info.signo());
            }
        }
        let _ = ptrace::detach(tid.0, signo);
        self.forget_thread(tid);
    }

    /// A thread of a process that is to be let go has stopped.
    pub(super) fn let_go_late(&mut self, tid: ThreadId, signal: i32, event: i32) {
        let Some(process) = self.threads.get(&tid).map(|thread| thread.process) else { return };
        let mut deliver = 0;
        if event == 0 && signal != libc::SIGTRAP | 0x80 {
            let is_ours = match signal {
                libc::SIGTRAP => is_our_trap(process, tid),
                libc::SIGILL => self.fault_of_removed_site(tid),
                libc::SIGSEGV => {
                    ptrace::signal_info(tid.0).is_ok_and(|info| self.is_stale_fault(tid, Va(info.address())))
                }
                _ => false,
            };
            deliver = if is_ours { 0 } else { signal };
        }
        self.unprotect_child(tid);
        let _ = ptrace::detach(tid.0, deliver);
        self.forget_thread(tid);
        if self.thread_ids(process).is_empty() {
            self.forget_process(process);
        }
    }

    /// Ends a process; returns when it is gone.
    pub(crate) fn kill(&mut self, process: ProcessId) -> Result<(), TargetError> {
        self.visible(process)?;
        send(process, Signal::KILL);
        for tid in self.thread_ids(process) {
            drop(self.end_step_plan(tid));
            if let Some(thread) = self.threads.get_mut(&tid) {
                (thread.held, thread.paused, thread.suspend) = (false, false, 0);
                thread.part = super::Part::Run;
                thread.signal = None;
            }
            self.out.insert(tid);
        }
        let end = Instant::now() + KILL_LIMIT;
        while self.processes.contains_key(&process) && Instant::now() < end {
            let mut any = false;
            for tid in self.thread_ids(process) {
                match wait_now(Whom::Thread(tid.0)) {
                    Ok(Some((found, status))) => {
                        self.on_status(ThreadId(found), status);
                        any = true;
                    }
                    Ok(None) => {}
                    Err(_) => self.thread_ended(tid, outpost_target::ExitStatus::Unknown),
                }
            }
            if self.thread_ids(process).is_empty() {
                self.forget_process(process);
            }
            if !any {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        // The caller knows: the end he asked for is a notice, not a stop.
        let reports = std::mem::take(&mut self.reports);
        for report in reports {
            match report.reason {
                StopReason::Exited { .. } if report.process == process => {
                    let record = StopRecord { process, thread: report.thread, reason: report.reason };
                    self.events.push_back(Event::Noticed(record));
                }
                _ if report.process == process => {}
                _ => self.reports.push_back(report),
            }
        }
        match self.processes.contains_key(&process) {
            true => Err(crate::error::os_error(format!("end process {process}"), rustix::io::Errno::TIMEDOUT)),
            false => Ok(()),
        }
    }

    /// Ends the session in order.
    fn end(&mut self) {
        // Those that only borrow another's memory come last: until then its breakpoints are still dealt with.
        let mut processes: Vec<_> =
            self.processes.values().map(|known| (known.hidden, known.id, known.origin)).collect();
        processes.sort_by_key(|(hidden, id, _)| (*hidden, *id));
        for (_, process, origin) in processes {
            let known = self.processes.get_mut(&process);
            let Some(known) = known else { continue };
            known.hidden = false;
            let ended = match origin == ProcessOrigin::Created && !self.detach_on_exit {
                true => self.kill(process),
                false => self.detach(process, DetachMode::Deliver),
            };
            if let Err(error) = ended {
                tracing::warn!(%process, %error, "process could not be let go");
            }
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.end();
    }
}

/// A thread executed a trap of ours that has been removed since: pc goes back to it.
fn is_our_trap(process: ProcessId, tid: ThreadId) -> bool {
    let Ok(info) = ptrace::signal_info(tid.0) else { return false };
    if trap_code::is_step(info.code()) || trap_code::is_debug_register(info.code()) {
        return true;
    }
    if !trap_code::is_trap_byte(info.code()) {
        return false;
    }
    let Ok(mut registers) = ptrace_registers::general(tid.0) else { return false };
    let at = Va(registers.pc()) - 1;
    let mut byte = [0];
    let is_foreign =
        ProcessMemory::open(process).is_ok_and(|memory| memory.read(at, &mut byte) == 1 && byte[0] == TRAP);
    if !is_foreign {
        registers.set_pc(at.0);
        let _ = ptrace_registers::set_general(tid.0, &registers);
    }
    !is_foreign
}

pub(super) fn send(process: ProcessId, signal: Signal) {
    if let Some(pid) = Pid::from_raw(process.0 as i32) {
        // It may be gone already.
        let _ = kill_process(pid, signal);
    }
}
