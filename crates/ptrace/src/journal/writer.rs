//! The tracer's side of the shared journal.

use std::collections::HashMap;
use std::fs::File;
use std::hash::Hash;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use outpost_base::{AddressSpaceId, ProcessId, ThreadId, Va};

use super::layout::*;
use super::{Journal, MappingIdentity, RegionKind, SIGNAL_INFO_SIZE};
use crate::lifeline::KernelSigaction;
use crate::memory::file_by_memory;
use crate::os::ProcRoot;
use crate::pages::ProtectedPages;
use crate::sys::shared::SharedWords;

/// Tells the guardian that the journal names another process; must not block.
pub type Notifier = Box<dyn FnMut()>;

/// A journal in memory shared with the guardian; see [`create_shared`](super::create_shared).
pub struct SharedJournal {
    memory: SharedWords,
    processes: Slots<ProcessId>,
    sites: Slots<SiteKey>,
    threads: Slots<ThreadId>,
    regions: Slots<(ProcessId, Va)>,
    actions: Slots<(ProcessId, i32)>,
    pages: Slots<(ProcessId, Va)>,
    /// Written to when a process joins, so that the guardian opens its memory.
    notifier: Option<Notifier>,
    /// Open `maps` of processes that have sites, for their mappings' identity.
    maps: HashMap<ProcessId, File>,
    /// Records for which there was no room.
    lost: u64,
    /// Stores left before the writer "dies": later ones do nothing.
    #[cfg(test)]
    pub(super) stores_left: std::cell::Cell<u64>,
}

/// Space, address, and whether it is a jump.
type SiteKey = (AddressSpaceId, Va, bool);

/// Which record of a table holds what.
#[derive(Debug)]
struct Slots<K> {
    table: Table,
    by_key: HashMap<K, usize>,
    free: Vec<usize>,
    used: usize,
}

impl SharedJournal {
    /// Maps the shared memory and writes its header. `notifier` is called for each process that joins.
    ///
    /// # Errors
    /// `InvalidInput` for a file that [`create_shared`](super::create_shared) did not make; those of mmap(2).
    pub fn open(file: OwnedFd, notifier: Option<Notifier>) -> io::Result<SharedJournal> {
        let memory = SharedWords::map(file, TOTAL_WORDS)?;
        let journal = SharedJournal {
            memory,
            processes: Slots::new(PROCESSES),
            sites: Slots::new(SITES),
            threads: Slots::new(THREADS),
            regions: Slots::new(REGIONS),
            actions: Slots::new(ACTIONS),
            pages: Slots::new(PAGES),
            notifier,
            maps: HashMap::new(),
            lost: 0,
            #[cfg(test)]
            stores_left: std::cell::Cell::new(u64::MAX),
        };
        journal.store(WORD_VERSION, VERSION);
        journal.store(WORD_MAGIC, MAGIC);
        Ok(journal)
    }

    /// The shared memory's descriptor.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.memory.descriptor()
    }

    /// Records that found no room; what they told of would not be undone.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// One store, seen by the reader in the order of the program.
    fn store(&self, word: usize, value: u64) {
        #[cfg(test)]
        match self.stores_left.get() {
            0 => return,
            left => self.stores_left.set(left - 1),
        }
        if let Some(place) = self.memory.words().get(word) {
            place.store(value, Ordering::Release);
        }
    }

    fn load(&self, word: usize) -> u64 {
        self.memory.words().get(word).map_or(0, |place| place.load(Ordering::Relaxed))
    }

    /// Writes a record's fields and makes it count.
    fn fill(&self, table: Table, slot: usize, fields: &[u64]) {
        let record = table.record(slot);
        for (word, value) in (record + 1..record + table.width).zip(fields) {
            self.store(word, *value);
        }
        if self.load(table.used()) <= slot as u64 {
            self.store(table.used(), slot as u64 + 1);
        }
        self.store(record, 1);
    }

    fn clear(&self, table: Table, slot: usize) {
        self.store(table.record(slot), 0);
    }

    /// Makes a record count in place of the key's former one, which counts until then.
    fn put<K: Hash + Eq + Copy>(&mut self, slots: fn(&mut SharedJournal) -> &mut Slots<K>, key: K, fields: &[u64]) {
        let table = slots(self).table;
        let former = slots(self).by_key.remove(&key);
        match slots(self).take(key) {
            Some(slot) => self.fill(table, slot, fields),
            None => self.lost += 1,
        }
        if let Some(slot) = former {
            self.clear(table, slot);
            slots(self).free.push(slot);
        }
    }

    fn remove<K: Hash + Eq>(&mut self, slots: fn(&mut SharedJournal) -> &mut Slots<K>, key: &K) {
        if let Some(slot) = slots(self).by_key.remove(key) {
            let table = slots(self).table;
            self.clear(table, slot);
            slots(self).free.push(slot);
        }
    }

    /// The record of a thread, made if there is none; `None` if there is no room.
    fn thread_record(&mut self, process: ProcessId, thread: ThreadId) -> Option<usize> {
        if let Some(slot) = self.threads.by_key.get(&thread) {
            return Some(THREADS.record(*slot));
        }
        let Some(slot) = self.threads.take(thread) else {
            self.lost += 1;
            return None;
        };
        self.fill(THREADS, slot, &[u64::from(process.0) << 32 | u64::from(thread.0), 0]);
        Some(THREADS.record(slot))
    }

    fn change_flags(&mut self, thread: ThreadId, change: impl FnOnce(u64) -> u64) {
        let Some(slot) = self.threads.by_key.get(&thread).copied() else { return };
        let word = THREADS.record(slot) + 2;
        let flags = change(self.load(word));
        self.store(word, flags);
    }

    fn identity(&mut self, process: ProcessId, at: Va) -> MappingIdentity {
        if !self.maps.contains_key(&process)
            && let Ok(file) = File::open(file_by_memory(process, "maps"))
        {
            self.maps.insert(process, file);
        }
        let known = self.maps.get(&process).and_then(|maps| MappingIdentity::at(maps.as_fd(), process, at));
        // An open `maps` stays with the program that was executed when it was opened.
        known
            .or_else(|| {
                let maps = File::open(file_by_memory(process, "maps")).ok()?;
                let identity = MappingIdentity::at(maps.as_fd(), process, at);
                self.maps.insert(process, maps);
                identity
            })
            .unwrap_or_default()
    }
}

