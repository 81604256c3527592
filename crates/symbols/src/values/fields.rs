//! The fields of a type, with their values where there is an object: what `dt` lists.

use outpost_base::MemoryReader;

use super::text::unavailable;
use super::{TextOptions, Value};
use crate::types::{BaseOffset, BitField, Type, TypeKind};

/// Rows at most; a listing of more helps nobody.
const ROW_LIMIT: usize = 4000;
/// How deep rows nest, whatever is asked for.
const DEPTH_LIMIT: usize = 16;

/// One field.
#[derive(Clone, Debug)]
pub struct FieldRow {
    /// How deep it is nested: 0 for fields of the type that was asked.
    pub depth: usize,
    /// Bytes from the start of that type; `None` for static members and members of virtual bases.
    pub offset: Option<u64>,
    /// For a bit field: its lowest bit, counted from the byte at `offset`, and how many.
    pub bits: Option<BitField>,
    /// Name; that of the base class for a base, empty for anonymous members.
    pub name: String,
    /// What kind of row it is.
    pub role: FieldRole,
    /// Type as its language spells it.
    pub type_name: String,
    /// The value's text, where there is an object. Records are shown by their type's name, since their fields follow or
    /// can be asked for.
    pub value_text: Option<String>,
    /// The field itself, to go on from; `None` where there is no object.
    pub value: Option<Value>,
}

/// What a row of fields is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FieldRole {
    /// A data member.
    Member,
    /// A base class.
    Base,
    /// A static data member.
    Static,
    /// A variant of a Rust enum.
    Variant,
    /// An element of an array or container; of a container it has no offset.
    Element,
}

/// The fields of `of`, those of records in it `depth` levels deep, with values if there is an `object` of that type.
///
/// Bases come first; a Rust enum lists its active variant where there is an object, and all variants where not. Empty
/// for types without fields.
pub fn field_rows(
    of: &Type,
    object: Option<&Value>,
    depth: usize,
    options: &TextOptions<'_>,
    memory: &mut dyn MemoryReader,
) -> Vec<FieldRow> {
    let mut lister = Lister { options, memory, rows: Vec::new(), most_depth: depth.min(DEPTH_LIMIT) };
    lister.record(of, object, Some(0), 0);
    lister.rows
}

struct Lister<'a, 'b> {
    options: &'a TextOptions<'b>,
    memory: &'a mut dyn MemoryReader,
    rows: Vec<FieldRow>,
    most_depth: usize,
}

impl Lister<'_, '_> {
    fn record(&mut self, of: &Type, object: Option<&Value>, start: Option<u64>, depth: usize) {
        let resolved = of.resolved();
        let Some(record) = resolved.record() else { return };
        for (number, base) in record.bases.iter().enumerate() {
            let base_type = resolved.sibling(base.base_type);
            let value = object.map(|object| {
                let base = object.base(number, self.memory);
                base.unwrap_or_else(|reason| Value::unavailable(base_type.clone(), reason))
            });
            let offset = match base.offset {
                BaseOffset::Fixed(offset) => start.and_then(|start| start.checked_add(offset)),
                BaseOffset::Virtual(_) => None,
            };
            let name = base_type.qualified_name();
            self.row(FieldRole::Base, name, &base_type, value, (offset, None), depth);
        }
        for field in resolved.fields() {
            let offset = start.and_then(|start| start.checked_add(field.offset));
            let bits = field.bits.map(|bits| BitField { offset: bits.offset - 8 * field.offset, size: bits.size });
            let value = object.map(|object| object.field(&field));
            self.row(FieldRole::Member, field.name, &field.field_type, value, (offset, bits), depth);
        }
        self.variants(&resolved, object, start, depth);
        for member in &record.statics {
            let member_type = resolved.sibling(member.member_type);
            let value = member.constant.as_ref().map(|bytes| Value::from_bytes(member_type.clone(), bytes.clone()));
            self.row(FieldRole::Static, member.name.clone(), &member_type, value, (None, None), depth);
        }
    }

    fn variants(&mut self, resolved: &Type, object: Option<&Value>, start: Option<u64>, depth: usize) {
        let Some(part) = resolved.record().and_then(|record| record.variants.as_ref()) else { return };
        if let Some(object) = object {
            match object.variant(self.memory) {
                Ok((name, payload)) => {
                    let payload_type = payload.value_type().clone();
                    self.row(FieldRole::Variant, name, &payload_type, Some(payload), (start, None), depth);
                }
                Err(reason) => {
                    let value = Value::unavailable(resolved.clone(), reason);
                    self.row(FieldRole::Variant, String::new(), resolved, Some(value), (start, None), depth);
                }
            }
            return;
        }
        for variant in &part.variants {
            let field = resolved.field_of(&variant.member, 0);
            let offset = start.and_then(|start| start.checked_add(field.offset));
            self.row(FieldRole::Variant, field.name, &field.field_type, None, (offset, None), depth);
        }
    }

    fn row(
        &mut self,
        role: FieldRole,
        name: String,
        field_type: &Type,
        value: Option<Value>,
        place: (Option<u64>, Option<BitField>),
        depth: usize,
    ) {
        if self.rows.len() >= ROW_LIMIT {
            return;
        }
        let resolved = field_type.resolved();
        let is_plain_record =
            matches!(resolved.kind(), TypeKind::Record(_)) && (self.options.raw || field_type.view_kind().is_none());
        let value_text = value.as_ref().map(|value| match value.missing() {
            Some(reason) if !value.is_implicit_pointer() => unavailable(reason),
            _ if is_plain_record => field_type.to_string(),
            _ => value.text(self.options, self.memory),
        });
        self.rows.push(FieldRow {
            depth,
            offset: place.0,
            bits: place.1,
            name,
            role,
            type_name: field_type.to_string(),
            value_text,
            value: value.clone(),
        });
        // Bases and anonymous members are opened always: their fields are the type's own.
        let inline = role == FieldRole::Base || self.rows.last().is_some_and(|row| row.name.is_empty());
        let open = depth < self.most_depth || inline && depth < DEPTH_LIMIT;
        if open && is_plain_record {
            self.record(field_type, value.as_ref(), place.0, depth + 1);
        }
    }
}
