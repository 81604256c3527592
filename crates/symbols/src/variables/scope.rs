//! What is visible at an address: functions inlined into each other, their blocks, their variables.

use std::collections::HashSet;
use std::ops::ControlFlow;

use gimli::AttributeValue;
use outpost_base::ImageOffset;

use super::Variables;
use super::die::{Die, for_each_child, ranges_cover};
use crate::types::dwarf::attributes::{Entry, file_name, flag};
use crate::{DieRef, Type};

/// How deep blocks may nest. Compilers stay below 50 even with everything inlined.
const DEPTH_LIMIT: usize = 256;
/// Most variables of one function that are listed.
const VARIABLE_LIMIT: usize = 1 << 14;

/// One function's activation at an address: the function itself, or one inlined into it.
#[derive(Clone, Debug)]
pub struct Activation {
    /// Its DIE: a `DW_TAG_subprogram` or a `DW_TAG_inlined_subroutine`.
    pub die: DieRef,
    /// Its name without scope.
    pub name: Option<String>,
    /// Whether it was inlined into the next activation of the list.
    pub inlined: bool,
    /// Its scopes that cover the address, innermost first; the last is the function's own.
    pub scopes: Vec<Scope>,
}

/// One block, or the outermost scope of a function.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Its variables in order of declaration.
    pub variables: Vec<Variable>,
}

/// A variable: what it is called, and its type. Where it is depends on a frame: [`Variables::value`].
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its DIE.
    pub die: DieRef,
    /// Name without scope; empty for parameters without one.
    pub name: String,
    /// What role it has.
    pub kind: VariableKind,
    /// Type as declared.
    pub value_type: Type,
    /// Whether the compiler made it (`this`, `__for_range`).
    pub artificial: bool,
    /// Whether another variable of the same name in an inner scope hides it.
    pub shadowed: bool,
    /// Where it is declared.
    pub declared: Option<DeclaredAt>,
    /// The function that it belongs to; frame base and blocks are that function's.
    pub(super) function: Option<DieRef>,
}

/// The role of a variable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VariableKind {
    /// A parameter.
    Parameter,
    /// A local variable.
    Local,
    /// A variable with one place for all threads, local to a function or not.
    Static,
    /// A variable with a copy for each thread.
    ThreadLocal,
}

/// A place in the source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeclaredAt {
    /// The file as the line table names it, with its directory; `None` if the table lacks it.
    pub file: Option<String>,
    /// Line, from 1.
    pub line: u64,
}

impl Variables {
    /// The activations whose code covers `at`, innermost first; the last is the function that was not inlined.
    ///
    /// `at` is an address inside an instruction, not a return address ([`FrameContext::lookup_address`]). Empty
    /// outside functions with debug info.
    ///
    /// [`FrameContext::lookup_address`]: crate::FrameContext::lookup_address
    pub fn activations_at(&self, at: ImageOffset) -> Vec<Activation> {
        let Some(function) = self.function_at(at).and_then(|die| Die::read(&self.info, die)) else { return Vec::new() };
        let mut walk = Walk { variables: self, at: at.0, function: function.at, left: VARIABLE_LIMIT };
        let mut found = Vec::new();
        let mut current = Some((function, false));
        for _ in 0..DEPTH_LIMIT {
            let Some((die, inlined)) = current.take() else { break };
            let (activation, inner) = walk.activation(die, inlined);
            found.push(activation);
            current = inner.map(|die| (die, true));
        }
        found.reverse();
        for activation in &mut found {
            mark_shadowed(&mut activation.scopes);
        }
        found
    }

    /// The variable that a DIE describes: a global, a static, or one found before; `None` if it is no variable.
    pub fn variable(&self, die: DieRef) -> Option<Variable> {
        let die = Die::read(&self.info, die)?;
        let is_variable =
            matches!(die.entry.tag(), gimli::DW_TAG_variable | gimli::DW_TAG_formal_parameter | gimli::DW_TAG_member);
        is_variable.then(|| self.describe(&die, None))
    }

