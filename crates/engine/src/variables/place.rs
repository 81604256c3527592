//! How a variable is reached at an address, whatever frame is there: for conditions that run beside the target.
//!
//! Its location is evaluated twice in made-up frames, each register holding a number of its own. What comes out is one
//! of those numbers plus something small, and the same something both times. Where optimised code has no more of a variable
//! than a computation (`orders + 16 * rdx`), that is a sum of multiples of registers: each is found by a frame in which only
//! that register is not 0, and the whole is believed if it holds for numbers that have nothing to do with each other.

use std::sync::Arc;

use outpost_base::{Arch, LoadBias, MemoryReader, RegisterContext, RegisterGroup, RegisterId, RegisterValue, Va};
use outpost_symbols::{CallerFrame, FrameContext, SymbolKind, Value, ValueLocation, Variable, Variables};
use outpost_unwind::{Frame, FrameRegisters, UnwindModules, unwind_frame};

use crate::Engine;
use crate::expr::{Name, Place, PlaceKind, RegisterSum};
use crate::stack::ProcessCode;

/// Distance of made-up register values; frames are smaller.
const SPACING: u64 = 1 << 40;
/// Largest offset that counts as being from a register.
const MAX_OFFSET: i64 = 1 << 31;
/// Frames that a sum has to hold for.
const PROOFS: u64 = 8;

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
    /// registers up.
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
        let arch = self.arch();
        let evaluate = |registers: &RegisterContext, cfa: Option<Va>| {
            let mut frame = MadeUpFrame { registers: registers.clone(), cfa, at, bias, memory: &mut NoMemory };
            variables.value(variable, &mut frame)
        };
        let [first, second] = [0x10, 0x55].map(|first| made_up_registers(arch, first, at));
        let [first_cfa, second_cfa] = [&first, &second].map(|registers| cfa_of(registers, &mut code));
        let (value, again) = (evaluate(&first, first_cfa), evaluate(&second, second_cfa));
        let sum = || {
            let base = based_on(&first, first_cfa?)?;
            // Only then it is known for other numbers, too.
            (based_on(&second, second_cfa?)? == base).then_some(())?;
            let bits = |numbers: &dyn Fn(u64) -> u64| {
                let registers = registers_of(arch, at, numbers);
                let cfa = Va(registers.get_u64(base.0)?.wrapping_add_signed(base.1));
                number_of(&evaluate(&registers, Some(cfa)))
            };
            sum_of(arch, bits)
        };
        let kind = match (value.location(), again.location()) {
            (ValueLocation::Register { dwarf, bit: 0 }, again) if value.location() == again => {
                PlaceKind::Register(arch.register_by_dwarf(dwarf)?)
            }
            (ValueLocation::Address(one), ValueLocation::Address(two)) if one == two => PlaceKind::Fixed(one),
            (ValueLocation::Address(one), ValueLocation::Address(two)) => {
                match based_on(&first, one).filter(|found| based_on(&second, two) == Some(*found)) {
                    Some((id, offset)) => PlaceKind::Based(id, offset),
                    None => PlaceKind::Sum(sum()?),
                }
            }
            (ValueLocation::Bytes(_), ValueLocation::Bytes(_)) => PlaceKind::Value(sum()?),
            _ => return None,
        };
        Some(Place { value_type: value.value_type().clone(), at: kind })
    }
}

/// General registers with numbers far from each other; pc is where the code stops.
fn made_up_registers(arch: Arch, first: u64, at: Va) -> RegisterContext {
    registers_of(arch, at, &|number| (first + number) * SPACING)
}

/// General registers with these numbers, by their places among them.
fn registers_of(arch: Arch, at: Va, numbers: &dyn Fn(u64) -> u64) -> RegisterContext {
    let mut registers = RegisterContext::new(arch);
    for (number, id) in general_registers(arch).enumerate() {
        registers.set(id, RegisterValue::from_u64(numbers(number as u64), 64));
    }
    registers.set_pc(at);
    registers
}

