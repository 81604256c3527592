//! `dt`: types and their fields.

mod lookup;
mod options;
mod rows;

use outpost_base::Va;
use outpost_engine::expr::ExprError;
use outpost_engine::values::{FieldRole, FieldRow, SymbolKind, Type, TypeKind, Value};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::{self, Json, fields, json};
use crate::language::Arguments;
use crate::text::{line, put, values};
use crate::{CommandError, Debugger};

use lookup::{evaluate, named_type, pointee, split_module, strip_keyword, symbol_of, variable};
use options::{Word, Words};
use rows::{Opening, Path};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["dt"],
    syntax: "dt [Options] [Module!]Name [Field ...] [Address] [-l List]\ndt [Options] Address [-l List]",
    summary: "Display a type, or a variable by its type",
    details: "Without an address: the type's fields with offsets and types; of a variable its values. Name* lists matching \
              types and variables, . repeats the last name, Address alone is the variable there. A field is a name, the \
              beginning of one, a wildcard pattern, a path (a.b, also through pointers) or an element (a[2], decimal); \
              each dot behind it shows one more level of it. -r follows structures and pointers, -rN to N levels; -b \
              opens structures inside, and what the outer fields point to; -a shows elements of arrays and containers on lines of their \
              own, -aN the first N. -c shows one line, -o no offsets, -i no indentation, -v counts and sizes. -t and -e \
              take the name for a type's, -s N those of N bytes only, -d shows each type of a pattern; -n takes the next \
              word for a name, -y for the beginning of one. -l goes along a list by the field that leads to the next.",
    example: "dt -r1 node head->next; dt node @rdi -l next",
    group: Group::Symbols,
    eats_line: false,
    run: carry_out::<DisplayType>,
}];

/// Elements of a list that are shown at most; a list that leads back to an earlier one ends there.
const LIST_LIMIT: usize = 1000;

/// Displays a type or variable.
#[derive(Debug, Clone)]
pub struct DisplayType {
    words: Words,
}

/// How fields are laid out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// On one line.
    pub compact: bool,
    /// Without offsets.
    pub hide_offsets: bool,
    /// Without indentation of what is nested.
    pub flat: bool,
}

/// What `dt` shows.
#[derive(Debug, Clone)]
pub enum TypeData {
    /// Names that match a pattern.
    Matches(Vec<String>),
    /// Fields, with values where there is an object; several of them for a pattern or a list.
    Fields(Vec<FieldListing>, Style),
    /// A value without fields.
    Single {
        /// `Local var @ 0x... Type int`, if it is of a variable.
        heading: String,
        /// Type or value.
        text: String,
    },
}

impl Json for TypeData {
    fn json(&self) -> json::Value {
        match self {
            TypeData::Matches(names) => json!({ "matches": names }),
            TypeData::Fields(listings, _) => json!({ "objects": listings.json() }),
            TypeData::Single { heading, text } => json!({ "heading": heading, "text": text }),
        }
    }
}

/// The fields of one type or object.
#[derive(Debug, Clone)]
pub struct FieldListing {
    /// `Local var @ 0x... Type node`, if it is of a variable; lines.
    pub heading: String,
    /// The rows.
    pub rows: Vec<FieldRow>,
}

fields!(FieldListing { heading, rows });

impl Command for DisplayType {
    type Data = TypeData;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<DisplayType, CommandError> {
        let mut words = options::parse(arguments, debugger)?;
        if words.name == "." {
            let last = debugger.continuations.type_name.clone();
            words.name = last.ok_or_else(|| CommandError::invalid("there was no dt before"))?;
        }
        Ok(DisplayType { words })
    }

    fn run(self, debugger: &mut Debugger) -> Result<TypeData, CommandError> {
        let mut words = self.words;
        if words.name_begins && !words.name.ends_with('*') {
            words.name.push('*');
        }
        if words.name.contains(['*', '?']) && !words.name.ends_with(" *") && !words.name.contains("->") {
            return matching(&words, debugger);
        }
        let subject = subject(&words, debugger)?;
        debugger.continuations.type_name = Some(words.name.clone());
        show(&words, subject, debugger)
    }

