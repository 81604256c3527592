//! Why a file could not be opened as a dump.

use std::io;
use std::path::PathBuf;

/// A dump that cannot be used at all. What is merely damaged opens, with a list of problems.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DumpError {
    /// The file could not be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// It does not begin like an ELF file.
    #[error("{} is not an ELF core: unknown signature {signature:02x?}", path.display())]
    UnknownSignature {
        /// The file.
        path: PathBuf,
        /// Its first bytes.
        signature: Vec<u8>,
    },
    /// An ELF file, but a program or library.
    #[error("{} is an ELF file of type {kind}, not a core: give a program as it is, without -z", path.display())]
    NotACore {
        /// The file.
        path: PathBuf,
        /// Its `e_type`.
        kind: u16,
    },
    /// A core of a machine this release does not know.
    #[error("{} is a core of ELF machine {machine}: only x86-64 (62) is supported", path.display())]
    WrongArchitecture {
        /// The file.
        path: PathBuf,
        /// Its `e_machine`.
        machine: u16,
    },
    /// Its headers end too early to say anything.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// It names no thread: a core of something else, or one that was cut off before its notes.
    #[error("{} holds no NT_PRSTATUS note: {expected} bytes expected, {actual} are there", path.display())]
    NoThreads {
        /// The file.
        path: PathBuf,
        /// Size that its headers speak of.
        expected: u64,
        /// Size of the file.
        actual: u64,
    },
}
