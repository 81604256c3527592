//! Guard pages that have no mapping of their own.
//!
//! Since Linux 6.13 `madvise(MADV_GUARD_INSTALL)` takes the access from pages without splitting their mapping, and glibc
//! makes the guards of its threads' stacks so since 2.42. `/proc/PID/maps` shows such stacks, one above the other, as one
//! readable mapping. Since 6.15 the page tables tell, which is asked where a thread has its stack pointer only: to walk
//! everything that a process has mapped would take long.

use std::fs::File;
use std::os::fd::AsFd;

use outpost_base::{ProcessId, Va, VaRange};
use outpost_target::Region;

use crate::sys::guard_query::guards_in;

/// A larger mapping is not looked through: it is no stack, though one may have been put next to it.
const LARGEST: u64 = 4 << 30;
/// Bytes of all mappings together that are looked through: a tenth of a second at most where all of it is in memory.
const TOGETHER: u64 = 64 << 30;
/// Guards of one mapping that are told.
const MOST: usize = 1 << 16;

/// Makes guard pages in mappings that hold a stack ranges of their own, which nothing may access. Kernels that do not
/// tell leave the list as it is.
pub(crate) fn split_stacks(process: ProcessId, regions: &mut Vec<Region>, stack_pointers: &[Va]) {
    let mut sps = stack_pointers.to_vec();
    sps.sort_unstable();
    let holds_stack = |region: &Region| {
        let next = sps.partition_point(|sp| *sp < region.range.start);
        sps.get(next).is_some_and(|sp| region.range.contains(*sp))
    };
    let is_candidate = |region: &Region| {
        let is_thread_stack = region.write && !region.shared && region.inode == 0 && region.name != "[stack]";
        is_thread_stack && region.range.len() <= LARGEST && holds_stack(region)
    };
    if !regions.iter().any(is_candidate) {
        return;
    }
    let Ok(pagemap) = File::open(crate::memory::file_by_memory(process, "pagemap")) else { return };
    let mut left = TOGETHER;
    let mut split = Vec::with_capacity(regions.len());
    for region in regions.drain(..) {
        let Some(rest) = left.checked_sub(region.range.len()).filter(|_| is_candidate(&region)) else {
            split.push(region);
            continue;
        };
        left = rest;
        let guards = guards_of(&pagemap, region.range);
        cut(region, &guards, &mut split);
    }
    *regions = split;
}

/// Guards in a range, ascending; empty if the kernel does not tell.
fn guards_of(pagemap: &File, range: VaRange) -> Vec<VaRange> {
    let mut found = Vec::new();
    let mut at = range.start.0;
    while at < range.end.0 && found.len() < MOST {
        let Ok((guards, end)) = guards_in(pagemap.as_fd(), at, range.end.0) else { break };
        found.extend(guards.iter().map(|(start, end)| VaRange { start: Va(*start), end: Va(*end) }));
        // It goes on or is done.
        if end <= at {
            break;
        }
        at = end;
    }
    found
}

/// Cuts a mapping at its guards.
fn cut(region: Region, guards: &[VaRange], into: &mut Vec<Region>) {
    let mut push = |range: VaRange, is_guard: bool| {
        if range.start >= range.end {
            return;
        }
        let file_offset = match region.file_offset {
            0 => 0,
            offset => offset + (range.start - region.range.start),
        };
        let mut part = Region { range, file_offset, ..region.clone() };
        if is_guard {
            (part.read, part.write, part.execute) = (false, false, false);
        }
        into.push(part);
    };
    let mut at = region.range.start;
    for guard in guards.iter().filter(|guard| guard.start >= region.range.start && guard.end <= region.range.end) {
        push(VaRange { start: at, end: guard.start }, false);
        push(*guard, true);
        at = guard.end.max(at);
    }
    push(VaRange { start: at, end: region.range.end }, false);
}

#[cfg(test)]
mod tests {
    use outpost_testkit::{Build, Compiler, Running, skip};

    use crate::regions::read_regions;

    use super::*;

    /// Two stacks' worth of pages with a guard page below each, as glibc 2.42 makes them; `no` where the kernel cannot.
    const GUARDED: &str = r#"
        #define _GNU_SOURCE
        #include <stdio.h>
        #include <sys/mman.h>
        #include <unistd.h>
        int main(void) {
            char *at = mmap(0, 0x20000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (madvise(at, 0x1000, 102) != 0 || madvise(at + 0x10000, 0x2000, 102) != 0) puts("no");
            else printf("%p\n", (void *)at);
            fflush(stdout);
            pause();
        }
    "#;

    #[test]
    fn guards_within_a_mapping_are_ranges_without_access() {
        let mut program = Running::start(Build::source(Compiler::Gcc, "guarded", GUARDED).path(), &[]);
        let line = program.line();
        let Some(start) = line.strip_prefix("0x").and_then(|text| u64::from_str_radix(text, 16).ok()) else {
            return skip("the kernel has no MADV_GUARD_INSTALL (6.13)");
        };
        let process = ProcessId(program.pid());
        let pagemap = File::open(format!("/proc/{process}/pagemap")).unwrap();
        if guards_in(pagemap.as_fd(), start, start + 0x20000).is_err() {
            return skip("the kernel does not tell of guard pages (6.15)");
        }
        let sps = [Va(start + 0xf000), Va(start + 0x1f000)];
        let regions = read_regions(process, &sps).unwrap();
        let parts: Vec<(u64, u64, bool)> = regions
            .iter()
            .filter(|region| (start..start + 0x20000).contains(&region.range.start.0))
            // Another mapping may lie right above, in one with it.
            .map(|region| (region.range.start.0 - start, region.range.end.0.min(start + 0x20000) - start, region.write))
            .collect();
        let expected =
            [(0, 0x1000, false), (0x1000, 0x10000, true), (0x10000, 0x12000, false), (0x12000, 0x20000, true)];
        assert_eq!(parts, expected);
        // Nothing else is changed, and without stacks nothing is.
        let plain = read_regions(process, &[]).unwrap();
        assert!(plain.iter().any(|region| region.range.contains(Va(start)) && region.write));
        assert_eq!(regions.len(), plain.len() + 3);
    }

    #[test]
    fn a_mapping_is_cut_at_its_guards() {
        let range = |start, end| VaRange { start: Va(start), end: Va(end) };
        let region = Region {
            range: range(0x1000, 0x9000),
            read: true,
            write: true,
            execute: false,
            shared: false,
            file_offset: 0,
            device: 0,
            inode: 0,
            name: String::new(),
            usage: outpost_target::RegionUsage::Unknown,
        };
        let check = |guards: &[VaRange], expected: &[(u64, u64, bool)]| {
            let mut into = Vec::new();
            cut(region.clone(), guards, &mut into);
            let parts: Vec<_> = into.iter().map(|part| (part.range.start.0, part.range.end.0, part.read)).collect();
            assert_eq!(parts, expected);
        };
        check(&[], &[(0x1000, 0x9000, true)]);
        check(&[range(0x1000, 0x2000)], &[(0x1000, 0x2000, false), (0x2000, 0x9000, true)]);
        check(&[range(0x8000, 0x9000)], &[(0x1000, 0x8000, true), (0x8000, 0x9000, false)]);
        // What lies elsewhere is none of its.
        check(&[range(0x8000, 0xa000)], &[(0x1000, 0x9000, true)]);
    }
}
