//! From trees to objects. What is about the debuggee alone is left to the evaluator of C++.

use std::rc::Rc;

use outpost_symbols::{ElementKey, Type, Value, ViewLimits};

use super::key::unreadable;
use super::node::Node;
use super::sequence::Function;
use super::{KEPT_DEPTH, Model, Names, Object, Part};
use crate::expr::{
    Cpp, CppBinary, CppUnary, Expr, ExprError, Lookup, Name, Scope, arithmetic, assign_value, cast, element_of,
    evaluate_value, member_of, resolve, snapshot, stepped, text_value, unary,
};

/// What the debugger's own objects begin with.
const DEBUGGER: &str = "Debugger";
/// The one member of texts.
const LENGTH: &str = "Length";

impl Model<'_> {
    pub(super) fn evaluate(&mut self, expr: &Cpp, names: &Names) -> Result<Object, ExprError> {
        self.deeper(|model| model.evaluate_here(expr, names))
    }

    fn evaluate_here(&mut self, expr: &Cpp, names: &Names) -> Result<Object, ExprError> {
        // Views know elements and texts that C++ does not; what changes something is left to it.
        let by_views = !self.engine.view_files().is_empty() && !expr.has_effects();
        let is_object = |expr: &Cpp| match expr {
            Cpp::Index(..) | Cpp::Binary(CppBinary::Equal | CppBinary::NotEqual, ..) if by_views => true,
            Cpp::Call { .. } | Cpp::Invoke { .. } | Cpp::Lambda(_) | Cpp::Anonymous(_) => true,
            Cpp::Apply { function, .. } => is_named_function(function, names),
            Cpp::Name(name) => name.module.is_none() && (name.text == DEBUGGER || names.get(&name.text).is_some()),
            Cpp::Register(name) => self.is_root(name),
            // A member that texts have.
            Cpp::Member { member, .. } => member == LENGTH,
            Cpp::Assign(None, to, _) => matches!(&**to, Cpp::Register(name) if name.starts_with('$')),
            _ => false,
        };
        if !expr.any(&is_object) {
            return self.native(expr).map(Object::Value);
        }
        match expr {
            Cpp::Name(name) => self.name(name, names),
            Cpp::Register(name) => self.root(name),
            Cpp::Call { of, method, arguments } => {
                let of = self.evaluate(of, names)?;
                self.call(&of, method, arguments, names)
            }
            Cpp::Anonymous(members) => {
                let mut made = Vec::with_capacity(members.len());
                for (name, member) in members {
                    // One that fails says so in its place.
                    let object = match self.evaluate(member, names) {
                        Err(ExprError::Interrupted) => return Err(ExprError::Interrupted),
                        found => found.unwrap_or_else(Object::Failed),
                    };
                    made.push((name.clone(), object));
                }
                Ok(Object::Record(made.into()))
            }
            Cpp::Lambda(lambda) => {
                Ok(Object::Function(Rc::new(Function { lambda: lambda.clone(), names: names.0.clone() })))
            }
            Cpp::Invoke { function, arguments } => {
                let function = self.evaluate(function, names)?;
                self.invoke(&function, arguments, names)
            }
            Cpp::Member { of, member, arrow } => {
                let of = self.evaluate(of, names)?;
                self.member(&of, member, *arrow)
            }
            Cpp::Index(of, index) => {
                let of = self.evaluate(of, names)?;
                let key = self.key_of_index(index, names)?;
                self.element(&of, &key)
            }
            Cpp::Conditional(condition, chosen, other) => {
                let condition = self.evaluate(condition, names)?;
                let holds = self.is_true(&condition)?;
                self.evaluate(if holds { chosen } else { other }, names)
            }
            Cpp::Binary(operator, left, right) => self.binary(*operator, left, right, names),
            Cpp::Unary(CppUnary::Increment, operand) => self.step(operand, 1, names).map(|(_, now)| now),
            Cpp::Unary(CppUnary::Decrement, operand) => self.step(operand, -1, names).map(|(_, now)| now),
            Cpp::PostStep(step, operand) => self.step(operand, *step, names).map(|(before, _)| before),
            Cpp::Unary(operator, operand) => {
                let value = self.evaluate(operand, names)?;
                let value = value.into_value("operator")?;
                unary(*operator, &value, &mut self.scope()).map(Object::Value)
            }
            Cpp::Cast(to, operand) => {
                let value = self.evaluate(operand, names)?;
                let value = value.into_value("cast")?;
                let is_reference = to.reference;
                let to: Type = resolve(to, &mut self.scope())?;
                if let Some(at) = value.address().filter(|_| is_reference) {
                    return Ok(Object::Value(Value::in_memory(to, at)));
                }
                cast(to, &value, &mut self.scope()).map(Object::Value)
            }
            Cpp::SizeofValue(operand) => {
                let value = self.evaluate(operand, names)?.into_value("sizeof")?;
                let size = value.value_type().size();
                size.map(Object::number).ok_or_else(|| unsupported("sizeof", "the type has no size"))
            }
            Cpp::Assign(operator, to, from) => match (&**to, operator) {
                (Cpp::Register(name), None) if name.starts_with('$') => self.keep(name, from, names),
                _ => self.assign(*operator, to, from, names),
            },
            Cpp::Apply { function, arguments } if is_named_function(function, names) => {
                let function = self.name(function, names)?;
                self.invoke(&function, arguments, names)
            }
            Cpp::Apply { function, arguments } => {
                let given = self.values_of(arguments, names)?;
                self.scope().apply(function, None, given, None).map(Object::Value)
            }
            _ => Err(unsupported("expression", "not possible with the debugger's objects")),
        }
    }

    /// Gives a value of the debuggee, which was found through objects, another value.
    fn assign(
        &mut self,
        operator: Option<CppBinary>,
        to: &Cpp,
        from: &Cpp,
        names: &Names,
    ) -> Result<Object, ExprError> {
        // What a query makes is found anew whenever it is looked at.
        if !names.0.is_empty() {
            return Err(changes("="));
        }
        let target = self.evaluate(to, names)?.into_value("=")?;
        let source = self.evaluate(from, names)?.into_value("=")?;
        assign_value(operator, &target, &source, &mut self.scope()).map(Object::Value)
    }

    /// `++` and `--` of a value of the debuggee, which was found through objects: what it was, and what it is now.
    fn step(&mut self, operand: &Cpp, step: i8, names: &Names) -> Result<(Object, Object), ExprError> {
        if !names.0.is_empty() {
            return Err(changes(if step > 0 { "++" } else { "--" }));
        }
        let target = self.evaluate(operand, names)?.into_value("++")?;
        let mut scope = self.scope();
        let before = snapshot(&target, &mut scope)?;
        let now = stepped(&target, step, &mut scope)?;
        Ok((Object::Value(before), Object::Value(now)))
    }

    /// What a function gives for arguments.
    pub(super) fn invoke(&mut self, function: &Object, arguments: &[Cpp], names: &Names) -> Result<Object, ExprError> {
        let function = match function {
            Object::Function(function) => function.clone(),
            Object::Failed(error) => return Err(error.clone()),
            Object::Value(pointer) => {
                let given = self.values_of(arguments, names)?;
                return self.scope().invoke(pointer, given).map(Object::Value);
            }
            other => return Err(not_a_function(&other.kind())),
        };
        let expected = function.lambda.parameters.len();
        if expected != arguments.len() {
            let noun = if expected == 1 { "argument" } else { "arguments" };
            let reason = format!("'{}' takes {expected} {noun}, not {}", function.lambda.text, arguments.len());
            return Err(ExprError::Operand { operation: "()".to_owned(), reason });
        }
        let mut given = Vec::with_capacity(arguments.len());
        for argument in arguments {
            given.push(self.evaluate(argument, names)?);
        }
        self.apply(&function, &given.iter().collect::<Vec<_>>())
    }

    /// Arguments of a function of the debuggee.
    pub(super) fn values_of(&mut self, arguments: &[Cpp], names: &Names) -> Result<Vec<Value>, ExprError> {
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            values.push(match self.evaluate(argument, names)? {
                Object::Text(text) => text_value(&text),
                other => other.into_value("()")?,
            });
        }
        Ok(values)
    }

    /// Keeps an object under a name.
    fn keep(&mut self, name: &str, from: &Cpp, names: &Names) -> Result<Object, ExprError> {
        let is_own = !self.is_root(name) || self.engine.objects.named.contains_key(name);
        let taken = !is_own || self.scope().pseudo_register(name).is_ok() || crate::PSEUDO_REGISTERS.contains(&name);
        if taken {
            return Err(ExprError::Assign { reason: format!("@{name} is the debugger's own; another name is free") });
        }
        let object = self.evaluate(from, names)?;
        if object.is_deeper_than(KEPT_DEPTH) {
            return Err(ExprError::TooComplex);
        }
        self.engine.objects.named.insert(name.to_owned(), object.clone());
        Ok(object)
    }

    /// What is about the debuggee alone.
    fn native(&mut self, expr: &Cpp) -> Result<Value, ExprError> {
        evaluate_value(&Expr::Cpp(expr.clone()), &mut self.scope())
    }

    fn name(&mut self, name: &Name, names: &Names) -> Result<Object, ExprError> {
        if name.module.is_none()
            && let Some(object) = names.get(&name.text)
        {
            return match object {
                Object::Failed(error) => Err(error.clone()),
                object => Ok(object.clone()),
            };
        }
        // A program may have a variable of that name.
        match self.scope().variable(name, Lookup::Everywhere) {
            Ok(None) => Ok(Object::Node(Node::Debugger)),
            _ => self.native(&Cpp::Name(name.clone())).map(Object::Value),
        }
    }

    /// A member of an object.
    pub(super) fn member(&mut self, of: &Object, member: &str, arrow: bool) -> Result<Object, ExprError> {
        match of {
            Object::Value(value) => {
                if member == LENGTH && self.says_text(value)? {
                    return self.call(of, member, &[], &Names::default());
                }
                let mut scope = self.scope();
                let value = match arrow || value.value_type().is_pointer() {
                    true => unary(CppUnary::Dereference, value, &mut scope)?,
                    false => value.clone(),
                };
                member_of(&value, member, &mut scope).map(Object::Value)
            }
            Object::Node(node) => {
                let parts = self.node_parts(*node)?;
                found(parts.into_iter().map(|part| (part.name, part.object)), member, of)
            }
            Object::Record(members) => found(members.iter().cloned(), member, of),
            Object::Text(_) if member == LENGTH => self.call(of, member, &[], &Names::default()),
            Object::Failed(error) => Err(error.clone()),
            Object::MadeUp(_) | Object::Text(_) | Object::Sequence(_) | Object::Function(_) | Object::Nothing => {
                Err(no_member(member, of))
            }
        }
    }

    fn key_of_index(&mut self, index: &Cpp, names: &Names) -> Result<ElementKey, ExprError> {
        if let Cpp::Text(text) = index {
            return Ok(ElementKey::Text(text.utf8()));
        }
        let index = self.evaluate(index, names)?;
        if let Some(text) = self.text_of(&index)? {
            return Ok(ElementKey::Text(text.into_bytes()));
        }
        Ok(ElementKey::Number(self.integer_of(&index)?))
    }

    /// An element of an object.
    pub(super) fn element(&mut self, of: &Object, key: &ElementKey) -> Result<Object, ExprError> {
        match of {
            Object::Value(value) => self.element_of_value(value, key),
            Object::Node(node) if node.has_elements() => {
                let parts = self.node_parts(*node)?;
                match key {
                    ElementKey::Number(number) => {
                        let name = format!("[{number:#x}]");
                        let by_key = parts.iter().find(|part| part.name == name);
                        // What is called by names has places, too.
                        let named = parts.first().is_some_and(|part| !part.name.starts_with('['));
                        let at = usize::try_from(*number).ok().filter(|_| named);
                        let part = by_key.or_else(|| at.and_then(|at| parts.get(at)));
                        part.map(|part| part.object.clone()).ok_or_else(|| no_element(&name, of))
                    }
                    ElementKey::Text(text) => self.called(parts, &String::from_utf8_lossy(text), of),
                }
            }
            Object::Sequence(_) => {
                let ElementKey::Number(number) = key else { return Err(no_element("a text", of)) };
                let at = u64::try_from(*number).map_err(|_| no_element(&number.to_string(), of))?;
                self.nth(of, at)?.map(|part| part.object).ok_or_else(|| no_element(&at.to_string(), of))
            }
            Object::Failed(error) => Err(error.clone()),
            _ => Err(unsupported("[]", "the object has no elements")),
        }
    }

    fn element_of_value(&mut self, value: &Value, key: &ElementKey) -> Result<Object, ExprError> {
        if let ElementKey::Number(number) = key
            && !value.value_type().is_pointer()
            && let Ok(start) = u64::try_from(*number)
        {
            let limits = ViewLimits { start, count: 1, ..ViewLimits::default() };
            if let Some(found) = self.engine.view_elements(value, &limits, self.memory) {
                let part = found?.items.pop();
                let of = Object::Value(value.clone());
                return part.map(|part| part.object).ok_or_else(|| no_element(&format!("[{number}]"), &of));
            }
        }
        element_of(value, key, &mut self.scope()).map(Object::Value)
    }

    /// An element by its own name, or by what is shown of it.
    fn called(&mut self, parts: Vec<Part>, wanted: &str, of: &Object) -> Result<Object, ExprError> {
        for part in parts {
            let is_named = part.name == wanted
                || match self.member(&part.object, "Name", false) {
                    Ok(Object::Text(name)) => name == wanted,
                    _ => false,
                }
                || self.label(&part.object).is_some_and(|label| {
                    label == wanted || label.rsplit_once('/').is_some_and(|(_, file)| file == wanted)
                });
            if is_named {
                return Ok(part.object);
            }
        }
        Err(no_element(&format!("\"{wanted}\""), of))
    }

    fn binary(&mut self, operator: CppBinary, left: &Cpp, right: &Cpp, names: &Names) -> Result<Object, ExprError> {
        let left = self.evaluate(left, names)?;
        match operator {
            CppBinary::Comma => return self.evaluate(right, names),
            CppBinary::LogicalAnd | CppBinary::LogicalOr => {
                let is_decided = self.is_true(&left)? == (operator == CppBinary::LogicalOr);
                if is_decided {
                    return Ok(Object::truth(operator == CppBinary::LogicalOr));
                }
                let right = self.evaluate(right, names)?;
                return self.is_true(&right).map(Object::truth);
            }
            _ => {}
        }
        let right = self.evaluate(right, names)?;
        self.combine(operator, &left, &right)
    }

    /// An operator on two objects: texts are compared and joined as texts, things by which they are, all else as C++ has it.
    fn combine(&mut self, operator: CppBinary, left: &Object, right: &Object) -> Result<Object, ExprError> {
        if let (Object::Value(left), Object::Value(right)) = (left, right)
            && !(self.says_text(left)? && self.says_text(right)?)
        {
            return arithmetic(operator, left, right, &mut self.scope()).map(Object::Value);
        }
        if operator == CppBinary::Add
            && let (Some(left), Some(right)) = (self.text_of(left)?, self.text_of(right)?)
        {
            return Ok(Object::Text(left + &right));
        }
        let order = self.key_of(left)?.partial_cmp(&self.key_of(right)?);
        let holds = match operator {
            CppBinary::Equal => order == Some(std::cmp::Ordering::Equal),
            CppBinary::NotEqual => order != Some(std::cmp::Ordering::Equal),
            CppBinary::Less => order.is_some_and(std::cmp::Ordering::is_lt),
            CppBinary::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
            CppBinary::LessEqual => order.is_some_and(std::cmp::Ordering::is_le),
            CppBinary::GreaterEqual => order.is_some_and(std::cmp::Ordering::is_ge),
            _ => return Err(unsupported(operator.symbol(), "not possible for these objects")),
        };
        Ok(Object::truth(holds))
    }

    /// Whether a value is text, by its type or by a view of it.
    fn says_text(&mut self, value: &Value) -> Result<bool, ExprError> {
        Ok(is_text(value)
            || self.engine.has_view(value.value_type()) && self.engine.view_string(value, self.memory)?.is_some())
    }

    /// What a function gives for its arguments.
    pub(super) fn apply(&mut self, function: &Function, arguments: &[&Object]) -> Result<Object, ExprError> {
        self.check_interrupt()?;
        let arguments = arguments.iter().map(|&argument| argument.clone());
        let names = Names(function.names.clone());
        let names = names.with(function.lambda.parameters.iter().cloned().zip(arguments));
        // What a function counts or takes the first of has to be certain.
        let shows_undecided = std::mem::take(&mut self.shows_undecided);
        let given = self.evaluate(&function.lambda.body, &names);
        self.shows_undecided = shows_undecided;
        given
    }

    /// Whether an object counts as true. What cannot be read is neither true nor false but an error, everywhere.
    pub(super) fn is_true(&mut self, object: &Object) -> Result<bool, ExprError> {
        match object {
            Object::Value(value) => {
                let not = unary(CppUnary::Not, value, &mut self.scope())?;
                let scalar = not.scalar(self.memory);
                scalar.map(|scalar| !scalar.is_true()).map_err(|reason| unreadable(value, reason))
            }
            Object::Nothing => Ok(false),
            Object::Text(text) => Ok(!text.is_empty()),
            Object::Failed(error) => Err(error.clone()),
            Object::MadeUp(_) | Object::Node(_) | Object::Sequence(_) | Object::Record(_) | Object::Function(_) => {
                Ok(true)
            }
        }
    }
}

