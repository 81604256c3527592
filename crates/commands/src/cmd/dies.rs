//! `!diesym`, `!dielocal`, `!dietree`, `!die`, `!dieancestry`: debug info as it stands.

use outpost_engine::values::{DieAttribute, DieText};
use outpost_engine::{DiePlace, Dies, EngineError, die_section};

use super::module_info::module_argument;
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value, fields, json};
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["!diesym"],
        syntax: "!diesym [-rLevels] Name|Address",
        summary: "Show the debug info of a function, variable or type",
        details: "Its DIE (debugging information entry), as readelf or dwarfdump show it: with its offset in .debug_info, for a \
                  name, or for the function or variable at an address. -r2 shows those below it, too, -r3 those below them. \
                  Addresses in it are those of the file; !dielocal does the same for local variables, !dietree by offset.",
        example: "!diesym -r2 main",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<ShowSymbol>,
    },
    CommandEntry {
        names: &["!dielocal"],
        syntax: "!dielocal [-rLevels] Name",
        summary: "Show the debug info of a local variable",
        details: "Of the innermost of that name in the scope (see .frame): its DIE with type and location, as !diesym shows them.",
        example: "!dielocal argc",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<ShowLocal>,
    },
    CommandEntry {
        names: &["!dietree", "!die"],
        syntax: "!dietree|!die [-rLevels] [-t] -m Module Offset",
        summary: "Show the debug info at an offset of .debug_info, downwards",
        details: "With -t of .debug_types. The offset of a unit is that of its DIE. -r2 shows what is below it, too. Other DIEs \
                  are referred to by their offsets in the unit and, behind ==, in the section.",
        example: "!dietree -r2 -m libc_so 0",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<ShowTree>,
    },
    CommandEntry {
        names: &["!dieancestry"],
        syntax: "!dieancestry [-rLevels] [-t] -m Module Offset",
        summary: "Show the debug info at an offset of .debug_info, upwards",
        details: "The DIE, the one it lies in, and so on to the unit's, or as many as -r says.",
        example: "!dieancestry -m libc_so 100",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<ShowAncestry>,
    },
];

/// Most levels that `-r` takes; units nest some dozens deep.
const LEVELS: u32 = 4096;

impl Json for DieText {
    fn json(&self) -> Value {
        json!({
            "offset": self.at.offset.json(),
            "section": die_section(self.at.section),
            "depth": self.depth,
            "tag": self.tag,
            "attributes": self.attributes.json(),
        })
    }
}

impl Json for DieAttribute {
    fn json(&self) -> Value {
        let refers_to = self.refers_to.map(|at| at.offset.json());
        json!({ "name": self.name, "value": self.value, "lines": self.lines, "refers_to": refers_to })
    }
}

fields!(Dies { module, dies, is_cut });

/// What the options say.
#[derive(Debug, Clone, Default)]
struct Options {
    levels: Option<u32>,
    in_types: bool,
    module: Option<String>,
}

fn options(arguments: &mut Arguments<'_>, debugger: &mut Debugger, by_offset: bool) -> Result<Options, CommandError> {
    let mut options = Options::default();
    while let Some(option) = arguments.take_option() {
        match (option, option.strip_prefix('r').map(str::parse)) {
            (_, Some(Ok(levels))) if (1..=LEVELS).contains(&levels) => options.levels = Some(levels),
            ("t", _) if by_offset => options.in_types = true,
            ("m", _) if by_offset => options.module = Some(module_argument(arguments, debugger)?),
            (_, Some(_)) => return Err(arguments.usage("-r takes a decimal number of levels behind it, as in -r2")),
            (other, _) => return Err(arguments.usage(format!("unknown option -{other}"))),
        }
    }
    Ok(options)
}

