//! Objects as text.

use std::cell::RefCell;

use outpost_base::Va;
use outpost_symbols::{NumberFormat, Scalar, TextOptions, Unavailable};

use super::key::unreadable;
use super::{Model, Object, value_text};
use crate::expr::ExprError;

/// Longest text that is compared or changed, in bytes.
const TEXT_LIMIT: usize = 4096;
/// Parts that are shown of what has no text of its own.
const SHOWN_PARTS: usize = 10;

impl Model<'_> {
    /// The text that an object is: the debugger's, a string of a library, an array of characters or what a pointer to
    /// them points to; `None` for all else.
    pub(super) fn text_of(&mut self, object: &Object) -> Result<Option<String>, ExprError> {
        let value = match object {
            Object::Text(text) => return Ok(Some(text.clone())),
            Object::Value(value) => value,
            Object::Failed(error) => return Err(error.clone()),
            _ => return Ok(None),
        };
        if let Some(text) = self.engine.view_string(value, self.memory)? {
            return Ok(Some(text));
        }
        let resolved = value.value_type().resolved();
        // Arrays and pointers are texts by what they consist of: bytes of numbers are none here.
        let part = resolved.element().map(|(element, _)| element);
        let part = part.or_else(|| resolved.target().filter(|_| resolved.is_pointer()));
        if let Some(part) = part
            && resolved.view_kind().is_none()
            && (part.letter_size().is_none() || value.scalar(self.memory) == Ok(Scalar::Pointer(Va(0))))
        {
            return Ok(None);
        }
        match value.text_bytes(TEXT_LIMIT, self.memory) {
            None => Ok(None),
            Some(Ok(bytes)) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Some(Err(reason)) => Err(unreadable(value, reason)),
        }
    }

    /// What is shown of an object in one line.
    pub(super) fn display(&mut self, object: &Object) -> Result<String, ExprError> {
        if let Some(text) = self.text_of(object)? {
            return Ok(text);
        }
        match object {
            Object::Value(value) => {
                let options = TextOptions { numbers: NumberFormat::Plain, ..TextOptions::default() };
                let text = value_text(&RefCell::new(&mut *self.engine), value, &options, self.memory);
                match value.bytes(self.memory) {
                    Err(reason @ Unavailable::Memory { .. }) => Err(unreadable(value, reason)),
                    _ => Ok(text),
                }
            }
            Object::Record(members) => {
                let mut texts = Vec::new();
                for (name, member) in members.iter() {
                    texts.push(format!("{name} = {}", self.deeper(|model| model.display(member))?));
                }
                Ok(format!("{{ {} }}", texts.join(", ")))
            }
            Object::Sequence(_) => {
                let parts = self.first_parts(object, SHOWN_PARTS)?;
                let more = if parts.more { ", ..." } else { "" };
                let mut texts = Vec::new();
                for part in &parts.items {
                    texts.push(self.deeper(|model| model.display(&part.object))?);
                }
                Ok(format!("{{ {}{more} }}", texts.join(", ")))
            }
            other => Ok(self.label(other).unwrap_or_default()),
        }
    }

    /// What an object of the debugger's is called.
    pub(super) fn label(&mut self, object: &Object) -> Option<String> {
        match object {
            Object::MadeUp(made_up) => self.engine.made_up_text(made_up, self.memory),
            Object::Node(node) => self.node_label(*node),
            Object::Function(function) => Some(function.lambda.text.clone()),
            Object::Text(text) => Some(text.clone()),
            Object::Failed(error) => Some(format!("<{error}>")),
            Object::Value(_) | Object::Sequence(_) | Object::Record(_) | Object::Nothing => None,
        }
    }
}
