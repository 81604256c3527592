//! Functions: their names, their code, where to stop in them.

use outpost_base::ImageOffset;

use super::Module;
use crate::index::EntryId;
use crate::{DieRef, ImageRange};

/// A function that debug info describes, with code of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    /// Qualified name without parameters.
    pub name: String,
    /// As the linker knows it, if that differs and is known.
    pub linkage_name: Option<String>,
    /// Its DIE.
    pub die: DieRef,
    /// Its code: the range in which it is entered, then parts split off.
    pub ranges: Vec<ImageRange>,
}

impl Function {
    /// Where it is entered.
    pub fn entry(&self) -> ImageOffset {
        self.ranges.first().map_or(ImageOffset(0), |range| range.start)
    }

    /// Whether its code covers `at`.
    pub fn contains(&self, at: ImageOffset) -> bool {
        self.ranges.iter().any(|range| range.contains(at))
    }
}

impl Module {
    /// The function whose code covers `at`.
    ///
    /// For a return address ask with the address less one: a call may be the last instruction of its function.
    pub fn function_at(&self, at: ImageOffset) -> Option<Function> {
        self.function(self.index().function_at(at)?.0)
    }

    /// The function of a DIE that has code.
    pub fn function_of(&self, die: DieRef) -> Option<Function> {
        self.function(self.index().entry_by_die(die)?)
    }

    pub(super) fn function(&self, id: EntryId) -> Option<Function> {
        let symbol = self.function_symbol(id)?;
        let ranges = self.index().code_of(id);
        Some(Function { name: symbol.name, linkage_name: symbol.linkage_name, die: symbol.die?, ranges })
    }

    /// The range of code around `at` that is not described by debug info but bounded by symbols; `None` if nothing is
    /// known to begin before it.
    pub fn symbol_range_at(&self, at: ImageOffset) -> Option<ImageRange> {
        let found = self.symbol_at(at)?;
        let start = found.symbol.address;
        if found.displacement < found.symbol.size {
            return Some(ImageRange { start, end: ImageOffset(start.0.saturating_add(found.symbol.size)) });
        }
        let next = self.index().symbols_above(at).next().map(|(_, symbol)| symbol.address);
        let text = self.text.iter().find(|range| range.contains(at)).map(|range| range.end.0);
        let end = next.into_iter().chain(text).min()?;
        Some(ImageRange { start, end: ImageOffset(end) })
    }
}
