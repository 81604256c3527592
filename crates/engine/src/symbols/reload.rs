//! Symbol path and `.reload`.

use outpost_symbols::{FetchOptions, SearchReport, SymbolPath};

use super::SymbolProgress;
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
        self.symbols.path.borrow().to_string()
    }

    /// Changes where symbols are looked for; nothing is looked for until it is needed.
    #[doc(alias = "SetSymbolPath")]
    pub fn set_symbol_path(&mut self, path: &str) {
        *self.symbols.path.borrow_mut() = SymbolPath::parse(path);
    }

    /// Looks for symbols where they usually are: on this machine, then from the servers of the environment, or the public
    /// one. What is fetched is kept in `cache`; `None`: in the user's cache directory.
    pub fn set_usual_symbol_path(&mut self, cache: Option<std::path::PathBuf>) {
        *self.symbols.path.borrow_mut() = SymbolPath::usual(&FetchOptions::from_environment(), true, cache);
    }

    /// Where indexes of symbols are kept, by build-id; `None`: nowhere. By default the user's cache directory.
    pub fn set_symbol_cache(&mut self, directory: Option<std::path::PathBuf>) {
        *self.symbols.cache.borrow_mut() = directory;
    }

    /// Who is told how far long work on symbols is; comes from any thread, many times a second.
    pub fn set_symbol_progress(&mut self, progress: Option<SymbolProgress>) {
        *self.symbols.progress.borrow_mut() = progress;
    }

    /// How symbols of a module were looked for (`!sym noisy`, `lmv`); `None` if they were not yet, or not even its image
    /// was found.
    ///
    /// # Errors
    /// [`EngineError::NoModule`].
    pub fn symbol_search(&self, module: &str) -> Result<Option<SearchReport>, EngineError> {
        let found = self.process(self.current_process()?)?.modules.named(module);
        let module = found.first().ok_or_else(|| EngineError::NoModule { name: module.to_owned() })?;
        Ok(module.symbols.get().and_then(|symbols| symbols.report.clone()))
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
        // Who did not answer may do so now.
        self.symbols.client.borrow().forget();
        let names: Vec<String> = chosen.iter().map(|module| module.name.clone()).collect();
        self.process_mut(ordinal)?.modules.forget_symbols(|module| names.contains(&module.name));
        self.epoch += 1;
        self.reset_scope();
        if options.now {
            let loader = self.symbol_loader(ordinal)?;
            for name in names {
                self.check_interrupt()?;
                for module in self.process(ordinal)?.modules.named(&name) {
                    loader.prepared(&module)?;
                }
            }
        }
        self.resolve_deferred(ordinal);
        Ok(())
    }
}
