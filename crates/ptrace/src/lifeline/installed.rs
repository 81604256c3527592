//! A lifeline in a debuggee: put there, filled, kept, and taken away again without trace.
//!
//! What is mapped, in this order, each told to the journal ahead: room for frames of calls (read and write), the
//! lifeline (read and execute), pads as sites come (read and execute). Code is filled from outside.

use outpost_base::{ProcessId, Va, VaRange};
use outpost_target::{PadCode, Region, RegionUsage};
use rustix::io::Errno;

use super::gaps::{find_gap, unlike_numbers};
use super::jumps::Jump;
use super::pads::{self, Pad, Pads};
use super::{KernelSigaction, Lifeline};
use crate::journal::{Journal, RegionKind};
use crate::memory::ProcessMemory;
use crate::remote_call::{CallError, Caller};

/// Signals the lifeline handles, in the order of its table.
pub(crate) const SIGNALS: [i32; 4] = [libc::SIGILL, libc::SIGTRAP, libc::SIGBUS, libc::SIGSEGV];
/// Of those, how many it handles from the start; the others once there are jump pads, whose conditions may fault.
const AT_FIRST: usize = 2;
/// Sites of one process that the lifeline can lead out of.
pub(crate) const CAPACITY: u32 = 16_384;
/// Size of the kernel's signal set.
const SIGSET_SIZE: u64 = 8;
/// The lifeline may be anywhere.
const ANYWHERE: u64 = u64::MAX;
/// How thoroughly a process is looked through for what leads into our mappings, before they are unmapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scan {
    /// Stacks, static data and heap.
    All,
    /// Stacks only: for a fork child, which is to go on at once.
    Stacks,
}

/// Writable memory that is looked through for traces of the lifeline before it is unmapped, beside stacks.
const MAX_SCANNED: u64 = 64 << 20;

/// Why a site, or a whole process, cannot be made to outlive its server. Fit for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotSafe {
    /// No call could be made in any thread.
    #[error("nothing can be put into the process: {0}")]
    Call(#[from] CallError),
    /// The system refused.
    #[error("the process cannot have {0}: {1}")]
    Refused(&'static str, Errno),
    /// No free addresses.
    #[error("there is no room for a pad within reach of the site")]
    NoRoom,
    /// Tables are full.
    #[error("too many sites")]
    Full,
    /// The pad cannot be placed.
    #[error("the displaced instruction refers to something out of its pad's reach")]
    OutOfReach,
    /// Code shared with other processes.
    #[error("the code is mapped shared: other processes would run into the site")]
    SharedCode,
}

/// A lifeline with its pads, in one address space.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    pub(super) frames: Va,
    pub(super) lifeline: Lifeline,
    /// The program's own actions for [`SIGNALS`].
    pub(super) own: [KernelSigaction; 4],
    /// How many of them are replaced by ours.
    pub(super) taken: usize,
    pub(super) pads: Pads,
    /// Every jump pad that ever was: somebody may be in it yet.
    pub(super) jumps: Vec<Jump>,
    /// What they share with us, once there is one that does.
    pub(super) data: Option<Va>,
}

impl Installed {
    /// Puts a lifeline into the caller's process.
    ///
    /// # Errors
    /// What stands against it; what was mapped by then is unmapped again.
    pub(crate) fn install(
        mut caller: Caller<'_>,
        regions: &[Region],
        journal: &mut dyn Journal,
    ) -> Result<Installed, NotSafe> {
        let process = caller.process();
        let near = unlike_numbers(regions);
        let frames_len = Va(Caller::place_len()).align_up(4096).0;
        let frames = map(&caller, regions, near, ANYWHERE, frames_len, RegionKind::Frames, journal)?;
        let result = Installed::install_behind(&mut caller, frames, journal);
        if result.is_err() {
            // The frame of this call must not be in what it unmaps.
            let on_stack = caller.on_stack();
            let _ = on_stack.and_then(|caller| unmap(&caller, frames, frames_len, journal));
            for signal in SIGNALS {
                journal.action_restored(process, signal);
            }
        }
        result
    }

