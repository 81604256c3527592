//! The command line: WinDbg's single-dash words, case-sensitive, and GNU spellings of the same.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use outpost_remote::OnLost;
use outpost_transport::{ClientTransport, Connection, without_passwords};

const HELP: &str = "\
cdb: debugger.

usage: cdb [-premote TRANSPORT] [OPTIONS] PROGRAM [ARGUMENTS...]     debug a new process
       cdb [-premote TRANSPORT] [OPTIONS] -p PID | -pn NAME         attach to a process
       cdb -premote TRANSPORT [OPTIONS] -resume [SESSION]           take over a session whose debugger is gone
       cdb [OPTIONS] -z CORE                                        open a core dump
       cdb [OPTIONS]                                                begin with nothing; .attach, .create
       cdb -QR HOST[:PORT] | '*'                                    list the servers of a machine, or network

  -premote, --premote TRANSPORT   processes of another machine, through its process server:
        tcp:server=HOST,port=N[,password=P]    npipe:pipe=NAME[,password=P]
        ssl:server=HOST,port=N,certuser=THUMBPRINT[,password=P][,clientcert=NAME]    spipe:pipe=NAME,...
        ssh:server=[USER@]HOST[,port=N][,path=FILE][,copy=yes|no]   starts dbgsrv there, and copies it
                  there first with copy=yes, or if you say so when it is missing
        exec:COMMAND            any command whose input and output are the link, such as
                  \"exec:docker exec -i web /tmp/dbgsrv --stdio\"
        tcp:port=N[:M],clicon=HOST[,password=P]   waits for the server of HOST, which dials; the same with ssl:
                  ([,certuser=C][,clientcert=T], as a server has them), and with npipe:, spipe: on this machine
        com:port=LINE,baud=N,channel=N[,password=P]
        P is any text, in @{ } if it has commas in it, or @FILE: the first line of a file that others cannot read.
        Programs and PIDs are that machine's, all other paths are this one's.
  -QR, --query-servers HOST[:PORT]  list the servers that HOST shows, and leave; it is asked through
                          one of them, the one on PORT (1025). This machine needs none. *: those that
                          say on the local network that they are there (dbgsrv --announce)
  -p, --pid PID           attach to the process of this id
  -pn, --process-name NAME  attach to the process of this name
  -onlost, --on-lost WHAT  what becomes of the debuggee if the link to the server is lost, until it is made anew:
        hold[:SECONDS]  stopped stays stopped, running runs (the default; the server says how long, and at most)
        run[:SECONDS]   all runs on; -resume stops it again     detach, kill  at once, nobody comes back
  -resume, --resume [SESSION]  with -premote: take over a session that the server holds without a debugger; its
        breakpoints are cleared and its processes stopped. Without a number: the only one (.sessions lists them)
  -cimp, --implicit-command-line  create what the server holds pending (dbgsrv -pc)
  -z, --core FILE         open a core dump; may be repeated
  -pv, --noninvasive      with -p: only look, do not become its debugger
  -pvr, --noninvasive-running  the same without holding it meanwhile
  -pe, --existing         with -p: take over a process that a debugger abandoned
  -pb, --no-break         with -p: do not stop it
  -pd, --detach-on-exit   quitting lets created processes go, too
  -o, --debug-children    debug the processes that it creates, too
  -g, --go                go on at the initial stop
  -G, --go-at-exit        go on when the process ends
  -xe, -xd, -xn, -xi EVENT  stop at an event, stop at its second chance, be told, ignore it, from the first
        one on; EVENT is written as for the commands sxe, sxd, sxn, sxi (--sxe, ...). Later ones go over earlier
  -x                      as -xd av
  -c, --commands TEXT     commands to begin with, after the first stop; may be repeated
  -cf, --command-file FILE  a file of such commands; ntsd.ini in the current directory is the default
  -y, --symbols PATH      where symbols are looked for (.sympath)
  -i, --images PATH       where programs and libraries are looked for
  -srcpath, --sources PATH  where sources are looked for (.srcpath)
  -lines, --lines         show source lines (the default; .lines -d hides them)
  -n, --noisy             tell what symbol loading does (!sym noisy)
  -logo, --log FILE       log to a new file
  -loga, --log-append FILE  log to the end of a file
  -v, --verbose           tell more
  -version, --version     release and protocol
  -?, -h, --help          this text

