//! The memory of one process as the engine's users see it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use outpost_base::{AddressSpaceId, MemoryReader, Va, VaRange};
use outpost_target::{MemoryBlock, ReadRequest, WriteRequest};

use super::cache::{Lookup, MemoryCache, PAGE};
use crate::EngineError;
use crate::system::TargetHandle;

/// Pages fetched for one read at most; larger reads go past the cache.
const MAX_CACHED_READ: u64 = 1 << 20;

/// A process's memory. Cheap to clone; all clones share one cache, which lasts as long as the process is stopped.
///
/// What came with the stop costs no round trip; what is read for the first time is fetched by whole pages, as few
/// round trips as there are calls: one for each [`ProcessMemory::read_many`] at most. Reads never show breakpoint bytes.
#[derive(Clone)]
pub struct ProcessMemory {
    target: TargetHandle,
    space: AddressSpaceId,
    shared: Rc<RefCell<Shared>>,
}

struct Shared {
    cache: MemoryCache,
    /// Nothing may be kept: the process runs.
    volatile: bool,
}

impl ProcessMemory {
    pub(crate) fn new(target: TargetHandle, space: AddressSpaceId) -> ProcessMemory {
        let shared = Shared { cache: MemoryCache::default(), volatile: false };
        ProcessMemory { target, space, shared: Rc::new(RefCell::new(shared)) }
    }

    /// The address space this reads.
    pub fn space(&self) -> AddressSpaceId {
        self.space
    }

    /// Reads many ranges in at most one round trip. Each answer holds the leading bytes of its range that were
    /// readable, maybe none.
    ///
    /// # Errors
    /// [`EngineError::Target`] only if the target or the address space is gone.
    pub fn read_many(&self, reads: &[ReadRequest]) -> Result<Vec<Vec<u8>>, EngineError> {
        if !self.shared.borrow().volatile {
            let mut shared = self.shared.borrow_mut();
            reads
                .iter()
                .filter(|read| read.len <= MAX_CACHED_READ)
                .for_each(|read| shared.cache.touch(read.at, read.len));
        }
        self.read_around(reads)
    }

    /// As [`ProcessMemory::read_many`], for ranges around what is really wanted: they do not count as read, so that they do
    /// not come with the next stop.
    ///
    /// # Errors
    /// As [`ProcessMemory::read_many`].
    pub fn read_around(&self, reads: &[ReadRequest]) -> Result<Vec<Vec<u8>>, EngineError> {
        let is_large = |read: &ReadRequest| read.len > MAX_CACHED_READ;
        if self.shared.borrow().volatile || reads.iter().any(is_large) {
            return Ok(self.target.borrow_mut().read_many(self.space, reads)?);
        }
        let mut missing = BTreeSet::new();
        let mut answers: Vec<Vec<u8>> = Vec::with_capacity(reads.len());
        {
            let shared = self.shared.borrow();
            for read in reads {
                let (bytes, pages) = look(&shared.cache, read);
                missing.extend(pages);
                answers.push(bytes);
            }
        }
        if missing.is_empty() {
            return Ok(answers);
        }
        self.fetch(&missing)?;
        let shared = self.shared.borrow();
        Ok(reads.iter().map(|read| look(&shared.cache, read).0).collect())
    }

    /// Makes sure that these ranges are in the cache, by one round trip at most. Ranges are bounded like reads.
    ///
    /// # Errors
    /// As [`ProcessMemory::read_many`].
    pub fn prefetch(&self, ranges: &[VaRange]) -> Result<(), EngineError> {
        if self.shared.borrow().volatile {
            return Ok(());
        }
        let mut missing = BTreeSet::new();
        for range in ranges.iter().filter(|range| range.len() <= MAX_CACHED_READ) {
            let read = ReadRequest { at: range.start, len: range.len() };
            missing.extend(look(&self.shared.borrow().cache, &read).1);
        }
        if missing.is_empty() { Ok(()) } else { self.fetch(&missing) }
    }

    /// Reads the leading readable bytes of a range past the cache, in pieces that `take` is handed as they come, ascending;
    /// it ends the read by answering `false`. One round trip, however much there is. Returns how many bytes were handed over.
    ///
    /// # Errors
    /// As [`ProcessMemory::read_many`].
    pub fn read_stream(&self, range: VaRange, take: &mut dyn FnMut(&[u8]) -> bool) -> Result<u64, EngineError> {
        Ok(self.target.borrow_mut().read_stream(self.space, range, take)?)
    }

    /// Exactly `len` bytes.
    ///
    /// # Errors
    /// [`EngineError::Unreadable`] with the first address that could not be read.
    pub fn read_vec(&self, at: Va, len: u64) -> Result<Vec<u8>, EngineError> {
        let mut answers = self.read_many(&[ReadRequest { at, len }])?;
        let bytes = answers.pop().unwrap_or_default();
        if bytes.len() as u64 == len { Ok(bytes) } else { Err(EngineError::Unreadable { at: at + bytes.len() as u64 }) }
    }

