//! Values read in few round trips, whatever they hold.

use outpost_base::MemoryReader;
use outpost_symbols::BatchMemory;
use outpost_target::ReadRequest;

use super::ProcessMemory;

/// Most rounds of "read, fetch what was missing" for one value.
const ROUNDS: usize = 16;
/// Bytes fetched around what is missing: nodes of trees and lists lie near each other.
const READ_AHEAD: u64 = 64 << 10;

impl ProcessMemory {
    /// Runs `read` over memory that is fetched in batches: again and again until everything it asks for was fetched, each
    /// time by one round trip. What is fetched around that does not count as read.
    pub fn in_batches<T>(&self, mut read: impl FnMut(&mut dyn MemoryReader) -> T) -> T {
        let fetch = |ranges: &[outpost_base::VaRange]| {
            let reads: Vec<_> = ranges.iter().map(|range| ReadRequest { at: range.start, len: range.len() }).collect();
            self.read_around(&reads).unwrap_or_else(|_| vec![Vec::new(); ranges.len()])
        };
        let mut batches = BatchMemory::with_read_ahead(READ_AHEAD).over(self.known());
        batches.run(ROUNDS, |memory| read(memory), fetch)
    }
}
