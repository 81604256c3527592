//! `.sympath`, `.srcpath`, `.reload`, `!sym`: where symbols and sources come from.

use outpost_engine::ReloadOptions;

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &[".sympath", ".sympath+"],
        syntax: ".sympath[+] [Path[;...]]",
        summary: "Show or set where symbols are looked for",
        details: "Directories; DebugInfoD*URL[*URL...], debuginfod servers, all asked at once; srv*[Directory*...]URL, one of either \
                  kind, with its own cache; cache*Directory, where the servers behind it keep what they send. Separated by ;, \
                  tried in order. DebugInfoD* alone means those in DEBUGINFOD_URLS, which are in the path at first. + adds \
                  behind what is there. Nothing is loaded until it is needed; .reload looks anew.",
        example: ".sympath+ /build/debug",
        group: Group::Symbols,
        eats_line: true,
        run: carry_out::<SymbolPath>,
    },
    CommandEntry {
        names: &[".srcpath", ".srcpath+", ".lsrcpath", ".lsrcpath+"],
        syntax: ".srcpath[+] [Path[;...]]",
        summary: "Show or set where sources are looked for",
        details: "Directories, in which ever shorter ends of the recorded path are tried, and from=>to items that replace \
                  the start of a path; separated by ;. After those the recorded path itself is looked at, here and on the \
                  target's machine, where a process in a container has its own. Then the tree may have moved: it is looked for in \
                  the debugger's directory, in those of the program and of libraries, in all that these are in, in the git \
                  checkout there (by its index), one level below the debugger's directory, the directories of this path and \
                  /usr/src, in cargo's registry and in the sources of Rust's toolchains. A file counts there if it has the \
                  checksum of debug info, or if two thirds of the other files of its tree are there, too; !sourcemaps then has \
                  what became of the start of the path, and other files are found by it first. Last, the servers of the symbol \
                  path are asked. lsf says by which rule a file was found.",
        example: ".srcpath+ /build/src",
        group: Group::Symbols,
        eats_line: true,
        run: carry_out::<SourcePath>,
    },
    CommandEntry {
        names: &[".symfix", ".symfix+"],
        syntax: ".symfix[+] [Directory]",
        summary: "Look for symbols where they usually are",
        details: "On this machine, and then from the servers that DEBUGINFOD_URLS names, or the public one of elfutils. What \
                  is fetched is kept in the directory, or in the user's cache. With + they are added to the path.",
        example: ".symfix+ /tmp/symbols",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<UsualPath>,
    },
    CommandEntry {
        names: &[".srcfix", ".srcfix+"],
        syntax: ".srcfix[+] [Path[;...]]",
        summary: "Look for sources where they usually are, and in some directories before",
        details: "At the recorded path, here and on the target's machine, then on the servers of the symbol path, to which those of \
                  DEBUGINFOD_URLS are added if there are none in it. With + what .srcpath has said before still counts.",
        example: ".srcfix+ /build/src",
        group: Group::Symbols,
        eats_line: true,
        run: carry_out::<UsualSources>,
    },
    CommandEntry {
        names: &[".srcnoisy"],
        syntax: ".srcnoisy [0|1]",
        summary: "Tell where source files are found, or not",
        details: "With 1 each look for a source file says where it was found and by which rule, or where it was looked for in vain.",
        example: ".srcnoisy",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<SourceNoise>,
    },
    CommandEntry {
        names: &[".exepath", ".exepath+"],
        syntax: ".exepath[+] [Path[;...]]",
        summary: "Show or set where programs and libraries are looked for",
        details: "When a dump holds no code of theirs, or the target's machine has files that cannot be read. Directories, \
                  separated by ;. They are a part of the symbol path.",
        example: ".exepath+ /srv/images",
        group: Group::Symbols,
        eats_line: true,
        run: carry_out::<ExecutablePath>,
    },
    CommandEntry {
        names: &[".reload"],
        syntax: ".reload [/f] [/i] [/v] [Module]",
        summary: "Forget symbols and look for them anew",
        details: "When they are needed next, or with /f now. /i, /n, /o and /v are taken and change nothing: a file whose build ID \
                  is another is never used. /u and /s need a kernel target.",
        example: ".reload /f libc_so",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<Reload>,
    },
    CommandEntry {
        names: &["ld"],
        syntax: "ld Module",
        summary: "Load a module's symbols now",
        details: "At once, rather than when they are needed first. * means all modules.",
        example: "ld libc_so",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<Load>,
    },
    CommandEntry {
        names: &["!sym"],
        syntax: "!sym noisy|quiet",
        summary: "Tell what symbol loading does, or not",
        details: "With noisy, .reload and ld also show the places that were looked into.",
        example: "!sym noisy",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<Noise>,
    },
];