    fn describe(&self, die: &Die, function: Option<DieRef>) -> Variable {
        let info = &self.info;
        let is_flag = |name| matches!(die.inherited(info, name), Some((_, AttributeValue::Flag(true))));
        Variable {
            die: die.at,
            name: die.name(info).unwrap_or_default(),
            kind: self.kind(die),
            value_type: self.types.get(die.type_id(info)),
            artificial: is_flag(gimli::DW_AT_artificial),
            shadowed: false,
            declared: self.declared_at(die),
            function,
        }
    }

    fn kind(&self, die: &Die) -> VariableKind {
        if die.entry.tag() == gimli::DW_TAG_formal_parameter {
            return VariableKind::Parameter;
        }
        let location = die.entry.attr(gimli::DW_AT_location).and_then(|attribute| attribute.exprloc_value());
        let Some(location) = location else { return VariableKind::Local };
        let mut operations = location.operations(die.unit.encoding());
        let (mut kind, mut first) = (VariableKind::Local, true);
        while let Ok(Some(operation)) = operations.next() {
            match operation {
                gimli::Operation::TLS => return VariableKind::ThreadLocal,
                gimli::Operation::Address { .. } | gimli::Operation::AddressIndex { .. } if first => {
                    kind = VariableKind::Static;
                }
                _ => {}
            }
            first = false;
        }
        kind
    }

    fn declared_at(&self, die: &Die) -> Option<DeclaredAt> {
        let (owner, value) = die.inherited(&self.info, gimli::DW_AT_decl_line)?;
        let line = value.udata_value()?;
        let file = match die.inherited(&self.info, gimli::DW_AT_decl_file) {
            Some((owner, AttributeValue::FileIndex(index))) => self.file_name(&owner, index),
            Some((owner, value)) => value.udata_value().and_then(|index| self.file_name(&owner, index)),
            None => self.file_name(&owner, 1),
        };
        Some(DeclaredAt { file, line })
    }

    fn file_name(&self, die: &Die, index: u64) -> Option<String> {
        file_name(die.unit_ref(&self.info), index)
    }
}

/// The first of several variables of one name hides the others.
fn mark_shadowed(scopes: &mut [Scope]) {
    let mut seen = HashSet::new();
    for scope in scopes {
        let mut here = Vec::new();
        for variable in &mut scope.variables {
            variable.shadowed = seen.contains(&variable.name);
            here.push(variable.name.clone());
        }
        seen.extend(here);
    }
}

/// A walk down from one function to the innermost block that covers an address.
struct Walk<'a> {
    variables: &'a Variables,
    at: u64,
    function: DieRef,
    /// Variables that may still be listed.
    left: usize,
}

/// What one level of DIEs holds.
#[derive(Default)]
struct Level {
    variables: Vec<Variable>,
    /// The block or inlined function to go on with.
    inner: Option<Die>,
    /// DIEs that the level's own complete.
    completed: HashSet<DieRef>,
}

