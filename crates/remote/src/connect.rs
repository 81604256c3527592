//! From a connection to an open session.

use std::io::Write;

use outpost_target::ProcessQuery;
use outpost_transport::{ClientTransport, Connection};
use outpost_wire::{
    Agreed, ClientHandshake, ClientStep, FrameQueue, FrameReader, HANDSHAKE_FRAME, Header, Identity, Kind, MAX_FRAME,
    NONCE_LEN, OPEN_REQUEST, Opened, Payload, Request, RequestId, encode_request,
};

use crate::link::Link;
use crate::{RemoteError, RemoteTarget};

/// How a session is opened.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The server's password, empty if it has none.
    pub password: String,
    /// Who asks; for the server's log.
    pub identity: Identity,
    /// Take over the process creation that the server holds pending (`-cimp`).
    pub take_command_line: bool,
    /// Asked for together with the session, so that the first [`Os::list_processes`] of it costs no round trip.
    ///
    /// [`Os::list_processes`]: outpost_target::Os::list_processes
    pub first_query: Option<ProcessQuery>,
}

/// What an opened session says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its number on the server.
    pub number: u64,
    /// The command line that the server held pending, if it was asked for.
    pub command_line: Vec<String>,
}

impl RemoteTarget {
    /// Connects and opens a session: two round trips beyond those of the transport.
    ///
    /// # Errors
    /// No connection, or the server refused.
    pub fn connect(transport: &ClientTransport, mut options: Options) -> Result<(RemoteTarget, Session), RemoteError> {
        if let Some(password) = transport.password() {
            password.reveal().clone_into(&mut options.password);
        }
        let (mut target, session) = RemoteTarget::open(transport.connect()?, options)?;
        target.rename(transport.to_string());
        Ok((target, session))
    }

    /// Opens a session over a connection that exists.
    ///
    /// # Errors
    /// The server refused or the connection broke.
    pub fn open(connection: Connection, options: Options) -> Result<(RemoteTarget, Session), RemoteError> {
        let mut nonce = [0; NONCE_LEN];
        rustix::rand::getrandom(&mut nonce, rustix::rand::GetRandomFlags::empty()).map_err(std::io::Error::from)?;
        let Options { password, identity, take_command_line, first_query } = options;
        let (mut handshake, hello) = ClientHandshake::start(&password, nonce, identity, take_command_line);
        let mut reader = FrameReader::new(HANDSHAKE_FRAME);
        let mut next = OPEN_REQUEST;
        send(&connection, [(RequestId(0), hello)])?;
        let mut first = None;
        let (opened, agreed) = loop {
            while !reader.has_frame()? {
                if reader.fill_from(&mut &connection)? == 0 {
                    return Err(RemoteError::Broken { reason: "the server closed it".into() });
                }
            }
            let Some(frame) = reader.next_frame()? else { continue };
            match handshake.handle(&frame)? {
                ClientStep::Wait => {}
                ClientStep::Opened { opened, agreed } => break (opened, agreed),
                ClientStep::Send { authenticate, open, .. } => {
                    let mut frames = vec![(RequestId(0), authenticate), (next, open)];
                    if let Some(query) = first_query.clone() {
                        next = RequestId(next.0 + 1);
                        first = Some((next, query.clone()));
                        frames.push((next, encode_request(Request::ListProcesses { query, with_attachability: true })));
                    }
                    send(&connection, frames)?;
                    // What follows comes from a session.
                    reader.set_limit(MAX_FRAME);
                }
            }
        };
        let Opened { session, info, capabilities, stop, command_line, .. } = opened;
        let Agreed { requests, .. } = agreed;
        let mut link = Link::new(connection, reader, next, requests)?;
        link.put_stop(stop);
        let first = first.map(|(id, query)| {
            link.expect_first(id, Kind::ListProcesses);
            query
        });
        let target = RemoteTarget::new(link, info, capabilities, first);
        Ok((target, Session { number: session, command_line }))
    }
}

fn send(connection: &Connection, frames: impl IntoIterator<Item = (RequestId, Payload)>) -> Result<(), RemoteError> {
    let mut queue = FrameQueue::new();
    for (request, payload) in frames {
        queue.push(Header { request, ..Header::default() }, payload)?;
    }
    let mut bytes = Vec::new();
    while !queue.is_empty() {
        queue.write_to(&mut bytes)?;
    }
    (&*connection).write_all(&bytes)?;
    Ok(())
}
