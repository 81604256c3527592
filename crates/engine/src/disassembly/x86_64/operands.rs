//! What an instruction touches, given registers.

use iced_x86::{ConditionCode, InstructionInfoFactory, OpKind, Register};
use outpost_base::{Arch, MemoryReader, RegisterContext, RegisterId, Va};

use super::super::{CodeSymbols, Flow, Instruction};

/// Longest operand whose value is shown.
const SHOWN_BYTES: usize = 32;

pub(crate) fn annotation(
    instruction: &Instruction,
    registers: &RegisterContext,
    memory: Option<&mut dyn MemoryReader>,
    symbols: &mut dyn CodeSymbols,
) -> String {
    let Some(decoded) = super::decoded(instruction.at, &instruction.bytes) else { return String::new() };
    if instruction.flow == Flow::ConditionalJump {
        return match taken(&decoded, registers) {
            Some(taken) => format!(" [br={}]", u8::from(taken)),
            None => String::new(),
        };
    }
    // `lea` and `nop` compute an address without touching it.
    let touches = decoded.memory_size().size() > 0
        && !matches!(decoded.mnemonic(), iced_x86::Mnemonic::Lea | iced_x86::Mnemonic::Nop);
    let operand = (0..decoded.op_count()).find(|&operand| decoded.op_kind(operand) == OpKind::Memory);
    let Some(at) = operand.filter(|_| touches).and_then(|operand| address(&decoded, operand, registers)) else {
        return String::new();
    };
    let segment = match decoded.segment_prefix() {
        Register::FS => "fs",
        Register::GS => "gs",
        _ if matches!(decoded.memory_base(), Register::RSP | Register::RBP | Register::ESP | Register::EBP) => "ss",
        _ => "ds",
    };
    let Some(memory) = memory else { return format!(" {segment}:{at}") };
    let size = decoded.memory_size().size().min(SHOWN_BYTES);
    let mut bytes = vec![0; size];
    let value = match memory.read_exact(at, &mut bytes) {
        None => "?".repeat(size * 2),
        Some(()) => {
            let number: String = bytes.iter().rev().map(|byte| format!("{byte:02x}")).collect();
            let pointer = u64::from_le_bytes(bytes.get(..8).and_then(|low| low.try_into().ok()).unwrap_or_default());
            // Where an indirect jump or call leads.
            match matches!(instruction.flow, Flow::Call | Flow::Jump).then(|| symbols.symbolize(Va(pointer))) {
                Some(Some(name)) => format!("{{{name} ({})}}", Va(pointer)),
                _ => number,
            }
        }
    };
    format!(" {segment}:{at}={value}")
}

pub(crate) fn effective_addresses(instruction: &Instruction, registers: &RegisterContext) -> Vec<Va> {
    let Some(decoded) = super::decoded(instruction.at, &instruction.bytes) else { return Vec::new() };
    let touches = |kind| {
        matches!(
            kind,
            OpKind::Memory
                | OpKind::MemorySegRSI
                | OpKind::MemoryESRDI
                | OpKind::MemorySegRDI
                | OpKind::MemorySegESI
                | OpKind::MemoryESEDI
        )
    };
    let operands = (0..decoded.op_count()).filter(|&operand| touches(decoded.op_kind(operand)));
    operands.filter_map(|operand| address(&decoded, operand, registers)).collect()
}

pub(crate) fn registers_used(instruction: &Instruction) -> Vec<RegisterId> {
    let Some(decoded) = super::decoded(instruction.at, &instruction.bytes) else { return Vec::new() };
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(&decoded);
    let mut used: Vec<RegisterId> =
        info.used_registers().iter().filter_map(|used| id_of(used.register().full_register())).collect();
    used.sort_unstable();
    used.dedup();
    used
}

fn address(decoded: &iced_x86::Instruction, operand: u32, registers: &RegisterContext) -> Option<Va> {
    decoded.virtual_address(operand, 0, |register, _, _| value_of(register, registers)).map(Va)
}

/// A register's value by iced's name; segment registers are their bases.
fn value_of(register: Register, registers: &RegisterContext) -> Option<u64> {
    let named = |name: &str| registers.get_u64(registers.arch.register_by_name(name)?);
    match register {
        Register::FS => named("fs_base"),
        Register::GS => named("gs_base"),
        Register::ES | Register::CS | Register::SS | Register::DS => Some(0),
        // Instruction-relative addresses are absolute in iced's form.
        Register::RIP | Register::EIP => named("rip"),
        other => {
            let full = id_of(other.full_register())?;
            let value = registers.get_u64(full)?;
            Some(match other.size() {
                8.. => value,
                size => value & ((1 << (8 * size)) - 1),
            })
        }
    }
}

fn id_of(register: Register) -> Option<RegisterId> {
    Arch::X86_64.register_by_name(&format!("{register:?}"))
}

/// Whether a conditional jump will be taken (Intel SDM vol. 2, Jcc, LOOP, JRCXZ).
fn taken(decoded: &iced_x86::Instruction, registers: &RegisterContext) -> Option<bool> {
    let flag = |name: &str| Some(registers.get_u64(registers.arch.register_by_name(name)?)? != 0);
    let (cf, pf, zf, sf, of) = (flag("cf")?, flag("pf")?, flag("zf")?, flag("sf")?, flag("of")?);
    let counter = value_of(Register::RCX, registers)?;
    use iced_x86::Mnemonic;
    match decoded.mnemonic() {
        Mnemonic::Jrcxz => return Some(counter == 0),
        Mnemonic::Jecxz => return Some(counter as u32 == 0),
        Mnemonic::Loop => return Some(counter != 1),
        Mnemonic::Loope => return Some(counter != 1 && zf),
        Mnemonic::Loopne => return Some(counter != 1 && !zf),
        _ => {}
    }
    Some(match decoded.condition_code() {
        ConditionCode::o => of,
        ConditionCode::no => !of,
        ConditionCode::b => cf,
        ConditionCode::ae => !cf,
        ConditionCode::e => zf,
        ConditionCode::ne => !zf,
        ConditionCode::be => cf || zf,
        ConditionCode::a => !cf && !zf,
        ConditionCode::s => sf,
        ConditionCode::ns => !sf,
        ConditionCode::p => pf,
        ConditionCode::np => !pf,
        ConditionCode::l => sf != of,
        ConditionCode::ge => sf == of,
        ConditionCode::le => zf || sf != of,
        ConditionCode::g => !zf && sf == of,
        _ => return None,
    })
}
