//! Event filters: which events stop, which are told, and whether a signal counts as handled.

use outpost_symbols::Wildcard;
use outpost_target::{EventMask, SigInfo, StopReason};

use super::signals::*;
use super::{signal_number, syscall_numbers};

/// What an event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakStatus {
    /// Stops, for signals at the first chance (`sxe`).
    Break,
    /// Signals stop only when they are about to end the process (`sxd`); is told otherwise.
    SecondChance,
    /// Is told (`sxn`).
    Notify,
    /// Goes unnoticed (`sxi`).
    Ignore,
}

/// A row of `sx`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFilter {
    /// Its code: `av`, `ld`, ... .
    pub code: &'static str,
    /// What it stands for.
    pub description: &'static str,
    /// What the event does.
    pub status: BreakStatus,
    /// Whether `g` swallows the signal (handled) or delivers it.
    pub handled: bool,
    /// Only events with this argument (`ld:libfoo*`); `None`: all.
    pub argument: Option<String>,
    /// Commands for the first chance, and for the second. They run whatever the status is.
    pub commands: [String; 2],
}

impl EventFilter {
    /// Whether the debuggee has to stop for the event, be it only for a moment.
    pub(crate) fn needs_stop(&self) -> bool {
        self.status == Break || self.commands.iter().any(|commands| !commands.is_empty())
    }

    /// Whether the event is an exception, which is handled or not: what comes about for other reasons is neither.
    pub fn is_exception(&self) -> bool {
        const HANDLED: [&str; 3] = ["bpe", "cce", "sse"];
        let is_it = |row: &(&str, &str, BreakStatus, bool)| row.0 == self.code && !row.3;
        HANDLED.contains(&self.code) || DEFAULTS.iter().any(is_it)
    }

    /// Whether an event about something of this name is meant.
    pub(crate) fn is_about(&self, name: &str) -> bool {
        self.argument.as_deref().is_none_or(|pattern| Wildcard::new(pattern).matches(name))
    }
}

/// All filters, and those set for single signals.
#[derive(Debug, Clone)]
pub struct EventFilters {
    filters: Vec<EventFilter>,
    /// Signals with a filter of their own, as `sig:NN` sets them.
    signals: Vec<(i32, EventFilter)>,
    /// Whether processes made by fork and vfork become part of the session (`-o`, `.childdbg`).
    pub follow_forks: bool,
}

const fn row(
    code: &'static str,
    description: &'static str,
    status: BreakStatus,
    handled: bool,
) -> (&'static str, &'static str, BreakStatus, bool) {
    (code, description, status, handled)
}

use BreakStatus::{Break, Ignore, Notify, SecondChance};

/// Filters with a source on Linux and their defaults (the reference's `event-filters`, mapped to signals).
const DEFAULTS: &[(&str, &str, BreakStatus, bool)] = &[
    row("ct", "Create thread", Ignore, true),
    row("et", "Exit thread", Ignore, true),
    row("cpr", "Create process", Ignore, true),
    row("epr", "Exit process", Ignore, true),
    row("ld", "Load module", Notify, true),
    row("ud", "Unload module", Notify, true),
    row("out", "Debuggee output", Ignore, true),
    row("ser", "System error", Ignore, true),
    row("ibp", "Initial breakpoint", Break, true),
    row("iml", "Initial module load", Ignore, true),
    row("sc", "System call", Ignore, true),
    row("av", "Access violation", Break, false),
    row("sov", "Stack overflow", Break, false),
    row("dm", "Data misaligned", Break, false),
    row("ip", "In-page I/O error", Break, false),
    row("dz", "Integer divide-by-zero", Break, false),
    row("iov", "Integer overflow", Break, false),
    row("c000008e", "Floating-point divide-by-zero", Break, false),
    row("ii", "Illegal instruction", SecondChance, false),
    row("isc", "Invalid system call", Break, false),
    row("asrt", "Assertion failure or abort", Break, false),
    row("eh", "C++ exception", SecondChance, false),
    row("rp", "Rust panic", SecondChance, false),
    row("bpe", "Break instruction exception", Break, true),
    row("cce", "Control-C exception", Break, true),
    row("sig", "Any other signal", SecondChance, false),
    // Events of the reference that have no source here: they can be set, and never happen.
    row("aph", "Application hang", Break, false),
    row("ch", "Invalid handle", Break, false),
    row("clr", "CLR exception", SecondChance, false),
    row("clrn", "CLR notification exception", SecondChance, true),
    row("dbce", "Special debugger command exception", Ignore, true),
    row("gp", "Guard page violation", Break, false),
    row("lsq", "Invalid lock sequence", Break, false),
    row("sbo", "Security check failure or stack buffer overrun", Break, false),
    row("sse", "Single step exception", Break, true),
    row("3c", "Child application termination", SecondChance, false),
    row("vcpp", "Visual C++ exception", Ignore, true),
    row("wkd", "Wake debugger", Break, false),
    row("wob", "WOW64 breakpoint", Break, true),
    row("wos", "WOW64 single step exception", Break, true),
];

