//! Becoming the tracer of a running process, or of one just made.

use std::fs;
use std::path::PathBuf;

use outpost_base::{AddressSpaceId, ProcessId, ThreadId};
use outpost_target::{AttachMode, BundleRequest, ProcessOrigin, StopBundle, StopReason, StopScope, TargetError};
use rustix::io::Errno;

use super::stopping::state_letter;
use super::{Found, Part, Process, Report, Space, State, Thread, Tracer, family};
use crate::breakpoints::DebugRegisters;
use crate::error::os_error;
use crate::memory::ProcessMemory;
use crate::os::{explain_refusal, is_32_bit, refuse_32_bit};
use crate::sys;
use crate::sys::ptrace::{self, Go};
use crate::sys::ptrace_wait::{Decoded, Whom, wait_blocking};

/// Passes over `/proc/PID/task`; a process that outruns so many makes threads faster than they can be seized.
const MAX_PASSES: u32 = 10_000;

impl Tracer {
    /// Makes a running process part of the session.
    pub(crate) fn attach(
        &mut self,
        process: ProcessId,
        mode: AttachMode,
        request: &BundleRequest,
    ) -> Result<Option<StopBundle>, TargetError> {
        if self.processes.get(&process).is_some_and(|known| !known.hidden) {
            return Err(TargetError::Invalid { reason: format!("process {process} is part of the session already") });
        }
        let program = PathBuf::from(format!("/proc/{process}/exe"));
        if is_32_bit(&program) {
            let name = fs::read_link(&program).unwrap_or_default();
            return Err(refuse_32_bit(&format!("process {process} ({})", name.display())));
        }
        self.rules.bundle = request.clone();
        let (origin, traces, stops) = match mode {
            AttachMode::Invasive { break_in } => (ProcessOrigin::Attached, true, break_in),
            AttachMode::Existing => (ProcessOrigin::Attached, true, true),
            AttachMode::Noninvasive { suspend } => (ProcessOrigin::Noninvasive, suspend, suspend),
        };
        let found = match mode {
            AttachMode::Existing => Found::Abandoned,
            AttachMode::Invasive { .. } if is_stopped(process) => Found::Stopped,
            _ => Found::Running,
        };
        if origin == ProcessOrigin::Attached {
            // Its sites would be hit in this session, and its handler run after ours.
            crate::rescue::clean_abandoned(process);
        }
        self.join(process, origin, traces)?;
        if traces && let Err(error) = self.seize_all(process, stops) {
            self.let_go(process);
            return Err(error);
        }
        if let Some(known) = self.processes.get_mut(&process) {
            known.found = found;
        }
        if origin == ProcessOrigin::Attached {
            self.watch_loader(process);
        } else {
            self.read_modules(process);
        }
        if !stops {
            self.continue_found_stopped(&[process]);
            return Ok(None);
        }
        self.stop_joined(process, StopReason::Attached).map(Some)
    }

    /// Takes a process into the table, with its memory.
    pub(crate) fn join(&mut self, process: ProcessId, origin: ProcessOrigin, traces: bool) -> Result<(), TargetError> {
        if traces && tracer_of(process.0).is_some() {
            return Err(explain_refusal(process, Errno::PERM.raw_os_error()));
        }
        let memory = ProcessMemory::open(process).map_err(|error| match error {
            // The kernel's rules for this are those of tracing, and a process that has ended may still be there.
            TargetError::Permission { .. } | TargetError::NoProcess { .. } => {
                explain_refusal(process, Errno::ACCESS.raw_os_error())
            }
            other => other,
        })?;
        let others: Vec<(ProcessId, AddressSpaceId)> =
            self.processes.values().map(|known| (known.id, known.space)).collect();
        let shared = others.iter().find(|(other, _)| sys::share_memory(other.0, process.0) == Some(true));
        let space = shared.map_or(AddressSpaceId(u64::from(process.0)), |(_, space)| *space);
        self.spaces.entry(space).or_insert_with(|| Space::new(memory));
        if traces {
            self.journal.process_joined(process, origin == ProcessOrigin::Created);
        }
        self.processes.insert(
            process,
            Process {
                id: process,
                space,
                origin,
                hidden: false,
                leaving: false,
                found: Found::Running,
                only_looked_at: origin == ProcessOrigin::Noninvasive,
                debug: DebugRegisters::default(),
                modules: Vec::new(),
                inherited: None,
            },
        );
        self.threads_changed = true;
        Ok(())
    }

    /// Delivers the stop of a process that has just become part of the session; all its threads are held.
    pub(crate) fn stop_joined(&mut self, process: ProcessId, reason: StopReason) -> Result<StopBundle, TargetError> {
        let threads = self.thread_ids(process);
        let alive =
            threads.iter().find(|tid| self.threads.get(tid).is_some_and(|thread| thread.state != State::Exiting));
        let Some(thread) = alive.or(threads.first()).copied() else { return Err(TargetError::Gone { process }) };
        let scope = std::mem::replace(&mut self.rules.scope, StopScope::Process);
        let bundle = self.deliver(Report { process, thread, reason, trace: Vec::new() });
        self.rules.scope = scope;
        bundle.ok_or(TargetError::Gone { process })
    }

