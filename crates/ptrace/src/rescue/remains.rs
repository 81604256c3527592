//! What a dead worker left of the lifeline in a process: found by its journal, known by its code, and taken away.

use std::time::{Duration, Instant};

use outpost_base::{ProcessId, ThreadId, Va, VaRange};
use outpost_target::Region;

use super::RescueReport;
use super::threads::Captives;
use crate::journal::{JournalImage, JournaledAction, JournaledRegion, NoJournal, RegionKind};
use crate::lifeline::{
    CAPACITY, Installed, KernelSigaction, Lifeline, NotSafe, PAD_LEN, SIGNALS, Scan, has_pushed, unmap,
};
use crate::memory::ProcessMemory;
use crate::regions::read_regions;
use crate::remote_call::{CallError, Caller, Gadgets};
use crate::sys::ptrace_registers::{self as registers, word};
use crate::tracer::has_handler;

/// Threads leave our code within this, also where processors are scarce: what they execute there is a few instructions, or one
/// call.
const LEAVING: Duration = Duration::from_secs(2);
/// The same when they did not at first: all others wait meanwhile.
const LEAVING_AT_LAST: Duration = Duration::from_millis(50);
/// How long one of them runs before it is looked at again: at first, and after some times, since where it has to wait for a
/// processor it has executed nothing by then.
const RUN: Duration = Duration::from_micros(200);
const LONG_RUN: Duration = Duration::from_millis(20);

/// The journal's word on one process.
#[derive(Debug)]
pub(super) struct Remains<'a> {
    regions: Vec<&'a JournaledRegion>,
    actions: Vec<&'a JournaledAction>,
    /// The other processes of the session.
    others: Vec<ProcessId>,
}

/// What became of it in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// None of it is there.
    Away,
    /// It stays mapped for good, out of use.
    ToStay,
    /// It is in use yet.
    Later,
    /// No thread could be used to take it away.
    Refused,
}

/// What of it is in a process.
#[derive(Debug)]
struct Found {
    regions: Vec<JournaledRegion>,
    /// The lifeline with the sites it knows and their pads.
    lifeline: Option<(Lifeline, Vec<(Va, Va)>)>,
}

