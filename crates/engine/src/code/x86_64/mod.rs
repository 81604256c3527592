//! Pads for x86-64.
//!
//! | displaced instruction | pad |
//! | --- | --- |
//! | anything that names no position | itself, `jmp` behind the site |
//! | operand relative to rip | itself with the displacement fixed up, `jmp` behind the site |
//! | `jmp`, `jcc` | the near form with its destination fixed up |
//! | `loop`, `jrcxz` (short forms only) | itself over a jump behind a `jmp` to the destination, which it leads to |
//! | `call` | push of the *site's* return address, `jmp` to the destination |
//! | `ret` | itself |
//! | `syscall`, far transfers, transactions | none |
//!
//! The pushes are `push imm32` and a `mov` into the upper half: they change no flag and no register. An indirect call
//! through an operand based on rsp has 8 added to its displacement, since the push comes first.
//!
//! `jump` puts several of these behind a condition.

mod jump;
mod jump_stages;

use iced_x86::{
    Code, ConstantOffsets, Decoder, DecoderOptions, Encoder, FlowControl, Instruction, MemoryOperand, Mnemonic, OpKind,
    Register,
};
use outpost_base::Va;
use outpost_target::{Fixup, FixupKind, PadCode};

use super::NoPad;

use jump::Compiler;
pub(super) use jump::make_jump;

pub(super) fn make_pad(at: Va, code: &[u8]) -> Result<PadCode, NoPad> {
    let mut pad = Pad::default();
    let displaced = pad.displace(at, code)?;
    if displaced.goes_on {
        pad.jump(at + displaced.len as u64);
    }
    Ok(PadCode { bytes: pad.bytes, fixups: pad.fixups, expected: code[..displaced.len].to_vec() })
}

/// `jmp rel32`.
const JUMP_LEN: u8 = 5;
/// `jmp rel8`.
const SHORT_JUMP: u8 = 0xeb;

#[derive(Default)]
struct Pad {
    bytes: Vec<u8>,
    fixups: Vec<Fixup>,
}

/// What became of a displaced instruction.
struct Displaced {
    /// Its length at the site.
    len: usize,
    /// Whether it may go on behind the site: what follows in the pad is executed next then.
    goes_on: bool,
}

