//! Connections in pairs: bytes of one go to the other, each direction in a thread of its own.
//!
//! A direction holds one buffer and reads no further before it is written, so memory is bounded and a side that does not
//! read is felt at the other. The end of one direction is passed on as such; the other goes on until it ends, too.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, ensure};
use outpost_transport::{ClientTransport, Connection, ReverseListener};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::log;

/// Bytes of one direction that are in the repeater's hands at once.
const BUFFER: usize = 16 << 10;
/// A thread resolves a host name at most.
const STACK: usize = 256 << 10;

/// All pairs; readable when something ended.
#[derive(Debug)]
pub(crate) struct Relays {
    server: ClientTransport,
    state: Mutex<State>,
    wake: OwnedFd,
}

#[derive(Debug, Default)]
struct State {
    /// Clients whose server has not answered yet.
    connecting: usize,
    pairs: Vec<Arc<Pair>>,
    /// Pairs whose server may still say something.
    open_servers: usize,
    /// Whether a server that had said something has closed.
    server_closed: bool,
    is_dialling_over: bool,
}

#[derive(Debug)]
struct Pair {
    client: Connection,
    server: Connection,
}

impl Relays {
    /// None yet; `server` is where each client's bytes go.
    pub(crate) fn new(server: ClientTransport) -> anyhow::Result<Arc<Relays>> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).context("cannot make an event")?;
        Ok(Arc::new(Relays { server, state: Mutex::default(), wake }))
    }

    /// Carries one client that was dialled, to its end; gives whether it was one that said something.
    pub(crate) fn carry_dialled(self: &Arc<Self>, client: Connection) -> bool {
        self.state().connecting += 1;
        Arc::clone(self).relay(client) > 0
    }

    /// Nobody else is dialled.
    pub(crate) fn end_dialling(&self) {
        self.state().is_dialling_over = true;
        self.ring();
    }

    /// Whether the only client there was to be is gone.
    pub(crate) fn is_dialling_over(&self) -> bool {
        self.state().is_dialling_over
    }

    /// Connects a client to the server, in a thread of its own.
    pub(crate) fn admit(self: &Arc<Self>, client: Connection) {
        self.state().connecting += 1;
        let relays = Arc::clone(self);
        let started = std::thread::Builder::new().stack_size(STACK).spawn(move || {
            relays.relay(client);
        });
        if let Err(error) = started {
            self.state().connecting -= 1;
            log(format_args!("no thread for a client: {error}"));
        }
    }

    /// Connections that are carried or made.
    pub(crate) fn count(&self) -> usize {
        let state = self.state();
        state.connecting + state.pairs.len()
    }

    /// Whether a server that had said something has closed, and none is left.
    pub(crate) fn has_lost_its_server(&self) -> bool {
        let state = self.state();
        state.server_closed && state.open_servers == 0 && state.connecting == 0
    }

    /// Ends every connection.
    pub(crate) fn shut_down(&self) {
        for pair in &self.state().pairs {
            pair.client.shutdown();
            pair.server.shutdown();
        }
    }

    /// Forgets what woke the waiting thread.
    pub(crate) fn clear(&self) {
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries one client to its end; gives how many bytes it said.
    fn relay(self: Arc<Self>, client: Connection) -> u64 {
        let peer = client.peer();
        let connected = self.connect(&client);
        let mut said = 0;
        let pair = {
            let mut state = self.state();
            state.connecting -= 1;
            connected.map(|server| {
                let pair = Arc::new(Pair { client, server });
                state.pairs.push(Arc::clone(&pair));
                state.open_servers += 1;
                pair
            })
        };
        match pair {
            Ok(pair) => {
                log(format_args!("{peer}: connected to the server"));
                let (relays, other) = (Arc::clone(&self), Arc::clone(&pair));
                let back = std::thread::Builder::new().stack_size(STACK).spawn(move || {
                    let said = carry(&other.server, &other.client);
                    let mut state = relays.state();
                    state.open_servers -= 1;
                    state.server_closed |= said > 0;
                    drop(state);
                    relays.ring();
                });
                match back {
                    Ok(back) => {
                        said = carry(&pair.client, &pair.server);
                        // A thread that panicked has nothing more to carry either.
                        let _ = back.join();
                    }
                    Err(error) => {
                        self.state().open_servers -= 1;
                        log(format_args!("{peer}: no thread: {error}"));
                    }
                }
                self.state().pairs.retain(|other| !Arc::ptr_eq(other, &pair));
                log(format_args!("{peer}: ended"));
            }
            // The client sees its connection close.
            Err(error) => log(format_args!("{peer}: {error:#}")),
        }
        self.ring();
        said
    }

    /// Connects to the server for a client; or waits for it to dial, for as long as the client is there: a server that
    /// comes before its client would wait in vain, and end.
    fn connect(&self, client: &Connection) -> anyhow::Result<Connection> {
        let ClientTransport::Reverse(listen) = &self.server else { return Ok(self.server.connect()?) };
        let listener = ReverseListener::bind(listen)?;
        log(format_args!("waiting on {} for the server of {}", listener.place(), listen.host));
        loop {
            let refused = &mut |other, why: String| log(format_args!("sent away: {other}: {why}"));
            if let Some(server) = listener.accept_next(refused)? {
                return Ok(server);
            }
            let mut fds = [PollFd::new(&listener, PollFlags::IN), PollFd::new(client, PollFlags::RDHUP)];
            let _ = poll(&mut fds, None);
            ensure!(fds[1].revents().is_empty(), "gone before the server came");
        }
    }

    fn ring(&self) {
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

impl AsFd for Relays {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// Carries bytes until there are no more or nobody takes them; gives how many were read.
fn carry(from: &Connection, to: &Connection) -> u64 {
    let (mut from_stream, mut to_stream) = (from, to);
    let mut buffer = vec![0; BUFFER];
    let mut carried = 0;
    loop {
        match from_stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                carried += count as u64;
                if to_stream.write_all(&buffer[..count]).is_err() {
                    // Whoever goes on sending is told, as far as its transport can.
                    from.stop_reading();
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    to.end_writing();
    carried
}