impl<'a> Remains<'a> {
    /// What `owner`, or a process that was forked from it, may have in it; `None`: nothing.
    pub(super) fn of(image: &'a JournalImage, owner: ProcessId) -> Option<Remains<'a>> {
        let regions: Vec<_> = image.regions.iter().filter(|region| region.process == owner).collect();
        let actions = image.actions.iter().filter(|action| action.process == owner).collect();
        let others =
            image.processes.iter().map(|process| process.process).filter(|process| *process != owner).collect();
        (!regions.is_empty()).then_some(Remains { regions, actions, others })
    }

    /// Whether any of it is in a process.
    pub(super) fn are_in(&self, process: ProcessId) -> bool {
        let memory = ProcessMemory::open(process);
        memory.is_ok_and(|memory| self.find(process, &memory).lifeline.is_some())
    }

    /// Sites that the lifeline in a process knows, those that were removed included.
    pub(super) fn sites_in(&self, process: ProcessId) -> Vec<Va> {
        let Ok(memory) = ProcessMemory::open(process) else { return Vec::new() };
        let entries = self.find(process, &memory).lifeline.map(|(_, entries)| entries).unwrap_or_default();
        entries.into_iter().map(|(site, _)| site).collect()
    }

    /// Signals whose action the kernel has reset, since a thread that blocked them faulted: bit `signo - 1`.
    pub(super) fn forced_in(&self, process: ProcessId) -> u64 {
        let replaced = |signal: &i32| self.actions.iter().any(|action| action.signal == *signal);
        let is_reset = |signal: &i32| self.are_in(process) && !has_handler(ThreadId(process.0), *signal);
        let signals = SIGNALS.into_iter().filter(replaced).filter(is_reset);
        signals.fold(0, |forced, signal| forced | 1 << (signal - 1))
    }

    fn find(&self, process: ProcessId, memory: &ProcessMemory) -> Found {
        let mapped = read_regions(process, &[]).unwrap_or_default();
        let regions: Vec<JournaledRegion> =
            self.regions.iter().filter(|region| is_mapped(region, &mapped)).map(|region| **region).collect();
        let lifeline = regions.iter().find(|region| region.kind == RegionKind::Lifeline);
        let lifeline = lifeline.map(|region| Lifeline { at: region.at, capacity: CAPACITY });
        let lifeline = lifeline.filter(|lifeline| lifeline.is_there(memory));
        Found { regions, lifeline: lifeline.map(|lifeline| (lifeline, lifeline.read_entries(memory))) }
    }

    /// Lets threads out of our code that are in it.
    pub(super) fn lead_out(&self, process: ProcessId, captives: &mut Captives) {
        if let Ok(memory) = ProcessMemory::open(process) {
            self.find(process, &memory).lead_out(&memory, captives);
        }
    }

    /// Takes it away from a process whose threads are all stopped. Where something still leads there it stays mapped.
    pub(super) fn take_away(&self, process: ProcessId, captives: &mut Captives, report: &mut RescueReport) -> Taken {
        let taken = self.try_to_take_away(process, captives);
        match taken {
            Some(Taken::Away) => report.lifelines_removed += 1,
            Some(_) => report.lifelines_left += 1,
            None => {}
        }
        taken.unwrap_or(Taken::Away)
    }

    /// `None`: there was nothing of it.
    fn try_to_take_away(&self, process: ProcessId, captives: &mut Captives) -> Option<Taken> {
        let memory = ProcessMemory::open(process).ok()?;
        let found = self.find(process, &memory);
        if found.regions.is_empty() {
            return None;
        }
        // A child that lives in the same memory (CLONE_VM) runs on, perhaps in a pad.
        if self.others.iter().any(|other| crate::sys::share_memory(other.0, process.0) == Some(true)) {
            return Some(Taken::Later);
        }
        // Whoever is not stopped may be in a pad, or in the handler, also if he was stopped until he was led out of it; and
        // whoever is in a pad may be about to trap there: our handler has to stay for that.
        if !captives.are_all_stopped() {
            return Some(Taken::Later);
        }
        found.lead_out(&memory, captives);
        if !captives.are_all_stopped() || captives.stopped_threads().into_iter().any(|thread| found.executes(thread)) {
            return Some(Taken::Later);
        }
        // A call of the dead worker's may have changed what is mapped.
        let found = self.find(process, &memory);
        // Somebody's own handler returns soon, or what looks like that is something else.
        if captives.is_early_round() && self.leads_back(&memory, &found, captives) {
            return Some(Taken::Later);
        }
        Some(match self.remove(process, &memory, &found, captives) {
            Ok(true) => Taken::Away,
            Ok(false) => Taken::ToStay,
            Err(why) => {
                if captives.is_first_round() {
                    tracing::warn!(%process, %why, "the lifeline stays in place");
                }
                Taken::Refused
            }
        })
    }

    fn remove(
        &self,
        process: ProcessId,
        memory: &ProcessMemory,
        found: &Found,
        captives: &mut Captives,
    ) -> Result<bool, NotSafe> {
        let gadgets = Gadgets::find(memory, &read_regions(process, &[]).unwrap_or_default());
        let gadgets = gadgets.ok_or(NotSafe::Call(CallError::NoGadget))?;
        let stacks = captives.stacks();
        let frames = found.of_kind(RegionKind::Frames).next();
        let mut result = Err(NotSafe::Call(CallError::Unsuitable("no thread of the process can be stopped")));
        for thread in captives.callers() {
            let caller = Caller::new(process, thread, memory, gadgets, frames);
            result = caller.map_err(NotSafe::Call).and_then(|caller| {
                // Its stop is an interrupt from now on; what it was about to get is sent again.
                captives.hold_signal(thread);
                self.remove_by(caller, found, &stacks)
            });
            // Another one goes on where this one failed: what is done already is found done.
            if !matches!(result, Err(NotSafe::Call(_))) {
                break;
            }
        }
        result
    }

    fn left_behind(&self, found: &Found) -> Option<Installed> {
        let frames = found.of_kind(RegionKind::Frames).next()?;
        let (lifeline, _) = found.lifeline.as_ref()?;
        let pads: Vec<Va> = found.of_kind(RegionKind::Pads).collect();
        let own = SIGNALS.map(|signal| self.own_action(signal));
        let data = found.of_kind(RegionKind::Data).next();
        Some(Installed::left_behind(frames, *lifeline, own, &pads, data))
    }

    fn leads_back(&self, memory: &ProcessMemory, found: &Found, captives: &Captives) -> bool {
        self.left_behind(found).is_some_and(|left| left.leads_back(memory, &captives.stacks()))
    }

    fn remove_by(&self, mut caller: Caller<'_>, found: &Found, stacks: &[(Va, Va)]) -> Result<bool, NotSafe> {
        if let Some(left) = self.left_behind(found) {
            return Ok(left.remove(&mut caller, stacks, Scan::All, &mut NoJournal));
        }
        // It was being put in or taken away: nothing leads there yet, or any more.
        let on_stack = caller.on_stack()?;
        for region in &found.regions {
            unmap(&on_stack, region.at, region.len, &mut NoJournal)?;
        }
        Ok(true)
    }

    /// The program's own action; one that was never replaced does not matter, since ours is not in place then.
    fn own_action(&self, signal: i32) -> KernelSigaction {
        let known = self.actions.iter().find(|action| action.signal == signal);
        known.map_or_else(KernelSigaction::default, |action| action.own)
    }
}

impl Found {
    fn of_kind(&self, kind: RegionKind) -> impl Iterator<Item = Va> {
        self.regions.iter().filter(move |region| region.kind == kind).map(|region| region.at)
    }

