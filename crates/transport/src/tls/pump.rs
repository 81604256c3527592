//! Moves bytes between a TLS connection and the near end of a socket pair, in a thread of its own.
//!
//! ```text
//!   network ===TLS=== pump (this process) ---socket pair--- near end (any process)
//! ```
//!
//! | what happens | what the other side sees |
//! | --- | --- |
//! | one side ends its direction | the same, behind the last byte; the other direction goes on |
//! | the near end is closed | the last bytes, then the end; the network has a moment to take them |
//! | the network ends without the peer's `close_notify` (RFC 8446, 6.1), or TLS fails | both directions end at once; in this process reads at the near end give the reason |
//! | the near end is closed within the handshake | the connection is closed |
//!
//! Nothing is read from one side while the other one does not take what was read before, so a pump holds some records at
//! most: 64 KiB while bytes flow, next to nothing before the first one comes. Certificates and keys are looked at here
//! and not in the accepting thread, which one slow client would hold up otherwise.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::pki_types::ServerName;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Connection as Tls, Error, ServerConfig, ServerConnection,
};

use super::{Thumbprint, config};
use crate::{Connection, TransportError};

/// From the connection to the end of the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the network may take for the last words of a near end that is closed, and for the peer's end behind them.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Bytes that are read at once.
const CHUNK: usize = 32 << 10;
/// Deep enough for the arithmetic of the handshake; what is not touched costs nothing.
const STACK: usize = 256 << 10;
/// RFC 9266, 2: the label of `tls-exporter`; its context is empty.
const BINDING_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// What the near end knows of its pump.
#[derive(Debug)]
pub(crate) struct Near {
    shared: Arc<Shared>,
    /// The process may end with the connection: the last words are waited for.
    waits: AtomicBool,
}

#[derive(Debug, Default)]
struct Shared {
    established: OnceLock<Established>,
    failure: OnceLock<String>,
    /// Whether the pump has come to its end.
    ended: Mutex<bool>,
    /// Notified when one of the three changes.
    changed: Condvar,
}

/// What the handshake gave.
#[derive(Debug)]
struct Established {
    binding: [u8; 32],
    /// What the other end showed.
    certificate: Option<Thumbprint>,
}

impl Near {
    /// Empty until the handshake is over.
    pub(crate) fn channel_binding(&self) -> &[u8] {
        self.shared.established.get().map_or(&[], |established| &established.binding)
    }

    pub(crate) fn peer_certificate(&self) -> Option<Thumbprint> {
        self.shared.established.get()?.certificate
    }

    pub(crate) fn set_waits(&self, waits: bool) {
        self.waits.store(waits, Ordering::Relaxed);
    }

    /// Waits for the end of the handshake.
    pub(crate) fn finish_handshake(&self) -> Result<(), TransportError> {
        self.shared.wait(HANDSHAKE_TIMEOUT * 2, |shared| shared.established.get().is_some());
        match (self.shared.established.get(), self.failure()) {
            (Some(_), _) => Ok(()),
            (None, failure) => {
                let reason = failure.unwrap_or("the handshake was not finished").to_owned();
                Err(TransportError::Tls { reason })
            }
        }
    }

    /// Why the stream has ended, unless it did in order.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.shared.failure.get().map(String::as_str)
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        if *self.waits.get_mut() {
            self.shared.wait(LAST_WORDS, |_| false);
        }
    }
}

impl Shared {
    /// Waits until the pump has ended, or for what is asked for.
    fn wait(&self, limit: Duration, is_there: impl Fn(&Shared) -> bool) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing is behind the lock but the flag.
        drop(self.changed.wait_timeout_while(ended, limit, |ended| !*ended && !is_there(self)));
    }

    fn tell(&self, ended: bool) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) |= ended;
        self.changed.notify_all();
    }
}

/// How many pumps of this process run.
static RUNNING: Mutex<usize> = Mutex::new(0);
/// Notified when one of them ends.
static ENDED: Condvar = Condvar::new();

/// One of them, for as long as it lives.
struct Running;

impl Running {
    fn begin() -> Running {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_all();
    }
}

