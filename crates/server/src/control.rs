//! The socket between a guardian and a worker: small messages, with descriptors where needed.
//!
//! `SOCK_SEQPACKET` (unix(7)): messages keep their bounds, and each end sees at once when the other is gone. That also
//! makes it the liveness pipe: a killed process closes its files before its tracees are let go.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};

use crate::guardian::timespec;

/// Longest message; a handover with a long command line is the longest.
const MAX_MESSAGE: usize = 64 << 10;
/// Most descriptors in a message.
const MAX_DESCRIPTORS: usize = 4;

/// One end.
#[derive(Debug)]
pub(crate) struct Control(OwnedFd);

/// What came.
#[derive(Debug)]
pub(crate) enum Received {
    /// A message.
    Message(Vec<u8>, Vec<OwnedFd>),
    /// Nothing yet.
    Nothing,
    /// The other end is gone.
    Closed,
}

impl Control {
    /// Both ends.
    pub(crate) fn pair() -> io::Result<(Control, Control)> {
        let (a, b) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Control(a), Control(b)))
    }

    /// The end that a started process finds as its standard input.
    pub(crate) fn from_stdin() -> io::Result<Control> {
        Ok(Control(std::io::stdin().as_fd().try_clone_to_owned()?))
    }

    /// For the standard input of a process to be started.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// A second handle.
    pub(crate) fn try_clone(&self) -> io::Result<Control> {
        Ok(Control(self.0.try_clone()?))
    }

    /// Sends a message; never blocks for long, since nobody lets many wait.
    pub(crate) fn send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        rustix::net::sendmsg(&self.0, &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The next message. `wait`: blocks until there is one or the other end is gone.
    pub(crate) fn receive(&self, wait: bool) -> io::Result<Received> {
        let mut buffer = vec![0; MAX_MESSAGE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        let received = rustix::net::recvmsg(&self.0, &mut [IoSliceMut::new(&mut buffer)], &mut ancillary, flags);
        let count = match received {
            Ok(received) if received.bytes == 0 => return Ok(Received::Closed),
            Ok(received) => received.bytes,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(Received::Nothing),
            Err(rustix::io::Errno::CONNRESET) => return Ok(Received::Closed),
            Err(error) => return Err(error.into()),
        };
        let mut descriptors = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        buffer.truncate(count);
        Ok(Received::Message(buffer, descriptors))
    }
}

/// Whether a message is there, or the other end is gone, within this time.
pub(crate) fn is_readable(control: &Control, limit: Duration) -> bool {
    let ready = poll(&mut [PollFd::new(control, PollFlags::IN)], Some(&timespec(limit)));
    ready.is_ok_and(|count| count > 0)
}

impl From<OwnedFd> for Control {
    /// A socket of this kind that was connected elsewhere.
    fn from(socket: OwnedFd) -> Control {
        Control(socket)
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
