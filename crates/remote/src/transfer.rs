//! Large reads, as a stream of smaller ones.
//!
//! A request asks for [`CHUNK`] bytes at most, so that an event never waits long behind an answer, and [`WINDOW`]
//! requests are under way at once, so that the delay of the link is paid once and not for each of them.

use std::collections::VecDeque;

use outpost_target::TargetError;
use outpost_wire::Request;

use crate::link::Link;

/// Bytes asked for by one request.
const CHUNK: u64 = 256 << 10;
/// Ranges in one request.
const RANGES: usize = 4096;
/// Requests under way at once, if the server takes as many.
const WINDOW: usize = 256;
/// Longest answer to one call: a bound on what a slip of the pen in a length costs.
const MAX_TOTAL: u64 = 4 << 30;

/// Room made for a range before anything of it came.
const MAX_ROOM: u64 = 256 << 20;

/// Reads `ranges` (start and length) by requests that `make` makes of parts of them. Each answer holds the leading
/// bytes of its range. One round trip, however many requests.
pub(crate) fn read(
    link: &mut Link,
    requests: usize,
    ranges: &[(u64, u64)],
    make: impl Fn(Vec<(u64, u64)>) -> Request,
) -> Result<Vec<Vec<u8>>, TargetError> {
    let total = ranges.iter().fold(0_u64, |sum, range| sum.saturating_add(range.1));
    if total > MAX_TOTAL {
        return Err(TargetError::Invalid { reason: format!("{total} bytes are too many to be read at once") });
    }
    let room = |range: &(u64, u64)| Vec::with_capacity(range.1.min(MAX_ROOM) as usize);
    let mut answers: Vec<Vec<u8>> = ranges.iter().map(room).collect();
    let mut append = |range: usize, bytes: &[u8]| {
        answers[range].extend_from_slice(bytes);
        true
    };
    stream(link, requests, ranges, make, &mut append)?;
    Ok(answers)
}

/// The same without holding the answers: `take` is handed the bytes of each range, by its number, as they come in order.
/// It ends the transfer by answering `false`.
pub(crate) fn stream(
    link: &mut Link,
    requests: usize,
    ranges: &[(u64, u64)],
    make: impl Fn(Vec<(u64, u64)>) -> Request,
    take: &mut dyn FnMut(usize, &[u8]) -> bool,
) -> Result<(), TargetError> {
    let mut leading = Leading { ended: vec![false; ranges.len()] };
    let mut batches = Batches { ranges, range: 0, offset: 0 };
    let mut under_way = VecDeque::new();
    let mut result = Ok(());
    let mut goes_on = true;
    let window = requests.clamp(1, WINDOW);
    let mut is_first = true;
    loop {
        while under_way.len() < window && goes_on && result.is_ok() {
            let Some(pieces) = batches.next(&leading) else { break };
            let request = make(pieces.iter().map(|piece| (piece.at, piece.len)).collect());
            // What follows the first request is part of its flight.
            let ticket = if is_first { link.submit(request) } else { link.submit_more(request) };
            is_first = false;
            under_way.push_back((ticket, pieces));
        }
        let Some((ticket, pieces)) = under_way.pop_front() else { break };
        // Answers to what has left are taken in even after a failure, so that none is left over.
        let mut fits = true;
        let collected = link.collect_parts(ticket, &mut |parts| {
            fits = parts.len() == pieces.len();
            for (piece, bytes) in pieces.iter().zip(parts) {
                goes_on = goes_on && leading.part(*piece, bytes).is_none_or(|bytes| take(piece.range, bytes));
            }
        });
        if !fits {
            return Err(crate::target::unexpected());
        }
        result = result.and(collected);
    }
    result
}

/// A part of one of the caller's ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    /// Which range.
    range: usize,
    /// Where it begins: an address, or an offset in a file.
    at: u64,
    len: u64,
}

/// Cuts ranges into requests of about [`CHUNK`] bytes. Empty ranges need none, and neither has the rest of a range that
/// came short already.
struct Batches<'a> {
    ranges: &'a [(u64, u64)],
    range: usize,
    offset: u64,
}

impl Batches<'_> {
    fn next(&mut self, leading: &Leading) -> Option<Vec<Piece>> {
        let (mut pieces, mut room) = (Vec::new(), CHUNK);
        while room > 0 && pieces.len() < RANGES {
            let Some(&(start, len)) = self.ranges.get(self.range) else { break };
            // A range that would run over the end of the numbers ends there.
            let end = if leading.ended[self.range] { self.offset } else { len.min(u64::MAX - start) };
            let taken = end.saturating_sub(self.offset).min(room);
            if taken == 0 {
                (self.range, self.offset) = (self.range + 1, 0);
                continue;
            }
            pieces.push(Piece { range: self.range, at: start + self.offset, len: taken });
            room -= taken;
            self.offset += taken;
        }
        (!pieces.is_empty()).then_some(pieces)
    }
}

/// Each range's leading bytes: what follows the first piece that came short does not count.
#[derive(Debug)]
struct Leading {
    ended: Vec<bool>,
}

impl Leading {
    /// What of `bytes`, which came for the next piece of a range, belongs to the answer.
    fn part<'a>(&mut self, piece: Piece, bytes: &'a [u8]) -> Option<&'a [u8]> {
        if self.ended[piece.range] {
            return None;
        }
        let count = bytes.len().min(piece.len as usize);
        self.ended[piece.range] = (count as u64) < piece.len;
        Some(&bytes[..count])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(ranges: &[(u64, u64)]) -> Vec<Vec<Piece>> {
        let mut batches = Batches { ranges, range: 0, offset: 0 };
        let leading = Leading { ended: vec![false; ranges.len()] };
        std::iter::from_fn(|| batches.next(&leading)).collect()
    }

    #[test]
    fn small_ranges_share_a_request_and_large_ones_are_cut() {
        let cut = cut(&[(0x1000, 16), (0x2000, 0), (0x3000, CHUNK + 8), (0x9000, 4)]);
        assert_eq!(cut.len(), 2);
        let piece = |range, at, len| Piece { range, at, len };
        assert_eq!(cut[0], [piece(0, 0x1000, 16), piece(2, 0x3000, CHUNK - 16)]);
        assert_eq!(cut[1], [piece(2, 0x3000 + CHUNK - 16, 24), piece(3, 0x9000, 4)]);
    }

    #[test]
    fn the_end_of_the_address_space_ends_a_range() {
        let cut = cut(&[(u64::MAX - 3, 16), (8, 2)]);
        assert_eq!(cut, [vec![Piece { range: 0, at: u64::MAX - 3, len: 3 }, Piece { range: 1, at: 8, len: 2 }]]);
    }

    #[test]
    fn what_follows_a_short_piece_is_neither_asked_for_nor_kept() {
        let ranges = [(0, 3 * CHUNK), (0x10, 4)];
        let mut batches = Batches { ranges: &ranges, range: 0, offset: 0 };
        let mut leading = Leading { ended: vec![false; 2] };
        let first = batches.next(&leading).unwrap();
        let second = batches.next(&leading).unwrap();
        assert_eq!(leading.part(first[0], b"abc"), Some(&b"abc"[..]));
        assert_eq!(leading.part(second[0], b"late"), None);
        let third = batches.next(&leading).unwrap();
        assert_eq!(third, [Piece { range: 1, at: 0x10, len: 4 }]);
        assert_eq!(leading.part(third[0], b"ok!!"), Some(&b"ok!!"[..]));
    }
}
