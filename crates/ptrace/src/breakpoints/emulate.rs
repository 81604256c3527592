//! Executing a displaced instruction without the processor: the fast way past a breakpoint.
//!
//! What functions and statements usually begin with is enough: pushes, stack adjustment, register moves, arithmetic on
//! registers and constants, `lea`, direct jumps and calls, returns. Memory operands other than the stack's are left to
//! the processor, since a copy by the kernel is not one atomic access. Flags are as Intel SDM vol. 1, 3.4.3.1 and the
//! instructions' pages in vol. 2 say; AF is cleared where the manual leaves it undefined.

use outpost_base::Va;
use outpost_target::{Fixup, FixupKind, PadCode};

use crate::sys::ptrace_registers::{GeneralRegisters, word};

/// A decoded instruction that can be emulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// Its length in bytes.
    pub(crate) len: u8,
    operation: Operation,
}

/// The debuggee's stack. A failed access leaves the instruction to the processor, which then faults as it should.
pub(crate) trait StackAccess {
    /// The word at `at`.
    fn load(&mut self, at: u64) -> Option<u64>;
    /// Stores a word, if the page may be written.
    fn store(&mut self, at: u64, value: u64) -> Option<()>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Nop,
    Push(Operand),
    Pop(u8),
    /// Copies; `wide`: 64 bits, else 32 with the upper half cleared.
    Move {
        to: u8,
        from: Operand,
        wide: bool,
    },
    Arithmetic {
        kind: Arithmetic,
        to: u8,
        from: Operand,
        wide: bool,
    },
    LoadAddress {
        to: u8,
        address: Address,
        wide: bool,
    },
    Jump {
        distance: i64,
        condition: Option<u8>,
    },
    Call {
        distance: i64,
    },
    Return,
    Leave,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operand {
    Register(u8),
    Constant(i64),
}

/// The eight of opcode group 1, in its order, and `test`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arithmetic {
    Add,
    Or,
    And,
    Subtract,
    Xor,
    Compare,
    Test,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Address {
    /// `None`: no base.
    base: Option<Base>,
    /// Register and shift.
    index: Option<(u8, u8)>,
    displacement: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    Register(u8),
    /// The address behind the instruction.
    NextInstruction,
}

/// Word of `user_regs_struct` for each register by its number in instructions.
const WORDS: [usize; 16] = [10, 11, 12, 5, 19, 4, 13, 14, 9, 8, 7, 6, 3, 2, 1, 0];
const RSP: u8 = 4;
const RBP: u8 = 5;

const CF: u64 = 1 << 0;
const PF: u64 = 1 << 2;
const AF: u64 = 1 << 4;
const ZF: u64 = 1 << 6;
const SF: u64 = 1 << 7;
const OF: u64 = 1 << 11;

/// Decodes the instruction that `code` starts with; `None` if it is not one of those emulated.
/// Source: Intel SDM vol. 2, 2.1 and 2.2 (formats), appendix A (opcode maps).
pub(crate) fn decode(code: &[u8]) -> Option<Instruction> {
    let mut bytes = Bytes { code, at: 0 };
    let operation = bytes.operation()?;
    Some(Instruction { len: u8::try_from(bytes.at).ok()?, operation })
}

impl Instruction {
    /// The instruction, which stands at `at` and begins `code`, as a pad; `None` for none of position-independent form.
    pub(crate) fn pad(self, at: Va, code: &[u8]) -> Option<PadCode> {
        let expected = code.get(..usize::from(self.len))?.to_vec();
        let next = at + u64::from(self.len);
        let (mut bytes, mut fixups) = (Vec::new(), Vec::new());
        let mut relative = |bytes: &mut Vec<u8>, destination| {
            fixups.push(Fixup { offset: bytes.len() as u16, kind: FixupKind::Relative32, destination });
            bytes.extend_from_slice(&[0; 4]);
        };
        let mut goes_on = true;
        match self.operation {
            Operation::LoadAddress {
                address: Address { base: Some(Base::NextInstruction), displacement, .. }, ..
            } => {
                // The displacement is the instruction's last field.
                bytes.extend_from_slice(&expected[..expected.len().checked_sub(4)?]);
                relative(&mut bytes, next.wrapping_offset(displacement));
            }
            Operation::Jump { distance, condition: None } => {
                bytes.push(0xe9);
                relative(&mut bytes, next.wrapping_offset(distance));
                goes_on = false;
            }
            Operation::Jump { distance, condition: Some(condition) } => {
                bytes.extend_from_slice(&[0x0f, 0x80 | condition]);
                relative(&mut bytes, next.wrapping_offset(distance));
            }
            Operation::Call { distance } => {
                // push imm32; mov dword ptr [rsp + 4], imm32: no flag and no register changes.
                bytes.push(0x68);
                bytes.extend_from_slice(&(next.0 as u32).to_le_bytes());
                bytes.extend_from_slice(&[0xc7, 0x44, 0x24, 0x04]);
                bytes.extend_from_slice(&((next.0 >> 32) as u32).to_le_bytes());
                bytes.push(0xe9);
                relative(&mut bytes, next.wrapping_offset(distance));
                goes_on = false;
            }
            Operation::Return => {
                bytes.extend_from_slice(&expected);
                goes_on = false;
            }
            _ => bytes.extend_from_slice(&expected),
        }
        if goes_on {
            bytes.push(0xe9);
            relative(&mut bytes, next);
        }
        Some(PadCode { bytes, fixups, expected })
    }