/// Waits until everything that was written to closed connections of this process has left it, for a while.
pub(crate) fn hear_last_words() {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    drop(ENDED.wait_timeout_while(running, LAST_WORDS, |running| *running > 0));
}

/// The server's side of an accepted connection. `token` is dropped when the pump ends.
pub(super) fn serve(
    network: Connection,
    config: Arc<ServerConfig>,
    token: Arc<()>,
) -> Result<Connection, TransportError> {
    let make = move || {
        let _held = &token;
        ServerConnection::new(Arc::clone(&config)).map(Tls::Server)
    };
    start(network, make, false)
}

/// The client's side; waits for the end of the handshake.
pub(super) fn connect(network: Connection, config: Arc<ClientConfig>) -> Result<Connection, TransportError> {
    let make = move || {
        // It is neither sent nor looked at.
        let name = ServerName::IpAddress(std::net::IpAddr::from([127, 0, 0, 1]).into());
        ClientConnection::new(Arc::clone(&config), name).map(Tls::Client)
    };
    let near = start(network, make, true)?;
    near.finish_handshake()?;
    Ok(near)
}

fn start(
    network: Connection,
    make: impl Fn() -> Result<Tls, Error> + Send + 'static,
    is_client: bool,
) -> Result<Connection, TransportError> {
    let failed = |source| TransportError::Io { operation: "start an encrypted connection".into(), source };
    let (near, far) = Connection::pair().map_err(failed)?;
    for end in [&network, &far] {
        end.set_nonblocking(true).map_err(failed)?;
    }
    let shared = Arc::new(Shared::default());
    let near = near.over_tls(network.peer(), Near { shared: Arc::clone(&shared), waits: AtomicBool::new(is_client) });
    let pumping = shared;
    let running = Running::begin();
    let body = move || {
        // Signals are for the threads that wait for them.
        let _ = SigSet::all().thread_block();
        let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
        let ran = match is_client || has_first_byte(&network, &far, deadline) {
            true => make()
                .map_err(|error| describe(&error))
                .and_then(|tls| Pump::new(tls, &network, &far, &pumping, deadline).run()),
            false => Ok(()),
        };
        let has_failed = match ran {
            Ok(()) => false,
            Err(reason) => pumping.failure.set(reason).is_ok(),
        };
        // The reason is there before the end is seen.
        drop(far);
        pumping.tell(true);
        // Whoever ends the process does not wait for a stranger to hang up.
        drop(running);
        if has_failed {
            hear_out(&network);
        }
        drop((network, make));
    };
    std::thread::Builder::new().name("tls".into()).stack_size(STACK).spawn(body).map_err(failed)?;
    Ok(near)
}

/// Waits for a client to say something; nothing is spent on one that does not.
fn has_first_byte(network: &Connection, far: &Connection, deadline: Instant) -> bool {
    loop {
        let mut fds = [PollFd::new(network, PollFlags::IN), PollFd::new(far, PollFlags::empty())];
        let waited = poll(&mut fds, Some(&until(deadline)));
        let [network, far] = fds.map(|fd| fd.revents());
        if !far.is_empty() || Instant::now() >= deadline {
            return false;
        }
        if waited.is_ok() && !network.is_empty() {
            return true;
        }
    }
}

/// Ends a connection that has failed: what the peer still says is passed over, since it would not get our alert if bytes
/// were left unread (RFC 1122, 4.2.2.13).
fn hear_out(mut network: &Connection) {
    let deadline = Instant::now() + LAST_WORDS;
    network.end_writing();
    let mut buffer = [0; 4096];
    while Instant::now() < deadline {
        match network.read(&mut buffer) {
            Ok(1..) => {}
            Err(error) if is_later(&error) => {
                let _ = poll(&mut [PollFd::new(&network, PollFlags::IN)], Some(&until(deadline)));
            }
            Ok(0) | Err(_) => return,
        }
    }
}