impl Walk<'_> {
    /// The activation of `die`, and the function inlined into it at the address.
    fn activation(&mut self, die: Die, inlined: bool) -> (Activation, Option<Die>) {
        let name = die.name(&self.variables.info);
        let at = die.at;
        let mut scopes = Vec::new();
        let mut current = Some(die);
        let mut inner_function = None;
        while let Some(die) = current.take().filter(|_| scopes.len() < DEPTH_LIMIT) {
            let mut level = Level::default();
            self.level(&die, &mut level, DEPTH_LIMIT);
            self.inherit(&die, &mut level);
            scopes.push(Scope { variables: level.variables });
            match level.inner {
                Some(inner) if inner.entry.tag() == gimli::DW_TAG_inlined_subroutine => inner_function = Some(inner),
                inner => current = inner,
            }
        }
        scopes.reverse();
        (Activation { die: at, name, inlined, scopes }, inner_function)
    }

    fn level(&mut self, parent: &Die, level: &mut Level, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        let (variables, unit) = (self.variables, parent.unit.clone());
        let mut transparent = Vec::new();
        for_each_child::<()>(&unit, parent.entry.offset(), |entry| {
            let Some(die) = self.child(parent, entry) else { return ControlFlow::Continue(()) };
            for value in [entry.attr_value(gimli::DW_AT_abstract_origin), entry.attr_value(gimli::DW_AT_specification)]
            {
                level.completed.extend(value.and_then(|value| variables.info.resolve(parent.index, &value)));
            }
            match entry.tag() {
                gimli::DW_TAG_formal_parameter | gimli::DW_TAG_variable => self.add(&die, level),
                tag if is_block(tag) => match ranges_cover(die.unit_ref(&variables.info), entry, self.at) {
                    Some(true) if level.inner.is_none() => level.inner = Some(die),
                    Some(_) => {}
                    // A block without addresses is no scope of its own: what is in it belongs to the one around.
                    None if tag != gimli::DW_TAG_inlined_subroutine => transparent.push(die),
                    None => {}
                },
                _ => {}
            }
            ControlFlow::Continue(())
        });
        for block in transparent {
            self.level(&block, level, depth);
        }
    }

    /// Variables that only the abstract instance has: the compiler optimised them away here (gdb lists them too).
    fn inherit(&mut self, die: &Die, level: &mut Level) {
        let Some(origin) = die.origin(&self.variables.info) else { return };
        let mut found = Vec::new();
        self.inherited_from(&origin, level, 8, &mut found);
        if found.is_empty() {
            return;
        }
        // A block here need not name the abstract one that it stands for, so what is in it counts as well: it is listed
        // there, or is not in scope.
        let mut elsewhere = HashSet::new();
        self.completed_below(die, &mut elsewhere, DEPTH_LIMIT);
        for variable in found.iter().filter(|variable| !elsewhere.contains(&variable.at)) {
            self.add(variable, level);
        }
    }

    fn inherited_from(&mut self, origin: &Die, level: &Level, depth: usize, found: &mut Vec<Die>) {
        let Some(depth) = depth.checked_sub(1) else { return };
        let unit = origin.unit.clone();
        let mut blocks = Vec::new();
        for_each_child::<()>(&unit, origin.entry.offset(), |entry| {
            let Some(die) = self.child(origin, entry) else { return ControlFlow::Continue(()) };
            if !level.completed.contains(&die.at) {
                match entry.tag() {
                    gimli::DW_TAG_formal_parameter | gimli::DW_TAG_variable => found.push(die),
                    gimli::DW_TAG_lexical_block => blocks.push(die),
                    _ => {}
                }
            }
            ControlFlow::Continue(())
        });
        for block in blocks {
            self.inherited_from(&block, level, depth, found);
        }
    }

    /// What the variables in the blocks of `parent` complete.
    fn completed_below(&self, parent: &Die, completed: &mut HashSet<DieRef>, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        let mut blocks = Vec::new();
        for_each_child::<()>(&parent.unit, parent.entry.offset(), |entry| {
            match entry.tag() {
                gimli::DW_TAG_formal_parameter | gimli::DW_TAG_variable => {
                    let origin = entry.attr_value(gimli::DW_AT_abstract_origin);
                    completed.extend(origin.and_then(|value| self.variables.info.resolve(parent.index, &value)));
                }
                // Those of functions inlined into it are other functions' variables.
                tag if is_block(tag) && tag != gimli::DW_TAG_inlined_subroutine => {
                    blocks.extend(self.child(parent, entry));
                }
                _ => {}
            }
            ControlFlow::Continue(())
        });
        for block in blocks {
            self.completed_below(&block, completed, depth);
        }
    }

    fn add(&mut self, die: &Die, level: &mut Level) {
        let declared_only = flag(&die.entry, gimli::DW_AT_declaration) && !die.entry.has_attr(gimli::DW_AT_location);
        if declared_only || self.left == 0 {
            return;
        }
        self.left -= 1;
        level.variables.push(self.variables.describe(die, Some(self.function)));
    }

    fn child(&self, parent: &Die, entry: &Entry) -> Option<Die> {
        let at = self.variables.info.die(parent.index, entry.offset())?;
        Some(Die { index: parent.index, unit: parent.unit.clone(), entry: entry.clone(), at })
    }
}

fn is_block(tag: gimli::DwTag) -> bool {
    matches!(
        tag,
        gimli::DW_TAG_lexical_block
            | gimli::DW_TAG_inlined_subroutine
            | gimli::DW_TAG_try_block
            | gimli::DW_TAG_catch_block
    )
}
