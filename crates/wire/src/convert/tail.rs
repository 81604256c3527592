//! Bulk bytes behind a message.

use crate::WireError;

/// Pieces up to this are put together.
const SMALL: usize = 2 << 10;
/// ... up to this size.
const GATHERED: usize = 32 << 10;

/// Collects the tail of a frame, large pieces without copying them.
#[derive(Debug, Default)]
pub(crate) struct TailBuilder {
    pieces: Vec<Vec<u8>>,
}

impl TailBuilder {
    pub(crate) fn push(&mut self, bytes: Vec<u8>) {
        match self.pieces.last_mut() {
            Some(last) if bytes.len() <= SMALL && last.len() <= GATHERED => last.extend_from_slice(&bytes),
            _ => self.pieces.push(bytes),
        }
    }

    pub(crate) fn into_pieces(self) -> Vec<Vec<u8>> {
        self.pieces
    }
}

/// Hands out the tail of a frame, piece by piece.
#[derive(Debug)]
pub(crate) struct TailReader<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> TailReader<'a> {
    pub(crate) fn new(tail: &'a [u8]) -> TailReader<'a> {
        TailReader { rest: tail, len: tail.len() }
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: u64) -> Result<&'a [u8], WireError> {
        let cut = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let (piece, rest) = cut.ok_or(WireError::Tail { len: self.len })?;
        self.rest = rest;
        Ok(piece)
    }

    /// Everything must have been taken.
    pub(crate) fn finish(self) -> Result<(), WireError> {
        match self.rest {
            [] => Ok(()),
            _ => Err(WireError::Tail { len: self.len }),
        }
    }
}
