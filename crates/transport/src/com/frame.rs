//! Frames on a serial line: delimited so that any damage is over at the next zero byte, and checked.
//!
//! A frame is its body and the CRC-32 of it, both as COBS (Cheshire and Baker, 1999), and a zero byte. COBS leaves no
//! zero byte in a frame, so a receiver that joins in the middle, or that lost or was given bytes, finds the next frame.

/// Longest body in bytes. With the checksum it fits one COBS group, whose overhead is one byte.
pub(crate) const MAX_BODY: usize = 250;
const CRC_LEN: usize = 4;
/// A frame less its delimiter.
const MAX_ENCODED: usize = MAX_BODY + CRC_LEN + 1;
const DELIMITER: u8 = 0;

/// What a frame puts around its body on the line, in bytes.
pub(crate) const OVERHEAD: usize = CRC_LEN + 2;

/// Appends the frame of a body of at most [`MAX_BODY`] bytes.
pub(crate) fn encode(body: &[u8], line: &mut Vec<u8>) {
    debug_assert!(body.len() <= MAX_BODY);
    let checked = [body, &crc32fast::hash(body).to_le_bytes()].concat();
    let start = line.len();
    line.resize(start + cobs::max_encoding_length(checked.len()), 0);
    let len = cobs::encode(&checked, &mut line[start..]);
    line.truncate(start + len);
    line.push(DELIMITER);
}

/// Finds frames in what a line delivers.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// Of the frame that has not ended; at most one byte more than a frame can have.
    encoded: Vec<u8>,
}

impl Decoder {
    /// The next whole body in `bytes`, which shrinks by what was looked at. What is damaged is passed over.
    pub(crate) fn next(&mut self, bytes: &mut &[u8]) -> Option<Vec<u8>> {
        while let Some(end) = bytes.iter().position(|&byte| byte == DELIMITER) {
            let (head, tail) = bytes.split_at(end);
            *bytes = &tail[1..];
            self.keep(head);
            if let Some(body) = decode(&std::mem::take(&mut self.encoded)) {
                return Some(body);
            }
        }
        self.keep(std::mem::take(bytes));
        None
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = (MAX_ENCODED + 1).saturating_sub(self.encoded.len());
        self.encoded.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

fn decode(encoded: &[u8]) -> Option<Vec<u8>> {
    if encoded.len() > MAX_ENCODED {
        return None;
    }
    let mut body = encoded.to_vec();
    let len = cobs::decode_in_place(&mut body).ok()?;
    body.truncate(len);
    let (content, crc) = body.split_last_chunk::<CRC_LEN>()?;
    (crc32fast::hash(content) == u32::from_le_bytes(*crc)).then(|| content.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_all(mut bytes: &[u8], step: usize) -> Vec<Vec<u8>> {
        let (mut decoder, mut bodies) = (Decoder::default(), Vec::new());
        while !bytes.is_empty() {
            let (mut piece, rest) = bytes.split_at(step.min(bytes.len()));
            while let Some(body) = decoder.next(&mut piece) {
                bodies.push(body);
            }
            bytes = rest;
        }
        bodies
    }

    #[test]
    fn frames_come_back_in_any_pieces() {
        let bodies = [vec![], vec![0], vec![0; MAX_BODY], (1..=MAX_BODY as u8).collect(), vec![255; 9]];
        let mut line = Vec::new();
        bodies.iter().for_each(|body| encode(body, &mut line));
        for step in [1, 2, 7, 253, line.len()] {
            assert_eq!(decode_all(&line, step), bodies, "in pieces of {step}");
        }
    }

    #[test]
    fn damage_ends_with_the_frame_it_is_in() {
        let mut line = Vec::new();
        encode(b"first", &mut line);
        let second = line.len();
        encode(b"second", &mut line);
        let third = line.len();
        encode(b"third", &mut line);
        for at in second..third - 1 {
            let (mut lost, mut garbled, mut inserted) = (line.clone(), line.clone(), line.clone());
            lost.remove(at);
            garbled[at] ^= 0x40;
            inserted.insert(at, 7);
            for damaged in [lost, garbled, inserted] {
                let bodies = decode_all(&damaged, 3);
                assert_eq!((bodies.first(), bodies.last()), (Some(&b"first".to_vec()), Some(&b"third".to_vec())));
                assert!(!bodies.contains(&b"second".to_vec()) || damaged.len() > line.len());
            }
        }
        let noise = [&[3; 5000][..], &[0], &line].concat();
        assert_eq!(decode_all(&noise, 100).len(), 3);
    }
}
