//! What came with a stop, as long as the target stands still.
//!
//! | what happened | still are |
//! | --- | --- |
//! | nothing yet | all processes (there is none) |
//! | a plan was sent | none |
//! | a stop, by the plan's scope | all; those of its process; none |
//! | attached with a stop, while all were still | all |
//! | attached with a stop, while something ran | those of that process |
//! | attached without a stop | all but that one, if they were |
//!
//! Lists and registers are kept only of processes that stand still. Writing voids what it may have changed.

use std::collections::{HashMap, HashSet};

use outpost_base::{AddressSpaceId, ProcessId, RegisterContext, ThreadId};
use outpost_target::{ModuleInfo, ProcessInfo, ReadRequest, Region, RegisterSets, StopBundle, StopScope, ThreadInfo};

/// Which processes stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Still {
    All,
    Only(ProcessId),
    Nothing,
}

/// Everything known without asking.
#[derive(Debug)]
pub(crate) struct Cache {
    still: Still,
    /// Processes that move although the others stand: looked at without being stopped.
    moving: HashSet<ProcessId>,
    /// How far the stop of the plan under way will reach.
    scope: StopScope,
    pub(crate) stop: Option<StopBundle>,
    processes: Option<Vec<ProcessInfo>>,
    threads: HashMap<ProcessId, Vec<ThreadInfo>>,
    modules: HashMap<ProcessId, Vec<ModuleInfo>>,
    regions: HashMap<ProcessId, Vec<Region>>,
    registers: HashMap<ThreadId, RegisterContext>,
    /// Process of each thread that the lists have named.
    process_of: HashMap<ThreadId, ProcessId>,
    /// The memory that came with the stop is as it was.
    memory_holds: bool,
}

impl Cache {
    pub(crate) fn new(stop: Option<StopBundle>) -> Cache {
        let mut cache = Cache {
            still: Still::All,
            moving: HashSet::new(),
            scope: StopScope::System,
            stop: None,
            processes: None,
            threads: HashMap::new(),
            modules: HashMap::new(),
            regions: HashMap::new(),
            registers: HashMap::new(),
            process_of: HashMap::new(),
            memory_holds: false,
        };
        if let Some(stop) = stop {
            cache.take_stop(stop);
        }
        cache
    }

    /// The target runs.
    pub(crate) fn resumed(&mut self, scope: StopScope) {
        self.scope = scope;
        self.still = Still::Nothing;
        self.forget();
    }

    /// Lists, registers and memory are void: something was changed that they may show.
    pub(crate) fn forget(&mut self) {
        self.processes = None;
        self.threads.clear();
        self.modules.clear();
        self.regions.clear();
        self.registers.clear();
        self.memory_holds = false;
    }

    /// A stop that answers the plan.
    pub(crate) fn stopped(&mut self, stop: &StopBundle) {
        self.still = match self.scope {
            StopScope::System => Still::All,
            StopScope::Process => Still::Only(stop.stop.process),
            StopScope::Thread => Still::Nothing,
        };
        self.forget();
        self.take_stop(stop.clone());
    }

    /// A process joined.
    pub(crate) fn joined(&mut self, process: ProcessId, stop: Option<&StopBundle>) {
        self.forget();
        match stop {
            Some(stop) => {
                if self.still != Still::All {
                    self.still = Still::Only(process);
                }
                self.moving.remove(&process);
                self.take_stop(stop.clone());
            }
            None => {
                self.moving.insert(process);
            }
        }
    }

    /// A process left.
    pub(crate) fn left(&mut self, process: ProcessId) {
        self.moving.remove(&process);
        self.forget();
    }

    fn take_stop(&mut self, stop: StopBundle) {
        self.memory_holds = true;
        if stop.threads.is_some() {
            self.process_of.clear();
        }
        for thread in stop.threads.iter().flatten() {
            self.process_of.insert(thread.id, thread.process);
            if self.is_still(thread.process) {
                self.threads.entry(thread.process).or_default().push(thread.clone());
            }
        }
        for (process, modules) in stop.modules.iter().flatten() {
            self.put_modules(*process, modules);
        }
        // Registers that came with a stop are those of stopped threads, whatever else runs.
        self.registers.extend(stop.registers.iter().cloned());
        self.stop = Some(stop);
    }

    fn is_still(&self, process: ProcessId) -> bool {
        match self.still {
            Still::All => !self.moving.contains(&process),
            Still::Only(only) => only == process,
            Still::Nothing => false,
        }
    }

    fn is_all_still(&self) -> bool {
        self.still == Still::All && self.moving.is_empty()
    }

    pub(crate) fn processes(&self) -> Option<&Vec<ProcessInfo>> {
        self.processes.as_ref()
    }

    pub(crate) fn put_processes(&mut self, processes: &[ProcessInfo]) {
        if self.is_all_still() {
            self.processes = Some(processes.to_vec());
        }
    }

    pub(crate) fn threads(&self, process: ProcessId) -> Option<&Vec<ThreadInfo>> {
        self.threads.get(&process)
    }

    pub(crate) fn put_threads(&mut self, process: ProcessId, threads: &[ThreadInfo]) {
        self.process_of.extend(threads.iter().map(|thread| (thread.id, thread.process)));
        if self.is_still(process) {
            self.threads.insert(process, threads.to_vec());
        }
    }

    pub(crate) fn modules(&self, process: ProcessId) -> Option<&Vec<ModuleInfo>> {
        self.modules.get(&process)
    }

    pub(crate) fn put_modules(&mut self, process: ProcessId, modules: &[ModuleInfo]) {
        if self.is_still(process) {
            self.modules.insert(process, modules.to_vec());
        }
    }

    pub(crate) fn regions(&self, process: ProcessId) -> Option<&Vec<Region>> {
        self.regions.get(&process)
    }

    pub(crate) fn put_regions(&mut self, process: ProcessId, regions: &[Region]) {
        if self.is_still(process) {
            self.regions.insert(process, regions.to_vec());
        }
    }

    /// The registers of a thread, if the blocks asked for are known.
    pub(crate) fn registers(&self, thread: ThreadId, sets: RegisterSets) -> Option<&RegisterContext> {
        let has = |context: &&RegisterContext| {
            (!sets.floating || !context.floating.is_empty()) && (!sets.debug || !context.debug.is_empty())
        };
        self.registers.get(&thread).filter(has)
    }

    pub(crate) fn put_registers(&mut self, thread: ThreadId, context: &RegisterContext) {
        if self.process_of.get(&thread).is_some_and(|&process| self.is_still(process)) {
            self.registers.insert(thread, context.clone());
        }
    }

    /// A thread's registers were written.
    pub(crate) fn forget_registers(&mut self, thread: ThreadId) {
        self.registers.remove(&thread);
    }

    /// Suspend counts were changed.
    pub(crate) fn forget_threads(&mut self) {
        self.threads.clear();
    }

    /// Memory was written: module lists are read from memory, too.
    pub(crate) fn forget_memory(&mut self) {
        self.memory_holds = false;
        self.modules.clear();
    }

    /// A range that lies wholly within memory that came with the stop.
    pub(crate) fn memory(&self, space: AddressSpaceId, read: &ReadRequest) -> Option<&[u8]> {
        let stop = self.stop.as_ref().filter(|_| self.memory_holds)?;
        let len = usize::try_from(read.len).ok()?;
        stop.memory.iter().filter(|block| block.space == space).find_map(|block| {
            let offset = usize::try_from(read.at.0.checked_sub(block.at.0)?).ok()?;
            block.bytes.get(offset..offset.checked_add(len)?)
        })
    }
}
