//! Characters and texts as C++ writes them ([lex.ccon], [lex.string]), and Rust's bytes (`b'x'`, `b"text"`).

use super::Parser;
use crate::expr::cursor::Cursor;
use crate::expr::{Cpp, ExprError, Letter, TextLiteral};

/// What says of which type a literal is; `u8` before `u`.
const PREFIXES: &[(&str, Letter)] =
    &[("u8", Letter::Utf8), ("u", Letter::Utf16), ("U", Letter::Utf32), ("L", Letter::Wide), ("b", Letter::Byte)];
/// Bytes in a constant of several characters: those of an `int` (gcc, "Implementation-defined behavior", 4.4).
const INT_BYTES: usize = 4;
/// Longest delimiter of a raw text ([lex.string]).
const DELIMITER_LIMIT: usize = 16;

/// What a literal begins with.
#[derive(Clone, Copy)]
struct Start {
    letter: Letter,
    raw: bool,
    is_text: bool,
    /// Bytes up to the quote and with it.
    len: usize,
}

/// One of what stands between the quotes.
#[derive(Clone, Copy)]
enum Piece {
    /// A character, in whatever encoding the literal has.
    Letter(char),
    /// `\x41`, `\101`: one unit of the encoding.
    Unit(u32),
}

impl Parser<'_, '_> {
    /// A literal in quotes, if one comes next. Texts that follow each other are one.
    pub(super) fn literal(&mut self) -> Result<Option<Cpp>, ExprError> {
        let Some(start) = start_of(self.cursor.rest()) else { return Ok(None) };
        if !start.is_text {
            return self.character().map(|(of, code)| Some(Cpp::Character { of, code }));
        }
        let whole = self.cursor.rest();
        let mut letter = start.letter;
        let mut pieces = self.text_pieces(start)?;
        loop {
            let end = self.cursor.position();
            self.cursor.skip_spaces();
            let Some(next) = start_of(self.cursor.rest()).filter(|next| next.is_text && letter != Letter::Byte) else {
                self.cursor.rewind(end);
                break;
            };
            letter = match (letter, next.letter) {
                (one, other) if one == other || other == Letter::Narrow => one,
                (Letter::Narrow, other) if other != Letter::Byte => other,
                _ => return Err(literal_error(self.cursor.rest(), "texts of different types cannot be joined")),
            };
            self.cursor.node()?;
            pieces.extend(self.text_pieces(next)?);
        }
        let mut bytes = Vec::with_capacity(pieces.len());
        for piece in pieces {
            for unit in units(piece, letter).map_err(|reason| literal_error(whole, reason))? {
                bytes.extend(unit.to_le_bytes().into_iter().take(usize::from(letter.size())));
            }
        }
        Ok(Some(Cpp::Text(TextLiteral { letter, bytes })))
    }

    fn text_pieces(&mut self, start: Start) -> Result<Vec<Piece>, ExprError> {
        let whole = self.cursor.rest();
        self.cursor.advance(start.len);
        if start.raw {
            let (text, len) = raw_text(self.cursor.rest())
                .ok_or_else(|| literal_error(whole, "a raw text is written R\"(text)\" or R\"x(text)x\""))?;
            self.cursor.advance(len);
            return Ok(text.chars().map(Piece::Letter).collect());
        }
        pieces(&mut self.cursor, '"')
    }

    /// A character constant, its prefix included: the name of its type and its code, extended as the type says.
    pub(super) fn character(&mut self) -> Result<(&'static str, i64), ExprError> {
        let whole = self.cursor.rest();
        let error = |reason| literal_error(whole, reason);
        let Some(Start { letter, len, .. }) = start_of(whole).filter(|start| !start.is_text) else {
            return Err(self.cursor.syntax());
        };
        self.cursor.advance(len);
        let pieces = pieces(&mut self.cursor, '\'')?;
        match (letter, &pieces[..]) {
            (_, []) => Err(error("a character constant needs a character")),
            // What compilers of C make of it depends on the encoding of the source and fits no `char`; the character
            // itself is what Rust has and what is meant.
            (Letter::Narrow, &[Piece::Letter(letter)]) if !letter.is_ascii() => {
                Ok(("char32_t", i64::from(u32::from(letter))))
            }
            (Letter::Narrow, [_, _, ..]) => {
                let mut code = 0u32;
                let mut count = 0;
                for &piece in &pieces {
                    for unit in units(piece, letter).map_err(error)? {
                        code = code << 8 | unit;
                        count += 1;
                    }
                }
                match count <= INT_BYTES {
                    true => Ok(("int", i64::from(code as i32))),
                    false => Err(error("no more than 4 characters fit an int; a text is written in double quotes")),
                }
            }
            (_, &[piece]) => match units(piece, letter).map_err(error)?[..] {
                [unit] => Ok((
                    letter.type_name(),
                    match letter {
                        Letter::Narrow => i64::from(unit as i8),
                        Letter::Wide => i64::from(unit as i32),
                        _ => i64::from(unit),
                    },
                )),
                _ => Err(error("the character does not fit one unit; U'x' takes any")),
            },
            (_, [..]) => Err(error("only a plain constant may have several characters")),
        }
    }
}

