//! Symbols of ELF images: what is where, what it is called, and which line it came from.
//!
//! Given the bytes of an image ([`ByteSource`]) and, where it exists, of its separate debug file, this crate gives
//! functions, symbols, lines, types and variables. It reads ELF64 and DWARF 2 to 5 as gcc, clang and rustc write
//! them, never the whole of a file where a section will do, and it trusts none of the bytes: damage is reported,
//! not followed. Where the bytes come from (a local file, a server, the memory of a process) and where an image is
//! loaded are left to others: addresses here are [`outpost_base::ImageOffset`]s.

mod cache_files;
mod debug_info;
mod demangle;
mod dies;
mod dwarf_sections;
mod elf;
mod error;
mod fetch;
#[doc(hidden)]
pub mod fuzz;
mod hash;
mod index;
mod lines;
mod mapping;
mod module;
mod range;
mod search;
mod section;
mod source;
mod split;
mod types;
mod values;
mod variables;
mod wildcard;

pub use cache_files::default_cache_directory;
pub use debug_info::{DebugInfo, DieRef, DieSection, DwarfReader, DwarfUnit, UnitIndex};
pub use demangle::{Demangled, demangle};
pub use dies::{DieAttribute, DieText};
pub use elf::{
    DebugLink, ElfFile, ElfKind, ElfSection, ElfSegment, ElfSymbol, ElfSymbolBinding, ElfSymbolKind, ElfSymbolSource,
    place_object,
};
pub use error::{Problem, SymbolsError};
pub use fetch::{
    Artifact, Debuginfod, Fetch, FetchOptions, FetchRequest, FetchResult, Fetching, Patience, ServerLayout,
};
pub use index::{CaseRule, last_component};
pub use module::{
    CodeLocation, Function, InlineFrame, InlinedCopy, LineAddress, LineMatch, Module, ModuleFiles, SourceFacts,
    SourceLocation, Statement, Symbol, SymbolAt, SymbolKind, SymbolSource, SymbolStatus,
};
pub use range::ImageRange;
pub use search::{
    FileFinder, FoundFiles, LocalFiles, SearchOutcome, SearchReport, SearchRule, SearchStep, ServerItem, SymbolPath,
    SymbolPathItem, find_debug_files,
};
pub use section::SectionData;
pub use source::{ByteSource, FileSource, MemorySource};
pub use split::SplitFiles;
pub use types::{
    ArrayBound, BaseClass, BaseEncoding, BaseOffset, BitField, DwarfTypes, DynamicBound, DynamicSource, Enumerator,
    Field, Language, Member, PointerFlavour, Qualifier, Record, RecordKeyword, StaticMember, TemplateArgument, Type,
    TypeData, TypeId, TypeKind, TypeNames, TypeSource, TypeTable, Variant, VariantPart, declaration,
};
pub use values::{
    BatchMemory, Child, Children, ElementKey, FieldRole, FieldRow, NoElement, NumberFormat, Piece, Scalar, Store,
    TextOptions, TextView, Unavailable, Value, ValueLocation, View, ViewKind, ViewLimits, field_rows,
};
pub use variables::{
    Activation, CallerFrame, DeclaredAt, FrameContext, NoFrame, Scope, TailCallFrame, TailCallee, TailFrame, Variable,
    VariableKind, Variables, VirtualMethod,
};
#[doc(hidden)]
pub use variables::{fuzz_expression, fuzz_variables};
pub use wildcard::Wildcard;