Commands in $XDG_CONFIG_HOME/outpost/cdb.ini are carried out at each start. At the prompt, .help lists the
commands, k shows the stack, g runs, q quits.
exit status: 0 ended by command or end of input, 1 could not begin, 2 wrong command line, 3 broke off";

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Request {
    /// Print this and leave.
    Show(String),
    /// List the servers of this machine.
    Query(String),
    /// Debug.
    Debug(Box<Options>),
}

/// What to debug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Debuggee {
    /// A process by id.
    Pid(u32),
    /// A process by name.
    Name(String),
    /// A new process.
    Program(Vec<String>),
    /// What the server holds pending.
    Implicit,
    /// A session of the server whose debugger is gone; 0: the only one.
    Session(u64),
    /// Dumps.
    Cores(Vec<PathBuf>),
    /// Nothing yet.
    Nothing,
}

/// How to look at a process that runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Attaching {
    #[default]
    Invasive,
    Noninvasive,
    NoninvasiveRunning,
    Existing,
}

/// How to debug.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) premote: Option<ClientTransport>,
    /// The connection to its server, where that was made before the session.
    pub(crate) link: Option<Connection>,
    pub(crate) debuggee: Debuggee,
    pub(crate) on_lost: Option<OnLost>,
    pub(crate) attaching: Attaching,
    pub(crate) no_break: bool,
    pub(crate) detach_on_exit: bool,
    pub(crate) debug_children: bool,
    pub(crate) go_at_start: bool,
    pub(crate) go_at_exit: bool,
    /// Commands that set event filters (`sxe av`), in the order of their options.
    pub(crate) filters: Vec<String>,
    pub(crate) commands: Vec<String>,
    pub(crate) command_file: Option<PathBuf>,
    pub(crate) symbols: Option<String>,
    pub(crate) images: Option<String>,
    pub(crate) sources: Option<String>,
    pub(crate) noisy: bool,
    pub(crate) verbose: bool,
    pub(crate) log: Option<(PathBuf, LogMode)>,
}

/// What becomes of a log that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogMode {
    New,
    Append,
}

/// What is wrong with the command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One option, whatever its spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Premote,
    QueryServers,
    Pid,
    ProcessName,
    ImplicitCommand,
    OnLost,
    Resume,
    Core,
    Noninvasive,
    NoninvasiveRunning,
    Existing,
    NoBreak,
    DetachOnExit,
    DebugChildren,
    Go,
    GoAtExit,
    /// One that sets an event filter: the command that does.
    Filter(&'static str),
    AccessViolations,
    Commands,
    CommandFile,
    Symbols,
    Images,
    Sources,
    Lines,
    Noisy,
    LogNew,
    LogAppend,
    Verbose,
    Version,
    Help,
}

impl Word {
    fn of(argument: &str) -> Option<Word> {
        Some(match argument {
            "-premote" | "--premote" => Word::Premote,
            "-QR" | "--query-servers" => Word::QueryServers,
            "-p" | "--pid" => Word::Pid,
            "-pn" | "--process-name" => Word::ProcessName,
            "-cimp" | "--implicit-command-line" => Word::ImplicitCommand,
            "-onlost" | "--on-lost" => Word::OnLost,
            "-resume" | "--resume" => Word::Resume,
            "-z" | "--core" => Word::Core,
            "-pv" | "--noninvasive" => Word::Noninvasive,
            "-pvr" | "--noninvasive-running" => Word::NoninvasiveRunning,
            "-pe" | "--existing" => Word::Existing,
            "-pb" | "--no-break" => Word::NoBreak,
            "-pd" | "--detach-on-exit" => Word::DetachOnExit,
            "-o" | "--debug-children" => Word::DebugChildren,
            "-g" | "--go" => Word::Go,
            "-G" | "--go-at-exit" => Word::GoAtExit,
            "-xe" | "--sxe" => Word::Filter("sxe"),
            "-xd" | "--sxd" => Word::Filter("sxd"),
            "-xn" | "--sxn" => Word::Filter("sxn"),
            "-xi" | "--sxi" => Word::Filter("sxi"),
            "-x" => Word::AccessViolations,
            "-c" | "--commands" => Word::Commands,
            "-cf" | "--command-file" => Word::CommandFile,
            "-y" | "--symbols" => Word::Symbols,
            "-i" | "--images" => Word::Images,
            "-srcpath" | "--sources" => Word::Sources,
            "-lines" | "--lines" => Word::Lines,
            "-n" | "--noisy" => Word::Noisy,
            "-logo" | "--log" => Word::LogNew,
            "-loga" | "--log-append" => Word::LogAppend,
            "-v" | "--verbose" => Word::Verbose,
            "-version" | "--version" => Word::Version,
            "-?" | "-h" | "--help" => Word::Help,
            _ => return None,
        })
    }

