//! C++: the operation depends on the types, which are known here and nowhere later.

use outpost_base::Va;
use outpost_symbols::{Scalar, Type, TypeKind, Value};
use outpost_target::condition::Op;

use super::{CompileError, Compiler, Operand, beside, operand_error};
use crate::expr::eval::{builtin, integer_type, pointer_to, resolve};
use crate::expr::{Cpp, CppBinary, CppUnary, ExprError, Lookup, Name, PlaceKind};

impl Compiler<'_> {
    /// Code that leaves the bits of a scalar, extended to 64 as its type says; gives the type after promotion.
    pub(super) fn scalar(&mut self, expr: &Cpp) -> Result<Type, CompileError> {
        match self.operand(expr)? {
            Operand::Value(of) => Ok(of),
            Operand::At(of) => self.load(of),
        }
    }

    /// The address on the stack becomes what is there; arrays and functions are their address.
    fn load(&mut self, of: Type) -> Result<Type, CompileError> {
        if let Some((element, _)) = of.element() {
            return Ok(pointer_to(&element));
        }
        let resolved = of.resolved();
        if let TypeKind::Function { .. } = resolved.kind() {
            return Ok(pointer_to(&of));
        }
        let (size, signed) = integer_shape(&of)?;
        self.code.load(size, signed);
        Ok(of)
    }

    fn operand(&mut self, expr: &Cpp) -> Result<Operand, CompileError> {
        match expr {
            Cpp::Integer { value, unsigned, long } => {
                self.code.constant(*value);
                let small = *value <= i32::MAX as u64 || *unsigned && *value <= u64::from(u32::MAX);
                let size = if small && !long { 4 } else { 8 };
                Ok(Operand::Value(integer_type(size, !unsigned && *value <= i64::MAX as u64)))
            }
            Cpp::Character { of, code } => {
                self.code.constant(*code as u64);
                Ok(Operand::Value(builtin(of)))
            }
            Cpp::Bool(value) => {
                self.code.constant(u64::from(*value));
                Ok(Operand::Value(builtin("bool")))
            }
            Cpp::Null => {
                self.code.constant(0);
                Ok(Operand::Value(pointer_to(&builtin("void"))))
            }
            Cpp::Register(name) => {
                self.register(name)?;
                match self.scope.pointed_to(name) {
                    None => Ok(Operand::Value(builtin("unsigned long"))),
                    Some(Ok(of)) => Ok(Operand::Value(pointer_to(&of))),
                    Some(Err(_)) => Err(beside(name, "is of a type that is not known")),
                }
            }
            Cpp::Name(name) => self.name(name),
            Cpp::Masm(inner) => {
                self.masm(inner)?;
                Ok(Operand::Value(builtin("unsigned long")))
            }
            Cpp::Unary(operator, operand) => self.unary(*operator, operand),
            Cpp::Binary(operator, left, right) => self.binary(*operator, left, right).map(Operand::Value),
            Cpp::Conditional(condition, chosen, other) => {
                self.scalar(condition)?;
                let to_other = self.code.skip(Op::SkipIfZero);
                let of = self.scalar(chosen)?;
                let to_end = self.code.skip(Op::Skip);
                self.code.land(to_other);
                self.scalar(other)?;
                self.code.land(to_end);
                Ok(Operand::Value(of))
            }
            Cpp::Member { of, member, arrow } => {
                let place = match self.operand(of)? {
                    Operand::At(place) if !arrow && !place.is_pointer() => place,
                    Operand::At(pointer) => {
                        let loaded = self.load(pointer)?;
                        pointed_to(&loaded)?
                    }
                    Operand::Value(pointer) => pointed_to(&pointer)?,
                };
                let name = if member.starts_with(|c: char| c.is_ascii_digit()) {
                    format!("__{member}")
                } else {
                    member.clone()
                };
                let Some(field) = place.field(&name) else {
                    let missing = || ExprError::NoMember { member: member.clone(), of: place.to_string() };
                    let found = self.scope.static_member(&place, &name).ok_or_else(missing)?;
                    self.code.op(Op::Drop);
                    return self.known(member, &found);
                };
                if field.bits.is_some() {
                    return Err(beside(member, "is a bit field"));
                }
                self.add_constant(field.offset);
                self.through_reference(field.field_type)
            }
            Cpp::Index(array, index) => {
                let of = self.scalar(array)?;
                let element = pointed_to(&of)?;
                if element.view_kind().is_some() || is_rusts(&of) && element.is_aggregate() {
                    return Err(beside("[]", "is of a container"));
                }
                self.scalar(index)?;
                self.scale(&element)?;
                self.code.op(Op::Add);
                self.through_reference(element)
            }
            Cpp::Cast(to, operand) => {
                let to = resolve(to, self.scope)?;
                let operand = self.operand(operand)?;
                if to.is_aggregate() {
                    return Ok(Operand::At(to));
                }
                if let Operand::At(of) = operand {
                    self.load(of)?;
                }
                let (size, signed) = integer_shape(&to)?;
                if size < 8 {
                    self.code.resize(size, signed);
                }
                Ok(Operand::Value(to))
            }
            Cpp::SizeofType(of) => {
                let size = resolve(of, self.scope)?.size();
                self.code.constant(size.ok_or_else(|| ExprError::UnknownType { name: of.to_string() })?);
                Ok(Operand::Value(builtin("unsigned long")))
            }
            Cpp::Float { .. } => Err(beside("a floating-point number", "needs the client")),
            Cpp::Text(_) => Err(beside("a text", "needs the client")),
            Cpp::SizeofValue(_)
            | Cpp::Field(..)
            | Cpp::ContainingRecord(..)
            | Cpp::ContainsField { .. }
            | Cpp::NumberOf(_) => Err(beside("the macro", "needs the client")),
            Cpp::Assign(..) | Cpp::PostStep(..) => Err(beside("an assignment", "changes the debuggee")),
            Cpp::Apply { .. } | Cpp::Call { .. } | Cpp::Invoke { .. } => {
                let reason = "a condition calls no functions";
                Err(ExprError::Unsupported { what: "a call".into(), reason }.into())
            }
            Cpp::Lambda(_) | Cpp::Anonymous(_) => Err(beside("an object", "is the debugger's own")),
        }
    }

    fn name(&mut self, name: &Name) -> Result<Operand, CompileError> {
        if let Some(place) = self.scope.place(name) {
            return match place.at {
                at @ (PlaceKind::Register(_) | PlaceKind::Value(_)) => {
                    let (size, signed) = integer_shape(&place.value_type)?;
                    self.address(at);
                    if size < 8 {
                        self.code.resize(size, signed);
                    }
                    self.value_through_reference(place.value_type)
                }
                at => {
                    self.address(at);
                    self.through_reference(place.value_type)
                }
            };
        }
        let of_this = |class: Type| class.field(&name.text).is_some();
        if name.module.is_none() && self.scope.this_class().is_some_and(of_this) {
            let of = Box::new(Cpp::Name(Name::plain("this")));
            return self.operand(&Cpp::Member { of, member: name.text.clone(), arrow: true });
        }
        if name.module.is_none()
            && let Some(class) = self.scope.this_class()
            && let Some(found) = self.scope.static_member(&class, &name.text)
        {
            return self.known(&name.text, &found);
        }
        match self.scope.variable(name, Lookup::Everywhere)? {
            Some(value) => self.known(&name.text, &value),
            None => Err(ExprError::Unresolved { name: name.to_string() }.into()),
        }
    }

    /// What is the same at every hit: at an address, or a constant.
    fn known(&mut self, name: &str, value: &Value) -> Result<Operand, CompileError> {
        match (value.address(), value.value_type()) {
            (Some(at), of) => {
                self.code.constant(at.0);
                self.through_reference(of.clone())
            }
            // Enumerators and other constants have a value without a place.
            (None, of) => match value.scalar(&mut NoMemory) {
                Ok(Scalar::Float(_) | Scalar::Complex(..)) | Err(_) => {
                    Err(beside(name, "takes more than registers to find"))
                }
                Ok(scalar) => {
                    self.code.constant(scalar.as_u64());
                    Ok(Operand::Value(of.clone()))
                }
            },
        }
    }

    /// The address on the stack; of what a reference refers to, if it is one.
    fn through_reference(&mut self, of: Type) -> Result<Operand, CompileError> {
        let resolved = of.resolved();
        match (resolved.kind(), of.is_pointer()) {
            (TypeKind::Pointer { target, .. }, false) => {
                self.code.load(8, false);
                Ok(Operand::At(resolved.sibling(*target)))
            }
            _ => Ok(Operand::At(of)),
        }
    }

    /// The value on the stack, which for a reference is an address.
    fn value_through_reference(&mut self, of: Type) -> Result<Operand, CompileError> {
        let resolved = of.resolved();
        match (resolved.kind(), of.is_pointer()) {
            (TypeKind::Pointer { target, .. }, false) => Ok(Operand::At(resolved.sibling(*target))),
            _ => Ok(Operand::Value(of)),
        }
    }

    fn unary(&mut self, operator: CppUnary, operand: &Cpp) -> Result<Operand, CompileError> {
        match operator {
            CppUnary::Dereference => {
                let of = self.scalar(operand)?;
                let target = pointed_to(&of)?;
                self.through_reference(target)
            }
            CppUnary::AddressOf => match self.operand(operand)? {
                Operand::At(of) => Ok(Operand::Value(pointer_to(&of))),
                Operand::Value(_) => Err(operand_error("&", "the value is not in memory").into()),
            },
            CppUnary::Not => {
                self.scalar(operand)?;
                self.code.op(Op::IsZero);
                Ok(Operand::Value(builtin("bool")))
            }
            CppUnary::Plus | CppUnary::Negate | CppUnary::Complement => {
                let of = self.scalar(operand)?;
                let (size, signed) = promoted(&of)?;
                match operator {
                    CppUnary::Negate => self.code.op(Op::Negate),
                    CppUnary::Complement => self.code.op(Op::Complement),
                    _ => {}
                }
                self.wrap(size, signed);
                Ok(Operand::Value(integer_type(size, signed)))
            }
            CppUnary::Increment | CppUnary::Decrement => Err(beside("an assignment", "changes the debuggee")),
        }
    }

    fn binary(&mut self, operator: CppBinary, left: &Cpp, right: &Cpp) -> Result<Type, CompileError> {
        match operator {
            CppBinary::LogicalAnd | CppBinary::LogicalOr => {
                let and = operator == CppBinary::LogicalAnd;
                self.scalar(left)?;
                if !and {
                    self.code.op(Op::IsZero);
                }
                let decided = self.code.skip(Op::SkipIfZero);
                self.scalar(right)?;
                self.code.op(Op::IsZero);
                self.code.op(Op::IsZero);
                let end = self.code.skip(Op::Skip);
                self.code.land(decided);
                self.code.constant(u64::from(!and));
                self.code.land(end);
                return Ok(builtin("bool"));
            }
            CppBinary::Comma => {
                self.scalar(left)?;
                self.code.op(Op::Drop);
                return self.scalar(right);
            }
            _ => {}
        }
        let left_type = self.scalar(left)?;
        if let (Ok(element), CppBinary::Add | CppBinary::Subtract) = (pointed_to(&left_type), operator) {
            let right_type = self.scalar(right)?;
            if right_type.is_pointer() {
                self.code.op(Op::Subtract);
                self.code.constant(element.size().filter(|size| *size > 0).unwrap_or(1));
                self.code.op(Op::DivideSigned);
                return Ok(builtin("long"));
            }
            self.scale(&element)?;
            self.code.op(if operator == CppBinary::Add { Op::Add } else { Op::Subtract });
            return Ok(left_type);
        }
        let (left_size, left_signed) = promoted(&left_type)?;
        let right_type = self.scalar(right)?;
        if let (Ok(element), CppBinary::Add) = (pointed_to(&right_type), operator) {
            self.code.op(Op::Swap);
            self.scale(&element)?;
            self.code.op(Op::Add);
            return Ok(right_type);
        }
        let (right_size, right_signed) = promoted(&right_type)?;
        if let CppBinary::ShiftLeft | CppBinary::ShiftRight = operator {
            self.code.op(match (operator, left_signed) {
                (CppBinary::ShiftLeft, _) => Op::ShiftLeft,
                (_, true) => Op::ShiftRightSigned,
                _ => Op::ShiftRight,
            });
            self.wrap(left_size, left_signed);
            return Ok(integer_type(left_size, left_signed));
        }
        // The usual arithmetic conversions, as in the evaluator.
        let size = left_size.max(right_size);
        let signed = match left_size.cmp(&right_size) {
            std::cmp::Ordering::Less => right_signed,
            std::cmp::Ordering::Greater => left_signed,
            std::cmp::Ordering::Equal => left_signed && right_signed,
        };
        if size == 4 && !signed {
            // A signed side that becomes unsigned loses the upper half it was extended to.
            self.code.resize(4, false);
            self.code.op(Op::Swap);
            self.code.resize(4, false);
            self.code.op(Op::Swap);
        }
        self.operator(operator, size, signed)
    }

    fn operator(&mut self, operator: CppBinary, size: u8, signed: bool) -> Result<Type, CompileError> {
        let choose = |if_signed: Op, if_unsigned: Op| if signed { if_signed } else { if_unsigned };
        let arithmetic = match operator {
            CppBinary::Add => Op::Add,
            CppBinary::Subtract => Op::Subtract,
            CppBinary::Multiply => Op::Multiply,
            CppBinary::Divide => choose(Op::DivideSigned, Op::DivideUnsigned),
            CppBinary::Remainder => choose(Op::RemainderSigned, Op::RemainderUnsigned),
            CppBinary::And => Op::And,
            CppBinary::Or => Op::Or,
            CppBinary::Xor => Op::Xor,
            _ => {
                if let CppBinary::Greater | CppBinary::GreaterEqual = operator {
                    self.code.op(Op::Swap);
                }
                self.code.op(match operator {
                    CppBinary::Less | CppBinary::Greater => choose(Op::LessSigned, Op::LessUnsigned),
                    CppBinary::LessEqual | CppBinary::GreaterEqual => {
                        choose(Op::LessEqualSigned, Op::LessEqualUnsigned)
                    }
                    _ => Op::Equal,
                });
                if operator == CppBinary::NotEqual {
                    self.code.op(Op::IsZero);
                }
                return Ok(builtin("bool"));
            }
        };
        self.code.op(arithmetic);
        self.wrap(size, signed);
        Ok(integer_type(size, signed))
    }

    fn wrap(&mut self, size: u8, signed: bool) {
        if size < 8 {
            self.code.resize(size, signed);
        }
    }

    /// Multiplies the top by the size of an element.
    fn scale(&mut self, element: &Type) -> Result<(), CompileError> {
        let size = element.size().ok_or_else(|| operand_error("[]", "the element has no size"))?;
        if size != 1 {
            self.code.constant(size);
            self.code.op(Op::Multiply);
        }
        Ok(())
    }

    fn add_constant(&mut self, value: u64) {
        if value != 0 {
            self.code.constant(value);
            self.code.op(Op::Add);
        }
    }
}

