//! An object with its members, theirs, and so on.

use std::cell::RefCell;

use outpost_base::{MemoryReader, Va};
use outpost_engine::Engine;
use outpost_engine::expr::ExprError;
use outpost_engine::model::{Format, Object, Part, Parts};
use outpost_engine::values::{
    BitField, NumberFormat, TextOptions, TypeKind, Value, ValueLocation, View, ViewKind, ViewLimits,
};

use super::grid::Grid;
use crate::json::fields;
use crate::text::{line, put};

/// Rows at most; a longer listing helps nobody.
const ROW_LIMIT: usize = 4000;
/// Room for a name before its value.
const NAME_WIDTH: usize = 16;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// How deep it is nested: 0 for what was asked for.
    pub depth: usize,
    /// Bytes from the start of what it is a part of.
    pub offset: Option<u64>,
    /// The bits it has, if it is a bit field.
    pub bits: Option<BitField>,
    /// What it is called.
    pub name: String,
    /// Its value, where it has one in a line.
    pub value: Option<String>,
    /// Its type, if it is a value of the debuggee.
    pub type_name: Option<String>,
}

fields!(Row { depth, offset, bits, name, value, type_name });

impl Row {
    /// A method that an object has.
    pub(super) fn method(syntax: &str, summary: &str) -> Row {
        Row { value: Some(summary.to_owned()), ..Row::named(syntax, 1) }
    }

    fn named(name: &str, depth: usize) -> Row {
        Row { depth, offset: None, bits: None, name: name.to_owned(), value: None, type_name: None }
    }
}

/// What looks at objects and collects rows.
pub(super) struct Tree<'a, 'e> {
    pub(super) engine: &'a RefCell<&'e mut Engine>,
    pub(super) memory: &'a mut dyn MemoryReader,
    pub(super) options: TextOptions<'a>,
    pub(super) limits: ViewLimits,
    pub(super) format: &'a Format,
    pub(super) rows: Vec<Row>,
    /// What is being opened around the current row: a cycle is not followed.
    pub(super) path: Vec<(Va, String)>,
}

impl Tree<'_, '_> {
    /// Appends an object and so many levels of its members.
    pub(super) fn show(&mut self, name: &str, object: &Object, levels: usize) -> Result<(), ExprError> {
        let part = Part {
            name: name.to_owned(),
            offset: None,
            bits: None,
            format: None,
            object: object.clone(),
            is_undecided: false,
        };
        self.part(&part, 0, levels)
    }

    fn part(&mut self, part: &Part, depth: usize, levels: usize) -> Result<(), ExprError> {
        self.engine.borrow().check_interrupt().map_err(|_| ExprError::Interrupted)?;
        if self.rows.len() >= ROW_LIMIT {
            return Ok(());
        }
        let derived = self.derived(part, depth);
        // What the class says that an object was made of is what there is to say of it.
        let said = derived.as_ref().and_then(|real| self.text(&real.object, part.format.as_deref()));
        let mut row = Row {
            offset: part.offset,
            bits: part.bits,
            value: said.or_else(|| self.text(&part.object, part.format.as_deref())),
            type_name: type_name(&part.object),
            ..Row::named(&part.name, depth)
        };
        if let Some(real) = derived.as_ref().and_then(|real| type_name(&real.object)) {
            row.type_name = row.type_name.map(|declared| format!("{real} (derived from {declared})"));
        }
        let part = derived.as_ref().unwrap_or(part);
        self.rows.push(row);
        let Some(inside) = levels.checked_sub(1).filter(|_| self.opens(part)) else {
            return Ok(());
        };
        let place = self.place(&part.object);
        if place.as_ref().is_some_and(|place| self.path.contains(place)) {
            return Ok(());
        }
        let is_known = place.is_some();
        self.path.extend(place);
        let shown = self.inside(part, depth + 1, inside);
        if is_known {
            self.path.pop();
        }
        shown
    }

