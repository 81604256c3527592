//! The one place of this crate with `unsafe`: a file mapped read-only, and bytes that stay where they are.
#![expect(unsafe_code, reason = "mapping a file and telling gimli that its bytes do not move cannot be said safely")]

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

use memmap2::{Mmap, MmapOptions, UncheckedAdvice};
use stable_deref_trait::{CloneStableDeref, StableDeref};

use crate::SectionData;

/// A range of a file, mapped read-only.
#[derive(Debug)]
pub(crate) struct Mapping {
    map: Mmap,
}

impl Mapping {
    /// Maps `len` bytes of `file` from `offset`.
    ///
    /// The caller has seen that the file is that long. Should somebody cut it short afterwards, reading the lost
    /// pages raises SIGBUS. The risk is taken for large sections only (see `source.rs`): reading them would cost
    /// hundreds of megabytes, linkers and package managers replace files rather than overwrite them, and
    /// gdb and lldb map the same sections.
    pub(crate) fn new(file: &File, offset: u64, len: usize) -> io::Result<Mapping> {
        // SAFETY: the mapping is private and read-only and nothing else in this process writes to the file. A
        // change by another process can change the bytes we see; every parser of this crate checks what it reads
        // each time it reads it and keeps no promise about bytes that it read before.
        let map = unsafe { MmapOptions::new().offset(offset).len(len).map(file)? };
        Ok(Mapping { map })
    }

    /// Lets the system take back the pages of `start..end`; they are read again when touched.
    pub(crate) fn release(&self, start: usize, end: usize) {
        let end = end.min(self.map.len());
        if start < end {
            // SAFETY: DontNeed on a private read-only mapping of a file drops only clean pages: their content comes
            // back from the file at the next touch.
            let _ = unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start) };
        }
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

/// What holds the bytes of a [`SectionData`]. All variants keep them at one address while any clone lives.
#[derive(Clone, Debug)]
pub(crate) enum Backing {
    /// In a vector that nobody can grow, since it is shared.
    Owned(Arc<Vec<u8>>),
    /// In a mapped file.
    Mapped(Arc<Mapping>),
}

impl Deref for Backing {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Backing::Owned(bytes) => bytes,
            Backing::Mapped(map) => map,
        }
    }
}

// SAFETY: `SectionData` derefs to a sub-slice, fixed at construction, of a vector or mapping behind an `Arc`. Neither
// is ever changed or moved while shared, and moving the `SectionData` moves only the `Arc`.
unsafe impl StableDeref for SectionData {}

// SAFETY: a clone shares the same `Arc` and the same bounds, so it derefs to the same address.
unsafe impl CloneStableDeref for SectionData {}
