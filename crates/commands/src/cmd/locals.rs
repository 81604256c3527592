//! `dv`: local variables.

use outpost_base::Va;
use outpost_engine::FrameVariable;
use outpost_engine::values::{ValueLocation, VariableKind, Wildcard};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{Json, Value, json};
use crate::language::Arguments;
use crate::text::{line, put, values};
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["dv"],
    syntax: "dv [/i] [/t] [/v|/V] [/a|/n|/z] [Pattern]",
    summary: "Display local variables and parameters",
    details: "Of the frame selected by .frame. /i shows their kind, /t types, /v where they are, /V also as register and \
              offset; /a sorts by address, /n by name, /z by size; so do /A, /N and /Z.",
    example: "dv /t /i s*",
    group: Group::Symbols,
    eats_line: false,
    run: carry_out::<Locals>,
}];

/// Displays locals.
#[derive(Debug, Clone)]
pub struct Locals {
    pattern: Option<String>,
    shown: Shown,
    order: Option<char>,
}

/// What of each is shown.
#[derive(Debug, Clone, Copy, Default)]
struct Shown {
    kind: bool,
    types: bool,
    place: bool,
}

/// Locals with their text.
#[derive(Debug, Clone)]
pub struct ShownLocals {
    /// Variables and the text of their values.
    pub locals: Vec<(FrameVariable, String)>,
    shown: Shown,
}

impl Json for ShownLocals {
    fn json(&self) -> Value {
        let with_text = |(variable, text): &(FrameVariable, String)| {
            let mut shown = variable.json();
            shown["text"] = json!(text);
            shown
        };
        self.locals.iter().map(with_text).collect()
    }
}

impl Command for Locals {
    type Data = ShownLocals;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<Locals, CommandError> {
        let mut shown = Shown::default();
        let mut order = None;
        while let Some(option) = arguments.take_option() {
            for letter in option.chars() {
                match letter {
                    'i' => shown.kind = true,
                    't' => shown.types = true,
                    'v' | 'V' => shown.place = true,
                    'a' | 'n' | 'z' => order = Some(letter),
                    'A' | 'N' | 'Z' => order = Some(letter.to_ascii_lowercase()),
                    other => return Err(arguments.usage(format!("unknown option /{other}"))),
                }
            }
        }
        Ok(Locals { pattern: arguments.word().map(str::to_owned), shown, order })
    }

    fn run(self, debugger: &mut Debugger) -> Result<ShownLocals, CommandError> {
        let wildcard = self.pattern.as_deref().map(Wildcard::new);
        let found = debugger.engine.locals()?;
        if found.is_empty() {
            let frame = debugger.engine.scope_frame()?;
            let module = debugger.engine.module_at(frame.lookup_address);
            let Some(module) = module.filter(|module| module.status == outpost_engine::SymbolState::Dwarf) else {
                return Err(CommandError::invalid("the frame's code has no debug info, so its locals are not known"));
            };
            // A function without locals is not told from one whose part of the debug info is elsewhere.
            if let Some(problem) = module.problems.iter().find(|problem| problem.starts_with("split debug info")) {
                return Err(CommandError::invalid(format!("no locals are known here; {problem}")));
            }
        }
        let mut chosen: Vec<FrameVariable> = found
            .into_iter()
            .filter(|variable| !variable.name.is_empty() && (!variable.artificial || variable.name == "this"))
            .filter(|variable| wildcard.as_ref().is_none_or(|wildcard| wildcard.matches(&variable.name)))
            .collect();
        match self.order {
            Some('n') => chosen.sort_by(|one, other| one.name.cmp(&other.name)),
            Some('a') => chosen.sort_by_key(|variable| variable.value.address()),
            Some('z') => chosen.sort_by_key(|variable| variable.value.value_type().size()),
            // As declared: outer blocks before inner ones reads like the source.
            _ => {}
        }
        let mut locals = Vec::new();
        for variable in chosen {
            debugger.engine.check_interrupt()?;
            let text = values::one_line(debugger, &variable.value);
            locals.push((variable, text));
        }
        Ok(ShownLocals { locals, shown: self.shown })
    }

    fn render(data: &ShownLocals, text: &mut String) {
        let width = data.locals.iter().map(|(variable, _)| variable.name.len()).max().unwrap_or(0).clamp(15, 40);
        for (variable, value) in &data.locals {
            if data.shown.kind {
                put!(text, "prv {:6} ", kind(variable.kind));
            }
            if data.shown.place {
                put!(text, "{:<18} ", place(&variable.value.location(), variable.value.address()));
            }
            if data.shown.types {
                let declared = outpost_engine::values::declaration(variable.value.value_type(), &variable.name);
                line!(text, "{declared} = {value}");
                continue;
            }
            line!(text, "{:>width$} = {value}", variable.name);
        }
    }
}

fn kind(kind: VariableKind) -> &'static str {
    match kind {
        VariableKind::Parameter => "param",
        VariableKind::Local => "local",
        _ => "static",
    }
}

fn place(location: &ValueLocation, address: Option<Va>) -> String {
    match (address, location) {
        (Some(at), _) => at.to_string(),
        (None, ValueLocation::Register { dwarf, .. }) => {
            let arch = outpost_base::Arch::X86_64;
            let row = arch.register_by_dwarf(*dwarf).and_then(|id| arch.register(id));
            row.map_or_else(|| format!("@reg{dwarf}"), |row| format!("@{}", row.name))
        }
        (None, ValueLocation::Bytes(_)) => "@constant".to_owned(),
        (None, ValueLocation::Pieces(_)) => "@pieces".to_owned(),
        _ => "@none".to_owned(),
    }
}