    fn takes_value(self) -> bool {
        matches!(
            self,
            Word::Premote
                | Word::OnLost
                | Word::QueryServers
                | Word::Pid
                | Word::ProcessName
                | Word::Core
                | Word::Filter(_)
                | Word::Commands
                | Word::CommandFile
                | Word::Symbols
                | Word::Images
                | Word::Sources
                | Word::LogNew
                | Word::LogAppend
        )
    }
}

/// Reads the command line, the program's name first.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, UsageError> {
    let mut parser = lexopt::Parser::from_iter(arguments);
    // Single-dash words of several letters are no clusters of short options, so arguments are taken raw.
    let mut raw = parser.raw_args().map_err(|error| UsageError(error.to_string()))?;
    let mut debuggees = Vec::new();
    let mut cores = Vec::new();
    let mut options = Options::default();
    let (mut words, mut queried) = (0, None);
    while let Some(argument) = raw.next() {
        let argument = text(argument)?;
        // The first word that is no option is the program; the rest is its own.
        if argument == "--" || !argument.starts_with('-') || argument == "-" {
            let mut words: Vec<String> = if argument == "--" { Vec::new() } else { vec![argument] };
            words.extend(raw.by_ref().map(text).collect::<Result<Vec<_>, _>>()?);
            if words.is_empty() {
                return Err(UsageError("-- is followed by no program".into()));
            }
            debuggees.push(Debuggee::Program(words));
            break;
        }
        let (name, attached) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        words += 1;
        let word = Word::of(name).ok_or_else(|| UsageError(format!("unknown option {argument}")))?;
        let value = match (word.takes_value(), attached) {
            (true, Some(value)) => value,
            (true, None) => {
                let value = raw.next().map(text).transpose()?;
                value.ok_or_else(|| UsageError(format!("{name} needs a value")))?
            }
            (false, Some(value)) if word == Word::Resume => value,
            // A number behind it is its own; a program is never called so.
            (false, None) if word == Word::Resume => match raw.peek().and_then(|next| next.to_str()) {
                Some(next) if next.parse::<u64>().is_ok() => raw.next().map(text).transpose()?.unwrap_or_default(),
                _ => "0".to_owned(),
            },
            (false, Some(_)) => return Err(UsageError(format!("{name} takes no value"))),
            (false, None) => String::new(),
        };
        match word {
            Word::Version => return Ok(Request::Show(outpost_server::version_text("cdb"))),
            Word::Help => return Ok(Request::Show(HELP.into())),
            Word::QueryServers => queried = Some(value),
            Word::Pid => debuggees.push(Debuggee::Pid(pid(&value)?)),
            Word::ProcessName => debuggees.push(Debuggee::Name(value)),
            Word::ImplicitCommand => debuggees.push(Debuggee::Implicit),
            Word::Resume => {
                let wrong = || UsageError(format!("'{value}' is no number of a session; .sessions lists them"));
                debuggees.push(Debuggee::Session(value.parse().map_err(|_| wrong())?));
            }
            Word::Core => cores.push(value.into()),
            word => options.set(word, value)?,
        }
    }
    if let Some(host) = queried {
        return match words == 1 && debuggees.is_empty() {
            true => Ok(Request::Query(host)),
            false => Err(UsageError("-QR stands alone: it lists servers and starts no debugger".into())),
        };
    }
    if !cores.is_empty() {
        debuggees.push(Debuggee::Cores(cores));
    }
    let mut debuggees = debuggees.into_iter();
    match (debuggees.next(), debuggees.next()) {
        (Some(debuggee), None) => options.debuggee = debuggee,
        (None, _) => {}
        (Some(_), Some(_)) => return Err(UsageError("more than one thing to debug is named".into())),
    }
    options.check()?;
    Ok(Request::Debug(Box::new(options)))
}

impl Default for Options {
    fn default() -> Options {
        Options {
            premote: None,
            link: None,
            debuggee: Debuggee::Nothing,
            on_lost: None,
            attaching: Attaching::Invasive,
            no_break: false,
            detach_on_exit: false,
            debug_children: false,
            go_at_start: false,
            go_at_exit: false,
            filters: Vec::new(),
            commands: Vec::new(),
            command_file: None,
            symbols: None,
            images: None,
            sources: None,
            noisy: false,
            verbose: false,
            log: None,
        }
    }
}

