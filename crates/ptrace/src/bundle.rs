//! What a stop brings along, so that looking around after it costs no further question.

use std::fs;

use outpost_base::{AddressSpaceId, Arch, ProcessId, RegisterContext, ThreadId, Va};
use outpost_target::{
    BundleRequest, MemoryBlock, ModuleInfo, ReadRequest, RegisterSets, StopBundle, StopGeneration, StopReason,
    StopRecord, TargetError, ThreadInfo, ThreadRunState,
};

use crate::sys::ptrace_registers::{self, word};
use crate::tracer::{Report, State, Thread, Tracer};

/// Most stack bytes in a bundle, whatever was asked for.
const MAX_STACK: u32 = 256 << 10;
/// Most code bytes on either side of pc.
const MAX_CODE: u32 = 4 << 10;
/// All subscriptions together.
const MAX_SUBSCRIBED: u64 = 1 << 20;
/// The red zone below sp belongs to the frame (SysV x86-64 psABI, 3.2.2).
const RED_ZONE: u64 = 128;

impl Tracer {
    /// Stops the report's scope and makes the bundle. `None`: the thread of a break-in is gone, nothing stopped.
    pub(crate) fn deliver(&mut self, report: Report) -> Option<StopBundle> {
        let unstoppable = self.stop_for(&report);
        let exited = matches!(report.reason, StopReason::Exited { .. });
        if !exited && !self.threads.contains_key(&report.thread) {
            self.let_held_go(&report);
            return None;
        }
        if !exited {
            self.keep_lifelines();
        }
        self.drain_all_logs();
        self.generation = StopGeneration(self.generation.0 + 1);
        let undecided = self.breakpoints.take_undecided(report.thread, &report.reason);
        let stop = StopRecord { process: report.process, thread: report.thread, reason: report.reason };
        let mut bundle = StopBundle::bare(self.generation, stop);
        let request = self.rules.bundle.clone();
        self.fill_thread(&mut bundle, report.thread, &request);
        self.fill_subscriptions(&mut bundle, &request);
        self.fill_lists(&mut bundle, report.process);
        bundle.unstoppable = unstoppable;
        bundle.hits = self.breakpoints.take_new_hits();
        bundle.undecided = undecided;
        bundle.trace = report.trace;
        bundle.queued = self.queued_reports();
        self.last_stop = Some(bundle.clone());
        Some(bundle)
    }

    /// A stop came to nothing: whoever was held for it goes on.
    fn let_held_go(&mut self, report: &Report) {
        let held: Vec<ThreadId> = self
            .threads
            .values()
            .filter(|thread| thread.held && (thread.process == report.process))
            .map(|thread| thread.id)
            .collect();
        for tid in &held {
            if let Some(thread) = self.threads.get_mut(tid) {
                thread.held = false;
            }
        }
        for tid in held {
            self.settle(tid);
        }
    }

    fn fill_thread(&mut self, bundle: &mut StopBundle, tid: ThreadId, request: &BundleRequest) {
        let sets = RegisterSets { floating: request.all_registers, debug: request.all_registers };
        let Ok(context) = self.context(tid, sets) else { return };
        let Some(space) = self.space_id_of(tid) else { return };
        let (pc, sp) = (context.pc(), context.sp());
        bundle.registers.push((tid, context));
        let around = u64::from(request.code_bytes.min(MAX_CODE));
        let before = pc.0.min(around);
        let red_zone = sp.0.min(RED_ZONE);
        let wanted = [
            ReadRequest { at: pc - before, len: before + around },
            ReadRequest { at: sp - red_zone, len: red_zone + u64::from(request.stack_bytes.min(MAX_STACK)) },
        ];
        for read in wanted {
            self.fill_memory(bundle, space, read);
        }
        // Code that begins a page has nothing readable before it: what follows is wanted all the same.
        if bundle.memory.first().is_none_or(|block| !block.range().contains(pc)) {
            self.fill_memory(bundle, space, ReadRequest { at: pc, len: around });
        }
    }

    fn fill_subscriptions(&mut self, bundle: &mut StopBundle, request: &BundleRequest) {
        let mut left = MAX_SUBSCRIBED;
        for (space, range) in &request.subscriptions {
            let len = range.len().min(left);
            left -= len;
            self.fill_memory(bundle, *space, ReadRequest { at: range.start, len });
        }
    }