/// What was computed: an address, or a value of so many bytes.
fn number_of(value: &Value) -> Option<(u64, u32)> {
    match value.location() {
        ValueLocation::Address(at) => Some((at.0, 8)),
        ValueLocation::Bytes(bytes) if matches!(bytes.len(), 1 | 2 | 4 | 8) => {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(&bytes);
            Some((u64::from_le_bytes(word), bytes.len() as u32))
        }
        _ => None,
    }
}

/// The sum of multiples of registers that `bits` computes, if it is one. Values of fewer than 8 bytes are those of the sum's.
fn sum_of(arch: Arch, bits: impl Fn(&dyn Fn(u64) -> u64) -> Option<(u64, u32)>) -> Option<RegisterSum> {
    let (constant, len) = bits(&|_| 0)?;
    let shown = |number: u64| if len < 8 { number & ((1 << (8 * len)) - 1) } else { number };
    let mut factors = Vec::new();
    for (number, id) in general_registers(arch).enumerate() {
        let (alone, _) = bits(&|other| u64::from(other == number as u64))?;
        let factor = shown(alone.wrapping_sub(constant));
        if factor != 0 {
            factors.push((number as u64, id, factor));
        }
    }
    let mut terms = [None; RegisterSum::MAX_TERMS];
    if factors.len() > terms.len() {
        return None;
    }
    let holds = |seed: u64| {
        let numbers = |number: u64| mixed(seed << 8 | number);
        let sum = factors
            .iter()
            .fold(constant, |sum, (number, _, factor)| sum.wrapping_add(numbers(*number).wrapping_mul(*factor)));
        bits(&numbers) == Some((shown(sum), len))
    };
    if !(0..PROOFS).all(holds) {
        return None;
    }
    for (slot, (_, id, factor)) in terms.iter_mut().zip(&factors) {
        *slot = Some((*id, *factor));
    }
    Some(RegisterSum { constant, terms })
}

/// A number that has nothing to do with that of its neighbours (splitmix64).
fn mixed(seed: u64) -> u64 {
    let mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found of a computation over the numbers of rax and rbx.
    fn found(len: u32, compute: impl Fn(u64, u64) -> Option<u64>) -> Option<(u64, Vec<(&'static str, u64)>)> {
        let arch = Arch::X86_64;
        let place = |name: &str| {
            let id = arch.register_by_name(name).unwrap();
            general_registers(arch).position(|other| other == id).unwrap() as u64
        };
        let (rax, rbx) = (place("rax"), place("rbx"));
        let mask = u64::MAX >> (64 - 8 * len);
        let sum = sum_of(arch, |numbers| Some((compute(numbers(rax), numbers(rbx))? & mask, len)))?;
        let named = |(id, factor): (RegisterId, u64)| (arch.register(id).unwrap().name, factor);
        let mut terms: Vec<_> = sum.terms.into_iter().flatten().map(named).collect();
        terms.sort_unstable();
        Some((sum.constant, terms))
    }

    #[test]
    fn sums_of_registers_are_told_from_what_only_looks_like_them() {
        let both = |one, other| vec![("rax", one), ("rbx", other)];
        assert_eq!(found(8, |rax, rbx| Some(rax.wrapping_add(rbx << 4))), Some((0, both(1, 16))));
        assert_eq!(
            found(8, |rax, rbx| Some(rbx.wrapping_sub(rax).wrapping_sub(1))),
            Some((u64::MAX, both(u64::MAX, 1)))
        );
        assert_eq!(found(4, |rax, _| Some(rax.wrapping_sub(3))), Some((0xffff_fffd, vec![("rax", 1)])));
        assert_eq!(found(8, |_, _| Some(42)), Some((42, Vec::new())));
        for no_sum in [
            (|rax, _| Some(rax >> 1)) as fn(u64, u64) -> Option<u64>,
            |rax, _| Some(rax & 0xffff_ffff),
            |rax, rbx| Some(rax.wrapping_mul(rbx)),
            |rax, rbx| Some(if rax < rbx { rax } else { rbx }),
            |rax, _| Some(i64::from(rax as i32) as u64),
            |rax, rbx| Some(if rax == 1 { rbx } else { rax }),
            |rax, _| (rax != 0).then_some(rax),
        ] {
            assert_eq!(found(8, no_sum), None);
        }
    }
}
