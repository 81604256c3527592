//! What debuggees write, as text: the pieces in which it comes may end inside a character.

use outpost_engine::ProcessOrdinal;
use outpost_engine::target::OutputStream;

/// The beginnings of characters whose rest has not come yet, by process and stream.
#[derive(Debug, Default)]
pub(crate) struct DebuggeeText {
    begun: Vec<(ProcessOrdinal, OutputStream, Vec<u8>)>,
}

impl DebuggeeText {
    /// The text of the next piece of a stream, UTF-8 where it is that; a character that goes on in the next piece waits.
    pub(crate) fn decode(&mut self, process: ProcessOrdinal, stream: OutputStream, bytes: &[u8]) -> String {
        let known = self.begun.iter().position(|(of, which, _)| (*of, *which) == (process, stream));
        let mut all = known.map(|at| self.begun.swap_remove(at).2).unwrap_or_default();
        all.extend_from_slice(bytes);
        let mut text = String::new();
        let mut rest = &all[..];
        loop {
            let (valid, error) = match std::str::from_utf8(rest) {
                Ok(valid) => (valid, None),
                Err(error) => {
                    let valid = rest.get(..error.valid_up_to()).and_then(|valid| std::str::from_utf8(valid).ok());
                    (valid.unwrap_or_default(), Some(error))
                }
            };
            text.push_str(valid);
            rest = rest.get(valid.len()..).unwrap_or_default();
            match error.map(|error| error.error_len()) {
                None => return text,
                Some(Some(wrong)) => {
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = rest.get(wrong..).unwrap_or_default();
                }
                Some(None) => {
                    self.begun.push((process, stream, rest.to_vec()));
                    return text;
                }
            }
        }
    }

    /// What is left of processes that are gone: replacements for characters that they did not finish.
    pub(crate) fn rest_of_the_gone(&mut self, is_there: impl Fn(ProcessOrdinal) -> bool) -> String {
        let before = self.begun.len();
        self.begun.retain(|(process, ..)| is_there(*process));
        String::from(char::REPLACEMENT_CHARACTER).repeat(before - self.begun.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_come_whole_however_they_are_cut() {
        let text = "a\u{e9}\u{20ac}\u{1f600}z";
        for size in 1..=text.len() {
            let mut decoder = DebuggeeText::default();
            let pieces = text.as_bytes().chunks(size);
            let decoded: String =
                pieces.map(|piece| decoder.decode(ProcessOrdinal(0), OutputStream::Stdout, piece)).collect();
            assert_eq!(decoded, text, "in pieces of {size}");
        }
    }

    #[test]
    fn streams_and_processes_are_kept_apart() {
        let mut decoder = DebuggeeText::default();
        let mut piece = |process: u32, stream, bytes: &[u8]| decoder.decode(ProcessOrdinal(process), stream, bytes);
        assert_eq!(piece(0, OutputStream::Stdout, b"\xe2\x82"), "");
        assert_eq!(piece(0, OutputStream::Stderr, b"error"), "error");
        assert_eq!(piece(1, OutputStream::Stdout, b"\xac"), "\u{fffd}");
        assert_eq!(piece(0, OutputStream::Stdout, b"\xac"), "\u{20ac}");
    }

    #[test]
    fn what_is_no_utf8_is_replaced_and_does_not_wait() {
        let mut decoder = DebuggeeText::default();
        assert_eq!(decoder.decode(ProcessOrdinal(0), OutputStream::Stdout, b"\xff\xe2\x82x"), "\u{fffd}\u{fffd}x");
        assert_eq!(decoder.decode(ProcessOrdinal(0), OutputStream::Stdout, b"\xf0\x9f"), "");
        assert_eq!(decoder.rest_of_the_gone(|_| true), "");
        assert_eq!(decoder.rest_of_the_gone(|_| false), "\u{fffd}");
        assert_eq!(decoder.rest_of_the_gone(|_| false), "");
    }
}
