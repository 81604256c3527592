//! C++: typed values, assignment to the debuggee, calls as far as the scope makes them.

use outpost_base::Va;
use outpost_symbols::{ElementKey, Language, NoElement, PointerFlavour, Scalar, Type, TypeKind, Unavailable, Value};

use super::assign::{assign, snapshot, stepped};
use super::number::{Number, apply, wrap};
use super::texts::{TEXT_LIMIT, character_literal, strings, text_literal, text_of};
use super::types::{builtin, pointer_to, resolve};
use super::{macros, masm, number_value, unavailable, untyped};
use crate::expr::{Cpp, CppBinary, CppUnary, ExprError, Lookup, Name, PointerUse, Scope};

pub(super) fn evaluate(expr: &Cpp, scope: &mut dyn Scope) -> Result<Value, ExprError> {
    match expr {
        Cpp::Integer { value, unsigned, long } => Ok(integer_literal(*value, *unsigned, *long)),
        Cpp::Float { value, single } => {
            Ok(Number::Float { value: *value, size: if *single { 4 } else { 8 } }.into_value())
        }
        Cpp::Character { of, code } => Ok(character_literal(of, *code)),
        Cpp::Text(text) => Ok(text_literal(text)),
        Cpp::Bool(value) => Ok(truth(*value)),
        Cpp::Null => Ok(Value::from_bytes(pointer_to(&builtin("void")), vec![0; 8])),
        Cpp::Name(name) => self::name(name, scope).and_then(|value| through_reference(value, scope)),
        Cpp::Register(name) => {
            let value = register(name, scope)?;
            Ok(match scope.pointed_to(name) {
                Some(to) => {
                    let to = to.unwrap_or_else(|_| builtin("void"));
                    value.cast(pointer_to(&to))
                }
                None => value,
            })
        }
        Cpp::Unary(CppUnary::Dereference, operand) => match bits_as(operand, scope)? {
            Some(value) => Ok(value),
            None => {
                let value = evaluate(operand, scope)?;
                unary(CppUnary::Dereference, &value, scope)
            }
        },
        Cpp::Unary(operator, operand) => {
            let value = evaluate(operand, scope)?;
            unary(*operator, &value, scope)
        }
        Cpp::PostStep(step, operand) => {
            let before = evaluate(operand, scope)?;
            let kept = snapshot(&before, scope)?;
            stepped(&before, *step, scope)?;
            Ok(kept)
        }
        Cpp::Binary(operator, left, right) => binary(*operator, left, right, scope),
        Cpp::Assign(operator, left, right) => assign(*operator, left, right, scope),
        Cpp::Conditional(condition, chosen, other) => {
            let holds = number(condition, scope)?.is_true();
            evaluate(if holds { chosen } else { other }, scope)
        }
        Cpp::Member { of, member, arrow } => {
            let mut value = evaluate(of, scope)?;
            // `.` on a pointer is what is meant by it in Rust, and never anything else in C++.
            if *arrow || value.value_type().is_pointer() {
                if is_untyped_pointer(value.value_type()) {
                    return Err(no_type(of, scope));
                }
                value = dereference(&value, scope)?;
            }
            if *arrow { member_of(&value, member, scope) } else { member_through(value, member, scope) }
        }
        Cpp::Index(array, index) => {
            let array = evaluate(array, scope)?;
            let key = element_key(index, scope)?;
            let element = element_of(&array, &key, scope)?;
            through_reference(element, scope)
        }
        Cpp::Cast(to, operand) => {
            let (to, is_reference) = (resolve(to, scope)?, to.reference);
            let value = call(operand, Some(&to), scope)?;
            if is_reference {
                // The same memory as another type: `(Derived &)base`.
                let at = value.address().ok_or_else(|| self::operand("cast", "the value is not in memory"))?;
                return Ok(Value::in_memory(to, at));
            }
            cast(to, &value, scope)
        }
        Cpp::SizeofValue(operand) => {
            let value = evaluate(operand, scope)?;
            size(value.value_type(), || value.value_type().to_string())
        }
        Cpp::SizeofType(of) => {
            let resolved = resolve(of, scope)?;
            size(&resolved, || of.to_string())
        }
        Cpp::Field(..) | Cpp::ContainingRecord(..) | Cpp::ContainsField { .. } | Cpp::NumberOf(_) => {
            macros::evaluate(expr, scope)
        }
        Cpp::Masm(inner) => masm::evaluate(inner, scope).map(number_value),
        Cpp::Apply { .. } | Cpp::Call { .. } | Cpp::Invoke { .. } => {
            let value = call(expr, None, scope)?;
            through_reference(value, scope)
        }
        Cpp::Lambda(_) => Err(of_objects("=>")),
        Cpp::Anonymous(_) => Err(of_objects("new")),
    }
}

