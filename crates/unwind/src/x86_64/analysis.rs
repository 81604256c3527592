//! Unwinding by the function's own instructions, from its entry to where it stands or from there to its return.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use iced_x86::{FlowControl, InstructionInfoFactory, OpKind, Register};
use outpost_base::{MemoryReader, RegisterId, Va, VaRange};

use super::code::{Before, Code};
use super::simulate::{Base, CALLEE_SAVED, Flow, NAMES, RSP, State, Value};
use crate::{FrameAddress, FrameRegisters};

/// Instructions executed per analysis. Ninety-nine of a hundred functions have fewer than a thousand.
const MAX_STEPS: usize = 32 * 1024;

/// A caller that instructions led to.
pub(crate) struct Found {
    /// Canonical frame address.
    pub(crate) cfa: Va,
    /// The caller's registers; its program counter is the return address.
    pub(crate) caller: FrameRegisters,
}

/// Follows the code from the entry of `function` on all paths until one is at the frame's address.
///
/// The stack pointer's distance from its value at entry is the same on every path, else the code could not return.
/// Needs no more memory than the code and the words of the result.
pub(super) fn from_entry(
    function: VaRange,
    address: FrameAddress,
    registers: &FrameRegisters,
    code: &mut Code<'_>,
) -> Option<Found> {
    let state = state_at(function, address, code)?;
    let bases = Bases::resolve(&state, registers, code)?;
    let entry_sp = bases.entry_sp;
    let return_address = code.memory().read_u64(Va(entry_sp))?;
    let cfa = Va(entry_sp.wrapping_add(8));
    let mut caller = super::registers_kept_by_calls(registers);
    for register in CALLEE_SAVED {
        let Some(id) = id(registers, register) else { continue };
        if state.registers[register] == Some(Value::entry(register)) {
            continue;
        }
        let slot = state.slots.iter().find(|(_, contents)| *contents == Some(Value::entry(register)));
        match slot.and_then(|(slot, _)| code.memory().read_u64(Va(bases.number(*slot)?))) {
            Some(value) => caller.set(id, value),
            None => caller.forget(id),
        }
    }
    finish(caller, cfa, return_address)
}

/// Follows the code from the frame's address until it returns, executing on the frame's registers and stack what
/// restores those of the caller. `function` bounds the search, if it is known.
///
/// Paths that end in a place no call returns to are given up; so a call that never returns, behind which foreign code
/// follows, does little harm.
pub(super) fn to_return(
    function: Option<VaRange>,
    address: FrameAddress,
    registers: &FrameRegisters,
    code: &mut Code<'_>,
) -> Option<Found> {
    let mut bounds = function;
    let mut explorer = Explorer::new(address.address(), state_of(registers));
    while let Some((at, mut state)) = explorer.next() {
        let Some(instruction) = code.decode(at) else { continue };
        let flow = state.step(&instruction, &mut explorer.info, code.memory());
        let leaves_to = match flow {
            Flow::Jump(target) if bounds.is_some_and(|bounds| !bounds.contains(target)) => Some(target),
            _ => None,
        };
        let returns_here = match flow {
            Flow::Return => true,
            Flow::Jump(_) => leaves_to.is_some(),
            // A pointer in memory at a fixed place is an import's, so this is a tail call; others may be tables.
            Flow::IndirectJump => {
                instruction.op0_kind() == OpKind::Memory && instruction.memory_base() == Register::RIP
            }
            _ => false,
        };
        if returns_here && let Some(found) = returned(&state, registers, code) {
            return Some(found);
        }
        match leaves_to {
            // No tail call, for there is no return address: it goes from the cold part of a function to the hot one.
            Some(target) => {
                bounds = None;
                explorer.add(target, state);
            }
            None => explorer
                .follow(flow, Va(instruction.next_ip()), state, |at| bounds.is_none_or(|bounds| bounds.contains(at))),
        }
    }
    None
}

/// The caller, if the next few instructions do nothing but return to it.
///
/// gcc's rows are wrong there in functions that realign the stack: they still find registers through the frame pointer
/// when that is the caller's already.
pub(crate) fn in_epilogue(registers: &FrameRegisters, memory: &mut dyn MemoryReader) -> Option<Found> {
    const LONGEST: usize = 10;
    let mut code = Code::new(memory);
    let mut info = InstructionInfoFactory::new();
    let mut state = state_of(registers);
    let mut at = registers.pc();
    for _ in 0..LONGEST {
        let instruction = code.decode(at)?;
        if instruction.flow_control() == FlowControl::Return {
            return returned(&state, registers, &mut code);
        }
        let is_plain = instruction.flow_control() == FlowControl::Next;
        if !is_plain || state.step(&instruction, &mut info, code.memory()) != Flow::Next {
            return None;
        }
        at = Va(instruction.next_ip());
    }
    None
}

/// The frame's registers as numbers.
fn state_of(registers: &FrameRegisters) -> State {
    State {
        registers: std::array::from_fn(|register| {
            let value = registers.get_u64(id(registers, register)?)?;
            Some(Value::number(value))
        }),
        slots: Vec::new(),
    }
}

fn returned(state: &State, registers: &FrameRegisters, code: &mut Code<'_>) -> Option<Found> {
    let sp = state.registers[RSP]?;
    let return_address = state.load(sp, code.memory())?.as_number()?;
    if !matches!(code.before(Va(return_address)), Before::Call(_)) {
        return None;
    }
    let mut caller = super::registers_kept_by_calls(registers);
    for register in CALLEE_SAVED {
        let Some(id) = id(registers, register) else { continue };
        match state.registers[register].and_then(Value::as_number) {
            Some(value) => caller.set(id, value),
            None => caller.forget(id),
        }
    }
    finish(caller, Va(sp.as_number()?.wrapping_add(8)), return_address)
}

