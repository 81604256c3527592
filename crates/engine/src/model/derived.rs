//! Objects of C++ as the class that they were made of, where a base class is declared.

use outpost_base::{MemoryReader, Va};
use outpost_symbols::{Type, TypeKind, Value};

use crate::Engine;

/// Base classes in base classes that are looked through.
const DEPTH_LIMIT: usize = 16;

impl Engine {
    /// The object that a value is a base class's part of, or a pointer to it where the value is a pointer or reference;
    /// `None` if it is of the class that is declared, or that cannot be told. Its virtual table tells (Itanium C++ ABI,
    /// 2.5.2: the offset to the whole object lies two words before where the object's pointer leads), or a view does.
    pub fn derived_object(&mut self, value: &Value, memory: &mut dyn MemoryReader) -> Option<Value> {
        let of = value.value_type().resolved();
        let is_pointer = of.is_pointer();
        let part = if is_pointer { value.deref(memory).ok()? } else { value.clone() };
        if part.address().is_some_and(|at| at.0 != 0)
            && let Some((object, is_final)) = self.view_derived(&part, memory)
        {
            let by_table = if is_final { None } else { self.by_virtual_table(&object, memory) };
            return Some(as_given(by_table.unwrap_or(object), is_pointer));
        }
        self.by_virtual_table(&part, memory).map(|whole| as_given(whole, is_pointer))
    }

    /// The object that a base class's part belongs to, by its virtual table.
    fn by_virtual_table(&mut self, part: &Value, memory: &mut dyn MemoryReader) -> Option<Value> {
        let declared = part.value_type().resolved();
        if !has_virtual_table(&declared, DEPTH_LIMIT) {
            return None;
        }
        let at = part.address().filter(|at| at.0 != 0)?;
        let table = Va(memory.read_u64(at)?);
        let name = self.symbol_at(table)?.name;
        let class = name.strip_prefix("{vtable(").and_then(|rest| rest.strip_suffix(")}"));
        let class = class.or_else(|| name.strip_prefix("vtable for "))?.to_owned();
        if declared.qualified_name() == class {
            return None;
        }
        let to_whole = memory.read_u64(Va(table.0.checked_sub(16)?))?;
        let real = self.find_types(&class).ok()?.into_iter().find(|real| real.size().is_some())?;
        // What was overwritten may lead to any class's table.
        if !derives_from(&real, &declared.qualified_name(), DEPTH_LIMIT) {
            return None;
        }
        let whole = at.wrapping_offset(to_whole as i64);
        Some(Value::in_memory(real, whole))
    }
}

/// An object, or a pointer to it.
fn as_given(object: Value, is_pointer: bool) -> Value {
    let of = object.value_type();
    match object.address().filter(|_| is_pointer) {
        Some(at) => Value::from_bytes(of.table().pointer_to(of.id()), at.0.to_le_bytes().to_vec()),
        None => object,
    }
}

/// Whether a class has a virtual table, by the member that compilers describe for it.
fn has_virtual_table(of: &Type, depth: usize) -> bool {
    let resolved = of.resolved();
    let (Some(depth), TypeKind::Record(record)) = (depth.checked_sub(1), resolved.kind()) else { return false };
    let own = record.members.iter().filter_map(|member| member.name.as_deref()).any(|name| name.starts_with("_vptr"));
    own || record.bases.iter().any(|base| has_virtual_table(&resolved.sibling(base.base_type), depth))
}

fn derives_from(of: &Type, class: &str, depth: usize) -> bool {
    let resolved = of.resolved();
    let (Some(depth), TypeKind::Record(record)) = (depth.checked_sub(1), resolved.kind()) else { return false };
    record.bases.iter().any(|base| {
        let base = resolved.sibling(base.base_type).resolved();
        base.qualified_name() == class || derives_from(&base, class, depth)
    })
}
