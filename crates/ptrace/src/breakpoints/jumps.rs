//! Jump pads in use: when a site gets one, how its jump is put in and taken away, and threads that stop in one.
//!
//! A site whose hits often do not stop - the condition was false, they were another thread's, they passed or were written down -
//! gets a jump in place of its code, to a pad that decides about hits in the debuggee ([`crate::lifeline`]). The jump is written and taken away while all threads of the address space are stopped:
//! it is five bytes, and no thread may see some of them. Everything else goes on as with any other site: a thread that
//! comes to the pad's trap has hit the site.

use outpost_base::{AddressSpaceId, ProcessId, ThreadId, Va, VaRange};
use outpost_target::{BreakpointId, ConditionPlace, JumpCode, LogPlan, ThreadFilter};

use super::protection::MAX_PAD_STEPS;
use super::sites::{Covered, FAULT, MAX_INSTRUCTION, Owner};
use crate::lifeline::{Jump, NotSafe, PadLog};
use crate::regions::read_regions;
use crate::sys::ptrace;
use crate::sys::ptrace_registers::word;
use crate::tracer::{Arrival, Space, Thread, Tracer, state_letter};

/// Hits that do not stop before a site gets a jump. A jump costs about as much as this many.
const HOT: u32 = 64;
/// After a refusal it is tried again when so many more did not stop.
const RETRY: u32 = 1 << 16;
/// The same where only the moment was wrong.
const RETRY_SOON: u32 = 1 << 10;
/// Instructions that a jump pad executes at most: those of its code, five for each byte of the texts that it writes down and for
/// each word that it copies, and what it asks for room.
const MAX_JUMP_STEPS: usize = JumpCode::MAX_LEN + 5 * LogPlan::MAX_TEXTS + 5 * 256 + 8 * 64;

/// Why a site has no jump.
struct NoJump {
    /// For the user.
    why: String,
    /// It may be otherwise in a moment.
    passes: bool,
}

impl From<String> for NoJump {
    fn from(why: String) -> NoJump {
        NoJump { why, passes: false }
    }
}

impl From<&str> for NoJump {
    fn from(why: &str) -> NoJump {
        NoJump { why: why.into(), passes: false }
    }
}

impl Tracer {
    /// A hit did not stop. The thread stands at the site.
    pub(super) fn heat(&mut self, tid: ThreadId, at: Va) {
        let Some(space_id) = self.space_id_of(tid) else { return };
        let Some(site) = self.spaces.get_mut(&space_id).and_then(|space| space.sites.get_mut(at)) else { return };
        site.misses = site.misses.wrapping_add(1);
        if site.misses != HOT && !site.misses.is_multiple_of(RETRY) {
            return;
        }
        // While a stop is under way nobody else is set going; the next such hit is as good.
        if self.threads.values().any(|thread| thread.held) {
            if let Some(site) = self.spaces.get_mut(&space_id).and_then(|space| space.sites.get_mut(at)) {
                site.misses -= 1;
            }
            return;
        }
        let refused = self.plant_jump(tid, space_id, at).err();
        if let Some(NoJump { why, passes }) = refused
            && let Some(site) = self.spaces.get_mut(&space_id).and_then(|space| space.sites.get_mut(at))
        {
            site.no_jump = why;
            if passes {
                site.misses = RETRY - RETRY_SOON;
            }
        }
    }

    /// Before a hit at a site is looked at: what pads have written comes first. Where hits still pass at the site's own pad, which
    /// counts them, this one came to its trap for another reason, and is counted here; so the pad's part ends.
    pub(crate) fn settle_pads(&mut self, tid: ThreadId, at: Va) {
        let Some(space_id) = self.space_id_of(tid) else { return };
        let has_data = |space: &Space| space.protection.lifeline().is_some_and(|lifeline| lifeline.has_data());
        if !self.spaces.get(&space_id).is_some_and(has_data) {
            return;
        }
        self.drain_logs(space_id);
        let Some(space) = self.spaces.get(&space_id).filter(|space| space.sites.jump(at).is_some()) else { return };
        let owners = space.sites.get(at).map(|site| site.owners.clone()).unwrap_or_default();
        let passes = |owner: &Owner| match owner {
            Owner::Client(id) => self.breakpoints.get(*id).is_some_and(|breakpoint| breakpoint.to_skip > 0),
            _ => false,
        };
        if owners.iter().any(passes) {
            self.remove_jumps(space_id, VaRange::from_len(at, 1));
        }
    }

