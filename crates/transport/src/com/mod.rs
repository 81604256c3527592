//! `com`: connections over a serial line, many at once, one on each channel.
//!
//! A device can be read by one process only, so each machine has one *owner* per line: a thread of the first process
//! that uses it ([`owner`]). Whoever uses the line, the owner's own process included, asks the owner at a socket in the
//! runtime directory and is given a [`Connection`] that is one end of a socket pair. The owner speaks the line's protocol
//! ([`line`], a pure state machine) with the owner at the other end, since a line loses, garbles and inserts bytes:
//!
//! | Module | Does |
//! | --- | --- |
//! | `frame` | finds frames in noise, checks them |
//! | `reliable` | makes a byte stream of frames that get lost |
//! | `channels` | puts connections into that stream |
//! | `line` | incarnations, signs of life, time |
//! | `owner`, `control`, `tty` | the thread, its socket, the device |

mod channels;
mod control;
mod frame;
pub(crate) mod fuzz;
mod line;
#[cfg(test)]
mod line_tests;
mod owner;
mod reliable;
mod tty;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::epoll;
use rustix::fs::Mode;
use rustix::net::{SocketAddrUnix, sockopt};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};

use crate::{BACKLOG, ComClient, ComListen, Connection, Peer, TransportError};
use control::{Answer, Received, Request, Wish};
pub(crate) use owner::end_serial_lines;

/// How long an owner may take to connect; it gives up before that itself.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an owner may take to register a listener, which it does at once; whoever waits has other things to do.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a device is tried that a former owner may be about to give up, and the pause between.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);
/// How often a listener looks for a line that is gone.
const LOST_INTERVAL: Duration = Duration::from_secs(1);

/// The device that a port names: `com1` and `1` are `/dev/ttyS0`, `ttyUSB0` is below `/dev`, a path is a path. Links to
/// a device, such as those in `/dev/serial/by-id`, name the same line; what cannot be found is told when it is opened.
pub(crate) fn device(port: &str) -> PathBuf {
    let device = unresolved(port).unwrap_or_else(|| PathBuf::from(port));
    device.canonicalize().unwrap_or(device)
}

/// Whether a text names a serial line.
pub(crate) fn is_valid_port(text: &str) -> bool {
    text.len() <= 64 && !text.contains(char::is_control) && unresolved(text).is_some()
}

fn unresolved(port: &str) -> Option<PathBuf> {
    let number = match port.get(..3) {
        Some(com) if com.eq_ignore_ascii_case("com") => &port[3..],
        _ => port,
    };
    match number.parse::<u16>() {
        Ok(number) => Some(PathBuf::from(format!("/dev/ttyS{}", number.checked_sub(1)?))),
        Err(_) if port.starts_with('/') => Some(PathBuf::from(port)),
        Err(_) if port.starts_with("tty") && !port.contains('/') => Some(Path::new("/dev").join(port)),
        Err(_) => None,
    }
}

/// A line as one side names it.
#[derive(Debug, Clone)]
struct Named {
    device: PathBuf,
    baud: u32,
    channel: u8,
    directory: PathBuf,
}

impl Named {
    fn new(port: &str, baud: u32, channel: u8, directory: &Path) -> Named {
        Named { device: device(port), baud, channel, directory: directory.to_owned() }
    }

    fn refused(&self, reason: String) -> TransportError {
        TransportError::Channel { channel: self.channel, device: self.device.display().to_string(), reason }
    }

    /// Asks the owner of the line, which this process becomes if there is none, and waits for its answer.
    fn ask(&self, wish: Wish, tries: u32) -> Result<(OwnedFd, Answer), TransportError> {
        let failed = |error| TransportError::io(format!("reach the owner of {}", self.device.display()))(error);
        // An owner may end while it is asked; then there is another one, or we are it.
        for _ in 0..3 {
            let owner = self.reach_owner(tries)?;
            let timeout = if wish == Wish::Listen { LISTEN_TIMEOUT } else { CONNECT_TIMEOUT };
            sockopt::set_socket_timeout(&owner, sockopt::Timeout::Recv, Some(timeout))
                .map_err(io::Error::from)
                .map_err(failed)?;
            if control::ask(&owner, Request { wish, channel: self.channel, baud: self.baud }).is_err() {
                continue;
            }
            match control::answered(&owner, true) {
                Received::Message(answer) => return Ok((owner, answer)),
                Received::Nothing => return Err(failed(io::ErrorKind::TimedOut.into())),
                Received::Closed => {}
            }
        }
        Err(self.refused("the owner of the line ended while it was asked".into()))
    }

