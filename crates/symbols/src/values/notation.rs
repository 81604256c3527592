//! Numbers and characters in the notation that was asked for.

use super::Scalar;
use super::text::address;
use crate::types::Type;

/// How the numbers of a value are written.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub enum NumberFormat {
    /// Signed ones in decimal with their prefix, others in hexadecimal: `0n-5`, `0x1c`, `0n97 'a'`.
    #[default]
    Prefixed,
    /// The same without a prefix for decimal: `-5`, `0x1c`, `97 'a'`.
    Plain,
    /// All in decimal: `-5`, `28`.
    Decimal,
    /// All in decimal, negative ones as their bits: `4294967291`.
    Unsigned,
    /// All in hexadecimal, negative ones as their bits: `0xfffffffb`.
    Hexadecimal,
    /// The same with capital digits: `0xFFFFFFFB`.
    HexadecimalCapital,
    /// The same as [`NumberFormat::Hexadecimal`] without a prefix: `fffffffb`.
    HexadecimalBare,
    /// As [`NumberFormat::HexadecimalCapital`] without a prefix: `FFFFFFFB`.
    HexadecimalCapitalBare,
    /// All in octal: `0o34`.
    Octal,
    /// All in binary: `0b11100`.
    Binary,
    /// The same without a prefix: `11100`.
    BinaryBare,
    /// Numbers with fractions as C's `%e` has them, others in decimal: `1.500000e+00`.
    Exponent,
    /// Numbers with fractions as C's `%f` has them, others in decimal: `1.500000`.
    Fixed,
    /// As characters, where they are any: `'a'`.
    Character,
}

/// A scalar by itself.
pub(super) fn scalar_text(scalar: Scalar, of: &Type, numbers: NumberFormat) -> String {
    if let Some(text) = in_format(scalar, of, numbers) {
        return text;
    }
    let decimal = if numbers == NumberFormat::Prefixed { "0n" } else { "" };
    match scalar {
        Scalar::Signed(number) if of.data().name.as_deref() == Some("wchar_t") => {
            format!("{decimal}{number}{}", wide_character(number as i64))
        }
        Scalar::Signed(number) => format!("{decimal}{number}"),
        // To gcc it is an integer (DW_ATE_unsigned), to clang a character.
        Scalar::Unsigned(number) if of.data().name.as_deref() == Some("char8_t") => {
            format!("{number:#x}{}", character(number as i64))
        }
        Scalar::Unsigned(number) => format!("{number:#x}"),
        Scalar::Bool(0) => "false".to_owned(),
        Scalar::Bool(1) => "true".to_owned(),
        Scalar::Bool(other) => format!("{other:#x}"),
        Scalar::Character { code, signed: true } => format!("{decimal}{code}{}", character(code & 0xff)),
        Scalar::Character { code, signed: false } if of.size() != Some(1) => {
            format!("{code:#x}{}", wide_character(code))
        }
        Scalar::Character { code, signed: false } => format!("{code:#x}{}", character(code)),
        Scalar::Float(value) => float(value, of.size()),
        Scalar::Complex(real, imaginary) => {
            let half = of.size().map(|size| size / 2);
            format!("{} + {}i", float(real, half), float(imaginary, half))
        }
        Scalar::Pointer(at) => address(at),
    }
}