    /// Writes many ranges by one round trip; each answer counts the leading bytes written.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] for targets that cannot be written.
    pub fn write_many(&self, writes: &[WriteRequest]) -> Result<Vec<u64>, EngineError> {
        let mut target = self.target.borrow_mut();
        let Some(live) = target.as_live() else {
            return Err(EngineError::Unsupported {
                operation: "writing memory",
                reason: "the target is a dump".into(),
            });
        };
        let counts = live.write_many(self.space, writes)?;
        let mut shared = self.shared.borrow_mut();
        for (write, count) in writes.iter().zip(&counts) {
            let written = write.bytes.get(..*count as usize).unwrap_or(&write.bytes);
            shared.cache.overwrite(write.at, written);
        }
        Ok(counts)
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// [`EngineError::Unreadable`] with the first address that could not be written.
    pub fn write(&self, at: Va, bytes: &[u8]) -> Result<(), EngineError> {
        let counts = self.write_many(&[WriteRequest { at, bytes: bytes.to_vec() }])?;
        let count = counts.first().copied().unwrap_or(0);
        if count == bytes.len() as u64 { Ok(()) } else { Err(EngineError::Unreadable { at: at + count }) }
    }

    /// A reader that costs no round trip: what is not known yet is unreadable to it. What it reads counts as read, so that
    /// it comes with the next stop, too.
    pub fn known(&self) -> impl MemoryReader + use<> {
        KnownMemory(self.clone())
    }

    /// A reader that fetches nothing: what is not cached is unreadable to it, and noted in [`CachedMemory::missing`].
    pub(crate) fn cached_only(&self) -> CachedMemory {
        CachedMemory { memory: self.clone(), missing: BTreeSet::new() }
    }

    /// Fetches whole pages, adjoining ones by one request.
    pub(crate) fn fetch(&self, pages: &BTreeSet<Va>) -> Result<(), EngineError> {
        let mut runs: Vec<ReadRequest> = Vec::new();
        for &page in pages {
            match runs.last_mut() {
                Some(run) if run.at + run.len == page && run.len < MAX_CACHED_READ => run.len += PAGE,
                _ => runs.push(ReadRequest { at: page, len: PAGE }),
            }
        }
        let answers = self.target.borrow_mut().read_many(self.space, &runs)?;
        // A run ends at its first unreadable page; the pages behind that one are asked for by themselves, once.
        let mut again = Vec::new();
        let mut shared = self.shared.borrow_mut();
        for (run, bytes) in runs.iter().zip(&answers) {
            let mut chunks = bytes.chunks(PAGE as usize);
            let mut short = false;
            for index in 0..run.len / PAGE {
                let at = run.at + index * PAGE;
                if short {
                    again.push(ReadRequest { at, len: PAGE });
                    continue;
                }
                let chunk = chunks.next().unwrap_or_default();
                shared.cache.insert_page(at, chunk);
                short = chunk.len() < PAGE as usize;
            }
        }
        if !again.is_empty() {
            let answers = self.target.borrow_mut().read_many(self.space, &again)?;
            for (read, bytes) in again.iter().zip(&answers) {
                shared.cache.insert_page(read.at, bytes);
            }
        }
        Ok(())
    }

    /// A new stop: forgets all and starts from what came with it.
    pub(crate) fn restart<'a>(&self, blocks: impl Iterator<Item = &'a MemoryBlock>) {
        let mut shared = self.shared.borrow_mut();
        shared.volatile = false;
        shared.cache.clear();
        for block in blocks.filter(|block| block.space == self.space) {
            shared.cache.insert(block.at, &block.bytes);
        }
    }

    /// The process begins to run: nothing is kept until the next stop.
    pub(crate) fn invalidate(&self) {
        let mut shared = self.shared.borrow_mut();
        shared.volatile = true;
        shared.cache.clear();
    }

    /// What was read at the last stops, see [`MemoryCache::take_touched`].
    pub(crate) fn take_touched(&self) -> Vec<VaRange> {
        self.shared.borrow_mut().cache.take_touched()
    }
}

impl MemoryReader for ProcessMemory {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        let answers = self.read_many(&[ReadRequest { at, len: buf.len() as u64 }]);
        let bytes = answers.ok().and_then(|mut answers| answers.pop()).unwrap_or_default();
        let count = bytes.len().min(buf.len());
        buf[..count].copy_from_slice(&bytes[..count]);
        count
    }
}

/// See [`ProcessMemory::cached_only`].
pub(crate) struct CachedMemory {
    memory: ProcessMemory,
    /// Pages that were asked for and are not cached.
    pub(crate) missing: BTreeSet<Va>,
}

/// See [`ProcessMemory::known`].
struct KnownMemory(ProcessMemory);

impl MemoryReader for KnownMemory {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        let mut shared = self.0.shared.borrow_mut();
        let count = match shared.cache.read(at, buf) {
            Lookup::Known(count) => count,
            Lookup::Missing(_) => 0,
        };
        if count != 0 {
            shared.cache.touch(at, count as u64);
        }
        count
    }
}

