//! What a futex is part of.
//!
//! Layouts: glibc sysdeps/nptl/bits/struct_mutex.h, sysdeps/x86/nptl/bits/struct_rwlock.h, sysdeps/nptl/bits/thread-shared-types.h
//! (`struct __pthread_cond_s` of glibc 2.25 to 2.40 and since 2.41), sysdeps/nptl/internaltypes.h (`struct new_sem`); musl
//! src/internal/pthread_impl.h (`_m_type`, `_m_lock`); Rust library/std/src/sys/sync/{mutex,rwlock,condvar}/futex.rs.

use outpost_base::{MemoryReader, ThreadId, Va};

use super::{Blocked, Lock, LockKind, Waiting};
use crate::triage::origin::Tracer;
use crate::triage::x86_64::ARGUMENTS;
use crate::{Engine, EngineError, StackFrame};

/// Rows above the system call that are searched for the function that waits.
const ROWS: usize = 14;
/// `struct __pthread_mutex_s`: `__owner` and `__kind`.
const MUTEX_OWNER: u64 = 8;
const MUTEX_KIND: u64 = 16;
/// `struct __pthread_rwlock_arch_t`: `__wrphase_futex`, `__writers_futex`, `__cur_writer`.
const RWLOCK_PHASE: u64 = 8;
const RWLOCK_WRITERS: u64 = 12;
const RWLOCK_WRITER: u64 = 24;
/// `__readers` counts in steps of this (glibc nptl/pthread_rwlock_common.c, PTHREAD_RWLOCK_READER_SHIFT).
const READER_SHIFT: u32 = 3;
/// `struct __pthread_cond_s`: `__g_signals`, one for each of two groups. Since 2.41 there is no `__g_refs`, which was the
/// third pair of words.
const COND_SIGNALS: u64 = 40;
const COND_REFERENCES: u64 = 8;
/// The first release of glibc 2 without them; later fixes of others may have dropped them, too.
const NO_REFERENCES: u32 = 41;
/// musl's mutex: `_m_lock` behind `_m_type`; a mutex of the plain type records no owner, the others do in the lock.
const MUSL_MUTEX_LOCK: u64 = 4;
const MUSL_OWNER: u32 = 0x3fff_ffff;

/// What waits, by a function's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiter {
    Mutex,
    ReadLock,
    WriteLock,
    Condition,
    Semaphore,
    RustMutex,
    RustReadLock,
    RustWriteLock,
    ParkingLot,
    Library,
    Once,
    Other(&'static str),
}

/// Functions that wait, by parts of their names, the most telling first.
const WAITERS: &[(&str, Waiter)] = &[
    ("pthread_mutex_lock", Waiter::Mutex),
    ("pthread_mutex_timedlock", Waiter::Mutex),
    ("pthread_mutex_clocklock", Waiter::Mutex),
    ("pthread_mutex_cond_lock", Waiter::Mutex),
    ("pthread_rwlock_rdlock", Waiter::ReadLock),
    ("pthread_rwlock_timedrdlock", Waiter::ReadLock),
    ("pthread_rwlock_clockrdlock", Waiter::ReadLock),
    ("pthread_rwlock_wrlock", Waiter::WriteLock),
    ("pthread_rwlock_timedwrlock", Waiter::WriteLock),
    ("pthread_rwlock_clockwrlock", Waiter::WriteLock),
    ("pthread_cond_", Waiter::Condition),
    ("sem_wait", Waiter::Semaphore),
    ("sem_timedwait", Waiter::Semaphore),
    ("sem_clockwait", Waiter::Semaphore),
    ("pthread_barrier_wait", Waiter::Other("the others at a barrier")),
    ("pthread_once", Waiter::Once),
    ("__cxa_guard_acquire", Waiter::Other("another thread's initialisation of a static variable")),
    ("_M_futex_wait_until", Waiter::Other("a future or another atomic wait")),
    ("mutex::futex::Mutex::lock_contended", Waiter::RustMutex),
    ("rwlock::futex::RwLock::read_contended", Waiter::RustReadLock),
    ("rwlock::futex::RwLock::write_contended", Waiter::RustWriteLock),
    ("condvar::futex::Condvar::wait", Waiter::Condition),
    ("once::futex::Once::", Waiter::Once),
    ("mpmc::", Waiter::Other("a message of a channel")),
    ("::lock_slow", Waiter::ParkingLot),
    ("::lock_shared_slow", Waiter::ParkingLot),
    ("::lock_exclusive_slow", Waiter::ParkingLot),
    ("parking_lot::condvar::", Waiter::Other("a condition variable of parking_lot")),
    ("tokio::runtime::park::", Waiter::Other("work (a tokio thread)")),
    ("tokio::runtime::scheduler::", Waiter::Other("work (a tokio thread)")),
    ("tokio::runtime::blocking::pool", Waiter::Other("work (a tokio thread)")),
    ("thread_parking::", Waiter::Other("thread::unpark")),
    ("lll_lock_wait", Waiter::Library),
];

