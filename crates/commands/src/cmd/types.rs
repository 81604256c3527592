//! `dt`: types and their fields.

use outpost_base::Va;
use outpost_engine::expr::{Lookup, Name};
use outpost_engine::values::{FieldRole, FieldRow, Type, TypeKind, Value};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::language::Arguments;
use crate::text::{line, put, values};
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["dt"],
    syntax: "dt [-rN] [-b] [-v] [-c] [-o] [Module!]Name [Field ...] [Address]",
    summary: "Display a type, or a variable by its type",
    details: "Without an address: the type's fields with offsets and types; of a variable its values. Name* lists matching \
              types and names. . repeats the last name. A field limits the list to names that begin like it; field. shows \
              one more level. -r shows N levels of nested structures, -b one, -v sizes, -c one line, -o no offsets.",
    group: Group::Symbols,
    eats_line: false,
    run: carry_out::<DisplayType>,
}];

/// Displays a type or variable.
#[derive(Debug, Clone)]
pub struct DisplayType {
    name: String,
    fields: Vec<String>,
    address: Option<Va>,
    depth: usize,
    verbose: bool,
    compact: bool,
    hide_offsets: bool,
}

/// What `dt` shows.
#[derive(Debug, Clone)]
pub enum TypeData {
    /// Names that match a pattern.
    Matches(Vec<String>),
    /// Fields, with values where there is an object.
    Fields {
        /// `Local var @ 0x... Type node`, if it is of a variable.
        heading: String,
        /// The rows.
        rows: Vec<FieldRow>,
        /// They are shown on one line.
        compact: bool,
        /// Their offsets are not shown.
        hide_offsets: bool,
    },
    /// A value without fields.
    Single {
        /// `Local var @ 0x... Type int`, if it is of a variable.
        heading: String,
        /// Type or value.
        text: String,
    },
}

impl Command for DisplayType {
    type Data = TypeData;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<DisplayType, CommandError> {
        let mut command = DisplayType {
            name: String::new(),
            fields: Vec::new(),
            address: None,
            depth: 0,
            verbose: false,
            compact: false,
            hide_offsets: false,
        };
        while let Some(option) = arguments.take_option() {
            let mut letters = option.chars();
            match (letters.next(), letters.as_str()) {
                (Some('r'), "") => command.depth = 15,
                (Some('r'), digits) => {
                    command.depth = digits.parse().map_err(|_| arguments.usage("-r takes a decimal number"))?;
                }
                (Some('b'), "") => command.depth = command.depth.max(1),
                (Some('v'), "") => command.verbose = true,
                (Some('c'), "") => command.compact = true,
                (Some('o'), "") => command.hide_offsets = true,
                (Some('t' | 'e' | 'n' | 'y' | 'i' | 'd' | 's'), "") => {}
                _ => return Err(CommandError::unsupported(format!("dt -{option}"), "not implemented yet")),
            }
        }
        command.name = type_word(arguments);
        if command.name == "." {
            let last = debugger.continuations.type_name.clone();
            command.name = last.ok_or_else(|| CommandError::invalid("there was no dt before"))?;
        }
        if command.name.is_empty() {
            return Err(arguments.usage("the name is missing"));
        }
        while !arguments.is_empty() {
            let rest = arguments.rest();
            let is_address = rest.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '@' | '(' | '`' | '$' | '.'));
            let word = rest.split_whitespace().next().unwrap_or_default();
            let hexadecimal = word.chars().all(|c| c.is_ascii_hexdigit() || c == '`') && word.len() > 3;
            if is_address || hexadecimal || rest.starts_with("poi") {
                command.address = Some(arguments.address(debugger)?);
            } else {
                command.fields.extend(arguments.word().map(str::to_owned));
            }
        }
        Ok(command)
    }

    fn run(self, debugger: &mut Debugger) -> Result<TypeData, CommandError> {
        if self.name.contains(['*', '?']) && !self.name.ends_with(" *") {
            return matches(&self.name, debugger);
        }
        let pointed = self.name.trim_end_matches(['*', ' ']).len();
        let stars = self.name[pointed..].matches('*').count();
        let bare = self.name[..pointed].trim();
        // `dt p->next`, `dt a.b[2]`: an expression means what it evaluates to.
        let is_path = bare.contains("->") || bare.contains('[') || bare.contains('.') && !bare.contains("..");
        let name = split_module(strip_keyword(bare));
        let variable = match (self.address, is_path) {
            (None, true) => Some((String::new(), evaluate(bare, debugger)?)),
            (None, false) if stars == 0 => variable(&name, debugger)?,
            _ => None,
        };
        debugger.continuations.type_name = Some(self.name.clone());
        let (heading, of, object) = match variable {
            Some((heading, value)) => {
                // A pointer's target is what is asked about, as the reference does.
                let value = pointee(value, debugger);
                (heading, value.value_type().clone(), Some(value))
            }
            None => {
                let mut of = named_type(&name, debugger)?;
                for _ in 0..stars {
                    of = of.table().pointer_to(of.id());
                }
                let object = self.address.map(|at| Value::in_memory(of.clone(), at));
                (String::new(), of, object)
            }
        };
        let amount = values::Amount { depth: 1, ..values::Amount::default() };
        let resolved = of.resolved();
        let is_record = matches!(resolved.kind(), TypeKind::Record(_));
        if !is_record {
            let text = match &object {
                Some(value) => values::text_of(&mut debugger.engine, value, values::Amount::default()),
                None => describe_type(&resolved),
            };
            return Ok(TypeData::Single { heading, text });
        }
        let deeper = self.fields.iter().any(|field| field.ends_with('.'));
        let depth = if deeper { self.depth.max(1) } else { self.depth };
        let mut rows = values::fields_of(&mut debugger.engine, &of, object.as_ref(), depth, amount);
        if !self.fields.is_empty() {
            rows = chosen_rows(rows, &self.fields);
        }
        let heading = if self.verbose {
            let size = of.size().map_or_else(|| "unknown".to_owned(), |size| format!("{size:#x} bytes"));
            format!("{heading}{of}, {} elements, {size}\n", rows.iter().filter(|row| row.depth == 0).count())
        } else {
            heading
        };
        Ok(TypeData::Fields { heading, rows, compact: self.compact, hide_offsets: self.hide_offsets })
    }

    fn render(data: &TypeData, text: &mut String) {
        match data {
            TypeData::Matches(names) => names.iter().for_each(|name| line!(text, "          {name}")),
            TypeData::Single { heading, text: value } => {
                text.push_str(heading);
                line!(text, "{value}");
            }
            TypeData::Fields { heading, rows, compact, hide_offsets } => {
                text.push_str(heading);
                let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0).min(32);
                for row in rows {
                    render_row(row, width, *compact, *hide_offsets, text);
                }
                if *compact {
                    line!(text);
                }
            }
        }
    }
}

