//! `x`, `ln`: symbols by pattern and by address.

use outpost_base::Va;
use outpost_engine::expr::Name;
use outpost_engine::values::{SymbolKind, Wildcard};
use outpost_engine::{NamedAddress, SourceLocation, SymbolAt};

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::symbols::bracketed;
use crate::text::{line, put, values};
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[
    CommandEntry {
        names: &["x"],
        syntax: "x [/0 /1 /2] [/t] [/v] [/f] [/d] [/s Size] [/a|/A|/n|/N|/z|/Z] Module!Pattern\nx *",
        summary: "List symbols that match a pattern",
        details: "Wildcards are * ? [a-z] # +. Data is shown with its value. x * lists the locals. /0 shows addresses only, \
                  /1 and names, /2 addresses and names without values; /t types, /v kinds and sizes; /f functions only, /d \
                  data only, /s N what has N bytes only; /a /A sort by address, /n /N by name, /z /Z by size, up and down.",
        example: "x /t svc!g_*; x *",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<Examine>,
    },
    CommandEntry {
        names: &["ln"],
        syntax: "ln Address",
        summary: "Show the nearest symbols of an address",
        details: "With file and line where they are known.",
        example: "ln @rip",
        group: Group::Symbols,
        eats_line: false,
        run: carry_out::<Nearest>,
    },
];

