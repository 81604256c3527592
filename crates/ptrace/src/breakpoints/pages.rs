//! What is watched by the protection of pages in one address space, and which of the pages are taken from the program now.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use outpost_base::{ThreadId, Va, VaRange};
use outpost_target::{BreakpointId, HardwareAccess, Region};

use crate::memory::ProcessMemory;
use crate::pages::{PAGE, ProtectedPages, own_protection, protection_of};

/// Ranges of former watches that are remembered, for faults that were raised before they went.
const MAX_RETIRED: usize = 256;

/// A range that is watched.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) id: BreakpointId,
    pub(super) range: VaRange,
    /// Whether reads count, too.
    pub(super) reads: bool,
    /// Why no debug register holds it.
    because: &'static str,
    /// What was there when it was last looked at.
    seen: Vec<u8>,
}

/// All of an address space.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    watches: Vec<Watch>,
    /// Pages that have our protection now.
    pub(super) closed: Vec<ProtectedPages>,
    /// Threads in a system call that may touch a watched page: the pages are the program's while there are any.
    pub(super) callers: HashSet<ThreadId>,
    /// Those of them whose signal stack is not known yet.
    pub(super) unasked: HashSet<ThreadId>,
    /// First addresses of what the journal knows.
    pub(super) journaled: BTreeSet<Va>,
    /// The thread that executes one instruction with the pages open.
    pub(super) stepper: Option<ThreadId>,
    /// The other threads are held while one makes a call.
    pub(super) holding: bool,
    /// A change of protection is under way.
    pub(super) busy: bool,
    /// Why nothing is watched any more, for the user; empty while it is.
    pub(super) lost: String,
    /// Accesses and system calls that were stopped for it.
    pub(super) faults: u64,
    pub(super) calls: u64,
    retired: Vec<VaRange>,
    /// The program's own protection of the watched pages, when it was last looked at.
    own: BTreeMap<Va, u32>,
}

/// Which of two kinds of access is taken from a page.
fn left_to(own: u32, reads: bool) -> u32 {
    if reads { 0 } else { own & !(libc::PROT_WRITE as u32) }
}

impl Watch {
    pub(super) fn new(id: BreakpointId, range: VaRange, access: HardwareAccess, because: &'static str) -> Watch {
        Watch { id, range, reads: access == HardwareAccess::ReadWrite, because, seen: Vec::new() }
    }

    fn pages(&self) -> VaRange {
        VaRange { start: self.range.start.align_down(PAGE), end: self.range.end.align_up(PAGE) }
    }
}

impl Pages {
    /// First addresses of what the journal knows.
    pub(crate) fn journaled(&self) -> impl Iterator<Item = Va> {
        self.journaled.iter().copied()
    }

    /// Whether system calls and faults are to be looked at.
    pub(crate) fn is_used(&self) -> bool {
        !self.watches.is_empty() || !self.closed.is_empty()
    }

    /// Whether the pages shall be taken from the program now.
    pub(super) fn shall_be_closed(&self) -> bool {
        !self.watches.is_empty() && self.callers.is_empty() && self.stepper.is_none() && self.lost.is_empty()
    }

    pub(super) fn is_closed(&self) -> bool {
        !self.closed.is_empty()
    }

    pub(super) fn watches(&self) -> &[Watch] {
        &self.watches
    }

    /// Adds one. To be called while the pages are open.
    pub(super) fn add(&mut self, mut watch: Watch, memory: &ProcessMemory) {
        watch.seen = content(memory, watch.range);
        self.watches.push(watch);
        self.lost.clear();
    }

    /// Removes one; `None`: all. To be called while the pages are open. Gives the pages that nobody watches any more.
    pub(super) fn remove(&mut self, id: Option<BreakpointId>) -> Vec<Va> {
        let before = self.page_addresses();
        let gone = self.watches.extract_if(.., |watch| id.is_none_or(|id| id == watch.id));
        self.retired.extend(gone.map(|watch| watch.pages()));
        let excess = self.retired.len().saturating_sub(MAX_RETIRED);
        self.retired.drain(..excess);
        let after = self.page_addresses();
        before.into_keys().filter(|page| !after.contains_key(page)).collect()
    }

    pub(super) fn has(&self, id: BreakpointId) -> bool {
        self.watches.iter().any(|watch| watch.id == id)
    }

    /// Each page that is watched, and whether reads count there.
    fn page_addresses(&self) -> BTreeMap<Va, bool> {
        let mut pages = BTreeMap::new();
        for watch in &self.watches {
            let Watch { reads, .. } = watch;
            let range = watch.pages();
            let mut page = range.start;
            while page < range.end {
                *pages.entry(page).or_default() |= reads;
                page += PAGE;
            }
        }
        pages
    }

    /// The watched pages whose protection the program has changed since this was last asked, with the new one. To be called
    /// while the pages are open.
    pub(super) fn own_changed(&mut self, mapped: &[Region]) -> Vec<(Va, u32)> {
        let now: BTreeMap<Va, u32> =
            self.page_addresses().into_keys().map(|page| (page, own_protection(mapped, page))).collect();
        let before = std::mem::replace(&mut self.own, now);
        let is_other = |(page, own): &(&Va, &u32)| before.get(page).is_some_and(|before| before != *own);
        self.own.iter().filter(is_other).map(|(page, own)| (*page, *own)).collect()
    }

