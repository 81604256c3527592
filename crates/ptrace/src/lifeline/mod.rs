//! The lifeline: code in the debuggee that leads a thread out of a breakpoint whose server is gone.
//!
//! While breakpoints exist, the debuggee's action for SIGILL and SIGTRAP is the handler made here; for SIGBUS and SIGSEGV
//! too, once it has jump pads or watched pages. As long as a tracer lives it never runs, since the tracer sees these signals first. When all debugger processes are killed at the moment
//! a thread faults at a site, the kernel delivers the signal, and the handler
//!
//! * sends a thread that faulted at a known site to the site's pad, where the displaced instruction is; where there is no
//!   pad, it puts the original byte back, through `/proc/self/mem`, or else by making the page writable;
//! * sends a thread that came to the trap of a jump pad, or whose condition there read what is not mapped, on to the
//!   displaced instructions;
//! * gives a thread that touched a page which is watched by its protection the program's own protection of it back;
//! * clears TF after an orphaned single step, sets RF after an orphaned hardware breakpoint;
//! * hands everything else to the program's own action, which the table remembers, with the mask that it asks for. A default action is put back and the
//!   fault happens again (or the signal is sent again), so that the program dies of what it would have died of.
//!
//! Measured for design: 0 of 900 programs died with it, 31 to 99 % without.
//!
//! # Layout
//!
//! One mapping, read and execute, filled from outside: the code ([`Lifeline::image`]), then the table:
//!
//! | offset in the table | size | meaning |
//! | --- | --- | --- |
//! | 0 | 32 | the program's `struct kernel_sigaction` for SIGILL: handler, flags, restorer, mask |
//! | 32, 64, 96 | 32 each | the same for SIGTRAP, SIGBUS, SIGSEGV |
//! | 128 | 4 | number of entries to look at |
//! | 132 | 12 | zero |
//! | 144 | 16 each | entries: address of the site, address of its pad; a free entry has address 0 |
//!
//! In place of a pad's address, a site without one has its original byte. A watched page has an entry, too: its address, and the
//! program's own protection of it (`PROT_*`).
//!
//! An entry is filled pad first, then site, then counted; it is emptied by writing a zero site: the handler may look at
//! any instant.

mod data;
mod gaps;
mod installed;
mod jumps;
mod pads;

use outpost_base::{Va, VaRange};

pub(crate) use data::PadLog;
pub(crate) use installed::{CAPACITY, Installed, NotSafe, SIGNALS, Scan, set_action, unmap};
pub(crate) use jumps::Jump;
pub(crate) use pads::{PAD_LEN, has_pushed};

use crate::memory::ProcessMemory;
use crate::sys::lifeline as code;

/// What a process does with a signal, as rt_sigaction(2) has it on x86-64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KernelSigaction {
    /// `SIG_DFL` (0), `SIG_IGN` (1) or the handler's address.
    pub handler: u64,
    /// `SA_*`.
    pub flags: u64,
    /// Where the handler returns to (`SA_RESTORER`).
    pub restorer: u64,
    /// Signals blocked meanwhile, bit `signo - 1`.
    pub mask: u64,
}

/// A lifeline at its place in a debuggee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifeline {
    /// First address of its mapping.
    pub at: Va,
    /// Entries its table has room for.
    pub capacity: u32,
}

const SA_SIGINFO: u64 = 4;
const SA_RESTORER: u64 = 0x0400_0000;
const SA_ONSTACK: u64 = 0x0800_0000;
/// `SA_RESTART` and `SA_NODEFER` of the program's own action are kept, since its handler may be run behind ours.
const KEPT_FLAGS: u64 = 0x1000_0000 | 0x4000_0000;

const TABLE_COUNT: u64 = 128;
const TABLE_ENTRIES: u64 = 144;
const ENTRY_LEN: u64 = 16;

impl KernelSigaction {
    /// The structure's bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let words = [self.handler, self.flags, self.restorer, self.mask];
        for (field, word) in bytes.chunks_exact_mut(8).zip(words) {
            field.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// From the structure's bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> KernelSigaction {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        KernelSigaction { handler: word(0), flags: word(8), restorer: word(16), mask: word(24) }
    }
}

impl Lifeline {
    /// Bytes a mapping with room for `capacity` entries needs; not rounded to pages.
    pub fn len(capacity: u32) -> u64 {
        code::code().len() as u64 + TABLE_ENTRIES + u64::from(capacity) * ENTRY_LEN
    }

