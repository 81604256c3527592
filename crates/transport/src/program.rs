//! A command whose standard input and output are the link: `docker exec -i`, `kubectl exec -i`, `sudo`, `ssh`.
//!
//! Both are the same end of one socket pair, so the connection stays one descriptor. The command is started in a session
//! of its own: Ctrl+C at the debugger's terminal does not reach it, and since it has no terminal, whatever would ask for
//! a password there says so instead of waiting in the background. What it says on standard error is kept: a link that
//! fails is explained in the words of who failed. It ends by the end of its input, or is ended by a signal soon after the
//! last handle on the connection is gone. If this process is killed, only the end of its input tells it.

use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::libc;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

use crate::{Connection, Peer, TransportError};

/// Lines of standard error that are kept, the last ones.
const KEPT_LINES: usize = 8;
/// Longest line that is kept; the rest is cut off.
const KEPT_LINE: usize = 400;
/// How long a command whose link is gone may take to end before it is told to, and then again before it is made to.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A command that carries a link; ends with the last handle on it.
#[derive(Debug, Clone)]
pub struct LinkProgram(Arc<Owner>);

/// What the handles share. The thread that watches the command has the inner part only, so that it keeps nothing alive.
#[derive(Debug)]
struct Owner(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    name: String,
    pid: Pid,
    said: Mutex<Said>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Said {
    lines: VecDeque<String>,
    /// How it ended, once it has and was collected.
    end: Option<String>,
}

/// Starts the command. It is found as a shell finds it, by `PATH`; no shell is involved.
///
/// # Errors
/// There is no such program, or it may not be executed; out of processes or descriptors.
pub(crate) fn start(words: &[String]) -> Result<Connection, TransportError> {
    let name = words.first().cloned().unwrap_or_default();
    let failed = TransportError::io(format!("start {name}"));
    let (near, pid, stderr) = spawn(words).map_err(failed)?;
    let watched = Arc::new(Watched { name: name.clone(), pid, said: Mutex::default(), ended: Condvar::new() });
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from);
    let pidfd = pidfd.map_err(TransportError::io(format!("watch {name}")))?;
    let watcher = Arc::clone(&watched);
    let thread =
        std::thread::Builder::new().name("link program".into()).spawn(move || watch(&watcher, &stderr, &pidfd));
    thread.map_err(TransportError::io(format!("watch {name}")))?;
    let peer = Peer::Program { pid: pid.as_raw_nonzero().get() as u32 };
    Ok(Connection::carried_by(near, peer, LinkProgram(Arc::new(Owner(watched)))))
}

fn spawn(words: &[String]) -> io::Result<(OwnedFd, Pid, OwnedFd)> {
    let texts = |texts: &mut dyn Iterator<Item = Vec<u8>>| -> io::Result<Vec<CString>> {
        texts.map(|text| CString::new(text).map_err(io::Error::from)).collect()
    };
    let arguments = texts(&mut words.iter().map(|word| word.as_bytes().to_vec()))?;
    let environment = texts(&mut std::env::vars_os().map(|(key, value)| {
        let mut entry = key.as_bytes().to_vec();
        entry.push(b'=');
        entry.extend(value.as_bytes());
        entry
    }))?;
    let program = arguments.first().ok_or(io::ErrorKind::InvalidInput)?;

    let (near, far) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let (stderr, its_stderr) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&stderr, true)?;
    let mut actions = PosixSpawnFileActions::init()?;
    for (fd, number) in [(&far, 0), (&far, 1), (&its_stderr, 2)] {
        actions.add_dup2(fd.as_raw_fd(), number)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    // A session of its own; std's `Command` offers only a group, in which reading a password from the terminal hangs.
    let own_session = PosixSpawnFlags::from_bits_retain(libc::c_int::from(libc::POSIX_SPAWN_SETSID));
    let signals = PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF;
    attributes.set_flags(own_session | signals)?;
    // The debugger blocks Ctrl+C in its threads, and Rust ignores SIGPIPE: neither is for others.
    attributes.set_sigmask(&SigSet::empty())?;
    attributes.set_sigdefault(&SigSet::from(Signal::SIGPIPE))?;
    let pid = posix_spawnp(program, &actions, &attributes, &arguments, &environment)?;
    let pid = Pid::from_raw(pid.as_raw()).ok_or(io::ErrorKind::Other)?;
    Ok((near, pid, stderr))
}

/// Keeps what it says until it ends, and collects it. What it started may hold its standard error open for long (an ssh
/// master does), so that end is not waited for.
fn watch(watched: &Watched, stderr: &OwnedFd, pidfd: &OwnedFd) {
    let mut line = Vec::new();
    let mut open = true;
    loop {
        let mut fds = vec![PollFd::new(pidfd, PollFlags::IN)];
        if open {
            fds.push(PollFd::new(stderr, PollFlags::IN));
        }
        let _ = poll(&mut fds, None);
        let is_over = !fds[0].revents().is_empty();
        while open {
            let mut buffer = [0; 4096];
            match rustix::io::read(stderr, &mut buffer) {
                Ok(0) => open = false,
                Ok(count) => watched.keep(&mut line, &buffer[..count]),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => break,
                Err(_) => open = false,
            }
        }
        if is_over {
            watched.keep(&mut line, b"\n");
            return watched.collect();
        }
    }
}

