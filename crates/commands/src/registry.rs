//! The table of commands, and the reference made from it.

use std::fmt::Write;

use crate::cmd;
use crate::command::{CommandInfo, Entry, Group};

/// Every command, for help, completion and documentation.
pub fn infos() -> impl Iterator<Item = &'static CommandInfo> {
    cmd::ALL.iter().map(|entry| entry.info)
}

/// The command of a name as typed. Names are taken without regard to case where no command differs by case alone.
pub(crate) fn find(name: &str) -> Option<&'static Entry> {
    let exact = cmd::ALL.iter().find(|entry| entry.info.names.contains(&name));
    let spelled = || cmd::ALL.iter().find(|entry| entry.info.also.is_some_and(|also| also(name)));
    let folded = || {
        let equal = |entry: &&Entry| entry.info.names.iter().any(|known| known.eq_ignore_ascii_case(name));
        cmd::ALL.iter().find(equal)
    };
    exact.or_else(spelled).or_else(folded)
}

/// `docs/commands.md`, made from what the commands say of themselves.
pub fn reference() -> String {
    let mut text = String::from(
        "# Commands\n\n\
         Made from the commands' own help by `cargo test`; do not edit. `.help NAME` shows the same at the prompt.\n",
    );
    for group in GROUPS {
        let _ = writeln!(text, "\n## {}", title(group));
        let mut members: Vec<_> = infos().filter(|info| info.group == group).collect();
        members.sort_by_key(|info| info.names[0].trim_start_matches(['.', '!']));
        for info in members {
            let _ = writeln!(text, "\n### {}\n\n{}.\n", names(info), capitalised(info.summary));
            let _ = writeln!(text, "```\n{}\n```", info.syntax.join("\n"));
            if !info.details.is_empty() {
                let _ = write!(text, "\n{}", info.details);
            }
        }
    }
    text
}

/// A command's help as `.help NAME` shows it.
pub(crate) fn help(info: &CommandInfo) -> String {
    let syntax = info.syntax.join("\n  ");
    format!("{}: {}\n  {syntax}\n{}", names(info), info.summary, info.details)
}

/// Groups in the reference's order.
pub(crate) const GROUPS: [Group; 8] = [
    Group::Execution,
    Group::Breakpoints,
    Group::Stack,
    Group::Memory,
    Group::Symbols,
    Group::Expressions,
    Group::Processes,
    Group::Session,
];

pub(crate) fn title(group: Group) -> &'static str {
    match group {
        Group::Execution => "Running and stepping",
        Group::Breakpoints => "Breakpoints",
        Group::Stack => "Stacks, registers, scope",
        Group::Memory => "Memory",
        Group::Symbols => "Code, symbols, types, source",
        Group::Expressions => "Expressions",
        Group::Processes => "Systems, processes, threads",
        Group::Session => "The session",
    }
}

fn names(info: &CommandInfo) -> String {
    info.names.join(", ")
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + characters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_taken_twice() {
        let mut seen = std::collections::BTreeSet::new();
        for info in infos() {
            assert!(!info.names.is_empty() && !info.syntax.is_empty(), "{info:?}");
            info.names.iter().for_each(|name| assert!(seen.insert(*name), "{name}"));
            assert!(
                !info.summary.ends_with('.') && info.details.is_empty() != info.details.ends_with('\n'),
                "{info:?}"
            );
        }
    }

    #[test]
    fn case_matters_only_where_commands_differ_by_it() {
        let name = |typed| find(typed).map(|entry| entry.info.names[0]);
        assert_eq!(name(".ECHO"), Some(".echo"));
        assert_eq!(name("nonsense"), None);
    }
}
