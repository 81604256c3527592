//! `|` and `||`: processes and systems.

use outpost_engine::target::{ProcessOrigin, TargetKind};
use outpost_engine::{ProcessOrdinal, ProcessSummary, SystemOrdinal, SystemSummary};

use super::threads::Selected;
use crate::command::{CommandEntry, Group, give};
use crate::language::{Arguments, ProcessSpec, SystemSpec, ThreadSpec};
use crate::text::{line, stop};
use crate::{CommandError, Debugger, Output};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["|"],
        syntax: "| [Process]\n|Process s",
        summary: "List processes or select one",
        details: "Process is . for the current one, # for that of the last event, * for all, a decimal ordinal, ~[pid] \
                  or [expression]. s makes it current.",
        example: "|1s",
        group: Group::Processes,
        eats_line: false,
        run: processes_command,
    },
    CommandEntry {
        names: &["||"],
        syntax: "|| [System]\n||System s",
        summary: "List systems or select one",
        details: "A system is a machine with its processes, or a dump. System is written like a process.",
        example: "||1s",
        group: Group::Processes,
        eats_line: false,
        run: systems_command,
    },
];

fn processes_command(
    arguments: &mut Arguments<'_>,
    debugger: &mut Debugger,
    out: &mut dyn Output,
) -> Result<(), CommandError> {
    let (spec, rest) = ThreadSpec::parse(arguments.take_rest());
    let chosen = processes(spec.as_ref().unwrap_or(&ThreadSpec::All), debugger)?;
    match (rest.trim(), spec.is_some()) {
        ("", _) => {
            give(&chosen, |rows, text| rows.iter().for_each(|row| line!(text, "{}", process_row(row))), out);
            Ok(())
        }
        ("s" | "S", true) => {
            let [process] = &chosen[..] else { return Err(CommandError::invalid("only one process can be current")) };
            debugger.engine.select_process(process.ordinal)?;
            let shown = Selected { now: process.clone(), place: stop::place(debugger) };
            give(&shown, Selected::render, out);
            Ok(())
        }
        (other, _) => Err(arguments.usage(format!("'{other}' is nothing to do with a process"))),
    }
}

fn systems_command(
    arguments: &mut Arguments<'_>,
    debugger: &mut Debugger,
    out: &mut dyn Output,
) -> Result<(), CommandError> {
    let (spec, rest) = ThreadSpec::parse(arguments.take_rest());
    let chosen = systems(spec.as_ref().unwrap_or(&ThreadSpec::All), debugger)?;
    match (rest.trim(), spec.is_some()) {
        ("", _) => {
            give(&chosen, |rows, text| rows.iter().for_each(|row| line!(text, "{}", system_row(row))), out);
            Ok(())
        }
        ("s" | "S", true) => {
            let [system] = &chosen[..] else { return Err(CommandError::invalid("only one system can be current")) };
            debugger.engine.select_system(system.ordinal)?;
            let shown = Selected { now: system.clone(), place: stop::place(debugger) };
            give(&shown, Selected::render, out);
            Ok(())
        }
        (other, _) => Err(arguments.usage(format!("'{other}' is nothing to do with a system"))),
    }
}

fn processes(spec: &ProcessSpec, debugger: &mut Debugger) -> Result<Vec<ProcessSummary>, CommandError> {
    let mut all = debugger.engine.processes();
    match spec {
        ThreadSpec::All => return Ok(all),
        ThreadSpec::Current => all.retain(|process| process.is_current),
        ThreadSpec::Event => all.retain(|process| process.is_event),
        ThreadSpec::Ordinal(ordinal) => all.retain(|process| process.ordinal == ProcessOrdinal(*ordinal)),
        ThreadSpec::Expression(text) => {
            let ordinal = super::threads::number(text, debugger)?;
            all.retain(|process| u64::from(process.ordinal.0) == ordinal);
        }
        ThreadSpec::Id(text) => {
            let id = super::threads::number(text, debugger)?;
            all.retain(|process| u64::from(process.id.0) == id);
        }
    }
    if all.is_empty() { Err(CommandError::invalid("no such process")) } else { Ok(all) }
}

fn systems(spec: &SystemSpec, debugger: &mut Debugger) -> Result<Vec<SystemSummary>, CommandError> {
    let mut all = debugger.engine.systems();
    match spec {
        ThreadSpec::All => return Ok(all),
        ThreadSpec::Current => all.retain(|system| system.is_current),
        ThreadSpec::Event => all.retain(|system| system.is_event),
        ThreadSpec::Ordinal(ordinal) => all.retain(|system| system.ordinal == SystemOrdinal(*ordinal)),
        ThreadSpec::Expression(text) | ThreadSpec::Id(text) => {
            let ordinal = super::threads::number(text, debugger)?;
            all.retain(|system| u64::from(system.ordinal.0) == ordinal);
        }
    }
    if all.is_empty() { Err(CommandError::invalid("no such system")) } else { Ok(all) }
}

fn mark(current: bool, event: bool) -> char {
    match (current, event) {
        (true, _) => '.',
        (false, true) => '#',
        (false, false) => ' ',
    }
}

/// `.  0  id: 1400  attach  name: /opt/svc/bin/svc`.
fn process_row(process: &ProcessSummary) -> String {
    let origin = match process.origin {
        ProcessOrigin::Attached => "attach",
        ProcessOrigin::Noninvasive => "examine",
        ProcessOrigin::Created => "create",
        ProcessOrigin::Child => "child",
        ProcessOrigin::Dump => "dump",
    };
    let mark = mark(process.is_current, process.is_event);
    format!("{mark} {:2}  id: {:x}  {origin}  name: {}", process.ordinal.0, process.id.0, process.executable)
}

/// `.  0 Live user mode: <Local>`.
fn system_row(system: &SystemSummary) -> String {
    let kind = match system.kind {
        TargetKind::LiveUser => "Live user mode",
        TargetKind::UserDump => "User core dump",
        _ => "System",
    };
    let mark = mark(system.is_current, system.is_event);
    format!("{mark} {:2} {kind}: {}", system.ordinal.0, system.name)
}

#[cfg(test)]
mod tests {
    use outpost_base::ProcessId;

    use super::*;

    #[test]
    fn rows_as_scripts_expect_them() {
        let process = ProcessSummary {
            ordinal: ProcessOrdinal(0),
            system: SystemOrdinal(0),
            id: ProcessId(0x1400),
            parent: ProcessId(1),
            origin: ProcessOrigin::Attached,
            executable: "/opt/svc/bin/svc".into(),
            arguments: Vec::new(),
            threads: 2,
            is_current: true,
            is_event: true,
            start_time_us: 0,
        };
        assert_eq!(process_row(&process), ".  0  id: 1400  attach  name: /opt/svc/bin/svc");
        let system = SystemSummary {
            ordinal: SystemOrdinal(2),
            kind: TargetKind::UserDump,
            name: "/var/crash/core.svc.977".into(),
            host: String::new(),
            os: String::new(),
            processors: 0,
            is_current: false,
            is_event: false,
            is_running: false,
        };
        assert_eq!(system_row(&system), "   2 User core dump: /var/crash/core.svc.977");
    }
}