    fn install_behind(caller: &mut Caller<'_>, frames: Va, journal: &mut dyn Journal) -> Result<Installed, NotSafe> {
        caller.move_to(frames);
        let process = caller.process();
        let mut own = [KernelSigaction::default(); 4];
        for (own, signal) in own.iter_mut().zip(SIGNALS).take(AT_FIRST) {
            *own = action(caller, signal)?;
        }
        // Mappings have changed since: the frames are one.
        let regions = crate::regions::read_regions(process, &[]).unwrap_or_default();
        let len = Va(Lifeline::len(CAPACITY)).align_up(4096).0;
        let at = map(caller, &regions, frames, ANYWHERE, len, RegionKind::Lifeline, journal)?;
        let lifeline = Lifeline { at, capacity: CAPACITY };
        let image = Lifeline::image(&own);
        let installed =
            Installed { frames, lifeline, own, taken: AT_FIRST, pads: Pads::default(), jumps: Vec::new(), data: None };
        let filled = caller.memory().write(at, &image) == image.len();
        let result = match filled {
            true => installed.take_signals(caller, journal),
            false => Err(NotSafe::Refused("code written from outside", Errno::IO)),
        };
        match result {
            Ok(()) => Ok(installed),
            Err(error) => {
                installed.give_back_signals(caller, journal);
                let _ = unmap(caller, at, len, journal);
                Err(error)
            }
        }
    }

    /// The signals whose action is ours, with the program's own.
    fn taken(&self) -> impl Iterator<Item = (KernelSigaction, i32)> {
        self.own.into_iter().zip(SIGNALS).take(self.taken)
    }

    /// Makes the lifeline the action for its signals.
    fn take_signals(&self, caller: &Caller<'_>, journal: &mut dyn Journal) -> Result<(), NotSafe> {
        for (own, signal) in self.taken() {
            let ours = self.lifeline.action(own);
            journal.action_replaced(caller.process(), signal, own, Va(ours.handler));
            set_action(caller, signal, ours)?;
        }
        Ok(())
    }

    /// Gives the program its own actions back, where ours are still in place.
    fn give_back_signals(&self, caller: &Caller<'_>, journal: &mut dyn Journal) {
        for (own, signal) in self.taken() {
            let is_ours = |present| self.lifeline.is_ours(present) || self.lifeline.was_reset(present);
            if action(caller, signal).is_ok_and(is_ours) {
                drop(set_action(caller, signal, own));
            }
            journal.action_restored(caller.process(), signal);
        }
    }

    /// Looks whether the program, or the kernel on a fault in a thread that blocks the signal, has replaced our actions;
    /// takes over what it finds as the program's own and puts ours back. Gives the signals whose action the kernel had
    /// replaced, bit `signo - 1`.
    ///
    /// # Errors
    /// As [`Installed::install`]; the lifeline is as good as gone then.
    pub(crate) fn keep(&mut self, caller: &mut Caller<'_>, journal: &mut dyn Journal) -> Result<u64, NotSafe> {
        caller.move_to(self.frames);
        let mut reset = 0;
        for (index, signal) in SIGNALS.into_iter().enumerate().take(self.taken) {
            let present = action(caller, signal)?;
            if self.lifeline.is_ours(present) {
                continue;
            }
            match self.lifeline.was_reset(present) {
                true => reset |= 1 << (signal - 1),
                false => self.own[index] = present,
            }
            let ours = self.lifeline.action(self.own[index]);
            journal.action_replaced(caller.process(), signal, self.own[index], Va(ours.handler));
            let (at, bytes) = self.lifeline.own_action(index, self.own[index]);
            if caller.memory().write(at, &bytes) != bytes.len() {
                return Err(NotSafe::Refused("code written from outside", Errno::IO));
            }
            set_action(caller, signal, ours)?;
        }
        Ok(reset)
    }

