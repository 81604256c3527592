//! Tracing: the state of every thread, and all that changes it.
//!
//! One thread does all of this, by `PTRACE_SEIZE`. States of a thread, and what takes it from one to the next:
//!
//! | State | Comes from | Goes to |
//! | --- | --- | --- |
//! | `Running` | seized; set going (`PTRACE_CONT`, `SINGLESTEP`, `SYSCALL`); made by a traced thread | any below, by a wait status |
//! | `Stopped` | a wait status: signal delivery, event, interrupt, system call | `Running` when it goes on; `Exiting` when killed |
//! | `GroupStopped` | `PTRACE_EVENT_STOP` with a stop signal: job control stopped the process | `Listening`; `Running` when stepped |
//! | `Listening` | `PTRACE_LISTEN` | `Stopped` by SIGCONT, `GroupStopped` by an interrupt; `Exiting` |
//! | `Exiting` | resumed from `PTRACE_EVENT_EXIT`; a leader found as a zombie | gone, by its exit status |
//!
//! On top of that a thread *stays* where it is while it is `held` (in the scope of a stop that the client has not
//! answered), `paused` (another thread passes a breakpoint), suspended, or told to hold by the plan. A stop that means
//! something is a *report*; reports wait in a queue, and the one that is delivered makes the others wait until the
//! client resumes their threads. Every other stop is settled at once: the thread goes on, unless it stays.
//!
//! What makes a stop unusual:
//!
//! | Situation | What is done |
//! | --- | --- |
//! | a thread's first stop is seen before its parent's event, or after | an unknown thread is looked up by its `Tgid`; else its status is kept until the event comes |
//! | threads appear while attaching | `/proc/PID/task` is gone through until nothing new is found |
//! | the leader has ended, others run | it is `Exiting`; its status comes last, when it is alone (the kernel delays it) |
//! | a thread that is not the leader executes a program | it takes the leader's id; all other threads are gone |
//! | a vfork parent, a thread in uninterruptible sleep | it cannot be stopped: told to the client, not waited for |
//! | a vfork child, a `CLONE_VM` child | shares breakpoints: traced, unseen by the client, until exec or exit |
//! | a fork child that is not followed | its copies of our breakpoints are removed, then it is let go |
//! | interrupt and another stop at once | any stop clears a pending interrupt in the kernel, so one stop is seen |
//! | a signal must be kept over another stop | it is sent again, and gets its first `siginfo_t` back on delivery |

mod attach;
mod changing;
mod family;
mod letting_go;
mod loader;
mod nearness;
mod resume;
mod sentinel;
mod signals;
mod status;
mod stopping;
mod table;
mod waiting;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use outpost_base::{AddressSpaceId, ProcessId, ThreadId, Va};
use outpost_target::{
    BundleRequest, Event, EventMask, StopBundle, StopGeneration, StopReason, StopScope, TargetError, TraceStep,
};
use rustix::io::Errno;

use crate::breakpoints::{Logs, Table};
use crate::journal::Journal;
use crate::sys::ptrace_registers::{self, GeneralRegisters};
use crate::sys::ptrace_wait::WaitStatus;
use nearness::Nearness;
pub(crate) use sentinel::BreakInRequest;
use sentinel::Sentinel;
pub(crate) use sentinel::ready;
pub(crate) use signals::{blocked_signals, has_handler, siginfo_of, trap_code};
pub(crate) use stopping::state_letter;
pub(crate) use table::{Arrival, Found, Part, Process, Space, State, Thread};

/// A stop that means something.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) process: ProcessId,
    pub(crate) thread: ThreadId,
    pub(crate) reason: StopReason,
    /// What a traced step plan executed and did not tell yet.
    pub(crate) trace: Vec<TraceStep>,
}

/// What the last plan said about stops; holds for all processes.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) scope: StopScope,
    pub(crate) events: EventMask,
    pub(crate) bundle: BundleRequest,
    /// Whether threads without a part of their own run.
    pub(crate) others_run: bool,
}

