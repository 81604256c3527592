//! Methods that need all elements at once: groups, sets, what is folded into one.
//!
//! Source: "Using LINQ with the debugger objects" of WinDbg's documentation; what LINQ itself says where that is silent.

use std::cmp::Ordering;
use std::rc::Rc;

use outpost_symbols::Value;

use super::key::Key;
use super::methods::{empty, takes};
use super::sequence::{Failure, Function, Sequence, too_many};
use super::{ELEMENT_LIMIT, Model, Names, Object, Part};
use crate::expr::{Cpp, ExprError, builtin};

/// Levels of a tree that is flattened.
const TREE_DEPTH: usize = 256;

fn list(parts: Vec<Part>) -> Object {
    Object::Sequence(Rc::new(Sequence::List(parts)))
}

const OF_TWO: &str = "a function of two: (x, y) => expression";

impl Model<'_> {
    /// Carries out one of these methods; `None` if it is none of them.
    pub(super) fn call_on_all(
        &mut self,
        of: &Object,
        method: &str,
        arguments: &[Cpp],
        names: &Names,
    ) -> Result<Option<Object>, ExprError> {
        Ok(Some(match method {
            "ToArray" if arguments.is_empty() => list(self.all(of)?),
            "ToArray" => return Err(takes(method, "no argument")),
            "GroupBy" => {
                let function = self.optional_function(method, arguments, names)?;
                self.groups(of, &function.ok_or_else(|| takes(method, "a function: x => key"))?)?
            }
            "Flatten" => {
                let function = self.optional_function(method, arguments, names)?;
                let mut parts = Vec::new();
                match function {
                    Some(function) => self.flatten(of, &function, TREE_DEPTH, &mut parts)?,
                    None => {
                        for part in self.all(of)? {
                            self.append(&part.object, &mut parts)?;
                        }
                    }
                }
                list(parts)
            }
            "Single" => {
                let parts = self.chosen(of, method, arguments, names)?;
                let mut parts = parts.into_iter();
                match (parts.next(), parts.next()) {
                    (Some(one), None) => one.object,
                    (None, _) => return Err(empty()),
                    (Some(_), Some(_)) => {
                        let reason = "there is more than one".to_owned();
                        return Err(ExprError::Object { name: "element".to_owned(), reason });
                    }
                }
            }
            "TakeWhile" | "SkipWhile" => {
                let function = self.optional_function(method, arguments, names)?;
                let function = function.ok_or_else(|| takes(method, "a function: x => condition"))?;
                let mut parts = self.all(of)?;
                let mut first = parts.len();
                for (at, part) in parts.iter().enumerate() {
                    let holds = self.apply(&function, &[&part.object])?;
                    if !self.is_true(&holds)? {
                        first = at;
                        break;
                    }
                }
                let rest = parts.split_off(first);
                list(if method == "TakeWhile" { parts } else { rest })
            }
            "Average" => {
                let parts = self.chosen_values(of, method, arguments, names)?;
                let keys = self.keys(&parts)?;
                let count = keys.len();
                let mut sum = 0.0;
                for key in keys {
                    sum += match key {
                        Key::Integer(number) => number as f64,
                        Key::Float(number) => number,
                        _ => return Err(takes(method, "numbers")),
                    };
                }
                if count == 0 {
                    return Err(empty());
                }
                let average = sum / count as f64;
                Object::Value(Value::from_bytes(builtin("double"), average.to_le_bytes().to_vec()))
            }
            "Aggregate" => {
                let (seed, function) = match arguments {
                    [function] => (None, function),
                    [seed, function] => (Some(self.evaluate(seed, names)?), function),
                    _ => return Err(takes(method, "a function of two, and perhaps a value to begin with")),
                };
                let function = self.function_of(method, function, 2, OF_TWO, names)?;
                let mut parts = self.all(of)?.into_iter();
                let mut so_far = match seed {
                    Some(seed) => seed,
                    None => parts.next().map(|part| part.object).ok_or_else(empty)?,
                };
                for part in parts {
                    self.check_interrupt()?;
                    so_far = self.apply(&function, &[&so_far, &part.object])?;
                }
                so_far
            }
            "Concat" | "Union" | "Intersect" | "Except" => {
                let [other] = arguments else { return Err(takes(method, "other elements")) };
                let other = self.evaluate(other, names)?;
                self.with_others(of, method, &other)?
            }
            "SequenceEqual" => {
                let [other] = arguments else { return Err(takes(method, "other elements")) };
                let other = self.evaluate(other, names)?;
                // Both are asked for before either is looked at.
                let (own, others) = (self.keyed(of, None), self.keyed(&other, None));
                let (own, others) = (own?, others?);
                let is_same =
                    own.len() == others.len() && own.iter().zip(&others).all(|((one, _), (other, _))| one == other);
                Object::truth(is_same)
            }
            "Zip" => self.zipped(of, arguments, names)?,
            "Join" => self.joined(of, arguments, names)?,
            "AllNonError" | "AnyNonError" | "FirstNonError" | "LastNonError" => {
                self.without_errors(of, method, arguments, names)?
            }
            _ => return Ok(None),
        }))
    }

    /// What a function makes of the elements at the same places, or both, as far as there are as many of the others.
    fn zipped(&mut self, of: &Object, arguments: &[Cpp], names: &Names) -> Result<Object, ExprError> {
        let (other, function) = match arguments {
            [other] => (other, None),
            [other, function] => (other, Some(self.function_of("Zip", function, 2, OF_TWO, names)?)),
            _ => return Err(takes("Zip", "other elements and perhaps a function of two")),
        };
        let other = self.evaluate(other, names)?;
        let (own, others) = (self.all(of), self.all(&other));
        let mut parts = Vec::new();
        for (one, other) in own?.into_iter().zip(others?) {
            let pair = match &function {
                Some(function) => self.element_by(function, &one.object, &other.object)?,
                None => {
                    let members = [("First".to_owned(), one.object), ("Second".to_owned(), other.object)];
                    Object::Record(members.into())
                }
            };
            parts.push(Part::named(format!("[{}]", parts.len()), pair));
        }
        Ok(list(parts))
    }

    /// What a function makes of all pairs whose keys are equal, in the order of the first.
    fn joined(&mut self, of: &Object, arguments: &[Cpp], names: &Names) -> Result<Object, ExprError> {
        const EXPECTED: &str = "others, x => key, y => key, and (x, y) => value";
        let [other, own_key, other_key, function] = arguments else { return Err(takes("Join", EXPECTED)) };
        let other = self.evaluate(other, names)?;
        let own_key = self.function_of("Join", own_key, 1, EXPECTED, names)?;
        let other_key = self.function_of("Join", other_key, 1, EXPECTED, names)?;
        let function = self.function_of("Join", function, 2, EXPECTED, names)?;
        let (own, others) = (self.keyed(of, Some(&own_key)), self.keyed(&other, Some(&other_key)));
        let (own, mut others) = (own?, others?);
        // Sorting keeps those of a key together and in order.
        others.sort_by(|(one, _), (other, _)| one.order(other));
        let mut parts = Vec::new();
        for (key, one) in own {
            let first = others.partition_point(|(known, _)| known.order(&key).is_lt());
            for (_, other) in others.iter().skip(first).take_while(|(known, _)| known.order(&key).is_eq()) {
                self.check_interrupt()?;
                if parts.len() as u64 == ELEMENT_LIMIT {
                    return Err(too_many());
                }
                let value = self.element_by(&function, &one.object, &other.object)?;
                parts.push(Part::named(format!("[{}]", parts.len()), value));
            }
        }
        Ok(list(parts))
    }

    /// What a function of two gives; what fails says so in its place.
    fn element_by(&mut self, function: &Function, one: &Object, other: &Object) -> Result<Object, ExprError> {
        match self.apply(function, &[one, other]) {
            Err(ExprError::Interrupted) => Err(ExprError::Interrupted),
            found => Ok(found.unwrap_or_else(Object::Failed)),
        }
    }

    /// The methods that pass over elements which cannot be had, or about which a condition cannot be told.
    fn without_errors(
        &mut self,
        of: &Object,
        method: &str,
        arguments: &[Cpp],
        names: &Names,
    ) -> Result<Object, ExprError> {
        let function = self.optional_function(method, arguments, names)?;
        let mut kept = Vec::new();
        let mut is_all = true;
        for part in self.all(of)? {
            let holds = match (&part.object, &function) {
                (Object::Failed(_), _) => continue,
                (object, Some(function)) => self.apply(function, &[object]).and_then(|object| self.is_true(&object)),
                (object, None) => self.key_of(object).map(|_| true),
            };
            match holds {
                Ok(true) => kept.push(part.object),
                Ok(false) => is_all = false,
                Err(ExprError::Interrupted) => return Err(ExprError::Interrupted),
                Err(_) => {}
            }
        }
        match method {
            "AllNonError" if function.is_none() => Err(takes(method, "a function: x => condition")),
            "AllNonError" => Ok(Object::truth(is_all)),
            "AnyNonError" => Ok(Object::truth(!kept.is_empty())),
            "FirstNonError" => kept.into_iter().next().ok_or_else(empty),
            _ => kept.pop().ok_or_else(empty),
        }
    }

    /// All elements in order of what the first function gives for them, those that are equal in order of the next.
    pub(super) fn ordered(&mut self, of: &Object, functions: &[(Function, bool)]) -> Result<Vec<Part>, ExprError> {
        let mut failure = Failure::default();
        let mut keyed = Vec::new();
        for part in self.all(of)? {
            let mut keys = Vec::with_capacity(functions.len());
            for (function, _) in functions {
                let key = self.apply(function, &[&part.object]).and_then(|object| self.key_of(&object));
                keys.extend(failure.noted(&part.name, key)?);
            }
            keyed.push((keys, part));
        }
        failure.end()?;
        keyed.sort_by(|(one, _), (other, _)| {
            let orders =
                one.iter().zip(other).zip(functions).map(
                    |((one, other), (_, descending))| if *descending { other.order(one) } else { one.order(other) },
                );
            orders.fold(Ordering::Equal, Ordering::then)
        });
        Ok(keyed.into_iter().map(|(_, part)| part).collect())
    }

    /// Elements for which a condition holds, if there is one.
    fn chosen(&mut self, of: &Object, method: &str, arguments: &[Cpp], names: &Names) -> Result<Vec<Part>, ExprError> {
        let Some(function) = self.optional_function(method, arguments, names)? else { return self.all(of) };
        let mut chosen = Vec::new();
        for part in self.all(of)? {
            let holds = self.apply(&function, &[&part.object])?;
            if self.is_true(&holds)? {
                chosen.push(part);
            }
        }
        Ok(chosen)
    }

    /// What a function gives for each, if there is one.
    fn chosen_values(
        &mut self,
        of: &Object,
        method: &str,
        arguments: &[Cpp],
        names: &Names,
    ) -> Result<Object, ExprError> {
        let Some(function) = self.optional_function(method, arguments, names)? else { return Ok(of.clone()) };
        let query = super::Query::Select(function);
        Ok(Object::Sequence(Rc::new(Sequence::Query { of: of.clone(), query })))
    }

    /// Elements by what a function gives for them, in the order in which that comes first.
    fn groups(&mut self, of: &Object, function: &Function) -> Result<Object, ExprError> {
        let keyed = self.keyed(of, Some(function))?;
        let mut groups: Vec<(Key, Vec<Part>)> = Vec::new();
        let mut order: Vec<usize> = (0..keyed.len()).collect();
        // Sorting keeps those of a key together and in order; groups come by their first ones.
        order.sort_by(|&one, &other| keyed[one].0.order(&keyed[other].0).then(one.cmp(&other)));
        let mut firsts: Vec<(usize, usize)> = Vec::new();
        for at in order {
            let (key, part) = &keyed[at];
            match groups.last_mut().filter(|(known, _)| known.order(key).is_eq()) {
                Some((_, parts)) => parts.push(part.clone()),
                None => {
                    firsts.push((at, groups.len()));
                    groups.push((key.clone(), vec![part.clone()]));
                }
            }
        }
        firsts.sort_unstable();
        let mut parts = Vec::new();
        for (_, at) in firsts {
            let members = std::mem::take(&mut groups[at].1);
            let key = match members.first() {
                Some(first) => self.apply(function, &[&first.object])?,
                None => Object::Nothing,
            };
            let name = match self.text_of(&key)? {
                Some(text) => format!("[\"{text}\"]"),
                None => format!("[{}]", self.display(&key)?),
            };
            parts.push(Part::named(name, list(members)));
        }
        Ok(list(parts))
    }

    /// A tree's nodes, each before those below it: what a function gives for a node is below it.
    fn flatten(
        &mut self,
        of: &Object,
        function: &Function,
        depth: usize,
        parts: &mut Vec<Part>,
    ) -> Result<(), ExprError> {
        let Some(depth) = depth.checked_sub(1) else { return Err(ExprError::TooComplex) };
        for part in self.all(of)? {
            self.check_interrupt()?;
            if parts.len() as u64 == ELEMENT_LIMIT {
                return Err(too_many());
            }
            let below = self.apply(function, &[&part.object])?;
            parts.push(part);
            // What has nothing below it may say so by having none.
            if !matches!(below, Object::Nothing) {
                self.deeper(|model| model.flatten(&below, function, depth, parts))?;
            }
        }
        Ok(())
    }

    fn append(&mut self, of: &Object, parts: &mut Vec<Part>) -> Result<(), ExprError> {
        let more = self.all(of)?;
        if (parts.len() + more.len()) as u64 > ELEMENT_LIMIT {
            return Err(too_many());
        }
        parts.extend(more);
        Ok(())
    }

    fn with_others(&mut self, of: &Object, method: &str, other: &Object) -> Result<Object, ExprError> {
        // Both are asked for before either is looked at.
        let (own, others) = (self.keyed(of, None), self.keyed(other, None));
        let (own, others) = (own?, others?);
        let (own_count, other_count) = (own.len(), others.len());
        if (own_count + other_count) as u64 > ELEMENT_LIMIT {
            return Err(too_many());
        }
        if method == "Concat" {
            return Ok(list(own.into_iter().chain(others).map(|(_, part)| part).collect()));
        }
        let sorted = |keyed: &[(Key, Part)]| {
            let mut keys: Vec<Key> = keyed.iter().map(|(key, _)| key.clone()).collect();
            keys.sort_by(Key::order);
            keys
        };
        let in_others = sorted(&others);
        let is_in = |keys: &[Key], key: &Key| keys.binary_search_by(|known| known.order(key)).is_ok();
        let parts: Vec<(Key, Part)> = match method {
            "Union" => own.into_iter().chain(others).collect(),
            "Intersect" => own.into_iter().filter(|(key, _)| is_in(&in_others, key)).collect(),
            _ => own.into_iter().filter(|(key, _)| !is_in(&in_others, key)).collect(),
        };
        // Sets have each once.
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by(|&one, &other| parts[one].0.order(&parts[other].0).then(one.cmp(&other)));
        order.dedup_by(|later, first| parts[*later].0.order(&parts[*first].0).is_eq());
        order.sort_unstable();
        Ok(list(order.into_iter().map(|at| parts[at].1.clone()).collect()))
    }
}
