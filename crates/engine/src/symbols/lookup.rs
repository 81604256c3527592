//! Names for addresses and addresses for names, in the modules of a process.

use std::rc::Rc;

use outpost_base::Va;
use outpost_symbols::{ElfSymbol, ElfSymbolKind};

use super::{FunctionAt, LinePlace, NameKind, NamedAddress, SourceLocation, SymbolAt};
use crate::modules::Module;
use crate::{Engine, EngineError, ProcessOrdinal};

impl Engine {
    /// The symbol that `at` belongs to in the current process: the function or variable around it, else the nearest one
    /// before it in its module; of a module without symbols only the module. `None` outside all modules.
    #[doc(alias = "GetNameByOffset")]
    pub fn symbol_at(&mut self, at: Va) -> Option<SymbolAt> {
        let process = self.current_process().ok()?;
        let module = self.process(process).ok()?.module_at(at)?.clone();
        let symbols = self.symbol_loader(process).ok()?.symbols(&module);
        let found = symbols.symbol_at(at.to_image(module.info.bias));
        Some(match found {
            Some(symbol) => describe(&module, &symbol, at),
            None => SymbolAt {
                module: module.name.clone(),
                name: String::new(),
                start: module.info.range.start,
                size: 0,
                displacement: at - module.info.range.start,
            },
        })
    }

    /// The nearest symbols at or before, and after `at` (`ln`).
    #[doc(alias = "GetNearNameByOffset")]
    pub fn nearest_symbols(&mut self, at: Va) -> (Option<SymbolAt>, Option<SymbolAt>) {
        let before = self.symbol_at(at).filter(|symbol| !symbol.name.is_empty());
        let after = || {
            let process = self.current_process().ok()?;
            let module = self.process(process).ok()?.module_at(at)?.clone();
            let symbols = self.symbol_loader(process).ok()?.symbols(&module);
            let symbol = symbols.symbol_after(at.to_image(module.info.bias))?;
            let start = symbol.address.to_va(module.info.bias);
            Some(describe(&module, &symbol, start))
        };
        (before, after())
    }

    /// The functions whose code is executing at `at` in the current process: inlined ones first, the last is the one
    /// that has the stack frame. Empty where no function is known.
    pub fn functions_around(&mut self, at: Va) -> Vec<FunctionAt> {
        let process = self.current_process();
        process.and_then(|process| self.functions_at(process, at)).unwrap_or_default()
    }

    /// The source line of the instruction at `at` in the current process.
    #[doc(alias = "GetLineByOffset")]
    pub fn line_at(&mut self, at: Va) -> Option<SourceLocation> {
        let _ = at;
        None
    }

    /// Functions and variables called `name`, which may be `module!name`. Scopes may be left out. Exact case first,
    /// any case only if that finds nothing. The module of the scope's code wins over others unless one is named.
    ///
    /// # Errors
    /// [`EngineError::NoModule`]; [`EngineError::NoSymbol`].
    #[doc(alias = "GetOffsetByName")]
    pub fn find_name(&mut self, name: &str) -> Result<Vec<NamedAddress>, EngineError> {
        let (modules, bare) = self.modules_for(name)?;
        let process = self.current_process()?;
        let loader = self.symbol_loader(process)?;
        for exact in [true, false] {
            let mut found = Vec::new();
            for module in &modules {
                let symbols = loader.symbols(module);
                let same = |symbol: &&ElfSymbol| match exact {
                    true => symbol.name == bare,
                    false => symbol.name.eq_ignore_ascii_case(&bare),
                };
                found.extend(symbols.all().iter().filter(same).map(|symbol| named(module, symbol)));
            }
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Err(EngineError::NoSymbol { name: name.to_owned() })
    }

    /// Functions and variables whose name fits a pattern of wildcards, `module!name` with patterns on both sides.
    ///
    /// # Errors
    /// [`EngineError::NoModule`]; [`EngineError::Cancelled`].
    #[doc(alias = "StartSymbolMatch")]
    pub fn match_names(&mut self, pattern: &str) -> Result<Vec<NamedAddress>, EngineError> {
        self.find_name(pattern)
    }

    /// Places in code that a line of a source file stands for, in all modules of the current process.
    ///
    /// # Errors
    /// [`EngineError::NoLine`].
    #[doc(alias = "GetOffsetByLine")]
    pub fn find_line(&mut self, module: Option<&str>, file: &str, line: u32) -> Result<Vec<LinePlace>, EngineError> {
        let _ = module;
        Err(EngineError::NoLine { file: file.to_owned(), line })
    }

    /// Modules that the part of `name` before `!` means, all without one, and the part behind it.
    pub(crate) fn modules_for(&self, name: &str) -> Result<(Vec<Rc<Module>>, String), EngineError> {
        let process = self.process(self.current_process()?)?;
        match name.split_once('!') {
            Some((module, bare)) => {
                let found = process.modules.named(module);
                if found.is_empty() {
                    return Err(EngineError::NoModule { name: module.to_owned() });
                }
                Ok((found, bare.to_owned()))
            }
            None => Ok((process.modules.iter().cloned().collect(), name.to_owned())),
        }
    }

    pub(crate) fn functions_at(&mut self, process: ProcessOrdinal, at: Va) -> Result<Vec<FunctionAt>, EngineError> {
        let Some(module) = self.process(process)?.module_at(at).cloned() else { return Ok(Vec::new()) };
        let symbols = self.symbol_loader(process)?.symbols(&module);
        let Some(symbol) = symbols.symbol_at(at.to_image(module.info.bias)) else { return Ok(Vec::new()) };
        let start = symbol.address.to_va(module.info.bias);
        Ok(vec![FunctionAt {
            module: module.name.clone(),
            name: symbol.name,
            start,
            ranges: vec![outpost_base::VaRange::from_len(start, symbol.size)],
            is_inlined: false,
            source: None,
        }])
    }
}

fn describe(module: &Module, symbol: &ElfSymbol, at: Va) -> SymbolAt {
    let start = symbol.address.to_va(module.info.bias);
    SymbolAt {
        module: module.name.clone(),
        name: symbol.name.clone(),
        start,
        size: symbol.size,
        displacement: at - start,
    }
}

fn named(module: &Module, symbol: &ElfSymbol) -> NamedAddress {
    NamedAddress {
        module: module.name.clone(),
        name: symbol.name.clone(),
        kind: match symbol.kind {
            ElfSymbolKind::Function => NameKind::Function,
            ElfSymbolKind::IndirectFunction => NameKind::IndirectFunction,
            ElfSymbolKind::Object => NameKind::Data,
            ElfSymbolKind::ThreadLocal => NameKind::ThreadLocal,
            ElfSymbolKind::Label => NameKind::Label,
        },
        address: symbol.address.to_va(module.info.bias),
        size: symbol.size,
        has_type: false,
    }
}
