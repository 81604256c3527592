//! Fields chosen by name, and what is opened of them.

use outpost_base::Va;
use outpost_engine::values::{ElementKey, FieldRole, FieldRow, Type, TypeKind, Value, ViewKind, Wildcard};

use super::options::Word;
use crate::text::values::{self, Amount, ValueMemory};
use crate::{CommandError, Debugger};

/// Rows at most; a listing of more helps nobody.
const ROW_LIMIT: usize = 4000;

/// What of fields is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Opening {
    /// Levels below the outer fields.
    pub(super) depth: usize,
    /// Which pointers are followed.
    pub(super) pointers: Pointers,
    /// Elements of an array that get rows of their own.
    pub(super) elements: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Pointers {
    #[default]
    None,
    /// Those of the outer fields (`-b`).
    Outer,
    /// All, down to the depth (`-r`).
    All,
}

impl Opening {
    /// Levels of `-r` without a number.
    pub(super) const DEEPEST: usize = 15;
    pub(super) const FOLLOWING: Opening = Opening { depth: Opening::DEEPEST, pointers: Pointers::All, elements: None };
    pub(super) const BLOCKS: Opening = Opening { depth: Opening::DEEPEST, pointers: Pointers::Outer, elements: None };
}

/// A field as it was asked for: `a.b[2]..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    /// As it was written.
    pub(super) text: String,
    parts: Vec<Part>,
    /// Levels to show of the last (`field.`).
    levels: usize,
    /// The last part is the beginning of a name.
    begins: bool,
    elements: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: String,
    index: Option<u64>,
}

impl Path {
    pub(super) fn parse(word: &Word) -> Result<Path, CommandError> {
        let text = word.text.replace("->", ".");
        let bare = text.trim_end_matches('.');
        let levels = text.len() - bare.len();
        let part = |text: &str| match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
            None => Ok(Part { name: text.to_owned(), index: None }),
            Some((name, digits)) => match digits.parse() {
                Ok(index) => Ok(Part { name: name.to_owned(), index: Some(index) }),
                Err(_) => Err(CommandError::invalid(format!("'{digits}' is no decimal number of an element"))),
            },
        };
        let parts = bare.split('.').map(part).collect::<Result<Vec<Part>, _>>()?;
        Ok(Path { text: word.text.clone(), parts, levels, begins: word.begins, elements: word.elements })
    }

    pub(super) fn unknown(&self, of: &Type) -> CommandError {
        CommandError::invalid(format!("{of} has no field '{}', and it is no address", self.text))
    }
}

/// Whether the first part of a path names fields of a type.
pub(super) fn begins_with_field(path: &Result<Path, CommandError>, of: &Type, debugger: &mut Debugger) -> bool {
    let Ok(path) = path else { return true };
    let rows = all(of, None, Opening::default(), debugger);
    path.parts.first().is_some_and(|part| !matching(&rows, part, path.begins).is_empty())
}

/// Rows that a part of a path means: those of exactly the name; else those of a pattern, or that begin so.
fn matching(rows: &[FieldRow], part: &Part, begins: bool) -> Vec<usize> {
    let by = |wanted: &dyn Fn(&str) -> bool| -> Vec<usize> {
        (0..rows.len()).filter(|&at| !rows[at].name.is_empty() && wanted(&rows[at].name)).collect()
    };
    if part.name.is_empty() {
        return Vec::new();
    }
    if part.name.contains(['*', '?']) {
        let wildcard = Wildcard::new(&part.name);
        return by(&|name| wildcard.matches(name));
    }
    let exact = if begins { Vec::new() } else { by(&|name| name == part.name) };
    if exact.is_empty() { by(&|name| name.starts_with(&part.name)) } else { exact }
}

