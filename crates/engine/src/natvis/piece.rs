//! Texts with expressions in them: `{{ size={count} }}`.

/// A part of such a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// As it stands.
    Text(String),
    /// An expression with its format.
    Value(String),
}

/// The parts of a text. A brace that is not closed is text.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let is_double = after.starts_with(c);
        match c {
            '{' | '}' if is_double => {
                literal.push(c);
                rest = &after[c.len_utf8()..];
            }
            '{' => match end_of_value(after) {
                Some(end) => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::Value(after[..end].trim().to_owned()));
                    rest = &after[end + 1..];
                }
                None => {
                    literal.push(c);
                    rest = after;
                }
            },
            _ => {
                literal.push(c);
                rest = after;
            }
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    pieces
}

/// Where the brace is that closes an expression. Those in quotes and of inner braces do not.
fn end_of_value(text: &str) -> Option<usize> {
    let (mut depth, mut quote, mut is_escaped) = (0usize, None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if is_escaped => is_escaped = false,
            (Some(_), '\\') => is_escaped = true,
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some(at),
            (None, '}') => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_told_apart() {
        let check = |text: &str, expected: &[&str]| {
            let shown: Vec<String> = pieces(text)
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => format!("'{text}'"),
                    Piece::Value(value) => format!("={value}"),
                })
                .collect();
            assert_eq!(shown, expected, "{text}");
        };
        check("plain", &["'plain'"]);
        check("{{ size={count} }}", &["'{ size='", "=count", "' }'"]);
        check("{a,[n]s8}{ b }", &["=a,[n]s8", "=b"]);
        check("{c == '}' ? \"\\\"}\" : x}!", &["=c == '}' ? \"\\\"}\" : x", "'!'"]);
        check("{open", &["'{open'"]);
        check("a } b", &["'a } b'"]);
        check("", &[]);
    }
}
