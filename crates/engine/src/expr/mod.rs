//! Expressions: MASM's numbers and C++'s typed values, read from text and evaluated against a frame.
//!
//! [`parse()`] makes a tree ([`Expr`]) without looking anything up beyond whether a name is a type. [`evaluate()`] walks it
//! over a [`Scope`], the one thing that it knows of a debuggee, so that everything here runs in tests without one.
//! [`compile()`] turns a tree into code that is evaluated beside the target, for breakpoint conditions.
//!
//! Nesting, length and reads are bounded: expressions are typed by people, but also come from files and from other
//! participants.

mod ast;
mod compile;
mod cursor;
mod effects;
mod error;
mod eval;
mod frame;
mod fuzz;
mod parse;
mod scope;

pub use ast::{
    Cpp, CppBinary, CppUnary, Expr, FieldFact, Lambda, Letter, Masm, MasmArgument, MasmBinary, MasmFunction, MasmUnary,
    Name, Parameters, SourceLine, TextLiteral, TypeName,
};
pub use compile::{CompileError, compile};
pub use error::ExprError;
pub use eval::{Evaluated, evaluate, evaluate_addresses, evaluate_number, evaluate_value, number_value, untyped};
pub(crate) use eval::{
    arithmetic, assign_value, builtin, cast, element_of, member_of, resolve, snapshot, stepped, text_value, truth,
    unary,
};
pub(crate) use frame::EngineScope;
pub use frame::ExprOptions;
pub use fuzz::{fuzz_expression, fuzz_object_expression};
pub use parse::{Evaluator, KnownNames, NoNames, Radix, parse, parse_object_prefix, parse_prefix};
pub use scope::{Lookup, Place, PlaceKind, PointerUse, RegisterSum, Scope, ScopeNames};

#[cfg(test)]
mod test_scope;
#[cfg(test)]
mod tests;
