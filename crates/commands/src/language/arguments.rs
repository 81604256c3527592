//! What follows a command's name.

use outpost_base::Va;
use outpost_engine::expr::{Evaluated, Evaluator, Expr, ExprOptions, Masm};
use outpost_engine::values::Value;

use super::ThreadSpec;
use crate::{CommandError, Debugger};

/// Largest range that a plain `L` may name, in bytes: a guard against typing errors, lifted by `L?`.
const RANGE_GUARD: u64 = 256 << 20;

/// The arguments of one command, read from left to right.
pub struct Arguments<'a> {
    /// The command's name as it was typed, case kept, without what was found to be arguments.
    pub name: &'a str,
    /// The syntax that usage errors show.
    pub syntax: &'static str,
    pub(crate) threads: Option<ThreadSpec>,
    text: &'a str,
}

/// A range of objects of some size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectRange {
    /// First address.
    pub start: Va,
    /// Length in bytes, a multiple of the object's size.
    pub len: u64,
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(name: &'a str, syntax: &'static str, threads: Option<ThreadSpec>, text: &'a str) -> Self {
        Arguments { name, syntax, threads, text }
    }

    /// All that is left, without spaces around it.
    pub fn rest(&self) -> &'a str {
        self.text.trim()
    }

    /// All that is left, as it stands.
    pub(crate) fn unread(&self) -> &'a str {
        self.text
    }

    /// What is left is `rest` from now on, the end of what was left.
    pub(crate) fn read_to(&mut self, rest: &'a str) {
        self.text = rest;
    }

    /// All that is left, which is thereby read.
    pub fn take_rest(&mut self) -> &'a str {
        let rest = self.rest();
        self.text = "";
        rest
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// Takes `token` if it comes next; it may be followed by anything.
    pub fn take(&mut self, token: &str) -> bool {
        match self.text.trim_start().strip_prefix(token) {
            Some(rest) => {
                self.text = rest;
                true
            }
            None => false,
        }
    }

    /// Takes `token` if it comes next as a whole word.
    pub fn take_word(&mut self, token: &str) -> bool {
        let text = self.text.trim_start();
        match text.strip_prefix(token) {
            Some(rest) if rest.is_empty() || rest.starts_with(char::is_whitespace) => {
                self.text = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes options of the form `/x` or `-x`, one at a time; gives the text after the sign.
    pub fn take_option(&mut self) -> Option<&'a str> {
        let text = self.text.trim_start();
        let rest = text.strip_prefix(['/', '-']).filter(|rest| rest.starts_with(|c: char| c.is_alphabetic()))?;
        let len = rest.find(|c: char| c.is_whitespace()).unwrap_or(rest.len());
        self.text = &rest[len..];
        Some(&rest[..len])
    }

    /// The next word, ended by blanks or a comma; `None` at the end.
    pub fn word(&mut self) -> Option<&'a str> {
        let text = self.text.trim_start();
        let len = text.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(text.len());
        let rest = &text[len..];
        self.text = rest.strip_prefix(',').unwrap_or(rest);
        (len > 0).then(|| &text[..len])
    }

    /// A text in double quotes, if one comes next: `\"` and `\\` are escapes, an unclosed one ends with the line.
    pub fn quoted(&mut self) -> Option<String> {
        let text = self.text.trim_start().strip_prefix('"')?;
        let mut content = String::new();
        let mut chars = text.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.text = &text[at + 1..];
                    return Some(content);
                }
                '\\' if text[at + 1..].starts_with(['"', '\\']) => content.extend(chars.next().map(|(_, c)| c)),
                other => content.push(other),
            }
        }
        self.text = "";
        Some(content)
    }

    /// A text in double quotes with the escapes of C in it, if one comes next.
    pub(crate) fn escaped(&mut self) -> Option<String> {
        let begin = self.text.trim_start().strip_prefix('"')?;
        let mut content = String::new();
        let mut chars = begin.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.text = &begin[at + 1..];
                    return Some(content);
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => content.push('\n'),
                    Some('t') => content.push('\t'),
                    Some('r') => content.push('\r'),
                    Some('0') => content.push('\0'),
                    Some(other) => content.push(other),
                    None => {}
                },
                other => content.push(other),
            }
        }
        None
    }

    /// What the default evaluator gives for the next expression; a comma may follow it.
    ///
    /// # Errors
    /// [`CommandError::Expr`].
    pub(crate) fn next_evaluated(&mut self, debugger: &mut Debugger) -> Result<Evaluated, CommandError> {
        let (expr, used) = debugger.engine.parse_expression(self.text.trim_start(), debugger.settings.expressions())?;
        self.skip(used);
        Ok(debugger.engine.evaluate(&expr)?)
    }

    /// As [`Arguments::next_evaluated`], but a C++ expression that is switched to keeps its type.
    ///
    /// # Errors
    /// [`CommandError::Expr`].
    pub(crate) fn next_typed(&mut self, debugger: &mut Debugger) -> Result<Evaluated, CommandError> {
        let (expr, used) = debugger.engine.parse_expression(self.text.trim_start(), debugger.settings.expressions())?;
        self.skip(used);
        let expr = match expr {
            Expr::Masm(Masm::Cpp(inner)) => Expr::Cpp(*inner),
            expr => expr,
        };
        Ok(debugger.engine.evaluate(&expr)?)
    }

    /// A decimal number, as ordinals are.
    pub fn decimal(&mut self) -> Option<u32> {
        let text = self.text.trim_start();
        let len = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let value = text[..len].parse().ok()?;
        self.text = &text[len..];
        Some(value)
    }

    /// A decimal number that follows the command's name without a space (`bp3`).
    pub fn attached_decimal(&mut self) -> Option<u32> {
        if self.text.starts_with(|c: char| c.is_ascii_digit()) { self.decimal() } else { None }
    }

    /// Takes `/x`, where x is one character followed by a blank or the end.
    pub fn take_switch(&mut self) -> Option<char> {
        let mut rest = self.text.trim_start().strip_prefix('/')?.chars();
        let switch = rest.next()?;
        let rest = rest.as_str();
        if !(rest.is_empty() || rest.starts_with(|c: char| c.is_whitespace() || c == '"')) {
            return None;
        }
        self.text = rest;
        Some(switch)
    }

    /// A register's name without `@`; empty if none comes next.
    pub fn register_name(&mut self) -> &'a str {
        let text = self.text.trim_start();
        let len = text.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '$' | '_')).unwrap_or(text.len());
        self.text = &text[len..];
        &text[..len]
    }

    /// A number by the default evaluator.
    ///
    /// # Errors
    /// [`CommandError::Expr`].
    pub fn number(&mut self, debugger: &mut Debugger) -> Result<u64, CommandError> {
        let (expr, used) = debugger.engine.parse_expression(self.text.trim_start(), debugger.settings.expressions())?;
        let value = debugger.engine.evaluate_number(&expr)?;
        self.skip(used);
        Ok(value)
    }

    /// An address by the default evaluator.
    ///
    /// # Errors
    /// [`CommandError::Expr`].
    pub fn address(&mut self, debugger: &mut Debugger) -> Result<Va, CommandError> {
        self.number(debugger).map(Va)
    }

    /// An address of code: where `add` or `dead` is the name of a function, that is meant and not the number.
    ///
    /// # Errors
    /// [`CommandError::Expr`].
    pub fn code_address(&mut self, debugger: &mut Debugger) -> Result<Va, CommandError> {
        let before = self.text;
        let text = self.expression_text(debugger)?;
        match named_in_digits(text, debugger).first() {
            Some(at) => Ok(*at),
            None => {
                self.text = before;
                self.address(debugger)
            }
        }
    }

    /// A number, if anything is left.
    ///
    /// # Errors
    /// [`CommandError::Expr`].
    pub fn optional_number(&mut self, debugger: &mut Debugger) -> Result<Option<u64>, CommandError> {
        if self.is_empty() { Ok(None) } else { self.number(debugger).map(Some) }
    }

    /// The text of one expression by the default evaluator, not evaluated.
    ///
    /// # Errors
    /// [`CommandError::Expr`] if it is none.
    pub fn expression_text(&mut self, debugger: &mut Debugger) -> Result<&'a str, CommandError> {
        let text = self.text.trim_start();
        let (_, used) = debugger.engine.parse_expression(text, debugger.settings.expressions())?;
        self.skip(used);
        Ok(&text[..used])
    }

    /// A typed value by the C++ evaluator, from all that is left: of expressions with commas between them the last one's,
    /// after the others were evaluated.
    ///
    /// # Errors
    /// [`CommandError::Expr`]; text behind the expression is one.
    pub fn value(&mut self, debugger: &mut Debugger) -> Result<Value, CommandError> {
        let options = ExprOptions { evaluator: Evaluator::Cpp, ..debugger.settings.expressions() };
        let mut before = Vec::new();
        let last = loop {
            let text = self.text.trim_start();
            let (expr, used) = debugger.engine.parse_expression(text, options)?;
            self.skip(used);
            match text[used..].trim_start().starts_with(',') {
                true => before.push(expr),
                false => break expr,
            }
        };
        self.finish()?;
        for expr in before {
            debugger.engine.evaluate_value(&expr)?;
        }
        Ok(debugger.engine.evaluate_value(&last)?)
    }

    /// What the default evaluator gives, from all that is left.
    ///
    /// # Errors
    /// [`CommandError::Expr`]; text behind the expression is one.
    pub fn evaluated(&mut self, debugger: &mut Debugger) -> Result<Evaluated, CommandError> {
        let value = self.next_evaluated(debugger)?;
        self.finish()?;
        Ok(value)
    }

    /// A range: `start end` (inclusive), `start Lcount`, `start L?count`, `start L-count` (ends at start) or `start`
    /// alone, which gives `default` objects. Counts are objects of `size` bytes.
    ///
    /// # Errors
    /// [`CommandError::Expr`]; [`CommandError::Invalid`] for a range that is too large or runs backwards.
    pub fn range(&mut self, debugger: &mut Debugger, size: u64, default: u64) -> Result<ObjectRange, CommandError> {
        let start = self.address(debugger)?;
        self.range_from(debugger, start, size, default)
    }

    /// The rest of a range whose start is known.
    ///
    /// # Errors
    /// As [`Arguments::range`].
    pub fn range_from(
        &mut self,
        debugger: &mut Debugger,
        start: Va,
        size: u64,
        default: u64,
    ) -> Result<ObjectRange, CommandError> {
        let too_large = || CommandError::invalid("range is too large; L?count lifts the limit of 256 MB");
        if let Some(count) = self.object_count(debugger)? {
            let bytes = count.objects.checked_mul(size).ok_or_else(too_large)?;
            if bytes > RANGE_GUARD && !count.unlimited {
                return Err(too_large());
            }
            let start = if count.backward { Va(start.0.saturating_sub(bytes)) } else { start };
            return Ok(ObjectRange { start, len: bytes });
        }
        if self.is_empty() {
            return Ok(ObjectRange { start, len: default * size });
        }
        let end = self.address(debugger)?;
        let len = end.0.checked_sub(start.0).and_then(|len| len.checked_add(1));
        let len = len.ok_or_else(|| CommandError::invalid("the range ends before it starts"))?;
        if len > RANGE_GUARD {
            return Err(too_large());
        }
        Ok(ObjectRange { start, len: len.next_multiple_of(size) })
    }

    /// `Lcount` and its kind, if it comes next.
    ///
    /// # Errors
    /// [`CommandError::Expr`].
    pub fn object_count(&mut self, debugger: &mut Debugger) -> Result<Option<ObjectCount>, CommandError> {
        let text = self.text.trim_start();
        let Some(rest) = text.strip_prefix(['L', 'l']) else { return Ok(None) };
        // A name that begins with L is no count: `Lxyz` would be.
        if !rest.starts_with(|c: char| c.is_ascii_hexdigit() || matches!(c, '?' | '-' | '(' | '@' | '`')) {
            return Ok(None);
        }
        self.text = rest;
        let unlimited = self.take("?");
        let backward = self.take("-");
        let objects = self.number(debugger)?;
        Ok(Some(ObjectCount { objects, unlimited, backward }))
    }

    /// Complains if anything is left.
    ///
    /// # Errors
    /// [`CommandError::Usage`].
    pub fn finish(&self) -> Result<(), CommandError> {
        if self.is_empty() { Ok(()) } else { Err(self.usage(format!("extra characters '{}'", self.rest()))) }
    }

    /// A complaint about the arguments.
    pub fn usage(&self, problem: impl Into<String>) -> CommandError {
        CommandError::Usage { problem: problem.into(), syntax: self.syntax }
    }

    /// Skips so many bytes of what comes after spaces, and a comma after them.
    fn skip(&mut self, used: usize) {
        let rest = &self.text.trim_start()[used..];
        self.text = rest.trim_start().strip_prefix(',').unwrap_or(rest);
    }
}

/// Where the symbols are whose name, a number to the evaluator, is written with letters alone.
fn named_in_digits(text: &str, debugger: &mut Debugger) -> Vec<Va> {
    let is_number = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphabetic() && c.is_ascii_hexdigit());
    let found = if is_number { debugger.engine.find_name(text).unwrap_or_default() } else { Vec::new() };
    found.into_iter().map(|named| named.address).collect()
}

/// Whether `text` is a number to the evaluator and yet the name of a symbol.
pub(crate) fn is_named_in_digits(text: &str, debugger: &mut Debugger) -> bool {
    !named_in_digits(text, debugger).is_empty()
}

/// What `L` said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectCount {
    /// How many.
    pub objects: u64,
    /// `L?`: however many.
    pub unlimited: bool,
    /// `L-`: those before the address.
    pub backward: bool,
}
