//! The owner's ends of the socket pairs whose other ends are connections.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType};

use crate::com::channels::Channels;
use crate::com::control::{self, Answer};

/// All of a line.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: BTreeMap<u8, Link>,
    /// Over on the line; the process has not taken everything yet.
    leftovers: Vec<(OwnedFd, VecDeque<u8>)>,
}

#[derive(Debug)]
struct Link {
    socket: OwnedFd,
    pid: u32,
    /// The process may still say something.
    reads: bool,
    /// The process may still take something.
    writes: bool,
    /// It was told that nothing more comes.
    ended: bool,
}

/// What is watched, in the order of the descriptors: a channel, or a leftover.
#[derive(Debug, Clone, Copy)]
pub(super) enum Want {
    Channel(u8, PollFlags),
    Leftover(usize),
}

impl Links {
    /// Makes a connection and hands one end to the process that asked; none, or gone: the connection ends.
    pub(super) fn connect(&mut self, channel: u8, user: Option<(&OwnedFd, u32)>, channels: &mut Channels) {
        let flags = SocketFlags::CLOEXEC;
        let made = user.and_then(|(socket, pid)| {
            let (near, far) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
            control::answer(socket, &Answer::Connection(far)).ok()?;
            Some(Link { socket: near, pid, reads: true, writes: true, ended: false })
        });
        match made {
            Some(link) => drop(self.links.insert(channel, link)),
            None => {
                channels.end(channel);
                channels.stop(channel);
            }
        }
    }

    /// The other end takes nothing more: the process finds that out when it writes.
    pub(super) fn stop_reading(&mut self, channel: u8) {
        if let Some(link) = self.links.get_mut(&channel) {
            link.reads = false;
            let _ = rustix::net::shutdown(&link.socket, Shutdown::Read);
        }
    }

    /// The connection is over; what arrived is still delivered.
    pub(super) fn end(&mut self, channel: u8, inbox: VecDeque<u8>) {
        if let Some(link) = self.links.remove(&channel)
            && link.writes
            && !inbox.is_empty()
        {
            self.leftovers.push((link.socket, inbox));
        }
    }

    /// The process that uses a channel.
    pub(super) fn holder(&self, channel: u8) -> Option<u32> {
        self.links.get(&channel).filter(|link| link.reads).map(|link| link.pid)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty() && self.leftovers.is_empty()
    }

    /// Whether nobody in the process `pid` has anything to say or to take.
    pub(super) fn is_done(&self, pid: u32) -> bool {
        self.leftovers.is_empty() && !self.links.values().any(|link| link.pid == pid && link.reads)
    }

    /// What to watch, once processes were told of the ends that came. A descriptor whose event nothing could be done about is left out: it would wake us for ever.
    pub(super) fn wants(&mut self, channels: &mut Channels) -> Vec<Want> {
        let mut wants = Vec::new();
        for (&channel, link) in &mut self.links {
            if link.writes && !link.ended && channels.is_read_out(channel) {
                link.ended = true;
                let _ = rustix::net::shutdown(&link.socket, Shutdown::Write);
            }
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, link.reads && channels.room(channel) > 0);
            flags.set(PollFlags::OUT, link.writes && !channels.inbox(channel).is_empty());
            // With nothing to read, only its end is of interest; while there is, the end comes behind it.
            if !flags.is_empty() || (!link.reads && link.writes) {
                wants.push(Want::Channel(channel, flags));
            }
        }
        wants.extend((0..self.leftovers.len()).map(Want::Leftover));
        wants
    }

    pub(super) fn poll_fds<'a>(&'a self, wants: &'a [Want]) -> impl Iterator<Item = PollFd<'a>> {
        wants.iter().map(|want| match *want {
            Want::Channel(channel, flags) => PollFd::new(&self.links[&channel].socket, flags),
            Want::Leftover(at) => PollFd::new(&self.leftovers[at].0, PollFlags::OUT),
        })
    }

    /// Moves bytes where the wait found that it can be done.
    pub(super) fn advance(&mut self, wants: &[Want], ready: &[PollFlags], channels: &mut Channels) {
        for (want, &flags) in wants.iter().zip(ready) {
            match *want {
                Want::Channel(channel, _) => {
                    if let Some(link) = self.links.get_mut(&channel) {
                        link.advance(channel, flags, channels);
                    }
                }
                Want::Leftover(at) if !flags.is_empty() => {
                    let (socket, bytes) = &mut self.leftovers[at];
                    match send(socket, bytes.make_contiguous()) {
                        Some(count) => drop(bytes.drain(..count)),
                        None => bytes.clear(),
                    }
                }
                Want::Leftover(_) => {}
            }
        }
        self.leftovers.retain(|(_, bytes)| !bytes.is_empty());
    }
}

impl Link {
    fn advance(&mut self, channel: u8, flags: PollFlags, channels: &mut Channels) {
        let room = channels.room(channel);
        if self.reads && room > 0 && flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            let mut buffer = vec![0; room];
            match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((_, count @ 1..)) => channels.send(channel, &buffer[..count]),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                // An error says that the process left something unread; what it said was read before.
                Ok(_) | Err(_) => {
                    self.reads = false;
                    channels.end(channel);
                }
            }
        }
        if self.writes && !channels.inbox(channel).is_empty() && flags.contains(PollFlags::OUT) {
            match send(&self.socket, channels.inbox(channel)) {
                Some(count) => channels.take(channel, count),
                None => self.give_up_writing(channel, channels),
            }
        }
        // Both directions of the process's end are closed, and nothing it said is left.
        if !self.reads && self.writes && flags.intersects(PollFlags::HUP | PollFlags::ERR) {
            self.give_up_writing(channel, channels);
        }
    }

    fn give_up_writing(&mut self, channel: u8, channels: &mut Channels) {
        self.writes = false;
        channels.stop(channel);
    }
}

/// How many bytes the process's socket took; `None` if it takes none ever again.
fn send(socket: &OwnedFd, bytes: &[u8]) -> Option<usize> {
    match rustix::net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        Ok(count) => Some(count),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Some(0),
        Err(_) => None,
    }
}
