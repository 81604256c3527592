//! A line taken apart: commands, prefixes, names.

mod prefix;
mod split;

pub(crate) use prefix::{Prefix, ThreadSpec, ThreadVerb, parse_prefix};
pub(crate) use split::{first_command, name_of};
