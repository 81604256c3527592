//! `.attach`, `.create`, `.detach`, `.kill`, `.abandon`, `.restart`, `.endpsrv`: processes come and go.

use outpost_base::ProcessId;
use outpost_engine::target::AttachMode;
use outpost_engine::{Leave, ProcessOrdinal, SystemOrdinal};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value, json};
use crate::language::{Arguments, split_quoted};
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &[".attach"],
        syntax: ".attach [-premote Transport] [-b|-v|-vr] [-e] [-f] [-r] PID",
        summary: "Attach to a process",
        details: "At once. The PID is read in the default radix; 0n1234 is decimal. -premote connects to a process server \
                  first, which makes a new system (a string with blanks in it stands in quotes, or in braces: \
                  exec:@{sudo dbgsrv --stdio}); -b does not stop the process, and lets run what else is debugged \
                  there; -e takes over one that a debugger abandoned; -r goes on after its first stop; -v only looks at it \
                  without becoming its debugger, -vr without holding it meanwhile. -f is taken and always so: the others \
                  stay stopped until the newcomer has stopped.",
        example: ".attach -premote tcp:server=alder,port=1025 0n4711",
        group: Group::Processes,
        eats_line: false,
        run: carry_out::<Attach>,
    },
    CommandEntry {
        names: &[".create"],
        syntax: ".create [-premote Transport] [-f] CommandLine",
        summary: "Create a process",
        details: "At once, on the current system's machine, in the directory of .createdir. Takes the rest of the line: \
                  blanks separate words, quotes keep them together. -f is taken and always so: the others stay stopped \
                  until the newcomer has stopped.",
        example: ".create /usr/bin/sort -r \"my file\"",
        group: Group::Processes,
        eats_line: true,
        run: carry_out::<Create>,
    },
    CommandEntry {
        names: &[".createdir"],
        syntax: ".createdir [Directory]",
        summary: "Show or set the directory in which processes are created",
        details: "On the machine of the process. Without it, that of the debugger or of the process server.",
        example: ".createdir /srv/data",
        group: Group::Processes,
        eats_line: false,
        run: carry_out::<CreateDirectory>,
    },
    CommandEntry {
        names: &[".detach", ".kill", ".abandon"],
        syntax: ".detach|.kill|.abandon [/h|/n]",
        summary: "Let the current process go, end it, or leave it stopped",
        details: "/h swallows a signal that it stopped for (the default), /n delivers it. An abandoned process can be taken \
                  over by .attach -e.",
        example: ".detach /n",
        group: Group::Processes,
        eats_line: false,
        run: carry_out::<LeaveProcess>,
    },
    CommandEntry {
        names: &[".restart"],
        syntax: ".restart",
        summary: "Create the created process again",
        details: "With the same arguments; also after it ended. Breakpoints set by expression stay.",
        example: ".restart",
        group: Group::Execution,
        eats_line: false,
        run: carry_out::<Restart>,
    },
    CommandEntry {
        names: &[".childdbg"],
        syntax: ".childdbg [0|1]",
        summary: "Show or set whether child processes are debugged, too",
        details: "Those made by fork and vfork from now on.",
        example: ".childdbg 1",
        group: Group::Processes,
        eats_line: false,
        run: carry_out::<DebugChildren>,
    },
    CommandEntry {
        names: &[".endpsrv"],
        syntax: ".endpsrv",
        summary: "End the process server",
        details: "For everyone who uses it, if it allows that.",
        example: ".endpsrv",
        group: Group::Processes,
        eats_line: false,
        run: carry_out::<EndServer>,
    },
];

/// The current system, for commands that need none of its processes.
///
/// # Errors
/// [`CommandError::Engine`] if there is none.
pub(super) fn system(debugger: &mut Debugger) -> Result<SystemOrdinal, CommandError> {
    match debugger.engine.current_system() {
        Some(system) => Ok(system),
        // What was meant is its machine, not this one.
        None if let Some(name) = &debugger.lost => {
            let reason = format!("{name} is lost; name a process server by .attach -premote or .create -premote");
            Err(CommandError::invalid(reason))
        }
        None => connect(None, debugger),
    }
}

fn connect(transport: Option<&str>, debugger: &mut Debugger) -> Result<SystemOrdinal, CommandError> {
    let connector = debugger.connector.as_mut();
    let connector =
        connector.ok_or_else(|| CommandError::unsupported("connecting", "this session has fixed targets"))?;
    let target = connector(transport).map_err(CommandError::invalid)?;
    Ok(debugger.engine.add_system(target)?)
}

