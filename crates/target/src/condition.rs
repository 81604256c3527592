//! Breakpoint conditions: a small stack machine, verified before it is accepted, evaluated beside the target.
//!
//! A false condition costs no message, so this is what makes conditional breakpoints usable over a slow link. The
//! code comes from the other end of a wire: [`Condition::verify`] bounds its length, its stack and its running time
//! (jumps go forward only), and evaluation cannot panic. Layout of each operation is given at [`Op`].

use outpost_base::{MemoryReader, RegisterContext, RegisterId, Va};

/// Longest program in bytes.
pub const MAX_CODE: usize = 4096;
/// Deepest stack in values.
pub const MAX_STACK: usize = 32;

/// Operations; each is one byte, followed by its operand in little-endian order. Values are 64 bits wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// `u64`: pushes it.
    Constant = 0x01,
    /// `u16`: pushes the register of that [`RegisterId`], its low 64 bits.
    Register = 0x02,
    /// Size byte 1, 2, 4 or 8, with bit 7 set for sign extension: pops an address, pushes what is there.
    Load = 0x03,
    /// Copies the top.
    Duplicate = 0x04,
    /// Drops the top.
    Drop = 0x05,
    /// Swaps the two on top.
    Swap = 0x06,
    /// Wrapping addition.
    Add = 0x10,
    /// Wrapping subtraction: second minus top.
    Subtract = 0x11,
    /// Wrapping multiplication.
    Multiply = 0x12,
    /// Unsigned division; by zero is a fault.
    DivideUnsigned = 0x13,
    /// Signed division; by zero is a fault.
    DivideSigned = 0x14,
    /// Unsigned remainder.
    RemainderUnsigned = 0x15,
    /// Signed remainder.
    RemainderSigned = 0x16,
    /// Bitwise and.
    And = 0x17,
    /// Bitwise or.
    Or = 0x18,
    /// Bitwise exclusive or.
    Xor = 0x19,
    /// Second shifted left by top; 64 and more give 0.
    ShiftLeft = 0x1a,
    /// Logical right shift.
    ShiftRight = 0x1b,
    /// Arithmetic right shift.
    ShiftRightSigned = 0x1c,
    /// Bitwise complement.
    Complement = 0x1d,
    /// Two's complement negation.
    Negate = 0x1e,
    /// 1 if the top is 0, else 0.
    IsZero = 0x1f,
    /// 1 if equal.
    Equal = 0x20,
    /// 1 if second < top, unsigned.
    LessUnsigned = 0x21,
    /// 1 if second < top, signed.
    LessSigned = 0x22,
    /// 1 if second <= top, unsigned.
    LessEqualUnsigned = 0x23,
    /// 1 if second <= top, signed.
    LessEqualSigned = 0x24,
    /// Size byte 1, 2 or 4: sign-extends the low bytes of the top.
    SignExtend = 0x28,
    /// Size byte 1, 2 or 4: keeps the low bytes of the top.
    Truncate = 0x29,
    /// `u16`: pops; if it was 0, skips that many bytes of code.
    SkipIfZero = 0x30,
    /// `u16`: skips that many bytes of code.
    Skip = 0x31,
    /// Ends; the top is the result.
    Return = 0x3f,
}

/// Why code was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Longer than [`MAX_CODE`], or empty.
    #[error("condition code has {len} bytes")]
    Length {
        /// Its length.
        len: usize,
    },
    /// No such operation, or a bad operand.
    #[error("condition code is invalid at byte {at}")]
    Operation {
        /// Where.
        at: usize,
    },
    /// The stack would run over or under, or differs between two ways to one place.
    #[error("condition code unbalances the stack at byte {at}")]
    Stack {
        /// Where.
        at: usize,
    },
    /// A skip leads outside, or into the middle of an operation.
    #[error("condition code skips to a wrong place at byte {at}")]
    Skip {
        /// Where.
        at: usize,
    },
    /// The end is reached without [`Op::Return`].
    #[error("condition code does not return")]
    NoReturn,
}

