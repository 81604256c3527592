//! The C++ grammar, as far as a debugger evaluates it, with what Rust spells differently (`x.0`, `x as T`).

use super::Parser;
use crate::expr::cursor::{digits, is_word_char};
use crate::expr::{Cpp, CppBinary, CppUnary, ExprError, TypeName};

use CppBinary::{
    Add, And, Comma, Divide, Equal, Greater, GreaterEqual, Less, LessEqual, LogicalAnd, LogicalOr, Multiply, NotEqual,
    Or, Remainder, ShiftLeft, ShiftRight, Subtract, Xor,
};

/// Binary operators by level, loosest first ([expr.compound] of the C++ standard).
const LEVELS: &[&[(&str, CppBinary)]] = &[
    &[("||", LogicalOr)],
    &[("&&", LogicalAnd)],
    &[("|", Or)],
    &[("^", Xor)],
    &[("&", And)],
    &[("==", Equal), ("!=", NotEqual)],
    &[("<=", LessEqual), (">=", GreaterEqual), ("<", Less), (">", Greater)],
    &[("<<", ShiftLeft), (">>", ShiftRight)],
    &[("+", Add), ("-", Subtract)],
    &[("*", Multiply), ("/", Divide), ("%", Remainder)],
];

const ASSIGNMENTS: &[(&str, Option<CppBinary>)] = &[
    ("<<=", Some(ShiftLeft)),
    (">>=", Some(ShiftRight)),
    ("+=", Some(Add)),
    ("-=", Some(Subtract)),
    ("*=", Some(Multiply)),
    ("/=", Some(Divide)),
    ("%=", Some(Remainder)),
    ("&=", Some(And)),
    ("|=", Some(Or)),
    ("^=", Some(Xor)),
    ("=", None),
];

const UNARY: &[(&str, CppUnary)] = &[
    ("++", CppUnary::Increment),
    ("--", CppUnary::Decrement),
    ("+", CppUnary::Plus),
    ("-", CppUnary::Negate),
    ("!", CppUnary::Not),
    ("~", CppUnary::Complement),
    ("*", CppUnary::Dereference),
    ("&", CppUnary::AddressOf),
];

const CASTS: &[&str] = &["static_cast", "reinterpret_cast", "const_cast", "dynamic_cast"];
const REFUSED: &[&str] = &["new", "delete", "throw"];

impl Parser<'_, '_> {
    pub(super) fn cpp(&mut self) -> Result<Cpp, ExprError> {
        let dots = std::mem::replace(&mut self.dots_in_names, false);
        let mut expr = self.assignment();
        while expr.is_ok() && self.cursor_is_comma() {
            self.cursor.node()?;
            let (left, right) = (expr?, self.assignment()?);
            expr = Ok(Cpp::Binary(Comma, Box::new(left), Box::new(right)));
        }
        self.dots_in_names = dots;
        expr
    }

    /// A comma separates arguments of commands and macros; the operator is only taken inside parentheses.
    fn cursor_is_comma(&mut self) -> bool {
        self.parentheses > 0 && self.cursor.take(",")
    }

    /// An expression without the comma operator.
    pub(super) fn assignment(&mut self) -> Result<Cpp, ExprError> {
        self.cursor.enter()?;
        if self.objects
            && let Some(lambda) = self.lambda()?
        {
            self.cursor.leave();
            return Ok(lambda);
        }
        let left = self.conditional()?;
        self.cursor.skip_spaces();
        let found = ASSIGNMENTS.iter().find(|(spelling, _)| {
            let rest = self.cursor.rest();
            rest.starts_with(spelling) && !rest.starts_with("==")
        });
        let expr = match found {
            Some((spelling, operator)) => {
                self.cursor.advance(spelling.len());
                self.cursor.node()?;
                Cpp::Assign(*operator, Box::new(left), Box::new(self.assignment()?))
            }
            None => left,
        };
        self.cursor.leave();
        Ok(expr)
    }

    fn conditional(&mut self) -> Result<Cpp, ExprError> {
        let condition = self.cpp_level(0)?;
        if !self.cursor.take("?") {
            return Ok(condition);
        }
        self.cursor.node()?;
        let chosen = self.assignment()?;
        self.cursor.expect(":")?;
        let other = self.assignment()?;
        Ok(Cpp::Conditional(Box::new(condition), Box::new(chosen), Box::new(other)))
    }

