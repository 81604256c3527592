//! The parts of an object as they are shown: one level.

use outpost_base::MemoryReader;
use outpost_symbols::{BaseOffset, BitField, PointerFlavour, Type, TypeKind, Value, ViewLimits};

use super::key::unreadable;
use super::{Model, Object, Part, Parts};
use crate::expr::ExprError;

/// Anonymous members within anonymous members that are looked through.
const DEPTH_LIMIT: usize = 16;
/// Members of one record that are shown.
const MEMBER_LIMIT: usize = 4000;

impl Model<'_> {
    /// The parts of an object: members of records with their places, elements of containers within `limits`.
    pub(super) fn parts(
        &mut self,
        object: &Object,
        view: Option<&str>,
        limits: &ViewLimits,
        raw: bool,
    ) -> Result<Parts, ExprError> {
        let count = usize::try_from(limits.count).unwrap_or(usize::MAX);
        match object {
            Object::Value(value) => {
                if !raw && let Some(parts) = self.engine.view_parts(value, view, limits, self.memory) {
                    return parts;
                }
                parts_of_value(value, limits, raw, self.memory).map_err(|reason| unreadable(value, reason))
            }
            Object::Node(node) if node.has_elements() => self.first_parts(object, count),
            Object::Node(node) => Ok(Parts { items: self.node_parts(*node)?, more: false }),
            Object::Sequence(_) => self.first_parts(object, count),
            Object::Record(members) => {
                let items = members.iter().map(|(name, object)| Part::member(name, object.clone())).collect();
                Ok(Parts { items, more: false })
            }
            Object::MadeUp(made_up) => self.engine.made_up_parts(made_up, limits, self.memory),
            Object::Text(_) | Object::Function(_) | Object::Nothing | Object::Failed(_) => Ok(Parts::default()),
        }
    }
}

fn parts_of_value(
    value: &Value,
    limits: &ViewLimits,
    raw: bool,
    memory: &mut dyn MemoryReader,
) -> Result<Parts, outpost_symbols::Unavailable> {
    let resolved = value.value_type().resolved();
    let has_view = !raw && resolved.view_kind().is_some();
    if let (false, TypeKind::Pointer { flavour, .. }) = (has_view, resolved.kind()) {
        let target = value.deref(memory)?;
        let is_plain = is_record(target.value_type()) && (raw || target.value_type().view_kind().is_none());
        if is_plain || *flavour != PointerFlavour::Pointer && is_record(target.value_type()) {
            // What a null pointer would point to has no parts.
            let is_null = target.address().is_some_and(|at| at.0 == 0);
            return if is_null { Ok(Parts::default()) } else { parts_of_value(&target, limits, raw, memory) };
        }
    }
    if !has_view && is_record(&resolved) {
        return members(value, memory);
    }
    let children = value.children(limits, raw, memory)?;
    let more = (children.items.len() as u64).saturating_add(limits.start) < children.total;
    let items = children.items.into_iter().map(|child| Part::member(&child.name, Object::Value(child.value)));
    Ok(Parts { items: items.collect(), more })
}

fn is_record(of: &Type) -> bool {
    matches!(of.resolved().kind(), TypeKind::Record(_))
}

/// Members of a record with their places; of a Rust enum those of its active variant.
fn members(value: &Value, memory: &mut dyn MemoryReader) -> Result<Parts, outpost_symbols::Unavailable> {
    let resolved = value.value_type().resolved();
    let has_variants = resolved.record().is_some_and(|record| record.variants.is_some());
    let value = if has_variants { value.variant(memory)?.1 } else { value.clone() };
    let mut parts = Parts::default();
    append(&value, 0, DEPTH_LIMIT, memory, &mut parts);
    Ok(parts)
}

fn append(value: &Value, start: u64, depth: usize, memory: &mut dyn MemoryReader, parts: &mut Parts) {
    let resolved = value.value_type().resolved();
    let Some((record, depth)) = resolved.record().zip(depth.checked_sub(1)) else { return };
    for (number, base) in record.bases.iter().enumerate() {
        let base_type = resolved.sibling(base.base_type);
        let name = base_type.qualified_name();
        if base_type.is_library_tag() {
            continue;
        }
        let object = match value.base(number, memory) {
            Ok(base) => base,
            Err(reason) => Value::unavailable(base_type, reason),
        };
        let offset = match base.offset {
            BaseOffset::Fixed(offset) => start.checked_add(offset),
            BaseOffset::Virtual(_) => None,
        };
        push(parts, Part { offset, ..Part::named(name, Object::Value(object)) });
    }
    for field in resolved.fields() {
        let offset = start.checked_add(field.offset);
        let member = value.field(&field);
        if field.name.is_empty() && is_record(&field.field_type) {
            append(&member, offset.unwrap_or(0), depth, memory, parts);
            continue;
        }
        let first = field.offset.saturating_mul(8);
        let bits = field.bits.map(|bits| BitField { offset: bits.offset.saturating_sub(first), size: bits.size });
        push(parts, Part { offset, bits, ..Part::named(field.name, Object::Value(member)) });
    }
}

fn push(parts: &mut Parts, part: Part) {
    if parts.items.len() == MEMBER_LIMIT {
        parts.more = true;
    } else {
        parts.items.push(part);
    }
}
