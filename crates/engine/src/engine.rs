//! The engine itself: what it holds, and adding and finding the things it holds.

use std::collections::VecDeque;
use std::rc::Rc;

use outpost_base::{Arch, ProcessId, ThreadId};
use outpost_symbols::Wildcard;
use outpost_target::{LinkWatcher, ProcessInfo, StopBundle, StopReason, Target, TargetInfo};

use crate::breakpoints::BreakpointTable;
use crate::events::{EngineEvent, EventFilters, LastEvent};
use crate::interrupt::Interrupter;
use crate::model::ObjectStore;
use crate::modules::ModuleList;
use crate::natvis::ViewStore;
use crate::process::Process;
use crate::registers::UserRegisters;
use crate::run::Operation;
use crate::scope::Scope;
use crate::sources::SourceStore;
use crate::symbols::SymbolStore;
use crate::system::{System, TargetHandle};
use crate::{EngineError, EngineState, ProcessMemory, ProcessOrdinal, SystemOrdinal, ThreadOrdinal};

/// A debugging session: any number of systems with their processes, one of whose threads is current.
///
/// It lives on the thread that made it and is driven by calls; what happens in targets is fetched by [`Engine::wait`].
/// Another thread may only use its [`Interrupter`]. Between a resumption and the stop that ends it only breaking in,
/// waiting and what needs no debuggee are legal; the rest answers [`EngineError::Running`].
///
/// *Current* thread and process are those that commands mean; they become the *event* thread and process at each stop,
/// and may be selected between stops.
#[doc(alias = "IDebugClient")]
#[doc(alias = "DebugCreate")]
pub struct Engine {
    pub(crate) systems: Vec<System>,
    pub(crate) processes: Vec<Process>,
    pub(crate) current: Option<ThreadOrdinal>,
    pub(crate) event: Option<ThreadOrdinal>,
    pub(crate) next_system: u32,
    pub(crate) next_process: u32,
    pub(crate) next_thread: u32,
    /// Events the engine has made and nobody has fetched.
    pub(crate) queue: VecDeque<EngineEvent>,
    pub(crate) last_event: Option<LastEvent>,
    pub(crate) operation: Option<Operation>,
    pub(crate) breakpoints: BreakpointTable,
    pub(crate) filters: EventFilters,
    /// The stop that goes on once its filter's commands are done.
    pub(crate) passing: Option<crate::Stop>,
    pub(crate) user_registers: UserRegisters,
    pub(crate) scope: Scope,
    pub(crate) objects: ObjectStore,
    pub(crate) views: ViewStore,
    pub(crate) symbols: Rc<SymbolStore>,
    pub(crate) sources: SourceStore,
    pub(crate) ignores_case: bool,
    /// Functions that compilers put into others have rows of their own in stacks.
    pub(crate) shows_inline: bool,
    /// Functions that source steps do not enter.
    pub(crate) step_filter: Vec<Wildcard>,
    pub(crate) interrupter: Interrupter,
    /// How expressions call functions; `None`: they may not.
    pub(crate) calls: Option<crate::CallOptions>,
    /// Calls that something has stopped, the newest last.
    pub(crate) pending_calls: Vec<crate::call::PendingCall>,
    pub(crate) link_watcher: Option<LinkWatcher>,
    /// Counts stops and selections, so that what depends on them knows when it is stale.
    pub(crate) epoch: u64,
}

impl Default for Engine {
    fn default() -> Engine {
        Engine::new()
    }
}

impl Engine {
    /// An engine without debuggee.
    pub fn new() -> Engine {
        let interrupter = Interrupter::default();
        Engine {
            systems: Vec::new(),
            processes: Vec::new(),
            current: None,
            event: None,
            next_system: 0,
            next_process: 0,
            next_thread: 0,
            queue: VecDeque::new(),
            last_event: None,
            operation: None,
            breakpoints: BreakpointTable::default(),
            filters: EventFilters::default(),
            passing: None,
            user_registers: UserRegisters::default(),
            scope: Scope::default(),
            objects: ObjectStore::default(),
            views: ViewStore::default(),
            symbols: Rc::new(SymbolStore::new(interrupter.clone())),
            sources: SourceStore::default(),
            ignores_case: true,
            shows_inline: true,
            step_filter: Vec::new(),
            interrupter,
            calls: None,
            pending_calls: Vec::new(),
            link_watcher: None,
            epoch: 0,
        }
    }

