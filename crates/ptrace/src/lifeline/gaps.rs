//! Where in a debuggee there is room for a mapping of ours.

use outpost_base::{Va, VaRange};
use outpost_target::{Region, RegionUsage};

/// `vm.mmap_min_addr` as machines have it.
const LOWEST: Va = Va(0x1_0000);
/// End of user space with 4-level page tables (Documentation/arch/x86/x86_64/mm.rst), less the guard page.
const HIGHEST: Va = Va(0x7fff_ffff_f000);
/// Left free between a mapping of the program's and ours, so that neither is taken for a part of the other.
const MARGIN: u64 = 0x1_0000;

/// A gap as wide as this has a place in its middle that nothing grows to.
const WIDE: u64 = 1 << 40;
/// Addresses from here on are taken for no number of 32 bits, such as flags and sizes are.
const UNLIKE_NUMBERS: Va = Va(1 << 32);

/// Where what may be anywhere is best put near to: a mapping of the program's whose addresses look like nothing else. What
/// looks like an address in our mappings keeps them where they are.
pub(super) fn unlike_numbers(regions: &[Region]) -> Va {
    let first = regions.iter().map(|region| region.range.start).find(|start| *start >= UNLIKE_NUMBERS);
    first.unwrap_or(Va(HIGHEST.0 / 2))
}

/// Start of `len` free bytes as near to `near` as there are, at most `reach` away from it to their last byte.
///
/// Places that a mapping grows into are avoided: behind anything writable (the heap, also a heap that does not exist
/// yet) and below the stack.
pub(super) fn find_gap(regions: &[Region], near: Va, len: u64, reach: u64) -> Option<Va> {
    let len = Va(len).align_up(4096).0;
    let ends = std::iter::once((LOWEST, true)).chain(regions.iter().map(|region| (region.range.end, !region.write)));
    let starts = regions
        .iter()
        .map(|region| (region.range.start, region.usage != RegionUsage::Stack))
        .chain(std::iter::once((HIGHEST, true)));
    let candidates = ends.zip(starts).flat_map(|((end, after_is_free), (start, before_is_free))| {
        let fits = |at: Option<Va>| {
            let at = at?;
            (at >= end && at >= LOWEST && at.checked_add(len)? <= start && start <= HIGHEST).then_some(at)
        };
        let low = after_is_free.then(|| end.checked_add(MARGIN)).flatten();
        let high = before_is_free.then(|| start.0.checked_sub(MARGIN + len).map(Va)).flatten();
        let width = start.0.saturating_sub(end.0);
        let middle = (width >= WIDE).then(|| (end + width / 2).align_down(4096));
        [fits(low), fits(high), fits(middle)].into_iter().flatten()
    });
    let distance = |at: &Va| {
        let range = VaRange::from_len(*at, len);
        near.0.abs_diff(range.start.0).max(near.0.abs_diff(range.end.0))
    };
    candidates.filter(|at| distance(at) <= reach).min_by_key(distance)
}

/// Whether `range` is free, with room on both sides, and out of the way of what grows: `growth` bytes behind anything
/// writable, and not next below the stack.
pub(super) fn is_free(regions: &[Region], range: VaRange, growth: u64) -> bool {
    let wide = VaRange { start: Va(range.start.0.saturating_sub(MARGIN)), end: Va(range.end.0.saturating_add(MARGIN)) };
    let behind = regions.partition_point(|region| region.range.end <= wide.start);
    let below = behind.checked_sub(1).and_then(|index| regions.get(index));
    let above = regions.get(behind);
    // A program's data do not grow once the heap has begun elsewhere.
    let has_heap = above.is_some_and(|region| region.usage == RegionUsage::Heap);
    let grows = |region: &Region| region.write && !has_heap;
    range.start >= LOWEST
        && range.end <= HIGHEST
        && above.is_none_or(|region| region.range.start >= wide.end && region.usage != RegionUsage::Stack)
        && below.is_none_or(|region| !grows(region) || range.start - region.range.end >= growth)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::lifeline) fn region(start: u64, end: u64, write: bool, usage: RegionUsage) -> Region {
        Region {
            range: VaRange { start: Va(start), end: Va(end) },
            read: true,
            write,
            execute: !write,
            shared: false,
            file_offset: 0,
            device: 0,
            inode: 0,
            name: String::new(),
            usage,
        }
    }

    #[test]
    fn the_nearest_gap_that_nothing_grows_into_is_taken() {
        use RegionUsage::*;
        let regions = [
            region(0x40_0000, 0x41_0000, false, Image),
            region(0x41_0000, 0x42_0000, true, Image),
            region(0x200_0000, 0x210_0000, true, Heap),
            region(0x7fff_0000_0000, 0x7fff_0010_0000, false, Image),
            region(0x7fff_f000_0000, 0x7fff_f002_0000, true, Stack),
        ];
        let near = |at| find_gap(&regions, Va(at), 0x3001, 1 << 30);
        // Below the program: behind its data the heap will grow, and below the heap is further away.
        assert_eq!(near(0x40_1000), Some(Va(0x40_0000 - MARGIN - 0x4000)));
        assert_eq!(near(0x200_0000), Some(Va(0x200_0000 - MARGIN - 0x4000)));
        assert_eq!(near(0x7fff_0000_1000), Some(Va(0x7fff_0000_0000 - MARGIN - 0x4000)));
        assert_eq!(near(0x7fff_000f_f000), Some(Va(0x7fff_0010_0000 + MARGIN)));
        // The stack grows down, and what is behind something writable may be its next part.
        assert_eq!(find_gap(&regions, Va(0x7fff_f000_0000), 4096, 1 << 24), None);
        assert_eq!(find_gap(&regions, Va(0x1000_0000_0000), 4096, 1 << 30), None, "too far from anything");
    }

    #[test]
    fn what_may_be_anywhere_is_where_no_number_points() {
        use RegionUsage::*;
        // Linked statically and not position-independent: nothing but the stack and the kernel's code is high up.
        let mut regions = vec![
            region(0x40_0000, 0x41_0000, false, Image),
            region(0x200_0000, 0x210_0000, true, Heap),
            region(0x7ffe_f000_0000, 0x7ffe_f002_0000, true, Stack),
            region(0x7ffe_f002_3000, 0x7ffe_f002_5000, false, Vdso),
        ];
        let at = find_gap(&regions, unlike_numbers(&regions), 0x4_1000, u64::MAX).unwrap();
        assert!(at > UNLIKE_NUMBERS && regions.iter().all(|region| !region.range.contains(at)), "{at}");
        // With libraries: next to those.
        regions.insert(2, region(0x7fff_0000_0000, 0x7fff_0010_0000, false, Image));
        assert_eq!(unlike_numbers(&regions), Va(0x7fff_0000_0000));
        let low = [region(0x40_0000, 0x41_0000, false, Image)];
        assert!(find_gap(&low, unlike_numbers(&low), 4096, u64::MAX).is_some_and(|at| at > UNLIKE_NUMBERS));
    }

    #[test]
    fn a_full_neighbourhood_has_no_gap() {
        let regions = [region(0x1_0000, 0x7fff_ffff_f000, false, RegionUsage::Image)];
        assert_eq!(find_gap(&regions, Va(0x40_0000), 4096, 1 << 31), None);
    }
}
