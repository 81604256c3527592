//! The index of an image: names, addresses and files of its debug info, built once and mapped at the next use.
//!
//! Building looks at every DIE once, in parallel, and keeps numbers and offsets, never trees ([`scan`]). What is found
//! is merged in file order, so that the same image always gives the same index ([`build()`]), and written (`write`) as flat
//! sorted tables (`format`). A query touches the pages that it needs (`query`); attributes beyond names and addresses are
//! read from the DWARF itself, by the offsets that the index holds.
//!
//! `.gdb_index` and `.debug_names` are not read. Neither has what questions need beyond names (lines, files, inlined copies,
//! linkage names), so this index would be built all the same, only later; and neither is quicker. Measured with 190 MB of
//! DWARF 5 by clang 14 (`-gdwarf-5 -gpubnames`, 31 parts of the program that `benches` makes), in CPU seconds to the place
//! of one function, nothing cached: 0.40 to 0.48 here, 0.7 in lldb 14, which reads `.debug_names`, 3.0 in gdb 13 without a
//! table, 3.5 with one of `gdb-add-index` (114 MB of it); 0.01 here at the next open. Nor can they be believed as they are:
//! lld joins a table of names per object file into one section, of which gdb sees the first 108 bytes of 9 MB and ignores
//! the rest. To repeat it: `cargo run --release -p outpost-symbols --example symbols -- PROGRAM [--cache DIR] NAME`.

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
pub use names::last_component;
pub use query::CaseRule;
pub(crate) use query::{EntryId, FileId, NameHit, SymbolId, SymbolRecord};
pub(crate) use strings::{Source, Sources};
