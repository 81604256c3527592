//! `ls`, `lsa`, `l+`, `l-`, `.lines`: sources.

use std::path::Path;

use outpost_base::Va;
use outpost_engine::{SourceFile, SourceGrounds, SourceLocation, SourceProof, SourceRule};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value, fields, json};
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["ls"],
        syntax: "ls [.] [First] [, Count]",
        summary: "List source lines",
        details: "Of the current file, on from where the last listing ended, at first around the current line. . begins at \
                  the current line. First and Count are decimal.",
        example: "ls 40,10",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<ListSource>,
    },
    CommandEntry {
        names: &["lsa"],
        syntax: "lsa Address [, First [, Count]]",
        summary: "List source lines around an address",
        details: "First is relative to the address's line.",
        example: "lsa main",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<ListAround>,
    },
    CommandEntry {
        names: &["lsf"],
        syntax: "lsf File",
        summary: "Choose the file that ls lists",
        details: "As a path or as the debug information names it; ls goes on in it. Says where it was found, and how: by the source \
                  path, at the recorded path here or on the target's machine, where its tree has moved to (.srcpath has the \
                  rules), or from a server of the symbol path; and whether it is the file the program was built of, where debug \
                  info has its checksum (DWARF 5 of clang), or how many other files of its tree are there, too.",
        example: "lsf src/list.c",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<ChooseFile>,
    },
    CommandEntry {
        names: &["lsf-"],
        syntax: "lsf- File",
        summary: "Forget a source file",
        details: "As lsf names it. It is looked for and read anew when it is needed.",
        example: "lsf- src/list.c",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<ForgetFile>,
    },
    CommandEntry {
        names: &["lsp"],
        syntax: "lsp [-a] [Before [After]]",
        summary: "Show or set how many source lines stops show before and after the current one",
        details: "0 and 0 at first; one number is for both. They are shown after l+s. Numbers are decimal. -a is taken and                   changes nothing.",
        example: "l+s; lsp 2 3",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<StopLines>,
    },
    CommandEntry {
        names: &["lse"],
        syntax: "lse",
        summary: "Open the current source line in an editor",
        details: "The one that VISUAL or EDITOR names, on the debugger's machine; it is called with +LINE and the file, which is \
                  waited for. After .noshell it is refused.",
        example: "lse",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<Edit>,
    },
    CommandEntry {
        names: &["lsc"],
        syntax: "lsc",
        summary: "Show the file that ls lists",
        details: "The file and the line where ls would go on; where the file was found, and how, as lsf says it.",
        example: "lsc",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<CurrentFile>,
    },
    CommandEntry {
        names: &["l+", "l-"],
        syntax: "l+|l- [l|o|s|t|*]",
        summary: "Set source options",
        details: "t steps by source line, l shows line numbers and s the text of the line at stops, o shows nothing else \
                  there. Without an option: the settings.",
        example: "l+t; l+s",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<SourceOptions>,
    },
    CommandEntry {
        names: &[".lines"],
        syntax: ".lines [-e|-d|-t]",
        summary: "Switch source lines on or off",
        details: "In stacks, stops and listings. On at first. Without an option: switches.",
        example: ".lines -d",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<Lines>,
    },
];

/// Lines listed by default.
const COUNT: u32 = 10;
/// Most lines of one command.
const LIMIT: u32 = 10_000;

/// Lists lines.
#[derive(Debug, Clone)]
pub struct ListSource {
    first: Option<u32>,
    at_current: bool,
    count: u32,
}

/// Lines of a file.
#[derive(Debug, Clone)]
pub struct SourceLines {
    /// Its path as recorded.
    pub file: String,
    /// Number and text of each.
    pub lines: Vec<(u32, String)>,
    /// The line of the scope's instruction, if it is in this file.
    pub current: Option<u32>,
    /// Where it was found and how, if that is not simply where it was compiled or where the user said.
    pub found: Option<String>,
    /// That it is not the file that the program was built of.
    pub warning: Option<String>,
}

fields!(SourceLines { file, lines, current, found, warning });

/// The line of the selected frame.
fn current_location(debugger: &mut Debugger) -> Option<SourceLocation> {
    debugger.engine.scope_frame().ok()?.source
}

fn lines_from(debugger: &mut Debugger, file: &str, first: u32, count: u32) -> Result<SourceLines, CommandError> {
    let current = current_location(debugger).filter(|location| location.file == file).map(|location| location.line);
    let source = debugger.engine.source_file(file)?;
    let first = first.max(1);
    let numbered = source.lines.iter().zip(1u32..).map(|(text, number)| (number, text.clone()));
    let lines: Vec<_> = numbered.skip(first as usize - 1).take(count.min(LIMIT) as usize).collect();
    if lines.is_empty() {
        let reason = format!("{file} has {} lines", source.lines.len());
        return Err(CommandError::Invalid { reason });
    }
    let next = lines.last().map_or(first, |(number, _)| number + 1);
    debugger.continuations.source = Some((file.to_owned(), next));
    Ok(SourceLines { file: file.to_owned(), lines, current, found: found_where(&source), warning: source.warning() })
}

