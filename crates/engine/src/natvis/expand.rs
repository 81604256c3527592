//! What objects have inside by their views.

use outpost_base::MemoryReader;
use outpost_symbols::{Value, ViewLimits};

use super::evaluate::{Context, chosen, deeper, evaluate, holds, number, step};
use super::file::{Guard, Guarded, Item};
use super::piece::Piece;
use super::store::{MadeUp, pointee};
use super::{is_senseless, is_unreadable, nodes, program, text};
use crate::Engine;
use crate::expr::ExprError;
use crate::model::{Format, Object, Part, Parts};

/// Elements that a view may state before its object counts as garbage.
const LENGTH_LIMIT: u64 = 1 << 32;
/// Dimensions of an array.
const RANK_LIMIT: u64 = 16;

/// What is found, within bounds.
pub(super) struct Collector {
    parts: Parts,
    /// Parts that are still passed over.
    skip: u64,
    left: u64,
    /// Whether only elements count.
    elements_only: bool,
}

/// Whether more is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    More,
    Enough,
}

impl Collector {
    fn new(limits: &ViewLimits, elements_only: bool) -> Collector {
        Collector { parts: Parts::default(), skip: limits.start, left: limits.count, elements_only }
    }

    /// Takes a part that is no element.
    fn push(&mut self, part: impl FnOnce() -> Part) -> Wanted {
        if self.elements_only { Wanted::More } else { self.take(part) }
    }

    /// Takes an element.
    pub(super) fn element(&mut self, part: impl FnOnce() -> Part) -> Wanted {
        self.take(part)
    }

    fn take(&mut self, part: impl FnOnce() -> Part) -> Wanted {
        if self.skip > 0 {
            self.skip -= 1;
            return Wanted::More;
        }
        let Some(left) = self.left.checked_sub(1) else {
            self.parts.more = true;
            return Wanted::Enough;
        };
        self.left = left;
        self.parts.items.push(part());
        Wanted::More
    }

    /// How many elements are still passed over.
    pub(super) fn left_out(&self) -> u64 {
        self.skip
    }

    /// Passes over elements that need no look, as many as are left out anyway.
    pub(super) fn pass_over(&mut self, count: u64) -> u64 {
        let passed = self.skip.min(count);
        self.skip -= passed;
        passed
    }
}

/// A part that is a value in a format.
pub(super) fn part(name: String, value: Value, format: Format) -> Part {
    Part { format: (format != Format::default()).then(|| Box::new(format)), ..Part::named(name, Object::Value(value)) }
}

/// A part that could not be had.
fn failed(name: String, error: ExprError) -> Part {
    Part::named(name, Object::Failed(error))
}