/// `   +0x008 name             : 0n5`.
fn render_row(row: &FieldRow, width: usize, compact: bool, hide_offsets: bool, text: &mut String) {
    let indent = "   ".repeat(row.depth + 1);
    let offset = match (hide_offsets, row.offset) {
        (true, _) => String::new(),
        (false, Some(offset)) => format!("+{offset:#05x} "),
        (false, None) => "=static ".to_owned(),
    };
    let name = match (row.role, row.name.as_str()) {
        (FieldRole::Base, name) => format!("{name} (base)"),
        (_, "") => "<anonymous>".to_owned(),
        (_, name) => name.to_owned(),
    };
    let bits =
        row.bits.map(|bits| format!("Pos {}, {} Bit{}", bits.offset, bits.size, if bits.size == 1 { "" } else { "s" }));
    let value = match (&row.value_text, bits) {
        (Some(value), Some(bits)) => format!("{value} ({bits})"),
        (Some(value), None) => value.clone(),
        (None, Some(bits)) => format!("{}, {bits}", row.type_name),
        (None, None) => row.type_name.clone(),
    };
    match compact {
        true => put!(text, " {name}: {value} "),
        false => line!(text, "{indent}{offset}{name:width$} : {value}"),
    }
}

/// The first word, with template arguments and pointers: `std::vector<int, x>`, `struct node *`.
fn type_word(arguments: &mut Arguments<'_>) -> String {
    if let Some(quoted) = arguments.quoted() {
        return quoted;
    }
    arguments.take("@!");
    if let Some(quoted) = arguments.quoted() {
        return quoted;
    }
    let mut name = String::new();
    for keyword in ["struct", "class", "union", "enum"] {
        if arguments.take_word(keyword) {
            break;
        }
    }
    let mut open = 0i32;
    while let Some(word) = arguments.rest().split_whitespace().next() {
        arguments.take(word);
        if !name.is_empty() {
            name.push(' ');
        }
        name.push_str(word);
        open += word.matches('<').count() as i32 - word.matches('>').count() as i32 + word.matches("->").count() as i32;
        let unsigned =
            matches!(name.as_str(), "unsigned" | "signed" | "long" | "short" | "unsigned long" | "long long");
        let more_words = matches!(arguments.rest().split_whitespace().next(), Some("int" | "long" | "char" | "short"));
        let stars = arguments.rest().starts_with('*');
        if open <= 0 && !(unsigned && more_words) && !stars {
            break;
        }
    }
    name
}

