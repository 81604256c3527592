//! Names of types as views write them: `ns::list<*,int>`.

/// Templates within templates that are told apart; deeper ones are taken as they are written.
const DEPTH_LIMIT: usize = 32;
/// Namespaces in `std` that libraries version their types with; nobody writes them in a view.
const INLINE_NAMESPACES: &[&str] = &["__cxx11", "__debug", "__cxx1998", "__1"];

/// A name in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TypePattern {
    root: Part,
}

/// An argument of a template, or the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    /// As it is written.
    text: String,
    segments: Vec<Segment>,
}

/// `vector<int>` of `ns::vector<int>::iterator`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    name: String,
    arguments: Option<Vec<Part>>,
}

/// How well a pattern matches, the better the greater: names that are written out, then wildcards that stand for one
/// argument each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fit {
    /// Letters of names that are written out.
    pub(super) written: usize,
    /// Templates all of whose arguments are told one by one.
    pub(super) single: usize,
}

impl TypePattern {
    pub(super) fn parse(text: &str) -> TypePattern {
        TypePattern { root: Part::parse(text, DEPTH_LIMIT) }
    }

    /// What the wildcards stand for in the name of a type (`$T1`, `$T2`, ...), and how well they do.
    ///
    /// The last wildcard of a template stands for all arguments that are left, each with a number of its own.
    pub(super) fn matches(&self, of: &TypePattern) -> Option<(Vec<String>, Fit)> {
        let (mut captures, mut fit) = (Vec::new(), Fit::default());
        self.root.matches(&of.root, &mut captures, &mut fit).then_some((captures, fit))
    }
}

impl Part {
    fn parse(text: &str, depth: usize) -> Part {
        let text = text.trim();
        let whole = || vec![Segment { name: normal(text), arguments: None }];
        let segments = match depth.checked_sub(1) {
            Some(depth) => segments(text, depth).unwrap_or_else(whole),
            None => whole(),
        };
        Part { text: text.to_owned(), segments }
    }

    fn is_wildcard(&self) -> bool {
        self.text == "*"
    }

    fn matches(&self, of: &Part, captures: &mut Vec<String>, fit: &mut Fit) -> bool {
        if self.is_wildcard() {
            captures.push(of.text.clone());
            return true;
        }
        self.segments.len() == of.segments.len()
            && self.segments.iter().zip(&of.segments).all(|(own, other)| {
                fit.written += own.name.len();
                own.name == other.name
                    && match (&own.arguments, &other.arguments) {
                        (None, None) => true,
                        (Some(own), Some(other)) => match_arguments(own, other, captures, fit),
                        _ => false,
                    }
            })
    }
}

fn match_arguments(own: &[Part], other: &[Part], captures: &mut Vec<String>, fit: &mut Fit) -> bool {
    let takes_rest = own.last().is_some_and(Part::is_wildcard) && other.len() > own.len();
    if !takes_rest && own.len() != other.len() {
        return false;
    }
    fit.single += usize::from(!takes_rest);
    if !own.iter().zip(other).all(|(own, other)| own.matches(other, captures, fit)) {
        return false;
    }
    captures.extend(other.iter().skip(own.len()).map(|part| part.text.clone()));
    true
}

/// `ns::list<int>::node` as `ns`, `list` with `int`, `node`; `None` if the brackets make no sense.
fn segments(text: &str, depth: usize) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    let mut rest = text;
    loop {
        let end = outside(rest, |rest| rest.starts_with("::") || rest.starts_with('<') && !is_operator(text, rest))?;
        let (name, after) = rest.split_at(end);
        let mut segment = Segment { name: normal(name), arguments: None };
        rest = after;
        if let Some(inside) = rest.strip_prefix('<') {
            let close = outside(inside, |rest| rest.starts_with('>'))?;
            let (list, after) = inside.split_at(close);
            segment.arguments = Some(arguments(list, depth)?);
            rest = after.strip_prefix('>')?;
        }
        let next = outside(rest, |rest| rest.starts_with("::"))?;
        // `list<int> *`: what follows a template belongs to its name.
        segment.name.push_str(&normal(&rest[..next]));
        rest = &rest[next..];
        let is_versioned = matches!(&segments[..], [Segment { name, .. }] if name == "std")
            && segment.arguments.is_none()
            && INLINE_NAMESPACES.contains(&segment.name.as_str())
            && rest.starts_with("::");
        if !is_versioned {
            segments.push(segment);
        }
        match rest.strip_prefix("::") {
            Some(after) => rest = after,
            None => return Some(segments),
        }
    }
}

