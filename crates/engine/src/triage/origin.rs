//! Where a register's value came from: backwards through the function's instructions, then its callers', with the names
//! that debug info has for what is met.
//!
//! Code is followed along its blocks. Where several definitions reach an instruction, one whose source in memory still
//! holds the value is preferred: that is proof, the others are not. Nothing is executed or simulated.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use outpost_base::{MemoryReader, RegisterId, Va};
use outpost_symbols::Type;

use super::type_path::part_at;
use super::x86_64::{self, ARGUMENTS, Operand, Source};
use super::{AccessKind, OriginStep};
use crate::disassembly::{Flow, Instruction, NoSymbols, function_blocks};
use crate::expr::PlaceKind;
use crate::stack::PhysicalStack;
use crate::{Engine, ProcessOrdinal};

/// Definitions followed one after the other.
const DEPTH_LIMIT: u32 = 12;
/// Steps that are noted.
const STEP_LIMIT: usize = 8;
/// Definitions looked at over all.
const WORK_LIMIT: u32 = 200;

/// A value as the source would write it.
#[derive(Debug, Clone)]
pub(super) struct Described {
    /// `list->head`, `the result of find`, `argument 1 of strlen`.
    pub(super) text: String,
    /// Its type, where debug info has one.
    pub(super) value_type: Option<Type>,
    /// Where in memory it was read from, if that can be told.
    pub(super) memory: Option<Va>,
    /// Whether it was computed from what is named and is not that itself.
    pub(super) derived: bool,
}

/// A function's instructions with the ways into each.
struct FunctionCode {
    entry: Va,
    instructions: BTreeMap<Va, Instruction>,
    /// Instructions after which each is executed.
    before: HashMap<Va, Vec<Va>>,
}

/// Follows values back on one stack.
pub(super) struct Tracer<'a> {
    engine: &'a mut Engine,
    process: ProcessOrdinal,
    stack: PhysicalStack,
    code: HashMap<Va, Rc<FunctionCode>>,
    places: HashMap<Va, Rc<Vec<(String, crate::expr::Place)>>>,
    work: u32,
    /// What was met, newest first.
    pub(super) steps: Vec<OriginStep>,
}

/// Code as the image's file has it, which costs no round trip.
struct CodeReader<'a>(&'a Engine, ProcessOrdinal);

impl MemoryReader for CodeReader<'_> {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        let bytes = self.0.code_bytes(self.1, at, buf.len()).unwrap_or_default();
        let count = bytes.len().min(buf.len());
        buf[..count].copy_from_slice(&bytes[..count]);
        count
    }
}