    fn cpp_level(&mut self, level: usize) -> Result<Cpp, ExprError> {
        let Some(operators) = LEVELS.get(level) else { return self.cast_as() };
        let mut left = self.cpp_level(level + 1)?;
        while let Some(operator) = self.cpp_operator(operators) {
            self.cursor.node()?;
            let right = self.cpp_level(level + 1)?;
            left = Cpp::Binary(operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn cpp_operator(&mut self, operators: &[(&str, CppBinary)]) -> Option<CppBinary> {
        let start = self.cursor.position();
        self.cursor.skip_spaces();
        let rest = self.cursor.rest();
        let (spelling, operator) = operators.iter().find(|(spelling, _)| rest.starts_with(spelling))?;
        let after = &rest[spelling.len()..];
        // `&&` is no `&`, `<<=` no `<<`, `->` no minus.
        let longer = match *operator {
            And => after.starts_with(['&', '=']),
            Or => after.starts_with(['|', '=']),
            Less => after.starts_with('<'),
            Greater => after.starts_with('>'),
            Equal | NotEqual | LessEqual | GreaterEqual | LogicalAnd | LogicalOr => false,
            _ => after.starts_with('='),
        };
        if longer {
            self.cursor.rewind(start);
            return None;
        }
        self.cursor.advance(spelling.len());
        Some(*operator)
    }

    /// Rust's `value as Type`.
    fn cast_as(&mut self) -> Result<Cpp, ExprError> {
        let mut value = self.cpp_unary()?;
        loop {
            let start = self.cursor.position();
            if !self.cursor.take_word("as") {
                return Ok(value);
            }
            self.cursor.node()?;
            match self.type_name()? {
                Some(to) => value = Cpp::Cast(to, Box::new(value)),
                None => {
                    self.cursor.rewind(start);
                    return Ok(value);
                }
            }
        }
    }

    fn cpp_unary(&mut self) -> Result<Cpp, ExprError> {
        self.cursor.node()?;
        self.cursor.enter()?;
        self.cursor.skip_spaces();
        let rest = self.cursor.rest();
        let expr = if let Some((spelling, operator)) = UNARY.iter().find(|(spelling, _)| rest.starts_with(spelling)) {
            self.cursor.advance(spelling.len());
            Cpp::Unary(*operator, Box::new(self.cpp_unary()?))
        } else if self.cursor.take_word("sizeof") {
            self.sizeof()?
        } else if let Some(to) = self.cast_prefix()? {
            Cpp::Cast(to, Box::new(self.cpp_unary()?))
        } else {
            let in_parentheses = rest.starts_with('(');
            let primary = self.cpp_primary()?;
            self.postfix(primary, in_parentheses)?
        };
        self.cursor.leave();
        Ok(expr)
    }

    fn sizeof(&mut self) -> Result<Cpp, ExprError> {
        match self.cast_prefix()? {
            Some(of) => Ok(Cpp::SizeofType(of)),
            None => Ok(Cpp::SizeofValue(Box::new(self.cpp_unary()?))),
        }
    }

    /// `(type)`; nothing is taken if the parentheses hold no type.
    fn cast_prefix(&mut self) -> Result<Option<TypeName>, ExprError> {
        let start = self.cursor.position();
        if self.cursor.take("(")
            && let Some(to) = self.type_name()?
            && self.cursor.take(")")
        {
            return Ok(Some(to));
        }
        self.cursor.rewind(start);
        Ok(None)
    }

    /// What follows a primary expression; `is_callable` if parentheses behind that are a call, whatever it is.
    fn postfix(&mut self, mut value: Cpp, mut is_callable: bool) -> Result<Cpp, ExprError> {
        loop {
            let start = self.cursor.position();
            self.cursor.skip_spaces();
            let rest = self.cursor.rest();
            if rest.starts_with("->") || rest.starts_with('.') {
                let arrow = self.cursor.take("->") || !self.cursor.take(".");
                self.cursor.node()?;
                let member = self.member_name()?;
                value = Cpp::Member { of: Box::new(value), member, arrow };
            } else if self.cursor.take("[") {
                self.cursor.node()?;
                let index = self.parenthesised(Parser::cpp)?;
                self.cursor.expect("]")?;
                value = Cpp::Index(Box::new(value), Box::new(index));
            } else if rest.starts_with("++") || rest.starts_with("--") {
                let step = if rest.starts_with('+') { 1 } else { -1 };
                self.cursor.advance(2);
                self.cursor.node()?;
                value = Cpp::PostStep(step, Box::new(value));
            } else if rest.starts_with('(')
                && let Cpp::Member { of, member, .. } = value
            {
                value = self.call(of, member)?;
            } else if rest.starts_with('(')
                && let Cpp::Name(function) = value
            {
                value = self.apply(function)?;
            } else if rest.starts_with('(')
                && (is_callable
                    || matches!(value, Cpp::Index(..) | Cpp::Invoke { .. } | Cpp::Apply { .. } | Cpp::Call { .. })
                    || self.objects && matches!(value, Cpp::Register(_)))
            {
                value = self.invoke(value)?;
            } else {
                self.cursor.rewind(start);
                return Ok(value);
            }
            is_callable = false;
        }
    }

    /// A member's name; a number for Rust's tuples.
    pub(super) fn member_name(&mut self) -> Result<String, ExprError> {
        self.cursor.skip_spaces();
        if self.cursor.peek().is_some_and(|c| c.is_ascii_digit()) {
            return Ok(self.cursor.take_while(|c| c.is_ascii_digit()).to_owned());
        }
        match self.name()? {
            Some(name) if name.module.is_none() => Ok(name.text),
            _ => Err(self.cursor.syntax()),
        }
    }

    fn cpp_primary(&mut self) -> Result<Cpp, ExprError> {
        self.cursor.skip_spaces();
        if let Some(literal) = self.literal()? {
            return Ok(literal);
        }
        let rest = self.cursor.rest();
        match self.cursor.peek() {
            None => Err(ExprError::Missing { text: String::new() }),
            Some('(') => {
                self.cursor.advance(1);
                let inner = self.parenthesised(Parser::cpp)?;
                self.cursor.expect(")")?;
                Ok(inner)
            }
            Some('#') => self.cpp_macro(),
            Some('@') if rest.starts_with("@@") => self.cpp_switch(),
            Some('@') if !rest.starts_with("@!") => {
                self.cursor.advance(1);
                let name = self.cursor.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '$'));
                if name.is_empty() { Err(self.cursor.syntax()) } else { Ok(Cpp::Register(name.to_lowercase())) }
            }
            Some(c) if c.is_ascii_digit() => self.cpp_number(),
            Some('.') if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.cpp_number(),
            Some(_) => self.cpp_word(),
        }
    }

    /// `@@(...)`, `@@masm(...)`, `@@c++(...)`.
    fn cpp_switch(&mut self) -> Result<Cpp, ExprError> {
        let cpp = self.cursor.take("@@c++(");
        if !cpp && !self.cursor.take("@@(") && !self.cursor.take("@@masm(") {
            return Err(self.cursor.syntax());
        }
        let inner = match cpp {
            true => self.parenthesised(Parser::cpp)?,
            false => Cpp::Masm(Box::new(self.masm()?)),
        };
        self.cursor.expect(")")?;
        Ok(inner)
    }

    fn cpp_word(&mut self) -> Result<Cpp, ExprError> {
        for (word, value) in [("true", Cpp::Bool(true)), ("false", Cpp::Bool(false)), ("nullptr", Cpp::Null)] {
            if self.cursor.take_word(word) {
                return Ok(value);
            }
        }
        if self.objects
            && let Some(object) = self.anonymous()?
        {
            return Ok(object);
        }
        let start = self.cursor.position();
        if let Some(word) = REFUSED.iter().find(|word| self.cursor.take_word(word)) {
            // Fine names in C and Rust; only their use as operators is refused.
            self.cursor.skip_spaces();
            if self.cursor.rest().starts_with(|c: char| is_word_char(c) || c == '(') {
                let what = (*word).to_owned();
                return Err(ExprError::Unsupported { what, reason: "expressions run no code of the program" });
            }
            self.cursor.rewind(start);
        }
        if CASTS.iter().any(|word| self.cursor.take_word(word)) {
            self.cursor.expect("<")?;
            let to = self.type_name()?.ok_or_else(|| self.cursor.syntax())?;
            self.cursor.expect(">")?;
            self.cursor.expect("(")?;
            let value = self.parenthesised(Parser::cpp)?;
            self.cursor.expect(")")?;
            return Ok(Cpp::Cast(to, Box::new(value)));
        }
        self.name()?.map(Cpp::Name).ok_or_else(|| self.cursor.syntax())
    }

    pub(super) fn parenthesised<T>(&mut self, parse: fn(&mut Self) -> Result<T, ExprError>) -> Result<T, ExprError> {
        self.cursor.enter()?;
        self.parentheses += 1;
        let inner = parse(self);
        self.parentheses -= 1;
        self.cursor.leave();
        inner
    }

    /// Decimal, `0x`, `0b`, octal with leading `0`, `0n` as in MASM; suffixes `u`, `l`; floating-point numbers.
    fn cpp_number(&mut self) -> Result<Cpp, ExprError> {
        let rest = self.cursor.rest();
        let plain = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let after = &rest[plain..];
        let fraction = after.starts_with('.') && !after[1..].starts_with(|c: char| c.is_alphabetic() || c == '.');
        let exponent = after.starts_with(['e', 'E'])
            && after[1..].trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_digit());
        if fraction || exponent {
            return self.float();
        }
        if let Some((value, len)) = hexadecimal_float(rest) {
            self.cursor.advance(len);
            return Ok(self.float_of(value));
        }
        let start = self.cursor.position();
        self.cursor.take_while(|c| is_word_char(c) || c == '`');
        // `1'000'000` ([lex.icon]).
        let digit_follows = |rest: &str| rest.starts_with(|c: char| c.is_ascii_hexdigit());
        while self.cursor.rest().strip_prefix('\'').is_some_and(digit_follows) {
            self.cursor.advance(1);
            self.cursor.take_while(is_word_char);
        }
        let word = self.cursor.read().get(start..).unwrap_or_default();
        let lower = word.to_ascii_lowercase().replace('\'', "");
        let hexadecimal = lower.starts_with("0x");
        let body = lower.trim_end_matches(['u', 'l']);
        let suffix = &lower[body.len()..];
        let (digits_text, radix) = match body {
            "0" => ("0", 10),
            _ if hexadecimal => (&body[2..], 16),
            _ if body.starts_with("0b") => (&body[2..], 2),
            _ if body.starts_with("0n") => (&body[2..], 10),
            _ if body.starts_with("0t") => (&body[2..], 8),
            _ if body.starts_with('0') => (&body[1..], 8),
            _ => (body, 10),
        };
        let value = digits(digits_text, radix).map_err(|error| match error {
            ExprError::Overflow { .. } => ExprError::Overflow { text: word.to_owned() },
            _ => ExprError::Syntax { text: word.to_owned() },
        })?;
        // Hexadecimal and octal literals may be unsigned without saying so ([lex.icon]).
        let unsigned = suffix.contains('u') || radix != 10 && (value > i64::MAX as u64 || fits_only_unsigned(value));
        Ok(Cpp::Integer { value, unsigned, long: suffix.contains('l') })
    }

