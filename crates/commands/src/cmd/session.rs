//! `.echo`, comments, log, versions, statistics, quitting.

use outpost_engine::target::LinkStatistics;
use outpost_engine::{Leave, SystemSummary};

use super::time::{Time, Times};
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::debugger::Ending;
use crate::json::fields;
use crate::language::Arguments;
use crate::log::Log;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["*"],
        syntax: "* Text",
        summary: "Comment to the end of the line",
        details: "To the end of the line, ; included.",
        example: "* what follows is for the reader",
        group: Group::Session,
        eats_line: true,
        run: carry_out::<Comment>,
    },
    CommandEntry {
        names: &["$$"],
        syntax: "$$ Text",
        summary: "Comment to the next ;",
        details: "To the next ; or the end of the line.",
        example: "$$ a note; k",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<Comment>,
    },
    CommandEntry {
        names: &[".echo"],
        syntax: ".echo [\"Text\" | Text]",
        summary: "Print a text",
        details: "Without quotes it ends at ;.",
        example: ".echo \"here; and on\"",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<Echo>,
    },
    CommandEntry {
        names: &[".logopen", ".logappend"],
        syntax: ".logopen [/t] [/u] [/d] [File]\n.logappend [File]",
        summary: "Log everything that is typed and shown",
        details: "dbgeng.log if no file is named or /d is given; /t adds process id and time to the name. A log that is \
                  open is closed.",
        example: ".logopen /t session.log",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<OpenLog>,
    },
    CommandEntry {
        names: &[".logclose"],
        syntax: ".logclose",
        summary: "Close the log",
        details: "What was written stays; .logopen begins another.",
        example: ".logclose",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<CloseLog>,
    },
    CommandEntry {
        names: &[".logfile"],
        syntax: ".logfile",
        summary: "Show which log is open",
        details: "Its path, and whether it is open.",
        example: ".logfile",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<ShowLog>,
    },
    CommandEntry {
        names: &["vertarget"],
        syntax: "vertarget",
        summary: "Show what the target's machine is",
        details: "Machine, operating system and architecture of the target, and how long it runs.",
        example: "vertarget",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<TargetVersion>,
    },
    CommandEntry {
        names: &["version"],
        syntax: "version",
        summary: "Show versions of target and debugger",
        details: "Release and protocol of the debugger, then what vertarget shows.",
        example: "version",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<Version>,
    },
    CommandEntry {
        names: &["vercommand"],
        syntax: "vercommand",
        summary: "Show the command line that started the debugger",
        details: "Program and arguments, as they were given.",
        example: "vercommand",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<StartCommand>,
    },
    CommandEntry {
        names: &[".linkstats"],
        syntax: ".linkstats",
        summary: "Show what the links to servers have cost",
        details: "Messages, bytes, round trips and links that were lost and resumed, since the last .linkstats and in all.",
        example: ".linkstats",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<Statistics>,
    },
    CommandEntry {
        names: &["q", "qq", "qd"],
        syntax: "q|qq|qd",
        summary: "Quit",
        details: "q ends created processes and lets attached ones go; qd lets all go.",
        example: "qd",
        group: Group::Session,
        eats_line: false,
        run: carry_out::<Quit>,
    },
];

/// A comment.
#[derive(Debug, Clone)]
pub struct Comment;

impl Command for Comment {
    type Data = ();

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<Comment, CommandError> {
        arguments.take_rest();
        Ok(Comment)
    }

    fn run(self, _: &mut Debugger) -> Result<(), CommandError> {
        Ok(())
    }

    fn render(_: &(), _: &mut String) {}
}

/// A text.
#[derive(Debug, Clone)]
pub struct Echo {
    text: String,
}

impl Command for Echo {
    type Data = String;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<Echo, CommandError> {
        let text = match arguments.quoted() {
            Some(text) => text,
            None => arguments.take_rest().to_owned(),
        };
        Ok(Echo { text })
    }

    fn run(self, _: &mut Debugger) -> Result<String, CommandError> {
        Ok(self.text)
    }

    fn render(data: &String, text: &mut String) {
        line!(text, "{data}");
    }
}

/// Opens the log.
#[derive(Debug, Clone)]
pub struct OpenLog {
    path: String,
    append: bool,
}