    /// Gives a site its pad; returns where that is. `caller` is asked for a thread if a mapping must be made.
    ///
    /// # Errors
    /// Why the site has none.
    pub(crate) fn add_site<'a>(
        &mut self,
        site: Va,
        code: &PadCode,
        memory: &ProcessMemory,
        regions: &[Region],
        journal: &mut dyn Journal,
        caller: impl FnOnce() -> Result<Caller<'a>, CallError>,
    ) -> Result<Va, NotSafe> {
        if let Some(pad) = self.pads.get(site).filter(|pad| pad.code == *code) {
            return Ok(pad.at);
        }
        let place = regions.iter().find(|region| region.range.contains(site));
        if place.is_some_and(|region| region.shared) {
            return Err(NotSafe::SharedCode);
        }
        let entry = self.pads.entry_of(site);
        if entry >= self.lifeline.capacity {
            return Err(NotSafe::Full);
        }
        if self.pads.free_place(site).is_none() {
            if !self.pads.may_grow() || !journal.has_room() {
                return Err(NotSafe::Full);
            }
            let mut caller = caller()?;
            caller.move_to(self.frames);
            let len = pads::REGION_LEN;
            let at = map(&caller, regions, site, pads::REACH, len, RegionKind::Pads, journal)?;
            self.pads.add_region(at);
        }
        let at = self.pads.free_place(site).ok_or(NotSafe::NoRoom)?;
        let bytes = pads::pad_bytes(at, code).ok_or(NotSafe::OutOfReach)?;
        let count = self.pads.entries().max(entry + 1);
        let mut writes = vec![(at, bytes)];
        writes.extend(self.lifeline.fill_entry(entry, count, site, at));
        for (at, bytes) in writes {
            if memory.write(at, &bytes) != bytes.len() {
                return Err(NotSafe::Refused("code written from outside", Errno::IO));
            }
        }
        self.pads.insert(site, Pad { at, code: code.clone() });
        self.pads.take_entry(site, entry);
        Ok(at)
    }

    /// Makes a site known that has no pad: whoever faults there when nobody is left puts `original` back.
    ///
    /// # Errors
    /// Why it cannot be known.
    pub(crate) fn add_bare_site(
        &mut self,
        site: Va,
        original: u8,
        memory: &ProcessMemory,
        regions: &[Region],
    ) -> Result<(), NotSafe> {
        if regions.iter().any(|region| region.range.contains(site) && region.shared) {
            return Err(NotSafe::SharedCode);
        }
        let entry = self.pads.entry_of(site);
        if entry >= self.lifeline.capacity {
            return Err(NotSafe::Full);
        }
        let count = self.pads.entries().max(entry + 1);
        for (at, bytes) in self.lifeline.fill_entry(entry, count, site, Va(u64::from(original))) {
            if memory.write(at, &bytes) != bytes.len() {
                return Err(NotSafe::Refused("code written from outside", Errno::IO));
            }
        }
        self.pads.remove(site);
        self.pads.take_entry(site, entry);
        Ok(())
    }

    /// Makes a watched page known: whoever faults there when nobody is left gives it `protection`, the program's own.
    ///
    /// # Errors
    /// The table is full, or cannot be written.
    pub(crate) fn add_page(&mut self, page: Va, protection: u32, memory: &ProcessMemory) -> Result<(), NotSafe> {
        let entry = self.pads.entry_of(page);
        if entry >= self.lifeline.capacity {
            return Err(NotSafe::Full);
        }
        let count = self.pads.entries().max(entry + 1);
        for (at, bytes) in self.lifeline.fill_entry(entry, count, page, Va(u64::from(protection))) {
            if memory.write(at, &bytes) != bytes.len() {
                return Err(NotSafe::Refused("code written from outside", Errno::IO));
            }
        }
        self.pads.take_entry(page, entry);
        Ok(())
    }

    /// The program's protection of a page may change from now on.
    pub(crate) fn forget_page(&mut self, page: Va, memory: &ProcessMemory) {
        let (at, bytes) = self.lifeline.clear_entry(self.pads.entry_of(page));
        memory.write(at, &bytes);
    }

    /// Handles faults of memory from now on.
    ///
    /// # Errors
    /// The signals' actions could not be read or set.
    pub(crate) fn take_faults_of_pages(
        &mut self,
        mut caller: Caller<'_>,
        journal: &mut dyn Journal,
    ) -> Result<(), NotSafe> {
        caller.move_to(self.frames);
        self.take_faults(&caller, journal)
    }

    /// Room for the frames of calls.
    pub(crate) fn frames(&self) -> Va {
        self.frames
    }

    /// Mappings of ours.
    pub(crate) fn ranges(&self) -> Vec<VaRange> {
        let mut ranges = vec![
            VaRange::from_len(self.frames, Va(Caller::place_len()).align_up(4096).0),
            VaRange::from_len(self.lifeline.at, Va(Lifeline::len(CAPACITY)).align_up(4096).0),
        ];
        ranges.extend(self.pads.regions().map(|at| VaRange::from_len(at, pads::REGION_LEN)));
        ranges.extend(self.data_range());
        ranges
    }

    /// Whether a site has a pad with this code.
    pub(crate) fn has_pad(&self, site: Va, code: &PadCode) -> bool {
        self.pads.get(site).is_some_and(|pad| pad.code == *code)
    }

    /// Whether a pad for this site can be placed without another mapping.
    pub(crate) fn has_room_near(&self, site: Va) -> bool {
        self.pads.free_place(site).is_some()
    }

    /// The pad of a site.
    pub(crate) fn pad_of(&self, site: Va) -> Option<Va> {
        self.pads.get(site).map(|pad| pad.at)
    }

    /// Whether `pc` is in a pad.
    pub(crate) fn is_in_pad(&self, pc: Va) -> bool {
        self.pads.contains(pc)
    }

    /// The site whose pad holds `pc`, and where that pad begins.
    pub(crate) fn site_of_pad(&self, pc: Va) -> Option<(Va, Va)> {
        self.pads.site_of(pc)
    }

    /// Gives the program its own actions back and leaves the mappings, for whoever is or comes there yet.
    pub(crate) fn retire(&self, caller: &mut Caller<'_>, journal: &mut dyn Journal) {
        caller.move_to(self.frames);
        self.give_back_signals(caller, journal);
    }

    /// Takes everything away again. All threads must be stopped, none of them in a pad; `stacks` are their pcs and sps.
    /// Where a thread is in the lifeline or will return into it, or the program kept its handler's address, the mappings
    /// stay and `false` is returned: they do no harm, and go on leading to the program's own actions.
    pub(crate) fn remove(
        self,
        caller: &mut Caller<'_>,
        stacks: &[(Va, Va)],
        scan: Scan,
        journal: &mut dyn Journal,
    ) -> bool {
        caller.move_to(self.frames);
        self.give_back_signals(caller, journal);
        if self.is_in_use(caller, stacks, scan) {
            return false;
        }
        let mut all = true;
        for at in self.pads.regions() {
            all &= unmap(caller, at, pads::REGION_LEN, journal).is_ok();
        }
        if let Some(data) = self.data_range() {
            all &= unmap(caller, data.start, data.len(), journal).is_ok();
        }
        let len = Va(Lifeline::len(CAPACITY)).align_up(4096).0;
        all &= unmap(caller, self.lifeline.at, len, journal).is_ok();
        let frames_len = Va(Caller::place_len()).align_up(4096).0;
        // The last frame cannot be in what it unmaps.
        all & caller.on_stack().is_ok_and(|caller| unmap(&caller, self.frames, frames_len, journal).is_ok())
    }

    /// A lifeline that a dead tracer left behind: `pads` are the mappings of pads, `data` of what they share with it, `own` the
    /// program's actions.
    pub(crate) fn left_behind(
        frames: Va,
        lifeline: Lifeline,
        own: [KernelSigaction; 4],
        pads: &[Va],
        data: Option<Va>,
    ) -> Installed {
        let mut known = Pads::default();
        pads.iter().for_each(|at| known.add_full_region(*at));
        Installed { frames, lifeline, own, taken: SIGNALS.len(), pads: known, jumps: Vec::new(), data }
    }

    /// Forgets what exec has taken away; gives the signals that the program ignores, which exec would have kept.
    pub(crate) fn forget(self, process: ProcessId, journal: &mut dyn Journal) -> Vec<i32> {
        for at in self.pads.regions().chain([self.lifeline.at, self.frames]).chain(self.data) {
            journal.region_removed(process, at);
        }
        for signal in SIGNALS {
            journal.action_restored(process, signal);
        }
        SIGNALS.into_iter().zip(self.own).filter(|(_, own)| own.handler == 1).map(|(signal, _)| signal).collect()
    }

    /// Tells the journal that a child has inherited all of this.
    pub(crate) fn inherit(&self, child: ProcessId, journal: &mut dyn Journal) {
        journal.region_planned(child, self.frames, Va(Caller::place_len()).align_up(4096).0, RegionKind::Frames);
        let len = Va(Lifeline::len(CAPACITY)).align_up(4096).0;
        journal.region_planned(child, self.lifeline.at, len, RegionKind::Lifeline);
        for at in self.pads.regions() {
            journal.region_planned(child, at, pads::REGION_LEN, RegionKind::Pads);
        }
        if let Some(data) = self.data_range() {
            journal.region_planned(child, data.start, data.len(), RegionKind::Data);
        }
        for (own, signal) in self.taken() {
            journal.action_replaced(child, signal, own, Va(self.lifeline.action(own).handler));
        }
    }

    /// Where there is code of ours, that a thread may be in or come to.
    fn code_ranges(&self) -> Vec<VaRange> {
        let mut ranges = vec![self.lifeline.code_range()];
        for pads in self.pads.used() {
            // Of a mapping that a jump pad has for itself, that is the pad.
            let jumps: Vec<VaRange> = self.jumps.iter().map(Jump::range).filter(|jump| jump.overlaps(pads)).collect();
            ranges.extend(if jumps.is_empty() { vec![pads] } else { jumps });
        }
        ranges
    }

    /// Whether a thread will return into a pad, as one does whose own handler was entered from there.
    pub(crate) fn leads_back(&self, memory: &ProcessMemory, stacks: &[(Va, Va)]) -> bool {
        let pads: Vec<VaRange> = self.pads.used().collect();
        let sps: Vec<Va> = stacks.iter().map(|(_, sp)| *sp).collect();
        let regions = crate::regions::read_regions(memory.process(), &sps).unwrap_or_default();
        let of = |sp: &Va| regions.iter().find(|region| region.write && region.range.contains(*sp));
        let stacks = sps.iter().filter_map(|sp| Some(VaRange { start: *sp, end: of(sp)?.range.end }));
        stacks.into_iter().any(|stack| leads_into(memory, stack, &pads))
    }

    /// Whether anything in the process still leads into our mappings.
    fn is_in_use(&self, caller: &Caller<'_>, stacks: &[(Va, Va)], scan: Scan) -> bool {
        let ours = self.code_ranges();
        if stacks.iter().any(|(pc, _)| ours.iter().any(|range| range.contains(*pc))) {
            return true;
        }
        let sps: Vec<Va> = stacks.iter().map(|(_, sp)| *sp).collect();
        let regions = crate::regions::read_regions(caller.process(), &sps).unwrap_or_default();
        let mut left = MAX_SCANNED;
        regions.iter().filter(|region| region.write && region.range.start != self.frames).any(|region| {
            // Stacks from sp upwards: what is below is dead, and held the frames of our own calls.
            let sp = sps.iter().filter(|sp| region.range.contains(**sp)).min();
            let range = VaRange { start: sp.copied().unwrap_or(region.range.start), end: region.range.end };
            let is_data = scan == Scan::All
                && matches!(region.usage, RegionUsage::Image | RegionUsage::Heap)
                && range.len() <= left;
            if sp.is_none() && !is_data {
                return false;
            }
            left = if sp.is_none() { left - range.len() } else { left };
            leads_into(caller.memory(), range, &ours)
        })
    }
}

