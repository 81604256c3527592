//! Threads of abandoned debuggees: stopped for a moment, put right, let go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use outpost_base::{ProcessId, ThreadId, Va};
use rustix::io::Errno;

use super::RescueReport;
use super::remains::{Remains, Taken};
use crate::journal::{JournalImage, JournaledPages, JournaledSite, JournaledThread};
use crate::memory::{ProcessMemory, has_memory};
use crate::os::ProcRoot;
use crate::seccomp;
use crate::sys::ptrace::{self, Go, RawSigInfo};
use crate::sys::ptrace_registers as registers;
use crate::sys::ptrace_wait::{Decoded, Whom, wait_now};
use crate::sys::rescue::seize_alone;
use crate::sys::signal;
use crate::traps::{OTHER_FAULTS, has_pending_trap};

/// The breakpoint instruction that leaves pc behind it.
const INT3: u8 = 0xcc;
/// The one that faults at its place.
const FAULT: u8 = 0xd6;
/// `si_code` of traps: after a single step that ended a system call, after any other, by a debug register, by the
/// breakpoint instruction (arch/x86/kernel/ptrace.c, `user_single_step_report`; arch/x86/kernel/traps.c).
const TRAP_BRKPT: i32 = 1;
const TRAP_TRACE: i32 = 2;
const TRAP_HWBKPT: i32 = 4;
const SI_KERNEL: i32 = 0x80;
/// `si_code` of SIGSEGV: the page is there, and its protection forbids the access.
const SEGV_ACCERR: i32 = 2;
/// `PTRACE_EVENT_STOP`, which a seized thread reports when it was interrupted or is in a group-stop.
const EVENT_STOP: i32 = 128;
/// How long a signal that was sent may take to arrive.
const DELIVERY: Duration = Duration::from_millis(200);
/// How long to sleep between two looks.
const PAUSE: Duration = Duration::from_micros(200);
/// Other signals that may come before the one that was sent.
const MAX_OTHER_SIGNALS: usize = 64;
/// How often a process is stopped for what threads in our code, or processes in the same memory, stand against.
const MAX_ROUNDS: u32 = 50;
/// The same where no call could be made: mostly none ever can.
const MAX_REFUSALS: u32 = 3;
/// The same for what looks like a return into a pad.
const MAX_RETURNS: u32 = 10;

/// What only a tracer can undo in one process.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    sites: BTreeMap<Va, &'a JournaledSite>,
    threads: BTreeMap<ThreadId, &'a JournaledThread>,
    remains: Option<Remains<'a>>,
    pages: Vec<&'a JournaledPages>,
}

/// Threads that are ours for a moment.
#[derive(Debug, Default)]
pub(super) struct Captives {
    /// Stopped, with the signal that each was about to get.
    stopped: BTreeMap<u32, Stop>,
    /// Seized and told to stop, not stopped yet: in uninterruptible sleep, or the parent of a vfork.
    awaited: BTreeMap<u32, Awaited>,
    /// Somebody else traced threads of the process until the time was over: a worker that is slow to die.
    are_held: bool,
    /// A filter forbids how their sleeps would go on.
    begins_anew: bool,
    /// Threads that have got what the journal has for them, and were let go.
    settled: BTreeSet<u32>,
    /// How often they were put right.
    rounds: u32,
}

#[derive(Debug, Clone, Copy)]
struct Stop {
    process: ProcessId,
    /// The signal about to be delivered, 0 if none.
    signal: i32,
    /// One that it was about to get before, and gets when it is let go.
    held: Option<Held>,
}

#[derive(Debug, Clone, Copy)]
struct Awaited {
    process: ProcessId,
    /// As in [`Stop`].
    held: Option<Held>,
}