/// Why an evaluation gave no value. A hit whose condition faults stops, so that the user learns of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Memory could not be read.
    #[error("condition could not read memory at {at}")]
    Unreadable {
        /// Where.
        at: Va,
    },
    /// A register is not there.
    #[error("condition needs a register that is not available")]
    NoRegister,
    /// Division by zero.
    #[error("condition divided by zero")]
    DivisionByZero,
}

/// A verified condition. Cloning copies its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    code: Vec<u8>,
}

impl Condition {
    /// Accepts `code` if it can only end well: known operations, balanced stack, forward skips, a return on each way.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub fn verify(code: Vec<u8>) -> Result<Condition, VerifyError> {
        if code.is_empty() || code.len() > MAX_CODE {
            return Err(VerifyError::Length { len: code.len() });
        }
        // Stack depth expected at each byte that starts an operation; skips go forward, so one pass settles all.
        let mut depth_at: Vec<Option<usize>> = vec![None; code.len() + 1];
        let mut starts = vec![false; code.len() + 1];
        depth_at[0] = Some(0);
        let mut at = 0;
        while at < code.len() {
            starts[at] = true;
            let step = decode(&code, at).ok_or(VerifyError::Operation { at })?;
            let next = at + step.len;
            if depth_at[at + 1..next.min(code.len())].iter().any(Option::is_some) {
                return Err(VerifyError::Skip { at });
            }
            // Unreachable code is allowed but must decode.
            if let Some(depth) = depth_at[at] {
                let left = depth.checked_sub(step.pops).ok_or(VerifyError::Stack { at })? + step.pushes;
                if left > MAX_STACK {
                    return Err(VerifyError::Stack { at });
                }
                if let Some(distance) = step.skip {
                    let to =
                        next.checked_add(distance).filter(|&to| to < code.len()).ok_or(VerifyError::Skip { at })?;
                    meet(&mut depth_at, to, left, at)?;
                }
                if step.falls_through {
                    if next >= code.len() {
                        return Err(VerifyError::NoReturn);
                    }
                    meet(&mut depth_at, next, left, at)?;
                }
            }
            at = next;
        }
        if at != code.len() {
            return Err(VerifyError::Operation { at: code.len() });
        }
        match (0..code.len()).find(|&at| depth_at[at].is_some() && !starts[at]) {
            Some(at) => Err(VerifyError::Skip { at }),
            None => Ok(Condition { code }),
        }
    }

    /// The code, to be sent on.
    pub fn code(&self) -> &[u8] {
        &self.code
    }

    /// Its operations in order, for those who translate them.
    pub fn operations(&self) -> impl Iterator<Item = Operation> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let step = decode(&self.code, at)?;
            let (start, next) = (at, at + step.len);
            at = next;
            Some(Operation {
                at: start,
                op: step.op,
                operand: step.operand,
                pops: step.pops,
                pushes: step.pushes,
                next: step.falls_through.then_some(next),
                skips_to: step.skip.map(|distance| next + distance),
            })
        })
    }

    /// Evaluates for a stopped thread.
    ///
    /// # Errors
    /// [`Fault`]; the caller treats it as a stop.
    pub fn evaluate(&self, registers: &RegisterContext, memory: &mut dyn MemoryReader) -> Result<u64, Fault> {
        let mut stack = Stack::default();
        let mut at = 0;
        // Verified code only moves forward, so this ends; an impossible state ends it as "true" rather than by panic.
        while let Some(step) = decode(&self.code, at) {
            let mut next = at + step.len;
            match step.op {
                Op::Constant => stack.push(step.operand),
                Op::Register => {
                    stack.push(registers.get_u64(RegisterId(step.operand as u16)).ok_or(Fault::NoRegister)?)
                }
                Op::Load => {
                    let at = Va(stack.pop());
                    let size = (step.operand & 0x0f) as usize;
                    let value = memory.read_uint(at, size).ok_or(Fault::Unreadable { at })?;
                    stack.push(if step.operand & 0x80 != 0 { sign_extend(value, size) } else { value });
                }
                Op::Duplicate => {
                    let top = stack.pop();
                    stack.push(top);
                    stack.push(top);
                }
                Op::Drop => drop(stack.pop()),
                Op::Swap => {
                    let (top, second) = (stack.pop(), stack.pop());
                    stack.push(top);
                    stack.push(second);
                }
                Op::Complement => stack.unary(|value| !value),
                Op::Negate => stack.unary(u64::wrapping_neg),
                Op::IsZero => stack.unary(|value| u64::from(value == 0)),
                Op::SignExtend => stack.unary(|value| sign_extend(value, step.operand as usize)),
                Op::Truncate => stack.unary(|value| value & (u64::MAX >> (64 - 8 * step.operand.clamp(1, 8)))),
                Op::SkipIfZero => {
                    if stack.pop() == 0 {
                        next += step.skip.unwrap_or(0);
                    }
                }
                Op::Skip => next += step.skip.unwrap_or(0),
                Op::Return => return Ok(stack.pop()),
                binary => {
                    let (top, second) = (stack.pop(), stack.pop());
                    stack.push(apply(binary, second, top)?);
                }
            }
            at = next;
        }
        Ok(1)
    }
}

