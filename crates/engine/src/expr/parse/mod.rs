//! From text to [`Expr`]: two grammars over one cursor, because `@@(...)` changes from one to the other at any depth.

mod cpp;
mod cpp_types;
mod literals;
mod macros;
mod masm;
mod names;
mod objects;

use super::cursor::Cursor;
use super::{Cpp, Expr, ExprError, Name};

/// Base of numbers without prefix in MASM expressions (`n`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Radix {
    /// 8.
    Octal,
    /// 10.
    Decimal,
    /// 16.
    #[default]
    Hexadecimal,
}

/// Which of the two evaluators reads an expression (`.expr /s`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Evaluator {
    /// Numbers of 64 bits, symbols are addresses.
    #[default]
    Masm,
    /// Typed values.
    Cpp,
}

/// What a parser has to know of names: C++ reads `(a)-b` and `a<b>` differently when `a` is a type or a template.
pub trait KnownNames {
    /// Whether it names a type.
    fn is_type(&mut self, name: &Name) -> bool;

    /// Whether it names a function, a variable or an enumerator; asked only of names with `<`.
    fn is_symbol(&mut self, name: &Name) -> bool;
}

/// Nothing is known beyond the built-in types.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNames;

impl KnownNames for NoNames {
    fn is_type(&mut self, _: &Name) -> bool {
        false
    }

    fn is_symbol(&mut self, _: &Name) -> bool {
        false
    }
}

/// Reads the whole of `text` as one expression.
///
/// # Errors
/// The first thing wrong with it; text after the expression is a [`ExprError::Syntax`].
pub fn parse(text: &str, evaluator: Evaluator, radix: Radix, known: &mut dyn KnownNames) -> Result<Expr, ExprError> {
    let (expr, used) = parse_prefix(text, evaluator, radix, known)?;
    match text.get(used..).unwrap_or_default().trim_start() {
        "" => Ok(expr),
        rest => Err(ExprError::Syntax { text: rest.to_owned() }),
    }
}

/// Reads one expression at the start of `text`; gives it and its length in bytes, spaces after it not included.
///
/// An operator that follows after spaces belongs to the expression, any other word does not: `rsp + 8 L4` ends
/// before `L4`.
///
/// # Errors
/// The first thing wrong with it.
pub fn parse_prefix(
    text: &str,
    evaluator: Evaluator,
    radix: Radix,
    known: &mut dyn KnownNames,
) -> Result<(Expr, usize), ExprError> {
    let mut parser = Parser::new(text, radix, known);
    let expr = match evaluator {
        Evaluator::Masm => Expr::Masm(parser.masm()?),
        Evaluator::Cpp => Expr::Cpp(parser.cpp()?),
    };
    Ok((expr, parser.used()))
}

/// Reads one expression of the object model at the start of `text`: C++ with methods, functions as their arguments
/// and objects without a type. Gives it and its length as [`parse_prefix`] does.
///
/// # Errors
/// The first thing wrong with it.
pub fn parse_object_prefix(text: &str, known: &mut dyn KnownNames) -> Result<(Cpp, usize), ExprError> {
    let mut parser = Parser { objects: true, ..Parser::new(text, Radix::default(), known) };
    let expr = parser.cpp()?;
    Ok((expr, parser.used()))
}

impl Radix {
    /// 8, 10 or 16.
    pub fn value(self) -> u32 {
        match self {
            Radix::Octal => 8,
            Radix::Decimal => 10,
            Radix::Hexadecimal => 16,
        }
    }
}

struct Parser<'a, 'k> {
    cursor: Cursor<'a>,
    radix: Radix,
    known: &'k mut dyn KnownNames,
    /// Whether `main.cold` is a name; in C++ the dot selects a member.
    dots_in_names: bool,
    /// Open parentheses and brackets, inside which a comma is an operator.
    parentheses: usize,
    /// Whether values have methods (`dx`).
    objects: bool,
}

impl<'a, 'k> Parser<'a, 'k> {
    fn new(text: &'a str, radix: Radix, known: &'k mut dyn KnownNames) -> Parser<'a, 'k> {
        let cursor = Cursor::new(text);
        Parser { cursor, radix, known, dots_in_names: false, parentheses: 0, objects: false }
    }

    /// Bytes of the text that were read, without spaces at their end.
    fn used(&self) -> usize {
        self.cursor.read().trim_end().len()
    }
}

/// `"text"`, the opening quote not yet taken; `@"text"` knows no escapes.
fn quoted(cursor: &mut Cursor<'_>, escapes: bool) -> Result<String, ExprError> {
    cursor.expect("\"")?;
    let mut text = String::new();
    loop {
        match cursor.bump() {
            None => return Err(ExprError::Missing { text: "\"".to_owned() }),
            Some('"') => return Ok(text),
            Some('\\') if escapes => text.push(escape(cursor)?),
            Some(other) => text.push(other),
        }
    }
}

/// What follows a backslash in C's text and character constants.
fn escape(cursor: &mut Cursor<'_>) -> Result<char, ExprError> {
    let code = match cursor.bump() {
        Some('n') => 10,
        Some('t') => 9,
        Some('r') => 13,
        Some('0') => 0,
        Some('a') => 7,
        Some('b') => 8,
        Some('f') => 12,
        Some('v') => 11,
        Some('e') => 27,
        Some('x') => {
            let digits = cursor.take_while(|c| c.is_ascii_hexdigit());
            u32::from_str_radix(digits, 16).map_err(|_| ExprError::Syntax { text: format!("\\x{digits}") })?
        }
        Some(other) => return Ok(other),
        None => return Err(ExprError::Missing { text: "\\".to_owned() }),
    };
    char::from_u32(code).ok_or_else(|| ExprError::Overflow { text: format!("\\x{code:x}") })
}