impl Options {
    fn set(&mut self, word: Word, value: String) -> Result<(), UsageError> {
        match word {
            Word::Premote => {
                let transport = value
                    .parse()
                    .map_err(|error| UsageError(format!("-premote {}: {error}", without_passwords(&value))))?;
                self.premote = Some(transport);
            }
            Word::OnLost => self.on_lost = Some(on_lost(&value)?),
            Word::Noninvasive => self.attaching = Attaching::Noninvasive,
            Word::NoninvasiveRunning => self.attaching = Attaching::NoninvasiveRunning,
            Word::Existing => self.attaching = Attaching::Existing,
            Word::NoBreak => self.no_break = true,
            Word::DetachOnExit => self.detach_on_exit = true,
            Word::DebugChildren => self.debug_children = true,
            Word::Go => self.go_at_start = true,
            Word::GoAtExit => self.go_at_exit = true,
            Word::Filter(command) => self.filters.push(format!("{command} {value}")),
            Word::AccessViolations => self.filters.push("sxd av".into()),
            Word::Commands => self.commands.push(value),
            Word::CommandFile => self.command_file = Some(value.into()),
            Word::Symbols => self.symbols = Some(value),
            Word::Images => self.images = Some(value),
            Word::Sources => self.sources = Some(value),
            Word::Noisy => self.noisy = true,
            Word::Verbose => self.verbose = true,
            Word::LogNew => self.log = Some((value.into(), LogMode::New)),
            Word::LogAppend => self.log = Some((value.into(), LogMode::Append)),
            // Lines are on; the others were dealt with.
            _ => {}
        }
        Ok(())
    }

    fn check(&self) -> Result<(), UsageError> {
        let attaches = matches!(self.debuggee, Debuggee::Pid(_) | Debuggee::Name(_));
        let wrong = |reason: &str| Err(UsageError(reason.to_owned()));
        if self.attaching != Attaching::Invasive && !attaches {
            return wrong("-pv and -pe are for -p and -pn");
        }
        if self.no_break && !attaches {
            return wrong("-pb is for -p and -pn; -g goes on at the initial stop of a new process");
        }
        if self.premote.is_some() && matches!(self.debuggee, Debuggee::Cores(_)) {
            return wrong("a dump is a file of this machine: -z goes without -premote");
        }
        if self.premote.is_none() && (self.on_lost.is_some() || matches!(self.debuggee, Debuggee::Session(_))) {
            return wrong("-onlost and -resume are for -premote: a debugger on the same machine has no link to lose");
        }
        if self.on_lost.is_some() && matches!(self.debuggee, Debuggee::Session(_)) {
            return wrong("-onlost was settled when the session was opened; -resume goes without it");
        }
        if self.premote.is_none() && self.debuggee == Debuggee::Implicit {
            return wrong("-cimp is for -premote: it takes what a server holds pending");
        }
        Ok(())
    }
}

/// `hold[:SECONDS]`, `run[:SECONDS]`, `detach`, `kill`.
fn on_lost(text: &str) -> Result<OnLost, UsageError> {
    let wrong =
        || UsageError(format!("-onlost {text}: hold, hold:SECONDS, run, run:SECONDS, detach or kill are wanted"));
    let (name, seconds) = text.split_once(':').map_or((text, None), |(name, seconds)| (name, Some(seconds)));
    let seconds = seconds.map(|seconds| seconds.parse::<u32>().map_err(|_| wrong())).transpose()?;
    let time = seconds.map(|seconds| Duration::from_secs(seconds.into()));
    match (name, time) {
        ("hold", time) => Ok(OnLost::Hold(time)),
        ("run", time) => Ok(OnLost::Run(time)),
        ("detach", None) => Ok(OnLost::Detach),
        ("kill", None) => Ok(OnLost::Kill),
        _ => Err(wrong()),
    }
}

/// A PID: decimal, or with `0x` hexadecimal, or with `0n` decimal as `.tlist` shows it.
fn pid(text: &str) -> Result<u32, UsageError> {
    let lower = text.to_ascii_lowercase();
    let parsed = match (lower.strip_prefix("0x"), lower.strip_prefix("0n")) {
        (Some(hex), _) => u32::from_str_radix(hex, 16).ok(),
        (_, Some(decimal)) => decimal.parse().ok(),
        _ => lower.parse().ok(),
    };
    parsed.filter(|pid| *pid != 0).ok_or_else(|| UsageError(format!("'{text}' is no process id")))
}