    /// What the mapping is filled with before the first signal can arrive: code and an empty table. `own` are the program's
    /// actions in the order of the table.
    pub fn image(own: &[KernelSigaction; 4]) -> Vec<u8> {
        let mut bytes = code::code().to_vec();
        bytes.extend(own.iter().flat_map(|action| action.to_bytes()));
        bytes.extend_from_slice(&[0; (TABLE_ENTRIES - TABLE_COUNT) as usize]);
        bytes
    }

    /// The action to install in place of the program's `own`. Nothing else is handled meanwhile: a handler that came in between
    /// and hit a site would find SIGILL blocked, and the kernel ends the process for that.
    pub fn action(&self, own: KernelSigaction) -> KernelSigaction {
        KernelSigaction {
            handler: self.at.0 + code::handler_offset(),
            flags: SA_SIGINFO | SA_RESTORER | SA_ONSTACK | (own.flags & KEPT_FLAGS),
            restorer: self.at.0,
            mask: u64::MAX,
        }
    }

    /// Whether an action found in the process is ours.
    pub fn is_ours(&self, action: KernelSigaction) -> bool {
        action.handler == self.at.0 + code::handler_offset()
    }

    /// Whether an action found in the process is what the kernel made of ours, when a thread that blocked the signal faulted:
    /// the handler is the default one then, all else is as we set it (kernel/signal.c, `force_sig_info_to_task`).
    pub fn was_reset(&self, action: KernelSigaction) -> bool {
        action.handler == 0 && action.restorer == self.at.0
    }

    /// Where its code is, less the table.
    pub(crate) fn code_range(&self) -> VaRange {
        VaRange::from_len(self.at, code::code().len() as u64)
    }

    /// Whether the code of a lifeline stands in a process.
    pub(crate) fn is_there(&self, memory: &ProcessMemory) -> bool {
        let mut present = vec![0; code::code().len()];
        memory.read(self.at, &mut present) == present.len() && present == code::code()
    }

    /// The program's own actions, as its table in a process has them.
    pub(crate) fn read_own(&self, memory: &ProcessMemory) -> [KernelSigaction; 4] {
        let mut bytes = [0; 4 * 32];
        memory.read(self.table(), &mut bytes);
        let (actions, _) = bytes.as_chunks();
        std::array::from_fn(|index| actions.get(index).map(KernelSigaction::from_bytes).unwrap_or_default())
    }

    /// The sites that its table in a process knows, with their pads.
    pub(crate) fn read_entries(&self, memory: &ProcessMemory) -> Vec<(Va, Va)> {
        let mut count = [0; 4];
        memory.read(self.table() + TABLE_COUNT, &mut count);
        let count = u32::from_le_bytes(count).min(self.capacity);
        let mut bytes = vec![0; (u64::from(count) * ENTRY_LEN) as usize];
        let got = memory.read(self.entry(0), &mut bytes);
        let words = bytes[..got].as_chunks().0.iter().map(|word| Va(u64::from_le_bytes(*word))).collect::<Vec<_>>();
        words.as_chunks().0.iter().map(|[site, pad]| (*site, *pad)).filter(|(site, _)| *site != Va(0)).collect()
    }

    /// The writes that make entry `index` lead from `site` to `pad`, in the order they must be done in.
    pub fn fill_entry(&self, index: u32, count: u32, site: Va, pad: Va) -> [(Va, Vec<u8>); 3] {
        let entry = self.entry(index);
        [
            (entry + 8, pad.0.to_le_bytes().to_vec()),
            (entry, site.0.to_le_bytes().to_vec()),
            (self.table() + TABLE_COUNT, count.to_le_bytes().to_vec()),
        ]
    }

    /// The write that empties entry `index`.
    pub fn clear_entry(&self, index: u32) -> (Va, Vec<u8>) {
        (self.entry(index), vec![0; 8])
    }

    /// The write that makes `own` the program's action of that place in the table.
    pub(crate) fn own_action(&self, index: usize, own: KernelSigaction) -> (Va, Vec<u8>) {
        (self.table() + index as u64 * 32, own.to_bytes().to_vec())
    }

    fn table(&self) -> Va {
        self.at + code::code().len() as u64
    }

    fn entry(&self, index: u32) -> Va {
        self.table() + TABLE_ENTRIES + u64::from(index) * ENTRY_LEN
    }
}

#[cfg(test)]
mod tests;
