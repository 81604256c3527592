//! A small cache of tables that are made once and shared.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

/// Tables by key; each is made at its first use. Grows by what is looked at.
#[derive(Debug)]
pub(super) struct TableCache<K, T>(RwLock<HashMap<K, Arc<[T]>>>);

impl<K: Eq + Hash + Copy, T> TableCache<K, T> {
    pub(super) fn new() -> TableCache<K, T> {
        TableCache(RwLock::new(HashMap::new()))
    }

    /// The table of `key`, made by `make` outside the lock: two threads may both make it, one is kept.
    pub(super) fn get_or_insert(&self, key: K, make: impl FnOnce() -> Arc<[T]>) -> Arc<[T]> {
        if let Some(table) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return table.clone();
        }
        let table = make();
        self.0.write().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert(table).clone()
    }
}