/// All rows of a type or object, or elements of an array.
pub(super) fn all(of: &Type, object: Option<&Value>, opening: Opening, debugger: &mut Debugger) -> Vec<FieldRow> {
    let mut seen: Vec<Va> = object.and_then(Value::address).into_iter().collect();
    let mut rows = Vec::new();
    if of.element().is_some() || opening.elements.is_some() && has_elements(of) {
        if let Some(object) = object {
            elements(object, Some(0), 0, opening, debugger, &mut seen, &mut rows);
        }
        return rows;
    }
    open(of, object, opening, 0, debugger, &mut seen, &mut rows);
    rows
}

fn amount(debugger: &Debugger) -> Amount {
    Amount { depth: 1, ..Amount::usual(&debugger.settings) }
}

/// Appends the rows of a record with what is opened in them; `depth` is that of its fields.
fn open(
    of: &Type,
    object: Option<&Value>,
    opening: Opening,
    depth: usize,
    debugger: &mut Debugger,
    seen: &mut Vec<Va>,
    out: &mut Vec<FieldRow>,
) {
    let levels = opening.depth.saturating_sub(depth);
    let amount = amount(debugger);
    for mut row in values::fields_of(&mut debugger.engine, of, object, levels, amount) {
        if out.len() >= ROW_LIMIT {
            return;
        }
        row.depth += depth;
        let (level, offset, value) = (row.depth, row.offset, row.value.clone());
        out.push(row);
        let Some(value) = value else { continue };
        if opening.elements.is_some() && has_elements(value.value_type()) {
            elements(&value, offset, level + 1, opening, debugger, seen, out);
        }
        let follows = match opening.pointers {
            Pointers::None => false,
            Pointers::Outer => level == 0,
            Pointers::All => level < opening.depth,
        };
        if follows && let Some(target) = target(&value, debugger, seen) {
            let of = target.value_type().clone();
            open(&of, Some(&target), opening, level + 1, debugger, seen, out);
        }
    }
}

/// What a pointer to a record points to, unless it was shown already.
fn target(value: &Value, debugger: &mut Debugger, seen: &mut Vec<Va>) -> Option<Value> {
    let target = value.value_type().target()?;
    if !matches!(target.resolved().kind(), TypeKind::Record(_)) {
        return None;
    }
    let target = value.deref(&mut ValueMemory(debugger.engine.memory().ok())).ok()?;
    let at = target.address().filter(|at| at.0 != 0 && !seen.contains(at))?;
    seen.push(at);
    Some(target)
}

/// Whether a type is an array, or a container with a view.
pub(super) fn has_elements(of: &Type) -> bool {
    of.element().is_some() || of.resolved().view_kind() == Some(ViewKind::Container)
}

/// Appends a row for each element that is asked for.
fn elements(
    array: &Value,
    offset: Option<u64>,
    depth: usize,
    opening: Opening,
    debugger: &mut Debugger,
    seen: &mut Vec<Va>,
    out: &mut Vec<FieldRow>,
) {
    let wanted = opening.elements.unwrap_or(u64::MAX);
    let Some((_, count)) = array.value_type().element() else {
        return of_container(array, wanted, depth, opening, debugger, seen, out);
    };
    // Of an array without a stated length only what is asked for by number is known to be wanted.
    let count = count.map_or(if wanted == u64::MAX { 0 } else { wanted }, |count| count.min(wanted));
    for index in 0..count {
        if out.len() >= ROW_LIMIT {
            return;
        }
        let Some(row) = element(array, index, offset, depth, debugger) else { return };
        let value = row.value.clone();
        out.push(row);
        open_element(value.as_ref(), opening, depth, debugger, seen, out);
    }
}

/// Appends a row for each element of a container: all of them are read together.
fn of_container(
    container: &Value,
    wanted: u64,
    depth: usize,
    opening: Opening,
    debugger: &mut Debugger,
    seen: &mut Vec<Va>,
    out: &mut Vec<FieldRow>,
) {
    let room = ROW_LIMIT.saturating_sub(out.len()) as u64;
    let amount = amount(debugger);
    for (part, text) in values::parts_of(&mut debugger.engine, container, wanted.min(room), amount) {
        if out.len() >= ROW_LIMIT {
            return;
        }
        let value = part.value;
        out.push(FieldRow {
            depth,
            offset: None,
            bits: None,
            name: part.name,
            role: FieldRole::Element,
            type_name: value.value_type().to_string(),
            value_text: Some(text),
            value: Some(value.clone()),
        });
        open_element(Some(&value), opening, depth, debugger, seen, out);
    }
}

