//! The four debug registers, as one process's threads shall have them.
//!
//! Source: Intel SDM vol. 3B, 18.2.4 (DR7), 18.2.3 (DR6). The kernel keeps them per thread and clears them in new ones
//! (arch/x86/kernel/process.c, `copy_thread`), so each thread carries the version it was given last.

use outpost_base::{ThreadId, Va};
use outpost_target::{BreakpointId, HardwareAccess, TargetError};
use rustix::io::Errno;

use crate::sys::ptrace_registers as registers;

/// What one debug register watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Watch {
    id: BreakpointId,
    at: Va,
    access: HardwareAccess,
    len: u8,
}

/// Why no debug register can watch something.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// The pages can be protected instead.
    ForPages(&'static str),
    /// Nothing can be done.
    ForAll(TargetError),
}

/// The debug registers of a process.
#[derive(Debug, Default)]
pub(crate) struct DebugRegisters {
    slots: [Option<Watch>; 4],
    /// Counts changes; 0: never used.
    pub(crate) version: u64,
}

const DR6: usize = 6;
const DR7: usize = 7;

impl DebugRegisters {
    /// Whether any is in use.
    pub(crate) fn is_used(&self) -> bool {
        self.slots.iter().any(Option::is_some)
    }

    /// Takes a free register for a breakpoint.
    ///
    /// # Errors
    /// A length or alignment the processor does not have; all four in use. Data can be watched otherwise then.
    pub(crate) fn add(&mut self, id: BreakpointId, at: Va, access: HardwareAccess, len: u32) -> Result<(), Unfit> {
        let invalid = |reason: &str| Unfit::ForAll(TargetError::Invalid { reason: reason.into() });
        if access == HardwareAccess::Execute && len != 1 {
            return Err(invalid("a breakpoint for execution has the size 1"));
        }
        if at.0 >> 47 != 0 {
            return Err(invalid("a hardware breakpoint must lie in user space"));
        }
        let len = match u8::try_from(len) {
            Ok(len @ (1 | 2 | 4 | 8)) => len,
            _ => return Err(Unfit::ForPages("debug registers watch 1, 2, 4 or 8 bytes")),
        };
        if !at.0.is_multiple_of(u64::from(len)) {
            return Err(Unfit::ForPages("the address is not a multiple of the size"));
        }
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.is_none()) else {
            let because = "all four debug registers are in use";
            return Err(if access == HardwareAccess::Execute { invalid(because) } else { Unfit::ForPages(because) });
        };
        *slot = Some(Watch { id, at, access, len });
        self.version += 1;
        Ok(())
    }

    /// Gives a breakpoint's register back; `true` if it had one.
    pub(crate) fn remove(&mut self, id: BreakpointId) -> bool {
        let slot = self.slots.iter_mut().find(|slot| slot.is_some_and(|watch| watch.id == id));
        let found = slot.map(|slot| *slot = None).is_some();
        self.version += u64::from(found);
        found
    }

    /// Frees all.
    pub(crate) fn clear(&mut self) {
        self.slots = [None; 4];
        self.version += 1;
    }

    /// The breakpoints whose bits are set in `status` (DR6).
    pub(crate) fn hit(&self, status: u64) -> Vec<BreakpointId> {
        let watches = self.slots.iter().enumerate();
        watches
            .filter(|(index, _)| status >> index & 1 == 1)
            .filter_map(|(_, slot)| slot.map(|watch| watch.id))
            .collect()
    }

    /// Whether an execution breakpoint is at `pc`.
    pub(crate) fn executes_at(&self, pc: Va) -> bool {
        self.slots.iter().flatten().any(|watch| watch.access == HardwareAccess::Execute && watch.at == pc)
    }

    /// Gives a stopped thread these registers.
    ///
    /// # Errors
    /// The kernel refuses an address, or has no register free (a debugger in the debuggee's own perf events).
    pub(crate) fn apply(&self, thread: ThreadId) -> Result<(), Errno> {
        registers::set_debug(thread.0, DR7, 0)?;
        for (index, slot) in self.slots.iter().enumerate() {
            registers::set_debug(thread.0, index, slot.map_or(0, |watch| watch.at.0))?;
        }
        registers::set_debug(thread.0, DR6, 0)?;
        registers::set_debug(thread.0, DR7, self.control())
    }

    /// DR7: local enable bits, then access and length of each.
    fn control(&self) -> u64 {
        let field = |(index, slot): (usize, &Option<Watch>)| {
            let Some(watch) = slot else { return 0 };
            let access = match watch.access {
                HardwareAccess::Execute => 0b00,
                HardwareAccess::Write => 0b01,
                HardwareAccess::ReadWrite => 0b11,
            };
            let len = match watch.len {
                1 => 0b00,
                2 => 0b01,
                8 => 0b10,
                _ => 0b11,
            };
            1 << (2 * index) | (access | len << 2) << (16 + 4 * index)
        };
        self.slots.iter().enumerate().map(field).fold(0, |control, bits| control | bits)
    }
}

/// Which debug registers fired, read from the thread and cleared there.
pub(crate) fn take_status(thread: ThreadId) -> u64 {
    let status = registers::debug(thread.0, DR6).unwrap_or(0);
    if status & 0xf != 0 {
        let _ = registers::set_debug(thread.0, DR6, 0);
    }
    status
}

/// Whether one of them fired, which is left to be read.
pub(super) fn have_fired(thread: ThreadId) -> bool {
    registers::debug(thread.0, DR6).unwrap_or(0) & 0xf != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bits_are_the_manuals() {
        let mut registers = DebugRegisters::default();
        registers.add(BreakpointId(1), Va(0x1000), HardwareAccess::Write, 4).unwrap();
        registers.add(BreakpointId(2), Va(0x2000), HardwareAccess::ReadWrite, 8).unwrap();
        registers.add(BreakpointId(3), Va(0x3001), HardwareAccess::Execute, 1).unwrap();
        assert_eq!(registers.control(), 0x00bd_0015);
        assert_eq!(registers.hit(0b110), [BreakpointId(2), BreakpointId(3)]);
        assert!(registers.remove(BreakpointId(2)));
        assert_eq!(registers.control(), 0x000d_0011);
    }

    #[test]
    fn refuses_what_the_processor_cannot_watch() {
        let mut registers = DebugRegisters::default();
        let mut add = |at, access, len| registers.add(BreakpointId(1), Va(at), access, len).is_ok();
        assert!(!add(0x1001, HardwareAccess::Write, 4));
        assert!(!add(0x1000, HardwareAccess::Write, 3));
        assert!(!add(0x1000, HardwareAccess::Execute, 4));
        assert!(!add(1 << 63, HardwareAccess::Write, 8));
        for _ in 0..4 {
            assert!(add(0x1000, HardwareAccess::Write, 8));
        }
        assert!(!add(0x1000, HardwareAccess::Write, 8));
    }
}
