//! What x86-64 instructions read, write and compute, as plain data, by iced-x86.

use iced_x86::{Decoder, DecoderOptions, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register, UsedMemory};
use outpost_base::{Arch, RegisterId, Va};

use super::AccessKind;

/// An operand in memory, not evaluated yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operand {
    pub(super) base: Option<RegisterId>,
    /// Register and what it is multiplied by.
    pub(super) index: Option<(RegisterId, u32)>,
    /// Added; the whole address where there is neither base nor index.
    pub(super) displacement: i64,
    /// Added, too: the base of a segment (`fs_base`).
    pub(super) segment: Option<RegisterId>,
    /// Bytes touched, 0 if that is not fixed.
    pub(super) size: u32,
}

/// A memory access of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MemoryUse {
    pub(super) operand: Operand,
    pub(super) kind: AccessKind,
}

/// Where the new value of a register comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Memory(Operand),
    Register(RegisterId),
    /// The address of an operand (`lea`).
    Address(Operand),
    Constant(u64),
    /// The value that it had, or another register's, with arithmetic done to it.
    Computed,
    /// A function was called: its result where it is the result's register, else whatever it left.
    Call,
}

/// Registers that a call may change (SysV x86-64 psABI, 3.2.1).
const CALLER_SAVED: [&str; 9] = ["rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"];

/// Registers that hold the first integer arguments (SysV x86-64 psABI, 3.2.3).
pub(super) const ARGUMENTS: [&str; 6] = ["rdi", "rsi", "rdx", "rcx", "r8", "r9"];

fn decoded(at: Va, bytes: &[u8]) -> Option<iced_x86::Instruction> {
    let decoded = Decoder::with_ip(64, bytes, at.0, DecoderOptions::NONE).decode();
    (!decoded.is_invalid()).then_some(decoded)
}

fn id_of(register: Register) -> Option<RegisterId> {
    let full = register.full_register();
    (full != Register::None).then(|| Arch::X86_64.register_by_name(&format!("{full:?}"))).flatten()
}

/// Memory that the instruction accesses, in its own order.
pub(super) fn memory_uses(at: Va, bytes: &[u8]) -> Vec<MemoryUse> {
    let Some(decoded) = decoded(at, bytes) else { return Vec::new() };
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(&decoded);
    let uses = info.used_memory().iter().filter_map(|used| {
        let kind = match used.access() {
            OpAccess::Read | OpAccess::CondRead => AccessKind::Read,
            OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite => AccessKind::Write,
            _ => return None,
        };
        Some(MemoryUse { operand: operand_of(used), kind })
    });
    uses.collect()
}

fn operand_of(used: &UsedMemory) -> Operand {
    let segment = match used.segment() {
        Register::FS => Arch::X86_64.register_by_name("fs_base"),
        Register::GS => Arch::X86_64.register_by_name("gs_base"),
        _ => None,
    };
    Operand {
        base: id_of(used.base()),
        index: id_of(used.index()).map(|index| (index, used.scale())),
        displacement: used.displacement() as i64,
        segment,
        size: used.memory_size().size() as u32,
    }
}

/// The memory operand as it is written, for `lea` and `mov`.
fn written_operand(decoded: &iced_x86::Instruction) -> Operand {
    let relative = decoded.is_ip_rel_memory_operand();
    let segment = match decoded.memory_segment() {
        Register::FS => Arch::X86_64.register_by_name("fs_base"),
        Register::GS => Arch::X86_64.register_by_name("gs_base"),
        _ => None,
    };
    Operand {
        base: if relative { None } else { id_of(decoded.memory_base()) },
        index: id_of(decoded.memory_index()).map(|index| (index, decoded.memory_index_scale())),
        // Instruction-relative addresses are absolute in iced's form.
        displacement: decoded.memory_displacement64() as i64,
        segment,
        size: decoded.memory_size().size() as u32,
    }
}

/// What the instruction does to `register`; `None` if it leaves it alone.
pub(super) fn effect_on(at: Va, bytes: &[u8], register: RegisterId) -> Option<Source> {
    let decoded = decoded(at, bytes)?;
    if decoded.is_call_near() || decoded.is_call_near_indirect() {
        let changed = CALLER_SAVED.iter().any(|name| Arch::X86_64.register_by_name(name) == Some(register));
        return changed.then_some(Source::Call);
    }
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(&decoded);
    let writes = |access| {
        matches!(access, OpAccess::Write | OpAccess::ReadWrite | OpAccess::CondWrite | OpAccess::ReadCondWrite)
    };
    let written =
        info.used_registers().iter().any(|used| id_of(used.register()) == Some(register) && writes(used.access()));
    if !written {
        return None;
    }
    let is_destination = decoded.op_count() >= 1
        && decoded.op0_kind() == OpKind::Register
        && id_of(decoded.op0_register()) == Some(register);
    if !is_destination {
        return Some(Source::Computed);
    }
    Some(match decoded.mnemonic() {
        Mnemonic::Mov | Mnemonic::Movzx | Mnemonic::Movsx | Mnemonic::Movsxd | Mnemonic::Movq | Mnemonic::Movd => {
            match decoded.op1_kind() {
                OpKind::Memory => Source::Memory(written_operand(&decoded)),
                OpKind::Register => id_of(decoded.op1_register()).map_or(Source::Computed, Source::Register),
                _ => decoded.try_immediate(1).map_or(Source::Computed, Source::Constant),
            }
        }
        Mnemonic::Pop => {
            let own = Operand { base: Some(Arch::X86_64.sp()), index: None, displacement: 0, segment: None, size: 8 };
            Source::Memory(own)
        }
        Mnemonic::Lea => Source::Address(written_operand(&decoded)),
        Mnemonic::Xor | Mnemonic::Sub
            if decoded.op1_kind() == OpKind::Register && id_of(decoded.op1_register()) == Some(register) =>
        {
            Source::Constant(0)
        }
        _ => Source::Computed,
    })
}

