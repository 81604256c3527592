//! Cutting a line at its separators.

/// Cuts the first command off `line`, whose separator, `;` or a line end, is left out; gives it and the rest.
///
/// A `;` in double quotes, in grave accents of a source line or inside braces separates nothing.
pub(crate) fn cut_command(line: &str) -> (&str, &str) {
    let mut depth = 0usize;
    for (at, c) in unquoted(line) {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ';' | '\n' if depth == 0 => return (&line[..at], &line[at + 1..]),
            _ => {}
        }
    }
    (line, "")
}

/// The characters of `text` that stand outside double quotes, and where; a backslash in quotes protects what follows it.
pub(crate) fn unquoted(text: &str) -> impl Iterator<Item = (usize, char)> {
    let (mut quoted, mut escaped) = (false, false);
    text.char_indices().filter(move |&(_, c)| {
        match c {
            _ if std::mem::take(&mut escaped) => {}
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => return !quoted,
        }
        false
    })
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
