//! `!cppex`: C++ exceptions of a thread.

use outpost_engine::triage::{CppException, CppExceptions};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["!cppex"],
    syntax: "!cppex",
    summary: "Show the C++ exceptions that the thread throws or handles",
    details: "By libstdc++'s records: type, what() and fields, where the object is, and whether a handler has it. Those on their \
              way to a handler come first; sxe eh stops where one is thrown.",
    example: "!cppex",
    group: Group::State,
    eats_line: false,
    run: carry_out::<ShowExceptions>,
}];

fields!(CppException { object, type_name, what, handlers });
fields!(CppExceptions { uncaught, exceptions });

/// Shows them.
#[derive(Debug, Clone, Copy)]
pub struct ShowExceptions;

impl Command for ShowExceptions {
    type Data = CppExceptions;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<ShowExceptions, CommandError> {
        Ok(ShowExceptions)
    }

    fn run(self, debugger: &mut Debugger) -> Result<CppExceptions, CommandError> {
        Ok(debugger.engine.cpp_exceptions()?)
    }

    fn render(data: &CppExceptions, text: &mut String) {
        for exception in &data.exceptions {
            let state = match exception.handlers {
                0 => "thrown".to_owned(),
                1 => "caught".to_owned(),
                more => format!("caught by {more} handlers"),
            };
            line!(text, "{} at {}, {state}", exception.type_name, exception.object);
            if let Some(what) = &exception.what {
                line!(text, "  {what}");
            }
        }
        match (data.exceptions.is_empty(), data.uncaught) {
            (true, 0) => line!(text, "No exceptions"),
            (_, 0) => {}
            (_, uncaught) => line!(text, "Uncaught: 0n{uncaught}"),
        }
    }
}
