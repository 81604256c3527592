//! `!for_each_module`, `!for_each_frame`, `!for_each_local`, `!for_each_thread`, `!list`: commands for each of many.

use std::collections::BTreeSet;

use outpost_base::{MemoryReader, Va};

use crate::command::{CommandEntry, Group};
use crate::language::{Arguments, ThreadSpec};
use crate::text::values::ValueMemory;
use crate::{CommandError, Debugger, Output};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["!for_each_module"],
        syntax: "!for_each_module Commands",
        summary: "Carry out commands for each module",
        details: "In them @#ModuleName, @#ImageName, @#SymbolFileName, @#Base, @#End, @#Size and @#ModuleIndex stand for what \
                  they say, also as ${@#...}. Takes the rest of the line.",
        example: "!for_each_module .echo @#ModuleName @#Base",
        group: Group::Scripts,
        eats_line: true,
        run: for_modules,
    },
    CommandEntry {
        names: &["!for_each_frame"],
        syntax: "!for_each_frame Commands",
        summary: "Carry out commands in each frame of the current stack",
        details: "In them @#FrameNum is its number. Takes the rest of the line; afterwards the scope is what it was.",
        example: "!for_each_frame .frame; dv",
        group: Group::Scripts,
        eats_line: true,
        run: for_frames,
    },
    CommandEntry {
        names: &["!for_each_local"],
        syntax: "!for_each_local Commands",
        summary: "Carry out commands for each local variable of the scope",
        details: "In them @#Local is its name. Takes the rest of the line.",
        example: "!for_each_local ?? @#Local",
        group: Group::Scripts,
        eats_line: true,
        run: for_locals,
    },
    CommandEntry {
        names: &["!for_each_thread"],
        syntax: "!for_each_thread Commands",
        summary: "Carry out commands for each thread of the process",
        details: "In them @#Thread is its number. Takes the rest of the line.",
        example: "!for_each_thread .echo @#Thread; k 3",
        group: Group::Scripts,
        eats_line: true,
        run: for_threads,
    },
    CommandEntry {
        names: &["!list"],
        syntax: "!list [-t [Module!]Type.Field] -x \"Commands\" Address",
        summary: "Carry out commands for each element of a linked list",
        details: "The pointer to the next is the field, or the first word of an element; the list ends at 0, at an element \
                  that was there before, or where memory does. In the commands @$extret is the element's address.",
        example: "!list -t order.next -x \"dt order @$extret\" orders",
        group: Group::Scripts,
        eats_line: false,
        run: list,
    },
];

/// Most elements of a list: damaged ones may be endless without coming back.
const MAX_ELEMENTS: usize = 1 << 20;
/// Most frames.
const MAX_FRAMES: usize = 10_000;
const REFUSAL: &str = "what the commands are for would be gone after it; they cannot resume";

fn commands<'a>(arguments: &mut Arguments<'a>) -> Result<&'a str, CommandError> {
    let rest = arguments.take_rest();
    let commands = rest.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(rest);
    if commands.trim().is_empty() { Err(arguments.usage("the commands are missing")) } else { Ok(commands) }
}

/// `@#Name` and `${@#Name}` replaced.
fn with(commands: &str, name: &str, value: &str) -> String {
    commands.replace(&format!("${{@#{name}}}"), value).replace(&format!("@#{name}"), value)
}

fn for_modules(
    arguments: &mut Arguments<'_>,
    debugger: &mut Debugger,
    out: &mut dyn Output,
) -> Result<(), CommandError> {
    let commands = commands(arguments)?;
    let process = debugger.engine.current_process()?;
    for (index, module) in debugger.engine.modules(process)?.into_iter().enumerate() {
        debugger.engine.check_interrupt()?;
        let hex = |value: u64| format!("0x{value:x}");
        let values = [
            ("ModuleName", module.name.clone()),
            ("ModuleIndex", index.to_string()),
            ("ImageName", module.path.clone()),
            ("SymbolFileName", module.symbol_file.clone()),
            ("Base", hex(module.range.start.0)),
            ("End", hex(module.range.end.0)),
            ("Size", hex(module.range.len())),
        ];
        let own = values.iter().fold(commands.to_owned(), |text, (name, value)| with(&text, name, value));
        if !debugger.run_nested(&own, REFUSAL, out) {
            break;
        }
    }
    Ok(())
}

