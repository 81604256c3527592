//! What instructions do to the stack pointer and to saved registers.
//!
//! A small abstract machine: sixteen integer registers and words of the stack, each holding a known number, a value the
//! function was entered with, or nothing known. It executes what compilers write to save, move and restore registers,
//! and forgets what any other instruction writes.

use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};
use outpost_base::{MemoryReader, Va};

/// Stack words per state. Functions save at most 6 registers and a little more.
const MAX_SLOTS: usize = 128;

pub(super) const RBX: usize = 3;
pub(super) const RSP: usize = 4;
pub(super) const RBP: usize = 5;
/// Registers in the order of their encoding.
pub(super) const NAMES: [&str; 16] =
    ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
/// Those of them that functions keep, apart from the stack pointer.
pub(super) const CALLEE_SAVED: [usize; 6] = [RBX, RBP, 12, 13, 14, 15];
/// Those that calls and system calls leave undefined.
const CALLER_SAVED: [usize; 9] = [0, 1, 2, 6, 7, 8, 9, 10, 11];

/// What a value is counted from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Base {
    /// Zero: the value is a number.
    Zero,
    /// What this register held at the function's entry.
    Entry(usize),
    /// The stack pointer after it was rounded down to an alignment, which is at an unknown distance from its old value.
    Realigned,
}

/// `base + offset`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Value {
    pub(super) base: Base,
    pub(super) offset: i64,
}

impl Value {
    pub(super) fn number(value: u64) -> Value {
        Value { base: Base::Zero, offset: value as i64 }
    }

    pub(super) fn entry(register: usize) -> Value {
        Value { base: Base::Entry(register), offset: 0 }
    }

    /// The number, if it is one.
    pub(super) fn as_number(self) -> Option<u64> {
        (self.base == Base::Zero).then_some(self.offset as u64)
    }

    fn plus(self, offset: i64) -> Value {
        Value { base: self.base, offset: self.offset.wrapping_add(offset) }
    }
}

/// Registers and stack at one point of the code.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) registers: [Option<Value>; 16],
    /// Words that were stored: address and contents.
    pub(super) slots: Vec<(Value, Option<Value>)>,
}

/// Where control goes after an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flow {
    /// To the next instruction.
    Next,
    /// To this address.
    Jump(Va),
    /// To this address or to the next instruction.
    Fork(Va),
    /// Through a pointer: to another function, or by a table within this one.
    IndirectJump,
    /// Back to the caller; the stack pointer is at the return address.
    Return,
    /// Nowhere that is known.
    End,
}

impl State {
    /// A function's entry: every register holds itself.
    pub(super) fn at_entry() -> State {
        State { registers: std::array::from_fn(|register| Some(Value::entry(register))), slots: Vec::new() }
    }

    /// Keeps what holds on another path to the same place as well; returns whether anything was lost.
    pub(super) fn join(&mut self, other: &State) -> bool {
        let mut changed = false;
        for (mine, other) in self.registers.iter_mut().zip(&other.registers) {
            if mine.is_some() && mine != other {
                *mine = None;
                changed = true;
            }
        }
        let before = self.slots.len();
        self.slots.retain(|slot| other.slots.contains(slot));
        changed || self.slots.len() != before
    }

    /// The word at `address`. Memory is only read for numbers, which only forward execution has.
    pub(super) fn load(&self, address: Value, memory: &mut dyn MemoryReader) -> Option<Value> {
        if let Some((_, contents)) = self.slots.iter().find(|(slot, _)| *slot == address) {
            return *contents;
        }
        memory.read_u64(Va(address.as_number()?)).map(Value::number)
    }

    fn store(&mut self, address: Value, contents: Option<Value>) {
        // A word that overlaps others spoils them.
        self.slots.retain(|(slot, _)| {
            slot.base != address.base || slot.offset.wrapping_sub(address.offset).unsigned_abs() >= 8
        });
        if self.slots.len() < MAX_SLOTS {
            self.slots.push((address, contents));
        }
    }

    fn push(&mut self, contents: Option<Value>) {
        let address = self.registers[RSP].map(|sp| sp.plus(-8));
        self.registers[RSP] = address;
        if let Some(address) = address {
            self.store(address, contents);
        }
    }

    fn pop(&mut self, memory: &mut dyn MemoryReader) -> Option<Value> {
        let sp = self.registers[RSP]?;
        self.registers[RSP] = Some(sp.plus(8));
        self.load(sp, memory)
    }

    /// Executes one instruction.
    pub(super) fn step(
        &mut self,
        instruction: &Instruction,
        info: &mut InstructionInfoFactory,
        memory: &mut dyn MemoryReader,
    ) -> Flow {
        match instruction.flow_control() {
            FlowControl::Next => {
                self.execute(instruction, info, memory);
                Flow::Next
            }
            FlowControl::Call | FlowControl::IndirectCall | FlowControl::Interrupt => {
                let is_trap = matches!(instruction.mnemonic(), Mnemonic::Int3 | Mnemonic::Int1);
                if is_trap {
                    return Flow::End;
                }
                for register in CALLER_SAVED {
                    self.registers[register] = None;
                }
                Flow::Next
            }
            FlowControl::UnconditionalBranch if is_direct(instruction) => Flow::Jump(Va(instruction.near_branch64())),
            FlowControl::ConditionalBranch if is_direct(instruction) => Flow::Fork(Va(instruction.near_branch64())),
            FlowControl::IndirectBranch => Flow::IndirectJump,
            FlowControl::Return if matches!(instruction.mnemonic(), Mnemonic::Ret) => Flow::Return,
            _ => Flow::End,
        }
    }