/// A piece of memory with bytes in it that wait to be taken.
#[derive(Debug, Default)]
struct Chunk {
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Reads into the empty chunk.
    fn fill(&mut self, mut from: impl Read) -> io::Result<usize> {
        self.memory.resize(CHUNK, 0);
        self.start = 0;
        self.end = 0;
        self.end = from.read(&mut self.memory)?;
        Ok(self.end)
    }

    fn clear(&mut self) {
        self.start = self.end;
    }
}

struct Pump<'a> {
    tls: Tls,
    network: &'a Connection,
    far: &'a Connection,
    shared: &'a Shared,
    /// For the handshake; later, for the last words.
    deadline: Option<Instant>,
    /// From the network, not looked at yet.
    sealed: Chunk,
    /// For the near end.
    opened: Chunk,
    /// From the near end.
    outgoing: Chunk,
    /// The peer said that it has no more to say.
    is_peer_done: bool,
    /// The near end has no more to say.
    is_near_done: bool,
    /// The near end is closed: it takes nothing more either.
    is_near_gone: bool,
    /// The peer was told that there is no more, and the network has it.
    is_all_sent: bool,
    /// The network has ended in the peer's direction.
    is_network_over: bool,
}

impl<'a> Pump<'a> {
    fn new(tls: Tls, network: &'a Connection, far: &'a Connection, shared: &'a Shared, deadline: Instant) -> Pump<'a> {
        Pump {
            tls,
            network,
            far,
            shared,
            deadline: Some(deadline),
            sealed: Chunk::default(),
            opened: Chunk::default(),
            outgoing: Chunk::default(),
            is_peer_done: false,
            is_near_done: false,
            is_near_gone: false,
            is_all_sent: false,
            is_network_over: false,
        }
    }

    /// Runs until both directions have ended; the error is for whoever reads at the near end.
    fn run(mut self) -> Result<(), String> {
        loop {
            if let Err(reason) = self.receive().and_then(|()| self.send()) {
                // An alert may be left to be sent; a network that does not take it at once is past help.
                while self.tls.wants_write() && self.tls.write_tls(&mut self.network).is_ok() {}
                return if self.is_near_gone { Ok(()) } else { Err(reason) };
            }
            let is_answered = self.is_peer_done || (self.is_near_gone && self.is_network_over);
            if (self.is_all_sent && is_answered) || (self.is_near_gone && self.tls.is_handshaking()) {
                return Ok(());
            }
            if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                let late = format!("no end of the TLS handshake within {} seconds", HANDSHAKE_TIMEOUT.as_secs());
                return if self.is_near_gone { Ok(()) } else { Err(late) };
            }
            self.wait();
        }
    }