    /// Executes it for a thread at its address; `None`: nothing was changed, the processor must do it.
    pub(crate) fn execute(self, registers: &mut GeneralRegisters, stack: &mut dyn StackAccess) -> Option<()> {
        let next = registers.pc().wrapping_add(u64::from(self.len));
        let mut pc = next;
        let sp = registers.sp();
        match self.operation {
            Operation::Nop => {}
            Operation::Push(from) => {
                stack.store(sp.wrapping_sub(8), value(registers, from))?;
                set(registers, RSP, sp.wrapping_sub(8));
            }
            Operation::Pop(to) => {
                let popped = stack.load(sp)?;
                set(registers, RSP, sp.wrapping_add(8));
                set(registers, to, popped);
            }
            Operation::Move { to, from, wide } => {
                let moved = value(registers, from);
                set(registers, to, cut(moved, wide));
            }
            Operation::Arithmetic { kind, to, from, wide } => {
                let second = cut(value(registers, from), wide);
                let first = cut(get(registers, to), wide);
                let (result, flags) = compute(kind, first, second, wide);
                if !matches!(kind, Arithmetic::Compare | Arithmetic::Test) {
                    set(registers, to, result);
                }
                let kept = registers.0[word::FLAGS] & !(CF | PF | AF | ZF | SF | OF);
                registers.0[word::FLAGS] = kept | flags;
            }
            Operation::LoadAddress { to, address, wide } => {
                let address = address.resolve(registers, next);
                set(registers, to, cut(address, wide));
            }
            Operation::Jump { distance, condition } => {
                if condition.is_none_or(|condition| holds(condition, registers.0[word::FLAGS])) {
                    pc = next.wrapping_add_signed(distance);
                }
            }
            Operation::Call { distance } => {
                stack.store(sp.wrapping_sub(8), next)?;
                set(registers, RSP, sp.wrapping_sub(8));
                pc = next.wrapping_add_signed(distance);
            }
            Operation::Return => {
                pc = stack.load(sp)?;
                set(registers, RSP, sp.wrapping_add(8));
            }
            Operation::Leave => {
                let frame = get(registers, RBP);
                let saved = stack.load(frame)?;
                set(registers, RSP, frame.wrapping_add(8));
                set(registers, RBP, saved);
            }
        }
        registers.set_pc(pc);
        Some(())
    }
}

/// A cursor over an instruction's bytes.
struct Bytes<'a> {
    code: &'a [u8],
    at: usize,
}

/// The REX prefix's bits (SDM vol. 2, table 2-4).
#[derive(Clone, Copy, Default)]
struct Rex(u8);

impl Rex {
    fn wide(self) -> bool {
        self.0 & 8 != 0
    }
    fn reg(self) -> u8 {
        (self.0 & 4) << 1
    }
    fn index(self) -> u8 {
        (self.0 & 2) << 2
    }
    fn base(self) -> u8 {
        (self.0 & 1) << 3
    }
}

/// A decoded ModRM byte: the middle field, and a register or an address.
struct ModRm {
    reg: u8,
    operand: RegisterOrMemory,
}

enum RegisterOrMemory {
    Register(u8),
    Memory(Address),
}

