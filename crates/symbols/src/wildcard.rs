//! The debugger's wildcards in names of symbols.
//!
//! `*` any run, `?` one character, `[a-z]` one of a set, `#` zero or more of the preceding, `+` one or more of it,
//! `\` takes the next literally; a leading `_` matches any number of underscores. Letters match in any case, unless it is
//! said that case counts.
//! Source: the reference's "String Wildcard Syntax" and "Symbol Syntax and Symbol Matching".

use crate::CaseRule;

/// A pattern, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wildcard {
    items: Vec<Item>,
    /// Letters of the items are lower case where it does not count.
    case_counts: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    what: What,
    repeat: Repeat,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Char(char),
    Any,
    Set(Vec<(char, char)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    Once,
    ZeroOrMore,
    OneOrMore,
}

impl Wildcard {
    /// Whether `text` holds a character that makes it a pattern rather than a name.
    pub fn is_pattern(text: &str) -> bool {
        text.contains(['*', '?', '[', '#'])
    }

    /// Parses a pattern. Anything is one: an unfinished set or escape stands for itself.
    pub fn new(pattern: &str) -> Wildcard {
        Wildcard::with_case(pattern, CaseRule::Ignore)
    }

    /// The same for letters that match in their own case only, or in any.
    pub fn with_case(pattern: &str, case: CaseRule) -> Wildcard {
        let case_counts = case == CaseRule::Exact;
        let fold = |letter| if case_counts { letter } else { fold(letter) };
        let mut items: Vec<Item> = Vec::new();
        let mut chars = pattern.chars().peekable();
        if chars.peek() == Some(&'_') {
            chars.next();
            items.push(Item { what: What::Char('_'), repeat: Repeat::ZeroOrMore });
        }
        while let Some(next) = chars.next() {
            let what = match next {
                '*' => {
                    items.push(Item { what: What::Any, repeat: Repeat::ZeroOrMore });
                    continue;
                }
                '#' | '+' if !items.is_empty() => {
                    if let Some(last) = items.last_mut() {
                        last.repeat = match (next, last.repeat) {
                            ('+', Repeat::Once) => Repeat::OneOrMore,
                            _ => Repeat::ZeroOrMore,
                        };
                    }
                    continue;
                }
                '?' => What::Any,
                '[' => parse_set(&mut chars, &fold).unwrap_or(What::Char('[')),
                '\\' => What::Char(fold(chars.next().unwrap_or('\\'))),
                literal => What::Char(fold(literal)),
            };
            items.push(Item { what, repeat: Repeat::Once });
        }
        Wildcard { items, case_counts }
    }

    /// Whether all of `text` fits the pattern. Takes time proportional to the product of both lengths at most.
    pub fn matches(&self, text: &str) -> bool {
        // The set of places in the pattern that can be reached, as in an NFA.
        let mut reached = vec![false; self.items.len() + 1];
        let mut next = reached.clone();
        if let Some(start) = reached.first_mut() {
            *start = true;
        }
        self.skip_optional(&mut reached);
        for letter in text.chars().map(|letter| if self.case_counts { letter } else { fold(letter) }) {
            next.fill(false);
            let mut any = false;
            for (at, item) in self.items.iter().enumerate() {
                if !reached.get(at).copied().unwrap_or(false) || !item.what.accepts(letter) {
                    continue;
                }
                any = true;
                if let Some(after) = next.get_mut(at + 1) {
                    *after = true;
                }
                if item.repeat != Repeat::Once
                    && let Some(again) = next.get_mut(at)
                {
                    *again = true;
                }
            }
            if !any {
                return false;
            }
            std::mem::swap(&mut reached, &mut next);
            self.skip_optional(&mut reached);
        }
        reached.last().copied().unwrap_or(false)
    }

    fn skip_optional(&self, reached: &mut [bool]) {
        for (at, item) in self.items.iter().enumerate() {
            if item.repeat == Repeat::ZeroOrMore
                && reached.get(at).copied().unwrap_or(false)
                && let Some(after) = reached.get_mut(at + 1)
            {
                *after = true;
            }
        }
    }

    /// Whether the pattern was typed with a leading `_`, as linkage names are.
    pub(crate) fn begins_with_underscore(&self) -> bool {
        self.items.first().is_some_and(|item| item.what == What::Char('_'))
    }