impl<'a> Tracer<'a> {
    pub(super) fn new(engine: &'a mut Engine, process: ProcessOrdinal, stack: PhysicalStack) -> Tracer<'a> {
        Tracer { engine, process, stack, code: HashMap::new(), places: HashMap::new(), work: 0, steps: Vec::new() }
    }

    /// The value that `register` has before the instruction at `at`, which physical frame `frame` is executing.
    pub(super) fn register(&mut self, frame: usize, at: Va, register: RegisterId) -> Option<Described> {
        self.describe(frame, at, register, DEPTH_LIMIT)
    }

    /// What an operand of the instruction at `at` names, and not its value.
    pub(super) fn operand(&mut self, frame: usize, at: Va, operand: &Operand) -> Option<Described> {
        self.describe_operand(frame, at, operand, DEPTH_LIMIT)
    }

    /// The call that physical frame `frame` is in: the instruction that ends where it returns to.
    pub(super) fn call_in(&mut self, frame: usize) -> Option<Instruction> {
        let address = self.stack.frames.get(frame)?.address;
        let code = self.function(address.lookup_address())?;
        let (_, call) = code.instructions.range(..=address.lookup_address()).next_back()?;
        (call.end() == address.address() && call.flow == Flow::Call).then(|| call.clone())
    }

    /// The call that brought control to physical frame `frame`, which is in `function`. A caller that jumped on to another
    /// function left nothing of the registers it had.
    fn call_to(&mut self, frame: usize, function: &str) -> Option<Instruction> {
        /// What calls the program's `main`, and nothing else of it, through a pointer (glibc csu/libc-start.c).
        const STARTERS: &str = "__libc_start_";
        let call = self.call_in(frame + 1)?;
        let is_it = match call.target.map(|target| self.function_name(target)) {
            Some(target) => target == function || target.starts_with("*ABS*") || is_alias(&target, function),
            None => {
                let caller = self.function(call.at).map(|caller| self.function_name(caller.entry)).unwrap_or_default();
                !caller.starts_with(STARTERS) || function == "main"
            }
        };
        is_it.then_some(call)
    }

    /// A register's value in a frame.
    pub(super) fn value(&self, frame: usize, register: RegisterId) -> Option<u64> {
        self.stack.frames.get(frame)?.registers.get_u64(register)
    }

    /// Where an operand is by the registers that a frame has now.
    pub(super) fn address_of(&self, frame: usize, operand: &Operand) -> Option<Va> {
        let value = |register| self.value(frame, register);
        let base = operand.base.map_or(Some(0), value)?;
        let index = match operand.index {
            Some((register, scale)) => value(register)?.wrapping_mul(u64::from(scale)),
            None => 0,
        };
        let segment = operand.segment.map_or(Some(0), value)?;
        Some(Va(base.wrapping_add(index).wrapping_add(segment).wrapping_add_signed(operand.displacement)))
    }

    /// What `register` was before the instruction at `at`, which a frame has executed or is executing: a value that is kept
    /// since then, or made anew from such values and memory.
    pub(super) fn value_before(&mut self, frame: usize, at: Va, register: RegisterId) -> Option<u64> {
        self.value_within(frame, at, register, DEPTH_LIMIT)
    }

    fn value_within(&mut self, frame: usize, at: Va, register: RegisterId, depth: u32) -> Option<u64> {
        let depth = depth.checked_sub(1)?;
        let code = self.function(at)?;
        let known = self.stack.frames.get(frame)?;
        // The instruction that the frame is executing: behind a call, what the frame has is what was there before it.
        let (here, _) = code.instructions.range(..=known.address.lookup_address()).next_back()?;
        let (definitions, from_entry) = self.definitions(&code, at, register);
        let is_kept = (definitions.clone(), from_entry) == self.definitions(&code, *here, register);
        if let Some(value) = self.value(frame, register).filter(|_| is_kept) {
            return Some(value);
        }
        let definitions: Vec<Va> = definitions.into_iter().filter(|at| self.may_define(&code, *at, register)).collect();
        let definition = match (&definitions[..], from_entry) {
            ([only], false) => *only,
            ([], true) => {
                let function = self.function_name(code.entry);
                let call = self.call_to(frame, &function)?;
                return self.value_within(frame + 1, call.at, register, depth);
            }
            _ => return None,
        };
        let source = x86_64::effect_on(definition, &code.instructions.get(&definition)?.bytes, register)?;
        match source {
            Source::Register(from) => self.value_within(frame, definition, from, depth),
            Source::Constant(value) => Some(value),
            Source::Address(operand) => self.place_within(frame, definition, &operand, depth).map(|at| at.0),
            Source::Memory(operand) => {
                let at = self.place_within(frame, definition, &operand, depth)?;
                self.engine.memory_of(self.process).ok()?.read_uint(at, operand.size.clamp(1, 8) as usize)
            }
            Source::Computed | Source::Call => None,
        }
    }

    /// Where an operand of the instruction at `at` was.
    fn place_within(&mut self, frame: usize, at: Va, operand: &Operand, depth: u32) -> Option<Va> {
        let mut value = |register| self.value_within(frame, at, register, depth);
        let base = operand.base.map_or(Some(0), &mut value)?;
        let index = match operand.index {
            Some((register, scale)) => value(register)?.wrapping_mul(u64::from(scale)),
            None => 0,
        };
        let segment = operand.segment.map_or(Some(0), |segment| self.value(frame, segment))?;
        Some(Va(base.wrapping_add(index).wrapping_add(segment).wrapping_add_signed(operand.displacement)))
    }

    fn function(&mut self, at: Va) -> Option<Rc<FunctionCode>> {
        let function = self.engine.functions_at(self.process, at).ok()?.pop()?;
        if let Some(known) = self.code.get(&function.start) {
            return Some(known.clone());
        }
        let arch = self.engine.arch();
        let mut reader = CodeReader(self.engine, self.process);
        let blocks = function_blocks(arch, &mut reader, &mut NoSymbols, function.start, &function.ranges);
        let mut before: HashMap<Va, Vec<Va>> = HashMap::new();
        let mut instructions = BTreeMap::new();
        for instruction in blocks.into_iter().flat_map(|block| block.instructions) {
            let falls_through = matches!(instruction.flow, Flow::Next | Flow::Call | Flow::ConditionalJump);
            if falls_through {
                before.entry(instruction.end()).or_default().push(instruction.at);
            }
            if let (Flow::Jump | Flow::ConditionalJump, Some(target)) = (instruction.flow, instruction.target) {
                before.entry(target).or_default().push(instruction.at);
            }
            instructions.insert(instruction.at, instruction);
        }
        let code = Rc::new(FunctionCode { entry: function.start, instructions, before });
        self.code.insert(function.start, code.clone());
        Some(code)
    }

    fn places(&mut self, at: Va) -> Rc<Vec<(String, crate::expr::Place)>> {
        if let Some(known) = self.places.get(&at) {
            return known.clone();
        }
        let found = Rc::new(self.engine.places_at(at));
        self.places.insert(at, found.clone());
        found
    }

    /// Instructions whose value of `register` may reach the one at `at`, nearest first, and whether the value that the
    /// function began with may, too.
    fn definitions(&self, code: &FunctionCode, at: Va, register: RegisterId) -> (Vec<Va>, bool) {
        let mut found = Vec::new();
        let mut from_entry = at == code.entry;
        let mut seen = BTreeSet::new();
        let mut waiting = std::collections::VecDeque::from([at]);
        while let Some(here) = waiting.pop_front() {
            for &previous in code.before.get(&here).into_iter().flatten() {
                if !seen.insert(previous) {
                    continue;
                }
                let Some(instruction) = code.instructions.get(&previous) else { continue };
                if x86_64::effect_on(previous, &instruction.bytes, register).is_some() {
                    found.push(previous);
                    continue;
                }
                from_entry |= previous == code.entry;
                waiting.push_back(previous);
            }
        }
        (found, from_entry)
    }

    /// Whether a register that is used can have its value from there. What a call leaves in a register that is no result's,
    /// no code uses: such a call does not return.
    fn may_define(&self, code: &FunctionCode, at: Va, register: RegisterId) -> bool {
        const RESULTS: [&str; 2] = ["rax", "rdx"];
        let source = code.instructions.get(&at).and_then(|known| x86_64::effect_on(at, &known.bytes, register));
        source != Some(Source::Call)
            || RESULTS.iter().any(|name| self.engine.arch().register_by_name(name) == Some(register))
    }

    fn describe(&mut self, frame: usize, at: Va, register: RegisterId, depth: u32) -> Option<Described> {
        self.work += 1;
        if self.work > WORK_LIMIT {
            return None;
        }
        let depth = depth.checked_sub(1)?;
        let arch = self.engine.arch();
        let name = arch.register(register).map(|row| row.name).unwrap_or_default();
        let named = self.places(at).iter().find_map(|(name, place)| {
            let described = || Described {
                text: name.clone(),
                value_type: Some(place.value_type.clone()),
                memory: None,
                derived: false,
            };
            (place.at == PlaceKind::Register(register)).then(described)
        });
        let traced = self.trace(frame, at, register, name, depth);
        match (named, traced) {
            (Some(named), Some(traced)) => Some(Described { memory: traced.memory, ..named }),
            (named, traced) => named.or(traced),
        }
    }

    fn trace(&mut self, frame: usize, at: Va, register: RegisterId, name: &str, depth: u32) -> Option<Described> {
        let code = self.function(at)?;
        let (definitions, from_entry) = self.definitions(&code, at, register);
        let mut candidates: Vec<(bool, Va, Source)> = Vec::new();
        for definition in definitions {
            let bytes = &code.instructions.get(&definition)?.bytes;
            let Some(source) = x86_64::effect_on(definition, bytes, register) else { continue };
            if !self.may_define(&code, definition, register) {
                continue;
            }
            let proven = self.is_proven(frame, at, definition, register, &source, &code);
            candidates.push((proven, definition, source));
        }
        // A stable sort: of equals the nearest stays first.
        candidates.sort_by_key(|(proven, _, _)| !proven);
        let Some((proven, definition, source)) = candidates.into_iter().next() else {
            return if from_entry { self.argument(frame, &code, register, depth) } else { None };
        };
        if from_entry && !proven && matches!(source, Source::Constant(_) | Source::Computed) {
            // It may as well be what the function was called with, which says more.
            if let Some(found) = self.argument(frame, &code, register, depth) {
                return Some(found);
            }
        }
        match source {
            Source::Memory(operand) => {
                let mut found = self.describe_operand(frame, definition, &operand, depth);
                let memory = if proven { self.address_of(frame, &operand) } else { None };
                let what = found.as_ref().map_or_else(|| operand_words(&operand), |found| found.text.clone());
                let place = memory.map(|at| format!(" at {at}")).unwrap_or_default();
                self.note(definition, format!("{name} was read from {what}{place}"));
                if let Some(found) = &mut found {
                    found.memory = memory;
                }
                found
            }
            Source::Register(from) => self.describe(frame, definition, from, depth),
            Source::Address(operand) => {
                let found = self.describe_operand(frame, definition, &operand, depth)?;
                // Compilers add numbers with it, too: only a part with a name has an address worth telling.
                if found.text.starts_with("*(") {
                    return Some(Described { derived: true, memory: None, ..found });
                }
                let text = format!("&{}", found.text);
                self.note(definition, format!("{name} is the address of {}", found.text));
                Some(Described { text, value_type: None, memory: None, derived: true })
            }
            Source::Constant(value) => {
                self.note(definition, format!("{name} was set to {value:#x}"));
                let text = if value == 0 { "NULL".to_owned() } else { format!("{value:#x}") };
                Some(Described { text, value_type: None, memory: None, derived: false })
            }
            Source::Computed => {
                // What went into it is the operand that is not itself constant: its own former value.
                let found = self.describe(frame, definition, register, depth)?;
                Some(Described { derived: true, ..found })
            }
            Source::Call => self.result(&code, definition, register, name),
        }
    }

    /// Whether the definition's source in memory still holds what the register has.
    fn is_proven(
        &mut self,
        frame: usize,
        at: Va,
        definition: Va,
        register: RegisterId,
        source: &Source,
        code: &FunctionCode,
    ) -> bool {
        let Source::Memory(operand) = source else { return false };
        // The registers in the operand must be what they were.
        let mut registers = operand.base.into_iter().chain(operand.index.map(|(index, _)| index));
        let sp = self.engine.arch().sp();
        let unchanged = registers.all(|part| {
            part == sp && operand.segment.is_none()
                || part != register && self.definitions(code, at, part) == self.definitions(code, definition, part)
        });
        let is_current = self.stack.frames.get(frame).is_some_and(|known| {
            let here = known.address;
            here.address() == at || here.lookup_address() >= at && here.address() > at && here.address() - at <= 15
        });
        if !unchanged || !is_current {
            return false;
        }
        let (Some(place), Some(value)) = (self.address_of(frame, operand), self.value(frame, register)) else {
            return false;
        };
        let Ok(mut memory) = self.engine.memory_of(self.process) else { return false };
        let size = operand.size.clamp(1, 8) as usize;
        let mask = if size == 8 { u64::MAX } else { (1 << (8 * size)) - 1 };
        memory.read_uint(place, size) == Some(value & mask)
    }

    /// What a call returned, or left behind.
    fn result(&mut self, code: &FunctionCode, at: Va, register: RegisterId, name: &str) -> Option<Described> {
        let call = code.instructions.get(&at)?;
        if self.engine.arch().register_by_name("rax") != Some(register) {
            return None;
        }
        let function = match call.target {
            Some(target) => self.function_name(target),
            None => "a function called through a pointer".to_owned(),
        };
        self.note(at, format!("{name} was returned by {function}"));
        Some(Described { text: format!("the result of {function}"), value_type: None, memory: None, derived: false })
    }

    /// A function's name without module; stubs that call through the linkage table go by the function's.
    fn function_name(&mut self, at: Va) -> String {
        let name = self.engine.symbol_at(at).map(|symbol| symbol.name).unwrap_or_default();
        let name = name.strip_suffix("@plt").unwrap_or(&name).to_owned();
        if name.is_empty() { at.to_string() } else { name }
    }

    /// What the function was called with in `register`, by its caller.
    fn argument(&mut self, frame: usize, code: &FunctionCode, register: RegisterId, depth: u32) -> Option<Described> {
        let arch = self.engine.arch();
        let number = ARGUMENTS.iter().position(|name| arch.register_by_name(name) == Some(register))?;
        let function = self.function_name(code.entry);
        let places = self.places(code.entry);
        let own = places.iter().find(|(_, place)| place.at == PlaceKind::Register(register));
        let own = own.map(|(name, place)| (name.clone(), place.value_type.clone()));
        let what = match &own {
            Some((name, _)) => format!("argument {name} of {function}"),
            None => format!("argument {} of {function}", number + 1),
        };
        let call = self.call_to(frame, &function);
        let passed = match call {
            Some(call) => {
                let passed = self.describe(frame + 1, call.at, register, depth);
                let caller = self.function(call.at).map(|caller| self.function_name(caller.entry)).unwrap_or_default();
                let words = passed.as_ref().map(|passed| format!(" as {}", passed.text)).unwrap_or_default();
                self.note(call.at, format!("{caller} passed it{words}: {what}"));
                passed
            }
            None => None,
        };
        match (own, passed) {
            (Some((text, value_type)), passed) => {
                let memory = passed.and_then(|passed| passed.memory);
                Some(Described { text, value_type: Some(value_type), memory, derived: false })
            }
            (None, Some(passed)) => Some(passed),
            (None, None) => Some(Described { text: what, value_type: None, memory: None, derived: false }),
        }
    }

    fn describe_operand(&mut self, frame: usize, at: Va, operand: &Operand, depth: u32) -> Option<Described> {
        if let (None, None, None) = (operand.base, operand.index, operand.segment) {
            return self.global(Va(operand.displacement as u64));
        }
        if let Some(found) = self.local(frame, at, operand) {
            return Some(found);
        }
        let base = self.describe(frame, at, operand.base?, depth)?;
        if base.derived {
            return Some(Described { text: format!("memory at an address made from {}", base.text), ..base });
        }
        let target = base.value_type.as_ref().and_then(|of| of.target());
        if let Some((index, scale)) = operand.index {
            let index = self.describe(frame, at, index, depth).map_or_else(|| "...".to_owned(), |index| index.text);
            let size = target.as_ref().and_then(|target| target.size());
            if let Some(target) = target.filter(|_| size == Some(u64::from(scale)) || size.is_none()) {
                let text = format!("{}[{index}]", base.text);
                return Some(Described { text, value_type: Some(target), memory: None, derived: false });
            }
            let text = format!("{}[{index}]", base.text);
            return Some(Described { text, value_type: None, memory: None, derived: false });
        }
        let offset = u64::try_from(operand.displacement).ok();
        let part = offset.zip(target.as_ref()).and_then(|(offset, target)| part_at(target, offset));
        Some(match part {
            Some((path, part_type)) => {
                let text = match path.strip_prefix('.') {
                    Some(path) => format!("{}->{path}", base.text),
                    None if path.is_empty() => format!("*{}", base.text),
                    None => format!("(*{}){path}", base.text),
                };
                Described { text, value_type: Some(part_type), memory: None, derived: false }
            }
            None => {
                let text = match operand.displacement {
                    0 => format!("*{}", base.text),
                    more if more > 0 => format!("*({} + {more:#x})", base.text),
                    less => format!("*({} - {:#x})", base.text, less.unsigned_abs()),
                };
                Described { text, value_type: None, memory: None, derived: false }
            }
        })
    }

    /// The local variable that an operand on the stack is, or a part of one.
    fn local(&mut self, frame: usize, at: Va, operand: &Operand) -> Option<Described> {
        let places = self.places(at);
        let arch = self.engine.arch();
        let on_stack = operand.base == Some(arch.sp()) || operand.base == arch.register_by_name("rbp");
        let absolute = if on_stack && operand.index.is_none() { self.address_of(frame, operand) } else { None };
        for (name, place) in places.iter() {
            let offset = match place.at {
                PlaceKind::Based(base, start) if operand.base == Some(base) => Some(operand.displacement - start),
                PlaceKind::Based(base, start) => absolute.and_then(|at| {
                    let start = self.value(frame, base)?.wrapping_add_signed(start);
                    i64::try_from(at.0.wrapping_sub(start)).ok()
                }),
                _ => None,
            };
            let Some(offset) = offset.and_then(|offset| u64::try_from(offset).ok()) else { continue };
            let size = place.value_type.size().unwrap_or(1);
            if offset >= size {
                continue;
            }
            if let (Some((index, scale)), Some((element, _))) = (operand.index, place.value_type.element()) {
                let index = self.describe(frame, at, index, 2).map_or_else(|| "...".to_owned(), |index| index.text);
                let of = (element.size() == Some(u64::from(scale))).then_some(element);
                let text = format!("{name}[{index}]");
                return Some(Described { text, value_type: of, memory: None, derived: false });
            }
            let (path, part_type) = part_at(&place.value_type, offset)?;
            let text = format!("{name}{path}");
            return Some(Described { text, value_type: Some(part_type), memory: None, derived: false });
        }
        None
    }

    fn global(&mut self, at: Va) -> Option<Described> {
        let symbol = self.engine.symbol_at(at).filter(|symbol| !symbol.name.is_empty())?;
        let value = self.engine.global(&format!("{}!{}", symbol.module, symbol.name)).ok().flatten();
        let of = value.map(|value| value.value_type().clone());
        let part = of.as_ref().and_then(|of| part_at(of, symbol.displacement));
        Some(match part {
            Some((path, part_type)) => Described {
                text: format!("{}{path}", symbol.name),
                value_type: Some(part_type),
                memory: None,
                derived: false,
            },
            None => {
                let plus =
                    if symbol.displacement == 0 { String::new() } else { format!("+{:#x}", symbol.displacement) };
                Described { text: format!("{}{plus}", symbol.name), value_type: None, memory: None, derived: false }
            }
        })
    }

    fn note(&mut self, at: Va, text: String) {
        if self.steps.len() < STEP_LIMIT && self.steps.iter().all(|step| step.at != at) {
            self.steps.push(OriginStep { at, text });
        }
    }
}

/// Whether two names are one function's: libraries have `memcpy`, `__memcpy_avx_unaligned`, `__memcpy_chk`.
fn is_alias(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.trim_start_matches('_').to_owned();
    let (one, other) = (plain(one), plain(other));
    let stem = |name: &str| name.split('_').next().unwrap_or_default().to_owned();
    stem(&one) == stem(&other)
}

/// An operand without any names.
fn operand_words(operand: &Operand) -> String {
    let arch = outpost_base::Arch::X86_64;
    let name = |register| arch.register(register).map(|row| row.name).unwrap_or_default();
    let mut words = operand.base.map(|base| name(base).to_owned()).unwrap_or_default();
    if let Some((index, scale)) = operand.index {
        words.push_str(&format!("+{}*{scale}", name(index)));
    }
    match operand.displacement {
        0 => {}
        more if more > 0 => words.push_str(&format!("+{more:#x}")),
        less => words.push_str(&format!("-{:#x}", less.unsigned_abs())),
    }
    format!("[{words}]")
}

/// The words that say what an access does to what it is about.
pub(super) fn past(kind: AccessKind) -> &'static str {
    match kind {
        AccessKind::Read => "read",
        AccessKind::Write => "written",
        AccessKind::Execute => "called",
    }
}
