//! How names are taken apart: scopes, template arguments.

/// Where the components of a qualified name begin and end: `a::b<c::d>::e` has three.
///
/// Colons inside brackets of any kind do not separate, nor do those of `operator` names.
pub(crate) fn split_components(name: &str) -> Vec<&str> {
    let bytes = name.as_bytes();
    let mut parts = Vec::new();
    let (mut start, mut at, mut depth) = (0, 0, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            // What follows is one component up to its parameters: `operator<`, `operator()`, `operator a::b`.
            b'o' if depth == 0 && at == start && is_operator(&bytes[at..]) => break,
            // Rust's pointers have their target's scopes in their own name: `&mut dyn a::Trait`.
            b'&' | b'*' if depth == 0 && at == start => break,
            // `->` and `=>` are no brackets.
            b'>' if at > 0 && matches!(bytes[at - 1], b'-' | b'=') => {}
            b'<' | b'(' | b'[' | b'{' => depth += 1,
            b'>' | b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b':' if depth == 0 && bytes.get(at + 1) == Some(&b':') => {
                parts.push(&name[start..at]);
                at += 2;
                start = at;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    parts.push(&name[start..]);
    parts
}

/// The part of a qualified name behind its scopes: `e` of `a::b<c::d>::e`, `operator<` of `a::operator<`.
pub fn last_component(name: &str) -> &str {
    split_components(name).last().copied().unwrap_or(name)
}

/// A component without its template or generic arguments: `vector<int>` is a `vector`.
pub(crate) fn without_arguments(component: &[u8]) -> &[u8] {
    if is_operator(component) {
        return component;
    }
    match component.iter().position(|&byte| byte == b'<') {
        // `<impl Foo for Bar>` and `<lambda(int)>` are names of their own.
        None | Some(0) => component,
        Some(at) => component[..at].trim_ascii_end(),
    }
}

fn is_operator(component: &[u8]) -> bool {
    component
        .strip_prefix(b"operator")
        .is_some_and(|rest| !rest.first().is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: &[&str]) {
        assert_eq!(split_components(name), expected, "{name}");
    }

    #[test]
    fn components() {
        check("main", &["main"]);
        check("a::b<c::d>::e", &["a", "b<c::d>", "e"]);
        check("(anonymous namespace)::f", &["(anonymous namespace)", "f"]);
        check("std::operator<< <char>", &["std", "operator<< <char>"]);
        check("X::operator()", &["X", "operator()"]);
        check("&mut dyn a::b::Trait", &["&mut dyn a::b::Trait"]);
        check("*const dyn a::Trait", &["*const dyn a::Trait"]);
        check("X::operator std::string", &["X", "operator std::string"]);
        check("a::operators::f", &["a", "operators", "f"]);
        check("<alloc::vec::Vec<T> as core::fmt::Debug>::fmt", &["<alloc::vec::Vec<T> as core::fmt::Debug>", "fmt"]);
        check("f<fn(i32) -> a::B>::g", &["f<fn(i32) -> a::B>", "g"]);
        check("a::{impl#0}::{closure#1}", &["a", "{impl#0}", "{closure#1}"]);
        check("", &[""]);
        check("::x", &["", "x"]);
    }

    #[test]
    fn arguments() {
        for (name, expected) in [
            ("vector<int, a<b> >", "vector"),
            ("operator<", "operator<"),
            ("operator<< <char>", "operator<< <char>"),
            ("operators<int>", "operators"),
            ("<impl X>", "<impl X>"),
            ("plain", "plain"),
        ] {
            assert_eq!(without_arguments(name.as_bytes()), expected.as_bytes());
        }
    }
}