    fn fill_memory(&mut self, bundle: &mut StopBundle, space: AddressSpaceId, read: ReadRequest) {
        let Ok(answers) = self.read_many(space, &[read]) else { return };
        for bytes in answers.into_iter().filter(|bytes| !bytes.is_empty()) {
            bundle.memory.push(MemoryBlock { space, at: read.at, bytes });
        }
    }

    fn fill_lists(&mut self, bundle: &mut StopBundle, process: ProcessId) {
        if std::mem::take(&mut self.threads_changed) {
            let processes: Vec<ProcessId> = self.visible_processes();
            bundle.threads = Some(processes.iter().flat_map(|process| self.thread_infos(*process)).collect());
        }
        if self.processes.contains_key(&process) && bundle.stop.reason == StopReason::ModulesChanged {
            self.read_modules(process);
        }
        let changed: Vec<ProcessId> = self.modules_changed.drain().collect();
        let lists: Vec<(ProcessId, Vec<ModuleInfo>)> = changed
            .into_iter()
            .filter_map(|process| {
                let known = self.processes.get(&process).filter(|known| !known.hidden)?;
                Some((process, known.modules.clone()))
            })
            .collect();
        bundle.modules = (!lists.is_empty()).then_some(lists);
    }

    /// Processes the client knows.
    pub(crate) fn visible_processes(&self) -> Vec<ProcessId> {
        self.processes.values().filter(|process| !process.hidden).map(|process| process.id).collect()
    }

    /// Descriptions of a process's threads.
    pub(crate) fn thread_infos(&mut self, process: ProcessId) -> Vec<ThreadInfo> {
        let ids = self.thread_ids(process);
        ids.into_iter().filter_map(|tid| self.thread_info(tid)).collect()
    }

    fn thread_info(&mut self, tid: ThreadId) -> Option<ThreadInfo> {
        let teb = self.registers(tid).map_or(Va(0), |registers| Va(registers.0[word::FS_BASE]));
        let thread = self.threads.get(&tid)?;
        let comm = fs::read_to_string(format!("/proc/{}/task/{tid}/comm", thread.process)).unwrap_or_default();
        Some(ThreadInfo {
            id: tid,
            process: thread.process,
            name: comm.trim_end_matches('\n').to_owned(),
            state: run_state(thread),
            suspend_count: thread.suspend,
            teb,
        })
    }

    /// A stopped thread's registers.
    pub(crate) fn context(&mut self, tid: ThreadId, sets: RegisterSets) -> Result<RegisterContext, TargetError> {
        let thread = self.visible_thread(tid)?;
        if !thread.is_stopped() {
            let state = if thread.state == State::Exiting { "exiting" } else { "running" };
            return Err(TargetError::WrongThreadState { thread: tid, state: state.into() });
        }
        let gone = TargetError::WrongThreadState { thread: tid, state: "exiting".into() };
        let general = self.registers(tid).ok_or(gone)?;
        let floating = match sets.floating {
            true => ptrace_registers::floating(tid.0).unwrap_or_default(),
            false => Vec::new(),
        };
        let debug = match sets.debug {
            true => (0..8).map(|index| ptrace_registers::debug(tid.0, index).unwrap_or(0)).collect(),
            false => Vec::new(),
        };
        Ok(RegisterContext { arch: Arch::X86_64, general: general.0.to_vec(), floating, debug })
    }

    /// Reads many ranges, breakpoints hidden.
    pub(crate) fn read_many(
        &mut self,
        space: AddressSpaceId,
        reads: &[ReadRequest],
    ) -> Result<Vec<Vec<u8>>, TargetError> {
        let space = self.space(space)?;
        let mut answers = space.memory.read_many(reads)?;
        for (read, bytes) in reads.iter().zip(&mut answers) {
            space.sites.hide(read.at, bytes);
        }
        Ok(answers)
    }
}

fn run_state(thread: &Thread) -> ThreadRunState {
    match thread.state {
        State::Stopped | State::GroupStopped => ThreadRunState::Stopped,
        State::Exiting => ThreadRunState::Exiting,
        State::Running | State::Listening if thread.held => ThreadRunState::Unstoppable,
        State::Running | State::Listening => ThreadRunState::Running,
    }
}