/// Prefix and quote, if `text` begins with a literal.
fn start_of(text: &str) -> Option<Start> {
    let found = PREFIXES.iter().find(|(prefix, _)| text.starts_with(prefix) && quote_follows(text, prefix.len()));
    let (prefix, letter) = found.map_or((0, Letter::Narrow), |(prefix, letter)| (prefix.len(), *letter));
    let rest = text.get(prefix..)?;
    let raw = rest.starts_with("R\"") && letter != Letter::Byte;
    let len = prefix + usize::from(raw) + 1;
    match text.get(len - 1..)?.chars().next()? {
        '"' => Some(Start { letter, raw, is_text: true, len }),
        '\'' => Some(Start { letter, raw, is_text: false, len }),
        _ => None,
    }
}

fn quote_follows(text: &str, prefix: usize) -> bool {
    text.get(prefix..).is_some_and(|rest| rest.starts_with(['"', '\'']) || rest.starts_with("R\""))
}

/// What stands up to the closing `quote`, which is taken.
fn pieces(cursor: &mut Cursor<'_>, quote: char) -> Result<Vec<Piece>, ExprError> {
    let mut found = Vec::new();
    loop {
        let rest = cursor.rest();
        match cursor.bump() {
            None => return Err(ExprError::Missing { text: quote.to_string() }),
            Some(letter) if letter == quote => return Ok(found),
            Some('\\') => {
                found.push(escaped(cursor).map_err(|reason| match reason {
                    Some(reason) => literal_error(rest, reason),
                    None => ExprError::Missing { text: quote.to_string() },
                })?);
            }
            Some(letter) => found.push(Piece::Letter(letter)),
        }
    }
}

/// What follows a backslash; errors without reason are texts that end here.
fn escaped(cursor: &mut Cursor<'_>) -> Result<Piece, Option<&'static str>> {
    let control = |code: u8| Ok(Piece::Letter(char::from(code)));
    match cursor.peek().ok_or(None)? {
        '0'..='7' => {
            let mut count = 0;
            let digits = cursor.take_while(|c| {
                count += 1;
                count <= 3 && matches!(c, '0'..='7')
            });
            u32::from_str_radix(digits, 8).map(Piece::Unit).map_err(|_| Some("the octal number is too large"))
        }
        'x' => {
            cursor.advance(1);
            hexadecimal(cursor, None).map(Piece::Unit)
        }
        kind @ ('u' | 'U') => {
            cursor.advance(1);
            let code = hexadecimal(cursor, Some(if kind == 'u' { 4 } else { 8 }))?;
            char::from_u32(code).map(Piece::Letter).ok_or(Some("there is no character of this code"))
        }
        letter => {
            cursor.bump();
            match letter {
                'n' => control(10),
                't' => control(9),
                'r' => control(13),
                'a' => control(7),
                'b' => control(8),
                'f' => control(12),
                'v' => control(11),
                'e' => control(27),
                '\'' | '"' | '?' | '\\' => Ok(Piece::Letter(letter)),
                _ => Err(Some("no such escape; a backslash is written \\\\")),
            }
        }
    }
}

/// Hexadecimal digits, `exact`ly so many if that is given, or any in braces.
fn hexadecimal(cursor: &mut Cursor<'_>, exact: Option<usize>) -> Result<u32, Option<&'static str>> {
    let braces = cursor.rest().starts_with('{');
    cursor.advance(usize::from(braces));
    let mut count = 0;
    let digits = cursor.take_while(|c| {
        count += 1;
        c.is_ascii_hexdigit() && (braces || exact.is_none_or(|exact| count <= exact))
    });
    let is_closed = !braces || cursor.rest().starts_with('}');
    cursor.advance(usize::from(braces && is_closed));
    if digits.is_empty() || !is_closed {
        return Err(Some("the hexadecimal digits are missing"));
    }
    if !braces && exact.is_some_and(|exact| digits.len() < exact) {
        return Err(Some("\\u takes 4 hexadecimal digits and \\U takes 8"));
    }
    u32::from_str_radix(digits.trim_start_matches('0'), 16).or(if digits.bytes().all(|digit| digit == b'0') {
        Ok(0)
    } else {
        Err(Some("the number is too large"))
    })
}

/// A raw text behind its first quote, and how long all of it is.
fn raw_text(rest: &str) -> Option<(&str, usize)> {
    let open = rest.find('(').filter(|&open| open <= DELIMITER_LIMIT)?;
    let delimiter = rest.get(..open)?;
    if delimiter.contains([' ', ')', '\\', '"']) {
        return None;
    }
    let close = format!("){delimiter}\"");
    let inner = rest.get(open + 1..)?;
    let end = inner.find(&close)?;
    Some((inner.get(..end)?, open + 1 + end + close.len()))
}

/// A piece in the encoding of a literal.
fn units(piece: Piece, of: Letter) -> Result<Vec<u32>, &'static str> {
    let letter = match piece {
        Piece::Unit(unit) if of.size() == 4 || unit >> (8 * of.size()) == 0 => return Ok(vec![unit]),
        Piece::Unit(_) => return Err("the number does not fit a character of this type"),
        Piece::Letter(letter) => letter,
    };
    Ok(match of {
        Letter::Byte if !letter.is_ascii() => return Err("bytes are ASCII; others are written \\xNN"),
        Letter::Narrow | Letter::Utf8 | Letter::Byte => {
            letter.encode_utf8(&mut [0; 4]).bytes().map(u32::from).collect()
        }
        Letter::Utf16 => letter.encode_utf16(&mut [0; 2]).iter().copied().map(u32::from).collect(),
        Letter::Utf32 | Letter::Wide => vec![u32::from(letter)],
    })
}

fn literal_error(text: &str, reason: &'static str) -> ExprError {
    ExprError::Literal { text: text.to_owned(), reason }
}
