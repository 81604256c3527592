//! Names and functions for addresses.

use std::rc::Rc;

use outpost_base::{ImageOffset, Va, VaRange};
use outpost_symbols::{ImageRange, Symbol};

use super::{FunctionAt, ModuleSymbols, SourceLocation, SymbolAt};
use crate::modules::Module;
use crate::{Engine, EngineError, ProcessOrdinal};

impl Engine {
    /// The symbol that `at` belongs to in the current process: the function or variable around it, else the nearest one
    /// before it in its section; of a module without symbols only the module. `None` outside all modules.
    #[doc(alias = "GetNameByOffset")]
    pub fn symbol_at(&mut self, at: Va) -> Option<SymbolAt> {
        let (module, symbols) = self.module_symbols(self.current_process().ok()?, at).ok()??;
        let found = symbols.module().and_then(|symbols| symbols.symbol_at(at.to_image(module.info.bias)));
        Some(match found {
            Some(found) => describe(&module, &found.symbol, at),
            None => SymbolAt {
                module: module.name.clone(),
                name: String::new(),
                start: module.info.range.start,
                size: 0,
                displacement: at - module.info.range.start,
            },
        })
    }

    /// Whether an indirect function begins there, which gives the address of the one that is meant (STT_GNU_IFUNC).
    pub(crate) fn is_indirect_function(&mut self, at: Va) -> bool {
        let Ok(process) = self.current_process() else { return false };
        let Ok(Some((module, symbols))) = self.module_symbols(process, at) else { return false };
        symbols.module().is_some_and(|symbols| symbols.is_indirect_function(at.to_image(module.info.bias)))
    }

    /// The nearest symbols at or before, and after `at` (`ln`).
    #[doc(alias = "GetNearNameByOffset")]
    pub fn nearest_symbols(&mut self, at: Va) -> (Option<SymbolAt>, Option<SymbolAt>) {
        let Ok(process) = self.current_process() else { return (None, None) };
        let Ok(Some((module, symbols))) = self.module_symbols(process, at) else { return (None, None) };
        let Some(known) = symbols.module() else { return (None, None) };
        let (before, after) = known.nearest_symbols(at.to_image(module.info.bias));
        let before = before.map(|before| describe(&module, &before.symbol, at));
        let after = after.map(|after| describe(&module, &after, after.address.to_va(module.info.bias)));
        (before, after)
    }

    /// The functions whose code is executing at `at` in the current process: inlined ones first, the last is the one
    /// that has the stack frame. Empty where no function is known.
    ///
    /// For a return address ask with the address less one ([`crate::StackFrame::lookup_address`]).
    pub fn functions_around(&mut self, at: Va) -> Vec<FunctionAt> {
        let process = self.current_process();
        process.and_then(|process| self.functions_at(process, at)).unwrap_or_default()
    }

    /// The source line of the instruction at `at` in the current process; inside inlined calls a line of the innermost.
    #[doc(alias = "GetLineByOffset")]
    pub fn line_at(&mut self, at: Va) -> Option<SourceLocation> {
        let (module, symbols) = self.module_symbols(self.current_process().ok()?, at).ok()??;
        symbols.module()?.line_at(at.to_image(module.info.bias))
    }

    /// The module around `at` with its symbols, index included.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`].
    #[expect(clippy::type_complexity, reason = "a pair that may be missing, not worth a name")]
    pub(crate) fn module_symbols(
        &self,
        process: ProcessOrdinal,
        at: Va,
    ) -> Result<Option<(Rc<Module>, Rc<ModuleSymbols>)>, EngineError> {
        let Some(module) = self.process(process)?.module_at(at).cloned() else { return Ok(None) };
        let symbols = self.symbol_loader(process)?.prepared(&module)?;
        Ok(Some((module, symbols)))
    }

    pub(crate) fn functions_at(&mut self, process: ProcessOrdinal, at: Va) -> Result<Vec<FunctionAt>, EngineError> {
        let Some((module, symbols)) = self.module_symbols(process, at)? else { return Ok(Vec::new()) };
        let Some(known) = symbols.module() else { return Ok(Vec::new()) };
        let bias = module.info.bias;
        let offset = at.to_image(bias);
        let mut found = Vec::new();
        let mut line = known.line_at(offset);
        for inlined in known.inline_frames_at(offset) {
            let ranges = to_va(&inlined.ranges, &module);
            // A copy that was split has no one start: then the part that is executing counts.
            let start = if inlined.entry <= offset { inlined.entry } else { part_around(&inlined.ranges, offset) };
            found.push(FunctionAt {
                module: module.name.clone(),
                name: inlined.name,
                start: start.to_va(bias),
                ranges,
                is_inlined: true,
                source: line,
            });
            line = inlined.call_site;
        }
        let function = known.function_at(offset);
        let Some(symbol) = known.symbol_at(offset).map(|found| found.symbol) else { return Ok(found) };
        let ranges = match &function {
            Some(function) => to_va(&function.ranges, &module),
            None => known.symbol_range_at(offset).iter().flat_map(|range| to_va(&[*range], &module)).collect(),
        };
        found.push(FunctionAt {
            module: module.name.clone(),
            name: symbol.name,
            start: symbol.address.to_va(bias),
            ranges,
            is_inlined: false,
            source: line,
        });
        Ok(found)
    }
}

fn to_va(ranges: &[ImageRange], module: &Module) -> Vec<VaRange> {
    let bias = module.info.bias;
    ranges.iter().map(|range| VaRange { start: range.start.to_va(bias), end: range.end.to_va(bias) }).collect()
}

fn part_around(ranges: &[ImageRange], at: ImageOffset) -> ImageOffset {
    ranges.iter().find(|range| range.contains(at)).map_or(at, |range| range.start)
}

fn describe(module: &Module, symbol: &Symbol, at: Va) -> SymbolAt {
    let start = symbol.address.to_va(module.info.bias);
    SymbolAt {
        module: module.name.clone(),
        name: symbol.name.clone(),
        start,
        size: symbol.size,
        displacement: at - start,
    }
}
