//! Breakpoints that outlive their server: when the lifeline is put in, which sites get a pad, what keeps both whole.
//!
//! The lifeline goes in before the first site, step or debug register of an address space, through whichever thread can
//! make calls. A site that the lifeline knows faults ([`FAULT`]) instead of trapping: a thread that hits it just as all
//! debugger processes are killed is led to its pad, where the displaced instruction is, or, where there can be no pad,
//! puts the original byte back by itself. Sites that the lifeline cannot know get [`TRAP`] and say why.
//!
//! Pads also pass hits: pc is moved into the pad, and nobody is held meanwhile. A thread that stops in a pad is taken out
//! of it before anybody sees it.

use std::time::{Duration, Instant};

use outpost_base::{AddressSpaceId, ProcessId, ThreadId, Va, VaRange};
use outpost_target::{KillSafety, PadCode};
use rustix::io::Errno;

use super::debug_registers::have_fired;
use super::pass::Passed;
use super::sites::{FAULT, TRAP};
use crate::lifeline::{Installed, KernelSigaction, NotSafe, Scan, has_pushed, set_action};
use crate::memory::ProcessMemory;
use crate::regions::read_regions;
use crate::remote_call::{CallError, Caller, Gadgets};
use crate::sys::ptrace::{self, Go, RawSigInfo};
use crate::sys::ptrace_registers as registers;
use crate::sys::ptrace_wait::{Decoded, Whom, wait_blocking};
use crate::sys::signal;
use crate::tracer::{Arrival, State, Thread, Tracer, state_letter, trap_code};

/// Threads that are asked whether a call can be made in them.
const MAX_CALLERS: usize = 8;
/// A refusal may be a matter of the moment: it is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
const SIGTRAP_BIT: u64 = 1 << (libc::SIGTRAP - 1);
/// Instructions a pad has at most, with room to spare.
pub(super) const MAX_PAD_STEPS: usize = 16;

/// Whether debuggees in an address space outlive a killed server.
#[derive(Debug, Default)]
pub(crate) enum Protection {
    /// Nothing was planted yet.
    #[default]
    NotTried,
    /// They do, at sites with pads.
    Installed {
        lifeline: Box<Installed>,
        gadgets: Gadgets,
        kept_at: Instant,
        /// Signals, bit `signo - 1`, that a fault of ours was seen to force on a thread that blocks them.
        forced: u64,
    },
    /// They do not.
    Refused { why: NotSafe, at: Instant },
}

impl Protection {
    pub(crate) fn lifeline(&self) -> Option<&Installed> {
        match self {
            Protection::Installed { lifeline, .. } => Some(lifeline),
            _ => None,
        }
    }

    /// Puts a changed copy of the lifeline in its place.
    pub(super) fn replace_lifeline(&mut self, changed: Installed) {
        if let Protection::Installed { lifeline, .. } = self {
            **lifeline = changed;
        }
    }

    /// Signals that a fault of ours was seen to force on a thread that blocks them.
    pub(super) fn forced(&self) -> u64 {
        match self {
            Protection::Installed { forced, .. } => *forced,
            _ => 0,
        }
    }

    /// Why there is no lifeline, for the user.
    fn refusal(&self) -> String {
        match self {
            Protection::Refused { why, .. } => why.to_string(),
            _ => String::new(),
        }
    }
}

impl Tracer {
    /// Puts a lifeline into an address space, if it has none. To be called before anything is planted there.
    pub(crate) fn protect(&mut self, space: AddressSpaceId) {
        match self.spaces.get(&space).map(|space| &space.protection) {
            Some(Protection::NotTried) => {}
            Some(Protection::Refused { at, .. }) if at.elapsed() >= RETRY => {}
            _ => return,
        }
        let found = self.with_caller(space, None, |caller, gadgets, journal| {
            let regions = read_regions(caller.process(), &[]).unwrap_or_default();
            Ok((Installed::install(caller, &regions, journal)?, gadgets))
        });
        let now = Instant::now();
        let protection = match found {
            Ok((installed, gadgets)) => {
                Protection::Installed { lifeline: Box::new(installed), gadgets, kept_at: now, forced: 0 }
            }
            Err(why) => Protection::Refused { why, at: now },
        };
        if let Some(space) = self.spaces.get_mut(&space) {
            space.protection = protection;
        }
    }

