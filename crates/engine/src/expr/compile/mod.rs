//! From trees to condition code, which runs beside the target at each hit of a breakpoint.
//!
//! Names are resolved once, at the breakpoint's address: symbols become constants, locals become registers, sums of
//! them, or memory at such a sum. What takes more than that is refused, and the client evaluates it at each hit.

mod cpp;
mod masm;

use outpost_base::RegisterId;
use outpost_symbols::Type;
use outpost_target::condition::{Assembler, Condition, Op, VerifyError};

use super::{Expr, ExprError, PlaceKind, RegisterSum, Scope};

/// Why an expression cannot run beside the target.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// It needs something that only the client has.
    #[error("cannot run beside the target: {what} {reason}")]
    Beside {
        /// The construct.
        what: String,
        /// Why it needs the client.
        reason: &'static str,
    },
    /// It has no value anywhere.
    #[error(transparent)]
    Expr(#[from] ExprError),
    /// The code is too long or too deep.
    #[error(transparent)]
    Code(#[from] VerifyError),
}

/// Compiles a condition: not zero means that the hit counts.
///
/// `scope` need only resolve names, types and places; its registers and memory are not looked at.
///
/// # Errors
/// [`CompileError::Beside`] where evaluating by the client would work.
pub fn compile(expr: &Expr, scope: &mut dyn Scope) -> Result<Condition, CompileError> {
    let mut compiler = Compiler { code: Assembler::default(), scope };
    match expr {
        Expr::Masm(expr) => compiler.masm(expr)?,
        Expr::Cpp(expr) => {
            compiler.scalar(expr)?;
        }
    }
    Ok(compiler.code.finish()?)
}

struct Compiler<'a> {
    code: Assembler,
    scope: &'a mut dyn Scope,
}

/// Where the thing whose type is known is, after the code for it.
enum Operand {
    /// Its bits are the top of the stack.
    Value(Type),
    /// Its address is the top of the stack.
    At(Type),
}

impl Compiler<'_> {
    fn address(&mut self, at: PlaceKind) {
        match at {
            PlaceKind::Fixed(at) => self.code.constant(at.0),
            PlaceKind::Based(id, offset) => self.based(id, offset),
            PlaceKind::Register(id) => self.code.register(id),
            PlaceKind::Sum(sum) | PlaceKind::Value(sum) => self.sum(sum),
        }
    }

    fn sum(&mut self, sum: RegisterSum) {
        self.code.constant(sum.constant);
        for (id, factor) in sum.terms.into_iter().flatten() {
            self.code.register(id);
            if factor != 1 {
                self.code.constant(factor);
                self.code.op(Op::Multiply);
            }
            self.code.op(Op::Add);
        }
    }

    fn based(&mut self, id: RegisterId, offset: i64) {
        self.code.register(id);
        if offset != 0 {
            self.code.constant(offset as u64);
            self.code.op(Op::Add);
        }
    }
}

fn beside(what: &str, reason: &'static str) -> CompileError {
    CompileError::Beside { what: what.to_owned(), reason }
}

fn operand_error(operation: &str, reason: &str) -> ExprError {
    ExprError::Operand { operation: operation.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::test_scope::TestScope;
    use crate::expr::{Evaluator, Radix, ScopeNames, evaluate_number, parse};

    fn compiled(text: &str, evaluator: Evaluator, scope: &mut TestScope) -> Result<Condition, CompileError> {
        let expr = parse(text, evaluator, Radix::Hexadecimal, &mut ScopeNames(scope))?;
        compile(&expr, scope)
    }

    /// Compiled code must give what the evaluator gives.
    #[track_caller]
    fn agrees(text: &str, evaluator: Evaluator) {
        let mut scope = TestScope::new();
        let expr = parse(text, evaluator, Radix::Hexadecimal, &mut ScopeNames(&mut scope)).unwrap();
        let expected = evaluate_number(&expr, &mut scope).unwrap();
        let condition = compile(&expr, &mut scope).unwrap();
        let registers = scope.registers.clone();
        assert_eq!(condition.evaluate(&registers, &mut scope), Ok(expected), "{text}");
    }

    #[test]
    fn masm_agrees_with_the_evaluator() {
        for text in [
            "1 + 2 * 3 - 4",
            "poi(p) = 1000",
            "dwo(n) + 7 & ffffffff",
            "@rax > 12345677",
            "@rax >= 12345679",
            "@al = 78",
            "main + 5",
            "not @rbx",
            "hi @rax",
            "-1 >>> 4",
            "7 mod 4 != 3",
            "`shop.cpp:10`",
            "@@(n.tag) = @@(-7)",
        ] {
            agrees(text, Evaluator::Masm);
        }
    }

    #[test]
    fn cpp_agrees_with_the_evaluator() {
        for text in [
            "n.tag",
            "n.tag < 0",
            "n.tag < 0u",
            "moved->tag + counted",
            "counted == 0x12345672 && moved->next == p->next",
            "p->next->tag == -7 && i == -2",
            "p == 0 || p->tag > 5",
            "p != nullptr && !(i > 0)",
            "n.values[2] + 1",
            "n.values[i + 2]",
            "*(p->values + 1) * 3",
            "&n.values[2] - n.values",
            "i / 2",
            "(unsigned char)i",
            "(long)i >> 1",
            "i & 0xff ? 3 : 4",
            "2147483647 + 1 < 0",
            "(1, 2)",
            "@rax == 0x12345678",
            "((node *)@@(poi(p)))->tag",
            "n.name[0] == 'w'",
            "sizeof(node) > 8",
            "-n.tag",
            "~i",
            "true",
        ] {
            agrees(text, Evaluator::Cpp);
        }
    }

    #[test]
    fn members_of_this_need_no_naming_of_it() {
        let mut scope = TestScope::in_method(true);
        let condition = compiled("values[1] == 2", Evaluator::Cpp, &mut scope).unwrap();
        let registers = scope.registers.clone();
        assert_eq!(condition.evaluate(&registers, &mut scope), Ok(1));
    }

    #[test]
    fn what_needs_the_client_says_so() {
        let mut scope = TestScope::new();
        let mut check = |text: &str, expected: &str| {
            let error = compiled(text, Evaluator::Cpp, &mut scope).expect_err(text);
            assert_eq!(error.to_string(), expected, "{text}");
        };
        check("n.tag = 5", "cannot run beside the target: an assignment changes the debuggee");
        check("@$t0 == 1", "cannot run beside the target: $t0 is known to the client only");
        check("n.flags == 5", "cannot run beside the target: flags is a bit field");
        check("1.5 > i", "cannot run beside the target: a floating-point number needs the client");
        check("unheard > 1", "couldn't resolve error at 'unheard'");
    }
}
