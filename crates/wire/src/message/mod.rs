//! Requests, replies and events as values, and their way into and out of frames.

mod event;
mod reply;
mod request;

use prost::Message;

use crate::frame::Frame;
use crate::stream::Payload;
use crate::{Kind, WireError};

pub use event::{decode_event, encode_event};
pub use reply::{Reply, decode_reply, encode_reply, read_parts};
pub(crate) use reply::{bundle_in, bundle_out};
pub use request::{Request, decode_request, encode_request};

/// Longest message of a request, its tail not counted: bounds what decoding it can allocate.
const MAX_REQUEST_MESSAGE: usize = 1 << 20;
/// Longest message of any other frame. A process with 65,530 mappings, the kernel's limit, stays well below.
const MAX_MESSAGE: usize = 32 << 20;

/// The schema's structure in a frame.
pub(crate) fn decode<M: Message + Default>(frame: &Frame<'_>) -> Result<M, WireError> {
    decode_bounded(frame, MAX_MESSAGE)
}

/// A payload without a tail.
pub(crate) fn payload(kind: Kind, message: &impl Message) -> Payload {
    payload_with(kind.number(), message, Vec::new())
}

fn decode_bounded<M: Message + Default>(frame: &Frame<'_>, limit: usize) -> Result<M, WireError> {
    let kind = frame.header.kind;
    if frame.message.len() > limit {
        return Err(WireError::FrameTooLong { len: frame.message.len() as u64, limit });
    }
    M::decode(frame.message).map_err(|error| WireError::Malformed { kind, reason: error.to_string() })
}

fn payload_with(kind: u16, message: &dyn Encodable, tail: Vec<Vec<u8>>) -> Payload {
    Payload { kind, message: message.encoded(), tail }
}

/// Lets one function take every structure of the schema, so that its code is there once and not for each.
trait Encodable {
    fn encoded(&self) -> Vec<u8>;
}

impl<M: Message> Encodable for M {
    fn encoded(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}