/// Appends what is opened of an element.
fn open_element(
    value: Option<&Value>,
    opening: Opening,
    depth: usize,
    debugger: &mut Debugger,
    seen: &mut Vec<Va>,
    out: &mut Vec<FieldRow>,
) {
    let Some(value) = value.filter(|_| depth < opening.depth) else { return };
    let of = value.value_type().clone();
    if matches!(of.resolved().kind(), TypeKind::Record(_)) {
        open(&of, Some(value), opening, depth + 1, debugger, seen, out);
    }
}

/// The row of one element.
fn element(array: &Value, index: u64, offset: Option<u64>, depth: usize, debugger: &mut Debugger) -> Option<FieldRow> {
    let key = ElementKey::Number(i128::from(index));
    let amount = amount(debugger);
    let found = values::in_batches(&mut debugger.engine, amount, |_, memory| array.element_at(&key, memory));
    let is_container = found.is_some() && array.value_type().element().is_none();
    let value = match found {
        Some(found) => found.ok()?,
        None => {
            let memory = debugger.engine.memory().ok();
            array.index(i64::try_from(index).ok()?, &mut ValueMemory(memory)).ok()?
        }
    };
    let offset = offset.filter(|_| !is_container);
    let size = value.value_type().size().unwrap_or(0);
    let text = values::text_of(&mut debugger.engine, &value, amount);
    Some(FieldRow {
        depth,
        offset: offset.and_then(|offset| offset.checked_add(size.checked_mul(index)?)),
        bits: None,
        name: format!("[{index}]"),
        role: FieldRole::Element,
        type_name: value.value_type().to_string(),
        value_text: Some(text),
        value: Some(value),
    })
}

/// Rows of the fields that paths name, each with what it is part of before it.
pub(super) fn chosen(
    of: &Type,
    object: Option<&Value>,
    paths: &[Path],
    opening: Opening,
    debugger: &mut Debugger,
) -> Result<Vec<FieldRow>, CommandError> {
    let mut out = Vec::new();
    for path in paths {
        let before = out.len();
        let place = Place { of: of.clone(), object: object.cloned(), offset: Some(0), depth: 0 };
        follow(&place, path, &path.parts, opening, debugger, &mut out);
        if out.len() == before {
            return Err(path.unknown(of));
        }
    }
    Ok(out)
}

/// Where a path has come to.
struct Place {
    of: Type,
    object: Option<Value>,
    offset: Option<u64>,
    depth: usize,
}

fn follow(
    place: &Place,
    path: &Path,
    parts: &[Part],
    opening: Opening,
    debugger: &mut Debugger,
    out: &mut Vec<FieldRow>,
) {
    let Some((part, rest)) = parts.split_first() else { return };
    let amount = amount(debugger);
    let rows = values::fields_of(&mut debugger.engine, &place.of, place.object.as_ref(), 0, amount);
    for at in matching(&rows, part, path.begins && rest.is_empty()) {
        if out.len() >= ROW_LIMIT {
            return;
        }
        let mut row = rows[at].clone();
        let known = place.of.field(&row.name).map(|field| field.field_type);
        let field_type = row.value.as_ref().map(|value| value.value_type().clone()).or(known);
        row.offset = place.offset.and_then(|start| start.checked_add(row.offset?));
        row.depth = place.depth;
        let mut inner = Place {
            of: field_type.unwrap_or_else(|| place.of.clone()),
            object: row.value.clone(),
            offset: row.offset,
            depth: place.depth + 1,
        };
        let length = out.len();
        out.push(row);
        if let Some(index) = part.index {
            let Some(next) = enter_element(&inner, index, debugger, out) else {
                out.truncate(length);
                continue;
            };
            inner = next;
        }
        let inner = through_pointer(inner, debugger);
        if !rest.is_empty() {
            let entered = out.len();
            follow(&inner, path, rest, opening, debugger, out);
            // A field that does not have what is asked of it is not meant.
            if out.len() == entered {
                out.truncate(length);
            }
            continue;
        }
        let levels = path.levels.max(opening.depth);
        let inside = Opening { depth: levels.saturating_sub(1), ..opening };
        let mut opened = match (levels, path.elements, &inner.object) {
            (_, Some(elements), Some(object)) if has_elements(&inner.of) => {
                all(&inner.of, Some(object), Opening { elements: Some(elements), ..inside }, debugger)
            }
            (0, ..) => Vec::new(),
            _ => all(&inner.of, inner.object.as_ref(), inside, debugger),
        };
        for row in &mut opened {
            row.depth += inner.depth;
            row.offset = inner.offset.and_then(|start| start.checked_add(row.offset?));
        }
        out.extend(opened);
    }
}