/// The bits of a value as another type, where it is not in memory: what `*(int *)&number` means of a number in a register.
fn bits_as(pointer: &Cpp, scope: &mut dyn Scope) -> Result<Option<Value>, ExprError> {
    let Cpp::Cast(to, from) = pointer else { return Ok(None) };
    let Cpp::Unary(CppUnary::AddressOf, of) = &**from else { return Ok(None) };
    let value = evaluate(of, scope)?;
    if value.address().is_some() || value.bit_field().is_some() {
        return Ok(None);
    }
    let Some(target) = resolve(to, scope)?.target() else { return Ok(None) };
    let Ok(mut bytes) = value.bytes(scope.memory()) else { return Ok(None) };
    match target.size().and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= bytes.len()) {
        Some(size) => {
            bytes.truncate(size);
            Ok(Some(Value::from_bytes(target, bytes)))
        }
        None => Err(operand("*", "the value is not in memory, and smaller than what it is taken for")),
    }
}

/// What a call gives; `returns` is what it is said to return. Any other expression is evaluated.
fn call(expr: &Cpp, returns: Option<&Type>, scope: &mut dyn Scope) -> Result<Value, ExprError> {
    match expr {
        Cpp::Apply { function, arguments } => {
            let arguments = evaluate_all(arguments, scope)?;
            scope.apply(function, None, arguments, returns)
        }
        Cpp::Call { of, method, arguments } => {
            let of = evaluate(of, scope)?;
            let arguments = evaluate_all(arguments, scope)?;
            scope.apply(&Name::plain(method), Some(of), arguments, returns)
        }
        Cpp::Invoke { function, arguments } => {
            let pointer = evaluate(function, scope)?;
            let arguments = evaluate_all(arguments, scope)?;
            scope.invoke(&pointer, arguments)
        }
        other => evaluate(other, scope),
    }
}

/// Whether it points to nobody knows what.
fn is_untyped_pointer(of: &Type) -> bool {
    of.is_pointer() && of.target().is_some_and(|target| matches!(target.resolved().kind(), TypeKind::Void))
}

/// Why an untyped pointer has no members.
fn no_type(pointer: &Cpp, scope: &mut dyn Scope) -> ExprError {
    if let Cpp::Register(name) = pointer
        && let Some(Err(reason)) = scope.pointed_to(name)
    {
        return reason;
    }
    operand("->", "a pointer to void has no members; cast it, as in ((type *)pointer)->member")
}

fn evaluate_all(exprs: &[Cpp], scope: &mut dyn Scope) -> Result<Vec<Value>, ExprError> {
    exprs.iter().map(|expr| evaluate(expr, scope)).collect()
}

fn of_objects(what: &str) -> ExprError {
    ExprError::Unsupported { what: what.to_owned(), reason: "objects are for dx" }
}

/// The low 64 bits of a value; the address of one that is no number.
pub(super) fn as_u64(value: &Value, scope: &mut dyn Scope) -> Result<u64, ExprError> {
    match value.scalar(scope.memory()) {
        Ok(scalar) => Ok(scalar.as_u64()),
        Err(Unavailable::WrongType) => match value.address() {
            Some(at) => Ok(at.0),
            None => Err(operand("number", "the value has several parts and no address")),
        },
        Err(reason) => Err(unavailable(&value.value_type().to_string(), reason)),
    }
}

