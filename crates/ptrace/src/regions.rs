//! A process's mappings, from `/proc/PID/maps`.

use std::fs;
use std::io;

use outpost_base::{ProcessId, Va, VaRange};
use outpost_target::{Region, RegionUsage, TargetError};

use crate::error::os_error;
use crate::guards;
use crate::memory::file_by_memory;

/// Reads a process's mappings, ascending. `stack_pointers` are those of its threads, as far as known: a mapping that
/// one of them points into is a stack, which the kernel itself tells only of the first thread. Guard pages within a
/// stack's mapping are ranges of their own, without access, as those are that have a mapping of their own.
///
/// # Errors
/// [`TargetError::NoProcess`], [`TargetError::Permission`].
/// Source: `proc_pid_maps(5)`.
pub fn read_regions(process: ProcessId, stack_pointers: &[Va]) -> Result<Vec<Region>, TargetError> {
    let path = file_by_memory(process, "maps");
    let text = fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => TargetError::NoProcess { process },
        io::ErrorKind::PermissionDenied => TargetError::Permission {
            what: format!("the mappings of process {process}"),
            remedy: "run the server as the process's user or with CAP_SYS_PTRACE".into(),
        },
        _ => os_error(format!("read {path}"), error),
    })?;
    let mut regions = parse_maps(&text);
    guards::split_stacks(process, &mut regions, stack_pointers);
    classify(&mut regions, stack_pointers);
    Ok(regions)
}

/// The mappings a `maps` file tells of; lines that are not understood are left out.
pub(crate) fn parse_maps(text: &[u8]) -> Vec<Region> {
    text.split(|&byte| byte == b'\n').filter_map(parse_line).collect()
}

/// `start-end perms offset major:minor inode   name`
fn parse_line(line: &[u8]) -> Option<Region> {
    let mut fields = line.splitn(6, |&byte| byte == b' ');
    let mut field = || fields.next().and_then(|bytes| std::str::from_utf8(bytes).ok());
    let (start, end) = field()?.split_once('-')?;
    let permissions = field()?.as_bytes();
    let file_offset = hex(field()?)?;
    let (major, minor) = field()?.split_once(':')?;
    let inode = field()?.parse().ok()?;
    // The kernel writes a newline in a name as \012; other bytes stand for themselves.
    let name = String::from_utf8_lossy(fields.next().unwrap_or_default().trim_ascii_start()).replace("\\012", "\n");
    let device = rustix::fs::makedev(u32::try_from(hex(major)?).ok()?, u32::try_from(hex(minor)?).ok()?);
    Some(Region {
        range: VaRange { start: Va(hex(start)?), end: Va(hex(end)?) },
        read: permissions.first() == Some(&b'r'),
        write: permissions.get(1) == Some(&b'w'),
        execute: permissions.get(2) == Some(&b'x'),
        shared: permissions.get(3) == Some(&b's'),
        file_offset,
        device,
        inode,
        name,
        usage: RegionUsage::Unknown,
    })
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

fn classify(regions: &mut [Region], stack_pointers: &[Va]) {
    let file = |region: &Region| (region.device, region.inode);
    // A file is an image if any part of it can be executed, as the dynamic loader maps it.
    let images: Vec<(u64, u64)> =
        regions.iter().filter(|region| region.execute && region.inode != 0).map(file).collect();
    let mut image_ends_at = None;
    for region in regions {
        let is_image = region.inode != 0 && images.contains(&file(region));
        // What a program's last segment has beyond its file (.bss) is mapped anonymously right behind it.
        let is_bss = region.name.is_empty() && region.write && image_ends_at == Some(region.range.start);
        region.usage = match region.name.as_str() {
            "[vdso]" | "[vsyscall]" => RegionUsage::Vdso,
            name if name.starts_with("[vvar") => RegionUsage::Vdso,
            "[heap]" => RegionUsage::Heap,
            "[stack]" => RegionUsage::Stack,
            _ if is_image || is_bss => RegionUsage::Image,
            _ if region.inode != 0 && !region.name.starts_with("[anon") => RegionUsage::MappedFile,
            _ if region.write && stack_pointers.iter().any(|sp| region.range.contains(*sp)) => RegionUsage::Stack,
            _ => RegionUsage::Unknown,
        };
        image_ends_at = (is_image && region.write).then_some(region.range.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &[u8] = b"\
55d0c0a00000-55d0c0a02000 r--p 00000000 fe:01 1311 /usr/bin/a name with blanks
55d0c0a02000-55d0c0a07000 r-xp 00002000 fe:01 1311 /usr/bin/a name with blanks
55d0c0a0b000-55d0c0a0c000 rw-p 0000a000 fe:01 1311 /usr/bin/a name with blanks
55d0c0a0c000-55d0c0a0d000 rw-p 00000000 00:00 0 
55d0c1000000-55d0c1021000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000021000 rw-p 00000000 00:00 0 
7f0010000000-7f0010800000 rw-p 00000000 00:00 0 
7f0020000000-7f0020001000 rw-s 00001000 00:05 77                         /dev/zero (deleted)
7f0030000000-7f0030001000 r--p 00000000 103:0abc 88                      /odd\\012name
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]
7ffc00100000-7ffc00104000 r--p 00000000 00:00 0                          [vvar]
7ffc00104000-7ffc00106000 r-xp 00000000 00:00 0                          [vdso]
not a mapping
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
";

    #[test]
    fn lines_are_understood_and_classified() {
        use RegionUsage::*;
        let mut regions = parse_maps(MAPS);
        classify(&mut regions, &[Va(0x7f00_107f_fff0)]);
        let usages: Vec<RegionUsage> = regions.iter().map(|region| region.usage).collect();
        let expected =
            [Image, Image, Image, Image, Heap, Unknown, Stack, MappedFile, MappedFile, Stack, Vdso, Vdso, Vdso];
        assert_eq!(usages, expected);
        assert_eq!(regions[1].name, "/usr/bin/a name with blanks");
        assert_eq!((regions[1].file_offset, regions[1].inode), (0x2000, 1311));
        assert!(regions[1].execute && !regions[1].write && regions[7].shared);
        assert_eq!(regions[8].name, "/odd\nname");
        assert_eq!(regions[8].device, rustix::fs::makedev(0x103, 0xabc));
        assert_eq!(regions[12].range.start, Va(0xffff_ffff_ff60_0000));
    }

    #[test]
    fn own_device_numbers_are_those_of_stat() {
        use std::os::unix::fs::MetadataExt;
        let executable = std::env::current_exe().unwrap();
        let metadata = std::fs::metadata(&executable).unwrap();
        let regions = read_regions(ProcessId(std::process::id()), &[]).unwrap();
        let own: Vec<_> = regions.iter().filter(|region| region.inode == metadata.ino()).collect();
        assert!(own.iter().any(|region| region.execute));
        assert!(own.iter().all(|region| region.device == metadata.dev() && region.usage == RegionUsage::Image));
    }

    #[test]
    fn a_process_that_is_not_there_is_said_so() {
        assert!(matches!(read_regions(ProcessId(u32::MAX >> 1), &[]), Err(TargetError::NoProcess { .. })));
    }
}
