//! Statements that change the variables of a view, and nothing else.

use outpost_base::MemoryReader;
use outpost_symbols::Value;

use super::evaluate::{Context, ViewScope, kept, refused, step};
use crate::Engine;
use crate::expr::{Cpp, CppBinary, CppUnary, Expr, ExprError, Name, arithmetic, cast, evaluate_value};

/// Carries out a statement: assignments to variables of the view and steps of them, wherever in an expression they stand.
pub(super) fn execute(
    engine: &mut Engine,
    context: &mut Context,
    text: &str,
    memory: &mut dyn MemoryReader,
) -> Result<(), ExprError> {
    step(engine)?;
    // A comma in it is the operator.
    let (expr, _) = ViewScope::new(engine, context, memory).parse(&format!("({text})"))?;
    let variables = context.names.len();
    let mut statement = Statement { engine, context, memory };
    let done = statement.without_effects(expr).and_then(|expr| statement.evaluate(expr)).map(|_| ());
    context.names.truncate(variables);
    done
}

struct Statement<'a> {
    engine: &'a mut Engine,
    context: &'a mut Context,
    memory: &'a mut dyn MemoryReader,
}

impl Statement<'_> {
    fn evaluate(&mut self, expr: Cpp) -> Result<Value, ExprError> {
        let mut scope = ViewScope::new(self.engine, self.context, self.memory);
        evaluate_value(&Expr::Cpp(expr), &mut scope)
    }

    /// What is left of an expression to be evaluated once its changes were made, from left to right.
    fn without_effects(&mut self, expr: Cpp) -> Result<Cpp, ExprError> {
        if !expr.has_effects() {
            return Ok(expr);
        }
        Ok(match expr {
            Cpp::Assign(operator, to, from) => {
                let from = self.without_effects(*from)?;
                self.assign(operator, &to, from)?;
                *to
            }
            Cpp::Unary(CppUnary::Increment, to) => {
                self.assign(Some(CppBinary::Add), &to, one())?;
                *to
            }
            Cpp::Unary(CppUnary::Decrement, to) => {
                self.assign(Some(CppBinary::Subtract), &to, one())?;
                *to
            }
            Cpp::PostStep(by, to) => {
                let old = self.evaluate((*to).clone())?;
                self.assign(Some(if by > 0 { CppBinary::Add } else { CppBinary::Subtract }), &to, one())?;
                // What it was goes on under a name that nobody can write.
                let name = format!("{} before", self.context.names.len());
                self.context.names.push((name.clone(), old));
                Cpp::Name(Name::plain(&name))
            }
            Cpp::Unary(operator, of) => Cpp::Unary(operator, Box::new(self.without_effects(*of)?)),
            Cpp::Cast(to, of) => Cpp::Cast(to, Box::new(self.without_effects(*of)?)),
            Cpp::Member { of, member, arrow } => {
                Cpp::Member { of: Box::new(self.without_effects(*of)?), member, arrow }
            }
            Cpp::Index(of, index) => {
                let of = self.without_effects(*of)?;
                Cpp::Index(Box::new(of), Box::new(self.without_effects(*index)?))
            }
            // Whether the right side is evaluated at all depends on the left one.
            Cpp::Binary(operator, left, right)
                if !matches!(operator, CppBinary::LogicalAnd | CppBinary::LogicalOr) || !right.has_effects() =>
            {
                let left = self.without_effects(*left)?;
                Cpp::Binary(operator, Box::new(left), Box::new(self.without_effects(*right)?))
            }
            Cpp::Conditional(condition, chosen, other) => {
                let condition = self.without_effects(*condition)?;
                let holds = self.evaluate(Cpp::Unary(CppUnary::Not, Box::new(condition)))?;
                let is_not = holds.scalar(self.memory).is_ok_and(|scalar| scalar.is_true());
                self.without_effects(if is_not { *other } else { *chosen })?
            }
            _ => return Err(refused()),
        })
    }

    fn assign(&mut self, operator: Option<CppBinary>, to: &Cpp, from: Cpp) -> Result<(), ExprError> {
        let Cpp::Name(name) = to else { return Err(refused()) };
        let names = &self.context.names;
        let place = names.iter().rposition(|(known, _)| *known == name.text).ok_or_else(refused)?;
        let old = names[place].1.clone();
        let mut value = self.evaluate(from)?;
        let mut scope = ViewScope::new(self.engine, self.context, self.memory);
        if let Some(operator) = operator {
            value = arithmetic(operator, &old, &value, &mut scope)?;
        }
        let value = match old.value_type().is_aggregate() {
            true => value,
            false => {
                let value = cast(old.value_type().clone(), &value, &mut scope)?;
                kept(value, self.memory)?
            }
        };
        self.context.names[place].1 = value;
        Ok(())
    }
}

fn one() -> Cpp {
    Cpp::Integer { value: 1, unsigned: false, long: false }
}
