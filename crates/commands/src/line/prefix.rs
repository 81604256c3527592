//! The prefixes `~`, `|` and `||`: which threads, processes or systems, and what is done with them.

/// Which threads a prefix names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ThreadSpec {
    /// `~.`
    Current,
    /// `~#`
    Event,
    /// `~*`
    All,
    /// `~3`, decimal.
    Ordinal(u32),
    /// `~~[tid]`, an expression.
    SystemId(String),
    /// `~[expr]`, an ordinal.
    Expression(String),
}

/// What is done with the threads, processes or systems named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThreadVerb {
    /// List them.
    List,
    /// `s`: make it current.
    Select,
    /// `e`: run the rest of the line for each.
    Each,
    /// `f`
    Freeze,
    /// `u`
    Unfreeze,
    /// `n`
    Suspend,
    /// `m`
    Resume,
    /// A command with this prefix.
    Command,
}

/// A prefix taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prefix<'a> {
    /// Which; `None` if none was named (`~` alone lists all).
    pub(crate) which: Option<ThreadSpec>,
    /// What is done.
    pub(crate) verb: ThreadVerb,
    /// What is left: the commands of `e`, or the command with this prefix.
    pub(crate) rest: &'a str,
}

/// Takes apart what follows `~`, `|` or `||` (`sign`). Letters that are verbs for threads are not for the others.
/// `None`: brackets are not closed, or a number is too large.
pub(crate) fn parse_prefix<'a>(sign: &str, text: &'a str) -> Option<Prefix<'a>> {
    let text = text.trim_start();
    let (which, rest) = spec(text)?;
    let rest = rest.trim_start();
    let (first, behind) = rest.split_at_checked(1).unwrap_or(("", ""));
    let alone = !behind.starts_with(|next: char| next.is_alphanumeric() || matches!(next, '_' | '!' | '+' | '-'));
    let verb = match first {
        "" => ThreadVerb::List,
        "s" if alone => ThreadVerb::Select,
        "e" if alone && sign == "~" => ThreadVerb::Each,
        "f" if alone && sign == "~" => ThreadVerb::Freeze,
        "u" if alone && sign == "~" => ThreadVerb::Unfreeze,
        "n" if alone && sign == "~" => ThreadVerb::Suspend,
        "m" if alone && sign == "~" => ThreadVerb::Resume,
        _ => return Some(Prefix { which, verb: ThreadVerb::Command, rest }),
    };
    Some(Prefix { which, verb, rest: behind.trim_start() })
}

fn spec(text: &str) -> Option<(Option<ThreadSpec>, &str)> {
    let bracketed = |text: &str| -> Option<(String, usize)> {
        let end = text.find(']')?;
        Some((text[1..end].trim().into(), end + 1))
    };
    Some(match text.as_bytes() {
        [b'.', ..] => (Some(ThreadSpec::Current), &text[1..]),
        [b'#', ..] => (Some(ThreadSpec::Event), &text[1..]),
        [b'*', ..] => (Some(ThreadSpec::All), &text[1..]),
        [b'~', b'[', ..] => {
            let (inner, len) = bracketed(&text[1..])?;
            (Some(ThreadSpec::SystemId(inner)), &text[1 + len..])
        }
        [b'[', ..] => {
            let (inner, len) = bracketed(text)?;
            (Some(ThreadSpec::Expression(inner)), &text[len..])
        }
        [b'0'..=b'9', ..] => {
            let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
            (Some(ThreadSpec::Ordinal(text[..end].parse().ok()?)), &text[end..])
        }
        _ => (None, text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, which: Option<ThreadSpec>, verb: ThreadVerb, rest: &str) {
        assert_eq!(parse_prefix("~", text), Some(Prefix { which, verb, rest }), "{text}");
    }

    #[test]
    fn threads_and_verbs() {
        check("", None, ThreadVerb::List, "");
        check("*", Some(ThreadSpec::All), ThreadVerb::List, "");
        check("2s", Some(ThreadSpec::Ordinal(2)), ThreadVerb::Select, "");
        check("*e k; r", Some(ThreadSpec::All), ThreadVerb::Each, "k; r");
        check(". f", Some(ThreadSpec::Current), ThreadVerb::Freeze, "");
        check("~[0n1234] s", Some(ThreadSpec::SystemId("0n1234".into())), ThreadVerb::Select, "");
        check("[@$t0]n", Some(ThreadSpec::Expression("@$t0".into())), ThreadVerb::Suspend, "");
    }

    #[test]
    fn commands_with_a_prefix() {
        check("*k", Some(ThreadSpec::All), ThreadVerb::Command, "k");
        check("2 bp main", Some(ThreadSpec::Ordinal(2)), ThreadVerb::Command, "bp main");
        check("*kpn", Some(ThreadSpec::All), ThreadVerb::Command, "kpn");
        check("#r rax", Some(ThreadSpec::Event), ThreadVerb::Command, "r rax");
        check("0 uf main", Some(ThreadSpec::Ordinal(0)), ThreadVerb::Command, "uf main");
        assert_eq!(parse_prefix("~", "[1"), None);
        assert_eq!(parse_prefix("~", "99999999999s"), None);
    }
}
