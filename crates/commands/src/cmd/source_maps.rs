//! `!sourcemaps` and its kind: the items of the source path that replace the start of a path.

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["!addsourcemap"],
        syntax: "!addsourcemap From To",
        summary: "Look for sources whose paths begin so somewhere else",
        details: "As .srcpath+ From=>To. Paths with blanks are quoted.",
        example: "!addsourcemap /build/src /home/me/src",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<AddSourceMap>,
    },
    CommandEntry {
        names: &["!sourcemaps"],
        syntax: "!sourcemaps",
        summary: "List what the starts of source paths are replaced by",
        details: "The from=>to items of .srcpath, in the order in which they are tried; then what was learnt of trees that have \
                  moved, by which rule, and why it is believed.",
        example: "!sourcemaps",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<ListSourceMaps>,
    },
    CommandEntry {
        names: &["!removesourcemaps"],
        syntax: "!removesourcemaps [From]",
        summary: "Forget what the starts of source paths are replaced by",
        details: "Of one start, or of all. Directories of .srcpath stay. What was learnt is not learnt again, and no file is found \
                  there any more but by .srcpath.",
        example: "!removesourcemaps /build/src",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<RemoveSourceMaps>,
    },
];

/// A start of paths and what replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceMap {
    /// As recorded.
    pub from: String,
    /// Where it is.
    pub to: String,
    /// How that was learnt; `None`: the user said it.
    pub learnt: Option<String>,
}

fields!(SourceMap { from, to, learnt });

fn maps(debugger: &Debugger) -> Vec<SourceMap> {
    let items = debugger.engine.source_path().split(';').filter_map(|item| item.split_once("=>"));
    let said =
        items.map(|(from, to)| SourceMap { from: from.trim().to_owned(), to: to.trim().to_owned(), learnt: None });
    let learnt = debugger.engine.learnt_source_maps().iter().map(|map| SourceMap {
        from: map.from.clone(),
        to: map.to.display().to_string(),
        learnt: Some(format!("{}; {}", map.rule, map.reason)),
    });
    said.chain(learnt).collect()
}

/// Adds one.
#[derive(Debug, Clone)]
pub struct AddSourceMap {
    from: String,
    to: String,
}

fn one_path(arguments: &mut Arguments<'_>) -> Option<String> {
    arguments.quoted().or_else(|| arguments.word().map(str::to_owned)).filter(|path| !path.is_empty())
}

impl Command for AddSourceMap {
    type Data = Vec<SourceMap>;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<AddSourceMap, CommandError> {
        let (from, to) = (one_path(arguments), one_path(arguments));
        let (Some(from), Some(to)) = (from, to) else { return Err(arguments.usage("two paths are wanted")) };
        if [&from, &to].iter().any(|path| path.contains(';') || path.contains("=>")) {
            return Err(arguments.usage("; and => separate paths and cannot be in them"));
        }
        Ok(AddSourceMap { from, to })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Vec<SourceMap>, CommandError> {
        let (old, item) = (debugger.engine.source_path(), format!("{}=>{}", self.from, self.to));
        let path = if old.is_empty() { item } else { format!("{old};{item}") };
        debugger.engine.set_source_path(&path);
        Ok(maps(debugger))
    }

    fn render(data: &Vec<SourceMap>, text: &mut String) {
        for map in data {
            let learnt = map.learnt.as_ref().map(|learnt| format!(" ({learnt})")).unwrap_or_default();
            // Relative paths have no start.
            let from = if map.from.is_empty() { "." } else { &map.from };
            line!(text, "{from} => {}{learnt}", map.to);
        }
    }
}

/// Lists them.
#[derive(Debug, Clone)]
pub struct ListSourceMaps;

impl Command for ListSourceMaps {
    type Data = Vec<SourceMap>;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<ListSourceMaps, CommandError> {
        Ok(ListSourceMaps)
    }

    fn run(self, debugger: &mut Debugger) -> Result<Vec<SourceMap>, CommandError> {
        Ok(maps(debugger))
    }

    fn render(data: &Vec<SourceMap>, text: &mut String) {
        AddSourceMap::render(data, text);
        if data.is_empty() {
            line!(text, "No source maps");
        }
    }
}

/// Removes them.
#[derive(Debug, Clone)]
pub struct RemoveSourceMaps {
    from: Option<String>,
}

impl Command for RemoveSourceMaps {
    type Data = Vec<SourceMap>;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<RemoveSourceMaps, CommandError> {
        Ok(RemoveSourceMaps { from: one_path(arguments) })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Vec<SourceMap>, CommandError> {
        let old = debugger.engine.source_path().to_owned();
        let wanted = self.from.as_deref().map(|from| if from == "." { "" } else { from });
        let goes = |item: &str| match item.split_once("=>") {
            Some((from, _)) => wanted.is_none_or(|wanted| wanted == from.trim()),
            None => false,
        };
        let any_learnt = debugger.engine.refuse_source_maps(wanted);
        if !old.split(';').any(goes) {
            return match self.from {
                Some(from) if !any_learnt => {
                    Err(CommandError::File { path: from, reason: "nothing replaces it".into() })
                }
                _ => Ok(maps(debugger)),
            };
        }
        let kept: Vec<&str> = old.split(';').filter(|item| !goes(item)).collect();
        debugger.engine.set_source_path(&kept.join(";"));
        Ok(maps(debugger))
    }

    fn render(data: &Vec<SourceMap>, text: &mut String) {
        ListSourceMaps::render(data, text);
    }
}
