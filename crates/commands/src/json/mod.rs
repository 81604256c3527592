//! The third rendering of what commands give, beside text and DAP: JSON.
//!
//! Every [`Command::Data`](crate::Command::Data) is [`Json`], so that no command can be without. Types of the crates below
//! are converted here and not where they are defined: what scripts read stays as it is while the engine moves.
//!
//! Addresses, registers and other words of the debuggee are strings like `"0x7fffffffe010"`, since many readers of JSON
//! keep 53 bits of a number. Counts, sizes, ids and ordinals are numbers. Enumerations are their names in lower case with
//! `_` between words; what is not known or not there is `null`.

mod engine;
mod events;
mod heap;
mod triage;

use std::rc::Rc;

pub(crate) use serde_json::{Value, json};

use crate::{CommandError, Output, OutputKind};

/// Has a form as JSON.
pub trait Json {
    /// That form.
    fn json(&self) -> Value;
}

/// An object of the named fields. Unless the list ends in `..`, leaving a field out is an error of the compiler.
macro_rules! fields {
    ($type:ty { $($field:ident),* $(,)? }) => {
        impl $crate::json::Json for $type {
            fn json(&self) -> $crate::json::Value {
                let Self { $($field),* } = self;
                $crate::json::object([$((stringify!($field), $crate::json::Json::json($field))),*])
            }
        }
    };
    ($type:ty { $($field:ident,)* .. }) => {
        impl $crate::json::Json for $type {
            fn json(&self) -> $crate::json::Value {
                let Self { $($field,)* .. } = self;
                $crate::json::object([$((stringify!($field), $crate::json::Json::json($field))),*])
            }
        }
    };
}

/// Enumerations without fields, by the names of their variants.
macro_rules! names {
    ($($type:ty),* $(,)?) => {
        $(impl $crate::json::Json for $type {
            fn json(&self) -> $crate::json::Value {
                $crate::json::name(self)
            }
        })*
    };
}

/// Numbers, each in so many bits that every reader keeps them.
macro_rules! numbers {
    ($($type:ty),*) => {
        $(impl Json for $type {
            fn json(&self) -> Value {
                json!(self)
            }
        })*
    };
}

pub(crate) use {fields, names};

numbers!(bool, i32, i64, u8, u16, u32, u64, usize, String, &'static str);

/// An object.
pub(crate) fn object<const COUNT: usize>(fields: [(&str, Value); COUNT]) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A word of the debuggee: all of its 64 bits.
pub(crate) fn word(value: u64) -> Value {
    json!(format!("0x{value:x}"))
}

/// The name of a variant: `FramePointer` is `frame_pointer`. Of one with fields, they are left out.
pub(crate) fn name(variant: &impl std::fmt::Debug) -> Value {
    let mut text = String::new();
    for letter in format!("{variant:?}").chars().take_while(|letter| letter.is_ascii_alphanumeric()) {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    json!(text)
}

impl Json for () {
    fn json(&self) -> Value {
        Value::Null
    }
}

impl Json for char {
    fn json(&self) -> Value {
        json!(self.to_string())
    }
}

impl<T: Json> Json for Vec<T> {
    fn json(&self) -> Value {
        Value::Array(self.iter().map(Json::json).collect())
    }
}

impl<T: Json, const COUNT: usize> Json for [T; COUNT] {
    fn json(&self) -> Value {
        Value::Array(self.iter().map(Json::json).collect())
    }
}

impl<T: Json> Json for Option<T> {
    fn json(&self) -> Value {
        self.as_ref().map_or(Value::Null, Json::json)
    }
}

impl<T: Json> Json for Box<T> {
    fn json(&self) -> Value {
        (**self).json()
    }
}

impl<T: Json> Json for Rc<T> {
    fn json(&self) -> Value {
        (**self).json()
    }
}

impl<A: Json, B: Json> Json for (A, B) {
    fn json(&self) -> Value {
        Value::Array(vec![self.0.json(), self.1.json()])
    }
}

impl Json for CommandError {
    fn json(&self) -> Value {
        let kind = match self {
            CommandError::Engine(_) => "engine",
            CommandError::Expr(_) => "expression",
            CommandError::Unknown { .. } => "unknown_command",
            CommandError::Usage { .. } => "usage",
            CommandError::Unsupported { .. } => "unsupported",
            CommandError::Invalid { .. } => "invalid",
            CommandError::File { .. } => "file",
        };
        json!({ "kind": kind, "message": self.message() })
    }
}

/// Takes results as JSON, and keeps what is written beside them as text.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    results: Vec<Value>,
    written: String,
}

impl Output for Collector {
    fn write(&mut self, _: OutputKind, text: &str) {
        self.written.push_str(text);
    }

    fn result(&mut self, result: &dyn crate::output::CommandResult) {
        self.results.push(result.json());
    }
}

impl Collector {
    /// The document of a command: its result, those of the commands that it ran, what was written as text only, and why it
    /// failed.
    pub(crate) fn document(self, command: &str, done: Result<(), CommandError>) -> Value {
        let mut results = self.results;
        let mut document = json!({ "command": command });
        match (results.len(), done) {
            (0, Ok(())) => document["result"] = Value::Null,
            (1, Ok(())) => document["result"] = results.remove(0),
            (count, done) => {
                if count > 0 {
                    document["results"] = Value::Array(results);
                }
                if let Err(error) = done {
                    document["error"] = error.json();
                }
            }
        }
        if !self.written.is_empty() {
            document["text"] = json!(self.written);
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_all_their_bits() {
        assert_eq!(word(u64::MAX).to_string(), "\"0xffffffffffffffff\"");
        assert_eq!(outpost_base::Va(0x7fff_ffff_e010).json(), json!("0x7fffffffe010"));
    }

    #[test]
    fn variants_by_their_names() {
        assert_eq!(name(&outpost_engine::FrameTrust::FramePointer), json!("frame_pointer"));
        assert_eq!(name(&outpost_engine::FrameKind::Inline), json!("inline"));
    }

    #[test]
    fn a_document_says_what_came_of_a_command() {
        let document = |results: &[u64], written: &str, done| {
            let results = results.iter().map(Json::json).collect();
            Collector { results, written: written.to_owned() }.document("x", done).to_string()
        };
        assert_eq!(document(&[], "", Ok(())), r#"{"command":"x","result":null}"#);
        assert_eq!(document(&[5], "", Ok(())), r#"{"command":"x","result":5}"#);
        assert_eq!(document(&[5, 6], "note\n", Ok(())), r#"{"command":"x","results":[5,6],"text":"note\n"}"#);
        let failed = document(&[5], "", Err(CommandError::invalid("no")));
        assert_eq!(failed, r#"{"command":"x","error":{"kind":"invalid","message":"No"},"results":[5]}"#);
    }
}
