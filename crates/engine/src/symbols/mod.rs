//! Symbols of the current process: addresses to names and lines, and back.

mod load;
mod lookup;
mod module;
mod reload;
mod server_file;

use outpost_base::{Va, VaRange};

pub(crate) use load::{SymbolLoader, SymbolStore};
pub(crate) use module::ModuleSymbols;
pub use reload::ReloadOptions;

/// A place in source text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SourceLocation {
    /// Path as the compiler recorded it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 if not recorded.
    pub column: u16,
    /// Whether the address is a good place to stop for this line.
    pub is_statement: bool,
}

/// What a name names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NameKind {
    /// A function.
    Function,
    /// A function chosen at load time; the address is the resolver's.
    IndirectFunction,
    /// A variable.
    Data,
    /// A variable of each thread; the address is that of the current thread's copy, or 0 if it cannot be told.
    ThreadLocal,
    /// A label of assembler code.
    Label,
}

/// A name with its place, as `x` and the evaluators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedAddress {
    /// Module it is in.
    pub module: String,
    /// Its name without module, demangled.
    pub name: String,
    /// What it names.
    pub kind: NameKind,
    /// Where it begins.
    pub address: Va,
    /// Size in bytes; 0 if not known.
    pub size: u64,
    /// Whether debug info describes it, so that it has a type.
    pub has_type: bool,
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