    fn float(&mut self) -> Result<Cpp, ExprError> {
        let rest = self.cursor.rest();
        let mut len = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        if rest[len..].starts_with(['e', 'E']) {
            let sign = usize::from(rest[len + 1..].starts_with(['+', '-']));
            let digits = rest[len + 1 + sign..].find(|c: char| !c.is_ascii_digit());
            let digits = digits.unwrap_or(rest.len() - len - 1 - sign);
            if digits > 0 {
                len += 1 + sign + digits;
            }
        }
        let value = rest[..len].parse().map_err(|_| ExprError::Syntax { text: rest[..len].to_owned() })?;
        self.cursor.advance(len);
        Ok(self.float_of(value))
    }

    /// The number with the suffix that follows it.
    fn float_of(&mut self, value: f64) -> Cpp {
        let single = self.cursor.peek().is_some_and(|c| matches!(c, 'f' | 'F'));
        self.cursor.advance(usize::from(single));
        Cpp::Float { value, single }
    }
}

/// A number like `0x1.8p-3` at the start of `text` ([lex.fcon]), and its length; `None` if none is there.
fn hexadecimal_float(text: &str) -> Option<(f64, usize)> {
    // Beyond it everything is zero or infinite, whatever the digits.
    const EXPONENT_LIMIT: i64 = 1 << 20;
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    let (mut mantissa, mut exponent, mut any, mut dot) = (0_u64, 0_i64, false, false);
    let mut end = digits.len();
    for (at, letter) in digits.char_indices() {
        match (letter, letter.to_digit(16)) {
            (_, Some(digit)) => {
                any = true;
                if mantissa >> 59 == 0 {
                    mantissa = mantissa << 4 | u64::from(digit);
                    exponent -= if dot { 4 } else { 0 };
                } else {
                    // What no longer fits only decides how halves are rounded.
                    mantissa |= u64::from(digit != 0);
                    exponent += if dot { 0 } else { 4 };
                }
            }
            ('.', _) if !dot => dot = true,
            _ => {
                end = at;
                break;
            }
        }
    }
    let power = digits[end..].strip_prefix(['p', 'P']).filter(|_| any)?;
    let sign = usize::from(power.starts_with(['+', '-']));
    let count = power[sign..].find(|c: char| !c.is_ascii_digit()).unwrap_or(power.len() - sign);
    if count == 0 {
        return None;
    }
    let written = power[sign..sign + count].parse().unwrap_or(EXPONENT_LIMIT).min(EXPONENT_LIMIT);
    let mut left = (exponent + if power.starts_with('-') { -written } else { written })
        .clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT) as i32;
    let mut value = mantissa as f64;
    // In steps: a power alone may be too large or too small where the product is not.
    while left != 0 && value != 0.0 && value.is_finite() {
        let step = left.clamp(-1000, 1000);
        value *= 2_f64.powi(step);
        left -= step;
    }
    Some((value, 2 + end + 1 + sign + count))
}

/// Whether a hexadecimal literal is `unsigned int`: too large for int, not for 32 bits.
fn fits_only_unsigned(value: u64) -> bool {
    value > i32::MAX as u64 && value <= u64::from(u32::MAX)
}
