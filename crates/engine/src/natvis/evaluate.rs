//! Expressions of views: names are members of the object, then variables and parameters of the view, then globals.

use std::rc::Rc;

use outpost_base::{Arch, MemoryReader, RegisterId, RegisterValue, Va};
use outpost_symbols::{BatchMemory, Store, Type, TypeTable, Value};

use super::file::{Guard, Guarded, Intrinsic};
use super::library;
use super::store::Found;
use crate::Engine;
use crate::expr::{
    Cpp, EngineScope, Expr, ExprError, Lookup, Name, Place, PointerUse, Scope, ScopeNames, SourceLine, builtin, cast,
    evaluate_value, number_value, parse_object_prefix,
};
use crate::model::{Format, Object};

/// What is converted to another type, while it is.
const CONVERTED: &str = "__converted";
/// Intrinsics that call each other.
const CALL_LIMIT: usize = 32;
/// Views within views.
const DEPTH_LIMIT: usize = 12;
/// Objects up to this size are read as a whole, so that all members are asked for at once.
const WHOLE_LIMIT: u64 = 4096;

/// What an expression of a view is about.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) found: Rc<Found>,
    /// The object, as the view's type.
    pub(super) this: Value,
    /// Variables, parameters and `$i`, innermost last.
    pub(super) names: Vec<(String, Value)>,
    /// The view that was asked for by name.
    pub(super) name: Option<String>,
}

impl Context {
    pub(super) fn of(&self, this: Value) -> Context {
        Context { this, ..self.clone() }
    }

    pub(super) fn with(&self, name: &str, value: Value) -> Context {
        let mut context = self.clone();
        context.names.push((name.to_owned(), value));
        context
    }

    pub(super) fn numbered(&self, name: &str, number: u64) -> Context {
        self.with(name, number_value(number))
    }

    /// Asks for the whole object.
    pub(super) fn read(&self, memory: &mut dyn MemoryReader) {
        if self.this.value_type().size().is_some_and(|size| size <= WHOLE_LIMIT) {
            // What cannot be read is told of by the expression that needs it.
            let _ = self.this.bytes(memory);
        }
    }
}

/// An expression with `$T1` and its like replaced by what the view's wildcards stand for, and numbers by their values.
pub(super) fn written(text: &str, found: &Found, names: &[(String, Value)]) -> String {
    let mut written = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, after) = rest.split_at(at);
        written.push_str(before);
        let word = after[1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(after.len(), |end| end + 1);
        let (name, behind) = after.split_at(word);
        let capture = name.strip_prefix("$T").and_then(|number| number.parse::<usize>().ok());
        match capture.and_then(|number| found.captures.get(number.checked_sub(1)?)) {
            Some(capture) => written.push_str(&spelling(capture, &written)),
            None => match names.iter().rev().find(|(known, _)| known == name) {
                Some((_, value)) => {
                    let number = value.scalar(&mut BatchMemory::new()).map_or(0, |number| number.as_u64());
                    written.push_str(&number.to_string());
                }
                None => written.push_str(name),
            },
        }
        rest = behind;
    }
    written.push_str(rest);
    written
}

/// A type's name as the grammar takes it: what no grammar could read, Rust's references and tuples, goes in quotes, but
/// not among the arguments of a template.
fn spelling(name: &str, before: &str) -> String {
    let open = before.matches('<').count() > before.matches('>').count();
    let is_odd = name.starts_with(['&', '(', '[', '*']) || name.contains("dyn ") || name.contains("{");
    if !open && is_odd && !name.contains('"') { format!("@!\"{name}\"") } else { name.to_owned() }
}

/// The value of an expression, with its format.
pub(super) fn evaluate(
    engine: &mut Engine,
    context: &Context,
    text: &str,
    memory: &mut dyn MemoryReader,
) -> Result<(Value, Format), ExprError> {
    step(engine)?;
    let mut scope = ViewScope::new(engine, context, memory);
    let (expr, format) = scope.parse(text)?;
    if expr.has_effects() {
        return Err(refused());
    }
    let value = evaluate_value(&Expr::Cpp(expr), &mut scope)?;
    let format = Format::parse_behind(&format).map_err(|problem| ExprError::Syntax { text: problem })?;
    let object =
        format.applied(Object::Value(value), memory, &mut |count, memory| number(engine, context, count, memory))?;
    match object {
        Object::Value(value) => Ok((value, format)),
        _ => Err(ExprError::Syntax { text: text.to_owned() }),
    }
}

