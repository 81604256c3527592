//! `.help`: what there is and how it is written.

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value, json};
use crate::language::{Arguments, recognise};
use crate::text::line;
use crate::{CommandError, Debugger, Output, OutputKind, registry};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &[".help", "!help"],
    syntax: ".help [Command]",
    summary: "Show the commands, or one of them in full",
    details: "Command is a name with or without its sign; of one that is not carried out the reason is told.",
    example: ".help bp",
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

impl Json for HelpData {
    fn json(&self) -> Value {
        match self {
            HelpData::All => registry::all().map(Json::json).collect(),
            HelpData::One(entry) => entry.json(),
            HelpData::Unsupported(name, reason) => json!({ "names": [name], "unsupported": reason }),
        }
    }
}

impl Json for CommandEntry {
    fn json(&self) -> Value {
        json!({
            "names": self.names, "syntax": self.syntax, "summary": self.summary, "details": self.details,
            "example": self.example,
        })
    }
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
                    (Group::Scripts, "Scripts, control flow, aliases"),
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

/// Help about a command that was given `--help`, as programs take it.
pub(crate) fn show(entry: &'static CommandEntry, out: &mut dyn Output) -> Result<(), CommandError> {
    if let Some(reason) = entry.names.is_empty().then_some("it is not carried out; .help NAME says why") {
        return Err(CommandError::invalid(reason));
    }
    let mut text = String::new();
    describe(entry, &mut text);
    out.write(OutputKind::Normal, &text);
    Ok(())
}

fn describe(entry: &CommandEntry, text: &mut String) {
    for (number, form) in entry.syntax.lines().enumerate() {
        line!(text, "{}{form}", if number == 0 { "Usage: " } else { "       " });
    }
    line!(text, "{}.", entry.summary);
    for row in wrapped(entry.details, 100) {
        line!(text, "{row}");
    }
    line!(text, "Example: {}", entry.example);
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

#[cfg(test)]
mod tests {
    use crate::fuzz::stopped_debugger;
    use crate::language::Recognised;

    use super::*;

    fn capture(command: &str) -> Result<String, CommandError> {
        let mut text = String::new();
        stopped_debugger().one_command(command, &mut text)?;
        Ok(text)
    }

    /// Commands whose arguments are files of this machine, or the rest of the line: a flag would be one, too.
    const TAKES_ANYTHING: &[&str] = &[".logopen", ".logappend", "lsf", "*", "$$", ".echo", ".help", "!help"];

    #[test]
    fn every_command_is_described_in_full() {
        for entry in registry::all() {
            let name = entry.names[0];
            for text in [entry.syntax, entry.summary, entry.details, entry.example] {
                assert!(!text.trim().is_empty(), "{name}");
            }
            assert!(entry.details.ends_with(['.', ')']), "{name}: {}", entry.details);
            let shown = capture(&format!(".help {name}")).unwrap();
            assert!(shown.contains(entry.summary) && shown.contains(entry.example), "{shown}");
            let list = capture(".help").unwrap();
            assert!(list.contains(entry.summary), "{name}");
        }
    }

    /// An example that is no command, or another one, would be worse than none.
    #[test]
    fn examples_are_of_the_command_and_can_be_read() {
        for entry in registry::all() {
            let mut rest = entry.example;
            let mut own = false;
            while !rest.trim().is_empty() {
                let takes_line =
                    |found: Recognised<'_>| registry::eats_line(&found) || registry::cuts_itself(found.entry);
                let (command, after) =
                    if recognise(rest).is_ok_and(takes_line) { (rest, "") } else { crate::language::cut_command(rest) };
                rest = after;
                let found = recognise(command).unwrap_or_else(|word| panic!("{}: no command {word}", entry.names[0]));
                // Control tokens stand within others.
                own |= found.entry.names == entry.names || entry.names.iter().any(|name| command.contains(*name));
                let ends = found.entry.names.iter().any(|name| ["q", ".logopen", ".create"].contains(name));
                // Names that the process does not have are no fault of the syntax.
                if !ends && let Err(CommandError::Usage { problem, .. }) = capture(command) {
                    panic!("{command}: {problem}");
                }
            }
            let prefixed = entry.example.starts_with('~');
            assert!(own || prefixed, "{}: the example '{}' is of other commands", entry.names[0], entry.example);
        }
    }

    /// A command that complains of unknown options takes the letters that it does not complain of.
    #[test]
    fn every_flag_that_is_taken_is_told() {
        let (mut checked, mut untold) = (0, Vec::new());
        for entry in registry::all().filter(|entry| !TAKES_ANYTHING.contains(&entry.names[0])) {
            let help = format!("{}\n{}", entry.syntax, entry.details);
            let name = entry.names[0];
            for sign in ['/', '-'] {
                let taken = |letter: char| {
                    let done = capture(&format!("{name} {sign}{letter}"));
                    match done {
                        Err(CommandError::Usage { problem, .. }) => !problem.contains("unknown"),
                        // Refused with a reason, which tells it.
                        Err(CommandError::Unsupported { .. }) => false,
                        _ => true,
                    }
                };
                let letters = ('a'..='z').chain('A'..='Z');
                let taken: Vec<char> = letters.filter(|&letter| taken(letter)).collect();
                // Where everything is taken there are no options of that kind, but names or numbers.
                if taken.len() > 30 {
                    continue;
                }
                for letter in taken {
                    checked += 1;
                    let told = ['/', '-', '|', ']'].iter().any(|sign| help.contains(&format!("{sign}{letter}")));
                    if !told {
                        untold.push(format!("{name} {sign}{letter}"));
                    }
                }
            }
        }
        assert!(untold.is_empty(), "help does not tell: {untold:?}");
        assert!(checked > 40, "{checked}");
    }
}
