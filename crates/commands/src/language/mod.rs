//! The command language: lines cut into commands, commands recognised, arguments read.

mod arguments;
mod command;
mod line;
mod objects;

pub use arguments::Arguments;
pub(crate) use arguments::is_named_in_digits;
pub(crate) use command::{Recognised, recognise};
pub(crate) use line::{cut_command, split_quoted, unquoted_in_commands, unquoted_in_expression};
pub(crate) use objects::{ProcessSpec, SystemSpec, ThreadSpec};
