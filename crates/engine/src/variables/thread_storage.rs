//! What a thread has for itself: the blocks of thread-local variables of all modules, and the values of pthread's keys.
//!
//! Sources: as `tls`; glibc `nptl_db/td_thr_tsd.c`, `nptl/descr.h` (`struct pthread_key_data`).

use std::rc::Rc;

use outpost_base::Va;
use outpost_target::ReadRequest;

use super::tls::TlsSearch;
use crate::modules::Module;
use crate::{Engine, EngineError};

/// Keys that are looked at: `PTHREAD_KEYS_MAX` of glibc (sysdeps/unix/sysv/linux/bits/local_lim.h).
const MOST_KEYS: u64 = 1024;

/// The constants that are asked for, by what follows `_thread_db_` in their names; each has the width in bits, the count
/// and the offset of a field.
const FIELDS: [&str; 4] =
    ["pthread_specific", "pthread_key_data_level2_data", "pthread_key_data_seq", "pthread_key_data_data"];

/// A module's block of thread-local variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadLocalBlock {
    /// The module's name.
    pub module: String,
    /// Where it begins; `None` if the thread has none yet, which a library's gets when it is first used.
    pub address: Option<Va>,
    /// Bytes of it.
    pub size: u64,
}

/// A key of `pthread_key_create` with the thread's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadKey {
    /// The key.
    pub key: u32,
    /// What `pthread_getspecific` gives.
    pub value: u64,
}

/// What a thread has for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadStorage {
    /// Where its control block is.
    pub thread_pointer: Va,
    /// Blocks of all modules that have thread-local variables.
    pub blocks: Vec<ThreadLocalBlock>,
    /// Keys whose value is not null; `None` where the C library does not tell where they are.
    pub keys: Option<Vec<ThreadKey>>,
}

impl Engine {
    /// What the current thread has for itself.
    ///
    /// # Errors
    /// [`EngineError::NoDebuggee`]; [`EngineError::Running`]; [`EngineError::RegisterUnavailable`].
    pub fn thread_storage(&mut self) -> Result<ThreadStorage, EngineError> {
        let thread = self.current_thread()?;
        let unknown = || EngineError::RegisterUnavailable { name: "fs_base".into(), reason: String::new() };
        let thread_pointer = self.thread_pointer(thread).ok_or_else(unknown)?;
        let process = self.process_of(thread)?.ordinal;
        let loader = self.symbol_loader(process)?;
        let known = self.process(process)?;
        let modules: Vec<Rc<Module>> = known.modules.iter().cloned().collect();
        let memory = known.memory.clone();
        let mut search = TlsSearch { loader: &loader, memory, modules: &modules, thread_pointer };
        let mut blocks = Vec::new();
        for module in &modules {
            self.check_interrupt()?;
            let symbols = loader.prepared(module)?;
            let Some((size, _)) = symbols.tls_segment() else { continue };
            // Before the loader has set it up, the thread has nothing.
            let address = search.address(module, 0).filter(|_| thread_pointer != Va(0));
            blocks.push(ThreadLocalBlock { module: module.name.clone(), address, size });
        }
        Ok(ThreadStorage { thread_pointer, blocks, keys: search.keys() })
    }
}

impl TlsSearch<'_> {
    /// Values of pthread's keys, by what the C library tells its debuggers of them.
    fn keys(&self) -> Option<Vec<ThreadKey>> {
        let names: Vec<String> = FIELDS.iter().map(|field| format!("_thread_db_{field}")).collect();
        let places = self.exports_of(&["libc.so", "libc-", "libpthread"], &names)?;
        let reads: Vec<_> = places.iter().map(|at| ReadRequest { at: *at, len: 12 }).collect();
        let answers = self.memory.read_many(&reads).ok()?;
        let number = |field: usize, at: usize| -> Option<u64> {
            Some(u64::from(u32::from_le_bytes(*answers.get(field)?.get(at..)?.first_chunk()?)))
        };
        // The first is one field with all pointers in it.
        let first_level = (number(0, 0)?.saturating_mul(number(0, 4)?) / 64).min(MOST_KEYS);
        let second_level = number(1, 4)?.min(MOST_KEYS);
        let (table, data, size) = (number(0, 8)?, number(1, 8)?, number(1, 0)? / 8);
        let (sequence, value) = (number(2, 8)? as usize, number(3, 8)? as usize);
        if !(16..=64).contains(&size) || first_level.saturating_mul(second_level) > MOST_KEYS {
            return None;
        }
        let pointers: Vec<Va> = (0..first_level).map(|index| self.thread_pointer + table + index * 8).collect();
        let pieces: Vec<(u64, Va)> = (0..).zip(self.words(&pointers)?).map(|(index, at)| (index, Va(at))).collect();
        let pieces: Vec<(u64, Va)> = pieces.into_iter().filter(|(_, at)| *at != Va(0)).collect();
        let reads: Vec<_> =
            pieces.iter().map(|(_, at)| ReadRequest { at: *at + data, len: second_level * size }).collect();
        let answers = self.memory.read_many(&reads).ok()?;
        let word = |entry: &[u8], at: usize| Some(u64::from_le_bytes(*entry.get(at..)?.first_chunk()?));
        let mut keys = Vec::new();
        for ((index, _), bytes) in pieces.iter().zip(&answers) {
            for (entry, number) in bytes.chunks_exact(size as usize).zip(0..) {
                let (Some(sequence), Some(value)) = (word(entry, sequence), word(entry, value)) else { continue };
                // Odd while the key is in use.
                if value != 0 && sequence & 1 == 1 {
                    keys.push(ThreadKey { key: (index * second_level + number) as u32, value });
                }
            }
        }
        Some(keys)
    }
}