/// What an indirect call or jump takes its target from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Indirect {
    Register(RegisterId),
    Memory(Operand),
}

/// The source of the target, if the instruction is an indirect call or jump.
pub(super) fn indirect_target(at: Va, bytes: &[u8]) -> Option<Indirect> {
    let decoded = decoded(at, bytes)?;
    if !(decoded.is_call_near_indirect() || decoded.is_jmp_near_indirect()) {
        return None;
    }
    match decoded.op0_kind() {
        OpKind::Register => id_of(decoded.op0_register()).map(Indirect::Register),
        OpKind::Memory => Some(Indirect::Memory(written_operand(&decoded))),
        _ => None,
    }
}

/// Whether it returns to its caller.
pub(super) fn is_return(at: Va, bytes: &[u8]) -> bool {
    decoded(at, bytes).is_some_and(|decoded| decoded.mnemonic() == Mnemonic::Ret)
}

/// What kind of arithmetic fault an instruction can raise, or which deliberate trap it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trap {
    /// `idiv`, `div` with the divisor's register, if it has one.
    Divide(Option<RegisterId>),
    /// `ud2`, `ud1`: what compilers put where control must not come, and `__builtin_trap`.
    Undefined,
    /// `int3`.
    Breakpoint,
    /// `hlt` and others that only the kernel may execute.
    Privileged,
}

/// The trap that an instruction is.
pub(super) fn trap_of(at: Va, bytes: &[u8]) -> Option<Trap> {
    let decoded = decoded(at, bytes)?;
    Some(match decoded.mnemonic() {
        Mnemonic::Div | Mnemonic::Idiv => Trap::Divide(match decoded.op0_kind() {
            OpKind::Register => id_of(decoded.op0_register()),
            _ => None,
        }),
        Mnemonic::Ud0 | Mnemonic::Ud1 | Mnemonic::Ud2 => Trap::Undefined,
        Mnemonic::Int3 => Trap::Breakpoint,
        _ if decoded.is_privileged() => Trap::Privileged,
        _ => return None,
    })
}

/// Bytes of the divisor of `div` and `idiv`.
pub(super) fn divisor_size(at: Va, bytes: &[u8]) -> Option<u32> {
    let decoded = decoded(at, bytes)?;
    Some(match decoded.op0_kind() {
        OpKind::Register => decoded.op0_register().size() as u32,
        _ => decoded.memory_size().size() as u32,
    })
}

/// The few things that code does which only tells where a thread-local variable is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// `lea rdi, [rip+x]`.
    ArgumentAddress(Va),
    /// A call.
    Call,
    /// `mov rax, [rip+x]`.
    Load(Va),
    /// `mov rax, fs:[0]`.
    ThreadPointer,
    /// `add rax, fs:[0]`.
    AddThreadPointer,
    /// `add rax, x`, `sub rax, x`, `lea rax, [rax+x]`.
    Add(i64),
    /// `ret`.
    Return,
    /// Something else, which is taken not to matter.
    Other,
}

/// The address that `lea` makes from the instruction's own.
pub(super) fn relative_address(at: Va, bytes: &[u8]) -> Option<Va> {
    let decoded = decoded(at, bytes)?;
    let is_relative = decoded.mnemonic() == Mnemonic::Lea && decoded.is_ip_rel_memory_operand();
    is_relative.then(|| Va(decoded.ip_rel_memory_address()))
}

/// How code comes to the distance of a variable from the thread pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ThreadOffset {
    /// It is in the instruction: `mov rax, fs:[-40h]`.
    Direct(i64),
    /// It is loaded from there, to be added: `mov rax, [rip+x]` (ELF Handling for Thread-Local Storage, 4.3.6).
    Loaded(Va),
}

