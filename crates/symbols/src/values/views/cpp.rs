//! What containers and wrappers of C++ have in common, whichever library they are of.

use outpost_base::{MemoryReader, Va};

use super::{LENGTH_LIMIT, View, ViewLimits, clocks, contiguous, garbage, number};
use crate::types::{Field, Type, TypeTable};
use crate::{Scalar, Unavailable, Value};

/// Bits in place of elements: `length` of them, beginning with bit `first` of the byte at `at`, least significant first.
pub(super) fn bits(
    element: &Type,
    at: Va,
    first: u64,
    length: u64,
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    if length > LENGTH_LIMIT || first > LENGTH_LIMIT {
        return Err(garbage("length is nonsense"));
    }
    let end = length.min(limits.start.saturating_add(limits.count));
    let mut items = Vec::new();
    for index in limits.start..end {
        let bit = first + index;
        let at = at + bit / 8;
        memory.read_uint(at, 1).ok_or(Unavailable::Memory { at })?;
        items.push(Value::bit_in_memory(element.clone(), at, bit % 8));
    }
    Ok(View::Sequence { items, length })
}

/// Elements of an array that the value has within it.
pub(super) fn own_elements(
    array: &Value,
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    // Of no elements it is something else.
    let length = array.value_type().element().and_then(|(_, count)| count).unwrap_or(0);
    let end = length.min(limits.start.saturating_add(limits.count));
    let items: Result<_, _> = (limits.start..end).map(|index| array.index(index as i64, memory)).collect();
    Ok(View::Sequence { items: items?, length })
}

/// `std::bitset` begins with its bits.
pub(super) fn bitset(value: &Value, limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let length = last_number(value.value_type()).ok_or(Unavailable::WrongType)?;
    let element = TypeTable::builtin().named("bool").into_iter().next().ok_or(Unavailable::WrongType)?;
    let at = value.address().ok_or(Unavailable::WrongType)?;
    bits(&element, at, 0, length, limits, memory)
}

/// `std::initializer_list`, which is in no inline namespace of LLVM's library.
pub(super) fn initializer_list(
    value: &Value,
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let begin = value.member("_M_array", memory).or_else(|_| value.member("__begin_", memory))?;
    let length = number(value, "_M_len", memory).or_else(|_| number(value, "__size_", memory))?;
    let element = begin.value_type().target().ok_or(Unavailable::WrongType)?;
    contiguous(&element, Va(begin.scalar(memory)?.as_u64()), length, limits)
}

/// `std::stack`, `std::queue`, `std::priority_queue`: the container is called `c` ([stack.defn], [queue.defn]).
pub(super) fn adaptor(value: &Value, _limits: &ViewLimits, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    Ok(View::Wrapped(value.member("c", memory)?))
}

/// The value is all that there is to an atomic type that needs no lock.
pub(super) fn atomic(value: &Value, _limits: &ViewLimits, _memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let element = value.value_type().template_argument("_Tp", 0).ok_or(Unavailable::WrongType)?;
    Ok(View::Wrapped(value.cast(element)))
}

/// `std::chrono::duration`: a count of what its period says, in parts of a second.
pub(super) fn duration(
    value: &Value,
    _limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let count = value.member("__r", memory).or_else(|_| value.member("__rep_", memory))?.scalar(memory)?;
    let period = value.value_type().template_argument("_Period", 1).ok_or(Unavailable::WrongType)?;
    let unit = match numbers(&period)[..] {
        [1, 1_000_000_000] => "ns".to_owned(),
        [1, 1_000_000] => "us".to_owned(),
        [1, 1_000] => "ms".to_owned(),
        [1, 1] | [1] => "s".to_owned(),
        [60, 1] | [60] => "min".to_owned(),
        [3600, 1] | [3600] => "h".to_owned(),
        [86_400, 1] | [86_400] => "d".to_owned(),
        [parts, 1] | [parts] => format!("[{parts}]s"),
        [parts, whole] => format!("[{parts}/{whole}]s"),
        _ => return Err(Unavailable::WrongType),
    };
    let count = match count {
        Scalar::Float(count) => count.to_string(),
        count => count.as_i128().to_string(),
    };
    Ok(View::Words(count + &unit))
}

/// `std::chrono::time_point`: a duration since its clock began; of the system's clock the day and time, in UTC.
pub(super) fn time_point(
    value: &Value,
    _limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<View, Unavailable> {
    let since = value.member("__d", memory).or_else(|_| value.member("__d_", memory))?;
    let clock = value.value_type().template_argument("_Clock", 0).map(|clock| clock.resolved().qualified_name());
    let is_system = clock.is_some_and(|clock| clock.starts_with("std::") && clock.ends_with("::system_clock"));
    if is_system
        && let Some(period) = since.value_type().template_argument("_Period", 1)
        && let Ok(count @ (Scalar::Signed(_) | Scalar::Unsigned(_))) =
            since.member("__r", memory).or_else(|_| since.member("__rep_", memory))?.scalar(memory)
    {
        let numbers = numbers(&period);
        let (part, whole) = (numbers.first().copied().unwrap_or(1), numbers.get(1).copied().unwrap_or(1));
        if let Some(text) = clocks::since_1970(count.as_i128(), part, whole) {
            return Ok(View::Words(text));
        }
    }
    Ok(View::Wrapped(since))
}

/// What a pointer owns or refers to.
pub(super) fn pointer_view(pointer: &Value, memory: &mut dyn MemoryReader) -> Result<View, Unavailable> {
    let target = pointer.deref(memory)?;
    Ok(View::Pointer { target: target.address().filter(|at| at.0 != 0).map(|_| target), note: None })
}

/// `shared` owners of what `target` points to, and `weak` references; it is gone with its last owner.
pub(super) fn counted_view(target: &Value, shared: i128, weak: i128) -> View {
    let target = (shared > 0 && target.address().is_some_and(|at| at.0 != 0)).then(|| target.clone());
    View::Pointer { target, note: Some(format!("shared={shared}, weak={weak}")) }
}

/// The alternative of a `std::variant` that `index` tells, which lies where `storage` does.
pub(super) fn alternative(value: &Value, index: u64, storage: &Value) -> View {
    let of = value.value_type().resolved();
    let alternatives = of.record().map_or(&[][..], |record| &record.template);
    match usize::try_from(index).ok().and_then(|index| alternatives.get(index)) {
        Some(alternative) => View::Wrapped(storage.cast(of.sibling(alternative.argument_type))),
        None => View::Empty("valueless"),
    }
}

/// The member `name`, wherever a library hides it.
pub(super) fn inside(value: &Value, name: &str) -> Result<Value, Unavailable> {
    let field: Option<Field> = value.value_type().field_inside(name, &|_| true);
    Ok(value.field(&field.ok_or(Unavailable::WrongType)?))
}

/// The last argument of a template, if it is a number: what `std::bitset` and `std::span` have no member for.
pub(super) fn last_number(of: &Type) -> Option<u64> {
    numbers(of).pop()
}

/// The numbers that the arguments of a template end with.
fn numbers(of: &Type) -> Vec<u64> {
    let name = of.resolved().qualified_name();
    let arguments = name.trim_end().strip_suffix('>').unwrap_or_default();
    let number = |argument: &str| argument.trim().trim_end_matches(['u', 'l', 'U', 'L']).parse().ok();
    let mut numbers: Vec<u64> = arguments.rsplit(['<', ',']).map_while(number).collect();
    numbers.reverse();
    numbers
}
