//! The signal frame that the kernel's `rt_sigreturn` reads.
//!
//! Sources: arch/x86/include/asm/sigframe.h (`struct rt_sigframe`), include/uapi/asm/sigcontext.h (`struct
//! sigcontext_64`, `struct _fpx_sw_bytes`), arch/x86/kernel/signal_64.c, arch/x86/kernel/fpu/signal.c.

use outpost_base::Va;

use crate::sys::ptrace_registers::{GeneralRegisters, word};

/// Bytes kept for a frame; extended state up to AVX-512 takes 2.7 KiB of it.
pub(super) const MAX_LEN: u64 = 12 << 10;

/// Offsets in the frame: the restorer's address, then the `ucontext`.
const CONTEXT: usize = 8;
const STACK_FLAGS: usize = CONTEXT + 24;
const MACHINE: usize = CONTEXT + 40;
const SIGNAL_MASK: usize = CONTEXT + 296;
const INFORMATION: usize = CONTEXT + 304;
const END: usize = INFORMATION + 128;
/// Offsets in `struct sigcontext_64` behind the general registers.
const SEGMENTS: usize = MACHINE + 144;
const FLOATING_POINTER: usize = MACHINE + 184;

/// No mode that sigaltstack(2) knows: refused, and the refusal ignored, so that the thread's own one stays.
const NO_STACK_MODE: u64 = 0x7fff_ffff;
/// `UC_FP_XSTATE`, `UC_SIGCONTEXT_SS`, `UC_STRICT_RESTORE_SS`.
const CONTEXT_FLAGS: u64 = 7;
/// Words of `user_regs_struct` in the order of `struct sigcontext_64`: r8 to r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp,
/// rip, flags.
const ORDER: [usize; 18] = [9, 8, 7, 6, 3, 2, 1, 0, 14, 13, 4, 5, 12, 10, 11, word::SP, word::PC, word::FLAGS];
const CS: usize = 17;
const SS: usize = 20;

/// Extended state: alignment that xrstor needs, and `sw_reserved` of its legacy part.
const XSAVE_ALIGN: u64 = 64;
const XSAVE_MIN: usize = 576;
const XSAVE_SOFTWARE: usize = 464;
const XSTATE_BV: usize = 512;
const MAGIC1: u32 = 0x4650_5853;
const MAGIC2: u32 = 0x4650_5845;
/// Tile data of AMX: the kernel gives room for it only to threads that asked for it, so that frames are without it.
const TILE_DATA: u64 = 1 << 18;

/// Bytes at the beginning of a frame by which it is known to be one of ours.
pub(super) const SIGN_LEN: usize = MACHINE;

/// The restorer of a frame of ours that begins with these bytes.
pub(super) fn restorer_of(bytes: &[u8; SIGN_LEN]) -> Option<Va> {
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
    (word(CONTEXT) == CONTEXT_FLAGS && word(STACK_FLAGS) == NO_STACK_MODE).then(|| Va(word(0)))
}

/// The frame's bytes for `at`; `None` if the extended state is none that a frame can have.
pub(super) fn build(at: Va, restorer: Va, general: &GeneralRegisters, floating: &[u8], mask: u64) -> Option<Vec<u8>> {
    let floating_at = (at + END as u64).align_up(XSAVE_ALIGN);
    let floating = for_frame(floating)?;
    let start = (floating_at - at) as usize;
    let mut bytes = vec![0; start];
    put(&mut bytes, 0, restorer.0);
    put(&mut bytes, CONTEXT, CONTEXT_FLAGS);
    put(&mut bytes, STACK_FLAGS, NO_STACK_MODE);
    for (index, register) in ORDER.into_iter().enumerate() {
        put(&mut bytes, MACHINE + index * 8, general.0[register]);
    }
    // cs, gs, fs, ss; fs and gs are not restored.
    put(&mut bytes, SEGMENTS, general.0[CS] & 0xffff | (general.0[SS] & 0xffff) << 48);
    put(&mut bytes, FLOATING_POINTER, floating_at.0);
    put(&mut bytes, SIGNAL_MASK, mask);
    bytes.extend_from_slice(&floating);
    (bytes.len() as u64 <= MAX_LEN).then_some(bytes)
}

/// The XSAVE area as ptrace gives it, marked as a frame's is.
fn for_frame(floating: &[u8]) -> Option<Vec<u8>> {
    let word = |at: usize| Some(u64::from_le_bytes(floating.get(at..at + 8)?.try_into().ok()?));
    if floating.len() < XSAVE_MIN {
        return None;
    }
    // ptrace leaves XCR0 in the software bytes (arch/x86/kernel/fpu/xstate.h, `xstate_fx_sw_bytes`).
    let (mut features, mut len) = (word(XSAVE_SOFTWARE)?, floating.len());
    if features & TILE_DATA != 0 {
        if word(XSTATE_BV)? & TILE_DATA != 0 {
            return None;
        }
        features &= !TILE_DATA;
        len = usize::try_from(std::arch::x86_64::__cpuid_count(0xd, 18).ebx).ok().filter(|start| *start < len)?;
    }
    let mut bytes = floating[..len].to_vec();
    let size = u32::try_from(len).ok()?;
    let mut software = [0; 48];
    software[..4].copy_from_slice(&MAGIC1.to_le_bytes());
    software[4..8].copy_from_slice(&(size + 4).to_le_bytes());
    software[8..16].copy_from_slice(&features.to_le_bytes());
    software[16..20].copy_from_slice(&size.to_le_bytes());
    bytes[XSAVE_SOFTWARE..XSTATE_BV].copy_from_slice(&software);
    bytes.extend_from_slice(&MAGIC2.to_le_bytes());
    Some(bytes)
}

fn put(bytes: &mut [u8], at: usize, value: u64) {
    if let Some(field) = bytes.get_mut(at..at + 8) {
        field.copy_from_slice(&value.to_le_bytes());
    }
}