/// Where a file was found and how, if that is not simply where it was compiled or where the user said.
fn found_where(source: &SourceFile) -> Option<String> {
    let is_place = matches!(source.rule, SourceRule::SourcePath | SourceRule::Recorded);
    let is_usual = is_place && !matches!(source.grounds, SourceGrounds::Name | SourceGrounds::Learnt);
    (!is_usual).then(|| format!("{} ({})", source.found.display(), source.how()))
}

/// What must be known of a file before its lines are believed: that it is another, and where it comes from.
pub(crate) fn render_origin(source: &SourceFile, text: &mut String) {
    render_notes(found_where(source).as_deref(), source.warning().as_deref(), text);
}

fn render_notes(found: Option<&str>, warning: Option<&str>, text: &mut String) {
    found.into_iter().for_each(|found| line!(text, "{found}"));
    warning.into_iter().for_each(|warning| line!(text, "WARNING: {warning}"));
}

fn render_lines(data: &SourceLines, text: &mut String) {
    render_notes(data.found.as_deref(), data.warning.as_deref(), text);
    for (number, source) in &data.lines {
        let mark = if data.current == Some(*number) { '>' } else { ' ' };
        line!(text, "{mark}{number:5}: {source}");
    }
}

impl Command for ListSource {
    type Data = SourceLines;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<ListSource, CommandError> {
        let at_current = arguments.take(".");
        let first = arguments.decimal();
        let count = if arguments.take(",") { arguments.decimal() } else { None };
        Ok(ListSource { first, at_current, count: count.unwrap_or(COUNT) })
    }

    fn run(self, debugger: &mut Debugger) -> Result<SourceLines, CommandError> {
        let continued = debugger.continuations.source.clone();
        let current = current_location(debugger);
        let nothing = || CommandError::invalid("there is no current source file; lsf chooses one");
        let (file, line) = match (self.at_current, self.first, continued) {
            (true, _, _) => current.map(|location| (location.file, location.line)).ok_or_else(nothing)?,
            (false, None, Some(next)) => next,
            (false, None, None) => {
                let location = current.ok_or_else(nothing)?;
                (location.file, location.line.saturating_sub(COUNT / 2))
            }
            (false, Some(first), continued) => {
                let file = continued.map(|(file, _)| file).or(current.map(|location| location.file));
                (file.ok_or_else(nothing)?, first)
            }
        };
        lines_from(debugger, &file, line, self.count)
    }

    fn render(data: &SourceLines, text: &mut String) {
        render_lines(data, text);
    }
}

/// Lists lines around an address.
#[derive(Debug, Clone)]
pub struct ListAround {
    at: Va,
    first: i64,
    count: u32,
}

impl Command for ListAround {
    type Data = SourceLines;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<ListAround, CommandError> {
        let at = arguments.code_address(debugger)?;
        arguments.take(",");
        let negative = arguments.take("-");
        let first = arguments.decimal().map(i64::from).map(|first| if negative { -first } else { first });
        let count = if arguments.take(",") { arguments.decimal() } else { None };
        Ok(ListAround { at, first: first.unwrap_or(-i64::from(COUNT / 2)), count: count.unwrap_or(COUNT) })
    }

    fn run(self, debugger: &mut Debugger) -> Result<SourceLines, CommandError> {
        let location = debugger.engine.line_at(self.at);
        let location =
            location.ok_or_else(|| CommandError::invalid(format!("no source line is known at {}", self.at)))?;
        let first = (i64::from(location.line) + self.first).clamp(1, i64::from(u32::MAX)) as u32;
        let mut shown = lines_from(debugger, &location.file, first, self.count)?;
        shown.current = Some(location.line);
        Ok(shown)
    }

    fn render(data: &SourceLines, text: &mut String) {
        render_lines(data, text);
    }
}

/// Chooses a file.
#[derive(Debug, Clone)]
pub struct ChooseFile {
    file: String,
}

/// The file that was chosen.
#[derive(Debug, Clone)]
pub struct ChosenFile {
    /// Its path as recorded.
    pub file: String,
    /// Where it was found.
    pub found: String,
    /// By which rule.
    pub rule: String,
    /// Whether it has the checksum that debug info has for it.
    pub is_proven: bool,
    /// That it is not the file that the program was built of.
    pub warning: Option<String>,
}

fields!(ChosenFile { file, found, rule, is_proven, warning });

impl Command for ChooseFile {
    type Data = ChosenFile;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<ChooseFile, CommandError> {
        match arguments.take_rest() {
            "" => Err(arguments.usage("the file is missing")),
            file => Ok(ChooseFile { file: file.trim_matches('"').to_owned() }),
        }
    }

