//! What an Outpost left in a process when all of its own processes were killed, and nobody is left who has its journal.
//!
//! Nothing presses then: the lifeline leads every thread on for as long as the process lives. But whoever attaches next would
//! stop at old sites and chain to an old handler, so this is cleaned away first. All of it is found in the process: the
//! lifeline by its code, its table has the sites with their pads and the program's own signal actions, and what the code of a
//! site was is in the program's file. A journal is written of that, which a rescue undoes as a dead worker's. What is not
//! understood in full is left as it is: another version's lifeline, sites in code that is no file's or whose file was
//! changed, watched pages.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use outpost_base::{AddressSpaceId, ProcessId, Va, VaRange};
use outpost_target::{JumpCode, Region, jump_data};

use super::{RescueReport, Rescuer, threads};
use crate::journal::{Journal, RegionKind, SharedJournal, create_shared};
use crate::lifeline::{CAPACITY, KernelSigaction, Lifeline, PAD_LEN, SIGNALS};
use crate::memory::ProcessMemory;
use crate::regions::read_regions;
use crate::remote_call::{Caller, has_frames};

/// The byte at a site that the lifeline knows.
const FAULT: u8 = 0xd6;
const JUMP: u8 = 0xe9;
const PAGE: u64 = 4096;
/// Longest instruction (Intel SDM vol. 2, 2.3.11).
const MAX_INSTRUCTION: u64 = 15;
/// Sessions whose remains are looked for in one process.
const MAX_SESSIONS: usize = 8;
/// How often, and after which pause, a rescue is taken up that could not be finished.
const RETRIES: u32 = 10;
const RETRY: Duration = Duration::from_millis(50);
/// Bytes around a site by which its file is known.
const AROUND: u64 = 32;

/// All that one session left.
struct Remains {
    lifeline: Lifeline,
    own: [KernelSigaction; 4],
    frames: Va,
    data: Option<Va>,
    pads: BTreeSet<Va>,
    /// Places with the bytes that were there and those that are.
    sites: Vec<(Va, Vec<u8>, Vec<u8>)>,
}

/// Cleans a process that nobody traces of what sessions left whose processes were killed, all of them; gives what was done
/// for each.
pub(crate) fn clean(process: ProcessId) -> Vec<RescueReport> {
    let mut reports = Vec::new();
    let Ok(memory) = ProcessMemory::open(process) else { return reports };
    while reports.len() < MAX_SESSIONS {
        let regions = read_regions(process, &[]).unwrap_or_default();
        let lifelines = lifelines(&regions, &memory);
        if lifelines.is_empty() || threads::is_anybodys(process) {
            return reports;
        }
        // One leads to those that were there before it.
        let is_led_to = |lifeline: &Lifeline| {
            let chained = |other: &Lifeline| other.read_own(&memory).iter().any(|own| lifeline.is_ours(*own));
            lifelines.iter().any(|other| other != lifeline && chained(other))
        };
        let Some(lifeline) = lifelines.iter().find(|lifeline| !is_led_to(lifeline)) else { return reports };
        let Some(remains) = Remains::find(*lifeline, &regions, &memory) else {
            tracing::warn!(%process, "what a killed debugger left in the process is not understood, and stays");
            return reports;
        };
        let Some(report) = remains.undo(process) else { return reports };
        tracing::info!(%process, %report, "what a killed debugger left in the process was undone");
        let is_done = !lifeline.is_there(&memory);
        reports.push(report);
        if !is_done {
            return reports;
        }
    }
    reports
}

fn lifelines(regions: &[Region], memory: &ProcessMemory) -> Vec<Lifeline> {
    let len = Va(Lifeline::len(CAPACITY)).align_up(PAGE).0;
    let may_be = |region: &&Region| is_code_of_nobody(region) && region.range.len() == len;
    let found = regions.iter().filter(may_be).map(|region| Lifeline { at: region.range.start, capacity: CAPACITY });
    found.filter(|lifeline| lifeline.is_there(memory)).collect()
}

fn is_private_of_no_file(region: &Region) -> bool {
    region.inode == 0 && region.name.is_empty() && !region.shared && region.read
}

fn is_code_of_nobody(region: &Region) -> bool {
    is_private_of_no_file(region) && region.execute && !region.write
}

fn is_data_of_nobody(region: &Region) -> bool {
    is_private_of_no_file(region) && region.write && !region.execute
}

fn page_of(at: Va) -> Va {
    at.align_down(PAGE)
}

