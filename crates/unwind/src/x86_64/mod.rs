//! x86-64: which registers a call keeps, the kernel's signal frame, and unwinding without call frame information.
//!
//! Source: SysV x86-64 psABI 1.0, 3.2.1 and fig. 3.4 (register usage), fig. 3.36 (DWARF numbers).

pub(crate) mod analysis;
mod code;
pub(crate) mod signal_frame;
mod simulate;
pub(crate) mod without_cfi;

use std::sync::OnceLock;

use outpost_base::{Arch, MemoryReader, RegisterGroup, RegisterId, Storage, Va};

use crate::{FrameRegisters, UnwindError};

/// Registers that a function leaves as it found them.
const CALLEE_SAVED: [&str; 6] = ["rbx", "rbp", "r12", "r13", "r14", "r15"];
/// Registers that belong to the thread and not to the frame.
const OF_THE_THREAD: [&str; 8] = ["cs", "ss", "ds", "es", "fs", "gs", "fs_base", "gs_base"];

/// What the caller finds in its registers if the callee kept to the ABI and saved nothing; the program counter and
/// stack pointer are unknown.
pub(crate) fn registers_kept_by_calls(callee: &FrameRegisters) -> FrameRegisters {
    static SAVED: OnceLock<Vec<RegisterId>> = OnceLock::new();
    let mut caller = registers_of_the_thread(callee);
    for &id in SAVED.get_or_init(|| ids(callee.arch(), &CALLEE_SAVED)) {
        caller.take(id, callee);
    }
    caller
}

/// The registers that are the same in every frame of a thread, and no others.
pub(crate) fn registers_of_the_thread(other: &FrameRegisters) -> FrameRegisters {
    static OWN: OnceLock<Vec<RegisterId>> = OnceLock::new();
    let mut registers = FrameRegisters::unknown(other.arch());
    for &id in OWN.get_or_init(|| ids(other.arch(), &OF_THE_THREAD)) {
        registers.take(id, other);
    }
    registers.take_debug(other);
    registers
}

/// Whether a call instruction ends at `at`.
pub(crate) fn is_behind_call(at: Va, memory: &mut dyn MemoryReader) -> bool {
    matches!(code::Code::new(memory).before(at), code::Before::Call(_))
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

fn ids(arch: Arch, names: &[&str]) -> Vec<RegisterId> {
    names.iter().filter_map(|name| arch.register_by_name(name)).collect()
}