/// A register or pseudo-register as a value.
pub(super) fn register(name: &str, scope: &mut dyn Scope) -> Result<Value, ExprError> {
    let arch = scope.arch();
    let id = match name {
        "$ip" => Some(arch.pc()),
        "$csp" => Some(arch.sp()),
        "$retreg" | "$retreg64" => Some(arch.return_value()),
        "$ptrsize" => return Ok(number_value(u64::from(arch.pointer_size()))),
        _ if name.starts_with('$') => return scope.pseudo_register(name),
        _ => arch.register_by_name(name),
    };
    let bad = || ExprError::Register { name: name.to_owned() };
    let value = scope.register(id.ok_or_else(bad)?).ok_or_else(bad)?;
    let bytes = value.bytes().to_vec();
    let of = match bytes.len() {
        1 => builtin("unsigned char"),
        2 => builtin("unsigned short"),
        4 => builtin("unsigned int"),
        8 => builtin("unsigned long"),
        16 => builtin("unsigned __int128"),
        10 => {
            let mut padded = bytes;
            padded.resize(16, 0);
            return Ok(Value::from_bytes(builtin("long double"), padded));
        }
        len => {
            let count = outpost_symbols::ArrayBound::Count(len as u64);
            let byte = builtin("unsigned char");
            byte.table().array_of(byte.id(), &[count])
        }
    };
    Ok(Value::from_bytes(of, bytes))
}

/// A variable; a member of `this`; a symbol without type.
fn name(name: &Name, scope: &mut dyn Scope) -> Result<Value, ExprError> {
    let lookup = if name.local { Lookup::Local } else { Lookup::Everywhere };
    if name.module.is_none() {
        if let Some(local) = scope.variable(name, Lookup::Local)? {
            return Ok(local);
        }
        match scope.variable(&Name::plain("this"), Lookup::Local) {
            Ok(Some(this)) => {
                let object = this.deref(scope.memory());
                if let Some(member) = object.ok().and_then(|object| object.member(&name.text, scope.memory()).ok()) {
                    return Ok(member);
                }
            }
            Ok(None) => {}
            // Optimised out, say: that matters only for what is its member.
            Err(why) => {
                if scope.this_class().is_some_and(|class| class.field(&name.text).is_some()) {
                    return Err(why);
                }
            }
        }
        if let Some(class) = scope.this_class()
            && let Some(found) = scope.static_member(&class, &name.text)
        {
            return Ok(found);
        }
    }
    if let (Lookup::Everywhere, Some(found)) = (lookup, scope.variable(name, lookup)?) {
        return Ok(found);
    }
    let found = if name.local { Vec::new() } else { scope.addresses(name)? };
    match found[..] {
        [at] => Ok(untyped(at)),
        [] => Err(ExprError::Unresolved { name: name.to_string() }),
        [..] => Err(ExprError::Ambiguous { name: name.to_string(), count: found.len() }),
    }
}

/// C++ references stand for what they refer to.
fn through_reference(value: Value, scope: &mut dyn Scope) -> Result<Value, ExprError> {
    let resolved = value.value_type().resolved();
    match resolved.kind() {
        TypeKind::Pointer { flavour: PointerFlavour::Reference | PointerFlavour::RvalueReference, .. } => {
            dereference(&value, scope)
        }
        _ => Ok(value),
    }
}

pub(super) fn dereference(value: &Value, scope: &mut dyn Scope) -> Result<Value, ExprError> {
    if let Some((_, _)) = value.value_type().element() {
        return value.index(0, scope.memory()).map_err(|reason| unavailable("*", reason));
    }
    let target = value.deref(scope.memory()).or_else(|reason| match reason {
        Unavailable::WrongType => smart_target(value, scope),
        reason => Err(unavailable(&value.value_type().to_string(), reason)),
    })?;
    through_reference(target, scope)
}

/// What `*` gives of an object that acts as a pointer.
fn smart_target(value: &Value, scope: &mut dyn Scope) -> Result<Value, ExprError> {
    if let Some(target) = scope.smart_pointer(value, PointerUse::Target)? {
        return dereference(&target, scope);
    }
    led_to(value, scope).unwrap_or_else(|| Err(operand("*", "the operand is no pointer")))
}

/// What an object leads to that is a pointer by its view; `None` if it is no such object.
fn led_to(value: &Value, scope: &mut dyn Scope) -> Option<Result<Value, ExprError>> {
    let mut target = None;
    scope.in_batches(&mut |memory| target = value.leads_to(memory));
    target.map(|target| target.map_err(|reason| unavailable(&value.value_type().to_string(), reason)))
}

