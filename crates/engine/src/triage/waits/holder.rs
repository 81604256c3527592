//! Who holds a lock that does not record it: the thread in whose frames a guard of it lives.

use outpost_base::{MemoryReader, Va, VaRange};
use outpost_symbols::Value;

use super::{LockKind, ThreadWait, Waiting};
use crate::{Engine, EngineError, ProcessMemory};

/// Rows of a thread whose variables are looked at.
const ROWS: usize = 40;

impl Engine {
    /// Fills in owners from guards (`std::sync::MutexGuard`, `lock_api::MutexGuard` and their kin) among the variables of
    /// all threads. Optimised code may have no trace of them: then the owner stays unknown.
    pub(super) fn find_holders(&mut self, waits: &mut [ThreadWait]) -> Result<(), EngineError> {
        let is_wanted = |wait: &ThreadWait| match &wait.waiting {
            Waiting::Lock(lock) => {
                lock.owner.is_none()
                    && matches!(
                        lock.kind,
                        LockKind::RustMutex | LockKind::RustReadLock | LockKind::RustWriteLock | LockKind::ParkingLot
                    )
            }
            _ => false,
        };
        if !waits.iter().any(is_wanted) {
            return Ok(());
        }
        let mut held = Vec::new();
        for wait in waits.iter() {
            self.check_interrupt()?;
            self.select_thread(wait.thread)?;
            for range in self.guarded_locks(wait)? {
                held.push((wait.id, range));
            }
        }
        for wait in waits.iter_mut().filter(|wait| is_wanted(wait)) {
            let Waiting::Lock(lock) = &mut wait.waiting else { continue };
            lock.owner = held.iter().find(|(_, range)| range.contains(lock.at)).map(|(id, _)| *id);
        }
        Ok(())
    }

    /// The locks that the current thread's frames have guards of.
    fn guarded_locks(&mut self, wait: &ThreadWait) -> Result<Vec<VaRange>, EngineError> {
        let mut found = Vec::new();
        let memory = self.memory()?;
        for row in wait.stack.frames.iter().take(ROWS) {
            if row.source.is_none() || self.is_runtime(row) {
                continue;
            }
            if self.select_frame(row.index).is_err() {
                break;
            }
            for variable in self.locals()? {
                found.extend(locks_of(&variable.value, &memory));
            }
        }
        Ok(found)
    }
}

/// The locks that a guard refers to, as the ranges of their memory; none for what is no guard.
fn locks_of(value: &Value, memory: &ProcessMemory) -> Vec<VaRange> {
    let of = value.value_type().resolved();
    let name = of.qualified_name();
    let plain = name.split('<').next().unwrap_or_default();
    if !plain.ends_with("Guard") || value.missing().is_some() {
        return Vec::new();
    }
    let Ok(bytes) = value.bytes(&mut memory.clone()) else { return Vec::new() };
    let fields = of.fields().into_iter().filter_map(|field| {
        let size = field.field_type.target()?.size()?;
        let word = bytes.get(field.offset as usize..)?.first_chunk()?;
        let start = Va(u64::from_le_bytes(*word));
        (start.0 != 0 && size != 0).then(|| VaRange::from_len(start, size))
    });
    // A stale guard leads to what is no lock.
    fields.filter(|range| memory.clone().read_uint(range.start, 1).is_some()).collect()
}