/// A number in the one notation that was asked for; `None` for what is written as it always is.
fn in_format(scalar: Scalar, of: &Type, numbers: NumberFormat) -> Option<String> {
    let number = match scalar {
        Scalar::Signed(number) => number,
        Scalar::Character { code, .. } => i128::from(code),
        // Above `i128::MAX` nothing but its bits is needed.
        Scalar::Unsigned(number) => number as i128,
        Scalar::Pointer(at) if numbers == NumberFormat::Decimal => i128::from(at.0),
        Scalar::Float(value) => return float_in_format(value, numbers),
        _ => return None,
    };
    let used = 8 * of.size().unwrap_or(16).clamp(1, 16);
    let bits = number as u128 & (u128::MAX >> (128 - used));
    Some(match numbers {
        NumberFormat::Prefixed | NumberFormat::Plain => return None,
        NumberFormat::Decimal | NumberFormat::Exponent | NumberFormat::Fixed
            if !matches!(scalar, Scalar::Unsigned(_)) =>
        {
            number.to_string()
        }
        NumberFormat::Decimal | NumberFormat::Exponent | NumberFormat::Fixed | NumberFormat::Unsigned => {
            bits.to_string()
        }
        NumberFormat::Hexadecimal => format!("{bits:#x}"),
        NumberFormat::HexadecimalCapital => format!("{bits:#X}"),
        NumberFormat::HexadecimalBare => format!("{bits:x}"),
        NumberFormat::HexadecimalCapitalBare => format!("{bits:X}"),
        NumberFormat::Octal => format!("{bits:#o}"),
        NumberFormat::Binary => format!("{bits:#b}"),
        NumberFormat::BinaryBare => format!("{bits:b}"),
        NumberFormat::Character => match i64::try_from(bits).map(if used > 8 { wide_character } else { character }) {
            Ok(text) if !text.is_empty() => text.trim_start().to_owned(),
            _ => format!("{bits:#x}"),
        },
    })
}

/// A number with a fraction in C's notation, if that was asked for.
fn float_in_format(value: f64, numbers: NumberFormat) -> Option<String> {
    let finite = value.is_finite();
    match numbers {
        NumberFormat::Fixed if finite => Some(format!("{value:.6}")),
        NumberFormat::Exponent if finite => {
            let text = format!("{value:.6e}");
            let (digits, exponent) = text.split_once('e')?;
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
            Some(format!("{digits}e{sign}{exponent:0>2}"))
        }
        _ => None,
    }
}

/// Shortest digits that read back as the same number of the same width, with an exponent where zeros would pile up.
fn float(value: f64, size: Option<u64>) -> String {
    let magnitude = value.abs();
    let plain = magnitude == 0.0 || (1e-5..1e17).contains(&magnitude) || !magnitude.is_finite();
    match (size, plain) {
        (Some(4), true) => format!("{}", value as f32),
        (Some(4), false) => format!("{:e}", value as f32),
        (_, true) => format!("{value}"),
        (_, false) => format!("{value:e}"),
    }
}

/// ` 'a'`, for a code that is a character.
fn character(code: i64) -> String {
    let code = u32::try_from(code).ok().and_then(char::from_u32);
    // Bytes above ASCII belong to an encoding that is not known here.
    match code {
        Some('\0') => " '\\0'".to_owned(),
        Some('"') => " '\"'".to_owned(),
        Some(letter @ ('\t' | '\n' | '\r' | '\'' | '\\' | ' '..='~')) => format!(" '{}'", letter.escape_debug()),
        Some(letter) if u32::from(letter) > 0xff => format!(" '{letter}'"),
        _ => String::new(),
    }
}

/// The same of a code of Unicode, whose characters above ASCII are known.
fn wide_character(code: i64) -> String {
    let letter = u8::try_from(code).ok().map(char::from).filter(|letter| !letter.is_ascii() && !letter.is_control());
    letter.map_or_else(|| character(code), |letter| format!(" '{letter}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_as_short_as_their_width_allows() {
        let check = |value, size, expected| assert_eq!(float(value, Some(size)), expected);
        check(f64::from(0.1f32), 4, "0.1");
        check(0.1, 8, "0.1");
        check(f64::from(0.1f32), 8, "0.10000000149011612");
        check(2.0, 8, "2");
        check(1e300, 8, "1e300");
        check(-2.5e-7, 8, "-2.5e-7");
        check(f64::NEG_INFINITY, 8, "-inf");
    }

    #[test]
    fn characters_show_what_can_be_shown() {
        assert_eq!(character(97), " 'a'");
        assert_eq!(character(34), " '\"'");
        assert_eq!(character(10), " '\\n'");
        assert_eq!(character(0x20ac), " '€'");
        assert_eq!(character(0x80), "");
        assert_eq!(character(-1), "");
        assert_eq!(wide_character(0xe9), " 'é'");
        assert_eq!(wide_character(0x85), "");
        assert_eq!(wide_character(0x27), " '\\''");
    }
}
