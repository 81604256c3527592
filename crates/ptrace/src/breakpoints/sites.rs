//! Changed bytes of one address space.

use std::collections::BTreeMap;

use outpost_base::{ThreadId, Va, VaRange};
use outpost_target::{BreakpointId, JumpCode};

use super::emulate::{self, Instruction};
use crate::memory::ProcessMemory;

/// `int3`: a thread stops behind it.
pub(crate) const TRAP: u8 = 0xcc;
/// Undefined in 64-bit mode (Intel SDM vol. 2, appendix A, table A-2): a thread faults at it, so that nothing but the byte
/// has to be put right, and the lifeline can lead it on.
pub(crate) const FAULT: u8 = 0xd6;
/// Longest instruction, so that a site knows the whole one it displaces.
pub(crate) const MAX_INSTRUCTION: usize = 15;

/// Who wants a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A breakpoint of the client.
    Client(BreakpointId),
    /// A thread that carries out a step plan; others pass.
    Stepping(ThreadId),
    /// The tracer, to see modules come and go.
    Loader,
    /// The jump at this address, which covers the beginning of an instruction here.
    Jump(Va),
}

/// One changed byte.
#[derive(Debug)]
pub(crate) struct Site {
    /// What was there.
    pub(crate) original: u8,
    /// What is there instead: [`FAULT`] where the lifeline knows the site, else [`TRAP`]. Under a jump another byte that
    /// faults.
    pub(crate) trap: u8,
    pub(crate) owners: Vec<Owner>,
    /// The displaced instruction, if it can be emulated.
    pub(crate) instruction: Option<Instruction>,
    /// Why a thread that hits it may die with the server, for the user; empty if it does not.
    pub(crate) unsafe_because: String,
    /// Whether the trap is in memory now; not while a thread steps over it.
    pub(crate) planted: bool,
    /// Hits that a condition has found not to count.
    pub(crate) misses: u32,
    /// Why the condition is not looked at in a jump pad, for the user.
    pub(crate) no_jump: String,
}

/// A site that was removed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retired {
    pub(crate) original: u8,
    pub(crate) trap: u8,
}

/// All changed bytes of an address space.
#[derive(Debug, Default)]
pub(crate) struct Sites {
    sites: BTreeMap<Va, Site>,
    /// Jumps in place of the code at sites, with what they replace.
    jumps: BTreeMap<Va, Covered>,
}

/// Code that a jump covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Covered {
    pub(crate) original: [u8; JumpCode::WINDOW],
    pub(crate) jump: [u8; JumpCode::WINDOW],
}

impl Sites {
    /// The site at `at`.
    pub(crate) fn get(&self, at: Va) -> Option<&Site> {
        self.sites.get(&at)
    }

    /// The site at `at`.
    pub(crate) fn get_mut(&mut self, at: Va) -> Option<&mut Site> {
        self.sites.get_mut(&at)
    }

    /// The jump at `at`.
    pub(crate) fn jump(&self, at: Va) -> Option<Covered> {
        self.jumps.get(&at).copied()
    }

    /// All jumps, ascending.
    pub(crate) fn jumps(&self) -> impl Iterator<Item = (Va, Covered)> {
        self.jumps.iter().map(|(at, covered)| (*at, *covered))
    }

    /// Jumps that cover any of a range.
    pub(crate) fn jumps_over(&self, range: VaRange) -> Vec<Va> {
        let covers = |at: &&Va| **at < range.end && **at + JumpCode::WINDOW as u64 > range.start;
        self.jumps.keys().filter(covers).copied().collect()
    }

    /// Whether there are sites, or jumps, in a range.
    pub(crate) fn is_free(&self, range: VaRange) -> bool {
        self.sites.range(range.start..range.end).next().is_none() && self.jumps_over(range).is_empty()
    }

    /// Notes a jump over the code at the site `at`. Each other covered beginning of an instruction becomes a site of the jump's.
    pub(crate) fn cover(&mut self, at: Va, covered: Covered, beginnings: impl Iterator<Item = Va>, code: &[u8]) {
        self.jumps.insert(at, covered);
        for beginning in beginnings.filter(|beginning| *beginning != at) {
            let offset = (beginning - at) as usize;
            let site = Site {
                original: covered.original[offset],
                trap: covered.jump[offset],
                owners: vec![Owner::Jump(at)],
                instruction: code.get(offset..).and_then(emulate::decode),
                unsafe_because: String::new(),
                planted: true,
                misses: 0,
                no_jump: String::new(),
            };
            self.sites.insert(beginning, site);
        }
    }