    /// What the engine as a whole is doing.
    pub fn state(&self) -> EngineState {
        if self.systems.iter().any(|system| system.running) {
            EngineState::Running
        } else if self.processes.is_empty() {
            EngineState::NoDebuggee
        } else {
            EngineState::Stopped
        }
    }

    /// Says who is told when the link to a target is lost and comes back, from whatever thread notices.
    pub fn set_link_watcher(&mut self, watcher: Option<LinkWatcher>) {
        for system in &self.systems {
            system.target.borrow_mut().watch_link(watcher.clone());
        }
        self.link_watcher = watcher;
    }

    /// Adds a target as a new system; what it holds at once (a dump, a server's session) becomes visible, and its stored
    /// event, if any, is the next that [`Engine::wait`] gives.
    ///
    /// # Errors
    /// [`EngineError::Target`] if not even its processes can be listed.
    #[doc(alias = "OpenDumpFile")]
    #[doc(alias = "ConnectProcessServer")]
    pub fn add_system(&mut self, target: Box<dyn Target>) -> Result<SystemOrdinal, EngineError> {
        let ordinal = SystemOrdinal(self.next_system);
        let mut system = System::new(ordinal, target);
        system.target.borrow_mut().watch_link(self.link_watcher.clone());
        if let Some(live) = system.target.borrow_mut().as_live() {
            self.interrupter.add(ordinal, live.interrupter());
        }
        let (processes, stop) = {
            let mut target = system.target.borrow_mut();
            (target.processes()?, target.last_stop().cloned())
        };
        if let Some(stop) = &stop {
            system.generation = stop.generation;
        }
        self.next_system += 1;
        self.systems.push(system);
        for info in processes {
            self.add_process(ordinal, info)?;
        }
        if let Some(stop) = stop {
            self.take_stop(ordinal, stop)?;
        } else if self.current.is_none() {
            self.select_any();
        }
        Ok(ordinal)
    }

    /// Forgets a system and all in it. Its target is dropped, which ends the session with its server.
    ///
    /// # Errors
    /// [`EngineError::NoSystem`].
    pub fn remove_system(&mut self, ordinal: SystemOrdinal) -> Result<(), EngineError> {
        let at = self.systems.iter().position(|system| system.ordinal == ordinal);
        let at = at.ok_or(EngineError::NoSystem { ordinal })?;
        let processes: Vec<_> = self.processes.iter().filter(|process| process.system == ordinal).collect();
        let processes: Vec<_> = processes.iter().map(|process| process.ordinal).collect();
        for process in processes {
            self.forget_process(process);
        }
        self.systems.remove(at);
        self.interrupter.remove(ordinal);
        Ok(())
    }

    /// The target of a system, for what the engine does not wrap: asked for capabilities, never for its kind. What
    /// changes the debuggee's state (resuming, breakpoints, attaching) goes through the engine's own methods instead.
    ///
    /// # Errors
    /// [`EngineError::NoSystem`].
    pub fn with_target<R>(
        &self,
        ordinal: SystemOrdinal,
        use_it: impl FnOnce(&mut dyn Target) -> R,
    ) -> Result<R, EngineError> {
        let target = self.system(ordinal)?.target.clone();
        let mut target = target.borrow_mut();
        Ok(use_it(target.as_mut()))
    }

    /// What a system says of itself.
    ///
    /// # Errors
    /// [`EngineError::NoSystem`].
    pub fn target_info(&self, ordinal: SystemOrdinal) -> Result<&TargetInfo, EngineError> {
        Ok(&self.system(ordinal)?.info)
    }

    /// Architecture of the current system; that of this debugger's first architecture where there is none.
    pub fn arch(&self) -> Arch {
        let current = self.current_system().and_then(|ordinal| self.system(ordinal).ok());
        current.or(self.systems.first()).map_or(Arch::X86_64, |system| system.info.arch)
    }