impl Pad {
    /// Appends what does at another place what the instruction at `at` does, whose bytes `code` starts with.
    fn displace(&mut self, at: Va, code: &[u8]) -> Result<Displaced, NoPad> {
        let mut decoder = Decoder::with_ip(64, code, at.0, DecoderOptions::NONE);
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            return Err(NoPad::NotAnInstruction { at });
        }
        let bytes = code.get(..instruction.len()).ok_or(NoPad::NotAnInstruction { at })?;
        let offsets = decoder.get_constant_offsets(&instruction);
        let next = Va(instruction.next_ip());
        let mut goes_on = false;
        match instruction.flow_control() {
            FlowControl::Next => {
                self.copy(&instruction, &offsets, bytes);
                goes_on = true;
            }
            FlowControl::Return if matches!(instruction.mnemonic(), Mnemonic::Ret) => {
                self.copy(&instruction, &offsets, bytes);
            }
            FlowControl::UnconditionalBranch if instruction.is_jmp_short_or_near() => {
                self.jump(Va(instruction.near_branch_target()));
            }
            FlowControl::ConditionalBranch if instruction.is_jcc_short_or_near() => {
                let condition = instruction.condition_code() as u8 - iced_x86::ConditionCode::o as u8;
                self.bytes.extend_from_slice(&[0x0f, 0x80 + condition]);
                self.relative(Va(instruction.near_branch_target()), 0);
                goes_on = true;
            }
            FlowControl::ConditionalBranch
                if instruction.is_loop() || instruction.is_loopcc() || instruction.is_jcx_short() =>
            {
                // Prefix (67) and opcode as they are, then a short displacement over what leads on.
                self.bytes.extend_from_slice(&bytes[..bytes.len() - 1]);
                self.bytes.extend_from_slice(&[2, SHORT_JUMP, JUMP_LEN]);
                self.jump(Va(instruction.near_branch_target()));
                goes_on = true;
            }
            FlowControl::IndirectBranch if !is_far(&instruction) => self.copy(&instruction, &offsets, bytes),
            FlowControl::Call if instruction.is_call_near() => {
                self.push(next);
                self.jump(Va(instruction.near_branch_target()));
            }
            FlowControl::IndirectCall if instruction.is_call_near_indirect() => {
                self.indirect_call(&instruction, next)?;
            }
            FlowControl::Call | FlowControl::Interrupt
                if matches!(instruction.mnemonic(), Mnemonic::Syscall | Mnemonic::Sysenter | Mnemonic::Int) =>
            {
                return Err(NoPad::SystemCall);
            }
            _ => return Err(position(&instruction)),
        }
        Ok(Displaced { len: bytes.len(), goes_on })
    }

    /// The instruction as it is, with a rip-relative operand fixed up.
    fn copy(&mut self, instruction: &Instruction, offsets: &ConstantOffsets, bytes: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        if instruction.is_ip_rel_memory_operand() && offsets.has_displacement() {
            let field = start + offsets.displacement_offset();
            // rip is the end of the instruction, the fixup counts from the end of the field.
            let behind_field = (bytes.len() - offsets.displacement_offset() - 4) as u64;
            self.bytes[field..field + 4].fill(0);
            self.fixup(field, Va(instruction.ip_rel_memory_address()) - behind_field);
        }
    }

    fn jump(&mut self, destination: Va) {
        self.bytes.push(0xe9);
        self.relative(destination, 0);
    }

    /// A 4-byte displacement field to `destination`, followed by `behind` more bytes of its instruction.
    fn relative(&mut self, destination: Va, behind: u64) {
        let field = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.fixup(field, destination - behind);
    }

    fn fixup(&mut self, offset: usize, destination: Va) {
        self.fixups.push(Fixup { offset: offset as u16, kind: FixupKind::Relative32, destination });
    }

    /// Pushes an absolute address without changing flags or registers.
    fn push(&mut self, value: Va) {
        self.bytes.push(0x68);
        self.bytes.extend_from_slice(&(value.0 as u32).to_le_bytes());
        self.bytes.extend_from_slice(&[0xc7, 0x44, 0x24, 0x04]);
        self.bytes.extend_from_slice(&((value.0 >> 32) as u32).to_le_bytes());
    }

    fn indirect_call(&mut self, call: &Instruction, next: Va) -> Result<(), NoPad> {
        self.push(next);
        let jump = match call.op0_kind() {
            // The pushed address would be jumped to.
            OpKind::Register if call.op0_register() == Register::RSP => return Err(position(call)),
            OpKind::Register => Instruction::with1(Code::Jmp_rm64, call.op0_register()),
            OpKind::Memory => {
                let moved = if call.memory_base() == Register::RSP { 8 } else { 0 };
                let operand = MemoryOperand::new(
                    call.memory_base(),
                    call.memory_index(),
                    call.memory_index_scale(),
                    call.memory_displacement64().wrapping_add(moved) as i64,
                    call.memory_displ_size().max(u32::from(moved != 0)),
                    false,
                    call.segment_prefix(),
                );
                Instruction::with1(Code::Jmp_rm64, operand)
            }
            _ => return Err(position(call)),
        };
        let jump = jump.map_err(|_| position(call))?;
        let mut encoder = Encoder::new(64);
        // Encoded where it stood: a rip-relative operand is in reach there, and is fixed up from its absolute address.
        encoder.encode(&jump, call.ip()).map_err(|_| position(call))?;
        let offsets = encoder.get_constant_offsets();
        let bytes = encoder.take_buffer();
        self.copy(&jump, &offsets, &bytes);
        Ok(())
    }
}

fn is_far(instruction: &Instruction) -> bool {
    instruction.is_jmp_far_indirect() || instruction.is_jmp_far()
}

fn position(instruction: &Instruction) -> NoPad {
    let mnemonic = match instruction.mnemonic() {
        Mnemonic::Iretq | Mnemonic::Iretd | Mnemonic::Iret => "iret",
        Mnemonic::Xbegin => "xbegin",
        Mnemonic::Xabort => "xabort",
        Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2 => "ud",
        Mnemonic::Int3 | Mnemonic::Int1 | Mnemonic::Into => "a trap",
        Mnemonic::Call => "this form of call",
        Mnemonic::Retf => "retf",
        _ => "a transfer of this kind",
    };
    NoPad::Position { mnemonic }
}

#[cfg(test)]
mod tests;