    /// Makes calls in a thread of the space: `first`, or one that is stopped, or one that is stopped for it.
    pub(super) fn with_caller<T>(
        &mut self,
        space: AddressSpaceId,
        first: Option<ThreadId>,
        mut deed: impl FnMut(Caller<'_>, Gadgets, &mut dyn crate::journal::Journal) -> Result<T, NotSafe>,
    ) -> Result<T, NotSafe> {
        let usable = |thread: &Thread| {
            thread.is_stopped()
                && thread.signal.is_none()
                && !thread.is_exiting
                && !thread.is_new
                && thread.vfork_child.is_none()
        };
        // A child that only borrows the memory, as vfork makes, has signal actions of its own.
        let mut of_space: Vec<ProcessId> = self.processes_in(space);
        if of_space.iter().any(|process| self.visible(*process).is_ok()) {
            of_space.retain(|process| self.visible(*process).is_ok());
        }
        let in_space = |thread: &&Thread| of_space.contains(&thread.process);
        let by_sequence = |mut threads: Vec<(u64, ThreadId)>| {
            threads.sort_unstable();
            threads.into_iter().map(|(_, tid)| tid).take(MAX_CALLERS).collect::<Vec<_>>()
        };
        let threads = || self.threads.values().filter(in_space);
        let stopped = threads().filter(|thread| usable(thread) || Some(thread.id) == first);
        let stopped = by_sequence(
            stopped.map(|thread| (if Some(thread.id) == first { 0 } else { thread.sequence + 1 }, thread.id)).collect(),
        );
        // Whoever sleeps uninterruptibly, as the parent of a vfork does, cannot be stopped.
        let running = threads().filter(|thread| thread.is_out() && state_letter(thread.id) != Some(b'D'));
        let running = by_sequence(running.map(|thread| (thread.sequence, thread.id)).collect());
        let mut result = Err(NotSafe::Call(CallError::Unsuitable("no thread of the process can be stopped")));
        let goes_on = |result: &Result<T, NotSafe>| {
            matches!(result, Err(NotSafe::Call(CallError::Unsuitable(_) | CallError::Gone)))
        };
        for tid in stopped {
            if goes_on(&result) {
                result = self.call_in(space, tid, &mut deed);
            }
        }
        for tid in running {
            if goes_on(&result) {
                let paused = self.pause(&|_, thread| thread.id == tid, None);
                if self.threads.get(&tid).is_some_and(usable) {
                    result = self.call_in(space, tid, &mut deed);
                }
                self.unpause(paused);
            }
        }
        result
    }

    pub(super) fn call_in<T>(
        &mut self,
        space_id: AddressSpaceId,
        tid: ThreadId,
        deed: &mut impl FnMut(Caller<'_>, Gadgets, &mut dyn crate::journal::Journal) -> Result<T, NotSafe>,
    ) -> Result<T, NotSafe> {
        let Some(process) = self.threads.get(&tid).map(|thread| thread.process) else {
            return Err(NotSafe::Call(CallError::Gone));
        };
        if self.flush(tid).is_err() {
            self.lost(tid);
            return Err(NotSafe::Call(CallError::Gone));
        }
        let Some(space) = self.spaces.get(&space_id) else { return Err(NotSafe::Call(CallError::Gone)) };
        let gadgets = match &space.protection {
            Protection::Installed { gadgets, .. } => Some(*gadgets),
            _ => Gadgets::find(&space.memory, &read_regions(process, &[]).unwrap_or_default()),
        };
        let gadgets = gadgets.ok_or(NotSafe::Call(CallError::NoGadget))?;
        let result = Caller::new(process, tid.0, &space.memory, gadgets, None)
            .map_err(NotSafe::Call)
            .and_then(|caller| deed(caller, gadgets, &mut *self.journal));
        if let Err(NotSafe::Call(CallError::Gone)) = result {
            self.lost(tid);
        } else if let Some(thread) = self.threads.get_mut(&tid) {
            // It is stopped by an interrupt now, whatever it was stopped by before.
            (thread.in_delivery, thread.interrupted, thread.registers) = (false, false, None);
        }
        result
    }

    /// Chooses the byte for a site that is about to be planted, and makes it known to the lifeline, with a pad where there
    /// can be one. `wanted` is the client's.
    pub(super) fn choose_trap(
        &mut self,
        space_id: AddressSpaceId,
        at: Va,
        wanted: Option<&PadCode>,
    ) -> Result<u8, String> {
        self.protect(space_id);
        let space = self.spaces.get(&space_id).ok_or("its address space is gone")?;
        let Protection::Installed { lifeline, .. } = &space.protection else {
            return Err(space.protection.refusal());
        };
        match self.pad_for(space_id, at, wanted) {
            Some(pad) if lifeline.has_pad(at, &pad) => return Ok(FAULT),
            Some(pad) if self.add_pad(space_id, at, &pad).is_ok() => return Ok(FAULT),
            _ => {}
        }
        self.add_bare_site(space_id, at).map(|()| FAULT).map_err(|why| why.to_string())
    }

    /// Makes a site known to the lifeline that has no pad.
    fn add_bare_site(&mut self, space_id: AddressSpaceId, at: Va) -> Result<(), NotSafe> {
        let unreadable = NotSafe::Refused("its code read", Errno::FAULT);
        let space = self.spaces.get_mut(&space_id).ok_or(unreadable.clone())?;
        let mut original = [0];
        if space.memory.read(at, &mut original) != 1 {
            return Err(unreadable);
        }
        space.sites.hide(at, &mut original);
        let regions = read_regions(space.memory.process(), &[]).unwrap_or_default();
        match &mut space.protection {
            Protection::Installed { lifeline, .. } => lifeline.add_bare_site(at, original[0], &space.memory, &regions),
            _ => Err(unreadable),
        }
    }

    /// Gives a site a pad.
    fn add_pad(&mut self, space_id: AddressSpaceId, at: Va, pad: &PadCode) -> Result<(), NotSafe> {
        let none = NotSafe::Call(CallError::Gone);
        let space = self.spaces.get(&space_id).ok_or(none.clone())?;
        let lifeline = space.protection.lifeline().ok_or(none)?;
        let mut lifeline = lifeline.clone();
        let added = if lifeline.has_room_near(at) {
            let regions = read_regions(space.memory.process(), &[]).unwrap_or_default();
            let none = || Err(CallError::Unsuitable("no call is needed"));
            lifeline.add_site(at, pad, &space.memory, &regions, &mut *self.journal, none)
        } else {
            let added = self.with_caller(space_id, None, |caller, _, journal| {
                let mut lifeline = lifeline.clone();
                let regions = read_regions(caller.process(), &[]).unwrap_or_default();
                let memory = caller.memory();
                let added = lifeline.add_site(at, pad, memory, &regions, journal, || Ok(caller));
                Ok((lifeline, added))
            });
            match added {
                Ok((grown, added)) => {
                    lifeline = grown;
                    added
                }
                Err(why) => Err(why),
            }
        };
        if let Some(space) = self.spaces.get_mut(&space_id) {
            space.protection.replace_lifeline(lifeline);
        }
        added.map(drop)
    }

    /// The code for a site's pad: the client's, if it was made for what stands there, or our own.
    fn pad_for(&self, space: AddressSpaceId, at: Va, wanted: Option<&PadCode>) -> Option<PadCode> {
        let space = self.spaces.get(&space)?;
        let mut code = [0; super::sites::MAX_INSTRUCTION];
        let count = space.memory.read(at, &mut code);
        space.sites.hide(at, &mut code[..count]);
        let code = &code[..count];
        let fits = |pad: &&PadCode| !pad.expected.is_empty() && code.starts_with(&pad.expected);
        let own = || super::emulate::decode(code).and_then(|instruction| instruction.pad(at, code));
        wanted.filter(fits).cloned().or_else(own)
    }

    /// The client wrote over code that sites displace: their pads are of what stood there before.
    pub(crate) fn renew_sites(&mut self, space_id: AddressSpaceId, written: VaRange) {
        let Some(space) = self.spaces.get(&space_id) else { return };
        let begin = Va(written.start.0.saturating_sub(super::sites::MAX_INSTRUCTION as u64));
        let sites: Vec<Va> = space.sites.iter().filter(|(_, site)| site.trap == FAULT).map(|(at, _)| at).collect();
        for at in sites.into_iter().filter(|at| *at > begin && *at < written.end) {
            if let Err(error) = self.add_bare_site(space_id, at) {
                tracing::warn!(%at, %error, "the lifeline does not know what was written over a site");
            }
        }
    }

    /// Whether a thread that hits a site of this kind just as the server is killed runs on, and why not.
    pub(crate) fn safety_of_site(&self, space_id: AddressSpaceId, at: Va) -> (KillSafety, String) {
        let Some(space) = self.spaces.get(&space_id) else { return (KillSafety::Unsafe, "it is not planted".into()) };
        match space.sites.get(at) {
            Some(site) if site.trap == FAULT => self.safety_by_masks(space_id, libc::SIGILL),
            Some(site) => (KillSafety::Unsafe, site.unsafe_because.clone()),
            None => (KillSafety::Unsafe, "it is not planted".into()),
        }
    }

    /// The same for debug registers, which the lifeline disarms.
    pub(crate) fn safety_of_registers(&self, space: AddressSpaceId) -> (KillSafety, String) {
        match self.spaces.get(&space).map(|space| &space.protection) {
            Some(Protection::Installed { .. }) => self.safety_by_masks(space, libc::SIGTRAP),
            Some(protection) => (KillSafety::Unsafe, protection.refusal()),
            None => (KillSafety::Unsafe, "it is not set".into()),
        }
    }

    /// The same for steps: the lifeline ends them, and leads on from the sites that they plant. Nothing is known before it
    /// was tried.
    pub(crate) fn safety_of_steps(&self, space: AddressSpaceId) -> (KillSafety, String) {
        match self.spaces.get(&space).map(|space| &space.protection) {
            Some(Protection::Installed { .. }) => self.safety_by_masks(space, libc::SIGILL),
            Some(protection) => (KillSafety::Unsafe, protection.refusal()),
            None => (KillSafety::Unsafe, String::new()),
        }
    }

    /// Moves a thread that stands at a site into the site's pad. Whoever calls lets it run.
    pub(super) fn enter_pad(&mut self, tid: ThreadId) -> Option<()> {
        let at = Va(self.registers(tid)?.pc());
        let space = self.space_of(tid)?;
        // Only what faults: the pad was checked against what stands at the site.
        space.sites.get(at).filter(|site| site.faults())?;
        let pad = self.way_on(space, at)?;
        self.set_pc(tid, pad);
        Some(())
    }

    /// Executes the displaced instruction in the site's pad, one instruction of the pad at a time.
    pub(super) fn step_through_pad(&mut self, tid: ThreadId) -> Option<Passed> {
        self.enter_pad(tid)?;
        Some(self.step_out_of_pad(tid))
    }

    /// Takes a thread to the end of the pad it is in. Each step unblocks SIGTRAP in it, which the program may block.
    pub(super) fn step_out_of_pad(&mut self, tid: ThreadId) -> Passed {
        let before = ptrace::signal_mask(tid.0).unwrap_or(0);
        let passed = self.steps_out_of_pad(tid);
        if before & SIGTRAP_BIT != 0 {
            match ptrace::signal_mask(tid.0) {
                Ok(now) if now & SIGTRAP_BIT == 0 => drop(ptrace::set_signal_mask(tid.0, now | SIGTRAP_BIT)),
                Ok(_) => {}
                // It was set going for what it stopped for, or is gone.
                Err(_) => drop(self.threads.get_mut(&tid).map(|thread| thread.mask_before_step = Some(before))),
            }
        }
        passed
    }

    fn steps_out_of_pad(&mut self, tid: ThreadId) -> Passed {
        for _ in 0..self.steps_left_in_pad(tid) {
            self.tell_step(tid);
            let stopped = self.flush(tid).and_then(|()| ptrace::go(tid.0, Go::Step, 0));
            let status = match stopped {
                Ok(()) => loop {
                    match wait_blocking(Whom::Thread(tid.0)) {
                        Err(rustix::io::Errno::INTR) => {}
                        other => break other.ok(),
                    }
                },
                Err(_) => None,
            };
            let Some((_, status)) = status else {
                self.lost(tid);
                return Passed::Elsewhere;
            };
            if let Some(thread) = self.threads.get_mut(&tid) {
                (thread.registers, thread.dirty, thread.state) = (None, false, State::Stopped);
            }
            let is_step = matches!(status.decode(), Decoded::Stopped { signal: libc::SIGTRAP, event: 0 })
                && ptrace::signal_info(tid.0).is_ok_and(|info| trap_code::is_step(info.code()));
            if !is_step || (self.debug_registers_used(tid) && have_fired(tid)) {
                // A fault of the displaced instruction, an interrupt, a debug register: dealt with like any other stop.
                self.on_status(tid, status);
                return Passed::Elsewhere;
            }
            let arrival = self.leave_jump_code(tid);
            if !self.is_in_pad(tid) {
                if let Some(thread) = self.threads.get_mut(&tid) {
                    thread.in_delivery = false;
                    thread.arrival = arrival;
                }
                return Passed::Done;
            }
        }
        Passed::Elsewhere
    }

    pub(super) fn is_in_pad(&mut self, tid: ThreadId) -> bool {
        let Some(registers) = self.registers(tid) else { return false };
        let lifeline = self.space_of(tid).and_then(|space| space.protection.lifeline());
        lifeline.is_some_and(|lifeline| lifeline.is_in_pad(Va(registers.pc())))
    }

    /// Takes a thread that has just stopped out of a pad: nobody is to see a pc there. `true`: its stop was dealt with.
    pub(crate) fn leave_pad(&mut self, tid: ThreadId, signo: i32, event: i32) -> bool {
        let has_pads = self.space_of(tid).is_some_and(|space| space.protection.lifeline().is_some());
        if !has_pads || !self.is_in_pad(tid) {
            return false;
        }
        let Some(general) = self.registers(tid) else { return false };
        let pc = Va(general.pc());
        let Some(lifeline) = self.space_of(tid).and_then(|space| space.protection.lifeline()) else { return false };
        if let Some(jump) = lifeline.jump_at(pc).cloned() {
            return self.leave_jump(tid, signo, event, &jump);
        }
        let Some((site, start)) = lifeline.site_of_pad(pc) else { return false };
        let info = if event == 0 { ptrace::signal_info(tid.0).ok() } else { None };
        let is_fault = info.as_ref().is_some_and(|info| info.code() > 0)
            && matches!(signo, libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE);
        if pc == start || is_fault {
            self.put_at_site(tid, site, start);
            return false;
        }
        self.step_out_for(tid, signo, info);
        true
    }

    /// Puts a thread back to its site, judged, that has done nothing of the displaced instruction, whose code for it begins at
    /// `start`, or only the push of a call.
    pub(super) fn put_at_site(&mut self, tid: ThreadId, site: Va, start: Va) {
        let Some(mut general) = self.registers(tid) else { return };
        let mut first = [0];
        let pushes = self.space_of(tid).is_some_and(|space| space.memory.read(start, &mut first) == 1)
            && has_pushed(first[0], Va(general.pc()) - start);
        if pushes {
            general.0[registers::word::SP] = general.sp().wrapping_add(8);
        }
        general.set_pc(site.0);
        self.set_registers(tid, general);
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.arrival = Some(Arrival { pc: site, sp: Va(general.sp()) });
        }
    }

    /// Takes a thread out of a pad by single steps, and gives it what it stopped for after that.
    pub(super) fn step_out_for(&mut self, tid: ThreadId, signo: i32, info: Option<RawSigInfo>) {
        if self.step_out_of_pad(tid) == Passed::Elsewhere {
            return;
        }
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        match info {
            Some(info) if signo == libc::SIGTRAP && trap_code::is_debug_register(info.code()) => {
                self.debug_registers_hit(tid);
            }
            Some(info) if signo == libc::SIGTRAP && trap_code::is_step(info.code()) => self.settle(tid),
            Some(info) => {
                let process = thread.process;
                thread.postponed = Some(info);
                let _ = signal::send(process.0, tid.0, signo);
                self.settle(tid);
            }
            None => self.settle(tid),
        }
    }

    /// A thread faulted at an undefined instruction; `false`: it is the program's own.
    pub(crate) fn fault_byte_hit(&mut self, tid: ThreadId) -> bool {
        let Some(mut registers) = self.registers(tid) else { return false };
        let at = Va(registers.pc());
        let Some(space) = self.space_of(tid) else { return false };
        if space.sites.get(at).is_some_and(|site| site.faults()) {
            // The fault was ours, and its mark is none of the program's flags.
            registers.clear_resume_flag();
            self.set_registers(tid, registers);
            self.keep_after_fault(tid, libc::SIGILL);
            self.site_hit(tid, at);
            return true;
        }
        let mut byte = [0];
        let was_ours = space.retired.get(&at).is_some_and(|site| site.trap == FAULT)
            || space.sites.get(at).is_some_and(|site| site.trap == TRAP);
        if was_ours && space.memory.read(at, &mut byte) == 1 && byte[0] != FAULT {
            // Removed since the thread faulted: what is there now is executed instead.
            self.keep_after_fault(tid, libc::SIGILL);
            self.settle(tid);
            return true;
        }
        false
    }

    /// Whether a thread of a process that is let go faulted at a site that was removed since.
    pub(crate) fn fault_of_removed_site(&mut self, tid: ThreadId) -> bool {
        let Some(registers) = self.registers(tid) else { return false };
        let at = Va(registers.pc());
        let Some(space) = self.space_of(tid) else { return false };
        let mut byte = [0];
        space.retired.get(&at).is_some_and(|site| site.trap == FAULT)
            && space.memory.read(at, &mut byte) == 1
            && byte[0] != FAULT
    }

    /// Mappings of ours in a process.
    pub(crate) fn own_ranges(&self, process: ProcessId) -> Vec<VaRange> {
        let space = self.processes.get(&process).and_then(|known| self.spaces.get(&known.space));
        space.and_then(|space| space.protection.lifeline()).map(Installed::ranges).unwrap_or_default()
    }

    /// A fork child has a copy of its parent's lifeline: kept with it if it is followed, else taken away at its first stop.
    pub(crate) fn inherit_protection(&mut self, from: AddressSpaceId, child: ProcessId, followed: bool) {
        let Some(Protection::Installed { lifeline, gadgets, kept_at, forced }) =
            self.spaces.get(&from).map(|space| &space.protection)
        else {
            return;
        };
        let (lifeline, gadgets, kept_at, forced) = (lifeline.clone(), *gadgets, *kept_at, *forced);
        let Some(process) = self.processes.get_mut(&child) else { return };
        if !followed {
            process.inherited = Some(lifeline);
            return;
        }
        lifeline.inherit(child, &mut *self.journal);
        if let Some(space) = self.spaces.get_mut(&process.space) {
            lifeline.forget_records(&space.memory);
            space.protection = Protection::Installed { lifeline, gadgets, kept_at, forced };
        }
    }

    /// Takes the lifeline out of a process whose threads are stopped and that is about to be let go.
    pub(crate) fn unprotect(&mut self, process: ProcessId) {
        let Some(space_id) = self.processes.get(&process).map(|known| known.space) else { return };
        // A child that borrows its parent's memory leaves what is there to the parent; its own actions end with exec.
        if u64::from(process.0) != space_id.0 && self.spaces.contains_key(&space_id) {
            return;
        }
        let is_borrowed = self.processes_in(space_id).len() > 1;
        let Some(lifeline) = self.spaces.get(&space_id).and_then(|space| space.protection.lifeline()).cloned() else {
            return;
        };
        let threads = self.thread_ids(process);
        let all_stopped = threads.iter().all(|tid| {
            self.threads.get(tid).is_some_and(|thread| thread.is_stopped() || thread.state == State::Exiting)
        });
        let stacks: Vec<(Va, Va)> = threads
            .iter()
            .filter_map(|tid| self.registers(*tid))
            .map(|registers| (Va(registers.pc()), Va(registers.sp())))
            .collect();
        let is_free = all_stopped && !is_borrowed;
        let removed = self.with_caller(space_id, None, |mut caller, _, journal| match is_free {
            true => Ok(lifeline.clone().remove(&mut caller, &stacks, Scan::All, journal)),
            false => {
                lifeline.retire(&mut caller, journal);
                Ok(false)
            }
        });
        match removed {
            Ok(true) => {}
            Ok(false) => tracing::warn!(%process, "the lifeline stays mapped: something still leads there"),
            Err(why) => tracing::warn!(%process, %why, "the lifeline stays in place"),
        }
        if let Some(space) = self.spaces.get_mut(&space_id) {
            space.protection = Protection::NotTried;
        }
    }

    /// Takes the lifeline out of a fork child that is about to be let go, in its first stop.
    pub(crate) fn unprotect_child(&mut self, tid: ThreadId) {
        let Some(process) = self.threads.get(&tid).map(|thread| thread.process) else { return };
        let Some(lifeline) = self.processes.get_mut(&process).and_then(|known| known.inherited.take()) else { return };
        let removed = (|| {
            let memory = ProcessMemory::open(process).map_err(|_| NotSafe::Call(CallError::Gone))?;
            let regions = read_regions(process, &[]).unwrap_or_default();
            let gadgets = Gadgets::find(&memory, &regions).ok_or(NotSafe::Call(CallError::NoGadget))?;
            let mut caller = Caller::new(process, tid.0, &memory, gadgets, None)?;
            let general = registers::general(tid.0).map_err(|_| NotSafe::Call(CallError::Gone))?;
            let stacks = [(Va(general.pc()), Va(general.sp()))];
            Ok::<bool, NotSafe>(lifeline.remove(&mut caller, &stacks, Scan::Stacks, &mut *self.journal))
        })();
        if let Err(why) = removed {
            tracing::warn!(%process, %why, "a fork child keeps the lifeline");
        }
    }

    /// A process executed another program: the lifeline is gone with its memory. A signal that the program ignored is
    /// ignored again, as exec would have left it.
    pub(crate) fn protection_execed(&mut self, process: ProcessId, tid: ThreadId, protection: Protection) {
        let Protection::Installed { lifeline, .. } = protection else { return };
        let ignored = lifeline.forget(process, &mut *self.journal);
        if ignored.is_empty() {
            return;
        }
        let Some(space) = self.space_id_of(tid) else { return };
        let restored = self.with_caller(space, Some(tid), |caller, _, _| {
            let ignore = KernelSigaction { handler: 1, ..KernelSigaction::default() };
            ignored.iter().try_for_each(|signal| set_action(&caller, *signal, ignore))
        });
        if let Err(why) = restored {
            tracing::warn!(%process, %why, "signals that the program ignored are at their defaults");
        }
    }
}