    /// Starts a new life of the system's lists from a stop: threads, modules, registers, memory.
    pub(crate) fn absorb_bundle(&mut self, ordinal: SystemOrdinal, bundle: &mut StopBundle) -> Result<(), EngineError> {
        self.epoch += 1;
        let system = self.system_mut(ordinal)?;
        system.generation = bundle.generation;
        system.running = false;
        system.registers.clear();
        for (thread, context) in std::mem::take(&mut bundle.registers) {
            system.put_registers(thread, context);
        }
        let ended = matches!(bundle.stop.reason, StopReason::Exited { .. });
        if !ended {
            self.ensure_process(ordinal, bundle.stop.process)?;
        }
        if let Some(threads) = bundle.threads.take() {
            self.take_threads(ordinal, threads);
        }
        let known = self
            .processes
            .iter()
            .any(|process| process.id() == bundle.stop.process && process.thread(bundle.stop.thread).is_some());
        if !known && !ended {
            self.refresh_threads(ordinal, bundle.stop.process)?;
        }
        for (process, modules) in bundle.modules.take().unwrap_or_default() {
            self.take_modules(ordinal, process, modules);
        }
        for process in self.processes.iter_mut().filter(|process| process.system == ordinal) {
            process.memory.restart(bundle.memory.iter());
            process.regions = None;
        }
        self.note_thread_blocks(ordinal);
        Ok(())
    }

    /// A thread that just began has no control block yet, and a list that did not change otherwise is not sent again
    /// when it has; the registers tell.
    fn note_thread_blocks(&mut self, ordinal: SystemOrdinal) {
        let Some(system) = self.systems.iter().find(|system| system.ordinal == ordinal) else { return };
        let Some(base) = system.info.arch.register_by_name("fs_base") else { return };
        let own = self.processes.iter_mut().filter(|process| process.system == ordinal);
        for thread in own.flat_map(|process| &mut process.threads) {
            let known = system.registers.get(&thread.info.id).and_then(|known| known.context.get_u64(base));
            thread.info.teb = known.map_or(thread.info.teb, outpost_base::Va);
        }
    }

    /// Makes sure that a process a stop speaks of is in the list.
    pub(crate) fn ensure_process(&mut self, system: SystemOrdinal, id: ProcessId) -> Result<(), EngineError> {
        if self.process_by_id(system, id).is_some() {
            return Ok(());
        }
        let infos = self.system(system)?.target.borrow_mut().processes()?;
        for info in infos {
            if self.process_by_id(system, info.id).is_none() {
                self.add_process(system, info)?;
            }
        }
        Ok(())
    }

    pub(crate) fn add_process(&mut self, system: SystemOrdinal, info: ProcessInfo) -> Result<(), EngineError> {
        if self.processes.is_empty() {
            // A session whose last process ended starts counting anew with the next, as after a restart.
            (self.next_process, self.next_thread) = (0, 0);
        }
        let target = self.system(system)?.target.clone();
        let (threads, modules) = {
            let mut target = target.borrow_mut();
            (target.threads(info.id)?, target.modules(info.id)?)
        };
        let ordinal = ProcessOrdinal(self.next_process);
        self.next_process += 1;
        let memory = ProcessMemory::new(target, info.space);
        let is_copy = info.origin == outpost_target::ProcessOrigin::Child;
        let mut process = Process {
            ordinal,
            system,
            info,
            threads: Vec::new(),
            modules: ModuleList::default(),
            memory,
            regions: None,
            unwind_points: None,
            is_copy,
            shares_with: None,
            registered: Default::default(),
            ended: false,
        };
        process.set_threads(threads, &mut self.next_thread);
        process.set_modules(modules);
        self.processes.push(process);
        Ok(())
    }

    /// Drops a process from the session, with the breakpoints that were only its.
    pub(crate) fn forget_process(&mut self, ordinal: ProcessOrdinal) {
        let Some(at) = self.processes.iter().position(|process| process.ordinal == ordinal) else { return };
        let process = self.processes.remove(at);
        self.breakpoints.process_gone(ordinal);
        self.forget_calls(process.system, process.id());
        let was = |thread: Option<ThreadOrdinal>| {
            thread.is_some_and(|thread| process.threads.iter().any(|known| known.ordinal == thread))
        };
        if was(self.event) {
            self.event = None;
        }
        if was(self.current) {
            self.current = None;
            self.select_any();
        }
        self.epoch += 1;
    }