/// The function that waits, with the row it is in: the one that says most.
fn waiter_of(rows: &[StackFrame]) -> Option<(Waiter, usize)> {
    let rows = rows.get(..ROWS.min(rows.len()))?;
    WAITERS.iter().find_map(|(part, waiter)| {
        let at = rows.iter().position(|row| row.function.contains(part))?;
        Some((*waiter, at))
    })
}

/// Functions of the C library's allocator that hold its lock.
fn is_allocator(name: &str) -> bool {
    const NAMES: [&str; 8] =
        ["malloc", "calloc", "realloc", "free", "memalign", "systrim", "unlink_chunk", "sysmalloc"];
    let plain = name.trim_start_matches("__libc_").trim_start_matches("_int_").trim_start_matches("__GI_");
    NAMES.iter().any(|known| plain.starts_with(known))
}

/// The condition variable of one of its words that threads wait on, which are a pair: the second is in the upper half of
/// eight bytes. `release`: of glibc 2, if known; `read`: eight bytes of memory.
fn condition_of(at: Va, release: Option<u32>, mut read: impl FnMut(Va) -> Option<u64>) -> Va {
    let old = Va(at.0.wrapping_sub(COND_SIGNALS + at.0 % 8));
    let mut word = |offset: u64| old.checked_add(offset).and_then(&mut read).unwrap_or(0);
    // While a thread waits, the number of those that ever did is not 0 (in steps of 2), nor are the references.
    let is_new = release.is_some_and(|release| release >= NO_REFERENCES) || word(0) < 2 || word(16) == 0;
    if is_new { old + COND_REFERENCES } else { old }
}

impl Engine {
    /// What a thread waits for that is in futex(2).
    pub(super) fn futex_wait(&mut self, blocked: &Blocked, at: Va) -> Result<Waiting, EngineError> {
        if let Some(id) = self.joined(blocked, at) {
            return Ok(Waiting::Join(id));
        }
        let found = waiter_of(&blocked.rows);
        let row = found.map(|(_, row)| row);
        let mut memory = self.memory()?;
        let name = |engine: &mut Engine, at: Va| engine.lock_name(blocked, row, at);
        let plain = |engine: &mut Engine, kind: LockKind, at: Va| {
            Ok(Waiting::Lock(Lock { at, kind, name: name(engine, at), state: String::new(), owner: None }))
        };
        match found.map(|(waiter, _)| waiter) {
            Some(Waiter::Mutex) => self.mutex(blocked, row, at),
            Some(Waiter::ReadLock) => self.rwlock(blocked, row, at, LockKind::ReadLock),
            Some(Waiter::WriteLock) => self.rwlock(blocked, row, at, LockKind::WriteLock),
            Some(Waiter::Condition) => {
                let is_pthread = row.and_then(|row| blocked.rows.get(row));
                let is_pthread = is_pthread.is_some_and(|row| row.function.contains("pthread_cond_"));
                let base = match is_pthread {
                    true => {
                        let release = self.glibc_release();
                        condition_of(at, release, |at| memory.read_u64(at))
                    }
                    false => at,
                };
                Ok(Waiting::Condition { at: base, name: name(self, base) })
            }
            Some(Waiter::Semaphore) => Ok(Waiting::Semaphore { at, name: name(self, at) }),
            Some(Waiter::RustMutex) => plain(self, LockKind::RustMutex, at),
            Some(Waiter::RustReadLock) => plain(self, LockKind::RustReadLock, at),
            // A writer waits on the word behind the state, after it has been a reader's turn.
            Some(Waiter::RustWriteLock) => {
                let state = self.state_of_rust_rwlock(&mut memory, at);
                plain(self, LockKind::RustWriteLock, state)
            }
            Some(Waiter::ParkingLot) => match self.parking_key(at, &mut memory) {
                Some(key) => plain(self, LockKind::ParkingLot, key),
                None => Ok(Waiting::Wakeup { at, what: "a lock of parking_lot that is not known".into() }),
            },
            Some(Waiter::Once) => plain(self, LockKind::Once, at),
            Some(Waiter::Library) => self.library_lock(blocked, row, at),
            Some(Waiter::Other(what)) => Ok(Waiting::Wakeup { at, what: what.into() }),
            // Without any names a word that is laid out as a mutex, and whose owner lives, is taken for one.
            None if self.looks_like_mutex(blocked, at, &mut memory) => self.mutex(blocked, None, at),
            None => Ok(Waiting::Wakeup { at, what: self.symbol_words(at) }),
        }
    }

