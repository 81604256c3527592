//! `PROCMAP_QUERY`: one mapping of a process by address, without reading the whole list (Linux 6.11 and later).

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::last_errno;

/// `struct procmap_query` (include/uapi/linux/fs.h).
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Query {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    vma_start: u64,
    vma_end: u64,
    vma_flags: u64,
    vma_page_size: u64,
    vma_offset: u64,
    inode: u64,
    dev_major: u32,
    dev_minor: u32,
    vma_name_size: u32,
    build_id_size: u32,
    vma_name_addr: u64,
    build_id_addr: u64,
}

/// `_IOWR('f', 17, struct procmap_query)`.
const PROCMAP_QUERY: libc::c_ulong =
    (3 << 30) | ((size_of::<Query>() as libc::c_ulong) << 16) | ((b'f' as libc::c_ulong) << 8) | 17;

/// A mapping as far as identity goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// First address.
    pub(crate) start: u64,
    /// First address behind it.
    pub(crate) end: u64,
    /// Offset in its file.
    pub(crate) offset: u64,
    /// Device of its file, 0 if none.
    pub(crate) device: u64,
    /// Inode of its file, 0 if none.
    pub(crate) inode: u64,
}

/// The mapping at `address`, asked through an open `/proc/PID/maps`. `NOENT`: nothing is mapped there; `NOTTY`: the
/// kernel does not know the question.
pub(crate) fn mapping_at(maps: BorrowedFd<'_>, address: u64) -> Result<Mapping, Errno> {
    let mut query = Query { size: size_of::<Query>() as u64, query_addr: address, ..Query::default() };
    // SAFETY: the structure has the size it states, which the kernel checks before it fills it; no name or build-id is
    // asked for, so no other memory is written.
    if unsafe { libc::ioctl(maps.as_raw_fd(), PROCMAP_QUERY as libc::Ioctl, &raw mut query) } == -1 {
        return Err(last_errno());
    }
    Ok(Mapping {
        start: query.vma_start,
        end: query.vma_end,
        offset: query.vma_offset,
        device: rustix::fs::makedev(query.dev_major, query.dev_minor),
        inode: query.inode,
    })
}
