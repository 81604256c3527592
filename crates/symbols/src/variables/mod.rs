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
mod fuzz;
mod locate;
mod method;
mod named;
mod scope;
mod tail;

use std::fmt;
use std::sync::Arc;

use outpost_base::ImageOffset;

use crate::{DebugInfo, DieRef, TypeTable, UnitIndex};
use cache::TableCache;
pub use frame::{CallerFrame, FrameContext, NoFrame};
use function::{CallSite, FunctionRange};
#[doc(hidden)]
pub(crate) use fuzz::ask_debug_info;
pub use fuzz::{fuzz_expression, fuzz_variables};
pub use method::VirtualMethod;
pub use scope::{Activation, DeclaredAt, Scope, Variable, VariableKind};
use tail::TailSite;
pub use tail::{TailCallFrame, TailCallee, TailFrame};

/// An index of functions by address.
pub(crate) trait FunctionLookup: Send + Sync {
    /// The DIE of the function (not inlined) whose code covers `at`.
    fn function_at(&self, at: ImageOffset) -> Option<DieRef>;

    /// The DIE of the one function with code that is called `name`, whole or as the linker knows it.
    fn function_named(&self, name: &str) -> Option<DieRef>;
}

/// The variables of one image. Read-only, shared by any threads; tables of functions and calls are kept once made.
pub struct Variables {
    info: Arc<DebugInfo>,
    types: Arc<TypeTable>,
    lookup: Option<Box<dyn FunctionLookup>>,
    functions: TableCache<UnitIndex, FunctionRange>,
    call_sites: TableCache<DieRef, CallSite>,
    tail_sites: TableCache<DieRef, TailSite>,
}

impl Variables {
    /// The variables of `info`, their types in `types`; functions are found by reading the units they are in.
    pub fn new(info: Arc<DebugInfo>, types: Arc<TypeTable>) -> Variables {
        let (functions, call_sites, tail_sites) = (TableCache::new(), TableCache::new(), TableCache::new());
        Variables { info, types, lookup: None, functions, call_sites, tail_sites }
    }

    /// As [`Variables::new`], with an index of functions.
    pub(crate) fn with_functions(
        info: Arc<DebugInfo>,
        types: Arc<TypeTable>,
        lookup: Box<dyn FunctionLookup>,
    ) -> Variables {
        Variables { lookup: Some(lookup), ..Variables::new(info, types) }
    }

    /// The types of the image.
    pub fn types(&self) -> &Arc<TypeTable> {
        &self.types
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Variables({:?})", self.types)
    }
}