    /// What is declared as a base class as the class it was made of. Members that are base classes are parts of what they
    /// are shown in; so only what is asked for, and what pointers lead to, is looked at.
    fn derived(&mut self, part: &Part, depth: usize) -> Option<Part> {
        let format = part.format.as_deref().unwrap_or(self.format);
        let Object::Value(value) = &part.object else { return None };
        if format.declared || self.format.declared || (depth > 0 && !value.value_type().resolved().is_pointer()) {
            return None;
        }
        let real = self.engine.borrow_mut().derived_object(value, self.memory)?;
        Some(Part { object: Object::Value(real), ..part.clone() })
    }

    fn inside(&mut self, part: &Part, depth: usize, levels: usize) -> Result<(), ExprError> {
        let found = self.parts(part);
        let parts = match found {
            Ok(parts) => parts,
            Err(ExprError::Interrupted) => return Err(ExprError::Interrupted),
            Err(error) => {
                self.rows.push(Row { value: Some(format!("<{error}>")), ..Row::named("", depth) });
                return Ok(());
            }
        };
        for part in &parts.items {
            self.part(part, depth, levels)?;
        }
        if parts.more || self.rows.len() >= ROW_LIMIT && self.rows.last().is_some_and(|row| row.name != "[...]") {
            self.rows.push(Row::named("[...]", depth));
        }
        Ok(())
    }

    /// What an object has inside, by the view that it is to be shown with.
    fn parts(&mut self, part: &Part) -> Result<Parts, ExprError> {
        let format = part.format.as_deref().unwrap_or(self.format);
        let raw = self.options.raw || format.raw;
        let view = format.view.as_deref();
        self.engine.borrow_mut().object_parts_by(&part.object, view, &self.limits, raw, self.memory)
    }

    /// What an object occupies, by which it is known again: of a pointer what it points to.
    fn place(&mut self, object: &Object) -> Option<(Va, String)> {
        let Object::Value(value) = object else { return None };
        let target = match value.value_type().is_pointer() {
            true => value.deref(self.memory).ok()?,
            false => value.clone(),
        };
        Some((target.address()?, target.value_type().to_string()))
    }

    /// The elements of an object as a table.
    pub(super) fn grid(&mut self, object: &Object) -> Result<Grid, ExprError> {
        let parts = self.engine.borrow_mut().object_parts(object, &self.limits, self.options.raw, self.memory)?;
        let mut grid = Grid { more: parts.more, ..Grid::default() };
        for part in &parts.items {
            self.engine.borrow().check_interrupt().map_err(|_| ExprError::Interrupted)?;
            let members = if self.opens(part) { self.parts(part)? } else { Parts::default() };
            let mut cells: Vec<(String, String)> = Vec::new();
            for member in &members.items {
                let text = self
                    .text(&member.object, member.format.as_deref())
                    .unwrap_or_else(|| type_name(&member.object).map(|of| format!("[{of}]")).unwrap_or_default());
                cells.push((member.name.clone(), text));
            }
            if cells.is_empty() {
                cells.push(("Value".to_owned(), self.text(&part.object, part.format.as_deref()).unwrap_or_default()));
            }
            grid.push(&part.name, cells);
        }
        Ok(grid)
    }

    /// What is shown of an object in its line, in a format of its own if it has one.
    fn text(&mut self, object: &Object, format: Option<&Format>) -> Option<String> {
        match object {
            Object::Value(value) => self.value_text(value, format),
            Object::Record(members) => {
                let text = |(name, member): &(String, Object)| Some(format!("{name} = {}", self.text(member, None)?));
                // Members that have no text are seen where the object is opened.
                Some(format!("{{ {} }}", members.iter().filter_map(text).collect::<Vec<_>>().join(", ")))
            }
            other => self.engine.borrow_mut().object_label(other, self.memory).filter(|label| !label.is_empty()),
        }
    }

    /// Whether an object has something inside that is worth a line of its own.
    fn opens(&self, part: &Part) -> bool {
        let format = part.format.as_deref().unwrap_or(self.format);
        match &part.object {
            Object::Value(value) => {
                let of = value.value_type().resolved();
                let has_elements = of.is_pointer() || of.element().is_some();
                let is_text = of.element().is_some_and(|(element, _)| element.letter_size().is_some())
                    || of.target().is_some_and(|target| target.letter_size().is_some())
                    || has_elements && format.is_text();
                let is_record = matches!(of.kind(), TypeKind::Record(_));
                value.missing().is_none()
                    && !is_text
                    && (value.may_have_children() || (self.options.raw || format.raw) && is_record)
            }
            Object::MadeUp(_) | Object::Node(_) | Object::Sequence(_) | Object::Record(_) => true,
            Object::Text(_) | Object::Function(_) | Object::Nothing | Object::Failed(_) => false,
        }
    }