    fn reach_owner(&self, mut tries: u32) -> Result<OwnedFd, TransportError> {
        let path = control::socket_path(&self.directory, &self.device);
        let failed = |error| TransportError::io(format!("share {}", self.device.display()))(error);
        loop {
            let lock = crate::npipe::lock_directory(&self.directory).map_err(failed)?;
            if let Some(owner) = control::find_owner(&path).map_err(failed)? {
                return Ok(owner);
            }
            match tty::open(&self.device, self.baud) {
                Ok(tty) => {
                    let listener = listen(&path).map_err(failed)?;
                    let device = self.device.display().to_string();
                    let setup = owner::Setup { tty, device, baud: self.baud, listener, socket_path: path.clone() };
                    owner::start(setup).map_err(failed)?;
                }
                Err(TransportError::LineInUse { .. }) if tries > 0 => {
                    tries -= 1;
                    drop(lock);
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The owner's socket, for this user's processes only. The directory is locked, and nobody answers there.
fn listen(path: &Path) -> io::Result<OwnedFd> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = control::socket()?;
    // On Linux a socket's file takes the mode of the socket, so it is never there with a wider one.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// Connects to the server that listens on the channel at the other end.
pub(crate) fn connect(transport: &ComClient, directory: &Path) -> Result<Connection, TransportError> {
    let named = Named::new(&transport.port, transport.baud, transport.channel, directory);
    match named.ask(Wish::Connect, TRIES)? {
        (_, Answer::Connection(socket)) => Ok(Connection::new(socket, Peer::Serial { channel: named.channel })),
        (_, Answer::Refused(reason)) => Err(named.refused(reason)),
        (_, Answer::Listening) => Err(named.refused("the owner of the line answered something else".into())),
    }
}

/// Takes every connection that comes on a channel, one at a time.
///
/// When the line is lost, or its owner in another process ends, the listener tries every second to have it again.
#[derive(Debug)]
pub(crate) struct ComListener {
    transport: ComListen,
    named: Named,
    /// Stands for the two below, so that whoever waits for us has one descriptor as long as we live.
    wait: OwnedFd,
    timer: OwnedFd,
    owner: Mutex<Option<OwnedFd>>,
}

impl ComListener {
    pub(crate) fn bind(transport: &ComListen, directory: PathBuf) -> Result<ComListener, TransportError> {
        let named = Named::new(&transport.port, transport.baud, transport.channel, &directory);
        let failed = TransportError::io(format!("listen on {}", named.device.display()));
        let descriptors = || -> io::Result<(OwnedFd, OwnedFd)> {
            let wait = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
            epoll::add(&wait, &timer, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
            Ok((wait, timer))
        };
        let (wait, timer) = descriptors().map_err(failed)?;
        let listener = ComListener { transport: transport.clone(), named, wait, timer, owner: Mutex::new(None) };
        *listener.owner.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener.register(TRIES)?);
        Ok(listener)
    }

    pub(crate) fn transport(&self) -> &ComListen {
        &self.transport
    }

    /// The next client, if one waits.
    ///
    /// # Errors
    /// The line is gone: told once, then tried again every second.
    pub(crate) fn accept(&self) -> Result<Option<Connection>, TransportError> {
        let mut owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        let lost = match &*owner {
            None => None,
            Some(socket) => match control::answered(socket, false) {
                Received::Message(Answer::Connection(socket)) => {
                    return Ok(Some(Connection::new(socket, Peer::Serial { channel: self.named.channel })));
                }
                Received::Message(Answer::Listening) | Received::Nothing => return Ok(None),
                Received::Message(Answer::Refused(reason)) => Some(reason),
                Received::Closed => Some("its owner has ended".to_owned()),
            },
        };
        // Whoever shared the line with us may have ended; then it is there for the taking.
        *owner = self.register(0).ok();
        if owner.is_some() {
            return Ok(None);
        }
        let again = Itimerspec { it_interval: timespec(Duration::ZERO), it_value: timespec(LOST_INTERVAL) };
        let armed = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &again).map_err(io::Error::from);
        armed.map_err(TransportError::io("wait for a serial line"))?;
        let device = self.named.device.display().to_string();
        match lost {
            Some(reason) => Err(TransportError::LineLost { channel: self.named.channel, device, reason }),
            None => Ok(None),
        }
    }

    fn register(&self, tries: u32) -> Result<OwnedFd, TransportError> {
        match self.named.ask(Wish::Listen, tries)? {
            (owner, Answer::Listening) => {
                let added = epoll::add(&self.wait, &owner, epoll::EventData::new_u64(1), epoll::EventFlags::IN);
                added.map_err(io::Error::from).map_err(TransportError::io("watch a serial line"))?;
                Ok(owner)
            }
            (_, Answer::Refused(reason)) => Err(self.named.refused(reason)),
            (_, Answer::Connection(_)) => {
                Err(self.named.refused("the owner of the line answered something else".into()))
            }
        }
    }
}

impl AsFd for ComListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wait.as_fd()
    }
}

fn timespec(duration: Duration) -> rustix::time::Timespec {
    rustix::time::Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}
