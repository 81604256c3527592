//! Views that the authors of types wrote (NatVis): what objects say and have inside, by expressions over their members. Of
//! a few types of the standard library the debugger itself knows what they say (`builtin`).
//!
//! Files are handed in as text and stay until they are unloaded. The views of a type are tried in the order of their
//! priority, those loaded last first; where none makes sense of an object, it is shown as if there were none. Views only
//! read: an expression that would change something is refused. All memory may be garbage, so counts are bounded, lists
//! and trees end where they meet themselves, and views within views end after a number of steps.
//!
//! Source: the NatVis documentation of Visual Studio; where WinDbg differs, as WinDbg does.

mod builtin;
mod derived;
mod evaluate;
mod execute;
mod expand;
mod file;
mod fuzz;
mod library;
mod nodes;
mod pattern;
mod piece;
mod program;
mod read;
mod schema;
mod store;
#[cfg(test)]
mod tests;
mod text;

use std::rc::Rc;

use outpost_base::MemoryReader;
use outpost_symbols::{Type, Value, ViewLimits};

use crate::Engine;
use crate::expr::{ExprError, PointerUse};
use crate::model::Parts;

pub use file::{ViewFile, ViewProblem};
pub use fuzz::fuzz_views;
pub use store::{MadeUp, ViewFailure, ViewStore};

use evaluate::Context;

impl Engine {
    /// Files of views that are loaded, in the order they were.
    pub fn view_files(&self) -> &[Rc<ViewFile>] {
        self.views.files()
    }

    /// Views that were not for objects of their types, since a file was loaded or unloaded.
    pub fn view_failures(&self) -> impl Iterator<Item = ViewFailure<'_>> {
        self.views.failures()
    }

    /// Loads a file of views; one that was loaded from the same place goes.
    pub fn load_views(&mut self, file: ViewFile) {
        self.views.load(file);
    }

    /// Unloads the file of views that came from `path`, of whatever folder if it names none. Gives how many there were.
    pub fn unload_views(&mut self, path: &str) -> usize {
        self.views.unload(|file| file.path == path || file.path.rsplit('/').next() == Some(path))
    }

    /// Unloads all files of views.
    pub fn unload_all_views(&mut self) -> usize {
        self.views.unload(|_| true)
    }

    /// Whether a view may have something to say of values of a type, told without reading.
    pub fn has_view(&mut self, of: &Type) -> bool {
        !self.views.files().is_empty()
            && (self.views.may_have(of) || self.views.has_call_results() && text::is_call_result(of))
    }

    /// What a view says of a value, in one line; `None` if none has anything to say.
    pub fn view_text(&mut self, value: &Value, memory: &mut dyn MemoryReader) -> Option<String> {
        self.view_text_by(value, None, memory)
    }

    /// As [`Engine::view_text`], by the view of a name where the author has one.
    pub fn view_text_by(&mut self, value: &Value, name: Option<&str>, memory: &mut dyn MemoryReader) -> Option<String> {
        let by_author = if self.views.files().is_empty() { None } else { text::of_value(self, value, name, memory) };
        by_author.or_else(|| builtin::text_of(self, value, memory))
    }

    /// The text that an object is by its view (`StringView`); `None` if it is none.
    ///
    /// # Errors
    /// What could not be read; [`ExprError::Interrupted`].
    pub(crate) fn view_string(
        &mut self,
        value: &Value,
        memory: &mut dyn MemoryReader,
    ) -> Result<Option<String>, ExprError> {
        if self.views.files().is_empty() {
            return Ok(None);
        }
        text::string_of(self, value, memory)
    }

    /// What a value has inside by a view; `None` if no view says so.
    pub(crate) fn view_parts(
        &mut self,
        value: &Value,
        name: Option<&str>,
        limits: &ViewLimits,
        memory: &mut dyn MemoryReader,
    ) -> Option<Result<Parts, ExprError>> {
        if self.views.files().is_empty() {
            return None;
        }
        expand::parts_of(self, value, name, limits, memory)
    }

    /// The pointer that an object acts as for such a use by a view (`SmartPointer`); `None` if no view says so.
    ///
    /// # Errors
    /// What could not be read; [`ExprError::Interrupted`].
    pub(crate) fn view_smart_pointer(
        &mut self,
        value: &Value,
        usage: PointerUse,
        memory: &mut dyn MemoryReader,
    ) -> Result<Option<Value>, ExprError> {
        if self.views.files().is_empty() {
            return Ok(None);
        }
        text::smart_pointer_of(self, value, usage, memory)
    }

    /// What files of views know of a number that is said to be the result of a call.
    pub fn call_result_text(&mut self, value: &Value, memory: &mut dyn MemoryReader) -> Option<String> {
        text::of_call_result(self, value, true, memory)
    }

    /// An object as the class that it was made of, by a view; whether that is the last word; `None` if no view says so.
    pub(crate) fn view_derived(&mut self, value: &Value, memory: &mut dyn MemoryReader) -> Option<(Value, bool)> {
        if self.views.files().is_empty() {
            return None;
        }
        derived::most_derived(self, value, memory)
    }

    /// What of that are elements; `None` if no view says that it has any.
    pub(crate) fn view_elements(
        &mut self,
        value: &Value,
        limits: &ViewLimits,
        memory: &mut dyn MemoryReader,
    ) -> Option<Result<Parts, ExprError>> {
        if self.views.files().is_empty() {
            return None;
        }
        expand::elements_of(self, value, limits, memory)
    }

    /// Whether a view may say that a value has elements, told without reading.
    pub(crate) fn has_view_elements(&mut self, value: &Value) -> bool {
        let of = value.value_type();
        self.has_view(&of.target().unwrap_or_else(|| of.clone()))
    }

    /// What something that a view made up has inside.
    pub(crate) fn made_up_parts(
        &mut self,
        made_up: &MadeUp,
        limits: &ViewLimits,
        memory: &mut dyn MemoryReader,
    ) -> Result<Parts, ExprError> {
        expand::parts_of_items(self, &made_up.context, &made_up.view.items, limits, memory)
    }

    /// What something that a view made up says.
    pub(crate) fn made_up_text(&mut self, made_up: &MadeUp, memory: &mut dyn MemoryReader) -> Option<String> {
        text::of_strings(self, &made_up.context, &made_up.view.strings, memory).ok().flatten()
    }
}

/// Whether an expression means nothing for the object, as names that it does not have: then the view is not for it.
fn is_senseless(error: &ExprError) -> bool {
    use ExprError::{Missing, NoMember, NoMethod, Syntax, UnknownType, Unresolved, Unsupported};
    matches!(
        error,
        Missing { .. }
            | NoMember { .. }
            | NoMethod { .. }
            | Syntax { .. }
            | UnknownType { .. }
            | Unresolved { .. }
            | Unsupported { .. }
            | ExprError::Assign { .. }
    )
}

/// Whether something could not be read, as opposed to making no sense: what is read in batches is there the next time.
fn is_unreadable(error: &ExprError) -> bool {
    use outpost_symbols::Unavailable;
    matches!(error, ExprError::Memory { .. } | ExprError::Value { reason: Unavailable::Memory { .. }, .. })
}