    /// Letters, lower case, that every text that fits begins with.
    pub(crate) fn literal_prefix(&self) -> String {
        let letter = |item: &Item| match (&item.what, item.repeat) {
            (What::Char(letter), Repeat::Once) => Some(fold(*letter)),
            _ => None,
        };
        self.items.iter().map_while(letter).collect()
    }

    /// Letters, lower case, that every text that fits holds in this order at one place; for a quick refusal.
    pub(crate) fn longest_literal(&self) -> String {
        let mut longest = String::new();
        let mut run = String::new();
        for item in &self.items {
            match (&item.what, item.repeat) {
                (What::Char(letter), Repeat::Once) => run.push(fold(*letter)),
                _ => {
                    if run.len() > longest.len() {
                        longest = std::mem::take(&mut run);
                    }
                    run.clear();
                }
            }
        }
        if run.len() > longest.len() { run } else { longest }
    }
}

impl What {
    fn accepts(&self, letter: char) -> bool {
        match self {
            What::Char(expected) => *expected == letter,
            What::Any => true,
            What::Set(ranges) => ranges.iter().any(|(low, high)| (*low..=*high).contains(&letter)),
        }
    }
}

fn parse_set(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, fold: &dyn Fn(char) -> char) -> Option<What> {
    let mut ahead = chars.clone();
    let mut ranges = Vec::new();
    loop {
        let low = match ahead.next()? {
            ']' if !ranges.is_empty() => break,
            '\\' => ahead.next()?,
            letter => letter,
        };
        let high = if ahead.peek() == Some(&'-') && ahead.clone().nth(1).is_some_and(|letter| letter != ']') {
            ahead.next();
            ahead.next()?
        } else {
            low
        };
        ranges.push((fold(low), fold(high)));
    }
    *chars = ahead;
    Some(What::Set(ranges))
}

fn fold(letter: char) -> char {
    letter.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, fits: &[&str], does_not: &[&str]) {
        let wildcard = Wildcard::new(pattern);
        for text in fits {
            assert!(wildcard.matches(text), "{pattern} fits {text}");
            assert!(text.to_lowercase().starts_with(&wildcard.literal_prefix()), "{pattern} {text}");
            assert!(text.to_lowercase().contains(&wildcard.longest_literal()), "{pattern} {text}");
        }
        for text in does_not {
            assert!(!wildcard.matches(text), "{pattern} does not fit {text}");
        }
    }

    #[test]
    fn every_element() {
        check("main", &["main", "MAIN"], &["mai", "main2", ""]);
        check("*", &["", "anything"], &[]);
        check("fo*bar", &["fobar", "fooXbar", "fo::bar"], &["fobarx"]);
        check("f?o", &["foo", "f-o"], &["fo", "fooo"]);
        check("[a-cx]1", &["a1", "B1", "x1"], &["d1", "1"]);
        check("ab#c", &["ac", "abc", "abbbc"], &["adc"]);
        check("ab+c", &["abc", "abbc"], &["ac"]);
        check("[ab]#c", &["c", "abac"], &["abd"]);
        check(r"a\*b", &["a*b"], &["axb"]);
        check("_foo", &["foo", "_foo", "___foo"], &["x_foo"]);
        check("std::vector<*>::push_back", &["std::vector<int, std::allocator<int> >::push_back"], &["std::vector"]);
    }

    #[test]
    fn case_counts_where_that_is_said() {
        let wildcard = Wildcard::with_case("Ma[I-K]*\\N", CaseRule::Exact);
        assert!(wildcard.matches("MaIN") && wildcard.matches("MaJxN"));
        assert!(!wildcard.matches("maIN") && !wildcard.matches("MaiN") && !wildcard.matches("MaIn"));
        assert_eq!((wildcard.literal_prefix(), wildcard.longest_literal()), ("ma".into(), "ma".into()));
    }

    #[test]
    fn odd_patterns_stand_for_themselves() {
        check("[ab", &["[ab"], &["a"]);
        check("#a", &["#a"], &["a"]);
        check("a\\", &["a\\"], &["a"]);
        check("[]]", &["]"], &[]);
        check("[a-]", &["a", "-"], &["b"]);
        check("", &[""], &["a"]);
    }

    #[test]
    fn stars_do_not_explode() {
        let wildcard = Wildcard::new(&"*a".repeat(50));
        assert!(!wildcard.matches(&"a".repeat(2000).replace("aa", "ab")[..1500]));
    }
}