/// All that one session traces.
pub(crate) struct Tracer {
    pub(crate) processes: BTreeMap<ProcessId, Process>,
    pub(crate) threads: HashMap<ThreadId, Thread>,
    pub(crate) spaces: HashMap<AddressSpaceId, Space>,
    pub(crate) breakpoints: Table,
    pub(crate) journal: Box<dyn Journal>,
    pub(crate) rules: Rules,
    pub(crate) generation: StopGeneration,
    pub(crate) last_stop: Option<StopBundle>,
    /// The list of threads or processes changed since the last bundle.
    pub(crate) threads_changed: bool,
    /// Lists of modules that changed since the last bundle.
    pub(crate) modules_changed: HashSet<ProcessId>,
    pub(crate) detach_on_exit: bool,
    /// Threads of which a wait status can come.
    out: HashSet<ThreadId>,
    /// Statuses of threads that nobody has told of yet.
    early: HashMap<ThreadId, WaitStatus>,
    reports: VecDeque<Report>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) logs: Logs,
    /// The last event was of what was written down.
    has_logged: bool,
    pub(crate) break_in: Arc<BreakInRequest>,
    sentinel: Option<Sentinel>,
    /// The last thread that was waited for stopped at once.
    stops_soon: bool,
    nearness: Nearness,
    /// Others wanted the processor lately.
    crowded_until: Option<Instant>,
    /// When the caller's descriptors are looked at without the sentinel.
    look_at_others: Instant,
    next_sequence: u64,
    not_send: PhantomData<Rc<()>>,
}

impl Tracer {
    pub(crate) fn new(journal: Box<dyn Journal>) -> Result<Tracer, Errno> {
        Ok(Tracer {
            processes: BTreeMap::new(),
            threads: HashMap::new(),
            spaces: HashMap::new(),
            breakpoints: Table::default(),
            journal,
            rules: Rules {
                scope: StopScope::System,
                events: EventMask::default(),
                bundle: BundleRequest::default(),
                others_run: true,
            },
            generation: StopGeneration::default(),
            last_stop: None,
            threads_changed: false,
            modules_changed: HashSet::new(),
            detach_on_exit: false,
            out: HashSet::new(),
            early: HashMap::new(),
            reports: VecDeque::new(),
            events: VecDeque::new(),
            logs: Logs::default(),
            has_logged: false,
            break_in: Arc::new(BreakInRequest::new()?),
            sentinel: None,
            stops_soon: false,
            nearness: Nearness::default(),
            crowded_until: None,
            look_at_others: Instant::now(),
            next_sequence: 0,
            not_send: PhantomData,
        })
    }

    /// A process the client knows.
    pub(crate) fn visible(&self, process: ProcessId) -> Result<&Process, TargetError> {
        self.processes.get(&process).filter(|known| !known.hidden).ok_or(TargetError::NoProcess { process })
    }

    /// A thread the client knows.
    pub(crate) fn visible_thread(&self, thread: ThreadId) -> Result<&Thread, TargetError> {
        let known = self.threads.get(&thread).ok_or(TargetError::NoThread { thread })?;
        self.visible(known.process).map_err(|_| TargetError::NoThread { thread })?;
        Ok(known)
    }

    /// An address space the client may name.
    pub(crate) fn space(&self, space: AddressSpaceId) -> Result<&Space, TargetError> {
        let process = ProcessId(u32::try_from(space.0).unwrap_or(0));
        self.spaces.get(&space).ok_or(TargetError::NoProcess { process })
    }

    /// Threads of a process in the order they appeared.
    pub(crate) fn thread_ids(&self, process: ProcessId) -> Vec<ThreadId> {
        let mut threads: Vec<&Thread> = self.threads.values().filter(|thread| thread.process == process).collect();
        threads.sort_by_key(|thread| thread.sequence);
        threads.iter().map(|thread| thread.id).collect()
    }

    /// Processes that live in an address space, hidden ones too.
    pub(crate) fn processes_in(&self, space: AddressSpaceId) -> Vec<ProcessId> {
        self.processes.values().filter(|process| process.space == space).map(|process| process.id).collect()
    }

    /// The one whose it is, as long as that lives. A child that borrows the memory, as vfork makes, may have a lower id, and
    /// what the journal has under its name goes when it ends.
    pub(crate) fn process_in(&self, space: AddressSpaceId) -> Option<ProcessId> {
        let processes = self.processes_in(space);
        processes.into_iter().min_by_key(|process| u64::from(process.0) != space.0)
    }

    pub(crate) fn space_id_of(&self, tid: ThreadId) -> Option<AddressSpaceId> {
        Some(self.processes.get(&self.threads.get(&tid)?.process)?.space)
    }

    pub(crate) fn space_of(&self, tid: ThreadId) -> Option<&Space> {
        self.spaces.get(&self.space_id_of(tid)?)
    }

    pub(crate) fn is_hidden(&self, tid: ThreadId) -> bool {
        let process = self.threads.get(&tid).and_then(|thread| self.processes.get(&thread.process));
        process.is_none_or(|process| process.hidden)
    }

