//! A command's arguments, read from the left.

use outpost_engine::ThreadOrdinal;

use crate::CommandError;
use crate::command::CommandInfo;

/// What was typed behind a command's name, and how the name was spelled.
#[derive(Debug, Clone)]
pub(crate) struct Arguments<'a> {
    /// The name as typed, with the option letters that were attached to it.
    pub(crate) spelled: &'a str,
    /// Threads named by a prefix (`~2 k`); empty: none was given.
    pub(crate) threads: Vec<ThreadOrdinal>,
    rest: &'a str,
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(spelled: &'a str, rest: &'a str) -> Arguments<'a> {
        Arguments { spelled, threads: Vec::new(), rest: rest.trim() }
    }

    /// What is still unread.
    pub(crate) fn rest(&self) -> &'a str {
        self.rest
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes everything that is left.
    pub(crate) fn take_rest(&mut self) -> &'a str {
        std::mem::take(&mut self.rest)
    }

    /// Takes `count` bytes, which the caller found to end at a character's end, and the blanks or one comma behind them.
    pub(crate) fn skip(&mut self, count: usize) {
        let rest = self.rest.get(count..).unwrap_or("").trim_start();
        self.rest = rest.strip_prefix(',').map_or(rest, str::trim_start);
    }

    /// Takes a word up to a blank or a comma.
    pub(crate) fn word(&mut self) -> Option<&'a str> {
        let end =
            self.rest.find(|character: char| character.is_whitespace() || character == ',').unwrap_or(self.rest.len());
        let word = &self.rest[..end];
        self.skip(end);
        (!word.is_empty()).then_some(word)
    }

    /// Takes `text` if what is left begins with it as a word of its own.
    pub(crate) fn keyword(&mut self, text: &str) -> bool {
        let matches = self.rest.strip_prefix(text);
        let whole = matches.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', ',']));
        if whole {
            self.skip(text.len());
        }
        whole
    }

    /// Takes one option letter group such as `/c` or `-v` and gives it without its sign; case is kept.
    pub(crate) fn option(&mut self) -> Option<&'a str> {
        if !self.rest.starts_with(['/', '-']) || self.rest[1..].starts_with(|next: char| !next.is_ascii_alphabetic()) {
            return None;
        }
        let word = self.word()?;
        (word.len() > 1).then_some(&word[1..])
    }

    /// Takes a text in quotation marks, in which `\"` is a quotation mark and `\\` a backslash.
    pub(crate) fn quoted(&mut self) -> Option<String> {
        let inner = self.rest.strip_prefix('"')?;
        let (mut text, mut escaped) = (String::new(), false);
        for (at, character) in inner.char_indices() {
            match character {
                _ if escaped => {
                    if !matches!(character, '"' | '\\') {
                        text.push('\\');
                    }
                    text.push(character);
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => {
                    self.skip(at + 2);
                    return Some(text);
                }
                _ => text.push(character),
            }
        }
        None
    }

    /// Refuses what is left over.
    pub(crate) fn end(&self, info: &'static CommandInfo) -> Result<(), CommandError> {
        match self.rest.is_empty() {
            true => Ok(()),
            false => Err(usage(info, format!("'{}' is not understood", self.rest))),
        }
    }
}

/// A usage error of a command.
pub(crate) fn usage(info: &'static CommandInfo, reason: impl Into<String>) -> CommandError {
    CommandError::Usage { reason: reason.into(), usage: info.syntax.first().copied().unwrap_or("") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_options_and_quotes() {
        let mut arguments = Arguments::new("bp", r#" /w "x == \"a\"" main+4, 5  "k; g" "#);
        assert_eq!(arguments.option(), Some("w"));
        assert_eq!(arguments.quoted().as_deref(), Some(r#"x == "a""#));
        assert_eq!(arguments.word(), Some("main+4"));
        assert_eq!(arguments.word(), Some("5"));
        assert_eq!(arguments.quoted().as_deref(), Some("k; g"));
        assert!(arguments.is_empty());
    }

    #[test]
    fn a_minus_before_a_digit_is_no_option() {
        assert_eq!(Arguments::new("?", "-1").option(), None);
        assert_eq!(Arguments::new("s", "-b 0 L10").option(), Some("b"));
        assert!(Arguments::new("k", "L5").clone().quoted().is_none());
    }
}