/// `-premote Transport` at the start.
fn premote(arguments: &mut Arguments<'_>) -> Result<Option<String>, CommandError> {
    if !arguments.take_word("-premote") {
        return Ok(None);
    }
    // As a shell has it: `"exec:sudo dbgsrv --stdio"`.
    if let Some(quoted) = arguments.quoted().filter(|quoted| !quoted.is_empty()) {
        return Ok(Some(quoted));
    }
    let word = transport(arguments.rest());
    if word.is_empty() {
        return Err(arguments.usage("the transport is missing"));
    }
    arguments.take(word);
    Ok(Some(word.to_owned()))
}

/// A connection string has commas in it, so it ends at a blank; within `@{ }` those are its own.
fn transport(rest: &str) -> &str {
    let rest = rest.trim_start();
    let (mut depth, mut before) = (0_usize, ' ');
    for (at, c) in rest.char_indices() {
        match c {
            '{' if before == '@' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            c if c.is_whitespace() && depth == 0 => return &rest[..at],
            _ => {}
        }
        before = c;
    }
    rest
}

/// Attaches.
#[derive(Debug, Clone)]
pub struct Attach {
    transport: Option<String>,
    process: ProcessId,
    mode: AttachMode,
    /// It goes on after its first stop (`-r`).
    resume: bool,
}

impl Command for Attach {
    type Data = ();

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Attach, CommandError> {
        let transport = premote(arguments)?;
        let mut options: Vec<&str> = Vec::new();
        while let Some(option) = arguments.take_option() {
            match option {
                "b" | "e" | "f" | "r" | "v" | "vr" => options.push(option),
                "k" => {
                    let reason = "the kernel as a target is not implemented yet";
                    return Err(CommandError::unsupported(".attach -k", reason));
                }
                other => return Err(arguments.usage(format!("unknown option -{other}"))),
            }
        }
        let has = |option: &str| options.contains(&option);
        let looks_only = has("v") || has("vr");
        if looks_only && (has("b") || has("e") || has("r") || has("f")) {
            return Err(arguments.usage("-v goes with no other option"));
        }
        if has("b") && (has("e") || has("r")) {
            return Err(arguments.usage("-b does not stop the process, so there is nothing for -e and -r to do"));
        }
        let mode = match () {
            () if looks_only => AttachMode::Noninvasive { suspend: !has("vr") },
            () if has("e") => AttachMode::Existing,
            () => AttachMode::Invasive { break_in: !has("b") },
        };
        let resume = has("r");
        if arguments.is_empty() {
            return Err(arguments.usage("the PID is missing"));
        }
        let id = arguments.number(debugger)?;
        let id = u32::try_from(id).map_err(|_| CommandError::invalid(format!("there is no process {id}")))?;
        Ok(Attach { transport, process: ProcessId(id), mode, resume })
    }

    fn run(self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let system = match &self.transport {
            Some(transport) => connect(Some(transport), debugger)?,
            None => system(debugger)?,
        };
        debugger.engine.attach(system, self.process, self.mode)?;
        // A process that is not stopped makes no event by being attached to.
        let runs_on = [AttachMode::Invasive { break_in: false }, AttachMode::Noninvasive { suspend: false }];
        if !runs_on.contains(&self.mode) {
            debugger.expect_event();
        }
        debugger.goes_on_at_stop = self.resume;
        Ok(())
    }

    fn render(_: &(), _: &mut String) {}
}

/// Creates.
#[derive(Debug, Clone)]
pub struct Create {
    transport: Option<String>,
    program: String,
    arguments: Vec<String>,
}

impl Command for Create {
    type Data = ();

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<Create, CommandError> {
        let transport = premote(arguments)?;
        // What else is debugged stays stopped until the newcomer has stopped, with or without it.
        arguments.take_word("-f");
        let mut words = split_quoted(arguments.take_rest()).into_iter();
        let program = words.next().ok_or_else(|| arguments.usage("the program is missing"))?;
        Ok(Create { transport, program, arguments: words.collect() })
    }

    fn run(self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let system = match &self.transport {
            Some(transport) => connect(Some(transport), debugger)?,
            None => system(debugger)?,
        };
        debugger.create(system, &self.program, &self.arguments)?;
        Ok(())
    }

    fn render(_: &(), _: &mut String) {}
}

/// Sets where processes are created.
#[derive(Debug, Clone)]
pub struct CreateDirectory {
    directory: Option<String>,
}

