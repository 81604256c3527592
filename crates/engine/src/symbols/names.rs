//! Addresses for names and source lines.

use std::rc::Rc;

use outpost_base::Va;
use outpost_symbols::{CaseRule, Symbol, SymbolKind, Wildcard};

use super::{LinePlace, ModuleSymbols, NamedAddress};
use crate::modules::Module;
use crate::{Engine, EngineError};

/// Most matches of a pattern that are given.
const MAX_MATCHES: usize = 1 << 20;

impl Engine {
    /// Whether names of symbols and types are found in any case, where the exact one is not there (`SYMOPT_CASE_INSENSITIVE`).
    /// They are, unless it is changed.
    pub fn ignores_case(&self) -> bool {
        self.ignores_case
    }

    /// Changes that.
    #[doc(alias = "AddSymbolOptions")]
    pub fn set_ignores_case(&mut self, ignored: bool) {
        self.ignores_case = ignored;
    }

    /// How names are looked for, one rule after the other.
    pub(crate) fn case_rules(&self) -> &'static [CaseRule] {
        if self.ignores_case { &[CaseRule::Exact, CaseRule::Ignore] } else { &[CaseRule::Exact] }
    }

    /// A pattern for names of symbols and types.
    pub fn name_pattern(&self, pattern: &str) -> Wildcard {
        Wildcard::with_case(pattern, if self.ignores_case { CaseRule::Ignore } else { CaseRule::Exact })
    }

    /// Functions and variables called `name`, which may be `module!name`. Scopes and template arguments may be left out;
    /// what leaves out least wins. Exact case first, any case only if that finds nothing ([`Engine::ignores_case`]).
    ///
    /// # Errors
    /// [`EngineError::NoModule`]; [`EngineError::NoSymbol`]; [`EngineError::Cancelled`].
    #[doc(alias = "GetOffsetByName")]
    pub fn find_name(&mut self, name: &str) -> Result<Vec<NamedAddress>, EngineError> {
        let (modules, bare) = self.modules_for(name)?;
        let loader = self.symbol_loader(self.current_process()?)?;
        for &case in self.case_rules() {
            let mut found = Vec::new();
            for module in &modules {
                let symbols = loader.prepared(module)?;
                let Some(known) = symbols.module() else { continue };
                let hits = known.symbols_named(&bare, case);
                found.extend(hits.into_iter().map(|symbol| (module.clone(), symbols.clone(), symbol)));
            }
            // The definition counts, not the stubs of modules that call it.
            let has_definition = found.iter().any(|(_, _, symbol)| !is_stub(symbol));
            found.retain(|(_, _, symbol)| !has_definition || !is_stub(symbol));
            if !found.is_empty() {
                return Ok(found.iter().map(|(module, symbols, symbol)| self.named(module, symbols, symbol)).collect());
            }
        }
        Err(EngineError::NoSymbol { name: name.to_owned() })
    }

    /// Functions and variables whose name fits a pattern of wildcards, `module!name` with patterns on both sides, by
    /// module and address.
    ///
    /// # Errors
    /// [`EngineError::NoModule`] if no module fits; [`EngineError::Cancelled`].
    #[doc(alias = "StartSymbolMatch")]
    pub fn match_names(&mut self, pattern: &str) -> Result<Vec<NamedAddress>, EngineError> {
        let (modules, bare) = self.modules_for(pattern)?;
        let wildcard = self.name_pattern(&bare);
        let loader = self.symbol_loader(self.current_process()?)?;
        let mut found = Vec::new();
        for module in modules {
            self.check_interrupt()?;
            let symbols = loader.prepared(&module)?;
            let Some(known) = symbols.module() else { continue };
            for symbol in known.symbols_matching(&wildcard) {
                if found.len() >= MAX_MATCHES {
                    return Ok(found);
                }
                found.push(self.named(&module, &symbols, &symbol));
            }
        }
        Ok(found)
    }

    /// Places in code that a line of a source file stands for, in all modules of the current process or in one.
    ///
    /// `file` is a base name, the end of a path or a whole path. A line without code means the next one that has some.
    ///
    /// # Errors
    /// [`EngineError::NoLine`]; [`EngineError::NoModule`]; [`EngineError::Cancelled`].
    #[doc(alias = "GetOffsetByLine")]
    pub fn find_line(&mut self, module: Option<&str>, file: &str, line: u32) -> Result<Vec<LinePlace>, EngineError> {
        let process = self.current_process()?;
        let modules = match module {
            Some(name) => self.modules_called(name)?,
            None => self.process(process)?.modules.iter().cloned().collect(),
        };
        let loader = self.symbol_loader(process)?;
        let mut found = Vec::new();
        for module in modules {
            let symbols = loader.prepared(&module)?;
            for hit in symbols.module().into_iter().flat_map(|known| known.addresses_of_line(file, line)) {
                for address in hit.addresses {
                    found.push(LinePlace {
                        address: address.address.to_va(module.info.bias),
                        module: module.name.clone(),
                        function: address.function.unwrap_or_default(),
                        location: outpost_symbols::SourceLocation {
                            file: hit.file.clone(),
                            line: hit.line,
                            column: address.column,
                            is_statement: true,
                        },
                    });
                }
            }
        }
        // Where one file has the very line, others of the same name that only have a later one do not count.
        let has_line = found.iter().any(|place| place.location.line == line);
        found.retain(|place| !has_line || place.location.line == line);
        if found.is_empty() { Err(EngineError::NoLine { file: file.to_owned(), line }) } else { Ok(found) }
    }

    /// Source files of the current process's modules whose path ends in `name`; all with an empty name.
    ///
    /// # Errors
    /// [`EngineError::NoDebuggee`]; [`EngineError::Cancelled`].
    pub fn source_files(&mut self, name: &str) -> Result<Vec<String>, EngineError> {
        let process = self.current_process()?;
        let modules: Vec<_> = self.process(process)?.modules.iter().cloned().collect();
        let loader = self.symbol_loader(process)?;
        let mut found = Vec::new();
        for module in modules {
            found.extend(loader.prepared(&module)?.module().into_iter().flat_map(|known| known.source_files(name)));
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// Whether functions have this name, be they only inlined.
    pub fn names_code(&mut self, name: &str) -> bool {
        self.breakpoint_places(name).is_ok_and(|places| !places.is_empty())
    }

    /// Where functions called `name` begin for a breakpoint: behind their prologue where debug info tells, so that
    /// parameters have their values; inlined copies are places of their own.
    ///
    /// # Errors
    /// As [`Engine::find_name`].
    pub(crate) fn breakpoint_places(&mut self, name: &str) -> Result<Vec<Va>, EngineError> {
        let (modules, bare) = self.modules_for(name)?;
        let loader = self.symbol_loader(self.current_process()?)?;
        for &case in self.case_rules() {
            let mut found: Vec<(bool, Va)> = Vec::new();
            for module in &modules {
                let symbols = loader.prepared(module)?;
                for place in symbols.module().into_iter().flat_map(|known| known.code_locations(&bare, case)) {
                    let at = if place.die.is_some() { place.body } else { place.entry };
                    found.push((place.die.is_some(), at.to_va(module.info.bias)));
                }
            }
            if !found.is_empty() {
                // A function with debug info is meant rather than a stub or a label of the same name.
                let described = found.iter().any(|(described, _)| *described);
                let mut places: Vec<Va> =
                    found.into_iter().filter(|(is, _)| *is || !described).map(|(_, at)| at).collect();
                places.sort_unstable();
                places.dedup();
                return Ok(places);
            }
        }
        Err(EngineError::NoSymbol { name: name.to_owned() })
    }

    /// Modules that the part of `name` before `!` means, which may be a pattern, and the part behind it; all modules
    /// without one, that of the scope's code first.
    pub(crate) fn modules_for(&mut self, name: &str) -> Result<(Vec<Rc<Module>>, String), EngineError> {
        if let Some((module, bare)) = name.split_once('!') {
            return Ok((self.modules_called(module)?, bare.to_owned()));
        }
        let process = self.current_process()?;
        self.read_registered_code(process);
        let pc = self.scope_pc().unwrap_or_default();
        let known = self.process(process)?;
        let mut modules: Vec<_> = known.modules.iter().cloned().collect();
        modules.sort_by_key(|module| !module.info.range.contains(pc));
        Ok((modules, name.to_owned()))
    }

    fn modules_called(&self, name: &str) -> Result<Vec<Rc<Module>>, EngineError> {
        let known = self.process(self.current_process()?)?;
        let mut found = known.modules.named(name);
        if found.is_empty() && Wildcard::is_pattern(name) {
            let pattern = Wildcard::new(name);
            found = known.modules.iter().filter(|module| pattern.matches(&module.name)).cloned().collect();
        }
        if found.is_empty() { Err(EngineError::NoModule { name: name.to_owned() }) } else { Ok(found) }
    }

    fn named(&mut self, module: &Rc<Module>, symbols: &ModuleSymbols, symbol: &Symbol) -> NamedAddress {
        let bias = module.info.bias;
        let address = match symbol.kind {
            SymbolKind::ThreadLocal => self.thread_local_address(module, symbol.address.0).unwrap_or_default(),
            _ => symbol.address.to_va(bias),
        };
        let function = symbol.die.filter(|_| symbol.kind == SymbolKind::Function);
        let body =
            symbols.module().zip(function).and_then(|(known, die)| Some(known.body_of(&known.function_of(die)?)));
        NamedAddress {
            module: module.name.clone(),
            name: symbol.name.clone(),
            kind: symbol.kind,
            address,
            size: symbol.size,
            linkage_name: symbol.linkage_name.clone(),
            body: body.map(|body| body.to_va(bias)),
            die: symbol.die,
        }
    }
}

fn is_stub(symbol: &Symbol) -> bool {
    symbol.source == outpost_symbols::SymbolSource::Plt
}
