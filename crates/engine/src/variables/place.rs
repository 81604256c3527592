//! How a variable is reached at an address, whatever frame is there: for conditions that run beside the target.
//!
//! Its location is evaluated twice in made-up frames, each register holding a number of its own. What comes out is one
//! of those numbers plus something small, and the same something both times, or it is not that simple.

use std::sync::Arc;

use outpost_base::{Arch, LoadBias, MemoryReader, RegisterContext, RegisterGroup, RegisterId, RegisterValue, Va};
use outpost_symbols::{CallerFrame, FrameContext, SymbolKind, ValueLocation, Variable, Variables};
use outpost_unwind::{Frame, FrameRegisters, UnwindModules, unwind_frame};

use crate::Engine;
use crate::expr::{Name, Place, PlaceKind};
use crate::stack::ProcessCode;

/// Distance of made-up register values; frames are smaller.
const SPACING: u64 = 1 << 40;
/// Largest offset that counts as being from a register.
const MAX_OFFSET: i64 = 1 << 31;

/// A frame whose registers hold made-up numbers.
struct MadeUpFrame<'a> {
    registers: RegisterContext,
    cfa: Option<Va>,
    at: Va,
    bias: LoadBias,
    memory: &'a mut NoMemory,
}

/// What a location must not need.
struct NoMemory;

impl MemoryReader for NoMemory {
    fn read(&mut self, _: Va, _: &mut [u8]) -> usize {
        0
    }
}

impl Engine {
    /// How each local of the code at `at` is reached, inlined functions' first; those that are not that simple are left
    /// out.
    pub(crate) fn places_at(&mut self, at: Va) -> Vec<(String, Place)> {
        let found = (|| {
            let process = self.current_process().ok()?;
            let (module, symbols) = self.module_symbols(process, at).ok()??;
            let variables = symbols.variables()?;
            let bias = module.info.bias;
            let activations = variables.activations_at(at.to_image(bias));
            let all = activations.into_iter().flat_map(|activation| activation.scopes);
            let all = all.flat_map(|scope| scope.variables).filter(|variable| !variable.shadowed);
            let all: Vec<_> = all.filter(|variable| !variable.name.is_empty()).collect();
            let places = all.iter().filter_map(|variable| {
                let place = self.place_of_local(variable, &variables, bias, at)?;
                Some((variable.name.clone(), place))
            });
            Some(places.collect())
        })();
        found.unwrap_or_default()
    }

    /// The local `name` of the code at `at`, with the variables of its image and where that is loaded.
    pub(crate) fn local_at(&mut self, name: &Name, at: Va) -> Option<(Variable, Arc<Variables>, LoadBias)> {
        if name.module.is_some() {
            return None;
        }
        let process = self.current_process().ok()?;
        let (module, symbols) = self.module_symbols(process, at).ok()??;
        let variables = symbols.variables()?;
        let bias = module.info.bias;
        let activation = variables.activations_at(at.to_image(bias)).into_iter().next()?;
        let mut all = activation.scopes.into_iter().flat_map(|scope| scope.variables);
        let variable = all.find(|variable| variable.name == name.text && !variable.shadowed)?;
        Some((variable, variables, bias))
    }

    /// How the local `name` is reached by code that stops at `at`; `None` if it is unknown there or takes more than adding
    /// a number to a register.
    pub(crate) fn local_place(&mut self, name: &Name, at: Va) -> Option<Place> {
        let (variable, variables, bias) = self.local_at(name, at)?;
        self.place_of_local(&variable, &variables, bias, at)
    }

    /// Where each thread has its copy of a thread-local variable of the program: at a fixed distance from the thread's
    /// control block (ELF Handling For Thread-Local Storage, 3.4.6: variant II). Those of libraries may be anywhere.
    pub(crate) fn program_thread_local(&mut self, name: &Name, at: Va) -> Option<Place> {
        if name.local || (name.module.is_none() && self.local_at(name, at).is_some()) {
            return None;
        }
        let text = name.to_string();
        let global = self.find_global(&text).ok()??;
        let address = global.value.address().filter(|_| global.is_per_thread)?;
        let owner = self.find_name(&text).ok()?.into_iter();
        let owner =
            owner.filter(|found| found.kind == SymbolKind::ThreadLocal).find(|found| found.address == address)?;
        let process = self.current_process().ok()?;
        if !self.process(process).ok()?.modules.named(&owner.module).first()?.info.is_main {
            return None;
        }
        let thread = self.current_thread().ok()?;
        let distance = address.0.wrapping_sub(self.thread_pointer(thread)?.0) as i64;
        let base = self.arch().register_by_name("fs_base")?;
        Some(Place { value_type: global.value.value_type().clone(), at: PlaceKind::Based(base, distance) })
    }

