//! `PAGEMAP_SCAN`, asked for guard pages (Linux 6.15 and later).

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::result;

/// `struct page_region` (include/uapi/linux/fs.h).
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg` there.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: libc::c_ulong =
    (3 << 30) | ((size_of::<Scan>() as libc::c_ulong) << 16) | ((b'f' as libc::c_ulong) << 8) | 16;
const PAGE_IS_GUARD: u64 = 1 << 8;
/// Ranges of one answer.
const ROOM: usize = 64;

/// Ranges of guard pages (`MADV_GUARD_INSTALL`) from `start` to `end`, asked through an open `/proc/PID/pagemap`, and
/// where the answer ends: not all fit into one. `NOTTY`, `INVAL`: the kernel does not know the question.
pub(crate) fn guards_in(pagemap: BorrowedFd<'_>, start: u64, end: u64) -> Result<(Vec<(u64, u64)>, u64), Errno> {
    let mut found = [PageRegion::default(); ROOM];
    let mut scan = Scan {
        size: size_of::<Scan>() as u64,
        start,
        end,
        vec: found.as_mut_ptr() as u64,
        vec_len: ROOM as u64,
        category_mask: PAGE_IS_GUARD,
        return_mask: PAGE_IS_GUARD,
        ..Scan::default()
    };
    // SAFETY: the structure has the size it states, which the kernel checks; it names an array that lives through the
    // call, with its length, and nothing else is written.
    let count = result(unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN as libc::Ioctl, &raw mut scan) }.into())?;
    let count = usize::try_from(count).unwrap_or(0).min(ROOM);
    Ok((found[..count].iter().map(|region| (region.start, region.end)).collect(), scan.walk_end))
}
