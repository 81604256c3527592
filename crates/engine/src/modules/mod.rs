//! Loaded modules: their names, their list, what `lm` says of them.

mod list;
mod naming;
mod query;
mod registered;

pub(crate) use list::{Module, ModuleList};
pub(crate) use naming::module_name;
pub(crate) use registered::{EVENT as REGISTRATION, MPROTECT, RegisteredCode};
