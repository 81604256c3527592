//! `dtx`: an object at an address, by its type's name.

use crate::command::{CommandEntry, Group};
use crate::language::Arguments;
use crate::{CommandError, Debugger, Output};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["dtx"],
    syntax: "dtx [-rLevels] [Module!]Name [Address]",
    summary: "Display the object at an address as dx does, or a type",
    details: "As dx with *(Name *)Address, so that views show it; the address is an expression of the default evaluator. Without \
              an address as dt.",
    example: "dtx -r2 order orders",
    group: Group::Symbols,
    eats_line: false,
    run: display,
}];

fn display(arguments: &mut Arguments<'_>, debugger: &mut Debugger, out: &mut dyn Output) -> Result<(), CommandError> {
    let mut levels = 1;
    while let Some(option) = arguments.take_option() {
        match option.strip_prefix('r').map(str::parse::<u8>) {
            Some(Ok(given)) => levels = given,
            Some(Err(_)) => return Err(arguments.usage("-r takes a decimal number of levels behind it, as in -r2")),
            None => return Err(arguments.usage(format!("unknown option -{option}"))),
        }
    }
    // Names of templates have blanks within angle brackets.
    let rest = arguments.rest();
    let mut depth = 0_usize;
    let end = rest.find(|c: char| {
        match c {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && c.is_whitespace()
    });
    let (name, behind) = rest.split_at(end.unwrap_or(rest.len()));
    if name.is_empty() {
        return Err(arguments.usage("the name is missing"));
    }
    arguments.read_to(behind);
    if arguments.is_empty() {
        return debugger.one_command(&format!("dt {name}"), out);
    }
    let at = arguments.address(debugger)?;
    arguments.finish()?;
    debugger.one_command(&format!("dx -r{levels} *({name} *){:#x}", at.0), out)
}