/// A signal to be sent again, with what it carried.
#[derive(Debug, Clone, Copy)]
struct Held {
    signal: i32,
    information: Option<RawSigInfo>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(image: &'a JournalImage, process: ProcessId) -> Plan<'a> {
        let threads = image.threads.iter().filter(|thread| {
            thread.process == process
                && (thread.debug_registers || thread.stepping || thread.trap_unblocked || thread.signal != 0)
        });
        Plan { threads: threads.map(|thread| (thread.thread, thread)).collect(), ..Plan::for_child(image, process) }
    }

    /// For a process that inherited the memory of `parent` and nothing else.
    pub(super) fn for_child(image: &'a JournalImage, parent: ProcessId) -> Plan<'a> {
        let sites = image.sites.iter().filter(|site| site.process == parent);
        let sites = sites.map(|site| (site.at, site)).collect();
        let pages = image.pages.iter().filter(|pages| pages.process == parent).collect();
        Plan { sites, threads: BTreeMap::new(), remains: Remains::of(image, parent), pages }
    }

    /// Whether a process that was forked from the plan's has anything of ours in it beside sites.
    pub(super) fn remains_in(&self, process: ProcessId) -> bool {
        self.remains.as_ref().is_some_and(|remains| remains.are_in(process))
    }

    /// Whether a page has, or had, a protection of ours.
    fn has_page(&self, at: Va) -> bool {
        self.pages.iter().any(|pages| pages.piece.range.contains(at))
    }

    /// Whether there is anything to do; a process that was only looked at is not stopped again.
    pub(super) fn is_needed(&self) -> bool {
        !self.sites.is_empty() || !self.threads.is_empty() || self.remains.is_some() || !self.pages.is_empty()
    }
}

/// Seizes and stops all threads of a process, waiting for a dying tracer to let go of them. `captives` are those of them
/// that are ours already.
pub(super) fn seize_all(process: ProcessId, mut captives: Captives, deadline: Instant) -> Captives {
    let mut seen: BTreeSet<u32> = captives.stopped.keys().chain(captives.awaited.keys()).copied().collect();
    loop {
        // A thread that is not stopped yet may make others: look until a round finds no new one.
        let (mut is_new, mut is_held) = (false, false);
        for thread in threads_of(process) {
            if seen.contains(&thread) {
                continue;
            }
            match seize_alone(thread) {
                Ok(()) => {
                    // It fails only if the thread ended, which waiting for it shows.
                    _ = ptrace::interrupt(thread);
                    captives.awaited.insert(thread, Awaited { process, held: None });
                    seen.insert(thread);
                    is_new = true;
                }
                // Ended; a leader is not reaped while other threads go on.
                Err(Errno::PERM) if !has_memory(process, thread as i32) => drop(seen.insert(thread)),
                // Still traced by the dying worker.
                Err(Errno::PERM) => is_held = true,
                Err(_) => drop(seen.insert(thread)),
            }
        }
        captives.collect();
        if !is_new && !is_held && captives.awaited.is_empty() {
            captives.are_held = false;
            return captives;
        }
        if Instant::now() >= deadline {
            captives.are_held = is_held;
            return captives;
        }
        if !is_new {
            std::thread::sleep(PAUSE);
        }
    }
}

/// Puts the stopped threads right, takes the lifeline away if all of them are stopped, and lets them go. `false`: this is to be
/// done once more, since some were not, or were where the lifeline is needed yet.
pub(super) fn put_right(
    process: ProcessId,
    captives: &mut Captives,
    plan: &Plan<'_>,
    report: &mut RescueReport,
) -> bool {
    captives.rounds += 1;
    let retired = plan.remains.as_ref().map(|remains| remains.sites_in(process)).unwrap_or_default();
    let forced = plan.remains.as_ref().map_or(0, |remains| remains.forced_in(process));
    captives.bring_all_to_traps();
    // Whoever stops from here on is put right the next time.
    let (known, are_all) = (captives.stopped_threads(), captives.awaited.is_empty() && !captives.are_held);
    let settled = captives.settled.clone();
    let journaled = |thread: u32| plan.threads.get(&ThreadId(thread)).copied().filter(|_| !settled.contains(&thread));
    for (thread, stop) in &mut captives.stopped {
        report.threads_stopped += 1;
        let journaled = journaled(*thread);
        if journaled.is_some_and(|journaled| journaled.debug_registers) {
            clear_debug_registers(*thread);
        }
        match correct(*thread, *stop, journaled, plan, &retired) {
            Correction::None => {}
            Correction::Swallow => {
                stop.signal = 0;
                report.threads_moved += 1;
            }
            Correction::Move => report.threads_moved += 1,
        }
        let lost = journaled.filter(|journaled| journaled.signal != 0 && stop.signal == 0 && !is_fault(journaled));
        stop.held = stop.held.or(lost.map(|lost| Held {
            signal: lost.signal,
            information: lost.information.as_ref().map(|information| RawSigInfo(**information)),
        }));
    }
    if !plan.pages.is_empty() {
        // A call of the dead worker's may be about to protect them.
        plan.remains.iter().for_each(|remains| remains.lead_out(process, captives));
        super::watched::give_back(process, captives, &plan.pages, report);
    }
    let mut taken = Taken::Away;
    if let Some(remains) = &plan.remains {
        // A step's flag goes when the thread is set going or detached. Should we die before that, it would trap with nobody there.
        for thread in plan.threads.values().filter(|thread| thread.stepping).map(|thread| thread.thread.0) {
            if captives.stopped.get(&thread).is_some_and(|stop| stop.signal == 0) {
                captives.run_for(thread, Duration::ZERO);
            }
        }
        match are_all {
            true => taken = remains.take_away(process, captives, report),
            false => report.lifelines_left += 1,
        }
    }
    let is_finished = are_all
        && captives.awaited.is_empty()
        && match taken {
            Taken::Away | Taken::ToStay => true,
            Taken::Later => captives.rounds >= MAX_ROUNDS,
            Taken::Refused => captives.rounds >= MAX_REFUSALS,
        };
    let (stopped, late) =
        std::mem::take(&mut captives.stopped).into_iter().partition(|(thread, _)| known.contains(thread));
    captives.stopped = late;
    let stopped: BTreeMap<u32, Stop> = stopped;
    for (thread, stop) in stopped {
        // Not before it has left our handler, whose return sets the mask.
        block_again(thread, forced, journaled(thread).is_some_and(|journaled| journaled.trap_unblocked));
        captives.settled.insert(thread);
        match stop.held {
            Some(held) if stop.signal == 0 => {
                report.signals_restored += u32::from(send_again(stop.process, thread, &held));
            }
            held => {
                // Pending, it comes after the other.
                held.map(|held| signal::send(stop.process.0, thread, held.signal));
                _ = ptrace::detach(thread, stop.signal);
            }
        }
    }
    is_finished
}

enum Correction {
    None,
    /// pc was moved.
    Move,
    /// The signal is ours.
    Swallow,
}

/// Finds out whether one of our bytes or flags led the thread astray, and corrects its pc.
fn correct(
    thread: u32,
    stop: Stop,
    journaled: Option<&JournaledThread>,
    plan: &Plan<'_>,
    retired: &[Va],
) -> Correction {
    let signal = stop.signal;
    let Ok(mut general) = registers::general(thread) else { return Correction::None };
    let pc = Va(general.pc());
    let code = if signal == 0 { 0 } else { signal_code(thread) };
    let int3_before = plan.sites.get(&(pc - 1)).filter(|site| site.replacement.first() == Some(&INT3));
    match signal {
        libc::SIGILL if code > 0 && plan.sites.contains_key(&pc) => Correction::Swallow,
        // No signal: what the kernel reports when a step enters a handler (kernel/signal.c, `signal_delivered`).
        libc::SIGTRAP if code == libc::SIGTRAP => Correction::Swallow,
        // At a site that the worker had just removed.
        libc::SIGILL if code > 0 && retired.contains(&pc) && !is_fault_byte(stop.process, pc) => Correction::Swallow,
        libc::SIGSEGV if code == SEGV_ACCERR && plan.has_page(signal_address(thread)) => Correction::Swallow,
        libc::SIGTRAP if code == SI_KERNEL && int3_before.is_some() => {
            general.set_pc((pc - 1).0);
            _ = registers::set_general(thread, &general);
            Correction::Swallow
        }
        libc::SIGTRAP
            if [TRAP_BRKPT, TRAP_TRACE].contains(&code) && journaled.is_some_and(|thread| thread.stepping) =>
        {
            Correction::Swallow
        }
        libc::SIGTRAP if code == TRAP_HWBKPT && journaled.is_some_and(|thread| thread.debug_registers) => {
            Correction::Swallow
        }
        // The worker had taken note of the trap and died before it moved pc. Inside an instruction nothing else can have
        // led there. Behind one of a single byte it may also have come by executing that byte: then it is left.
        0 if int3_before.is_some_and(|site| site.original.first().is_some_and(|byte| !is_whole(*byte))) => {
            general.set_pc((pc - 1).0);
            _ = registers::set_general(thread, &general);
            Correction::Move
        }
        _ => Correction::None,
    }
}

fn is_fault_byte(process: ProcessId, at: Va) -> bool {
    let mut byte = [0];
    ProcessMemory::open(process).is_ok_and(|memory| memory.read(at, &mut byte) == 1 && byte[0] == FAULT)
}

/// Whether a byte is an instruction by itself in 64-bit mode (Intel SDM vol. 2, appendix A, one-byte opcodes).
fn is_whole(byte: u8) -> bool {
    matches!(byte, 0x50..=0x5f | 0x6c..=0x6f | 0x90..=0x99 | 0x9b..=0x9f | 0xa4..=0xa7 | 0xaa..=0xaf | 0xc3 | 0xc9
        | 0xcb | 0xcc | 0xcf | 0xd7 | 0xec..=0xef | 0xf1 | 0xf4 | 0xf5 | 0xf8..=0xfd)
}

/// Blocks signals again that a thread blocks: those `forced` on it by the kernel, and SIGTRAP, `unblocked` for its steps.
fn block_again(thread: u32, forced: u64, unblocked: bool) {
    let Ok(mask) = ptrace::signal_mask(thread) else { return };
    let mut blocked = mask;
    // Whose fault it was is not known: who blocks all other faults blocked this one, too.
    let others = OTHER_FAULTS & !forced;
    if mask & others == others {
        blocked |= forced;
    }
    if unblocked {
        blocked |= 1 << (libc::SIGTRAP - 1);
    }
    if blocked != mask {
        _ = ptrace::set_signal_mask(thread, blocked);
    }
}

fn clear_debug_registers(thread: u32) {
    // Control first: while an address changes nothing may watch it.
    for index in [7, 0, 1, 2, 3, 6] {
        _ = registers::set_debug(thread, index, 0);
    }
}

/// A fault happens again by itself, when its instruction does.
fn is_fault(thread: &JournaledThread) -> bool {
    let raised_by_kernel = match &thread.information {
        Some(information) => i32::from_le_bytes([information[8], information[9], information[10], information[11]]) > 0,
        None => true,
    };
    let of_faults = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP].contains(&thread.signal);
    of_faults && raised_by_kernel
}

fn signal_code(thread: u32) -> i32 {
    ptrace::signal_info(thread).map_or(0, |info| i32::from_le_bytes([info.0[8], info.0[9], info.0[10], info.0[11]]))
}

fn signal_address(thread: u32) -> Va {
    Va(ptrace::signal_info(thread).map_or(0, |info| info.address()))
}

/// Sends a stopped thread the signal that it lost, with what it carried, and lets it go. Whether it got it.
fn send_again(process: ProcessId, thread: u32, held: &Held) -> bool {
    if signal::send(process.0, thread, held.signal).is_err() || ptrace::go(thread, Go::Continue, 0).is_err() {
        _ = ptrace::detach(thread, 0);
        return false;
    }
    let deadline = Instant::now() + DELIVERY;
    let mut others = 0;
    while Instant::now() < deadline && others < MAX_OTHER_SIGNALS {
        match wait_now(Whom::Thread(thread)) {
            Ok(None) => std::thread::sleep(PAUSE),
            Ok(Some((_, status))) => match status.decode() {
                Decoded::Stopped { signal, event: 0 } if signal == held.signal => {
                    if let Some(information) = &held.information {
                        _ = ptrace::set_signal_info(thread, information);
                    }
                    return ptrace::detach(thread, signal).is_ok();
                }
                Decoded::Stopped { signal, event } => {
                    others += 1;
                    let deliver = if event == 0 { signal } else { 0 };
                    _ = ptrace::go(thread, Go::Continue, deliver);
                }
                Decoded::Exited(_) | Decoded::Killed { .. } => return false,
            },
            Err(_) => return false,
        }
    }
    // It blocks the signal by now: the signal stays pending, without what it carried.
    _ = ptrace::interrupt(thread);
    let mut captives = Captives::default();
    captives.awaited.insert(thread, Awaited { process, held: None });
    captives.await_all();
    captives.let_go();
    true
}

/// Whether anybody traces a thread of a process.
pub(super) fn is_anybodys(process: ProcessId) -> bool {
    tracers_of(process).any(|_| true)
}

/// Whether a thread of a process is somebody else's.
pub(super) fn is_traced(process: ProcessId) -> bool {
    tracers_of(process).any(|tracer| tracer != signal::own_tid())
}

fn tracers_of(process: ProcessId) -> impl Iterator<Item = u32> {
    let tracers = threads_of(process).into_iter().filter_map(|thread| Some(ProcRoot::default().status(thread)?.tracer));
    tracers.filter(|tracer| *tracer != 0)
}

fn threads_of(process: ProcessId) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

impl Captives {
    /// None yet of a process whose records in the journal are those of `of`.
    pub(super) fn of(image: &JournalImage, of: ProcessId) -> Captives {
        let begins_anew = image.processes.iter().any(|process| process.process == of && process.begins_anew);
        Captives { begins_anew, ..Captives::default() }
    }

