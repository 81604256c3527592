//! Memory of a debuggee that its jump pads and its target share: a ring of hits that were written down, and some words for
//! each pad. Pads are made by the client and placed by the target, so the layout is everybody's.
//!
//! | offset | size | meaning |
//! | --- | --- | --- |
//! | [`HEAD`] | 8 | bytes of records that were ever begun; pads add to it by `cmpxchg` |
//! | [`TAIL`] | 8 | bytes of records that the target has taken; it alone writes here |
//! | [`CELLS`] | [`PADS`] times [`CELLS_LEN`] | words of each pad: [`DROPPED`], [`PASSES`], [`THREAD`], [`TOLD`] |
//! | [`RECORDS`] | [`CAPACITY`] + [`LONGEST`] | the ring: a record begins at its position modulo [`CAPACITY`], and may end behind that |
//!
//! A record is a header ([`header`]), then what [`LogPlan::words`](crate::LogPlan::words) says. Who has added its length to the
//! head owns its place, writes what follows the header, then the header: until then that is zero. The target takes records
//! in a row, writes zeros over them, then adds to the tail. Where a record finds no room, its pad counts it as dropped.

/// Where producers are.
pub const HEAD: u64 = 0;
/// Where the target is; on another cache line than [`HEAD`].
pub const TAIL: u64 = 64;
/// The words of the first pad.
pub const CELLS: u64 = 128;
/// Bytes of a pad's words.
pub const CELLS_LEN: u64 = 32;
/// Pads that have words.
pub const PADS: u64 = 256;
/// Offset in a pad's words: records for which there was no room.
pub const DROPPED: u64 = 0;
/// Offset in a pad's words: hits that still pass, as a signed number; each takes one away, and it goes on below zero.
pub const PASSES: u64 = 8;
/// Offset in a pad's words: the thread pointer (`fs:0`, psABI 3.4.6 and "ELF Handling For Thread-Local Storage", 4.3) of
/// the thread whose hits count.
pub const THREAD: u64 = 16;
/// Offset in a pad's words: how many of [`DROPPED`] the target has told; pads do not look at it.
pub const TOLD: u64 = 24;
/// The first record.
pub const RECORDS: u64 = 0x3000;
/// Bytes of the ring, a power of two.
pub const CAPACITY: u64 = 1 << 22;
/// Bytes that a record has at most.
pub const LONGEST: u64 = 2048;
/// Bytes of it all.
pub const LEN: u64 = RECORDS + CAPACITY + 4096;

/// Marks a header.
const MARK: u64 = 0x6c67;

/// The header of a record of a breakpoint with so many words behind it.
pub const fn header(breakpoint: u32, words: u16) -> u64 {
    MARK << 48 | (words as u64) << 32 | breakpoint as u64
}

/// The breakpoint and the words of the record with this header, which the program may have written over.
pub const fn read_header(header: u64) -> Option<(u32, u16)> {
    if header >> 48 == MARK { Some((header as u32, (header >> 32) as u16)) } else { None }
}

/// Where the words of a pad are.
pub const fn cells_of(pad: u64) -> u64 {
    CELLS + pad * CELLS_LEN
}
