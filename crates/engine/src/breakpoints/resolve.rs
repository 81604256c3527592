//! Where breakpoints are: expressions evaluated when they can be, and again when modules come and go.

use std::borrow::Cow;
use std::rc::Rc;

use outpost_base::Va;
use outpost_symbols::SourceLocation;
use outpost_target::{ConditionPlace, HardwareAccess};

use super::table::{Location, LocationState};
use super::{BreakpointAccess, BreakpointLocation, BreakpointPlace};
use crate::events::{EngineEvent, Notice};
use crate::expr::{Expr, ExprOptions, Masm};
use crate::modules::Module;
use crate::{BreakpointNumber, Engine, EngineError, ProcessOrdinal};

impl Engine {
    /// The addresses that the place of a breakpoint means in the current process.
    ///
    /// A symbol means every function of that name, inlined copies included; a source line every place it has code at;
    /// anything else is an address expression.
    ///
    /// # Errors
    /// [`EngineError::NoSymbol`] and its kind: it cannot be told yet.
    pub fn resolve_place(&mut self, place: &BreakpointPlace) -> Result<Vec<Va>, EngineError> {
        let text = match place {
            BreakpointPlace::Address(at) => return Ok(vec![*at]),
            BreakpointPlace::Expression(text) => text.trim(),
        };
        if let Some(line) = text.strip_prefix('`') {
            let (module, file, line) = parse_source_line(line.strip_suffix('`').unwrap_or(line), text)?;
            let places = self.find_line(module.as_deref(), &file, line)?;
            return Ok(places.into_iter().map(|place| place.address).collect());
        }
        match self.breakpoint_places(&unquoted(text)) {
            Err(EngineError::NoSymbol { name }) => {
                let found = self.evaluated_place(text).or_else(|| self.places_in_class(&unquoted(text)));
                found.ok_or(EngineError::NoSymbol { name })
            }
            found => found,
        }
    }

    /// The places of a function whose class is named by a typedef, or which a base of it has.
    fn places_in_class(&mut self, text: &str) -> Option<Vec<Va>> {
        self.names_in_class(text).iter().find_map(|name| self.breakpoint_places(name).ok())
    }

    /// The line that a breakpoint was set on by `` `file:line` ``, for one of its places. Where code of another function is
    /// inlined there it is not the line of that code but the one of the call, or of the call around that; where the line
    /// has no code, the next that has. `None` if the breakpoint was set by something else, or that cannot be told.
    pub fn line_of_place(&mut self, place: &str, at: Va) -> Option<SourceLocation> {
        let text = place.trim().strip_prefix('`')?;
        let (_, file, line) = parse_source_line(text.strip_suffix('`').unwrap_or(text), text).ok()?;
        let process = self.current_process().ok()?;
        let functions = self.functions_at(process, at).ok()?;
        let is_file = |source: &SourceLocation| {
            source.file.strip_suffix(&file).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        };
        let lines = functions.into_iter().filter_map(|function| function.source);
        lines.filter(|source| is_file(source) && source.line >= line).min_by_key(|source| source.line)
    }

    /// As [`Engine::resolve_place`]; where data is watched, a name means a variable before it means a function.
    pub(super) fn places_of(
        &mut self,
        place: &BreakpointPlace,
        access: BreakpointAccess,
    ) -> Result<Vec<Va>, EngineError> {
        let execution = BreakpointAccess::Hardware { access: HardwareAccess::Execute, len: 1 };
        if let BreakpointPlace::Expression(text) = place
            && access != BreakpointAccess::Code
            && access != execution
            && let Ok(found) = self.find_name(&unquoted(text.trim()))
        {
            return Ok(found.into_iter().map(|named| named.address).collect());
        }
        self.resolve_place(place)
    }

    /// The address that an expression which is no mere name comes to.
    fn evaluated_place(&mut self, text: &str) -> Option<Vec<Va>> {
        let (expr, used) = self.parse_expression(text, ExprOptions::default()).ok()?;
        let is_name = matches!(expr, Expr::Masm(Masm::Name(_)));
        (!is_name && text[used..].trim().is_empty()).then(|| self.evaluate_addresses(&expr).ok())?
    }

    /// Modules of a process changed: breakpoints in those that went lose their places, deferred ones may find theirs.
    pub(crate) fn modules_changed(&mut self, process: ProcessOrdinal, loaded: &[Rc<Module>], unloaded: &[Rc<Module>]) {
        for module in unloaded {
            let range = module.info.range;
            for known in self.breakpoints.breakpoints.iter_mut().filter(|known| known.process == process) {
                known.locations.retain(|location| !range.contains(location.shown.address));
            }
            // A plain address vanishes with its module; an expression is kept and waits.
            let orphaned = |known: &super::table::Breakpoint| {
                let plain = matches!(known.request.place, BreakpointPlace::Address(at) if range.contains(at));
                known.process == process && plain
            };
            self.breakpoints.breakpoints.retain(|known| !orphaned(known));
            self.queue.push_back(EngineEvent::Noticed(Notice::ModuleUnloaded {
                process,
                name: module.name.clone(),
                path: module.info.path.clone(),
            }));
        }
        for module in loaded {
            self.queue.push_back(EngineEvent::Noticed(Notice::ModuleLoaded {
                process,
                name: module.name.clone(),
                path: module.info.path.clone(),
                range: module.info.range,
            }));
        }
        if !loaded.is_empty() {
            self.resolve_deferred(process);
        }
    }