/// A path as it was given: the rest of the line, `;` included.
fn path(arguments: &mut Arguments<'_>, old: &str) -> Option<String> {
    let adds = arguments.name.ends_with('+') || arguments.take("+");
    let given = arguments.take_rest();
    match (given, adds) {
        ("", _) => None,
        (given, false) => Some(given.to_owned()),
        (given, true) if old.is_empty() => Some(given.to_owned()),
        (given, true) => Some(format!("{old};{given}")),
    }
}

/// Shows or sets the symbol path.
#[derive(Debug, Clone)]
pub struct SymbolPath {
    path: Option<String>,
}

impl Command for SymbolPath {
    type Data = String;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<SymbolPath, CommandError> {
        let old = debugger.engine.symbol_path();
        Ok(SymbolPath { path: path(arguments, &old) })
    }

    fn run(self, debugger: &mut Debugger) -> Result<String, CommandError> {
        if let Some(path) = self.path {
            debugger.engine.set_symbol_path(&path);
        }
        Ok(debugger.engine.symbol_path())
    }

    fn render(data: &String, text: &mut String) {
        match data.as_str() {
            "" => line!(text, "Symbol search path is: <empty>"),
            path => line!(text, "Symbol search path is: {path}"),
        }
    }
}

/// Sets the usual symbol path.
#[derive(Debug, Clone)]
pub struct UsualPath {
    adds: bool,
    directory: String,
}

impl Command for UsualPath {
    type Data = String;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<UsualPath, CommandError> {
        let adds = arguments.name.ends_with('+');
        Ok(UsualPath { adds, directory: arguments.take_rest().trim_matches('"').to_owned() })
    }

    fn run(self, debugger: &mut Debugger) -> Result<String, CommandError> {
        let old = debugger.engine.symbol_path();
        let directory = Some(self.directory).filter(|directory| !directory.is_empty());
        debugger.engine.set_usual_symbol_path(directory.map(Into::into));
        if self.adds && !old.is_empty() {
            let usual = debugger.engine.symbol_path();
            debugger.engine.set_symbol_path(&format!("{old};{usual}"));
        }
        Ok(debugger.engine.symbol_path())
    }

    fn render(data: &String, text: &mut String) {
        SymbolPath::render(data, text);
    }
}

/// Shows or sets where programs and libraries are.
#[derive(Debug, Clone)]
pub struct ExecutablePath {
    path: Option<String>,
}

impl Command for ExecutablePath {
    type Data = String;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<ExecutablePath, CommandError> {
        let old = debugger.settings.executable_path.clone();
        Ok(ExecutablePath { path: path(arguments, &old) })
    }

    fn run(self, debugger: &mut Debugger) -> Result<String, CommandError> {
        if let Some(path) = self.path {
            let old = std::mem::replace(&mut debugger.settings.executable_path, path.clone());
            let all = debugger.engine.symbol_path();
            let is_kept = |item: &&str| !item.is_empty() && !old.split(';').any(|gone| gone == *item);
            let items: Vec<&str> = all.split(';').filter(is_kept).chain([path.as_str()]).collect();
            debugger.engine.set_symbol_path(&items.join(";"));
        }
        Ok(debugger.settings.executable_path.clone())
    }

    fn render(data: &String, text: &mut String) {
        match data.as_str() {
            "" => line!(text, "Executable image search path is: <empty>"),
            path => line!(text, "Executable image search path is: {path}"),
        }
    }
}

/// Shows or sets the source path.
#[derive(Debug, Clone)]
pub struct SourcePath {
    path: Option<String>,
}

impl Command for SourcePath {
    type Data = String;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<SourcePath, CommandError> {
        let old = debugger.engine.source_path().to_owned();
        Ok(SourcePath { path: path(arguments, &old) })
    }

    fn run(self, debugger: &mut Debugger) -> Result<String, CommandError> {
        if let Some(path) = self.path {
            debugger.engine.set_source_path(&path);
        }
        Ok(debugger.engine.source_path().to_owned())
    }

    fn render(data: &String, text: &mut String) {
        match data.as_str() {
            "" => line!(text, "Source search path is: <empty>"),
            path => line!(text, "Source search path is: {path}"),
        }
    }
}

/// Sets the usual source path.
#[derive(Debug, Clone)]
pub struct UsualSources {
    path: Option<String>,
}

impl Command for UsualSources {
    type Data = String;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<UsualSources, CommandError> {
        let old = if arguments.name.ends_with('+') { debugger.engine.source_path().to_owned() } else { String::new() };
        let path = path(arguments, &old);
        Ok(UsualSources { path: path.or_else(|| (!old.is_empty()).then_some(old)) })
    }

    fn run(self, debugger: &mut Debugger) -> Result<String, CommandError> {
        let symbols = debugger.engine.symbol_path();
        let has_servers = |item: &str| item.starts_with("DebugInfoD*") || item.starts_with("srv*");
        if !symbols.split(';').any(has_servers) {
            let separator = if symbols.is_empty() { "" } else { ";" };
            debugger.engine.set_symbol_path(&format!("{symbols}{separator}DebugInfoD*"));
        }
        debugger.engine.set_source_path(&self.path.unwrap_or_default());
        Ok(debugger.engine.source_path().to_owned())
    }

