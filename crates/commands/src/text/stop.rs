//! What is shown at a stop, before the prompt.

use outpost_base::{RegisterContext, Va};
use outpost_engine::disassembly::{annotation, decode, effective_addresses};
use outpost_engine::target::{RegisterSets, StopReason};
use outpost_engine::{SourceLocation, Stop, TracedStep};

use super::symbols::{EngineSymbols, bracketed, line_suffix, name_of};
use super::{hex64, line, put, registers, values};
use crate::Debugger;
use crate::cmd::source::render_origin;

/// Event line, registers, symbol, instruction or source line.
pub(crate) fn describe(debugger: &mut Debugger, stop: &Stop) -> String {
    let mut text = String::new();
    event_lines(debugger, stop, &mut text);
    if let Some(returned) = &stop.returned {
        returned_value(debugger, returned, &mut text);
    }
    for thread in &stop.unstoppable {
        line!(text, "Thread {:x} could not be stopped and is shown as it runs", thread.0);
    }
    if !matches!(stop.reason, StopReason::Exited { .. }) {
        let thread = debugger.engine.current_thread();
        match thread.and_then(|thread| debugger.engine.registers(thread, RegisterSets::default())) {
            Ok(context) => {
                let line = line_of_hit(debugger, stop, context.pc());
                place_of(debugger, &context, None, line, &mut text);
            }
            Err(error) => line!(text, "Registers are not available: {error}"),
        }
    }
    text
}

/// The line that a breakpoint which was hit was set on, where other code is inlined.
fn line_of_hit(debugger: &mut Debugger, stop: &Stop, pc: Va) -> Option<SourceLocation> {
    stop.breakpoints.iter().find_map(|hit| {
        let set = debugger.engine.breakpoint(hit.number).ok()?;
        debugger.engine.line_of_place(&set.expression, pc)
    })
}

/// A step on the way to the end of several.
pub(crate) fn describe_step(debugger: &mut Debugger, step: &TracedStep) -> String {
    let mut text = String::new();
    place_of(debugger, &step.registers, (!step.code.is_empty()).then_some(&step.code[..]), None, &mut text);
    text
}

/// Registers and next instruction of the current thread, as they are shown at a stop and after `~Ns`.
pub(crate) fn place(debugger: &mut Debugger) -> String {
    let mut text = String::new();
    let thread = debugger.engine.current_thread();
    match thread.and_then(|thread| debugger.engine.registers(thread, RegisterSets::default())) {
        Ok(context) => place_of(debugger, &context, None, None, &mut text),
        Err(error) => line!(text, "Registers are not available: {error}"),
    }
    text
}

/// Symbol and instruction only, as `r` shows them below the registers.
pub(crate) fn instruction(debugger: &mut Debugger, context: &RegisterContext, text: &mut String) {
    instruction_at(debugger, context, None, None, text);
}

fn event_lines(debugger: &mut Debugger, stop: &Stop, text: &mut String) {
    for hit in &stop.breakpoints {
        line!(text, "Breakpoint {} hit", hit.number);
        if let Some(problem) = &hit.condition_problem {
            line!(text, "Its condition has no value: {problem}");
        }
    }
    if !stop.breakpoints.is_empty() || stop.ends_step || stop.at_temporary {
        return;
    }
    let event = debugger.engine.last_event().map(|event| event.description());
    let words = event.unwrap_or_else(|| "Event".to_owned());
    let thrown = if stop.filter == Some("eh") { thrown_type(debugger) } else { String::new() };
    line!(text, "({:x}.{:x}): {words}{thrown}", stop.process_id.0, stop.thread_id.0);
}

/// The type that `__cxa_throw` was called with: its second argument is the type's `std::type_info`.
fn thrown_type(debugger: &mut Debugger) -> String {
    let thread = debugger.engine.current_thread();
    let Ok(context) = thread.and_then(|thread| debugger.engine.registers(thread, RegisterSets::default())) else {
        return String::new();
    };
    let register = context.arch.register_by_name("rsi").and_then(|id| context.get(id)).map(|value| value.as_u64());
    let symbol = register.and_then(|at| debugger.engine.symbol_at(Va(at)));
    match symbol.as_ref().and_then(|symbol| symbol.name.strip_prefix("typeinfo for ")) {
        Some(name) => format!(": {name}"),
        None => String::new(),
    }
}

