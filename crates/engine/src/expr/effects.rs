//! What evaluating an expression does besides giving a value, which is not done everywhere: changes, and calls of
//! functions of the debuggee.

use std::cell::OnceCell;

use super::{Cpp, CppUnary, Expr, Masm, MasmArgument};

impl Expr {
    /// The first function that evaluating it would call, as it was written. Methods may be those of the object model.
    pub fn called_function(&self) -> Option<String> {
        match self {
            Expr::Masm(masm) => in_masm(masm),
            Expr::Cpp(cpp) => cpp.called_function(),
        }
    }
}

impl Cpp {
    /// Whether evaluating it changes the debuggee or what the debugger keeps, so that it must be done once.
    pub fn has_effects(&self) -> bool {
        let changes = |expr: &Cpp| {
            matches!(
                expr,
                Cpp::Assign(..) | Cpp::PostStep(..) | Cpp::Unary(CppUnary::Increment | CppUnary::Decrement, _)
            )
        };
        self.any(&changes)
    }

    /// The first function that evaluating it would call, as it was written. Methods may be those of the object model.
    pub fn called_function(&self) -> Option<String> {
        let found = OnceCell::new();
        self.any(&|part| {
            let called = match part {
                Cpp::Apply { function, .. } => Some(function.to_string()),
                // Those of the object model are no functions of the debuggee.
                Cpp::Invoke { function, .. } if !matches!(**function, Cpp::Register(_) | Cpp::Lambda(_)) => {
                    Some("a pointer".to_owned())
                }
                Cpp::Masm(inner) => in_masm(inner),
                _ => None,
            };
            called.is_some_and(|function| found.set(function).is_ok())
        });
        found.into_inner()
    }

    /// Whether it or a part of it is one that is looked for.
    pub(crate) fn any(&self, wanted: &dyn Fn(&Cpp) -> bool) -> bool {
        if wanted(self) {
            return true;
        }
        match self {
            Cpp::Unary(_, inner)
            | Cpp::PostStep(_, inner)
            | Cpp::Cast(_, inner)
            | Cpp::SizeofValue(inner)
            | Cpp::NumberOf(inner)
            | Cpp::ContainingRecord(inner, ..) => inner.any(wanted),
            Cpp::ContainsField { of, size, .. } => of.any(wanted) || size.any(wanted),
            Cpp::Member { of, .. } => of.any(wanted),
            Cpp::Binary(_, one, other) | Cpp::Assign(_, one, other) | Cpp::Index(one, other) => {
                one.any(wanted) || other.any(wanted)
            }
            Cpp::Conditional(one, two, three) => one.any(wanted) || two.any(wanted) || three.any(wanted),
            Cpp::Apply { arguments, .. } => arguments.iter().any(|one| one.any(wanted)),
            Cpp::Call { of, arguments, .. } => of.any(wanted) || arguments.iter().any(|one| one.any(wanted)),
            Cpp::Invoke { function, arguments } => function.any(wanted) || arguments.iter().any(|one| one.any(wanted)),
            Cpp::Lambda(lambda) => lambda.body.any(wanted),
            Cpp::Anonymous(members) => members.iter().any(|(_, one)| one.any(wanted)),
            Cpp::Integer { .. }
            | Cpp::Float { .. }
            | Cpp::Character { .. }
            | Cpp::Text(_)
            | Cpp::Bool(_)
            | Cpp::Null
            | Cpp::Name(_)
            | Cpp::Register(_)
            | Cpp::SizeofType(_)
            | Cpp::Field(..)
            | Cpp::Masm(_) => false,
        }
    }
}

fn in_masm(expr: &Masm) -> Option<String> {
    match expr {
        Masm::Number(_) | Masm::Name(_) | Masm::Register(_) | Masm::Here | Masm::SourceLine(_) => None,
        Masm::Unary(_, operand) => in_masm(operand),
        Masm::Binary(_, left, right) => in_masm(left).or_else(|| in_masm(right)),
        Masm::Call(_, arguments) => arguments.iter().find_map(|argument| match argument {
            MasmArgument::Text(_) => None,
            MasmArgument::Value(value) => in_masm(value),
        }),
        Masm::Cpp(inner) => inner.called_function(),
    }
}

#[cfg(test)]
mod tests {
    use crate::expr::test_scope::TestScope;
    use crate::expr::{Evaluator, Radix, ScopeNames, parse};

    #[test]
    fn calls_are_found_wherever_they_are() {
        let called = |text: &str| {
            let mut scope = TestScope::new();
            parse(text, Evaluator::Cpp, Radix::Hexadecimal, &mut ScopeNames(&mut scope)).unwrap().called_function()
        };
        assert_eq!(called("strlen(p) > 3").as_deref(), Some("strlen"));
        assert_eq!(called("i > 3 && n.values[f(i)] == 1").as_deref(), Some("f"));
        assert_eq!(called("p->next->above(f(i)) ? 1 : 2").as_deref(), Some("f"));
        assert_eq!(called("p->next->Count() ? 1 : 2"), None, "objects have methods of their own");
        assert_eq!(called("@@masm(@@(f(1)) + 2)").as_deref(), Some("f"));
        assert_eq!(called("n.values[2] + (long)i > sizeof(node)"), None);
        assert_eq!(called("@@masm($scmp(\"a\", \"b\"))"), None);
    }
}
