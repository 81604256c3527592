//! `!cppfilt`, `!rustdemangle`: names as their authors wrote them.

use outpost_engine::values::demangle;

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["!cppfilt", "!rustdemangle"],
    syntax: "!cppfilt|!rustdemangle Name",
    summary: "Show what a linkage name stands for",
    details: "Of C++ and of Rust, whichever it is, by either command. A name that is none of theirs is shown as it is.",
    example: "!cppfilt _ZNSt6vectorIiSaIiEE9push_backEOi",
    group: Group::Symbols,
    eats_line: false,
    run: carry_out::<Demangle>,
}];

/// Demangles.
#[derive(Debug, Clone)]
pub struct Demangle {
    name: String,
}

impl Command for Demangle {
    type Data = String;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<Demangle, CommandError> {
        let name = arguments.word().ok_or_else(|| arguments.usage("the name is missing"))?;
        Ok(Demangle { name: name.trim_matches('"').to_owned() })
    }

    fn run(self, _: &mut Debugger) -> Result<String, CommandError> {
        Ok(demangle(&self.name).map_or(self.name, |demangled| demangled.signature))
    }

    fn render(data: &String, text: &mut String) {
        line!(text, "{data}");
    }
}