    /// From the network to the near end, as far as both go along.
    fn receive(&mut self) -> Result<(), String> {
        while !self.is_peer_done {
            if !self.opened.is_empty() {
                if self.deliver() {
                    continue;
                }
                return Ok(());
            }
            match self.opened.fill(self.tls.reader()) {
                Ok(0) => {
                    self.is_peer_done = true;
                    self.far.end_writing();
                    return Ok(());
                }
                Ok(_) => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) if self.is_near_gone => return Ok(()),
                Err(_) if self.tls.is_handshaking() => {
                    return Err("the other end closed the connection within the TLS handshake".into());
                }
                Err(_) => return Err("the encrypted connection was cut off, not ended by the other end".into()),
            }
            if self.sealed.is_empty() && !self.is_network_over {
                match self.sealed.fill(self.network) {
                    Ok(count) => self.is_network_over = count == 0,
                    Err(error) if is_later(&error) => return Ok(()),
                    Err(error) => return Err(error.to_string()),
                }
            }
            self.open()?;
        }
        Ok(())
    }

    /// Gives the near end what it takes; gives whether there is room again.
    fn deliver(&mut self) -> bool {
        let mut far = self.far;
        match far.write(self.opened.bytes()) {
            Ok(count) => self.opened.start += count,
            Err(error) if is_later(&error) => return false,
            // Nobody reads any more; the end of the near end is seen elsewhere.
            Err(_) => self.opened.clear(),
        }
        true
    }

    /// Opens records; at the end of the network it only tells TLS so.
    fn open(&mut self) -> Result<(), String> {
        let mut bytes = self.sealed.bytes();
        let count = self.tls.read_tls(&mut bytes).map_err(|error| error.to_string())?;
        self.sealed.start += count;
        self.tls.process_new_packets().map_err(|error| describe(&error))?;
        if !self.tls.is_handshaking() && self.shared.established.get().is_none() {
            let binding = self.tls.export_keying_material([0; 32], BINDING_LABEL, Some(&[]));
            let binding = binding.map_err(|error| describe(&error))?;
            let shown = self.tls.peer_certificates().and_then(<[_]>::first);
            let established = Established { binding, certificate: shown.map(|shown| Thumbprint::of(shown)) };
            let _ = self.shared.established.set(established);
            self.shared.tell(false);
            self.deadline = self.deadline.filter(|_| self.is_near_gone);
        }
        Ok(())
    }

    /// From the near end to the network, as far as both go along.
    fn send(&mut self) -> Result<(), String> {
        loop {
            while self.tls.wants_write() {
                match self.tls.write_tls(&mut self.network) {
                    Ok(_) => {}
                    Err(error) if is_later(&error) => return Ok(()),
                    Err(error) => return Err(error.to_string()),
                }
            }
            if self.tls.is_handshaking() || self.is_all_sent {
                return Ok(());
            }
            if self.is_near_done {
                self.is_all_sent = true;
                self.network.end_writing();
                return Ok(());
            }
            match self.outgoing.fill(self.far) {
                // What was taken before is sent, so there is room.
                Ok(1..) => self.tls.writer().write_all(self.outgoing.bytes()).map_err(|error| error.to_string())?,
                Err(error) if is_later(&error) => return Ok(()),
                // It is closed; an error tells that it had not read everything (unix(7)), which is its own business.
                Ok(0) | Err(_) => {
                    self.is_near_done = true;
                    self.tls.send_close_notify();
                }
            }
        }
    }

    /// Waits for either side.
    fn wait(&mut self) {
        let (mut network, mut far) = (PollFlags::empty(), PollFlags::empty());
        let is_writing = self.tls.wants_write();
        network.set(PollFlags::IN, self.opened.is_empty() && !self.is_peer_done && !self.is_network_over);
        network.set(PollFlags::OUT, is_writing);
        far.set(PollFlags::IN, !is_writing && !self.tls.is_handshaking() && !self.is_near_done);
        far.set(PollFlags::OUT, !self.opened.is_empty());
        // The end of a side from which nothing is wanted now would wake us again and again.
        let mut fds = Vec::with_capacity(2);
        if !self.is_near_gone {
            fds.push(PollFd::new(self.far, far));
        }
        if !network.is_empty() {
            fds.push(PollFd::new(self.network, network));
        }
        let timeout = self.deadline.map(until);
        let woken = poll(&mut fds, timeout.as_ref()).is_ok_and(|count| count > 0);
        let gone = PollFlags::HUP | PollFlags::ERR;
        if woken && !self.is_near_gone && fds[0].revents().intersects(gone) {
            self.is_near_gone = true;
            self.deadline = Some(Instant::now() + LAST_WORDS);
        }
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn until(deadline: Instant) -> Timespec {
    // Rounded up, so that a deadline has passed when the wait ends.
    let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
}

/// TLS errors in words that say what to do.
fn describe(error: &Error) -> String {
    match error {
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "the other end does not speak TLS".into()
        }
        Error::PeerIncompatible(what) => format!("the other end does not speak TLS 1.3 ({what:?})"),
        Error::NoCertificatesPresented => "the client showed no certificate: it needs clientcert=NAME".into(),
        Error::InvalidCertificate(error) => {
            format!("the certificate of the other end is not accepted: {}", config::fault(error))
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server asks for a certificate: add clientcert=NAME".into()
        }
        Error::AlertReceived(
            AlertDescription::CertificateUnknown
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired,
        ) => "the other end did not accept the certificate that was shown to it".into(),
        Error::AlertReceived(AlertDescription::ProtocolVersion) => "the other end does not speak TLS 1.3".into(),
        error => error.to_string(),
    }
}
