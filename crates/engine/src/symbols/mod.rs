//! Symbols of the current process: addresses to names and lines, and back.

mod dies;
mod image;
mod load;
mod lookup;
mod module;
mod names;
mod reload;
mod server_file;

use outpost_base::{Va, VaRange};
use outpost_symbols::{DieRef, SymbolKind};

pub use outpost_symbols::SourceLocation;

pub use dies::{DiePlace, Dies, die_section};
pub use image::{ImageChange, ImageCheck, ImageHeaders, ImageSection, ImageSegment};
pub use load::SymbolProgress;
pub(crate) use load::{SymbolLoader, SymbolStore};
pub(crate) use module::ModuleSymbols;
pub use reload::ReloadOptions;

/// A name with its place, as `x` and the evaluators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedAddress {
    /// Module it is in.
    pub module: String,
    /// Its name without module, demangled.
    pub name: String,
    /// What it names.
    pub kind: SymbolKind,
    /// Where it begins; of thread-local variables the current thread's copy, 0 if that cannot be told.
    pub address: Va,
    /// Size in bytes; 0 if not known.
    pub size: u64,
    /// As the linker knows it, if that differs and is known.
    pub linkage_name: Option<String>,
    /// Where its body begins, behind the prologue; for functions with debug info.
    pub body: Option<Va>,
    /// What [`crate::Engine::typed_value`] finds its type by.
    pub(crate) die: Option<DieRef>,
}

/// The symbol an address belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolAt {
    /// Module it is in.
    pub module: String,
    /// Its name without module; empty where the module has no symbol for it, then the start is the module's.
    pub name: String,
    /// Where it begins.
    pub start: Va,
    /// Size in bytes; 0 if not known.
    pub size: u64,
    /// Bytes from its start to the address.
    pub displacement: u64,
}

/// A function whose code is executing at an address, possibly as a part of another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionAt {
    /// Module it is in.
    pub module: String,
    /// Its name without module.
    pub name: String,
    /// Its first instruction.
    pub start: Va,
    /// Its code; several ranges if the compiler split it.
    pub ranges: Vec<VaRange>,
    /// Whether the compiler put its code into the next of the list.
    pub is_inlined: bool,
    /// Line being executed: of the innermost the line at the address, of the others that of the call.
    pub source: Option<SourceLocation>,
}

/// A place in code that a source line stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinePlace {
    /// Where.
    pub address: Va,
    /// Module.
    pub module: String,
    /// Function, empty if unknown.
    pub function: String,
    /// File as the compiler recorded it, and the line that has code: the one asked for or the next one.
    pub location: SourceLocation,
}

impl std::fmt::Display for SymbolAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.module)?;
        if !self.name.is_empty() {
            write!(f, "!{}", self.name)?;
        }
        if self.displacement != 0 {
            write!(f, "+{:#x}", self.displacement)?;
        }
        Ok(())
    }
}