    /// Lets threads go on that are in a pad, in the lifeline or in a call of the dead worker's, until they are out.
    fn lead_out(&self, memory: &ProcessMemory, captives: &mut Captives) {
        let limit = if captives.is_first_round() { LEAVING } else { LEAVING_AT_LAST };
        let (deadline, mut run) = (Instant::now() + limit, RUN);
        loop {
            let mut inside = Vec::new();
            for thread in captives.stopped_threads() {
                self.leave_condition(thread, captives);
                if self.is_inside(thread) && !self.put_at_site(memory, thread, captives) {
                    inside.push(thread);
                }
            }
            if inside.is_empty() || Instant::now() >= deadline {
                return;
            }
            for thread in inside {
                // A handler entered here would return here.
                captives.hold_signal(thread);
                captives.run_for(thread, run);
            }
            run = (run * 2).min(LONG_RUN);
        }
    }

    /// Whether a thread is in our code; one that is in a function that the dead worker called is not.
    fn executes(&self, thread: u32) -> bool {
        self.holds(thread, word::PC, |kind| matches!(kind, RegionKind::Lifeline | RegionKind::Pads))
    }

    fn is_inside(&self, thread: u32) -> bool {
        self.executes(thread) || self.holds(thread, word::SP, |kind| kind == RegionKind::Frames)
    }

    /// Whether a register of a thread points into one of the regions of such kinds.
    fn holds(&self, thread: u32, register: usize, kinds: fn(RegionKind) -> bool) -> bool {
        let Ok(general) = registers::general(thread) else { return false };
        let mut regions = self.regions.iter().filter(|region| kinds(region.kind));
        regions.any(|region| VaRange::from_len(region.at, region.len).contains(Va(general.0[register])))
    }

    /// Lets a thread go on to the displaced code that came to the trap of a jump pad, or whose condition faulted there.
    fn leave_condition(&self, thread: u32, captives: &mut Captives) {
        let Ok(mut general) = registers::general(thread) else { return };
        let pc = Va(general.pc());
        let on = self.entries().find(|(from, _)| *from == pc && self.is_pad(pc)).map(|(_, on)| on);
        let Some(on) = on.filter(|_| captives.faulted(thread)) else { return };
        general.set_pc(on.0);
        if registers::set_general(thread, &general).is_ok() {
            captives.swallow(thread);
        }
    }

    fn entries(&self) -> impl Iterator<Item = (Va, Va)> {
        self.lifeline.iter().flat_map(|(_, entries)| entries.iter().copied())
    }

    fn is_pad(&self, at: Va) -> bool {
        let mut pads = self.regions.iter().filter(|region| region.kind == RegionKind::Pads);
        pads.any(|region| VaRange::from_len(region.at, region.len).contains(at))
    }

    /// Puts a thread back to its site that has done nothing of the displaced instruction yet, or faulted at it.
    fn put_at_site(&self, memory: &ProcessMemory, thread: u32, captives: &Captives) -> bool {
        let Ok(mut general) = registers::general(thread) else { return false };
        let pc = Va(general.pc());
        // What leads from one place in a pad to another is no site; the displaced instructions of a jump stand in a row.
        let sites = self.entries().filter(|(site, _)| !self.is_pad(*site));
        let pads = sites.filter(|(_, pad)| VaRange::from_len(*pad, PAD_LEN).contains(pc));
        let Some((site, pad)) = pads.max_by_key(|(_, pad)| *pad) else { return false };
        if pc != pad && !captives.faulted(thread) {
            return false;
        }
        let mut first = [0];
        if memory.read(pad, &mut first) == 1 && has_pushed(first[0], pc - pad) {
            general.0[word::SP] = general.sp().wrapping_add(8);
        }
        general.set_pc(site.0);
        registers::set_general(thread, &general).is_ok()
    }
}

/// Whether what is mapped there can be ours: anonymous, of the protection that we ask for.
fn is_mapped(region: &JournaledRegion, mapped: &[Region]) -> bool {
    let range = VaRange::from_len(region.at, region.len);
    let holds = |found: &&Region| found.range.contains(range.start) && found.range.end >= range.end;
    let write = matches!(region.kind, RegionKind::Frames | RegionKind::Data);
    let execute = !write;
    mapped.iter().find(holds).is_some_and(|found| {
        found.inode == 0 && !found.shared && found.read && found.write == write && found.execute == execute
    })
}
