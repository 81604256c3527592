//! From a connection to an open session, in two round trips with the first question answered.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outpost_target::ProcessQuery;
use outpost_transport::{ClientTransport, Connection, TransportError};
use outpost_wire::{
    Agreed, ClientHandshake, ClientStep, FrameReader, HANDSHAKE_FRAME, Identity, Kind, MAX_FRAME, OPEN_REQUEST, OnLost,
    Opening, RefusalCode, Request, RequestId, ResumeKey, TOKEN_LEN, WireError, Wish,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::keeper::{Keeper, Resumed, Way};
use crate::link::Link;
use crate::sender::Sender;
use crate::{RemoteError, RemoteTarget};

/// How long a server may take for each step; a wrong password is answered late on purpose.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);

/// Before each further attempt to open a session whose link was lost meanwhile.
const PAUSES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3)];

/// Makes connections to the server, for a session that has lost its own. May block; called in a thread of its own.
#[derive(Clone)]
pub struct Connector(Arc<dyn Fn() -> Result<Connection, TransportError> + Send + Sync>);

impl Connector {
    /// By this function.
    pub fn new(connect: impl Fn() -> Result<Connection, TransportError> + Send + Sync + 'static) -> Connector {
        Connector(Arc::new(connect))
    }

    fn connect(&self) -> Result<Connection, TransportError> {
        (self.0)()
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

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
    /// What becomes of the session if its link is lost; `None`: the server's default. Of no effect on a server that knows
    /// no such thing: [`Session::resume`] says.
    pub on_lost: Option<OnLost>,
    /// Take over a session whose client is gone, by its number; 0: the only one that is held.
    pub take_over: Option<u64>,
    /// How a lost link is made anew; `None`: not at all. [`RemoteTarget::connect`] brings its own.
    pub connector: Option<Connector>,
}

/// What an opened session says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its number on the server.
    pub number: u64,
    /// The command line that the server held pending, its program first; empty if there was none or it was not asked
    /// for.
    pub command_line: Vec<String>,
    /// How long the server holds it if its link is lost.
    pub grace: Duration,
    /// Whether the server knows sessions that outlive their link at all.
    pub resume: bool,
}

impl RemoteTarget {
    /// Connects and opens a session: two round trips beyond those of the transport.
    ///
    /// # Errors
    /// No connection; wrong password, or one whose file cannot be read; another version of the protocol; a server that says no, nothing, or nonsense.
    pub fn connect(transport: &ClientTransport, options: Options) -> Result<(RemoteTarget, Session), RemoteError> {
        transport.password().map(|password| password.reveal()).transpose()?;
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
            options.password = password.reveal()?.into_owned();
        }
        let again = transport.clone();
        options.connector.get_or_insert_with(|| Connector::new(move || again.connect()));
        let (mut target, session) = RemoteTarget::open(connection, options)?;
        target.rename(transport.to_string());
        Ok((target, session))
    }

    /// Opens a session over a connection that exists.
    ///
    /// If that is lost after the session was asked for, it is not known whether there is one; then it is asked for again,
    /// over a connection that [`Options::connector`] makes, and it is opened once. One that is taken over is taken over again.
    ///
    /// # Errors
    /// As [`RemoteTarget::connect`].
    pub fn open(mut connection: Connection, options: Options) -> Result<(RemoteTarget, Session), RemoteError> {
        let opening = Opening { token: random::<TOKEN_LEN>()?.to_vec(), again: false };
        let mut attempt = Attempt { opening, takes_over: options.take_over.is_some(), is_asked: false };
        let mut pauses = PAUSES.iter();
        loop {
            let program = connection.program();
            let lost = match RemoteTarget::shake_hands(connection, options.clone(), &mut attempt) {
                Err(error) if attempt.may_succeed_later(&error) => error.explained_by(program),
                result => return result.map_err(|error| error.explained_by(program)),
            };
            attempt.opening.again = true;
            connection = loop {
                let (Some(connector), Some(pause)) = (&options.connector, pauses.next()) else { return Err(lost) };
                std::thread::sleep(*pause);
                if let Ok(connection) = connector.connect() {
                    break connection;
                }
            };
        }
    }

    fn shake_hands(
        connection: Connection,
        options: Options,
        attempt: &mut Attempt,
    ) -> Result<(RemoteTarget, Session), RemoteError> {
        connection.set_nonblocking(true)?;
        let sender = Arc::new(Sender::new(connection.try_clone()?)?);
        let Options { password, identity, take_command_line, first_query, on_lost, take_over, connector } = options;
        let wish = match take_over {
            Some(session) => Wish::Resume(ResumeKey { session, token: Vec::new() }),
            None => Wish::Open { take_command_line, on_lost, opening: attempt.opening.clone() },
        };
        let mut first = None;
        let shaken = shake_hands(&connection, &sender, &password, &identity, wish, |agreed| {
            // A server that knows nothing of that has ended what it may have opened.
            attempt.is_asked = agreed.resume;
            if agreed.resume && connector.is_some() {
                sender.keep_unanswered();
            }
            first = first_query
                .clone()
                .map(|query| sender.send(Request::ListProcesses { query, with_attachability: true }));
        })?;
        let ClientStep::Opened { opened, agreed } = shaken.end else {
            return Err(WireError::UnexpectedKind { kind: Kind::SessionResumed.number() }.into());
        };
        let key = ResumeKey { session: opened.session, token: opened.token };
        let grace = opened.grace;
        let way = connector.filter(|_| agreed.resume && !grace.is_zero());
        let way = way.map(|connector| Way { connector, password, identity, key, grace });
        let watched = connection.try_clone()?;
        let mut link = Link::new(connection, Arc::clone(&sender), shaken.reader, agreed.resume)?;
        if let Some(way) = way {
            link.keep(Keeper::start(watched, way, sender)?)?;
        }
        link.count_handshake(shaken.messages, shaken.bytes);
        let first = first_query.zip(first.map(|request| link.expect(request, Kind::ListProcesses)));
        let session =
            Session { number: opened.session, command_line: opened.command_line, grace, resume: agreed.resume };
        let target = RemoteTarget::new(link, opened.info, opened.capabilities, agreed, opened.stop, first);
        Ok((target, session))
    }
}

