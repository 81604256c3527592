//! What a line could go on with: commands at its start, symbols, modules and files after that.

use std::collections::BTreeSet;
use std::path::Path;

use outpost_engine::PSEUDO_REGISTERS;

use crate::{Debugger, registry};

/// Most candidates that are given.
const LIMIT: usize = 500;
/// Commands whose arguments are files of the debugger's own machine.
const WITH_FILES: &[&str] = &[".logopen", ".logappend", ".sympath", ".sympath+", ".srcpath", ".srcpath+", "lsf"];

/// Candidates for the word before the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// Byte position where the word begins.
    pub start: usize,
    /// What it could be, in order.
    pub candidates: Vec<String>,
}

/// Names of all commands, sorted.
fn command_names() -> Vec<&'static str> {
    let all: BTreeSet<&str> = registry::all().flat_map(|entry| entry.names.iter().copied()).collect();
    all.into_iter().collect()
}

impl Debugger {
    /// What the word that ends at byte `cursor` of `line` could become.
    pub fn complete(&mut self, line: &str, cursor: usize) -> Completion {
        complete(self, line, cursor)
    }
}

fn complete(debugger: &mut Debugger, line: &str, cursor: usize) -> Completion {
    let head = line.get(..cursor).unwrap_or(line);
    // After a separator the next command begins.
    let command_start = head.rfind([';', '{']).map_or(0, |at| at + 1);
    let command = &head[command_start..];
    let first_word = command.split_whitespace().next().unwrap_or_default();
    let in_first_word = command.trim_start() == first_word;
    let word_start = word_start(head);
    let word = &head[word_start..];
    let candidates = if in_first_word {
        let commands = command_names().into_iter().filter(|name| name.starts_with(first_word)).map(str::to_owned);
        let start = head.len() - first_word.len();
        return Completion { start, candidates: commands.collect() };
    } else if WITH_FILES.contains(&first_word) {
        let start = head.rfind([' ', ';']).map_or(0, |at| at + 1);
        return Completion { start, candidates: files(&head[start..]) };
    } else if word.starts_with("@$") || word.starts_with('$') {
        let bare = word.trim_start_matches('@');
        let sign = &word[..word.len() - bare.len()];
        let known = PSEUDO_REGISTERS.iter().filter(|name| name.starts_with(bare));
        known.map(|name| format!("{sign}{name}")).collect()
    } else if let Some(bare) = word.strip_prefix('@') {
        let arch = debugger.engine.arch();
        let known = arch.registers().iter().map(|row| row.name).filter(|name| name.starts_with(bare));
        known.map(|name| format!("@{name}")).collect()
    } else if first_word == ".help" {
        let start = head.rfind(' ').map_or(0, |at| at + 1);
        let found = command_names().into_iter().filter(|name| name.starts_with(&head[start..]));
        return Completion { start, candidates: found.map(str::to_owned).collect() };
    } else {
        symbols(debugger, word)
    };
    Completion { start: word_start, candidates }
}

/// Where the word before the end of `text` begins.
fn word_start(text: &str) -> usize {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '!' | ':' | '$' | '@' | '*' | '?' | '~');
    text.char_indices().rev().find(|(_, c)| !is_word(*c)).map_or(0, |(at, c)| at + c.len_utf8())
}

/// Locals, modules and symbols that begin so; wildcards in the word are those of `x`.
fn symbols(debugger: &mut Debugger, word: &str) -> Vec<String> {
    if word.is_empty() {
        return Vec::new();
    }
    let mut found = BTreeSet::new();
    if !word.contains('!') {
        let locals = debugger.engine.locals().unwrap_or_default();
        found.extend(locals.into_iter().map(|local| local.name).filter(|name| name.starts_with(word)));
        if let Ok(process) = debugger.engine.current_process() {
            let modules = debugger.engine.modules(process).unwrap_or_default();
            found.extend(
                modules.into_iter().filter(|module| module.name.starts_with(word)).map(|m| format!("{}!", m.name)),
            );
        }
    }
    let (module, bare) = word.split_once('!').map_or((None, word), |(module, bare)| (Some(module), bare));
    // One letter fits half of all names, which is no help and takes long.
    if bare.len() >= 2 || module.is_some() {
        let names = debugger.engine.match_names(&format!("{word}*")).unwrap_or_default();
        for name in names.into_iter().take(LIMIT) {
            found.insert(match module {
                Some(_) => format!("{}!{}", name.module, name.name),
                None => name.name,
            });
        }
    }
    found.into_iter().take(LIMIT).collect()
}

/// Files whose path begins so; directories end in a slash.
fn files(prefix: &str) -> Vec<String> {
    let (directory, name) = prefix.rfind('/').map_or(("", prefix), |slash| prefix.split_at(slash + 1));
    let listed = std::fs::read_dir(if directory.is_empty() { Path::new(".") } else { Path::new(directory) });
    let mut found: Vec<String> = listed
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let file = entry.file_name().into_string().ok()?;
            let slash = if entry.path().is_dir() { "/" } else { "" };
            let hidden = file.starts_with('.') && !name.starts_with('.');
            (file.starts_with(name) && !hidden).then(|| format!("{directory}{file}{slash}"))
        })
        .take(LIMIT)
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use outpost_engine::Engine;

    use super::*;

    fn candidates(line: &str) -> (usize, Vec<String>) {
        let mut debugger = Debugger::new(Engine::new());
        let completion = complete(&mut debugger, line, line.len());
        (completion.start, completion.candidates)
    }

    #[test]
    fn commands_at_the_start_of_each_command() {
        let (start, found) = candidates("k; .symp");
        assert_eq!((start, found), (3, vec![".sympath".to_owned(), ".sympath+".to_owned()]));
        assert!(candidates("g").1.contains(&"gu".to_owned()));
        assert_eq!(candidates("!addr").1, ["!address"]);
    }

    #[test]
    fn registers_pseudo_registers_and_help() {
        assert_eq!(candidates("? @rb").1, ["@rbx", "@rbp"]);
        assert_eq!(candidates("? 5+@$exen"), (4, vec!["@$exentry".to_owned()]));
        assert!(candidates(".help .lin").1.contains(&".lines".to_owned()));
    }
}
