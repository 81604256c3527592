//! `HashMap` and `HashSet`: hashbrown's SwissTable.
//!
//! A control byte for each bucket, its highest bit clear where the bucket is full; the buckets lie before the control
//! bytes, from the last to the first. Source: `hashbrown/src/raw/mod.rs` (0.15, and 0.17).

use super::{MemoryReader, Type, Unavailable, Va, Value, View, ViewLimits};
use super::{argument, end_of, find_inside, garbage, number_within, thin_pointer};

/// Set in the control byte of an empty bucket and of one whose element was removed.
const NOT_FULL: u8 = 0x80;
/// Control bytes that are looked at in all, and in one read at least.
const CONTROL_LIMIT: u64 = 16 << 20;
const CONTROL_CHUNK: u64 = 64 << 10;

pub(super) fn map(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let (buckets, length) = full_buckets(value, limits, memory)?;
    let pair = |bucket: Value, memory: &mut dyn MemoryReader| -> Result<(Value, Value), Unavailable> {
        Ok((bucket.member("__0", memory)?, bucket.member("__1", memory)?))
    };
    let entries: Result<_, _> = buckets.into_iter().map(|bucket| pair(bucket, memory)).collect();
    Ok(View::Map { entries: entries?, length })
}

/// A map whose values are `()`.
pub(super) fn set(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let (buckets, length) = full_buckets(value, limits, memory)?;
    let items: Result<_, _> = buckets.into_iter().map(|bucket| bucket.member("__0", memory)).collect();
    Ok(View::Sequence { items: items?, length })
}

/// The buckets that are asked for, and how many are full.
fn full_buckets(
    value: &Value,
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<(Vec<Value>, u64), Unavailable> {
    let is_table = |name: &str, of: &Type| {
        name == "table" && of.resolved().qualified_name().starts_with("hashbrown::raw::RawTable<")
    };
    let table = find_inside(value.value_type(), &is_table).ok_or(Unavailable::WrongType)?;
    let table = value.field(&table);
    let element = argument(&table)?;
    let size = element.size().ok_or(Unavailable::NoSize)?;
    let (mask, length) = (number_within(&table, "bucket_mask", memory)?, number_within(&table, "items", memory)?);
    let control = find_inside(table.value_type(), &|name, _| name == "ctrl").ok_or(Unavailable::WrongType)?;
    let control = table.field(&control);
    let control = match thin_pointer(control.value_type()) {
        Some(pointer) => control.field(&pointer),
        None => control,
    };
    let control = Va(control.scalar(memory)?.as_u64());
    let buckets = mask.checked_add(1).filter(|buckets| buckets.is_power_of_two() && length <= *buckets);
    let buckets = buckets.ok_or_else(|| garbage("counts more than it has room for"))?;
    if buckets.checked_mul(size).is_none_or(|bytes| bytes > control.0) || control.checked_add(buckets).is_none() {
        return Err(garbage("reaches beyond memory"));
    }
    let full = full(control, buckets, length, end_of(limits, length), memory)?;
    let wanted = full.into_iter().skip(usize::try_from(limits.start).unwrap_or(usize::MAX));
    let place = |index: u64| Va(control.0 - (index + 1) * size);
    Ok((wanted.map(|index| Value::in_memory(element.clone(), place(index))).collect(), length))
}

/// The first `wanted` full ones of `buckets`, of which `length` are.
fn full(
    control: Va,
    buckets: u64,
    length: u64,
    wanted: u64,
    memory: &mut dyn MemoryReader,
) -> Result<Vec<u64>, Unavailable> {
    // As many bytes as will hold them if they are spread evenly, so that one read or two find them.
    let share = u128::from(buckets) * u128::from(wanted) / u128::from(length.max(1));
    let chunk = u64::try_from(share).unwrap_or(u64::MAX).clamp(CONTROL_CHUNK, CONTROL_LIMIT);
    let (mut found, mut from) = (Vec::new(), 0);
    while (found.len() as u64) < wanted && from < buckets.min(CONTROL_LIMIT) {
        let mut bytes = vec![0; (buckets - from).min(chunk) as usize];
        memory.read_exact(control + from, &mut bytes).ok_or(Unavailable::Memory { at: control + from })?;
        let here = (from..).zip(&bytes).filter(|(_, byte)| **byte & NOT_FULL == 0);
        found.extend(here.map(|(index, _)| index));
        from += bytes.len() as u64;
    }
    found.truncate(wanted as usize);
    Ok(found)
}