impl Watched {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes bytes of standard error in, line by line.
    fn keep(&self, line: &mut Vec<u8>, bytes: &[u8]) {
        for &byte in bytes {
            if byte != b'\n' {
                if line.len() < KEPT_LINE {
                    line.push(byte);
                }
                continue;
            }
            // It may come from another machine: nothing in it reaches a terminal as a control sequence.
            let text: String = String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).collect();
            line.clear();
            if text.trim().is_empty() {
                continue;
            }
            let mut said = self.said();
            if said.lines.len() == KEPT_LINES {
                said.lines.pop_front();
            }
            said.lines.push_back(text.trim().to_owned());
        }
    }

    /// Collects the ended command. Under the lock, so that a signal is never sent to a process id that is free again.
    fn collect(&self) {
        let mut said = self.said();
        let waited = rustix::process::waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED);
        said.end = Some(match waited {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => format!("{} ended with status {code}", self.name),
                (_, Some(signal)) => format!("{} was ended by signal {signal}", self.name),
                _ => format!("{} ended", self.name),
            },
            _ => format!("{} ended", self.name),
        });
        self.ended.notify_all();
    }

    /// Waits for its end; whether it came.
    fn wait(&self) -> bool {
        let said = self.said();
        let waited = self.ended.wait_timeout_while(said, PATIENCE, |said| said.end.is_none());
        waited.map_or(true, |(said, _)| said.end.is_some())
    }

    fn signal_group(&self, signal: rustix::process::Signal) {
        let said = self.said();
        if said.end.is_none() {
            let _ = rustix::process::kill_process_group(self.pid, signal);
        }
    }
}

impl LinkProgram {
    /// Why the link ended, once it has: how the command ended, and its last words. Waits a moment for both.
    pub fn last_words(&self) -> String {
        let watched = &self.0.0;
        watched.wait();
        let said = watched.said();
        let end = said.end.clone().unwrap_or_else(|| format!("{} closed the link", watched.name));
        match said.lines.is_empty() {
            true => end,
            false => format!("{end}: {}", said.lines.iter().map(String::as_str).collect::<Vec<_>>().join("; ")),
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Most end by themselves, since their input has ended.
        if !self.0.wait() {
            self.0.signal_group(rustix::process::Signal::TERM);
        }
        if !self.0.wait() {
            self.0.signal_group(rustix::process::Signal::KILL);
            self.0.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn run(line: &str) -> Connection {
        start(&["sh".to_owned(), "-c".to_owned(), line.to_owned()]).unwrap()
    }

    fn is_gone(pid: u32) -> bool {
        !std::path::Path::new(&format!("/proc/{pid}")).exists()
    }

    fn pid(connection: &Connection) -> u32 {
        match connection.peer() {
            Peer::Program { pid } => pid,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bytes_go_both_ways_and_the_command_is_collected() {
        let connection = start(&["cat".to_owned()]).unwrap();
        (&connection).write_all(b"there and back").unwrap();
        let mut buf = [0; 14];
        (&connection).read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"there and back");
        let pid = pid(&connection);
        let second = connection.try_clone().unwrap();
        drop(connection);
        assert!(!is_gone(pid), "another handle is left");
        drop(second);
        assert!(is_gone(pid));
    }

    #[test]
    fn a_command_that_ignores_the_end_of_its_input_is_ended() {
        let connection = run("trap '' TERM; sleep 1000 & wait; sleep 1000");
        let pid = pid(&connection);
        drop(connection);
        assert!(is_gone(pid));
    }

    #[test]
    fn it_has_a_session_of_its_own_and_no_blocked_signals() {
        let connection =
            run("read -r line </proc/self/stat; echo \"$line\"; grep -E '^Sig(Blk|Ign)' /proc/self/status");
        let mut text = String::new();
        (&connection).read_to_string(&mut text).unwrap();
        let fields: Vec<&str> = text.lines().next().unwrap().rsplit_once(')').unwrap().1.split_whitespace().collect();
        // Behind the name: state, parent, group, session, terminal (proc_pid_stat(5)).
        let pid = pid(&connection).to_string();
        assert_eq!((fields[2], fields[3], fields[4]), (pid.as_str(), pid.as_str(), "0"), "{text}");
        let mask = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        let pipe = 1 << (Signal::SIGPIPE as i32 - 1);
        assert_eq!((mask("SigBlk:"), mask("SigIgn:") & pipe), (0, 0), "{text}");
    }

    #[test]
    fn its_end_is_told_in_its_own_words() {
        let words = |line: &str| run(line).program().unwrap().last_words();
        assert_eq!(words("echo 'Permission denied (publickey).' >&2; exit 255"), {
            "sh ended with status 255: Permission denied (publickey)."
        });
        assert_eq!(words("printf 'one\\n\\033[31mtwo' >&2; exit 1"), "sh ended with status 1: one; [31mtwo");
        assert_eq!(words("kill -9 $$"), "sh was ended by signal 9");
        // What is left behind with standard error open holds nothing up.
        assert_eq!(words("sleep 5 0<&- 1>&- & echo no >&2; exit 3"), "sh ended with status 3: no");
    }

    #[test]
    fn a_command_that_is_not_there_is_named() {
        let error = start(&["outpost-no-such-program".to_owned()]).unwrap_err().to_string();
        assert!(error.starts_with("cannot start outpost-no-such-program: No such file"), "{error}");
    }
}
