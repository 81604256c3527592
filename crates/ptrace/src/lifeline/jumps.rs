//! Jump pads: where the condition of a hot site runs in the debuggee itself.
//!
//! A jump (`jmp rel32`, 5 bytes) stands in place of the instructions at the site. It may cover the beginnings of several,
//! and nobody can know that none of them is jumped to, or is where a thread returns to. So each covered beginning is made
//! a byte that faults, like a site: the pad is put where the jump's distance has that byte there. (The idea is
//! instruction punning: B. Chamith and others, PLDI 2017.) Whoever comes to one is led on, by the tracer or the
//! lifeline, to that instruction's copy in the pad.

use outpost_base::{Va, VaRange};
use outpost_target::jump_data::cells_of;
use outpost_target::{JumpCode, Region};
use rustix::io::Errno;

use super::data::PadLog;
use super::gaps::is_free;
use super::installed::{Installed, NotSafe, SIGNALS, action, map_at, set_action};
use super::pads::{REACH, REGION_LEN, bytes_at};
use crate::journal::{Journal, RegionKind};
use crate::remote_call::Caller;

/// Jump pads of one process. Each takes one or two pages.
const MAX_JUMPS: usize = outpost_target::jump_data::PADS as usize;
/// Steps between two places that are tried, where nothing asks for a certain one.
const STRIDE: usize = 0x40;
/// One-byte opcodes that are undefined in 64-bit mode (Intel SDM vol. 2, appendix A, table A-2), and no prefix.
const FAULTS: [u8; 16] =
    [0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x60, 0x61, 0xce, 0xd6, 0xea];
/// What is left to the heap where there is no place out of its way: without it, allocators turn to mmap.
const HEAP_GROWTH: u64 = 256 << 20;

/// A jump pad in a debuggee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Jump {
    /// Where the jump is, or was.
    pub(crate) site: Va,
    /// First byte of the pad.
    pub(crate) at: Va,
    code: JumpCode,
    /// The number of its words in what pads share with us, if it has some.
    pad: Option<u64>,
    log: Option<PadLog>,
}

impl Jump {
    /// The number of its words.
    pub(crate) fn pad(&self) -> Option<u64> {
        self.pad
    }

    /// Whose records it writes.
    pub(crate) fn log(&self) -> Option<&PadLog> {
        self.log.as_ref()
    }

    /// What the pad was made of.
    pub(crate) fn code(&self) -> &JumpCode {
        &self.code
    }

    /// Where a thread traps whose condition is true, with everything as at the site.
    pub(crate) fn trap(&self) -> Va {
        self.at + u64::from(self.code.trap)
    }

    /// Where a thread goes on that faulted at `pc`, to come to the trap.
    pub(crate) fn exit_of(&self, pc: Va) -> Option<Va> {
        let exit = self.code.exits.iter().find(|exit| self.at + u64::from(exit.at) == pc);
        exit.map(|exit| self.at + u64::from(exit.seen))
    }

    /// The displaced instructions' places at the site and in the pad.
    pub(crate) fn copies(&self) -> impl DoubleEndedIterator<Item = (Va, Va)> {
        let place = |copy: &outpost_target::DisplacedCopy| {
            (self.site + u64::from(copy.site_offset), self.at + u64::from(copy.pad_offset))
        };
        self.code.copies.iter().map(place)
    }

    /// The displaced instruction whose copy holds `pc`: its address and its copy's.
    pub(crate) fn displaced_at(&self, pc: Va) -> Option<(Va, Va)> {
        self.copies().rev().find(|(_, copy)| *copy <= pc)
    }

    /// The address at which a thread with this pc in the pad really is: one that has done nothing yet of what stands there. And
    /// whether the pad has decided about its hit there, and written it down.
    pub(crate) fn place_of(&self, pc: Va) -> Option<(Va, bool)> {
        if pc == self.at || pc == self.trap() {
            return Some((self.site, false));
        }
        self.copies().find(|(_, copy)| *copy == pc).map(|(site, _)| (site, site == self.site))
    }

    /// The bytes of the jump.
    pub(crate) fn bytes(&self) -> [u8; JumpCode::WINDOW] {
        jump_bytes(self.site, self.at)
    }

    /// All of it.
    pub(super) fn range(&self) -> VaRange {
        VaRange::from_len(self.at, self.code.bytes.len() as u64)
    }
}

/// `jmp rel32` from `site` to `at`.
fn jump_bytes(site: Va, at: Va) -> [u8; JumpCode::WINDOW] {
    let distance = at.0.wrapping_sub(site.0 + JumpCode::WINDOW as u64) as u32;
    let [a, b, c, d] = distance.to_le_bytes();
    [0xe9, a, b, c, d]
}