    /// Where a breakpoint's condition is looked at.
    pub(super) fn condition_place(&self, space: AddressSpaceId, at: Va) -> ConditionPlace {
        let Some(space) = self.spaces.get(&space) else { return ConditionPlace::Target { because: String::new() } };
        if space.sites.jump(at).is_some() {
            return ConditionPlace::Debuggee;
        }
        ConditionPlace::Target { because: space.sites.get(at).map(|site| site.no_jump.clone()).unwrap_or_default() }
    }

    /// Puts a jump in place of a site's code; or why there can be none.
    fn plant_jump(&mut self, tid: ThreadId, space_id: AddressSpaceId, at: Va) -> Result<(), NoJump> {
        let (code, original, id) = self.jump_for(space_id, at)?;
        let spec = self.breakpoints.get(id).map(|breakpoint| &breakpoint.spec);
        let log = spec.and_then(|spec| spec.log.clone()).map(|plan| PadLog { id, plan });
        let space = self.spaces.get(&space_id).ok_or("its address space is gone")?;
        let lifeline = space.protection.lifeline().ok_or("the process has no lifeline")?.clone();
        let (lifeline, jump) = self
            .with_caller(space_id, Some(tid), |caller, _, journal| {
                let mut lifeline = lifeline.clone();
                let regions = read_regions(caller.process(), &[]).unwrap_or_default();
                let added = lifeline.add_jump(at, &code, log.clone(), caller, &regions, journal);
                Ok((lifeline, added))
            })
            .map_err(|why| why.to_string())?;
        if let Some(space) = self.spaces.get_mut(&space_id) {
            space.protection.replace_lifeline(lifeline);
        }
        let jump = jump.map_err(|why| match why {
            NotSafe::NoRoom => "there is no room for a pad where a jump could reach it".to_owned(),
            other => other.to_string(),
        })?;
        let process = self.process_in(space_id).unwrap_or(ProcessId(space_id.0 as u32));
        let covered = Covered { original, jump: jump.bytes() };
        let paused = self.pause(&|tracer, thread| tracer.space_id_of(thread.id) == Some(space_id), Some(tid));
        let written = self.write_jump(tid, space_id, process, &jump, covered);
        self.unpause(paused);
        written
    }

    /// Writes a jump while the others are stopped.
    fn write_jump(
        &mut self,
        tid: ThreadId,
        space_id: AddressSpaceId,
        process: ProcessId,
        jump: &Jump,
        covered: Covered,
    ) -> Result<(), NoJump> {
        if !self.is_still(space_id, tid) {
            let why = "a thread could not be stopped while the jump was to be written".into();
            return Err(NoJump { why, passes: true });
        }
        // What happened while they were stopped may have changed it.
        let (code, _, id) = self.jump_for(space_id, jump.site)?;
        if code != *jump.code() {
            return Err("the breakpoint was changed meanwhile".into());
        }
        self.fill_cells(space_id, jump, id)?;
        self.journal.jump_planned(space_id, process, jump.site, &covered.original, &covered.jump);
        let Some(space) = self.spaces.get_mut(&space_id) else { return Err("its address space is gone".into()) };
        if space.memory.write(jump.site, &covered.jump) != covered.jump.len() {
            space.memory.write(jump.site, &with_fault(covered.original));
            self.journal.jump_removed(space_id, jump.site);
            return Err("its code cannot be written".into());
        }
        let beginnings = jump.copies().map(|(site, _)| site);
        space.sites.cover(jump.site, covered, beginnings, &jump.code().expected);
        if let Some(site) = space.sites.get_mut(jump.site) {
            site.no_jump.clear();
        }
        if jump.log().is_some() {
            self.logs.look_again(0);
        }
        Ok(())
    }

