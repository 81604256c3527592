//! Who holds a lock that does not record it: the thread in whose frames a guard of it lives.

use outpost_base::{MemoryReader, ThreadId, Va, VaRange};
use outpost_symbols::{Field, Value};

use super::{LockKind, ThreadWait, Waiting};
use crate::triage::origin::Tracer;
use crate::triage::x86_64::ARGUMENTS;
use crate::{Engine, EngineError, ProcessMemory, StackFrame};

/// Rows of a thread whose variables are looked at.
const ROWS: usize = 40;
/// Functions that initialise what is to be initialised once, and wait while another thread does.
const INITIALISERS: [&str; 2] = ["pthread_once", "once::futex::Once::"];

impl Engine {
    /// Fills in owners from guards (`std::sync::MutexGuard`, `lock_api::MutexGuard`, `std::shared_lock` and their kin) among the variables of
    /// all threads. Optimised code may have no trace of them: then the owner stays unknown.
    pub(super) fn find_holders(&mut self, waits: &mut [ThreadWait]) -> Result<(), EngineError> {
        self.find_initialisers(waits);
        let is_wanted = |wait: &ThreadWait| match &wait.waiting {
            Waiting::Lock(lock) => {
                lock.owner.is_none()
                    && matches!(
                        lock.kind,
                        LockKind::RustMutex
                            | LockKind::RustReadLock
                            | LockKind::RustWriteLock
                            | LockKind::ParkingLot
                            | LockKind::ReadLock
                            | LockKind::WriteLock
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

    /// Fills in the threads that are in the middle of what others, or they themselves, wait to be initialised: a frame of
    /// the same function that does not wait, and was given the same address first (glibc nptl/pthread_once.c; Rust
    /// library/std/src/sys/sync/once/futex.rs, `Once::call (&self, ...)`, whose state is at its beginning).
    fn find_initialisers(&mut self, waits: &mut [ThreadWait]) {
        let wanted: Vec<Va> = waits.iter().filter_map(initialisation).collect();
        let Some(first) = self.arch().register_by_name(ARGUMENTS[0]).filter(|_| !wanted.is_empty()) else { return };
        let is_once = |row: &StackFrame| INITIALISERS.iter().any(|name| row.function.contains(name));
        let mut found: Vec<(Va, ThreadId)> = Vec::new();
        for wait in waits.iter() {
            let Ok(process) = self.process_of(wait.thread).map(|process| process.ordinal) else { continue };
            let Ok(mut stacks) = self.physical_stacks(&[wait.thread], super::FRAMES) else { continue };
            let Some(Ok(physical)) = stacks.pop() else { continue };
            let rows = wait.stack.frames.iter().filter(|row| row.is_physical() && is_once(row));
            // The innermost is the one that waits.
            let rows = rows.skip(usize::from(initialisation(wait).is_some()));
            let mut tracer = Tracer::new(self, process, physical);
            for row in rows {
                let caller = row.physical as usize + 1;
                let given = tracer.call_in(caller).and_then(|call| tracer.value_before(caller, call.at, first));
                found.extend(given.map(|at| (Va(at), wait.id)));
            }
        }
        for wait in waits.iter_mut() {
            if let Waiting::Lock(lock) = &mut wait.waiting
                && lock.kind == LockKind::Once
            {
                lock.owner = found.iter().find(|(at, _)| *at == lock.at).map(|(_, id)| *id);
            }
        }
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

/// What is to be initialised, if a thread waits for that.
fn initialisation(wait: &ThreadWait) -> Option<Va> {
    match &wait.waiting {
        Waiting::Lock(lock) if lock.kind == LockKind::Once => Some(lock.at),
        _ => None,
    }
}

/// The locks that a guard refers to, as the ranges of their memory; none for what is no guard.
fn locks_of(value: &Value, memory: &ProcessMemory) -> Vec<VaRange> {
    let of = value.value_type().resolved();
    let name = of.qualified_name();
    let plain = name.split('<').next().unwrap_or_default();
    // Of C++'s, those of readers: the other locks note who holds them.
    let is_shared = plain.ends_with("shared_lock");
    if !(plain.ends_with("Guard") || is_shared) || value.missing().is_some() {
        return Vec::new();
    }
    let Ok(bytes) = value.bytes(&mut memory.clone()) else { return Vec::new() };
    // One that was unlocked, or has not locked yet, says so.
    let is_false = |field: &Field| field.field_type.size() == Some(1) && bytes.get(field.offset as usize) == Some(&0);
    if is_shared && of.fields().iter().any(is_false) {
        return Vec::new();
    }
    let fields = of.fields().into_iter().filter_map(|field| {
        let size = field.field_type.target()?.size()?;
        let word = bytes.get(field.offset as usize..)?.first_chunk()?;
        let start = Va(u64::from_le_bytes(*word));
        (start.0 != 0 && size != 0).then(|| VaRange::from_len(start, size))
    });
    // A stale guard leads to what is no lock.
    fields.filter(|range| memory.clone().read_uint(range.start, 1).is_some()).collect()
}