/// Whether a value is text by its type: two of them are compared by what they say.
fn is_text(value: &Value) -> bool {
    let of = value.value_type().resolved();
    let letters = |of: Option<Type>| of.is_some_and(|of| of.letter_size().is_some());
    of.view_kind() == Some(outpost_symbols::ViewKind::Text)
        || letters(of.target())
        || letters(of.element().map(|(element, _)| element))
}

impl Object {
    /// The value that operators of C++ take.
    fn into_value(self, operation: &str) -> Result<Value, ExprError> {
        match self {
            Object::Value(value) => Ok(value),
            Object::Failed(error) => Err(error),
            other => Err(ExprError::Operand {
                operation: operation.to_owned(),
                reason: format!("{} is no value of the debuggee", other.kind()),
            }),
        }
    }
}

/// The member of a name: as it is written, else in any case.
fn found(members: impl Iterator<Item = (String, Object)>, wanted: &str, of: &Object) -> Result<Object, ExprError> {
    let mut alike = None;
    for (name, object) in members {
        if name == wanted {
            return Ok(object);
        }
        if alike.is_none() && name.eq_ignore_ascii_case(wanted) {
            alike = Some(object);
        }
    }
    alike.ok_or_else(|| no_member(wanted, of))
}

fn no_member(member: &str, of: &Object) -> ExprError {
    ExprError::NoMember { member: member.to_owned(), of: of.kind() }
}

fn no_element(key: &str, of: &Object) -> ExprError {
    ExprError::Object { name: key.to_owned(), reason: format!("{} has no such element", of.kind()) }
}

fn changes(what: &str) -> ExprError {
    unsupported(what, "functions change nothing")
}

fn not_a_function(kind: &str) -> ExprError {
    let reason = format!("{kind} is no function; 'dx @$name = x => expression' makes one");
    ExprError::Operand { operation: "()".to_owned(), reason }
}

/// Whether a name is a parameter that stands for a function of the object model.
fn is_named_function(name: &Name, names: &Names) -> bool {
    name.module.is_none() && matches!(names.get(&name.text), Some(Object::Function(_)))
}

fn unsupported(what: &str, reason: &'static str) -> ExprError {
    ExprError::Unsupported { what: what.to_owned(), reason }
}
