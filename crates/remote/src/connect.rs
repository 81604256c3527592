//! From a connection to an open session, in two round trips with the first question answered.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outpost_target::ProcessQuery;
use outpost_transport::{ClientTransport, Connection};
use outpost_wire::{
    ClientHandshake, ClientStep, FrameReader, HANDSHAKE_FRAME, Identity, Kind, MAX_FRAME, NONCE_LEN, OPEN_REQUEST,
    Request, RequestId,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::link::Link;
use crate::sender::Sender;
use crate::{RemoteError, RemoteTarget};

/// How long a server may take for each step; a wrong password is answered late on purpose.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);

/// How a session is opened.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The server's password, empty if it has none.
    pub password: String,
    /// Who asks; for the server's log, proves nothing.
    pub identity: Identity,
    /// Take over the process creation that the server holds pending (`-cimp`).
    pub take_command_line: bool,
    /// Asked for together with the session (with attachability), so that the first
    /// [`list_processes`](outpost_target::Os::list_processes) of it costs no round trip.
    pub first_query: Option<ProcessQuery>,
}

/// What an opened session says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its number on the server.
    pub number: u64,
    /// The command line that the server held pending, its program first; empty if there was none or it was not asked
    /// for.
    pub command_line: Vec<String>,
}

impl RemoteTarget {
    /// Connects and opens a session: two round trips beyond those of the transport.
    ///
    /// # Errors
    /// No connection; wrong password; another version of the protocol; a server that says no, nothing, or nonsense.
    pub fn connect(transport: &ClientTransport, options: Options) -> Result<(RemoteTarget, Session), RemoteError> {
        RemoteTarget::connect_over(transport.connect()?, transport, options)
    }

    /// The same over a connection that the transport has given.
    ///
    /// # Errors
    /// As [`RemoteTarget::connect`].
    pub fn connect_over(
        connection: Connection,
        transport: &ClientTransport,
        mut options: Options,
    ) -> Result<(RemoteTarget, Session), RemoteError> {
        if let Some(password) = transport.password() {
            password.reveal().clone_into(&mut options.password);
        }
        let (mut target, session) = RemoteTarget::open(connection, options)?;
        target.rename(transport.to_string());
        Ok((target, session))
    }

    /// Opens a session over a connection that exists.
    ///
    /// # Errors
    /// As [`RemoteTarget::connect`].
    pub fn open(connection: Connection, options: Options) -> Result<(RemoteTarget, Session), RemoteError> {
        let program = connection.program();
        RemoteTarget::shake_hands(connection, options).map_err(|error| error.explained_by(program))
    }

    fn shake_hands(connection: Connection, options: Options) -> Result<(RemoteTarget, Session), RemoteError> {
        connection.set_nonblocking(true)?;
        let sender = Arc::new(Sender::new(connection.try_clone()?)?);
        let mut reader = FrameReader::new(HANDSHAKE_FRAME);
        let mut nonce = [0; NONCE_LEN];
        // Up to 256 bytes come whole (getrandom(2)).
        getrandom(&mut nonce, GetRandomFlags::empty()).map_err(std::io::Error::from)?;
        let Options { password, identity, take_command_line, first_query } = options;
        let (mut handshake, hello) = ClientHandshake::start(&password, nonce, identity, take_command_line);
        handshake.bind_channel(connection.channel_binding());
        sender.send_as(RequestId::default(), hello);
        let (mut messages, mut bytes, mut first) = (0, 0, None);
        let (opened, agreed) = 'open: loop {
            bytes += fill(&mut reader, &connection, &sender)?;
            while let Some(frame) = reader.next_frame()? {
                messages += 1;
                match handshake.handle(&frame)? {
                    ClientStep::Wait => {}
                    ClientStep::Opened { opened, agreed } => break 'open (opened, agreed),
                    ClientStep::Send { authenticate, open, .. } => {
                        sender.send_as(RequestId::default(), authenticate);
                        sender.send_as(OPEN_REQUEST, open);
                        if let Some(query) = first_query.clone() {
                            let request = Request::ListProcesses { query, with_attachability: true };
                            first = Some(sender.send(request));
                        }
                        // What follows comes from a session.
                        reader.set_limit(MAX_FRAME);
                    }
                }
            }
        };
        let mut link = Link::new(connection, sender, reader)?;
        link.count_handshake(messages, bytes);
        let first = first_query.zip(first.map(|request| link.expect(request, Kind::ListProcesses)));
        let session = Session { number: opened.session, command_line: opened.command_line };
        let target = RemoteTarget::new(link, opened.info, opened.capabilities, agreed, opened.stop, first);
        Ok((target, session))
    }
}

/// Reads something, in time.
pub(crate) fn fill(reader: &mut FrameReader, connection: &Connection, sender: &Sender) -> Result<u64, RemoteError> {
    let deadline = Instant::now() + STEP_TIMEOUT;
    loop {
        match reader.fill_from(&mut &*connection) {
            Ok(0) => return Err(RemoteError::Closed),
            Ok(count) => return Ok(count as u64),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        }
        let mut interest = PollFlags::IN;
        interest.set(PollFlags::OUT, sender.flush().unwrap_or(false));
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(RemoteError::TimedOut(STEP_TIMEOUT));
        }
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let _ = poll(&mut [PollFd::new(connection, interest)], Some(&timeout));
    }
}