/// One session that is asked for, perhaps more than once.
struct Attempt {
    opening: Opening,
    takes_over: bool,
    /// It was, and the server may have given it.
    is_asked: bool,
}

impl Attempt {
    /// Whether the same question may be answered over another link.
    fn may_succeed_later(&self, error: &RemoteError) -> bool {
        match error {
            RemoteError::Closed | RemoteError::Lost(_) => self.is_asked,
            // The server takes it for served until it has noticed that the last link is lost.
            RemoteError::Wire(WireError::Refused { code: RefusalCode::Gone, .. }) => {
                self.takes_over && self.opening.again
            }
            _ => false,
        }
    }
}

/// What came of a handshake.
struct Shaken {
    reader: FrameReader,
    /// Its last step.
    end: ClientStep,
    messages: u64,
    bytes: u64,
}

/// From the first byte to a session; `follow` may send requests behind the one for it.
fn shake_hands(
    connection: &Connection,
    sender: &Sender,
    password: &str,
    identity: &Identity,
    wish: Wish,
    mut follow: impl FnMut(Agreed),
) -> Result<Shaken, RemoteError> {
    let mut reader = FrameReader::new(HANDSHAKE_FRAME);
    let (mut handshake, hello) = ClientHandshake::start(password, random()?, identity.clone(), wish);
    handshake.bind_channel(connection.channel_binding());
    sender.send_as(RequestId::default(), hello);
    let (mut messages, mut bytes) = (0, 0);
    loop {
        bytes += fill(&mut reader, connection, sender)?;
        while let Some(frame) = reader.next_frame()? {
            messages += 1;
            match handshake.handle(&frame)? {
                ClientStep::Wait => {}
                end @ (ClientStep::Opened { .. } | ClientStep::Resumed { .. }) => {
                    return Ok(Shaken { reader, end, messages, bytes });
                }
                ClientStep::Send { authenticate, open, agreed } => {
                    sender.send_as(RequestId::default(), authenticate);
                    sender.send_as(OPEN_REQUEST, open);
                    follow(agreed);
                    // What follows comes from a session.
                    reader.set_limit(MAX_FRAME);
                }
            }
        }
    }
}

/// One attempt to come back to a session, having seen everything up to an event.
pub(crate) fn resume(way: &Way, seen: u64) -> Result<Resumed, RemoteError> {
    let connection = way.connector.connect()?;
    connection.set_nonblocking(true)?;
    let sender = Sender::having_seen(connection.try_clone()?, seen)?;
    let wish = Wish::Resume(way.key.clone());
    let shaken = shake_hands(&connection, &sender, &way.password, &way.identity, wish, |_| {})?;
    let ClientStep::Resumed { carried_out, .. } = shaken.end else {
        return Err(WireError::UnexpectedKind { kind: Kind::SessionOpened.number() }.into());
    };
    Ok(Resumed { connection, reader: shaken.reader, carried_out, received: (shaken.messages, shaken.bytes) })
}

fn random<const LEN: usize>() -> Result<[u8; LEN], std::io::Error> {
    let mut bytes = [0; LEN];
    // Up to 256 bytes come whole (getrandom(2)).
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(bytes)
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