impl Remains {
    fn find(lifeline: Lifeline, regions: &[Region], memory: &ProcessMemory) -> Option<Remains> {
        let entries = lifeline.read_entries(memory);
        let is_code = |at: Va| {
            let region = regions.iter().find(|region| region.range.contains(at));
            region.is_some_and(|region| is_code_of_nobody(region) && region.range.start != lifeline.at)
        };
        // Both ends of an entry may be in a pad.
        let ends = entries.iter().flat_map(|(from, to)| [*from, *to]);
        let mut pads: BTreeSet<Va> = ends.filter(|at| is_code(*at)).map(page_of).collect();
        let mut sites = Sites { entries: &entries, regions, memory, found: Vec::new() };
        let at_sites = || entries.iter().filter(|(site, _)| !is_code(*site));
        for (site, _) in at_sites() {
            if let Some(begin) = sites.look_for_jump(*site, |at| is_code(at) && has_near(&pads, at))? {
                // No entry tells of it, and it may be on a page of its own.
                pads.insert(page_of(begin));
            }
        }
        for (site, to) in at_sites() {
            sites.look_for_byte(*site, *to)?;
        }
        let places: Vec<Va> = at_sites().map(|(site, _)| *site).collect();
        let may_be_pads = |region: &&Region| is_code_of_nobody(region) && region.range.len() == PAGE;
        let former = regions.iter().filter(may_be_pads).map(|region| region.range.start);
        pads.extend(former.filter(|page| are_pads(memory, *page, &places)));
        let frames = regions.iter().find(|region| {
            let len = Va(Caller::place_len()).align_up(PAGE).0;
            is_data_of_nobody(region) && region.range.len() == len && has_frames(memory, region.range.start)
        })?;
        let may_be_data = |region: &&Region| is_data_of_nobody(region) && region.range.len() == jump_data::LEN;
        let data = regions.iter().filter(may_be_data).map(|region| region.range.start);
        let data = data.into_iter().find(|at| pads.iter().any(|page| refers_to(memory, *page, *at)));
        let own = lifeline.read_own(memory);
        Some(Remains { lifeline, own, frames: frames.range.start, data, pads, sites: sites.found })
    }

    fn undo(&self, process: ProcessId) -> Option<RescueReport> {
        let journal = create_shared().ok()?;
        let mut told = SharedJournal::open(journal.try_clone().ok()?, None).ok()?;
        told.process_joined(process, false);
        told.region_planned(process, self.frames, Va(Caller::place_len()).align_up(PAGE).0, RegionKind::Frames);
        let len = Va(Lifeline::len(CAPACITY)).align_up(PAGE).0;
        told.region_planned(process, self.lifeline.at, len, RegionKind::Lifeline);
        self.pads.iter().for_each(|page| told.region_planned(process, *page, PAGE, RegionKind::Pads));
        if let Some(data) = self.data {
            told.region_planned(process, data, jump_data::LEN, RegionKind::Data);
        }
        for (own, signal) in self.own.into_iter().zip(SIGNALS) {
            told.action_replaced(process, signal, own, Va(self.lifeline.action(own).handler));
        }
        for (at, original, present) in &self.sites {
            told.site_planned(AddressSpaceId(u64::from(process.0)), process, *at, original, present);
        }
        if told.lost() != 0 {
            return None;
        }
        let mut rescuer = Rescuer::new(journal);
        let report = rescuer.rescue();
        let mut tries = 0;
        while !rescuer.continue_rescue() && tries < RETRIES {
            tries += 1;
            std::thread::sleep(RETRY);
        }
        // This thread is to trace the process itself.
        rescuer.give_up();
        Some(report)
    }
}

/// Whether code on a page has an address as an operand of eight bytes.
fn refers_to(memory: &ProcessMemory, page: Va, data: Va) -> bool {
    let mut code = vec![0; PAGE as usize];
    let got = memory.read(page, &mut code);
    let head = VaRange::from_len(data, jump_data::RECORDS);
    code[..got]
        .windows(8)
        .any(|word| word.first_chunk().is_some_and(|word| head.contains(Va(u64::from_le_bytes(*word)))))
}

/// Whether all that is on a page are pads of these sites: the table has lost a pad when its site got a jump. Each is the
/// displaced instruction and a jump to what follows that.
fn are_pads(memory: &ProcessMemory, page: Va, sites: &[Va]) -> bool {
    let mut code = [0; PAGE as usize];
    if memory.read(page, &mut code) != code.len() {
        return false;
    }
    let leads_back = |at: Va, pad: &[u8]| {
        (0..=pad.len() - JumpCode::WINDOW).any(|offset| {
            let (jump, rest) = pad[offset..].split_at(JumpCode::WINDOW);
            let is_last = rest.iter().all(|byte| *byte == 0);
            let behind = |to: Va| sites.iter().any(|site| to > *site && to <= *site + MAX_INSTRUCTION);
            is_last && jump_target(at + offset as u64, jump).is_some_and(behind)
        })
    };
    let pads = code.chunks_exact(PAD_LEN as usize).enumerate();
    let mut pads = pads.map(|(index, pad)| (page + index as u64 * PAD_LEN, pad)).peekable();
    let mut count = 0;
    while let Some((at, pad)) = pads.next_if(|(_, pad)| pad.iter().any(|byte| *byte != 0)) {
        if !leads_back(at, pad) {
            return false;
        }
        count += 1;
    }
    count > 0 && pads.all(|(_, pad)| pad.iter().all(|byte| *byte == 0))
}

