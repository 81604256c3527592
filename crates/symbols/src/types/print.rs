//! Spelling of types: C's declarators inside out, Rust's left to right.

use std::cell::Cell;

use super::{ArrayBound, Language, PointerFlavour, Qualifier, RecordKeyword, Type, TypeId, TypeKind};

/// How deep a type is spelled before `...` stands for the rest.
const DEPTH_LIMIT: usize = 32;
/// Parameters of one function type that are spelled.
const PARAMETER_LIMIT: usize = 64;
/// Types that one spelling looks at.
const PART_LIMIT: usize = 1000;
/// Length at which a spelling ends; template names alone reach a few thousand.
const LENGTH_LIMIT: usize = 64 << 10;

/// `spelled` as declared with type `of`: `int (*callback)(char)` for C and C++, `callback: fn(i8)` for Rust.
///
/// The spelling is what a reader of the source expects, and what gdb prints for the same type.
pub fn declaration(of: &Type, name: &str) -> String {
    if of.language() == Language::Rust { format!("{name}: {}", spell(of, "")) } else { spell(of, name) }
}

/// The type alone, or around a declarator.
pub(super) fn spell(of: &Type, declarator: &str) -> String {
    let speller = Speller { left: Cell::new(PART_LIMIT) };
    match of.language() {
        Language::Rust => speller.rust(of, DEPTH_LIMIT),
        Language::C | Language::Cpp => speller.c(of, declarator.to_owned(), DEPTH_LIMIT),
    }
}

/// One spelling, with the number of types it may still look at: parameters branch, so depth alone bounds nothing.
struct Speller {
    left: Cell<usize>,
}

impl Speller {
    /// One level further down; `None` where the spelling ends.
    fn deeper(&self, depth: usize) -> Option<usize> {
        self.left.set(self.left.get().checked_sub(1)?);
        depth.checked_sub(1)
    }

    fn c(&self, of: &Type, inner: String, depth: usize) -> String {
        let Some(depth) = self.deeper(depth).filter(|_| inner.len() < LENGTH_LIMIT) else {
            return attach("...", &inner);
        };
        match of.kind() {
            TypeKind::Pointer { flavour, target } => {
                let sign = match flavour {
                    PointerFlavour::Pointer => "*",
                    PointerFlavour::Reference => "&",
                    PointerFlavour::RvalueReference => "&&",
                };
                self.around_pointer(&of.sibling(*target), sign, &inner, depth)
            }
            TypeKind::MemberPointer { class, target } => {
                let sign = format!("{}::*", self.c(&of.sibling(*class), String::new(), depth));
                let target = of.sibling(*target);
                match target.kind() {
                    TypeKind::Function { returns, parameters, variadic, .. } => {
                        self.method(of, (*returns, parameters, *variadic), &format!("({sign}{inner})"), depth)
                    }
                    _ => self.around_pointer(&target, &sign, &inner, depth),
                }
            }
            TypeKind::Array { element, bounds, vector } => {
                let mut suffix = String::new();
                for bound in bounds {
                    match bound {
                        ArrayBound::Count(count) => suffix += &format!("[{count}]"),
                        ArrayBound::Unknown => suffix += "[]",
                        ArrayBound::Dynamic(_) => suffix += "[variable length]",
                    }
                }
                if *vector {
                    let count = suffix.trim_matches(['[', ']']);
                    suffix = format!(" __attribute__ ((vector_size({count})))");
                }
                self.c(&of.sibling(*element), inner + &suffix, depth)
            }
            TypeKind::Function { returns, parameters, variadic, prototyped } => {
                let list = self.parameter_list(of, parameters, *variadic, *prototyped, depth);
                self.c(&of.sibling(*returns), format!("{inner}({list})"), depth)
            }
            TypeKind::Qualified { .. } => {
                let (words, target) = qualifiers(of);
                // Qualifying an array qualifies its elements, which often are already.
                let words = match target.kind() {
                    TypeKind::Array { element, .. } => {
                        let own = qualifiers(&of.sibling(*element)).0;
                        let is_new = |word: &&str| !own.split(' ').any(|own| own == *word);
                        words.split(' ').filter(is_new).collect::<Vec<_>>().join(" ")
                    }
                    _ => words,
                };
                if words.is_empty() {
                    return self.c(&target, inner, depth);
                }
                if matches!(target.kind(), TypeKind::Pointer { .. } | TypeKind::MemberPointer { .. }) {
                    let inner = if inner.is_empty() { inner } else { format!(" {}", inner.trim_start()) };
                    self.c(&target, format!(" {words}{inner}"), depth)
                } else {
                    format!("{words} {}", self.c(&target, inner, depth))
                }
            }
            _ => attach(&c_name(of), &inner),
        }
    }

    /// `target sign inner`, with parentheses where `inner` would bind to the wrong part.
    fn around_pointer(&self, target: &Type, sign: &str, inner: &str, depth: usize) -> String {
        let needs_parentheses =
            matches!(target.kind(), TypeKind::Array { vector: false, .. } | TypeKind::Function { .. });
        let joined = format!("{sign}{inner}");
        self.c(target, if needs_parentheses { format!("({joined})") } else { joined }, depth)
    }

