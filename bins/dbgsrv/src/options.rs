//! The command line: WinDbg's single-dash words, case-sensitive, and GNU spellings of the same.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use outpost_server::{AllowList, Audit, Grace, Grant, JOURNAL_SOCKET, Role, ServerError};
use outpost_transport::{Credential, Password, ServerTransport, Thumbprint, without_passwords};

/// First argument of the process that `--daemon` leaves behind.
pub(crate) const DAEMON_CHILD: &str = "--outpost-daemon";

/// Where it listens if nothing is said.
const QUICK_START: &str = "ssl:port=0";

const HELP: &str = "\
dbgsrv: process server. Debuggers elsewhere (cdb -premote) see this machine's processes through it.

usage: dbgsrv [-t TRANSPORT] [--daemon] [--grace SECONDS[:MAX]] [-x | -pc COMMAND | -c COMMAND | -cs COMMAND]
       dbgsrv --stdio [--grace SECONDS[:MAX]] [-pc COMMAND]

Without -t it is ssl:port=0: encrypted, on a free port of every address, with a certificate made on first
use and a password for this run. What to type at the other end is said when it listens.

  -t, --transport TRANSPORT   where to listen:
        ssl:port=N[:M][,password=P][,certuser=C|machuser=C][,clientcert=T[;T...]][,bind=ADDR][,hidden]
                  TLS 1.3, on every address unless bind= names one; C is NAME (for NAME.crt, NAME.key)
                  or the thumbprint of a certificate in ~/.config/outpost/certificates (certuser) or
                  /etc/outpost/certificates (machuser); T are the thumbprints of the only client
                  certificates let in; without password= and clientcert= a password is made
        tcp:port=N[:M][,password=P][,bind=ADDR][,hidden][,ipversion=6]
                  readable on the way; first free port of N to M (0: any); on loopback unless bind=
                  names an address of this machine, or * for all, which needs a password
        npipe:pipe=NAME[,password=P][,hidden]
                  Unix socket in the runtime directory, for the same user only;
                  %d or %x in NAME stands for the process id, a second one for the thread id
        spipe:pipe=NAME and the keys of ssl:
                  TLS 1.3 over such a socket
        tcp:port=N,clicon=HOST[,password=P][,ipversion=6]
                  the other way round: dials the debugger that waits on HOST, serves it and ends
        ssl:port=N,clicon=HOST,certuser=THUMBPRINT[,clientcert=NAME] and the keys of tcp:
                  the same inside TLS: THUMBPRINT is the waiting debugger's, which shows it; npipe:pipe=
                  and spipe:pipe= with clicon=. dial a debugger of this machine
        com:port=LINE,baud=N,channel=N[,password=P][,hidden]
                  serial line: com1 (which is /dev/ttyS0), /dev/ttyUSB0, any terminal device;
                  one line carries connections on channels 0 to 254, for any number of programs
      --stdio                 serve one debugger on standard input and output, as ssh:, docker exec -i and
                              the like start it (cdb -premote exec:...); no password, ends with it, but
                              waits in the background for the next one if the link is lost
  -c, --command COMMAND...    also start a program, not debugged; takes the rest of the line
  -cs, --command-suspended COMMAND...
                              the same, held before its first instruction
  -pc, --implicit-command COMMAND...
                              a program that is started when a debugger asks for it (cdb -cimp);
                              takes the rest of the line
  -x, --ignore-rest           ignore the rest of the line
      --daemon                go to the background once listening
      --grace SECONDS[:MAX]   how long a session whose link is lost waits for its debugger to come back,
                              and how long one may ask for (cdb -onlost): 60:3600 if not given; 0: not at all
      --no-remote-end         no debugger can end this server (.endpsrv)
      --role ROLE:password=P|clientcert=THUMBPRINT[;...]
                              what who knows P, or owns the certificate, may do (given once for each password):
                              observe, control (observe, and debug what runs), launch (control, and start
                              programs) or end-server (all); with it the password of -t, if any, allows everything
      --allow user=NAME|program=PATH|operation=NAME
                              what clients may do at most, in whatever role (given once for each): attach to
                              processes of these users; to and start these programs, or those below a folder;
                              of attach, create, kill, write, registers, suspend, breakpoints and input these
      --audit FILE|journald   write who did what: each connection, refusal, attach, create, detach, kill,
                              write, signal and end, a line each, to the end of FILE or to the journal
      --announce              say on the local network that this server is there (multicast DNS, for cdb -QR *);
                              not if it is hidden or reached from this machine only
      --idle-exit SECONDS     end once there was no session and nobody knocking for so long
  -?, -h, --help              this text
      --version               release and protocol

