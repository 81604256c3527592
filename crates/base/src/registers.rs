//! One thread's registers as plain data.

use crate::{Arch, RegisterGroup, RegisterId, Storage, Va};

/// A register's bits, little-endian, up to 256 of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegisterValue {
    bytes: [u8; 32],
    bits: u16,
}

impl RegisterValue {
    /// Value of `bits` bits (at most 64 are taken from `value`).
    pub fn from_u64(value: u64, bits: u16) -> RegisterValue {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&value.to_le_bytes());
        RegisterValue { bytes, bits }
    }

    /// Value from little-endian bytes; `None` for more than 32.
    pub fn from_bytes(from: &[u8]) -> Option<RegisterValue> {
        let mut bytes = [0; 32];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(RegisterValue { bytes, bits: from.len() as u16 * 8 })
    }

    /// The low 64 bits.
    pub fn as_u64(&self) -> u64 {
        u64::from_le_bytes(self.bytes[..8].try_into().unwrap_or_default())
    }

    /// All bytes, little-endian; a flag of a few bits takes one byte.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.bits.div_ceil(8)).min(32)]
    }

    /// Width in bits.
    pub fn bits(&self) -> u16 {
        self.bits
    }
}

/// One thread's registers, in the blocks the kernel and ELF notes use.
///
/// `general` has [`Arch::general_words`] words: on x86-64 the order of `user_regs_struct`, which `NT_PRSTATUS`
/// shares. `floating` is the raw `NT_X86_XSTATE` (XSAVE, standard format) or the 512 bytes of `NT_PRFPREG`;
/// empty when it was not asked for or not stored. `debug` is `dr0` to `dr7`, or empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegisterContext {
    /// What the blocks mean.
    pub arch: Arch,
    /// General registers.
    pub general: Vec<u64>,
    /// Floating-point and vector state.
    pub floating: Vec<u8>,
    /// Debug registers.
    pub debug: Vec<u64>,
}

impl RegisterContext {
    /// All-zero general registers, nothing else.
    pub fn new(arch: Arch) -> RegisterContext {
        RegisterContext { arch, general: vec![0; arch.general_words()], floating: Vec::new(), debug: Vec::new() }
    }

    /// The program counter.
    pub fn pc(&self) -> Va {
        Va(self.get_u64(self.arch.pc()).unwrap_or(0))
    }

    /// The stack pointer.
    pub fn sp(&self) -> Va {
        Va(self.get_u64(self.arch.sp()).unwrap_or(0))
    }

    /// Moves the program counter.
    pub fn set_pc(&mut self, pc: Va) {
        self.set(self.arch.pc(), RegisterValue::from_u64(pc.0, 64));
    }

    /// Moves the stack pointer.
    pub fn set_sp(&mut self, sp: Va) {
        self.set(self.arch.sp(), RegisterValue::from_u64(sp.0, 64));
    }

    /// A register's value; `None` if the table lacks it or its block is not present.
    pub fn get(&self, id: RegisterId) -> Option<RegisterValue> {
        let def = self.arch.register(id)?;
        match def.storage {
            Storage::General { index, shift } => {
                let word = *self.general.get(usize::from(index))?;
                let mask = if def.bits >= 64 { u64::MAX } else { (1 << def.bits) - 1 };
                Some(RegisterValue::from_u64((word >> shift) & mask, def.bits))
            }
            Storage::Xsave { offset } => {
                let start = usize::from(offset);
                RegisterValue::from_bytes(self.floating.get(start..start + usize::from(def.bits / 8))?)
            }
            Storage::XsavePair { low, high } => {
                let half = usize::from(def.bits / 16);
                let mut bytes = [0; 32];
                let (low_half, high_half) = bytes.get_mut(..half * 2)?.split_at_mut(half);
                low_half.copy_from_slice(self.floating.get(usize::from(low)..usize::from(low) + half)?);
                high_half.copy_from_slice(self.floating.get(usize::from(high)..usize::from(high) + half)?);
                Some(RegisterValue { bytes, bits: def.bits })
            }
            Storage::Debug { index } => Some(RegisterValue::from_u64(*self.debug.get(usize::from(index))?, def.bits)),
        }
    }