/// What `.` gives: a member of the value, or, as Rust has it, of what a `Box`, `Rc`, `Arc` or guard leads to.
fn member_through(value: Value, member: &str, scope: &mut dyn Scope) -> Result<Value, ExprError> {
    const NESTED: usize = 8;
    let mut inside = value.clone();
    for _ in 0..NESTED {
        let missing = match member_of(&inside, member, scope) {
            Err(missing @ ExprError::NoMember { .. }) => missing,
            found => return found,
        };
        if inside.value_type().resolved().language() != Language::Rust {
            return Err(missing);
        }
        inside = match led_to(&inside, scope) {
            Some(target) => target.and_then(|target| through_reference(target, scope))?,
            None => return Err(missing),
        };
    }
    member_of(&value, member, scope)
}

pub(crate) fn member_of(value: &Value, member: &str, scope: &mut dyn Scope) -> Result<Value, ExprError> {
    // Rust's tuples name their fields `__0`.
    let text = if member.starts_with(|c: char| c.is_ascii_digit()) { format!("__{member}") } else { member.to_owned() };
    // `Base::member`: the member is what counts, unless the class has one of its own.
    let (class, own) = text.rsplit_once("::").map_or((None, text.as_str()), |(class, own)| (Some(class), own));
    let from = match class {
        Some(class) => base_named(value, class, 16, scope).unwrap_or_else(|| value.clone()),
        None => value.clone(),
    };
    let found = match from.member(own, scope.memory()) {
        Ok(found) => found,
        Err(Unavailable::WrongType) => {
            let found = scope.static_member(from.value_type(), own);
            let of = value.value_type();
            found.ok_or_else(|| ExprError::NoMember { member: member.to_owned(), of: of.to_string() })?
        }
        Err(reason) => return Err(unavailable(member, reason)),
    };
    through_reference(found, scope)
}

/// The base class subobject of a name.
fn base_named(value: &Value, class: &str, depth: usize, scope: &mut dyn Scope) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let resolved = value.value_type().resolved();
    if resolved.qualified_name() == class || resolved.data().name.as_deref() == Some(class) {
        return Some(value.clone());
    }
    let count = resolved.record()?.bases.len();
    (0..count).find_map(|number| {
        let base = value.base(number, scope.memory()).ok()?;
        base_named(&base, class, depth, scope)
    })
}

/// What stands in brackets: an integer, or the text that a literal, a string or a pointer to characters is.
fn element_key(index: &Cpp, scope: &mut dyn Scope) -> Result<ElementKey, ExprError> {
    if let Cpp::Text(text) = index {
        return Ok(ElementKey::Text(text.utf8()));
    }
    let index = evaluate(index, scope)?;
    let mut text = None;
    scope.in_batches(&mut |memory| text = index.text_bytes(TEXT_LIMIT, memory));
    if let Some(text) = text {
        return text.map(ElementKey::Text).map_err(|reason| unavailable("[]", reason));
    }
    match promoted(&index, scope)? {
        Number::Integer { value, .. } => Ok(ElementKey::Number(value)),
        _ => Err(operand("[]", "the index is no integer")),
    }
}

/// The pointer that an object acts as for such a use, by a view; else the value itself.
fn pointer_of(value: &Value, usage: PointerUse, scope: &mut dyn Scope) -> Result<Value, ExprError> {
    let is_object = matches!(value.value_type().resolved().kind(), TypeKind::Record(_));
    let pointer = if is_object { scope.smart_pointer(value, usage)? } else { None };
    Ok(pointer.unwrap_or_else(|| value.clone()))
}

/// An element of a container as its author thinks of it; else of an array or of what a pointer points to.
pub(crate) fn element_of(array: &Value, key: &ElementKey, scope: &mut dyn Scope) -> Result<Value, ExprError> {
    let mut found = None;
    scope.in_batches(&mut |memory| found = array.element_at(key, memory));
    match (found, key) {
        (Some(Ok(element)), _) => Ok(element),
        (Some(Err(NoElement::Unreadable(reason))), _) => Err(unavailable("[]", reason)),
        (Some(Err(reason)), _) => Err(operand("[]", &reason.to_string())),
        (None, ElementKey::Number(index)) => {
            let index = *index as i64;
            let array = pointer_of(array, PointerUse::Elements, scope)?;
            array.index(index, scope.memory()).map_err(|reason| unavailable("[]", reason))
        }
        (None, ElementKey::Text(_)) => Err(operand("[]", "the index is no integer")),
    }
}

