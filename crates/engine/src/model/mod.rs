//! The object model behind `dx`: systems, processes, threads, modules and frames as objects with members and elements,
//! next to the typed values of the debuggee, and queries over both.
//!
//! Objects are plain enums and lazy: a [`Node`] is only which thing is meant, a [`Sequence`] only how its elements come
//! about. What they hold is found when it is asked for, so an object that was kept shows what is true then.
//!
//! Memory is read through the reader that a caller gives. Where that is a [`BatchMemory`](outpost_symbols::BatchMemory),
//! a whole query costs a round trip or two: what is missing in a first run is fetched before the next. So an evaluation
//! goes on after something could not be read, and tells of it at its end.

mod children;
mod combining;
mod derived;
mod evaluate;
mod format;
mod hooks;
mod key;
mod methods;
mod node;
mod sequence;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use outpost_base::MemoryReader;
use outpost_symbols::{BitField, Value, ViewLimits};

use crate::expr::{Cpp, EngineScope, Expr, ExprError, ScopeNames, builtin, parse_object_prefix};
use crate::natvis::MadeUp;
use crate::{Engine, EngineError, ThreadOrdinal, ThreadStack};

pub use format::Format;
pub use hooks::{symbols_of, value_text, views_of};
pub(crate) use key::unreadable;
pub use methods::{METHODS, MethodKind, ObjectMethod};
pub use node::Node;
pub use sequence::{Function, Query, Sequence};

/// Nested evaluations; beyond it an expression is too complex.
const DEPTH_LIMIT: usize = 96;
/// Objects within objects that are kept.
const KEPT_DEPTH: usize = 32;
/// Elements of one container, and of all that a query holds at once.
const ELEMENT_LIMIT: u64 = 1 << 16;

/// What an expression of the object model gives.
#[derive(Debug, Clone)]
pub enum Object {
    /// A typed value, of the debuggee or computed.
    Value(Value),
    /// A text of the debugger's.
    Text(String),
    /// A thing of the debugger's.
    Node(Node),
    /// Elements that are found when they are asked for.
    Sequence(Rc<Sequence>),
    /// An object without a type: `new { Name = value }`.
    Record(Rc<[(String, Object)]>),
    /// A function: `x => expression`.
    Function(Rc<Function>),
    /// An item that a view made up.
    MadeUp(Rc<MadeUp>),
    /// Nothing: what has no value, and is no failure.
    Nothing,
    /// What could not be had.
    Failed(ExprError),
}

/// A member or element, with what it is called in the whole.
#[derive(Debug, Clone)]
pub struct Part {
    /// A member's name, `[3]`, `["key"]`.
    pub name: String,
    /// Bytes from the start of the whole, for a data member.
    pub offset: Option<u64>,
    /// The bits it has, counted from the byte at `offset`, if it is a bit field.
    pub bits: Option<BitField>,
    /// How it is shown, if the one who says that it is there says how.
    pub format: Option<Box<Format>>,
    /// The part.
    pub object: Object,
    /// Whether it could not be told if it belongs here; then the object is why.
    pub is_undecided: bool,
}

/// Parts of an object, some or all.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// Those that were asked for.
    pub items: Vec<Part>,
    /// Whether there are more.
    pub more: bool,
}

/// What the engine keeps for the model.
#[derive(Debug, Default)]
pub(crate) struct ObjectStore {
    /// Objects by the name they were given (`dx @$name = ...`).
    named: BTreeMap<String, Object>,
    /// Stacks walked for the expression that is under way.
    stacks: HashMap<ThreadOrdinal, Rc<ThreadStack>>,
}

impl Engine {
    /// Reads an expression of the object model at the start of `text`; gives it and its length in bytes. A comma outside
    /// of brackets ends it.
    ///
    /// # Errors
    /// As [`parse_object_prefix`].
    pub fn parse_object(&mut self, text: &str) -> Result<(Cpp, usize), ExprError> {
        self.objects.stacks.clear();
        parse_object_prefix(text, &mut ScopeNames(&mut EngineScope::new(self)))
    }

