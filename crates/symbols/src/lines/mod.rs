//! Line tables: which address came from which line, decoded per unit when asked for.

mod cache;
mod paths;
mod table;

pub(crate) use cache::LineCache;
pub(crate) use paths::{directories, join, split};
pub(crate) use table::{Row, UnitLines};
