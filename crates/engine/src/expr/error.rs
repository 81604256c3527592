//! What can be wrong with an expression.

use outpost_base::Va;
use outpost_symbols::Unavailable;

/// Why an expression was refused or has no value. The first words are the reference's, which users search for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExprError {
    /// Something else was expected here.
    #[error("syntax error at '{text}'")]
    Syntax {
        /// The text from there on.
        text: String,
    },
    /// The expression ended where an operand was expected.
    #[error("numeric expression missing from '{text}'")]
    Missing {
        /// The text that is left.
        text: String,
    },
    /// Nothing of this name is known.
    #[error("couldn't resolve error at '{name}'")]
    Unresolved {
        /// The name.
        name: String,
    },
    /// The name could not be looked for.
    #[error("cannot look for '{name}': {reason}")]
    Lookup {
        /// The name.
        name: String,
        /// What went wrong.
        reason: String,
    },
    /// Several things of this name are known, at different addresses.
    #[error("ambiguous symbol error at '{name}': {count} matches")]
    Ambiguous {
        /// The name.
        name: String,
        /// How many there are.
        count: usize,
    },
    /// No such register, or the frame does not know it.
    #[error("bad register error at '{name}'")]
    Register {
        /// As written.
        name: String,
    },
    /// A pseudo-register has no value here.
    #[error("'{name}' is not available: {reason}")]
    PseudoRegister {
        /// As written.
        name: String,
        /// Why.
        reason: String,
    },
    /// Memory could not be read.
    #[error("memory access error at {at}")]
    Memory {
        /// First address.
        at: Va,
    },
    /// Division by zero, or operands without such an operation.
    #[error("operand error at '{operation}': {reason}")]
    Operand {
        /// The operator as written.
        operation: String,
        /// What is wrong.
        reason: String,
    },
    /// A number does not fit 64 bits.
    #[error("overflow error at '{text}'")]
    Overflow {
        /// The number as written.
        text: String,
    },
    /// A character or text that cannot be written so.
    #[error("literal error at '{text}': {reason}")]
    Literal {
        /// What is left, from there on.
        text: String,
        /// What is wrong, and how it is written.
        reason: &'static str,
    },
    /// A type is not known.
    #[error("unknown type '{name}'")]
    UnknownType {
        /// As written.
        name: String,
    },
    /// A record has no such member.
    #[error("cannot find member '{member}' in {of}")]
    NoMember {
        /// The member.
        member: String,
        /// The type that was searched.
        of: String,
    },
    /// A value cannot be had.
    #[error("'{name}' is not available: {reason}")]
    Value {
        /// What it is called.
        name: String,
        /// Why.
        reason: Unavailable,
    },
    /// Something of the object model cannot be had.
    #[error("'{name}' is not available: {reason}")]
    Object {
        /// What it is called.
        name: String,
        /// Why.
        reason: String,
    },
    /// Something about an element of several.
    #[error("{name}: {error}")]
    Element {
        /// What the element is called: `[3]`.
        name: String,
        /// What is wrong with it.
        error: Box<ExprError>,
    },
    /// An object has no such method.
    #[error("no method '{method}' of {of}")]
    NoMethod {
        /// The method.
        method: String,
        /// What was asked for it.
        of: String,
    },
    /// A method was given what it does not take.
    #[error("{method} takes {expected}")]
    Arguments {
        /// The method.
        method: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A view makes no sense of an object.
    #[error("{problem}")]
    View {
        /// What gives it away.
        problem: String,
    },
    /// A function was not called, or did not return.
    #[error("cannot call {function}: {reason}")]
    Call {
        /// Its name.
        function: String,
        /// Why.
        reason: String,
    },
    /// The user interrupted.
    #[error("interrupted")]
    Interrupted,
    /// Assignment to something that cannot be changed.
    #[error("cannot assign: {reason}")]
    Assign {
        /// Why not.
        reason: String,
    },
    /// A source line has no code.
    #[error("no code for line '{line}'")]
    NoCode {
        /// As written, without the accents.
        line: String,
    },
    /// Nested or long beyond what is evaluated.
    #[error("the expression is too complex")]
    TooComplex,
    /// The grammar knows it, this debugger does not do it.
    #[error("'{what}' is not supported: {reason}")]
    Unsupported {
        /// The construct as written.
        what: String,
        /// Why not.
        reason: &'static str,
    },
}
