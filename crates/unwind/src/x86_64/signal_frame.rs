//! The frame that the kernel builds on the stack to deliver a signal.
//!
//! Sources: Linux `arch/x86/include/asm/sigframe.h` (`struct rt_sigframe`), `include/uapi/asm/ucontext.h`,
//! `include/uapi/asm/sigcontext.h` (`struct sigcontext_64`, `struct _fpx_sw_bytes`). When the handler has returned into
//! the trampoline, the stack pointer is at the `struct ucontext`.

use outpost_base::{MemoryReader, RegisterContext, Va};

use crate::{FrameAddress, FrameRegisters};

/// `mov rax, 15` in its two encodings, followed by `syscall`: rt_sigreturn. C libraries, Go and others all have it.
const TRAMPOLINES: [&[u8]; 2] = [&[0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05], &[0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05]];
const SYSCALL_LEN: u64 = 2;

/// Offset of `uc_mcontext`.
const MCONTEXT: u64 = 40;
/// Registers in the order of `struct sigcontext_64`.
const REGISTERS: [&str; 18] = [
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rdi", "rsi", "rbp", "rbx", "rdx", "rax", "rcx", "rsp",
    "rip", "rflags",
];
const FPSTATE: u64 = 23 * 8;
/// The legacy area of the XSAVE block, and where in it software says how long the whole is.
const LEGACY_SIZE: usize = 512;
const SOFTWARE_BYTES: usize = 464;
const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
const MAX_XSTATE: usize = 16 * 1024;

/// Whether the frame is in a signal trampoline, by its instructions.
pub(super) fn is_trampoline(address: FrameAddress, memory: &mut dyn MemoryReader) -> bool {
    let at = address.address();
    TRAMPOLINES.iter().any(|trampoline| {
        // A handler returns to the first instruction; a thread may also be stopped at the second.
        let second = trampoline.len() as u64 - SYSCALL_LEN;
        let starts = [Some(at), at.0.checked_sub(second).map(Va)];
        let possible = if matches!(address, FrameAddress::Pc(_)) { &starts[..] } else { &starts[..1] };
        possible.iter().flatten().any(|&start| {
            let mut bytes = vec![0; trampoline.len()];
            memory.read_exact(start, &mut bytes).is_some() && bytes == *trampoline
        })
    })
}

/// The registers that the signal interrupted, from the context at the trampoline's stack pointer.
pub(super) fn interrupted(trampoline: &FrameRegisters, memory: &mut dyn MemoryReader) -> Option<FrameRegisters> {
    let context = trampoline.sp() + MCONTEXT;
    let arch = trampoline.arch();
    let mut registers = super::registers_kept_by_calls(trampoline);
    for (index, name) in REGISTERS.iter().enumerate() {
        registers.set(arch.register_by_name(name)?, memory.read_u64(context + index as u64 * 8)?);
    }
    add_floating(&mut registers, context, memory);
    Some(registers)
}

/// The registers that a `struct ucontext` holds: what the kernel hands to a signal handler as its third argument, and what
/// `getcontext` fills in. Those that it does not hold, as segments, are `thread`'s. `None` if it cannot be read.
pub fn saved_context(thread: &RegisterContext, at: Va, memory: &mut dyn MemoryReader) -> Option<RegisterContext> {
    let mut trampoline = thread.clone();
    trampoline.set_sp(at);
    let saved = interrupted(&FrameRegisters::from_context(trampoline), memory)?;
    let mut context = thread.clone();
    for name in REGISTERS {
        let id = thread.arch.register_by_name(name)?;
        context.set(id, saved.get(id)?);
    }
    context.floating.clone_from(&saved.context().floating);
    Some(context)
}

/// Adds the flags and the floating-point block, of which call frame information says nothing, to the registers that it
/// gave; unless the context at the trampoline's stack pointer is not the one it means.
pub(crate) fn complete(registers: &mut FrameRegisters, trampoline: &FrameRegisters, memory: &mut dyn MemoryReader) {
    let context = trampoline.sp() + MCONTEXT;
    let saved = |name, memory: &mut dyn MemoryReader| {
        let index = REGISTERS.iter().position(|register| *register == name)? as u64;
        memory.read_u64(context + index * 8)
    };
    if saved("rip", memory) != Some(registers.pc().0) || saved("rsp", memory) != Some(registers.sp().0) {
        return;
    }
    if let (Some(id), Some(flags)) = (registers.arch().register_by_name("rflags"), saved("rflags", memory)) {
        registers.set(id, flags);
    }
    add_floating(registers, context, memory);
}

fn add_floating(registers: &mut FrameRegisters, context: Va, memory: &mut dyn MemoryReader) {
    let block = memory.read_u64(context + FPSTATE).filter(|at| *at != 0).and_then(|at| {
        let mut block = vec![0; LEGACY_SIZE];
        memory.read_exact(Va(at), &mut block)?;
        let word = |at: usize| block.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
        let size = match word(SOFTWARE_BYTES)? {
            // xstate_size, behind magic1, extended_size and the 64-bit xfeatures
            FP_XSTATE_MAGIC1 => word(SOFTWARE_BYTES + 16)? as usize,
            _ => LEGACY_SIZE,
        };
        if (LEGACY_SIZE..=MAX_XSTATE).contains(&size) {
            block.resize(size, 0);
            let got = memory.read(Va(at), &mut block);
            block.truncate(got.max(LEGACY_SIZE));
        }
        Some(block)
    });
    if let Some(block) = block {
        registers.set_floating(block);
    }
}
