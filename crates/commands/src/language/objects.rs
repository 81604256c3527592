//! `~2`, `|*`, `||.`: which thread, process or system.

/// Which thread a `~` prefix means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ThreadSpec {
    /// `~.`, and `~` alone before a command.
    Current,
    /// `~#`.
    Event,
    /// `~*`.
    All,
    /// `~3`.
    Ordinal(u32),
    /// `~~[tid]`: the text of an expression.
    Id(String),
    /// `~[expression]`: the ordinal by an expression.
    Expression(String),
}

/// Which process a `|` prefix means; as [`ThreadSpec`].
pub(crate) type ProcessSpec = ThreadSpec;
/// Which system a `||` prefix means; as [`ThreadSpec`], without ids.
pub(crate) type SystemSpec = ThreadSpec;

impl ThreadSpec {
    /// Reads what stands after the `~`, `|` or `||`; gives it, `None` if nothing does, and the rest of the text.
    pub(crate) fn parse(text: &str) -> (Option<ThreadSpec>, &str) {
        let text = text.trim_start();
        let bracketed = |inner: &'_ str| inner.find(']').map(|end| (inner[..end].trim().to_owned(), end + 1));
        if let Some(inner) = text.strip_prefix("~[") {
            return match bracketed(inner) {
                Some((id, used)) => (Some(ThreadSpec::Id(id)), &inner[used..]),
                None => (None, text),
            };
        }
        if let Some(inner) = text.strip_prefix('[') {
            return match bracketed(inner) {
                Some((expression, used)) => (Some(ThreadSpec::Expression(expression)), &inner[used..]),
                None => (None, text),
            };
        }
        let single = |spec| (Some(spec), &text[1..]);
        match text.chars().next() {
            Some('.') => single(ThreadSpec::Current),
            Some('#') => single(ThreadSpec::Event),
            Some('*') => single(ThreadSpec::All),
            Some(c) if c.is_ascii_digit() => {
                let len = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
                match text[..len].parse() {
                    Ok(ordinal) => (Some(ThreadSpec::Ordinal(ordinal)), &text[len..]),
                    Err(_) => (None, text),
                }
            }
            _ => (None, text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_of_threads() {
        let check = |text, spec, rest| assert_eq!(ThreadSpec::parse(text), (spec, rest), "{text}");
        check(".", Some(ThreadSpec::Current), "");
        check("#s", Some(ThreadSpec::Event), "s");
        check("*k 2", Some(ThreadSpec::All), "k 2");
        check("12s", Some(ThreadSpec::Ordinal(12)), "s");
        check("~[0n77] k", Some(ThreadSpec::Id("0n77".into())), " k");
        check("[@$t0]s", Some(ThreadSpec::Expression("@$t0".into())), "s");
        check("k", None, "k");
        check("", None, "");
        check("99999999999s", None, "99999999999s");
        check(".s", Some(ThreadSpec::Current), "s");
    }
}
