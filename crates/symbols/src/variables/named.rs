//! Types of what an index finds by name besides variables: functions and the constants of enumerations.

use outpost_base::Va;

use super::Variables;
use super::die::Die;
use crate::types::dwarf::attributes::string;
use crate::types::dwarf::type_id;
use crate::{DieRef, Scalar, Type, TypeKind, Value};

impl Variables {
    /// The type that an entry describes: a type's own.
    pub fn type_at(&self, die: DieRef) -> Type {
        self.types.get(type_id(die))
    }

    /// The type of the function that an entry describes, with its result and its parameters.
    ///
    /// Of a function that was declared elsewhere, or inlined too, the entry that is completed says it all.
    pub fn function_type(&self, die: DieRef) -> Option<Type> {
        let stated = Die::read(&self.info, die)?.with_origins(&self.info).last()?;
        let function = self.type_at(stated.at);
        matches!(function.kind(), TypeKind::Function { .. }).then_some(function)
    }

    /// The function as a value: its type, at its entry.
    pub fn function_value(&self, die: DieRef, entry: Va) -> Option<Value> {
        Some(Value::in_memory(self.function_type(die)?, entry))
    }

    /// The constant that an enumerator's entry describes, with the type of its enumeration.
    pub fn enumerator_value(&self, die: DieRef) -> Option<Value> {
        let entry = Die::read(&self.info, die)?;
        let name = string(entry.unit_ref(&self.info), &entry.entry, gimli::DW_AT_name)?;
        let parent = self.type_at(self.parent_of(&entry)?);
        let TypeKind::Enumeration { enumerators, .. } = parent.kind() else { return None };
        let value = enumerators.iter().find(|known| known.name == name)?.value;
        let size = usize::try_from(parent.size()?).ok()?;
        let bytes = Scalar::Signed(value).encode(&parent, size)?;
        Some(Value::from_bytes(parent, bytes))
    }

    /// The entry around another: entries do not say it, so the unit is read up to it.
    fn parent_of(&self, child: &Die) -> Option<DieRef> {
        let mut entries = child.unit.entries();
        let mut around: Vec<(isize, gimli::UnitOffset)> = Vec::new();
        while let Ok(Some(entry)) = entries.next_dfs() {
            let depth = entry.depth();
            while around.last().is_some_and(|(above, _)| *above >= depth) {
                around.pop();
            }
            if entry.offset() == child.entry.offset() {
                return self.info.die(child.index, around.last()?.1);
            }
            around.push((depth, entry.offset()));
        }
        None
    }
}