/// The number that an expression gives.
pub(super) fn number(
    engine: &mut Engine,
    context: &Context,
    text: &str,
    memory: &mut dyn MemoryReader,
) -> Result<u64, ExprError> {
    let (value, _) = evaluate(engine, context, text, memory)?;
    Object::Value(value).as_number(memory)
}

/// A variable's value as it is now, wherever it came from.
pub(super) fn kept(value: Value, memory: &mut dyn MemoryReader) -> Result<Value, ExprError> {
    if value.value_type().is_aggregate() {
        return Ok(value);
    }
    match value.bytes(memory) {
        Ok(bytes) => Ok(Value::from_bytes(value.value_type().clone(), bytes)),
        Err(reason) => Err(crate::model::unreadable(&value, reason)),
    }
}

/// Whether something holds here.
///
/// # Errors
/// Why that cannot be told; what is optional does not hold then, unless it could not be read.
pub(super) fn holds(
    engine: &mut Engine,
    context: &Context,
    guard: &Guard,
    memory: &mut dyn MemoryReader,
) -> Result<bool, ExprError> {
    let is_named = |names: &[String]| context.name.as_ref().is_some_and(|name| names.contains(name));
    if !guard.include.is_empty() && !is_named(&guard.include) || is_named(&guard.exclude) {
        return Ok(false);
    }
    match &guard.condition {
        None => Ok(true),
        Some(condition) => match truth(engine, context, condition, memory) {
            Err(error) if guard.optional && !super::is_unreadable(&error) => Ok(false),
            other => other,
        },
    }
}

/// Whether a condition holds.
pub(super) fn truth(
    engine: &mut Engine,
    context: &Context,
    condition: &str,
    memory: &mut dyn MemoryReader,
) -> Result<bool, ExprError> {
    // A comma in it is the operator: `(void)member, true` tells whether there is such a member.
    let (value, _) = evaluate(engine, context, &format!("({condition})"), memory)?;
    match value.scalar(memory) {
        Ok(scalar) => Ok(scalar.is_true()),
        Err(reason) => Err(crate::model::unreadable(&value, reason)),
    }
}

/// The first of several expressions that holds.
pub(super) fn chosen<'a>(
    engine: &mut Engine,
    context: &Context,
    all: &'a [Guarded],
    memory: &mut dyn MemoryReader,
) -> Result<Option<&'a str>, ExprError> {
    for one in all {
        if holds(engine, context, &one.guard, memory)? {
            return Ok(Some(&one.value));
        }
    }
    Ok(None)
}

/// Works on a view within another, which ends after some depth; the outermost may take so many steps.
pub(super) fn deeper<T>(
    engine: &mut Engine,
    work: impl FnOnce(&mut Engine) -> Result<T, ExprError>,
) -> Result<T, ExprError> {
    if engine.views.depth == 0 {
        engine.views.steps = engine.views.step_limit;
    }
    if engine.views.depth == DEPTH_LIMIT {
        return Err(ExprError::TooComplex);
    }
    engine.views.depth += 1;
    let done = work(engine);
    engine.views.depth -= 1;
    done
}

/// Counts one step.
pub(super) fn step(engine: &mut Engine) -> Result<(), ExprError> {
    engine.check_interrupt().map_err(|_| ExprError::Interrupted)?;
    engine.views.steps = engine.views.steps.checked_sub(1).ok_or(ExprError::TooComplex)?;
    Ok(())
}

pub(super) fn refused() -> ExprError {
    ExprError::Assign { reason: "a view changes nothing but its own variables".to_owned() }
}

/// `a::b<c::d>::e`, `a::b<c::d>`, `a`.
fn enclosing(class: &str) -> Vec<&str> {
    let mut scopes = Vec::new();
    let mut depth = 0usize;
    for (at, c) in class.char_indices().rev() {
        match c {
            '>' | ')' | '}' | ']' => depth += 1,
            '<' | '(' | '{' | '[' => depth = depth.saturating_sub(1),
            ':' if depth == 0 && class[..at].ends_with(':') => scopes.push(&class[..at - 1]),
            _ => {}
        }
    }
    let own = (!class.is_empty()).then_some(class);
    own.into_iter().chain(scopes.into_iter().filter(|scope| !scope.is_empty())).collect()
}

/// An object as a scope.
pub(super) struct ViewScope<'a> {
    frame: EngineScope<'a>,
    found: Rc<Found>,
    this: Value,
    names: Vec<(String, Value)>,
    calls: usize,
}