/// One operation of a verified condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Where it begins in the code.
    pub at: usize,
    /// What it is.
    pub op: Op,
    /// Its operand, 0 if it has none.
    pub operand: u64,
    /// Values it takes from the stack.
    pub pops: usize,
    /// Values it leaves there instead.
    pub pushes: usize,
    /// The operation that follows in the code, if it goes on there.
    pub next: Option<usize>,
    /// Where it skips to.
    pub skips_to: Option<usize>,
}

/// One decoded operation.
struct Decoded {
    op: Op,
    operand: u64,
    len: usize,
    pops: usize,
    pushes: usize,
    skip: Option<usize>,
    falls_through: bool,
}

fn decode(code: &[u8], at: usize) -> Option<Decoded> {
    use Op::*;
    let op = [
        Constant,
        Register,
        Load,
        Duplicate,
        Drop,
        Swap,
        Add,
        Subtract,
        Multiply,
        DivideUnsigned,
        DivideSigned,
        RemainderUnsigned,
        RemainderSigned,
        And,
        Or,
        Xor,
        ShiftLeft,
        ShiftRight,
        ShiftRightSigned,
        Complement,
        Negate,
        IsZero,
        Equal,
        LessUnsigned,
        LessSigned,
        LessEqualUnsigned,
        LessEqualSigned,
        SignExtend,
        Truncate,
        SkipIfZero,
        Skip,
        Return,
    ]
    .into_iter()
    .find(|&op| op as u8 == *code.get(at).unwrap_or(&0))?;
    let (operand_len, pops, pushes) = match op {
        Constant => (8, 0, 1),
        Register => (2, 0, 1),
        Load | SignExtend | Truncate => (1, 1, 1),
        Duplicate => (0, 1, 2),
        Drop => (0, 1, 0),
        Swap => (0, 2, 2),
        Complement | Negate | IsZero => (0, 1, 1),
        SkipIfZero => (2, 1, 0),
        Skip => (2, 0, 0),
        Return => (0, 1, 0),
        _ => (0, 2, 1),
    };
    let mut bytes = [0; 8];
    bytes[..operand_len].copy_from_slice(code.get(at + 1..at + 1 + operand_len)?);
    let operand = u64::from_le_bytes(bytes);
    let operand_fits = match op {
        Load => matches!(operand & 0x7f, 1 | 2 | 4 | 8),
        SignExtend | Truncate => matches!(operand, 1 | 2 | 4),
        _ => true,
    };
    operand_fits.then_some(Decoded {
        op,
        operand,
        len: 1 + operand_len,
        pops,
        pushes,
        skip: matches!(op, Skip | SkipIfZero).then_some(operand as usize),
        falls_through: !matches!(op, Skip | Return),
    })
}

fn meet(depth_at: &mut [Option<usize>], to: usize, depth: usize, at: usize) -> Result<(), VerifyError> {
    match depth_at[to] {
        Some(other) if other != depth => Err(VerifyError::Stack { at }),
        _ => {
            depth_at[to] = Some(depth);
            Ok(())
        }
    }
}

