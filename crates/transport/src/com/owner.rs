//! The owner of a serial line: one thread of the first process that uses it. It reads and writes the device, and
//! carries the connections of all processes that share the line.
//!
//! A process that wants a connection asks at the owner's socket ([`super::control`]) and is given one end of a socket
//! pair; a listener is given one for each connection that comes. When the owner's process ends, so do all connections
//! over the line, and the next process that asks becomes the owner: what is under way in a connection cannot be handed
//! over, and whoever can connect anew (a session that is resumed) takes the line over by doing so.

mod links;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::net::{SocketFlags, sockopt};

use super::channels::Event;
use super::control::{self, Answer, Received, Request, Wish};
use super::line::Line;
use links::Links;

/// How long the other end may take to answer, beyond what the line takes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an ending owner waits for what is on its way.
const END_TIMEOUT: Duration = Duration::from_secs(3);
/// How often the clock is looked at while the device takes no bytes.
const BLOCKED_INTERVAL: Duration = Duration::from_millis(500);
/// Processes that ask at once; further ones wait in the kernel's queue.
const MAX_USERS: usize = 600;

/// Lines that threads of this process own.
static LINES: Mutex<Vec<Arc<Handle>>> = Mutex::new(Vec::new());

/// What the rest of the process has of an owner's thread.
#[derive(Debug)]
struct Handle {
    wake: OwnedFd,
    /// Whether it should end, and whether it has.
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

/// Gives up the serial lines of this process, once what was written to its connections has reached the other end or
/// some seconds are over. To be called last in `main`: a line ends with its owner's process.
pub(crate) fn end_serial_lines() {
    let lines = std::mem::take(&mut *LINES.lock().unwrap_or_else(PoisonError::into_inner));
    for line in lines {
        line.state.lock().unwrap_or_else(PoisonError::into_inner).0 = true;
        let _ = rustix::io::write(&line.wake, &1_u64.to_ne_bytes());
        let state = line.state.lock().unwrap_or_else(PoisonError::into_inner);
        drop(line.changed.wait_timeout_while(state, END_TIMEOUT * 2, |state| !state.1));
    }
}

/// What an owner begins with.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) tty: OwnedFd,
    /// Name of the device, for people.
    pub(crate) device: String,
    pub(crate) baud: u32,
    /// Where other processes ask; listens already.
    pub(crate) listener: OwnedFd,
    pub(crate) socket_path: PathBuf,
}

/// Starts the thread. It ends when nobody uses the line any more.
pub(crate) fn start(setup: Setup) -> io::Result<()> {
    let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let handle = Arc::new(Handle { wake, state: Mutex::default(), changed: Condvar::new() });
    let mut incarnation = [0; 4];
    // Up to 256 bytes come whole (getrandom(2)).
    rustix::rand::getrandom(&mut incarnation, rustix::rand::GetRandomFlags::empty())?;
    let line = Line::new(u32::from_ne_bytes(incarnation), setup.baud, Duration::ZERO);
    let owner = Owner {
        tty: Some(setup.tty),
        listener: Some(setup.listener),
        device: setup.device,
        baud: setup.baud,
        socket_path: setup.socket_path,
        line,
        begin: Instant::now(),
        users: Vec::new(),
        links: Links::default(),
        outgoing: Vec::new(),
        handle: Arc::clone(&handle),
        ends_at: None,
    };
    // No signal is for this thread, whatever the process does with them; a new thread inherits the mask.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let started = std::thread::Builder::new().name("serial line".into()).spawn(move || owner.run());
    mask.thread_set_mask()?;
    started?;
    LINES.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
    Ok(())
}

struct Owner {
    /// `None` once it is gone.
    tty: Option<OwnedFd>,
    /// `None` once nobody may come any more.
    listener: Option<OwnedFd>,
    device: String,
    baud: u32,
    socket_path: PathBuf,
    line: Line,
    begin: Instant,
    users: Vec<User>,
    links: Links,
    /// Bytes for the device.
    outgoing: Vec<u8>,
    handle: Arc<Handle>,
    /// When the wait for what is on its way is over, once the owner ends.
    ends_at: Option<Duration>,
}

/// A process at the owner's socket.
struct User {
    socket: OwnedFd,
    pid: u32,
    role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Has not asked yet.
    New,
    Listening(u8),
    /// Waits until an earlier connection of the channel has ended at the other end, too.
    Waiting(u8, Duration),
    Connecting(u8, Duration),
}

impl Role {
    fn channel(self) -> Option<u8> {
        match self {
            Role::New => None,
            Role::Listening(channel) | Role::Waiting(channel, _) | Role::Connecting(channel, _) => Some(channel),
        }
    }

    fn deadline(self) -> Option<Duration> {
        match self {
            Role::Waiting(_, deadline) | Role::Connecting(_, deadline) => Some(deadline),
            Role::New | Role::Listening(_) => None,
        }
    }
}

