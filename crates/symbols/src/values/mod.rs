//! Typed values: what the bytes of variables mean, read from memory in batches.
//!
//! A [`Value`] is a type over memory, registers or constants, and knows how to write it back. Reading goes through a
//! `MemoryReader`; [`BatchMemory`] is one that tells what would be read, so that the variables of a frame or a thousand
//! elements cost a round trip or two. Containers are read by [`View`]s; [`Value::text`] and [`field_rows`] give what
//! `dv` and `dt` show.

mod batch;
mod children;
mod element;
mod fields;
mod location;
mod notation;
mod quoted;
mod scalar;
mod text;
mod value;
mod view_text;
mod views;

pub use batch::BatchMemory;
pub use children::{Child, Children};
pub use element::{ElementKey, NoElement};
pub use fields::{FieldRole, FieldRow, field_rows};
pub use location::{Piece, Unavailable, ValueLocation};
pub use notation::NumberFormat;
pub use scalar::Scalar;
pub(crate) use scalar::{extract_bits, sign_extend, unsigned};
pub use text::TextOptions;
pub(crate) use value::{KnownBytes, Pointee};
pub use value::{Store, Value};
pub use views::{TextView, View, ViewKind, ViewLimits};