fn for_frames(
    arguments: &mut Arguments<'_>,
    debugger: &mut Debugger,
    out: &mut dyn Output,
) -> Result<(), CommandError> {
    let commands = commands(arguments)?;
    let before = debugger.engine.scope_frame()?.index;
    let thread = debugger.engine.current_thread()?;
    let count = debugger.engine.stack(thread, MAX_FRAMES)?.frames.len();
    for index in 0..count as u32 {
        debugger.engine.check_interrupt()?;
        debugger.engine.select_frame(index)?;
        if !debugger.run_nested(&with(commands, "FrameNum", &format!("0x{index:x}")), REFUSAL, out) {
            return Ok(());
        }
    }
    debugger.engine.select_frame(before)?;
    Ok(())
}

fn for_locals(
    arguments: &mut Arguments<'_>,
    debugger: &mut Debugger,
    out: &mut dyn Output,
) -> Result<(), CommandError> {
    let commands = commands(arguments)?;
    // Of those that hide each other, the innermost can be named.
    let mut seen = BTreeSet::new();
    for variable in debugger.engine.locals()? {
        debugger.engine.check_interrupt()?;
        let is_new = seen.insert(variable.name.clone());
        if is_new && !debugger.run_nested(&with(commands, "Local", &variable.name), REFUSAL, out) {
            break;
        }
    }
    Ok(())
}

fn for_threads(
    arguments: &mut Arguments<'_>,
    debugger: &mut Debugger,
    out: &mut dyn Output,
) -> Result<(), CommandError> {
    let commands = commands(arguments)?;
    let threads = super::threads::select(&ThreadSpec::All, debugger)?;
    debugger.for_threads(&threads, |debugger, thread| {
        debugger.run_nested(&with(commands, "Thread", &thread.to_string()), REFUSAL, out);
        Ok(())
    })
}

fn list(arguments: &mut Arguments<'_>, debugger: &mut Debugger, out: &mut dyn Output) -> Result<(), CommandError> {
    let (mut field, mut commands) = (None, None);
    loop {
        if arguments.take_word("-t") {
            field = arguments.word();
        } else if arguments.take_word("-x") {
            commands = Some(arguments.quoted().ok_or_else(|| arguments.usage("the commands in quotes are missing"))?);
        } else {
            break;
        }
    }
    let commands = commands.ok_or_else(|| arguments.usage("the commands are missing"))?;
    let start = arguments.address(debugger)?;
    arguments.finish()?;
    let offset = match field {
        None => 0,
        Some(field) => {
            let (of, field) =
                field.split_once('.').ok_or_else(|| arguments.usage("-t names a type and a field of it"))?;
            let text = format!("@@c++(#FIELD_OFFSET({of}, {field}))");
            Arguments::new("!list", arguments.syntax, None, &text).number(debugger)?
        }
    };
    let mut memory = ValueMemory(debugger.engine.memory().ok());
    let mut seen = BTreeSet::new();
    let mut at = start;
    while at.0 != 0 && seen.insert(at) && seen.len() <= MAX_ELEMENTS {
        debugger.engine.check_interrupt()?;
        let own = commands.replace("@$extret", &format!("0x{:x}", at.0)).replace("$extret", &format!("0x{:x}", at.0));
        if !debugger.run_nested(&own, REFUSAL, out) {
            break;
        }
        let mut next = [0; 8];
        if memory.read(at + offset, &mut next) != next.len() {
            return Err(CommandError::invalid(format!("the memory at {} cannot be read", at + offset)));
        }
        at = Va(u64::from_le_bytes(next));
    }
    Ok(())
}
