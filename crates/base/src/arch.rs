//! Architectures as values, each with its table of registers.

use crate::x86_64;

/// An instruction set with its register table and calling facts.
///
/// It is a value and never a `cfg`: a dump of one machine opens on any other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Arch {
    /// AMD64 in 64-bit mode.
    X86_64,
}

/// Index of a register in its architecture's table ([`Arch::registers`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RegisterId(pub u16);

/// What family a register belongs to; selects what `r` masks show and which set carries it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RegisterGroup {
    /// Integer registers, program counter, flags.
    General,
    /// Selectors and segment bases.
    Segment,
    /// x87 registers and control words.
    Float,
    /// XMM registers and MXCSR.
    Sse,
    /// YMM registers.
    Avx,
    /// Hardware-breakpoint registers.
    Debug,
    /// A part of another register (`eax`, `al`, `zf`); not shown in blocks, but readable and writable by name.
    Part,
}

/// Where a register's bits lie in a [`crate::RegisterContext`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Storage {
    /// Bits `shift..shift + bits` of word `index` of the general block.
    General {
        /// Word in the general block.
        index: u8,
        /// Lowest bit.
        shift: u8,
    },
    /// `bits / 8` bytes at `offset` of the floating-point (XSAVE) block.
    Xsave {
        /// Byte offset.
        offset: u16,
    },
    /// A register split over two places of the XSAVE block: low half, then high half.
    XsavePair {
        /// Byte offset of the low half.
        low: u16,
        /// Byte offset of the high half.
        high: u16,
    },
    /// Word `index` of the debug block.
    Debug {
        /// Word in the debug block.
        index: u8,
    },
}

/// One row of an architecture's register table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegisterDef {
    /// Lower-case name as the debugger's user types it.
    pub name: &'static str,
    /// Family.
    pub group: RegisterGroup,
    /// Width in bits.
    pub bits: u16,
    /// Number in DWARF and in call frame information, where there is one.
    pub dwarf: Option<u16>,
    /// Where its bits are kept.
    pub storage: Storage,
}

impl Arch {
    /// The table; a [`RegisterId`] indexes it.
    pub fn registers(self) -> &'static [RegisterDef] {
        match self {
            Arch::X86_64 => x86_64::REGISTERS,
        }
    }

    /// Finds a register by name, case-insensitively, without `@`.
    pub fn register_by_name(self, name: &str) -> Option<RegisterId> {
        let at = self.registers().iter().position(|def| def.name.eq_ignore_ascii_case(name))?;
        Some(RegisterId(at as u16))
    }

    /// Finds a register by its DWARF number.
    pub fn register_by_dwarf(self, number: u16) -> Option<RegisterId> {
        let at = self.registers().iter().position(|def| def.dwarf == Some(number))?;
        Some(RegisterId(at as u16))
    }

    /// The row of `id`; `None` if the table has no such row (ids come from the wire, too).
    pub fn register(self, id: RegisterId) -> Option<&'static RegisterDef> {
        self.registers().get(usize::from(id.0))
    }

    /// Words in the general block of a context.
    pub fn general_words(self) -> usize {
        match self {
            Arch::X86_64 => x86_64::GENERAL_WORDS,
        }
    }

    /// The program counter.
    pub fn pc(self) -> RegisterId {
        match self {
            Arch::X86_64 => x86_64::PC,
        }
    }

    /// The stack pointer.
    pub fn sp(self) -> RegisterId {
        match self {
            Arch::X86_64 => x86_64::SP,
        }
    }

    /// The conventional frame pointer.
    pub fn frame_pointer(self) -> RegisterId {
        match self {
            Arch::X86_64 => x86_64::FRAME_POINTER,
        }
    }

    /// The register that carries an integer result.
    pub fn return_value(self) -> RegisterId {
        match self {
            Arch::X86_64 => x86_64::RETURN_VALUE,
        }
    }

    /// DWARF number of the column that holds the return address in call frame information.
    pub fn return_address_column(self) -> u16 {
        match self {
            Arch::X86_64 => x86_64::RETURN_ADDRESS_COLUMN,
        }
    }

    /// Bytes in a pointer.
    pub fn pointer_size(self) -> u8 {
        match self {
            Arch::X86_64 => 8,
        }
    }

    /// Longest instruction in bytes.
    pub fn max_instruction_len(self) -> usize {
        match self {
            Arch::X86_64 => 15,
        }
    }
}