    /// Evaluates the expressions of a process's breakpoints again; places that stayed keep their hits.
    pub(crate) fn resolve_deferred(&mut self, process: ProcessOrdinal) {
        let thread = self.process(process).ok().and_then(|known| known.threads.first()).map(|thread| thread.ordinal);
        // Names are looked up in the current process, which this one need not be.
        let elsewhere = self.current_process().ok() != Some(process);
        let before = if elsewhere { std::mem::replace(&mut self.current, thread) } else { self.current };
        self.resolve_in_current(process);
        if elsewhere {
            self.current = before;
            self.reset_scope();
        }
    }

    fn resolve_in_current(&mut self, process: ProcessOrdinal) {
        let all = self.breakpoints.breakpoints.iter().filter(|known| known.process == process);
        let numbers: Vec<BreakpointNumber> = all.map(|known| known.number).collect();
        for number in numbers {
            let Some(known) = self.breakpoints.find(number) else { continue };
            let (place, access) = (known.request.place.clone(), known.request.access);
            if matches!(place, BreakpointPlace::Address(_)) && !known.locations.is_empty() {
                continue;
            }
            if let Ok(places) = self.places_of(&place, access) {
                self.set_locations(number, &places);
            }
        }
    }

    /// Gives a breakpoint its places: new ones are to be set, those no longer wanted cleared.
    pub(super) fn set_locations(&mut self, number: BreakpointNumber, places: &[Va]) {
        let (condition, codes) = self.compile_condition(number, places);
        let (logs, no_log) = self.compile_logs(number, places, &condition);
        let fresh: Vec<(Va, outpost_target::BreakpointId)> =
            places.iter().map(|&at| (at, self.breakpoints.new_id())).collect();
        let Some(known) = self.breakpoints.find_mut(number) else { return };
        let process = known.process;
        let is_same = known.condition == condition;
        known.condition = condition;
        known.no_log = no_log;
        let mut old = std::mem::take(&mut known.locations);
        for (address, id) in fresh {
            let kept = old.iter().position(|location| location.shown.address == address).map(|at| old.swap_remove(at));
            known.locations.push(kept.unwrap_or_else(|| Location {
                shown: BreakpointLocation {
                    id,
                    address,
                    hits: 0,
                    safety: None,
                    reason: String::new(),
                    condition: ConditionPlace::Target { because: String::new() },
                    by_pages: String::new(),
                },
                state: LocationState::Changed,
                condition: None,
                log: None,
                no_jump: String::new(),
            }));
        }
        for (at, location) in known.locations.iter_mut().enumerate() {
            let (log, code) = (logs.get(at).cloned(), codes.get(at).cloned());
            if !is_same || location.log != log || location.condition != code {
                location.state = LocationState::Changed;
            }
            (location.log, location.condition) = (log, code);
        }
        let gone = old.into_iter().filter(|location| location.state == LocationState::Set);
        let gone: Vec<_> = gone.map(|location| (process, location.shown.id)).collect();
        self.breakpoints.orphans.extend(gone);
    }
}

/// `[module!]file:line`; a line without file is not a place.
fn parse_source_line(text: &str, whole: &str) -> Result<(Option<String>, String, u32), EngineError> {
    let wrong =
        |reason: &str| EngineError::Expression { text: whole.to_owned(), position: None, reason: reason.into() };
    let (module, rest) = match text.split_once('!') {
        Some((module, rest)) => (Some(module.to_owned()), rest),
        None => (None, text),
    };
    let (file, line) = rest.rsplit_once(':').ok_or_else(|| wrong("no line number"))?;
    let number = match line.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => line.parse(),
    };
    let number = number.map_err(|_| wrong("bad line number"))?;
    if file.is_empty() { Err(wrong("no file")) } else { Ok((module, file.to_owned(), number)) }
}

/// A name without the quotes in which expressions have names that look like operators (`@!"box<int>"`, `module!"box<int>"`).
fn unquoted(text: &str) -> Cow<'_, str> {
    fn inner(quoted: &str) -> Option<&str> {
        quoted.strip_prefix('"')?.strip_suffix('"').filter(|name| !name.contains('"'))
    }
    if let Some(name) = text.strip_prefix("@!").and_then(inner) {
        return Cow::Borrowed(name);
    }
    match text.split_once('!').and_then(|(module, rest)| Some((module, inner(rest)?))) {
        Some((module, name)) => Cow::Owned(format!("{module}!{name}")),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_quotes() {
        assert_eq!(unquoted("@!\"a!box<int, 3>\""), "a!box<int, 3>");
        assert_eq!(unquoted("a!\"box<int>\""), "a!box<int>");
        assert_eq!(
            (unquoted("a!box"), unquoted("@!\"a"), unquoted("a+4")),
            ("a!box".into(), "@!\"a".into(), "a+4".into())
        );
    }

    #[test]
    fn source_lines_have_a_file_and_a_decimal_line() {
        let parse = |text| parse_source_line(text, text);
        assert_eq!(parse("main.c:10").unwrap(), (None, "main.c".into(), 10));
        assert_eq!(parse("m!/a/b.rs:0x10").unwrap(), (Some("m".into()), "/a/b.rs".into(), 16));
        assert!(parse("main.c").is_err() && parse(":5").is_err() && parse("a.c:x").is_err());
    }
}
