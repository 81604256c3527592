//! Elements: of containers, of collections of the debugger's, and what queries make of them.

use std::ops::ControlFlow;
use std::rc::Rc;

use outpost_symbols::{Value, View, ViewKind, ViewLimits};

use super::key::{Key, unreadable};
use super::{ELEMENT_LIMIT, Model, Object, Part, Parts};
use crate::expr::{ExprError, Lambda};

/// References and owners that are gone through to a container.
const OWNER_LIMIT: usize = 8;

/// Elements that are not a container of the debuggee.
#[derive(Debug)]
pub enum Sequence {
    /// These.
    List(Vec<Part>),
    /// What a query makes of others.
    Query {
        /// The others.
        of: Object,
        /// What it makes of them.
        query: Query,
    },
}

/// What is made of elements.
#[derive(Debug)]
pub enum Query {
    /// Those for which it holds.
    Where(Function),
    /// What it gives for each.
    Select(Function),
    /// The elements of what it gives for each.
    SelectMany(Function),
    /// The first so many.
    Take(u64),
    /// Those after so many.
    Skip(u64),
    /// In order of what the first gives for each; those that are equal in order of the next; backwards if so.
    OrderBy(Vec<(Function, bool)>),
    /// Each once, by what it gives for each if there is a function.
    Distinct(Option<Function>),
    /// Last first.
    Reverse,
}

impl Query {
    /// The functions that it has.
    pub(super) fn functions(&self) -> impl Iterator<Item = &Function> {
        let (one, several) = match self {
            Query::Where(function) | Query::Select(function) | Query::SelectMany(function) => (Some(function), &[][..]),
            Query::OrderBy(functions) => (None, &functions[..]),
            Query::Distinct(function) => (function.as_ref(), &[][..]),
            Query::Take(_) | Query::Skip(_) | Query::Reverse => (None, &[][..]),
        };
        one.into_iter().chain(several.iter().map(|(function, _)| function))
    }
}

/// A function with what the names around it stand for.
#[derive(Debug, Clone)]
pub struct Function {
    pub(super) lambda: Lambda,
    pub(super) names: Rc<Vec<(String, Object)>>,
}

impl Function {
    /// Whether what its names stand for holds objects in objects deeper than `limit`.
    pub(super) fn is_deeper_than(&self, limit: usize) -> bool {
        self.names.iter().any(|(_, object)| object.is_deeper_than(limit))
    }
}

/// Goes on, or has seen enough.
pub(super) type Step = Result<ControlFlow<()>, ExprError>;

/// The first thing that went wrong; work goes on so that all that is missing is asked for at once.
#[derive(Default)]
pub(super) struct Failure(Option<ExprError>);

impl Failure {
    /// What was found of an element; `None` for what was not. An interrupt is no failure but the end.
    pub(super) fn noted<T>(&mut self, of: &str, found: Result<T, ExprError>) -> Result<Option<T>, ExprError> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(ExprError::Interrupted) => Err(ExprError::Interrupted),
            Err(error) => {
                self.0.get_or_insert_with(|| match is_of_element(&error) {
                    true => ExprError::Element { name: of.to_owned(), error: Box::new(error) },
                    false => error,
                });
                Ok(None)
            }
        }
    }

    pub(super) fn end(self) -> Result<(), ExprError> {
        self.0.map_or(Ok(()), Err)
    }
}

