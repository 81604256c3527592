//! x86-64: which registers a call keeps, the kernel's signal frame, and unwinding without call frame information.
//!
//! Source: SysV x86-64 psABI 1.0, 3.2.1 and fig. 3.4 (register usage), fig. 3.36 (DWARF numbers).

use std::sync::OnceLock;

use outpost_base::{Arch, RegisterGroup, RegisterId, Storage};

use crate::{FrameRegisters, UnwindError};

/// Registers that a function leaves as it found them, and those that belong to the thread and not to the frame.
const KEPT_BY_CALLS: [&str; 14] =
    ["rbx", "rbp", "r12", "r13", "r14", "r15", "cs", "ss", "ds", "es", "fs", "gs", "fs_base", "gs_base"];

/// What the caller finds in its registers if the callee kept to the ABI and saved nothing; the program counter and
/// stack pointer are unknown.
pub(crate) fn registers_kept_by_calls(callee: &FrameRegisters) -> FrameRegisters {
    static KEPT: OnceLock<Vec<RegisterId>> = OnceLock::new();
    let arch = callee.arch();
    let kept = KEPT.get_or_init(|| KEPT_BY_CALLS.iter().filter_map(|name| arch.register_by_name(name)).collect());
    let mut caller = FrameRegisters::unknown(arch);
    for &id in kept {
        caller.take(id, callee);
    }
    caller.take_debug(callee);
    caller
}

/// The register of the general block with this DWARF number.
pub(crate) fn general_register(arch: Arch, number: u16) -> Option<RegisterId> {
    static BY_NUMBER: OnceLock<Vec<Option<RegisterId>>> = OnceLock::new();
    let by_number = BY_NUMBER.get_or_init(|| {
        let mut table = vec![None; 64];
        for (at, def) in arch.registers().iter().enumerate() {
            let is_whole = def.group != RegisterGroup::Part && matches!(def.storage, Storage::General { .. });
            if let Some(slot) = def.dwarf.filter(|_| is_whole).and_then(|number| table.get_mut(usize::from(number))) {
                *slot = Some(RegisterId(at as u16));
            }
        }
        table
    });
    *by_number.get(usize::from(number))?
}

/// The value of the register with this DWARF number.
pub(crate) fn read_dwarf_register(registers: &FrameRegisters, number: u16) -> Result<u64, UnwindError> {
    let id = general_register(registers.arch(), number).ok_or(UnwindError::NoSuchRegister { number })?;
    registers.get_u64(id).ok_or(UnwindError::UnknownRegister { register: id })
}