/// Recognises a [`ThreadOffset`].
pub(super) fn thread_offset(at: Va, bytes: &[u8]) -> Option<ThreadOffset> {
    let decoded = decoded(at, bytes)?;
    let is_load = decoded.mnemonic() == Mnemonic::Mov
        && decoded.op0_kind() == OpKind::Register
        && decoded.op1_kind() == OpKind::Memory
        && decoded.op0_register().size() == 8;
    if !is_load {
        return None;
    }
    if decoded.is_ip_rel_memory_operand() {
        return Some(ThreadOffset::Loaded(Va(decoded.ip_rel_memory_address())));
    }
    let is_absolute = decoded.memory_base() == Register::None && decoded.memory_index() == Register::None;
    let is_thread = decoded.memory_segment() == Register::FS && is_absolute;
    is_thread.then_some(ThreadOffset::Direct(decoded.memory_displacement64() as i64))
}

/// Recognises a [`Move`]; `None` for what is no instruction.
pub(super) fn simple_move(at: Va, bytes: &[u8]) -> Option<Move> {
    let decoded = decoded(at, bytes)?;
    let destination = if decoded.op_count() > 0 { decoded.op0_register() } else { Register::None };
    let is_memory = decoded.op_count() > 1 && decoded.op1_kind() == OpKind::Memory;
    let is_thread_pointer =
        is_memory && decoded.memory_segment() == Register::FS && decoded.memory_displacement64() == 0;
    let absolute = Va(decoded.memory_displacement64());
    Some(match (decoded.mnemonic(), destination) {
        (Mnemonic::Lea, Register::RDI) if decoded.is_ip_rel_memory_operand() => Move::ArgumentAddress(absolute),
        (Mnemonic::Call, _) => Move::Call,
        (Mnemonic::Ret, _) => Move::Return,
        (Mnemonic::Mov, Register::RAX) if is_thread_pointer => Move::ThreadPointer,
        (Mnemonic::Mov, Register::RAX) if decoded.is_ip_rel_memory_operand() => Move::Load(absolute),
        (Mnemonic::Add, Register::RAX) if is_thread_pointer => Move::AddThreadPointer,
        (Mnemonic::Add, Register::RAX) => Move::Add(decoded.try_immediate(1).ok()? as i64),
        (Mnemonic::Sub, Register::RAX) => Move::Add((decoded.try_immediate(1).ok()? as i64).wrapping_neg()),
        (Mnemonic::Lea, Register::RAX) if decoded.memory_base() == Register::RAX => {
            Move::Add(decoded.memory_displacement64() as i64)
        }
        _ => Move::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> RegisterId {
        Arch::X86_64.register_by_name(name).unwrap()
    }

    #[test]
    fn effects_of_instructions() {
        let check = |bytes: &[u8], register: &str, expected: Option<Source>| {
            assert_eq!(effect_on(Va(0x1000), bytes, id(register)), expected, "{bytes:x?}");
        };
        let operand = |base: &str, displacement, size| Operand {
            base: Some(id(base)),
            index: None,
            displacement,
            segment: None,
            size,
        };
        // mov rax, [rbp-8]
        check(&[0x48, 0x8b, 0x45, 0xf8], "rax", Some(Source::Memory(operand("rbp", -8, 8))));
        check(&[0x48, 0x8b, 0x45, 0xf8], "rbx", None);
        // xor eax, eax; mov eax, 5; mov rdi, rax; call; lea rax, [rip+0x10]
        check(&[0x31, 0xc0], "rax", Some(Source::Constant(0)));
        check(&[0xb8, 5, 0, 0, 0], "rax", Some(Source::Constant(5)));
        check(&[0x48, 0x89, 0xc7], "rdi", Some(Source::Register(id("rax"))));
        check(&[0xe8, 0, 0, 0, 0], "rdi", Some(Source::Call));
        check(&[0xe8, 0, 0, 0, 0], "rbx", None);
        let own = Operand { base: None, index: None, displacement: 0x1017, segment: None, size: 0 };
        check(&[0x48, 0x8d, 0x05, 0x10, 0, 0, 0], "rax", Some(Source::Address(own)));
    }

    #[test]
    fn accesses_and_traps() {
        // rep movsb reads [rsi] and writes [rdi]
        let uses = memory_uses(Va(0), &[0xf3, 0xa4]);
        let kinds: Vec<_> = uses.iter().map(|used| (used.operand.base, used.kind)).collect();
        assert!(kinds.contains(&(Some(id("rsi")), AccessKind::Read)), "{kinds:?}");
        assert!(kinds.contains(&(Some(id("rdi")), AccessKind::Write)), "{kinds:?}");
        assert_eq!(trap_of(Va(0), &[0x0f, 0x0b]), Some(Trap::Undefined));
        assert_eq!(trap_of(Va(0), &[0xf7, 0xf9]), Some(Trap::Divide(Some(id("rcx")))));
        assert_eq!(trap_of(Va(0), &[0x90]), None);
        // call rax; jmp [rip]
        assert_eq!(indirect_target(Va(0), &[0xff, 0xd0]), Some(Indirect::Register(id("rax"))));
        assert_eq!(indirect_target(Va(0), &[0xe8, 0, 0, 0, 0]), None);
    }
}
