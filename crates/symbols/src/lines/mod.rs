//! Line tables: which address came from which line, decoded per unit when asked for.

mod cache;
mod table;

pub(crate) use cache::LineCache;
pub(crate) use table::UnitLines;