impl Bytes<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.code.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn signed8(&mut self) -> Option<i64> {
        Some(i64::from(self.byte()? as i8))
    }

    fn signed32(&mut self) -> Option<i64> {
        let bytes = self.code.get(self.at..self.at + 4)?;
        self.at += 4;
        Some(i64::from(i32::from_le_bytes(bytes.try_into().ok()?)))
    }

    fn operation(&mut self) -> Option<Operation> {
        if self.code.starts_with(&[0xf3, 0x0f, 0x1e, 0xfa]) {
            self.at = 4; // endbr64
            return Some(Operation::Nop);
        }
        let mut narrow = false;
        let mut opcode = self.byte()?;
        // Operand size and CS prefixes occur in padding: nop forms only, as checked below.
        while matches!(opcode, 0x66 | 0x2e) {
            narrow = true;
            opcode = self.byte()?;
        }
        let mut rex = Rex::default();
        if opcode & 0xf0 == 0x40 {
            rex = Rex(opcode);
            opcode = self.byte()?;
        }
        let wide = rex.wide();
        if narrow && !matches!(opcode, 0x90 | 0x0f) {
            return None;
        }
        Some(match opcode {
            // With REX.B it is an exchange with r8.
            0x90 if rex.base() == 0 => Operation::Nop,
            0x50..=0x57 => Operation::Push(Operand::Register(opcode & 7 | rex.base())),
            0x58..=0x5f => Operation::Pop(opcode & 7 | rex.base()),
            0x6a => Operation::Push(Operand::Constant(self.signed8()?)),
            0x68 => Operation::Push(Operand::Constant(self.signed32()?)),
            0x89 => {
                self.between_registers(rex, |reg, rm| Operation::Move { to: rm, from: Operand::Register(reg), wide })?
            }
            0x8b => {
                self.between_registers(rex, |reg, rm| Operation::Move { to: reg, from: Operand::Register(rm), wide })?
            }
            0xb8..=0xbf if !wide => {
                Operation::Move { to: opcode & 7 | rex.base(), from: Operand::Constant(self.signed32()?), wide }
            }
            0xc7 => {
                let modrm = self.modrm(rex)?;
                let RegisterOrMemory::Register(to) = modrm.operand else { return None };
                (modrm.reg & 7 == 0).then_some(())?;
                Operation::Move { to, from: Operand::Constant(self.signed32()?), wide }
            }
            0x8d => {
                let modrm = self.modrm(rex)?;
                let RegisterOrMemory::Memory(address) = modrm.operand else { return None };
                Operation::LoadAddress { to: modrm.reg, address, wide }
            }
            0x83 | 0x81 => {
                let modrm = self.modrm(rex)?;
                let RegisterOrMemory::Register(to) = modrm.operand else { return None };
                let kind = group1(modrm.reg & 7)?;
                let constant = if opcode == 0x83 { self.signed8()? } else { self.signed32()? };
                Operation::Arithmetic { kind, to, from: Operand::Constant(constant), wide }
            }
            0x85 => self.between_registers(rex, |reg, rm| Operation::Arithmetic {
                kind: Arithmetic::Test,
                to: rm,
                from: Operand::Register(reg),
                wide,
            })?,
            // Group 1 with registers: opcode bits 3 to 5 name it, then `rm, reg` (1) or `reg, rm` (3).
            0x00..=0x3f if opcode & 7 == 1 => {
                let kind = group1(opcode >> 3)?;
                let operation = |reg, rm| Operation::Arithmetic { kind, to: rm, from: Operand::Register(reg), wide };
                self.between_registers(rex, operation)?
            }
            0x00..=0x3f if opcode & 7 == 3 => {
                let kind = group1(opcode >> 3)?;
                let operation = |reg, rm| Operation::Arithmetic { kind, to: reg, from: Operand::Register(rm), wide };
                self.between_registers(rex, operation)?
            }
            0xeb => Operation::Jump { distance: self.signed8()?, condition: None },
            0xe9 => Operation::Jump { distance: self.signed32()?, condition: None },
            0x70..=0x7f => Operation::Jump { distance: self.signed8()?, condition: Some(opcode & 15) },
            0xe8 => Operation::Call { distance: self.signed32()? },
            0xc3 => Operation::Return,
            0xc9 => Operation::Leave,
            0x0f => match self.byte()? {
                0x1f => {
                    self.modrm(rex)?;
                    Operation::Nop
                }
                near @ 0x80..=0x8f if !narrow => {
                    Operation::Jump { distance: self.signed32()?, condition: Some(near & 15) }
                }
                _ => return None,
            },
            _ => return None,
        })
    }

    fn between_registers(&mut self, rex: Rex, operation: impl Fn(u8, u8) -> Operation) -> Option<Operation> {
        let modrm = self.modrm(rex)?;
        let RegisterOrMemory::Register(rm) = modrm.operand else { return None };
        Some(operation(modrm.reg, rm))
    }

    /// ModRM, SIB and displacement (SDM vol. 2, 2.1.3 to 2.1.5 and 2.2.1.6).
    fn modrm(&mut self, rex: Rex) -> Option<ModRm> {
        let byte = self.byte()?;
        let (mode, rm) = (byte >> 6, byte & 7);
        let reg = (byte >> 3) & 7 | rex.reg();
        if mode == 3 {
            return Some(ModRm { reg, operand: RegisterOrMemory::Register(rm | rex.base()) });
        }
        let (mut base, mut index) = (Some(Base::Register(rm | rex.base())), None);
        let mut far = mode == 2;
        if rm == 4 {
            let sib = self.byte()?;
            let register = (sib >> 3) & 7 | rex.index();
            index = (register != RSP).then_some((register, sib >> 6));
            base = Some(Base::Register(sib & 7 | rex.base()));
            if sib & 7 == 5 && mode == 0 {
                base = None;
                far = true;
            }
        } else if rm == 5 && mode == 0 {
            base = Some(Base::NextInstruction);
            far = true;
        }
        let displacement = match (far, mode) {
            (true, _) => self.signed32()?,
            (false, 1) => self.signed8()?,
            _ => 0,
        };
        Some(ModRm { reg, operand: RegisterOrMemory::Memory(Address { base, index, displacement }) })
    }
}

