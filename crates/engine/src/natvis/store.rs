//! Which views are loaded, and which of them are for a type.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use outpost_base::{MemoryReader, Va};
use outpost_symbols::{Type, TypeKind, Unavailable, Value};

use super::file::{Synthetic, TypeView, ViewFile};
use super::pattern::{Fit, TypePattern};
use super::{Context, is_unreadable};
use crate::expr::ExprError;
use crate::{Engine, EngineError, ProcessOrdinal};

/// Types whose views are known.
const CACHE_LIMIT: usize = 4096;
/// Base classes that are looked through for a view.
const BASE_LIMIT: usize = 64;
/// Expressions that are evaluated for one question; a container of 65,536 elements needs some for each.
const STEP_LIMIT: usize = 1 << 19;
/// Names whose meanings are known.
const MEANING_LIMIT: usize = 4096;
/// Failures that are remembered.
const FAILURE_LIMIT: usize = 100;

/// The views that are loaded.
#[derive(Debug)]
pub struct ViewStore {
    files: Vec<Rc<ViewFile>>,
    /// Views by the name of a type, the first to be tried first.
    known: HashMap<String, Rc<[Rc<Found>]>>,
    /// Files and types whose views made no sense, and why.
    failures: BTreeMap<(String, String), (u32, String)>,
    /// Views within views that are being worked on.
    pub(super) depth: usize,
    /// Objects whose texts are being written, innermost last: one within itself is not written again.
    pub(super) path: Vec<(Va, String)>,
    /// What names outside of objects mean.
    meanings: Meanings,
    /// Steps that are left for what was asked.
    pub(super) steps: usize,
    /// Steps that one question may take.
    pub(super) step_limit: usize,
}

impl Default for ViewStore {
    fn default() -> ViewStore {
        ViewStore {
            files: Vec::new(),
            known: HashMap::new(),
            failures: BTreeMap::new(),
            depth: 0,
            path: Vec::new(),
            meanings: Meanings::default(),
            steps: 0,
            step_limit: STEP_LIMIT,
        }
    }
}

/// What names mean that are no members, as long as nothing changes: a view asks for the same few with every object.
#[derive(Debug, Default)]
struct Meanings {
    of: Option<(u64, Option<ProcessOrdinal>, Option<Va>)>,
    variables: HashMap<String, Option<Value>>,
    types: HashMap<String, Option<Type>>,
}

impl Engine {
    fn meanings(&mut self) -> &mut Meanings {
        let of = Some((self.epoch, self.current_process().ok(), self.scope_pc().ok()));
        let meanings = &mut self.views.meanings;
        if meanings.of != of || meanings.variables.len() + meanings.types.len() > MEANING_LIMIT {
            *meanings = Meanings { of, ..Meanings::default() };
        }
        meanings
    }

    /// The global variable, function or constant of a name.
    pub(super) fn view_global(&mut self, name: &str) -> Option<Value> {
        if let Some(known) = self.meanings().variables.get(name) {
            return known.clone();
        }
        // What failed for another reason than that there is none is not known.
        let found = self.global(name).ok()?;
        self.meanings().variables.insert(name.to_owned(), found.clone());
        found
    }

    /// The type of a name.
    pub(super) fn view_type(&mut self, name: &str) -> Option<Type> {
        if let Some(known) = self.meanings().types.get(name) {
            return known.clone();
        }
        let found = match self.find_types(name) {
            Ok(found) => found.into_iter().next(),
            Err(EngineError::NoSymbol { .. }) => None,
            Err(_) => return None,
        };
        self.meanings().types.insert(name.to_owned(), found.clone());
        found
    }
}

/// A view of a type.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) file: Rc<ViewFile>,
    /// Its place in the file.
    index: usize,
    /// What its wildcards stand for.
    pub(super) captures: Vec<String>,
    /// Whether it holds for derived classes, too.
    inheritable: bool,
}

/// A view that is not for objects of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewFailure<'a> {
    /// The file.
    pub path: &'a str,
    /// Line of the view, from 1.
    pub line: u32,
    /// The type.
    pub of: &'a str,
    /// Why not.
    pub reason: &'a str,
}

/// Something that exists only in a view, of an object.
#[derive(Debug, Clone)]
pub struct MadeUp {
    pub(super) view: Rc<Synthetic>,
    pub(super) context: Rc<Context>,
}

impl Found {
    pub(super) fn view(&self) -> &TypeView {
        &self.file.types[self.index]
    }
}

impl ViewStore {
    pub(super) fn files(&self) -> &[Rc<ViewFile>] {
        &self.files
    }

