//! One connection served in the caller's thread, from its first byte to its end.

use outpost_target::Target;
use outpost_transport::Connection;
use outpost_wire::{
    FrameQueue, FrameReader, HANDSHAKE_FRAME, Header, Key, NONCE_LEN, OPEN_REQUEST, OnLost, OpenRequest,
    ServerHandshake, ServerStep, WireError, encode_servers,
};

use super::{SessionEnd, SessionSetup, Superior, serve_session};
use crate::guardian::random;

/// Authenticates the client (empty password: none) and serves `target` to it, without a process of its own and without
/// a time limit.
pub fn serve_connection(
    connection: Connection,
    password: &str,
    target: &mut dyn Target,
    superior: &mut dyn Superior,
) -> SessionEnd {
    match shake_hands(&connection, password) {
        Ok(open) => {
            let setup = SessionSetup {
                session: 1,
                token: Vec::new(),
                request: open.request,
                agreed: open.agreed,
                command_line: Vec::new(),
                on_lost: open.on_lost.unwrap_or(OnLost::Hold(None)),
            };
            serve_session(connection, target, setup, superior)
        }
        Err(end) => end,
    }
}

fn shake_hands(connection: &Connection, password: &str) -> Result<OpenRequest, SessionEnd> {
    let lost = |error: std::io::Error| SessionEnd::LinkLost(error.to_string());
    let no_random = |error: crate::ServerError| SessionEnd::LinkLost(error.to_string());
    let salt: [u8; 16] = random().map_err(no_random)?;
    let nonce: [u8; NONCE_LEN] = random().map_err(no_random)?;
    let key = Key::derive(password, &salt, Key::ITERATIONS);
    let mut handshake = ServerHandshake::new(key, &salt, nonce);
    let mut reader = FrameReader::new(HANDSHAKE_FRAME);
    loop {
        while !reader.has_frame().map_err(SessionEnd::Protocol)? {
            if reader.fill_exactly_from(&mut &*connection).map_err(lost)? == 0 {
                return Err(SessionEnd::Closed);
            }
        }
        let Some(frame) = reader.next_frame().map_err(SessionEnd::Protocol)? else { continue };
        handshake.bind_channel(connection.channel_binding());
        let (payload, error) = match handshake.handle(&frame) {
            ServerStep::Open(request) => return Ok(request),
            ServerStep::Send(payload) => (payload, None),
            // Never: it was not offered.
            ServerStep::Resume(_) => return Err(SessionEnd::Protocol(WireError::Field { field: "session" })),
            // It is no server that anybody could find.
            ServerStep::List => (encode_servers(&[]), Some(WireError::NotOutpost)),
            ServerStep::Refuse(payload, error) => (payload, Some(error)),
        };
        let mut queue = FrameQueue::new();
        let header = Header { request: OPEN_REQUEST, ..Header::default() };
        queue.push(header, payload).map_err(SessionEnd::Protocol)?;
        while !queue.is_empty() {
            queue.write_to(&mut &*connection).map_err(lost)?;
        }
        if let Some(error) = error {
            return Err(SessionEnd::Protocol(error));
        }
    }
}