    fn value_text(&mut self, value: &Value, format: Option<&Format>) -> Option<String> {
        let mut options = self.options;
        if let Some(format) = format {
            options.raw |= format.raw;
            options.names_only |= format.names_only;
            if format.numbers != NumberFormat::Plain {
                options.numbers = format.numbers;
            }
        }
        let format = format.unwrap_or(self.format);
        let of = value.value_type().resolved();
        if value.missing().is_some() {
            return Some(value.text(&options, self.memory));
        }
        if let Some(text) = format.text(value, self.memory) {
            return Some(text);
        }
        if format.hresult
            && let Some(text) = self.engine.borrow_mut().call_result_text(value, self.memory)
        {
            return Some(text);
        }
        if !options.raw {
            let by_view = self.engine.borrow_mut().view_text_by(value, format.view.as_deref(), self.memory);
            if let Some(text) = by_view {
                return Some(format.finished(value, text));
            }
        }
        match of.view_kind().filter(|_| !options.raw) {
            Some(ViewKind::Container) => {
                // A list that keeps no count is counted as far as it is shown; one more says that there are more.
                let is_counted = !of.qualified_name().contains("forward_list<");
                let counted = if is_counted { 0 } else { self.limits.count };
                let limits = ViewLimits { count: counted, ..ViewLimits::default() };
                return Some(match value.view(&limits, self.memory)? {
                    Ok(View::Sequence { length, .. }) if !is_counted && length > counted => {
                        format!("{{ size>{counted} }}")
                    }
                    Ok(View::Sequence { length, .. } | View::Map { length, .. }) => format!("{{ size={length} }}"),
                    Ok(_) => value.text(&options, self.memory),
                    Err(reason) => format!("<{reason}>"),
                });
            }
            Some(_) => return Some(value.text(&options, self.memory)),
            None => {}
        }
        let has_text = match of.kind() {
            // A pair is little enough for one line.
            TypeKind::Record(record) => {
                record.variants.is_some() || of.size() == Some(0) || of.qualified_name().starts_with("std::pair<")
            }
            TypeKind::Array { .. } => of.element().is_some_and(|(element, _)| element.letter_size().is_some()),
            _ => true,
        };
        has_text.then(|| format.finished(value, value.text(&options, self.memory)))
    }
}

/// The type of a value of the debuggee; numbers that were computed have none worth telling.
fn type_name(object: &Object) -> Option<String> {
    let Object::Value(value) = object else { return None };
    let of = value.value_type();
    let is_computed = matches!(value.location(), ValueLocation::Bytes(_)) && of.encoding().is_some();
    let is_enumeration = matches!(of.resolved().kind(), TypeKind::Enumeration { .. });
    (!is_computed || is_enumeration).then(|| of.to_string())
}

/// Appends rows as lines.
pub(super) fn render(rows: &[Row], text: &mut String) {
    for row in rows {
        put!(text, "{:indent$}", "", indent = 4 * row.depth);
        match (row.offset, row.bits) {
            (Some(offset), Some(bits)) => {
                let last = bits.offset.saturating_add(bits.size).saturating_sub(1);
                put!(text, "[+0x{offset:03x} ({last:>2}:{:>2})] ", bits.offset);
            }
            (Some(offset), None) => put!(text, "[+0x{offset:03x}] "),
            (None, _) => {}
        }
        match (&row.value, &row.type_name) {
            (Some(value), Some(of)) => line!(text, "{:<NAME_WIDTH$} : {value} [Type: {of}]", row.name),
            (Some(value), None) => line!(text, "{:<NAME_WIDTH$} : {value}", row.name),
            (None, Some(of)) => line!(text, "{:<NAME_WIDTH$} [Type: {of}]", row.name),
            (None, None) => line!(text, "{}", row.name),
        }
    }
}