fn text(argument: OsString) -> Result<String, UsageError> {
    argument.into_string().map_err(|word| UsageError(format!("{} is not UTF-8", word.to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, UsageError> {
        parse(std::iter::once("cdb").chain(line.split_whitespace()).map(OsString::from))
    }

    fn options(line: &str) -> Options {
        match parsed(line) {
            Ok(Request::Debug(options)) => *options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_program_takes_the_rest_of_the_line() {
        let options = options("-g -c k ./svc -p 5 --help");
        assert_eq!(options.debuggee, Debuggee::Program(["./svc", "-p", "5", "--help"].map(String::from).into()));
        assert!(options.go_at_start);
        assert_eq!(options.commands, ["k"]);
    }

    #[test]
    fn words_in_both_spellings() {
        let one = options("-premote tcp:server=alder,port=1025 -p 0x1400 -pd -G -loga x.log");
        let other = options(
            "--premote=tcp:server=alder,port=1025 --pid=0n5120 --detach-on-exit --go-at-exit --log-append x.log",
        );
        for options in [one, other] {
            assert_eq!(options.debuggee, Debuggee::Pid(0x1400));
            assert!(options.premote.is_some() && options.detach_on_exit && options.go_at_exit);
            assert_eq!(options.log, Some(("x.log".into(), LogMode::Append)));
        }
        assert_eq!(options("-z a -z b").debuggee, Debuggee::Cores(vec!["a".into(), "b".into()]));
        assert_eq!(options("").debuggee, Debuggee::Nothing);
        assert_eq!(options("-pv -pn svc").attaching, Attaching::Noninvasive);
        assert_eq!(options("-xe ld:libm* -x --sxi=eh").filters, ["sxe ld:libm*", "sxd av", "sxi eh"]);
        assert!(matches!(parsed("-?"), Ok(Request::Show(_))));
        let lost = |text: &str| options(&format!("-premote tcp:server=a,port=1 -onlost {text} -p 5")).on_lost;
        assert_eq!(lost("hold:5"), Some(OnLost::Hold(Some(Duration::from_secs(5)))));
        assert_eq!((lost("run"), lost("kill")), (Some(OnLost::Run(None)), Some(OnLost::Kill)));
        let resume = |text: &str| options(&format!("-premote tcp:server=a,port=1 {text}")).debuggee;
        assert_eq!(resume("-resume"), Debuggee::Session(0));
        assert_eq!(resume("-resume 12 -g"), Debuggee::Session(12));
        assert_eq!(resume("--resume=3"), Debuggee::Session(3));
        assert_eq!(resume("-resume -g"), Debuggee::Session(0));
        assert!(matches!(parsed("-QR \\\\alder"), Ok(Request::Query(host)) if host == "\\\\alder"));
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        let check = |line: &str, expected: &str| {
            let error = parsed(line).expect_err(line);
            assert!(error.0.contains(expected), "{line}: {error}");
        };
        check("-p 5 -z core", "more than one");
        check("-p five", "'five' is no process id");
        check("-p 0", "is no process id");
        check("-xq av", "unknown option -xq");
        check("-xe", "-xe needs a value");
        check("-p", "-p needs a value");
        check("--go=yes x", "takes no value");
        check("-premote tcp:server=alder,port=1025 -z core", "goes without -premote");
        check("-cimp", "-cimp is for -premote");
        check("-pv ./svc", "are for -p");
        check("-resume", "are for -premote");
        check("-onlost hold ./svc", "are for -premote");
        check("-premote tcp:server=a,port=1 -onlost detach:5", "are wanted");
        check("-premote tcp:server=a,port=1 -onlost hold -resume", "goes without it");
        check("-premote nonsense ./svc", "-premote nonsense");
        check("-QR alder -p 5", "-QR stands alone");
        check("-QR alder ./svc", "-QR stands alone");
        check("-QR", "-QR needs a value");
        check("-premote tcp:password=Xy12 ./svc", "-premote tcp:password=*: tcp: needs");
    }

    #[test]
    fn help_names_every_word() {
        for word in [
            "-premote", "-QR", "-pn", "-cimp", "-onlost", "-resume", "-pv", "-pe", "-pb", "-pd", "-cf", "-srcpath",
            "-lines", "-logo", "-loga", "-xe", "-xd", "-xn", "-xi", "-x",
        ] {
            assert!(Word::of(word).is_some(), "{word}");
            assert!(HELP.contains(word), "{word}");
        }
    }
}
