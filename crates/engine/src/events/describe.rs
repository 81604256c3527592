//! Events in words.

use outpost_target::{ExitStatus, SigInfo, StopReason};

use super::signals::*;
use super::{Chance, LastEvent, signal_code_name, signal_name, syscall_name};

impl LastEvent {
    /// What happened, as `.lastevent` says it behind the thread: `Access violation (SIGSEGV, SEGV_MAPERR at
    /// 0000000000000008) (first chance)`.
    pub fn description(&self) -> String {
        match &self.reason {
            StopReason::Breakpoint { .. } if self.breakpoints.is_empty() && self.filter == Some("eh") => {
                "C++ exception (first chance)".to_owned()
            }
            StopReason::Breakpoint { .. } if self.breakpoints.is_empty() && self.filter == Some("rp") => {
                "Rust panic".to_owned()
            }
            StopReason::Breakpoint { .. } => {
                let numbers: Vec<_> = self.breakpoints.iter().map(|number| number.to_string()).collect();
                match numbers.is_empty() {
                    true => "Breakpoint".to_owned(),
                    false => format!("Hit breakpoint {}", numbers.join(", ")),
                }
            }
            reason if self.filter == Some("sov") => {
                describe(reason, self.chance).replacen("Access violation", "Stack overflow", 1)
            }
            reason => describe(reason, self.chance),
        }
    }
}

/// An event in words; for breakpoints only that it was one.
pub fn describe(reason: &StopReason, chance: Option<Chance>) -> String {
    match reason {
        StopReason::Attached => "Attached to process".into(),
        StopReason::Created => "Created process".into(),
        StopReason::Breakpoint { .. } => "Breakpoint".into(),
        StopReason::Step { .. } => "Single step".into(),
        StopReason::Signal(info) => format!(
            "{}{}",
            describe_signal(info),
            match chance {
                Some(Chance::Second) => " (second chance)",
                Some(Chance::First) => " (first chance)",
                None => "",
            }
        ),
        StopReason::BreakIn => "Break-in".into(),
        StopReason::ForeignTrap => "Break instruction exception".into(),
        StopReason::ThreadStarted => "Create thread".into(),
        StopReason::ThreadExiting { status } => format!("Exit thread, {}", describe_exit(*status)),
        StopReason::Forked { child, vfork: false, .. } => format!("Forked process {:x}", child.0),
        StopReason::Forked { child, vfork: true, .. } => format!("Forked process {:x} by vfork", child.0),
        StopReason::Execed { executable, .. } => format!("Executed {executable}"),
        StopReason::ModulesChanged => "Module list changed".into(),
        StopReason::Syscall { number, leaving } => {
            let does = if *leaving { "Left" } else { "Entered" };
            match syscall_name(*number) {
                Some(name) => format!("{does} system call {name} ({number})"),
                None => format!("{does} system call {number}"),
            }
        }
        StopReason::Exited { status } => format!("Exit process, {}", describe_exit(*status)),
        StopReason::DumpOpened => "Dump opened".into(),
        StopReason::CallEnded { returned: Some(_) } => "Call returned".into(),
        StopReason::CallEnded { returned: None } => "Call given up".into(),
        other => format!("{other:?}"),
    }
}

fn describe_exit(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("code {code:x}"),
        ExitStatus::Signal { signo, core_dumped: false } => format!("killed by {}", signal_name(signo)),
        ExitStatus::Signal { signo, core_dumped: true } => format!("killed by {}, core dumped", signal_name(signo)),
        ExitStatus::Unknown => "code unknown".into(),
    }
}

fn describe_signal(info: &SigInfo) -> String {
    let name = signal_name(info.signo);
    let cause = match (info.signo, info.code) {
        (SIGSEGV, _) => "Access violation",
        (SIGBUS, 1) => "Data misaligned",
        (SIGBUS, _) => "In-page I/O error",
        (SIGFPE, 1) => "Integer divide-by-zero",
        (SIGFPE, 2) => "Integer overflow",
        (SIGFPE, 3) => "Floating-point divide-by-zero",
        (SIGFPE, _) => "Floating-point exception",
        (SIGILL, _) => "Illegal instruction",
        (SIGSYS, _) => "Invalid system call",
        (SIGABRT, _) => "Abort",
        (SIGTRAP, _) => "Break instruction exception",
        (SIGINT, _) => "Control-C exception",
        _ => "Signal",
    };
    let code = signal_code_name(info.signo, info.code).map(str::to_owned);
    let code = code.unwrap_or_else(|| format!("code {}", info.code));
    // Only faults have an address, and only when the kernel raised them (sigaction(2)).
    let is_fault =
        matches!(info.signo, SIGSEGV | SIGBUS | SIGFPE | SIGILL | SIGTRAP) && info.code > 0 && info.code < 0x80;
    if is_fault {
        format!("{cause} ({name}, {code} at {:016x})", info.address.0)
    } else if info.sender.0 != 0 && info.code <= 0 {
        format!("{cause} ({name}, {code} from {:x})", info.sender.0)
    } else {
        format!("{cause} ({name}, {code})")
    }
}

#[cfg(test)]
mod tests {
    use outpost_base::{ProcessId, Va};

    use super::*;

    #[test]
    fn faults_name_their_address_and_sent_signals_their_sender() {
        let check = |signo, code, address, sender, expected: &str| {
            let info = SigInfo {
                signo,
                code,
                errno: 0,
                address: Va(address),
                sender: ProcessId(sender),
                raw: Vec::new(),
                fatal_by_default: true,
            };
            assert_eq!(describe(&StopReason::Signal(info), Some(Chance::First)), expected);
        };
        let fault = "Access violation (SIGSEGV, SEGV_MAPERR at 0000000000000008) (first chance)";
        check(SIGSEGV, 1, 8, 0, fault);
        check(SIGABRT, -6, 0, 0x1400, "Abort (SIGABRT, SI_TKILL from 1400) (first chance)");
        check(SIGSEGV, 0x80, 0, 0, "Access violation (SIGSEGV, SI_KERNEL) (first chance)");
        check(34, 0, 0, 0x20, "Signal (SIG34, SI_USER from 20) (first chance)");
    }
}
