//! What the unwinder must be told about the code of a process.

use std::fmt;
use std::sync::Arc;

use outpost_base::{LoadBias, Va, VaRange};

use crate::ModuleCfi;

/// A module as the unwinder sees it. Cheap to clone.
#[derive(Clone)]
pub struct UnwindModule {
    /// What it covers, from the first to past the last mapped byte.
    pub range: VaRange,
    /// What loading added to the addresses in its call frame information.
    pub bias: LoadBias,
    /// Its call frame information; share one value among all loads of the same build.
    pub cfi: Arc<ModuleCfi>,
}

/// What code there is at an address. Implemented by whoever keeps the list of modules, which may load lazily.
pub trait UnwindModules {
    /// The module that covers `address`, if any.
    fn module_at(&mut self, address: Va) -> Option<UnwindModule>;

    /// Whether `address` may hold instructions. Better answers come from the memory map: code made at run time is in
    /// no module, and not all of a module is code.
    fn is_executable(&mut self, address: Va) -> bool {
        self.module_at(address).is_some()
    }

    /// Extent of the function around `address`, by symbols. Only asked for where call frame information is missing.
    fn function_at(&mut self, _address: Va) -> Option<VaRange> {
        None
    }
}

/// A plain list of modules, sorted by address.
#[derive(Clone, Default, Debug)]
pub struct ModuleList {
    modules: Vec<UnwindModule>,
}

impl ModuleList {
    /// A list of these modules, in any order; where two overlap, the one that starts later wins.
    pub fn new(mut modules: Vec<UnwindModule>) -> ModuleList {
        modules.sort_by_key(|module| module.range.start);
        ModuleList { modules }
    }
}

impl UnwindModules for ModuleList {
    fn module_at(&mut self, address: Va) -> Option<UnwindModule> {
        let after = self.modules.partition_point(|module| module.range.start <= address);
        self.modules[..after].iter().rev().find(|module| module.range.contains(address)).cloned()
    }
}

impl<T: UnwindModules + ?Sized> UnwindModules for &mut T {
    fn module_at(&mut self, address: Va) -> Option<UnwindModule> {
        (**self).module_at(address)
    }

    fn is_executable(&mut self, address: Va) -> bool {
        (**self).is_executable(address)
    }

    fn function_at(&mut self, address: Va) -> Option<VaRange> {
        (**self).function_at(address)
    }
}

impl fmt::Debug for UnwindModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnwindModule").field("range", &self.range).field("bias", &self.bias).finish_non_exhaustive()
    }
}