/// Whether a word in `range` is an address in one of `ours`.
fn leads_into(memory: &ProcessMemory, range: VaRange, ours: &[VaRange]) -> bool {
    const PIECE: u64 = 1 << 20;
    let mut at = range.start.align_up(8);
    let mut buf = vec![0; PIECE.min(range.len()) as usize];
    while at < range.end {
        let want = (range.end - at).min(PIECE) as usize;
        let got = memory.read(at, &mut buf[..want]);
        let words = buf[..got].as_chunks().0.iter().map(|word| Va(u64::from_le_bytes(*word)));
        if words.into_iter().any(|word| ours.iter().any(|range| range.contains(word))) {
            return true;
        }
        if got < want {
            return false;
        }
        at += want as u64;
    }
    false
}

/// Maps `len` bytes at a place of our choosing.
pub(super) fn map(
    caller: &Caller<'_>,
    regions: &[Region],
    near: Va,
    reach: u64,
    len: u64,
    kind: RegionKind,
    journal: &mut dyn Journal,
) -> Result<Va, NotSafe> {
    let at = find_gap(regions, near, len, reach).ok_or(NotSafe::NoRoom)?;
    map_at(caller, at, len, kind, journal)?;
    Ok(at)
}

/// Maps `len` free bytes at `at`, which the journal knows before they are there.
pub(super) fn map_at(
    caller: &Caller<'_>,
    at: Va,
    len: u64,
    kind: RegionKind,
    journal: &mut dyn Journal,
) -> Result<(), NotSafe> {
    let process = caller.process();
    let protection = match kind {
        RegionKind::Frames | RegionKind::Data => libc::PROT_READ | libc::PROT_WRITE,
        RegionKind::Lifeline | RegionKind::Pads => libc::PROT_READ | libc::PROT_EXEC,
    };
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    journal.region_planned(process, at, len, kind);
    let arguments = [at.0, len, protection as u64, flags as u64, u64::MAX, 0];
    match caller.call(libc::SYS_mmap, arguments)? {
        Ok(mapped) if mapped == at.0 => Ok(()),
        // A kernel before 4.17 takes the address for a hint.
        Ok(elsewhere) => {
            let _ = caller.call(libc::SYS_munmap, [elsewhere, len, 0, 0, 0, 0]);
            journal.region_removed(process, at);
            Err(NotSafe::NoRoom)
        }
        Err(errno) => {
            journal.region_removed(process, at);
            Err(NotSafe::Refused("a mapping", errno))
        }
    }
}

