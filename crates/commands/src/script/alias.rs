//! Aliases: names that stand for text, replaced in a line or block before its commands are looked at.
//!
//! | written | meaning |
//! | --- | --- |
//! | `name` between blanks, `;`, quotes, braces or the ends of the text | its value |
//! | `${name}` anywhere | its value; as it stands, if there is none |
//! | `${/f:name}` | its value; nothing, if there is none |
//! | `${/d:name}` | 1 if there is one, else 0 |
//! | `${/n:name}` | its name, if there is one; else as it stands |
//! | `${/v:name}` | stays as it is, for commands that name an alias |
//! | `$u0` to `$u9` anywhere | the fixed ones; nothing, if not set, but in braces, where the block's beginning decides |
//!
//! A text that begins with `as`, `aS`, `ad` or `al` is left alone, and so is the name behind one of them further on.

use std::collections::BTreeMap;

/// The aliases of a session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Aliases {
    named: BTreeMap<String, String>,
    fixed: [String; 10],
}

/// Commands about aliases, whose arguments are names.
const OWN_COMMANDS: [&str; 4] = ["as", "aS", "ad", "al"];
/// Longest that a text becomes: values hold values, and what doubles at each use fills the memory.
const MAX_EXPANDED: usize = 1 << 20;

impl Aliases {
    /// Gives `name` a value.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.named.insert(name.to_owned(), value.to_owned());
    }

    /// Forgets one; whether it was there.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        self.named.remove(name).is_some()
    }

    /// Forgets all that have names.
    pub(crate) fn clear(&mut self) {
        self.named.clear();
    }

    /// Those that have names, with their values, in order.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&str, &str)> {
        self.named.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Gives `$u0` to `$u9` a value.
    pub(crate) fn set_fixed(&mut self, index: usize, value: &str) {
        if let Some(fixed) = self.fixed.get_mut(index) {
            value.clone_into(fixed);
        }
    }

    /// `text` with everything replaced once, by those of users before the `automatic` ones; `None` if that is too long.
    pub(crate) fn expand(&self, text: &str, automatic: &[(&str, String)]) -> Option<String> {
        let is_own = OWN_COMMANDS.iter().any(|command| begins_with_word(text.trim_start(), command));
        if is_own || (self.named.is_empty() && !text.contains('$')) {
            return Some(text.to_owned());
        }
        let value = |word: &str| {
            let own = || automatic.iter().find(|(name, _)| *name == word).map(|(_, value)| value.as_str());
            self.named.get(word).map(String::as_str).or_else(own)
        };
        replace(text, &value, Some(&self.fixed))
    }
}

/// `text` with the one name `name` replaced by `value`, as an alias would be.
pub(crate) fn substitute(text: &str, name: &str, value: &str) -> Option<String> {
    replace(text, &|word| (word == name).then_some(value), None)
}

/// `fixed` is there if all names are ours: whichever has no value is none, and behind commands about names they stay. Else
/// those without a value are left for whoever knows them.
fn replace<'v>(text: &str, value: &dyn Fn(&str) -> Option<&'v str>, fixed: Option<&'v [String; 10]>) -> Option<String> {
    let mut replaced = String::new();
    let mut rest = text;
    let mut previous = None;
    let mut at_command = fixed.is_some();
    let mut depth = 0_usize;
    while let Some(c) = rest.chars().next() {
        let word = if previous.is_none_or(is_delimiter) { word_of(rest) } else { "" };
        let (len, text) = if at_command && OWN_COMMANDS.contains(&word) {
            let len = word.len() + name_behind(&rest[word.len()..]);
            (len, &rest[..len])
        } else if let Some((fixed, index)) =
            fixed.zip(fixed_of(rest)).filter(|(fixed, at)| depth == 0 || !fixed[*at].is_empty())
        {
            // What has no value yet may have one when a block of this text begins, whose text is gone through again.
            ("$u0".len(), fixed[index].as_str())
        } else if let Some(interpreted) = interpreted(rest, value, fixed.is_some()) {
            interpreted
        } else if let Some(found) = value(word).filter(|_| !word.is_empty()) {
            (word.len(), found)
        } else {
            (c.len_utf8(), &rest[..c.len_utf8()])
        };
        replaced.push_str(text);
        if replaced.len() > MAX_EXPANDED {
            return None;
        }
        depth = match c {
            '{' if len == 1 => depth + 1,
            '}' if len == 1 => depth.saturating_sub(1),
            _ => depth,
        };
        at_command = fixed.is_some() && (matches!(c, ';' | '{') || (at_command && c.is_whitespace()));
        previous = rest[..len].chars().next_back();
        rest = &rest[len..];
    }
    Some(replaced)
}