    /// Tells a pad that nobody is led to yet how many hits pass, and whose count.
    fn fill_cells(&mut self, space_id: AddressSpaceId, jump: &Jump, id: BreakpointId) -> Result<(), NoJump> {
        let Some(pad) = jump.pad() else { return Ok(()) };
        // No thread pointer has this value.
        let (mut passes, mut thread) = (0, u64::MAX);
        if let Some(breakpoint) = self.breakpoints.get(id) {
            passes = breakpoint.to_skip;
            if let ThreadFilter::Only(only) = breakpoint.spec.threads
                && self.threads.contains_key(&only)
            {
                let why = || NoJump { why: "its thread could not be stopped".into(), passes: true };
                thread = self.registers(only).ok_or_else(why)?.0[word::FS_BASE];
            }
        }
        let space = self.spaces.get(&space_id).ok_or("its address space is gone")?;
        let lifeline = space.protection.lifeline().ok_or("the process has no lifeline")?;
        let mut pointer = [0; 8];
        if thread != u64::MAX
            && (space.memory.read(Va(thread), &mut pointer) != 8 || u64::from_le_bytes(pointer) != thread)
        {
            return Err("its thread has no thread pointer by which to know it".into());
        }
        match lifeline.set_cells(pad, passes, thread, &space.memory) {
            true => Ok(()),
            false => Err("the memory that pads share with the server cannot be written".into()),
        }
    }

    /// Whether no thread of a space, but one, executes its code.
    fn is_still(&self, space_id: AddressSpaceId, except: ThreadId) -> bool {
        let in_space = |thread: &&Thread| self.space_id_of(thread.id) == Some(space_id) && thread.id != except;
        // Whoever cannot be stopped is in the kernel, and finds what is there when it comes back; a new one is stopped already.
        let is_out_of_the_way =
            |thread: &Thread| matches!(state_letter(thread.id), Some(b'D' | b't' | b'Z' | b'X') | None);
        let runs = |thread: &Thread| thread.is_out() && !is_out_of_the_way(thread);
        !self.threads.values().filter(in_space).any(runs)
    }

    /// The code for a site's jump, what it replaces and whose it is, if the site can have one.
    fn jump_for(
        &self,
        space_id: AddressSpaceId,
        at: Va,
    ) -> Result<(JumpCode, [u8; JumpCode::WINDOW], BreakpointId), String> {
        let space = self.spaces.get(&space_id).ok_or("its address space is gone")?;
        let site = space.sites.get(at).filter(|site| site.planted).ok_or("it is not planted")?;
        let [Owner::Client(id)] = site.owners[..] else { return Err("another breakpoint is at its place".into()) };
        let spec = self.breakpoints.get(id).map(|breakpoint| &breakpoint.spec).ok_or("it is gone")?;
        let code = spec.jump.as_deref().ok_or("")?;
        let window = VaRange::from_len(at, JumpCode::WINDOW as u64);
        let has_pad = space.protection.lifeline().is_some_and(|lifeline| lifeline.pad_of(at).is_some());
        if site.trap != FAULT || !has_pad {
            return Err("its displaced instruction has no pad".into());
        }
        if !space.sites.is_free(VaRange { start: at + 1, end: window.end }) {
            return Err("another breakpoint is within the bytes of a jump".into());
        }
        if window.start.0 / 4096 != (window.end.0 - 1) / 4096 {
            return Err("the jump would lie on two pages".into());
        }
        let mut present = [0; MAX_INSTRUCTION + JumpCode::WINDOW];
        let count = space.memory.read(at, &mut present);
        space.sites.hide(at, &mut present[..count]);
        if !present[..count].starts_with(&code.expected) {
            return Err("the code is not what it was when the condition was compiled".into());
        }
        let process = self.process_in(space_id).ok_or("its process is gone")?;
        let regions = read_regions(process, &[]).unwrap_or_default();
        let is_of_a_file = |range: &VaRange| {
            let region = regions.iter().find(|region| region.range.contains(range.start));
            region.is_some_and(|region| region.inode != 0 && !region.shared && region.range.end >= range.end)
        };
        if !is_of_a_file(&window) {
            return Err("its code was made at run time and may be made anew".into());
        }
        if !has_lahf() {
            return Err("the processor lacks lahf".into());
        }
        let mut original = [0; JumpCode::WINDOW];
        original.copy_from_slice(&present[..JumpCode::WINDOW]);
        Ok((code.clone(), original, id))
    }

