//! What a half-typed word could become.

use crate::context::Context;
use crate::line::name_of;
use crate::registry;

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

/// Commands at the start of a command; behind one, symbols, or files of this machine where the word looks like a path.
pub(crate) fn complete(context: &mut Context, line: &str, position: usize) -> Vec<Completion> {
    let Some(before) = line.get(..position) else { return Vec::new() };
    let command_start = before.rfind(';').map_or(0, |at| at + 1);
    let command = &before[command_start..];
    let (name, behind) = name_of(command);
    if behind.is_empty() {
        let start = position - name.len();
        let known = registry::infos().flat_map(|info| info.names).filter(|known| known.starts_with(name));
        return known.map(|known| Completion { start, text: (*known).to_owned() }).take(LIMIT).collect();
    }
    let word_start = before.rfind([' ', ',', '(', '"', '@', '&', '*', '+', '=']).map_or(0, |at| at + 1);
    let word = &before[word_start..];
    let found = if word.starts_with(['/', '.', '~']) { files(word) } else { symbols(context, word) };
    found.into_iter().map(|text| Completion { start: word_start, text }).collect()
}

fn symbols(context: &mut Context, word: &str) -> Vec<String> {
    if word.is_empty() {
        return Vec::new();
    }
    // Symbols that cannot be read complete nothing; the command itself will say why.
    let found = context.engine.match_names(&format!("{word}*")).unwrap_or_default();
    let with_module = word.contains('!');
    let mut names: Vec<String> = found
        .into_iter()
        .map(|symbol| if with_module { format!("{}!{}", symbol.module, symbol.name) } else { symbol.name })
        .collect();
    names.sort();
    names.dedup();
    names.truncate(LIMIT);
    names
}

fn files(word: &str) -> Vec<String> {
    let split = word.rfind('/').map_or(0, |at| at + 1);
    let (folder, start) = word.split_at(split);
    let listed = std::fs::read_dir(if folder.is_empty() { "." } else { folder });
    let mut names: Vec<String> = listed
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok().filter(|name| name.starts_with(start))?;
            let end = if entry.file_type().is_ok_and(|kind| kind.is_dir()) { "/" } else { "" };
            Some(format!("{folder}{name}{end}"))
        })
        .take(LIMIT)
        .collect();
    names.sort();
    names
}