    pub(crate) fn debug_registers_used(&self, tid: ThreadId) -> bool {
        let process = self.threads.get(&tid).and_then(|thread| self.processes.get(&thread.process));
        process.is_some_and(|process| process.debug.is_used())
    }

    /// Registers of a stopped thread, as they are or shall be.
    pub(crate) fn registers(&mut self, tid: ThreadId) -> Option<GeneralRegisters> {
        let thread = self.threads.get_mut(&tid).filter(|thread| thread.is_stopped())?;
        if thread.registers.is_none() {
            thread.registers = ptrace_registers::general(tid.0).ok();
        }
        thread.registers
    }

    /// Sets what a stopped thread's registers shall be when it goes on.
    pub(crate) fn set_registers(&mut self, tid: ThreadId, registers: GeneralRegisters) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.registers = Some(registers);
            thread.dirty = true;
        }
    }

    pub(crate) fn set_pc(&mut self, tid: ThreadId, pc: Va) {
        if let Some(mut registers) = self.registers(tid) {
            registers.set_pc(pc.0);
            self.set_registers(tid, registers);
        }
    }

    /// Writes a stopped thread's registers, if they differ from the kernel's.
    pub(crate) fn flush(&mut self, tid: ThreadId) -> Result<(), Errno> {
        let Some(thread) = self.threads.get_mut(&tid) else { return Ok(()) };
        if let Some(registers) = thread.registers.filter(|_| thread.dirty) {
            ptrace_registers::set_general(tid.0, &registers)?;
            thread.dirty = false;
        }
        Ok(())
    }

    /// Brings a stopped thread's debug registers up to the process's version.
    pub(crate) fn update_debug_registers(&mut self, tid: ThreadId) -> Result<(), Errno> {
        let Some(thread) = self.threads.get_mut(&tid).filter(|thread| thread.is_stopped()) else { return Ok(()) };
        let Some(process) = self.processes.get(&thread.process) else { return Ok(()) };
        if thread.debug_version == process.debug.version {
            return Ok(());
        }
        if process.debug.is_used() {
            self.journal.debug_registers_set(thread.process, tid);
        }
        process.debug.apply(tid)?;
        thread.debug_version = process.debug.version;
        if !process.debug.is_used() {
            self.journal.debug_registers_cleared(tid);
        }
        Ok(())
    }

    /// Takes a thread into the table.
    pub(crate) fn add_thread(&mut self, mut thread: Thread) {
        thread.sequence = self.next_sequence;
        self.next_sequence += 1;
        self.threads_changed = true;
        if thread.is_out() {
            self.out.insert(thread.id);
        }
        self.threads.insert(thread.id, thread);
    }

    /// A stopped thread stands where it does with the client's or its plan's knowledge: it goes on without another hit.
    pub(crate) fn has_arrived(&mut self, tid: ThreadId) {
        let Some(registers) = self.registers(tid) else { return };
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.arrival = Some(Arrival { pc: Va(registers.pc()), sp: Va(registers.sp()) });
        }
    }

    /// A thread stops for a reason the client wants to know. Its plan ends.
    pub(crate) fn report(&mut self, tid: ThreadId, reason: StopReason) {
        let trace = self.end_step_plan(tid);
        self.has_arrived(tid);
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        thread.part = Part::Hold;
        let process = thread.process;
        self.reports.push_back(Report { process, thread: tid, reason, trace });
    }
}

#[cfg(test)]
mod tests {
    use outpost_target::ProcessOrigin;

    use super::*;
    use crate::breakpoints::DebugRegisters;

    /// Process ids wrap around: a child often has a lower one than its parent.
    #[test]
    fn a_space_is_its_owner_s_and_not_a_vfork_child_s() {
        let mut tracer = Tracer::new(Box::new(crate::NoJournal)).unwrap();
        let space = AddressSpaceId(900);
        for (id, hidden) in [(300, true), (900, false), (1200, false)] {
            let process = Process {
                id: ProcessId(id),
                space,
                origin: ProcessOrigin::Child,
                hidden,
                leaving: false,
                found: Found::Running,
                only_looked_at: false,
                debug: DebugRegisters::default(),
                modules: Vec::new(),
                inherited: None,
            };
            tracer.processes.insert(process.id, process);
        }
        assert_eq!(tracer.process_in(space), Some(ProcessId(900)));
        tracer.processes.remove(&ProcessId(900));
        assert_eq!(tracer.process_in(space), Some(ProcessId(300)));
        // They are nobody's to let go.
        tracer.processes.clear();
    }
}
