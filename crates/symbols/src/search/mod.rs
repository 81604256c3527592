//! Finding the debug file of an image: symbol path, build-id, debuglink, and a report of what was looked for where.

mod find;
mod path;
mod report;

pub use find::{FileFinder, FoundFiles, LocalFiles, find_debug_files};
pub use path::{ServerItem, SymbolPath, SymbolPathItem};
pub use report::{SearchOutcome, SearchReport, SearchRule, SearchStep};