/// Codes by which the reference names how an event is handled, and whose filter that belongs to.
pub const HANDLING_CODES: [(&str, &str); 4] = [("bpec", "bpe"), ("ssec", "sse"), ("cc", "cce"), ("hc", "ch")];

/// Signals that by default happen all the time and mean nothing to a debugger, and those glibc sends itself.
const QUIET: [i32; 6] = [SIGCHLD, SIGCONT, SIGURG, SIGWINCH, 32, 33];

impl Default for EventFilters {
    fn default() -> EventFilters {
        let filters = DEFAULTS.iter().map(|&(code, description, status, handled)| EventFilter {
            code,
            description,
            status,
            handled,
            argument: None,
            commands: [String::new(), String::new()],
        });
        let filters: Vec<_> = filters.collect();
        let quiet = |signo| {
            let base = filters.iter().find(|filter| filter.code == "sig").cloned();
            base.map(|base| (signo, EventFilter { status: Ignore, ..base }))
        };
        let signals = QUIET.iter().filter_map(|&signo| quiet(signo)).collect();
        EventFilters { filters, signals, follow_forks: false }
    }
}

impl EventFilters {
    /// All filters in the order they are listed, those of single signals last.
    pub fn all(&self) -> impl Iterator<Item = (Option<i32>, &EventFilter)> {
        let general = self.filters.iter().map(|filter| (None, filter));
        general.chain(self.signals.iter().map(|(signo, filter)| (Some(*signo), filter)))
    }

    /// The filter `code`: one of the table, `sig:NN`, or a signal's name; single signals get one of their own.
    pub fn get_mut(&mut self, code: &str) -> Option<&mut EventFilter> {
        if let Some(at) = self.filters.iter().position(|filter| filter.code.eq_ignore_ascii_case(code)) {
            return self.filters.get_mut(at);
        }
        let name = code.get(..4).filter(|prefix| prefix.eq_ignore_ascii_case("sig:")).map_or(code, |_| &code[4..]);
        let signo = signal_number(name)?;
        if let Some(at) = self.signals.iter().position(|(known, _)| *known == signo) {
            return self.signals.get_mut(at).map(|(_, filter)| filter);
        }
        let base = self.filters.iter().find(|filter| filter.code == "sig").cloned()?;
        self.signals.push((signo, base));
        self.signals.last_mut().map(|(_, filter)| filter)
    }

    /// The filter that an event falls under; `None` for those that always stop: breakpoints, steps, breaking in.
    pub(crate) fn of_reason(&self, reason: &StopReason) -> Option<&EventFilter> {
        let code = match reason {
            StopReason::Signal(info) => return Some(self.of_signal(info)),
            StopReason::Attached | StopReason::Created => "ibp",
            StopReason::ForeignTrap => "bpe",
            StopReason::ThreadStarted => "ct",
            StopReason::ThreadExiting { .. } => "et",
            StopReason::Forked { .. } | StopReason::Execed { .. } => "cpr",
            StopReason::Exited { .. } => "epr",
            StopReason::ModulesChanged => "ld",
            StopReason::Syscall { .. } => "sc",
            _ => return None,
        };
        self.by_code(code)
    }

    /// Numbers of the system calls that are to stop: those that the filter names, or all.
    fn syscalls(&self) -> Vec<u64> {
        let Some(filter) = self.by_code("sc").filter(|filter| filter.needs_stop()) else { return Vec::new() };
        let all = syscall_numbers();
        match &filter.argument {
            None => all.map(|(number, _)| number).collect(),
            Some(names) => {
                let wanted: Vec<Wildcard> = names.split(',').map(|name| Wildcard::new(name.trim())).collect();
                all.filter(|(_, name)| wanted.iter().any(|wanted| wanted.matches(name)))
                    .map(|(number, _)| number)
                    .collect()
            }
        }
    }

    fn of_signal(&self, info: &SigInfo) -> &EventFilter {
        self.of_number_and_code(info.signo, info.code)
    }

    fn of_number(&self, signo: i32) -> &EventFilter {
        self.of_number_and_code(signo, 0)
    }

