//! What is known of one address space's memory at one stop.

use std::collections::BTreeMap;

use outpost_base::{Va, VaRange};

/// Unit of fetching. Fetching a whole page costs what fetching a word does, and its neighbours are wanted next.
pub(crate) const PAGE: u64 = 4096;
/// Pages kept at most; beyond, all are forgotten. 64 MiB: large scans must not become the debugger's size.
const MAX_PAGES: usize = 16_384;
/// Ranges remembered as having been read, for the next stops' subscriptions.
const MAX_TOUCHED: usize = 256;
/// Stops for which they are: a loop that is stepped through reads at each round what it read at the last.
const REMEMBERED: u64 = 16;

/// Bytes known of one address space. Every byte is known, known to be unreadable, or not asked for yet.
#[derive(Debug, Default)]
pub(crate) struct MemoryCache {
    pages: BTreeMap<u64, Page>,
    /// Ranges read at the last stops, rounded to 64 bytes: their ends and when they were last read, by start.
    touched: BTreeMap<u64, (u64, u64)>,
    /// Stops so far.
    stops: u64,
}

#[derive(Debug)]
struct Page {
    bytes: Box<[u8; PAGE as usize]>,
    /// One bit per byte that is known.
    known: Box<[u64; PAGE as usize / 64]>,
    /// The whole page was asked for: what is not known is unreadable.
    complete: bool,
}

impl Page {
    fn new() -> Page {
        Page { bytes: Box::new([0; PAGE as usize]), known: Box::new([0; PAGE as usize / 64]), complete: false }
    }

    fn is_known(&self, offset: usize) -> bool {
        self.known[offset / 64] & (1 << (offset % 64)) != 0
    }

    /// Known bytes from `offset` on.
    fn known_run(&self, offset: usize) -> usize {
        let mut at = offset;
        while at < PAGE as usize && self.is_known(at) {
            // Whole words at once where possible.
            at += if at.is_multiple_of(64) && self.known[at / 64] == u64::MAX { 64 } else { 1 };
        }
        at - offset
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        for at in offset..offset + bytes.len() {
            self.known[at / 64] |= 1 << (at % 64);
        }
    }
}

/// What a look into the cache gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// So many leading bytes are there; the next one, if any was wanted, is unreadable.
    Known(usize),
    /// Pages (by address) that must be fetched to tell.
    Missing(Vec<Va>),
}

