//! Plans for source lines: what code the line has, what it calls, where control can go from it.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, OpKind};
use outpost_base::{ImageOffset, MemoryReader, Va, VaRange};
use outpost_symbols::{ImageRange, Statement, SymbolSource};
use outpost_target::{EntryPoint, Fence, FenceKind, StepPlan};

use super::StepKind;
use crate::modules::Module;
use crate::symbols::ModuleSymbols;
use crate::{Engine, EngineError, ProcessOrdinal, SymbolState, ThreadOrdinal};

/// Code of one line that is looked at for calls, in bytes; longer lines are generated ones.
const MAX_LINE_CODE: u64 = 64 << 10;
/// Functions sent ahead at most.
const MAX_ENTRIES: usize = 256;

/// What a line's code leads to.
#[derive(Default)]
struct Callees {
    enter: Vec<EntryPoint>,
    /// Some calls lead where only registers tell.
    has_unknown: bool,
}

impl Engine {
    /// The plan for the source line at the thread's pc; `None` where no line is known.
    pub(super) fn line_plan(&mut self, thread: ThreadOrdinal, kind: StepKind) -> Result<Option<StepPlan>, EngineError> {
        let process = self.process_of(thread)?.ordinal;
        let stack = self.stepping_stack(thread)?;
        let Some(frame) = stack.frames.first() else { return Ok(None) };
        let pc = frame.address.address();
        let Some((module, symbols)) = self.module_symbols(process, pc)? else { return Ok(None) };
        let Some(known) = symbols.module() else { return Ok(None) };
        let bias = module.info.bias;
        let offset = pc.to_image(bias);
        let inline = known.inline_frames_at(offset).into_iter().next();
        let Some(statement) = known.statement_at(offset, inline.map(|inline| inline.die)) else { return Ok(None) };
        let Some(function) = known.function_at(offset) else { return Ok(None) };
        let mut ranges = line_code(&statement, kind);
        if !ranges.iter().any(|range| range.contains(offset)) {
            // Code of no line in the middle of a function: on to the next line from here.
            ranges.extend(known.line_range_at(offset));
        }
        let cfa = frame.cfa.unwrap_or_default();
        let calling: Vec<Va> = stack.frames.iter().take(2).map(|frame| frame.address.lookup_address()).collect();
        let mut plan = StepPlan {
            ranges: to_va(&ranges, &module),
            function: to_va(&function.ranges, &module),
            cfa,
            pass_through: self.pass_through(process, &calling)?,
            ..StepPlan::default()
        };
        if let Some(caller) = stack.frames.get(1) {
            let at = caller.address.address();
            plan.fences.push(Fence { at, min_sp: cfa, kind: FenceKind::Return });
            plan.ranges_after_return = self.rest_of_line(process, caller.address.lookup_address(), kind)?;
        }
        if kind == StepKind::Into {
            let looked_at: Vec<VaRange> = plan.ranges.iter().chain(&plan.ranges_after_return).copied().collect();
            let strict = self.has_source(thread);
            let callees = self.callees(process, &looked_at, &plan.function, strict)?;
            plan.enter = callees.enter;
            plan.stop_unknown_calls = callees.has_unknown;
        }
        let sp = frame.registers.sp();
        plan.fences.extend(self.unwind_fences(process, sp)?);
        Ok(Some(plan))
    }

    /// Code of the statement that a caller is in the middle of: a step that returns goes on to the end of it.
    fn rest_of_line(
        &mut self,
        process: ProcessOrdinal,
        calling: Va,
        kind: StepKind,
    ) -> Result<Vec<VaRange>, EngineError> {
        let Some((module, symbols)) = self.module_symbols(process, calling)? else { return Ok(Vec::new()) };
        let Some(known) = symbols.module() else { return Ok(Vec::new()) };
        let offset = calling.to_image(module.info.bias);
        let inline = known.inline_frames_at(offset).into_iter().next();
        let statement = known.statement_at(offset, inline.map(|inline| inline.die));
        Ok(statement.map(|statement| to_va(&line_code(&statement, kind), &module)).unwrap_or_default())
    }