fn arguments(list: &str, depth: usize) -> Option<Vec<Part>> {
    let mut arguments = Vec::new();
    let mut rest = list;
    if rest.trim().is_empty() {
        return Some(arguments);
    }
    loop {
        let end = outside(rest, |rest| rest.starts_with(','))?;
        arguments.push(Part::parse(&rest[..end], depth));
        match rest[end..].strip_prefix(',') {
            Some(after) => rest = after,
            None => return Some(arguments),
        }
    }
}

/// Where `wanted` holds first outside of brackets; the end if nowhere. `None` if brackets do not match.
fn outside(text: &str, wanted: impl Fn(&str) -> bool) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        let rest = &text[at..];
        // Rust's `fn(i32) -> i32`.
        if c == '>' && text[..at].ends_with('-') {
            continue;
        }
        if depth == 0 && wanted(rest) {
            return Some(at);
        }
        match c {
            '<' | '(' | '[' | '{' => depth += 1,
            '>' | ')' | ']' | '}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    (depth == 0).then_some(text.len())
}

/// Whether the `<` at the start of `rest` belongs to `operator<`.
fn is_operator(text: &str, rest: &str) -> bool {
    text[..text.len() - rest.len()].trim_end_matches('<').ends_with("operator")
}

/// A name without the spaces and words that compilers differ in.
fn normal(name: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let words = name.split_whitespace().filter(|word| !matches!(*word, "struct" | "class" | "union" | "enum"));
    words.fold(String::new(), |mut text, word| {
        if text.ends_with(is_word) && word.starts_with(is_word) {
            text.push(' ');
        }
        text.push_str(word);
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pattern: &str, name: &str, expected: Option<&[&str]>) {
        let found = TypePattern::parse(pattern).matches(&TypePattern::parse(name));
        let found = found.as_ref().map(|(captures, _)| captures.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(found.as_deref(), expected, "{pattern} of {name}");
    }

    #[test]
    fn wildcards_stand_for_arguments() {
        check("point", "point", Some(&[]));
        check("point", "ns::point", None);
        check("ns::list<*>", "ns::list<int>", Some(&["int"]));
        check("ns::list<*>", "ns::list<int, std::allocator<int> >", Some(&["int", "std::allocator<int>"]));
        check("list<*,*>", "list<int>", None);
        check("list<int,*>", "list<long, char *>", None);
        check("list<pair<*, int>,*>", "list<pair<char *, int>, less<char *> >", Some(&["char *", "less<char *>"]));
        check("std::vector<*>", "std::__cxx11::vector<unsigned   int>", Some(&["unsigned   int"]));
        // What a wildcard stands for is what the type is called: it goes into expressions.
        check("box<*>", "box<std::__cxx11::basic_string<char> >", Some(&["std::__cxx11::basic_string<char>"]));
        check("box<std::basic_string<*>>", "box<std::__cxx11::basic_string<char> >", Some(&["char"]));
        check("std::__1", "std::__1", Some(&[]));
        check("list<*>::node", "list<int>::node", Some(&["int"]));
        check("list<*>", "list<int>::node", None);
        check("map<*>", "map<(i32, &str), fn(u8) -> [u8; 4]>", Some(&["(i32, &str)", "fn(u8) -> [u8; 4]"]));
        check("unit<>", "unit<>", Some(&[]));
        check("unit<>", "unit<int>", None);
        check("*", "anything<int>", Some(&["anything<int>"]));
        check("struct point", "point", Some(&[]));
        check("array<int,3>", "array<int, 3>", Some(&[]));
    }

    #[test]
    fn what_is_written_out_fits_better() {
        let fit =
            |pattern: &str| TypePattern::parse(pattern).matches(&TypePattern::parse("list<int, std::less>")).unwrap().1;
        assert!(fit("list<int,*>") > fit("list<*,*>"));
        assert!(fit("list<*,*>") > fit("list<*>"));
        assert!(fit("list<*>") > fit("*"));
    }

    proptest! {
        #[test]
        fn every_name_is_its_own_pattern(tokens in prop::collection::vec(prop::sample::select(TOKENS), 0..30)) {
            let name = tokens.concat();
            let parsed = TypePattern::parse(&name);
            prop_assert!(parsed.matches(&parsed).is_some(), "{name}");
        }
    }

    const TOKENS: &[&str] = &[
        "a",
        "b",
        "::",
        "<",
        ">",
        ",",
        " ",
        "*",
        "(",
        ")",
        "[",
        "]",
        "operator<",
        "->",
        "struct ",
        "\u{e9}",
        "std::__1::",
    ];
}