/// The length of a `${...}` at the start of `text` and what it becomes; `None` if it is not for us.
fn interpreted<'t, 'v: 't>(
    text: &'t str,
    value: &dyn Fn(&str) -> Option<&'v str>,
    all_ours: bool,
) -> Option<(usize, &'t str)> {
    let (len, form, name, _) = interpreter_of(text)?;
    let becomes = match (form, value(name)) {
        ("v", _) | (_, None) if !all_ours => return None,
        ("v", _) | ("" | "n", None) => &text[..len],
        ("d", found) => {
            if found.is_some() {
                "1"
            } else {
                "0"
            }
        }
        ("n", Some(_)) => name,
        (_, found) => found.unwrap_or_default(),
    };
    Some((len, becomes))
}

fn is_delimiter(c: char) -> bool {
    c.is_whitespace() || matches!(c, ';' | '"' | '{' | '}')
}

fn word_of(text: &str) -> &str {
    &text[..text.find(is_delimiter).unwrap_or(text.len())]
}

fn begins_with_word(text: &str, word: &str) -> bool {
    text.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

/// Length of switches and the name behind a command about aliases.
fn name_behind(text: &str) -> usize {
    let mut at = 0;
    loop {
        at += text[at..].find(|c: char| !c.is_whitespace()).unwrap_or(text.len() - at);
        let word = word_of(&text[at..]);
        at += word.len();
        if !word.starts_with('/') {
            return at;
        }
    }
}

/// The number of a fixed alias that `text` begins with.
fn fixed_of(text: &str) -> Option<usize> {
    let digit = text.strip_prefix("$u")?.chars().next()?;
    digit.to_digit(10).map(|digit| digit as usize)
}

/// What a `${...}` at the start of `text` says: its length, its form (`d`, `f`, `n`, `v` or nothing), its name, and the
/// text behind it.
fn interpreter_of(text: &str) -> Option<(usize, &str, &str, &str)> {
    let inside = text.strip_prefix("${")?;
    let end = inside.find('}')?;
    let content = inside[..end].trim();
    let (form, name) = match content.strip_prefix('/').and_then(|content| content.split_once(':')) {
        Some((form, name)) if matches!(form, "d" | "f" | "n" | "v") => (form, name.trim()),
        Some(_) => return None,
        None => ("", content),
    };
    Some((2 + end + 1, form, name, &inside[end + 1..]))
}

/// The name that an argument names: `${/v:name}` is how one writes it so that it is not replaced.
pub(crate) fn bare_name(argument: &str) -> &str {
    match interpreter_of(argument) {
        Some((_, "v", name, "")) => name,
        _ => argument,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aliases() -> Aliases {
        let mut aliases = Aliases::default();
        aliases.set("where", "k 5");
        aliases.set("n", "3");
        aliases.set_fixed(0, "rsp");
        aliases
    }

    #[test]
    fn names_are_replaced_where_they_stand_alone() {
        let check = |text: &str, expected: &str| {
            assert_eq!(aliases().expand(text, &[("$libc", "libc_so".into())]).unwrap(), expected, "{text}")
        };
        check("where", "k 5");
        check("where; r; where", "k 5; r; k 5");
        check("somewhere where.x nowhere", "somewhere where.x nowhere");
        check(".if (1) {where}", ".if (1) {k 5}");
        check("? ${n}+1", "? 3+1");
        check("? ${none}+1", "? ${none}+1");
        check("? 0${/f:none}", "? 0");
        check("? ${/d:n} + ${/d:none}", "? 1 + 0");
        check(".echo ${/n:n} ${/n:none}", ".echo n ${/n:none}");
        check("ad ${/v:n}", "ad ${/v:n}");
        check("? @$u0+$u1", "? @rsp+");
        check("as where r", "as where r");
        check("k; as /x n 5; ? n", "k; as /x n 5; ? 3");
        check("k; ad where; where", "k; ad where; k 5");
        check("${unclosed where", "${unclosed k 5");
        check("é where é", "é k 5 é");
        check("lm m $libc; x ${$libc}!puts", "lm m libc_so; x libc_so!puts");
    }

    #[test]
    fn loops_replace_their_variable_alone() {
        let check = |text: &str, expected: &str| assert_eq!(substitute(text, "x", "7").unwrap(), expected, "{text}");
        check("? x; ? max", "? 7; ? max");
        check("? ${x}1 + ${y}", "? 71 + ${y}");
        check(".foreach (y {z}) {? x}", ".foreach (y {z}) {? 7}");
        check("? ${/d:x}${/v:x}", "? 1${/v:x}");
    }

    #[test]
    fn values_that_double_are_given_up() {
        let mut aliases = Aliases::default();
        aliases.set("a", &"b ".repeat(MAX_EXPANDED / 4));
        assert!(aliases.expand("a", &[]).is_some());
        assert!(aliases.expand("a a a", &[]).is_none());
    }

    #[test]
    fn names_that_are_not_to_be_replaced_are_written_so() {
        assert_eq!(bare_name("${/v:name}"), "name");
        assert_eq!(bare_name("name"), "name");
        assert_eq!(bare_name("${name}"), "${name}");
    }
}