/// What a pointer points to, or an array holds.
fn pointed_to(of: &Type) -> Result<Type, CompileError> {
    let target = of.target().or_else(|| of.element().map(|(element, _)| element));
    Ok(target.ok_or_else(|| operand_error("*", "the operand is no pointer"))?)
}

/// Whether indexing goes through references, which a pointer of C does not.
fn is_rusts(of: &Type) -> bool {
    of.resolved().language() == outpost_symbols::Language::Rust
}

/// Size and signedness of an integer or pointer of at most 8 bytes.
fn integer_shape(of: &Type) -> Result<(u8, bool), CompileError> {
    use outpost_symbols::BaseEncoding;
    let size = of.size().and_then(|size| u8::try_from(size).ok()).filter(|size| matches!(size, 1 | 2 | 4 | 8));
    let size = size.ok_or_else(|| beside(&of.to_string(), "does not fit a register"))?;
    if let TypeKind::Pointer { .. } = of.resolved().kind() {
        return Ok((size, false));
    }
    match of.encoding() {
        Some(BaseEncoding::Signed | BaseEncoding::SignedChar) => Ok((size, true)),
        Some(BaseEncoding::Unsigned | BaseEncoding::UnsignedChar | BaseEncoding::Unicode | BaseEncoding::Bool) => {
            Ok((size, false))
        }
        _ => Err(beside(&of.to_string(), "is no integer")),
    }
}

/// The same after promotion to `int`.
fn promoted(of: &Type) -> Result<(u8, bool), CompileError> {
    match integer_shape(of)? {
        (..=2, _) => Ok((4, true)),
        shape => Ok(shape),
    }
}

/// For values whose bytes are known.
struct NoMemory;

impl outpost_base::MemoryReader for NoMemory {
    fn read(&mut self, _: Va, _: &mut [u8]) -> usize {
        0
    }
}
