//! What the C library calls threads: its ids are those of the pid namespace that the program is in (pid_namespaces(7)),
//! and so are the owners that locks record. Seen from another namespace, as a container's are from its host, threads have
//! other ids.

use std::collections::HashMap;

use outpost_base::{MemoryReader, ThreadId, Va, VaRange};

use crate::Engine;

/// `tid` in glibc's `struct pthread` on x86-64, for libraries that do not tell: behind the head and the list of threads
/// (nptl/descr.h; 2.31 to 2.43 have it there).
const GLIBC_ID: u64 = 0x2d0;
/// `tid` in musl's (src/internal/pthread_impl.h).
const MUSL_ID: u64 = 0x30;
/// No id is larger (Linux include/linux/threads.h, PID_MAX_LIMIT).
const LARGEST_ID: u32 = 4 << 20;

impl Engine {
    /// The thread that the C library of the current process calls `id`.
    pub fn thread_of_library(&mut self, id: u32) -> ThreadId {
        self.library_ids().get(&id).copied().unwrap_or(ThreadId(id))
    }

    /// Threads of the current process by the C library's ids; empty where these are the same as ours.
    pub(super) fn library_ids(&mut self) -> HashMap<u32, ThreadId> {
        self.differing_ids().unwrap_or_default()
    }

    fn differing_ids(&mut self) -> Option<HashMap<u32, ThreadId>> {
        let process = self.current_process().ok()?;
        let threads: Vec<(ThreadId, Va)> = self
            .threads(process)
            .ok()?
            .iter()
            .map(|thread| (thread.id, thread.teb))
            .filter(|(_, at)| at.0 != 0)
            .collect();
        let offset = self.id_offset(threads.first()?.1);
        let mut memory = self.memory().ok()?;
        let mut id_of = |at: Va| Some(memory.read_uint(at.checked_add(offset)?, 4)? as u32);
        let (first, block) = *threads.first()?;
        if id_of(block)? == first.0 {
            return None;
        }
        let places: Vec<VaRange> = threads.iter().map(|(_, at)| VaRange::from_len(*at + offset, 4)).collect();
        self.memory().ok()?.prefetch(&places).ok()?;
        // One that is being made or has just ended has none.
        let known = threads.iter().filter_map(|(thread, at)| Some((id_of(*at).filter(|id| *id != 0)?, *thread)));
        let known: Vec<(u32, ThreadId)> = known.collect();
        let ids: HashMap<u32, ThreadId> = known.iter().copied().collect();
        // Where these are no ids at all, each thread keeps its own.
        let are_ids = ids.len() == known.len() && known.iter().all(|(id, _)| *id <= LARGEST_ID);
        are_ids.then_some(ids)
    }

    /// Where a control block of the process's C library has the thread's id; `block` is one of them.
    fn id_offset(&mut self, block: Va) -> u64 {
        if self.is_musl_block(block) {
            return MUSL_ID;
        }
        let told = self.pthread_field_place("tid").map(|(_, offset)| offset);
        told.unwrap_or(GLIBC_ID)
    }
}