fn returned_value(debugger: &mut Debugger, returned: &outpost_engine::ReturnedValue, text: &mut String) {
    let function = &returned.function;
    match &returned.value {
        Some(value) => {
            let shown = values::one_line(debugger, value);
            line!(text, "{function} returned {} {shown}", value.value_type());
        }
        None if returned.type_name == "void" => {}
        None => line!(text, "{function} returned rax={}", hex64(returned.register)),
    }
}

/// `line` is the line that is meant, if it is not that of the code.
fn place_of(
    debugger: &mut Debugger,
    context: &RegisterContext,
    code: Option<&[u8]>,
    line: Option<SourceLocation>,
    text: &mut String,
) {
    let settings = &debugger.settings;
    let (source_only, show_registers) = (settings.source_only, settings.show_registers);
    if source_only && source_line(debugger, context.pc(), line.as_ref(), text) {
        return;
    }
    if show_registers {
        text.push_str(&registers::block(context, debugger.settings.register_mask));
    }
    instruction_at(debugger, context, code, line, text);
}

fn instruction_at(
    debugger: &mut Debugger,
    context: &RegisterContext,
    code: Option<&[u8]>,
    line: Option<SourceLocation>,
    text: &mut String,
) {
    let pc = context.pc();
    let location = match debugger.settings.lines {
        true => line.or_else(|| debugger.engine.line_at(pc)),
        false => None,
    };
    if debugger.settings.show_symbol {
        let name = name_of(&mut debugger.engine, pc);
        line!(text, "{name}{}:", line_suffix(location.as_ref()));
    }
    if debugger.settings.show_source || debugger.settings.show_line_number {
        source_line(debugger, pc, location.as_ref(), text);
    }
    let Ok(mut memory) = debugger.engine.memory() else { return };
    let mut buffer = [0; 16];
    // A step on the way is told with its code; the debuggee has gone on since and has changed its memory.
    let is_past = code.is_some();
    let code = match code {
        Some(code) => code,
        None => {
            use outpost_base::MemoryReader as _;
            let got = memory.read(pc, &mut buffer);
            &buffer[..got]
        }
    };
    let arch = context.arch;
    let code = &code[..code.len().min(arch.max_instruction_len())];
    let instruction = decode(arch, pc, code, &mut EngineSymbols(&mut debugger.engine));
    let memory: Option<&mut dyn outpost_base::MemoryReader> = if is_past { None } else { Some(&mut memory) };
    let note = annotation(&instruction, context, memory, &mut EngineSymbols(&mut debugger.engine));
    if let Some(address) = effective_addresses(&instruction, context).first() {
        debugger.engine.recent_values().effective_address = Some(*address);
    }
    let settings = &debugger.settings;
    if settings.show_instruction {
        line!(text, "{}{}", instruction.line(), if settings.show_operands { note.as_str() } else { "" });
    }
}

/// The text of a source line, or of that at `pc`, with its number; `false` if there is none.
fn source_line(debugger: &mut Debugger, pc: Va, line: Option<&SourceLocation>, text: &mut String) -> bool {
    let location = line.cloned().or_else(|| debugger.engine.line_at(pc)).filter(|_| debugger.settings.lines);
    let Some(location) = location else { return false };
    let number = location.line as usize;
    match debugger.engine.source_file(&location.file) {
        Ok(file) => {
            if debugger.continuations.announced.insert(file.found.clone()) {
                render_origin(&file, text);
            }
            if !(1..=file.lines.len()).contains(&number) {
                return false;
            }
            let (before, after) = debugger.settings.source_context;
            let first = number.saturating_sub(before as usize).max(1);
            let shown = (first..).zip(file.lines.iter().skip(first - 1)).take(number - first + 1 + after as usize);
            for (at, source) in shown {
                line!(text, "{} {at:4}: {source}", if at == number { '>' } else { ' ' });
            }
            debugger.continuations.source = Some((location.file.clone(), location.line));
            true
        }
        Err(_) => {
            put!(text, "> {number:4}: ");
            line!(text, "{}", bracketed(&location));
            true
        }
    }
}