fn apply(op: Op, second: u64, top: u64) -> Result<u64, Fault> {
    let (signed_second, signed_top) = (second as i64, top as i64);
    let shift = u32::try_from(top).unwrap_or(u32::MAX);
    let division = matches!(op, Op::DivideUnsigned | Op::DivideSigned | Op::RemainderUnsigned | Op::RemainderSigned);
    if division && top == 0 {
        return Err(Fault::DivisionByZero);
    }
    Ok(match op {
        Op::Add => second.wrapping_add(top),
        Op::Subtract => second.wrapping_sub(top),
        Op::Multiply => second.wrapping_mul(top),
        Op::DivideUnsigned => second / top,
        Op::DivideSigned => signed_second.wrapping_div(signed_top) as u64,
        Op::RemainderUnsigned => second % top,
        Op::RemainderSigned => signed_second.wrapping_rem(signed_top) as u64,
        Op::And => second & top,
        Op::Or => second | top,
        Op::Xor => second ^ top,
        Op::ShiftLeft => second.checked_shl(shift).unwrap_or(0),
        Op::ShiftRight => second.checked_shr(shift).unwrap_or(0),
        Op::ShiftRightSigned => (signed_second >> top.min(63)) as u64,
        Op::Equal => u64::from(second == top),
        Op::LessUnsigned => u64::from(second < top),
        Op::LessSigned => u64::from(signed_second < signed_top),
        Op::LessEqualUnsigned => u64::from(second <= top),
        Op::LessEqualSigned => u64::from(signed_second <= signed_top),
        _ => 0,
    })
}

fn sign_extend(value: u64, size: usize) -> u64 {
    let unused = 64 - 8 * size.clamp(1, 8) as u32;
    (((value << unused) as i64) >> unused) as u64
}

/// The value stack; verification keeps it within bounds, and breaking them is harmless.
#[derive(Default)]
struct Stack {
    values: [u64; MAX_STACK],
    depth: usize,
}

impl Stack {
    fn push(&mut self, value: u64) {
        if let Some(slot) = self.values.get_mut(self.depth) {
            *slot = value;
            self.depth += 1;
        }
    }

    fn pop(&mut self) -> u64 {
        self.depth = self.depth.saturating_sub(1);
        self.values[self.depth]
    }

    fn unary(&mut self, apply: impl FnOnce(u64) -> u64) {
        let value = self.pop();
        self.push(apply(value));
    }
}

/// Puts code together; skips are patched when their place is known.
#[derive(Debug, Default)]
pub struct Assembler {
    code: Vec<u8>,
}

/// A skip whose destination is not known yet.
#[derive(Debug)]
#[must_use]
pub struct PendingSkip(usize);

impl Assembler {
    /// Appends an operation without operand.
    pub fn op(&mut self, op: Op) {
        self.code.push(op as u8);
    }

    /// Appends [`Op::Constant`].
    pub fn constant(&mut self, value: u64) {
        self.op(Op::Constant);
        self.code.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends [`Op::Register`].
    pub fn register(&mut self, id: RegisterId) {
        self.op(Op::Register);
        self.code.extend_from_slice(&id.0.to_le_bytes());
    }

    /// Appends [`Op::Load`] of `size` bytes.
    pub fn load(&mut self, size: u8, signed: bool) {
        self.op(Op::Load);
        self.code.push(size | if signed { 0x80 } else { 0 });
    }

    /// Appends [`Op::SignExtend`] or [`Op::Truncate`] of `size` bytes.
    pub fn resize(&mut self, size: u8, signed: bool) {
        self.op(if signed { Op::SignExtend } else { Op::Truncate });
        self.code.push(size);
    }

    /// Appends a skip (`op` is [`Op::Skip`] or [`Op::SkipIfZero`]) to be settled by [`Assembler::land`].
    pub fn skip(&mut self, op: Op) -> PendingSkip {
        self.op(op);
        self.code.extend_from_slice(&[0, 0]);
        PendingSkip(self.code.len())
    }

    /// Lets `skip` lead to here.
    pub fn land(&mut self, skip: PendingSkip) {
        let distance = (self.code.len() - skip.0) as u16;
        self.code[skip.0 - 2..skip.0].copy_from_slice(&distance.to_le_bytes());
    }

    /// Appends the return and verifies.
    ///
    /// # Errors
    /// As [`Condition::verify`], which a wrong sequence of calls provokes.
    pub fn finish(mut self) -> Result<Condition, VerifyError> {
        self.op(Op::Return);
        Condition::verify(self.code)
    }
}

#[cfg(test)]
mod tests {
    use outpost_base::{Arch, SliceMemory};

