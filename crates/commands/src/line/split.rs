//! Where one command ends and the next begins, and where a command's name ends.

/// The first command of a line and what follows its `;`. Quotation marks, backquotes and braces hold it together.
pub(crate) fn first_command(line: &str) -> (&str, &str) {
    let (mut quoted, mut source_line, mut depth, mut escaped) = (false, false, 0_u32, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if !source_line => quoted = !quoted,
            b'`' if !quoted => source_line = !source_line && opens_source_line(&line[at + 1..]),
            _ if quoted || source_line => {}
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => return (&line[..at], &line[at + 1..]),
            _ => {}
        }
    }
    (line, "")
}

/// A backquote also stands within numbers (``7fff`ffffe010``); it opens a source line only if another one closes it.
fn opens_source_line(rest: &str) -> bool {
    rest.find('`').is_some_and(|end| rest[..end].contains(':'))
}

/// The name that a command begins with, and what is behind it. A name is a run of letters with its leading `.` or `!`,
/// one of the signs that are names by themselves, or such a sign with what belongs to it (`l+t`, `??`).
pub(crate) fn name_of(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let letters = |from: usize, accept: fn(char) -> bool| {
        text[from..].find(|character: char| !accept(character)).map_or(text.len(), |len| from + len)
    };
    let end = match text.chars().next() {
        Some('.' | '!') => letters(1, |character| character.is_alphanumeric() || matches!(character, '_' | '.')),
        Some('?') => 1 + usize::from(text[1..].starts_with('?')),
        Some('*' | '#' | ';') => 1,
        Some('$') if text.starts_with("$$") => 2,
        Some('l') if text[1..].starts_with(['+', '-']) => {
            letters(2, |character| character.is_alphabetic() || character == '*')
        }
        Some(first) if first.is_alphabetic() => letters(0, char::is_alphabetic),
        Some(first) => first.len_utf8(),
        None => 0,
    };
    (&text[..end], &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_end_at_a_semicolon_outside_quotes() {
        assert_eq!(first_command("k; g"), ("k", " g"));
        assert_eq!(first_command(r#"bp main "k; g"; r"#), (r#"bp main "k; g""#, " r"));
        assert_eq!(first_command(r#".echo "a\";b"; r"#), (r#".echo "a\";b""#, " r"));
        assert_eq!(first_command("bp `a;b.c:5`; g"), ("bp `a;b.c:5`", " g"));
        assert_eq!(first_command("db 7fff`0000; g"), ("db 7fff`0000", " g"));
        assert_eq!(first_command(".if (1) {k; g}; r"), (".if (1) {k; g}", " r"));
        assert_eq!(first_command("k"), ("k", ""));
    }

    #[test]
    fn names_end_where_arguments_may_be_glued_on() {
        let check = |text, name, rest| assert_eq!(name_of(text), (name, rest), "{text}");
        check("bp0 main", "bp", "0 main");
        check("dd@esp", "dd", "@esp");
        check("??x", "??", "x");
        check("?5", "?", "5");
        check("l+t", "l+t", "");
        check("l-os", "l-os", "");
        check(".echo hi", ".echo", " hi");
        check("!address 0", "!address", " 0");
        check("$$ text", "$$", " text");
        check("* text", "*", " text");
        check("~2s", "~", "2s");
        check("", "", "");
    }
}