/// Lists symbols.
#[derive(Debug, Clone)]
pub struct Examine {
    pattern: String,
    columns: Columns,
    with_types: bool,
    verbose: bool,
    only: Option<Only>,
    order: Order,
    /// Only symbols of so many bytes (`/s`), which locals are not asked for.
    size: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Columns {
    All,
    Addresses,
    AddressesAndNames,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Only {
    Functions,
    Data,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    AsFound,
    Address { down: bool },
    Name { down: bool },
    Size { down: bool },
}

/// Symbols found.
#[derive(Debug, Clone)]
pub struct Examined {
    /// Rows in the order asked for.
    pub rows: Vec<ExaminedSymbol>,
    columns: Columns,
    with_types: bool,
    verbose: bool,
}

fields!(Examined { rows, .. });

/// A symbol with what is known of it.
#[derive(Debug, Clone)]
pub struct ExaminedSymbol {
    /// Where; `None` for a local that is not in memory.
    pub address: Option<Va>,
    /// `module!name`, or the local's name.
    pub name: String,
    /// Kind, in a word.
    pub kind: &'static str,
    /// Size in bytes, 0 if unknown.
    pub size: u64,
    /// Type, empty if unknown.
    pub type_name: String,
    /// Value, for data with a type.
    pub value: Option<String>,
}

fields!(ExaminedSymbol { address, name, kind, size, type_name, value });

impl Command for Examine {
    type Data = Examined;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Examine, CommandError> {
        let mut examine = Examine {
            pattern: String::new(),
            columns: Columns::All,
            with_types: false,
            verbose: false,
            only: None,
            order: Order::AsFound,
            size: None,
        };
        while let Some(switch) = arguments.take_switch() {
            match switch {
                '0' => examine.columns = Columns::Addresses,
                '1' | '2' => examine.columns = Columns::AddressesAndNames,
                's' => {
                    let word = arguments.word().ok_or_else(|| arguments.usage("/s needs a size"))?;
                    examine.size = Some(super::threads::number(word, debugger)?);
                }
                't' => examine.with_types = true,
                'v' => examine.verbose = true,
                'f' => examine.only = Some(Only::Functions),
                'd' => examine.only = Some(Only::Data),
                'a' | 'A' => examine.order = Order::Address { down: switch == 'A' },
                'n' | 'N' => examine.order = Order::Name { down: switch == 'N' },
                'z' | 'Z' => examine.order = Order::Size { down: switch == 'Z' },
                other => return Err(arguments.usage(format!("unknown option /{other}"))),
            }
        }
        let pattern = match arguments.quoted() {
            Some(quoted) => quoted,
            None => arguments.take_rest().trim_start_matches("@!").trim_matches('"').to_owned(),
        };
        if pattern.is_empty() {
            return Err(arguments.usage("the pattern is missing"));
        }
        Ok(Examine { pattern, ..examine })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Examined, CommandError> {
        let mut rows = Vec::new();
        // Without a module, locals that match come first; x * is about them alone.
        if !self.pattern.contains('!') && self.only != Some(Only::Functions) && self.size.is_none() {
            rows = locals(&self.pattern, debugger);
        }
        if self.pattern != "*" {
            let pattern = match self.pattern.split_once('!') {
                Some((module, "")) => format!("{module}!*"),
                _ => self.pattern.clone(),
            };
            let found = match debugger.engine.match_names(&pattern) {
                Ok(found) => found,
                Err(outpost_engine::EngineError::NoSymbol { .. }) => Vec::new(),
                Err(error) => return Err(error.into()),
            };
            let wants_values = self.columns == Columns::All || self.with_types;
            for symbol in found {
                debugger.engine.check_interrupt()?;
                let is_data = matches!(symbol.kind, SymbolKind::Data | SymbolKind::ThreadLocal);
                if self.only.is_some_and(|only| (only == Only::Data) != is_data)
                    || self.size.is_some_and(|size| size != symbol.size)
                {
                    continue;
                }
                rows.push(examined(symbol, wants_values, debugger));
            }
        }
        if rows.is_empty() && self.pattern != "*" && !Wildcard::is_pattern(&self.pattern) {
            let reason = outpost_engine::expr::ExprError::Unresolved { name: self.pattern };
            return Err(reason.into());
        }
        match self.order {
            Order::AsFound => {}
            Order::Address { down } => sort(&mut rows, down, |row| row.address),
            Order::Name { down } => sort(&mut rows, down, |row| row.name.clone()),
            Order::Size { down } => sort(&mut rows, down, |row| row.size),
        }
        Ok(Examined { rows, columns: self.columns, with_types: self.with_types, verbose: self.verbose })
    }

    fn render(data: &Examined, text: &mut String) {
        for row in &data.rows {
            let address = row.address.map_or_else(|| "@register".to_owned() + &" ".repeat(8), |at| at.to_string());
            put!(text, "{address}");
            if data.columns != Columns::Addresses {
                if data.verbose {
                    put!(text, " {:8x} {:8}", row.size, row.kind);
                }
                if data.with_types && !row.type_name.is_empty() {
                    put!(text, " {}", row.type_name);
                }
                put!(text, " {}", row.name);
            }
            if let (Columns::All, Some(value)) = (data.columns, &row.value) {
                put!(text, " = {value}");
            }
            line!(text);
        }
    }
}

fn sort<K: Ord>(rows: &mut [ExaminedSymbol], down: bool, key: impl Fn(&ExaminedSymbol) -> K) {
    rows.sort_by(|one, other| if down { key(other).cmp(&key(one)) } else { key(one).cmp(&key(other)) });
}

fn locals(pattern: &str, debugger: &mut Debugger) -> Vec<ExaminedSymbol> {
    let wildcard = debugger.engine.name_pattern(pattern);
    // Without a frame there are none, which is no failure of a search.
    let found = debugger.engine.locals().unwrap_or_default();
    let matching = found.into_iter().filter(|variable| !variable.artificial && wildcard.matches(&variable.name));
    matching
        .map(|variable| ExaminedSymbol {
            address: variable.value.address(),
            name: variable.name.clone(),
            kind: "local",
            size: variable.value.value_type().size().unwrap_or(0),
            type_name: variable.value.value_type().to_string(),
            value: Some(values::one_line(debugger, &variable.value)),
        })
        .collect()
}

fn examined(symbol: NamedAddress, wants_value: bool, debugger: &mut Debugger) -> ExaminedSymbol {
    let is_data = matches!(symbol.kind, SymbolKind::Data | SymbolKind::ThreadLocal);
    let name = Name { module: Some(symbol.module.clone()), text: symbol.name.clone(), local: false };
    let value = if is_data && wants_value { debugger.engine.typed_value(&symbol) } else { None };
    ExaminedSymbol {
        address: Some(symbol.address),
        name: name.to_string(),
        kind: match symbol.kind {
            SymbolKind::Function => "function",
            SymbolKind::IndirectFunction => "ifunc",
            SymbolKind::Data => "data",
            SymbolKind::ThreadLocal => "tls",
            SymbolKind::Label => "label",
        },
        size: symbol.size,
        type_name: value.as_ref().map(|value| value.value_type().to_string()).unwrap_or_default(),
        value: value.map(|value| values::one_line(debugger, &value)),
    }
}

/// Shows the neighbours of an address.
#[derive(Debug, Clone)]
pub struct Nearest {
    at: Va,
}

/// What is around an address.
#[derive(Debug, Clone)]
pub struct Neighbours {
    /// The address.
    pub at: Va,
    /// The line it belongs to.
    pub source: Option<SourceLocation>,
    /// Symbol at or before it.
    pub before: Option<SymbolAt>,
    /// The next symbol.
    pub after: Option<SymbolAt>,
}

fields!(Neighbours { at, source, before, after });

impl Command for Nearest {
    type Data = Neighbours;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Nearest, CommandError> {
        let at = match arguments.is_empty() {
            true => Va(debugger.engine.register("$ip")?.as_u64()),
            false => arguments.code_address(debugger)?,
        };
        Ok(Nearest { at })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Neighbours, CommandError> {
        let (before, after) = debugger.engine.nearest_symbols(self.at);
        if before.is_none() && after.is_none() {
            return Err(CommandError::invalid(format!("no symbols are near {}", self.at)));
        }
        let source = if debugger.settings.lines { debugger.engine.line_at(self.at) } else { None };
        Ok(Neighbours { at: self.at, source, before, after })
    }

    fn render(data: &Neighbours, text: &mut String) {
        if let Some(source) = &data.source {
            line!(text, "{}", bracketed(source));
        }
        let shown = |symbol: &SymbolAt| format!("({})   {symbol}", symbol.start);
        match (&data.before, &data.after) {
            (Some(before), Some(after)) => line!(text, "{}   |  {}", shown(before), shown(after)),
            (Some(only), None) | (None, Some(only)) => line!(text, "{}", shown(only)),
            (None, None) => {}
        }
        if data.before.as_ref().is_some_and(|before| before.displacement == 0) {
            line!(text, "Exact matches:");
            line!(text, "    {}", data.before.as_ref().map(|symbol| symbol.to_string()).unwrap_or_default());
        }
    }
}