impl Address {
    fn resolve(self, registers: &GeneralRegisters, next: u64) -> u64 {
        let base = match self.base {
            Some(Base::Register(register)) => get(registers, register),
            Some(Base::NextInstruction) => next,
            None => 0,
        };
        let index = self.index.map_or(0, |(register, shift)| get(registers, register) << shift);
        base.wrapping_add(index).wrapping_add_signed(self.displacement)
    }
}

fn group1(number: u8) -> Option<Arithmetic> {
    Some(match number {
        0 => Arithmetic::Add,
        1 => Arithmetic::Or,
        4 => Arithmetic::And,
        5 => Arithmetic::Subtract,
        6 => Arithmetic::Xor,
        7 => Arithmetic::Compare,
        _ => return None,
    })
}

fn get(registers: &GeneralRegisters, register: u8) -> u64 {
    registers.0[WORDS[usize::from(register & 15)]]
}

fn set(registers: &mut GeneralRegisters, register: u8, value: u64) {
    registers.0[WORDS[usize::from(register & 15)]] = value;
}

fn value(registers: &GeneralRegisters, operand: Operand) -> u64 {
    match operand {
        Operand::Register(register) => get(registers, register),
        Operand::Constant(constant) => constant as u64,
    }
}

fn cut(value: u64, wide: bool) -> u64 {
    if wide { value } else { value & 0xffff_ffff }
}

/// Result and flags; operands and result are cut to the operand size.
fn compute(kind: Arithmetic, first: u64, second: u64, wide: bool) -> (u64, u64) {
    let result = cut(
        match kind {
            Arithmetic::Add => first.wrapping_add(second),
            Arithmetic::Subtract | Arithmetic::Compare => first.wrapping_sub(second),
            Arithmetic::And | Arithmetic::Test => first & second,
            Arithmetic::Or => first | second,
            Arithmetic::Xor => first ^ second,
        },
        wide,
    );
    let sign = |value: u64| value >> (if wide { 63 } else { 31 }) & 1 == 1;
    let (carry, overflow, adjust) = match kind {
        Arithmetic::Add => {
            let overflow = sign(first) == sign(second) && sign(result) != sign(first);
            (result < first, overflow, (first ^ second ^ result) & 0x10 != 0)
        }
        Arithmetic::Subtract | Arithmetic::Compare => {
            let overflow = sign(first) != sign(second) && sign(result) != sign(first);
            (first < second, overflow, (first ^ second ^ result) & 0x10 != 0)
        }
        _ => (false, false, false),
    };
    let flag = |bit, is_set| if is_set { bit } else { 0 };
    let even_parity = (result as u8).count_ones().is_multiple_of(2);
    let flags = flag(CF, carry)
        | flag(OF, overflow)
        | flag(AF, adjust)
        | flag(ZF, result == 0)
        | flag(SF, sign(result))
        | flag(PF, even_parity);
    (result, flags)
}

/// Whether a condition code holds (SDM vol. 2, appendix B.1.4.7).
fn holds(condition: u8, flags: u64) -> bool {
    let is_set = |bit| flags & bit != 0;
    let less = is_set(SF) != is_set(OF);
    let truth = match condition >> 1 {
        0 => is_set(OF),
        1 => is_set(CF),
        2 => is_set(ZF),
        3 => is_set(CF | ZF),
        4 => is_set(SF),
        5 => is_set(PF),
        6 => less,
        _ => is_set(ZF) || less,
    };
    truth != (condition & 1 == 1)
}
