//! A TCP link with delay, and one that can be cut: what a network does, on one machine and without a kernel module.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Forwards connections to a port of this machine, each byte half a round trip late in each direction, until it is cut:
/// at once, or when so much has passed.
///
/// Bandwidth is not limited: bytes wait, they do not queue behind each other. Ends with the value.
#[derive(Debug)]
pub struct DelayLink {
    port: u16,
    shared: Arc<Shared>,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Towards {
    /// From who connected to who listens.
    Server,
    /// Back.
    Client,
}

/// When a planned cut comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// When so many more bytes have passed.
    Bytes(u64),
    /// When so many more messages have ended that begin with their length, as four bytes, little-endian.
    Messages(u64),
}

#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    plan: Mutex<Option<(Towards, After)>>,
    /// Cuts so far that broke something.
    cuts: AtomicUsize,
    connections: Mutex<Vec<TcpStream>>,
    turns: AtomicU64,
    /// Who sent last: whether it was the server.
    server_spoke: AtomicBool,
}

impl DelayLink {
    /// Starts a link to `to` on loopback.
    pub fn start(to: u16, round_trip: Duration) -> std::io::Result<DelayLink> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if accepting.ended.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                // Known before anything passes, so that a cut that comes with the first byte finds them.
                let handles = [near.try_clone(), far.try_clone()].into_iter().flatten();
                accepting.connections.lock().unwrap_or_else(|broken| broken.into_inner()).extend(handles);
                for (from, to, towards) in [(&near, &far, Towards::Server), (&far, &near, Towards::Client)] {
                    let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
                    drop(to.set_nodelay(true));
                    forward(from, to, round_trip / 2, towards, &accepting);
                }
            }
        });
        Ok(DelayLink { port, shared })
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Times that the client spoke first or after the server had: round trips, of those who wait for each answer.
    pub fn turns(&self) -> u64 {
        self.shared.turns.load(Ordering::Relaxed)
    }

    /// Cuts every connection that exists; new ones are still accepted.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Cuts every connection once this has passed in a direction, over whichever of them; `None`: forgets such a plan.
    pub fn cut_later(&self, plan: Option<(Towards, After)>) {
        *self.shared.plan.lock().unwrap_or_else(|broken| broken.into_inner()) = plan;
    }

    /// Whether a planned cut is still to come.
    pub fn is_cut_to_come(&self) -> bool {
        self.shared.plan.lock().unwrap_or_else(|broken| broken.into_inner()).is_some()
    }

    /// How often it was cut.
    pub fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn cut(&self) {
        let mut connections = self.connections.lock().unwrap_or_else(|broken| broken.into_inner());
        self.cuts.fetch_add(usize::from(!connections.is_empty()), Ordering::SeqCst);
        connections.drain(..).for_each(|connection| drop(connection.shutdown(Shutdown::Both)));
    }

    /// How many of `bytes` may pass; `None`: all, and nothing is cut.
    fn passes(&self, towards: Towards, bytes: &[u8], messages: &mut Messages) -> Option<usize> {
        let mut plan = self.plan.lock().unwrap_or_else(|broken| broken.into_inner());
        let planned = plan.as_mut().filter(|(way, _)| *way == towards).map(|(_, after)| after);
        let room = match planned {
            None => {
                messages.count(bytes, u64::MAX);
                return None;
            }
            Some(After::Bytes(left)) if *left > bytes.len() as u64 => {
                *left -= bytes.len() as u64;
                messages.count(bytes, u64::MAX);
                return None;
            }
            Some(After::Bytes(left)) => *left as usize,
            Some(After::Messages(left)) => {
                let (ended, at) = messages.count(bytes, *left);
                if ended < *left {
                    *left -= ended;
                    return None;
                }
                at
            }
        };
        *plan = None;
        Some(room)
    }
}

/// Where messages end in a stream.
#[derive(Debug, Default)]
struct Messages {
    length: Vec<u8>,
    left: u64,
}

