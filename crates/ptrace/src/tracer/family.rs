//! Threads and processes that come and go: clone, fork, vfork, exec, exit.

use std::fs;

use outpost_base::{AddressSpaceId, ProcessId, ThreadId};
use outpost_target::{Event, ExitStatus, ProcessOrigin, StopReason, StopRecord};

use super::{Found, Part, Process, Report, Space, State, Thread, Tracer};
use crate::breakpoints::DebugRegisters;
use crate::memory::ProcessMemory;
use crate::modules;
use crate::sys;
use crate::sys::ptrace::{self, Go};
use crate::sys::ptrace_registers::word;
use crate::sys::ptrace_wait::WaitStatus;

/// Notices of threads that wait to be told; beyond that, bundles bring the list anyway.
const MAX_NOTICES: usize = 1024;
/// `exit_group` on x86-64.
const SYS_EXIT_GROUP: u64 = libc::SYS_exit_group as u64;

impl Tracer {
    /// A thread made another thread or a process.
    pub(super) fn child_made(&mut self, tid: ThreadId, event: i32) {
        let Ok(message) = ptrace::event_message(tid.0) else { return self.lost(tid) };
        let child = ThreadId(message as u32);
        let Some(thread) = self.threads.get(&tid) else { return };
        let process = thread.process;
        let is_thread = event == libc::PTRACE_EVENT_CLONE && thread_group(child) == Some(process);
        if is_thread || self.threads.get(&child).is_some_and(|known| known.process == process) {
            if !self.threads.contains_key(&child) {
                self.add_new_thread(child, process);
            }
            self.early_status(child);
            return self.settle(tid);
        }
        self.process_made(tid, ProcessId(child.0), event == libc::PTRACE_EVENT_VFORK);
    }

    /// Takes a thread into the table that another one made and whose first stop is still to come.
    pub(super) fn add_new_thread(&mut self, tid: ThreadId, process: ProcessId) {
        let mut thread = Thread::new(tid, process);
        thread.is_new = true;
        // While its process is stopped for the client, it must not run off.
        thread.held = self.threads.values().any(|other| other.process == process && other.held);
        if !self.rules.others_run {
            thread.part = Part::Hold;
        }
        self.add_thread(thread);
    }

    /// Deals with a status that came before its thread was known.
    fn early_status(&mut self, tid: ThreadId) {
        if let Some(status) = self.early.remove(&tid) {
            self.on_status(tid, status);
        }
    }

    fn process_made(&mut self, tid: ThreadId, child: ProcessId, vfork: bool) {
        let Some(parent) = self.threads.get(&tid).and_then(|thread| self.processes.get(&thread.process)) else {
            return;
        };
        let (parent_id, parent_space, parent_hidden) = (parent.id, parent.space, parent.hidden);
        let shares = sys::share_memory(parent_id.0, child.0).unwrap_or(vfork);
        let followed = self.rules.events.follow_forks && !parent_hidden;
        let own_space = match shares {
            true => Some(parent_space),
            false => self.copied_space(parent_space, child, followed),
        };
        let process = Process {
            id: child,
            space: own_space.unwrap_or(AddressSpaceId(u64::from(child.0))),
            origin: ProcessOrigin::Child,
            hidden: !followed,
            leaving: !followed && !shares,
            found: Found::Running,
            only_looked_at: false,
            debug: DebugRegisters::default(),
            modules: Vec::new(),
            inherited: None,
        };
        if followed || shares {
            self.journal.process_joined(child, false);
        }
        self.processes.insert(child, process);
        if !shares {
            self.inherit_protection(parent_space, child, followed);
        }
        let leader = ThreadId(child.0);
        let mut thread = Thread::new(leader, child);
        thread.is_new = true;
        self.add_thread(thread);
        if vfork && let Some(thread) = self.threads.get_mut(&tid) {
            thread.vfork_child = Some(child);
        }
        self.early_status(leader);
        let reason = StopReason::Forked { child, vfork, followed };
        match self.rules.events.fork && !parent_hidden {
            true => {
                self.registers(tid);
                self.report(tid, reason);
            }
            false => {
                self.notice(tid, reason);
                self.settle(tid);
            }
        }
    }

    /// Opens the memory that a fork copied and removes the traps copied with it.
    fn copied_space(&mut self, from: AddressSpaceId, child: ProcessId, keep: bool) -> Option<AddressSpaceId> {
        let memory = ProcessMemory::open(child).ok()?;
        self.spaces.get(&from)?.clean_copy(&memory);
        let id = AddressSpaceId(u64::from(child.0));
        if keep {
            self.spaces.insert(id, Space::new(memory));
        }
        Some(id)
    }