fn strip_keyword(name: &str) -> &str {
    ["struct ", "class ", "union ", "enum "]
        .iter()
        .find_map(|keyword| name.strip_prefix(keyword))
        .unwrap_or(name)
        .trim()
}

fn split_module(name: &str) -> Name {
    match name.split_once('!') {
        Some((module, text)) => Name { module: Some(module.to_owned()), text: text.to_owned(), local: false },
        None => Name::plain(name),
    }
}

fn evaluate(text: &str, debugger: &mut Debugger) -> Result<Value, CommandError> {
    let mut arguments = Arguments::new("dt", ENTRIES[0].syntax, None, text);
    arguments.value(debugger)
}

/// A variable of that name with the heading that says where it is.
fn variable(name: &Name, debugger: &mut Debugger) -> Result<Option<(String, Value)>, CommandError> {
    let local = debugger.engine.lookup(name, Lookup::Local)?;
    let kind = if local.is_some() { "Local var" } else { "Global var" };
    let found = match local {
        Some(value) => Some(value),
        None => debugger.engine.lookup(name, Lookup::Everywhere)?,
    };
    let Some(value) = found else { return Ok(None) };
    // A function of the name is not what is asked for where there is a type, too.
    if matches!(value.value_type().resolved().kind(), TypeKind::Function { .. }) && named_type(name, debugger).is_ok() {
        return Ok(None);
    }
    let place = value.address().map_or_else(|| "in a register".to_owned(), |at| format!("@ 0x{at}"));
    Ok(Some((format!("{kind} {place} Type {}\n", value.value_type()), value)))
}

fn named_type(name: &Name, debugger: &mut Debugger) -> Result<Type, CommandError> {
    let unknown = || CommandError::Expr(outpost_engine::expr::ExprError::UnknownType { name: name.to_string() });
    match debugger.engine.find_types(&name.to_string()) {
        Ok(found) => found.into_iter().next().ok_or_else(unknown),
        Err(outpost_engine::EngineError::NoSymbol { .. }) => {
            let builtin = outpost_engine::values::TypeTable::builtin().named(&name.text).pop();
            builtin.filter(|_| name.module.is_none()).ok_or_else(unknown)
        }
        Err(error) => Err(error.into()),
    }
}

/// What a pointer to a structure points to; other values themselves.
fn pointee(value: Value, debugger: &mut Debugger) -> Value {
    let points_to_record =
        value.value_type().target().is_some_and(|target| matches!(target.resolved().kind(), TypeKind::Record(_)));
    if !points_to_record {
        return value;
    }
    let mut memory = values::ValueMemory(debugger.engine.memory().ok());
    value.deref(&mut memory).unwrap_or(value)
}

fn describe_type(of: &Type) -> String {
    let size = of.size().map(|size| format!(", {size:#x} bytes")).unwrap_or_default();
    match of.kind() {
        TypeKind::Enumeration { enumerators, .. } => {
            let mut text = format!("Enum {of}{size}");
            for enumerator in enumerators {
                put!(text, "\n   {} = 0n{}", enumerator.name, enumerator.value);
            }
            text
        }
        _ => format!("{of}{size}"),
    }
}

/// Rows whose names begin like one of the fields asked for, with what is nested in them where a dot asks for it.
fn chosen_rows(rows: Vec<FieldRow>, fields: &[String]) -> Vec<FieldRow> {
    let mut chosen = Vec::new();
    let mut inside = false;
    for row in rows {
        if row.depth == 0 {
            let begins = |field: &String| row.name.starts_with(field.trim_end_matches('.'));
            let wanted = fields.iter().find(|field| begins(field));
            inside = wanted.is_some_and(|field| field.ends_with('.'));
            if wanted.is_some() {
                chosen.push(row);
            }
        } else if inside {
            chosen.push(row);
        }
    }
    chosen
}

fn matches(pattern: &str, debugger: &mut Debugger) -> Result<TypeData, CommandError> {
    let found = debugger.engine.match_types(pattern)?;
    let mut names: Vec<String> = found.into_iter().map(|(module, name, _)| format!("{module}!{name}")).collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Err(CommandError::Expr(outpost_engine::expr::ExprError::UnknownType { name: pattern.to_owned() }));
    }
    Ok(TypeData::Matches(names))
}
