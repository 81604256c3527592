//! One byte stream, whatever it runs over.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType};

use crate::tls::Near;
use crate::{LinkProgram, Peer, Thumbprint, TransportError};

/// An established byte stream: one owned socket, closed on drop.
///
/// `Read` and `Write` are implemented for `&Connection`, so two threads may each use one direction; a descriptor has no
/// state of ours beside it. Blocking unless [`Connection::set_nonblocking`] was called.
///
/// Over TLS the socket is one end of a pair, and a thread of the process that accepted or connected moves the bytes; what
/// that thread knows is here as long as the value stays in that process.
#[derive(Debug)]
pub struct Connection {
    // Closed before the last of those who know the pump, which may wait for its last words.
    fd: OwnedFd,
    peer: Peer,
    /// Behind the descriptor, so that the command sees its end before it is waited for.
    program: Option<LinkProgram>,
    tls: Option<Arc<Near>>,
}

impl Connection {
    /// Takes over a connected stream socket.
    pub fn new(fd: OwnedFd, peer: Peer) -> Connection {
        Connection { fd, peer, program: None, tls: None }
    }

    /// Takes over the near end of a command's standard input and output; the command ends with the last handle.
    pub(crate) fn carried_by(fd: OwnedFd, peer: Peer, program: LinkProgram) -> Connection {
        Connection { fd, peer, program: Some(program), tls: None }
    }

    /// Two ends of an in-memory link.
    ///
    /// # Errors
    /// Out of descriptors (socketpair(2)).
    pub fn pair() -> io::Result<(Connection, Connection)> {
        let (a, b) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        Ok((Connection::new(a, Peer::Memory), Connection::new(b, Peer::Memory)))
    }

    /// The near end of a pump's pair.
    pub(crate) fn over_tls(self, peer: Peer, near: Near) -> Connection {
        Connection { fd: self.fd, peer, program: None, tls: Some(Arc::new(near)) }
    }

    /// What only the two ends of this very TLS connection know (RFC 9266, `tls-exporter`): 32 bytes once the first byte
    /// can be read; empty without TLS. A proof that has it in it is of no use on another connection.
    pub fn channel_binding(&self) -> &[u8] {
        self.tls.as_ref().map_or(&[], |near| near.channel_binding())
    }

    /// Waits for the end of the handshake where there is one, for the side that was connected to.
    pub(crate) fn finish_handshake(&self) -> Result<(), TransportError> {
        self.tls.as_ref().map_or(Ok(()), |near| near.finish_handshake())
    }

    /// Whether dropping the last handle waits for what was written to reach the network: for who may end with it.
    pub(crate) fn set_waits(&self, waits: bool) {
        self.tls.iter().for_each(|near| near.set_waits(waits));
    }

    /// Thumbprint of the certificate that the other end has proved to own, once the first byte can be read.
    pub fn peer_certificate(&self) -> Option<Thumbprint> {
        self.tls.as_ref()?.peer_certificate()
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
        let (program, tls) = (self.program.clone(), self.tls.clone());
        Ok(Connection { fd: self.fd.try_clone()?, peer: self.peer, program, tls })
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
        let peer = stream.peer_addr().map_or(Peer::Memory, Peer::from);
        Connection::new(stream.into(), peer)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Connection {
    /// What a read or write gave, unless TLS has failed and thereby ended the stream: then that.
    fn explain(&self, result: rustix::io::Result<usize>, is_end: bool) -> io::Result<usize> {
        use rustix::io::Errno;
        let ended = is_end || matches!(result, Err(Errno::CONNRESET | Errno::PIPE));
        match self.tls.as_ref().and_then(|near| near.failure()).filter(|_| ended) {
            Some(failure) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, failure)),
            None => Ok(result?),
        }
    }
}

impl Read for &Connection {
    /// Where TLS failed or was cut off, the end of the stream is an error that says so.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let result = rustix::io::read(&self.fd, &mut *buf);
        self.explain(result, result == Ok(0) && !buf.is_empty())
    }
}

impl Write for &Connection {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    /// Never raises SIGPIPE, whatever its disposition is.
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = rustix::net::SendFlags::NOSIGNAL;
        self.explain(rustix::net::sendmsg(&self.fd, bufs, &mut Default::default(), flags), false)
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
