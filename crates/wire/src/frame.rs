//! The frame: what stands in front of every message.

use crate::WireError;

/// Bytes of a frame's header.
pub const HEADER_LEN: usize = 36;

/// Number of a request, unique in its session; 0: no request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What a frame says of itself, less its lengths. All integers are little-endian:
///
/// | offset | size | field |
/// | --- | --- | --- |
/// | 0 | 4 | length of what follows this field |
/// | 4 | 2 | kind of message |
/// | 6 | 2 | flags, all reserved: 0 |
/// | 8 | 8 | request id |
/// | 16 | 8 | event number |
/// | 24 | 8 | highest event number seen |
/// | 32 | 4 | length of the message |
/// | 36 | | message, then tail |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Header {
    /// See [`crate::Kind`].
    pub kind: u16,
    /// The request it is or answers; 0 for events.
    pub request: RequestId,
    /// Counts events and replies to acting requests of a session, from 1; 0 for everything else.
    pub event: u64,
    /// The highest event number the sender has received: the other end may forget what it keeps up to there.
    pub seen: u64,
}

/// A frame in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it says of itself.
    pub header: Header,
    /// Protobuf.
    pub message: &'a [u8],
    /// Raw bytes.
    pub tail: &'a [u8],
}

impl Header {
    /// The header's bytes in front of a message and a tail of these lengths.
    ///
    /// # Errors
    /// [`WireError::FrameTooLong`] if the lengths do not fit into the layout.
    pub fn encode(&self, message_len: usize, tail_len: usize) -> Result<[u8; HEADER_LEN], WireError> {
        let too_long = |len: usize| WireError::FrameTooLong { len: len as u64, limit: u32::MAX as usize };
        let total = message_len.saturating_add(tail_len).saturating_add(HEADER_LEN - 4);
        let length = u32::try_from(total).map_err(|_| too_long(total))?;
        let message_length = u32::try_from(message_len).map_err(|_| too_long(message_len))?;
        let mut bytes = [0; HEADER_LEN];
        bytes[0..4].copy_from_slice(&length.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.kind.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.request.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.event.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.seen.to_le_bytes());
        bytes[32..36].copy_from_slice(&message_length.to_le_bytes());
        Ok(bytes)
    }
}

impl Frame<'_> {
    /// Bytes it takes, header included.
    pub fn len(&self) -> usize {
        HEADER_LEN + self.message.len() + self.tail.len()
    }

    /// Never: a frame has a header.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// Length of the frame that `bytes` begin with, header included; `None` if not even the length is there yet.
///
/// # Errors
/// [`WireError::FrameTooLong`] if it exceeds `limit`, [`WireError::FrameLengths`] if it cannot hold a header.
pub(crate) fn frame_len(bytes: &[u8], limit: usize) -> Result<Option<usize>, WireError> {
    let Some(length) = bytes.first_chunk::<4>() else { return Ok(None) };
    let total = u64::from(u32::from_le_bytes(*length)) + 4;
    match usize::try_from(total) {
        Ok(total) if total <= limit && total >= HEADER_LEN => Ok(Some(total)),
        Ok(total) if total < HEADER_LEN => Err(WireError::FrameLengths),
        _ => Err(WireError::FrameTooLong { len: total, limit }),
    }
}

/// Takes apart the bytes of exactly one frame.
///
/// # Errors
/// Lengths that contradict each other, unknown flags.
pub(crate) fn parse(bytes: &[u8]) -> Result<Frame<'_>, WireError> {
    let (header, body) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(WireError::FrameLengths)?;
    let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let u64_at = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&header[at..at + 8]);
        u64::from_le_bytes(word)
    };
    let flags = u16_at(6);
    if flags != 0 {
        return Err(WireError::Flags { flags });
    }
    let message_len = u32::from_le_bytes([header[32], header[33], header[34], header[35]]) as usize;
    let (message, tail) = body.split_at_checked(message_len).ok_or(WireError::FrameLengths)?;
    let header = Header { kind: u16_at(4), request: RequestId(u64_at(8)), event: u64_at(16), seen: u64_at(24) };
    Ok(Frame { header, message, tail })
}
