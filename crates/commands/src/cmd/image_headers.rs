//! `!dh`, `!chkimg`: what the file of a module says of itself, and whether memory holds its code.

use outpost_engine::{ImageChange, ImageCheck, ImageHeaders, ImageSection, ImageSegment, SymbolAt};

use super::module_info::module_argument;
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::{line, put};
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["!dh"],
        syntax: "!dh [-f] [-s] Module|Address",
        summary: "Show the ELF headers of a module",
        details: "-f shows the file's header with what it needs, -s the sections, neither of them both and the segments. Addresses are \
                  those of the process.",
        example: "!dh -s libc_so",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<ShowHeaders>,
    },
    CommandEntry {
        names: &["!chkimg"],
        syntax: "!chkimg [-d] Module|Address",
        summary: "Compare the code of a module in memory with its file",
        details: "-d lists what differs. Breakpoints are no differences. What the program has patched itself is, as static keys and \
                  jump tables of some libraries.",
        example: "!chkimg -d libc_so",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<CheckImage>,
    },
];

fields!(ImageSegment { kind, range, file_offset, file_len, access, alignment });
fields!(ImageSection { name, range, file_offset, file_len, executable, compressed });
fields!(ImageChange { at, file, memory });

/// Shows headers.
#[derive(Debug, Clone)]
pub struct ShowHeaders {
    module: String,
    file: bool,
    sections: bool,
}

/// Headers with what is to be shown of them.
#[derive(Debug, Clone)]
pub struct ShownHeaders {
    /// All of them.
    pub headers: ImageHeaders,
    file: bool,
    sections: bool,
}

fields!(ImageHeaders { file, kind, machine, entry, build_id, soname, needed, interpreter, segments, sections });
fields!(ShownHeaders { headers, .. });

impl Command for ShowHeaders {
    type Data = ShownHeaders;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<ShowHeaders, CommandError> {
        let (mut file, mut sections) = (false, false);
        loop {
            match () {
                () if arguments.take_word("-f") => file = true,
                () if arguments.take_word("-s") => sections = true,
                () => return Ok(ShowHeaders { module: module_argument(arguments, debugger)?, file, sections }),
            }
        }
    }

    fn run(self, debugger: &mut Debugger) -> Result<ShownHeaders, CommandError> {
        let headers = debugger.engine.image_headers(&self.module)?;
        Ok(ShownHeaders { headers, file: self.file, sections: self.sections })
    }

    fn render(data: &ShownHeaders, text: &mut String) {
        let ShownHeaders { headers, file, sections } = data;
        let all = file == sections;
        if *file || all {
            line!(text, "File:         {}", headers.file);
            line!(text, "Type:         {}, machine {}", headers.kind, headers.machine);
            line!(text, "Entry:        {}", headers.entry);
            line!(text, "Build ID:     {}", headers.build_id.as_deref().unwrap_or("none"));
            headers.soname.iter().for_each(|name| line!(text, "Soname:       {name}"));
            headers.interpreter.iter().for_each(|name| line!(text, "Interpreter:  {name}"));
            headers.needed.iter().for_each(|name| line!(text, "Needs:        {name}"));
        }
        if all {
            line!(text, "Segments:");
            for segment in &headers.segments {
                let ImageSegment { kind, range, file_offset, file_len, access, alignment } = segment;
                let file = format!("file {file_offset:#x} L{file_len:x}");
                line!(text, "  {kind:<14}{}-{} {access:<4}{file:<24}align {alignment:#x}", range.start, range.end);
            }
        }
        if *sections || all {
            line!(text, "Sections:");
            for section in &headers.sections {
                let ImageSection { name, range, file_offset, file_len, executable, compressed } = section;
                match range {
                    Some(range) => put!(text, "  {name:<20}{}-{} ", range.start, range.end),
                    None => put!(text, "  {name:<20}{:36}", "not in memory"),
                }
                put!(text, "file {file_offset:#x} L{file_len:x}");
                put!(text, "{}", if *executable { " code" } else { "" });
                line!(text, "{}", if *compressed { " compressed" } else { "" });
            }
        }
    }
}

/// Compares an image.
#[derive(Debug, Clone)]
pub struct CheckImage {
    module: String,
    list: bool,
}

/// What it came to.
#[derive(Debug, Clone)]
pub struct CheckedImage {
    /// The module's name.
    pub module: String,
    /// What differs.
    pub check: ImageCheck,
    /// The symbol at each of the differences.
    pub symbols: Vec<Option<SymbolAt>>,
    list: bool,
}

fields!(ImageCheck { file, compared, unreadable, different, changes });
fields!(CheckedImage { module, check, .. });

impl Command for CheckImage {
    type Data = CheckedImage;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<CheckImage, CommandError> {
        let list = arguments.take_word("-d");
        Ok(CheckImage { module: module_argument(arguments, debugger)?, list })
    }

    fn run(self, debugger: &mut Debugger) -> Result<CheckedImage, CommandError> {
        let check = debugger.engine.check_image(&self.module)?;
        let symbols = check.changes.iter().map(|change| debugger.engine.symbol_at(change.at)).collect();
        Ok(CheckedImage { module: self.module, check, symbols, list: self.list })
    }

    fn render(data: &CheckedImage, text: &mut String) {
        let ImageCheck { file, compared, unreadable, different, changes } = &data.check;
        if data.list {
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
            for (change, symbol) in changes.iter().zip(&data.symbols) {
                let name = symbol.as_ref().map(|symbol| format!(" {symbol}")).unwrap_or_default();
                line!(text, "{}{name}: [ {} ] should be [ {} ]", change.at, hex(&change.memory), hex(&change.file));
            }
        }
        if *unreadable > 0 {
            line!(text, "{unreadable:#x} bytes of code could not be compared");
        }
        match different {
            0 => line!(text, "{}: {compared:#x} bytes of code are those of {file}", data.module),
            _ => line!(text, "{}: {different} of {compared:#x} bytes of code are not those of {file}", data.module),
        }
    }
}
