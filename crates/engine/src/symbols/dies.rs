//! Debug info as it stands: DIEs of variables, functions and types, for `!diesym` and its like.

use std::rc::Rc;

use outpost_base::Va;
use outpost_symbols::{DieRef, DieSection, DieText};

use crate::modules::Module;
use crate::symbols::ModuleSymbols;
use crate::{Engine, EngineError};

/// DIEs that are told at once.
const LIMIT: usize = 4096;

/// DIEs of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dies {
    /// The module's name.
    pub module: String,
    /// They, in the order of the debug info.
    pub dies: Vec<DieText>,
    /// Whether there are more than are told.
    pub is_cut: bool,
}

/// Which DIE is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiePlace {
    /// A local variable of the scope, the innermost of that name.
    Local(String),
    /// A function, variable or type of this name, `module!name` or without module.
    Name(String),
    /// The function whose code is there, or the variable that is there.
    Address(Va),
    /// An offset in `.debug_info`, or in `.debug_types`.
    Offset {
        /// Module by its name.
        module: String,
        /// Bytes from the section's beginning.
        offset: u64,
        /// It is in `.debug_types`.
        in_types: bool,
    },
}

impl Engine {
    /// A DIE and those below it, `levels` levels in all.
    ///
    /// # Errors
    /// [`EngineError::NoSymbol`], [`EngineError::NoModule`], or [`EngineError::Invalid`] where the debug info has none.
    pub fn dies(&mut self, place: &DiePlace, levels: u32) -> Result<Dies, EngineError> {
        let (module, symbols, die) = self.die_of(place)?;
        let info = symbols.module().and_then(|known| known.debug_info()).ok_or_else(|| none(place))?;
        let mut dies = info.die_texts(die, levels.max(1), LIMIT + 1).ok_or_else(|| none(place))?;
        let is_cut = dies.len() > LIMIT;
        dies.truncate(LIMIT);
        Ok(Dies { module: module.name.clone(), dies, is_cut })
    }

    /// A DIE and those that it lies in, outwards, `levels` of them.
    ///
    /// # Errors
    /// As [`Engine::dies`].
    pub fn die_ancestry(&mut self, place: &DiePlace, levels: u32) -> Result<Dies, EngineError> {
        let (module, symbols, die) = self.die_of(place)?;
        let info = symbols.module().and_then(|known| known.debug_info()).ok_or_else(|| none(place))?;
        let outer = info.die_ancestors(die).ok_or_else(|| none(place))?;
        let all = std::iter::once(die).chain(outer).take(levels.max(1) as usize);
        let texts = all.zip(0..).filter_map(|(at, depth)| Some(DieText { depth, ..info.die_texts(at, 1, 1)?.pop()? }));
        Ok(Dies { module: module.name.clone(), dies: texts.collect(), is_cut: false })
    }

    fn die_of(&mut self, place: &DiePlace) -> Result<(Rc<Module>, Rc<ModuleSymbols>, DieRef), EngineError> {
        let loader = self.symbol_loader(self.current_process()?)?;
        match place {
            DiePlace::Local(name) => {
                let at = self.scope_frame()?.lookup_address;
                let module = self.process(self.current_process()?)?.module_at(at).cloned();
                let module = module.ok_or_else(|| none(place))?;
                let symbols = loader.prepared(&module)?;
                let found = self.scope_variables()?.into_iter().find(|known| known.name == *name && !known.shadowed);
                let die = found.ok_or_else(|| EngineError::NoSymbol { name: name.clone() })?.die;
                Ok((module, symbols, die))
            }
            DiePlace::Name(name) => {
                let (modules, bare) = self.modules_for(name)?;
                for &case in self.case_rules() {
                    for module in &modules {
                        let symbols = loader.prepared(module)?;
                        let Some(known) = symbols.module() else { continue };
                        let named = known.symbols_named(&bare, case).into_iter().find_map(|symbol| symbol.die);
                        let named = named.or_else(|| known.types_named(&bare, case).first().copied());
                        if let Some(die) = named.or_else(|| known.enumerators_named(&bare, case).first().copied()) {
                            return Ok((module.clone(), symbols, die));
                        }
                    }
                }
                Err(EngineError::NoSymbol { name: name.clone() })
            }
            DiePlace::Address(at) => {
                let module = self.process(self.current_process()?)?.module_at(*at).cloned();
                let module = module.ok_or_else(|| none(place))?;
                let symbols = loader.prepared(&module)?;
                let image = at.to_image(module.info.bias);
                let by_code = symbols.variables().and_then(|variables| variables.function_at(image));
                let by_symbol = || symbols.module()?.symbol_at(image)?.symbol.die;
                let die = by_code.or_else(by_symbol).ok_or_else(|| none(place))?;
                Ok((module, symbols, die))
            }
            DiePlace::Offset { module, offset, in_types } => {
                let missing = || EngineError::NoModule { name: module.clone() };
                let module = self.process(self.current_process()?)?.modules.named(module).first().cloned();
                let module = module.ok_or_else(missing)?;
                let symbols = loader.prepared(&module)?;
                let info = symbols.module().and_then(|known| known.debug_info()).ok_or_else(|| none(place))?;
                let die = info.die_at_offset(*offset, *in_types).ok_or_else(|| none(place))?;
                Ok((module, symbols, die))
            }
        }
    }
}

fn none(place: &DiePlace) -> EngineError {
    let reason = match place {
        DiePlace::Local(name) | DiePlace::Name(name) => format!("the debug info has no entry of '{name}'"),
        DiePlace::Address(at) => format!("no debug info describes what is at {at}"),
        DiePlace::Offset { module, offset, .. } => format!("the debug info of {module} has no entry at {offset:#x}"),
    };
    EngineError::Invalid { reason }
}

/// How the section of a DIE is called, if it is not `.debug_info`.
pub fn die_section(section: DieSection) -> Option<&'static str> {
    match section {
        DieSection::Info => None,
        DieSection::Types => Some(".debug_types"),
        DieSection::Alt => Some("the shared file"),
        DieSection::Split => Some("split debug info"),
    }
}
