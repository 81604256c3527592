//! Conditions as machine code, for jump pads on x86-64.
//!
//! The condition's stack machine becomes straight code: its values live in a frame below the red zone, at places known
//! beforehand, since the depth of its stack is the same on each way to an operation. rax, rcx and rdx are what the code
//! works with. Flags are kept by `lahf` and `seto`, not by `pushf`, which would keep the flag of a single step as well.
//!
//! | offset from rsp | value |
//! | --- | --- |
//! | 0, 8, 16 | rax, rcx, rdx as they were at the site |
//! | 24 | ah: flags, al: overflow |
//! | 32 and on | the condition's stack |
//! | behind that | a record that is put together (`jump_stages`) |
//!
//! The order is that of the target's: the thread, the condition, passes; then what is written down, or the trap.
//!
//! Results are those of [`Condition::evaluate`]; what is a fault there leads to the trap, as does the truth.

use std::collections::BTreeMap;

use iced_x86::code_asm::{
    AsmMemoryOperand, AsmRegister64, CodeAssembler, CodeLabel, al, byte_ptr, cl, dword_ptr, eax, ecx, edx, ptr,
    qword_ptr, r8, r9, r10, r11, r12, r13, r14, r15, rax, rbp, rbx, rcx, rdi, rdx, rsi, rsp, word_ptr,
};
use iced_x86::{BlockEncoderOptions, IcedError};
use outpost_base::{Arch, RegisterId, Storage, Va};
use outpost_target::condition::{Condition, Op, Operation};
use outpost_target::{DisplacedCopy, FaultExit, Fixup, FixupKind, JumpCode};

use super::Pad;
use crate::code::{JumpPlan, NoJump};

/// Bytes below rsp that belong to the function (psABI, 3.2.2).
const RED_ZONE: i32 = 128;
/// Saved registers and flags.
const SAVED: i32 = 32;

pub(crate) fn make_jump(at: Va, code: &[u8], plan: JumpPlan<'_>) -> Result<JumpCode, NoJump> {
    let Compiled { bytes, fixups, trap, exits } = Compiler::new(at, &plan)?.compile(&plan)?;
    let mut pad = Pad { bytes, fixups };
    let (mut copies, mut len, mut goes_on) = (Vec::new(), 0, true);
    while len < JumpCode::WINDOW {
        let place = at + len as u64;
        copies.push(DisplacedCopy { site_offset: len as u8, pad_offset: pad.bytes.len() as u16 });
        let displaced = pad.displace(place, &code[len.min(code.len())..]);
        let displaced = displaced.map_err(|why| NoJump::Displaced { at: place, why })?;
        (len, goes_on) = (len + displaced.len, displaced.goes_on);
    }
    if goes_on {
        pad.jump(at + len as u64);
    }
    if pad.bytes.len() > JumpCode::MAX_LEN {
        return Err(NoJump::TooLong);
    }
    Ok(JumpCode { bytes: pad.bytes, fixups: pad.fixups, expected: code[..len].to_vec(), trap, exits, copies })
}

/// The code before the displaced instructions, which follow its last byte.
struct Compiled {
    bytes: Vec<u8>,
    fixups: Vec<Fixup>,
    trap: u16,
    /// What may fault in it.
    exits: Vec<FaultExit>,
}

/// What becomes of the value that code gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Where it is 0, the hit does not count.
    Judged,
    /// It is kept in the frame at this offset.
    Kept(i32),
}

pub(super) struct Compiler {
    pub(super) asm: CodeAssembler,
    site: Va,
    /// Size of the frame.
    frame: i32,
    /// Where in the frame a record is put together, and where attempts to send it are counted.
    pub(super) record: i32,
    pub(super) attempts: i32,
    /// Depth of the stack before the operation at an offset of the code under way; none: it is never reached.
    depths: BTreeMap<usize, usize>,
    /// Labels of operations that others skip to.
    targets: BTreeMap<usize, CodeLabel>,
    /// Instructions that read what the expressions say.
    pub(super) loads: Vec<CodeLabel>,
    /// Instructions with an address that the target fills in.
    pub(super) addresses: Vec<(CodeLabel, FixupKind)>,
    /// Puts the registers back and traps.
    pub(super) seen: CodeLabel,
    /// Puts the registers back and goes on.
    pub(super) unseen: CodeLabel,
}

