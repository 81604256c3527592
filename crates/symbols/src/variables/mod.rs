//! Variables: which are visible at a program counter, and where each one is.
//!
//! Given the DWARF of an image ([`DebugInfo`]) and, for values, a frame ([`FrameContext`]), gives the functions and
//! blocks around an address ([`Activation`]), the variables in them and their values. Locations are evaluated within
//! bounds: a number of operations, a depth of expressions in expressions, a size of what is gathered.

mod cache;
mod die;
mod dynamic;
mod entry;
pub(crate) mod expression;
mod frame;
mod function;
mod locate;
mod scope;

use std::sync::Arc;

use crate::{DebugInfo, DieRef, TypeTable, UnitIndex};
use cache::TableCache;
pub use frame::{CallerFrame, FrameContext, NoFrame};
use function::{CallSite, FunctionRange};
pub use scope::{Activation, DeclaredAt, Scope, Variable, VariableKind};

/// The variables of one image. Read-only, shared by any threads; tables of functions and calls are kept once made.
#[derive(Debug)]
pub struct Variables {
    info: Arc<DebugInfo>,
    types: Arc<TypeTable>,
    functions: TableCache<UnitIndex, FunctionRange>,
    call_sites: TableCache<DieRef, CallSite>,
}

impl Variables {
    /// The variables of `info`, their types in `types`.
    pub fn new(info: Arc<DebugInfo>, types: Arc<TypeTable>) -> Variables {
        Variables { info, types, functions: TableCache::new(), call_sites: TableCache::new() }
    }

    /// The types of the image.
    pub fn types(&self) -> &Arc<TypeTable> {
        &self.types
    }
}
