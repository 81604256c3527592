//! `.tlist`: processes of the target's machine.

use outpost_engine::target::{Attachability, OsProcess, ProcessQuery};

use outpost_engine::values::Wildcard;

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::{line, put};
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &[".tlist"],
    syntax: ".tlist [-v] [-c] [Pattern]",
    summary: "List the processes of the target's machine",
    details: "Whether part of the session or not. -v adds parent, user, threads, whether each could be attached to and, if \
              not, why, and the command line; -c the container or unit, and the id in a pid namespace of its own. The pattern \
              is matched with the name.",
    example: ".tlist -v svc*",
    group: Group::Processes,
    eats_line: false,
    run: carry_out::<ProcessList>,
}];

/// Lists processes.
#[derive(Debug, Clone)]
pub struct ProcessList {
    verbose: bool,
    containers: bool,
    pattern: Option<String>,
}

/// Processes as they are to be shown.
#[derive(Debug, Clone)]
pub struct ListedProcesses {
    /// The processes.
    pub processes: Vec<OsProcess>,
    verbose: bool,
    containers: bool,
}

fields!(ListedProcesses { processes, .. });

impl Command for ProcessList {
    type Data = ListedProcesses;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<ProcessList, CommandError> {
        let mut list = ProcessList { verbose: false, containers: false, pattern: None };
        while let Some(option) = arguments.take_option() {
            match option {
                "v" => list.verbose = true,
                "c" => list.containers = true,
                other => return Err(arguments.usage(format!("unknown option -{other}"))),
            }
        }
        list.pattern = arguments.word().map(str::to_owned);
        Ok(list)
    }

    fn run(self, debugger: &mut Debugger) -> Result<ListedProcesses, CommandError> {
        let system = super::attach::system(debugger)?;
        let mut all = debugger.engine.list_os_processes(system, &ProcessQuery::All, self.verbose)?;
        if let Some(pattern) = self.pattern.as_deref().map(Wildcard::new) {
            all.retain(|process| pattern.matches(&process.name) || pattern.matches(file_name(&process.executable)));
        }
        all.sort_by_key(|process| process.id);
        Ok(ListedProcesses { processes: all, verbose: self.verbose, containers: self.containers })
    }

    fn render(data: &ListedProcesses, text: &mut String) {
        for process in &data.processes {
            put!(text, " 0n{} {}", process.id, process.name);
            if data.containers && !process.container.is_empty() {
                put!(text, "  [{}]", process.container);
            }
            line!(text);
            if !data.verbose {
                continue;
            }
            line!(text, "       Parent: 0n{}  User: {}  Threads: {}", process.parent, process.user, process.threads);
            if process.tracer.0 != 0 {
                line!(text, "       Traced by: 0n{} ({})", process.tracer, process.tracer_name);
            }
            if let Some(Attachability::No { reason, remedy }) = &process.attachability {
                line!(text, "       Cannot be attached to: {reason}; {remedy}");
            }
            if !process.arguments.is_empty() {
                line!(text, "       Command Line: {}", process.arguments.join(" "));
            }
        }
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