/// Depth of the stack before each operation that is reached, and the deepest.
fn depths(condition: &Condition) -> (BTreeMap<usize, usize>, usize) {
    let (mut depths, mut deepest): (BTreeMap<usize, usize>, usize) = (BTreeMap::from([(0, 0)]), 0);
    for operation in condition.operations() {
        let Some(depth) = depths.get(&operation.at).copied() else { continue };
        let left = depth.saturating_sub(operation.pops) + operation.pushes;
        deepest = left.max(deepest);
        depths.extend(operation.next.into_iter().chain(operation.skips_to).map(|to| (to, left)));
    }
    (depths, deepest)
}

impl Compiler {
    fn new(site: Va, plan: &JumpPlan<'_>) -> Result<Compiler, NoJump> {
        let mut asm = CodeAssembler::new(64).map_err(|_| NoJump::Processor)?;
        let log = plan.log.map(|(_, log)| log);
        let arguments = log.iter().flat_map(|log| &log.arguments).map(|argument| &argument.value);
        let deepest = plan.condition.into_iter().chain(arguments).map(|code| depths(code).1).max().unwrap_or(0);
        let record = SAVED + 8 * deepest as i32;
        let attempts = record + log.map_or(0, |log| 8 * i32::from(log.words()));
        // A multiple of 16, as a stack is; nothing here needs it.
        let frame = (RED_ZONE + attempts + 8 + 15) & !15;
        let (seen, unseen) = (asm.create_label(), asm.create_label());
        let (depths, targets) = (BTreeMap::new(), BTreeMap::new());
        let (loads, addresses) = (Vec::new(), Vec::new());
        Ok(Compiler { asm, site, frame, record, attempts, depths, targets, loads, addresses, seen, unseen })
    }

    fn compile(mut self, plan: &JumpPlan<'_>) -> Result<Compiled, NoJump> {
        self.enter().map_err(too_long)?;
        if plan.one_thread {
            self.only_one_thread().map_err(too_long)?;
        }
        if let Some(condition) = plan.condition {
            self.program(condition, Outcome::Judged).map_err(too_long)??;
        }
        if plan.passes {
            self.after_passes().map_err(too_long)?;
        }
        match plan.log {
            Some((id, log)) => self.write_down(id, log).map_err(too_long)??,
            None => self.asm.jmp(self.seen).map_err(too_long)?,
        }
        self.finish().map_err(too_long)?
    }

    /// One expression.
    pub(super) fn program(&mut self, condition: &Condition, outcome: Outcome) -> Result<Result<(), NoJump>, IcedError> {
        let mut end = self.asm.create_label();
        self.depths = depths(condition).0;
        let skipped_to = condition.operations().filter_map(|operation| operation.skips_to);
        self.targets = skipped_to.map(|to| (to, self.asm.create_label())).collect();
        for operation in condition.operations() {
            let Some(depth) = self.depths.get(&operation.at).copied() else { continue };
            let register = match (operation.op == Op::Register).then(|| read_of(operation.operand)).transpose() {
                Ok(register) => register,
                Err(why) => return Ok(Err(why)),
            };
            match operation.op {
                Op::Return => self.outcome(&operation, depth, outcome, end)?,
                _ => self.operation(&operation, depth, register)?,
            }
        }
        self.asm.set_label(&mut end)?;
        self.asm.zero_bytes()?;
        Ok(Ok(()))
    }

    /// The end of an expression.
    fn outcome(
        &mut self,
        operation: &Operation,
        depth: usize,
        outcome: Outcome,
        end: CodeLabel,
    ) -> Result<(), IcedError> {
        self.begin(operation)?;
        let top = slot(depth.saturating_sub(1));
        match outcome {
            Outcome::Judged => {
                self.asm.cmp(top, 0)?;
                self.asm.je(self.unseen)?;
            }
            Outcome::Kept(at) => {
                self.asm.mov(rax, top)?;
                self.asm.mov(ptr(rsp + at), rax)?;
            }
        }
        self.asm.jmp(end)
    }

    /// Where others skip to.
    fn begin(&mut self, operation: &Operation) -> Result<(), IcedError> {
        if let Some(label) = self.targets.get_mut(&operation.at) {
            self.asm.set_label(label)?;
            self.asm.zero_bytes()?;
        }
        Ok(())
    }

    fn enter(&mut self) -> Result<(), IcedError> {
        let asm = &mut self.asm;
        asm.lea(rsp, ptr(rsp - self.frame))?;
        asm.mov(ptr(rsp), rax)?;
        asm.mov(ptr(rsp + 8), rcx)?;
        asm.lahf()?;
        asm.seto(al)?;
        asm.mov(ptr(rsp + 16), rdx)?;
        asm.mov(ptr(rsp + 24), rax)
    }

