//! One byte stream, whatever it runs over.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType};

use crate::{LinkProgram, Peer};

/// An established byte stream: one owned socket, closed on drop.
///
/// `Read` and `Write` are implemented for `&Connection`, so two threads may each use one direction; a descriptor has no
/// state of ours beside it. Blocking unless [`Connection::set_nonblocking`] was called.
#[derive(Debug)]
pub struct Connection {
    fd: OwnedFd,
    peer: Peer,
    /// Behind the descriptor, so that the command sees its end before it is waited for.
    program: Option<LinkProgram>,
}

impl Connection {
    /// Takes over a connected stream socket.
    pub fn new(fd: OwnedFd, peer: Peer) -> Connection {
        Connection { fd, peer, program: None }
    }

    /// Takes over the near end of a command's standard input and output; the command ends with the last handle.
    pub(crate) fn carried_by(fd: OwnedFd, peer: Peer, program: LinkProgram) -> Connection {
        Connection { fd, peer, program: Some(program) }
    }

    /// Two ends of an in-memory link.
    ///
    /// # Errors
    /// Out of descriptors (socketpair(2)).
    pub fn pair() -> io::Result<(Connection, Connection)> {
        let (a, b) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        Ok((Connection::new(a, Peer::Memory), Connection::new(b, Peer::Memory)))
    }

    /// Who is at the other end.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The command that carries the link, if one does.
    pub fn program(&self) -> Option<LinkProgram> {
        self.program.clone()
    }

    /// A second handle on the same stream.
    ///
    /// # Errors
    /// Out of descriptors (dup(2)).
    pub fn try_clone(&self) -> io::Result<Connection> {
        Ok(Connection { fd: self.fd.try_clone()?, peer: self.peer, program: self.program.clone() })
    }

    /// Gives the socket away. A command that carries the link ends with that.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Whether reads and writes give `WouldBlock` instead of waiting. Holds for every handle on the stream.
    ///
    /// # Errors
    /// None in practice (ioctl(2), `FIONBIO`).
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        Ok(rustix::io::ioctl_fionbio(&self.fd, nonblocking)?)
    }

    /// Ends both directions for every handle; a read elsewhere returns 0. A stream already ended is no error.
    pub fn shutdown(&self) {
        // The only failures are "not connected (any more)", which is what is wanted.
        let _ = rustix::net::shutdown(&self.fd, Shutdown::Both);
    }

    /// Ends the direction of what is written here: the other end reads what was written, then the end.
    pub fn end_writing(&self) {
        let _ = rustix::net::shutdown(&self.fd, Shutdown::Write);
    }

    /// Takes no more of what comes; a writer at the other end of a socket of this machine finds that out.
    pub fn stop_reading(&self) {
        let _ = rustix::net::shutdown(&self.fd, Shutdown::Read);
    }
}

impl From<TcpStream> for Connection {
    fn from(stream: TcpStream) -> Connection {
        let peer = stream.peer_addr().map_or(Peer::Memory, Peer::Address);
        Connection::new(stream.into(), peer)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Read for &Connection {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.fd, buf)?)
    }
}

impl Write for &Connection {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    /// Never raises SIGPIPE, whatever its disposition is.
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = rustix::net::SendFlags::NOSIGNAL;
        Ok(rustix::net::sendmsg(&self.fd, bufs, &mut Default::default(), flags)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_carries_bytes_both_ways_and_ends() {
        let (a, b) = Connection::pair().unwrap();
        (&a).write_all(b"there").unwrap();
        (&b).write_all(b"back").unwrap();
        let mut buf = [0; 5];
        (&b).read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"there");
        (&a).read_exact(&mut buf[..4]).unwrap();
        assert_eq!(&buf[..4], b"back");
        a.shutdown();
        assert_eq!((&b).read(&mut buf).unwrap(), 0);
        assert_eq!((&b).write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