    fn run(self, debugger: &mut Debugger) -> Result<ChosenFile, CommandError> {
        let file = debugger.engine.source_file(&self.file)?;
        debugger.continuations.source = Some((file.recorded.clone(), 1));
        Ok(chosen(&file))
    }

    fn render(data: &ChosenFile, text: &mut String) {
        line!(text, "Current: {} ({})", data.found, how(data));
        render_notes(None, data.warning.as_deref(), text);
    }
}

fn chosen(file: &SourceFile) -> ChosenFile {
    ChosenFile {
        file: file.recorded.clone(),
        found: file.found.display().to_string(),
        rule: file.how(),
        is_proven: file.proof == SourceProof::Checksum,
        warning: file.warning(),
    }
}

/// By which rule a file was found, and what that proves.
fn how(file: &ChosenFile) -> String {
    let proof = if file.is_proven { "; its checksum is that of the program's source" } else { "" };
    format!("{}{proof}", file.rule)
}

/// Shows the current file.
#[derive(Debug, Clone)]
pub struct CurrentFile;

/// The file that `ls` lists.
#[derive(Debug, Clone)]
pub struct CurrentSource {
    /// Its path as recorded.
    pub file: String,
    /// The line where `ls` would go on, from 1.
    pub line: u32,
    /// Where it was found, and by which rule.
    pub found: Option<ChosenFile>,
    /// Why it was not.
    pub missing: Option<String>,
}

fields!(CurrentSource { file, line, found, missing });

impl Command for CurrentFile {
    type Data = Option<CurrentSource>;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<CurrentFile, CommandError> {
        Ok(CurrentFile)
    }

    fn run(self, debugger: &mut Debugger) -> Result<Self::Data, CommandError> {
        let current = current_location(debugger).map(|location| (location.file, location.line));
        let Some((file, line)) = debugger.continuations.source.clone().or(current) else { return Ok(None) };
        let (found, missing) = match debugger.engine.source_file(&file) {
            Ok(source) => (Some(chosen(&source)), None),
            Err(error) => (None, Some(CommandError::from(error).to_string())),
        };
        Ok(Some(CurrentSource { file, line, found, missing }))
    }

    fn render(data: &Self::Data, text: &mut String) {
        let Some(CurrentSource { file, line, found, missing }) = data else {
            line!(text, "Current: <none>");
            return;
        };
        match found {
            Some(found) => {
                line!(text, "Current: {}({line}) ({})", found.found, how(found));
                render_notes(None, found.warning.as_deref(), text);
            }
            None => line!(text, "Current: {file}({line}) ({})", missing.as_deref().unwrap_or("not found")),
        }
    }
}

/// Forgets a file.
#[derive(Debug, Clone)]
pub struct ForgetFile {
    file: String,
}

impl Command for ForgetFile {
    type Data = ();

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<ForgetFile, CommandError> {
        match arguments.take_rest() {
            "" => Err(arguments.usage("the file is missing")),
            file => Ok(ForgetFile { file: file.trim_matches('"').to_owned() }),
        }
    }

    fn run(self, debugger: &mut Debugger) -> Result<(), CommandError> {
        if !debugger.engine.forget_source_file(&self.file) {
            return Err(CommandError::File { path: self.file, reason: "it is not loaded".into() });
        }
        debugger.continuations.source.take_if(|(file, _)| Path::new(file).ends_with(&self.file));
        Ok(())
    }

    fn render((): &(), _: &mut String) {}
}

/// Shows or sets how many lines stops show.
#[derive(Debug, Clone)]
pub struct StopLines {
    lines: Option<(u32, u32)>,
}

/// How many lines stops show around the current one.
#[derive(Debug, Clone, Copy)]
pub struct LinesAround {
    /// Before it.
    pub before: u32,
    /// After it.
    pub after: u32,
}

fields!(LinesAround { before, after });

impl Command for StopLines {
    type Data = LinesAround;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<StopLines, CommandError> {
        arguments.take_word("-a");
        let before = arguments.decimal();
        let lines = before.map(|before| (before.min(LIMIT), arguments.decimal().unwrap_or(before).min(LIMIT)));
        Ok(StopLines { lines })
    }

    fn run(self, debugger: &mut Debugger) -> Result<LinesAround, CommandError> {
        debugger.settings.source_context = self.lines.unwrap_or(debugger.settings.source_context);
        let (before, after) = debugger.settings.source_context;
        Ok(LinesAround { before, after })
    }

    fn render(data: &LinesAround, text: &mut String) {
        line!(text, "At the prompt, display {} lines before and {} after the current one", data.before, data.after);
    }
}

/// Opens an editor.
#[derive(Debug, Clone)]
pub struct Edit;