    /// The low 64 bits of a register.
    pub fn get_u64(&self, id: RegisterId) -> Option<u64> {
        self.get(id).map(|value| value.as_u64())
    }

    /// Writes a register; excess bits of `value` are dropped. `false` if the table lacks it or its block is absent.
    ///
    /// Writing a 32-bit part clears the upper half of its register, as the processor does (Intel SDM vol. 1, 3.4.1.1).
    pub fn set(&mut self, id: RegisterId, value: RegisterValue) -> bool {
        let Some(def) = self.arch.register(id) else { return false };
        match def.storage {
            Storage::General { index, shift } => {
                let Some(word) = self.general.get_mut(usize::from(index)) else { return false };
                let clears_upper = def.group == RegisterGroup::Part && def.bits == 32;
                let mask = if def.bits >= 64 { u64::MAX } else { (1 << def.bits) - 1 };
                let kept = if clears_upper { 0 } else { *word & !(mask << shift) };
                *word = kept | ((value.as_u64() & mask) << shift);
            }
            Storage::Xsave { offset } => {
                let start = usize::from(offset);
                let len = usize::from(def.bits / 8);
                let Some(slot) = self.floating.get_mut(start..start + len) else { return false };
                slot.copy_from_slice(&value.bytes[..len]);
            }
            Storage::XsavePair { low, high } => {
                let half = usize::from(def.bits / 16);
                let (low, high) = (usize::from(low), usize::from(high));
                if self.floating.len() < high.max(low) + half {
                    return false;
                }
                self.floating[low..low + half].copy_from_slice(&value.bytes[..half]);
                self.floating[high..high + half].copy_from_slice(&value.bytes[half..half * 2]);
            }
            Storage::Debug { index } => {
                let Some(word) = self.debug.get_mut(usize::from(index)) else { return false };
                *word = value.as_u64();
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> RegisterId {
        Arch::X86_64.register_by_name(name).unwrap()
    }

    #[test]
    fn parts_share_bits_with_their_register() {
        let mut context = RegisterContext::new(Arch::X86_64);
        context.set(id("rax"), RegisterValue::from_u64(0x1122_3344_5566_7788, 64));
        assert_eq!(context.get_u64(id("ah")), Some(0x77));
        context.set(id("al"), RegisterValue::from_u64(0xff, 8));
        assert_eq!(context.get_u64(id("rax")), Some(0x1122_3344_5566_77ff));
        context.set(id("eax"), RegisterValue::from_u64(1, 32));
        assert_eq!(context.get_u64(id("rax")), Some(1), "a 32-bit write clears the upper half");
        context.set(id("zf"), RegisterValue::from_u64(1, 1));
        assert_eq!(context.get_u64(id("efl")), Some(0x40));
    }

    #[test]
    fn vectors_need_their_block() {
        let mut context = RegisterContext::new(Arch::X86_64);
        assert_eq!(context.get(id("xmm3")), None);
        context.floating = vec![0; 832];
        let value = RegisterValue::from_bytes(&[7; 32]).unwrap();
        assert!(context.set(id("ymm3"), value));
        assert_eq!(context.get(id("ymm3")), Some(value));
        assert_eq!(context.get(id("xmm3")).unwrap().bytes(), &[7; 16]);
    }

    #[test]
    fn table_names_and_dwarf_numbers_are_unique() {
        let table = Arch::X86_64.registers();
        for (at, def) in table.iter().enumerate() {
            assert!(table[..at].iter().all(|other| other.name != def.name), "{}", def.name);
            assert!(def.dwarf.is_none() || table[..at].iter().all(|other| other.dwarf != def.dwarf), "{}", def.name);
        }
        assert_eq!(Arch::X86_64.register_by_dwarf(7), Some(Arch::X86_64.sp()));
        assert_eq!(Arch::X86_64.register_by_dwarf(16), Some(Arch::X86_64.pc()));
    }
}