    /// Seizes all threads, those that appear meanwhile included.
    fn seize_all(&mut self, process: ProcessId, stops: bool) -> Result<(), TargetError> {
        let mut pass = 0;
        loop {
            let found = self.seize_new(process, stops)?;
            if found == 0 {
                return Ok(());
            }
            pass += 1;
            if pass > MAX_PASSES {
                return Err(os_error(format!("attach to all threads of process {process}"), Errno::AGAIN));
            }
        }
    }

    /// One pass over the threads; returns how many were new.
    fn seize_new(&mut self, process: ProcessId, stops: bool) -> Result<usize, TargetError> {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).map_err(|_| TargetError::NoProcess { process })?;
        let mut found = 0;
        let ids = tasks.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).map(ThreadId);
        for tid in ids {
            if self.threads.contains_key(&tid) {
                continue;
            }
            match ptrace::seize(tid.0) {
                Ok(()) => {
                    found += 1;
                    self.add_thread(Thread::new(tid, process));
                    if stops {
                        self.interrupt(&[tid]);
                    }
                }
                // It ended between the listing and now.
                Err(Errno::SRCH) => {}
                Err(errno) => found += usize::from(self.seize_refused(process, tid, errno)?),
            }
        }
        Ok(found)
    }

    /// Why a thread could not be seized; `true`: it is ours all the same.
    fn seize_refused(&mut self, process: ProcessId, tid: ThreadId, errno: Errno) -> Result<bool, TargetError> {
        if matches!(state_letter(tid), None | Some(b'Z' | b'X')) {
            // A leader that ended before its threads is never seized; its end is that of the last thread.
            if tid.0 == process.0 && self.thread_ids(process).is_empty() && only_thread(process) {
                return Err(TargetError::Gone { process });
            }
            return Ok(false);
        }
        match tracer_of(tid.0) {
            Some(tracer) if tracer == sys::signal::own_tid() || tracer == std::process::id() => {
                // Made by a thread that was seized already: the kernel attached it.
                if family::thread_group(tid) == Some(process) {
                    self.add_new_thread(tid, process);
                }
                Ok(true)
            }
            Some(_) => Err(explain_refusal(process, errno.raw_os_error())),
            None if errno == Errno::PERM || errno == Errno::ACCESS => {
                Err(explain_refusal(process, errno.raw_os_error()))
            }
            None => Err(os_error(format!("attach to thread {tid}"), errno)),
        }
    }

    /// Takes a process that was made for this session and waits for its release; lets it execute its program. It stands
    /// before its first instruction then.
    ///
    /// # Errors
    /// [`TargetError::Gone`] if it ended instead; whoever made it knows why.
    pub(crate) fn take_created(&mut self, process: ProcessId, release: impl FnOnce()) -> Result<(), TargetError> {
        self.join(process, ProcessOrigin::Created, true)?;
        let tid = ThreadId(process.0);
        if let Err(errno) = ptrace::seize(tid.0) {
            self.forget_process(process);
            return Err(os_error(format!("trace the new process {process}"), errno));
        }
        self.add_thread(Thread::new(tid, process));
        release();
        loop {
            let status = match wait_blocking(Whom::Thread(tid.0)) {
                Ok((_, status)) => status,
                Err(Errno::INTR) => continue,
                Err(_) => return Err(TargetError::Gone { process }),
            };
            match status.decode() {
                Decoded::Stopped { event: libc::PTRACE_EVENT_EXEC, .. } => {
                    // Whatever the rules say of exec, this one is what its creator waits for.
                    let stops = std::mem::replace(&mut self.rules.events.exec, true);
                    self.on_status(tid, status);
                    self.rules.events.exec = stops;
                    self.forget_reports(process);
                    return Ok(());
                }
                // Before exec it is our own code that runs there: whatever stops it is of no interest.
                Decoded::Stopped { signal, event: 0 } => drop(ptrace::go(tid.0, Go::Continue, signal)),
                Decoded::Stopped { .. } => drop(ptrace::go(tid.0, Go::Continue, 0)),
                Decoded::Exited(_) | Decoded::Killed { .. } => {
                    self.on_status(tid, status);
                    self.forget_reports(process);
                    return Err(TargetError::Gone { process });
                }
            }
        }
    }

    /// A process that was just taken runs on without a stop.
    pub(crate) fn start_created(&mut self, process: ProcessId) {
        for tid in self.thread_ids(process) {
            if let Some(thread) = self.threads.get_mut(&tid) {
                thread.part = Part::Run;
            }
            self.settle(tid);
        }
    }
}

/// Who traces a thread, by `TracerPid` of `proc_pid_status(5)`.
fn tracer_of(tid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
    tracer.trim().parse().ok().filter(|tracer| *tracer != 0)
}

/// Whether job control has stopped it. Its leader may have ended before its other threads.
fn is_stopped(process: ProcessId) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return false };
    let mut ids = tasks.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).map(ThreadId);
    ids.any(|tid| state_letter(tid) == Some(b'T'))
}

fn only_thread(process: ProcessId) -> bool {
    fs::read_dir(format!("/proc/{process}/task")).map_or(true, |tasks| tasks.count() <= 1)
}