    /// What has to be protected, of what is mapped now.
    pub(super) fn to_close(&self, mapped: &[Region]) -> Vec<ProtectedPages> {
        let mut pieces: Vec<ProtectedPages> = Vec::new();
        for (page, reads) in self.page_addresses() {
            let Some(region) = mapped.iter().find(|region| region.range.contains(page)) else { continue };
            let own = protection_of(region);
            let ours = left_to(own, reads);
            if own == ours {
                continue;
            }
            match pieces.last_mut() {
                Some(last) if last.range.end == page && (last.own, last.ours) == (own, ours) => last.range.end += PAGE,
                _ => pieces.push(ProtectedPages { range: VaRange::from_len(page, PAGE), own, ours }),
            }
        }
        pieces
    }

    /// Whether a page at `at` is watched.
    pub(super) fn covers(&self, at: Va) -> bool {
        self.watches.iter().any(|watch| watch.pages().contains(at))
            || self.closed.iter().any(|piece| piece.range.contains(at))
    }

    /// Whether any of `range` is in a page that is watched.
    pub(crate) fn overlaps(&self, range: VaRange) -> bool {
        self.watches.iter().any(|watch| watch.pages().overlaps(range))
            || self.closed.iter().any(|piece| piece.range.overlaps(range))
    }

    /// Whether any of `range` is taken from the program now.
    pub(super) fn overlaps_closed(&self, range: VaRange) -> bool {
        self.closed.iter().any(|piece| piece.range.overlaps(range))
    }

    /// Whether a page at `at` was watched.
    pub(super) fn were_at(&self, at: Va) -> bool {
        self.retired.iter().any(|range| range.contains(at))
    }

    /// The watches whose bytes changed since this was last asked.
    pub(super) fn changed(&mut self, memory: &ProcessMemory) -> Vec<BreakpointId> {
        let mut changed = Vec::new();
        for watch in &mut self.watches {
            let now = content(memory, watch.range);
            if now != watch.seen {
                watch.seen = now;
                changed.push(watch.id);
            }
        }
        changed
    }

    /// What the user is told of one.
    pub(super) fn remark(&self, id: BreakpointId) -> String {
        let Some(watch) = self.watches.iter().find(|watch| watch.id == id) else { return String::new() };
        let because = watch.because;
        match self.lost.as_str() {
            "" => format!("{because}; {} accesses and {} system calls stopped for it", self.faults, self.calls),
            lost => format!("{because}; not watched any more: {lost}"),
        }
    }
}

fn content(memory: &ProcessMemory, range: VaRange) -> Vec<u8> {
    let mut bytes = vec![0; range.len() as usize];
    let count = memory.read(range.start, &mut bytes);
    bytes.truncate(count);
    bytes
}

#[cfg(test)]
mod tests {
    use outpost_target::RegionUsage;

    use super::*;

    fn region(start: u64, end: u64, write: bool) -> Region {
        Region {
            range: VaRange { start: Va(start), end: Va(end) },
            read: true,
            write,
            execute: false,
            shared: false,
            file_offset: 0,
            device: 0,
            inode: 0,
            name: String::new(),
            usage: RegionUsage::Unknown,
        }
    }

    #[test]
    fn pieces_are_as_strict_as_the_strictest_watch_and_no_longer_than_mappings() {
        let mut pages = Pages::default();
        let mut add = |id, start, len, access| {
            let range = VaRange::from_len(Va(start), len);
            pages.watches.push(Watch::new(BreakpointId(id), range, access, "for a test"));
        };
        add(1, 0x1ffe, 4, HardwareAccess::Write);
        add(2, 0x2800, 8, HardwareAccess::ReadWrite);
        add(3, 0x4000, 0x2000, HardwareAccess::Write);
        let mapped = [region(0x1000, 0x3000, true), region(0x4000, 0x5000, true), region(0x5000, 0x6000, false)];
        let piece =
            |start, end, ours| ProtectedPages { range: VaRange { start: Va(start), end: Va(end) }, own: 3, ours };
        assert_eq!(
            pages.to_close(&mapped),
            [piece(0x1000, 0x2000, 1), piece(0x2000, 0x3000, 0), piece(0x4000, 0x5000, 1)],
            "what cannot be written anyway is left alone"
        );
        assert!(pages.covers(Va(0x1000)) && pages.covers(Va(0x2fff)) && !pages.covers(Va(0x3000)));
        assert_eq!(pages.remove(Some(BreakpointId(2))), [], "another one needs the page");
        assert_eq!(pages.to_close(&mapped)[0], piece(0x1000, 0x3000, 1));
        assert_eq!(pages.remove(Some(BreakpointId(1))), [Va(0x1000), Va(0x2000)]);
        assert!(pages.were_at(Va(0x2004)) && !pages.covers(Va(0x2004)));
    }
}
