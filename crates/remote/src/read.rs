//! Large reads in pieces that are under way together.

use outpost_base::Va;

/// Bytes one request asks for; a stop event waits behind at most a window of these.
pub(crate) const CHUNK: u64 = 512 << 10;
/// Ranges in one request.
const RANGES: usize = 4096;

/// A part of one of the caller's ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Which range.
    pub(crate) range: usize,
    /// Offset in it.
    pub(crate) offset: u64,
    /// Where the piece begins: an address, or an offset in a file.
    pub(crate) at: u64,
    /// Its length.
    pub(crate) len: u64,
}

/// Cuts ranges into requests of about [`CHUNK`] bytes. Empty ranges need no request.
pub(crate) fn requests(ranges: impl IntoIterator<Item = (u64, u64)>) -> Vec<Vec<Piece>> {
    let mut requests: Vec<Vec<Piece>> = Vec::new();
    let mut room = 0;
    for (range, (start, len)) in ranges.into_iter().enumerate() {
        let mut offset = 0;
        while offset < len {
            if room == 0 || requests.last().is_none_or(|pieces| pieces.len() >= RANGES) {
                requests.push(Vec::new());
                room = CHUNK;
            }
            let piece = Piece { range, offset, at: start.wrapping_add(offset), len: (len - offset).min(room) };
            room -= piece.len;
            offset += piece.len;
            if let Some(pieces) = requests.last_mut() {
                pieces.push(piece);
            }
        }
    }
    requests
}

/// Puts pieces together again: each range's leading bytes, up to the first piece that came short.
#[derive(Debug)]
pub(crate) struct Assembly {
    ranges: Vec<Vec<u8>>,
    /// Pieces that came before those in front of them.
    early: Vec<(Piece, Vec<u8>)>,
    /// Ranges that ended early.
    ended: Vec<bool>,
}

impl Assembly {
    pub(crate) fn new(count: usize) -> Assembly {
        Assembly { ranges: vec![Vec::new(); count], early: Vec::new(), ended: vec![false; count] }
    }

    pub(crate) fn put(&mut self, piece: Piece, bytes: &[u8]) {
        if !self.append(piece, bytes) {
            self.early.push((piece, bytes.to_vec()));
            return;
        }
        while let Some(at) = self.early.iter().position(|(early, _)| self.is_next(*early)) {
            let (piece, bytes) = self.early.swap_remove(at);
            self.append(piece, &bytes);
        }
    }

    pub(crate) fn finish(self) -> Vec<Vec<u8>> {
        self.ranges
    }

    fn is_next(&self, piece: Piece) -> bool {
        self.ended[piece.range] || self.ranges[piece.range].len() as u64 == piece.offset
    }

    fn append(&mut self, piece: Piece, bytes: &[u8]) -> bool {
        if !self.is_next(piece) {
            return false;
        }
        if !self.ended[piece.range] {
            let count = bytes.len().min(piece.len as usize);
            self.ranges[piece.range].extend_from_slice(&bytes[..count]);
            self.ended[piece.range] = (count as u64) < piece.len;
        }
        true
    }
}

/// A piece as the memory request has it.
pub(crate) fn memory_read(piece: &Piece) -> outpost_target::ReadRequest {
    outpost_target::ReadRequest { at: Va(piece.at), len: piece.len }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_ranges_share_a_request_and_large_ones_are_cut() {
        let cut = requests([(0x1000, 16), (0x2000, 0), (0x3000, CHUNK + 8), (0x9000, 4)]);
        assert_eq!(cut.len(), 2);
        assert_eq!(cut[0].len(), 2);
        assert_eq!(
            cut[1],
            [
                Piece { range: 2, offset: CHUNK - 16, at: 0x3000 + CHUNK - 16, len: 24 },
                Piece { range: 3, offset: 0, at: 0x9000, len: 4 },
            ]
        );
    }

    #[test]
    fn pieces_in_any_order_give_the_leading_bytes() {
        let piece = |offset, len| Piece { range: 0, offset, at: offset, len };
        let mut assembly = Assembly::new(1);
        assembly.put(piece(4, 4), b"efgh");
        assembly.put(piece(8, 4), b"ij");
        assembly.put(piece(12, 4), b"mnop");
        assembly.put(piece(0, 4), b"abcd");
        assert_eq!(assembly.finish(), [b"abcdefghij".to_vec()]);
    }
}