    /// A lock of the C library's own. That of a stream notes the thread pointer of who holds it (glibc
    /// sysdeps/nptl/stdio-lock.h, `_IO_lock_t`); the allocator's is held by a thread whose handler came in between.
    fn library_lock(&mut self, blocked: &Blocked, row: Option<usize>, at: Va) -> Result<Waiting, EngineError> {
        const STREAM_OWNER: u64 = 8;
        let process = self.current_process()?;
        let noted = self.memory()?.read_u64(at + STREAM_OWNER);
        let threads = self.threads(process)?;
        let mut owner = threads.iter().find(|thread| noted == Some(thread.teb.0)).map(|thread| thread.id);
        let mut state = String::new();
        let rows = blocked.rows.get(row.unwrap_or(0)..).unwrap_or_default();
        if let Some(handler) = rows.iter().position(|row| row.is_signal_frame)
            && let Some(interrupted) = rows.get(handler + 1..).unwrap_or_default().iter().find(|row| row.is_physical())
            && is_allocator(&interrupted.function)
        {
            owner = threads.iter().find(|thread| thread.ordinal == blocked.thread).map(|thread| thread.id);
            state = format!("a signal's handler interrupted {}", interrupted.function);
        }
        // What the library passes to its own functions is no name of the program's.
        Ok(Waiting::Lock(Lock { at, kind: LockKind::Library, name: self.symbol_words(at), state, owner }))
    }

    /// The thread whose end is waited for: the word is the id in its control block, which the kernel clears.
    fn joined(&mut self, blocked: &Blocked, at: Va) -> Option<ThreadId> {
        let process = self.current_process().ok()?;
        let threads = self.threads(process).ok()?;
        let value = blocked.thread_of(self.memory().ok()?.read_uint(at, 4)? as u32);
        // The block of another thread is where its thread pointer leads, and not much larger than this.
        let near = threads.iter().find(|thread| thread.id == value && at.0.wrapping_sub(thread.teb.0) < 0x1000)?;
        Some(near.id)
    }

    /// A mutex of musl, by the word that is waited on.
    fn musl_mutex(&mut self, blocked: &Blocked, row: Option<usize>, lock: Va) -> Result<Waiting, EngineError> {
        let mut memory = self.memory()?;
        let at = Va(lock.0.wrapping_sub(MUSL_MUTEX_LOCK));
        let kind = memory.read_uint(at, 4).unwrap_or(0) & 15;
        let holder = memory.read_uint(lock, 4).unwrap_or(0) as u32 & MUSL_OWNER;
        let state = ["", "recursive", "error checking"].get((kind & 3) as usize).copied().unwrap_or_default();
        let name = self.lock_name(blocked, row, at);
        let owner = (kind != 0 && holder != 0).then(|| blocked.thread_of(holder));
        Ok(Waiting::Lock(Lock { at, kind: LockKind::Mutex, name, state: state.to_owned(), owner }))
    }