    /// Whether a step that has arrived at `at` is done: a line begins there, or nothing is known of lines.
    pub(super) fn is_line_start(&mut self, process: ProcessOrdinal, at: Va) -> Result<bool, EngineError> {
        let Some((module, symbols)) = self.module_symbols(process, at)? else { return Ok(true) };
        let Some(known) = symbols.module() else { return Ok(true) };
        let offset = at.to_image(module.info.bias);
        Ok(known.is_statement_start(offset) || known.line_range_at(offset).is_none())
    }

    /// Whether the source of the function that a thread is in can be shown. Then a step enters only functions of which
    /// that is true, too: system libraries have lines where their debug info is installed, and no source.
    pub(super) fn has_source(&mut self, thread: ThreadOrdinal) -> bool {
        let Ok(pc) = self.registers(thread, Default::default()).map(|registers| registers.pc()) else { return false };
        self.line_at(pc).is_some_and(|location| self.has_source_file(&location.file))
    }

    /// Where a function's body begins, if its code has lines, so that a step may end in it; if `strict`, its source must
    /// be at hand, too.
    pub(super) fn steppable_body(
        &mut self,
        process: ProcessOrdinal,
        entry: Va,
        strict: bool,
    ) -> Result<Option<Va>, EngineError> {
        let Some(module) = self.process(process)?.module_at(entry).cloned() else { return Ok(None) };
        let loader = self.symbol_loader(process)?;
        // Looking at a module's headers is cheap, building its index is not: only debug info can have lines.
        if loader.symbols(&module).state() != SymbolState::Dwarf {
            return Ok(None);
        }
        let symbols = loader.prepared(&module)?;
        let Some(body) = body_in(&module, &symbols, entry) else { return Ok(None) };
        if self.is_stepped_over(&module, &symbols, entry) {
            return Ok(None);
        }
        let line = symbols.module().and_then(|known| known.line_at(entry.to_image(module.info.bias)));
        let shown = !strict || line.is_some_and(|location| self.has_source_file(&location.file));
        Ok(shown.then_some(body))
    }

    /// The functions that code in `ranges` calls, as far as the code tells.
    fn callees(
        &mut self,
        process: ProcessOrdinal,
        ranges: &[VaRange],
        function: &[VaRange],
        strict: bool,
    ) -> Result<Callees, EngineError> {
        let mut callees = Callees::default();
        let mut memory = self.process(process)?.memory.clone();
        let mut left = MAX_LINE_CODE;
        for range in ranges {
            let len = range.len().min(left);
            left -= len;
            let Some(code) = self.code_bytes(process, range.start, len as usize) else { continue };
            for instruction in Decoder::with_ip(64, &code, range.start.0, DecoderOptions::NONE) {
                let Some(target) = call_target(&instruction, &mut memory, function) else { continue };
                let Some(target) = target else {
                    callees.has_unknown = true;
                    continue;
                };
                for entry in self.behind_stub(process, target)? {
                    let known = callees.enter.iter().any(|known| known.entry == entry);
                    if known || callees.enter.len() >= MAX_ENTRIES {
                        continue;
                    }
                    if let Some(body) = self.steppable_body(process, entry, strict)? {
                        callees.enter.push(EntryPoint { entry, body });
                    }
                }
            }
        }
        Ok(callees)
    }

    /// Whether the user wants no source step to enter the function at `entry`.
    fn is_stepped_over(&self, module: &Module, symbols: &ModuleSymbols, entry: Va) -> bool {
        if self.step_filter.is_empty() {
            return false;
        }
        let found = symbols.module().and_then(|known| known.symbol_at(entry.to_image(module.info.bias)));
        let Some(name) = found.map(|found| found.symbol.name) else { return false };
        let whole = format!("{}!{name}", module.name);
        self.step_filter.iter().any(|filter| filter.matches(&name) || filter.matches(&whole))
    }