Passwords are any text; one with commas goes in braces: password=@{a,b}; password=@FILE takes the first
line of a file that others cannot read. It never crosses the link and is taken out of the process list. SIGTERM, SIGINT or .endpsrv in a debugger end it in order:
debuggers are told, attached processes let go, created ones ended.
exit status: 0 ended in order, 1 could not start or go on, 2 wrong command line,
3 the link that was dialled broke or had no session: start it again for another";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one value per program")]
pub(crate) enum Request {
    /// Print this and leave.
    Show(String),
    /// Serve.
    Serve(Options),
    /// Serve on standard input and output.
    Stdio(Stdio),
}

/// How to serve standard input and output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stdio {
    /// Words of the process creation held pending; empty: none.
    pub(crate) command_line: Vec<String>,
    /// How long the session outlives its link.
    pub(crate) grace: Grace,
    /// What the client may do at most.
    pub(crate) allowed: AllowList,
    /// Where it is written who did what.
    pub(crate) audit: Option<AuditTo>,
}

/// How to serve.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) transport: ServerTransport,
    pub(crate) program: Option<Program>,
    /// Words of the process creation held pending; empty: none.
    pub(crate) implicit_command: Vec<String>,
    /// How long sessions outlive their links.
    pub(crate) grace: Grace,
    /// Whether a client may end the server.
    pub(crate) remote_end: bool,
    /// The server ends once nobody was there for so long.
    pub(crate) idle_exit: Option<Duration>,
    /// Roles by password.
    pub(crate) roles: Vec<Grant>,
    /// What clients may do at most.
    pub(crate) allowed: AllowList,
    /// Where it is written who did what.
    pub(crate) audit: Option<AuditTo>,
    /// Whether it says on the local network that it is there.
    pub(crate) announce: bool,
    /// Start the server in the background.
    pub(crate) daemon: bool,
    /// This is the server that was started in the background.
    pub(crate) is_daemon: bool,
}

/// Where audit lines go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AuditTo {
    File(PathBuf),
    Journal,
}

impl AuditTo {
    fn of(value: &str) -> Result<AuditTo, UsageError> {
        match value {
            "" => Err(UsageError("--audit needs a file, or the word journald".into())),
            "journald" => Ok(AuditTo::Journal),
            path => Ok(AuditTo::File(path.into())),
        }
    }

    pub(crate) fn open(&self) -> Result<Audit, ServerError> {
        match self {
            AuditTo::File(path) => Audit::file(path),
            AuditTo::Journal => Audit::journal(Path::new(JOURNAL_SOCKET)),
        }
    }
}

/// A program to start at once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) words: Vec<String>,
    /// Held before its first instruction.
    pub(crate) suspended: bool,
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
    Transport,
    Command,
    CommandSuspended,
    ImplicitCommand,
    IgnoreRest,
    Grace,
    NoRemoteEnd,
    IdleExit,
    Audit,
    Announce,
    Role,
    Allow,
    Stdio,
    Daemon,
    DaemonChild,
    Help,
    Version,
}

impl Word {
    fn of(argument: &str) -> Option<Word> {
        Some(match argument {
            "-t" | "--transport" => Word::Transport,
            "-c" | "--command" => Word::Command,
            "-cs" | "--command-suspended" => Word::CommandSuspended,
            "-pc" | "--implicit-command" => Word::ImplicitCommand,
            "-x" | "--ignore-rest" => Word::IgnoreRest,
            "--grace" => Word::Grace,
            "--no-remote-end" => Word::NoRemoteEnd,
            "--idle-exit" => Word::IdleExit,
            "--role" => Word::Role,
            "--allow" => Word::Allow,
            "--audit" => Word::Audit,
            "--announce" => Word::Announce,
            "--stdio" => Word::Stdio,
            "--daemon" => Word::Daemon,
            DAEMON_CHILD => Word::DaemonChild,
            "-?" | "-h" | "--help" => Word::Help,
            "--version" => Word::Version,
            _ => return None,
        })
    }
}

