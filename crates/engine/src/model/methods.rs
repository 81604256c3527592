//! Methods of objects.

use std::rc::Rc;

use outpost_symbols::{Value, ViewLimits};

use super::key::Key;
use super::sequence::{Failure, Function, Query, Sequence};
use super::{Model, Names, Object, Part};
use crate::Engine;
use crate::expr::{Cpp, ExprError, Name, Scope, builtin};

/// Kept functions that are looked through for calls of others.
const KEPT_IN_KEPT: usize = 4;

/// What has a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodKind {
    /// Everything.
    Any,
    /// What has elements.
    Elements,
    /// Texts of the debugger and of the debuggee.
    Text,
}

/// A method, for help.
#[derive(Debug, Clone, Copy)]
pub struct ObjectMethod {
    /// Its name.
    pub name: &'static str,
    /// What has it.
    pub kind: MethodKind,
    /// How it is called.
    pub syntax: &'static str,
    /// What it gives, in one line.
    pub summary: &'static str,
}

const fn method(name: &'static str, kind: MethodKind, syntax: &'static str, summary: &'static str) -> ObjectMethod {
    ObjectMethod { name, kind, syntax, summary }
}

use MethodKind::{Any, Elements, Text};

/// All methods.
pub const METHODS: &[ObjectMethod] = &[
    method("ToDisplayString", Any, "ToDisplayString()", "the object as text"),
    method(
        "Aggregate",
        Elements,
        "Aggregate([start, ](x, y) => value)",
        "what the function makes of all, one after the other",
    ),
    method("All", Elements, "All(x => condition)", "whether it holds for all elements"),
    method(
        "AllNonError",
        Elements,
        "AllNonError(x => condition)",
        "the same, without those about which it cannot be told",
    ),
    method("Any", Elements, "Any([x => condition])", "whether there is an element, or one for which it holds"),
    method(
        "AnyNonError",
        Elements,
        "AnyNonError([x => condition])",
        "the same, without those about which it cannot be told",
    ),
    method("Average", Elements, "Average([x => value])", "the mean of numbers"),
    method("Concat", Elements, "Concat(elements)", "these, then the others"),
    method("Contains", Elements, "Contains(value)", "whether an element equals the value"),
    method("Count", Elements, "Count([x => condition])", "how many there are, or for how many it holds"),
    method("Distinct", Elements, "Distinct([x => key])", "each once, in the order they come"),
    method("Except", Elements, "Except(elements)", "each once that is not among the others"),
    method("First", Elements, "First([x => condition])", "the first, or the first for which it holds"),
    method(
        "FirstNonError",
        Elements,
        "FirstNonError([x => condition])",
        "the first that can be had, or for which it holds",
    ),
    method(
        "Flatten",
        Elements,
        "Flatten([x => elements])",
        "a tree's nodes, each before what is below it; or the elements of all",
    ),
    method("GroupBy", Elements, "GroupBy(x => key)", "groups of those with the same key"),
    method("Intersect", Elements, "Intersect(elements)", "each once that is among the others, too"),
    method(
        "Join",
        Elements,
        "Join(elements, x => key, y => key, (x, y) => value)",
        "what the last gives for each pair with the same key",
    ),
    method("Last", Elements, "Last([x => condition])", "the last, or the last for which it holds"),
    method(
        "LastNonError",
        Elements,
        "LastNonError([x => condition])",
        "the last that can be had, or for which it holds",
    ),
    method("Max", Elements, "Max([x => value])", "the greatest"),
    method("Min", Elements, "Min([x => value])", "the least"),
    method("OrderBy", Elements, "OrderBy(x => key)", "in ascending order of the keys"),
    method("OrderByDescending", Elements, "OrderByDescending(x => key)", "in descending order of the keys"),
    method("Reverse", Elements, "Reverse()", "the last first"),
    method("Select", Elements, "Select(x => value)", "what it gives for each"),
    method("SelectMany", Elements, "SelectMany(x => elements)", "the elements of what it gives for each"),
    method("SequenceEqual", Elements, "SequenceEqual(elements)", "whether both have equal elements in the same order"),
    method("Single", Elements, "Single([x => condition])", "the only one, or the only one for which it holds"),
    method("Skip", Elements, "Skip(count)", "those after the first so many"),
    method("SkipWhile", Elements, "SkipWhile(x => condition)", "those from the first on for which it does not hold"),
    method("Sum", Elements, "Sum([x => value])", "the sum of numbers"),
    method("Take", Elements, "Take(count)", "the first so many"),
    method("TakeWhile", Elements, "TakeWhile(x => condition)", "those before the first for which it does not hold"),
    method("ThenBy", Elements, "ThenBy(x => key)", "after OrderBy: what is equal in ascending order of these keys"),
    method(
        "ThenByDescending",
        Elements,
        "ThenByDescending(x => key)",
        "after OrderBy: what is equal in descending order of these keys",
    ),
    method("ToArray", Elements, "ToArray()", "the elements as they are now"),
    method("Union", Elements, "Union(elements)", "each once that is among these or the others"),
    method("Where", Elements, "Where(x => condition)", "those for which it holds"),
    method(
        "Zip",
        Elements,
        "Zip(elements[, (x, y) => value])",
        "those at the same places as First and Second, or what the function gives for them",
    ),
    method("Contains", Text, "Contains(text)", "whether the text is in it"),
    method("EndsWith", Text, "EndsWith(text)", "whether it ends with the text"),
    method("IndexOf", Text, "IndexOf(text)", "the place of the text in it, or -1"),
    method("Length", Text, "Length", "how many characters it has"),
    method("StartsWith", Text, "StartsWith(text)", "whether it begins with the text"),
    method("Substring", Text, "Substring(start[, length])", "a part of it, by characters"),
    method("ToLower", Text, "ToLower()", "in small letters"),
    method("ToUpper", Text, "ToUpper()", "in capital letters"),
];