/// The place nearest to `site` for a pad of `code`.
fn find_place(regions: &[Region], site: Va, code: &JumpCode) -> Option<Va> {
    // Values that each byte of the distance may have.
    let mut choices: [Vec<u8>; 4] = std::array::from_fn(|byte| match byte {
        0 => vec![0],
        1 => (0..=255).step_by(STRIDE).map(|value| value as u8).collect(),
        _ => (0..=255).collect(),
    });
    for copy in code.copies.iter().skip(1) {
        if let Some(byte) = choices.get_mut(usize::from(copy.site_offset) - 1) {
            *byte = FAULTS.to_vec();
        }
    }
    let from = site.0 + JumpCode::WINDOW as u64;
    let len = code.bytes.len() as u64;
    let mut upper: Vec<[u8; 2]> =
        choices[3].iter().flat_map(|top| choices[2].iter().map(|next| [*next, *top])).collect();
    let distance = |upper: &[u8; 2]| i64::from(i32::from_le_bytes([0, 0, upper[0], upper[1]]));
    upper.sort_unstable_by_key(|upper| distance(upper).unsigned_abs());
    let lower = || choices[1].iter().flat_map(|next| choices[0].iter().map(|low| [*low, *next]));
    let places = || {
        upper.iter().flat_map(|upper| {
            let begin = from.wrapping_add_signed(distance(upper));
            lower().map(move |lower| Va(begin.saturating_add(u64::from(u16::from_le_bytes(lower)))))
        })
    };
    let fits = |at: &Va, growth: u64| {
        let end = Va(at.0.saturating_add(len)).align_up(REGION_LEN);
        let pages = VaRange { start: Va(at.0 & !(REGION_LEN - 1)), end };
        at.0.abs_diff(site.0) <= REACH
            && is_free(regions, pages, growth)
            && bytes_at(*at, &code.bytes, &code.fixups, Some((Va(0), Va(0)))).is_some()
    };
    [u64::MAX, HEAP_GROWTH].into_iter().find_map(|growth| places().find(|at| fits(at, growth)))
}

impl Installed {
    /// Puts a jump pad for `site` into the caller's process, where nothing leads to it yet. One that is there is kept. `log` is what
    /// it writes down.
    ///
    /// # Errors
    /// Why there can be none.
    pub(crate) fn add_jump(
        &mut self,
        site: Va,
        code: &JumpCode,
        log: Option<PadLog>,
        mut caller: Caller<'_>,
        regions: &[Region],
        journal: &mut dyn Journal,
    ) -> Result<Jump, NotSafe> {
        if let Some(known) =
            self.jumps.iter().find(|known| known.site == site && known.code == *code && known.log == log)
        {
            return Ok(known.clone());
        }
        let needed = code.copies.len() + code.exits.len() + 1;
        if self.jumps.len() >= MAX_JUMPS
            || !journal.has_room()
            || self.pads.entries() + needed as u32 > self.lifeline.capacity
        {
            return Err(NotSafe::Full);
        }
        caller.move_to(self.frames);
        self.take_faults(&caller, journal)?;
        let pad = code.needs_data().then_some(self.jumps.len() as u64);
        let mut changed = Vec::new();
        let data = match pad {
            Some(pad) => {
                let data = self.data_for(&caller, regions, journal)?;
                changed = crate::regions::read_regions(caller.process(), &[]).unwrap_or_default();
                Some((data, data + cells_of(pad)))
            }
            None => None,
        };
        let regions = if changed.is_empty() { regions } else { &changed };
        let at = find_place(regions, site, code).ok_or(NotSafe::NoRoom)?;
        let bytes = bytes_at(at, &code.bytes, &code.fixups, data).ok_or(NotSafe::OutOfReach)?;
        let mut page = Va(at.0 & !(REGION_LEN - 1));
        while page.0 < at.0 + bytes.len() as u64 {
            map_at(&caller, page, REGION_LEN, RegionKind::Pads, journal)?;
            self.pads.add_full_region(page);
            page += REGION_LEN;
        }
        let jump = Jump { site, at, code: code.clone(), pad, log };
        let mut writes = vec![(at, bytes)];
        let unseen = code.exits.iter().map(|exit| (at + u64::from(exit.at), at + u64::from(exit.unseen)));
        let displaced = jump.copies().next().map_or(at, |(_, copy)| copy);
        let entries = jump.copies().chain(unseen).chain([(jump.trap(), displaced)]);
        for (from, to) in entries {
            let entry = self.pads.entry_of(from);
            let count = self.pads.entries().max(entry + 1);
            writes.extend(self.lifeline.fill_entry(entry, count, from, to));
            self.pads.take_entry(from, entry);
        }
        for (at, bytes) in writes {
            if caller.memory().write(at, &bytes) != bytes.len() {
                return Err(NotSafe::Refused("code written from outside", Errno::IO));
            }
        }
        self.jumps.push(jump.clone());
        Ok(jump)
    }

