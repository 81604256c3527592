//! Names of signals and of their codes.
//!
//! Sources: signal(7) for the numbers on x86-64, sigaction(2) and Linux `include/uapi/asm-generic/siginfo.h` for codes.

/// Standard signals on x86-64, by number from 1.
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// `SIGILL`.
pub(crate) const SIGILL: i32 = 4;
/// `SIGTRAP`.
pub(crate) const SIGTRAP: i32 = 5;
/// `SIGABRT`.
pub(crate) const SIGABRT: i32 = 6;
/// `SIGBUS`.
pub(crate) const SIGBUS: i32 = 7;
/// `SIGFPE`.
pub(crate) const SIGFPE: i32 = 8;
/// `SIGINT`.
pub(crate) const SIGINT: i32 = 2;
/// `SIGSEGV`.
pub(crate) const SIGSEGV: i32 = 11;
/// `SIGCHLD`.
pub(crate) const SIGCHLD: i32 = 17;
/// `SIGCONT`.
pub(crate) const SIGCONT: i32 = 18;
/// `SIGURG`.
pub(crate) const SIGURG: i32 = 23;
/// `SIGWINCH`.
pub(crate) const SIGWINCH: i32 = 28;
/// `SIGSYS`.
pub(crate) const SIGSYS: i32 = 31;
/// First real-time signal of the kernel; glibc keeps this one and the next for itself (nptl(7)).
const SIGRTMIN_KERNEL: i32 = 32;
const SIGRTMAX: i32 = 64;

/// The name of a signal: `SIGSEGV`, `SIGRT35`, or the number for those that do not exist.
pub fn signal_name(signo: i32) -> String {
    match usize::try_from(signo).ok().and_then(|signo| NAMES.get(signo.checked_sub(1)?)) {
        Some(name) => (*name).to_owned(),
        None if (SIGRTMIN_KERNEL..=SIGRTMAX).contains(&signo) => format!("SIG{signo}"),
        None => signo.to_string(),
    }
}

/// The number of a signal by its name, with or without `SIG`, ignoring case, or by its number.
pub fn signal_number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse() {
        return (1..=SIGRTMAX).contains(&number).then_some(number);
    }
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Ok(number) = bare.parse() {
        return (1..=SIGRTMAX).contains(&number).then_some(number);
    }
    let at = NAMES.iter().position(|known| known.strip_prefix("SIG") == Some(bare))?;
    i32::try_from(at + 1).ok()
}

/// The name of a signal's code: `SEGV_MAPERR`, `SI_USER`; `None` where none is known.
pub fn signal_code_name(signo: i32, code: i32) -> Option<&'static str> {
    let own: &[&str] = match signo {
        SIGILL => &[
            "ILL_ILLOPC",
            "ILL_ILLOPN",
            "ILL_ILLADR",
            "ILL_ILLTRP",
            "ILL_PRVOPC",
            "ILL_PRVREG",
            "ILL_COPROC",
            "ILL_BADSTK",
        ],
        SIGFPE => &[
            "FPE_INTDIV",
            "FPE_INTOVF",
            "FPE_FLTDIV",
            "FPE_FLTOVF",
            "FPE_FLTUND",
            "FPE_FLTRES",
            "FPE_FLTINV",
            "FPE_FLTSUB",
        ],
        SIGSEGV => &["SEGV_MAPERR", "SEGV_ACCERR", "SEGV_BNDERR", "SEGV_PKUERR"],
        SIGBUS => &["BUS_ADRALN", "BUS_ADRERR", "BUS_OBJERR", "BUS_MCEERR_AR", "BUS_MCEERR_AO"],
        SIGTRAP => &["TRAP_BRKPT", "TRAP_TRACE", "TRAP_BRANCH", "TRAP_HWBKPT"],
        SIGCHLD => &["CLD_EXITED", "CLD_KILLED", "CLD_DUMPED", "CLD_TRAPPED", "CLD_STOPPED", "CLD_CONTINUED"],
        SIGSYS => &["SYS_SECCOMP"],
        _ => &[],
    };
    match code {
        0 => Some("SI_USER"),
        0x80 => Some("SI_KERNEL"),
        -1 => Some("SI_QUEUE"),
        -2 => Some("SI_TIMER"),
        -3 => Some("SI_MESGQ"),
        -4 => Some("SI_ASYNCIO"),
        -5 => Some("SI_SIGIO"),
        -6 => Some("SI_TKILL"),
        _ => own.get(usize::try_from(code).ok()?.checked_sub(1)?).copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for signo in 1..=SIGRTMAX {
            assert_eq!(signal_number(&signal_name(signo)), Some(signo));
        }
        assert_eq!(signal_number("segv"), Some(11));
        assert_eq!(signal_number("SIGSYS"), Some(31));
        assert_eq!(signal_number("65"), None);
        assert_eq!(signal_number("SIGNOT"), None);
        assert_eq!(signal_code_name(SIGSEGV, 2), Some("SEGV_ACCERR"));
        assert_eq!(signal_code_name(SIGABRT, -6), Some("SI_TKILL"));
        assert_eq!(signal_code_name(SIGABRT, 3), None);
    }
}