    /// Looks which of the awaited threads have stopped or ended.
    fn collect(&mut self) {
        let (stopped, begins_anew) = (&mut self.stopped, self.begins_anew);
        self.awaited.retain(|&thread, &mut Awaited { process, held }| match wait_now(Whom::Thread(thread)) {
            Ok(None) => true,
            Ok(Some((_, status))) => {
                if let Decoded::Stopped { signal, event } = status.decode() {
                    // At an event stop nothing is about to be delivered; in a group-stop it stays when let go.
                    let signal = if event == EVENT_STOP || event != 0 { 0 } else { signal & 0x7f };
                    if begins_anew {
                        seccomp::begin_anew_as_known(thread);
                    }
                    stopped.insert(thread, Stop { process, signal, held });
                }
                false
            }
            Err(_) => false,
        });
    }

    /// Waits a little for those that are to stop.
    fn await_all(&mut self) {
        let deadline = Instant::now() + DELIVERY;
        while !self.awaited.is_empty() && Instant::now() < deadline {
            self.collect();
            std::thread::sleep(PAUSE);
        }
    }

    /// Lets all go that are stopped, as they are.
    pub(super) fn let_go(&mut self) {
        for (thread, stop) in std::mem::take(&mut self.stopped) {
            _ = ptrace::detach(thread, stop.signal);
        }
    }