impl<K: Hash + Eq> Slots<K> {
    fn new(table: Table) -> Slots<K> {
        Slots { table, by_key: HashMap::new(), free: Vec::new(), used: 0 }
    }

    fn take(&mut self, key: K) -> Option<usize> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.used < self.table.capacity => {
                self.used += 1;
                self.used - 1
            }
            None => return None,
        };
        self.by_key.insert(key, slot);
        Some(slot)
    }

    fn has_room(&self) -> bool {
        !self.free.is_empty() || self.used < self.table.capacity
    }
}

impl Journal for SharedJournal {
    fn has_room(&self) -> bool {
        self.sites.has_room() && self.regions.has_room() && self.actions.has_room() && self.pages.has_room()
    }

    fn process_joined(&mut self, process: ProcessId, created: bool) {
        // The start tells this process from a later one of the same id.
        let start = ProcRoot::default().stat(process.0).map_or(0, |stat| stat.start_ticks);
        self.put(
            |journal| &mut journal.processes,
            process,
            &[u64::from(process.0), u64::from(created) * PROCESS_CREATED, start],
        );
        if let Some(notifier) = &mut self.notifier {
            notifier();
        }
    }

    fn begins_anew(&mut self, process: ProcessId) {
        if let Some(slot) = self.processes.by_key.get(&process) {
            let flags = PROCESSES.record(*slot) + 2;
            self.store(flags, self.load(flags) | PROCESS_BEGINS_ANEW);
        }
    }

    fn process_left(&mut self, process: ProcessId) {
        let sites: Vec<_> = self.sites_of(process);
        for key in sites {
            self.remove(|journal| &mut journal.sites, &key);
        }
        let regions: Vec<_> = self.regions.by_key.keys().filter(|(owner, _)| *owner == process).copied().collect();
        for (owner, at) in regions {
            self.region_removed(owner, at);
        }
        let actions: Vec<_> = self.actions.by_key.keys().filter(|(owner, _)| *owner == process).copied().collect();
        for (owner, signal) in actions {
            self.action_restored(owner, signal);
        }
        let pages: Vec<_> = self.pages.by_key.keys().filter(|(owner, _)| *owner == process).copied().collect();
        for (owner, at) in pages {
            self.pages_restored(owner, at);
        }
        let of_process = |record: u64| record >> 32 == u64::from(process.0);
        let threads: Vec<_> = self
            .threads
            .by_key
            .iter()
            .filter(|(_, slot)| of_process(self.load(THREADS.record(**slot) + 1)))
            .map(|(thread, _)| *thread)
            .collect();
        for thread in threads {
            self.thread_ended(thread);
        }
        self.maps.remove(&process);
        self.remove(|journal| &mut journal.processes, &process);
    }

    fn site_planned(&mut self, space: AddressSpaceId, process: ProcessId, at: Va, original: &[u8], replacement: &[u8]) {
        self.put_site((space, at, false), process, original, replacement);
    }

    fn site_removed(&mut self, space: AddressSpaceId, at: Va) {
        self.remove(|journal| &mut journal.sites, &(space, at, false));
    }

    fn jump_planned(&mut self, space: AddressSpaceId, process: ProcessId, at: Va, original: &[u8], replacement: &[u8]) {
        self.put_site((space, at, true), process, original, replacement);
    }

    fn jump_removed(&mut self, space: AddressSpaceId, at: Va) {
        self.remove(|journal| &mut journal.sites, &(space, at, true));
    }