    /// A new thread's first stop.
    pub(super) fn first_stop(&mut self, tid: ThreadId) {
        self.threads_changed = true;
        self.guard_new_thread(tid);
        let is_leader = self.threads.get(&tid).is_some_and(|thread| thread.process.0 == tid.0);
        if self.is_hidden(tid) || is_leader {
            return self.settle(tid);
        }
        if self.rules.events.thread_start {
            self.registers(tid);
            return self.report(tid, StopReason::ThreadStarted);
        }
        self.notice(tid, StopReason::ThreadStarted);
        if !self.waits_for_maker(tid) {
            self.settle(tid);
        }
    }

    /// A process replaced its image; `tid` is the leader's id by now.
    pub(super) fn execed(&mut self, tid: ThreadId) {
        let former = ThreadId(ptrace::event_message(tid.0).map_or(tid.0, |message| message as u32));
        let was_stepping = self.is_stepping(former) || self.is_in_call(former);
        drop(self.end_step_plan(former));
        self.forget_calls(former);
        let Some(process) = self.threads.get(&tid).map(|thread| thread.process) else { return };
        let mut survivor = self.threads.remove(&former).or_else(|| self.threads.remove(&tid));
        for other in self.thread_ids(process) {
            self.forget_thread(other);
        }
        self.out.remove(&former);
        if let Some(mut thread) = survivor.take() {
            thread.id = tid;
            thread.state = State::Stopped;
            thread.registers = None;
            thread.dirty = false;
            thread.arrival = None;
            thread.debug_version = 0;
            thread.interrupted = false;
            if matches!(thread.part, Part::Step(_)) {
                thread.part = Part::Run;
            }
            self.add_thread(thread);
        }
        self.new_image(process, tid);
        let Some(known) = self.processes.get_mut(&process) else { return };
        if known.hidden {
            known.leaving = true;
            return self.let_go_late(tid, libc::SIGTRAP, libc::PTRACE_EVENT_EXEC);
        }
        let reason = StopReason::Execed { executable: modules::read_executable(process), former_thread: former };
        if self.rules.events.exec || was_stepping {
            self.registers(tid);
            return self.report(tid, reason);
        }
        self.notice(tid, reason);
        self.settle(tid);
    }

    /// A process has another address space: nothing of ours is in it.
    fn new_image(&mut self, process: ProcessId, tid: ThreadId) {
        let Some(known) = self.processes.get_mut(&process) else { return };
        let old = known.space;
        known.debug = DebugRegisters::default();
        known.modules.clear();
        known.space = AddressSpaceId(u64::from(process.0));
        let (new, hidden) = (known.space, known.hidden);
        self.modules_changed.insert(process);
        // One that shared its parent's memory had the parent's lifeline, which stays.
        let is_last = self.processes_in(old).len() <= usize::from(new == old);
        let former = self.spaces.get_mut(&old).filter(|_| is_last).map(|space| std::mem::take(&mut space.protection));
        self.release_space(old, new == old);
        if !hidden && let Ok(memory) = ProcessMemory::open(process) {
            self.spaces.insert(new, Space::new(memory));
            self.protection_execed(process, tid, former.unwrap_or_default());
            self.watch_loader_from_start(process);
        }
    }

    /// Forgets an address space that nobody lives in any more; `replaced`: the one who does has another by that name.
    fn release_space(&mut self, space: AddressSpaceId, replaced: bool) {
        let users = self.processes_in(space).len() - usize::from(replaced);
        if users > 0 {
            return;
        }
        if let Some(gone) = self.spaces.remove(&space) {
            for (at, _) in gone.sites.jumps() {
                self.journal.jump_removed(space, at);
            }
            for (at, _) in gone.sites.iter() {
                self.journal.site_removed(space, at);
            }
            for at in gone.pages.journaled() {
                self.journal.pages_restored(gone.memory.process(), at);
            }
        }
        for id in self.breakpoints.in_space(space) {
            self.breakpoints.remove(id);
        }
    }