    /// The threads that are stopped.
    pub(super) fn stopped_threads(&self) -> Vec<u32> {
        self.stopped.keys().copied().collect()
    }

    /// pc and sp of each.
    pub(super) fn stacks(&self) -> Vec<(Va, Va)> {
        let general = self.stopped.keys().filter_map(|thread| registers::general(*thread).ok());
        general.map(|general| (Va(general.pc()), Va(general.sp()))).collect()
    }

    /// The stopped threads, those first that calls are best made in.
    pub(super) fn callers(&self) -> Vec<u32> {
        let mut threads: Vec<(bool, u32)> =
            self.stopped.iter().map(|(thread, stop)| (stop.signal != 0, *thread)).collect();
        threads.sort_unstable();
        threads.into_iter().map(|(_, thread)| thread).collect()
    }

    /// Takes the signal from a thread that it is about to get, until it is let go.
    pub(super) fn hold_signal(&mut self, thread: u32) {
        if let Some(stop) = self.stopped.get_mut(&thread)
            && stop.signal != 0
        {
            let held = Held { signal: stop.signal, information: ptrace::signal_info(thread).ok() };
            // One can be held with what it carries; another is pending meanwhile.
            match stop.held {
                None => stop.held = Some(held),
                Some(_) => _ = signal::send(stop.process.0, thread, stop.signal),
            }
            stop.signal = 0;
        }
    }