impl Command for OpenLog {
    type Data = String;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<OpenLog, CommandError> {
        let (mut stamped, mut usual) = (false, false);
        while let Some(switch) = arguments.take_switch() {
            match switch {
                't' => stamped = true,
                'd' => usual = true,
                // Everything is UTF-8.
                'u' => {}
                other => return Err(arguments.usage(format!("unknown option /{other}"))),
            }
        }
        let given = arguments.take_rest().trim_matches('"');
        let mut path = if given.is_empty() || usual { "dbgeng.log".to_owned() } else { given.to_owned() };
        if stamped {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let stamp = format!("_{:x}_{}", std::process::id(), now.map_or(0, |time| time.as_secs()));
            let name = path.rfind('/').map_or(0, |slash| slash + 1);
            let at = path[name..].rfind('.').map_or(path.len(), |dot| name + dot);
            path.insert_str(at, &stamp);
        }
        Ok(OpenLog { path, append: arguments.name.eq_ignore_ascii_case(".logappend") })
    }

    fn run(self, debugger: &mut Debugger) -> Result<String, CommandError> {
        let log = Log::open(&self.path, self.append)?;
        *debugger.log.borrow_mut() = Some(log);
        Ok(self.path)
    }

    fn render(data: &String, text: &mut String) {
        line!(text, "Opened log file '{data}'");
    }
}

/// Closes the log.
#[derive(Debug, Clone)]
pub struct CloseLog;

impl Command for CloseLog {
    type Data = Option<String>;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<CloseLog, CommandError> {
        Ok(CloseLog)
    }

    fn run(self, debugger: &mut Debugger) -> Result<Option<String>, CommandError> {
        let mut log = debugger.log.borrow_mut();
        let path = log.as_ref().map(|log| log.path.clone());
        // Its last line tells that it was closed.
        if let (Some(log), Some(path)) = (log.as_mut(), &path) {
            log.write(&format!("Closing open log file {path}\n"));
        }
        *log = None;
        Ok(path)
    }

    fn render(data: &Option<String>, text: &mut String) {
        match data {
            Some(path) => line!(text, "Closing open log file {path}"),
            None => line!(text, "No log file open"),
        }
    }
}

/// Shows the log.
#[derive(Debug, Clone)]
pub struct ShowLog;

impl Command for ShowLog {
    type Data = Option<String>;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<ShowLog, CommandError> {
        Ok(ShowLog)
    }

    fn run(self, debugger: &mut Debugger) -> Result<Option<String>, CommandError> {
        Ok(debugger.log.borrow().as_ref().map(|log| log.path.clone()))
    }

    fn render(data: &Option<String>, text: &mut String) {
        match data {
            Some(path) => line!(text, "Log '{path}' opened"),
            None => line!(text, "No log file open"),
        }
    }
}

/// Shows the target's machine.
#[derive(Debug, Clone)]
pub struct TargetVersion;

/// A target and its times.
#[derive(Debug, Clone)]
pub struct TargetDescription {
    /// The system.
    pub system: SystemSummary,
    /// Times of the session, of it and of the current process.
    pub times: Times,
}

fields!(TargetDescription { system, times });

impl Command for TargetVersion {
    type Data = TargetDescription;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<TargetVersion, CommandError> {
        Ok(TargetVersion)
    }

    fn run(self, debugger: &mut Debugger) -> Result<Self::Data, CommandError> {
        let current = debugger.engine.systems().into_iter().find(|system| system.is_current);
        let system = current.ok_or(outpost_engine::EngineError::NoDebuggee)?;
        let times = Time.run(debugger)?;
        Ok(TargetDescription { system, times })
    }

    fn render(data: &Self::Data, text: &mut String) {
        let TargetDescription { system, times } = data;
        let unknown = |text: &str| if text.is_empty() { "unknown".to_owned() } else { text.to_owned() };
        let processors = match system.processors {
            0 => String::new(),
            1 => " UP (1 procs)".to_owned(),
            many => format!(" MP ({many} procs)"),
        };
        line!(text, "{}{processors} x86-64", unknown(&system.os));
        line!(text, "Machine name: {}", unknown(&system.host));
        line!(text, "Target: {}", system.name);
        Time::render(times, text);
    }
}

/// Shows versions.
#[derive(Debug, Clone)]
pub struct Version;

/// Versions of the target, if there is one, and of the debugger.
#[derive(Debug, Clone)]
pub struct Versions {
    /// The target.
    pub target: Option<TargetDescription>,
    /// The debugger's version.
    pub debugger: &'static str,
    /// Its program and arguments.
    pub command_line: Vec<String>,
}

fields!(Versions { target, debugger, command_line });

impl Command for Version {
    type Data = Versions;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<Version, CommandError> {
        Ok(Version)
    }

