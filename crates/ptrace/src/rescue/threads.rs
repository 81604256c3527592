//! Threads of abandoned debuggees: stopped for a moment, put right, let go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use outpost_base::{ProcessId, ThreadId, Va};
use rustix::io::Errno;

use super::RescueReport;
use crate::journal::{JournalImage, JournaledSite, JournaledThread};
use crate::sys::ptrace::{self, Go, RawSigInfo};
use crate::sys::ptrace_registers as registers;
use crate::sys::ptrace_wait::{Decoded, Whom, wait_now};
use crate::sys::rescue::seize_plain;
use crate::sys::signal;
use crate::traps::has_pending_trap;

/// The breakpoint instruction that leaves pc behind it.
const INT3: u8 = 0xcc;
/// `si_code` of traps: after a single step that ended a system call, after any other, by a debug register, by the
/// breakpoint instruction (arch/x86/kernel/ptrace.c, `user_single_step_report`; arch/x86/kernel/traps.c).
const TRAP_BRKPT: i32 = 1;
const TRAP_TRACE: i32 = 2;
const TRAP_HWBKPT: i32 = 4;
const SI_KERNEL: i32 = 0x80;
/// `PTRACE_EVENT_STOP`, which a seized thread reports when it was interrupted or is in a group-stop.
const EVENT_STOP: i32 = 128;
/// How long a signal that was sent may take to arrive.
const DELIVERY: Duration = Duration::from_millis(200);
/// How long to sleep between two looks.
const PAUSE: Duration = Duration::from_micros(200);
/// Other signals that may come before the one that was sent.
const MAX_OTHER_SIGNALS: usize = 64;

/// What only a tracer can undo in one process.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    sites: BTreeMap<Va, &'a JournaledSite>,
    threads: BTreeMap<ThreadId, &'a JournaledThread>,
}

/// Threads that are ours for a moment.
#[derive(Debug, Default)]
pub(super) struct Captives {
    /// Stopped, with the signal that each was about to get.
    stopped: BTreeMap<u32, Stop>,
    /// Seized and told to stop, not stopped yet: in uninterruptible sleep, or the parent of a vfork.
    awaited: BTreeMap<u32, ProcessId>,
}

#[derive(Debug, Clone, Copy)]
struct Stop {
    process: ProcessId,
    /// The signal about to be delivered, 0 if none.
    signal: i32,
}

