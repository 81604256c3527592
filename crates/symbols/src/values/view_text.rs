//! One-line text of what containers, smart pointers and other library types mean.

use super::View;
use super::quoted::quoted;
use super::text::{Writer, address};
use super::views::erased::{Erased, Revealed};
use super::views::rust::TraitObject;

impl Writer<'_, '_> {
    pub(super) fn view(&mut self, view: &View, depth: usize) {
        match view {
            View::Text(text) => self.push(&quoted(text)),
            View::Wrapped(inner) => self.value(inner, depth),
            View::Empty(name) => self.push(name),
            View::Noted { inner, note } => {
                self.value(inner, depth);
                self.note(Some(note));
            }
            View::Range { start, end, inclusive } => {
                if let Some(start) = start {
                    self.value(start, depth);
                }
                self.push(if *inclusive { "..=" } else { ".." });
                if let Some(end) = end {
                    self.value(end, depth);
                }
            }
            View::Words(words) => self.push(words),
            View::Tuple(items) => {
                let Some(depth) = depth.checked_sub(1) else { return self.push("(...)") };
                self.push("(");
                for (index, item) in items.iter().enumerate() {
                    self.push(if index > 0 { ", " } else { "" });
                    self.value(item, depth);
                }
                self.push(")");
            }
            View::Pointer { target: None, note } => {
                self.push("empty");
                self.note(note.as_deref());
            }
            View::Pointer { target: Some(target), note } => {
                if let Some(at) = target.address() {
                    self.push(&address(at));
                }
                if let Some(depth) = depth.checked_sub(1) {
                    self.push(" ");
                    self.value(target, depth);
                }
                self.note(note.as_deref());
            }
            View::Sequence { items, length } => {
                self.push(&format!("size={length}"));
                let shown = items.len() as u64;
                self.elements(shown, *length, depth, |writer, index, depth| writer.value(&items[index], depth));
            }
            View::Map { entries, length } => {
                self.push(&format!("size={length}"));
                let shown = entries.len() as u64;
                self.elements(shown, *length, depth, |writer, index, depth| {
                    let (key, value) = &entries[index];
                    writer.value(key, depth);
                    writer.push(": ");
                    writer.value(value, depth);
                });
            }
        }
    }

    fn note(&mut self, note: Option<&str>) {
        if let Some(note) = note {
            self.push(&format!(" ({note})"));
        }
    }

    fn elements(&mut self, shown: u64, length: u64, depth: usize, mut each: impl FnMut(&mut Self, usize, usize)) {
        let Some(depth) = depth.checked_sub(1).filter(|_| length > 0) else { return };
        self.push(" {");
        for index in 0..shown as usize {
            self.push(if index > 0 { ", " } else { "" });
            each(self, index, depth);
        }
        self.push(if shown < length { ", ...}" } else { "}" });
    }

    /// A trait object by the type that it is of; tells whether that is known.
    pub(super) fn trait_object(&mut self, object: &TraitObject, depth: usize) -> bool {
        let Ok(target) = object.object(self.options.symbol, self.memory) else { return false };
        self.push(&format!("{} {}", address(object.at), target.value_type().qualified_name()));
        if let Some(depth) = depth.checked_sub(1) {
            self.push(" ");
            self.value(&target, depth);
        }
        self.note(object.note.as_deref());
        true
    }

    /// What a `std::any` or `std::function` holds; `false` if that cannot be told.
    pub(super) fn erased(&mut self, object: &Erased, depth: usize) -> bool {
        match object.revealed(self.options.symbol, self.memory) {
            None => return false,
            Some(Revealed::Named(name)) => self.push(&name),
            Some(Revealed::Function(at)) => self.symbol(at),
            Some(Revealed::Value(value)) => {
                self.push(&value.value_type().qualified_name());
                if let Some(depth) = depth.checked_sub(1) {
                    self.push(" ");
                    self.value(&value, depth);
                }
            }
        }
        true
    }
}