/// What a value has inside; of a pointer what it points to has.
pub(super) fn parts_of(
    engine: &mut Engine,
    value: &Value,
    name: Option<&str>,
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Option<Result<Parts, ExprError>> {
    collected(engine, value, name, memory, &|| Collector::new(limits, false))
}

/// What of it are elements.
pub(super) fn elements_of(
    engine: &mut Engine,
    value: &Value,
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Option<Result<Parts, ExprError>> {
    collected(engine, value, None, memory, &|| Collector::new(limits, true))
}

fn collected(
    engine: &mut Engine,
    value: &Value,
    name: Option<&str>,
    memory: &mut dyn MemoryReader,
    collector: &dyn Fn() -> Collector,
) -> Option<Result<Parts, ExprError>> {
    let value = match pointee(&mut engine.views, value, memory) {
        None if value.value_type().is_pointer() => return None,
        None => value.clone(),
        Some(Ok(target)) => target,
        Some(Err(reason)) => return Some(Err(crate::model::unreadable(value, reason))),
    };
    let mut nothing = None;
    for (found, this) in engine.views.of_object(&value, memory) {
        let context = Context { found: found.clone(), this, names: Vec::new(), name: name.map(str::to_owned) };
        let Some(items) = &found.view().expand else {
            if let Some(parts) = behind_pointer(engine, &context, collector, memory) {
                return Some(parts);
            }
            continue;
        };
        let mut collector = collector();
        if collector.elements_only && !items.iter().any(has_elements) {
            continue;
        }
        let done = deeper(engine, |engine| {
            context.read(memory);
            if !holds(engine, &context, &found.view().guard, memory)? {
                return Ok(false);
            }
            collect(engine, &context, items, &mut collector, memory).map(|_| true)
        });
        match done {
            Ok(true) => return Some(Ok(collector.parts)),
            Ok(false) => {}
            Err(ExprError::Interrupted) => return Some(Err(ExprError::Interrupted)),
            // Another view may make sense of it. What could not be read makes none for any.
            Err(error) => {
                engine.views.note_failure(&found, value.value_type(), &error);
                nothing = nothing.or(Some(Err(error)));
            }
        }
    }
    nothing.filter(|error: &Result<Parts, ExprError>| error.as_ref().is_err_and(is_unreadable))
}

/// What a smart pointer that says nothing else of it has inside: what it points to has.
fn behind_pointer(
    engine: &mut Engine,
    context: &Context,
    collector: &dyn Fn() -> Collector,
    memory: &mut dyn MemoryReader,
) -> Option<Result<Parts, ExprError>> {
    let found = context.found.clone();
    let pointer = found.view().pointers.iter().find(|pointer| pointer.opens)?;
    let mut collector = collector();
    let done = deeper(engine, |engine| {
        context.read(memory);
        if !holds(engine, context, &found.view().guard, memory)?
            || !holds(engine, context, &pointer.value.guard, memory)?
        {
            return Ok(false);
        }
        expand(engine, context, &pointer.value, &mut collector, memory).map(|_| true)
    });
    match done {
        Ok(true) => Some(Ok(collector.parts)),
        Err(error) if is_unreadable(&error) || error == ExprError::Interrupted => Some(Err(error)),
        _ => None,
    }
}

fn has_elements(item: &Item) -> bool {
    !matches!(item, Item::One { .. } | Item::Synthetic { .. })
}

/// What is made up has inside.
pub(super) fn parts_of_items(
    engine: &mut Engine,
    context: &Context,
    items: &[Item],
    limits: &ViewLimits,
    memory: &mut dyn MemoryReader,
) -> Result<Parts, ExprError> {
    let mut collector = Collector::new(limits, false);
    deeper(engine, |engine| collect(engine, context, items, &mut collector, memory))?;
    Ok(collector.parts)
}

fn collect(
    engine: &mut Engine,
    context: &Context,
    items: &[Item],
    collector: &mut Collector,
    memory: &mut dyn MemoryReader,
) -> Result<Wanted, ExprError> {
    for item in items {
        let guard = guard_of(item);
        // The items that are left are looked for all the same: in a batch all that is missing is asked for at once.
        let done = holds(engine, context, guard, memory).and_then(|holds| match holds {
            true => collect_one(engine, context, item, collector, memory),
            false => Ok(Wanted::More),
        });
        match done {
            Ok(Wanted::Enough) => return Ok(Wanted::Enough),
            Ok(Wanted::More) => {}
            Err(ExprError::Interrupted) => return Err(ExprError::Interrupted),
            Err(error) if guard.optional && !is_unreadable(&error) => {}
            Err(error) if is_senseless(&error) => return Err(error),
            // One that fails does not hide the others.
            Err(error) => {
                if collector.take(|| failed(label(item), error)) == Wanted::Enough {
                    return Ok(Wanted::Enough);
                }
            }
        }
    }
    Ok(Wanted::More)
}

fn guard_of(item: &Item) -> &Guard {
    match item {
        Item::Expanded(guarded) => &guarded.guard,
        Item::One { guard, .. }
        | Item::Synthetic { guard, .. }
        | Item::Array { guard, .. }
        | Item::Index { guard, .. }
        | Item::List { guard, .. }
        | Item::Tree { guard, .. }
        | Item::Custom { guard, .. } => guard,
    }
}

/// What an item is called where it cannot be had.
fn label(item: &Item) -> String {
    match item {
        Item::One { name, .. } | Item::Synthetic { name, .. } => match &name[..] {
            [Piece::Text(text)] => text.clone(),
            _ => String::new(),
        },
        _ => "[...]".to_owned(),
    }
}

fn collect_one(
    engine: &mut Engine,
    context: &Context,
    item: &Item,
    collector: &mut Collector,
    memory: &mut dyn MemoryReader,
) -> Result<Wanted, ExprError> {
    match item {
        Item::One { name, value, .. } => {
            if collector.elements_only {
                return Ok(Wanted::More);
            }
            let name = text::of_pieces(engine, context, name, memory)?;
            let (value, format) = evaluate(engine, context, value, memory)?;
            Ok(collector.push(|| part(name, value, format)))
        }
        Item::Synthetic { name, view, .. } => {
            let name = text::of_pieces(engine, context, name, memory)?;
            let made_up = MadeUp { view: view.clone(), context: std::rc::Rc::new(context.clone()) };
            Ok(collector.push(|| Part::named(name, Object::MadeUp(std::rc::Rc::new(made_up)))))
        }
        Item::Expanded(expanded) => expand(engine, context, expanded, collector, memory),
        Item::Array { sizes, rank, lower_bound, pointers, backward, .. } => {
            let (rank, lower_bound) = (rank.as_deref(), lower_bound.as_deref());
            let shape = Shape { sizes, rank, lower_bound, backward: *backward };
            array(engine, context, &shape, pointers, collector, memory)
        }
        Item::Index { sizes, values, .. } => indexed(engine, context, sizes, values, collector, memory),
        Item::List { nodes, next, .. } => nodes::list(engine, context, nodes, next, collector, memory),
        Item::Tree { nodes, left, right, .. } => nodes::tree(engine, context, nodes, (left, right), collector, memory),
        Item::Custom { program, .. } => program::run(engine, context, program, collector, memory),
    }
}

/// What another value has inside, as if it were here.
fn expand(
    engine: &mut Engine,
    context: &Context,
    expanded: &Guarded,
    collector: &mut Collector,
    memory: &mut dyn MemoryReader,
) -> Result<Wanted, ExprError> {
    let (value, format) = evaluate(engine, context, &expanded.value, memory)?;
    let limits =
        ViewLimits { count: collector.skip.saturating_add(collector.left).saturating_add(1), ..ViewLimits::default() };
    let object = Object::Value(value);
    let parts = match collector.elements_only {
        true => engine.object_elements(&object, &limits, memory)?,
        false => deeper(engine, |engine| {
            engine.object_parts_by(&object, format.view.as_deref(), &limits, format.raw, memory)
        })?,
    };
    for part in parts.items {
        if collector.take(|| part) == Wanted::Enough {
            return Ok(Wanted::Enough);
        }
    }
    Ok(Wanted::More)
}

/// How many elements there are; `None` if nothing is said.
pub(super) fn size(
    engine: &mut Engine,
    context: &Context,
    sizes: &[Guarded],
    memory: &mut dyn MemoryReader,
) -> Result<Option<u64>, ExprError> {
    let mut found = None;
    for one in sizes {
        if !holds(engine, context, &one.guard, memory)? {
            continue;
        }
        match evaluate(engine, context, &one.value, memory) {
            Err(error) if one.guard.optional && !is_unreadable(&error) => {}
            other => {
                found = Some(other?.0);
                break;
            }
        }
    }
    let Some(value) = found else { return Ok(None) };
    let size = value.scalar(memory).map_err(|reason| crate::model::unreadable(&value, reason))?.as_i128();
    match u64::try_from(size).ok().filter(|size| *size <= LENGTH_LIMIT) {
        Some(size) => Ok(Some(size)),
        None => Err(ExprError::View { problem: format!("{size} elements are nonsense") }),
    }
}

struct Shape<'a> {
    sizes: &'a [Guarded],
    rank: Option<&'a str>,
    lower_bound: Option<&'a str>,
    /// The first index counts fastest, and not the last.
    backward: bool,
}

fn array(
    engine: &mut Engine,
    context: &Context,
    shape: &Shape<'_>,
    pointers: &[Guarded],
    collector: &mut Collector,
    memory: &mut dyn MemoryReader,
) -> Result<Wanted, ExprError> {
    // Both are asked for before either is looked at: what is missing is fetched together.
    let dimensions = dimensions(engine, context, shape, memory);
    let pointer = chosen(engine, context, pointers, memory);
    let pointer = pointer.and_then(|text| match text {
        Some(text) => evaluate(engine, context, text, memory).map(Some),
        None => Ok(None),
    });
    let (dimensions, Some((pointer, format))) = (dimensions?, pointer?) else { return Ok(Wanted::More) };
    let total = dimensions.iter().try_fold(1u64, |total, (_, count)| total.checked_mul(*count));
    let total =
        total.filter(|total| *total <= LENGTH_LIMIT).ok_or_else(|| nonsense("that many elements are nonsense"))?;
    let mut at = collector.pass_over(total);
    while at < total {
        step(engine)?;
        let value = pointer.index(at as i64, memory).map_err(|reason| crate::model::unreadable(&pointer, reason))?;
        let name = place(&dimensions, at, shape.backward);
        if collector.element(|| part(name, value, format.clone())) == Wanted::Enough {
            return Ok(Wanted::Enough);
        }
        at += 1;
    }
    Ok(Wanted::More)
}

/// First index and count of each dimension, outermost first.
fn dimensions(
    engine: &mut Engine,
    context: &Context,
    shape: &Shape<'_>,
    memory: &mut dyn MemoryReader,
) -> Result<Vec<(i64, u64)>, ExprError> {
    let rank = match shape.rank {
        Some(rank) => number(engine, context, rank, memory)?,
        None => 1,
    };
    if !(1..=RANK_LIMIT).contains(&rank) {
        return Err(nonsense("it has no dimensions, or too many"));
    }
    let mut dimensions = Vec::new();
    for dimension in 0..rank {
        let context = context.numbered("$i", dimension);
        let count = size(engine, &context, shape.sizes, memory)?.unwrap_or(0);
        let first = match shape.lower_bound {
            Some(text) => number(engine, &context, text, memory)? as i64,
            None => 0,
        };
        dimensions.push((first, count));
    }
    Ok(dimensions)
}

/// `[1][2]` of element number `at`; the last index runs fastest, `backward` the first.
fn place(dimensions: &[(i64, u64)], mut at: u64, backward: bool) -> String {
    let mut index = |(first, count): &(i64, u64)| {
        let index = first.wrapping_add_unsigned(at % count);
        at /= count;
        index
    };
    let indexes: Vec<_> = match backward {
        true => dimensions.iter().map(index).collect(),
        false => {
            let mut indexes: Vec<_> = dimensions.iter().rev().map(&mut index).collect();
            indexes.reverse();
            indexes
        }
    };
    indexes.iter().map(|index| format!("[{index}]")).collect()
}

fn indexed(
    engine: &mut Engine,
    context: &Context,
    sizes: &[Guarded],
    values: &[Guarded],
    collector: &mut Collector,
    memory: &mut dyn MemoryReader,
) -> Result<Wanted, ExprError> {
    let total = size(engine, context, sizes, memory)?.unwrap_or(0);
    for at in collector.pass_over(total)..total {
        let context = context.numbered("$i", at);
        let found = chosen(engine, &context, values, memory).and_then(|text| match text {
            Some(text) => evaluate(engine, &context, text, memory).map(Some),
            None => Ok(None),
        });
        let name = format!("[{at}]");
        let part = match found {
            Ok(Some((value, format))) => part(name, value, format),
            Ok(None) => continue,
            // The next ones are asked for all the same.
            Err(error) if is_unreadable(&error) => failed(name, error),
            Err(error) => return Err(error),
        };
        if collector.element(|| part) == Wanted::Enough {
            return Ok(Wanted::Enough);
        }
    }
    Ok(Wanted::More)
}

pub(super) fn nonsense(problem: &str) -> ExprError {
    ExprError::View { problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_of_several_dimensions_run_the_last_fastest_or_the_first_backward() {
        let dimensions = [(0, 2), (10, 3)];
        let places = |backward| (0..6).map(|at| place(&dimensions, at, backward)).collect::<Vec<_>>();
        assert_eq!(places(false), ["[0][10]", "[0][11]", "[0][12]", "[1][10]", "[1][11]", "[1][12]"]);
        assert_eq!(places(true), ["[0][10]", "[1][10]", "[0][11]", "[1][11]", "[0][12]", "[1][12]"]);
    }
}
