//! `!lmi`, `!chksym`, `.fnent`, `.fnret`: what is known of a module, its symbols and a function.

use outpost_base::Va;
use outpost_engine::{ModuleSummary, SourceLocation, SymbolState};

use super::modules::status;
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::symbols::bracketed;
use crate::text::values::one_line;
use crate::text::{line, put};
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["!lmi", "!chksym"],
        syntax: "!lmi|!chksym Module|Address",
        summary: "Show a module with the search for its symbols, and whether they are its own",
        details: "Its symbols are loaded for it. Those of another build are never used: a file belongs to a module if their build \
                  IDs are the same.",
        example: "!lmi libc_so",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<ModuleInfo>,
    },
    CommandEntry {
        names: &[".fnent"],
        syntax: ".fnent Address",
        summary: "Show the function at an address: where it begins and ends, and its source",
        details: "By the symbol that covers the address; parts of a function that a compiler put elsewhere are symbols of \
                  their own.",
        example: ".fnent @rip",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<FunctionEntry>,
    },
    CommandEntry {
        names: &[".fnret"],
        syntax: ".fnret [/s] FunctionAddress [ReturnValue]",
        summary: "Show what a function has returned, by the type that it returns",
        details: "As if it had just come back in the current thread, or had the given value in rax. /s leaves the function and the \
                  type out. gu says so by itself.",
        example: ".fnret main 1",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<FunctionReturn>,
    },
];

/// Shows a module.
#[derive(Debug, Clone)]
pub struct ModuleInfo {
    module: String,
}

/// A module with the search for its symbols.
#[derive(Debug, Clone)]
pub struct ShownModule {
    /// The module.
    pub module: ModuleSummary,
    /// Each place that was looked at, and what came of it.
    pub search: Vec<String>,
}

fields!(ShownModule { module, search });

