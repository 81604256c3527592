//! Registers of a frame, some of which are known.

use outpost_base::{Arch, RegisterContext, RegisterId, RegisterValue, Storage, Va};

/// Bytes that a call pushes.
const RETURN_ADDRESS: u64 = 8;

/// A frame's registers: those the unwinder could recover, and no invented value for the others.
///
/// In the innermost frame all registers of the thread are known. Outside it the program counter, the stack pointer,
/// callee-saved registers and those that belong to the thread rather than the frame (selectors, segment bases) usually
/// are; behind a signal frame all are again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FrameRegisters {
    context: RegisterContext,
    /// One bit per word of the general block.
    known: u64,
}

impl FrameRegisters {
    /// A thread's registers: all of them known.
    pub fn from_context(context: RegisterContext) -> FrameRegisters {
        let known = (0..context.general.len().min(64)).fold(0, |known, word| known | 1 << word);
        FrameRegisters { context, known }
    }

    /// No register known.
    pub fn unknown(arch: Arch) -> FrameRegisters {
        FrameRegisters { context: RegisterContext::new(arch), known: 0 }
    }

    /// What the registers are those of.
    pub fn arch(&self) -> Arch {
        self.context.arch
    }

    /// A register's value, or `None` if it is not known in this frame. Parts (`eax`, `zf`) follow their register.
    pub fn get(&self, id: RegisterId) -> Option<RegisterValue> {
        if let Some(word) = self.general_word(id)
            && self.known & (1 << word) == 0
        {
            return None;
        }
        self.context.get(id)
    }

    /// The low 64 bits of a known register.
    pub fn get_u64(&self, id: RegisterId) -> Option<u64> {
        self.get(id).map(|value| value.as_u64())
    }

    /// Whether the register's value is known in this frame.
    pub fn is_known(&self, id: RegisterId) -> bool {
        self.get(id).is_some()
    }

    /// The program counter; 0 where it is not known.
    pub fn pc(&self) -> Va {
        Va(self.get_u64(self.arch().pc()).unwrap_or(0))
    }

    /// The stack pointer; 0 where it is not known.
    pub fn sp(&self) -> Va {
        Va(self.get_u64(self.arch().sp()).unwrap_or(0))
    }

    /// The registers as a context, in which those that are not known are 0: ask [`FrameRegisters::is_known`] first.
    pub fn context(&self) -> &RegisterContext {
        &self.context
    }

    /// The registers that a function had when it ended by a tail call, if these are its caller's. By then it had given back
    /// those that it must preserve, and below `cfa` lay the return address that its successor returns to (SysV x86-64
    /// psABI, 3.2.1 and 3.2.2).
    pub fn at_tail_call(&self, pc: Va, cfa: Option<Va>) -> FrameRegisters {
        let mut registers = self.clone();
        registers.set(self.arch().pc(), pc.0);
        match cfa.and_then(|cfa| cfa.0.checked_sub(RETURN_ADDRESS)) {
            Some(sp) => registers.set(self.arch().sp(), sp),
            None => registers.forget(self.arch().sp()),
        }
        registers
    }

    /// Makes a register of the general block known.
    pub(crate) fn set(&mut self, id: RegisterId, value: u64) {
        if let Some(word) = self.general_word(id)
            && self.context.set(id, RegisterValue::from_u64(value, 64))
        {
            self.known |= 1 << word;
        }
    }

    /// Gives a register the value it has in `other`, or makes it unknown if it is unknown there.
    pub(crate) fn take(&mut self, id: RegisterId, other: &FrameRegisters) {
        match other.get_u64(id) {
            Some(value) => self.set(id, value),
            None => self.forget(id),
        }
    }

    /// Makes a register of the general block unknown.
    pub(crate) fn forget(&mut self, id: RegisterId) {
        if let Some(word) = self.general_word(id) {
            self.known &= !(1 << word);
            self.context.set(id, RegisterValue::from_u64(0, 64));
        }
    }

    /// Sets the floating-point block, which a signal frame holds.
    pub(crate) fn set_floating(&mut self, block: Vec<u8>) {
        self.context.floating = block;
    }

    /// Keeps the debug registers, which are the thread's whatever the frame.
    pub(crate) fn take_debug(&mut self, other: &FrameRegisters) {
        self.context.debug.clone_from(&other.context.debug);
    }

    fn general_word(&self, id: RegisterId) -> Option<u8> {
        match self.context.arch.register(id)?.storage {
            Storage::General { index, .. } if index < 64 => Some(index),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_registers_have_no_value_and_parts_follow() {
        let id = |name| Arch::X86_64.register_by_name(name).unwrap();
        let mut registers = FrameRegisters::unknown(Arch::X86_64);
        assert_eq!(registers.get(id("rbx")), None);
        registers.set(id("rbx"), 0x1_0000_00ff);
        assert_eq!(registers.get_u64(id("ebx")), Some(0xff));
        assert_eq!(registers.get_u64(id("rax")), None);
        registers.forget(id("rbx"));
        assert_eq!(registers.get(id("bl")), None);
    }
}
