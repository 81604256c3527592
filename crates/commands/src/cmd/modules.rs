//! `lm`: modules.

use outpost_base::Va;
use outpost_engine::values::Wildcard;
use outpost_engine::{ModuleSummary, SymbolState};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["lm"],
    syntax: "lm[v][f][l][e][1m][sm] [a Address] [m Pattern|M PathPattern]",
    summary: "List modules",
    details: "v shows details, f paths, l only those with symbols loaded, e only those with symbol problems, 1m names only, \
              sm sorts by name. a lists the module around an address, m those whose name matches, M those whose path does.",
    example: "lmv m libc*",
    group: Group::Symbols,
    eats_line: false,
    run: carry_out::<Modules>,
}];

/// Lists modules.
#[derive(Debug, Clone, Default)]
pub struct Modules {
    verbose: bool,
    paths: bool,
    loaded_only: bool,
    problems_only: bool,
    names_only: bool,
    by_name: bool,
    around: Option<Va>,
    name: Option<String>,
    path: Option<String>,
}

/// Modules as they are to be shown.
#[derive(Debug, Clone)]
pub struct ListedModules {
    /// The modules.
    pub modules: Vec<ModuleSummary>,
    verbose: bool,
    paths: bool,
    names_only: bool,
}

fields!(ListedModules { modules, .. });

impl Command for Modules {
    type Data = ListedModules;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Modules, CommandError> {
        let mut modules = Modules::default();
        let mut options = arguments.name.get(2..).unwrap_or_default();
        let mut pattern_follows = None;
        while let Some(option) = options.chars().next() {
            if let Some(rest) = options.strip_prefix("1m") {
                modules.names_only = true;
                options = rest;
                continue;
            }
            if let Some(rest) = options.strip_prefix("sm") {
                modules.by_name = true;
                options = rest;
                continue;
            }
            match option {
                'v' => modules.verbose = true,
                'f' => modules.paths = true,
                'l' => modules.loaded_only = true,
                'e' => modules.problems_only = true,
                'a' | 'm' => pattern_follows = Some(option),
                _ => {}
            }
            options = &options[1..];
        }
        loop {
            let kind = match pattern_follows.take() {
                Some(kind) => kind,
                None if arguments.take_word("a") => 'a',
                None if arguments.take_word("m") => 'm',
                None if arguments.take_word("M") => 'M',
                None => break,
            };
            match kind {
                'a' => modules.around = Some(arguments.address(debugger)?),
                // A file's name stands in quotes; a module of that file is meant, whatever it is called here.
                _ => match arguments.quoted() {
                    Some(file) => modules.path = Some(file_pattern(&file)),
                    None if kind == 'm' => modules.name = arguments.word().map(str::to_owned),
                    None => modules.path = arguments.word().map(str::to_owned),
                },
            }
        }
        Ok(modules)
    }

    fn run(self, debugger: &mut Debugger) -> Result<ListedModules, CommandError> {
        let process = debugger.engine.current_process()?;
        // Details and problems are known only once the symbols were looked for.
        let mut all = debugger.engine.modules(process)?;
        let name = self.name.as_deref().map(Wildcard::new);
        let path = self.path.as_deref().map(Wildcard::new);
        all.retain(|module| {
            self.around.is_none_or(|at| module.range.contains(at))
                && name.as_ref().is_none_or(|name| name.matches(&module.name))
                && path.as_ref().is_none_or(|path| path.matches(&module.path))
                && (!self.loaded_only || module.status != SymbolState::Deferred)
                && (!self.problems_only || !module.problems.is_empty())
        });
        if self.by_name {
            all.sort_by(|one, other| one.name.cmp(&other.name));
        }
        Ok(ListedModules { modules: all, verbose: self.verbose, paths: self.paths, names_only: self.names_only })
    }

    fn render(data: &ListedModules, text: &mut String) {
        if data.names_only {
            data.modules.iter().for_each(|module| line!(text, "{}", module.name));
            return;
        }
        line!(text, "start             end                 module name");
        for module in &data.modules {
            let range = format!("{} {}   {:<10}", module.range.start, module.range.end, module.name);
            if data.paths {
                line!(text, "{range} {}", module.path);
                continue;
            }
            match module.symbol_file.as_str() {
                "" => line!(text, "{range} ({})", status(module.status)),
                file => line!(text, "{range} ({})  {file}", status(module.status)),
            }
            if data.verbose {
                details(module, text);
            }
        }
    }
}

/// How much is known, in the words of `lm`.
pub(super) fn status(state: SymbolState) -> &'static str {
    match state {
        SymbolState::Deferred => "deferred",
        SymbolState::Dwarf => "DWARF private",
        SymbolState::Symtab => "symtab",
        SymbolState::Dynsym => "dynsym",
        SymbolState::None => "none",
    }
}

fn details(module: &ModuleSummary, text: &mut String) {
    line!(text, "    Image path: {}", module.path);
    line!(text, "    Load bias:  {}", crate::text::hex64(module.bias.0));
    match &module.build_id {
        Some(id) => line!(text, "    Build ID:   {id}"),
        None => line!(text, "    Build ID:   none"),
    }
    line!(text, "    Size:       {:#x}", module.range.len());
    for problem in &module.problems {
        line!(text, "    Problem:    {problem}");
    }
}

/// A pattern for paths that a file's name, or the end of a path, stands for.
fn file_pattern(file: &str) -> String {
    let literal: String =
        file.chars().flat_map(|c| "#+[]\\".contains(c).then_some('\\').into_iter().chain([c])).collect();
    if file.starts_with('/') { literal } else { format!("*/{literal}") }
}

#[cfg(test)]
mod tests {
    use outpost_base::{LoadBias, VaRange};

    use super::*;

    #[test]
    fn rows_as_scripts_expect_them() {
        let module = |name: &str, start: u64, end: u64, status, file: &str| ModuleSummary {
            name: name.into(),
            range: VaRange { start: Va(start), end: Va(end) },
            bias: LoadBias(start),
            path: "/opt/svc/bin/svc".into(),
            build_id: None,
            status,
            symbol_file: file.into(),
            problems: Vec::new(),
            is_main: true,
        };
        let data = ListedModules {
            modules: vec![
                module("svc", 0x5555_5555_4000, 0x5555_5559_0000, SymbolState::Dwarf, "/opt/svc/bin/svc"),
                module("libc_so", 0x7fff_f7c0_0000, 0x7fff_f7e0_0000, SymbolState::Deferred, ""),
            ],
            verbose: false,
            paths: false,
            names_only: false,
        };
        let mut text = String::new();
        Modules::render(&data, &mut text);
        let expected = "start             end                 module name\n\
                        00005555`55554000 00005555`55590000   svc        (DWARF private)  /opt/svc/bin/svc\n\
                        00007fff`f7c00000 00007fff`f7e00000   libc_so    (deferred)\n";
        assert_eq!(text, expected);
    }
}