/// The name of a module that is told by it or by an address in it.
pub(crate) fn module_argument(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<String, CommandError> {
    let rest = arguments.rest();
    let name = rest.split_whitespace().next().ok_or_else(|| arguments.usage("the module is missing"))?;
    if debugger.engine.modules_named(name).is_ok_and(|found| !found.is_empty()) {
        arguments.word();
        return Ok(name.to_owned());
    }
    let at = arguments.address(debugger);
    let at = at.map_err(|_| outpost_engine::EngineError::NoModule { name: name.to_owned() })?;
    let found = debugger.engine.module_at(at);
    found.map(|found| found.name).ok_or_else(|| CommandError::invalid(format!("there is no module at {at}")))
}

impl Command for ModuleInfo {
    type Data = ShownModule;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<ModuleInfo, CommandError> {
        Ok(ModuleInfo { module: module_argument(arguments, debugger)? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<ShownModule, CommandError> {
        // Looking a name up in it loads its symbols.
        if let Some(module) = debugger.engine.modules_named(&self.module)?.first() {
            debugger.engine.symbol_at(module.range.start);
        }
        let search = debugger.engine.symbol_search(&self.module)?;
        let search = search.map(|report| report.steps.iter().map(ToString::to_string).collect());
        let found = debugger.engine.modules_named(&self.module)?.into_iter().next();
        let module = found.ok_or_else(|| outpost_engine::EngineError::NoModule { name: self.module.clone() })?;
        Ok(ShownModule { module, search: search.unwrap_or_default() })
    }

    fn render(data: &ShownModule, text: &mut String) {
        let module = &data.module;
        line!(text, "Loaded Module Info: [{}]", module.name);
        line!(text, "   Base Address: {}", module.range.start);
        line!(text, "     Image Name: {}", module.path);
        line!(text, "           Size: {:#x}", module.range.len());
        line!(text, "      Load Bias: {}", crate::text::hex64(module.bias.0));
        let build = module.build_id.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        line!(text, "       Build ID: {build}");
        line!(text, "    Symbol Type: {}", status(module.status));
        if !module.symbol_file.is_empty() {
            line!(text, "    Symbol File: {}", module.symbol_file);
        }
        let verdict = match (module.status, &module.build_id) {
            (SymbolState::None | SymbolState::Deferred, _) => "there are none to compare",
            (_, Some(_)) if module.symbol_file != module.path => "the same build ID as the image",
            (_, _) => "those of the image itself",
        };
        line!(text, "        Symbols: {verdict}");
        data.search.iter().for_each(|step| line!(text, "    Looked into: {step}"));
        module.problems.iter().for_each(|problem| line!(text, "        Problem: {problem}"));
    }
}

/// Shows a function.
#[derive(Debug, Clone)]
pub struct FunctionEntry {
    at: Va,
}

/// A function.
#[derive(Debug, Clone)]
pub struct ShownFunction {
    /// Its module.
    pub module: String,
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub start: Va,
    /// Bytes; 0 if that is not known.
    pub size: u64,
    /// How far into it the address is.
    pub displacement: u64,
    /// Where its source begins.
    pub source: Option<SourceLocation>,
}

fields!(ShownFunction { module, name, start, size, displacement, source });

impl Command for FunctionEntry {
    type Data = ShownFunction;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<FunctionEntry, CommandError> {
        Ok(FunctionEntry { at: arguments.code_address(debugger)? })
    }

    fn run(self, debugger: &mut Debugger) -> Result<ShownFunction, CommandError> {
        let symbol = debugger.engine.symbol_at(self.at).filter(|symbol| !symbol.name.is_empty());
        let symbol = symbol.filter(|symbol| symbol.size == 0 || symbol.displacement < symbol.size);
        let symbol = symbol.ok_or_else(|| CommandError::invalid(format!("no function is known at {}", self.at)))?;
        let source = debugger.engine.line_at(symbol.start);
        let outpost_engine::SymbolAt { module, name, start, size, displacement } = symbol;
        Ok(ShownFunction { module, name, start, size, displacement, source })
    }

    fn render(data: &ShownFunction, text: &mut String) {
        line!(text, "Debugger function entry for {}!{}:", data.module, data.name);
        line!(text, "  BeginAddress: {}", data.start);
        put!(text, "  EndAddress:   ");
        match data.size {
            0 => line!(text, "not known"),
            size => line!(text, "{} ({size:#x} bytes)", data.start + size),
        }
        line!(text, "  Offset:       {:#x}", data.displacement);
        if let Some(source) = &data.source {
            line!(text, "  Source:       {}", bracketed(source));
        }
    }
}

/// Shows what a function has returned.
#[derive(Debug, Clone)]
pub struct FunctionReturn {
    function: Va,
    register: Option<u64>,
    brief: bool,
}

/// What a function has returned.
#[derive(Debug, Clone)]
pub struct ShownReturn {
    /// The function.
    pub function: String,
    /// The type, empty if unknown.
    pub type_name: String,
    /// The integer return register.
    pub register: Va,
    /// The value in words; `None` if the type does not tell it.
    pub text: Option<String>,
    brief: bool,
}

fields!(ShownReturn { function, type_name, register, text, .. });

impl Command for FunctionReturn {
    type Data = ShownReturn;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<FunctionReturn, CommandError> {
        let brief = arguments.take_word("/s");
        if arguments.is_empty() {
            return Err(arguments.usage("the function is missing"));
        }
        let function = arguments.code_address(debugger)?;
        Ok(FunctionReturn { function, register: arguments.optional_number(debugger)?, brief })
    }

    fn run(self, debugger: &mut Debugger) -> Result<ShownReturn, CommandError> {
        let returned = debugger.engine.return_of(self.function, self.register)?;
        let text = returned.value.as_ref().map(|value| one_line(debugger, value));
        let outpost_engine::ReturnedValue { function, type_name, register, .. } = returned;
        Ok(ShownReturn { function, type_name, register: Va(register), text, brief: self.brief })
    }

    fn render(data: &ShownReturn, text: &mut String) {
        let value = match &data.text {
            Some(value) => value.clone(),
            None if data.type_name == "void" => "nothing".to_owned(),
            None => format!("rax={}", data.register),
        };
        match (data.brief, data.type_name.as_str()) {
            (true, _) => line!(text, "{value}"),
            (false, "" | "void") => line!(text, "{} returns {value}", data.function),
            (false, of) => line!(text, "{} returns {of} {value}", data.function),
        }
    }
}
