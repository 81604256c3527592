//! What the unwinder is told about a process's code.

use std::rc::Rc;

use outpost_base::{Va, VaRange};
use outpost_unwind::{UnwindModule, UnwindModules};

use crate::modules::Module;
use crate::symbols::SymbolLoader;

/// The modules of a process, sorted by address, with what loads their symbols.
pub(crate) struct ProcessCode {
    pub(crate) modules: Vec<Rc<Module>>,
    pub(crate) loader: SymbolLoader,
}

impl ProcessCode {
    fn find(&self, at: Va) -> Option<&Rc<Module>> {
        let next = self.modules.partition_point(|module| module.info.range.start <= at);
        self.modules[..next].iter().rev().take(8).find(|module| module.info.range.contains(at))
    }
}

impl UnwindModules for ProcessCode {
    fn module_at(&mut self, address: Va) -> Option<UnwindModule> {
        let module = self.find(address)?;
        let cfi = self.loader.symbols(module).cfi()?;
        Some(UnwindModule { range: module.info.range, bias: module.info.bias, cfi })
    }

    fn is_executable(&mut self, address: Va) -> bool {
        let Some(module) = self.find(address) else { return false };
        self.loader.symbols(module).is_code(address.to_image(module.info.bias))
    }

    fn function_at(&mut self, address: Va) -> Option<VaRange> {
        let module = self.find(address)?;
        let range = self.loader.symbols(module).function_range_at(address.to_image(module.info.bias))?;
        let bias = module.info.bias;
        Some(VaRange { start: range.start.to_va(bias), end: range.end.to_va(bias) })
    }
}
