//! What processes that share a serial line say to its owner: one request each, answers with descriptors.
//!
//! A `SOCK_SEQPACKET` socket in the runtime directory (unix(7)): messages keep their bounds, the kernel says who asks,
//! and each end sees at once when the other is gone.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

/// Longest message; an answer in words is the longest.
const MAX_MESSAGE: usize = 1 << 10;

/// What a process wants of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) wish: Wish,
    pub(crate) channel: u8,
    /// The rate it was told, which must be the line's.
    pub(crate) baud: u32,
}

/// The two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// One connection.
    Connect,
    /// Every connection that comes.
    Listen,
}

/// What an owner answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A listener is registered.
    Listening,
    /// A connection, asked for or come.
    Connection(OwnedFd),
    /// No, and why.
    Refused(String),
}

/// What came.
#[derive(Debug)]
pub(crate) enum Received<T> {
    Message(T),
    Nothing,
    Closed,
}

/// Where the owner of a device listens. The dot keeps it apart from the names of pipes.
pub(crate) fn socket_path(directory: &Path, device: &Path) -> PathBuf {
    directory.join(format!(".com{}", device.display().to_string().replace('/', "_")))
}

/// Sends a request.
pub(crate) fn ask(owner: &OwnedFd, request: Request) -> io::Result<()> {
    let wish = match request.wish {
        Wish::Connect => b'c',
        Wish::Listen => b'l',
    };
    let message = [&[wish, request.channel][..], &request.baud.to_le_bytes()].concat();
    send(owner, &message, &[])
}

/// The request of whoever connected; nonsense counts as closed.
pub(crate) fn requested(user: &OwnedFd) -> Received<Request> {
    match receive(user, RecvFlags::DONTWAIT) {
        Received::Message((message, _)) => match message[..] {
            [wish @ (b'c' | b'l'), channel @ ..=254, b0, b1, b2, b3] => Received::Message(Request {
                wish: if wish == b'c' { Wish::Connect } else { Wish::Listen },
                channel,
                baud: u32::from_le_bytes([b0, b1, b2, b3]),
            }),
            _ => Received::Closed,
        },
        Received::Nothing => Received::Nothing,
        Received::Closed => Received::Closed,
    }
}

/// Sends an answer. An error means that nobody takes it, now or ever.
pub(crate) fn answer(user: &OwnedFd, answer: &Answer) -> io::Result<()> {
    match answer {
        Answer::Listening => send(user, b"l", &[]),
        Answer::Connection(socket) => send(user, b"c", &[socket.as_fd()]),
        Answer::Refused(reason) => {
            let end = reason.floor_char_boundary(MAX_MESSAGE - 1);
            send(user, &[b"r", &reason.as_bytes()[..end]].concat(), &[])
        }
    }
}

/// The next answer. `wait`: blocks until there is one or the owner is gone.
pub(crate) fn answered(owner: &OwnedFd, wait: bool) -> Received<Answer> {
    let flags = if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
    match receive(owner, flags) {
        Received::Message((message, descriptors)) => match (message.split_first(), descriptors) {
            (Some((b'l', _)), _) => Received::Message(Answer::Listening),
            (Some((b'c', _)), Some(socket)) => Received::Message(Answer::Connection(socket)),
            (Some((b'r', text)), _) => Received::Message(Answer::Refused(String::from_utf8_lossy(text).into_owned())),
            _ => Received::Closed,
        },
        Received::Nothing => Received::Nothing,
        Received::Closed => Received::Closed,
    }
}

/// A socket for either end.
pub(crate) fn socket() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Connects to an owner, if there is one.
pub(crate) fn find_owner(path: &Path) -> io::Result<Option<OwnedFd>> {
    use rustix::io::Errno;
    let socket = socket()?;
    match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
        Ok(()) => Ok(Some(socket)),
        Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn send(socket: &OwnedFd, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // Whoever does not take its answers is not waited for.
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::net::sendmsg(socket, &[IoSlice::new(message)], &mut ancillary, flags)?;
    Ok(())
}

fn receive(socket: &OwnedFd, flags: RecvFlags) -> Received<(Vec<u8>, Option<OwnedFd>)> {
    let mut buffer = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut buffer)], &mut ancillary, flags);
    let count = match received {
        Ok(received) if received.bytes > 0 => received.bytes,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Received::Nothing,
        Ok(_) | Err(_) => return Received::Closed,
    };
    let rights = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        _ => None,
    });
    buffer.truncate(count);
    Received::Message((buffer, rights))
}
