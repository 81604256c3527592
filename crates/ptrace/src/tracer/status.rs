//! What a wait status means for its thread.

use outpost_base::ThreadId;
use outpost_target::{ExitStatus, StopReason};

use super::{State, Tracer, family};
use crate::seccomp;
use crate::sys::ptrace_registers::word;
use crate::sys::ptrace_state::{SyscallStop, syscall_stop};
use crate::sys::ptrace_wait::{Decoded, WaitStatus};

impl Tracer {
    /// Deals with a wait status.
    pub(crate) fn on_status(&mut self, tid: ThreadId, status: WaitStatus) {
        if !self.threads.contains_key(&tid) && !self.adopt(tid, status) {
            return;
        }
        match status.decode() {
            Decoded::Exited(code) => self.thread_ended(tid, ExitStatus::Code(code)),
            Decoded::Killed { signal, core_dumped } => {
                self.thread_ended(tid, ExitStatus::Signal { signo: signal, core_dumped });
            }
            Decoded::Stopped { signal, event } => self.stopped(tid, signal, event),
        }
    }

    fn stopped(&mut self, tid: ThreadId, signal: i32, event: i32) {
        self.out.remove(&tid);
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        thread.state = State::Stopped;
        thread.registers = None;
        thread.dirty = false;
        thread.in_delivery = false;
        thread.interrupted = false;
        if thread.mask_before_step.is_some() {
            self.restore_mask_before_step(tid);
        }
        let is_fault = matches!(signal, libc::SIGTRAP | libc::SIGILL | libc::SIGSEGV);
        if event == libc::PTRACE_EVENT_STOP || (event == 0 && !is_fault && signal != libc::SIGTRAP | 0x80) {
            self.begin_call_anew(tid);
        }
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        if self.processes.get(&thread.process).is_some_and(|process| process.leaving) {
            return self.let_go_late(tid, signal, event);
        }
        let may_be_in_pad = event == libc::PTRACE_EVENT_STOP || (event == 0 && signal != libc::SIGTRAP | 0x80);
        if may_be_in_pad && self.leave_pad(tid, signal, event) {
            return;
        }
        // Interrupted, it is in no system call any more: that would have returned first.
        if event == libc::PTRACE_EVENT_STOP && signal == libc::SIGTRAP && self.close_behind(tid) {
            return;
        }
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        match event {
            0 if signal == libc::SIGTRAP | 0x80 => self.syscall_stop(tid),
            0 => self.signal_stop(tid, signal),
            libc::PTRACE_EVENT_STOP => self.event_stop(tid, signal),
            libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK => {
                self.child_made(tid, event)
            }
            libc::PTRACE_EVENT_VFORK_DONE => {
                thread.vfork_child = None;
                self.settle(tid);
            }
            libc::PTRACE_EVENT_EXEC => self.execed(tid),
            libc::PTRACE_EVENT_EXIT => self.exiting(tid),
            _ => self.settle(tid),
        }
    }

    /// A thread that its system call filter would end for how it goes on with a sleep begins that anew; at once, should we die.
    fn begin_call_anew(&mut self, tid: ThreadId) {
        if let Some(registers) = self.registers(tid)
            && let Some(anew) = seccomp::begin_anew(tid.0, &registers)
            && let Some(thread) = self.threads.get_mut(&tid)
        {
            thread.registers = Some(anew);
            self.journal.begins_anew(thread.process);
        }
    }

    /// An interrupt, the first stop of a new thread, or the beginning or end of a group-stop.
    fn event_stop(&mut self, tid: ThreadId, signal: i32) {
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        if signal != libc::SIGTRAP {
            thread.state = State::GroupStopped;
        }
        if std::mem::take(&mut thread.is_new) {
            return self.first_stop(tid);
        }
        self.settle(tid);
    }

    /// Entry or return of a system call, seen when the client asked for some by number.
    fn syscall_stop(&mut self, tid: ThreadId) {
        let stop = syscall_stop(tid.0);
        if self.guard_syscall(tid, stop) {
            return;
        }
        let wanted = &self.rules.events.syscalls;
        if wanted.is_empty() || self.is_hidden(tid) {
            return self.settle(tid);
        }
        let Some(number) = self.registers(tid).map(|registers| registers.0[word::ORIG_RAX]) else {
            return self.settle(tid);
        };
        if !self.rules.events.syscalls.contains(&number) {
            return self.settle(tid);
        }
        let leaving = stop == SyscallStop::Return;
        self.report(tid, StopReason::Syscall { number, leaving });
    }

    /// A status of a thread that is not in the table: a new thread of a known process whose creation event is still to
    /// come, a new process (kept until its parent's event), or one that is of no concern. `true`: it is known now.
    fn adopt(&mut self, tid: ThreadId, status: WaitStatus) -> bool {
        if !matches!(status.decode(), Decoded::Stopped { .. }) {
            return false;
        }
        match family::thread_group(tid).filter(|process| self.processes.contains_key(process)) {
            Some(process) if process.0 != tid.0 => {
                self.add_new_thread(tid, process);
                true
            }
            _ => {
                self.early.insert(tid, status);
                false
            }
        }
    }

    /// A thread turned out not to be there any more; its exit status comes, or came already.
    pub(crate) fn lost(&mut self, tid: ThreadId) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.state = State::Running;
            thread.registers = None;
            thread.dirty = false;
            self.out.insert(tid);
        }
    }
}