/// An operator on a value.
pub(crate) fn unary(operator: CppUnary, value: &Value, scope: &mut dyn Scope) -> Result<Value, ExprError> {
    match operator {
        CppUnary::Dereference => dereference(value, scope),
        CppUnary::AddressOf => {
            if value.bit_field().is_some() {
                return Err(operand("&", "a bit field has no address"));
            }
            let at = value.address().ok_or_else(|| operand("&", "the value is not in memory"))?;
            Ok(Number::Pointer { at, to: value.value_type().clone() }.into_value())
        }
        CppUnary::Increment => stepped(value, 1, scope),
        CppUnary::Decrement => stepped(value, -1, scope),
        CppUnary::Not => {
            let value = pointer_of(value, PointerUse::All, scope)?;
            Ok(truth(!promoted(&value, scope)?.is_true()))
        }
        CppUnary::Plus => Ok(promoted(value, scope)?.into_value()),
        CppUnary::Negate => match promoted(value, scope)? {
            Number::Integer { value, size, signed } => {
                Ok(Number::Integer { value: wrap(value.wrapping_neg(), size, signed), size, signed }.into_value())
            }
            Number::Float { value, size } => Ok(Number::Float { value: -value, size }.into_value()),
            Number::Pointer { .. } => Err(operand("-", "the operand is a pointer")),
        },
        CppUnary::Complement => match promoted(value, scope)? {
            Number::Integer { value, size, signed } => {
                Ok(Number::Integer { value: wrap(!value, size, signed), size, signed }.into_value())
            }
            _ => Err(operand("~", "the operand is no integer")),
        },
    }
}

fn binary(operator: CppBinary, left: &Cpp, right: &Cpp, scope: &mut dyn Scope) -> Result<Value, ExprError> {
    match operator {
        CppBinary::LogicalAnd => {
            return Ok(truth(number(left, scope)?.is_true() && number(right, scope)?.is_true()));
        }
        CppBinary::LogicalOr => {
            return Ok(truth(number(left, scope)?.is_true() || number(right, scope)?.is_true()));
        }
        CppBinary::Comma => {
            evaluate(left, scope)?;
            return evaluate(right, scope);
        }
        CppBinary::Equal | CppBinary::NotEqual => {
            // Text in memory is compared with a literal by its characters: what a condition on a name means.
            let sides = match (left, right) {
                (Cpp::Text(text), other) | (other, Cpp::Text(text)) => Some((text, other)),
                _ => None,
            };
            if let Some((text, other)) = sides {
                let other = evaluate(other, scope)?;
                let equal = text_of(&other, scope)? == text.utf8();
                return Ok(truth(equal == (operator == CppBinary::Equal)));
            }
        }
        _ => {}
    }
    let (left, right) = (evaluate(left, scope)?, evaluate(right, scope)?);
    if let Some(holds) = strings(operator, &left, &right, scope)? {
        return Ok(truth(holds));
    }
    arithmetic(operator, &left, &right, scope)
}

/// An operator on two values, of those that need both.
pub(crate) fn arithmetic(
    operator: CppBinary,
    left: &Value,
    right: &Value,
    scope: &mut dyn Scope,
) -> Result<Value, ExprError> {
    let usage = match operator {
        CppBinary::Equal | CppBinary::NotEqual => PointerUse::Target,
        CppBinary::Add | CppBinary::Subtract => PointerUse::Elements,
        _ => PointerUse::All,
    };
    let (left, right) = (pointer_of(left, usage, scope)?, pointer_of(right, usage, scope)?);
    let (left, right) = (promoted(&left, scope)?, promoted(&right, scope)?);
    Ok(match apply(operator, left, right)? {
        Number::Integer { value, size: 1, .. } => truth(value != 0),
        result => result.into_value(),
    })
}