    fn operation(&mut self, operation: &Operation, depth: usize, register: Option<Read>) -> Result<(), IcedError> {
        self.begin(operation)?;
        let (top, second) = (slot(depth.saturating_sub(1)), slot(depth.saturating_sub(2)));
        let (pushed, skips_to) = (slot(depth), self.target(operation));
        let asm = &mut self.asm;
        match operation.op {
            Op::Constant => {
                asm.mov(rax, operation.operand)?;
                asm.mov(pushed, rax)
            }
            Op::Register => {
                match register.map(|read| read.word) {
                    Some(Word::Register(register)) => asm.mov(rax, register)?,
                    Some(Word::Saved(offset)) => asm.mov(rax, ptr(rsp + offset))?,
                    Some(Word::StackPointer) => asm.lea(rax, ptr(rsp + self.frame))?,
                    Some(Word::ThreadPointer) => {
                        self.thread_pointer()?;
                        // Elsewhere something else is in that word (static programs of Go): the target knows better then.
                        let mut load = self.asm.create_label();
                        self.asm.set_label(&mut load)?;
                        self.asm.cmp(rax, ptr(rax))?;
                        self.loads.push(load);
                        self.asm.jne(self.seen)?;
                        return self.asm.mov(pushed, rax);
                    }
                    Some(Word::Site) | None => asm.mov(rax, self.site.0)?,
                }
                if let Some(read) = register {
                    read.part(asm)?;
                }
                asm.mov(pushed, rax)
            }
            Op::Load => {
                asm.mov(rax, top)?;
                let mut load = asm.create_label();
                asm.set_label(&mut load)?;
                let (size, signed) = (operation.operand & 0x7f, operation.operand & 0x80 != 0);
                match (size, signed) {
                    (1, true) => asm.movsx(rax, byte_ptr(rax))?,
                    (1, false) => asm.movzx(eax, byte_ptr(rax))?,
                    (2, true) => asm.movsx(rax, word_ptr(rax))?,
                    (2, false) => asm.movzx(eax, word_ptr(rax))?,
                    (4, true) => asm.movsxd(rax, dword_ptr(rax))?,
                    (4, false) => asm.mov(eax, ptr(rax))?,
                    _ => asm.mov(rax, ptr(rax))?,
                }
                asm.mov(top, rax)?;
                self.loads.push(load);
                Ok(())
            }
            Op::Duplicate => {
                asm.mov(rax, top)?;
                asm.mov(pushed, rax)
            }
            Op::Drop => Ok(()),
            Op::Swap => {
                asm.mov(rax, top)?;
                asm.mov(rcx, second)?;
                asm.mov(top, rcx)?;
                asm.mov(second, rax)
            }
            Op::Complement => asm.not(top),
            Op::Negate => asm.neg(top),
            Op::IsZero => {
                asm.xor(eax, eax)?;
                asm.cmp(top, 0)?;
                asm.sete(al)?;
                asm.mov(top, rax)
            }
            Op::SignExtend | Op::Truncate => {
                match (operation.operand, operation.op == Op::SignExtend) {
                    (1, true) => asm.movsx(rax, byte_ptr(top_address(depth)))?,
                    (1, false) => asm.movzx(eax, byte_ptr(top_address(depth)))?,
                    (2, true) => asm.movsx(rax, word_ptr(top_address(depth)))?,
                    (2, false) => asm.movzx(eax, word_ptr(top_address(depth)))?,
                    (_, true) => asm.movsxd(rax, dword_ptr(top_address(depth)))?,
                    (_, false) => asm.mov(eax, dword_ptr(top_address(depth)))?,
                }
                asm.mov(top, rax)
            }
            Op::Skip => asm.jmp(skips_to),
            Op::SkipIfZero => {
                asm.cmp(top, 0)?;
                asm.je(skips_to)
            }
            Op::Return => Ok(()),
            binary => {
                asm.mov(rax, second)?;
                asm.mov(rcx, top)?;
                self.binary(binary)?;
                self.asm.mov(second, rax)
            }
        }
    }

    /// The first word of the thread's control block into rax, which is the thread pointer where the C library keeps to the
    /// ABI (ELF Handling For Thread-Local Storage, 3.4.6). A program may have no such block: that faults, and the target
    /// looks at the hit.
    pub(super) fn thread_pointer(&mut self) -> Result<(), IcedError> {
        let mut load = self.asm.create_label();
        self.asm.set_label(&mut load)?;
        self.asm.mov(rax, qword_ptr(0_u32).fs())?;
        self.loads.push(load);
        Ok(())
    }

