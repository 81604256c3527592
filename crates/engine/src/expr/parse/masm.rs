//! The MASM grammar: operator precedence as the reference's table has it, tightest first.

use super::{Parser, quoted};
use crate::expr::cursor::{digits, is_word_char};
use crate::expr::{ExprError, Masm, MasmArgument, MasmBinary, MasmFunction, MasmUnary, SourceLine};

use MasmBinary::{
    Add, And, Divide, Equal, Greater, GreaterEqual, Less, LessEqual, Modulo, Multiply, NotEqual, Or, ShiftLeft,
    ShiftRight, ShiftRightSigned, Subtract, Xor,
};

/// Binary operators by level, loosest first; in each level longer spellings before those they begin with.
const LEVELS: &[&[(&str, MasmBinary)]] = &[
    &[("or", Or), ("|", Or)],
    &[("xor", Xor), ("^", Xor)],
    &[("and", And), ("&", And)],
    &[
        ("==", Equal),
        ("=", Equal),
        ("!=", NotEqual),
        ("<=", LessEqual),
        (">=", GreaterEqual),
        ("<", Less),
        (">", Greater),
    ],
    &[(">>>", ShiftRightSigned), (">>", ShiftRight), ("<<", ShiftLeft)],
    &[("+", Add), ("-", Subtract)],
    &[("*", Multiply), ("/", Divide), ("%", Modulo), ("mod", Modulo)],
];

/// Operators spelled as words.
const UNARY_WORDS: &[(&str, MasmUnary)] = &[
    ("not", MasmUnary::Not),
    ("hi", MasmUnary::High),
    ("low", MasmUnary::Low),
    ("by", MasmUnary::Read(1)),
    ("wo", MasmUnary::Read(2)),
    ("dwo", MasmUnary::Read(4)),
    ("qwo", MasmUnary::Read(8)),
    ("poi", MasmUnary::Read(8)),
];

const FUNCTIONS: &[(&str, MasmFunction)] = &[
    ("$iment", MasmFunction::ImageEntry),
    ("$scmp", MasmFunction::Compare),
    ("$sicmp", MasmFunction::CompareNoCase),
    ("$spat", MasmFunction::Pattern),
    ("$vvalid", MasmFunction::Valid),
];

const PHYSICAL: &[&str] = &["$pby", "$pwo", "$pdwo", "$pqwo", "$ppoi"];

impl Parser<'_, '_> {
    pub(super) fn masm(&mut self) -> Result<Masm, ExprError> {
        let dots = std::mem::replace(&mut self.dots_in_names, true);
        let expr = self.masm_level(0);
        self.dots_in_names = dots;
        expr
    }

