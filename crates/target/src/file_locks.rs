//! Locks of files, as the kernel lists them for the whole machine, and how a descriptor's file is found among them.
//!
//! Sources: proc_locks(5), proc_pid_fdinfo(5), proc_pid_mountinfo(5); Linux fs/locks.c, `lock_get_status`.

use outpost_base::ProcessId;

/// A file, whatever its name: the device of its file system, and its inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// Major and minor number.
    pub device: (u32, u32),
    /// Number within the file system.
    pub inode: u64,
}

/// Which locks hinder each other: only those of one kind, or of `Record` and `Description`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileLockKind {
    /// Of flock(2): on the whole file, by an open file description.
    Whole,
    /// Of fcntl(2): on a range, by a process.
    Record,
    /// Of fcntl(2) with `F_OFD_SETLK`: on a range, by an open file description.
    Description,
}

/// A lock, or somebody who waits for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLock {
    /// Of the lock that is held; those who wait for it have the same.
    pub number: u64,
    /// It is waited for, and not held.
    pub is_waited_for: bool,
    /// What kind of lock.
    pub kind: FileLockKind,
    /// It excludes all others; else it excludes such as exclude others.
    pub is_exclusive: bool,
    /// Who took it or wants it; `None` if the kernel does not tell: those of descriptions belong to no process.
    pub process: Option<ProcessId>,
    /// Of what.
    pub file: FileIdentity,
    /// First byte of the range.
    pub start: u64,
    /// The last one; `None`: to the end of the file, however far that is.
    pub end: Option<u64>,
}

impl FileLock {
    /// Whether it keeps others from this lock of the same file.
    pub fn hinders(&self, kind: FileLockKind, is_exclusive: bool, start: u64, end: Option<u64>) -> bool {
        let whole = |kind| kind == FileLockKind::Whole;
        let reaches = |end: Option<u64>, start: u64| end.is_none_or(|end| end >= start);
        !self.is_waited_for
            && whole(self.kind) == whole(kind)
            && (self.is_exclusive || is_exclusive)
            && reaches(self.end, start)
            && reaches(end, self.start)
    }
}

/// The rows of `/proc/locks` that are about locks; leases and what cannot be read are left out.
pub(crate) fn parse(text: &str) -> Vec<FileLock> {
    text.lines().filter_map(parse_row).collect()
}

/// `1: FLOCK  ADVISORY  WRITE 4314 fe:00:10010910 0 EOF`, with `->` before the kind in those that are waited for.
fn parse_row(row: &str) -> Option<FileLock> {
    let (number, rest) = row.trim_start().split_once(':')?;
    let mut words = rest.split_whitespace().peekable();
    let is_waited_for = words.next_if_eq(&"->").is_some();
    let kind = match words.next()? {
        "FLOCK" => FileLockKind::Whole,
        "POSIX" => FileLockKind::Record,
        "OFDLCK" => FileLockKind::Description,
        _ => return None,
    };
    let is_exclusive = match words.nth(1)? {
        "WRITE" => true,
        "READ" => false,
        _ => return None,
    };
    let process = words.next()?.parse().ok().filter(|id| *id != 0).map(ProcessId);
    let mut file = words.next()?.splitn(3, ':');
    let device = [file.next()?, file.next()?].map(|part| u32::from_str_radix(part, 16).ok());
    let ([Some(major), Some(minor)], inode) = (device, file.next()?.parse().ok()?) else { return None };
    let (start, end) = (words.next()?.parse().ok()?, words.next()?);
    let end = if end == "EOF" { None } else { Some(end.parse().ok()?) };
    let file = FileIdentity { device: (major, minor), inode };
    Some(FileLock { number: number.parse().ok()?, is_waited_for, kind, is_exclusive, process, file, start, end })
}

/// What `fdinfo` says of a descriptor's file: its inode (since Linux 5.14), and the mount it was opened in.
pub(crate) fn parse_descriptor(fdinfo: &str) -> Option<(u64, u32)> {
    let field = |key: &str| fdinfo.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    Some((field("ino:")?.parse().ok()?, field("mnt_id:")?.parse().ok()?))
}

/// The device of a mount, by the process's `mountinfo`: `27 1 254:0 / / rw ...`.
pub(crate) fn parse_device(mountinfo: &str, mount: u32) -> Option<(u32, u32)> {
    let device = mountinfo.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()?.parse() == Ok(mount)).then(|| words.nth(1)).flatten()
    })?;
    let (major, minor) = device.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: &str = "\
1: FLOCK  ADVISORY  WRITE 4314 fe:00:10010910 0 EOF
1: -> FLOCK  ADVISORY  READ 4315 fe:00:10010910 0 EOF
2: POSIX  ADVISORY  WRITE 88 00:2d:7 100 199
2:  -> POSIX  ADVISORY  WRITE 89 00:2d:7 150 EOF
3: OFDLCK ADVISORY  READ  -1 00:2d:7 0 EOF
4: LEASE  ACTIVE    READ  5 00:2d:7 0 EOF
5: FLOCK  ADVISORY  WRITE
";

    #[test]
    fn rows_are_read() {
        let locks = parse(LOCKS);
        let shown: Vec<_> = locks.iter().map(|lock| (lock.number, lock.is_waited_for, lock.process)).collect();
        let process = |id| Some(ProcessId(id));
        assert_eq!(
            shown,
            [
                (1, false, process(4314)),
                (1, true, process(4315)),
                (2, false, process(88)),
                (2, true, process(89)),
                (3, false, None)
            ]
        );
        assert_eq!(locks[0].file, FileIdentity { device: (0xfe, 0), inode: 10_010_910 });
        assert_eq!((locks[2].start, locks[2].end, locks[3].end), (100, Some(199), None));
    }

    #[test]
    fn locks_hinder_those_of_their_kind_and_range() {
        let locks = parse(LOCKS);
        let hinders = |kind, is_exclusive, start, end| -> Vec<u64> {
            let found = locks.iter().filter(|lock| lock.hinders(kind, is_exclusive, start, end));
            found.map(|lock| lock.number).collect()
        };
        assert_eq!(hinders(FileLockKind::Whole, false, 0, None), [1]);
        assert_eq!(hinders(FileLockKind::Record, true, 0, None), [2, 3]);
        assert_eq!(hinders(FileLockKind::Record, false, 199, Some(300)), [2], "readers do not hinder readers");
        assert_eq!(hinders(FileLockKind::Description, true, 200, Some(300)), [3]);
        assert_eq!(hinders(FileLockKind::Record, true, 0, Some(99)), [3]);
    }

    #[test]
    fn a_descriptor_leads_to_its_file() {
        let fdinfo = "pos:\t0\nflags:\t02100001\nmnt_id:\t27\nino:\t10010910\nlock:\t1: FLOCK\n";
        assert_eq!(parse_descriptor(fdinfo), Some((10_010_910, 27)));
        assert_eq!(parse_descriptor("pos:\t0\nflags:\t02\nmnt_id:\t27\n"), None, "an older kernel");
        let mountinfo = "26 1 0:24 / /proc rw - proc proc rw\n27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n";
        assert_eq!(parse_device(mountinfo, 27), Some((254, 0)));
        assert_eq!(parse_device(mountinfo, 28), None);
    }
}