    /// Of rax and rcx into rax.
    fn binary(&mut self, op: Op) -> Result<(), IcedError> {
        let (seen, asm) = (self.seen, &mut self.asm);
        let signed = matches!(op, Op::DivideSigned | Op::RemainderSigned | Op::LessSigned | Op::LessEqualSigned);
        match op {
            Op::Add => asm.add(rax, rcx),
            Op::Subtract => asm.sub(rax, rcx),
            Op::Multiply => asm.imul_2(rax, rcx),
            Op::And => asm.and(rax, rcx),
            Op::Or => asm.or(rax, rcx),
            Op::Xor => asm.xor(rax, rcx),
            Op::DivideUnsigned | Op::RemainderUnsigned => {
                asm.test(rcx, rcx)?;
                asm.je(seen)?;
                asm.xor(edx, edx)?;
                asm.div(rcx)?;
                if op == Op::RemainderUnsigned { asm.mov(rax, rdx) } else { Ok(()) }
            }
            Op::DivideSigned | Op::RemainderSigned => {
                asm.test(rcx, rcx)?;
                asm.je(seen)?;
                // By -1 the smallest number overflows, which the processor takes for a division by zero.
                let (mut divides, mut done) = (asm.create_label(), asm.create_label());
                asm.cmp(rcx, -1)?;
                asm.jne(divides)?;
                if op == Op::DivideSigned {
                    asm.neg(rax)?
                } else {
                    asm.xor(eax, eax)?
                }
                asm.jmp(done)?;
                asm.set_label(&mut divides)?;
                asm.cqo()?;
                asm.idiv(rcx)?;
                if op == Op::RemainderSigned {
                    asm.mov(rax, rdx)?;
                }
                asm.set_label(&mut done)?;
                asm.zero_bytes()
            }
            Op::ShiftLeft | Op::ShiftRight => {
                // The processor takes the count modulo 64.
                let mut done = asm.create_label();
                if op == Op::ShiftLeft {
                    asm.shl(rax, cl)?
                } else {
                    asm.shr(rax, cl)?
                }
                asm.cmp(rcx, 64)?;
                asm.jb(done)?;
                asm.xor(eax, eax)?;
                asm.set_label(&mut done)?;
                asm.zero_bytes()
            }
            Op::ShiftRightSigned => {
                let mut fits = asm.create_label();
                asm.cmp(rcx, 64)?;
                asm.jb(fits)?;
                asm.mov(ecx, 63)?;
                asm.set_label(&mut fits)?;
                asm.sar(rax, cl)
            }
            _ => {
                asm.cmp(rax, rcx)?;
                match (op, signed) {
                    (Op::Equal, _) => asm.sete(al)?,
                    (Op::LessUnsigned, _) => asm.setb(al)?,
                    (Op::LessSigned, _) => asm.setl(al)?,
                    (_, false) => asm.setbe(al)?,
                    (_, true) => asm.setle(al)?,
                }
                asm.movzx(eax, al)
            }
        }
    }

    fn target(&self, operation: &Operation) -> CodeLabel {
        // Every skip of verified code leads to an operation; `new` made a label for each.
        let target = operation.skips_to.and_then(|to| self.targets.get(&to));
        target.copied().unwrap_or(self.seen)
    }

    fn restore(&mut self) -> Result<(), IcedError> {
        let asm = &mut self.asm;
        asm.mov(rax, ptr(rsp + 24))?;
        // 0x7f + 1 overflows; sahf leaves that flag alone.
        asm.add(al, 0x7f)?;
        asm.sahf()?;
        asm.mov(rdx, ptr(rsp + 16))?;
        asm.mov(rcx, ptr(rsp + 8))?;
        asm.mov(rax, ptr(rsp))?;
        asm.lea(rsp, ptr(rsp + self.frame))
    }

