//! Traps that were raised and not delivered yet, and the signals of faults.

use std::fs;

use outpost_base::ProcessId;

/// Signals of faults (signal(7)) beside those of sites and steps, bit `signo - 1`.
pub(crate) const OTHER_FAULTS: u64 = 1 << (libc::SIGBUS - 1) | 1 << (libc::SIGFPE - 1) | 1 << (libc::SIGSEGV - 1);

/// Whether SIGTRAP, SIGILL or SIGSEGV is about to be delivered: pending for the thread alone, and not blocked. A thread that
/// executed one of our bytes, or touched a page that we protect, may have stopped for an interrupt first: let go as it is, it would die of the signal.
pub(crate) fn has_pending_trap(process: ProcessId, thread: u32) -> bool {
    let traps = 1_u64 << (libc::SIGTRAP - 1) | 1 << (libc::SIGILL - 1) | 1 << (libc::SIGSEGV - 1);
    let status = fs::read_to_string(format!("/proc/{process}/task/{thread}/status")).unwrap_or_default();
    // Bit `signo - 1` for each signal (proc_pid_status(5)).
    let bits = |field| {
        let bits = status.lines().find_map(|line| line.strip_prefix(field))?;
        u64::from_str_radix(bits.trim(), 16).ok()
    };
    bits("SigPnd:").unwrap_or(0) & !bits("SigBlk:").unwrap_or(0) & traps != 0
}