    fn masm_level(&mut self, level: usize) -> Result<Masm, ExprError> {
        let Some(operators) = LEVELS.get(level) else { return self.masm_unary() };
        let mut left = self.masm_level(level + 1)?;
        while let Some(operator) = self.masm_operator(operators) {
            self.cursor.node()?;
            let right = self.masm_level(level + 1)?;
            left = Masm::Binary(operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    /// Takes one of `operators`, if one comes next.
    fn masm_operator(&mut self, operators: &[(&str, MasmBinary)]) -> Option<MasmBinary> {
        let start = self.cursor.position();
        for (spelling, operator) in operators {
            let is_word = spelling.starts_with(char::is_alphabetic);
            let taken = if is_word { self.cursor.take_word(spelling) } else { self.cursor.take(spelling) };
            if taken {
                return Some(*operator);
            }
        }
        self.cursor.rewind(start);
        None
    }

    fn masm_unary(&mut self) -> Result<Masm, ExprError> {
        self.cursor.node()?;
        self.cursor.enter()?;
        let expr = self.masm_operand();
        self.cursor.leave();
        expr
    }

    fn masm_operand(&mut self) -> Result<Masm, ExprError> {
        if self.cursor.take("(") {
            let inner = self.masm_level(0)?;
            self.cursor.expect(")")?;
            return Ok(inner);
        }
        if self.cursor.take("+") {
            return self.masm_unary();
        }
        if self.cursor.take("-") {
            return Ok(Masm::Unary(MasmUnary::Negate, Box::new(self.masm_unary()?)));
        }
        for (word, operator) in UNARY_WORDS {
            let start = self.cursor.position();
            if self.cursor.take_word(word) {
                // A name that begins like the word (`low::limit`, `hi!x`) is a name.
                if self.cursor.rest().starts_with("::") || self.cursor.rest().starts_with('!') {
                    self.cursor.rewind(start);
                    break;
                }
                return Ok(Masm::Unary(*operator, Box::new(self.masm_unary()?)));
            }
        }
        self.masm_primary()
    }

    fn masm_primary(&mut self) -> Result<Masm, ExprError> {
        self.cursor.skip_spaces();
        let rest = self.cursor.rest();
        match self.cursor.peek() {
            None => Err(ExprError::Missing { text: String::new() }),
            Some('`') => self.source_line().map(Masm::SourceLine),
            Some('\'') => self.character().map(|(_, code)| Masm::Number(code as u64)),
            Some('.') if !rest[1..].starts_with(is_word_char) => {
                self.cursor.advance(1);
                Ok(Masm::Here)
            }
            Some('@') if rest.starts_with("@@") => self.masm_switch(),
            Some('@') if rest.starts_with("@!") => self.masm_name(),
            Some('@') => {
                self.cursor.advance(1);
                let name = self.cursor.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '$'));
                if name.is_empty() { Err(self.cursor.syntax()) } else { Ok(Masm::Register(name.to_lowercase())) }
            }
            Some('$') if !rest.starts_with("$!") => self.dollar_word(),
            Some(c) if c.is_ascii_digit() => self.number().map(Masm::Number),
            Some(_) => match self.letters_as_number() {
                Some(number) => Ok(Masm::Number(number?)),
                None => self.masm_name(),
            },
        }
    }

    fn masm_name(&mut self) -> Result<Masm, ExprError> {
        self.name()?.map(Masm::Name).ok_or_else(|| self.cursor.syntax())
    }

    /// `@@(...)`, `@@c++(...)`, `@@masm(...)`; no space before the parenthesis.
    fn masm_switch(&mut self) -> Result<Masm, ExprError> {
        if self.cursor.take("@@masm(") {
            let inner = self.masm_level(0)?;
            self.cursor.expect(")")?;
            return Ok(inner);
        }
        if !self.cursor.take("@@(") && !self.cursor.take("@@c++(") {
            return Err(self.cursor.syntax());
        }
        let inner = self.cpp()?;
        self.cursor.expect(")")?;
        Ok(Masm::Cpp(Box::new(inner)))
    }

    /// A pseudo-register without its `@`, or a function.
    fn dollar_word(&mut self) -> Result<Masm, ExprError> {
        let start = self.cursor.position();
        self.cursor.advance(1);
        let word = format!("${}", self.cursor.take_while(|c| c.is_alphanumeric() || c == '_').to_lowercase());
        if PHYSICAL.contains(&word.as_str()) {
            return Err(ExprError::Unsupported { what: word, reason: "physical memory needs a kernel target" });
        }
        if word == "$fnsucc" {
            return Err(ExprError::Unsupported { what: word, reason: "it is for Windows result codes" });
        }
        if let Some((_, function)) = FUNCTIONS.iter().find(|(name, _)| *name == word) {
            return self.masm_call(*function);
        }
        if word.len() == 1 {
            self.cursor.rewind(start);
            return Err(self.cursor.syntax());
        }
        Ok(Masm::Register(word))
    }

    fn masm_call(&mut self, function: MasmFunction) -> Result<Masm, ExprError> {
        self.cursor.expect("(")?;
        let mut arguments = Vec::new();
        loop {
            self.cursor.skip_spaces();
            let text = match self.cursor.rest() {
                rest if rest.starts_with('"') => Some(quoted(&mut self.cursor, true)?),
                rest if rest.starts_with("@\"") => {
                    self.cursor.advance(1);
                    Some(quoted(&mut self.cursor, false)?)
                }
                _ => None,
            };
            arguments.push(match text {
                Some(text) => MasmArgument::Text(text),
                None => MasmArgument::Value(self.masm_level(0)?),
            });
            if !self.cursor.take(",") {
                break;
            }
        }
        self.cursor.expect(")")?;
        use MasmArgument::{Text, Value};
        let fits = match function {
            MasmFunction::ImageEntry => matches!(arguments[..], [Value(_)]),
            MasmFunction::Valid => matches!(arguments[..], [Value(_), Value(_)]),
            _ => matches!(arguments[..], [Text(_), Text(_)]),
        };
        if fits { Ok(Masm::Call(function, arguments)) } else { Err(self.cursor.syntax()) }
    }

    /// A word that starts with a digit.
    fn number(&mut self) -> Result<u64, ExprError> {
        let start = self.cursor.position();
        let word = self.cursor.take_while(|c| is_word_char(c) || c == '`');
        let value = parse_number(word, self.radix.value());
        if value.is_err() {
            self.cursor.rewind(start);
        }
        value
    }

    /// In radix 16, a word of nothing but hexadecimal digits is a number, whatever it spells.
    fn letters_as_number(&mut self) -> Option<Result<u64, ExprError>> {
        if self.radix.value() != 16 {
            return None;
        }
        let start = self.cursor.position();
        let word = self.cursor.take_while(|c| is_word_char(c) || c == '`');
        let rest = self.cursor.rest();
        let continues = rest.starts_with("::")
            || rest.starts_with('!') && !rest.starts_with("!=")
            || rest.starts_with('.') && rest[1..].starts_with(is_word_char);
        let all_digits = !word.is_empty() && word.chars().all(|c| c.is_ascii_hexdigit() || c == '`');
        if !all_digits || continues {
            self.cursor.rewind(start);
            return None;
        }
        Some(digits(word, 16))
    }

    /// `` `[module!][file][:line]` ``; the line is decimal unless it begins with `0x`.
    fn source_line(&mut self) -> Result<SourceLine, ExprError> {
        let whole = self.cursor.rest();
        let inner = whole[1..].split_once('`').map(|(inner, _)| inner);
        let inner = inner.ok_or_else(|| ExprError::Missing { text: whole.to_owned() })?;
        self.cursor.advance(inner.len() + 2);
        let (module, rest) = match inner.split_once('!') {
            Some((module, rest)) => (Some(module.trim().to_owned()), rest),
            None => (None, inner),
        };
        let (file, line) = match rest.rsplit_once(':') {
            Some((file, line)) => (file.trim(), Some(line.trim())),
            None => (rest.trim(), None),
        };
        let parse = |line: &str| match line.strip_prefix("0x").or_else(|| line.strip_prefix("0X")) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => line.parse::<u32>(),
        };
        let bad = |_| ExprError::Syntax { text: inner.to_owned() };
        let line = line.filter(|line| !line.is_empty()).map(|line| parse(line).map_err(bad)).transpose()?;
        if file.is_empty() && line.is_none() {
            return Err(ExprError::Syntax { text: whole.to_owned() });
        }
        Ok(SourceLine { module, file: (!file.is_empty()).then(|| file.to_owned()), line })
    }
}

/// A number with its prefix (`0x 0n 0t 0y`) or suffix (`h`), else in `radix`. A prefix alone is zero.
fn parse_number(word: &str, radix: u32) -> Result<u64, ExprError> {
    let lower = word.to_ascii_lowercase();
    for (prefix, radix) in [("0x", 16), ("0n", 10), ("0t", 8), ("0y", 2)] {
        if let Some(rest) = lower.strip_prefix(prefix) {
            return digits(rest, radix).map_err(|error| named(error, word));
        }
    }
    if let Some(hex) = lower.strip_suffix('h') {
        return digits(hex, 16).map_err(|error| named(error, word));
    }
    digits(&lower, radix).map_err(|error| named(error, word))
}

/// The same complaint about the number as it was written.
fn named(error: ExprError, word: &str) -> ExprError {
    let text = word.to_owned();
    match error {
        ExprError::Overflow { .. } => ExprError::Overflow { text },
        _ => ExprError::Syntax { text },
    }
}