    fn finish(mut self) -> Result<Result<Compiled, NoJump>, IcedError> {
        let (mut bare_seen, mut bare_unseen) = (self.asm.create_label(), self.asm.create_label());
        let (mut seen, mut unseen) = (self.seen, self.unseen);
        let (mut trap, mut displaced) = (self.asm.create_label(), self.asm.create_label());
        // The frame's first store faults on a stack that ends here: nothing was changed by then but rsp.
        self.asm.set_label(&mut bare_unseen)?;
        self.asm.lea(rsp, ptr(rsp + self.frame))?;
        self.asm.jmp(displaced)?;
        self.asm.set_label(&mut bare_seen)?;
        self.asm.lea(rsp, ptr(rsp + self.frame))?;
        self.asm.jmp(trap)?;
        self.asm.set_label(&mut seen)?;
        self.restore()?;
        self.asm.set_label(&mut trap)?;
        self.asm.db(&[JumpCode::TRAP])?;
        self.asm.set_label(&mut unseen)?;
        self.restore()?;
        self.asm.set_label(&mut displaced)?;
        self.asm.zero_bytes()?;
        let code = self.asm.assemble_options(0, BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS)?;
        let offset = |label: &CodeLabel| code.label_ip(label).map(|at| at as u16);
        let (seen, unseen) = (offset(&seen)?, offset(&unseen)?);
        // The second instruction is the frame's first store.
        let store = code.inner.new_instruction_offsets.get(1).map_or(0, |at| *at as u16);
        let mut exits = vec![FaultExit { at: store, seen: offset(&bare_seen)?, unseen: offset(&bare_unseen)? }];
        for load in &self.loads {
            exits.push(FaultExit { at: offset(load)?, seen, unseen });
        }
        let trap = offset(&trap)?;
        // `mov r64, imm64` is two bytes and the field.
        let mut fixups = Vec::new();
        for (place, kind) in &self.addresses {
            fixups.push(Fixup { offset: offset(place)? + 2, kind: *kind, destination: Va(0) });
        }
        let mut bytes = code.inner.code_buffer;
        for fixup in &fixups {
            let field = usize::from(fixup.offset);
            bytes[field..field + 8].fill(0);
        }
        let compiled = Compiled { bytes, fixups, trap, exits };
        Ok(if compiled.bytes.len() < JumpCode::MAX_LEN { Ok(compiled) } else { Err(NoJump::TooLong) })
    }
}

fn too_long(_: IcedError) -> NoJump {
    NoJump::TooLong
}

/// The place of a value of the condition's stack.
fn slot(index: usize) -> AsmMemoryOperand {
    qword_ptr(rsp + SAVED + 8 * index as i32)
}

/// The same without a size.
fn top_address(depth: usize) -> AsmMemoryOperand {
    rsp + SAVED + 8 * depth.saturating_sub(1) as i32
}

/// Where a register's word is while the condition is looked at.
#[derive(Debug, Clone, Copy)]
enum Word {
    Register(AsmRegister64),
    /// In the frame.
    Saved(i32),
    StackPointer,
    /// pc: the site.
    Site,
    /// Base of fs.
    ThreadPointer,
}

/// A register or a part of one.
#[derive(Debug, Clone, Copy)]
struct Read {
    word: Word,
    shift: u8,
    bits: u16,
}

impl Read {
    /// Makes the whole word in rax the part.
    fn part(self, asm: &mut CodeAssembler) -> Result<(), IcedError> {
        if self.shift != 0 {
            asm.shr(rax, u32::from(self.shift))?;
        }
        match self.bits {
            8 => asm.movzx(eax, al),
            16 => asm.movzx(eax, iced_x86::code_asm::ax),
            32 => asm.mov(eax, eax),
            _ => Ok(()),
        }
    }
}

fn read_of(operand: u64) -> Result<Read, NoJump> {
    let known = Arch::X86_64.register(RegisterId(operand as u16));
    let Some(register) = known else { return Err(NoJump::Register { register: "an unknown register" }) };
    let refused = NoJump::Register { register: register.name };
    let Storage::General { index, shift } = register.storage else { return Err(refused) };
    // By the order of `user_regs_struct`.
    let word = match index {
        0 => Word::Register(r15),
        1 => Word::Register(r14),
        2 => Word::Register(r13),
        3 => Word::Register(r12),
        4 => Word::Register(rbp),
        5 => Word::Register(rbx),
        6 => Word::Register(r11),
        7 => Word::Register(r10),
        8 => Word::Register(r9),
        9 => Word::Register(r8),
        10 => Word::Saved(0),
        11 => Word::Saved(8),
        12 => Word::Saved(16),
        13 => Word::Register(rsi),
        14 => Word::Register(rdi),
        16 => Word::Site,
        19 => Word::StackPointer,
        21 => Word::ThreadPointer,
        _ => return Err(refused),
    };
    match register.bits {
        8 | 16 | 32 | 64 => Ok(Read { word, shift, bits: register.bits }),
        _ => Err(refused),
    }
}

#[cfg(test)]
#[path = "jump_tests.rs"]
mod tests;
