//! The debugger's wildcards: `*`, `?`, `[a-z]`, `#` and `+` on the character before, `\` to escape.

/// How many steps one match may take; patterns with many stars are the only ones that come near.
const STEP_LIMIT: u32 = 200_000;

/// A pattern, ready to be matched without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wildcard {
    items: Vec<Item>,
    /// The characters before the first wildcard, in lower case.
    prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    accepts: Accepts,
    times: Times,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Accepts {
    Any,
    One(char),
    Set { ranges: Vec<(char, char)> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    Once,
    /// `#`, and `*` for any character.
    Any,
    /// `+`.
    AtLeastOnce,
}

impl Wildcard {
    /// Reads a pattern; every text is one. An unclosed `[` stands for itself.
    pub fn new(pattern: &str) -> Wildcard {
        let mut items: Vec<Item> = Vec::new();
        let mut rest = pattern.chars();
        while let Some(c) = rest.next() {
            let accepts = match c {
                '*' => {
                    items.push(Item { accepts: Accepts::Any, times: Times::Any });
                    continue;
                }
                '#' | '+' => {
                    let times = if c == '#' { Times::Any } else { Times::AtLeastOnce };
                    match items.last_mut().filter(|item| item.times == Times::Once) {
                        Some(item) => {
                            item.times = times;
                            continue;
                        }
                        None => Accepts::One(c),
                    }
                }
                '?' => Accepts::Any,
                '[' => match set(rest.as_str()) {
                    Some((ranges, used)) => {
                        rest = rest.as_str()[used..].chars();
                        Accepts::Set { ranges }
                    }
                    None => Accepts::One('['),
                },
                '\\' => Accepts::One(fold(rest.next().unwrap_or('\\'))),
                other => Accepts::One(fold(other)),
            };
            items.push(Item { accepts, times: Times::Once });
        }
        let literal = items.iter().map_while(|item| match item {
            Item { accepts: Accepts::One(c), times: Times::Once } => Some(*c),
            _ => None,
        });
        Wildcard { prefix: literal.collect(), items }
    }

    /// Whether `text` uses any wildcard character.
    pub fn is_pattern(text: &str) -> bool {
        text.contains(['*', '?', '[', '#', '+'])
    }

    /// What every match begins with, in lower case: for looking in a sorted list.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether it matches all of `text`.
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().map(fold).collect();
        let mut steps = STEP_LIMIT;
        matches(&self.items, &text, &mut steps)
    }
}

fn matches(items: &[Item], text: &[char], steps: &mut u32) -> bool {
    let mut items = items;
    let mut text = text;
    loop {
        *steps = steps.saturating_sub(1);
        if *steps == 0 {
            return false;
        }
        let Some((item, others)) = items.split_first() else { return text.is_empty() };
        match item.times {
            Times::Once => match text.split_first() {
                Some((c, rest)) if item.accepts(*c) => (items, text) = (others, rest),
                _ => return false,
            },
            Times::AtLeastOnce | Times::Any => {
                let longest = text.iter().take_while(|c| item.accepts(**c)).count();
                let least = usize::from(item.times == Times::AtLeastOnce);
                // A trailing run takes all or nothing.
                if others.is_empty() {
                    return longest == text.len() && longest >= least;
                }
                return (least..=longest).any(|count| matches(others, &text[count..], steps));
            }
        }
    }
}

impl Item {
    fn accepts(&self, c: char) -> bool {
        match &self.accepts {
            Accepts::Any => true,
            Accepts::One(one) => *one == c,
            Accepts::Set { ranges } => ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)),
        }
    }
}

/// The set after a `[` and its length with the `]`.
fn set(text: &str) -> Option<(Vec<(char, char)>, usize)> {
    let end = text.find(']').filter(|&end| end > 0)?;
    let chars: Vec<char> = text[..end].chars().map(fold).collect();
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(&low) = chars.get(at) {
        match (chars.get(at + 1), chars.get(at + 2)) {
            (Some('-'), Some(&high)) => {
                ranges.push((low, high));
                at += 3;
            }
            _ => {
                ranges.push((low, low));
                at += 1;
            }
        }
    }
    Some((ranges, end + 1))
}

fn fold(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, matching: &[&str], other: &[&str]) {
        let wildcard = Wildcard::new(pattern);
        for text in matching {
            assert!(wildcard.matches(text), "{pattern} should match {text}");
        }
        for text in other {
            assert!(!wildcard.matches(text), "{pattern} should not match {text}");
        }
    }

    #[test]
    fn wildcards_as_the_reference_has_them() {
        check("fo*ba?", &["foba1", "FOxxBAr"], &["foba", "xfobar"]);
        check("a[0-3x]c", &["a2c", "axc"], &["a4c", "ac"]);
        check("ab#c", &["ac", "abc", "abbbc"], &["adc"]);
        check("ab+c", &["abc", "abbc"], &["ac"]);
        check(r"a\*", &["a*"], &["ab"]);
        check("*", &["", "anything"], &[]);
        check("a[", &["a["], &["a"]);
        check("", &[""], &["a"]);
    }

    #[test]
    fn patterns_made_to_explode_end() {
        let wildcard = Wildcard::new(&"*a".repeat(40));
        assert!(!wildcard.matches(&"a".repeat(39)));
        assert!(!wildcard.matches(&format!("{}b", "a".repeat(200))));
    }

    #[test]
    fn prefixes_serve_sorted_lists() {
        assert_eq!(Wildcard::new("Foo_*").prefix(), "foo_");
        assert_eq!(Wildcard::new("fo#").prefix(), "f");
    }
}