    /// A stopped thread does not get the signal that it was about to get.
    pub(super) fn swallow(&mut self, thread: u32) {
        if let Some(stop) = self.stopped.get_mut(&thread) {
            stop.signal = 0;
        }
    }

    /// Whether a stopped thread is about to get the signal of a fault.
    pub(super) fn faulted(&self, thread: u32) -> bool {
        let is_fault = |signal| [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE].contains(&signal);
        self.stopped.get(&thread).is_some_and(|stop| is_fault(stop.signal)) && signal_code(thread) > 0
    }

    /// Lets a stopped thread, which is about to get no signal, execute something, and stops it again.
    pub(super) fn run_for(&mut self, thread: u32, time: Duration) {
        let Some(before) = self.stopped.remove(&thread) else { return };
        if ptrace::go(thread, Go::Continue, 0).is_err() {
            return;
        }
        std::thread::sleep(time);
        // It fails only if the thread ended, which waiting for it shows.
        _ = ptrace::interrupt(thread);
        self.await_again(thread, before);
    }

    fn bring_all_to_traps(&mut self) {
        let mut seen = BTreeSet::new();
        // Meanwhile others stop.
        while let Some(thread) = self.stopped.keys().copied().find(|thread| !seen.contains(thread)) {
            seen.insert(thread);
            self.bring_to_trap(thread);
        }
    }

