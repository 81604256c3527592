//! A process of the session with its threads, modules and memory.

use std::rc::Rc;

use outpost_base::{ProcessId, ThreadId, Va};
use outpost_target::{ModuleInfo, ProcessInfo, Region, ThreadInfo};

use crate::modules::{Module, ModuleList, RegisteredCode};
use crate::run::UnwindPoints;
use crate::{ProcessMemory, ProcessOrdinal, SystemOrdinal, ThreadOrdinal};

/// A process of the session.
pub(crate) struct Process {
    pub(crate) ordinal: ProcessOrdinal,
    pub(crate) system: SystemOrdinal,
    pub(crate) info: ProcessInfo,
    pub(crate) threads: Vec<Thread>,
    pub(crate) modules: ModuleList,
    pub(crate) memory: ProcessMemory,
    /// Memory map of this stop, once it was asked for.
    pub(crate) regions: Option<Rc<[Region]>>,
    /// Where calls may end without returning, once a step needed to know; depends on the modules.
    pub(crate) unwind_points: Option<UnwindPoints>,
    /// It is a child that has not executed a program of its own yet, and so is a copy of its parent.
    pub(crate) is_copy: bool,
    /// A copy that shares its parent's memory (vfork), and so its breakpoints, until it executes a program.
    pub(crate) shares_with: Option<ProcessOrdinal>,
    /// Code that it makes at run time and tells of.
    pub(crate) registered: RegisteredCode,
    /// Its end was seen: nothing of it but its exit status is left.
    pub(crate) ended: bool,
}

/// A thread of the session.
pub(crate) struct Thread {
    pub(crate) ordinal: ThreadOrdinal,
    pub(crate) info: ThreadInfo,
    pub(crate) frozen: bool,
}

impl Process {
    pub(crate) fn id(&self) -> ProcessId {
        self.info.id
    }

    pub(crate) fn thread(&self, id: ThreadId) -> Option<&Thread> {
        self.threads.iter().find(|thread| thread.info.id == id)
    }

    /// The module that covers `at`.
    pub(crate) fn module_at(&self, at: Va) -> Option<&Rc<Module>> {
        self.modules.at(at)
    }

    /// The module that was last at `at`, where none is now.
    pub(crate) fn unloaded_module_at(&self, at: Va) -> Option<&Rc<Module>> {
        self.modules.unloaded_at(at)
    }

    /// Takes a new list of threads: ordinals stay with ids, new ones are drawn from `next`.
    pub(crate) fn set_threads(&mut self, infos: Vec<ThreadInfo>, next: &mut u32) {
        let mut old = std::mem::take(&mut self.threads);
        for info in infos {
            let known = old.iter().position(|thread| thread.info.id == info.id).map(|at| old.swap_remove(at));
            let thread = match known {
                Some(thread) => Thread { info, ..thread },
                None => {
                    let ordinal = ThreadOrdinal(*next);
                    *next += 1;
                    Thread { ordinal, info, frozen: false }
                }
            };
            self.threads.push(thread);
        }
        self.threads.sort_by_key(|thread| thread.ordinal);
    }

    /// Takes a new list of modules; gives what was loaded and unloaded.
    pub(crate) fn set_modules(&mut self, mut infos: Vec<ModuleInfo>) -> (Vec<Rc<Module>>, Vec<Rc<Module>>) {
        self.unwind_points = None;
        self.registered.modules_changed();
        infos.extend(self.registered.modules());
        self.modules.update(infos)
    }
}