/// Reads the command line, the program's name first.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, UsageError> {
    let mut parser = lexopt::Parser::from_iter(arguments);
    let (mut transport, mut stdio) = (None, false);
    let (mut grace, mut remote_end, mut idle_exit, mut audit) = (Grace::default(), true, None, None);
    let mut announce = false;
    let (mut roles, mut allowed): (Vec<Grant>, _) = (Vec::new(), AllowList::default());
    let mut options = (None, Vec::new(), false, false);
    // Single-dash words of several letters are no clusters of short options, so arguments are taken raw.
    let mut raw = parser.raw_args().map_err(|error| UsageError(error.to_string()))?;
    while let Some(argument) = raw.next() {
        let argument = text(argument)?;
        let (name, attached) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        let word = Word::of(name).ok_or_else(|| unknown(&argument))?;
        if attached.is_some()
            && !matches!(word, Word::Transport | Word::Grace | Word::IdleExit | Word::Audit | Word::Role | Word::Allow)
        {
            return Err(UsageError(format!("{name} takes no value")));
        }
        match word {
            Word::Transport => {
                let value = attached.map(Ok).or_else(|| raw.next().map(text)).transpose()?;
                let value = value.ok_or_else(|| UsageError(format!("{name} needs a connection string")))?;
                if transport.replace(value.parse().map_err(|error| UsageError(format!("{error}")))?).is_some() {
                    return Err(UsageError("-t is given twice".into()));
                }
            }
            Word::Grace => {
                let value = attached.map(Ok).or_else(|| raw.next().map(text)).transpose()?;
                grace = seconds(&value.unwrap_or_default())?;
            }
            Word::NoRemoteEnd => remote_end = false,
            Word::IdleExit => {
                let value = attached.map(Ok).or_else(|| raw.next().map(text)).transpose()?.unwrap_or_default();
                let seconds = value.parse::<u32>().ok().filter(|seconds| *seconds > 0);
                let wrong = || UsageError(format!("--idle-exit {value}: seconds are wanted, such as 600"));
                idle_exit = Some(Duration::from_secs(seconds.ok_or_else(wrong)?.into()));
            }
            Word::Role => {
                let value = attached.map(Ok).or_else(|| raw.next().map(text)).transpose()?;
                roles.push(grant(&value.unwrap_or_default())?);
            }
            Word::Allow => {
                let value = attached.map(Ok).or_else(|| raw.next().map(text)).transpose()?;
                let one = value.unwrap_or_default().parse();
                allowed.push(one.map_err(|error| UsageError(format!("--allow: {error}")))?);
            }
            Word::Audit => {
                let value = attached.map(Ok).or_else(|| raw.next().map(text)).transpose()?;
                audit = Some(AuditTo::of(&value.unwrap_or_default())?);
            }
            Word::Command | Word::CommandSuspended => {
                let words = rest(name, &mut raw)?;
                options.0 = Some(Program { words, suspended: word == Word::CommandSuspended });
            }
            Word::ImplicitCommand => options.1 = rest(name, &mut raw)?,
            Word::IgnoreRest => break,
            Word::Announce => announce = true,
            Word::Stdio => stdio = true,
            Word::Daemon => options.2 = true,
            Word::DaemonChild => options.3 = true,
            Word::Help => return Ok(Request::Show(HELP.to_owned())),
            Word::Version => return Ok(Request::Show(outpost_server::version_text("dbgsrv"))),
        }
    }
    if stdio {
        if announce {
            return Err(UsageError("--announce needs a server that listens: it goes without --stdio".into()));
        }
        return match (transport, options, roles.is_empty()) {
            (None, (None, command_line, false, false), true) => {
                Ok(Request::Stdio(Stdio { command_line, grace, allowed, audit }))
            }
            _ => Err(UsageError(
                "--stdio serves one debugger, here: it goes without -t, -c, -cs, --role and --daemon".into(),
            )),
        };
    }
    let mut transport: ServerTransport =
        transport.map_or_else(|| QUICK_START.parse().map_err(|error| UsageError(format!("{error}"))), Ok)?;
    if announce {
        check_announced(&transport)?;
    }
    let mut secrets: Vec<&Password> = transport.password().into_iter().collect();
    let mut certificates: Vec<Thumbprint> = Vec::new();
    for Grant { credential, .. } in &roles {
        match credential {
            Credential::Password(password) if secrets.contains(&password) => {
                return Err(UsageError("--role: a password gives one role; the same is given twice".into()));
            }
            Credential::Password(password) => secrets.push(password),
            Credential::Certificates(owned) => certificates.extend(owned),
        }
    }
    if !certificates.is_empty() {
        transport.let_in(&certificates).map_err(|error| UsageError(format!("--role: {error}")))?;
    }
    let (program, implicit_command, daemon, is_daemon) = options;
    let daemon = daemon && !is_daemon;
    Ok(Request::Serve(Options {
        transport,
        program,
        implicit_command,
        grace,
        remote_end,
        idle_exit,
        roles,
        allowed,
        audit,
        announce,
        daemon,
        is_daemon,
    }))
}