    fn mutex(&mut self, blocked: &Blocked, row: Option<usize>, at: Va) -> Result<Waiting, EngineError> {
        if self.is_musl_thread(blocked.thread) {
            return self.musl_mutex(blocked, row, at);
        }
        let mut memory = self.memory()?;
        let owner = memory.read_uint(at + MUTEX_OWNER, 4).unwrap_or(0) as u32;
        let kind = memory.read_uint(at + MUTEX_KIND, 4).unwrap_or(0);
        let mut state = vec![match kind & 3 {
            1 => "recursive",
            2 => "error checking",
            3 => "adaptive",
            _ => "",
        }];
        for (bit, word) in [(16, "robust"), (32, "priority inheritance"), (64, "priority protected"), (128, "shared")] {
            state.push(if kind & bit != 0 { word } else { "" });
        }
        let state: Vec<&str> = state.into_iter().filter(|word| !word.is_empty()).collect();
        // With priority inheritance the kernel keeps the owner in the lock itself (futex(2), FUTEX_TID_MASK).
        let owner = match (owner, kind & 32) {
            (0, 32) => memory.read_uint(at, 4).unwrap_or(0) as u32 & 0x3fff_ffff,
            (owner, _) => owner,
        };
        let name = self.lock_name(blocked, row, at);
        let owner = (owner != 0).then(|| blocked.thread_of(owner));
        Ok(Waiting::Lock(Lock { at, kind: LockKind::Mutex, name, state: state.join(", "), owner }))
    }

    fn rwlock(
        &mut self,
        blocked: &Blocked,
        row: Option<usize>,
        at: Va,
        kind: LockKind,
    ) -> Result<Waiting, EngineError> {
        // The lock is aligned to 8 bytes, so the word's place tells which of the two it is.
        let base = Va(at.0.wrapping_sub(if at.0.is_multiple_of(8) { RWLOCK_PHASE } else { RWLOCK_WRITERS }));
        let mut memory = self.memory()?;
        let readers = memory.read_uint(base, 4).unwrap_or(0) >> READER_SHIFT;
        let writer = memory.read_uint(base + RWLOCK_WRITER, 4).unwrap_or(0) as u32;
        // Waiting readers count, too, unless a writer has the lock.
        let state = match (writer, kind) {
            (0, LockKind::WriteLock) if readers != 0 => format!("0n{readers} readers hold it or wait for it"),
            _ => String::new(),
        };
        let name = self.lock_name(blocked, row, base);
        Ok(Waiting::Lock(Lock { at: base, kind, name, state, owner: (writer != 0).then(|| blocked.thread_of(writer)) }))
    }

    /// The state of a Rust `RwLock`: the word itself, or the one before it where that says that writers wait.
    fn state_of_rust_rwlock(&mut self, memory: &mut dyn MemoryReader, at: Va) -> Va {
        const WRITERS_WAITING: u64 = 1 << 31;
        let before = Va(at.0.wrapping_sub(4));
        let is_state = |at: Va, memory: &mut dyn MemoryReader| {
            memory.read_uint(at, 4).is_some_and(|word| word & WRITERS_WAITING != 0)
        };
        if !is_state(at, memory) && is_state(before, memory) { before } else { at }
    }

    /// The address that a thread of parking_lot is parked for: in the record that its futex is the beginning of, whose
    /// layout only debug info tells (parking_lot_core src/parking_lot.rs, `ThreadData`).
    fn parking_key(&mut self, futex: Va, memory: &mut dyn MemoryReader) -> Option<Va> {
        let record = self.find_types("parking_lot_core::parking_lot::ThreadData").ok()?.into_iter().next()?;
        let (parker, key) = (record.field("parker")?.offset, record.field("key")?.offset);
        let at = memory.read_u64(Va(futex.0.wrapping_sub(parker)).checked_add(key)?)?;
        // The two lowest bits tell queues of one lock apart.
        (at != 0).then_some(Va(at & !3))
    }

