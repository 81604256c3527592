//! `.symopt`: symbol options, by the reference's bits.

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &[".symopt", ".symopt+", ".symopt-"],
    syntax: ".symopt\n.symopt+|- Flags",
    summary: "Show the symbol options, or set and clear some",
    details: "1 (names are found in any case, where the exact one is not there), 10 (source lines, .lines) and 80000000 (!sym \
              noisy) can be changed. The others are as they are: names are shown as their authors wrote them, symbols are \
              loaded when they are needed, and those of another build are never used.",
    example: ".symopt- 1",
    group: Group::Symbols,
    eats_line: false,
    run: carry_out::<SymbolOptions>,
}];

/// Bits by their names (dbghelp.h, SYMOPT_*).
const OPTIONS: [(u64, &str); 6] = [
    (ANY_CASE, "CASE_INSENSITIVE"),
    (0x2, "UNDNAME"),
    (0x4, "DEFERRED_LOADS"),
    (LINES, "LOAD_LINES"),
    (0x400, "EXACT_SYMBOLS"),
    (NOISY, "DEBUG"),
];
const ANY_CASE: u64 = 0x1;
const LINES: u64 = 0x10;
const NOISY: u64 = 0x8000_0000;
/// What can be changed.
const FREE: u64 = ANY_CASE | LINES | NOISY;
/// What cannot be changed, and is so.
const FIXED: u64 = 0x2 | 0x4 | 0x400;

/// Shows or changes options.
#[derive(Debug, Clone)]
pub struct SymbolOptions {
    change: Option<(u64, bool)>,
}

/// The options.
#[derive(Debug, Clone)]
pub struct ShownOptions {
    /// All bits that are set.
    pub flags: u64,
    /// Their names.
    pub names: Vec<&'static str>,
}

fields!(ShownOptions { flags, names });

fn flags(debugger: &Debugger) -> u64 {
    let settings = &debugger.settings;
    let free = [(ANY_CASE, debugger.engine.ignores_case()), (LINES, settings.lines), (NOISY, settings.noisy)];
    free.into_iter().filter(|(_, is_set)| *is_set).fold(FIXED, |flags, (bit, _)| flags | bit)
}

impl Command for SymbolOptions {
    type Data = ShownOptions;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<SymbolOptions, CommandError> {
        let on = match arguments.name.chars().last() {
            Some('+') => true,
            Some('-') => false,
            _ if arguments.is_empty() => return Ok(SymbolOptions { change: None }),
            _ => return Err(arguments.usage("+ or - says whether they are set or cleared")),
        };
        if arguments.is_empty() {
            return Err(arguments.usage("the flags are missing"));
        }
        Ok(SymbolOptions { change: Some((arguments.number(debugger)?, on)) })
    }

    fn run(self, debugger: &mut Debugger) -> Result<ShownOptions, CommandError> {
        if let Some((change, on)) = self.change {
            let so_already = if on { flags(debugger) } else { !flags(debugger) };
            let refused = change & !FREE & !so_already;
            if refused != 0 {
                let words = if on { "set" } else { "cleared" };
                return Err(CommandError::invalid(format!("the symbol options {refused:#x} cannot be {words} here")));
            }
            if change & ANY_CASE != 0 {
                debugger.engine.set_ignores_case(on);
            }
            let settings = &mut debugger.settings;
            for (bit, setting) in [(LINES, &mut settings.lines), (NOISY, &mut settings.noisy)] {
                if change & bit != 0 {
                    *setting = on;
                }
            }
        }
        let flags = flags(debugger);
        let names = OPTIONS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name);
        Ok(ShownOptions { flags, names: names.collect() })
    }

    fn render(data: &ShownOptions, text: &mut String) {
        line!(text, "Symbol options are {:#x}:", data.flags);
        for (bit, name) in OPTIONS.iter().filter(|(bit, _)| data.flags & bit != 0) {
            line!(text, "  {bit:#10x} - SYMOPT_{name}");
        }
    }
}
