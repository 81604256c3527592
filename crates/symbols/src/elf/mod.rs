//! ELF64, little-endian: headers, sections, notes, symbols. Source: System V gABI, chapters 4 and 5.

mod compressed;
mod dynamic;
mod file;
mod in_place;
mod notes;
mod plt;
mod symbols;

pub use file::{ElfFile, ElfKind, ElfSection, ElfSegment};
pub use in_place::place_object;
pub use notes::DebugLink;
pub(crate) use symbols::SymbolTable;
pub use symbols::{ElfSymbol, ElfSymbolBinding, ElfSymbolKind, ElfSymbolSource};
