//! A process server at the far end of an ssh connection, started by it: `ssh HOST dbgsrv --stdio`.
//!
//! It is the user's own ssh, with its configuration, agent and known hosts; nothing is asked for, since the debugger's
//! terminal is not ssh's (`BatchMode`). One connection does everything. What ssh starts there is a few lines of shell,
//! which speak first and are answered in lines:
//!
//! | there | here |
//! | --- | --- |
//! | `outpost-server ARCHITECTURE VERSION`, of the `dbgsrv` found, if any | |
//! | | `run`: that one is the other end from now on |
//! | | `copy SIZE`, then so many bytes of our own `dbgsrv` |
//! | `outpost-copied SHA256 VERSION`, of the file beside the place it is for | |
//! | | `keep`: it takes that place, then as by `run` |
//!
//! Nobody sends ahead of an answer, so nothing is read by the wrong reader.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sha2::{Digest, Sha256};

use crate::{Connection, SshClient, TransportError, program};

/// Where a server is kept that was copied there, below the home directory.
const DEFAULT_PATH: &str = ".cache/outpost/dbgsrv";
/// Bytes that may come before the first line of ours: greetings of a shell's start files.
const MAX_NOISE: u64 = 64 << 10;
/// How long each line may take; a copy is under way meanwhile.
const LINE_TIMEOUT: Duration = Duration::from_secs(120);
/// Seconds in which the host must answer.
const CONNECT_TIMEOUT: &str = "-oConnectTimeout=15";
/// What the versions of servers that are as good as ours begin with.
const OURS: &str = concat!("dbgsrv ", env!("CARGO_PKG_VERSION"), " ");
/// The release that is spoken of.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// Starts the server there and gives the link to it.
pub(crate) fn connect(transport: &SshClient) -> Result<Connection, TransportError> {
    let connection = program::start(&command(transport)?)?;
    match agree(transport, &connection) {
        Ok(()) => Ok(connection),
        // The link broke: why is known to ssh.
        Err(TransportError::Io { source, .. }) if source.kind() != ErrorKind::TimedOut => match connection.program() {
            Some(program) => {
                connection.shutdown();
                Err(TransportError::Program { words: program.last_words() })
            }
            None => Ok(connection),
        },
        Err(error) => Err(error),
    }
}

/// The words of the local command.
fn command(transport: &SshClient) -> Result<Vec<String>, TransportError> {
    let script = script(transport.path.as_deref())?;
    let mut words = ["ssh", "-T", "-oBatchMode=yes", CONNECT_TIMEOUT].map(String::from).to_vec();
    if let Some(port) = transport.port {
        words.extend(["-p".to_owned(), port.to_string()]);
    }
    // A login shell need not be a POSIX one.
    words.extend(["--".to_owned(), transport.server.clone(), format!("exec sh -c {}", quoted(&script)?)]);
    Ok(words)
}

fn script(path: Option<&str>) -> Result<String, TransportError> {
    // Commands start in the home directory.
    let place = path.unwrap_or(DEFAULT_PATH);
    let place = quoted(place.strip_prefix("~/").unwrap_or(place))?;
    // Without a place named, one that the machine has installed is as good.
    let installed = if path.is_none() { "[ -x \"$p\" ] || p=$(command -v dbgsrv) || p=$c; " } else { "" };
    Ok(format!(
        "c={place}; p=$c; {installed}t=$c.$$; v=; [ -x \"$p\" ] && v=$(\"$p\" --version </dev/null | head -n 1); \
         echo \"outpost-server $(uname -m) $v\"; read -r a n || exit 0; \
         if [ \"$a\" = copy ]; then mkdir -p \"$(dirname \"$c\")\" && head -c \"$n\" >\"$t\" && chmod 755 \"$t\" && \
         s=$(sha256sum <\"$t\") && v=$(\"$t\" --version </dev/null | head -n 1) && \
         echo \"outpost-copied ${{s%% *}} $v\" && read -r a n && [ \"$a\" = keep ] && mv -f \"$t\" \"$c\" && p=$c || \
         {{ rm -f \"$t\"; exit 1; }}; elif [ \"$a\" != run ]; then exit 0; fi; exec \"$p\" --stdio"
    ))
}

fn quoted(text: &str) -> Result<String, TransportError> {
    let quoted = shlex::try_quote(text).map_err(|_| TransportError::InvalidValue {
        key: "path",
        value: text.replace('\0', ""),
        expected: "a path without NUL bytes",
    })?;
    Ok(quoted.into_owned())
}

fn agree(transport: &SshClient, connection: &Connection) -> Result<(), TransportError> {
    let told = line(connection, "outpost-server ")?;
    let (architecture, version) = told.split_once(' ').unwrap_or((&told, ""));
    let version = version.trim();
    let server = transport.server.clone();
    match transport.copy {
        _ if version.starts_with(OURS) => {}
        Some(true) => return copy(transport, connection, architecture),
        // What is there speaks for itself in its hello.
        Some(false) if !version.is_empty() => {}
        _ if version.is_empty() => return Err(TransportError::NoServerThere { server, place: place(transport) }),
        _ => {
            let found = version.to_owned();
            return Err(TransportError::OtherServerThere { server, found, release: RELEASE });
        }
    }
    say(connection, "run\n")
}

