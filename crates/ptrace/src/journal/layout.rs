//! Where everything stands in the shared memory: tables of records of words.
//!
//! The file begins with a header of [`HEADER_WORDS`] words: magic, version, policy, then for each table how many of its
//! records were ever in use. The tables follow, each with a fixed number of records of a fixed number of words:
//!
//! | table | words | word 0 | then |
//! | --- | --- | --- | --- |
//! | processes | 4 | valid | process id, flags, start in clock ticks |
//! | sites | 12 | valid | space, process, address, length, original (2), replacement (2), device, inode, file offset |
//! | threads | 20 | valid | process and thread id, flags and held signal, its information (16), zero |
//! | regions | 6 | valid | process, address, length, kind, zero |
//! | actions | 8 | valid | process, signal, handler of ours, the program's own (4) |
//! | pages | 6 | valid | process, address, length, the program's protection, ours |
//!
//! A record counts only while its word 0 is 1. It is written fields first, that word last, and taken back by zeroing
//! that word, so that a writer that dies between two stores leaves the record whole or not there. The flags of a thread
//! are one word and change by one store. A site is not split into planned, planted and removed: the memory itself says
//! whether its bytes are there.

use std::io;
use std::os::fd::OwnedFd;

use crate::sys::shared;

/// `OUTPJRNL`.
pub(super) const MAGIC: u64 = u64::from_be_bytes(*b"OUTPJRNL");
/// Changes with the layout; writer and reader are one program, so that others are refused, not converted.
pub(super) const VERSION: u64 = 4;

pub(super) const HEADER_WORDS: usize = 64;
pub(super) const WORD_MAGIC: usize = 0;
pub(super) const WORD_VERSION: usize = 1;
/// Policy: bit 0 lets created processes go.
pub(super) const WORD_POLICY: usize = 2;
/// First of the words that count used records.
const WORD_USED: usize = 8;

/// Largest number of bytes of a site.
pub(super) const SITE_BYTES: usize = 16;

/// A table of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Table {
    /// Its number, which places its count in the header.
    index: usize,
    /// First word.
    start: usize,
    /// Words of a record.
    pub(super) width: usize,
    /// Records.
    pub(super) capacity: usize,
}

pub(super) const PROCESSES: Table = Table { index: 0, start: HEADER_WORDS, width: 4, capacity: 4096 };
pub(super) const SITES: Table = PROCESSES.followed_by(12, 16_384);
pub(super) const THREADS: Table = SITES.followed_by(20, 32_768);
pub(super) const REGIONS: Table = THREADS.followed_by(6, 4096);
pub(super) const ACTIONS: Table = REGIONS.followed_by(8, 8192);
pub(super) const PAGES: Table = ACTIONS.followed_by(6, 8192);

/// Words of the whole file. Pages that no record ever used take no memory.
pub(super) const TOTAL_WORDS: usize = PAGES.end();

impl Table {
    const fn followed_by(self, width: usize, capacity: usize) -> Table {
        Table { index: self.index + 1, start: self.end(), width, capacity }
    }

    const fn end(self) -> usize {
        self.start + self.width * self.capacity
    }

    /// First word of a record.
    pub(super) const fn record(self, slot: usize) -> usize {
        self.start + slot * self.width
    }

    /// Word of the header that counts the records ever in use.
    pub(super) const fn used(self) -> usize {
        WORD_USED + self.index
    }
}

/// Bits of a process's flags.
pub(super) const PROCESS_CREATED: u64 = 1;
pub(super) const PROCESS_BEGINS_ANEW: u64 = 2;

/// Bits of a thread's flags; the held signal is in the upper half.
pub(super) const THREAD_DEBUG_REGISTERS: u64 = 1;
pub(super) const THREAD_STEPPING: u64 = 2;
pub(super) const THREAD_HAS_INFORMATION: u64 = 4;
pub(super) const THREAD_TRAP_UNBLOCKED: u64 = 8;
pub(super) const THREAD_SIGNAL_SHIFT: u32 = 32;

/// What a mapping of ours in a debuggee is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegionKind {
    /// The lifeline: handler code and table.
    Lifeline,
    /// Pads.
    Pads,
    /// Room for the frames of calls.
    Frames,
    /// What jump pads share with the tracer.
    Data,
}

impl RegionKind {
    pub(super) fn to_word(self) -> u64 {
        match self {
            RegionKind::Lifeline => 1,
            RegionKind::Pads => 2,
            RegionKind::Frames => 3,
            RegionKind::Data => 4,
        }
    }

    pub(super) fn from_word(word: u64) -> Option<RegionKind> {
        match word {
            1 => Some(RegionKind::Lifeline),
            2 => Some(RegionKind::Pads),
            3 => Some(RegionKind::Frames),
            4 => Some(RegionKind::Data),
            _ => None,
        }
    }
}

/// Makes the memory a worker and its guardian share: the guardian keeps one descriptor, the worker gets another.
///
/// # Errors
/// Those of memfd_create(2).
pub fn create_shared() -> io::Result<OwnedFd> {
    shared::create("outpost-journal", TOTAL_WORDS)
}
