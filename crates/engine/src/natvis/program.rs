//! `CustomListItems`: a small program that gives elements.

use outpost_base::MemoryReader;

use super::evaluate::{Context, evaluate, kept, step, truth};
use super::execute::execute;
use super::expand::{Collector, Wanted, part, size};
use super::file::{Program, Statement};
use super::text;
use crate::Engine;
use crate::expr::{ExprError, number_value};
use crate::model::Object;

/// How a block of statements ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It was carried out.
    Done,
    /// A loop around it ends.
    Break,
    /// It gave all elements that there are.
    Full,
    /// Nothing more is wanted.
    Enough,
}

pub(super) fn run(
    engine: &mut Engine,
    context: &Context,
    program: &Program,
    collector: &mut Collector,
    memory: &mut dyn MemoryReader,
) -> Result<Wanted, ExprError> {
    let mut context = context.clone();
    for (name, initial) in &program.variables {
        let (value, _) = evaluate(engine, &context, initial, memory)?;
        let value = kept(value, memory)?;
        context.names.push((name.clone(), value));
    }
    let limit = size(engine, &context, &program.sizes, memory)?.unwrap_or(u64::MAX);
    let mut run = Run { engine, context, limit, found: 0, collector };
    if let Some((name, statements)) = &program.skip {
        run.skip(name, statements, memory)?;
    }
    match run.block(&program.body, memory)? {
        End::Enough => Ok(Wanted::Enough),
        _ => Ok(Wanted::More),
    }
}

struct Run<'a> {
    engine: &'a mut Engine,
    context: Context,
    limit: u64,
    found: u64,
    collector: &'a mut Collector,
}

impl Run<'_> {
    fn holds(&mut self, condition: &Option<String>, memory: &mut dyn MemoryReader) -> Result<bool, ExprError> {
        match condition {
            Some(condition) => truth(self.engine, &self.context, condition, memory),
            None => Ok(true),
        }
    }

    /// Passes over elements that are not wanted, as many as the view's own way of it can.
    fn skip(&mut self, name: &str, statements: &[Statement], memory: &mut dyn MemoryReader) -> Result<(), ExprError> {
        let wanted = self.collector.left_out().min(self.limit).min(u64::from(u32::MAX));
        if wanted == 0 {
            return Ok(());
        }
        self.context.names.push((name.to_owned(), number_value(wanted)));
        self.block(statements, memory)?;
        let left = self.context.names.pop().map(|(_, value)| Object::Value(value).as_number(memory)).transpose()?;
        // A view that says that more were passed over than it was asked for counts otherwise than it is shown.
        self.found = self.collector.pass_over(left.unwrap_or(0).min(wanted));
        Ok(())
    }

    fn block(&mut self, statements: &[Statement], memory: &mut dyn MemoryReader) -> Result<End, ExprError> {
        for statement in statements {
            match self.statement(statement, memory)? {
                End::Done => {}
                end => return Ok(end),
            }
        }
        Ok(End::Done)
    }

    fn statement(&mut self, statement: &Statement, memory: &mut dyn MemoryReader) -> Result<End, ExprError> {
        step(self.engine)?;
        match statement {
            Statement::Exec { condition, expression } => {
                if self.holds(condition, memory)? {
                    execute(self.engine, &mut self.context, expression, memory)?;
                }
                Ok(End::Done)
            }
            Statement::Break { condition } => Ok(if self.holds(condition, memory)? { End::Break } else { End::Done }),
            Statement::If(branches) => {
                for (condition, body) in branches {
                    if self.holds(condition, memory)? {
                        return self.block(body, memory);
                    }
                }
                Ok(End::Done)
            }
            // An empty one, too, counts steps: every program ends.
            Statement::Loop { condition, body } => loop {
                step(self.engine)?;
                if !self.holds(condition, memory)? {
                    return Ok(End::Done);
                }
                match self.block(body, memory)? {
                    End::Done => {}
                    End::Break => return Ok(End::Done),
                    end => return Ok(end),
                }
            },
            Statement::Item { condition, name, value } => {
                if !self.holds(condition, memory)? {
                    return Ok(End::Done);
                }
                if self.found == self.limit {
                    return Ok(End::Full);
                }
                let number = self.found;
                self.found += 1;
                if self.collector.pass_over(1) == 1 {
                    return Ok(End::Done);
                }
                let name = match &name[..] {
                    [] => format!("[{number}]"),
                    pieces => text::of_pieces(self.engine, &self.context, pieces, memory)?,
                };
                let (value, format) = evaluate(self.engine, &self.context, value, memory)?;
                match self.collector.element(|| part(name, value, format)) {
                    Wanted::More if self.found == self.limit => Ok(End::Full),
                    Wanted::More => Ok(End::Done),
                    Wanted::Enough => Ok(End::Enough),
                }
            }
        }
    }
}