fn finish(mut caller: FrameRegisters, cfa: Va, return_address: u64) -> Option<Found> {
    let arch = caller.arch();
    caller.set(arch.sp(), cfa.0);
    caller.set(arch.pc(), return_address);
    Some(Found { cfa, caller })
}

/// The state before the instruction at the address, or behind the call that a return address belongs to: what holds on
/// all paths that lead there.
fn state_at(function: VaRange, address: FrameAddress, code: &mut Code<'_>) -> Option<State> {
    if !function.contains(address.lookup_address()) {
        return None;
    }
    let is_inside = |at: Va| function.contains(at);
    let mut explorer = Explorer::new(function.start, State::at_entry());
    let mut behind_call: Option<State> = None;
    // Blocks that only a table leads to are not reached; they continue the state at the jump through the table.
    let mut at_table: Option<State> = None;
    let mut dead_ends = VecDeque::new();
    loop {
        let Some((at, mut state)) = explorer.next() else {
            match (dead_ends.pop_front(), &at_table) {
                (Some(behind), Some(_)) if explorer.states.contains_key(&behind) => {}
                (Some(behind), Some(state)) => explorer.add(behind, state.clone()),
                _ => break,
            }
            continue;
        };
        let Some(instruction) = code.decode(at) else { continue };
        let flow = state.step(&instruction, &mut explorer.info, code.memory());
        let next = Va(instruction.next_ip());
        if address == FrameAddress::ReturnAddress(next) && flow == Flow::Next {
            behind_call = Some(state.clone());
        }
        if flow == Flow::IndirectJump && at_table.is_none() {
            at_table = Some(state.clone());
        }
        if !matches!(flow, Flow::Next | Flow::Fork(_)) && is_inside(next) {
            dead_ends.push_back(next);
        }
        explorer.follow(flow, next, state, is_inside);
    }
    match address {
        FrameAddress::Pc(pc) => explorer.states.remove(&pc),
        FrameAddress::ReturnAddress(_) => behind_call,
    }
}

/// Breadth-first search over instructions. Where paths meet, what they have in common goes on.
struct Explorer {
    queue: VecDeque<Va>,
    states: HashMap<Va, State>,
    steps: usize,
    info: InstructionInfoFactory,
}

impl Explorer {
    fn new(at: Va, state: State) -> Explorer {
        let info = InstructionInfoFactory::new();
        let mut explorer = Explorer { queue: VecDeque::new(), states: HashMap::new(), steps: 0, info };
        explorer.add(at, state);
        explorer
    }

    fn add(&mut self, at: Va, state: State) {
        match self.states.entry(at) {
            Entry::Occupied(mut known) => {
                if known.get_mut().join(&state) && !self.queue.contains(&at) {
                    self.queue.push_back(at);
                }
            }
            Entry::Vacant(new) => {
                new.insert(state);
                self.queue.push_back(at);
            }
        }
    }

    fn next(&mut self) -> Option<(Va, State)> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return None;
        }
        let at = self.queue.pop_front()?;
        Some((at, self.states.get(&at)?.clone()))
    }

    fn follow(&mut self, flow: Flow, next: Va, state: State, is_inside: impl Fn(Va) -> bool) {
        match flow {
            Flow::Next if is_inside(next) => self.add(next, state),
            Flow::Jump(target) if is_inside(target) => self.add(target, state),
            Flow::Fork(target) => {
                if is_inside(target) {
                    self.add(target, state.clone());
                }
                if is_inside(next) {
                    self.add(next, state);
                }
            }
            _ => {}
        }
    }
}

/// The numbers behind the bases of a state.
struct Bases {
    entry_sp: u64,
    realigned: Option<u64>,
}

impl Bases {
    /// From a register that the state knows relative to a base and the frame knows as a number.
    fn resolve(state: &State, registers: &FrameRegisters, code: &mut Code<'_>) -> Option<Bases> {
        let find = |base: Base| {
            (0..NAMES.len()).find_map(|register| {
                let value = state.registers[register].filter(|value| value.base == base)?;
                let actual = registers.get_u64(id(registers, register)?)?;
                Some(actual.wrapping_add_signed(value.offset.wrapping_neg()))
            })
        };
        let realigned = find(Base::Realigned);
        let entry_sp = find(Base::Entry(RSP)).or_else(|| {
            // A function that realigned its stack keeps the old stack pointer in a word of the new one.
            let realigned = realigned?;
            state.slots.iter().find_map(|(slot, contents)| {
                let value = contents.filter(|value| value.base == Base::Entry(RSP))?;
                let at = (slot.base == Base::Realigned).then(|| realigned.wrapping_add_signed(slot.offset))?;
                Some(code.memory().read_u64(Va(at))?.wrapping_add_signed(value.offset.wrapping_neg()))
            })
        })?;
        Some(Bases { entry_sp, realigned })
    }

    fn number(&self, value: Value) -> Option<u64> {
        let base = match value.base {
            Base::Zero => 0,
            Base::Entry(RSP) => self.entry_sp,
            Base::Entry(_) => return None,
            Base::Realigned => self.realigned?,
        };
        Some(base.wrapping_add_signed(value.offset))
    }
}

fn id(registers: &FrameRegisters, register: usize) -> Option<RegisterId> {
    registers.arch().register_by_name(NAMES[register])
}