    fn render(data: &TypeData, text: &mut String) {
        match data {
            TypeData::Matches(names) => names.iter().for_each(|name| line!(text, "          {name}")),
            TypeData::Single { heading, text: value } => {
                text.push_str(heading);
                line!(text, "{value}");
            }
            TypeData::Fields(listings, style) => {
                for (number, listing) in listings.iter().enumerate() {
                    if number > 0 && !style.compact {
                        line!(text);
                    }
                    text.push_str(&listing.heading);
                    let width = listing.rows.iter().map(|row| row.name.len()).max().unwrap_or(0).min(32);
                    for row in &listing.rows {
                        render_row(row, width, *style, text);
                    }
                    if style.compact {
                        line!(text);
                    }
                }
            }
        }
    }
}

/// What is to be shown.
struct Subject {
    heading: String,
    of: Type,
    object: Option<Value>,
}

/// Finds the variable, type or address that the name means.
fn subject(words: &Words, debugger: &mut Debugger) -> Result<Subject, CommandError> {
    let pointed = words.name.trim_end_matches(['*', ' ']).len();
    let stars = words.name[pointed..].matches('*').count();
    let bare = words.name[..pointed].trim();
    if words.name_is_address {
        return at_address(bare, debugger);
    }
    // `dt p->next`, `dt a.b[2]`: an expression means what it evaluates to.
    let is_path = bare.contains("->") || bare.contains('[') || bare.contains('.') && !bare.contains("..");
    let name = split_module(strip_keyword(bare));
    let has_address = words.address.is_some();
    let found = match is_path {
        true if !has_address => Some((String::new(), evaluate(bare, debugger)?)),
        false if !has_address && stars == 0 && !words.types_only => variable(&name, debugger)?,
        _ => None,
    };
    if let Some((heading, value)) = found {
        // A pointer's target is what is asked about, as the reference does.
        let value = pointee(value, debugger);
        return Ok(Subject { heading, of: value.value_type().clone(), object: Some(value) });
    }
    let mut of = match named_type(&name, debugger) {
        Ok(of) => of,
        // With an address a variable's name stands for its type.
        Err(error) => match variable(&name, debugger)? {
            Some((_, value)) if stars == 0 => pointee(value, debugger).value_type().clone(),
            _ => return Err(error),
        },
    };
    for _ in 0..stars {
        of = of.table().pointer_to(of.id());
    }
    let object = words.address.map(|at| Value::in_memory(of.clone(), at));
    Ok(Subject { heading: String::new(), of, object })
}

/// `dt Address`: the variable that lies there.
fn at_address(text: &str, debugger: &mut Debugger) -> Result<Subject, CommandError> {
    let at = Va(super::threads::number(text, debugger)?);
    let nothing = || CommandError::invalid(format!("there is no variable with a type at {at}"));
    let (symbol, name) = symbol_of(at, debugger).ok_or_else(nothing)?;
    let (_, value) = variable(&name, debugger)?.ok_or_else(nothing)?;
    let heading = format!("{symbol} Type {}\n", value.value_type());
    Ok(Subject { heading, of: value.value_type().clone(), object: Some(value) })
}

/// Resolves the words behind the name and lists.
fn show(words: &Words, mut subject: Subject, debugger: &mut Debugger) -> Result<TypeData, CommandError> {
    let mut paths = Vec::new();
    for word in &words.rest {
        let path = Path::parse(word);
        let is_field = word.is_field || rows::begins_with_field(&path, &subject.of, debugger);
        match evaluate_address(word, is_field, &subject, debugger) {
            Some(at) => {
                subject.object = Some(Value::in_memory(subject.of.clone(), at));
                subject.heading.clear();
            }
            None => paths.push(path?),
        }
    }
    if words.list.is_some() {
        return list(words, &paths, subject, debugger);
    }
    let is_record = matches!(subject.of.resolved().kind(), TypeKind::Record(_));
    let elements = rows::has_elements(&subject.of) && words.opening.elements.is_some() && subject.object.is_some();
    if !is_record && !elements {
        if let Some(path) = paths.first() {
            return Err(path.unknown(&subject.of));
        }
        let text = match &subject.object {
            Some(value) => values::text_of(&mut debugger.engine, value, values::Amount::usual(&debugger.settings)),
            None => describe_type(&subject.of.resolved()),
        };
        return Ok(TypeData::Single { heading: subject.heading, text });
    }
    let listing = listing(words, &paths, subject, debugger)?;
    Ok(TypeData::Fields(vec![listing], words.style))
}

/// The address that a word means, if it is no field.
fn evaluate_address(word: &Word, is_field: bool, subject: &Subject, debugger: &mut Debugger) -> Option<Va> {
    if is_field || subject.object.is_some() {
        return None;
    }
    super::threads::number(&word.text, debugger).ok().map(Va)
}