/// `[index]` of an array: its row, and the place there.
fn enter_element(place: &Place, index: u64, debugger: &mut Debugger, out: &mut Vec<FieldRow>) -> Option<Place> {
    match &place.object {
        Some(array) => {
            let row = element(array, index, place.offset, place.depth, debugger)?;
            let value = row.value.clone()?;
            let of = value.value_type().clone();
            let next = Place { of, object: Some(value), offset: row.offset, depth: place.depth + 1 };
            out.push(row);
            Some(next)
        }
        None => {
            let (of, _) = place.of.element()?;
            let offset = place.offset.and_then(|start| start.checked_add(of.size()?.checked_mul(index)?));
            out.push(FieldRow {
                depth: place.depth,
                offset,
                bits: None,
                name: format!("[{index}]"),
                role: FieldRole::Element,
                type_name: of.to_string(),
                value_text: None,
                value: None,
            });
            Some(Place { of, object: None, offset, depth: place.depth + 1 })
        }
    }
}

/// A pointer to a record stands for the record; offsets count from its start.
fn through_pointer(place: Place, debugger: &mut Debugger) -> Place {
    let Some(of) = place.of.target().filter(|of| matches!(of.resolved().kind(), TypeKind::Record(_))) else {
        return place;
    };
    let object = match &place.object {
        Some(pointer) => match pointer.deref(&mut ValueMemory(debugger.engine.memory().ok())) {
            Ok(object) => Some(object),
            Err(_) => return place,
        },
        None => None,
    };
    Place { of, object, offset: Some(0), ..place }
}

/// The object that a field of this one leads to. A field inside a part (`links.next`) leads to that part of the next.
pub(super) fn linked(object: &Value, link: &Path, debugger: &mut Debugger) -> Result<Option<Va>, CommandError> {
    let of = object.value_type().clone();
    let mut memory = ValueMemory(debugger.engine.memory().ok());
    let mut value = object.clone();
    let mut part = object.clone();
    for step in &link.parts {
        part = value.clone();
        value = value.member(&step.name, &mut memory).map_err(|_| link.unknown(&of))?;
        if let Some(index) = step.index {
            value = value.index(index as i64, &mut memory).map_err(|_| link.unknown(&of))?;
        }
    }
    let target = value.value_type().target();
    let target = target.ok_or_else(|| CommandError::invalid(format!("{} is no pointer", link.text)))?;
    let Some(at) = value.deref(&mut memory).ok().and_then(|next| next.address()).filter(|at| at.0 != 0) else {
        return Ok(None);
    };
    let leads_to_part = link.parts.len() > 1 && target.resolved().id() == part.value_type().resolved().id();
    match (leads_to_part, part.address(), object.address()) {
        (true, Some(part), Some(start)) => Ok(at.0.checked_sub(part - start).map(Va)),
        _ => Ok(Some(at)),
    }
}
