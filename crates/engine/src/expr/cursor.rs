//! The text of an expression, read from left to right by both parsers, with the bounds that hold for both.

use super::ExprError;

/// How deep parentheses and unary operators may nest.
const DEPTH_LIMIT: usize = 96;
/// How many operators and operands an expression may have: chains of binary operators are as deep as they are long.
const NODE_LIMIT: usize = 512;

/// A position in the text of an expression.
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    nodes: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Cursor<'a> {
        Cursor { text, at: 0, depth: 0, nodes: 0 }
    }

    /// The text that is left.
    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The text before it.
    pub(super) fn read(&self) -> &'a str {
        self.text.get(..self.at).unwrap_or_default()
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Goes back to an earlier position.
    pub(super) fn rewind(&mut self, at: usize) {
        self.at = at;
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// Skips `bytes` bytes, which must end at a character boundary.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.text.len());
    }

    pub(super) fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Takes `token` if it comes next, after spaces.
    pub(super) fn take(&mut self, token: &str) -> bool {
        self.skip_spaces();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// Takes the word `token` if it comes next, after spaces, in either case, and does not go on as a longer word.
    pub(super) fn take_word(&mut self, token: &str) -> bool {
        self.skip_spaces();
        let rest = self.rest();
        let Some(head) = rest.get(..token.len()) else { return false };
        let ends = !rest[token.len()..].starts_with(is_word_char);
        let found = head.eq_ignore_ascii_case(token) && ends;
        if found {
            self.at += token.len();
        }
        found
    }

    /// Takes the longest run of characters that `accept`.
    pub(super) fn take_while(&mut self, mut accept: impl FnMut(char) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|c| !accept(c)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    pub(super) fn expect(&mut self, token: &str) -> Result<(), ExprError> {
        if self.take(token) { Ok(()) } else { Err(self.syntax()) }
    }

    /// The complaint about what comes next.
    pub(super) fn syntax(&self) -> ExprError {
        let text = self.rest().trim_start();
        match text {
            "" => ExprError::Missing { text: String::new() },
            _ => ExprError::Syntax { text: text.to_owned() },
        }
    }

    /// Counts a node of the tree.
    pub(super) fn node(&mut self) -> Result<(), ExprError> {
        self.nodes += 1;
        if self.nodes > NODE_LIMIT { Err(ExprError::TooComplex) } else { Ok(()) }
    }

    /// Counts a level of nesting; [`Cursor::leave`] undoes it. Errors end the parse, so they need no undoing.
    pub(super) fn enter(&mut self) -> Result<(), ExprError> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT { Err(ExprError::TooComplex) } else { Ok(()) }
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }
}

/// Characters that continue a word.
pub(super) fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '?' | '@')
}

/// Reads the digits of `text` in `radix`; accents between them are skipped.
pub(super) fn digits(text: &str, radix: u32) -> Result<u64, ExprError> {
    let overflow = || ExprError::Overflow { text: text.to_owned() };
    text.chars().filter(|&c| c != '`').try_fold(0u64, |value, c| {
        let digit = c.to_digit(radix).ok_or_else(|| ExprError::Syntax { text: text.to_owned() })?;
        value.checked_mul(u64::from(radix)).and_then(|value| value.checked_add(u64::from(digit))).ok_or_else(overflow)
    })
}
