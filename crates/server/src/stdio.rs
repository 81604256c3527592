//! The link of a server that was started for one client: its own standard input and output.
//!
//! What stands there hangs on who started it: sshd gives one socket for both, `docker exec -i` two pipes, a `-t` in
//! either a terminal. A worker needs one socket, so anything else is joined to a socket pair by two threads that copy.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use outpost_transport::{Connection, Peer};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios};

use crate::{Log, ServerError, signals};

/// How long the last bytes may take once the session is over.
const FAREWELL: Duration = Duration::from_secs(2);
/// Bytes copied at once.
const CHUNK: usize = 64 << 10;

/// Standard input and output, taken out of the way of everybody else.
#[derive(Debug)]
pub struct StdioLink {
    connection: Option<Connection>,
    /// Tells that all was copied; `None` if nothing needs copying.
    copied: Option<Receiver<()>>,
    /// A terminal, and how it was set before.
    terminal: Option<(OwnedFd, Termios)>,
    log: Log,
}

impl StdioLink {
    /// Takes both over. From then on standard input is empty and standard output is where the log goes, so that no
    /// program started later can write into the link. Call it with one thread.
    ///
    /// # Errors
    /// One of the two is closed; out of descriptors or threads.
    pub fn take() -> Result<StdioLink, ServerError> {
        let failed = |operation| move |error: io::Error| ServerError::io(operation)(error);
        let input = io::stdin().as_fd().try_clone_to_owned().map_err(failed("use standard input as the link"))?;
        let output = io::stdout().as_fd().try_clone_to_owned().map_err(failed("use standard output as the link"))?;
        let null = std::fs::File::open("/dev/null").map_err(failed("open /dev/null"))?;
        rustix::stdio::dup2_stdin(&null).map_err(ServerError::io("empty standard input"))?;
        // Where both are terminals they are one, and a line of the log would be read as a frame.
        let log = if output.is_terminal() && io::stderr().is_terminal() { Log::Quiet } else { Log::Stderr };
        if log == Log::Quiet {
            let null = std::fs::OpenOptions::new().write(true).open("/dev/null").map_err(failed("open /dev/null"))?;
            rustix::stdio::dup2_stderr(&null).map_err(ServerError::io("silence the log"))?;
        }
        rustix::stdio::dup2_stdout(io::stderr()).map_err(ServerError::io("turn standard output to the log"))?;

        if is_one_socket(&input, &output) {
            let connection = Connection::new(input, Peer::Memory);
            return Ok(StdioLink { connection: Some(connection), copied: None, terminal: None, log });
        }
        let terminal = make_raw(&input);
        let (near, far) = Connection::pair().map_err(failed("make a socket pair"))?;
        let copied = copy(input, output, far)?;
        Ok(StdioLink { connection: Some(near), copied: Some(copied), terminal, log })
    }

    /// Where the log goes.
    pub fn log(&self) -> Log {
        self.log
    }

    /// The link, once.
    pub fn connection(&mut self) -> Option<Connection> {
        self.connection.take()
    }
}

impl Drop for StdioLink {
    /// Lets what is still under way to the client arrive, for a while; then the terminal is as it was.
    fn drop(&mut self) {
        drop(self.connection.take());
        if let Some(copied) = &self.copied {
            let _ = copied.recv_timeout(FAREWELL);
        }
        if let Some((terminal, before)) = &self.terminal {
            let _ = rustix::termios::tcsetattr(terminal, OptionalActions::Now, before);
        }
    }
}

fn is_one_socket(input: &OwnedFd, output: &OwnedFd) -> bool {
    match (rustix::fs::fstat(input), rustix::fs::fstat(output)) {
        (Ok(one), Ok(other)) => {
            let is_stream = rustix::net::sockopt::socket_type(input) == Ok(rustix::net::SocketType::STREAM);
            FileType::from_raw_mode(one.st_mode) == FileType::Socket
                && is_stream
                && (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
        }
        _ => false,
    }
}

/// Lets a terminal carry bytes as they are.
fn make_raw(input: &OwnedFd) -> Option<(OwnedFd, Termios)> {
    let terminal = input.is_terminal().then(|| input.try_clone().ok()).flatten()?;
    let before = rustix::termios::tcgetattr(&terminal).ok()?;
    let mut raw = before.clone();
    raw.make_raw();
    rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &raw).ok()?;
    Some((terminal, before))
}

/// Starts the two threads. They leave all signals to the guardian's thread, which is yet to block its own.
fn copy(input: OwnedFd, output: OwnedFd, link: Connection) -> Result<Receiver<()>, ServerError> {
    let started = |operation| move |error: io::Error| ServerError::io(operation)(error);
    let second = link.try_clone().map_err(started("share the link"))?;
    let (done, copied) = channel();
    let blocked = signals::block_all()?;
    let builder = || std::thread::Builder::new().name("link".into()).stack_size(4 * CHUNK);
    let inward = builder().spawn(move || {
        pass(input.as_fd(), second.as_fd());
        // Only this direction: answers may still be under way. A stream that is gone already is no failure.
        let _ = rustix::net::shutdown(&second, rustix::net::Shutdown::Write);
    });
    let outward = builder().spawn(move || {
        pass(link.as_fd(), output.as_fd());
        link.shutdown();
        drop(output);
        drop(done);
    });
    blocked.restore();
    inward.and(outward).map_err(started("start a thread"))?;
    Ok(copied)
}

/// Until one of the two ends. Whoever made them may have set either not to block, for itself as well: that is left so.
fn pass(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = match rustix::io::read(from, &mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::from_borrowed_fd(from, PollFlags::IN)], None);
                continue;
            }
            Err(_) => return,
        };
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            match rustix::io::write(to, rest) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let _ = poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None);
                }
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn one_socket_is_told_from_everything_else() {
        let (near, far) = Connection::pair().unwrap();
        let (near, far) = (near.into_fd(), far.into_fd());
        assert!(is_one_socket(&near, &near.try_clone().unwrap()));
        assert!(!is_one_socket(&near, &far));
        let (read, write) = rustix::pipe::pipe().unwrap();
        assert!(!is_one_socket(&read, &write) && !is_one_socket(&read, &read));
    }

    #[test]
    fn two_pipes_become_one_link_whether_they_block_or_not() {
        for nonblocking in [false, true] {
            let (input, to_server) = rustix::pipe::pipe().unwrap();
            let (from_server, output) = rustix::pipe::pipe().unwrap();
            for end in [&input, &output] {
                rustix::io::ioctl_fionbio(end, nonblocking).unwrap();
            }
            let (near, far) = Connection::pair().unwrap();
            let copied = copy(input, output, far).unwrap();
            let (mut to_server, mut from_server) = (std::fs::File::from(to_server), std::fs::File::from(from_server));
            // More than pipes and sockets hold at once.
            let sent: Vec<u8> = (0..2_000_000_u32).map(|at| at as u8).collect();
            let expected = sent.clone();
            let writing = std::thread::spawn(move || to_server.write_all(&sent));
            let echo = std::thread::spawn(move || {
                let mut all = Vec::new();
                (&near).read_to_end(&mut all).unwrap();
                (&near).write_all(&all).unwrap();
            });
            let mut got = Vec::new();
            from_server.read_to_end(&mut got).unwrap();
            assert!(got == expected, "{} bytes", got.len());
            writing.join().unwrap().unwrap();
            echo.join().unwrap();
            assert!(copied.recv().is_err(), "all was copied");
        }
    }
}
