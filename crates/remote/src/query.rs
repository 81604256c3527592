//! Which servers are there on a machine? Asked of any of them.

use outpost_transport::{ClientTransport, Connection, TcpClient};
use outpost_wire::{FrameReader, HANDSHAKE_FRAME, RequestId, ServerList, WireError, decode_servers, encode_query};

use crate::RemoteError;
use crate::connect::fill;
use crate::sender::Sender;

/// Asks the server on that port, which needs no password for that; whether it speaks TLS is found out. Over TLS its
/// certificate is not looked at: what is listed is a hint, and proves nothing.
///
/// # Errors
/// No connection; no answer; something that is no server of ours, or one that does not know the question.
pub fn list_servers(server: &TcpClient) -> Result<ServerList, RemoteError> {
    let plain = match ask(ClientTransport::Tcp(server.clone()).connect()?) {
        Err(error) if may_speak_tls(&error) => error,
        answered => return answered,
    };
    match server.connect_to_anybody() {
        Ok(connection) => ask(connection),
        // Neither did it understand that.
        Err(_) => Err(plain),
    }
}

fn ask(connection: Connection) -> Result<ServerList, RemoteError> {
    connection.set_nonblocking(true)?;
    let sender = Sender::new(connection.try_clone()?)?;
    sender.send_as(RequestId::default(), encode_query());
    let mut reader = FrameReader::new(HANDSHAKE_FRAME);
    loop {
        fill(&mut reader, &connection, &sender)?;
        if let Some(frame) = reader.next_frame()? {
            return Ok(decode_servers(&frame)?);
        }
    }
}

/// A server that speaks TLS answers a plain question by an alert, which is no frame, or hangs up.
fn may_speak_tls(error: &RemoteError) -> bool {
    match error {
        RemoteError::Wire(error) => !matches!(error, WireError::Refused { .. } | WireError::Version(_)),
        RemoteError::Closed | RemoteError::Lost(_) => true,
        _ => false,
    }
}