/// The file that was edited.
#[derive(Debug, Clone)]
pub struct EditedFile {
    /// Where it is.
    pub file: String,
    /// That it is not the file that the program was built of.
    pub warning: Option<String>,
}

fields!(EditedFile { file, warning });

impl Command for Edit {
    type Data = EditedFile;

    fn parse(_: &mut Arguments<'_>, _: &mut Debugger) -> Result<Edit, CommandError> {
        Ok(Edit)
    }

    fn run(self, debugger: &mut Debugger) -> Result<EditedFile, CommandError> {
        if !debugger.settings.shell_allowed {
            return Err(CommandError::invalid("programs of this machine are disabled (.noshell)"));
        }
        let editor =
            ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok().filter(|word| !word.is_empty()));
        let editor = editor.ok_or_else(|| CommandError::invalid("neither VISUAL nor EDITOR names an editor"))?;
        let location =
            current_location(debugger).ok_or_else(|| CommandError::invalid("there is no current source line"))?;
        let file = debugger.engine.source_file(&location.file)?;
        if file.rule == SourceRule::Target {
            return Err(CommandError::invalid(format!("{} is on the target's machine only", file.found.display())));
        }
        // EDITOR is a command of the shell: it may have options.
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &format!("{editor} \"$@\""), "sh", &format!("+{}", location.line)]).arg(&file.found);
        let failed = |error: std::io::Error| CommandError::File { path: editor.clone(), reason: error.to_string() };
        let status = command.status().map_err(failed)?;
        if !status.success() {
            return Err(CommandError::File { path: editor, reason: status.to_string() });
        }
        Ok(EditedFile { file: file.found.display().to_string(), warning: file.warning() })
    }

    fn render(data: &EditedFile, text: &mut String) {
        render_notes(None, data.warning.as_deref(), text);
    }
}

/// Sets source options.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    option: Option<char>,
    on: bool,
}

/// Source options as they are: t, l, s, o.
#[derive(Debug, Clone, Copy)]
pub struct SourceSettings(pub [(char, &'static str, bool); 4]);

impl Json for SourceSettings {
    fn json(&self) -> Value {
        self.0.iter().map(|(letter, _, on)| (letter.to_string(), json!(on))).collect()
    }
}

impl Command for SourceOptions {
    type Data = Option<SourceSettings>;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<SourceOptions, CommandError> {
        let on = arguments.name.ends_with('+');
        let mut letters = arguments.take_rest().chars();
        match (letters.next(), letters.next()) {
            (None, _) => Ok(SourceOptions { option: None, on }),
            (Some(option @ ('t' | 'l' | 's' | 'o' | '*')), None) => Ok(SourceOptions { option: Some(option), on }),
            _ => Err(arguments.usage("one option at a time: t, l, s, o or *")),
        }
    }

    fn run(self, debugger: &mut Debugger) -> Result<Self::Data, CommandError> {
        let settings = &mut debugger.settings;
        match self.option {
            Some('t') => settings.step_by_line = self.on,
            Some('l') => settings.show_line_number = self.on,
            Some('s') => settings.show_source = self.on,
            Some('o') => settings.source_only = self.on,
            Some(_) => {
                settings.step_by_line = self.on;
                settings.show_line_number = self.on;
                settings.show_source = self.on;
                settings.source_only = self.on;
            }
            None => {}
        }
        let rows = [
            ('t', "Step/trace by source line", settings.step_by_line),
            ('l', "List source line for LN and prompt", settings.show_line_number),
            ('s', "List source code at prompt", settings.show_source),
            ('o', "Only show source code at prompt", settings.source_only),
        ];
        Ok(self.option.is_none().then_some(SourceSettings(rows)))
    }

    fn render(data: &Self::Data, text: &mut String) {
        if let Some(SourceSettings(rows)) = data {
            line!(text, "Source options are:");
            for (letter, words, on) in rows {
                line!(text, "  {letter} {} - {words}", if *on { "on " } else { "off" });
            }
        }
    }
}

/// Switches lines.
#[derive(Debug, Clone)]
pub struct Lines {
    on: Option<bool>,
}

impl Command for Lines {
    type Data = bool;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<Lines, CommandError> {
        let on = match arguments.take_option() {
            Some("e") => Some(true),
            Some("d") => Some(false),
            Some("t") | None => None,
            Some(other) => return Err(arguments.usage(format!("unknown option -{other}"))),
        };
        Ok(Lines { on })
    }

    fn run(self, debugger: &mut Debugger) -> Result<bool, CommandError> {
        debugger.settings.lines = self.on.unwrap_or(!debugger.settings.lines);
        Ok(debugger.settings.lines)
    }

    fn render(data: &bool, text: &mut String) {
        line!(text, "Line number information will {}be loaded", if *data { "" } else { "not " });
    }
}
