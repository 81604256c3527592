//! Names as their authors wrote them.

use std::borrow::Cow;

/// Longest mangled name that is taken apart; longer ones are shown as they are.
const MAX_MANGLED: usize = 16 << 10;

/// A linkage name in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demangled {
    /// Qualified name without parameters and return type: `ns::Class<int>::method`.
    pub name: String,
    /// The whole: `ns::Class<int>::method(int) const`. Equal to `name` for Rust.
    pub signature: String,
}

/// Demangles a name of C++ (Itanium ABI) or Rust (v0 and legacy); `None` if it is of neither.
///
/// Rust names lose their hash. C++ names lose parameters and return type in [`Demangled::name`], so that
/// `module!name` can be typed; overloads then share a name.
pub fn demangle(linkage_name: &str) -> Option<Demangled> {
    let name = demangle_name(linkage_name)?;
    let signature = match cpp_symbol(linkage_name) {
        Some(symbol) => symbol.demangle().unwrap_or_else(|_| name.clone()),
        None => name.clone(),
    };
    Some(Demangled { name, signature })
}

/// Only the name of [`demangle`].
pub(crate) fn demangle_name(linkage_name: &str) -> Option<String> {
    let linkage_name = strip_version(linkage_name);
    if linkage_name.len() > MAX_MANGLED || !(linkage_name.starts_with("_Z") || linkage_name.starts_with("_R")) {
        return None;
    }
    // Legacy Rust names are C++ names, too; so Rust comes first.
    if let Ok(rust) = rustc_demangle::try_demangle(linkage_name) {
        return Some(format!("{rust:#}"));
    }
    let options = cpp_demangle::DemangleOptions::new().no_params().no_return_type();
    let (function, clone) = split_clone(linkage_name);
    let name = cpp_symbol(function)?.demangle_with_options(&options).ok()?;
    Some(name + clone)
}

/// What GCC and Clang append for a part split off or a changed copy (`.cold`, `.isra.0.part.1`), which stays as it is.
fn split_clone(linkage_name: &str) -> (&str, &str) {
    linkage_name.find('.').map_or((linkage_name, ""), |dot| linkage_name.split_at(dot))
}

fn cpp_symbol(linkage_name: &str) -> Option<cpp_demangle::Symbol<&str>> {
    if rustc_demangle::try_demangle(linkage_name).is_ok() {
        return None;
    }
    cpp_demangle::Symbol::new(strip_version(linkage_name)).ok()
}

/// `name@plt` and `name@@VERSION` without what follows the name.
fn strip_version(name: &str) -> &str {
    name.split_once('@').map_or(name, |(name, _)| name)
}

/// Text of a file, which is UTF-8 unless it is damaged.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mangled: &str, name: &str, signature: &str) {
        let demangled = demangle(mangled).unwrap();
        assert_eq!((demangled.name.as_str(), demangled.signature.as_str()), (name, signature));
    }

    #[test]
    fn cpp_with_and_without_parameters() {
        check("_ZN3foo3bar3bazEi", "foo::bar::baz", "foo::bar::baz(int)");
        check(
            "_ZNKSt6vectorIiSaIiEE4sizeEv",
            "std::vector<int, std::allocator<int> >::size",
            "std::vector<int, std::allocator<int> >::size() const",
        );
        check("_Z3addIiET_S0_S0_", "add<int>", "int add<int>(int, int)");
        check("_ZN3foo3barE", "foo::bar", "foo::bar");
    }

    #[test]
    fn clones_keep_what_tells_them_apart() {
        let own = |mangled: &str| demangle_name(mangled).unwrap();
        assert_eq!(own("_ZN3foo3bar3bazEi.cold"), "foo::bar::baz.cold");
        assert_eq!(own("_Z3addIiET_S0_S0_.isra.0.part.1"), "add<int>.isra.0.part.1");
        // What cpp_demangle does not take with its suffix: parameters by a substitution at the end of a long name.
        let deep = "_ZN3app4deepEiRKN2aa2bbISt3mapSt6vectorNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEEE.cold";
        assert_eq!(own(deep), "app::deep.cold");
    }

    #[test]
    fn rust_without_hash() {
        let legacy = "_ZN4core3fmt9Formatter3pad17h0123456789abcdefE";
        check(legacy, "core::fmt::Formatter::pad", "core::fmt::Formatter::pad");
        check("_RNvCs1234_7mycrate4main", "mycrate::main", "mycrate::main");
    }

    #[test]
    fn others_are_left_alone() {
        for name in ["main", "_Z", "_ZN", "_start", "", "_Rust_not"] {
            assert_eq!(demangle(name), None, "{name}");
        }
        assert_eq!(demangle(&format!("_ZN{}", "3fooE".repeat(10_000))), None);
    }
}