/// A value as another type.
pub(crate) fn cast(to: Type, value: &Value, scope: &mut dyn Scope) -> Result<Value, ExprError> {
    if to.is_aggregate() {
        // Not C++: the memory at an address as a struct, `(struct list)node`. Numbers are taken for the address.
        let at = match value.value_type().is_aggregate() || value.value_type().size().is_none() {
            true => value.address().ok_or_else(|| operand("cast", "the value has no address"))?,
            false => Va(as_u64(value, scope)?),
        };
        return Ok(Value::in_memory(to, at));
    }
    if matches!(to.resolved().kind(), TypeKind::Void) {
        // What is evaluated for no more than that it can be.
        return Ok(Value::from_bytes(to, Vec::new()));
    }
    let size = to.size().ok_or_else(|| operand("cast", "the type has no size"))?;
    let is_function = |of: Type| matches!(of.resolved().kind(), TypeKind::Function { .. });
    let is_untyped = matches!(value.value_type().resolved().kind(), TypeKind::Void);
    if let Some(at) = value.address().filter(|_| is_untyped && to.target().is_some_and(is_function)) {
        // A function without debug info, of which the cast says what it takes and returns.
        return Ok(Value::from_bytes(to, at.0.to_le_bytes().to_vec()));
    }
    let scalar = match promoted(value, scope)? {
        Number::Integer { value, signed: true, .. } => Scalar::Signed(value),
        Number::Integer { value, .. } => Scalar::Unsigned(value as u128),
        Number::Float { value, .. } if to.encoding() != Some(outpost_symbols::BaseEncoding::Float) => {
            Scalar::Signed(value as i128)
        }
        Number::Float { value, .. } => Scalar::Float(value),
        Number::Pointer { at, .. } => Scalar::Pointer(at),
    };
    let bytes = scalar.encode(&to, size as usize).ok_or_else(|| operand("cast", "not possible for these types"))?;
    Ok(Value::from_bytes(to, bytes))
}

pub(super) fn number(expr: &Cpp, scope: &mut dyn Scope) -> Result<Number, ExprError> {
    let value = evaluate(expr, scope)?;
    promoted(&value, scope)
}

/// A value as arithmetic takes it: arrays and functions are addresses, small integers are `int`.
pub(super) fn promoted(value: &Value, scope: &mut dyn Scope) -> Result<Number, ExprError> {
    let of = value.value_type();
    let resolved = of.resolved();
    let without_type = || ExprError::Operand {
        operation: "value".into(),
        reason: "the symbol has no type; cast its address, as in *(int *)&name".into(),
    };
    if let Some((element, _)) = of.element() {
        let at = value.address().ok_or_else(|| operand("value", "the array is not in memory"))?;
        return Ok(Number::Pointer { at, to: element });
    }
    match resolved.kind() {
        TypeKind::Function { .. } => {
            let at = value.address().ok_or_else(without_type)?;
            Ok(Number::Pointer { at, to: of.clone() })
        }
        TypeKind::Void => Err(without_type()),
        TypeKind::Pointer { target, .. } => {
            let to = resolved.sibling(*target);
            let scalar = value.scalar(scope.memory()).map_err(|reason| unavailable(&of.to_string(), reason))?;
            Ok(Number::Pointer { at: Va(scalar.as_u64()), to })
        }
        _ => {
            let scalar = value.scalar(scope.memory()).map_err(|reason| match reason {
                Unavailable::WrongType => operand("value", "a struct is no number"),
                reason => unavailable(&of.to_string(), reason),
            })?;
            let bits = value.bit_field().map(|bits| bits.size.div_ceil(8));
            Ok(Number::promote(scalar, bits.or(of.size()).unwrap_or(8)))
        }
    }
}

pub(super) fn size(of: &Type, name: impl FnOnce() -> String) -> Result<Value, ExprError> {
    let size = of.size().ok_or_else(|| ExprError::Value { name: name(), reason: Unavailable::NoSize })?;
    Ok(number_value(size))
}

/// The first of int, long, unsigned long that holds it ([lex.icon]).
fn integer_literal(value: u64, unsigned: bool, long: bool) -> Value {
    let fits = |max: u64| value <= max;
    let (size, signed) = match (unsigned, long) {
        (false, false) if fits(i32::MAX as u64) => (4, true),
        (true, false) if fits(u64::from(u32::MAX)) => (4, false),
        (false, _) if fits(i64::MAX as u64) => (8, true),
        _ => (8, false),
    };
    Number::Integer { value: i128::from(value), size, signed }.into_value()
}

pub(crate) fn truth(value: bool) -> Value {
    Value::from_bytes(builtin("bool"), vec![u8::from(value)])
}

pub(super) fn operand(operation: &str, reason: &str) -> ExprError {
    ExprError::Operand { operation: operation.to_owned(), reason: reason.to_owned() }
}