    /// The type of a member function: its object is no parameter, and what is const about it comes last.
    fn method(&self, of: &Type, signature: (TypeId, &[TypeId], bool), inner: &str, depth: usize) -> String {
        let (returns, parameters, variadic) = signature;
        let object = parameters.first().and_then(|object| of.sibling(*object).target());
        let list = self.parameter_list(of, parameters.get(1..).unwrap_or_default(), variadic, false, depth);
        let list = if list == "void" { String::new() } else { list };
        let words = object.map(|object| qualifiers(&object).0).filter(|words| !words.is_empty());
        let words = words.map(|words| format!(" {words}")).unwrap_or_default();
        self.c(&of.sibling(returns), format!("{inner}({list}){words}"), depth)
    }

    fn parameter_list(
        &self,
        of: &Type,
        parameters: &[TypeId],
        variadic: bool,
        prototyped: bool,
        depth: usize,
    ) -> String {
        let mut list: Vec<String> =
            parameters.iter().take(PARAMETER_LIMIT).map(|id| self.c(&of.sibling(*id), String::new(), depth)).collect();
        // gcc says of `int f()` that anything may follow.
        let says_nothing = list.is_empty() && !prototyped && of.language() == Language::C;
        if says_nothing {
            return String::new();
        }
        if variadic || parameters.len() > PARAMETER_LIMIT {
            list.push("...".to_owned());
        }
        if list.is_empty() && (prototyped || of.language() == Language::Cpp) {
            list.push("void".to_owned());
        }
        list.join(", ")
    }

    fn rust(&self, of: &Type, depth: usize) -> String {
        let Some(depth) = self.deeper(depth) else { return "...".to_owned() };
        // rustc names everything but arrays and function types: `&mut [u8]` is a struct of that name.
        if of.data().name.is_some() {
            return of.qualified_name();
        }
        match of.kind() {
            TypeKind::Void => "()".to_owned(),
            TypeKind::Pointer { target, .. } => format!("*mut {}", self.rust(&of.sibling(*target), depth)),
            TypeKind::Array { element, bounds, .. } => {
                bounds.iter().rev().fold(self.rust(&of.sibling(*element), depth), |element, bound| match bound {
                    ArrayBound::Count(count) => format!("[{element}; {count}]"),
                    ArrayBound::Unknown | ArrayBound::Dynamic(_) => format!("[{element}]"),
                })
            }
            TypeKind::Function { returns, parameters, .. } => {
                let list: Vec<String> =
                    parameters.iter().take(PARAMETER_LIMIT).map(|id| self.rust(&of.sibling(*id), depth)).collect();
                let result = match *returns {
                    TypeId::VOID => String::new(),
                    id => format!(" -> {}", self.rust(&of.sibling(id), depth)),
                };
                format!("fn({}){result}", list.join(", "))
            }
            TypeKind::Damaged { problem } => format!("<{problem}>"),
            _ => "{...}".to_owned(),
        }
    }
}

/// All qualifiers around a type, in the order people write them, and the type.
fn qualifiers(of: &Type) -> (String, Type) {
    let mut found = Vec::new();
    let mut target = of.clone();
    while let TypeKind::Qualified { qualifier, target: inner } = target.kind() {
        if found.len() == DEPTH_LIMIT {
            break;
        }
        found.push(*qualifier);
        target = target.sibling(*inner);
    }
    let order = [Qualifier::Const, Qualifier::Volatile, Qualifier::Restrict, Qualifier::Atomic];
    let words: Vec<&str> = order.into_iter().filter(|wanted| found.contains(wanted)).map(qualifier_word).collect();
    (words.join(" "), target)
}

/// A base of the spelling and its declarator, with one space between.
fn attach(base: &str, inner: &str) -> String {
    match inner.chars().next() {
        None => base.to_owned(),
        Some(' ') => format!("{base}{inner}"),
        Some(_) => format!("{base} {inner}"),
    }
}

/// The name of a type that is not derived; `struct {...}` for those without.
fn c_name(of: &Type) -> String {
    let data = of.data();
    let keyword = match of.kind() {
        TypeKind::Record(record) => match record.keyword {
            RecordKeyword::Struct => "struct",
            RecordKeyword::Class => "class",
            RecordKeyword::Union => "union",
        },
        TypeKind::Enumeration { .. } => "enum",
        TypeKind::Void => return "void".to_owned(),
        TypeKind::Damaged { problem } => return format!("<{problem}>"),
        _ => "",
    };
    match (&data.name, data.language) {
        (None, _) => format!("{keyword} {{...}}"),
        (Some(name), Language::C) if !keyword.is_empty() => format!("{keyword} {name}"),
        (Some(_), _) => of.qualified_name(),
    }
}

fn qualifier_word(qualifier: Qualifier) -> &'static str {
    match qualifier {
        Qualifier::Const => "const",
        Qualifier::Volatile => "volatile",
        Qualifier::Restrict => "restrict",
        Qualifier::Atomic => "_Atomic",
    }
}