    /// A trap or fault that is pending already is delivered before the thread executes anything: it is let go on to that.
    fn bring_to_trap(&mut self, thread: u32) {
        let Some(before) = self.stopped.get(&thread).copied() else { return };
        if before.signal != 0
            || !has_pending_trap(before.process, thread)
            || ptrace::go(thread, Go::Continue, 0).is_err()
        {
            return;
        }
        self.stopped.remove(&thread);
        self.await_again(thread, before);
        if self.awaited.contains_key(&thread) {
            // It came to nothing, and the thread must not run on under a tracer that does not look.
            _ = ptrace::interrupt(thread);
            self.await_again(thread, before);
        }
    }

    /// Waits a little for a thread that was set going to stop again; one that does not is awaited from now on.
    fn await_again(&mut self, thread: u32, before: Stop) {
        self.awaited.insert(thread, Awaited { process: before.process, held: before.held });
        let deadline = Instant::now() + DELIVERY;
        while self.awaited.contains_key(&thread) && Instant::now() < deadline {
            self.collect();
            std::thread::yield_now();
        }
    }

    /// Whether there are threads that are not stopped yet.
    pub(super) fn are_awaited(&mut self) -> bool {
        self.collect();
        !self.awaited.is_empty()
    }

    /// Whether nobody of the process runs: no thread is awaited, or is somebody else's.
    pub(super) fn are_all_stopped(&mut self) -> bool {
        !self.are_awaited() && !self.are_held
    }

    /// Whether they are put right for the first time.
    pub(super) fn is_first_round(&self) -> bool {
        self.rounds <= 1
    }

    /// Whether what is over soon may be waited for.
    pub(super) fn is_early_round(&self) -> bool {
        self.rounds < MAX_RETURNS
    }

    pub(super) fn threads(&self) -> Vec<ThreadId> {
        self.awaited.keys().map(|thread| ThreadId(*thread)).collect()
    }
}

#[cfg(test)]
#[path = "threads_tests.rs"]
mod tests;