/// Only what may be found is announced, and only what others can reach.
fn check_announced(transport: &ServerTransport) -> Result<(), UsageError> {
    let reason = match transport {
        ServerTransport::Reverse(_) => "a server that dials is never announced",
        transport if transport.is_hidden() => "a hidden server is never announced",
        transport if !transport.is_beyond_this_machine() => {
            "it is reached from this machine only; ssl:, or tcp: with bind=, is reached by others"
        }
        _ => return Ok(()),
    };
    Err(UsageError(format!("--announce does not go with {transport}: {reason}")))
}

/// `ROLE:password=P` or `ROLE:clientcert=THUMBPRINT`. Never shows a password.
fn grant(value: &str) -> Result<Grant, UsageError> {
    let usage = "--role: ROLE:password=P or ROLE:clientcert=THUMBPRINT is wanted, with ROLE observe, control, launch \
                 or end-server";
    let (role, secret) = value.split_once(':').ok_or_else(|| UsageError(usage.into()))?;
    let role = Role::of(role).ok_or_else(|| UsageError(usage.into()))?;
    let credential = secret.parse().map_err(|error| UsageError(format!("--role: {error}")))?;
    Ok(Grant { role, credential })
}

/// `SECONDS[:MAX]`.
fn seconds(value: &str) -> Result<Grace, UsageError> {
    let (default, most) = value.split_once(':').map_or((value, None), |(default, most)| (default, Some(most)));
    let number = |text: &str| {
        let wrong =
            || UsageError(format!("--grace {value}: seconds are wanted, such as 60 or 60:3600; 0 holds nothing"));
        text.parse::<u32>().map(|seconds| Duration::from_secs(seconds.into())).map_err(|_| wrong())
    };
    let default = number(default)?;
    let most = match most {
        Some(most) => number(most)?,
        None if default.is_zero() => Duration::ZERO,
        None => default.max(Grace::default().most),
    };
    if most < default {
        return Err(UsageError(format!("--grace {value}: the second number is the limit, and less than the first")));
    }
    Ok(Grace { default, most })
}

/// Everything that is left, as a command. One word with spaces in it is a whole command line, as launchers hand it over.
fn rest(name: &str, raw: &mut lexopt::RawArgs<'_>) -> Result<Vec<String>, UsageError> {
    let words: Vec<String> = raw.map(text).collect::<Result<_, _>>()?;
    match words.as_slice() {
        [] => Err(UsageError(format!("{name} needs a command behind it, and cannot be last"))),
        [line] if line.contains(' ') && !std::path::Path::new(line).exists() => {
            let words = split(line);
            if words.is_empty() { Err(UsageError(format!("{name} needs a command"))) } else { Ok(words) }
        }
        _ => Ok(words),
    }
}

/// Words of a line, parted by spaces outside of double quotes.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '"' => (quoted, begun) = (!quoted, true),
            ' ' | '\t' if !quoted => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

fn text(argument: OsString) -> Result<String, UsageError> {
    argument.into_string().map_err(|raw| UsageError(format!("{} is not valid UTF-8", raw.to_string_lossy())))
}