    fn render(data: &String, text: &mut String) {
        SourcePath::render(data, text);
    }
}

/// Sets whether the finding of sources is told.
#[derive(Debug, Clone)]
pub struct SourceNoise {
    noisy: Option<bool>,
}

impl Command for SourceNoise {
    type Data = bool;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<SourceNoise, CommandError> {
        Ok(SourceNoise { noisy: super::restrict::switch(arguments, debugger)? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<bool, CommandError> {
        let setting = &mut debugger.settings.noisy_sources;
        *setting = self.noisy.unwrap_or(*setting);
        let noisy = *setting;
        debugger.engine.tell_sources(noisy);
        Ok(noisy)
    }

    fn render(data: &bool, text: &mut String) {
        line!(text, "Noisy source output: {}", if *data { "on" } else { "off" });
    }
}

/// Reloads.
#[derive(Debug, Clone)]
pub struct Reload {
    options: ReloadOptions,
}

/// What symbol loading has to say: lines for each module.
pub type LoadReport = Vec<String>;

impl Command for Reload {
    type Data = LoadReport;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<Reload, CommandError> {
        let mut options = ReloadOptions::default();
        while let Some(switch) = arguments.take_switch() {
            match switch {
                'f' => options.now = true,
                'i' | 'v' | 'n' | 'o' => {}
                'u' | 's' => {
                    return Err(CommandError::unsupported(format!(".reload /{switch}"), "it needs a kernel target"));
                }
                other => return Err(arguments.usage(format!("unknown option /{other}"))),
            }
        }
        options.module = arguments.word().map(|word| word.split('=').next().unwrap_or(word).to_owned());
        Ok(Reload { options })
    }

    fn run(self, debugger: &mut Debugger) -> Result<LoadReport, CommandError> {
        debugger.engine.reload(&self.options)?;
        if self.options.now { report(self.options.module.as_deref(), debugger) } else { Ok(Vec::new()) }
    }

    fn render(data: &LoadReport, text: &mut String) {
        data.iter().for_each(|row| line!(text, "{row}"));
    }
}

/// What was found for modules, where it was asked for or where something is missing.
fn report(name: Option<&str>, debugger: &mut Debugger) -> Result<LoadReport, CommandError> {
    let process = debugger.engine.current_process()?;
    let modules = match name {
        Some(name) => debugger.engine.modules_named(name)?,
        None => debugger.engine.modules(process)?,
    };
    let noisy = debugger.settings.noisy;
    let mut rows = Vec::new();
    for module in modules {
        let found = match module.symbol_file.as_str() {
            "" => String::new(),
            file => format!("  {file}"),
        };
        if noisy || name.is_some() || !module.problems.is_empty() {
            rows.push(format!("{}: {}{found}", module.name, super::modules::status(module.status)));
        }
        if noisy || !module.problems.is_empty() {
            rows.extend(module.problems.iter().map(|problem| format!("    {problem}")));
        }
        if noisy && let Some(search) = debugger.engine.symbol_search(&module.name)? {
            rows.extend(search.steps.iter().map(|step| format!("    {step}")));
        }
    }
    Ok(rows)
}

/// Loads one module's symbols.
#[derive(Debug, Clone)]
pub struct Load {
    module: String,
}

impl Command for Load {
    type Data = LoadReport;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<Load, CommandError> {
        let module = arguments.word().ok_or_else(|| arguments.usage("the module is missing"))?.to_owned();
        Ok(Load { module })
    }

    fn run(self, debugger: &mut Debugger) -> Result<LoadReport, CommandError> {
        let module = (self.module != "*").then_some(self.module);
        debugger.engine.reload(&ReloadOptions { module: module.clone(), now: true })?;
        report(module.as_deref(), debugger)
    }

    fn render(data: &LoadReport, text: &mut String) {
        data.iter().for_each(|row| line!(text, "{row}"));
    }
}

/// Sets the noise.
#[derive(Debug, Clone)]
pub struct Noise {
    noisy: Option<bool>,
}

impl Command for Noise {
    type Data = bool;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<Noise, CommandError> {
        let noisy = match arguments.take_rest() {
            "" => None,
            "noisy" => Some(true),
            "quiet" => Some(false),
            other => return Err(arguments.usage(format!("unknown mode '{other}'"))),
        };
        Ok(Noise { noisy })
    }

    fn run(self, debugger: &mut Debugger) -> Result<bool, CommandError> {
        if let Some(noisy) = self.noisy {
            debugger.settings.noisy = noisy;
        }
        Ok(debugger.settings.noisy)
    }

    fn render(data: &bool, text: &mut String) {
        line!(text, "{} mode", if *data { "noisy" } else { "quiet" });
    }
}
