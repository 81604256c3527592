//! `bm`: breakpoints on all functions of a pattern.

use std::collections::BTreeSet;

use outpost_base::Va;
use outpost_engine::values::SymbolKind;
use outpost_engine::{BreakpointNumber, BreakpointPlace, BreakpointRequest};

use super::breakpoint::SetBreakpoint;
use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &["bm"],
    syntax: "bm [/1] [/a] [/d] [Module!]Pattern [Passes] [\"Commands\"]",
    summary: "Set breakpoints on all functions of a pattern",
    details: "Wildcards are those of x. One breakpoint for each function, by its name, which it keeps; with /d one for each address. /a takes \
              data symbols, too; stubs (name@plt) only a pattern that says so; /1 makes each go away when it stopped once.",
    example: "bm tour!fact*; bm /d zoo::* \"k 1; g\"",
    group: Group::Breakpoints,
    eats_line: false,
    run: carry_out::<MatchBreakpoints>,
}];

/// Most breakpoints that one pattern sets: each is written into the debuggee.
const MAX_BREAKPOINTS: usize = 4096;

/// How names of stubs in a procedure linkage table end.
const STUB: &str = "@plt";

/// Sets breakpoints by a pattern.
#[derive(Debug, Clone)]
pub struct MatchBreakpoints {
    pattern: String,
    with_data: bool,
    by_address: bool,
    one_shot: bool,
    passes: u64,
    commands: String,
}

/// A breakpoint that was set.
#[derive(Debug, Clone)]
pub struct MatchedBreakpoint {
    /// Its number.
    pub number: BreakpointNumber,
    /// Where its function begins.
    pub address: Va,
    /// Module and name.
    pub symbol: String,
}

fields!(MatchedBreakpoint { number, address, symbol });

impl Command for MatchBreakpoints {
    type Data = Vec<MatchedBreakpoint>;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<MatchBreakpoints, CommandError> {
        let (mut with_data, mut by_address, mut one_shot) = (false, false, false);
        while let Some(switch) = arguments.take_switch() {
            match switch {
                'a' => with_data = true,
                'd' => by_address = true,
                '1' => one_shot = true,
                // Names are shown with their parameters wherever they are known.
                '(' => {}
                other => return Err(arguments.usage(format!("unknown option /{other}"))),
            }
        }
        let pattern = arguments.word().ok_or_else(|| arguments.usage("the pattern is missing"))?.to_owned();
        let mut passes = 1;
        if !arguments.is_empty() && !arguments.rest().starts_with('"') {
            passes = arguments.number(debugger)?.max(1);
        }
        let commands = arguments.quoted().unwrap_or_default();
        Ok(MatchBreakpoints { pattern, with_data, by_address, one_shot, passes, commands })
    }

    fn run(self, debugger: &mut Debugger) -> Result<Vec<MatchedBreakpoint>, CommandError> {
        let mut matches = debugger.engine.match_names(&self.pattern)?;
        matches.retain(|named| self.with_data || named.kind == SymbolKind::Function);
        // What only leads to a function of another module is not one, unless it is asked for.
        let wants_stubs = self.pattern.contains(STUB);
        matches.retain(|named| wants_stubs || !named.name.ends_with(STUB));
        // Other names of the same function are no other place; the plainest is kept. A name may be that of several functions.
        matches.sort_by_cached_key(|named| {
            let plain = named.name.trim_start_matches('_').len();
            (named.address, named.name.len() - plain, named.name.len(), named.name.clone())
        });
        let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        matches.retain(|named| {
            let is_new = addresses.insert(named.address);
            is_new && (self.by_address || names.insert(format!("{}!{}", named.module, named.name)))
        });
        if matches.is_empty() {
            return Err(CommandError::invalid(format!("no function matches '{}'", self.pattern)));
        }
        if matches.len() > MAX_BREAKPOINTS {
            let count = matches.len();
            return Err(CommandError::invalid(format!("{count} functions match, {MAX_BREAKPOINTS} are the most")));
        }
        let mut set = Vec::new();
        for named in matches {
            debugger.engine.check_interrupt()?;
            let symbol = format!("{}!{}", named.module, named.name);
            let place = match self.by_address {
                true => BreakpointPlace::Address(named.body.unwrap_or(named.address)),
                false => BreakpointPlace::Expression(symbol.clone()),
            };
            let request = BreakpointRequest {
                passes: self.passes,
                one_shot: self.one_shot,
                commands: self.commands.clone(),
                symbolic: !self.by_address,
                ..BreakpointRequest::code(place)
            };
            let number = SetBreakpoint::of(request).run(debugger)?.number;
            set.push(MatchedBreakpoint { number, address: named.address, symbol });
        }
        Ok(set)
    }

    fn render(data: &Vec<MatchedBreakpoint>, text: &mut String) {
        for matched in data {
            line!(text, "{:3}: {} @!\"{}\"", matched.number.0, matched.address, matched.symbol);
        }
    }
}