fn by_offset(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<(DiePlace, Option<u32>), CommandError> {
    let options = options(arguments, debugger, true)?;
    let module = options.module.ok_or_else(|| arguments.usage("-m with the module is missing"))?;
    let offset = arguments.number(debugger)?;
    Ok((DiePlace::Offset { module, offset, in_types: options.in_types }, options.levels))
}

/// `!diesym`.
#[derive(Debug, Clone)]
pub struct ShowSymbol {
    text: String,
    levels: u32,
}

impl Command for ShowSymbol {
    type Data = Dies;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<ShowSymbol, CommandError> {
        let levels = options(arguments, debugger, false)?.levels.unwrap_or(1);
        let text = arguments.take_rest().to_owned();
        if text.is_empty() {
            return Err(arguments.usage("the name is missing"));
        }
        Ok(ShowSymbol { text, levels })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Dies, CommandError> {
        match debugger.engine.dies(&DiePlace::Name(self.text.clone()), self.levels) {
            Err(EngineError::NoSymbol { .. } | EngineError::NoModule { .. }) => {
                let mut arguments = Arguments::new("!diesym", "", None, &self.text);
                let at = arguments.address(debugger)?;
                arguments.finish()?;
                Ok(debugger.engine.dies(&DiePlace::Address(at), self.levels)?)
            }
            done => Ok(done?),
        }
    }

    fn render(data: &Dies, text: &mut String) {
        render(data, text);
    }
}

/// `!dielocal`.
#[derive(Debug, Clone)]
pub struct ShowLocal {
    name: String,
    levels: u32,
}

impl Command for ShowLocal {
    type Data = Dies;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<ShowLocal, CommandError> {
        let levels = options(arguments, debugger, false)?.levels.unwrap_or(1);
        let name = arguments.word().ok_or_else(|| arguments.usage("the name is missing"))?;
        Ok(ShowLocal { name: name.trim_start_matches("$!").to_owned(), levels })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Dies, CommandError> {
        Ok(debugger.engine.dies(&DiePlace::Local(self.name), self.levels)?)
    }

    fn render(data: &Dies, text: &mut String) {
        render(data, text);
    }
}

/// `!dietree`, `!die`.
#[derive(Debug, Clone)]
pub struct ShowTree {
    place: DiePlace,
    levels: u32,
}

impl Command for ShowTree {
    type Data = Dies;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<ShowTree, CommandError> {
        let (place, levels) = by_offset(arguments, debugger)?;
        Ok(ShowTree { place, levels: levels.unwrap_or(1) })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Dies, CommandError> {
        Ok(debugger.engine.dies(&self.place, self.levels)?)
    }

    fn render(data: &Dies, text: &mut String) {
        render(data, text);
    }
}

/// `!dieancestry`.
#[derive(Debug, Clone)]
pub struct ShowAncestry {
    place: DiePlace,
    levels: u32,
}

impl Command for ShowAncestry {
    type Data = Dies;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<ShowAncestry, CommandError> {
        let (place, levels) = by_offset(arguments, debugger)?;
        Ok(ShowAncestry { place, levels: levels.unwrap_or(LEVELS) })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Dies, CommandError> {
        Ok(debugger.engine.die_ancestry(&self.place, self.levels)?)
    }

    fn render(data: &Dies, text: &mut String) {
        render(data, text);
    }
}

fn render(data: &Dies, text: &mut String) {
    for (number, die) in data.dies.iter().enumerate() {
        if number > 0 {
            line!(text);
        }
        let indent = 4 * die.depth as usize;
        let section = die_section(die.at.section).map(|section| format!(" (of {section})")).unwrap_or_default();
        line!(text, "{:indent$}{:#x}: {}{section}", "", die.at.offset, die.tag);
        for attribute in &die.attributes {
            let row = format!("{:indent$}    {:<23} {}", "", attribute.name, attribute.value);
            line!(text, "{}", row.trim_end());
            for entry in &attribute.lines {
                line!(text, "{:indent$}        {entry}", "");
            }
        }
    }
    if data.is_cut {
        line!(text, "There are more; -r with fewer levels, or a DIE further down, shows others");
    }
}
