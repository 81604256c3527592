//! Stops for the delivery of a signal: ours (traps) and the program's.

use std::fs;

use outpost_base::{ProcessId, ThreadId, Va};
use outpost_target::{SigInfo, StopReason};

use super::{Part, Tracer};
use crate::sys::ptrace::{self, RawSigInfo, SIGINFO_SIZE};
use crate::sys::ptrace_registers::word;

/// `si_code` of SIGTRAP: what the processor or the kernel did.
/// Sources: include/uapi/asm-generic/siginfo.h; arch/x86/kernel/traps.c (`int3`: `SI_KERNEL`, `get_si_code`),
/// arch/x86/kernel/ptrace.c (`user_single_step_report`: `TRAP_BRKPT` after a system call), kernel/signal.c
/// (`signal_setup_done`: a handler entered by a step gives the bare signal number).
pub(crate) mod trap_code {
    const TRAP_BRKPT: i32 = 1;
    const TRAP_TRACE: i32 = 2;
    const TRAP_HWBKPT: i32 = 4;
    const SI_KERNEL: i32 = 0x80;
    const HANDLER_ENTERED: i32 = libc::SIGTRAP;

    /// A single step ended.
    pub(crate) fn is_step(code: i32) -> bool {
        matches!(code, TRAP_BRKPT | TRAP_TRACE | HANDLER_ENTERED)
    }

    /// A debug register fired (and no step ended with it).
    pub(crate) fn is_debug_register(code: i32) -> bool {
        code == TRAP_HWBKPT
    }

    /// `int3` was executed.
    pub(crate) fn is_trap_byte(code: i32) -> bool {
        code == SI_KERNEL
    }
}

/// Flag TF: trap after the next instruction.
const TRAP_FLAG: u64 = 0x100;

impl Tracer {
    /// A signal is about to be delivered to a thread.
    pub(super) fn signal_stop(&mut self, tid: ThreadId, signo: i32) {
        let single_step = self.threads.get(&tid).is_some_and(|thread| thread.single_step);
        if signo == libc::SIGTRAP && single_step && self.is_plain_step(tid) {
            return self.stepped(tid);
        }
        let Ok(info) = ptrace::signal_info(tid.0) else { return self.lost(tid) };
        if signo == libc::SIGTRAP && self.trap_stop(tid, single_step, &info) {
            return;
        }
        if signo == libc::SIGILL && info.code() > 0 && self.fault_byte_hit(tid) {
            return;
        }
        if signo == libc::SIGSEGV && self.page_fault(tid, &info) {
            return;
        }
        let hidden = self.is_hidden(tid);
        let Some(thread) = self.threads.get_mut(&tid) else { return };
        thread.in_delivery = true;
        let info = thread.postponed.take_if(|first| first.signo() == signo).unwrap_or(info);
        if let Some(first) = thread.sent_again.take_if(|first| first.signo() == signo) {
            thread.signal = Some(first);
            return self.settle(tid);
        }
        thread.signal = Some(info);
        let bit = 1_u128 << (signo & 127);
        if hidden || self.rules.events.pass_signals & bit != 0 {
            return self.pass_signal(tid, signo);
        }
        if self.rules.events.drop_signals & bit != 0 {
            thread.signal = None;
            return self.settle(tid);
        }
        let process = thread.process;
        let raw = info;
        let info = siginfo_of(&raw, tid);
        if self.rules.events.second_chance_signals & bit != 0 && !info.fatal_by_default {
            return self.pass_signal(tid, signo);
        }
        self.journal.signal_information(process, tid, &raw.0);
        self.journal.signal_held(process, tid, signo);
        self.registers(tid);
        self.report(tid, StopReason::Signal(info));
    }

    /// SIGTRAP of a thread that was stepped is nothing but the step, judged by pc alone: no `int3` is one byte long and
    /// no debug register is in use. Saves a system call for each step.
    fn is_plain_step(&mut self, tid: ThreadId) -> bool {
        if self.debug_registers_used(tid) {
            return false;
        }
        let Some(registers) = self.registers(tid) else { return false };
        let Some(Part::Step(stepping)) = self.threads.get(&tid).map(|thread| &thread.part) else { return false };
        let from = stepping.last_pc();
        registers.pc() != from.0 && registers.pc() != from.0.wrapping_add(1)
    }

