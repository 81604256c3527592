//! `.printf`: text with values in it, by the formats of C and those of the debugger.

use outpost_base::Va;
use outpost_engine::expr::Evaluated;
use outpost_engine::values::{Scalar, Value};

use super::alias::{counted_string_at, string_at};
use crate::command::{Command, CommandEntry, Group, give};
use crate::language::Arguments;
use crate::text::values::ValueMemory;
use crate::text::{hex64, symbols};
use crate::{CommandError, Debugger, Output, OutputKind};

pub(crate) const ENTRIES: &[CommandEntry] = &[CommandEntry {
    names: &[".printf"],
    syntax: ".printf [/D] [/oKind] \"Format\" [, Value ...]",
    summary: "Print a text with values in it",
    details: "Values are expressions of the default evaluator. %d %u %x %o %c take 32 bits, with I64 or ll 64; %p is an \
              address, %f %e %g are doubles; %ma and %mu are the string at an address (UTF-8, UTF-16), %msa and %msu a \
              counted one; %y is the symbol at an address, %ly with its source line; %% is a %. Flags, width and \
              precision are those of C. In the format \\n, \\t, \\\" and \\\\ are what they are in C. /o and a letter say \
              what the text is (see .outmask): d the debuggee's, e an error, w a warning, v verbose; n, p, P, r, s are an \
              answer's. /D is taken and changes nothing.",
    example: ".printf \"%y: %d items\\n\", @rip, poi(count)",
    group: Group::Scripts,
    eats_line: false,
    run: print,
}];

/// Widest field and longest precision.
const MAX_WIDTH: usize = 4096;

fn print(arguments: &mut Arguments<'_>, debugger: &mut Debugger, out: &mut dyn Output) -> Result<(), CommandError> {
    let printf = Printf::parse(arguments, debugger)?;
    let kind = printf.kind;
    let text = printf.run(debugger)?;
    match kind {
        OutputKind::Normal => give(&text, Printf::render, out),
        kind => out.write(kind, &text),
    }
    Ok(())
}

/// Prints values by a format.
#[derive(Debug, Clone)]
pub struct Printf {
    kind: OutputKind,
    pieces: Vec<Piece>,
    values: Vec<Evaluated>,
}

/// A piece of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Field(Field),
}

/// How a value is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Field {
    left: bool,
    zeros: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    width: usize,
    pub(super) precision: Option<usize>,
    wide: bool,
    /// What of it: `d`, `p`, `ma`, ...
    kind: String,
}

/// Kinds of fields, longer ones before those they begin with.
const KINDS: &[&str] = &[
    "msa", "msu", "ma", "mu", "ly", "y", "d", "i", "u", "x", "X", "o", "c", "C", "p", "N", "s", "S", "f", "e", "E",
    "g", "G",
];

impl Command for Printf {
    type Data = String;

    fn parse(arguments: &mut Arguments<'_>, debugger: &mut Debugger) -> Result<Printf, CommandError> {
        let mut kind = OutputKind::Normal;
        while let Some(option) = arguments.take_option() {
            kind = match option {
                "D" => kind,
                "od" => OutputKind::Debuggee,
                "oe" => OutputKind::Error,
                "ow" => OutputKind::Warning,
                "ov" => OutputKind::Verbose,
                "on" | "op" | "oP" | "or" | "os" => OutputKind::Normal,
                other => return Err(arguments.usage(format!("unknown option /{other}"))),
            };
        }
        let format = arguments.escaped().ok_or_else(|| arguments.usage("the format in quotes is missing"))?;
        let pieces = pieces(&format).map_err(|problem| arguments.usage(problem))?;
        arguments.take(",");
        let fields = pieces.iter().filter(|piece| matches!(piece, Piece::Field(_))).count();
        let mut values = Vec::new();
        while !arguments.is_empty() {
            values.push(arguments.next_typed(debugger)?);
        }
        if values.len() != fields {
            let given = values.len();
            return Err(arguments.usage(format!("the format has {fields} fields, and {given} values are given")));
        }
        Ok(Printf { kind, pieces, values })
    }

    fn run(self, debugger: &mut Debugger) -> Result<String, CommandError> {
        let mut values = self.values.iter();
        let mut text = String::new();
        for piece in &self.pieces {
            match (piece, piece.is_field().then(|| values.next()).flatten()) {
                (Piece::Text(plain), _) => text.push_str(plain),
                (Piece::Field(field), Some(value)) => text.push_str(&write_field(field, value, debugger)?),
                (Piece::Field(_), None) => {}
            }
        }
        Ok(text)
    }

    fn render(data: &String, text: &mut String) {
        text.push_str(data);
    }
}

impl Piece {
    fn is_field(&self) -> bool {
        matches!(self, Piece::Field(_))
    }
}

