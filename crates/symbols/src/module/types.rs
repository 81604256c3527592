//! Types and variables of a module, found through its index.

use std::sync::Arc;

use outpost_base::ImageOffset;

use super::Module;
use crate::index::{EntryKind, Index, NameHit};
use crate::types::dwarf::type_id;
use crate::variables::FunctionLookup;
use crate::{CaseRule, DieRef, DwarfTypes, Type, TypeNames, TypeTable, Variable, Variables};

impl Module {
    /// The variables of the module, and with them its types; `None` without DWARF.
    pub fn variables(&self) -> Option<&Arc<Variables>> {
        let variables = self.variables.get_or_init(|| {
            let info = self.load_debug_info()?;
            let index = IndexNames { index: self.index().clone() };
            let types = TypeTable::new(Box::new(DwarfTypes::new(info.clone(), Box::new(index.clone()))));
            Some(Arc::new(Variables::with_functions(info.clone(), types, Box::new(index))))
        });
        variables.as_ref()
    }

    /// The types of the module; `None` without DWARF.
    pub fn types(&self) -> Option<&Arc<TypeTable>> {
        self.variables().map(|variables| variables.types())
    }

    /// The type that a DIE describes ([`Module::types_named`]).
    pub fn type_of(&self, die: DieRef) -> Option<Type> {
        Some(self.types()?.get(type_id(die)))
    }

    /// The variable that a DIE describes ([`Module::variables_named`]).
    pub fn variable_of(&self, die: DieRef) -> Option<Variable> {
        self.variables()?.variable(die)
    }
}

/// The index as what types and variables ask. A clone shares it.
#[derive(Clone)]
struct IndexNames {
    index: Index,
}

impl TypeNames for IndexNames {
    fn types_named(&self, qualified: &str) -> Vec<DieRef> {
        let found = self.index.find(qualified, CaseRule::Exact).into_iter().filter_map(|(hit, unmatched)| match hit {
            NameHit::Entry(id) if unmatched == 0 => self.index.entry(id),
            NameHit::Entry(_) | NameHit::Symbol(_) => None,
        });
        found
            .filter(|entry| matches!(entry.kind, EntryKind::Type | EntryKind::LeafType))
            .map(|entry| entry.die)
            .collect()
    }

    fn scope_of(&self, die: DieRef) -> Option<String> {
        self.index.scope_of(die)
    }
}

impl FunctionLookup for IndexNames {
    fn function_at(&self, at: ImageOffset) -> Option<DieRef> {
        Some(self.index.entry(self.index.function_at(at)?.0)?.die)
    }

    fn function_named(&self, name: &str) -> Option<DieRef> {
        let whole = self.index.find(name, CaseRule::Exact).into_iter().filter(|(_, unmatched)| *unmatched == 0);
        let (mut by_symbol, mut by_entry) = (Vec::new(), Vec::new());
        for (hit, _) in whole {
            match hit {
                NameHit::Entry(id) => {
                    let function = self.index.entry(id).filter(|entry| entry.kind == EntryKind::Function);
                    by_entry.extend(function.filter(|entry| entry.has_code).map(|entry| entry.die));
                }
                NameHit::Symbol(id) => {
                    let symbol = self.index.symbol(id);
                    by_symbol.extend(symbol.and_then(|symbol| self.function_at(ImageOffset(symbol.address))));
                }
            }
        }
        // Parts and clones of a function have its name in the debug info, and names of their own among the symbols.
        let only = |mut dies: Vec<DieRef>| {
            dies.sort_unstable();
            dies.dedup();
            <[DieRef; 1]>::try_from(dies).ok().map(|[die]| die)
        };
        only(by_symbol).or_else(|| only(by_entry))
    }
}