impl MemoryCache {
    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.pages.clear();
    }

    /// The ranges that were read at the last stops, merged, those first that were read last. To be called once a stop.
    pub(crate) fn take_touched(&mut self) -> Vec<VaRange> {
        self.stops += 1;
        let stops = self.stops;
        self.touched.retain(|_, (_, at)| stops - *at <= REMEMBERED);
        let mut merged: Vec<(u64, VaRange)> = Vec::new();
        for (&start, &(end, at)) in &self.touched {
            match merged.last_mut() {
                Some((last_at, last)) if start <= last.end.0 => {
                    last.end = last.end.max(Va(end));
                    *last_at = at.max(*last_at);
                }
                _ => merged.push((at, VaRange { start: Va(start), end: Va(end) })),
            }
        }
        merged.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        merged.into_iter().map(|(_, range)| range).collect()
    }

    /// Notes that `len` bytes at `at` were of interest.
    pub(crate) fn touch(&mut self, at: Va, len: u64) {
        let start = at.align_down(64).0;
        let end = Va(at.0.saturating_add(len)).align_up(64).0;
        if len == 0 || (self.touched.len() >= MAX_TOUCHED && !self.touched.contains_key(&start)) {
            return;
        }
        let known = self.touched.entry(start).or_default();
        *known = (known.0.max(end), self.stops);
    }

    /// Puts bytes that came from the target; nothing is concluded about what follows them.
    pub(crate) fn insert(&mut self, at: Va, bytes: &[u8]) {
        self.make_room(bytes.len());
        let mut done = 0;
        while done < bytes.len() {
            let here = at + done as u64;
            let offset = (here.0 % PAGE) as usize;
            let count = (bytes.len() - done).min(PAGE as usize - offset);
            let page = self.pages.entry(here.0 / PAGE).or_insert_with(Page::new);
            page.put(offset, &bytes[done..done + count]);
            done += count;
        }
    }

    /// Puts the answer to a fetch of the page at `at`: what it does not hold is unreadable.
    pub(crate) fn insert_page(&mut self, at: Va, bytes: &[u8]) {
        self.make_room(PAGE as usize);
        let page = self.pages.entry(at.0 / PAGE).or_insert_with(Page::new);
        page.put(0, &bytes[..bytes.len().min(PAGE as usize)]);
        page.complete = true;
    }

    /// Overwrites bytes that are known, after a write went through to the target.
    pub(crate) fn overwrite(&mut self, at: Va, bytes: &[u8]) {
        for (offset, byte) in bytes.iter().enumerate() {
            let here = at + offset as u64;
            if let Some(page) = self.pages.get_mut(&(here.0 / PAGE)) {
                page.put((here.0 % PAGE) as usize, std::slice::from_ref(byte));
            }
        }
    }

    /// Copies what is known at `at` into `buf`, or tells what to fetch.
    pub(crate) fn read(&self, at: Va, buf: &mut [u8]) -> Lookup {
        let mut done = 0;
        while done < buf.len() {
            let Some(here) = at.checked_add(done as u64) else { return Lookup::Known(done) };
            let offset = (here.0 % PAGE) as usize;
            let Some(page) = self.pages.get(&(here.0 / PAGE)) else { break };
            let want = (buf.len() - done).min(PAGE as usize - offset);
            let run = page.known_run(offset).min(want);
            buf[done..done + run].copy_from_slice(&page.bytes[offset..offset + run]);
            done += run;
            if run < want {
                if page.complete {
                    return Lookup::Known(done);
                }
                break;
            }
        }
        if done == buf.len() {
            return Lookup::Known(done);
        }
        let end = at.0.saturating_add(buf.len() as u64);
        let first = (at + done as u64).align_down(PAGE);
        let pages = (first.0 / PAGE)..end.div_ceil(PAGE);
        let is_complete = |page: &u64| self.pages.get(page).is_some_and(|page| page.complete);
        Lookup::Missing(pages.filter(|page| !is_complete(page)).map(|page| Va(page * PAGE)).collect())
    }

    fn make_room(&mut self, bytes: usize) {
        if self.pages.len() + bytes / PAGE as usize > MAX_PAGES {
            self.pages.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_blocks_are_used_and_the_rest_is_asked_for_by_page() {
        let mut cache = MemoryCache::default();
        cache.insert(Va(0x1ff0), &[7; 32]);
        let mut buf = [0; 32];
        assert_eq!(cache.read(Va(0x1ff0), &mut buf), Lookup::Known(32));
        assert_eq!(buf, [7; 32]);
        assert_eq!(cache.read(Va(0x2008), &mut buf), Lookup::Missing(vec![Va(0x2000)]));
        cache.insert_page(Va(0x2000), &[1; 0x10]);
        assert_eq!(cache.read(Va(0x2008), &mut buf), Lookup::Known(8), "behind the answer nothing is readable");
        assert_eq!(cache.read(Va(0x2010), &mut buf), Lookup::Known(0));
    }

    #[test]
    fn a_read_across_pages_asks_for_those_it_lacks() {
        let mut cache = MemoryCache::default();
        cache.insert_page(Va(0x2000), &[1; PAGE as usize]);
        let mut buf = vec![0; 0x2100];
        assert_eq!(cache.read(Va(0x1fff), &mut buf), Lookup::Missing(vec![Va(0x1000), Va(0x3000), Va(0x4000)]));
    }

    #[test]
    fn writes_change_only_what_is_known() {
        let mut cache = MemoryCache::default();
        cache.insert(Va(0x1000), &[1; 4]);
        cache.overwrite(Va(0x1002), &[9; 2]);
        let mut buf = [0; 4];
        assert_eq!(cache.read(Va(0x1000), &mut buf), Lookup::Known(4));
        assert_eq!(buf, [1, 1, 9, 9]);
        cache.overwrite(Va(0x9000), &[9; 2]);
        assert!(matches!(cache.read(Va(0x9000), &mut buf), Lookup::Missing(_)));
    }

    #[test]
    fn touched_ranges_merge_and_are_forgotten_after_some_stops() {
        let mut cache = MemoryCache::default();
        let range = |start, end| VaRange { start: Va(start), end: Va(end) };
        cache.touch(Va(0x1008), 8);
        cache.touch(Va(0x1040), 8);
        assert_eq!(cache.take_touched(), [range(0x1000, 0x1080)]);
        cache.touch(Va(0x3000), 1);
        assert_eq!(cache.take_touched(), [range(0x3000, 0x3040), range(0x1000, 0x1080)], "the last read come first");
        for _ in 2..REMEMBERED {
            assert_eq!(cache.take_touched().len(), 2);
        }
        assert_eq!(cache.take_touched(), [range(0x3000, 0x3040)]);
        cache.touch(Va(0x3000), 1);
        for _ in 0..REMEMBERED {
            assert_eq!(cache.take_touched().len(), 1);
        }
        assert_eq!(cache.take_touched(), []);
    }

    #[test]
    fn the_end_of_the_address_space_is_no_obstacle() {
        let mut cache = MemoryCache::default();
        cache.insert_page(Va(u64::MAX - 0xfff), &[3; PAGE as usize]);
        let mut buf = [0; 8];
        assert_eq!(cache.read(Va(u64::MAX - 1), &mut buf), Lookup::Known(2));
    }
}