impl MemoryReader for CachedMemory {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        match self.memory.shared.borrow().cache.read(at, buf) {
            Lookup::Known(count) => count,
            Lookup::Missing(pages) => {
                self.missing.extend(pages);
                0
            }
        }
    }
}

/// What the cache has of `read`, and the pages it lacks for it.
fn look(cache: &MemoryCache, read: &ReadRequest) -> (Vec<u8>, Vec<Va>) {
    let mut bytes = vec![0; read.len as usize];
    match cache.read(read.at, &mut bytes) {
        Lookup::Known(count) => {
            bytes.truncate(count);
            (bytes, Vec::new())
        }
        Lookup::Missing(pages) => (Vec::new(), pages),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use outpost_base::{AddressSpaceId, ProcessId, RegisterContext, ThreadId};
    use outpost_target::fake::FakeTarget;
    use outpost_target::{
        ModuleInfo, ProcessInfo, Region, RegisterSets, StopBundle, Target, TargetError, TargetInfo, ThreadInfo,
    };

    use super::*;

    /// Counts the calls that would be round trips.
    struct Counting(FakeTarget, Rc<Cell<u32>>);

    impl Target for Counting {
        fn info(&self) -> &TargetInfo {
            self.0.info()
        }
        fn processes(&mut self) -> Result<Vec<ProcessInfo>, TargetError> {
            self.0.processes()
        }
        fn threads(&mut self, process: ProcessId) -> Result<Vec<ThreadInfo>, TargetError> {
            self.0.threads(process)
        }
        fn modules(&mut self, process: ProcessId) -> Result<Vec<ModuleInfo>, TargetError> {
            self.0.modules(process)
        }
        fn regions(&mut self, process: ProcessId) -> Result<Vec<Region>, TargetError> {
            self.0.regions(process)
        }
        fn read_many(&mut self, space: AddressSpaceId, reads: &[ReadRequest]) -> Result<Vec<Vec<u8>>, TargetError> {
            self.1.set(self.1.get() + 1);
            self.0.read_many(space, reads)
        }
        fn registers_many(
            &mut self,
            threads: &[ThreadId],
            sets: RegisterSets,
        ) -> Result<Vec<Result<RegisterContext, TargetError>>, TargetError> {
            self.0.registers_many(threads, sets)
        }
        fn last_stop(&self) -> Option<&StopBundle> {
            self.0.last_stop()
        }
    }

    fn memory(blocks: Vec<(Va, Vec<u8>)>) -> (ProcessMemory, Rc<Cell<u32>>) {
        let calls = Rc::new(Cell::new(0));
        let fake = FakeTarget { memory: blocks, ..FakeTarget::with_threads(1) };
        let target: Box<dyn Target> = Box::new(Counting(fake, calls.clone()));
        (ProcessMemory::new(Rc::new(RefCell::new(target)), AddressSpaceId(100)), calls)
    }

    #[test]
    fn one_batch_is_one_round_trip_and_then_none() {
        let (memory, calls) = memory(vec![(Va(0x1000), vec![1; 0x3000]), (Va(0x9000), vec![2; 0x1000])]);
        let reads = [ReadRequest { at: Va(0x1ff8), len: 16 }, ReadRequest { at: Va(0x9100), len: 4 }];
        assert_eq!(memory.read_many(&reads).unwrap(), [vec![1; 16], vec![2; 4]]);
        assert_eq!(memory.read_many(&reads).unwrap(), [vec![1; 16], vec![2; 4]]);
        assert_eq!(calls.get(), 1);
    }

    #[test]
    fn unreadable_memory_is_short_and_remembered() {
        let (memory, calls) = memory(vec![(Va(0x1000), vec![1; 0x1000])]);
        let reads = [ReadRequest { at: Va(0x1ffc), len: 16 }, ReadRequest { at: Va(0x5000), len: 4 }];
        assert_eq!(memory.read_many(&reads).unwrap(), [vec![1; 4], vec![]]);
        let before = calls.get();
        assert!(matches!(memory.read_vec(Va(0x1ffc), 16), Err(EngineError::Unreadable { at: Va(0x2000) })));
        assert_eq!(calls.get(), before);
    }

    #[test]
    fn what_came_with_the_stop_is_not_fetched() {
        let (memory, calls) = memory(vec![(Va(0x1000), vec![1; 0x1000])]);
        let block = MemoryBlock { space: AddressSpaceId(100), at: Va(0x1100), bytes: vec![5; 64] };
        let foreign = MemoryBlock { space: AddressSpaceId(7), at: Va(0x1200), bytes: vec![6; 64] };
        memory.restart([&block, &foreign].into_iter());
        assert_eq!(memory.clone().read_u64(Va(0x1100)), Some(0x0505_0505_0505_0505));
        assert_eq!(calls.get(), 0);
        assert_eq!(memory.clone().read_u64(Va(0x1200)), Some(0x0101_0101_0101_0101));
        assert_eq!(calls.get(), 1);
    }
}
