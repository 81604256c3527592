//! Named pipes: Unix-domain stream sockets in the user's runtime directory.
//!
//! The directory is for its owner only (others may pass through root's, to the list of servers), and so is each socket, so
//! whoever connects is the same user or root; who it is comes from the kernel. A server that was killed leaves its file behind: nobody accepts there, and the next server of
//! that name replaces it. Taking a name is done under a lock on the directory, so that two servers starting at once do
//! not both find the name free.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::{BACKLOG, Connection, Peer, PipeClient, PipeListen, TransportError};

/// Where pipes are: `/run/outpost` for root, else `$XDG_RUNTIME_DIR/outpost`, else below `/run/user/UID` if there.
///
/// # Errors
/// [`TransportError::NoRuntimeDirectory`] if there is none of these. Nothing is created.
pub fn runtime_directory() -> Result<PathBuf, TransportError> {
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        return Ok(PathBuf::from("/run/outpost"));
    }
    let from_environment = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()).map(PathBuf::from);
    let usual = PathBuf::from(format!("/run/user/{}", uid.as_raw()));
    let parent = from_environment.or_else(|| usual.is_dir().then_some(usual));
    parent.map(|parent| parent.join("outpost")).ok_or(TransportError::NoRuntimeDirectory)
}

/// A listening pipe; its file is removed on drop.
#[derive(Debug)]
pub(crate) struct PipeListener {
    socket: OwnedFd,
    name: String,
    path: PathBuf,
    /// Device and inode of the file, so that only our own is removed.
    file: (u64, u64),
}

impl PipeListener {
    /// Listens under the name in `directory`, which is created if missing.
    pub(crate) fn bind(transport: &PipeListen, directory: &Path) -> Result<PipeListener, TransportError> {
        let name = transport.expanded_name(std::process::id(), thread_id());
        let path = directory.join(&name);
        let failed = TransportError::io(format!("listen on {}", path.display()));
        let (socket, file) = match listen_at(directory, &path) {
            Ok(listening) => listening,
            Err(Refused::InUse { pid }) => return Err(TransportError::PipeInUse { name, pid }),
            Err(Refused::Io(error)) => return Err(failed(error)),
        };
        Ok(PipeListener { socket, name, path, file })
    }

    /// The name with its codes replaced.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The next client, if one waits.
    pub(crate) fn accept(&self) -> Result<Option<Connection>, TransportError> {
        let socket = match rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            Err(error) => return crate::tcp::no_client(error.into()),
        };
        let peer = peer_of(&socket);
        Ok(Some(Connection::new(socket, peer)))
    }
}

