//! Places in code that a name stands for: what a breakpoint on a function needs.

use outpost_base::ImageOffset;

use super::{Module, SymbolKind};
use crate::index::{EntryKind, NameHit};
use crate::{CaseRule, DieRef, ImageRange};

/// A place where a function begins: its own code, or a copy inlined into another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodeLocation {
    /// Qualified name of the function.
    pub name: String,
    /// Its first instruction.
    pub entry: ImageOffset,
    /// Behind its prologue; equal to `entry` for inlined copies, which have none.
    pub body: ImageOffset,
    /// Whether it is a copy inlined into another function.
    pub is_inlined: bool,
    /// The function's DIE, if debug info describes it.
    pub die: Option<DieRef>,
}

impl Module {
    /// All places at which functions called `name` begin, inlined copies among them, by address.
    ///
    /// Names match as in [`Module::symbols_named`].
    pub fn code_locations(&self, name: &str, case: CaseRule) -> Vec<CodeLocation> {
        let mut inlined = self.inlined_functions_named(name, case);
        let mut locations: Vec<CodeLocation> = self
            .symbols_named(name, case)
            .into_iter()
            .filter(|symbol| {
                matches!(symbol.kind, SymbolKind::Function | SymbolKind::IndirectFunction)
                    || (symbol.kind == SymbolKind::Label && self.is_text(symbol.address))
            })
            .map(|symbol| {
                // A function can have names that its debug info does not know.
                let here = || self.function_at(symbol.address).filter(|function| function.entry() == symbol.address);
                let function = symbol.die.and_then(|die| self.function_of(die)).or_else(here);
                if let (None, Some(function)) = (symbol.die, &function) {
                    inlined.extend(self.inlined_functions_named(&function.name, CaseRule::Exact));
                }
                let body = match &function {
                    Some(function) => self.body_of(function),
                    None => {
                        let end = ImageOffset(symbol.address.0.saturating_add(symbol.size.max(64)));
                        self.after_frame_setup(ImageRange { start: symbol.address, end })
                    }
                };
                let die = symbol.die.or(function.map(|function| function.die));
                CodeLocation { name: symbol.name, entry: symbol.address, body, is_inlined: false, die }
            })
            .collect();
        for (function, copy) in self.inlined_copies(&inlined) {
            let name = self.qualified_name(function).unwrap_or_default();
            let (entry, die) = (copy.entry, Some(function));
            locations.push(CodeLocation { name, entry, body: entry, is_inlined: true, die });
        }
        locations.sort_by_key(|location| (location.entry, location.is_inlined));
        locations.dedup_by_key(|location| location.entry);
        locations
    }

    /// DIEs of the functions called `name` that were inlined somewhere; one per unit that holds copies.
    pub fn inlined_functions_named(&self, name: &str, case: CaseRule) -> Vec<DieRef> {
        let index = self.index();
        let functions: Vec<_> = index
            .find(name, case)
            .into_iter()
            .filter_map(|(hit, unmatched)| match hit {
                NameHit::Entry(id) => Some((index.entry(id)?, unmatched)),
                NameHit::Symbol(_) => None,
            })
            .filter(|(entry, _)| entry.kind == EntryKind::Function)
            .collect();
        let least = functions.iter().map(|(_, unmatched)| *unmatched).min().unwrap_or(0);
        let inlined = functions.into_iter().filter(|(entry, unmatched)| {
            *unmatched == least && (entry.is_inlined || !index.units_inlining(entry.die).is_empty())
        });
        inlined.map(|(entry, _)| entry.die).collect()
    }
}
