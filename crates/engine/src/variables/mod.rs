//! Variables and types by name, and those of a frame.

mod class_scope;
mod frame;
mod globals;
mod place;
mod query;
mod thread_storage;
mod tls;

use outpost_symbols::{DeclaredAt, Value, VariableKind};

pub(crate) use class_scope::declaring;
pub(crate) use frame::{FrameImage, StackContext};
pub(crate) use globals::Global;
pub use thread_storage::{ThreadKey, ThreadLocalBlock, ThreadStorage};

/// A variable visible in a frame: a row of `dv`.
#[derive(Debug, Clone)]
pub struct FrameVariable {
    /// Its name.
    pub name: String,
    /// Its role.
    pub kind: VariableKind,
    /// Its value, which may be unavailable ([`Value::missing`]); it carries its type and its place.
    pub value: Value,
    /// Whether the compiler made it.
    pub artificial: bool,
    /// Whether another of the same name further in hides it.
    pub shadowed: bool,
    /// Where it is declared.
    pub declared: Option<DeclaredAt>,
}