    /// A SIGTRAP that the debugger or the processor caused; `false`: it is the program's.
    fn trap_stop(&mut self, tid: ThreadId, single_step: bool, info: &RawSigInfo) -> bool {
        let code = info.code();
        if trap_code::is_trap_byte(code) {
            self.trap_byte_hit(tid);
        } else if trap_code::is_debug_register(code) {
            self.debug_registers_hit(tid);
        } else if trap_code::is_step(code) && single_step && self.is_stepping(tid) {
            self.stepped(tid);
        } else if trap_code::is_step(code) && (single_step || !self.sets_trap_flag_itself(tid)) {
            // The step of a plan that ended meanwhile.
            self.settle(tid);
        } else {
            return false;
        }
        true
    }

    /// Whether the program runs with TF set by its own hand.
    fn sets_trap_flag_itself(&mut self, tid: ThreadId) -> bool {
        self.registers(tid).is_some_and(|registers| registers.0[word::FLAGS] & TRAP_FLAG != 0)
    }

    /// Delivers a signal that does not stop. A handler met in the middle of a step plan runs freely and comes back.
    fn pass_signal(&mut self, tid: ThreadId, signo: i32) {
        if self.is_stepping(tid) && has_handler(tid, signo) {
            self.run_handler(tid);
        }
        self.settle(tid);
    }
}

/// Whether a handler would run: `SigCgt` of `/proc/TID/status`, bit `signo - 1`.
pub(crate) fn has_handler(tid: ThreadId, signo: i32) -> bool {
    status_mask(tid, "SigCgt:").is_some_and(|caught| caught >> (signo - 1) & 1 == 1)
}

/// What a thread blocks, stopped or not: `SigBlk`.
pub(crate) fn blocked_signals(tid: ThreadId) -> Option<u64> {
    status_mask(tid, "SigBlk:")
}

fn status_mask(tid: ThreadId, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    u64::from_str_radix(value.trim(), 16).ok()
}

/// A signal as the client sees it.
pub(crate) fn siginfo_of(info: &RawSigInfo, tid: ThreadId) -> SigInfo {
    let (signo, code) = (info.signo(), info.code());
    let is_fault = code > 0
        && matches!(signo, libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGTRAP | libc::SIGSYS);
    let is_sent = code <= 0 || signo == libc::SIGCHLD;
    let handled = |field| status_mask(tid, field).is_some_and(|mask| mask >> (signo - 1) & 1 == 1);
    SigInfo {
        signo,
        code,
        errno: info.errno(),
        address: if is_fault { Va(info.address()) } else { Va(0) },
        sender: if is_sent { ProcessId(info.sender() as u32) } else { ProcessId(0) },
        raw: info.0.to_vec(),
        fatal_by_default: ends_by_default(signo) && !handled("SigCgt:") && !handled("SigIgn:"),
    }
}

/// The `siginfo_t` of a signal the client wants delivered: its raw bytes if they are whole, else made of its fields.
pub(crate) fn raw_of(info: &SigInfo) -> RawSigInfo {
    match <[u8; SIGINFO_SIZE]>::try_from(info.raw.as_slice()) {
        Ok(bytes) if RawSigInfo(bytes).signo() == info.signo => RawSigInfo(bytes),
        _ => {
            let mut raw = RawSigInfo::bare(info.signo, info.code, info.errno);
            let union = if info.address == Va(0) { u64::from(info.sender.0) } else { info.address.0 };
            raw.0[16..24].copy_from_slice(&union.to_le_bytes());
            raw
        }
    }
}

/// Whether the default action ends the process (signal(7), "Standard signals"; realtime signals all do).
fn ends_by_default(signo: i32) -> bool {
    !matches!(
        signo,
        libc::SIGCHLD
            | libc::SIGCONT
            | libc::SIGURG
            | libc::SIGWINCH
            | libc::SIGSTOP
            | libc::SIGTSTP
            | libc::SIGTTIN
            | libc::SIGTTOU
    )
}