    fn looks_like_mutex(&mut self, blocked: &Blocked, at: Va, memory: &mut dyn MemoryReader) -> bool {
        let word = |offset: u64, memory: &mut dyn MemoryReader| memory.read_uint(at + offset, 4);
        let (state, owner) = (word(0, memory), word(MUTEX_OWNER, memory).map(|id| blocked.thread_of(id as u32)));
        let kind = word(MUTEX_KIND, memory);
        let process = self.current_process().and_then(|process| self.threads(process));
        let lives = process.is_ok_and(|threads| threads.iter().any(|thread| Some(thread.id) == owner));
        state == Some(2) && lives && kind.is_some_and(|kind| kind & !0x1ff == 0)
    }

    /// What the program calls a lock: the variable there, else what the caller of the function that waits passed to it.
    fn lock_name(&mut self, blocked: &Blocked, row: Option<usize>, at: Va) -> String {
        let symbol = self.symbol_words(at);
        if !symbol.is_empty() {
            return symbol;
        }
        self.passed(blocked, row).unwrap_or_default()
    }

    fn passed(&mut self, blocked: &Blocked, row: Option<usize>) -> Option<String> {
        let first = row?;
        // The innermost frame of the program's own was the one that gave the lock to a library.
        let own = blocked.rows.iter().skip(first).find(|row| !self.is_runtime(row))?.physical as usize;
        let process = self.process_of(blocked.thread).ok()?.ordinal;
        self.select_thread(blocked.thread).ok()?;
        let argument = self.arch().register_by_name(ARGUMENTS[0])?;
        let mut tracer = Tracer::new(self, process, blocked.physical.clone());
        let call = tracer.call_in(own)?;
        // A reserved name is a library's, which was compiled into the program's function.
        let described = tracer.register(own, call.at, argument).filter(|found| !found.text.contains("__"))?;
        (!described.derived || described.text.starts_with('&'))
            .then(|| described.text.strip_prefix('&').map_or_else(|| format!("*{}", described.text), str::to_owned))
    }

    /// `svc!table+0x20`; empty if no symbol of a module's data is there.
    fn symbol_words(&mut self, at: Va) -> String {
        if self.module_at(at).is_none() {
            return String::new();
        }
        let symbol = self.symbol_at(at).filter(|symbol| !symbol.name.is_empty() && symbol.displacement < 0x1000);
        symbol.map(|symbol| symbol.to_string()).unwrap_or_default()
    }

    /// What a thread does that is in no system call: it may turn in a lock's loop.
    pub(super) fn spinning(&mut self, blocked: &Blocked) -> Waiting {
        let Some(row) = blocked.rows.first().filter(|row| row.function.contains("pthread_spin_lock")) else {
            return Waiting::No;
        };
        let registers = blocked.physical.frames.get(row.physical as usize).map(|frame| frame.registers.clone());
        let argument = self.arch().register_by_name(ARGUMENTS[0]);
        let at = registers.zip(argument).and_then(|(registers, argument)| registers.get_u64(argument));
        let Some(at) = at.map(Va) else { return Waiting::No };
        let name = self.lock_name(blocked, Some(0), at);
        Waiting::Lock(Lock { at, kind: LockKind::SpinLock, name, state: String::new(), owner: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_variable_begins_where_its_release_has_it() {
        // __wseq, __g1_start, then __g_refs until 2.40, __g_size, __g1_orig_size and __wrefs, __g_signals.
        let check = |words: &[u64], at: u64, release, expected: u64| {
            let read = |at: Va| words.get(usize::try_from((at.0 - 0x1000) / 8).ok()?).copied();
            assert_eq!(condition_of(Va(at), release, read), Va(expected), "{words:?}");
        };
        let old = [2, 0, 2 << 32, 0, 8 << 32, 0];
        check(&old, 0x1028, Some(36), 0x1000);
        check(&old, 0x102c, None, 0x1000);
        let new = [0x7f00_0000, 2, 0, 0, 8 << 32, 0];
        check(&new, 0x1028, Some(41), 0x1008);
        // Without a release, or with one that took the change over.
        check(&new, 0x102c, Some(39), 0x1008);
        check(&[0, 6, 4, 1, 8 << 32, 0], 0x1028, None, 0x1008);
    }
}
