//! Decoded line tables, the ones used last.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::UnitLines;
use crate::UnitIndex;

/// Rows that are kept in all; 24 bytes each.
const MAX_ROWS: usize = 1 << 21;

/// Keeps decoded line tables within a bound of memory.
#[derive(Debug, Default)]
pub(crate) struct LineCache {
    kept: Mutex<VecDeque<(UnitIndex, Arc<UnitLines>)>>,
}

impl LineCache {
    /// The table of `unit`, if it is kept.
    pub(crate) fn find(&self, unit: UnitIndex) -> Option<Arc<UnitLines>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(number, _)| *number == unit).map(|(_, lines)| lines.clone())
    }

    /// The table of `unit`: a kept one, or what `decode` makes.
    pub(crate) fn get(&self, unit: UnitIndex, decode: impl FnOnce() -> UnitLines) -> Arc<UnitLines> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|(number, _)| *number == unit)
            && let Some(found) = kept.remove(at)
        {
            let lines = found.1.clone();
            kept.push_front(found);
            return lines;
        }
        // Others may look up other units meanwhile.
        drop(kept);
        let lines = Arc::new(decode());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_front((unit, lines.clone()));
        let mut rows = 0;
        kept.retain(|(number, lines_of)| {
            rows += lines_of.rows.len();
            *number == unit || rows <= MAX_ROWS
        });
        lines
    }
}
