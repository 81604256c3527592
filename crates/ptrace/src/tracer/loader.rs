//! Modules that come and go, seen through the dynamic loader's own breakpoint function (`r_debug.r_brk`).
//!
//! A program that is just beginning has no `r_debug` yet: the first look is taken when it arrives at its entry point,
//! by which time the loader has mapped everything the program names.

use outpost_base::{ProcessId, ThreadId, Va};
use outpost_target::link_map::LinkMap;
use outpost_target::{ModuleInfo, StopReason};

use super::Tracer;
use crate::breakpoints::Owner;
use crate::modules;

/// auxv: where the loader is; none in a static program.
const AT_BASE: u64 = 7;
/// auxv: the program's entry point.
const AT_ENTRY: u64 = 9;

impl Tracer {
    /// Reads a process's modules and keeps the list.
    pub(crate) fn read_modules(&mut self, process: ProcessId) -> LinkMap {
        let Some(known) = self.processes.get_mut(&process) else { return LinkMap::default() };
        let Some(space) = self.spaces.get(&known.space) else { return LinkMap::default() };
        let map = modules::read_modules(&space.memory);
        // Lists in the middle of a change are not told; the loader's next call tells when they are done.
        if map.loader.is_none_or(|loader| loader.is_consistent) && !same_modules(&known.modules, &map.modules) {
            known.modules.clone_from(&map.modules);
            self.modules_changed.insert(process);
        }
        map
    }

    /// Watches a process whose loader has done its first work.
    pub(crate) fn watch_loader(&mut self, process: ProcessId) {
        let Some(space) = self.processes.get(&process).map(|known| known.space) else { return };
        let at = self.read_modules(process).loader.map(|loader| loader.r_brk).filter(|at| *at != Va(0));
        if let Some(at) = at {
            // Without it, modules are still found at each stop.
            drop(self.add_owner(space, at, Owner::Loader));
        }
    }

    /// Watches a process that stands before its first instruction.
    pub(crate) fn watch_loader_from_start(&mut self, process: ProcessId) {
        let Some(space) = self.processes.get(&process).map(|known| known.space) else { return };
        self.read_modules(process);
        if let Some(entry) = entry_point(process) {
            drop(self.add_owner(space, entry, Owner::Loader));
        }
    }

    /// A thread came to the loader's function, or to the entry point.
    pub(crate) fn loader_hit(&mut self, tid: ThreadId) {
        let Some((process, at)) = self.loader_place(tid) else { return self.settle(tid) };
        if entry_point(process) == Some(at) {
            if let Some(space) = self.space_id_of(tid) {
                self.remove_owner(space, at, Owner::Loader);
            }
            self.watch_loader(process);
        } else {
            self.read_modules(process);
        }
        if !self.modules_changed.contains(&process) {
            return self.settle(tid);
        }
        if self.rules.events.modules {
            return self.report(tid, StopReason::ModulesChanged);
        }
        self.notice(tid, StopReason::ModulesChanged);
        self.settle(tid);
    }

    fn loader_place(&mut self, tid: ThreadId) -> Option<(ProcessId, Va)> {
        let at = Va(self.registers(tid)?.pc());
        Some((self.threads.get(&tid)?.process, at))
    }
}

/// Entry point of a program that has a loader.
fn entry_point(process: ProcessId) -> Option<Va> {
    let auxv = modules::read_auxv(process);
    let value = |kind| auxv.iter().find(|(tag, _)| *tag == kind).map(|(_, value)| *value).filter(|value| *value != 0);
    value(AT_BASE)?;
    value(AT_ENTRY).map(Va)
}

fn same_modules(one: &[ModuleInfo], other: &[ModuleInfo]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| one.range == other.range && one.path == other.path)
}