    /// Makes the lifeline the action for the signals of faults of memory.
    pub(super) fn take_faults(&mut self, caller: &Caller<'_>, journal: &mut dyn Journal) -> Result<(), NotSafe> {
        while self.taken < SIGNALS.len() {
            let (index, signal) = (self.taken, SIGNALS[self.taken]);
            self.own[index] = action(caller, signal)?;
            let (at, bytes) = self.lifeline.own_action(index, self.own[index]);
            if caller.memory().write(at, &bytes) != bytes.len() {
                return Err(NotSafe::Refused("code written from outside", Errno::IO));
            }
            let ours = self.lifeline.action(self.own[index]);
            journal.action_replaced(caller.process(), signal, self.own[index], Va(ours.handler));
            self.taken += 1;
            set_action(caller, signal, ours)?;
        }
        Ok(())
    }

    /// The jump pad that the jump with these bytes at `site` leads to.
    pub(crate) fn jump_of(&self, site: Va, bytes: [u8; JumpCode::WINDOW]) -> Option<&Jump> {
        self.jumps.iter().find(|jump| jump.site == site && jump.bytes() == bytes)
    }

    /// The jump pad, in use or not any more, that holds `pc`.
    pub(crate) fn jump_at(&self, pc: Va) -> Option<&Jump> {
        self.jumps.iter().find(|jump| jump.range().contains(pc))
    }
}

#[cfg(test)]
mod tests {
    use outpost_target::{DisplacedCopy, RegionUsage};

    use super::super::gaps::tests::region;
    use super::*;

    fn code(beginnings: &[u8]) -> JumpCode {
        let copy = |(index, site_offset): (usize, &u8)| DisplacedCopy {
            site_offset: *site_offset,
            pad_offset: 10 + index as u16,
        };
        let mut bytes = vec![0x90; 100];
        bytes[5] = JumpCode::TRAP;
        let copies = beginnings.iter().enumerate().map(copy).collect();
        JumpCode { bytes, fixups: Vec::new(), expected: vec![0x90; 8], trap: 5, exits: Vec::new(), copies }
    }

    fn regions(start: u64) -> Vec<Region> {
        vec![
            region(start, start + 0x10_0000, false, RegionUsage::Image),
            region(start + 0x10_0000, start + 0x80_0000, true, RegionUsage::Heap),
        ]
    }

    /// Every covered beginning is a byte that faults, wherever beginnings are.
    #[test]
    fn covered_beginnings_fault() {
        covered_beginnings_fault_at(Va(0x5555_5556_0123), &regions(0x5555_5555_4000));
        // A program that is not position-independent: no place is below it, and the heap is above.
        covered_beginnings_fault_at(Va(0x40_0123), &regions(0x40_0000));
        // The same with a heap that begins up to 1 GiB higher (arch/x86/kernel/process.c, arch_randomize_brk).
        for distance in [32 << 20, 100 << 20, 300 << 20, 700 << 20, 1020 << 20] {
            let mut regions = regions(0x40_0000);
            regions[1].usage = RegionUsage::Image;
            let start = regions[1].range.end + distance;
            let heap =
                Region { range: VaRange::from_len(start, 0x2_1000), usage: RegionUsage::Heap, ..regions[1].clone() };
            regions.push(heap);
            covered_beginnings_fault_at(Va(0x40_0123), &regions);
        }
    }

    fn covered_beginnings_fault_at(site: Va, regions: &[Region]) {
        for pattern in 0_u8..16 {
            let beginnings: Vec<u8> =
                std::iter::once(0).chain((1..5).filter(|at| pattern >> (at - 1) & 1 == 1)).collect();
            let code = code(&beginnings);
            let at = find_place(regions, site, &code).unwrap();
            let bytes = jump_bytes(site, at);
            for beginning in &beginnings[1..] {
                assert!(FAULTS.contains(&bytes[usize::from(*beginning)]), "{beginnings:?}");
            }
            let distance = i32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
            assert_eq!((site + 5).wrapping_offset(i64::from(distance)), at);
            let pages = VaRange { start: Va(at.0 & !4095), end: (at + 100).align_up(4096) };
            assert!(regions.iter().all(|region| region.range.end <= pages.start || region.range.start >= pages.end));
        }
    }

    #[test]
    fn a_pc_in_the_pad_is_one_at_the_site() {
        let jump = Jump { site: Va(0x1000), at: Va(0x8000), code: code(&[0, 1, 4]), pad: None, log: None };
        assert_eq!(jump.place_of(Va(0x8000)), Some((Va(0x1000), false)));
        assert_eq!(jump.place_of(Va(0x8005)), Some((Va(0x1000), false)));
        assert_eq!(jump.place_of(Va(0x800a)), Some((Va(0x1000), true)));
        assert_eq!(jump.place_of(Va(0x800b)), Some((Va(0x1001), false)));
        assert_eq!(jump.place_of(Va(0x8003)), None);
        assert_eq!(jump.displaced_at(Va(0x800f)), Some((Va(0x1004), Va(0x800c))));
        assert_eq!(jump.displaced_at(Va(0x8004)), None);
    }
}