    /// Forgets a jump and its sites.
    pub(crate) fn uncover(&mut self, at: Va) -> Option<Covered> {
        self.sites.retain(|_, site| !site.owners.contains(&Owner::Jump(at)));
        self.jumps.remove(&at)
    }

    /// All sites, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Va, &Site)> {
        self.sites.iter().map(|(at, site)| (*at, site))
    }

    /// A site for `owner`, about to be planted: reads what is there. `None` if it cannot be read.
    pub(crate) fn prepare(&self, at: Va, owner: Owner, memory: &ProcessMemory) -> Option<Site> {
        let mut code = [0; MAX_INSTRUCTION];
        let count = memory.read(at, &mut code);
        let code = code.get_mut(..count).filter(|code| !code.is_empty())?;
        self.hide(at, code);
        let instruction = emulate::decode(code);
        Some(Site {
            original: code[0],
            trap: TRAP,
            owners: vec![owner],
            instruction,
            unsafe_because: String::new(),
            planted: false,
            misses: 0,
            no_jump: String::new(),
        })
    }

    /// Takes a site into the table.
    pub(crate) fn insert(&mut self, at: Va, site: Site) {
        self.sites.insert(at, site);
    }

    /// Takes a site out of the table.
    pub(crate) fn remove(&mut self, at: Va) -> Option<Site> {
        self.sites.remove(&at)
    }

    /// Puts original bytes in the place of traps in `bytes`, read at `at`.
    pub(crate) fn hide(&self, at: Va, bytes: &mut [u8]) {
        if self.sites.is_empty() {
            return;
        }
        let reach = Va(at.0.saturating_sub(JumpCode::WINDOW as u64));
        for (jump_at, covered) in self.jumps.range(reach..end_of(at, bytes)) {
            for (index, original) in covered.original.iter().enumerate() {
                let place =
                    (*jump_at + index as u64).0.checked_sub(at.0).and_then(|offset| usize::try_from(offset).ok());
                if let Some(byte) = place.and_then(|offset| bytes.get_mut(offset)) {
                    *byte = *original;
                }
            }
        }
        for (site_at, site) in self.sites.range(at..end_of(at, bytes)) {
            let place = usize::try_from(*site_at - at).ok().and_then(|offset| bytes.get_mut(offset));
            if let Some(byte) = place.filter(|_| site.planted) {
                *byte = site.original;
            }
        }
    }

    /// `bytes` as they must be written at `at` to leave the traps in, and the originals changed under them.
    pub(crate) fn write_under(&mut self, at: Va, bytes: &[u8]) -> Vec<u8> {
        let mut written = bytes.to_vec();
        let end = end_of(at, bytes);
        // What a site displaces is no longer what was decoded, even if only the instruction's tail changed.
        for (site_at, site) in self.sites.range_mut(Va(at.0.saturating_sub(MAX_INSTRUCTION as u64))..end) {
            if site.instruction.is_some_and(|known| *site_at + u64::from(known.len) > at) {
                site.instruction = None;
            }
        }
        for (site_at, site) in self.sites.range_mut(at..end) {
            let place = usize::try_from(*site_at - at).ok().and_then(|offset| written.get_mut(offset));
            if let Some(byte) = place.filter(|_| site.planted) {
                site.original = *byte;
                *byte = site.trap;
            }
        }
        written
    }
}

fn end_of(at: Va, bytes: &[u8]) -> Va {
    Va(at.0.saturating_add(bytes.len() as u64))
}

impl Site {
    /// Whether a thread faults here, and stands at the site then.
    pub(crate) fn faults(&self) -> bool {
        self.trap != TRAP
    }

    /// What is remembered of it when it is gone.
    pub(crate) fn retire(&self) -> Retired {
        Retired { original: self.original, trap: self.trap }
    }

    /// Whether `owner` wants it.
    pub(crate) fn is_owned_by(&self, owner: Owner) -> bool {
        self.owners.contains(&owner)
    }

    /// Whether a breakpoint of the client is here.
    pub(crate) fn has_client(&self) -> bool {
        self.owners.iter().any(|owner| matches!(owner, Owner::Client(_)))
    }
}
