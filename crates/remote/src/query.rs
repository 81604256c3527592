//! Which servers are there on a machine? Asked of any of them.

use outpost_transport::ClientTransport;
use outpost_wire::{FrameReader, HANDSHAKE_FRAME, RequestId, ServerList, decode_servers, encode_query};

use crate::RemoteError;
use crate::connect::fill;
use crate::sender::Sender;

/// Asks the server at the other end, which needs no password for that.
///
/// # Errors
/// No connection; no answer; something that is no server of ours, or one that does not know the question.
pub fn list_servers(transport: &ClientTransport) -> Result<ServerList, RemoteError> {
    let connection = transport.connect()?;
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
