//! Going through all names of an index.

use super::chunk::{EntryKind, NO_ENTRY};
use super::format::Index;
use super::query::{EntryId, NameHit, SymbolId};
use crate::demangle::text;
use crate::hash::IntMap;
use crate::{ElfSymbolKind, Wildcard};

/// After so many names the memory of their sections is given back, so that a search does not end with all of it.
const RELEASE_AFTER: u32 = 1 << 16;

/// What has a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Named {
    /// An entry; of functions, only those with code.
    Entry(EntryKind),
    /// An ELF symbol.
    Symbol(ElfSymbolKind),
}

impl Index {
    /// Calls `found` for everything that is `wanted` and whose qualified name fits `pattern`: entries, then symbols.
    ///
    /// A symbol that only repeats the linkage name of a function in the debug info is skipped, unless the pattern
    /// begins as linkage names do; then it is compared with those, too.
    pub(crate) fn each_match(
        &self,
        pattern: &Wildcard,
        wanted: impl Fn(Named) -> bool,
        mut found: impl FnMut(NameHit, &str),
    ) {
        let prefix = pattern.literal_prefix();
        let literal = pattern.longest_literal();
        let as_linked = pattern.begins_with_underscore();
        let fits = |name: &str| contains_folded(name.as_bytes(), literal.as_bytes()) && pattern.matches(name);
        let mut scopes: IntMap<u32, Option<String>> = IntMap::default();
        let mut name = String::new();
        for number in 0..self.entry_count() {
            if number % RELEASE_AFTER == RELEASE_AFTER - 1 {
                self.sources.release();
            }
            let Some(entry) = self.entry(EntryId(number)) else { continue };
            let has_name = entry.name != 0 && entry.kind != EntryKind::Scope;
            if !has_name || (entry.kind == EntryKind::Function && !entry.has_code) || !wanted(Named::Entry(entry.kind))
            {
                continue;
            }
            name.clear();
            if entry.parent != NO_ENTRY {
                // Scopes are qualified once, and one that cannot lead to a match excludes all that is in it.
                let scope = scopes.entry(entry.parent).or_insert_with(|| {
                    let scope = self.qualified_name(EntryId(entry.parent)) + "::";
                    may_begin(&scope, &prefix).then_some(scope)
                });
                let Some(scope) = scope else { continue };
                name.push_str(scope);
            }
            name.push_str(&text(self.string(entry.name)));
            if fits(&name) {
                found(NameHit::Entry(EntryId(number)), &name);
            }
        }
        for number in 0..self.symbol_count() {
            if number % RELEASE_AFTER == RELEASE_AFTER - 1 {
                self.sources.release();
            }
            let Some(symbol) = self.symbol(SymbolId(number)) else { continue };
            if !wanted(Named::Symbol(symbol.kind)) || (symbol.is_described && !as_linked) {
                continue;
            }
            let name = self.display_name(&symbol);
            if fits(&name) || (as_linked && fits(&self.linkage_name(&symbol))) {
                found(NameHit::Symbol(SymbolId(number)), &name);
            }
        }
    }
}

/// Whether a name that begins with `scope` can begin with `prefix`, which is lower case.
fn may_begin(scope: &str, prefix: &str) -> bool {
    let len = scope.len().min(prefix.len());
    let (scope, prefix) = (scope.as_bytes(), prefix.as_bytes());
    scope.get(..len).zip(prefix.get(..len)).is_some_and(|(scope, prefix)| scope.eq_ignore_ascii_case(prefix))
}

/// Whether `text` holds `literal`, which is lower case, in any case.
fn contains_folded(text: &[u8], literal: &[u8]) -> bool {
    let Some(first) = literal.first() else { return true };
    let Some(last) = text.len().checked_sub(literal.len()) else { return false };
    (0..=last).any(|at| {
        text.get(at).is_some_and(|letter| letter.to_ascii_lowercase() == *first)
            && text.get(at..at + literal.len()).is_some_and(|here| here.eq_ignore_ascii_case(literal))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_found_in_any_case() {
        assert!(contains_folded(b"FooBar", b"bar") && contains_folded(b"bar", b"bar") && contains_folded(b"x", b""));
        assert!(!contains_folded(b"ba", b"bar") && !contains_folded(b"barb", b"bara"));
    }

    #[test]
    fn scopes_lead_on_or_exclude() {
        assert!(may_begin("NS::", "ns::f") && may_begin("ns::sub::", "ns") && may_begin("x::", ""));
        assert!(!may_begin("ns::", "other"));
    }
}