    fn take_threads(&mut self, system: SystemOrdinal, threads: Vec<outpost_target::ThreadInfo>) {
        for process in self.processes.iter_mut().filter(|process| process.system == system) {
            let own = threads.iter().filter(|thread| thread.process == process.id()).cloned().collect();
            process.set_threads(own, &mut self.next_thread);
        }
    }

    /// Fetches the thread list of a process anew.
    pub(crate) fn refresh_threads(&mut self, system: SystemOrdinal, id: ProcessId) -> Result<(), EngineError> {
        let threads = self.system(system)?.target.borrow_mut().threads(id)?;
        let process = self.processes.iter_mut().find(|process| process.system == system && process.id() == id);
        if let Some(process) = process {
            process.set_threads(threads, &mut self.next_thread);
        }
        Ok(())
    }

    pub(crate) fn take_modules(
        &mut self,
        system: SystemOrdinal,
        id: ProcessId,
        modules: Vec<outpost_target::ModuleInfo>,
    ) {
        let process = self.processes.iter_mut().find(|process| process.system == system && process.id() == id);
        let Some(process) = process else { return };
        let ordinal = process.ordinal;
        let (loaded, unloaded) = process.set_modules(modules);
        if !loaded.is_empty() || !unloaded.is_empty() {
            self.modules_changed(ordinal, &loaded, &unloaded);
        }
    }

    pub(crate) fn system(&self, ordinal: SystemOrdinal) -> Result<&System, EngineError> {
        self.systems.iter().find(|system| system.ordinal == ordinal).ok_or(EngineError::NoSystem { ordinal })
    }

    pub(crate) fn system_mut(&mut self, ordinal: SystemOrdinal) -> Result<&mut System, EngineError> {
        self.systems.iter_mut().find(|system| system.ordinal == ordinal).ok_or(EngineError::NoSystem { ordinal })
    }

    pub(crate) fn process(&self, ordinal: ProcessOrdinal) -> Result<&Process, EngineError> {
        self.processes.iter().find(|process| process.ordinal == ordinal).ok_or(EngineError::NoProcess { ordinal })
    }

    pub(crate) fn process_mut(&mut self, ordinal: ProcessOrdinal) -> Result<&mut Process, EngineError> {
        self.processes.iter_mut().find(|process| process.ordinal == ordinal).ok_or(EngineError::NoProcess { ordinal })
    }

    pub(crate) fn process_by_id(&self, system: SystemOrdinal, id: ProcessId) -> Option<&Process> {
        self.processes.iter().find(|process| process.system == system && process.id() == id)
    }

    /// The process of a thread.
    pub(crate) fn process_of(&self, thread: ThreadOrdinal) -> Result<&Process, EngineError> {
        let has = |process: &&Process| process.threads.iter().any(|known| known.ordinal == thread);
        // Once nothing is left, that is what the user has to know, not which thread is missing.
        let missing =
            if self.processes.is_empty() { EngineError::NoDebuggee } else { EngineError::NoThread { ordinal: thread } };
        self.processes.iter().find(has).ok_or(missing)
    }

    /// Where a thread is: its system, its process and the system's id for it.
    pub(crate) fn locate(
        &self,
        thread: ThreadOrdinal,
    ) -> Result<(SystemOrdinal, ProcessOrdinal, ThreadId), EngineError> {
        let process = self.process_of(thread)?;
        let found = process.threads.iter().find(|known| known.ordinal == thread);
        let found = found.ok_or(EngineError::NoThread { ordinal: thread })?;
        Ok((process.system, process.ordinal, found.info.id))
    }

    pub(crate) fn thread_ordinal(&self, system: SystemOrdinal, id: ThreadId) -> Option<ThreadOrdinal> {
        let own = self.processes.iter().filter(|process| process.system == system);
        own.flat_map(|process| &process.threads).find(|thread| thread.info.id == id).map(|thread| thread.ordinal)
    }

    pub(crate) fn target_of(&self, process: ProcessOrdinal) -> Result<TargetHandle, EngineError> {
        Ok(self.system(self.process(process)?.system)?.target.clone())
    }

    /// Refuses while anything runs.
    pub(crate) fn need_stopped(&self) -> Result<(), EngineError> {
        match self.state() {
            EngineState::Stopped => Ok(()),
            EngineState::Running => Err(EngineError::Running),
            EngineState::NoDebuggee => Err(EngineError::NoDebuggee),
        }
    }
}