    /// Evaluates an expression of the object model in the current scope's frame.
    ///
    /// # Errors
    /// As [`evaluate`](crate::expr::evaluate); [`ExprError::Interrupted`].
    pub fn evaluate_object(&mut self, expr: &Cpp, memory: &mut dyn MemoryReader) -> Result<Object, ExprError> {
        Model::new(self, memory).evaluate(expr, &Names::default())
    }

    /// Whether a condition holds in the current scope's frame. Memory is fetched around what is asked for only where
    /// objects are looked into, not for what C++ has.
    ///
    /// # Errors
    /// As [`Engine::evaluate_object`]; why it has no value.
    pub(crate) fn condition_holds(&mut self, condition: Cpp) -> Result<bool, ExprError> {
        let is_object = |part: &Cpp| match part {
            Cpp::Call { .. } | Cpp::Invoke { .. } | Cpp::Lambda(_) | Cpp::Anonymous(_) => true,
            Cpp::Register(name) => node::ROOTS.contains(&name.as_str()) || self.objects.named.contains_key(name),
            _ => false,
        };
        if !condition.any(&is_object) {
            return Ok(self.evaluate_number(&Expr::Cpp(condition))? != 0);
        }
        let no_memory =
            |error: EngineError| ExprError::Operand { operation: "condition".to_owned(), reason: error.to_string() };
        let memory = self.memory().map_err(no_memory)?;
        memory.in_batches(|memory| {
            let object = self.evaluate_object(&condition, memory)?;
            Model::new(self, memory).is_true(&object)
        })
    }

    /// The parts of an object: of a container those within `limits`. With `raw` library types have their members.
    ///
    /// # Errors
    /// Why they cannot be told.
    pub fn object_parts(
        &mut self,
        object: &Object,
        limits: &ViewLimits,
        raw: bool,
        memory: &mut dyn MemoryReader,
    ) -> Result<Parts, ExprError> {
        self.object_parts_by(object, None, limits, raw, memory)
    }

    /// As [`Engine::object_parts`], by the view of a name where a type's author has one.
    ///
    /// # Errors
    /// As there.
    pub fn object_parts_by(
        &mut self,
        object: &Object,
        view: Option<&str>,
        limits: &ViewLimits,
        raw: bool,
        memory: &mut dyn MemoryReader,
    ) -> Result<Parts, ExprError> {
        Model::new(self, memory).parts(object, view, limits, raw)
    }

    /// The elements of an object, those within `limits`.
    ///
    /// # Errors
    /// As [`Engine::object_parts`]; that it has none.
    pub(crate) fn object_elements(
        &mut self,
        object: &Object,
        limits: &ViewLimits,
        memory: &mut dyn MemoryReader,
    ) -> Result<Parts, ExprError> {
        let count = usize::try_from(limits.count).unwrap_or(usize::MAX);
        Model::new(self, memory).first_parts(object, count)
    }

    /// An object whose first elements, `limits` of them and one more, do not change: what a query makes is found now.
    ///
    /// # Errors
    /// As [`Engine::object_parts`].
    pub fn settled_object(
        &mut self,
        object: Object,
        limits: &ViewLimits,
        memory: &mut dyn MemoryReader,
    ) -> Result<Object, ExprError> {
        let Object::Sequence(_) = &object else { return Ok(object) };
        let count = usize::try_from(limits.count.saturating_add(1)).unwrap_or(usize::MAX);
        let parts = Model::new(self, memory).first_parts(&object, count)?;
        Ok(Object::Sequence(Rc::new(Sequence::List(parts.items))))
    }

    /// What an object of the debugger's is called; `None` for values, whose text has many forms.
    pub fn object_label(&mut self, object: &Object, memory: &mut dyn MemoryReader) -> Option<String> {
        Model::new(self, memory).label(object)
    }
}

/// One evaluation.
struct Model<'a> {
    engine: &'a mut Engine,
    memory: &'a mut dyn MemoryReader,
    depth: usize,
    /// Whether elements for which a condition has no value are shown as such; otherwise they are an error.
    shows_undecided: bool,
}

/// What the parameters of functions around an expression stand for, innermost last.
#[derive(Debug, Clone, Default)]
struct Names(Rc<Vec<(String, Object)>>);

