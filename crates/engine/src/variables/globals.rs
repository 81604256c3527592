//! Variables with one place for the process or for each thread, functions and constants: by name, with their types.

use std::rc::Rc;
use std::sync::Arc;

use outpost_base::{LoadBias, MemoryReader, RegisterValue, Va};
use outpost_symbols::{CallerFrame, CaseRule, FrameContext, SymbolKind, TypeTable, Value, Variables};

use super::tls::TlsSearch;
use crate::modules::Module;
use crate::symbols::{ModuleSymbols, SymbolLoader};
use crate::{Engine, EngineError, NamedAddress, ProcessMemory};

/// A context that has no frame but knows where a thread's variables are.
struct GlobalContext {
    memory: ProcessMemory,
    /// Whose variable it is.
    module: Rc<Module>,
    /// Modules of the process.
    modules: Vec<Rc<Module>>,
    loader: SymbolLoader,
    /// Of the current thread, if there is one.
    thread_pointer: Option<Va>,
    /// Whether it was asked where a thread's variables are.
    is_per_thread: bool,
}

/// What a name that is no local's stands for.
pub(crate) struct Global {
    pub(crate) value: Value,
    /// It is the current thread's; other threads have others.
    pub(crate) is_per_thread: bool,
}

impl Engine {
    /// The variable, function or constant called `name` (`module!name`), with its type: a function is a value of
    /// function type at its entry. Of several that tie, that of the scope's module; `None` if debug info knows none.
    ///
    /// # Errors
    /// [`EngineError::NoModule`]; [`EngineError::NoDebuggee`]; [`EngineError::Cancelled`].
    pub fn global(&mut self, name: &str) -> Result<Option<Value>, EngineError> {
        Ok(self.find_global(name)?.map(|found| found.value))
    }

    /// As [`Engine::global`], with whether each thread has its own.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn find_global(&mut self, name: &str) -> Result<Option<Global>, EngineError> {
        let (modules, bare) = self.modules_for(name)?;
        let loader = self.symbol_loader(self.current_process()?)?;
        for &case in self.case_rules() {
            for module in &modules {
                let symbols = loader.prepared(module)?;
                let found = self.global_in(module, &symbols, &bare, case);
                if found.is_some() {
                    return Ok(found);
                }
            }
            // `long` is no enumerator `LONG` of some library.
            if !TypeTable::builtin().named(&bare).is_empty() {
                break;
            }
            // What has this very name is meant, whatever it is, rather than a variable whose name differs in case.
            for module in &modules {
                let symbols = loader.prepared(module)?;
                let Some(known) = symbols.module() else { continue };
                let is_exact = !known.types_named(&bare, CaseRule::Exact).is_empty()
                    || !known.symbols_named(&bare, CaseRule::Exact).is_empty();
                if is_exact {
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    /// The value of something that [`Engine::find_name`] or [`Engine::match_names`] found, with its type; `None` if debug
    /// info does not describe it.
    pub fn typed_value(&mut self, name: &NamedAddress) -> Option<Value> {
        let die = name.die?;
        let module = self.process(self.current_process().ok()?).ok()?.modules.named(&name.module).first()?.clone();
        let symbols = self.symbol_loader(self.current_process().ok()?).ok()?.symbols(&module);
        let variables = symbols.variables()?;
        match name.kind {
            SymbolKind::Function | SymbolKind::IndirectFunction => variables.function_value(die, name.address),
            _ => self.static_value(&module, &variables, die).map(|found| found.value),
        }
    }

    fn global_in(
        &mut self,
        module: &Rc<Module>,
        symbols: &ModuleSymbols,
        name: &str,
        case: CaseRule,
    ) -> Option<Global> {
        let (known, variables) = (symbols.module()?, symbols.variables()?);
        for die in known.variables_named(name, case) {
            let found = self.static_value(module, &variables, die);
            // A declaration says no more than that there is a definition elsewhere.
            if let Some(found) = found.filter(|found| found.value.missing().is_none()) {
                return Some(found);
            }
        }
        let functions = known.symbols_named(name, case);
        let functions = functions.into_iter().filter(|symbol| symbol.kind == SymbolKind::Function);
        for symbol in functions {
            let entry = symbol.address.to_va(module.info.bias);
            if let Some(value) = symbol.die.and_then(|die| variables.function_value(die, entry)) {
                return Some(Global { value, is_per_thread: false });
            }
        }
        let value = known.enumerators_named(name, case).into_iter().find_map(|die| variables.enumerator_value(die));
        let value = value.or_else(|| {
            // `ns::Colour::Red` of an enumeration that is no `enum class`: the name in debug info is `ns::Red`.
            let (of, own) = name.rsplit_once("::")?;
            let (around, of) = of.rsplit_once("::").map_or(("", of), |(around, of)| (around, of));
            let bare = if around.is_empty() { own.to_owned() } else { format!("{around}::{own}") };
            let named = known.enumerators_named(&bare, case).into_iter();
            let mut values = named.filter_map(|die| variables.enumerator_value(die));
            values.find(|value| value.value_type().data().name.as_deref() == Some(of))
        });
        value.map(|value| Global { value, is_per_thread: false })
    }

    fn static_value(
        &mut self,
        module: &Rc<Module>,
        variables: &Arc<Variables>,
        die: outpost_symbols::DieRef,
    ) -> Option<Global> {
        let variable = variables.variable(die)?;
        let memory = self.memory().ok()?;
        let process = self.current_process().ok()?;
        let thread_pointer = self.current_thread().ok().and_then(|thread| self.thread_pointer(thread));
        let modules = self.process(process).ok()?.modules.iter().cloned().collect();
        let loader = self.symbol_loader(process).ok()?;
        let mut context =
            GlobalContext { memory, module: module.clone(), modules, loader, thread_pointer, is_per_thread: false };
        let value = variables.value(&variable, &mut context);
        Some(Global { value, is_per_thread: context.is_per_thread })
    }
}

impl FrameContext for GlobalContext {
    fn memory(&mut self) -> &mut dyn MemoryReader {
        &mut self.memory
    }

    fn load_bias(&self) -> LoadBias {
        self.module.info.bias
    }

    fn pc(&self) -> Option<Va> {
        None
    }

    fn lookup_address(&self) -> Option<Va> {
        None
    }

    fn register(&mut self, _: u16) -> Option<RegisterValue> {
        None
    }

    fn cfa(&mut self) -> Option<Va> {
        None
    }

    fn thread_local(&mut self, offset: u64) -> Option<Va> {
        self.is_per_thread = true;
        let (memory, thread_pointer) = (self.memory.clone(), self.thread_pointer?);
        let (loader, modules) = (&self.loader, &self.modules[..]);
        TlsSearch { loader, memory, modules, thread_pointer }.address(&self.module, offset)
    }

    fn caller(&mut self) -> Option<CallerFrame<'_>> {
        None
    }
}