    fn debug_registers_set(&mut self, process: ProcessId, thread: ThreadId) {
        self.thread_record(process, thread);
        self.change_flags(thread, |flags| flags | THREAD_DEBUG_REGISTERS);
    }

    fn debug_registers_cleared(&mut self, thread: ThreadId) {
        self.change_flags(thread, |flags| flags & !THREAD_DEBUG_REGISTERS);
    }

    fn stepping(&mut self, process: ProcessId, thread: ThreadId, begins: bool) {
        if begins {
            self.thread_record(process, thread);
        }
        self.change_flags(thread, |flags| if begins { flags | THREAD_STEPPING } else { flags & !THREAD_STEPPING });
    }

    fn trap_unblocked(&mut self, process: ProcessId, thread: ThreadId, unblocked: bool) {
        if unblocked {
            self.thread_record(process, thread);
        }
        self.change_flags(thread, |flags| match unblocked {
            true => flags | THREAD_TRAP_UNBLOCKED,
            false => flags & !THREAD_TRAP_UNBLOCKED,
        });
    }

    fn signal_held(&mut self, process: ProcessId, thread: ThreadId, signal: i32) {
        if signal != 0 {
            self.thread_record(process, thread);
        }
        self.change_flags(thread, |flags| {
            let kept = flags & !(u64::MAX << THREAD_SIGNAL_SHIFT);
            match u64::from(signal.unsigned_abs()) {
                0 => kept & !THREAD_HAS_INFORMATION,
                signal => kept | signal << THREAD_SIGNAL_SHIFT,
            }
        });
    }

    fn signal_information(&mut self, process: ProcessId, thread: ThreadId, information: &[u8; SIGNAL_INFO_SIZE]) {
        let Some(record) = self.thread_record(process, thread) else { return };
        // Without a signal while the words change: half an old and half a new one must not be sent.
        self.signal_held(process, thread, 0);
        for (word, bytes) in (record + 3..).zip(information.as_chunks().0) {
            self.store(word, u64::from_le_bytes(*bytes));
        }
        self.change_flags(thread, |flags| flags | THREAD_HAS_INFORMATION);
    }

    fn thread_ended(&mut self, thread: ThreadId) {
        self.remove(|journal| &mut journal.threads, &thread);
    }

    fn region_planned(&mut self, process: ProcessId, at: Va, len: u64, kind: RegionKind) {
        let fields = [u64::from(process.0), at.0, len, kind.to_word()];
        self.put(|journal| &mut journal.regions, (process, at), &fields);
    }

    fn region_removed(&mut self, process: ProcessId, at: Va) {
        self.remove(|journal| &mut journal.regions, &(process, at));
    }

    fn action_replaced(&mut self, process: ProcessId, signal: i32, own: KernelSigaction, ours: Va) {
        let fields = [
            u64::from(process.0),
            u64::from(signal.unsigned_abs()),
            ours.0,
            own.handler,
            own.flags,
            own.restorer,
            own.mask,
        ];
        self.put(|journal| &mut journal.actions, (process, signal), &fields);
    }

    fn action_restored(&mut self, process: ProcessId, signal: i32) {
        self.remove(|journal| &mut journal.actions, &(process, signal));
    }

    fn pages_protected(&mut self, process: ProcessId, piece: ProtectedPages) {
        let range = piece.range;
        let fields = [u64::from(process.0), range.start.0, range.len(), u64::from(piece.own), u64::from(piece.ours)];
        self.put(|journal| &mut journal.pages, (process, range.start), &fields);
    }

    fn pages_restored(&mut self, process: ProcessId, at: Va) {
        self.remove(|journal| &mut journal.pages, &(process, at));
    }

    fn detach_on_exit(&mut self, detach: bool) {
        self.store(WORD_POLICY, u64::from(detach));
    }
}

impl SharedJournal {
    fn put_site(&mut self, key: SiteKey, process: ProcessId, original: &[u8], replacement: &[u8]) {
        let (space, at, _) = key;
        let len = original.len().min(replacement.len()).min(SITE_BYTES);
        let identity = self.identity(process, at);
        let words = |bytes: &[u8]| {
            let mut padded = [0; SITE_BYTES];
            padded[..len].copy_from_slice(&bytes[..len]);
            let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| padded[at + byte]));
            [word(0), word(8)]
        };
        let (original, replacement) = (words(original), words(replacement));
        let fields = [
            space.0,
            u64::from(process.0),
            at.0,
            len as u64,
            original[0],
            original[1],
            replacement[0],
            replacement[1],
            identity.device,
            identity.inode,
            identity.offset,
        ];
        self.put(|journal| &mut journal.sites, key, &fields);
    }

    fn sites_of(&self, process: ProcessId) -> Vec<SiteKey> {
        let owner = |slot: usize| self.load(SITES.record(slot) + 2);
        let sites = self.sites.by_key.iter();
        sites.filter(|(_, slot)| owner(**slot) == u64::from(process.0)).map(|(key, _)| *key).collect()
    }
}
