//! How glibc's allocator is laid out in memory: by the C library's debug info where that is there, else by its release.
//!
//! Layouts: glibc malloc/malloc.c (`struct malloc_state`, `struct malloc_par`, `tcache_perthread_struct`, `PROTECT_PTR`),
//! malloc/arena.c (`struct _heap_info`) of the releases named below.

use outpost_base::Va;

use super::{ALIGNMENT, SMALLEST};
use crate::Engine;

/// Bins of an arena, by pairs of pointers; number 0 is not used (glibc malloc/malloc.c, NBINS).
pub(super) const BINS: u64 = 128;
/// Bins above the unsorted one that hold chunks of one size each (NSMALLBINS).
pub(super) const SMALL_BINS: u64 = 64;
/// Lists of freed small chunks that stay as they are (NFASTBINS).
pub(super) const FAST_BINS: u64 = 10;
/// Lists in a thread's cache that hold chunks of one size each (TCACHE_SMALL_BINS, before 2.42 TCACHE_MAX_BINS).
pub(super) const SMALL_CACHE_BINS: u64 = 64;
/// Behind them, since 2.42, those for a range of sizes (TCACHE_LARGE_BINS); each range ends at a power of two.
const LARGE_CACHE_BINS: u64 = 12;

/// A larger structure is not the allocator's.
const LARGEST: u64 = 1 << 16;

/// What an allocator of some releases of glibc 2 has that others have not.
struct Release {
    /// First and last, 2.N.
    from: u32,
    to: u32,
    /// Bytes of a count in a thread's cache.
    count: u64,
    masked: bool,
    heap_head: u64,
    /// A cache has lists of large chunks, and notes how many more each takes (2.42).
    notes_room: bool,
    /// Arenas have fast bins, and a field of flags for them (until 2.42).
    has_fast_bins: bool,
    /// A chunk with a mapping of its own does not count the mapping's last bytes (2.43).
    mapped_tail: u64,
}

#[rustfmt::skip]
const RELEASES: [Release; 6] = {
    let old = Release {
        from: 27, to: 29, count: 1, masked: false, heap_head: 0x20,
        notes_room: false, has_fast_bins: true, mapped_tail: 0,
    };
    [
        Release { ..old },
        Release { from: 30, to: 31, count: 2, ..old },
        Release { from: 32, to: 34, count: 2, masked: true, ..old },
        Release { from: 35, to: 41, count: 2, masked: true, heap_head: 0x30, ..old },
        Release { from: 42, to: 42, count: 2, masked: true, heap_head: 0x30, notes_room: true, ..old },
        Release {
            from: 43, to: LATEST, count: 2, masked: true, heap_head: 0x30,
            notes_room: true, has_fast_bins: false, mapped_tail: 16,
        },
    ]
};
/// The newest release of glibc 2 whose allocator is known.
pub(super) const LATEST: u32 = 43;
/// The oldest.
pub(super) const OLDEST: u32 = 27;

/// Where the fields of `struct malloc_par` are, which only debug info tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) mapped_chunks: u64,
    pub(super) mapped_bytes: u64,
    pub(super) break_start: u64,
}

/// The layout of one release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// `struct malloc_state`: its size and fields.
    pub(super) arena: u64,
    /// `None` since 2.43.
    pub(super) fast_bins: Option<u64>,
    pub(super) top: u64,
    pub(super) bins: u64,
    pub(super) next: u64,
    pub(super) system_memory: u64,
    /// Bytes of a count in a thread's cache; the lists begin behind all counts.
    pub(super) count: u64,
    /// How many lists a cache has.
    pub(super) cache_bins: u64,
    /// What is counted is how many more chunks a list takes, not how many it has.
    pub(super) notes_room: bool,
    /// Links are xored with their own address, shifted by a page's width (since 2.32).
    pub(super) masked: bool,
    /// `sizeof (heap_info)`.
    pub(super) heap_head: u64,
    /// Bytes at the end of a mapping that the size field of the chunk in it leaves out.
    pub(super) mapped_tail: u64,
    /// Where known.
    pub(super) parameters: Option<Parameters>,
}

impl Layout {
    /// What is known of release 2.`minor`.
    pub(super) fn of_release(minor: u32) -> Option<Layout> {
        let release = RELEASES.iter().find(|release| (release.from..=release.to).contains(&minor))?;
        // `have_fastchunks` and the fast bins lie before all else but the lock and its flags.
        let before = if release.has_fast_bins { 8 + FAST_BINS * 8 } else { 0 };
        Some(Layout {
            arena: 0x840 + before,
            fast_bins: release.has_fast_bins.then_some(0x10),
            top: 0x8 + before,
            bins: 0x18 + before,
            next: 0x818 + before,
            system_memory: 0x830 + before,
            count: release.count,
            cache_bins: SMALL_CACHE_BINS + if release.notes_room { LARGE_CACHE_BINS } else { 0 },
            notes_room: release.notes_room,
            masked: release.masked,
            heap_head: release.heap_head,
            mapped_tail: release.mapped_tail,
            parameters: None,
        })
    }

    /// Bytes of a thread's cache.
    pub(super) fn cache(&self) -> u64 {
        self.cache_bins * (self.count + 8)
    }

