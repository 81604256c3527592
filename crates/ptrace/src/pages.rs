//! The protection of a program's pages, changed by a call in one of its threads.

use outpost_base::{Va, VaRange};
use outpost_target::Region;

use crate::lifeline::NotSafe;
use crate::remote_call::Caller;

/// Bytes of a page.
pub(crate) const PAGE: u64 = 4096;

/// Pages next to each other, of one protection, that are given another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtectedPages {
    /// Their addresses, multiples of the page size.
    pub range: VaRange,
    /// What the program may do there: `PROT_*` of mprotect(2).
    pub own: u32,
    /// What it is left.
    pub ours: u32,
}

/// `PROT_*` of a mapping.
pub(crate) fn protection_of(region: &Region) -> u32 {
    let bit = |set: bool, bit: i32| if set { bit as u32 } else { 0 };
    bit(region.read, libc::PROT_READ) | bit(region.write, libc::PROT_WRITE) | bit(region.execute, libc::PROT_EXEC)
}

/// `PROT_*` of the page at `page`; none if nothing is mapped there.
pub(crate) fn own_protection(mapped: &[Region], page: Va) -> u32 {
    mapped.iter().find(|region| region.range.contains(page)).map_or(0, protection_of)
}

/// Gives pages a protection.
pub(crate) fn protect(caller: &Caller<'_>, range: VaRange, protection: u32) -> Result<(), NotSafe> {
    let arguments = [range.start.0, range.len(), u64::from(protection), 0, 0, 0];
    let result = caller.call(libc::SYS_mprotect, arguments)?;
    result.map(drop).map_err(|errno| NotSafe::Refused("its pages protected", errno))
}

/// Gives the program its own protection back where ours still is; `mapped` is what is mapped now.
pub(crate) fn give_back(caller: &Caller<'_>, piece: &ProtectedPages, mapped: &[Region]) -> Result<(), NotSafe> {
    for region in mapped.iter().filter(|region| protection_of(region) == piece.ours) {
        let start = region.range.start.max(piece.range.start);
        let end = region.range.end.min(piece.range.end);
        if start < end {
            protect(caller, VaRange { start, end }, piece.own)?;
        }
    }
    Ok(())
}