    pub(super) fn failures(&self) -> impl Iterator<Item = ViewFailure<'_>> {
        self.failures.iter().map(|((path, of), (line, reason))| ViewFailure { path, line: *line, of, reason })
    }

    /// Remembers that a view is not for objects of a type.
    pub(super) fn note_failure(&mut self, found: &Found, of: &Type, error: &ExprError) {
        // Memory and its contents are the object's fault, and not the view's.
        let is_of_view = !is_unreadable(error)
            && !matches!(error, ExprError::View { .. } | ExprError::TooComplex | ExprError::Interrupted);
        if is_of_view && self.failures.len() < FAILURE_LIMIT {
            self.failures
                .entry((found.file.path.clone(), of.qualified_name()))
                .or_insert_with(|| (found.view().line, error.to_string()));
        }
    }

    pub(super) fn load(&mut self, file: ViewFile) {
        self.files.retain(|known| known.path != file.path);
        self.files.push(Rc::new(file));
        self.known.clear();
        self.failures.clear();
    }

    pub(super) fn unload(&mut self, goes: impl Fn(&ViewFile) -> bool) -> usize {
        let before = self.files.len();
        self.files.retain(|file| !goes(file));
        self.known.clear();
        self.failures.clear();
        before - self.files.len()
    }

    /// A result of calls by its name, as files of views have it; those loaded last first.
    pub(super) fn call_result(&self, value: u32) -> Option<String> {
        let found = self.files.iter().rev().flat_map(|file| &file.results).find(|result| result.value == value)?;
        let names = found.names.join(", ");
        Some(if found.description.is_empty() { names } else { format!("{names}: {}", found.description) })
    }

    /// Whether results of calls have names.
    pub(super) fn has_call_results(&self) -> bool {
        self.files.iter().any(|file| !file.results.is_empty())
    }

    /// Views of a type of this name.
    fn named(&mut self, name: &str) -> Rc<[Rc<Found>]> {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let parsed = TypePattern::parse(name);
        let mut found: Vec<(_, Rc<Found>)> = Vec::new();
        for (age, file) in self.files.iter().enumerate() {
            for (index, view) in file.types.iter().enumerate() {
                let fits = view.types.iter().filter_map(|one| Some((one, one.pattern.matches(&parsed)?)));
                // What is asked for by name goes before what holds anyway, what says more of the type before what says
                // less, and only among those that say the same the priority counts.
                let is_asked_for = !view.guard.include.is_empty();
                let fits = fits.map(|(one, (captures, fit))| {
                    let Fit { written, single } = fit;
                    ((age, is_asked_for, written, one.priority, single), one.inheritable, captures)
                });
                let Some((order, inheritable, captures)) = fits.max_by_key(|(order, ..)| *order) else { continue };
                found.push((Reverse(order), Rc::new(Found { file: file.clone(), index, captures, inheritable })));
            }
        }
        found.sort_by_key(|(order, _)| *order);
        let found: Rc<[_]> = found.into_iter().map(|(_, found)| found).collect();
        if self.known.len() >= CACHE_LIMIT {
            self.known.clear();
        }
        self.known.insert(name.to_owned(), found.clone());
        found
    }

    /// Views for an object, each with the object as it sees it: a base class of it where the view is one of that.
    pub(super) fn of_object(&mut self, value: &Value, memory: &mut dyn MemoryReader) -> Vec<(Rc<Found>, Value)> {
        let mut budget = BASE_LIMIT;
        let mut found = Vec::new();
        self.collect(value, true, &mut budget, memory, &mut found);
        found
    }

    fn collect(
        &mut self,
        value: &Value,
        is_own: bool,
        budget: &mut usize,
        memory: &mut dyn MemoryReader,
        found: &mut Vec<(Rc<Found>, Value)>,
    ) {
        let resolved = value.value_type().resolved();
        let TypeKind::Record(record) = resolved.kind() else { return };
        let views = self.named(&resolved.qualified_name());
        let wanted = views.iter().filter(|view| is_own || view.inheritable);
        found.extend(wanted.map(|view| (view.clone(), value.cast(resolved.clone()))));
        for number in 0..record.bases.len() {
            let Some(left) = budget.checked_sub(1) else { return };
            *budget = left;
            if let Ok(base) = value.cast(resolved.clone()).base(number, memory) {
                self.collect(&base, false, budget, memory, found);
            }
        }
    }

    /// Whether there may be a view for objects of a type, told without reading.
    pub(super) fn may_have(&mut self, of: &Type) -> bool {
        let mut budget = BASE_LIMIT;
        self.may_have_within(of, true, &mut budget)
    }

    fn may_have_within(&mut self, of: &Type, is_own: bool, budget: &mut usize) -> bool {
        let Some(left) = budget.checked_sub(1) else { return false };
        *budget = left;
        let resolved = of.resolved();
        let Some(record) = resolved.record() else { return false };
        self.named(&resolved.qualified_name()).iter().any(|view| is_own || view.inheritable)
            || record.bases.iter().any(|base| self.may_have_within(&resolved.sibling(base.base_type), false, budget))
    }
}

/// The object that a pointer leads to, if there may be a view of it.
pub(super) fn pointee(
    store: &mut ViewStore,
    value: &Value,
    memory: &mut dyn MemoryReader,
) -> Option<Result<Value, Unavailable>> {
    let target = value.value_type().target()?;
    if !store.may_have(&target) {
        return None;
    }
    match value.deref(memory) {
        Ok(target) if target.address().is_some_and(|at| at.0 == 0) => None,
        other => Some(other),
    }
}
