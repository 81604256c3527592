//! `.typeopt`, `.enable_long_status`, `.force_radix_output`: how numbers of variables are written.

use super::restrict::switch;
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger, Settings};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &[".enable_long_status"],
        syntax: ".enable_long_status [0|1]",
        summary: "Show numbers of the type long in the base of n (1), or as others (0)",
        details: "In what dt, dv, x, kP and ?? show; signed ones are then shown by their bits. Without a number: shows which.",
        example: ".enable_long_status",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<LongStatus>,
    },
    CommandEntry {
        names: &[".force_radix_output"],
        syntax: ".force_radix_output [0|1]",
        summary: "Show whole numbers in the base of n (1), or signed ones in decimal and others in hexadecimal (0)",
        details: "In what dt, dv, x, kP and ?? show, but for the type long (.enable_long_status). Without a number: shows which.",
        example: ".force_radix_output",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<RadixOutput>,
    },
    CommandEntry {
        names: &[".typeopt"],
        syntax: ".typeopt [+|-Flags|Name]",
        summary: "Show or change the options for values of types",
        details: "2 or longst (.enable_long_status) and 4 or radix (.force_radix_output) can be set (+) and cleared (-). 1 (uni) and 8 \
                  (size) cannot: texts are shown by their types, and of several symbols of a name none is chosen unasked.",
        example: ".typeopt",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<TypeOptions>,
    },
];

/// Options by bit and name (the reference's documentation of `.typeopt`).
const OPTIONS: [(u64, &str); 4] = [(1, "uni"), (LONGS, "longst"), (RADIX, "radix"), (8, "size")];
const LONGS: u64 = 2;
const RADIX: u64 = 4;

fn flags(settings: &Settings) -> u64 {
    (if settings.longs_in_radix { LONGS } else { 0 }) | if settings.numbers_in_radix { RADIX } else { 0 }
}

/// Shows or sets how `long` is shown.
#[derive(Debug, Clone)]
pub struct LongStatus {
    on: Option<bool>,
}

impl Command for LongStatus {
    type Data = bool;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<LongStatus, CommandError> {
        Ok(LongStatus { on: switch(arguments, debugger)? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<bool, CommandError> {
        let setting = &mut debugger.settings.longs_in_radix;
        *setting = self.on.unwrap_or(*setting);
        Ok(*setting)
    }

    fn render(data: &bool, text: &mut String) {
        line!(text, "Numbers of type long are shown {}", if *data { "in the base of n" } else { "as others" });
    }
}

/// Shows or sets how whole numbers are shown.
#[derive(Debug, Clone)]
pub struct RadixOutput {
    on: Option<bool>,
}

impl Command for RadixOutput {
    type Data = bool;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<RadixOutput, CommandError> {
        Ok(RadixOutput { on: switch(arguments, debugger)? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<bool, CommandError> {
        let setting = &mut debugger.settings.numbers_in_radix;
        *setting = self.on.unwrap_or(*setting);
        Ok(*setting)
    }

    fn render(data: &bool, text: &mut String) {
        line!(text, "Whole numbers are shown {}", if *data { "in the base of n" } else { "by their types" });
    }
}

/// Shows or changes options.
#[derive(Debug, Clone)]
pub struct TypeOptions {
    change: Option<(u64, bool)>,
}

/// The options that are set.
#[derive(Debug, Clone)]
pub struct SetOptions {
    /// Their bits.
    pub flags: u64,
    /// Their names.
    pub names: Vec<&'static str>,
}

fields!(SetOptions { flags, names });

impl Command for TypeOptions {
    type Data = SetOptions;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<TypeOptions, CommandError> {
        let on = match (arguments.take("+"), arguments.is_empty()) {
            (true, _) => true,
            (false, true) => return Ok(TypeOptions { change: None }),
            (false, false) if arguments.take("-") => false,
            _ => return Err(arguments.usage("+ or - says whether they are set or cleared")),
        };
        let named = OPTIONS.iter().find(|(_, name)| arguments.rest().eq_ignore_ascii_case(name));
        let change = match named {
            Some((bit, _)) => {
                arguments.take_rest();
                *bit
            }
            None if arguments.is_empty() => return Err(arguments.usage("the flags are missing")),
            None => arguments.number(debugger)?,
        };
        Ok(TypeOptions { change: Some((change, on)) })
    }

    fn run(self, debugger: &mut Debugger) -> Result<SetOptions, CommandError> {
        let settings = &mut debugger.settings;
        if let Some((change, on)) = self.change {
            let refused = change & !(LONGS | RADIX);
            if on && refused != 0 {
                return Err(CommandError::invalid(format!("the type options {refused:#x} cannot be set here")));
            }
            for (bit, setting) in [(LONGS, &mut settings.longs_in_radix), (RADIX, &mut settings.numbers_in_radix)] {
                if change & bit != 0 {
                    *setting = on;
                }
            }
        }
        let flags = flags(settings);
        let names = OPTIONS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
        Ok(SetOptions { flags, names })
    }

    fn render(data: &SetOptions, text: &mut String) {
        let names = if data.names.is_empty() { "none" } else { &data.names.join(", ") };
        line!(text, "Type options are {:#x}: {names}", data.flags);
    }
}
