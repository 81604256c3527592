//! From DIEs to entries of the index: what each class of DIE makes of itself and of those below it.

use super::addresses::Static;
use super::{ANONYMOUS_NAMESPACE, Die, Named, Scope, UnitScan};
use crate::index::abbrev::Class;
use crate::index::chunk::{CrossReference, DataAddress, Entry, EntryKind, HAS_CODE, IS_INLINED, WAITS};
use crate::index::cursor::Value;

impl<'a> UnitScan<'a, '_, '_> {
    /// Makes of a DIE what it deserves; the scope of its children, or `None` if they do not matter.
    pub(super) fn visit(
        &mut self,
        class: Class,
        tag: gimli::DwTag,
        offset: u64,
        scope: Scope,
        die: &Die<'a>,
    ) -> Option<Scope> {
        match class {
            Class::Namespace => {
                let name = self.intern(die.name).unwrap_or_else(|| self.chunk.strings.intern(ANONYMOUS_NAMESPACE));
                let entry = self.entry(offset, EntryKind::Scope, name, scope);
                Some(Scope { parent: self.chunk.share(entry), in_function: false })
            }
            Class::Type => self.visit_type(tag, offset, scope, die),
            Class::LeafType => {
                // Those of a function are found by whoever stands in it.
                if !die.declaration
                    && !scope.in_function
                    && let Some(name) = self.intern(die.name)
                {
                    let entry = self.entry(offset, EntryKind::LeafType, name, scope);
                    self.chunk.share(Entry { size: die.size, ..entry });
                }
                None
            }
            Class::Enumerator => {
                if !scope.in_function
                    && let Some(name) = self.intern(die.name)
                {
                    let entry = self.entry(offset, EntryKind::Enumerator, name, scope);
                    self.chunk.share(entry);
                }
                None
            }
            Class::Function => self.visit_function(offset, scope, die),
            Class::Variable | Class::StaticMember => {
                self.visit_variable(class, offset, scope, die);
                None
            }
            Class::Inlined => {
                if let Some(target) = die.origin.and_then(|origin| self.other_unit(origin))
                    && self.inlined.insert(target, ()).is_none()
                {
                    self.chunk.inlined.push((target, self.number));
                }
                Some(scope)
            }
            Class::Skip | Class::Unit | Class::Transparent => None,
        }
    }

    fn visit_type(&mut self, tag: gimli::DwTag, offset: u64, scope: Scope, die: &Die<'a>) -> Option<Scope> {
        // What is left here of a class that lives in a type unit: its scope is there, and here it may have no name.
        if let Some(target) = die.signature.and_then(|signature| self.scan.signatures.get(&signature)) {
            let name = self.intern(die.name).unwrap_or_default();
            let entry = Entry { flags: WAITS, ..self.entry(offset, EntryKind::Scope, name, scope) };
            let number = self.chunk.push(entry);
            self.chunk.cross_references.push(CrossReference { entry: number, target: *target });
            self.named.push((offset, Named::Name(die.name, scope.parent)));
            return Some(Scope { parent: number, in_function: false });
        }
        // A class defined outside of what declares it has its scope, and sometimes its name, from there.
        let declared = match die.origin {
            Some(Value::UnitRef(target)) => self.lookup(target),
            _ => None,
        };
        let name = self.intern(die.name).or(declared.map(|(name, _)| name));
        let parent = declared.map_or(scope.parent, |(_, parent)| parent);
        // Members of a type without a name belong to what surrounds it.
        let Some(name) = name else { return Some(scope) };
        let scope = Scope { parent, ..scope };
        if die.declaration {
            self.named.push((offset, Named::Name(die.name, scope.parent)));
        }
        let kind = if die.declaration { EntryKind::Scope } else { EntryKind::Type };
        let entry = Entry { size: die.size, ..self.entry(offset, kind, name, scope) };
        let number = if die.origin.is_some() && declared.is_none() {
            // The declaration comes later, or in another unit.
            let number = self.chunk.push(Entry { flags: WAITS, ..entry });
            self.defer(number, die);
            number
        } else {
            self.chunk.share(entry)
        };
        // The constants of a plain enumeration belong to what surrounds it.
        let transparent = tag == gimli::DW_TAG_enumeration_type && !die.enum_class;
        Some(if transparent { scope } else { Scope { parent: number, in_function: false } })
    }

    fn visit_function(&mut self, offset: u64, scope: Scope, die: &Die<'a>) -> Option<Scope> {
        if die.declaration {
            let named = self.named_as(die, scope);
            self.named.push((offset, named));
            return None;
        }
        let name = self.intern(die.name);
        let entry = self.entry(offset, EntryKind::Function, name.unwrap_or_default(), scope);
        let number = self.chunk.push(entry);
        let named = self.named_as(die, scope);
        self.named.push((offset, named));
        self.defer(number, die);
        let has_code = self.code_ranges(number, die);
        if let Some(entry) = self.chunk.entries.last_mut() {
            entry.flags = if has_code { HAS_CODE } else { 0 } | if die.inlined { IS_INLINED } else { 0 };
        }
        Some(Scope { parent: number, in_function: true })
    }

    fn visit_variable(&mut self, class: Class, offset: u64, scope: Scope, die: &Die<'a>) {
        if class == Class::StaticMember || die.declaration {
            self.named.push((offset, Named::Name(die.name, scope.parent)));
            return;
        }
        let address = die.location.and_then(|location| self.static_address(location));
        let is_static = matches!(address, Some(Static::At(_) | Static::ThreadLocal));
        if scope.in_function && !is_static {
            // An inlined copy of a function may refer to it for the name of a static.
            if die.origin.is_none() && die.location.is_none() {
                self.named.push((offset, Named::Name(die.name, scope.parent)));
            }
            return;
        }
        let name = self.intern(die.name);
        let entry = self.entry(offset, EntryKind::Variable, name.unwrap_or_default(), scope);
        let number = self.chunk.push(entry);
        let named = self.named_as(die, scope);
        self.named.push((offset, named));
        self.defer(number, die);
        if let Some(Static::At(address)) = address {
            self.chunk.data.push(DataAddress { address, entry: number });
        }
    }
}