pub(crate) fn unmap(caller: &Caller<'_>, at: Va, len: u64, journal: &mut dyn Journal) -> Result<(), CallError> {
    caller.call(libc::SYS_munmap, [at.0, len, 0, 0, 0, 0])?.map_err(|errno| CallError::Failed("munmap", errno))?;
    journal.region_removed(caller.process(), at);
    Ok(())
}

/// What the process does with a signal.
pub(super) fn action(caller: &Caller<'_>, signal: i32) -> Result<KernelSigaction, NotSafe> {
    let scratch = caller.scratch()?;
    let arguments = [signal as u64, 0, scratch.0, SIGSET_SIZE, 0, 0];
    let result = caller.call(libc::SYS_rt_sigaction, arguments)?;
    result.map_err(|errno| NotSafe::Refused("its signal actions read", errno))?;
    let mut bytes = [0; 32];
    match caller.memory().read(scratch, &mut bytes) {
        32 => Ok(KernelSigaction::from_bytes(&bytes)),
        _ => Err(NotSafe::Refused("its signal actions read", Errno::FAULT)),
    }
}

pub(crate) fn set_action(caller: &Caller<'_>, signal: i32, action: KernelSigaction) -> Result<(), NotSafe> {
    let scratch = caller.scratch()?;
    let bytes = action.to_bytes();
    if caller.memory().write(scratch, &bytes) != bytes.len() {
        return Err(NotSafe::Refused("its signal actions set", Errno::FAULT));
    }
    let arguments = [signal as u64, scratch.0, 0, SIGSET_SIZE, 0, 0];
    let result = caller.call(libc::SYS_rt_sigaction, arguments)?;
    result.map(drop).map_err(|errno| NotSafe::Refused("its signal actions set", errno))
}

#[cfg(test)]
#[path = "installed_tests.rs"]
mod tests;
