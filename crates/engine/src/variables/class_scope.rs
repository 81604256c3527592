//! What a class has besides its objects: static members, functions and types, by names that lead through typedefs,
//! `using` and base classes, which no entry of the debug information spells out.

use outpost_symbols::{Type, Value, last_component};

use super::Global;
use crate::expr::Name;
use crate::{Engine, NamedAddress};

/// Base classes in base classes that are looked into.
const BASE_DEPTH: usize = 16;

impl Engine {
    /// The class that is before the last `::` of a name and what is behind it, if there is a class or a typedef of one.
    pub(crate) fn split_class(&mut self, name: &Name) -> Option<(Type, String)> {
        let (scope, member) = split_scope(&name.text)?;
        let scope = Name { text: scope.to_owned(), ..name.clone() };
        let class = match self.find_types(&scope.to_string()) {
            Ok(found) => found.into_iter().next(),
            Err(_) => self.type_in_class(&scope),
        };
        let class = class?.resolved();
        class.record()?;
        Some((class, member.to_owned()))
    }

    /// The names that a member would have in a class and in its bases, those of the class first.
    fn names_in(class: &Type, member: &str) -> Vec<String> {
        let mut names = Vec::new();
        let mut classes = vec![(class.resolved(), 0)];
        while let Some((class, depth)) = classes.pop() {
            let name = format!("{}::{member}", class.qualified_name());
            if depth == BASE_DEPTH || names.contains(&name) {
                continue;
            }
            names.push(name);
            let bases = class.record().map_or(&[][..], |record| &record.bases);
            classes.extend(bases.iter().rev().map(|base| (class.sibling(base.base_type).resolved(), depth + 1)));
        }
        names
    }

    /// A static data member of a class or of its bases.
    pub(crate) fn static_member(&mut self, class: &Type, member: &str) -> Option<Global> {
        let (owner, constant) = declared(class, member, BASE_DEPTH)?;
        let defined = self.find_global(&format!("{}::{member}", owner.qualified_name())).ok().flatten();
        defined.or(constant.map(|value| Global { value, is_per_thread: false }))
    }

    /// A static member, a function or an enumerator, by a name with the class before it.
    pub(crate) fn value_in_class(&mut self, name: &Name) -> Option<Global> {
        let (class, member) = self.split_class(name)?;
        if let Some(found) = self.static_member(&class, &member) {
            return Some(found);
        }
        Engine::names_in(&class, &member).into_iter().find_map(|name| self.find_global(&name).ok().flatten())
    }

    /// Symbols of static members and functions, by a name with the class before it; empty if there are none.
    pub(crate) fn symbols_in_class(&mut self, name: &Name) -> Vec<NamedAddress> {
        let Some((class, member)) = self.split_class(name) else { return Vec::new() };
        for wanted in Engine::names_in(&class, &member) {
            let mut found = self.find_name(&wanted).unwrap_or_default();
            // What leaves out scopes finds members of other classes, too.
            found.retain(|found| found.name.starts_with(&wanted));
            if !found.is_empty() {
                return found;
            }
        }
        Vec::new()
    }

    /// The names that a name may stand for, with the class or typedef before it: those of its class and of the bases.
    pub(crate) fn names_in_class(&mut self, text: &str) -> Vec<String> {
        let name = match text.split_once('!') {
            Some((module, text)) => Name { module: Some(module.to_owned()), ..Name::plain(text) },
            None => Name::plain(text),
        };
        self.split_class(&name).map_or_else(Vec::new, |(class, member)| Engine::names_in(&class, &member))
    }

    /// A type that is declared in a class or in its bases, by a name with the class before it.
    pub(crate) fn type_in_class(&mut self, name: &Name) -> Option<Type> {
        let (class, member) = self.split_class(name)?;
        let names = Engine::names_in(&class, &member);
        names.iter().find_map(|name| self.find_types(name).ok()?.into_iter().next())
    }
}

/// What a function is called with the class that declares it, of a class and its bases.
pub(crate) fn declaring(class: &Type, function: &str) -> Option<String> {
    fn within(class: &Type, function: &str, depth: usize) -> Option<Type> {
        let depth = depth.checked_sub(1)?;
        let class = class.resolved();
        if class.declares_function(function) {
            return Some(class);
        }
        let record = class.record()?;
        record.bases.iter().find_map(|base| within(&class.sibling(base.base_type), function, depth))
    }
    let owner = within(class, function, BASE_DEPTH)?.qualified_name();
    Some(format!("{owner}::{function}"))
}

/// The class that declares a static data member, and its value if the class states one: then it may be nowhere in memory.
fn declared(class: &Type, member: &str, depth: usize) -> Option<(Type, Option<Value>)> {
    let depth = depth.checked_sub(1)?;
    let class = class.resolved();
    let record = class.record()?;
    if let Some(found) = record.statics.iter().find(|one| one.name == member) {
        let of = class.sibling(found.member_type);
        let constant = found.constant.as_ref().map(|bytes| Value::from_bytes(of, bytes.clone()));
        return Some((class.clone(), constant));
    }
    record.bases.iter().find_map(|base| declared(&class.sibling(base.base_type), member, depth))
}

/// What is before and behind the last `::` that is not among template arguments.
fn split_scope(text: &str) -> Option<(&str, &str)> {
    let member = last_component(text);
    let scope = text.strip_suffix(member)?.strip_suffix("::")?;
    (!scope.is_empty() && !member.is_empty()).then_some((scope, member))
}

#[cfg(test)]
mod tests {
    use super::split_scope;

    #[test]
    fn the_last_scope_is_not_one_of_an_argument() {
        assert_eq!(split_scope("a::b"), Some(("a", "b")));
        assert_eq!(split_scope("a::B<c::D>::e"), Some(("a::B<c::D>", "e")));
        assert_eq!(split_scope("B<c::D>"), None);
        assert_eq!(split_scope("a"), None);
        assert_eq!(split_scope("::a"), None);
        assert_eq!(split_scope("a::f(b::c)"), Some(("a", "f(b::c)")));
        assert_eq!(split_scope("a::B<c>::operator->"), Some(("a::B<c>", "operator->")));
    }
}