impl<'a> ViewScope<'a> {
    pub(super) fn new(engine: &'a mut Engine, context: &Context, memory: &'a mut dyn MemoryReader) -> ViewScope<'a> {
        ViewScope {
            frame: EngineScope::over(engine, memory),
            found: context.found.clone(),
            this: context.this.clone(),
            names: context.names.clone(),
            calls: 0,
        }
    }

    /// An expression and what stands behind it.
    pub(super) fn parse(&mut self, text: &str) -> Result<(Cpp, String), ExprError> {
        let written = written(text, &self.found, &self.names);
        let (expr, used) = parse_object_prefix(&written, &mut ScopeNames(self))?;
        let behind = written.get(used..).unwrap_or_default().trim();
        if !behind.is_empty() && !behind.starts_with(',') {
            return Err(ExprError::Syntax { text: behind.to_owned() });
        }
        Ok((expr, behind.to_owned()))
    }

    /// What a name may mean in the object's class and the namespaces around it, innermost first.
    fn around(&self, name: &Name) -> Vec<String> {
        if name.module.is_some() || name.local {
            return Vec::new();
        }
        let class = self.this.value_type().resolved().qualified_name();
        enclosing(&class).into_iter().map(|scope| format!("{scope}::{}", name.text)).collect()
    }

    /// What an intrinsic gives, of another object if one is given.
    fn call(
        &mut self,
        intrinsic: &Intrinsic,
        this: Option<(Rc<Found>, Value)>,
        arguments: Vec<Value>,
    ) -> Result<Value, ExprError> {
        if self.calls == CALL_LIMIT {
            return Err(ExprError::TooComplex);
        }
        let Some(expression) = &intrinsic.expression else {
            return Err(ExprError::Unsupported {
                what: intrinsic.name.clone(),
                reason: "an extension of another debugger has that intrinsic",
            });
        };
        if !intrinsic.takes(arguments.len()) {
            let count = intrinsic.parameters.len();
            let least = if intrinsic.is_variadic { "at least " } else { "" };
            return Err(ExprError::Operand {
                operation: intrinsic.name.clone(),
                reason: format!("it takes {least}{count} argument{}", if count == 1 { "" } else { "s" }),
            });
        }
        let outer = this
            .map(|(found, this)| (std::mem::replace(&mut self.found, found), std::mem::replace(&mut self.this, this)));
        self.calls += 1;
        let done = self.bound(intrinsic, arguments).and_then(|names| {
            let names = std::mem::replace(&mut self.names, names);
            let done = self.parse(expression).and_then(|(expr, _)| match expr.has_effects() {
                true => Err(refused()),
                false => evaluate_value(&Expr::Cpp(expr), self),
            });
            self.names = names;
            match &intrinsic.returns {
                Some(returns) => self.converted(done?, returns),
                None => done,
            }
        });
        self.calls -= 1;
        if let Some((found, this)) = outer {
            (self.found, self.this) = (found, this);
        }
        done
    }

    /// Parameters of an intrinsic with what they stand for.
    fn bound(&mut self, intrinsic: &Intrinsic, arguments: Vec<Value>) -> Result<Vec<(String, Value)>, ExprError> {
        let parameters = intrinsic.parameters.iter().zip(arguments);
        parameters
            .map(|(parameter, argument)| Ok((parameter.name.clone(), self.converted(argument, &parameter.of)?)))
            .collect()
    }

    /// A value as a type has it that an author wrote. Objects stay what they are, and so does all if the type is unknown.
    fn converted(&mut self, value: Value, of: &str) -> Result<Value, ExprError> {
        if of.is_empty() || value.value_type().is_aggregate() {
            return Ok(value);
        }
        // It is read as the cast that it means; what is cast is one of the names that expressions see first.
        self.names.push((CONVERTED.to_owned(), value.clone()));
        let done = match self.parse(&format!("({of}){CONVERTED}")) {
            Ok((cast @ Cpp::Cast(..), _)) => match evaluate_value(&Expr::Cpp(cast), self) {
                Ok(done) if !done.value_type().is_aggregate() => Ok(done),
                Err(error) if !super::is_senseless(&error) => Err(error),
                _ => Ok(value),
            },
            _ => Ok(value),
        };
        self.names.pop();
        done
    }

    /// The intrinsic of a name: of the view, else of its file.
    fn intrinsic(found: &Found, name: &str, arguments: usize) -> Option<Intrinsic> {
        let all = found.view().intrinsics.iter().chain(&found.file.intrinsics);
        let mut called = all.filter(|one| one.name == name);
        let first = called.clone().next();
        called.find(|one| one.takes(arguments)).or(first).cloned()
    }
}