    /// A thread is about to end; its registers are still there.
    pub(super) fn exiting(&mut self, tid: ThreadId) {
        let status = ptrace::event_message(tid.0).map_or(ExitStatus::Unknown, |message| exit_status(message as i32));
        let was_stepping = self.is_stepping(tid) || self.is_in_call(tid);
        let registers = self.registers(tid);
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        thread.is_exiting = true;
        let process = thread.process;
        // Its memory may go with it.
        if let Some(space) = self.space_id_of(tid) {
            self.drain_logs(space);
        }
        // The one signal that may end a thread and not its process: a system call filter's.
        let alone = matches!(status, ExitStatus::Signal { signo: libc::SIGSYS, .. })
            && self.threads.values().any(|other| other.process == process && !other.is_exiting);
        self.release_robust(tid, alone);
        if matches!(status, ExitStatus::Signal { signo: libc::SIGKILL, .. }) {
            // Nobody can hold up SIGKILL, and its sender does not expect us to.
            drop(self.end_step_plan(tid));
            return self.launch(tid, Go::Continue);
        }
        if self.is_hidden(tid) {
            return self.settle(tid);
        }
        // A step plan that ends because its thread does must not leave the client waiting for held threads.
        let takes_process_along = matches!(status, ExitStatus::Signal { .. })
            || registers.is_none_or(|registers| registers.0[word::ORIG_RAX] == SYS_EXIT_GROUP)
            || self.thread_ids(process).len() == 1;
        let reason = StopReason::ThreadExiting { status };
        if self.rules.events.thread_exit || (was_stepping && !takes_process_along) {
            return self.report(tid, reason);
        }
        drop(self.end_step_plan(tid));
        if let Some(thread) = self.threads.get_mut(&tid) {
            // A thread that a plan holds comes here because another one ends the process, which would wait for it for ever.
            if matches!(thread.part, Part::Hold) {
                (thread.held, thread.suspend) = (false, 0);
            }
            // Nothing but its end is left to it, so it need not wait for the client.
            thread.part = Part::Run;
        }
        self.notice(tid, reason);
        self.settle(tid);
    }

    /// A thread's exit status came.
    pub(super) fn thread_ended(&mut self, tid: ThreadId, status: ExitStatus) {
        let Some(process) = self.threads.get(&tid).map(|thread| thread.process) else { return };
        drop(self.end_step_plan(tid));
        self.forget_thread(tid);
        if self.threads.values().any(|thread| thread.process == process) {
            return;
        }
        self.process_ended(process, tid, status);
    }

    fn process_ended(&mut self, process: ProcessId, last: ThreadId, status: ExitStatus) {
        let Some(known) = self.processes.remove(&process) else { return };
        self.release_space(known.space, false);
        self.modules_changed.remove(&process);
        self.journal.process_left(process);
        if !known.hidden && !known.leaving {
            let reason = StopReason::Exited { status };
            self.reports.push_back(Report { process, thread: last, reason, trace: Vec::new() });
        }
    }

    /// Takes a thread out of the tables.
    pub(super) fn forget_thread(&mut self, tid: ThreadId) {
        self.forget_calls(tid);
        self.forget_caller(tid);
        if let Some(gone) = self.threads.remove(&tid) {
            self.threads_changed = true;
            self.journal.debug_registers_cleared(tid);
            if gone.is_trapping {
                self.journal.stepping(gone.process, tid, false);
            }
        }
        self.out.remove(&tid);
        self.early.remove(&tid);
        self.reports.retain(|report| report.thread != tid || matches!(report.reason, StopReason::Exited { .. }));
    }

    /// Forgets a process that was let go.
    pub(super) fn forget_process(&mut self, process: ProcessId) {
        for tid in self.thread_ids(process) {
            self.forget_thread(tid);
        }
        if let Some(known) = self.processes.remove(&process) {
            self.release_space(known.space, false);
            self.modules_changed.remove(&process);
            self.journal.process_left(process);
        }
    }

    /// Tells the client of something that stops nobody.
    pub(super) fn notice(&mut self, tid: ThreadId, reason: StopReason) {
        let Some(thread) = self.threads.get(&tid) else { return };
        let of_threads = matches!(reason, StopReason::ThreadStarted | StopReason::ThreadExiting { .. });
        if self.is_hidden(tid) || (of_threads && self.events.len() >= MAX_NOTICES) {
            return;
        }
        let record = StopRecord { process: thread.process, thread: tid, reason };
        self.events.push_back(Event::Noticed(record));
    }
}

/// The process a thread belongs to; `None` if it is gone.
pub(super) fn thread_group(tid: ThreadId) -> Option<ProcessId> {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    group.trim().parse().ok().map(ProcessId)
}

fn exit_status(status: i32) -> ExitStatus {
    use crate::sys::ptrace_wait::Decoded;
    match WaitStatus(status).decode() {
        Decoded::Exited(code) => ExitStatus::Code(code),
        Decoded::Killed { signal, core_dumped } => ExitStatus::Signal { signo: signal, core_dumped },
        Decoded::Stopped { .. } => ExitStatus::Unknown,
    }
}
