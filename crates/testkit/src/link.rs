//! A TCP link with delay, and one that can be cut: what a network does, on one machine and without a kernel module.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Forwards connections to a port of this machine, each byte half a round trip late in each direction.
///
/// Bandwidth is not limited: bytes wait, they do not queue behind each other. Ends with the value.
#[derive(Debug)]
pub struct DelayLink {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
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
                for (from, to, is_server) in [(&near, &far, false), (&far, &near, true)] {
                    let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
                    drop(to.set_nodelay(true));
                    let shared = Arc::clone(&accepting);
                    forward(from, to, round_trip / 2, move || shared.note(is_server));
                }
                let mut connections = accepting.connections.lock().unwrap_or_else(|broken| broken.into_inner());
                connections.extend([near, far]);
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
        let mut connections = self.shared.connections.lock().unwrap_or_else(|broken| broken.into_inner());
        connections.drain(..).for_each(|connection| drop(connection.shutdown(Shutdown::Both)));
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

/// `note` is called for each piece.
fn forward(mut from: TcpStream, mut to: TcpStream, delay: Duration, note: impl Fn() + Send + 'static) {
    let queue: Arc<InFlight> = Arc::default();
    let filling = Arc::clone(&queue);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 256 << 10];
        loop {
            let bytes = from.read(&mut buffer).ok().filter(|&count| count > 0).map(|count| buffer[..count].to_vec());
            let ended = bytes.is_none();
            if !ended {
                note();
            }
            let mut waiting = filling.0.lock().unwrap_or_else(|broken| broken.into_inner());
            waiting.push_back((Instant::now() + delay, bytes));
            filling.1.notify_one();
            if ended {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        loop {
            let waiting = queue.0.lock().unwrap_or_else(|broken| broken.into_inner());
            let waiting = queue.1.wait_while(waiting, |waiting| waiting.is_empty());
            let next = waiting.unwrap_or_else(|broken| broken.into_inner()).pop_front();
            let Some((arrival, Some(bytes))) = next else {
                drop(to.shutdown(Shutdown::Both));
                return;
            };
            std::thread::sleep(arrival.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                return;
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
}
