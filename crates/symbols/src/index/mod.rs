//! The index of an image: names, addresses and files of its debug info, built once and mapped at the next use.
//!
//! Building looks at every DIE once, in parallel, and keeps numbers and offsets, never trees ([`scan`]). What is found
//! is merged in file order, so that the same image always gives the same index ([`build()`]), and written (`write`) as flat
//! sorted tables (`format`). A query touches the pages that it needs (`query`); attributes beyond names and addresses are
//! read from the DWARF itself, by the offsets that the index holds.

mod abbrev;
mod build;
mod cache;
mod chunk;
mod cursor;
mod files;
mod format;
mod matching;
mod names;
mod query;
mod references;
mod scan;
mod scans;
mod strings;
mod symbols;
mod write;

pub(crate) use build::{BuildError, BuildInput, NamedTable, build};
pub(crate) use cache::{CacheKey, IndexCache};
pub(crate) use chunk::EntryKind;
pub(crate) use format::Index;
pub(crate) use matching::Named;
pub(crate) use names::last_component;
pub use query::CaseRule;
pub(crate) use query::{EntryId, FileId, NameHit, SymbolId, SymbolRecord};
pub(crate) use strings::{Source, Sources};