impl Model<'_> {
    /// Shows the elements of an object to `visit`, one after the other, until it has seen enough.
    pub(super) fn each(&mut self, object: &Object, visit: &mut dyn FnMut(&mut Self, Part) -> Step) -> Step {
        self.deeper(|model| model.each_here(object, visit))
    }

    /// Shows the elements of an object to `visit` for as long as that wants to see more.
    pub(super) fn look_at(
        &mut self,
        object: &Object,
        visit: &mut dyn FnMut(&mut Self, Part) -> Result<bool, ExprError>,
    ) -> Result<(), ExprError> {
        let mut step = |model: &mut Self, part: Part| {
            Ok(if visit(model, part)? { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        };
        // Whether all were seen is for the one who looks.
        self.each(object, &mut step).map(|_| ())
    }

    fn each_here(&mut self, object: &Object, visit: &mut dyn FnMut(&mut Self, Part) -> Step) -> Step {
        let sequence = match object {
            Object::Value(value) => return self.each_of_container(value, visit),
            Object::Node(node) if node.has_elements() => {
                let parts = self.node_parts(*node)?;
                return self.each_of(parts, visit);
            }
            Object::Sequence(sequence) => sequence.clone(),
            Object::Failed(error) => return Err(error.clone()),
            other => return Err(no_elements(other)),
        };
        match &*sequence {
            Sequence::List(parts) => self.each_of(parts.clone(), visit),
            Sequence::Query { of, query } => self.each_of_query(of, query, visit),
        }
    }

    fn each_of(&mut self, parts: Vec<Part>, visit: &mut dyn FnMut(&mut Self, Part) -> Step) -> Step {
        for part in parts {
            self.check_interrupt()?;
            if visit(self, part)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn each_of_query(&mut self, of: &Object, query: &Query, visit: &mut dyn FnMut(&mut Self, Part) -> Step) -> Step {
        const GO_ON: Step = Ok(ControlFlow::Continue(()));
        let mut failure = Failure::default();
        let flow = match query {
            Query::Where(function) => self.each(of, &mut |model, part| {
                let holds = model.apply(function, &[&part.object]).and_then(|object| model.is_true(&object));
                match holds {
                    Ok(true) => visit(model, part),
                    Ok(false) => GO_ON,
                    // Shown in its place, and the others are not lost for it.
                    Err(error) if model.shows_undecided && is_of_element(&error) => {
                        visit(model, Part { object: Object::Failed(error), is_undecided: true, ..part })
                    }
                    Err(error) => failure.noted::<()>(&part.name, Err(error)).and(GO_ON),
                }
            })?,
            Query::Select(function) => self.each(of, &mut |model, part| {
                // What fails says so in its place.
                let object = match model.apply(function, &[&part.object]) {
                    Err(ExprError::Interrupted) => return Err(ExprError::Interrupted),
                    found => found.unwrap_or_else(Object::Failed),
                };
                visit(model, Part { is_undecided: part.is_undecided, ..Part::named(part.name, object) })
            })?,
            Query::SelectMany(function) => self.each(of, &mut |model, part| {
                if part.is_undecided {
                    return visit(model, part);
                }
                let inner = model.apply(function, &[&part.object]);
                let flow = inner.and_then(|inner| model.each(&inner, visit));
                Ok(failure.noted(&part.name, flow)?.unwrap_or(ControlFlow::Continue(())))
            })?,
            Query::Take(0) => return GO_ON,
            Query::Take(count) => {
                let mut left = *count;
                let mut has_seen_enough = false;
                let flow = self.each(of, &mut |model, part| {
                    left -= u64::from(!part.is_undecided);
                    has_seen_enough = visit(model, part)?.is_break();
                    Ok(if left == 0 || has_seen_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                })?;
                // That all are taken is no wish to end: whoever takes of two containers goes on with the second.
                return if has_seen_enough { Ok(flow) } else { GO_ON };
            }
            Query::Skip(count) => {
                let mut left = *count;
                self.each(of, &mut |model, part| match left.checked_sub(1) {
                    Some(less) if !part.is_undecided => {
                        left = less;
                        GO_ON
                    }
                    _ => visit(model, part),
                })?
            }
            Query::OrderBy(functions) => {
                let parts = self.ordered(of, functions)?;
                self.each_of(parts, visit)?
            }
            Query::Distinct(function) => {
                let keyed = self.keyed(of, function.as_ref())?;
                let mut order: Vec<usize> = (0..keyed.len()).collect();
                order.sort_by(|&one, &other| keyed[one].0.order(&keyed[other].0));
                order.dedup_by(|later, first| keyed[*later].0.order(&keyed[*first].0).is_eq());
                // The first of each, in the order they came: sorting keeps it among equals.
                order.sort_unstable();
                let parts = order.into_iter().map(|at| keyed[at].1.clone()).collect();
                self.each_of(parts, visit)?
            }
            Query::Reverse => {
                let mut parts = self.all(of)?;
                parts.reverse();
                self.each_of(parts, visit)?
            }
        };
        if flow.is_continue() {
            failure.end()?;
        }
        Ok(flow)
    }

    /// All elements with what they are compared by.
    pub(super) fn keyed(&mut self, of: &Object, function: Option<&Function>) -> Result<Vec<(Key, Part)>, ExprError> {
        let mut failure = Failure::default();
        let mut keyed = Vec::new();
        for part in self.all(of)? {
            let object = match function {
                Some(function) => self.apply(function, &[&part.object]),
                None => Ok(part.object.clone()),
            };
            let key = object.and_then(|object| self.key_of(&object));
            keyed.extend(failure.noted(&part.name, key)?.map(|key| (key, part)));
        }
        failure.end()?;
        Ok(keyed)
    }

    /// All elements.
    pub(super) fn all(&mut self, of: &Object) -> Result<Vec<Part>, ExprError> {
        let mut parts = Vec::new();
        self.look_at(of, &mut |_, part| {
            if parts.len() as u64 == ELEMENT_LIMIT {
                return Err(too_many());
            }
            parts.push(part);
            Ok(true)
        })?;
        Ok(parts)
    }

    /// The first so many elements, to be shown, and no more than so many again of which it cannot be told if they are some.
    pub(super) fn first_parts(&mut self, of: &Object, count: usize) -> Result<Parts, ExprError> {
        let mut parts = Parts::default();
        let (mut decided, mut undecided) = (0, 0);
        let shows_undecided = std::mem::replace(&mut self.shows_undecided, true);
        // Those that are undecided end nothing: in all rounds of a batch but the last they are what is not read yet.
        let looked = self.look_at(of, &mut |_, part| {
            let number = if part.is_undecided { &mut undecided } else { &mut decided };
            let is_shown = *number < count;
            *number += 1;
            parts.more |= !is_shown;
            let goes_on = is_shown || part.is_undecided;
            if is_shown {
                parts.items.push(part);
            }
            Ok(goes_on)
        });
        self.shows_undecided = shows_undecided;
        looked.map(|()| parts)
    }

    /// The element at a place.
    pub(super) fn nth(&mut self, of: &Object, at: u64) -> Result<Option<Part>, ExprError> {
        let mut left = at;
        let mut found = None;
        self.look_at(of, &mut |_, part| {
            match left.checked_sub(1) {
                Some(less) => left = less,
                None => found = Some(part),
            }
            Ok(found.is_none())
        })?;
        Ok(found)
    }

    fn each_of_container(&mut self, value: &Value, visit: &mut dyn FnMut(&mut Self, Part) -> Step) -> Step {
        let (parts, total) =
            self.container_parts(value, &ViewLimits { count: ELEMENT_LIMIT, ..ViewLimits::default() })?;
        let shown = parts.len() as u64;
        let flow = self.each_of(parts, visit)?;
        if flow.is_continue() && shown < total {
            return Err(too_many());
        }
        Ok(flow)
    }

    /// Elements of a container, and how many it has: entries of maps have `first` and `second`.
    pub(super) fn container_parts(
        &mut self,
        value: &Value,
        limits: &ViewLimits,
    ) -> Result<(Vec<Part>, u64), ExprError> {
        if let Some(parts) = self.engine.view_elements(value, limits, self.memory) {
            let parts = parts?;
            let total = parts.items.len() as u64 + u64::from(parts.more);
            return Ok((parts.items, total));
        }
        let container = self.container(value)?.ok_or_else(|| no_elements(&Object::Value(value.clone())))?;
        let unreadable = |reason| unreadable(value, reason);
        if let Some(View::Map { entries, length }) =
            container.view(limits, self.memory).transpose().map_err(unreadable)?
        {
            let pair = |(key, value): (Value, Value)| {
                let members = [("first".to_owned(), Object::Value(key)), ("second".to_owned(), Object::Value(value))];
                Object::Record(members.into())
            };
            let parts = entries.into_iter().enumerate();
            let parts = parts.map(|(at, entry)| Part::member(&format!("[{at}]"), pair(entry))).collect();
            return Ok((parts, length));
        }
        let children = container.children(limits, false, self.memory).map_err(unreadable)?;
        let parts = children.items.into_iter().map(|child| Part::member(&child.name, Object::Value(child.value)));
        Ok((parts.collect(), children.total))
    }

    /// The container that a value is, or leads to by a reference, an owner or a pointer; `None` if it leads to none.
    fn container(&mut self, value: &Value) -> Result<Option<Value>, ExprError> {
        let mut value = value.clone();
        for _ in 0..OWNER_LIMIT {
            let of = value.value_type().resolved();
            value = match of.view_kind() {
                Some(ViewKind::Container) => return Ok(Some(value)),
                Some(ViewKind::Text) => return Ok(None),
                Some(ViewKind::Single) => match value.view(&ViewLimits::default(), self.memory) {
                    Some(Ok(
                        View::Pointer { target: Some(inner), .. } | View::Wrapped(inner) | View::Noted { inner, .. },
                    )) => inner,
                    Some(Err(reason)) => return Err(unreadable(&value, reason)),
                    _ => return Ok(None),
                },
                None if of.element().is_some() => return Ok(Some(value)),
                None if of.is_pointer() => value.deref(self.memory).map_err(|reason| unreadable(&value, reason))?,
                None => return Ok(None),
            };
        }
        Ok(None)
    }
}

/// Whether an error is about what an element holds, and not about the expression, which is as wrong for all others.
fn is_of_element(error: &ExprError) -> bool {
    match error {
        ExprError::Memory { .. } | ExprError::Value { .. } | ExprError::View { .. } => true,
        ExprError::Element { error, .. } => is_of_element(error),
        _ => false,
    }
}

fn no_elements(of: &Object) -> ExprError {
    ExprError::Object { name: "elements".to_owned(), reason: format!("{} has none", of.kind()) }
}

pub(super) fn too_many() -> ExprError {
    let reason = format!("there are more than {ELEMENT_LIMIT}; Take(n) limits them");
    ExprError::Object { name: "elements".to_owned(), reason }
}