impl AsFd for PipeListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for PipeListener {
    fn drop(&mut self) {
        let ours = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino()) == self.file;
        if std::fs::symlink_metadata(&self.path).is_ok_and(ours) {
            // Nothing can be done about a file that will not go; the next server replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Connects to the pipe in `directory`.
pub(crate) fn connect(transport: &PipeClient, directory: &Path) -> Result<Connection, TransportError> {
    let path = directory.join(&transport.name);
    match UnixStream::connect(&path) {
        Ok(stream) => {
            let socket = OwnedFd::from(stream);
            let peer = peer_of(&socket);
            Ok(Connection::new(socket, peer))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Err(TransportError::StalePipe { name: transport.name.clone() })
        }
        Err(source) => Err(TransportError::Io { operation: format!("connect to {}", path.display()), source }),
    }
}

/// Why a name cannot be taken.
enum Refused {
    InUse { pid: u32 },
    Io(io::Error),
}

impl<E: Into<io::Error>> From<E> for Refused {
    fn from(error: E) -> Refused {
        Refused::Io(error.into())
    }
}

/// Makes the runtime directory if it is missing, and locks it until the descriptor is dropped.
pub(crate) fn lock_directory(directory: &Path) -> io::Result<OwnedFd> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let lock = rustix::fs::open(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    flock(&lock, FlockOperation::LockExclusive)?;
    Ok(lock)
}

/// Gives the listening socket, and device and inode of its file.
fn listen_at(directory: &Path, path: &Path) -> Result<(OwnedFd, (u64, u64)), Refused> {
    let _lock = lock_directory(directory)?;
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // On Linux a socket's file takes the mode of the socket, so it is never there with a wider one.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    match rustix::net::bind(&socket, &address) {
        Err(rustix::io::Errno::ADDRINUSE) => {
            remove_if_stale(path)?;
            rustix::net::bind(&socket, &address)?;
        }
        bound => bound?,
    }
    rustix::net::listen(&socket, BACKLOG)?;
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((socket, (metadata.dev(), metadata.ino())))
}

/// Removes the file of a server that is gone; refuses if somebody answers there.
fn remove_if_stale(path: &Path) -> Result<(), Refused> {
    // connect(2) says "connection refused" of a plain file, too; such a file is somebody's data.
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file of that name").into());
    }
    match UnixStream::connect(path) {
        Ok(stream) => {
            let owner = sockopt::socket_peercred(&stream)?;
            Err(Refused::InUse { pid: owner.pid.as_raw_pid() as u32 })
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(std::fs::remove_file(path)?),
        Err(error) => Err(error.into()),
    }
}

fn peer_of(socket: &OwnedFd) -> Peer {
    match sockopt::socket_peercred(socket) {
        Ok(owner) => Peer::Process { pid: owner.pid.as_raw_pid() as u32, uid: owner.uid.as_raw() },
        Err(_) => Peer::Memory,
    }
}

fn thread_id() -> u32 {
    rustix::thread::gettid().as_raw_pid() as u32
}

/// Whether `text` can name a pipe: it is a file name in a directory that others list, and a word on a command line.
pub(crate) fn is_valid_name(text: &str) -> bool {
    let forbidden = |c: char| c == '/' || c == '\\' || c == '"' || c == '\'' || c.is_whitespace() || c.is_control();
    !text.is_empty() && text.len() <= 64 && !text.starts_with('.') && !text.contains(forbidden)
}

/// Whether `host` names this machine.
pub fn is_this_machine(host: &str) -> bool {
    let node = rustix::system::uname();
    let node = OsStr::new(node.nodename().to_str().unwrap_or_default());
    matches!(host, "" | "." | "127.0.0.1" | "::1")
        || host.eq_ignore_ascii_case("localhost")
        || node.eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn listen(name: &str) -> PipeListen {
        PipeListen { name: name.to_owned(), hidden: false, password: None }
    }

    #[test]
    fn a_pipe_is_private_carries_bytes_and_goes_away() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("made");
        let listener = PipeListener::bind(&listen("lab"), &directory).unwrap();
        let path = directory.join("lab");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(listener.accept().unwrap().is_none(), "accept does not block");
        let client = connect(&PipeClient::new("lab".into()), &directory).unwrap();
        let server = listener.accept().unwrap().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        assert_eq!(server.peer(), Peer::Process { pid: std::process::id(), uid });
        (&client).write_all(b"hello").unwrap();
        let mut buf = [0; 5];
        (&server).read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"hello");
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn live_names_are_refused_and_stale_ones_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let live = PipeListener::bind(&listen("one"), directory.path()).unwrap();
        let error = PipeListener::bind(&listen("one"), directory.path()).unwrap_err();
        assert_eq!(error.to_string(), format!("the pipe name 'one' is in use by process {}", std::process::id()));
        // A socket closed without removing its file is what a killed server leaves.
        let stale = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&stale, &SocketAddrUnix::new(directory.path().join("two")).unwrap()).unwrap();
        drop(stale);
        let error = connect(&PipeClient::new("two".into()), directory.path()).unwrap_err();
        assert_eq!(error.to_string(), "the server of pipe 'two' no longer exists");
        let second = PipeListener::bind(&listen("two"), directory.path()).unwrap();
        assert!(connect(&PipeClient::new("two".into()), directory.path()).is_ok());
        drop((live, second));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_name_taken_over_is_not_removed_by_its_former_owner() {
        let directory = tempfile::tempdir().unwrap();
        let first = PipeListener::bind(&listen("x"), directory.path()).unwrap();
        std::fs::remove_file(directory.path().join("x")).unwrap();
        let second = PipeListener::bind(&listen("x"), directory.path()).unwrap();
        drop(first);
        assert!(directory.path().join("x").exists());
        drop(second);
    }

    #[test]
    fn a_plain_file_of_that_name_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("x"), "data").unwrap();
        assert!(PipeListener::bind(&listen("x"), directory.path()).is_err());
        assert_eq!(std::fs::read(directory.path().join("x")).unwrap(), b"data");
    }
}
