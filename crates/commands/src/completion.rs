//! What a half-typed word could become.

use crate::{Debugger, registry};

/// One possibility.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// Byte of the line that it replaces from; the same for all possibilities of one question.
    pub start: usize,
    /// What stands there then.
    pub text: String,
}

/// More possibilities than anybody reads are not listed.
const LIMIT: usize = 200;

impl Debugger {
    /// What the word that ends at byte `position` of `line` could become: commands at the start of a command; behind one,
    /// symbols, or files of this machine where the word looks like a path.
    pub fn complete(&mut self, line: &str, position: usize) -> Vec<Completion> {
        let Some(before) = line.get(..position) else { return Vec::new() };
        let command_start = before.rfind(';').map_or(0, |at| at + 1);
        let command = before[command_start..].trim_start();
        let word_start = before.rfind([' ', ',', ';', '(', '"', '@', '&', '*', '+', '=']).map_or(0, |at| at + 1);
        let word = &before[word_start..];
        let found = if command.len() == word.len() {
            commands(word)
        } else if word.starts_with(['/', '.', '~']) {
            files(word)
        } else {
            self.symbols(word)
        };
        found.into_iter().take(LIMIT).map(|text| Completion { start: word_start, text }).collect()
    }

    fn symbols(&mut self, word: &str) -> Vec<String> {
        if word.is_empty() {
            return Vec::new();
        }
        // Symbols that cannot be read complete nothing; the command itself will say why.
        let found = self.engine.match_names(&format!("{word}*")).unwrap_or_default();
        let with_module = word.contains('!');
        let name = |symbol: outpost_engine::NamedAddress| match with_module {
            true => format!("{}!{}", symbol.module, symbol.name),
            false => symbol.name,
        };
        sorted(found.into_iter().map(name).collect())
    }
}

fn commands(word: &str) -> Vec<String> {
    let names = registry::all().flat_map(|entry| entry.names);
    sorted(names.filter(|name| name.starts_with(word)).map(|name| (*name).to_owned()).collect())
}

fn files(word: &str) -> Vec<String> {
    let split = word.rfind('/').map_or(0, |at| at + 1);
    let (folder, start) = word.split_at(split);
    let listed = std::fs::read_dir(if folder.is_empty() { "." } else { folder });
    let complete = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok().filter(|name| name.starts_with(start))?;
        let end = if entry.file_type().is_ok_and(|kind| kind.is_dir()) { "/" } else { "" };
        Some(format!("{folder}{name}{end}"))
    };
    sorted(listed.into_iter().flatten().flatten().filter_map(complete).collect())
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use outpost_engine::Engine;

    use super::*;

    fn complete(line: &str) -> Vec<String> {
        Debugger::new(Engine::new()).complete(line, line.len()).into_iter().map(|found| found.text).collect()
    }

    #[test]
    fn commands_at_the_start_of_each_command() {
        assert!(complete(".ec").contains(&".echo".to_owned()));
        assert!(complete("k; .logo").contains(&".logopen".to_owned()));
        assert_eq!(complete("nonsense"), [""; 0]);
        assert_eq!(complete("k ma"), [""; 0], "no symbols without a debuggee");
    }

    #[test]
    fn files_where_the_word_is_a_path() {
        assert!(complete(".logopen /us").contains(&"/usr/".to_owned()));
    }
}
