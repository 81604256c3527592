//! Robust mutexes in watched pages, when the thread that holds them ends.
//!
//! As a thread ends, the kernel walks through the list of the robust mutexes it holds (get_robust_list(2),
//! Documentation/locking/robust-futexes.rst), marks each and wakes a waiter. One that lies in a page taken from the program
//! ends the walk, and all behind it stay locked for ever, also those that other processes share. A thread that ends by a system
//! call has its pages open by then, since that is a call like any other. But one that a signal or a system call filter ends makes
//! no call. If its process lives on, another thread opens the pages before the walk. Else all threads end, and
//! none is left to make a call in: the mutexes in the pages are marked from outside and taken out of the list.

use outpost_base::{ThreadId, Va, VaRange};

use crate::memory::ProcessMemory;
use crate::os::ProcRoot;
use crate::sys::robust_list;
use crate::tracer::Tracer;

/// `struct robust_list_head`: the first entry, where the futex is from an entry, the entry of a mutex that is being locked
/// or unlocked (include/uapi/linux/futex.h).
const HEAD_LEN: u64 = 24;
/// Entries that the kernel walks through (`ROBUST_LIST_LIMIT`).
const LIMIT: usize = 2048;
/// Bit of a pointer to an entry: the mutex inherits priority.
const INHERITS: u64 = 1;
/// Bits of a futex: the owner's thread id, that the owner died, that somebody waits.
const OWNER: u32 = 0x3fff_ffff;
const OWNER_DIED: u32 = 0x4000_0000;
const WAITERS: u32 = 0x8000_0000;

/// The list of one thread.
struct RobustList<'a> {
    memory: &'a ProcessMemory,
    head: Va,
    futex_offset: u64,
    /// Its thread, as the program knows it: by its id in the program's namespace.
    owner: u32,
}

impl RobustList<'_> {
    /// Takes the entries that `are_closed` out of the list, each marked as the kernel would have done it.
    fn take_out(&self, are_closed: &dyn Fn(VaRange) -> bool) {
        let is_closed = |entry: u64| are_closed(VaRange::from_len(at(entry), 8)) || are_closed(self.futex_of(entry));
        // Where the pointer to the next entry that stays is, and whether there were others in between.
        let (mut link, mut has_left_out) = (self.head, false);
        let mut next = self.word(self.head);
        for _ in 0..LIMIT {
            let Some(entry) = next else { return };
            let is_end = at(entry) == self.head;
            if !is_end && is_closed(entry) {
                self.mark(entry);
                (next, has_left_out) = (self.word(at(entry)), true);
                continue;
            }
            if has_left_out {
                self.memory.write(link, &entry.to_le_bytes());
            }
            if is_end {
                break;
            }
            (link, next, has_left_out) = (at(entry), self.word(at(entry)), false);
        }
        let pending = self.word(self.head + 16).filter(|entry| *entry != 0 && is_closed(*entry));
        if let Some(entry) = pending {
            self.mark(entry);
            self.memory.write(self.head + 16, &[0; 8]);
        }
    }

    /// Whoever waits for it is in the same process, and ends with it.
    fn mark(&self, entry: u64) {
        let mut bytes = [0; 4];
        let futex = self.futex_of(entry).start;
        if self.memory.read(futex, &mut bytes) == bytes.len() {
            let word = u32::from_le_bytes(bytes);
            if word & OWNER == self.owner {
                self.memory.write(futex, &(word & WAITERS | OWNER_DIED).to_le_bytes());
            }
        }
    }

    fn futex_of(&self, entry: u64) -> VaRange {
        VaRange::from_len(Va(at(entry).0.wrapping_add(self.futex_offset)), 4)
    }

    fn word(&self, at: Va) -> Option<u64> {
        let mut bytes = [0; 8];
        (self.memory.read(at, &mut bytes) == bytes.len()).then(|| u64::from_le_bytes(bytes))
    }
}

/// What a pointer to an entry leads to.
fn at(entry: u64) -> Va {
    Va(entry & !INHERITS)
}

impl Tracer {
    /// A thread is about to end: the kernel is to find what it holds. `alone`: its process lives on.
    pub(crate) fn release_robust(&mut self, tid: ThreadId, alone: bool) {
        let Some(space_id) = self.space_id_of(tid) else { return };
        let is_closed = |tracer: &Tracer| tracer.spaces.get(&space_id).is_some_and(|space| space.pages.is_closed());
        if !is_closed(self) {
            return;
        }
        if alone {
            // Until it is gone.
            self.note_caller(tid, space_id);
            self.sync_pages(space_id, None);
        }
        let Some(space) = self.spaces.get(&space_id).filter(|_| is_closed(self)) else { return };
        let Some(head) = robust_list(tid.0).map(Va) else { return };
        let mut offset = [0; 8];
        if space.memory.read(head + 8, &mut offset) == offset.len() {
            let futex_offset = u64::from_le_bytes(offset);
            let owner = ProcRoot::default().status(tid.0).and_then(|status| status.inner_id).unwrap_or(tid.0);
            let list = RobustList { memory: &space.memory, head, futex_offset, owner };
            list.take_out(&|range| space.pages.overlaps_closed(range));
        }
    }
}

/// Where the head of a thread's list is.
pub(super) fn list_head(tid: ThreadId) -> VaRange {
    VaRange::from_len(Va(robust_list(tid.0).unwrap_or(0)), HEAD_LEN)
}
