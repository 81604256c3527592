//! ptrace(2): registers of stopped threads (x86-64).

use std::ptr::null_mut;

use libc::{c_void, pid_t};
use rustix::io::Errno;

use super::{last_errno, result};

/// `struct user_regs_struct` as words, in the order of `RegisterContext::general`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub(crate) struct GeneralRegisters(pub(crate) [u64; 27]);

/// Words of [`GeneralRegisters`] (arch/x86/include/asm/user_64.h).
pub(crate) mod word {
    pub(crate) const RBP: usize = 4;
    pub(crate) const R11: usize = 6;
    pub(crate) const RCX: usize = 11;
    pub(crate) const ORIG_RAX: usize = 15;
    pub(crate) const PC: usize = 16;
    pub(crate) const FLAGS: usize = 18;
    pub(crate) const SP: usize = 19;
    pub(crate) const FS_BASE: usize = 21;
}

/// Largest XSAVE area that is read; AVX-512 and AMX fit.
const MAX_XSAVE: usize = 16 << 10;
/// ELF note type of the XSAVE area (elf.h).
const NT_X86_XSTATE: usize = 0x202;
/// Offset of `u_debugreg` in `struct user`.
const DEBUG_REGISTERS: usize = std::mem::offset_of!(libc::user, u_debugreg);

/// `PTRACE_GETREGS`.
pub(crate) fn general(tid: u32) -> Result<GeneralRegisters, Errno> {
    let mut registers = GeneralRegisters([0; 27]);
    // SAFETY: `registers` has the size and layout of `user_regs_struct`, which the request fills.
    result(unsafe {
        libc::ptrace(libc::PTRACE_GETREGS, tid as pid_t, null_mut::<c_void>(), (&raw mut registers).cast::<c_void>())
    })?;
    Ok(registers)
}

/// `PTRACE_SETREGS`.
pub(crate) fn set_general(tid: u32, registers: &GeneralRegisters) -> Result<(), Errno> {
    // SAFETY: `registers` has the size and layout of `user_regs_struct`, which the request only reads.
    result(unsafe {
        libc::ptrace(libc::PTRACE_SETREGS, tid as pid_t, null_mut::<c_void>(), (&raw const *registers).cast::<c_void>())
    })
    .map(drop)
}

/// `PTRACE_GETREGSET` of the XSAVE area, in the standard format.
pub(crate) fn floating(tid: u32) -> Result<Vec<u8>, Errno> {
    let mut area = vec![0_u8; MAX_XSAVE];
    let mut vector = libc::iovec { iov_base: area.as_mut_ptr().cast(), iov_len: area.len() };
    // SAFETY: `vector` describes `area`, which lives through the call; the kernel writes at most `iov_len` bytes.
    result(unsafe {
        libc::ptrace(
            libc::PTRACE_GETREGSET,
            tid as pid_t,
            NT_X86_XSTATE as *mut c_void,
            (&raw mut vector).cast::<c_void>(),
        )
    })?;
    area.truncate(vector.iov_len);
    Ok(area)
}

/// `PTRACE_SETREGSET` of the XSAVE area; `area` must have the length [`floating`] gave.
///
/// What is in it for x87, SSE and AVX counts, also where the thread had not used them yet.
pub(crate) fn set_floating(tid: u32, area: &[u8]) -> Result<(), Errno> {
    let mut area = area.to_vec();
    mark_used(&mut area);
    let mut vector = libc::iovec { iov_base: area.as_mut_ptr().cast(), iov_len: area.len() };
    // SAFETY: `vector` describes `area`, which lives through the call; the kernel only reads it and checks its length.
    result(unsafe {
        libc::ptrace(
            libc::PTRACE_SETREGSET,
            tid as pid_t,
            NT_X86_XSTATE as *mut c_void,
            (&raw mut vector).cast::<c_void>(),
        )
    })
    .map(drop)
}

/// Says of x87, SSE and AVX that they are not in their initial state: the kernel would put that in place of what the area
/// holds. What it gave for them is valid either way (Intel SDM vol. 1, 13.4.2; `xstate_fx_sw_bytes`, XCR0 at 464).
fn mark_used(area: &mut [u8]) {
    const SUPPORTED: usize = 464;
    const USED: usize = 512;
    const LEGACY_AND_AVX: u64 = 7;
    let word = |at: usize| Some(u64::from_le_bytes(area.get(at..at + 8)?.try_into().ok()?));
    if let (Some(supported), Some(used)) = (word(SUPPORTED), word(USED)) {
        let used = used | (supported & LEGACY_AND_AVX);
        area[USED..USED + 8].copy_from_slice(&used.to_le_bytes());
    }
}

/// A debug register, 0 to 7 (`PTRACE_PEEKUSER`).
pub(crate) fn debug(tid: u32, index: usize) -> Result<u64, Errno> {
    let mut value: libc::c_ulong = 0;
    // The raw system call stores the word; glibc's wrapper returns it, which cannot be told from an error.
    // SAFETY: the raw request writes one word through `data`; the kernel checks the offset.
    let done = unsafe {
        libc::syscall(
            libc::SYS_ptrace,
            libc::PTRACE_PEEKUSER as libc::c_long,
            tid as libc::c_long,
            DEBUG_REGISTERS + index * 8,
            &raw mut value,
        )
    };
    if done == -1 { Err(last_errno()) } else { Ok(value) }
}

/// Sets a debug register (`PTRACE_POKEUSER`). The kernel refuses addresses outside user space and bad control bits.
pub(crate) fn set_debug(tid: u32, index: usize, value: u64) -> Result<(), Errno> {
    // SAFETY: no memory of ours is named; the kernel checks offset and value.
    result(unsafe {
        libc::ptrace(
            libc::PTRACE_POKEUSER,
            tid as pid_t,
            (DEBUG_REGISTERS + index * 8) as *mut c_void,
            value as *mut c_void,
        )
    })
    .map(drop)
}

impl GeneralRegisters {
    /// The program counter.
    pub(crate) fn pc(&self) -> u64 {
        self.0[word::PC]
    }

    /// The stack pointer.
    pub(crate) fn sp(&self) -> u64 {
        self.0[word::SP]
    }

    /// Clears `RF`, which the processor sets in the flags that a fault saves (Intel SDM vol. 3, 18.3.1.1).
    pub(crate) fn clear_resume_flag(&mut self) {
        self.0[word::FLAGS] &= !(1 << 16);
    }

    /// Moves the program counter.
    pub(crate) fn set_pc(&mut self, pc: u64) {
        self.0[word::PC] = pc;
    }
}