fn listing(
    words: &Words,
    paths: &[Path],
    subject: Subject,
    debugger: &mut Debugger,
) -> Result<FieldListing, CommandError> {
    let Subject { heading, of, object } = subject;
    let rows = match paths {
        [] => rows::all(&of, object.as_ref(), words.opening, debugger),
        paths => rows::chosen(&of, object.as_ref(), paths, words.opening, debugger)?,
    };
    let heading = match words.verbose {
        true => {
            let size = of.size().map_or_else(|| "unknown".to_owned(), |size| format!("{size:#x} bytes"));
            let count = rows::all(&of, None, Opening::default(), debugger).iter().filter(|row| row.depth == 0).count();
            format!("{heading}{of}, {count} elements, {size}\n")
        }
        false => heading,
    };
    Ok(FieldListing { heading, rows })
}

/// `-l`: the object, and those that a field leads to one after the other.
fn list(words: &Words, paths: &[Path], subject: Subject, debugger: &mut Debugger) -> Result<TypeData, CommandError> {
    let link = words.list.clone().unwrap_or_default();
    let link = Path::parse(&Word::field(&link))?;
    let mut next = subject.object.and_then(|value| value.address());
    if next.is_none() {
        return Err(CommandError::invalid("a list needs an address to begin at"));
    }
    let (mut seen, mut listings) = (Vec::new(), Vec::new());
    while let Some(at) = next.filter(|at| at.0 != 0 && !seen.contains(at) && seen.len() < LIST_LIMIT) {
        debugger.engine.check_interrupt()?;
        seen.push(at);
        let object = Value::in_memory(subject.of.clone(), at);
        next = rows::linked(&object, &link, debugger)?;
        let element = Subject { heading: String::new(), of: subject.of.clone(), object: Some(object) };
        let mut shown = listing(words, paths, element, debugger)?;
        shown.heading =
            format!("{} at 0x{at}\n---------------------------------------------\n{}", link.text, shown.heading);
        listings.push(shown);
    }
    Ok(TypeData::Fields(listings, words.style))
}

/// `dt Name*`: types, and variables unless only types are asked for.
fn matching(words: &Words, debugger: &mut Debugger) -> Result<TypeData, CommandError> {
    let pattern = strip_keyword(&words.name);
    let mut types = debugger.engine.match_types(pattern)?;
    types.retain(|(_, _, of)| words.size.is_none_or(|size| of.size() == Some(size)));
    if words.show_matches {
        let mut listings = Vec::new();
        for (module, name, of) in types {
            debugger.engine.check_interrupt()?;
            let subject = Subject { heading: format!("{module}!{name}\n"), of, object: None };
            listings.push(listing(words, &[], subject, debugger)?);
        }
        return Ok(TypeData::Fields(listings, words.style));
    }
    let describe = |(module, name, of): (String, String, Type)| match (words.verbose, of.size()) {
        (true, Some(size)) => format!("{module}!{name}  {size:#x} bytes"),
        _ => format!("{module}!{name}"),
    };
    let mut names: Vec<String> = types.into_iter().map(describe).collect();
    names.sort();
    names.dedup();
    if !words.types_only {
        let symbols = debugger.engine.match_names(pattern)?;
        let data =
            symbols.into_iter().filter(|symbol| matches!(symbol.kind, SymbolKind::Data | SymbolKind::ThreadLocal));
        let mut data: Vec<String> =
            data.map(|symbol| format!("{}  {}!{}", symbol.address, symbol.module, symbol.name)).collect();
        data.sort();
        data.dedup();
        names.extend(data);
    }
    if names.is_empty() {
        return Err(CommandError::Expr(ExprError::UnknownType { name: pattern.to_owned() }));
    }
    Ok(TypeData::Matches(names))
}

/// `   +0x008 name             : 0n5`.
fn render_row(row: &FieldRow, width: usize, style: Style, text: &mut String) {
    let indent = "   ".repeat(if style.flat { 1 } else { row.depth + 1 });
    let offset = match (style.hide_offsets, row.offset) {
        (true, _) => String::new(),
        (false, Some(offset)) => format!("+{offset:#05x} "),
        (false, None) if row.role == FieldRole::Element => String::new(),
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
    match style.compact {
        true => put!(text, " {name}: {value} "),
        false => line!(text, "{indent}{offset}{name:width$} : {value}"),
    }
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
