//! Pads in a debuggee: where the displaced instructions stand, one for each site that ever was.
//!
//! A pad is never given to another site while its process lives, and stays known to the lifeline when its site is gone:
//! a thread that faulted just before that, or stands in the pad, goes on as it should.

use std::collections::BTreeMap;

use outpost_base::{Va, VaRange};
use outpost_target::{Fixup, FixupKind, PadCode};

/// Room for one pad; the bound that [`PadCode`] states.
pub(crate) const PAD_LEN: u64 = 64;
/// Bytes mapped at a time.
pub(super) const REGION_LEN: u64 = 4096;
/// Mappings of pads in one process: 32,768 sites.
pub(super) const MAX_REGIONS: usize = 512;
/// How far pads may be from their sites: what a displaced instruction refers to relative to rip is in reach of 2 GiB of
/// the site, and mostly much nearer.
pub(super) const REACH: u64 = 1 << 30;

/// `push imm32; mov dword ptr [rsp + 4], imm32`: how a pad begins that runs a call. See [`PadCode`].
const PUSH: u8 = 0x68;
const PUSH_LEN: u64 = 13;

/// Whether a thread `offset` bytes into a pad that begins with `first` has pushed the return address of a call.
pub(crate) fn has_pushed(first: u8, offset: u64) -> bool {
    first == PUSH && offset >= PUSH_LEN
}

/// The pads of one address space.
#[derive(Debug, Clone, Default)]
pub(super) struct Pads {
    /// Mappings with the number of pads taken in each.
    regions: Vec<(Va, u64)>,
    by_site: BTreeMap<Va, Pad>,
    /// Entries of the lifeline's table, of sites with and without pads.
    entries: BTreeMap<Va, u32>,
}

/// One pad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pad {
    pub(super) at: Va,
    pub(super) code: PadCode,
}

impl Pads {
    /// The pad of a site.
    pub(super) fn get(&self, site: Va) -> Option<&Pad> {
        self.by_site.get(&site)
    }

    /// The site whose pad holds `pc`, and the pad's start.
    pub(super) fn site_of(&self, pc: Va) -> Option<(Va, Va)> {
        if !self.contains(pc) {
            return None;
        }
        let pad = self.by_site.iter().find(|(_, pad)| VaRange::from_len(pad.at, PAD_LEN).contains(pc));
        pad.map(|(site, pad)| (*site, pad.at))
    }

    /// Whether `pc` is in any pad.
    pub(super) fn contains(&self, pc: Va) -> bool {
        self.regions.iter().any(|(at, _)| VaRange::from_len(*at, REGION_LEN).contains(pc))
    }

    /// The mappings.
    pub(super) fn regions(&self) -> impl Iterator<Item = Va> {
        self.regions.iter().map(|(at, _)| *at)
    }

    /// What of the mappings was ever given to a pad.
    pub(super) fn used(&self) -> impl Iterator<Item = VaRange> {
        self.regions.iter().map(|(at, taken)| VaRange::from_len(*at, taken * PAD_LEN)).filter(|used| !used.is_empty())
    }

    /// A free place for a pad of `site`, in a mapping that is there.
    pub(super) fn free_place(&self, site: Va) -> Option<Va> {
        let in_reach = |at: &Va| site.0.abs_diff(at.0).max(site.0.abs_diff(at.0 + REGION_LEN)) <= REACH;
        let free = self.regions.iter().find(|(at, taken)| *taken < REGION_LEN / PAD_LEN && in_reach(at));
        free.map(|(at, taken)| *at + taken * PAD_LEN)
    }

    /// Takes a new mapping into the table.
    pub(super) fn add_region(&mut self, at: Va) {
        self.regions.push((at, 0));
    }

    /// The same for one that a jump pad has for itself, or that holds nobody knows how many.
    pub(super) fn add_full_region(&mut self, at: Va) {
        self.regions.push((at, REGION_LEN / PAD_LEN));
    }

    /// Whether another mapping may be made.
    pub(super) fn may_grow(&self) -> bool {
        self.regions.len() < MAX_REGIONS
    }

    /// Takes the place that [`Pads::free_place`] gave. A former pad of the site stays where it is, for whoever is in it.
    pub(super) fn insert(&mut self, site: Va, pad: Pad) {
        if let Some((_, taken)) = self.regions.iter_mut().find(|(at, taken)| *at + *taken * PAD_LEN == pad.at) {
            *taken += 1;
        }
        self.by_site.insert(site, pad);
    }