    fn place_of_local(
        &mut self,
        variable: &Variable,
        variables: &Arc<Variables>,
        bias: LoadBias,
        at: Va,
    ) -> Option<Place> {
        let process = self.current_process().ok()?;
        let mut code = self.process_code(process).ok()?;
        let mut evaluate = |first: u64| {
            let registers = made_up_registers(self.arch(), first, at);
            let cfa = cfa_of(&registers, &mut code);
            let mut frame = MadeUpFrame { registers: registers.clone(), cfa, at, bias, memory: &mut NoMemory };
            (registers, variables.value(variable, &mut frame))
        };
        let (first, value) = evaluate(0x10);
        let (second, again) = evaluate(0x55);
        let arch = first.arch;
        let kind = match (value.location(), again.location()) {
            (ValueLocation::Register { dwarf, bit: 0 }, again) if value.location() == again => {
                PlaceKind::Register(arch.register_by_dwarf(dwarf)?)
            }
            (ValueLocation::Address(one), ValueLocation::Address(two)) if one == two => PlaceKind::Fixed(one),
            (ValueLocation::Address(one), ValueLocation::Address(two)) => {
                let (id, offset) = based_on(&first, one)?;
                if based_on(&second, two)? != (id, offset) {
                    return None;
                }
                PlaceKind::Based(id, offset)
            }
            _ => return None,
        };
        Some(Place { value_type: value.value_type().clone(), at: kind })
    }
}

/// General registers with numbers far from each other; pc is where the code stops.
fn made_up_registers(arch: Arch, first: u64, at: Va) -> RegisterContext {
    let mut registers = RegisterContext::new(arch);
    for (number, id) in general_registers(arch).enumerate() {
        let value = (first + number as u64) * SPACING;
        registers.set(id, RegisterValue::from_u64(value, 64));
    }
    registers.set_pc(at);
    registers
}

fn general_registers(arch: Arch) -> impl Iterator<Item = RegisterId> {
    let is_general = |row: &outpost_base::RegisterDef| row.group == RegisterGroup::General && row.bits == 64;
    let rows = arch.registers().iter().enumerate().filter(move |(_, row)| is_general(row) && row.dwarf.is_some());
    rows.map(|(at, _)| RegisterId(at as u16)).filter(move |id| *id != arch.pc())
}

/// The canonical frame address of a frame with these registers, as its rules compute it without memory.
fn cfa_of(registers: &RegisterContext, code: &mut ProcessCode) -> Option<Va> {
    let frame = Frame::innermost(FrameRegisters::from_context(registers.clone()));
    code.module_at(registers.pc())?;
    unwind_frame(&frame, code, &mut AnyMemory).cfa
}

/// Memory whose every word is a plausible address: the rules read the return address, which does not matter here.
struct AnyMemory;

impl MemoryReader for AnyMemory {
    fn read(&mut self, _: Va, buf: &mut [u8]) -> usize {
        buf.fill(1);
        buf.len()
    }
}

/// The register that `at` is near to, and how near.
fn based_on(registers: &RegisterContext, at: Va) -> Option<(RegisterId, i64)> {
    general_registers(registers.arch).find_map(|id| {
        let offset = at.0.wrapping_sub(registers.get_u64(id)?) as i64;
        (offset.abs() < MAX_OFFSET).then_some((id, offset))
    })
}

impl FrameContext for MadeUpFrame<'_> {
    fn memory(&mut self) -> &mut dyn MemoryReader {
        self.memory
    }

    fn load_bias(&self) -> LoadBias {
        self.bias
    }

    fn pc(&self) -> Option<Va> {
        Some(self.at)
    }

    fn lookup_address(&self) -> Option<Va> {
        Some(self.at)
    }

    fn register(&mut self, dwarf: u16) -> Option<RegisterValue> {
        self.registers.get(self.registers.arch.register_by_dwarf(dwarf)?)
    }

    fn cfa(&mut self) -> Option<Va> {
        self.cfa
    }

    fn thread_local(&mut self, _: u64) -> Option<Va> {
        None
    }

    fn caller(&mut self) -> Option<CallerFrame<'_>> {
        None
    }
}