    fn run(self, debugger: &mut Debugger) -> Result<Versions, CommandError> {
        // Without a target the debugger's own version is still one.
        let target = TargetVersion.run(debugger).ok();
        Ok(Versions { target, debugger: env!("CARGO_PKG_VERSION"), command_line: debugger.command_line.clone() })
    }

    fn render(data: &Versions, text: &mut String) {
        if let Some(target) = &data.target {
            TargetVersion::render(target, text);
        }
        line!(text, "Outpost debugger version {}", data.debugger);
        if !data.command_line.is_empty() {
            line!(text, "command line: '{}'", data.command_line.join(" "));
        }
    }
}

/// Shows the start command.
#[derive(Debug, Clone)]
pub struct StartCommand;

impl Command for StartCommand {
    type Data = Vec<String>;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<StartCommand, CommandError> {
        Ok(StartCommand)
    }

    fn run(self, debugger: &mut Debugger) -> Result<Vec<String>, CommandError> {
        Ok(debugger.command_line.clone())
    }

    fn render(data: &Vec<String>, text: &mut String) {
        line!(text, "command line: '{}'", data.join(" "));
    }
}

/// Shows statistics of links.
#[derive(Debug, Clone)]
pub struct Statistics;

/// Statistics of one link.
#[derive(Debug, Clone)]
pub struct LinkReport {
    /// How the system is called.
    pub name: String,
    /// Since the last report.
    pub recent: LinkStatistics,
    /// Since it was connected.
    pub total: LinkStatistics,
}

fields!(LinkReport { name, recent, total });

impl Command for Statistics {
    type Data = Vec<LinkReport>;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<Statistics, CommandError> {
        Ok(Statistics)
    }

    fn run(self, debugger: &mut Debugger) -> Result<Vec<LinkReport>, CommandError> {
        let mut reports = Vec::new();
        let mut marks = Vec::new();
        for system in debugger.engine.systems() {
            let total = debugger.engine.with_target(system.ordinal, |target| target.link_statistics())?;
            let before = debugger.link_marks.iter().find(|(known, _)| *known == system.ordinal);
            let before = before.map(|(_, mark)| *mark).unwrap_or_default();
            let recent = LinkStatistics {
                messages_sent: total.messages_sent.saturating_sub(before.messages_sent),
                messages_received: total.messages_received.saturating_sub(before.messages_received),
                bytes_sent: total.bytes_sent.saturating_sub(before.bytes_sent),
                bytes_received: total.bytes_received.saturating_sub(before.bytes_received),
                round_trips: total.round_trips.saturating_sub(before.round_trips),
                resumes: total.resumes.saturating_sub(before.resumes),
            };
            marks.push((system.ordinal, total));
            reports.push(LinkReport { name: system.name, recent, total });
        }
        debugger.link_marks = marks;
        Ok(reports)
    }

    fn render(data: &Vec<LinkReport>, text: &mut String) {
        for report in data {
            line!(text, "{}", report.name);
            line!(text, "                  since last       total");
            let rows = [
                ("messages sent", report.recent.messages_sent, report.total.messages_sent),
                ("messages received", report.recent.messages_received, report.total.messages_received),
                ("bytes sent", report.recent.bytes_sent, report.total.bytes_sent),
                ("bytes received", report.recent.bytes_received, report.total.bytes_received),
                ("round trips", report.recent.round_trips, report.total.round_trips),
                ("links resumed", report.recent.resumes, report.total.resumes),
            ];
            for (words, recent, total) in rows {
                line!(text, "  {words:<17} {recent:>8} {total:>11}");
            }
        }
    }
}

/// Ends the session.
#[derive(Debug, Clone)]
pub struct Quit {
    ending: Ending,
}

impl Command for Quit {
    type Data = ();

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<Quit, CommandError> {
        let detach = arguments.name.eq_ignore_ascii_case("qd");
        Ok(Quit { ending: if detach { Ending::Detach } else { Ending::Quit } })
    }

    fn run(self, debugger: &mut Debugger) -> Result<(), CommandError> {
        // The session is over even if a process that is just ending cannot be let go any more.
        debugger.ending = Some(self.ending);
        let left = match (self.ending, debugger.settings.detach_on_quit) {
            (Ending::Quit, false) => debugger.engine.end_session(),
            _ => debugger.engine.leave_all(Leave::Detach { deliver: true }),
        };
        Ok(left?)
    }

    fn render(_: &(), _: &mut String) {}
}
