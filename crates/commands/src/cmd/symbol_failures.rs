//! `.show_sym_failures`: names that commands have looked for in vain.

use std::collections::VecDeque;

use outpost_engine::EngineError;
use outpost_engine::expr::ExprError;

use crate::command::{Command, CommandEntry, Group, carry_out};
use crate::json::fields;
use crate::language::Arguments;
use crate::text::line;
use crate::{CommandError, Debugger};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &[".show_sym_failures"],
    syntax: ".show_sym_failures [/s | /S | /t | /T]",
    summary: "Show the names of symbols and types that were looked for and not found",
    details: "/s shows symbols alone, /t types alone; /S and /T forget them. The newest 100 of each are \
              kept, with how often.",
    example: ".show_sym_failures",
    group: Group::Symbols,
    eats_line: false,
    run: carry_out::<ShowFailures>,
}];

/// Names that are kept of each kind.
const KEPT: usize = 100;

/// Names that were looked for in vain, the newest last.
#[derive(Debug, Default)]
pub(crate) struct Unresolved {
    symbols: VecDeque<Failure>,
    types: VecDeque<Failure>,
}

/// A name that was not found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// As it was written.
    pub name: String,
    /// How often.
    pub count: u64,
}

fields!(Failure { name, count });

impl Unresolved {
    /// Keeps what a failed command has not found.
    pub(crate) fn note(&mut self, error: &CommandError) {
        let (list, name) = match error {
            CommandError::Expr(ExprError::Unresolved { name })
            | CommandError::Engine(EngineError::NoSymbol { name }) => (&mut self.symbols, name),
            CommandError::Expr(ExprError::UnknownType { name }) => (&mut self.types, name),
            _ => return,
        };
        let at = list.iter().position(|known| known.name == *name);
        let known = at.and_then(|at| list.remove(at));
        let mut failure = known.unwrap_or_else(|| Failure { name: name.clone(), count: 0 });
        failure.count += 1;
        list.push_back(failure);
        if list.len() > KEPT {
            list.pop_front();
        }
    }
}

/// Shows or forgets them.
#[derive(Debug, Clone)]
pub struct ShowFailures {
    kind: Option<char>,
}

/// What was not found.
#[derive(Debug, Clone)]
pub struct Failures {
    /// Symbols, if they were asked for.
    pub symbols: Option<Vec<Failure>>,
    /// Types, if they were asked for.
    pub types: Option<Vec<Failure>>,
}

fields!(Failures { symbols, types });

impl Command for ShowFailures {
    type Data = Failures;

    fn parse(arguments: &mut Arguments<'_>, _: &mut Debugger) -> Result<ShowFailures, CommandError> {
        match arguments.take_switch() {
            kind @ (None | Some('s' | 'S' | 't' | 'T')) => Ok(ShowFailures { kind }),
            Some(other) => Err(arguments.usage(format!("unknown option /{other}"))),
        }
    }

    fn run(self, debugger: &mut Debugger) -> Result<Failures, CommandError> {
        let Unresolved { symbols, types } = &mut debugger.unresolved;
        match self.kind {
            Some('S') => symbols.clear(),
            Some('T') => types.clear(),
            _ => {}
        }
        let shown = |names: &VecDeque<Failure>, not: [char; 2]| {
            (!self.kind.is_some_and(|kind| not.contains(&kind))).then(|| names.iter().cloned().collect())
        };
        Ok(Failures { symbols: shown(symbols, ['t', 'T']), types: shown(types, ['s', 'S']) })
    }

    fn render(data: &Failures, text: &mut String) {
        for (what, names) in [("symbols", &data.symbols), ("types", &data.types)] {
            let Some(names) = names else { continue };
            line!(text, "{} {what} not found{}", names.len(), if names.is_empty() { "" } else { ":" });
            names.iter().for_each(|failure| line!(text, "  {} ({})", failure.name, failure.count));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_names_are_kept_once_each() {
        let mut unresolved = Unresolved::default();
        let failed = |name: &str| CommandError::Expr(ExprError::Unresolved { name: name.to_owned() });
        (0..KEPT + 1).for_each(|number| unresolved.note(&failed(&number.to_string())));
        unresolved.note(&failed("5"));
        unresolved.note(&CommandError::invalid("another thing"));
        assert_eq!(unresolved.symbols.len(), KEPT);
        assert_eq!(unresolved.symbols.back(), Some(&Failure { name: "5".to_owned(), count: 2 }));
        assert_eq!(unresolved.symbols.front().unwrap().name, "1");
        assert!(unresolved.types.is_empty());
    }
}
