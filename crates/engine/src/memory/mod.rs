//! Memory of a process: cached for the length of a stop, read in batches, written through.

mod access;
mod batch;
mod cache;
mod process;

pub(crate) use cache::PAGE;
pub use process::ProcessMemory;