    /// Takes the pad from a site, which goes without; whoever is in it goes on.
    pub(super) fn remove(&mut self, site: Va) {
        self.by_site.remove(&site);
    }

    /// Entries of the lifeline's table that are taken.
    pub(super) fn entries(&self) -> u32 {
        self.entries.len() as u32
    }

    /// The site's entry: its own, or the next free one.
    pub(super) fn entry_of(&self, site: Va) -> u32 {
        self.entries.get(&site).copied().unwrap_or(self.entries())
    }

    /// Gives an entry to a site for good.
    pub(super) fn take_entry(&mut self, site: Va, entry: u32) {
        self.entries.insert(site, entry);
    }
}

/// The bytes of a pad at its place; `None` if it does not fit or something it refers to is out of reach from there.
pub(super) fn pad_bytes(at: Va, code: &PadCode) -> Option<Vec<u8>> {
    if code.bytes.is_empty() || code.bytes.len() as u64 > PAD_LEN {
        return None;
    }
    bytes_at(at, &code.bytes, &code.fixups, None)
}

/// Code at its place; `None` if something it refers to is out of reach from there. `data` is the memory that pads share with
/// us, and where this pad's own words are.
pub(super) fn bytes_at(at: Va, code: &[u8], fixups: &[Fixup], data: Option<(Va, Va)>) -> Option<Vec<u8>> {
    let mut bytes = code.to_vec();
    for fixup in fixups {
        let start = usize::from(fixup.offset);
        match fixup.kind {
            FixupKind::Relative32 => {
                let field = bytes.get_mut(start..start + 4)?;
                let end = at + start as u64 + 4;
                let displacement = i32::try_from(fixup.destination.0.wrapping_sub(end.0) as i64).ok()?;
                field.copy_from_slice(&displacement.to_le_bytes());
            }
            FixupKind::Absolute64 => {
                bytes.get_mut(start..start + 8)?.copy_from_slice(&fixup.destination.0.to_le_bytes());
            }
            FixupKind::Data64 => bytes.get_mut(start..start + 8)?.copy_from_slice(&data?.0.0.to_le_bytes()),
            FixupKind::Cells64 => bytes.get_mut(start..start + 8)?.copy_from_slice(&data?.1.0.to_le_bytes()),
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixups_are_relative_to_their_end() {
        let code = PadCode {
            bytes: vec![0x90, 0xe9, 0, 0, 0, 0],
            fixups: vec![Fixup { offset: 2, kind: FixupKind::Relative32, destination: Va(0x40_1001) }],
            expected: vec![0x90],
        };
        let bytes = pad_bytes(Va(0x50_0000), &code).unwrap();
        assert_eq!(bytes, [&[0x90, 0xe9][..], &(0x40_1001_i32 - 0x50_0006).to_le_bytes()].concat());
        assert_eq!(pad_bytes(Va(0x7fff_0000_0000), &code), None, "out of reach");
        let mut damaged = code.clone();
        damaged.fixups[0].offset = 4;
        assert_eq!(pad_bytes(Va(0x50_0000), &damaged), None);
        damaged.bytes = vec![0; 65];
        assert_eq!(pad_bytes(Va(0x50_0000), &damaged), None);
    }

    #[test]
    fn each_site_has_a_place_of_its_own() {
        let mut pads = Pads::default();
        assert_eq!(pads.free_place(Va(0x40_0000)), None);
        pads.add_region(Va(0x30_0000));
        let code = PadCode { bytes: vec![0x90], fixups: Vec::new(), expected: vec![0x90] };
        for index in 0..64 {
            let at = pads.free_place(Va(0x40_0000)).unwrap();
            assert_eq!(at, Va(0x30_0000 + index * 64));
            let site = Va(0x40_0000 + index);
            pads.insert(site, Pad { at, code: code.clone() });
            pads.take_entry(site, pads.entry_of(site));
        }
        assert_eq!(pads.free_place(Va(0x40_0000)), None);
        assert_eq!(pads.site_of(Va(0x30_0047)), Some((Va(0x40_0001), Va(0x30_0040))));
        assert_eq!(pads.site_of(Va(0x40_0001)), None);
        assert_eq!(pads.entries(), 64);
        assert_eq!((pads.entry_of(Va(0x40_0001)), pads.entry_of(Va(0x50_0000))), (1, 64));
    }
}