impl Engine {
    /// Whether evaluating an expression of the object model may call functions of the debuggee: its own calls, methods that
    /// objects do not have, and what functions do that are kept under names.
    pub fn may_call(&self, expr: &Cpp) -> bool {
        self.may_call_within(expr, KEPT_IN_KEPT)
    }

    fn may_call_within(&self, expr: &Cpp, depth: usize) -> bool {
        let is_own = |method: &str| METHODS.iter().any(|known| known.name == method);
        expr.called_function().is_some()
            || expr.any(&|part| match part {
                Cpp::Call { method, .. } => !is_own(method),
                Cpp::Register(name) => match (self.objects.named.get(name), depth.checked_sub(1)) {
                    (Some(Object::Function(function)), Some(depth)) => {
                        self.may_call_within(&function.lambda.body, depth)
                    }
                    _ => false,
                },
                _ => false,
            })
    }
}

impl Model<'_> {
    /// Carries out a method.
    pub(super) fn call(
        &mut self,
        of: &Object,
        method: &str,
        arguments: &[Cpp],
        names: &Names,
    ) -> Result<Object, ExprError> {
        if let Object::Failed(error) = of {
            return Err(error.clone());
        }
        if let Object::Record(members) = of
            && let Some((_, function @ Object::Function(_))) = members.iter().find(|(name, _)| name == method)
        {
            return self.invoke(function, arguments, names);
        }
        let known = METHODS.iter().any(|known| known.name == method);
        let unknown = || ExprError::NoMethod { method: method.to_owned(), of: of.kind() };
        if !known {
            let Object::Value(value) = of else { return Err(unknown()) };
            let given = self.values_of(arguments, names)?;
            return self.scope().apply(&Name::plain(method), Some(value.clone()), given, None).map(Object::Value);
        }
        if method == "ToDisplayString" {
            return match arguments {
                [] => self.display(of).map(Object::Text),
                _ => Err(takes(method, "no argument; a format stands behind the whole expression")),
            };
        }
        let is_of = |kind| METHODS.iter().any(|known| known.name == method && known.kind == kind);
        if is_of(Text)
            && let Some(text) = self.text_of(of)?
        {
            return self.call_on_text(&text, method, arguments, names);
        }
        if !is_of(Elements) {
            return Err(unknown());
        }
        if let Some(object) = self.call_on_all(of, method, arguments, names)? {
            return Ok(object);
        }
        let query = |query: Query| Ok(Object::Sequence(Rc::new(Sequence::Query { of: of.clone(), query })));
        match method {
            "Where" => query(Query::Where(self.function(method, arguments, names)?)),
            "Select" => query(Query::Select(self.function(method, arguments, names)?)),
            "SelectMany" => query(Query::SelectMany(self.function(method, arguments, names)?)),
            "OrderBy" | "OrderByDescending" => {
                let function = self.function(method, arguments, names)?;
                query(Query::OrderBy(vec![(function, method.ends_with("Descending"))]))
            }
            "ThenBy" | "ThenByDescending" => {
                let function = self.function(method, arguments, names)?;
                // What is equal by what was said before is ordered by this as well: one query with one more key.
                let Object::Sequence(sequence) = of else { return Err(not_ordered(method)) };
                let Sequence::Query { of, query: Query::OrderBy(functions) } = &**sequence else {
                    return Err(not_ordered(method));
                };
                let mut functions = functions.clone();
                functions.push((function, method.ends_with("Descending")));
                Ok(Object::Sequence(Rc::new(Sequence::Query { of: of.clone(), query: Query::OrderBy(functions) })))
            }
            "Distinct" => query(Query::Distinct(self.optional_function(method, arguments, names)?)),
            "Reverse" if arguments.is_empty() => query(Query::Reverse),
            "Reverse" => Err(takes(method, "no argument")),
            "Take" => query(Query::Take(self.count(method, arguments, names)?)),
            "Skip" => query(Query::Skip(self.count(method, arguments, names)?)),
            "Contains" => self.contains(of, arguments, names),
            "Sum" | "Min" | "Max" => {
                let function = self.optional_function(method, arguments, names)?;
                let of = match function {
                    Some(function) => {
                        Object::Sequence(Rc::new(Sequence::Query { of: of.clone(), query: Query::Select(function) }))
                    }
                    None => of.clone(),
                };
                if method == "Sum" { self.sum(&of) } else { self.extreme(&of, method == "Max") }
            }
            "Count" if arguments.is_empty() => {
                // Of a container it is known without its elements.
                if let Object::Value(value) = of
                    && !self.engine.has_view_elements(value)
                {
                    let (_, total) = self.container_parts(value, &ViewLimits { count: 0, ..ViewLimits::default() })?;
                    return Ok(Object::number(total));
                }
                self.counted(of)
            }
            _ => {
                let function = self.optional_function(method, arguments, names)?;
                let chosen = match (method, function) {
                    ("All", Some(function)) => return self.holds_for_all(of, &function),
                    ("All", None) => return Err(takes(method, "a function: x => condition")),
                    (_, Some(function)) => {
                        Object::Sequence(Rc::new(Sequence::Query { of: of.clone(), query: Query::Where(function) }))
                    }
                    (_, None) => of.clone(),
                };
                match method {
                    "Any" => Ok(Object::truth(self.nth(&chosen, 0)?.is_some())),
                    "Count" => self.counted(&chosen),
                    "First" => self.nth(&chosen, 0)?.map(|part| part.object).ok_or_else(empty),
                    "Last" => self.last(&chosen),
                    _ => Err(unknown()),
                }
            }
        }
    }

    /// The one argument of a method, a function of one parameter.
    fn function(&mut self, method: &str, arguments: &[Cpp], names: &Names) -> Result<Function, ExprError> {
        let expected = "a function: x => expression";
        let [argument] = arguments else { return Err(takes(method, expected)) };
        self.function_of(method, argument, 1, expected, names)
    }

    /// The same of a method that needs none.
    pub(super) fn optional_function(
        &mut self,
        method: &str,
        arguments: &[Cpp],
        names: &Names,
    ) -> Result<Option<Function>, ExprError> {
        if arguments.is_empty() { Ok(None) } else { self.function(method, arguments, names).map(Some) }
    }

    /// An argument that is a function of so many parameters: written there, or what an object is.
    pub(super) fn function_of(
        &mut self,
        method: &str,
        argument: &Cpp,
        parameters: usize,
        expected: &'static str,
        names: &Names,
    ) -> Result<Function, ExprError> {
        let given = match argument {
            Cpp::Lambda(_) | Cpp::Register(_) | Cpp::Member { .. } | Cpp::Invoke { .. } | Cpp::Conditional(..) => {
                self.evaluate(argument, names)?
            }
            Cpp::Name(name) => names.get(&name.text).cloned().unwrap_or(Object::Nothing),
            _ => Object::Nothing,
        };
        match given {
            Object::Function(function) if function.lambda.parameters.len() == parameters => {
                Ok(Function::clone(&function))
            }
            Object::Failed(error) => Err(error),
            _ => Err(takes(method, expected)),
        }
    }

    fn counted(&mut self, of: &Object) -> Result<Object, ExprError> {
        let mut count = 0;
        self.look_at(of, &mut |_, _| {
            count += 1;
            Ok(true)
        })?;
        Ok(Object::number(count))
    }

    fn last(&mut self, of: &Object) -> Result<Object, ExprError> {
        let mut last = None;
        self.look_at(of, &mut |_, part| {
            last = Some(part.object);
            Ok(true)
        })?;
        last.ok_or_else(empty)
    }

    fn holds_for_all(&mut self, of: &Object, function: &Function) -> Result<Object, ExprError> {
        let mut failure = Failure::default();
        let mut all = true;
        self.look_at(of, &mut |model, part| {
            let holds = model.apply(function, &[&part.object]).and_then(|object| model.is_true(&object));
            all = failure.noted(&part.name, holds)?.unwrap_or(true);
            Ok(all)
        })?;
        if all {
            failure.end()?;
        }
        Ok(Object::truth(all))
    }

    fn contains(&mut self, of: &Object, arguments: &[Cpp], names: &Names) -> Result<Object, ExprError> {
        let [wanted] = arguments else { return Err(takes("Contains", "a value")) };
        let wanted = self.evaluate(wanted, names)?;
        let wanted = self.key_of(&wanted)?;
        let mut failure = Failure::default();
        let mut found = false;
        self.look_at(of, &mut |model, part| {
            let key = model.key_of(&part.object);
            found = failure.noted(&part.name, key)?.is_some_and(|key| key == wanted);
            Ok(!found)
        })?;
        if !found {
            failure.end()?;
        }
        Ok(Object::truth(found))
    }

    fn sum(&mut self, of: &Object) -> Result<Object, ExprError> {
        let (mut integers, mut floats, mut is_float) = (0i128, 0.0, false);
        for key in self.keys(of)? {
            match key {
                Key::Integer(number) => {
                    integers = integers.checked_add(number).ok_or(ExprError::Overflow { text: "Sum".to_owned() })?;
                }
                Key::Float(number) => {
                    floats += number;
                    is_float = true;
                }
                _ => return Err(takes("Sum", "numbers")),
            }
        }
        if is_float {
            let sum = floats + integers as f64;
            return Ok(Object::Value(Value::from_bytes(builtin("double"), sum.to_le_bytes().to_vec())));
        }
        Ok(match i64::try_from(integers) {
            Ok(sum) => Object::signed(sum),
            Err(_) => Object::Value(Value::from_bytes(builtin("__int128"), integers.to_le_bytes().to_vec())),
        })
    }

    fn extreme(&mut self, of: &Object, greatest: bool) -> Result<Object, ExprError> {
        let parts = self.all(of)?;
        let keys = self.keys(of)?;
        let order = |one: &(Key, Part), other: &(Key, Part)| one.0.order(&other.0);
        let keyed = keys.into_iter().zip(parts);
        let found = if greatest { keyed.max_by(order) } else { keyed.min_by(order) };
        found.map(|(_, part)| part.object).ok_or_else(empty)
    }

    /// What all elements are compared by.
    pub(super) fn keys(&mut self, of: &Object) -> Result<Vec<Key>, ExprError> {
        let mut failure = Failure::default();
        let mut keys = Vec::new();
        for part in self.all(of)? {
            let key = self.key_of(&part.object);
            keys.extend(failure.noted(&part.name, key)?);
        }
        failure.end()?;
        Ok(keys)
    }

    fn count(&mut self, method: &str, arguments: &[Cpp], names: &Names) -> Result<u64, ExprError> {
        let [count] = arguments else { return Err(takes(method, "a number")) };
        let count = self.evaluate(count, names)?;
        let count = self.integer_of(&count).map_err(|error| match error {
            ExprError::Operand { .. } => takes(method, "a number"),
            other => other,
        })?;
        u64::try_from(count).map_err(|_| takes(method, "a number that is not negative"))
    }

    fn call_on_text(
        &mut self,
        text: &str,
        method: &str,
        arguments: &[Cpp],
        names: &Names,
    ) -> Result<Object, ExprError> {
        let mut texts = Vec::new();
        let mut numbers = Vec::new();
        for argument in arguments {
            let object = self.evaluate(argument, names)?;
            match self.text_of(&object)? {
                Some(text) => texts.push(text),
                None => numbers.push(self.integer_of(&object).map_err(|_| takes(method, "texts or numbers"))?),
            }
        }
        let characters = |from: i128, count: Option<i128>| -> Option<String> {
            let from = usize::try_from(from).ok()?;
            let count = count.map_or(Some(usize::MAX), |count| usize::try_from(count).ok())?;
            Some(text.chars().skip(from).take(count).collect())
        };
        let range = || takes(method, "numbers that are not negative");
        Ok(match (method, &texts[..], &numbers[..]) {
            ("Contains", [part], []) => Object::truth(text.contains(part.as_str())),
            ("StartsWith", [part], []) => Object::truth(text.starts_with(part.as_str())),
            ("EndsWith", [part], []) => Object::truth(text.ends_with(part.as_str())),
            ("IndexOf", [part], []) => {
                let at = text.find(part.as_str()).map(|at| text.get(..at).unwrap_or_default().chars().count() as i64);
                Object::signed(at.unwrap_or(-1))
            }
            ("Length", [], []) => Object::number(text.chars().count() as u64),
            ("ToLower", [], []) => Object::Text(text.to_lowercase()),
            ("ToUpper", [], []) => Object::Text(text.to_uppercase()),
            ("Substring", [], [from]) => Object::Text(characters(*from, None).ok_or_else(range)?),
            ("Substring", [], [from, count]) => Object::Text(characters(*from, Some(*count)).ok_or_else(range)?),
            ("Contains" | "StartsWith" | "EndsWith" | "IndexOf", ..) => return Err(takes(method, "a text")),
            ("Substring", ..) => return Err(takes(method, "a start and perhaps a length")),
            _ => return Err(takes(method, "no argument")),
        })
    }
}

pub(super) fn takes(method: &str, expected: &'static str) -> ExprError {
    ExprError::Arguments { method: method.to_owned(), expected }
}

fn not_ordered(method: &str) -> ExprError {
    let reason = format!("{method} follows OrderBy or OrderByDescending");
    ExprError::Object { name: method.to_owned(), reason }
}

pub(super) fn empty() -> ExprError {
    ExprError::Object { name: "element".to_owned(), reason: "there is none".to_owned() }
}