    /// The same as a chunk.
    pub(super) fn cache_chunk(&self) -> u64 {
        (self.cache() + 8).next_multiple_of(16)
    }

    /// Sizes of the chunks in a cache's list, first and last.
    pub(super) fn cached_sizes(&self, list: u64) -> (u64, u64) {
        let of_small = |list: u64| SMALLEST + ALIGNMENT * list;
        match list.checked_sub(SMALL_CACHE_BINS) {
            None => (of_small(list), of_small(list)),
            Some(large) => {
                // By the number of their leading zeros (`large_csize2tidx`), the first in the range of the largest small ones.
                let end = (of_small(SMALL_CACHE_BINS - 1) + 1).next_power_of_two() << large;
                (of_small(SMALL_CACHE_BINS).max(end / 2), end - ALIGNMENT)
            }
        }
    }

    /// What a link of a singly linked list at `at` leads to.
    pub(super) fn link(&self, at: Va, stored: u64) -> u64 {
        if self.masked { stored ^ (at.0 >> 12) } else { stored }
    }

    /// Where a bin's head would be if it were a chunk; bins count from 1.
    pub(super) fn bin(&self, arena: Va, number: u64) -> Va {
        arena + self.bins + (number - 1) * 16 - 16
    }
}

impl Engine {
    /// The allocator's layout as the C library's debug info has it. Whether links are masked it does not say: `release`
    /// does.
    pub(super) fn layout_by_types(&mut self, library: &str, release: &Layout) -> Option<Layout> {
        let mut record = |names: &[&str]| {
            names.iter().find_map(|name| {
                let found = self.find_types(&format!("{library}!{name}")).ok()?;
                found.into_iter().find(|of| of.size().is_some_and(|size| size != 0))
            })
        };
        let state = record(&["malloc_state"])?;
        let cache = record(&["tcache_perthread_struct"])?;
        let heap = record(&["_heap_info", "heap_info"])?;
        let parameters = record(&["malloc_par"]);
        let offset = |name: &str| Some(state.field(name)?.offset).filter(|offset| *offset < LARGEST);
        let counts = cache.field(if release.notes_room { "num_slots" } else { "counts" })?;
        let (counts, bins) = counts.field_type.element()?;
        let bins = bins.filter(|bins| *bins == release.cache_bins)?;
        if cache.field("entries")?.offset != bins * counts.size()? {
            return None;
        }
        let parameters = parameters.and_then(|of| {
            Some(Parameters {
                mapped_chunks: of.field("n_mmaps")?.offset,
                mapped_bytes: of.field("mmapped_mem")?.offset,
                break_start: of.field("sbrk_base")?.offset,
            })
        });
        let layout = Layout {
            arena: state.size()?,
            fast_bins: offset("fastbinsY"),
            top: offset("top")?,
            bins: offset("bins")?,
            next: offset("next")?,
            system_memory: offset("system_mem")?,
            count: counts.size()?,
            masked: release.masked,
            heap_head: heap.size()?,
            cache_bins: bins,
            notes_room: release.notes_room,
            mapped_tail: release.mapped_tail,
            parameters,
        };
        let is_sound = matches!(layout.count, 1 | 2) && layout.arena.max(layout.heap_head) <= LARGEST;
        is_sound.then_some(layout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_known_or_refused() {
        assert!(Layout::of_release(OLDEST - 1).is_none() && Layout::of_release(LATEST + 1).is_none());
        assert!((OLDEST..=LATEST).all(|minor| Layout::of_release(minor).is_some()));
        let layout = Layout::of_release(36).unwrap();
        assert_eq!((layout.cache_chunk(), layout.heap_head), (0x290, 0x30));
        assert_eq!(Layout::of_release(28).unwrap().cache_chunk(), 0x250);
        assert_eq!(layout.link(Va(0x5000_1010), 0x5_0001 ^ 0x5000_2020), 0x5000_2020);
        // The first bin's head is the chunk whose links are the first two words of the array.
        assert_eq!(layout.bin(Va(0x1000), 1), Va(0x1060));
        assert_eq!((layout.arena, layout.fast_bins, layout.top, layout.next), (0x898, Some(0x10), 0x60, 0x870));
    }

    #[test]
    fn caches_of_large_chunks() {
        // What gdb says of 2.43: `ptype /o struct malloc_state`, `tcache_perthread_struct`.
        let layout = Layout::of_release(43).unwrap();
        assert_eq!((layout.arena, layout.top, layout.bins), (2112, 8, 24));
        assert_eq!((layout.next, layout.system_memory, layout.cache()), (2072, 2096, 760));
        assert_eq!(layout.fast_bins, None);
        assert_eq!(layout.cached_sizes(0), (0x20, 0x20));
        assert_eq!(layout.cached_sizes(63), (0x410, 0x410));
        assert_eq!(layout.cached_sizes(64), (0x420, 0x7f0));
        assert_eq!(layout.cached_sizes(65), (0x800, 0xff0));
        assert_eq!(layout.cached_sizes(75), (0x20_0000, 0x3f_fff0));
        let before = Layout::of_release(42).unwrap();
        assert_eq!((before.arena, before.fast_bins, before.cache()), (0x898, Some(0x10), 760));
    }
}
