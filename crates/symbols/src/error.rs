//! What can go wrong with symbols.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use outpost_base::BuildId;

/// Why an image or its debug info could not be used. The session survives all of these.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SymbolsError {
    /// A file could not be opened.
    #[error("open {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Bytes of a file could not be read.
    #[error("read {len} bytes at offset {offset:#x} of {name}: {source}")]
    Read {
        /// The file, as its source calls it.
        name: String,
        /// File offset.
        offset: u64,
        /// Bytes wanted.
        len: u64,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A range lies outside the file, which is thus cut short or damaged.
    #[error("read {len} bytes at offset {offset:#x} of {name}, which has {file_len}")]
    OutOfBounds {
        /// The file, as its source calls it.
        name: String,
        /// File offset.
        offset: u64,
        /// Bytes wanted.
        len: u64,
        /// Bytes there are.
        file_len: u64,
    },
    /// Not an ELF file, or not one of a kind this crate reads.
    #[error("use {name} as ELF: {reason}")]
    NotElf {
        /// The file, as its source calls it.
        name: String,
        /// What was found instead.
        reason: &'static str,
    },
    /// A part of the file contradicts the format.
    #[error("read {what} of {name}: {reason}")]
    Malformed {
        /// The file, as its source calls it.
        name: String,
        /// The part.
        what: String,
        /// How it contradicts.
        reason: String,
    },
    /// A compressed section is larger than this crate is willing to hold.
    #[error("decompress {what} of {name}: {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// The file, as its source calls it.
        name: String,
        /// The section.
        what: String,
        /// Its stated size.
        size: u64,
        /// What is allowed.
        limit: u64,
    },
    /// DWARF that could not be parsed.
    #[error("parse DWARF: {source}")]
    Dwarf {
        /// What the parser said.
        #[from]
        source: gimli::Error,
    },
    /// A debug file of another build than the image.
    #[error("use {} as debug file: its build-id is {}, the image's {}", path.display(), show(found), show(wanted))]
    BuildIdMismatch {
        /// The debug file.
        path: PathBuf,
        /// The image's.
        wanted: Option<BuildId>,
        /// The debug file's.
        found: Option<BuildId>,
    },
    /// The caller asked to stop.
    #[error("load symbols: cancelled")]
    Cancelled,
}

fn show(id: &Option<BuildId>) -> String {
    id.as_ref().map_or_else(|| "absent".to_owned(), BuildId::to_string)
}

/// Something in an image or its debug info that was damaged or not understood, and was left out.
///
/// The rest was read. Problems are for `lmv`, `!sym noisy` and logs; nothing is dropped without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The part: a section, a unit, a symbol table.
    pub what: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Problem {
    /// A problem with `what`.
    pub fn new(what: impl Into<String>, reason: impl ToString) -> Problem {
        Problem { what: what.into(), reason: reason.to_string() }
    }
}
