//! Pieces of control tokens: `{ commands }` and `( text )`, cut from the start of a text.

use crate::CommandError;
use crate::language::{unquoted_in_commands, unquoted_in_expression};

/// The inside of the braces that `text` begins with, and what follows them.
///
/// # Errors
/// If there are none, or they are not closed.
pub(crate) fn braces(text: &str) -> Result<(&str, &str), CommandError> {
    enclosed(text, '{', '}', unquoted_in_commands)
}

/// The same for parentheses, which hold an expression: in its character constants they close nothing.
///
/// # Errors
/// As [`braces`].
pub(crate) fn parentheses(text: &str) -> Result<(&str, &str), CommandError> {
    enclosed(text, '(', ')', unquoted_in_expression)
}

/// Cuts at the `;` that stand outside quotes, character constants, braces and parentheses, `count` pieces at most.
pub(crate) fn pieces(text: &str, count: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut begin = 0;
    let mut depth = 0_usize;
    for (at, c) in unquoted_in_expression(text) {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth = depth.saturating_sub(1),
            ';' if depth == 0 && pieces.len() + 1 < count => {
                pieces.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[begin..]);
    pieces
}

fn enclosed<'a, I: Iterator<Item = (usize, char)>>(
    text: &'a str,
    open: char,
    close: char,
    characters: impl Fn(&'a str) -> I,
) -> Result<(&'a str, &'a str), CommandError> {
    let text = text.trim_start();
    if !text.starts_with(open) {
        let found = text.split_whitespace().next().unwrap_or("the end");
        return Err(CommandError::invalid(format!("'{open}' is missing before {found}")));
    }
    let mut depth = 0_usize;
    for (at, c) in characters(text) {
        match c {
            c if c == open => depth += 1,
            c if c == close => {
                depth -= 1;
                if depth == 0 {
                    return Ok((&text[1..at], &text[at + 1..]));
                }
            }
            _ => {}
        }
    }
    Err(CommandError::invalid(format!("'{open}' is not closed by '{close}'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_enclosed_may_enclose() {
        assert_eq!(braces(" {a {b} \"}\" c} d").unwrap(), ("a {b} \"}\" c", " d"));
        assert_eq!(parentheses("(1 + (2))").unwrap(), ("1 + (2)", ""));
        assert_eq!(parentheses("(c == ')') {k}").unwrap(), ("c == ')'", " {k}"));
        assert_eq!(braces("{.echo it's} d").unwrap(), (".echo it's", " d"));
        assert_eq!(braces(r#"{?? '"'; ?? '}'; ?? '\''} d"#).unwrap(), (r#"?? '"'; ?? '}'; ?? '\''"#, " d"));
        assert_eq!(braces("{j x '.if (a) {k}';'g (1)';'}").unwrap(), ("j x '.if (a) {k}';'g (1)';'", ""));
        assert_eq!(braces("{}").unwrap(), ("", ""));
        assert_eq!(braces("k").unwrap_err().message(), "'{' is missing before k");
        assert_eq!(braces("").unwrap_err().message(), "'{' is missing before the end");
        assert_eq!(braces("{a; {b}").unwrap_err().message(), "'{' is not closed by '}'");
    }

    #[test]
    fn pieces_are_cut_outside_of_what_is_enclosed() {
        assert_eq!(pieces("r $t0=0; @$t0 < 5; r $t0=1; k", 3), ["r $t0=0", " @$t0 < 5", " r $t0=1; k"]);
        assert_eq!(pieces(";; ", 3), ["", "", " "]);
        assert_eq!(pieces("a \";\" (b;c); d", 3), ["a \";\" (b;c)", " d"]);
    }
}