impl Messages {
    /// Counts messages that end in `bytes`, up to `most`; gives their number and where the last of them ended.
    fn count(&mut self, bytes: &[u8], most: u64) -> (u64, usize) {
        let (mut ended, mut at) = (0, 0);
        while at < bytes.len() && ended < most {
            if self.left == 0 {
                self.length.push(bytes[at]);
                at += 1;
                if let Ok(length) = <[u8; 4]>::try_from(self.length.as_slice()) {
                    self.left = u32::from_le_bytes(length).into();
                    self.length.clear();
                }
            } else {
                let taken = self.left.min((bytes.len() - at) as u64);
                self.left -= taken;
                at += taken as usize;
                ended += u64::from(self.left == 0);
            }
        }
        (ended, at)
    }
}

impl Shared {
    fn note(&self, is_server: bool) {
        let server_spoke = self.server_spoke.swap(is_server, Ordering::Relaxed);
        if !is_server && (server_spoke || self.turns.load(Ordering::Relaxed) == 0) {
            self.turns.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for DelayLink {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.cut();
        // Wakes the accepting thread so that it sees the end.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

/// Bytes on their way, each with the time it arrives; `None` is the end of the stream.
type InFlight = (Mutex<VecDeque<(Instant, Option<Vec<u8>>)>>, Condvar);

fn forward(mut from: TcpStream, mut to: TcpStream, delay: Duration, towards: Towards, shared: &Arc<Shared>) {
    let queue: Arc<InFlight> = Arc::default();
    let filling = Arc::clone(&queue);
    let noting = Arc::clone(shared);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 256 << 10];
        loop {
            let bytes = from.read(&mut buffer).ok().filter(|&count| count > 0).map(|count| buffer[..count].to_vec());
            let ended = bytes.is_none();
            if !ended {
                noting.note(towards == Towards::Client);
            }
            let mut waiting = filling.0.lock().unwrap_or_else(|broken| broken.into_inner());
            waiting.push_back((Instant::now() + delay, bytes));
            filling.1.notify_one();
            if ended {
                return;
            }
        }
    });
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        let mut messages = Messages::default();
        loop {
            let waiting = queue.0.lock().unwrap_or_else(|broken| broken.into_inner());
            let waiting = queue.1.wait_while(waiting, |waiting| waiting.is_empty());
            let next = waiting.unwrap_or_else(|broken| broken.into_inner()).pop_front();
            let Some((arrival, Some(bytes))) = next else {
                drop(to.shutdown(Shutdown::Both));
                return;
            };
            std::thread::sleep(arrival.saturating_duration_since(Instant::now()));
            let passes = shared.passes(towards, &bytes, &mut messages);
            if to.write_all(&bytes[..passes.unwrap_or(bytes.len())]).is_err() {
                return;
            }
            if passes.is_some() {
                return shared.cut();
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_late_and_whole_and_a_cut_ends_them() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = DelayLink::start(server.local_addr().unwrap().port(), Duration::from_millis(60)).unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", link.port())).unwrap();
        let (mut accepted, _) = server.accept().unwrap();
        let begin = Instant::now();
        client.write_all(b"ping").unwrap();
        let mut buffer = [0; 4];
        accepted.read_exact(&mut buffer).unwrap();
        accepted.write_all(&buffer).unwrap();
        client.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"ping");
        assert!(begin.elapsed() >= Duration::from_millis(60), "never early");
        assert_eq!(link.turns(), 1);
        link.cut();
        assert_eq!(client.read(&mut buffer).unwrap_or(0), 0);
    }

    /// What arrives at the server of two messages, cut by this plan.
    fn arrives(plan: After) -> Vec<u8> {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = DelayLink::start(server.local_addr().unwrap().port(), Duration::ZERO).unwrap();
        link.cut_later(Some((Towards::Server, plan)));
        let mut client = TcpStream::connect(("127.0.0.1", link.port())).unwrap();
        let (mut accepted, _) = server.accept().unwrap();
        client.write_all(&[2, 0, 0, 0, 7, 7, 1, 0, 0, 0, 8]).unwrap();
        let mut arrived = Vec::new();
        accepted.read_to_end(&mut arrived).unwrap();
        assert!(!link.is_cut_to_come() && link.cuts() == 1);
        arrived
    }

    #[test]
    fn a_planned_cut_comes_at_its_byte_and_behind_its_message() {
        assert_eq!(arrives(After::Bytes(3)), [2, 0, 0]);
        assert_eq!(arrives(After::Bytes(0)), []);
        assert_eq!(arrives(After::Messages(1)), [2, 0, 0, 0, 7, 7]);
        assert_eq!(arrives(After::Messages(2)).len(), 11);
    }
}