impl Scope for ViewScope<'_> {
    fn arch(&self) -> Arch {
        self.frame.arch()
    }

    fn memory(&mut self) -> &mut dyn MemoryReader {
        self.frame.memory()
    }

    fn register(&mut self, id: RegisterId) -> Option<RegisterValue> {
        self.frame.register(id)
    }

    fn pseudo_register(&mut self, name: &str) -> Result<Value, ExprError> {
        self.frame.pseudo_register(name)
    }

    fn addresses(&mut self, name: &Name) -> Result<Vec<Va>, ExprError> {
        self.frame.addresses(name)
    }

    fn line_addresses(&mut self, line: &SourceLine) -> Result<Vec<Va>, ExprError> {
        self.frame.line_addresses(line)
    }

    fn variable(&mut self, name: &Name, lookup: Lookup) -> Result<Option<Value>, ExprError> {
        if name.module.is_none() {
            if let Some((_, value)) = self.names.iter().rev().find(|(known, _)| *known == name.text) {
                return Ok(Some(value.clone()));
            }
            if name.text == "this" {
                return Ok(self.this.address().map(|at| {
                    let of = self.this.value_type();
                    Value::from_bytes(of.table().pointer_to(of.id()), at.0.to_le_bytes().to_vec())
                }));
            }
            if let Ok(member) = self.this.member(&name.text, self.frame.memory()) {
                return Ok(Some(member));
            }
        }
        // Variables of the frame are none of the object's business.
        if lookup != Lookup::Everywhere {
            return Ok(None);
        }
        let around = self.around(name);
        let (engine, _) = self.frame.parts();
        let found = engine.view_global(&name.to_string());
        Ok(found.or_else(|| around.iter().find_map(|name| engine.view_global(name))))
    }

    fn named_type(&mut self, name: &Name) -> Option<Type> {
        // As in the class itself: what is declared in it and around it goes first.
        let around = self.around(name);
        let (engine, _) = self.frame.parts();
        let found = around.iter().find_map(|name| engine.view_type(name));
        found.or_else(|| engine.view_type(&name.to_string())).or_else(|| {
            let found = TypeTable::builtin().named(&name.text).pop();
            found.filter(|_| name.module.is_none()).or_else(|| (name.text == "wchar_t").then(|| builtin("int")))
        })
    }

    fn entry_point(&mut self, base: Va) -> Option<Va> {
        self.frame.entry_point(base)
    }

    fn write(&mut self, _: &[Store]) -> Result<(), ExprError> {
        Err(refused())
    }

    fn apply(
        &mut self,
        function: &Name,
        of: Option<Value>,
        arguments: Vec<Value>,
        _: Option<&outpost_symbols::Type>,
    ) -> Result<Value, ExprError> {
        let function = function.text.as_str();
        let unknown = || ExprError::Unsupported {
            what: function.to_owned(),
            reason: "the view has no such intrinsic, and expressions call no functions",
        };
        let Some(of) = of else {
            let found = self.found.clone();
            if let Some(intrinsic) = Self::intrinsic(&found, function, arguments.len()) {
                return self.call(&intrinsic, None, arguments);
            }
            if let Some(done) = library::call(function, &arguments, self) {
                return done;
            }
            // `size_t(1)`: a type that is written like a function is a cast.
            return match (self.named_type(&Name::plain(function)), &arguments[..]) {
                (Some(to), [value]) if !to.is_aggregate() => cast(to, value, self),
                _ => Err(unknown()),
            };
        };
        let of = if of.value_type().is_pointer() { of.deref(self.memory()).unwrap_or(of) } else { of };
        let (engine, memory) = self.frame.parts();
        let views = engine.views.of_object(&of, memory);
        let found = views.into_iter().find_map(|(found, this)| {
            Self::intrinsic(&found, function, arguments.len()).map(|intrinsic| (intrinsic, (found, this)))
        });
        let (intrinsic, this) = found.ok_or_else(unknown)?;
        self.call(&intrinsic, Some(this), arguments)
    }

    fn smart_pointer(&mut self, value: &Value, usage: PointerUse) -> Result<Option<Value>, ExprError> {
        self.frame.smart_pointer(value, usage)
    }

    fn place(&mut self, _: &Name) -> Option<Place> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::enclosing;

    #[test]
    fn names_are_looked_for_from_the_inside() {
        assert_eq!(enclosing("a::b<c::d>::e"), ["a::b<c::d>::e", "a::b<c::d>", "a"]);
        assert_eq!(enclosing("(anonymous namespace)::x"), ["(anonymous namespace)::x", "(anonymous namespace)"]);
        assert_eq!(enclosing("x"), ["x"]);
        assert_eq!(enclosing(""), [""; 0]);
    }
}
