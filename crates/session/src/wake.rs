//! A descriptor that becomes readable when there is a request, for a thread that waits for a debuggee as well.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// The end that wakes.
#[derive(Debug)]
pub(crate) struct Waker(UnixStream);

/// The end that is woken.
#[derive(Debug)]
pub(crate) struct Wake(UnixStream);

pub(crate) fn pair() -> io::Result<(Waker, Wake)> {
    let (near, far) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    Ok((Waker(near), Wake(far)))
}

impl Waker {
    /// Makes the other end readable.
    pub(crate) fn wake(&self) {
        // A full pipe wakes as well as one byte more; a closed one has nobody to wake.
        let _ = (&self.0).write(&[0]);
    }
}

impl Wake {
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Forgets that it was woken.
    pub(crate) fn clear(&self) {
        let mut buffer = [0; 64];
        while matches!((&self.0).read(&mut buffer), Ok(count) if count == buffer.len()) {}
    }
}
