//! Whether an expression calls functions of the debuggee, which is not done everywhere.

use std::cell::OnceCell;

use super::{Cpp, Expr, Masm, MasmArgument};

impl Expr {
    /// The first function that evaluating it would call, as it was written. Methods may be those of the object model.
    pub fn called_function(&self) -> Option<String> {
        match self {
            Expr::Masm(masm) => in_masm(masm),
            Expr::Cpp(cpp) => in_cpp(cpp),
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
        Masm::Cpp(inner) => in_cpp(inner),
    }
}

fn in_cpp(expr: &Cpp) -> Option<String> {
    let found = OnceCell::new();
    expr.any(&|part| {
        let called = match part {
            Cpp::Apply { function, .. } => Some(function.to_string()),
            Cpp::Masm(inner) => in_masm(inner),
            _ => None,
        };
        called.is_some_and(|function| found.set(function).is_ok())
    });
    found.into_inner()
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