impl Names {
    fn get(&self, name: &str) -> Option<&Object> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, object)| object)
    }

    fn with(&self, names: impl Iterator<Item = (String, Object)>) -> Names {
        let mut all = Vec::clone(&self.0);
        all.extend(names);
        Names(Rc::new(all))
    }
}

impl<'a> Model<'a> {
    fn new(engine: &'a mut Engine, memory: &'a mut dyn MemoryReader) -> Model<'a> {
        Model { engine, memory, depth: 0, shows_undecided: false }
    }

    /// The frame as the evaluator of C++ sees it.
    fn scope(&mut self) -> EngineScope<'_> {
        EngineScope::over(self.engine, self.memory)
    }

    fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, ExprError>) -> Result<T, ExprError> {
        if self.depth == DEPTH_LIMIT {
            return Err(ExprError::TooComplex);
        }
        self.depth += 1;
        let done = work(self);
        self.depth -= 1;
        done
    }

    fn check_interrupt(&self) -> Result<(), ExprError> {
        self.engine.check_interrupt().map_err(|_| ExprError::Interrupted)
    }
}

impl Object {
    /// The number that it is.
    ///
    /// # Errors
    /// [`ExprError::Operand`] if it is none; why its value cannot be had.
    pub fn as_number(&self, memory: &mut dyn MemoryReader) -> Result<u64, ExprError> {
        match self {
            Object::Value(value) => match value.scalar(memory) {
                Ok(scalar) => Ok(scalar.as_u64()),
                Err(reason) => Err(key::unreadable(value, reason)),
            },
            Object::Failed(error) => Err(error.clone()),
            other => {
                Err(ExprError::Operand { operation: "number".to_owned(), reason: format!("{} is none", other.kind()) })
            }
        }
    }

    /// An unsigned number of 64 bits.
    pub(crate) fn number(number: u64) -> Object {
        Object::Value(crate::expr::number_value(number))
    }

    /// A signed number of 64 bits.
    pub(crate) fn signed(number: i64) -> Object {
        Object::Value(Value::from_bytes(builtin("long"), number.to_le_bytes().to_vec()))
    }

    /// A truth value.
    pub(crate) fn truth(holds: bool) -> Object {
        Object::Value(crate::expr::truth(holds))
    }

    /// A text, or nothing where there is none.
    pub(crate) fn text(text: &str) -> Object {
        if text.is_empty() { Object::Nothing } else { Object::Text(text.to_owned()) }
    }

    /// Whether it holds objects in objects deeper than `limit`.
    fn is_deeper_than(&self, limit: usize) -> bool {
        let Some(limit) = limit.checked_sub(1) else { return true };
        match self {
            Object::Sequence(sequence) => match &**sequence {
                Sequence::List(parts) => parts.iter().any(|part| part.object.is_deeper_than(limit)),
                Sequence::Query { of, query } => {
                    of.is_deeper_than(limit) || query.functions().any(|function| function.is_deeper_than(limit))
                }
            },
            Object::Record(members) => members.iter().any(|(_, object)| object.is_deeper_than(limit)),
            Object::Function(function) => function.is_deeper_than(limit),
            _ => false,
        }
    }

    /// What it is, for messages.
    pub(crate) fn kind(&self) -> String {
        match self {
            Object::Value(value) => value.value_type().to_string(),
            Object::Text(_) => "a text".to_owned(),
            Object::Node(node) => node.kind().to_owned(),
            Object::Sequence(_) => "a sequence".to_owned(),
            Object::Record(_) => "an object".to_owned(),
            Object::Function(_) => "a function".to_owned(),
            Object::MadeUp(_) => "an item of a view".to_owned(),
            Object::Nothing => "nothing".to_owned(),
            Object::Failed(_) => "what could not be had".to_owned(),
        }
    }
}

impl Part {
    fn member(name: &str, object: Object) -> Part {
        Part::named(name.to_owned(), object)
    }

    pub(crate) fn named(name: String, object: Object) -> Part {
        Part { name, offset: None, bits: None, format: None, object, is_undecided: false }
    }
}