impl<'a> Plan<'a> {
    pub(super) fn new(image: &'a JournalImage, process: ProcessId) -> Plan<'a> {
        let threads = image.threads.iter().filter(|thread| {
            thread.process == process && (thread.debug_registers || thread.stepping || thread.signal != 0)
        });
        Plan { threads: threads.map(|thread| (thread.thread, thread)).collect(), ..Plan::for_child(image, process) }
    }

    /// For a process that inherited the memory of `parent` and nothing else.
    pub(super) fn for_child(image: &'a JournalImage, parent: ProcessId) -> Plan<'a> {
        let sites = image.sites.iter().filter(|site| site.process == parent);
        Plan { sites: sites.map(|site| (site.at, site)).collect(), threads: BTreeMap::new() }
    }

    /// Whether there is anything to do; a process that was only looked at is not stopped again.
    pub(super) fn is_needed(&self) -> bool {
        !self.sites.is_empty() || !self.threads.is_empty()
    }
}

/// Seizes and stops all threads of a process, waiting for a dying tracer to let go of them.
pub(super) fn seize_all(process: ProcessId, deadline: Instant) -> Captives {
    let mut captives = Captives::default();
    let mut seen = BTreeSet::new();
    loop {
        // A thread that is not stopped yet may make others: look until a round finds no new one.
        let (mut is_new, mut is_held) = (false, false);
        for thread in threads_of(process) {
            if seen.contains(&thread) {
                continue;
            }
            match seize_plain(thread) {
                Ok(()) => {
                    // It fails only if the thread ended, which waiting for it shows.
                    _ = ptrace::interrupt(thread);
                    captives.awaited.insert(thread, process);
                    seen.insert(thread);
                    is_new = true;
                }
                // Still traced by the dying worker, or ended and not reaped.
                Err(Errno::PERM) => is_held = true,
                Err(_) => drop(seen.insert(thread)),
            }
        }
        captives.collect();
        if !is_new && !is_held && captives.awaited.is_empty() {
            return captives;
        }
        if Instant::now() >= deadline {
            return captives;
        }
        if !is_new {
            std::thread::sleep(PAUSE);
        }
    }
}

/// Puts the stopped threads right and lets them go.
pub(super) fn put_right(captives: &mut Captives, plan: &Plan<'_>, report: &mut RescueReport) {
    for (thread, stop) in std::mem::take(&mut captives.stopped) {
        report.threads_stopped += 1;
        let stop = bring_to_trap(thread, stop);
        let journaled = plan.threads.get(&ThreadId(thread)).copied();
        if journaled.is_some_and(|journaled| journaled.debug_registers) {
            clear_debug_registers(thread);
        }
        let mut signal = stop.signal;
        match correct(thread, stop.signal, journaled, plan) {
            Correction::None => {}
            Correction::Swallow => {
                signal = 0;
                report.threads_moved += 1;
            }
            Correction::Move => report.threads_moved += 1,
        }
        // A single step ends with the detaching: ptrace_disable() clears the flag that the tracer had set.
        let held = journaled.filter(|journaled| journaled.signal != 0 && signal == 0 && !is_fault(journaled));
        match held {
            Some(held) => {
                report.signals_restored += u32::from(send_again(stop.process, thread, held));
            }
            None => _ = ptrace::detach(thread, signal),
        }
    }
}

/// A trap or fault that is pending already is delivered before the thread executes anything: it is let go on to that.
fn bring_to_trap(thread: u32, stop: Stop) -> Stop {
    if stop.signal != 0 || !has_pending_trap(stop.process, thread) {
        return stop;
    }
    if ptrace::go(thread, Go::Continue, 0).is_err() {
        return stop;
    }
    let deadline = Instant::now() + DELIVERY;
    let mut captives = Captives::default();
    captives.awaited.insert(thread, stop.process);
    while !captives.awaited.is_empty() && Instant::now() < deadline {
        captives.collect();
        std::thread::sleep(PAUSE);
    }
    captives.stopped.remove(&thread).unwrap_or(stop)
}

enum Correction {
    None,
    /// pc was moved.
    Move,
    /// The signal is ours.
    Swallow,
}

/// Finds out whether one of our bytes or flags led the thread astray, and corrects its pc.
fn correct(thread: u32, signal: i32, journaled: Option<&JournaledThread>, plan: &Plan<'_>) -> Correction {
    let Ok(mut general) = registers::general(thread) else { return Correction::None };
    let pc = Va(general.pc());
    let code = if signal == 0 { 0 } else { signal_code(thread) };
    let int3_before = plan.sites.get(&(pc - 1)).filter(|site| site.replacement.first() == Some(&INT3));
    match signal {
        libc::SIGILL if code > 0 && plan.sites.contains_key(&pc) => Correction::Swallow,
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

/// Whether a byte is an instruction by itself in 64-bit mode (Intel SDM vol. 2, appendix A, one-byte opcodes).
fn is_whole(byte: u8) -> bool {
    matches!(byte, 0x50..=0x5f | 0x6c..=0x6f | 0x90..=0x99 | 0x9b..=0x9f | 0xa4..=0xa7 | 0xaa..=0xaf | 0xc3 | 0xc9
        | 0xcb | 0xcc | 0xcf | 0xd7 | 0xec..=0xef | 0xf1 | 0xf4 | 0xf5 | 0xf8..=0xfd)
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

/// Sends a stopped thread the signal that it lost, with what it carried, and lets it go. Whether it got it.
fn send_again(process: ProcessId, thread: u32, held: &JournaledThread) -> bool {
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
                        _ = ptrace::set_signal_info(thread, &RawSigInfo(**information));
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
    captives.awaited.insert(thread, process);
    let deadline = Instant::now() + DELIVERY;
    while !captives.awaited.is_empty() && Instant::now() < deadline {
        captives.collect();
        std::thread::sleep(PAUSE);
    }
    captives.let_go();
    true
}

fn threads_of(process: ProcessId) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

impl Captives {
    /// Looks which of the awaited threads have stopped or ended.
    fn collect(&mut self) {
        let stopped = &mut self.stopped;
        self.awaited.retain(|&thread, &mut process| match wait_now(Whom::Thread(thread)) {
            Ok(None) => true,
            Ok(Some((_, status))) => {
                if let Decoded::Stopped { signal, event } = status.decode() {
                    // At an event stop nothing is about to be delivered; in a group-stop it stays when let go.
                    let signal = if event == EVENT_STOP || event != 0 { 0 } else { signal & 0x7f };
                    stopped.insert(thread, Stop { process, signal });
                }
                false
            }
            Err(_) => false,
        });
    }

    /// Lets all go that are stopped, as they are.
    fn let_go(&mut self) {
        for (thread, stop) in std::mem::take(&mut self.stopped) {
            _ = ptrace::detach(thread, stop.signal);
        }
    }

    /// Takes over those that are not stopped yet.
    pub(super) fn extend(&mut self, other: Captives) {
        self.stopped.extend(other.stopped);
        self.awaited.extend(other.awaited);
    }

    /// Lets those go that have stopped meanwhile.
    pub(super) fn retry(&mut self) {
        self.collect();
        self.let_go();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stopped.is_empty() && self.awaited.is_empty()
    }

    pub(super) fn threads(&self) -> Vec<ThreadId> {
        self.awaited.keys().map(|thread| ThreadId(*thread)).collect()
    }
}