fn unknown(argument: &str) -> UsageError {
    UsageError(match argument {
        "-sifeo" | "-pipe" | "-QR" => format!("{argument} is not in this release"),
        _ => format!("unknown option '{}' (options are case-sensitive)", without_passwords(argument)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &[&str]) -> Result<Request, UsageError> {
        parse(std::iter::once("dbgsrv").chain(line.iter().copied()).map(OsString::from))
    }

    fn serve(line: &[&str]) -> Options {
        match check(line).unwrap() {
            Request::Serve(options) => options,
            other => panic!("{other:?}"),
        }
    }

    fn refuses(line: &[&str], words: &str) {
        let error = check(line).unwrap_err().0;
        assert!(error.contains(words), "{line:?}: {error}");
    }

    #[test]
    fn the_transport_is_given_once_at_most() {
        assert_eq!(serve(&["-t", "tcp:port=1025"]).transport.to_string(), "tcp:Port=1025");
        assert_eq!(serve(&["--transport=npipe:pipe=x"]).transport.to_string(), "npipe:Pipe=x");
        assert_eq!(serve(&[]).transport.to_string(), "ssl:Port=0");
        refuses(&["-t"], "needs a connection string");
        refuses(&["-t", "tcp:port=1", "-t", "tcp:port=2"], "twice");
        refuses(&["-t", "ssl:proto=ssl3,certuser=me,port=1"], "older protocols are not secure");
        refuses(&["tcp:port=1,password=Xy12"], "unknown option 'tcp:port=1,password=*'");
        refuses(&["-T", "tcp:port=1"], "case-sensitive");
    }

    #[test]
    fn a_command_takes_the_rest_verbatim() {
        let options = serve(&["-t", "tcp:port=1", "-c", "./svc", "-x", "--daemon"]);
        assert_eq!(
            options.program,
            Some(Program { words: ["./svc", "-x", "--daemon"].map(Into::into).into(), suspended: false })
        );
        assert!(!options.daemon);
        let options = serve(&["-t", "tcp:port=1", "-cs", "./svc -f \"a b\" \"\""]);
        assert_eq!(
            options.program,
            Some(Program { words: ["./svc", "-f", "a b", ""].map(Into::into).into(), suspended: true })
        );
        let options = serve(&["-t", "tcp:port=1", "-pc", "./svc", "-c"]);
        assert_eq!((options.program, options.implicit_command), (None, ["./svc", "-c"].map(String::from).into()));
        refuses(&["-t", "tcp:port=1", "-pc"], "cannot be last");
        refuses(&["-t", "tcp:port=1", "-c"], "needs a command");
    }

    #[test]
    fn the_grace_has_a_limit() {
        let grace = |words: &[&str]| serve(&[&["-t", "tcp:port=1"], words].concat()).grace;
        let seconds = |default, most| Grace { default: Duration::from_secs(default), most: Duration::from_secs(most) };
        assert_eq!(grace(&[]), seconds(60, 3600));
        assert_eq!(grace(&["--grace", "5"]), seconds(5, 3600));
        assert_eq!(grace(&["--grace=7200"]), seconds(7200, 7200));
        assert_eq!(grace(&["--grace", "0"]), Grace::NONE);
        assert_eq!(grace(&["--grace", "0:9"]), seconds(0, 9));
        refuses(&["-t", "tcp:port=1", "--grace", "9:5"], "the limit");
        refuses(&["-t", "tcp:port=1", "--grace", "soon"], "seconds are wanted");
        refuses(&["-t", "tcp:port=1", "--grace"], "seconds are wanted");
    }

    #[test]
    fn who_may_end_it_and_when_it_ends_by_itself() {
        let of = |words: &[&str]| {
            let options = serve(&[&["-t", "tcp:port=1"], words].concat());
            (options.remote_end, options.idle_exit)
        };
        assert_eq!(of(&[]), (true, None));
        assert_eq!(of(&["--no-remote-end", "--idle-exit=600"]), (false, Some(Duration::from_secs(600))));
        refuses(&["--idle-exit", "0"], "seconds are wanted");
        refuses(&["--idle-exit"], "seconds are wanted");
        refuses(&["--no-remote-end=yes"], "takes no value");
    }

    #[test]
    fn only_what_others_may_find_and_reach_is_announced() {
        assert!(!serve(&[]).announce);
        assert!(serve(&["--announce"]).announce);
        assert!(serve(&["--announce", "-t", "tcp:port=1,bind=*,password=x"]).announce);
        refuses(&["--announce", "-t", "ssl:port=1,hidden"], "a hidden server is never announced");
        refuses(&["--announce", "-t", "tcp:port=1"], "reached from this machine only");
        refuses(&["--announce", "-t", "npipe:pipe=x"], "reached from this machine only");
        refuses(&["--announce", "-t", "tcp:port=1,clicon=birch"], "a server that dials is never announced");
        refuses(&["--announce", "--stdio"], "without --stdio");
    }

    #[test]
    fn roles_are_given_by_password_or_certificate() {
        let options = serve(&["-t", "tcp:port=1", "--role", "observe:password=@{a,b=c}", "--role=launch:password=d"]);
        let password = |text| Credential::Password(Password::new(text).unwrap());
        let grant = |role, text| Grant { role, credential: password(text) };
        assert_eq!(options.roles, [grant(Role::Observe, "a,b=c"), grant(Role::Launch, "d")]);
        let certificate = format!("control:clientcert={}", "AB".repeat(32));
        let options = serve(&["-t", "ssl:port=1", "--role", &certificate]);
        assert!(options.transport.to_string().ends_with(&format!(",ClientCert={}", "AB".repeat(32))));
        refuses(&["-t", "tcp:port=1", "--role", &certificate], "a client certificate over tcp:Port=1 is not");
        refuses(&["--role"], "is wanted");
        refuses(&["--role", "root:password=x"], "is wanted");
        refuses(&["--role", "observe:password="], "it is empty");
        refuses(&["--role", "observe:password=a,b"], "credential: does not take");
        refuses(&["--role", "observe:clientcert=AB"], "thumbprints");
        refuses(&["--role", "observe:password=x", "--role", "control:password=x"], "twice");
        refuses(&["-t", "tcp:port=1,password=x", "--role", "control:password=x"], "twice");
        refuses(&["--stdio", "--role", "control:password=x"], "goes without");
    }

    #[test]
    fn what_is_allowed_is_named_one_by_one() {
        let options = serve(&["-t", "tcp:port=1", "--allow", "user=root", "--allow=operation=attach"]);
        let shown: Vec<String> = options.allowed.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["user=0", "operation=attach"]);
        refuses(&["--allow"], "is wanted");
        refuses(&["--allow", "user=nobody-of-that-name"], "no user");
        assert!(matches!(
            check(&["--stdio", "--allow", "user=0"]),
            Ok(Request::Stdio(Stdio { allowed, .. })) if allowed.iter().count() == 1
        ));
    }

    #[test]
    fn the_audit_log_is_a_file_or_the_journal() {
        assert_eq!(serve(&[]).audit, None);
        assert_eq!(serve(&["--audit", "journald"]).audit, Some(AuditTo::Journal));
        assert_eq!(serve(&["--audit=/a/b"]).audit, Some(AuditTo::File("/a/b".into())));
        refuses(&["--audit"], "needs a file");
    }

    #[test]
    fn the_rest_can_be_ignored() {
        let options = serve(&["--daemon", "-t", "tcp:port=1", "-x", "whatever", "-t"]);
        assert!(options.daemon && options.program.is_none());
    }

    #[test]
    fn standard_input_and_output_are_a_transport_of_their_own() {
        let stdio = |words: &[&str], grace| {
            let command_line = words.iter().map(|&word| word.into()).collect();
            Ok(Request::Stdio(Stdio { command_line, grace, allowed: AllowList::default(), audit: None }))
        };
        assert_eq!(check(&["--stdio"]), stdio(&[], Grace::default()));
        assert_eq!(check(&["--stdio", "--grace", "0", "-pc", "./svc", "-f"]), stdio(&["./svc", "-f"], Grace::NONE));
        refuses(&["--stdio", "-t", "tcp:port=1"], "goes without -t");
        refuses(&["--stdio", "--daemon"], "goes without -t");
    }

    #[test]
    fn help_and_version_need_nothing_else() {
        for word in ["-?", "-h", "--help"] {
            assert!(matches!(check(&[word]), Ok(Request::Show(text)) if text.contains("usage: dbgsrv")));
        }
        assert!(matches!(check(&["--version"]), Ok(Request::Show(text)) if text.starts_with("dbgsrv ")));
    }
}
