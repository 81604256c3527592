//! `.nvload`, `.nvlist`, `.nvunload`, `.nvunloadall`: views that the authors of types wrote (NatVis).

use std::rc::Rc;

use outpost_engine::natvis::ViewFile;

use super::script_file;
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value, fields, json};
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &[".nvload", ".scriptload"],
        syntax: ".nvload File\n.nvload Module\n.scriptload File",
        summary: "Load a file of views (.natvis)",
        details: "Of the debugger's machine. From then on dx, dv, ?? and dt show objects of its types as their authors think of \
                  them, and dx opens them so; queries see their elements. Of a module, the file beside its image is meant: \
                  /opt/shop/server has /opt/shop/server.natvis. What is not understood in a file is said, and has no effect. \
                  Loading it again reads it anew. dx -n and the format ! show members as they are declared.",
        example: ".nvload shop.natvis",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<LoadViews>,
    },
    CommandEntry {
        names: &[".nvlist", ".scriptlist"],
        syntax: ".nvlist|.scriptlist",
        summary: "List the files of views that are loaded",
        details: "With what in them has no effect, and why; also types of which objects were looked at that the views are not for.",
        example: ".nvlist",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<ListViews>,
    },
    CommandEntry {
        names: &[".nvunload", ".scriptunload"],
        syntax: ".nvunload|.scriptunload File",
        summary: "Unload a file of views",
        details: "By its path as it was loaded, or by its name alone.",
        example: ".nvunload shop.natvis",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<UnloadViews>,
    },
    CommandEntry {
        names: &[".scriptproviders"],
        syntax: ".scriptproviders",
        summary: "List what kinds of files .scriptload loads",
        details: "Views of types (NatVis) alone.",
        example: ".scriptproviders",
        group: Group::Scripts,
        eats_line: false,
        run: carry_out::<ListProviders>,
    },
    CommandEntry {
        names: &[".nvunloadall"],
        syntax: ".nvunloadall",
        summary: "Unload all files of views",
        details: "Objects are shown as if there had been none.",
        example: ".nvunloadall",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<UnloadAllViews>,
    },
];

/// The one argument of a command: a path, which may be quoted.
fn path(arguments: &mut Arguments<'_>) -> Result<String, CommandError> {
    let path = arguments.take_rest().trim_matches('"').to_owned();
    if path.is_empty() { Err(arguments.usage("the file is missing")) } else { Ok(path) }
}

fn no_more(arguments: &mut Arguments<'_>) -> Result<(), CommandError> {
    match arguments.take_rest() {
        "" => Ok(()),
        rest => Err(arguments.usage(format!("'{rest}' is too much"))),
    }
}

/// Lists kinds of files.
#[derive(Debug, Clone, Copy)]
pub struct ListProviders;

impl Command for ListProviders {
    type Data = Vec<String>;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<ListProviders, CommandError> {
        Ok(ListProviders)
    }

    fn run(self, _: &mut Debugger) -> Result<Vec<String>, CommandError> {
        Ok(vec!["NatVis (extension '.natvis')".to_owned()])
    }

    fn render(data: &Vec<String>, text: &mut String) {
        line!(text, "Available script providers:");
        data.iter().for_each(|provider| line!(text, "    {provider}"));
    }
}

/// Loads a file of views.
#[derive(Debug, Clone)]
pub struct LoadViews {
    path: String,
}

