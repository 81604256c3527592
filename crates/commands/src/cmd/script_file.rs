//! `$<`, `$><`, `$$<`, `$$><`, `$$>a<`: command files.

use std::collections::VecDeque;
use std::io::Read;

use super::restrict;
use crate::command::{CommandEntry, Group};
use crate::language::{Arguments, split_quoted};
use crate::script::Frame;
use crate::{CommandError, Debugger, Output};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["$<", "$><"],
        syntax: "$<File\n$><File",
        summary: "Carry out the commands of a file; its name may have ; in it",
        details: "Of the debugger's machine. $< carries out each line as if it were typed, and shows it; with $>< the \
                  file is one block, so that blocks of control tokens may go over several lines.",
        example: "$<setup.txt",
        group: Group::Scripts,
        eats_line: true,
        run: run_file,
    },
    CommandEntry {
        names: &["$$<", "$$><", "$$>a<"],
        syntax: "$$<File\n$$><File\n$$>a<File [Argument ...]",
        summary: "Carry out the commands of a file",
        details: "Like $< and $><, but the name ends at ;. With $$>a< the file is one block in which ${$arg1}, ${$arg2}, ... \
                  stand for the arguments; those that are not given stay as they are written. An argument with blanks is \
                  quoted.",
        example: "$$>a<walk.txt head 0n10",
        group: Group::Scripts,
        eats_line: false,
        run: run_file,
    },
];

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The text of a file of the debugger's machine.
///
/// # Errors
/// [`CommandError::File`]; [`CommandError::Invalid`] in secure mode.
pub(crate) fn read(path: &str, debugger: &Debugger) -> Result<String, CommandError> {
    restrict::may_read_files(debugger)?;
    let failed = |reason: String| CommandError::File { path: path.to_owned(), reason };
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > MAX_FILE {
        return Err(failed(format!("it is larger than {} KiB", MAX_FILE >> 10)));
    }
    // Written on another system: a mark before the text, and two characters at the end of each line.
    Ok(text.trim_start_matches('\u{feff}').replace("\r\n", "\n"))
}

fn run_file(arguments: &mut Arguments<'_>, debugger: &mut Debugger, _: &mut dyn Output) -> Result<(), CommandError> {
    let rest = arguments.take_rest();
    let words = match arguments.name {
        "$$>a<" => split_quoted(rest),
        _ => vec![rest.trim_matches('"').to_owned()],
    };
    let Some(file) = words.first().filter(|file| !file.is_empty()) else {
        return Err(arguments.usage("the file is missing"));
    };
    let text = read(file, debugger)?;
    let frame = match arguments.name {
        "$<" | "$$<" => Frame::Lines(text.lines().map(str::to_owned).collect::<VecDeque<_>>()),
        _ => {
            let given = words[1..].iter().enumerate();
            let text = given.fold(text, |text, (at, word)| text.replace(&format!("${{$arg{}}}", at + 1), word));
            debugger.block(&text)?
        }
    };
    debugger.script.enter(frame);
    Ok(())
}
