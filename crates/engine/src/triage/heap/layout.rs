//! How glibc's allocator is laid out in memory: by the C library's debug info where that is there, else by its release.
//!
//! Layouts: glibc malloc/malloc.c (`struct malloc_state`, `struct malloc_par`, `tcache_perthread_struct`, `PROTECT_PTR`),
//! malloc/arena.c (`struct _heap_info`) of the releases named below.

use outpost_base::Va;

use crate::Engine;

/// Bins of an arena, by pairs of pointers; number 0 is not used (glibc malloc/malloc.c, NBINS).
pub(super) const BINS: u64 = 128;
/// Bins above the unsorted one that hold chunks of one size each (NSMALLBINS).
pub(super) const SMALL_BINS: u64 = 64;
/// Lists of freed small chunks that stay as they are (NFASTBINS).
pub(super) const FAST_BINS: u64 = 10;
/// Lists in a thread's cache (TCACHE_MAX_BINS).
pub(super) const CACHE_BINS: u64 = 64;

/// A larger structure is not the allocator's.
const LARGEST: u64 = 1 << 16;

/// Releases of glibc 2 whose allocators are known: from, to, bytes of a count in a thread's cache, whether the links of
/// singly linked lists are masked, size of a heap's head. From 2.42 on a cache has other counts and more lists.
const RELEASES: [(u32, u32, u64, bool, u64); 4] =
    [(27, 29, 1, false, 0x20), (30, 31, 2, false, 0x20), (32, 34, 2, true, 0x20), (35, 41, 2, true, 0x30)];

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
    pub(super) fast_bins: u64,
    pub(super) top: u64,
    pub(super) bins: u64,
    pub(super) next: u64,
    pub(super) system_memory: u64,
    /// Bytes of a count in a thread's cache; the lists begin behind all counts.
    pub(super) count: u64,
    /// Links are xored with their own address, shifted by a page's width (since 2.32).
    pub(super) masked: bool,
    /// `sizeof (heap_info)`.
    pub(super) heap_head: u64,
    /// Where known.
    pub(super) parameters: Option<Parameters>,
}

impl Layout {
    /// What is known of release 2.`minor`.
    pub(super) fn of_release(minor: u32) -> Option<Layout> {
        let (_, _, count, masked, heap_head) =
            RELEASES.into_iter().find(|(from, to, ..)| (*from..=*to).contains(&minor))?;
        Some(Layout {
            arena: 0x898,
            fast_bins: 0x10,
            top: 0x60,
            bins: 0x70,
            next: 0x870,
            system_memory: 0x888,
            count,
            masked,
            heap_head,
            parameters: None,
        })
    }

    /// Bytes of a thread's cache as a chunk.
    pub(super) fn cache_chunk(&self) -> u64 {
        (CACHE_BINS * (self.count + 8) + 8).next_multiple_of(16)
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
        let (counts, count) = cache.field("counts")?.field_type.element()?;
        if count != Some(CACHE_BINS) || cache.field("entries")?.offset != CACHE_BINS * counts.size()? {
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
            fast_bins: offset("fastbinsY")?,
            top: offset("top")?,
            bins: offset("bins")?,
            next: offset("next")?,
            system_memory: offset("system_mem")?,
            count: counts.size()?,
            masked: release.masked,
            heap_head: heap.size()?,
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
        assert!(Layout::of_release(26).is_none() && Layout::of_release(42).is_none());
        let layout = Layout::of_release(36).unwrap();
        assert_eq!((layout.cache_chunk(), layout.heap_head), (0x290, 0x30));
        assert_eq!(Layout::of_release(28).unwrap().cache_chunk(), 0x250);
        assert_eq!(layout.link(Va(0x5000_1010), 0x5_0001 ^ 0x5000_2020), 0x5000_2020);
        // The first bin's head is the chunk whose links are the first two words of the array.
        assert_eq!(layout.bin(Va(0x1000), 1), Va(0x1060));
    }
}