impl Command for LoadViews {
    type Data = Rc<ViewFile>;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<LoadViews, CommandError> {
        let path = path(arguments)?;
        let is_script = arguments.name.eq_ignore_ascii_case(".scriptload") && !path.ends_with(".natvis");
        if is_script {
            let reason = "files of views (.natvis) are loaded, and there are no scripts of other languages";
            return Err(CommandError::unsupported(".scriptload", reason));
        }
        Ok(LoadViews { path })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Rc<ViewFile>, CommandError> {
        // A program may well lie in the current folder: what is no file of views by its name is a module first.
        let path = if self.path.ends_with(".natvis") { self.path } else { beside_module(self.path, debugger) };
        let text = script_file::read(&path, debugger)?;
        let file = ViewFile::parse(&path, &text).map_err(|reason| CommandError::File { path, reason })?;
        debugger.engine.load_views(file);
        debugger.engine.view_files().last().cloned().ok_or_else(|| CommandError::invalid("no views were loaded"))
    }

    fn render(data: &Rc<ViewFile>, text: &mut String) {
        line!(text, "Loaded {}", describe(data));
        problems(data, text);
    }
}

/// The file beside the image of a module, if there is a module of that name; else the path as it is.
fn beside_module(path: String, debugger: &mut Debugger) -> String {
    let found = debugger.engine.modules_named(&path).unwrap_or_default();
    found.first().map_or(path, |module| format!("{}.natvis", module.path))
}

fn describe(file: &ViewFile) -> String {
    let count = file.len();
    format!("{count} view{} from {}", if count == 1 { "" } else { "s" }, file.path)
}

fn problems(file: &ViewFile, text: &mut String) {
    for problem in &file.problems {
        line!(text, "    line {}: {}", problem.line, problem.problem);
    }
}

impl Json for ViewFile {
    fn json(&self) -> Value {
        let problems = self.problems.iter().map(|one| json!({ "line": one.line, "problem": one.problem }));
        json!({ "path": self.path, "views": self.len(), "problems": problems.collect::<Vec<_>>() })
    }
}

/// Lists the files of views.
#[derive(Debug, Clone)]
pub struct ListViews;

/// A file of views that is loaded.
#[derive(Debug, Clone)]
pub struct LoadedViews {
    /// The file.
    pub file: Rc<ViewFile>,
    /// Views that were not for objects of their types.
    pub failures: Vec<UnusedView>,
}

/// A view that was not for objects of a type.
#[derive(Debug, Clone)]
pub struct UnusedView {
    /// Line of the file, from 1.
    pub line: u32,
    /// The type.
    pub of: String,
    /// Why not.
    pub reason: String,
}

fields!(LoadedViews { file, failures });
fields!(UnusedView { line, of, reason });

impl Command for ListViews {
    type Data = Vec<LoadedViews>;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<ListViews, CommandError> {
        no_more(arguments)?;
        Ok(ListViews)
    }

    fn run(self, debugger: &mut Debugger) -> Result<Vec<LoadedViews>, CommandError> {
        let engine = &debugger.engine;
        let failures = |path: &str| {
            let of_file = engine.view_failures().filter(|failure| failure.path == path);
            of_file
                .map(|failure| UnusedView {
                    line: failure.line,
                    of: failure.of.to_owned(),
                    reason: failure.reason.to_owned(),
                })
                .collect()
        };
        let all = engine.view_files().iter();
        Ok(all.map(|file| LoadedViews { file: file.clone(), failures: failures(&file.path) }).collect())
    }

    fn render(data: &Vec<LoadedViews>, text: &mut String) {
        if data.is_empty() {
            line!(text, "No views are loaded.");
        }
        for LoadedViews { file, failures } in data {
            line!(text, "{}", describe(file));
            problems(file, text);
            for UnusedView { line, of, reason } in failures {
                line!(text, "    line {line}: not used for {of}: {reason}");
            }
        }
    }
}

/// Unloads a file of views.
#[derive(Debug, Clone)]
pub struct UnloadViews {
    path: String,
}

impl Command for UnloadViews {
    type Data = usize;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<UnloadViews, CommandError> {
        Ok(UnloadViews { path: path(arguments)? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<usize, CommandError> {
        match debugger.engine.unload_views(&self.path) {
            0 => Err(CommandError::invalid(format!(
                "no views were loaded from '{}'; .nvlist lists the files",
                self.path
            ))),
            count => Ok(count),
        }
    }

    fn render(data: &usize, text: &mut String) {
        unloaded(*data, text);
    }
}

fn unloaded(count: usize, text: &mut String) {
    line!(text, "Unloaded {count} file{} of views", if count == 1 { "" } else { "s" });
}

/// Unloads all files of views.
#[derive(Debug, Clone)]
pub struct UnloadAllViews;

impl Command for UnloadAllViews {
    type Data = usize;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<UnloadAllViews, CommandError> {
        no_more(arguments)?;
        Ok(UnloadAllViews)
    }

    fn run(self, debugger: &mut Debugger) -> Result<usize, CommandError> {
        Ok(debugger.engine.unload_all_views())
    }

    fn render(data: &usize, text: &mut String) {
        unloaded(*data, text);
    }
}