    /// Where a call to `target` ends up: of a PLT stub the functions of its name, else itself.
    fn behind_stub(&mut self, process: ProcessOrdinal, target: Va) -> Result<Vec<Va>, EngineError> {
        let Some((module, symbols)) = self.module_symbols(process, target)? else { return Ok(vec![target]) };
        let offset = target.to_image(module.info.bias);
        let found = symbols.module().and_then(|known| known.symbol_at(offset));
        let Some(stub) = found.map(|found| found.symbol).filter(|symbol| symbol.source == SymbolSource::Plt) else {
            return Ok(vec![target]);
        };
        let name = stub.linkage_name.unwrap_or(stub.name);
        let name = name.split('@').next().unwrap_or(&name).to_owned();
        let loader = self.symbol_loader(process)?;
        let modules: Vec<_> = self.process(process)?.modules.iter().cloned().collect();
        let mut entries = Vec::new();
        // What is no file, the vdso, is called without stubs, and would have to be read from memory.
        for module in modules.into_iter().filter(|module| module.info.path.starts_with('/')) {
            if loader.symbols(&module).state() != SymbolState::Dwarf {
                continue;
            }
            let symbols = loader.prepared(&module)?;
            let known = symbols.module().into_iter();
            let hits = known.flat_map(|known| known.symbols_named(&name, outpost_symbols::CaseRule::Exact));
            let hits = hits.filter(|symbol| symbol.source == SymbolSource::Dwarf);
            entries.extend(hits.map(|symbol| symbol.address.to_va(module.info.bias)));
        }
        Ok(entries)
    }

    /// Code that is on the way to what is called: PLT stubs of the module that calls, and the loader, which resolves
    /// them. No other module is looked at, for that could cost round trips.
    fn pass_through(&self, process: ProcessOrdinal, calling: &[Va]) -> Result<Vec<VaRange>, EngineError> {
        let known = self.process(process)?;
        let loader = self.symbol_loader(process)?;
        let mut found = Vec::new();
        for module in known.modules.iter() {
            let file = module.info.path.rsplit('/').next().unwrap_or_default();
            if file.starts_with("ld-linux") || file.starts_with("ld-musl") {
                found.push(module.info.range);
            } else if calling.iter().any(|&at| module.info.range.contains(at)) {
                let symbols = loader.symbols(module);
                let Some(image) = symbols.module().map(|known| known.image()) else { continue };
                let stubs = [".plt", ".plt.sec", ".plt.got", ".iplt"].iter().filter_map(|name| image.section(name));
                found.extend(stubs.flat_map(|(_, section)| to_va(&[section.range], module)));
            }
        }
        Ok(found)
    }

    /// The stack of the thread that is stepped: the frames that a step is about, and the one it returns to.
    pub(super) fn stepping_stack(&mut self, thread: ThreadOrdinal) -> Result<crate::stack::PhysicalStack, EngineError> {
        let mut stacks = self.physical_stacks(&[thread], 2)?;
        let gone = outpost_target::TargetError::Gone { process: Default::default() };
        Ok(stacks.pop().unwrap_or(Err(gone))?)
    }
}

/// Code of a statement: stepping over includes what is inlined on the line.
fn line_code(statement: &Statement, kind: StepKind) -> Vec<ImageRange> {
    let inlined = if kind == StepKind::Over { &statement.inlined[..] } else { &[] };
    statement.own.iter().chain(inlined).copied().collect()
}

fn body_in(module: &Module, symbols: &ModuleSymbols, entry: Va) -> Option<Va> {
    let known = symbols.module()?;
    let offset: ImageOffset = entry.to_image(module.info.bias);
    known.line_at(offset)?;
    let function = known.function_at(offset).filter(|function| function.entry() == offset)?;
    Some(known.body_of(&function).to_va(module.info.bias))
}

/// Where an instruction leads, if it is a call, or a jump out of `function`; the inner `None` if only registers tell.
fn call_target(instruction: &Instruction, memory: &mut dyn MemoryReader, function: &[VaRange]) -> Option<Option<Va>> {
    let leaves = |at: Va| !function.is_empty() && !function.iter().any(|range| range.contains(at));
    match instruction.flow_control() {
        FlowControl::Call => Some(Some(Va(instruction.near_branch_target()))),
        FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
            let at = Va(instruction.near_branch_target());
            leaves(at).then_some(Some(at))
        }
        FlowControl::IndirectCall
            if instruction.op0_kind() == OpKind::Memory && instruction.is_ip_rel_memory_operand() =>
        {
            Some(memory.read_u64(Va(instruction.ip_rel_memory_address())).map(Va))
        }
        FlowControl::IndirectCall => Some(None),
        _ => None,
    }
}

fn to_va(ranges: &[ImageRange], module: &Module) -> Vec<VaRange> {
    let bias = module.info.bias;
    ranges.iter().map(|range| VaRange { start: range.start.to_va(bias), end: range.end.to_va(bias) }).collect()
}