impl Owner {
    fn run(mut self) {
        loop {
            self.write_device();
            while let Some(event) = self.line.event() {
                self.handle_event(event);
            }
            self.hurry_users();
            if self.is_over() {
                break;
            }
            self.wait();
        }
        self.say_farewell();
        // The device is free before anybody is told that it is.
        let handle = Arc::clone(&self.handle);
        drop(self);
        LINES.lock().unwrap_or_else(PoisonError::into_inner).retain(|line| !Arc::ptr_eq(line, &handle));
        handle.state.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        handle.changed.notify_all();
    }

    fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Waits for anything to do, and does what concerns the descriptors.
    fn wait(&mut self) {
        let now = self.now();
        let device = PollFlags::IN | if self.outgoing.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let wants = self.links.wants(&mut self.line.channels);
        let mut fds = vec![PollFd::new(&self.handle.wake, PollFlags::IN)];
        fds.extend(self.tty.iter().map(|tty| PollFd::new(tty, device)));
        let listener = self.listener.as_ref().filter(|_| self.users.len() < MAX_USERS);
        fds.extend(listener.map(|listener| PollFd::new(listener, PollFlags::IN)));
        let (has_tty, has_listener, user_count) = (self.tty.is_some(), listener.is_some(), self.users.len());
        fds.extend(self.users.iter().map(|user| PollFd::new(&user.socket, PollFlags::IN)));
        fds.extend(self.links.poll_fds(&wants));

        let line = match (&self.tty, self.outgoing.is_empty()) {
            (None, _) => None,
            (Some(_), true) => self.line.deadline(now),
            // What is due cannot be sent; that the other end is gone is noticed all the same.
            (Some(_), false) => Some(now + BLOCKED_INTERVAL),
        };
        let users = self.users.iter().filter_map(|user| user.role.deadline());
        let first = users.chain(line).chain(self.ends_at).min();
        let timeout = first.map(|deadline| {
            let left = deadline.saturating_sub(now);
            // In whole milliseconds, rounded up: the deadline has passed when the wait ends.
            let millis = left.as_nanos().div_ceil(1_000_000) as i64;
            Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 }
        });
        if poll(&mut fds, timeout.as_ref()).is_err() {
            return;
        }
        let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);

        let mut ready = ready.into_iter();
        if !ready.next().unwrap_or(PollFlags::empty()).is_empty() {
            let _ = rustix::io::read(&self.handle.wake, &mut [0; 8]);
        }
        let from_device = has_tty.then(|| ready.next()).flatten();
        let from_listener = has_listener.then(|| ready.next()).flatten();
        let from_users: Vec<PollFlags> = ready.by_ref().take(user_count).collect();
        let from_links: Vec<PollFlags> = ready.collect();
        self.links.advance(&wants, &from_links, &mut self.line.channels);
        // From the last to the first, since some go.
        for at in (0..user_count).rev().filter(|&at| !from_users[at].is_empty()) {
            self.hear_user(at);
        }
        if from_listener.is_some_and(|flags| !flags.is_empty()) {
            self.admit();
        }
        if from_device.is_some_and(|flags| flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)) {
            self.read_device();
        }
    }

    fn write_device(&mut self) {
        let now = self.now();
        self.line.tick(now);
        while let Some(tty) = &self.tty {
            if self.outgoing.is_empty() {
                match self.line.transmit(now) {
                    Some(bytes) => self.outgoing = bytes,
                    None => return,
                }
            }
            match rustix::io::write(tty, &self.outgoing) {
                Ok(count) => drop(self.outgoing.drain(..count)),
                Err(rustix::io::Errno::AGAIN) => return,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => self.lose_device(error.into()),
            }
        }
    }

    fn read_device(&mut self) {
        let now = self.now();
        let Some(tty) = &self.tty else { return };
        let mut buffer = [0; 4096];
        match rustix::io::read(tty, &mut buffer) {
            Ok(0) => self.lose_device(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.line.receive(&buffer[..count], now),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(error) => self.lose_device(error.into()),
        }
    }

    /// The device is gone: every connection ends, everybody is told.
    fn lose_device(&mut self, error: io::Error) {
        let reason = format!("the serial line {} is gone: {error}", self.device);
        self.tty = None;
        self.line.channels.reset(&reason);
        for user in std::mem::take(&mut self.users) {
            let _ = control::answer(&user.socket, &Answer::Refused(reason.clone()));
        }
        self.retire();
        self.ends_at = Some(self.now() + END_TIMEOUT);
    }

    /// Lets nobody in any more.
    fn retire(&mut self) {
        if self.listener.take().is_some() {
            // Nobody takes the name over while it answers, so the file is ours.
            let _ = std::fs::remove_file(&self.socket_path);
        }
    }

    fn is_over(&mut self) -> bool {
        let should_end = self.handle.state.lock().unwrap_or_else(PoisonError::into_inner).0;
        if should_end && self.ends_at.is_none() {
            self.retire();
            for at in (0..self.users.len()).rev() {
                self.dismiss(at, None);
            }
            self.ends_at = Some(self.now() + END_TIMEOUT);
        }
        if let Some(deadline) = self.ends_at {
            let delivered = self.tty.is_none() || self.line.is_delivered();
            return deadline <= self.now() || (delivered && self.links.is_done(std::process::id()));
        }
        if !self.users.is_empty() || !self.links.is_empty() || !self.line.is_at_rest() {
            return false;
        }
        // Whoever connects to us does so under this lock, so it is certain that nobody is on the way.
        let directory = self.socket_path.parent().map(crate::npipe::lock_directory);
        self.admit();
        let over = self.users.is_empty();
        if over {
            self.retire();
        }
        drop(directory);
        over
    }

    fn say_farewell(&mut self) {
        if let Some(tty) = &self.tty {
            self.outgoing.extend(self.line.farewell());
            // A device that takes no more gets none: the other end finds out by itself.
            let _ = rustix::io::write(tty, &self.outgoing);
        }
    }

    fn admit(&mut self) {
        let Some(listener) = &self.listener else { return };
        while self.users.len() < MAX_USERS
            && let Ok(socket) = rustix::net::accept_with(listener, SocketFlags::CLOEXEC)
        {
            let pid = sockopt::socket_peercred(&socket).map_or(0, |user| user.pid.as_raw_pid() as u32);
            self.users.push(User { socket, pid, role: Role::New });
        }
    }

    fn hear_user(&mut self, at: usize) {
        let user = &self.users[at];
        match (user.role, control::requested(&user.socket)) {
            (_, Received::Nothing) => {}
            (Role::New, Received::Message(request)) => self.begin(at, request),
            // Gone, or says what nobody asked.
            _ => self.dismiss(at, None),
        }
    }

    fn begin(&mut self, at: usize, request: Request) {
        let channel = request.channel;
        let deadline = self.now() + CONNECT_TIMEOUT + self.line.patience();
        let holder = self.users.iter().find(|user| user.role.channel() == Some(channel)).map(|user| user.pid);
        let holder = holder.or_else(|| self.links.holder(channel));
        if request.baud != self.baud {
            let own = std::process::id();
            let reason = format!("the line is open at {} baud, by process {own}: use the same rate", self.baud);
            return self.dismiss(at, Some(reason));
        }
        if let Some(pid) = holder {
            return self.dismiss(at, Some(format!("it is in use by process {pid}")));
        }
        self.users[at].role = match request.wish {
            Wish::Listen => {
                self.line.channels.listen(channel, true);
                let _ = control::answer(&self.users[at].socket, &Answer::Listening);
                Role::Listening(channel)
            }
            Wish::Connect => Role::Waiting(channel, deadline),
        };
    }

    /// Opens what became free, gives up what takes too long.
    fn hurry_users(&mut self) {
        let now = self.now();
        for at in (0..self.users.len()).rev() {
            let role = self.users[at].role;
            if let Role::Waiting(channel, deadline) = role
                && !self.line.channels.is_used(channel)
            {
                self.line.open(channel);
                self.users[at].role = Role::Connecting(channel, deadline);
            } else if role.deadline().is_some_and(|deadline| deadline <= now) {
                let reason = match (role, self.line.other_version()) {
                    (Role::Waiting(..), _) => "its former connection has not ended at the other end".to_owned(),
                    (_, Some(version)) => {
                        format!("the other end speaks version {version} of the serial protocol: use matching releases")
                    }
                    _ if self.line.is_up() => "the other end does not answer".to_owned(),
                    _ => format!(
                        "nothing answers at {} baud: is a server listening at the other end, at the same rate?",
                        self.baud
                    ),
                };
                self.dismiss(at, Some(reason));
            }
        }
    }

    /// Lets a user go, with a reason if it waits for one, and undoes what it asked for.
    fn dismiss(&mut self, at: usize, reason: Option<String>) {
        let user = self.users.remove(at);
        match user.role {
            Role::New | Role::Waiting(..) => {}
            Role::Listening(channel) => self.line.channels.listen(channel, false),
            Role::Connecting(channel, _) => self.line.cancel(channel),
        }
        if let Some(reason) = reason {
            let _ = control::answer(&user.socket, &Answer::Refused(reason));
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Incoming(channel) => {
                let user = self.users.iter().find(|user| user.role == Role::Listening(channel));
                self.links.connect(channel, user.map(|user| (&user.socket, user.pid)), &mut self.line.channels);
            }
            Event::Accepted(channel) => {
                let asked = |user: &User| matches!(user.role, Role::Connecting(asked, _) if asked == channel);
                let user = self.users.iter().position(asked).map(|at| self.users.remove(at));
                let asker = user.as_ref().map(|user| (&user.socket, user.pid));
                self.links.connect(channel, asker, &mut self.line.channels);
            }
            Event::Refused(channel, reason) => {
                let asked = |user: &User| matches!(user.role, Role::Connecting(asked, _) if asked == channel);
                if let Some(at) = self.users.iter().position(asked) {
                    let user = self.users.remove(at);
                    let _ = control::answer(&user.socket, &Answer::Refused(reason));
                }
            }
            Event::Stopped(channel) => self.links.stop_reading(channel),
            Event::Over(channel, inbox) => self.links.end(channel, inbox),
        }
    }
}
