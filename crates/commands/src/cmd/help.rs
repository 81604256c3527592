//! `.help`: what there is and how it is written.

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::language::{Arguments, recognise};
use crate::text::line;
use crate::{CommandError, Debugger, registry};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &[".help", "!help"],
    syntax: ".help [Command]",
    summary: "Show the commands, or one of them in full",
    details: "",
    group: Group::Session,
    eats_line: false,
    run: carry_out::<Help>,
}];

/// Shows help.
#[derive(Debug, Clone)]
pub struct Help {
    word: String,
}

/// The list, or one command.
#[derive(Debug, Clone)]
pub enum HelpData {
    /// All commands.
    All,
    /// One.
    One(&'static CommandEntry),
    /// A documented one that is not carried out, and why.
    Unsupported(String, &'static str),
}

impl Command for Help {
    type Data = HelpData;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<Help, CommandError> {
        Ok(Help { word: arguments.take_rest().to_owned() })
    }

    fn run(self, _: &mut Debugger) -> Result<HelpData, CommandError> {
        if self.word.is_empty() {
            return Ok(HelpData::All);
        }
        let exact = [self.word.clone(), format!(".{}", self.word), format!("!{}", self.word)];
        let found = exact.iter().find_map(|word| registry::find(word));
        let found = found.or_else(|| recognise(&self.word).ok().map(|found| found.entry));
        if let Some(entry) = found.filter(|entry| !registry::is_unsupported(entry)) {
            return Ok(HelpData::One(entry));
        }
        match registry::reason_against(&self.word) {
            Some(reason) => Ok(HelpData::Unsupported(self.word, reason)),
            None => Err(registry::unknown(&self.word)),
        }
    }

    fn render(data: &HelpData, text: &mut String) {
        match data {
            HelpData::One(entry) => describe(entry, text),
            HelpData::Unsupported(word, reason) => line!(text, "{word} is not supported: {reason}"),
            HelpData::All => {
                let groups = [
                    (Group::Execution, "Running"),
                    (Group::Breakpoints, "Breakpoints"),
                    (Group::State, "Stack, registers, events"),
                    (Group::Memory, "Memory"),
                    (Group::Symbols, "Code, symbols, types, sources, expressions"),
                    (Group::Processes, "Systems, processes, threads"),
                    (Group::Session, "Session"),
                ];
                for (group, title) in groups {
                    line!(text, "{title}");
                    for entry in
                        registry::all().filter(|entry| entry.group == group && !registry::is_unsupported(entry))
                    {
                        let names = entry.names.join(", ");
                        line!(text, "  {names:<26} {}", entry.summary);
                    }
                    line!(text);
                }
                line!(text, "Several commands on a line are separated by ;  an empty line repeats the last.");
                line!(
                    text,
                    ".help Command tells more. Coming from gdb: bt is k, break is bp, continue is g, next is p,"
                );
                line!(
                    text,
                    "step is t, finish is gu, print is ??, info locals is dv, info threads is ~, x is db or dd."
                );
            }
        }
    }
}

fn describe(entry: &CommandEntry, text: &mut String) {
    for (number, form) in entry.syntax.lines().enumerate() {
        line!(text, "{}{form}", if number == 0 { "Usage: " } else { "       " });
    }
    line!(text, "{}.", entry.summary);
    for row in wrapped(entry.details, 100) {
        line!(text, "{row}");
    }
}

/// A text in lines of at most `width` characters, broken at blanks.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match rows.last_mut().filter(|row| row.chars().count() + 1 + word.chars().count() <= width) {
            Some(row) => {
                row.push(' ');
                row.push_str(word);
            }
            None => rows.push(word.to_owned()),
        }
    }
    rows
}