/// Whether `at` is on one of these pages, or on the one before.
fn has_near(pages: &BTreeSet<Va>, at: Va) -> bool {
    pages.contains(&page_of(at)) || pages.contains(&(page_of(at) + PAGE))
}

/// Where the jump at `at` leads, if there is one.
fn jump_target(at: Va, bytes: &[u8]) -> Option<Va> {
    let [JUMP, a, b, c, d] = *bytes else { return None };
    let distance = i32::from_le_bytes([a, b, c, d]);
    Some((at + JumpCode::WINDOW as u64).wrapping_offset(i64::from(distance)))
}

/// The places that an old lifeline's table tells of.
struct Sites<'a> {
    entries: &'a [(Va, Va)],
    regions: &'a [Region],
    memory: &'a ProcessMemory,
    found: Vec<(Va, Vec<u8>, Vec<u8>)>,
}

impl Sites<'_> {
    fn region(&self, at: Va) -> Option<&Region> {
        self.regions.iter().find(|region| region.range.contains(at))
    }

    /// Looks whether a jump of ours is at a place, and where it leads; `None`: there is, and what was there is not known.
    fn look_for_jump(&mut self, site: Va, is_pad: impl Fn(Va) -> bool) -> Option<Option<Va>> {
        let mut present = [0; JumpCode::WINDOW];
        let Some(region) = self.region(site).filter(|region| region.execute) else { return Some(None) };
        if self.memory.read(site, &mut present) != present.len() {
            return Some(None);
        }
        let Some(begin) = jump_target(site, &present).filter(|begin| is_pad(*begin)) else { return Some(None) };
        let original = self.of_file(region, site, JumpCode::WINDOW)?;
        self.found.push((site, original, present.to_vec()));
        Some(Some(begin))
    }

    /// Looks whether a byte of ours is at a place, which is not under a jump; `None`: it is, and what was there is not known.
    fn look_for_byte(&mut self, site: Va, to: Va) -> Option<()> {
        let is_under =
            |(at, _, present): &(Va, Vec<u8>, Vec<u8>)| VaRange::from_len(*at, present.len() as u64).contains(site);
        let Some(region) = self.region(site).filter(|_| !self.found.iter().any(is_under)) else { return Some(()) };
        if !region.execute {
            // A page that was watched, and is yet where the program may do less than it could.
            let (own, now) = (to.0, u64::from(crate::pages::protection_of(region)));
            let is_taken = page_of(site) == site && own < 8 && own & !now != 0;
            return (!is_taken).then_some(());
        }
        let mut present = [0];
        if self.memory.read(site, &mut present) == 1 && present[0] == FAULT {
            let original = if to.0 < 0x100 { vec![to.0 as u8] } else { self.of_file(region, site, 1)? };
            if original != [FAULT] {
                self.found.push((site, original, present.to_vec()));
            }
        }
        Some(())
    }

    /// What the file has that is mapped at `site`, if it is the one that was mapped.
    fn of_file(&self, region: &Region, site: Va, len: usize) -> Option<Vec<u8>> {
        if region.inode == 0 || region.shared {
            return None;
        }
        let process = self.memory.process();
        let file = File::open(format!("/proc/{process}/root{}", region.name)).ok()?;
        if file.metadata().ok()?.ino() != region.inode {
            return None;
        }
        let start = region.range.start.max(Va(site.0.saturating_sub(AROUND)));
        let end = region.range.end.min(site + AROUND);
        let mut ours = vec![0; (end - start) as usize];
        let mut theirs = ours.clone();
        file.read_exact_at(&mut theirs, region.file_offset + (start - region.range.start)).ok()?;
        if self.memory.read(start, &mut ours) != ours.len() {
            return None;
        }
        let is_known = |at: Va| {
            self.entries.iter().any(|(known, _)| VaRange::from_len(*known, JumpCode::WINDOW as u64).contains(at))
        };
        let differs = |(index, (one, other)): (usize, (&u8, &u8))| one != other && !is_known(start + index as u64);
        if ours.iter().zip(&theirs).enumerate().any(differs) {
            return None;
        }
        let at = (site - start) as usize;
        theirs.get(at..at + len).map(<[u8]>::to_vec)
    }
}
