//! What kind of control transfer an instruction is, from its first bytes; enough for `pc`, `pt`, `ph` and no more.
//!
//! Source: Intel SDM vol. 2, appendix A (opcode maps) and 2.1.1 (prefixes).

/// Kind of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum InstructionKind {
    /// Anything else.
    Other = 0,
    /// `call`.
    Call = 1,
    /// `ret`, `iret`.
    Return = 2,
    /// Any jump, conditional or not.
    Branch = 4,
    /// `syscall`, `sysenter`, `int`.
    SystemCall = 8,
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InstructionKinds(pub u8);

impl InstructionKinds {
    /// Set of these kinds.
    pub fn of(kinds: &[InstructionKind]) -> InstructionKinds {
        InstructionKinds(kinds.iter().fold(0, |set, &kind| set | kind as u8))
    }

    /// Whether no kind is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `kind` is in it; [`InstructionKind::Other`] never is.
    pub fn contains(self, kind: InstructionKind) -> bool {
        self.0 & kind as u8 != 0
    }
}

/// Classifies the instruction that `code` starts with, in 64-bit mode.
pub fn classify(code: &[u8]) -> InstructionKind {
    let is_prefix =
        |byte: &u8| matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3);
    let opcode = code.iter().position(|byte| !is_prefix(byte)).map_or(&[][..], |at| &code[at..]);
    let extension = |modrm: u8| (modrm >> 3) & 7;
    match *opcode {
        [0xe8, ..] => InstructionKind::Call,
        [0xff, modrm, ..] if matches!(extension(modrm), 2 | 3) => InstructionKind::Call,
        [0xff, modrm, ..] if matches!(extension(modrm), 4 | 5) => InstructionKind::Branch,
        [0xc2 | 0xc3 | 0xca | 0xcb | 0xcf, ..] => InstructionKind::Return,
        [0xe9 | 0xeb | 0xe0..=0xe3 | 0x70..=0x7f, ..] | [0x0f, 0x80..=0x8f, ..] => InstructionKind::Branch,
        [0x0f, 0x05 | 0x34, ..] | [0xcd, ..] => InstructionKind::SystemCall,
        _ => InstructionKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_control_transfers_behind_prefixes() {
        let check = |code: &[u8], kind| assert_eq!(classify(code), kind, "{code:02x?}");
        check(&[0xe8, 0, 0, 0, 0], InstructionKind::Call);
        check(&[0x41, 0xff, 0xd4], InstructionKind::Call);
        check(&[0xff, 0x25, 0, 0, 0, 0], InstructionKind::Branch);
        check(&[0xff, 0x35, 0, 0, 0, 0], InstructionKind::Other);
        check(&[0xf3, 0xc3], InstructionKind::Return);
        check(&[0xf2, 0x0f, 0x84, 0, 0, 0, 0], InstructionKind::Branch);
        check(&[0x0f, 0x05], InstructionKind::SystemCall);
        check(&[0x48, 0x89, 0xe5], InstructionKind::Other);
        check(&[], InstructionKind::Other);
    }
}