    use super::*;

    fn run(build: impl FnOnce(&mut Assembler)) -> Result<u64, Fault> {
        let mut assembler = Assembler::default();
        build(&mut assembler);
        let mut registers = RegisterContext::new(Arch::X86_64);
        registers.set_sp(Va(0x1000));
        let mut memory = SliceMemory { start: Va(0x1000), bytes: &[0xff, 0xff, 0, 0, 1, 2, 3, 4] };
        assembler.finish().unwrap().evaluate(&registers, &mut memory)
    }

    #[test]
    fn loads_through_registers() {
        let value = run(|code| {
            code.register(Arch::X86_64.sp());
            code.load(2, true);
        });
        assert_eq!(value, Ok(u64::MAX));
        let fault = run(|code| {
            code.constant(0x5000);
            code.load(8, false);
        });
        assert_eq!(fault, Err(Fault::Unreadable { at: Va(0x5000) }));
    }

    #[test]
    fn skips_choose_a_way() {
        let choose = |condition: u64| {
            run(|code| {
                code.constant(condition);
                let other = code.skip(Op::SkipIfZero);
                code.constant(7);
                let end = code.skip(Op::Skip);
                code.land(other);
                code.constant(9);
                code.land(end);
            })
        };
        assert_eq!((choose(1), choose(0)), (Ok(7), Ok(9)));
    }

    #[test]
    fn arithmetic_has_no_undefined_corner() {
        let binary = |op, second: u64, top: u64| {
            run(|code| {
                code.constant(second);
                code.constant(top);
                code.op(op);
            })
        };
        assert_eq!(binary(Op::DivideSigned, i64::MIN as u64, u64::MAX), Ok(i64::MIN as u64));
        assert_eq!(binary(Op::DivideUnsigned, 1, 0), Err(Fault::DivisionByZero));
        assert_eq!(binary(Op::ShiftLeft, 1, 64), Ok(0));
        assert_eq!(binary(Op::ShiftRightSigned, u64::MAX, 200), Ok(u64::MAX));
        assert_eq!(binary(Op::Subtract, 3, 5), Ok(-2i64 as u64));
        assert_eq!(binary(Op::LessSigned, -2i64 as u64, 5), Ok(1));
    }

    #[test]
    fn hostile_code_is_refused() {
        assert_eq!(Condition::verify(vec![]), Err(VerifyError::Length { len: 0 }));
        assert_eq!(Condition::verify(vec![Op::Add as u8]), Err(VerifyError::Stack { at: 0 }));
        assert_eq!(Condition::verify(vec![Op::Constant as u8, 1]), Err(VerifyError::Operation { at: 0 }));
        assert_eq!(Condition::verify(vec![Op::Skip as u8, 0xff, 0xff]), Err(VerifyError::Skip { at: 0 }));
        let mut into_operand = vec![Op::Skip as u8, 2, 0, Op::Constant as u8];
        into_operand.extend_from_slice(&[Op::Return as u8; 8]);
        into_operand.push(Op::Return as u8);
        assert!(matches!(Condition::verify(into_operand), Err(VerifyError::Skip { .. })));
        let overflow = [Op::Constant as u8, 0, 0, 0, 0, 0, 0, 0, 0].repeat(MAX_STACK + 1);
        assert!(matches!(Condition::verify(overflow), Err(VerifyError::Stack { .. })));
    }
}