    fn of_number_and_code(&self, signo: i32, code: i32) -> &EventFilter {
        if let Some((_, filter)) = self.signals.iter().find(|(known, _)| *known == signo) {
            return filter;
        }
        let code = match (signo, code) {
            (SIGSEGV, _) => "av",
            (SIGBUS, 1) => "dm",
            (SIGBUS, _) => "ip",
            (SIGFPE, 1) => "dz",
            (SIGFPE, 2) => "iov",
            (SIGFPE, 3) => "c000008e",
            (SIGILL, _) => "ii",
            (SIGSYS, _) => "isc",
            (SIGABRT, _) => "asrt",
            (SIGTRAP, _) => "bpe",
            (SIGINT, _) => "cce",
            _ => "sig",
        };
        self.by_code(code).unwrap_or(&self.filters[0])
    }

    pub(crate) fn by_code(&self, code: &str) -> Option<&EventFilter> {
        self.filters.iter().find(|filter| filter.code == code)
    }

    /// What the target needs to know: events that stop there, and signals that need not.
    pub(crate) fn mask(&self) -> EventMask {
        let stops = |code: &str| self.by_code(code).is_some_and(EventFilter::needs_stop);
        let is_silent = |filter: &EventFilter| filter.status == Ignore && !filter.needs_stop();
        let bits = |handled: bool| {
            let chosen = self.signals.iter().filter(|(_, filter)| is_silent(filter) && filter.handled == handled);
            chosen.fold(0u128, |bits, (signo, _)| bits | 1 << (*signo).clamp(0, 127))
        };
        // Of signals whose filter depends on the code, the target does not know which it will be: those stop, and the
        // engine judges.
        let second_chance = (1..=64).filter(|signo| {
            let depends = [SIGSEGV, SIGBUS, SIGFPE, SIGTRAP].contains(signo);
            let filter = self.of_number(*signo);
            !depends && filter.status == SecondChance && filter.commands[0].is_empty()
        });
        let second_chance_signals = second_chance.fold(0u128, |bits, signo| bits | 1 << signo);
        EventMask {
            thread_start: stops("ct"),
            thread_exit: stops("et"),
            // A child gets its breakpoints before it runs.
            fork: stops("cpr") || self.follow_forks,
            follow_forks: self.follow_forks,
            exec: true,
            modules: stops("ld") || stops("ud"),
            syscalls: self.syscalls(),
            pass_signals: bits(false),
            drop_signals: bits(true),
            second_chance_signals,
        }
    }
}

#[cfg(test)]
mod tests {
    use outpost_base::{ProcessId, Va};

    use super::*;

    fn signal(signo: i32, code: i32) -> StopReason {
        StopReason::Signal(SigInfo {
            signo,
            code,
            errno: 0,
            address: Va(0),
            sender: ProcessId(0),
            raw: Vec::new(),
            fatal_by_default: false,
        })
    }

    #[test]
    fn signals_fall_under_the_filter_of_their_cause() {
        let filters = EventFilters::default();
        let check = |signo, code, expected, status| {
            let filter = filters.of_reason(&signal(signo, code)).unwrap();
            assert_eq!((filter.code, filter.status), (expected, status), "{signo} {code}");
        };
        check(SIGSEGV, 1, "av", Break);
        check(SIGFPE, 1, "dz", Break);
        check(SIGFPE, 3, "c000008e", Break);
        check(SIGBUS, 1, "dm", Break);
        check(SIGILL, 1, "ii", SecondChance);
        check(10, 0, "sig", SecondChance);
        check(SIGCHLD, 1, "sig", Ignore);
        assert_eq!(filters.of_reason(&StopReason::BreakIn), None);
    }

    #[test]
    fn a_signal_can_have_a_filter_of_its_own() {
        let mut filters = EventFilters::default();
        filters.get_mut("sig:10").unwrap().status = Ignore;
        filters.get_mut("SIGUSR2").unwrap().status = Break;
        assert_eq!(filters.of_reason(&signal(10, 0)).unwrap().status, Ignore);
        assert_eq!(filters.of_reason(&signal(12, 0)).unwrap().status, Break);
        assert_eq!(filters.of_reason(&signal(14, 0)).unwrap().status, SecondChance);
        let mask = filters.mask();
        assert_eq!(mask.pass_signals & (1 << 10 | 1 << 12 | 1 << 17), 1 << 10 | 1 << 17);
        let seen_last = 1 << 14 | 1 << SIGILL;
        assert_eq!(mask.second_chance_signals & (seen_last | 1 << 12 | 1 << SIGSEGV), seen_last);
        assert!(filters.get_mut("nonsense").is_none());
    }
}
