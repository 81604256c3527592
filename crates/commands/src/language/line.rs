//! Cutting a line at its separators.

/// Cuts the first command off `line`, whose separator, `;` or a line end, is left out; gives it and the rest.
///
/// A `;` in double quotes, in grave accents of a source line or inside braces separates nothing, and neither does `';'`
/// where an expression or bytes are all that the command takes: in others an apostrophe may stand alone.
pub(crate) fn cut_command(line: &str) -> (&str, &str) {
    let mut depth = 0usize;
    let constants = constants_of(line);
    for (at, c) in outside_quotes(line, constants) {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ';' | '\n' if depth == 0 => return (&line[..at], &line[at + 1..]),
            _ => {}
        }
    }
    (line, "")
}

/// What apostrophes are to the command at the start of `line`: one that evaluates what follows it has constants, one that
/// writes or looks for bytes has single characters.
fn constants_of(line: &str) -> Constants {
    let line = line.trim_start();
    let word = line.split(|c: char| c.is_whitespace()).next().unwrap_or_default();
    let is = |names: &[&str]| names.iter().any(|name| word.eq_ignore_ascii_case(name));
    match () {
        () if line.starts_with('?') || is(&["dx", "r", ".printf"]) => Constants::PassedOver,
        () if is(&["eb", "ew", "ed", "eq", "ep", "e", "f", "fp", "s"]) => Constants::Single,
        () => Constants::AsText,
    }
}

/// What apostrophes are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Constants {
    /// Characters as any other.
    AsText,
    /// They enclose single characters, which are none of the text's; else they are as any other.
    Single,
    /// They enclose character constants, whose characters are none of the text's.
    PassedOver,
}

/// The characters of commands that stand outside double quotes, and where, without what is a character by itself in
/// apostrophes: `'{'`, `'\''`. A backslash in quotes protects what follows it.
pub(crate) fn unquoted_in_commands(text: &str) -> impl Iterator<Item = (usize, char)> {
    outside_quotes(text, Constants::Single)
}

/// The same of an expression, without what stands in character constants.
pub(crate) fn unquoted_in_expression(text: &str) -> impl Iterator<Item = (usize, char)> {
    outside_quotes(text, Constants::PassedOver)
}

fn outside_quotes(text: &str, constants: Constants) -> impl Iterator<Item = (usize, char)> {
    let (mut quoted, mut escaped, mut constant_end) = (false, false, 0);
    text.char_indices().filter(move |&(at, c)| {
        match c {
            _ if at < constant_end => {}
            _ if std::mem::take(&mut escaped) => {}
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '\'' if !quoted && constants != Constants::AsText => {
                let len = constant_len(&text[..at], &text[at..]);
                let is_single = |len: usize| {
                    let inside = text[at..at + len].trim_matches('\'');
                    inside.starts_with('\\') || inside.chars().count() == 1
                };
                match len.filter(|len| constants == Constants::PassedOver || is_single(*len)) {
                    Some(len) => constant_end = at + len,
                    None => return true,
                }
            }
            _ => return !quoted,
        }
        false
    })
}

/// How long the character constant is that `text` begins with, in bytes; `None` if the apostrophe is none's, as in
/// `1'000`.
fn constant_len(before: &str, text: &str) -> Option<usize> {
    // `u8'x'` and `U'\u{10ffff}'` are the longest of their kind.
    const LONGEST: usize = 12;
    let words = before.len() - before.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_').len();
    let prefix = &before[before.len() - words..];
    if !["", "L", "u", "U", "u8", "b"].contains(&prefix) {
        return None;
    }
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1).take(LONGEST) {
        match c {
            '\n' => return None,
            _ if std::mem::take(&mut escaped) => {}
            '\\' => escaped = true,
            '\'' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Splits a command line of a program into words: blanks separate, quotes keep together, a backslash takes the next
/// character literally (in double quotes only before `"` and `\`), as in a shell without expansion.
pub(crate) fn split_quoted(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_with(String::new);
                word.extend(chars.by_ref().take_while(|&c| c != '\''));
            }
            '"' => {
                let word = word.get_or_insert_with(String::new);
                while let Some(c) = chars.next() {
                    match c {
                        '"' => break,
                        '\\' if matches!(chars.peek(), Some('"' | '\\')) => word.extend(chars.next()),
                        other => word.push(other),
                    }
                }
            }
            '\\' => word.get_or_insert_with(String::new).extend(chars.next()),
            other => word.get_or_insert_with(String::new).push(other),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_in_quotes_and_braces_separate_nothing() {
        let check = |line, first, rest| assert_eq!(cut_command(line), (first, rest), "{line}");
        check("k; g", "k", " g");
        check(r#"bp main "k; g"; g"#, r#"bp main "k; g""#, " g");
        check(r#".echo "a\";b"; k"#, r#".echo "a\";b""#, " k");
        check(".if (1) {k; g}; k", ".if (1) {k; g}", " k");
        check("?? ';'; k", "?? ';'", " k");
        check("?? *p == '\"' && L'{' != c; k", "?? *p == '\"' && L'{' != c", " k");
        check(r"r al = '\'';k", r"r al = '\''", "k");
        check("eb @rsp ';' 'a' ; k", "eb @rsp ';' 'a' ", " k");
        check("s -b @rsp l10 ';';k", "s -b @rsp l10 ';'", "k");
        check("s -a @rsp l10 it's; k", "s -a @rsp l10 it's", " k");
        check("?? 1'000 + 2'000; k", "?? 1'000 + 2'000", " k");
        check("? 1'0; k '", "? 1'0", " k '");
        check(".echo it's; j x 'k';'g'", ".echo it's", " j x 'k';'g'");
        check("j x ' k ';' g'", "j x ' k '", "' g'");
        check("k", "k", "");
        check(";k", "", "k");
        check(r#"bp main "unfinished; g"#, r#"bp main "unfinished; g"#, "");
    }

    #[test]
    fn words_as_a_shell_splits_them() {
        let check = |text, expected: &[&str]| assert_eq!(split_quoted(text), expected, "{text}");
        check("a  b", &["a", "b"]);
        check(r#"a "b c" 'd "e' f\ g"#, &["a", "b c", "d \"e", "f g"]);
        check(r#""" x"#, &["", "x"]);
        check(r#""a\"b\n""#, &["a\"b\\n"]);
        check("", &[]);
    }
}
