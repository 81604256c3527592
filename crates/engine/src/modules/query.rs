//! What `lm` says of modules.

use outpost_base::Va;

use super::Module;
use crate::{Engine, EngineError, ModuleSummary, ProcessOrdinal, SymbolState};

impl Engine {
    /// Modules of a process, by address. Symbols are not looked for on account of it.
    ///
    /// # Errors
    /// [`EngineError::NoProcess`].
    #[doc(alias = "GetModuleByIndex")]
    pub fn modules(&self, process: ProcessOrdinal) -> Result<Vec<ModuleSummary>, EngineError> {
        Ok(self.process(process)?.modules.iter().map(|module| summary(module)).collect())
    }

    /// The module of the current process that covers `at`.
    #[doc(alias = "GetModuleByOffset")]
    pub fn module_at(&self, at: Va) -> Option<ModuleSummary> {
        let process = self.process(self.current_process().ok()?).ok()?;
        process.module_at(at).map(|module| summary(module))
    }

    /// Modules of the current process called `name`, which may be a module name, a file name or a path.
    ///
    /// # Errors
    /// [`EngineError::NoDebuggee`]; [`EngineError::NoModule`].
    #[doc(alias = "GetModuleByModuleName")]
    pub fn modules_named(&self, name: &str) -> Result<Vec<ModuleSummary>, EngineError> {
        let process = self.process(self.current_process()?)?;
        let found = process.modules.named(name);
        if found.is_empty() {
            return Err(EngineError::NoModule { name: name.to_owned() });
        }
        Ok(found.iter().map(|module| summary(module)).collect())
    }
}

fn summary(module: &Module) -> ModuleSummary {
    let symbols = module.symbols.get();
    ModuleSummary {
        name: module.name.clone(),
        range: module.info.range,
        bias: module.info.bias,
        path: module.info.path.clone(),
        build_id: module.info.build_id.clone(),
        status: symbols.map_or(SymbolState::Deferred, |symbols| symbols.state()),
        symbol_file: symbols.map(|symbols| symbols.file.clone()).unwrap_or_default(),
        problems: symbols.map(|symbols| symbols.problems()).unwrap_or_default(),
        is_main: module.info.is_main,
    }
}