/// Cuts a format into its pieces; what is wrong with it, otherwise.
pub(super) fn pieces(format: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some((before, behind)) = rest.split_once('%') {
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        if let Some(behind) = behind.strip_prefix('%') {
            pieces.push(Piece::Text("%".to_owned()));
            rest = behind;
            continue;
        }
        let (field, behind) = field(behind)?;
        pieces.push(Piece::Field(field));
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

fn field(text: &str) -> Result<(Field, &str), String> {
    let mut field = Field::default();
    let mut rest = text;
    while let Some(flag) = rest.chars().next().filter(|flag| "-0+ #".contains(*flag)) {
        match flag {
            '-' => field.left = true,
            '0' => field.zeros = true,
            '+' => field.plus = true,
            ' ' => field.space = true,
            _ => field.alternate = true,
        }
        rest = &rest[1..];
    }
    let (width, behind) = digits(rest)?;
    field.width = width.unwrap_or(0);
    rest = behind;
    if let Some(behind) = rest.strip_prefix('.') {
        let (precision, behind) = digits(behind)?;
        field.precision = Some(precision.unwrap_or(0));
        rest = behind;
    }
    let kind_at = |rest: &str| KINDS.iter().copied().find(|kind| rest.starts_with(kind));
    // `ly` is a kind, `lx` a size and a kind.
    if kind_at(rest).is_none() {
        for size in ["I64", "ll", "I32", "I", "l", "h", "w"] {
            if let Some(behind) = rest.strip_prefix(size) {
                field.wide = matches!(size, "I64" | "ll" | "I");
                rest = behind;
                break;
            }
        }
    }
    let Some(kind) = kind_at(rest) else {
        let unknown: String = rest.chars().take(1).collect();
        return Err(format!("'%{unknown}' is no field of a format; %% is a %"));
    };
    kind.clone_into(&mut field.kind);
    Ok((field, &rest[kind.len()..]))
}

fn digits(text: &str) -> Result<(Option<usize>, &str), String> {
    let len = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if len == 0 {
        return Ok((None, text));
    }
    match text[..len].parse() {
        Ok(number) if number <= MAX_WIDTH => Ok((Some(number), &text[len..])),
        _ => Err(format!("{} is too wide for a field", &text[..len])),
    }
}

pub(super) fn write_field(field: &Field, value: &Evaluated, debugger: &mut Debugger) -> Result<String, CommandError> {
    let number = number_of(value, debugger)?;
    let bits = if field.wide { number } else { u64::from(number as u32) };
    let at = Va(number);
    let text = match field.kind.as_str() {
        "d" | "i" => {
            let signed = if field.wide { number as i64 } else { i64::from(number as i32) };
            integer(field, signed < 0, &signed.unsigned_abs().to_string(), "")
        }
        "u" => integer(field, false, &bits.to_string(), ""),
        "x" => integer(field, false, &format!("{bits:x}"), "0x"),
        "X" => integer(field, false, &format!("{bits:X}"), "0X"),
        "o" => integer(field, false, &format!("{bits:o}"), "0"),
        "c" | "C" => char::from_u32(number as u32).unwrap_or(char::REPLACEMENT_CHARACTER).to_string(),
        "p" | "N" => hex64(number),
        "f" | "e" | "E" | "g" | "G" => {
            let float = f64::from_bits(number);
            let digits = real(&field.kind, float.abs(), field.precision.unwrap_or(6));
            integer(&Field { precision: None, ..field.clone() }, float.is_sign_negative(), &digits, "")
        }
        "y" => symbols::name_of(&mut debugger.engine, at),
        "ly" => {
            let line = debugger.engine.line_at(at);
            format!("{}{}", symbols::name_of(&mut debugger.engine, at), symbols::line_suffix(line.as_ref()))
        }
        "mu" | "S" => cut(field, string_at(at, 2, None, debugger)?),
        "msa" => cut(field, counted_string_at(at, 1, debugger)?),
        "msu" => cut(field, counted_string_at(at, 2, debugger)?),
        _ => cut(field, string_at(at, 1, None, debugger)?),
    };
    Ok(padded(field, text))
}

/// A text in its field.
pub(super) fn padded(field: &Field, text: String) -> String {
    let missing = " ".repeat(field.width.saturating_sub(text.chars().count()));
    if field.left { text + &missing } else { missing + &text }
}

/// Whether a field is of a text that ends with a zero byte; why not, for the user, if it is of a text that is another.
pub(super) fn text_field(field: &Field) -> Result<bool, String> {
    match field.kind.as_str() {
        "ma" | "s" => Ok(true),
        "mu" | "S" | "msa" | "msu" => Err(format!("%{} is a text that only the debugger reads", field.kind)),
        _ => Ok(false),
    }
}

/// The number of a value, as far as it has one.
fn number_of(value: &Evaluated, debugger: &mut Debugger) -> Result<u64, CommandError> {
    match value {
        Evaluated::Number(number) => Ok(*number),
        Evaluated::Value(value) => {
            let float = float_of(value, debugger).map(f64::to_bits);
            let number = super::evaluate::number_of(value, debugger).or(float);
            number.ok_or_else(|| CommandError::invalid(format!("a {} is no number", value.value_type())))
        }
    }
}

fn float_of(value: &Value, debugger: &mut Debugger) -> Option<f64> {
    let mut memory = ValueMemory(debugger.engine.memory().ok());
    match value.scalar(&mut memory).ok()? {
        Scalar::Float(float) => Some(float),
        _ => None,
    }
}

/// Sign, prefix, zeros and digits of a number.
fn integer(field: &Field, negative: bool, digits: &str, prefix: &str) -> String {
    let sign = match (negative, field.plus, field.space) {
        (true, ..) => "-",
        (_, true, _) if prefix.is_empty() => "+",
        (_, _, true) if prefix.is_empty() => " ",
        _ => "",
    };
    let prefix = if field.alternate { prefix } else { "" };
    let taken = sign.len() + prefix.len();
    let least = match field.precision {
        Some(precision) => precision,
        None if field.zeros && !field.left => field.width.saturating_sub(taken),
        None => 0,
    };
    format!("{sign}{prefix}{}{digits}", "0".repeat(least.saturating_sub(digits.len())))
}

/// A real number that is not negative, as C writes it.
fn real(kind: &str, value: f64, precision: usize) -> String {
    if !value.is_finite() {
        return if value.is_nan() { "nan" } else { "inf" }.to_owned();
    }
    let exponential = |precision: usize| {
        let text = format!("{value:.precision$e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        format!("{digits}e{sign}{exponent:0>2}")
    };
    let text = match kind {
        "f" => format!("{value:.precision$}"),
        "e" | "E" => exponential(precision),
        _ => {
            // As C has it: by exponent where that is smaller than -4 or not smaller than the precision.
            let precision = precision.max(1);
            let rounded = format!("{value:.*e}", precision - 1);
            let exponent: i64 = rounded.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
            let trimmed = |text: &str| match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                false => text.to_owned(),
            };
            if exponent < -4 || exponent >= precision as i64 {
                let text = exponential(precision - 1);
                let (digits, exponent) = text.split_once('e').unwrap_or((&text, "+00"));
                format!("{}e{exponent}", trimmed(digits))
            } else {
                let behind = (precision as i64 - 1 - exponent).max(0) as usize;
                trimmed(&format!("{value:.behind$}"))
            }
        }
    };
    if kind.starts_with(|c: char| c.is_ascii_uppercase()) { text.to_uppercase() } else { text }
}

/// A string, no longer than its precision.
fn cut(field: &Field, text: String) -> String {
    match field.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: &str, value: u64) -> String {
        let mut debugger = crate::fuzz::stopped_debugger();
        let Piece::Field(field) = pieces(format).unwrap().remove(0) else { panic!("{format}") };
        write_field(&field, &Evaluated::Number(value), &mut debugger).unwrap()
    }

    #[test]
    fn numbers_are_written_as_c_writes_them() {
        let check = |format, value, expected| assert_eq!(written(format, value), expected, "{format} of {value}");
        check("%d", u64::MAX, "-1");
        check("%d", 0x1_0000_0005, "5");
        check("%I64d", u64::MAX - 1, "-2");
        check("%lld", 1 << 40, "1099511627776");
        check("%05d", u64::MAX, "-0001");
        check("%-5d|", 7, "7    ");
        check("%+d", 7, "+7");
        check("%.3d", 7, "007");
        check("%8.3d", 7, "     007");
        check("%x", 0xffff_ffff_0000_00ab, "ab");
        check("%I64X", 0xab00_0000_00cd, "AB00000000CD");
        check("%#x", 10, "0xa");
        check("%#010x", 10, "0x0000000a");
        check("%o", 8, "10");
        check("%c", 0x41, "A");
        check("%p", 0x1234, "00000000`00001234");
        check("%hx", 0x1234, "1234");
    }

    #[test]
    fn real_numbers_too() {
        let check = |format, value: f64, expected| assert_eq!(written(format, value.to_bits()), expected, "{format}");
        check("%f", 1.5, "1.500000");
        check("%.2f", -2.345, "-2.35");
        check("%e", 12345.678, "1.234568e+04");
        check("%.0e", 5e-10, "5e-10");
        check("%g", 0.0001, "0.0001");
        check("%g", 0.00001, "1e-05");
        check("%g", 123_456.0, "123456");
        check("%g", 1_234_567.0, "1.23457e+06");
        check("%G", 1e100, "1E+100");
        check("%8.3f", std::f64::consts::PI, "   3.142");
        check("%f", f64::NAN, "nan");
    }

    #[test]
    fn formats_that_mean_nothing_are_refused() {
        for format in ["%", "%q", "%99999d", "%.99999d", "%l", "%-"] {
            assert!(pieces(format).is_err(), "{format}");
        }
        let text = |text: &str| Piece::Text(text.to_owned());
        assert_eq!(pieces("100%% of").unwrap(), [text("100"), text("%"), text(" of")]);
    }
}
