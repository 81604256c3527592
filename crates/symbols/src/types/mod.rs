//! Types of C, C++ and Rust as plain data, loaded from the debug info one by one.
//!
//! A [`TypeTable`] holds the types of one image; a [`Type`] is a handle to one of them that can be asked for its size,
//! its fields, its spelling. Types refer to each other by [`TypeId`], so cyclic ones are no cycle in memory, and
//! everything that follows references is bounded: debug info is bytes from outside.

mod builtin;
pub(crate) mod dwarf;
mod handle;
mod model;
mod print;
mod table;

pub use dwarf::{DwarfTypes, TypeNames};
pub use handle::{Field, Type};
pub use model::{
    ArrayBound, BaseClass, BaseEncoding, BaseOffset, BitField, DynamicBound, DynamicSource, Enumerator, Language,
    Member, PointerFlavour, Qualifier, Record, RecordKeyword, StaticMember, TemplateArgument, TypeData, TypeId,
    TypeKind, Variant, VariantPart,
};
pub use print::declaration;
pub use table::{TypeSource, TypeTable};