    fn execute(&mut self, instruction: &Instruction, info: &mut InstructionInfoFactory, memory: &mut dyn MemoryReader) {
        let (destination, source) = (register_operand(instruction, 0), register_operand(instruction, 1));
        match instruction.mnemonic() {
            Mnemonic::Push if instruction.stack_pointer_increment() == -8 => {
                let contents = match instruction.op0_kind() {
                    OpKind::Register => destination.and_then(|register| self.registers[register]),
                    _ => None,
                };
                self.push(contents);
            }
            Mnemonic::Pop if instruction.stack_pointer_increment() == 8 => {
                let contents = self.pop(memory);
                if let Some(register) = destination {
                    self.registers[register] = contents;
                }
            }
            Mnemonic::Leave => {
                self.registers[RSP] = self.registers[RBP];
                self.registers[RBP] = self.pop(memory);
            }
            Mnemonic::Mov if destination.is_some() && source.is_some() => {
                self.set(destination, source.and_then(|source| self.registers[source]));
            }
            Mnemonic::Mov if destination.is_some() && self.stack_address(instruction).is_some() => {
                let address = self.stack_address(instruction);
                let contents = address.and_then(|address| self.load(address, memory));
                self.set(destination, contents);
            }
            Mnemonic::Mov if source.is_some() && instruction.op0_kind() == OpKind::Memory => {
                if let Some(address) = self.stack_address(instruction) {
                    self.store(address, source.and_then(|source| self.registers[source]));
                }
            }
            Mnemonic::Lea if destination.is_some() => self.set(destination, self.plain_address(instruction)),
            Mnemonic::Add | Mnemonic::Sub if destination.is_some() && immediate(instruction).is_some() => {
                let amount = immediate(instruction).unwrap_or(0);
                let amount = if instruction.mnemonic() == Mnemonic::Sub { amount.wrapping_neg() } else { amount };
                let sum = destination.and_then(|register| self.registers[register]).map(|value| value.plus(amount));
                self.set(destination, sum);
            }
            Mnemonic::And if destination == Some(RSP) => {
                let mask = immediate(instruction);
                self.registers[RSP] = match (self.registers[RSP], mask) {
                    (Some(Value { base: Base::Zero, offset }), Some(mask)) => {
                        Some(Value::number((offset & mask) as u64))
                    }
                    (Some(Value { base: Base::Entry(_), .. }), Some(_)) => {
                        Some(Value { base: Base::Realigned, offset: 0 })
                    }
                    _ => None,
                };
            }
            _ => self.forget_what_it_writes(instruction, info),
        }
    }

    fn set(&mut self, register: Option<usize>, value: Option<Value>) {
        if let Some(register) = register {
            self.registers[register] = value;
        }
    }

    fn forget_what_it_writes(&mut self, instruction: &Instruction, info: &mut InstructionInfoFactory) {
        let info = info.info(instruction);
        for used in info.used_registers() {
            if is_write(used.access())
                && let Some(register) = number(used.register().full_register())
            {
                // Pushes of other widths, enter and the like: the change is known, the contents do not matter.
                self.registers[register] = match instruction.stack_pointer_increment() {
                    0 => None,
                    by if register == RSP => self.registers[RSP].map(|sp| sp.plus(i64::from(by))),
                    _ => None,
                };
            }
        }
        if instruction.op0_kind() == OpKind::Memory
            && is_write(info.op0_access())
            && let Some(address) = self.plain_address(instruction)
        {
            let size = instruction.memory_size().size() as i64;
            self.slots.retain(|(slot, _)| {
                let distance = slot.offset.wrapping_sub(address.offset);
                slot.base != address.base || distance >= size || distance <= -8
            });
        }
    }

    /// The address of a word-sized memory operand relative to the stack or frame pointer.
    fn stack_address(&self, instruction: &Instruction) -> Option<Value> {
        let is_stack = matches!(instruction.memory_base(), Register::RSP | Register::RBP | Register::R10);
        let is_word = instruction.memory_size().size() == 8;
        if is_stack && is_word { self.plain_address(instruction) } else { None }
    }

    /// The address of a memory operand of the form `[register + displacement]`.
    fn plain_address(&self, instruction: &Instruction) -> Option<Value> {
        let has_memory = (0..instruction.op_count()).any(|operand| instruction.op_kind(operand) == OpKind::Memory);
        if !has_memory || instruction.memory_index() != Register::None || instruction.segment_prefix() != Register::None
        {
            return None;
        }
        let base = self.registers[number(instruction.memory_base())?]?;
        Some(base.plus(instruction.memory_displacement64() as i64))
    }
}

fn is_direct(instruction: &Instruction) -> bool {
    instruction.op0_kind() == OpKind::NearBranch64
}

fn is_write(access: OpAccess) -> bool {
    matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
}

/// A 64-bit register's number in its encoding.
fn number(register: Register) -> Option<usize> {
    (register.is_gpr64()).then(|| register.number())
}

fn register_operand(instruction: &Instruction, operand: u32) -> Option<usize> {
    if instruction.op_count() <= operand || instruction.op_kind(operand) != OpKind::Register {
        return None;
    }
    number(instruction.op_register(operand))
}

fn immediate(instruction: &Instruction) -> Option<i64> {
    match instruction.op1_kind() {
        OpKind::Immediate8to64 | OpKind::Immediate32to64 | OpKind::Immediate64 => Some(instruction.immediate(1) as i64),
        _ => None,
    }
}
