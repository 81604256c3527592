//! Which part of a type is at an offset, as the source would write it.

use outpost_symbols::{Type, TypeKind};

/// Members within members that are followed.
const DEPTH_LIMIT: usize = 16;

/// The part of `of` that covers `offset`: `.next`, `.in.y[2]`, empty for the whole, with its type. `None` if no part is
/// there.
pub(super) fn part_at(of: &Type, offset: u64) -> Option<(String, Type)> {
    let mut path = String::new();
    let mut current = of.clone();
    let mut rest = offset;
    for _ in 0..DEPTH_LIMIT {
        let resolved = current.resolved();
        match resolved.kind() {
            TypeKind::Record(record) if record.variants.is_none() => {
                let inside = |start: u64, len: Option<u64>| start <= rest && len.is_none_or(|len| rest - start < len);
                let fields = resolved.fields();
                let own =
                    fields.iter().find(|field| field.bits.is_none() && inside(field.offset, field.field_type.size()));
                if let Some(field) = own {
                    if !field.name.is_empty() {
                        path.push('.');
                        path.push_str(&field.name);
                    }
                    rest -= field.offset;
                    current = field.field_type.clone();
                    continue;
                }
                let base = record.bases.iter().find_map(|base| {
                    let (base_type, start) = (resolved.sibling(base.base_type), base.offset.fixed()?);
                    inside(start, base_type.size()).then_some((base_type, start))
                });
                match base {
                    // Members of bases are written as the record's own.
                    Some((base_type, start)) => {
                        rest -= start;
                        current = base_type;
                    }
                    None if rest == 0 => return Some((path, current)),
                    None => return None,
                }
            }
            TypeKind::Array { .. } => {
                let (element, count) = current.element()?;
                let len = element.size().filter(|len| *len != 0)?;
                let index = rest / len;
                if count.is_some_and(|count| index >= count) {
                    return None;
                }
                path.push_str(&format!("[{index}]"));
                rest %= len;
                current = element;
            }
            _ if rest == 0 => return Some((path, current)),
            _ => return None,
        }
    }
    None
}