impl Command for CreateDirectory {
    type Data = Option<String>;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<CreateDirectory, CommandError> {
        if arguments.rest().starts_with("-i") || arguments.rest().starts_with("-I") {
            let reason = "created processes inherit no handles of the debugger on Linux";
            return Err(CommandError::unsupported(".createdir -i", reason));
        }
        let directory = match arguments.quoted() {
            Some(directory) => directory,
            None => arguments.take_rest().to_owned(),
        };
        Ok(CreateDirectory { directory: Some(directory).filter(|directory| !directory.is_empty()) })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Option<String>, CommandError> {
        if self.directory.is_some() {
            debugger.settings.create_directory = self.directory;
        }
        Ok(debugger.settings.create_directory.clone())
    }

    fn render(data: &Option<String>, text: &mut String) {
        match data {
            Some(directory) => line!(text, "Processes are created in {directory}"),
            None => line!(text, "Processes are created in the directory of the debugger or process server"),
        }
    }
}

/// Lets a process go.
#[derive(Debug, Clone)]
pub struct LeaveProcess {
    how: Leave,
}

/// What became of it.
#[derive(Debug, Clone)]
pub struct Left {
    /// The process.
    pub process: ProcessOrdinal,
    how: Leave,
}

impl Json for Left {
    fn json(&self) -> Value {
        let how = match self.how {
            Leave::Detach { .. } => "detached",
            Leave::Kill => "terminated",
            Leave::Abandon => "abandoned",
        };
        json!({ "process": self.process.json(), "how": how })
    }
}

impl Command for LeaveProcess {
    type Data = Left;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<LeaveProcess, CommandError> {
        let deliver = match arguments.take_switch() {
            None | Some('h') => false,
            Some('n') => true,
            Some(other) => return Err(arguments.usage(format!("unknown option /{other}"))),
        };
        let how = match arguments.name.to_ascii_lowercase().as_str() {
            ".kill" => Leave::Kill,
            ".abandon" => Leave::Abandon,
            _ => Leave::Detach { deliver },
        };
        Ok(LeaveProcess { how })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Left, CommandError> {
        let process = debugger.engine.current_process()?;
        debugger.engine.leave(process, self.how)?;
        Ok(Left { process, how: self.how })
    }

    fn render(data: &Left, text: &mut String) {
        match data.how {
            Leave::Detach { .. } => line!(text, "Detached"),
            Leave::Kill => line!(text, "Terminated"),
            Leave::Abandon => line!(text, "Abandoned; it stays stopped until someone takes it over or continues it"),
        }
    }
}

/// Restarts.
#[derive(Debug, Clone)]
pub struct Restart;

impl Command for Restart {
    type Data = ();

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<Restart, CommandError> {
        Ok(Restart)
    }

    fn run(self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let system = debugger.engine.current_system().ok_or(outpost_engine::EngineError::NoDebuggee)?;
        debugger.engine.restart(system)?;
        debugger.expect_event();
        Ok(())
    }

    fn render(_: &(), _: &mut String) {}
}

/// Sets whether children are debugged.
#[derive(Debug, Clone)]
pub struct DebugChildren {
    follow: Option<bool>,
}

impl Command for DebugChildren {
    type Data = bool;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<DebugChildren, CommandError> {
        let follow = match arguments.take_rest() {
            "" => None,
            "0" => Some(false),
            "1" => Some(true),
            other => return Err(arguments.usage(format!("'{other}' is neither 0 nor 1"))),
        };
        Ok(DebugChildren { follow })
    }

    fn run(self, debugger: &mut Debugger) -> Result<bool, CommandError> {
        let filters = debugger.engine.filters_mut();
        filters.follow_forks = self.follow.unwrap_or(filters.follow_forks);
        Ok(filters.follow_forks)
    }

    fn render(data: &bool, text: &mut String) {
        line!(text, "Processes created by the current process will {}be debugged", if *data { "" } else { "not " });
    }
}

/// Ends the server.
#[derive(Debug, Clone)]
pub struct EndServer;

impl Command for EndServer {
    type Data = ();

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<EndServer, CommandError> {
        Ok(EndServer)
    }

    fn run(self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let system = debugger.engine.current_system().ok_or(outpost_engine::EngineError::NoDebuggee)?;
        // The helper behind a local session is not a server that anyone started.
        let is_local = debugger.engine.target_info(system)?.name == "<Local>";
        let ended = debugger.engine.with_target(system, |target| match target.as_os().filter(|_| !is_local) {
            Some(os) => os.end_server(),
            None => Err(outpost_engine::target::TargetError::Unsupported {
                operation: "ending the server",
                reason: "there is none".into(),
            }),
        })?;
        ended.map_err(outpost_engine::EngineError::from)?;
        Ok(())
    }

    fn render(_: &(), text: &mut String) {
        line!(text, "The process server is ending");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transport_ends_at_a_blank_outside_of_braces() {
        assert_eq!(transport(" tcp:server=a,port=1 0n5"), "tcp:server=a,port=1");
        assert_eq!(transport("exec:@{docker exec -i web x --stdio} 5"), "exec:@{docker exec -i web x --stdio}");
        assert_eq!(transport("exec:@{a b"), "exec:@{a b");
        assert_eq!(transport("  "), "");
    }
}
