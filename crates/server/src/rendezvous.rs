//! Where servers of one client each (`--stdio`) are found by the next: each has a private socket for as long as its session
//! lasts, named by the session's number, in a directory of the user's.
//!
//! A client whose link is lost starts another server by the same command. That one has no session; it finds the one that
//! has, hands it the new link and leaves. Only fresh servers and workers ask here, and neither is ever asked, so nobody
//! waits for somebody who waits for him.
//!
//! | asked | descriptors | answer |
//! | --- | --- | --- |
//! | `sessions` | | `sessions` and one line for each, as a worker gets it |
//! | `claim SESSION TOKEN USER HOST REQUEST SEEN VERSION FRAME REQUESTS OPENS` | the link, its leash | `yes`, or `no REASON` |

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use outpost_target::ServerSession;
use outpost_transport::{BACKLOG, Connection};
use outpost_wire::ResumeRequest;
use rustix::fs::{CWD, Mode, RenameFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::control::{Control, Received, is_readable};
use crate::guardian::listing;
use crate::handover::claim_order;
use crate::takeover;

/// How long another server may take to answer: it never waits for anybody, but the machine may be busy.
const ANSWER: Duration = Duration::from_secs(5);
/// How long what was asked may take to come behind its connection: it is sent at once.
const QUESTION: Duration = Duration::from_secs(1);
/// Most sockets that are looked at.
const MAX_SOCKETS: usize = 1024;
/// Process ids are below this (`PID_MAX_LIMIT`, proc_sys_kernel(5)), so a second name of the same id is above.
const PID_MAX: u64 = 1 << 22;

/// This server's socket; its file is removed on drop.
#[derive(Debug)]
pub(crate) struct Rendezvous {
    socket: OwnedFd,
    path: PathBuf,
}

impl Rendezvous {
    /// Listens, unseen so far.
    pub(crate) fn prepare() -> io::Result<Rendezvous> {
        Rendezvous::prepare_in(&directory()?)
    }

    fn prepare_in(directory: &Path) -> io::Result<Rendezvous> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let path = directory.join(format!(".{}", std::process::id()));
        // Nobody else is of this id; of another namespace of ids, though, nobody stays unseen for long.
        let _ = std::fs::remove_file(&path);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        // On Linux a socket's file takes the mode of the socket.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path)?)?;
        let rendezvous = Rendezvous { socket, path };
        rustix::net::listen(&rendezvous.socket, BACKLOG)?;
        Ok(rendezvous)
    }

    /// From now on others find it; gives the number by which they do.
    pub(crate) fn open(&mut self) -> io::Result<u64> {
        // Ids of another namespace may meet ours in the same directory.
        for number in (0..16).map(|round| u64::from(std::process::id()) + round * PID_MAX) {
            let path = self.path.with_file_name(number.to_string());
            if connect(&path).is_none() {
                let _ = std::fs::remove_file(&path);
            }
            match rustix::fs::renameat_with(CWD, &self.path, CWD, &path, RenameFlags::NOREPLACE) {
                Ok(()) => {
                    self.path = path;
                    return Ok(number);
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// The next question, and where to answer it; of this user and root only.
    pub(crate) fn next(&self) -> Option<(Control, String, Vec<OwnedFd>)> {
        let socket = rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC).ok()?;
        let asker = Control::from(socket);
        if !is_trusted(&asker) || !is_readable(&asker, QUESTION) {
            return None;
        }
        match asker.receive(false) {
            Ok(Received::Message(text, descriptors)) => {
                Some((asker, String::from_utf8_lossy(&text).into_owned(), descriptors))
            }
            _ => None,
        }
    }
}

impl AsFd for Rendezvous {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Rendezvous {
    fn drop(&mut self) {
        // What stays is found to be nobody's, and removed by the next who looks.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The sessions of this user's other servers of this kind; `own` is left out.
pub(crate) fn sessions(own: u64) -> Vec<ServerSession> {
    let Ok(directory) = directory() else { return Vec::new() };
    sessions_in(&directory, own)
}

fn sessions_in(directory: &Path, own: u64) -> Vec<ServerSession> {
    let mut numbers: Vec<u64> = numbers(directory);
    numbers.sort_unstable();
    let others = numbers.into_iter().filter(|number| *number != own);
    let lists = others.filter_map(|number| ask(&connect(&directory.join(number.to_string()))?, "sessions", &[]));
    lists.flat_map(|list| listing::decode(list.strip_prefix("sessions\n").unwrap_or_default())).collect()
}

/// Hands a link to the server whose session is claimed, or, with an empty token, is to be taken over.
///
/// # Errors
/// Why not, for the client.
pub(crate) fn hand_over(request: &ResumeRequest, link: &Connection, leash: &Control) -> Result<(), String> {
    let directory = directory().map_err(|error| error.to_string())?;
    if request.opens {
        // Whose it is knows its secret only.
        let is_taken = |number: &u64| hand_over_to(*number, &directory, request, link, leash).is_ok();
        return numbers(&directory).iter().any(is_taken).then_some(()).ok_or_else(|| "there is no such session".into());
    }
    let number = match request.token.is_empty() {
        false => request.session,
        true => takeover::choose(request.session, &sessions_in(&directory, 0))?,
    };
    hand_over_to(number, &directory, request, link, leash)
}

fn hand_over_to(
    number: u64,
    directory: &Path,
    request: &ResumeRequest,
    link: &Connection,
    leash: &Control,
) -> Result<(), String> {
    let gone = || format!("session {} is gone", request.session);
    let owner = connect(&directory.join(number.to_string())).ok_or_else(gone)?;
    let answer = ask(&owner, &claim_order(number, request), &[link.as_fd(), leash.as_fd()]);
    match answer.as_deref() {
        Some("yes") => Ok(()),
        Some(other) => Err(other.strip_prefix("no ").map_or_else(gone, str::to_owned)),
        None => Err(gone()),
    }
}

fn directory() -> io::Result<PathBuf> {
    let directory = outpost_transport::runtime_directory().map_err(io::Error::other)?;
    Ok(directory.join("sessions"))
}

fn numbers(directory: &Path) -> Vec<u64> {
    let Ok(files) = std::fs::read_dir(directory) else { return Vec::new() };
    files.take(MAX_SOCKETS).filter_map(|file| file.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// A server that is there; what one that was killed has left is removed.
fn connect(path: &Path) -> Option<Control> {
    // A server that does not take its connections is not waited for.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).ok()?;
    match rustix::net::connect(&socket, &SocketAddrUnix::new(path).ok()?) {
        Ok(()) => Some(Control::from(socket)).filter(is_trusted),
        Err(Errno::CONNREFUSED) => {
            let _ = std::fs::remove_file(path);
            None
        }
        Err(_) => None,
    }
}

fn ask(other: &Control, question: &str, descriptors: &[BorrowedFd<'_>]) -> Option<String> {
    other.send(question.as_bytes(), descriptors).ok()?;
    if !is_readable(other, ANSWER) {
        return None;
    }
    match other.receive(false) {
        Ok(Received::Message(text, _)) => Some(String::from_utf8_lossy(&text).into_owned()),
        _ => None,
    }
}

/// Whether the process at the other end is this user's, or root's.
fn is_trusted(other: &Control) -> bool {
    let own = rustix::process::geteuid();
    sockopt::socket_peercred(other).is_ok_and(|peer| peer.uid == own || peer.uid.is_root())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn session(number: u64, held: bool) -> ServerSession {
        ServerSession {
            number,
            user: "ada".into(),
            host: "birch".into(),
            peer: "local".into(),
            opened_us: 1,
            held: held.then_some(Duration::from_secs(7)),
            processes: vec![outpost_base::ProcessId(42)],
            own: false,
        }
    }

    #[test]
    fn an_open_server_is_found_by_its_number_and_answers() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().join("made");
        let mut server = Rendezvous::prepare_in(&place).unwrap();
        assert_eq!(numbers(&place), [], "unseen before it is open");
        let number = server.open().unwrap();
        assert_eq!((number, numbers(&place)), (u64::from(std::process::id()), vec![number]));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&place), mode(&server.path)), (0o700, 0o600));
        assert!(server.next().is_none(), "nobody asks, and nobody is waited for");

        let asking = std::thread::spawn({
            let place = place.clone();
            move || sessions_in(&place, 0)
        });
        let (asker, question, descriptors) = loop {
            if let Some(asked) = server.next() {
                break asked;
            }
            std::thread::yield_now();
        };
        assert_eq!((question.as_str(), descriptors.len()), ("sessions", 0));
        asker.send(listing::encode([session(number, true)].into_iter()).as_bytes(), &[]).unwrap();
        assert_eq!(asking.join().unwrap(), [session(number, true)]);
        assert_eq!(sessions_in(&place, number), []);
        drop(server);
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_server_left_goes_away_and_a_living_one_keeps_its_name() {
        let place = tempfile::tempdir().unwrap();
        let mut first = Rendezvous::prepare_in(place.path()).unwrap();
        let number = first.open().unwrap();
        // As if another namespace had the same id.
        let mut second = Rendezvous::prepare_in(place.path()).unwrap();
        assert_eq!(second.open().unwrap(), number + PID_MAX);
        let stale = place.path().join("7");
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
        rustix::net::bind(&socket, &SocketAddrUnix::new(&stale).unwrap()).unwrap();
        drop(socket);
        assert!(connect(&stale).is_none() && !stale.exists());
    }
}