fn place(transport: &SshClient) -> String {
    transport.path.clone().unwrap_or_else(|| format!("~/{DEFAULT_PATH}"))
}

fn copy(transport: &SshClient, connection: &Connection, architecture: &str) -> Result<(), TransportError> {
    let failed = |reason: String| TransportError::CopyServer { server: transport.server.clone(), reason };
    if architecture != std::env::consts::ARCH {
        return Err(failed(format!("that machine is {architecture}, this one {}", std::env::consts::ARCH)));
    }
    let file = own_server().map_err(&failed)?;
    let bytes = std::fs::read(&file).map_err(|error| failed(format!("{}: {error}", file.display())))?;
    say(connection, &format!("copy {}\n", bytes.len()))?;
    // If it ends early, why comes as the failure of the next read.
    let sent = (&*connection).write_all(&bytes);
    let told = line(connection, "outpost-copied ")?;
    sent.map_err(TransportError::io("copy the server"))?;
    let (hash, version) = told.split_once(' ').unwrap_or((&told, ""));
    let expected: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if hash != expected {
        return Err(failed("what arrived is not what was sent".into()));
    }
    if !version.starts_with(OURS) {
        let file = file.display();
        return Err(failed(format!("{file} says there that it is '{version}', this debugger is of release {RELEASE}")));
    }
    say(connection, "keep\n")
}

/// The server that belongs to this debugger: the file that `OUTPOST_DBGSRV` names, or the one beside this program.
fn own_server() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("OUTPOST_DBGSRV") {
        return Ok(named.into());
    }
    let own = std::env::current_exe().map_err(|error| format!("this program does not find itself: {error}"))?;
    let beside = own.with_file_name("dbgsrv");
    match beside.exists() {
        true => Ok(beside),
        false => Err(format!("there is no {}; OUTPOST_DBGSRV may name the file to copy", beside.display())),
    }
}

/// The rest of the first line that begins so. Not a byte beyond it is read.
fn line(connection: &Connection, start: &str) -> Result<String, TransportError> {
    let failed = || TransportError::io("hear from the shell that ssh started");
    let timed = Timed { connection, deadline: Instant::now() + LINE_TIMEOUT };
    let mut reader = BufReader::with_capacity(1, timed.take(MAX_NOISE));
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).map_err(failed())?;
        if line.last() != Some(&b'\n') {
            return Err(failed()(ErrorKind::UnexpectedEof.into()));
        }
        let line = String::from_utf8_lossy(&line);
        if let Some(rest) = line.strip_prefix(start) {
            return Ok(rest.chars().filter(|c| !c.is_control()).collect());
        }
    }
}

/// Reads in time.
struct Timed<'a> {
    connection: &'a Connection,
    deadline: Instant,
}

impl Read for Timed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            if poll(&mut [PollFd::new(self.connection, PollFlags::IN)], Some(&timeout)).is_ok_and(|ready| ready > 0) {
                return { self.connection }.read(buf);
            }
        }
    }
}

fn say(mut connection: &Connection, text: &str) -> Result<(), TransportError> {
    connection.write_all(text.as_bytes()).map_err(TransportError::io("answer the shell that ssh started"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(path: Option<&str>) -> SshClient {
        SshClient { server: "me@alder".into(), port: Some(2222), path: path.map(str::to_owned), copy: None }
    }

    #[test]
    fn the_command_is_one_that_a_shell_takes_apart_again() {
        let words = command(&client(Some("~/it's here/dbgsrv"))).unwrap();
        let (script, options) = words.split_last().unwrap();
        assert_eq!(options.join(" "), "ssh -T -oBatchMode=yes -oConnectTimeout=15 -p 2222 -- me@alder");
        let words = shlex::split(script).unwrap();
        assert_eq!(words[..3], ["exec", "sh", "-c"]);
        assert!(words[3].starts_with("c=\"it's here/dbgsrv\"; p=$c; t="), "{}", words[3]);
        let checked = std::process::Command::new("sh").args(["-n", "-c", &words[3]]).status().unwrap();
        assert!(checked.success());
    }

    #[test]
    fn a_line_is_found_behind_noise_and_nothing_beyond_it_is_read() {
        let (near, far) = Connection::pair().unwrap();
        (&far).write_all(b"Welcome!\noutpost-server x86_64 dbgsrv 1\x1b[0m\nrest").unwrap();
        assert_eq!(line(&near, "outpost-server ").unwrap(), "x86_64 dbgsrv 1[0m");
        let mut rest = [0; 4];
        (&near).read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"rest");
        far.shutdown();
        assert!(matches!(line(&near, "outpost-server "), Err(TransportError::Io { .. })));
    }
}
