//! Symbol path and `.reload`.

use crate::{Engine, EngineError};

/// What `.reload` does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReloadOptions {
    /// Only this module; `None`: all.
    pub module: Option<String>,
    /// Look for symbols now, not when they are needed (`/f`).
    pub now: bool,
}

impl Engine {
    /// Where symbols are looked for: directories, `cache*`, `srv*` items, separated by `;`.
    #[doc(alias = "GetSymbolPath")]
    pub fn symbol_path(&self) -> String {
        self.symbols.path.borrow().clone()
    }

    /// Changes where symbols are looked for; nothing is looked for until it is needed.
    #[doc(alias = "SetSymbolPath")]
    pub fn set_symbol_path(&mut self, path: &str) {
        path.clone_into(&mut self.symbols.path.borrow_mut());
    }

    /// Discards symbols of the current process and, if asked, looks for them anew at once. The module list is read
    /// again, too.
    ///
    /// # Errors
    /// [`EngineError::NoModule`]; [`EngineError::Target`]; [`EngineError::Cancelled`].
    #[doc(alias = "Reload")]
    pub fn reload(&mut self, options: &ReloadOptions) -> Result<(), EngineError> {
        let ordinal = self.current_process()?;
        let (system, id) = (self.process(ordinal)?.system, self.process(ordinal)?.id());
        let modules = self.system(system)?.target.borrow_mut().modules(id)?;
        self.take_modules(system, id, modules);
        let chosen: Vec<_> = match &options.module {
            Some(name) => self.process(ordinal)?.modules.named(name),
            None => self.process(ordinal)?.modules.iter().cloned().collect(),
        };
        if let (Some(name), true) = (&options.module, chosen.is_empty()) {
            return Err(EngineError::NoModule { name: name.clone() });
        }
        for module in &chosen {
            self.symbols.forget(module.info.build_id.as_ref());
        }
        let names: Vec<String> = chosen.iter().map(|module| module.name.clone()).collect();
        self.process_mut(ordinal)?.modules.forget_symbols(|module| names.contains(&module.name));
        self.epoch += 1;
        self.reset_scope();
        if options.now {
            let loader = self.symbol_loader(ordinal)?;
            for name in names {
                self.check_interrupt()?;
                for module in self.process(ordinal)?.modules.named(&name) {
                    loader.symbols(&module);
                }
            }
        }
        self.resolve_deferred(ordinal);
        Ok(())
    }
}