    /// Takes the jumps away that cover any of a range; their sites stay, as they were before.
    pub(crate) fn remove_jumps(&mut self, space_id: AddressSpaceId, range: VaRange) {
        let jumps = self.spaces.get(&space_id).map(|space| space.sites.jumps_over(range)).unwrap_or_default();
        if jumps.is_empty() {
            return;
        }
        let paused = self.pause(&|tracer, thread| tracer.space_id_of(thread.id) == Some(space_id), None);
        // What they have counted so far is the breakpoint's.
        self.drain_logs(space_id);
        for at in jumps {
            let Some(space) = self.spaces.get_mut(&space_id) else { break };
            let Some(covered) = space.sites.uncover(at) else { continue };
            let mut present = [0; JumpCode::WINDOW];
            if space.memory.read(at, &mut present) == present.len() && present == covered.jump {
                space.memory.write(at, &with_fault(covered.original));
            }
            if let Some(site) = space.sites.get_mut(at) {
                site.misses = 0;
            }
            self.journal.jump_removed(space_id, at);
        }
        self.unpause(paused);
    }

    /// Where a thread at a site goes on that is to execute the displaced instruction in a pad.
    pub(super) fn way_on(&self, space: &Space, at: Va) -> Option<Va> {
        let lifeline = space.protection.lifeline()?;
        let of_jump = space.sites.get(at).and_then(|site| {
            site.owners.iter().find_map(|owner| if let Owner::Jump(jump) = owner { Some(*jump) } else { None })
        });
        let jump = of_jump.unwrap_or(at);
        match space.sites.jump(jump).and_then(|covered| lifeline.jump_of(jump, covered.jump)) {
            Some(pad) => pad.copies().find(|(site, _)| *site == at).map(|(_, copy)| copy),
            None => lifeline.pad_of(at),
        }
    }

    /// How many steps a thread may need to leave the pad it is in.
    pub(super) fn steps_left_in_pad(&mut self, tid: ThreadId) -> usize {
        let pc = self.registers(tid).map(|registers| Va(registers.pc()));
        let lifeline = self.space_of(tid).and_then(|space| space.protection.lifeline());
        match pc.zip(lifeline).and_then(|(pc, lifeline)| lifeline.jump_at(pc)) {
            Some(_) => MAX_JUMP_STEPS,
            None => MAX_PAD_STEPS,
        }
    }

    /// A thread in a jump pad that has done nothing yet of an instruction at the site is there. Gives that arrival where the pad
    /// has decided about it, so that it is none again.
    pub(super) fn leave_jump_code(&mut self, tid: ThreadId) -> Option<Arrival> {
        let registers = self.registers(tid)?;
        let pc = Va(registers.pc());
        let lifeline = self.space_of(tid)?.protection.lifeline()?;
        let (place, is_decided) = lifeline.jump_at(pc)?.place_of(pc)?;
        self.set_pc(tid, place);
        is_decided.then(|| Arrival { pc: place, sp: Va(registers.sp()) })
    }

    /// Takes a thread out of a jump pad that has just stopped there. `true`: its stop was dealt with.
    pub(super) fn leave_jump(&mut self, tid: ThreadId, signo: i32, event: i32, jump: &Jump) -> bool {
        let Some(general) = self.registers(tid) else { return false };
        let pc = Va(general.pc());
        if let Some((place, is_decided)) = jump.place_of(pc) {
            // At the trap this is the hit, which is looked at next.
            self.set_pc(tid, place);
            if is_decided && let Some(thread) = self.threads.get_mut(&tid) {
                thread.arrival = Some(Arrival { pc: place, sp: Va(general.sp()) });
            }
            return false;
        }
        let info = if event == 0 { ptrace::signal_info(tid.0).ok() } else { None };
        let is_fault = info.as_ref().is_some_and(|info| info.code() > 0)
            && matches!(signo, libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE);
        if let Some(exit) = jump.exit_of(pc).filter(|_| is_fault) {
            // The condition read what is not there. That is for its author to see, as the site's hit.
            self.set_pc(tid, exit);
            if self.step_out_of_pad(tid) != super::Passed::Elsewhere {
                self.site_hit(tid, jump.site);
            }
            return true;
        }
        if let Some((site, copy)) = jump.displaced_at(pc).filter(|_| is_fault) {
            self.put_at_site(tid, site, copy);
            return false;
        }
        self.step_out_for(tid, signo, info);
        true
    }
}

/// The bytes at a site without its jump.
fn with_fault(mut original: [u8; JumpCode::WINDOW]) -> [u8; JumpCode::WINDOW] {
    original[0] = FAULT;
    original
}

/// Whether `lahf` and `sahf` work in 64-bit mode (Intel SDM vol. 2, CPUID: 80000001H, ecx bit 0).
fn has_lahf() -> bool {
    std::arch::x86_64::__cpuid(0x8000_0001).ecx & 1 == 1
}
