//! From the debugger's operands to the assembler's: values in place of numbers and symbols, all else as it stands.

use std::collections::HashSet;
use std::sync::LazyLock;

use outpost_base::Va;

use super::AssemblyError;

/// What a relative operand is called in the assembler's text.
pub(super) const TARGET: &str = "target";

/// Words in front of a mnemonic.
const PREFIXES: &[&str] = &[
    "lock", "rep", "repe", "repz", "repne", "repnz", "bnd", "notrack", "xacquire", "xrelease", "data16", "addr32",
    "rex",
];

/// An instruction in the assembler's words.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) text: String,
    /// How far from the instruction [`TARGET`] is, where it occurs.
    pub(super) distance: Option<i32>,
    at: Va,
}

/// Gives each number and symbol of an instruction its value.
pub(super) fn translate<E: From<AssemblyError>>(
    at: Va,
    text: &str,
    value: &mut dyn FnMut(&str) -> Result<u64, E>,
) -> Result<Translated, E> {
    let mut rest = text.trim();
    let mut translated = Translated { text: String::new(), distance: None, at };
    let mut mnemonic;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        mnemonic = rest[..end].to_ascii_lowercase();
        translated.text.push_str(&mnemonic);
        rest = rest[end..].trim_start();
        if !rest.is_empty() {
            translated.text.push(' ');
        }
        if rest.is_empty() || !PREFIXES.contains(&mnemonic.as_str()) {
            break;
        }
    }
    if rest.starts_with(':') {
        // The assembler would take it for the name of a place.
        return Err(AssemblyError::Wrong { problem: "an instruction is expected".to_owned() }.into());
    }
    let branches =
        mnemonic.starts_with('j') || mnemonic.starts_with("loop") || mnemonic == "call" || mnemonic == "xbegin";
    if rest.is_empty() {
        return Ok(translated);
    }
    for (number, operand) in split(rest).into_iter().enumerate() {
        if number > 0 {
            translated.text.push(',');
        }
        translated.operand(operand.trim(), branches, value)?;
    }
    Ok(translated)
}

impl Translated {
    fn operand<E: From<AssemblyError>>(
        &mut self,
        operand: &str,
        branches: bool,
        value: &mut dyn FnMut(&str) -> Result<u64, E>,
    ) -> Result<(), E> {
        if let Some((before, inner)) = operand.split_once('[')
            && let Some((inner, behind)) = inner.split_once(']')
        {
            let of_segment = before.trim_end().ends_with(':');
            self.text.push_str(before);
            self.text.push('[');
            match words(inner).any(is_register) {
                true => self.sum(inner, value)?,
                false => {
                    let place = value(address(inner))?;
                    match self.distance_of(place) {
                        Ok(distance) if !of_segment => {
                            self.text.push_str("rip+");
                            self.relative(distance);
                        }
                        // The others have their full addresses, of 32 bits.
                        Err(error) if !of_segment && i32::try_from(place).is_err() => return Err(error.into()),
                        _ => self.text.push_str(&number(place)),
                    }
                }
            }
            self.text.push(']');
            self.text.push_str(behind);
        } else if operand.split(['(', '{']).next().is_some_and(is_register) {
            self.text.push_str(operand);
        } else if branches {
            let (kind, target) = match operand.split_once(' ') {
                Some((word, target)) if word.eq_ignore_ascii_case("short") => ("short ", target),
                _ => ("", operand),
            };
            self.text.push_str(kind);
            let distance = self.distance_of(value(address(target.trim()))?)?;
            self.relative(distance);
        } else {
            let operand = operand.strip_prefix("offset ").unwrap_or(operand);
            self.text.push_str(&number(value(address(operand))?));
        }
        Ok(())
    }

    fn distance_of(&self, target: u64) -> Result<i32, AssemblyError> {
        let distance = target.wrapping_sub(self.at.0).cast_signed();
        i32::try_from(distance).map_err(|_| AssemblyError::TooFar { target: Va(target) })
    }

    fn relative(&mut self, distance: i32) {
        self.distance = Some(distance);
        self.text.push_str(TARGET);
    }

    /// `rbp+rcx*4-0A8h`
    fn sum<E>(&mut self, inner: &str, value: &mut dyn FnMut(&str) -> Result<u64, E>) -> Result<(), E> {
        let mut rest = inner;
        while let Some(c) = rest.chars().next() {
            let end = rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(if end == 0 { c.len_utf8() } else { end });
            match end == 0 || is_register(word) {
                true => self.text.push_str(word),
                false => self.text.push_str(&number(value(word)?)),
            }
            rest = behind;
        }
        Ok(())
    }
}

/// Operands are divided by commas, but not those within brackets and quotes.
fn split(operands: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut is_quoted = false;
    let divides = move |c: char| {
        match c {
            '\'' => is_quoted = !is_quoted,
            '[' | '(' | '{' | '<' if !is_quoted => depth += 1,
            ']' | ')' | '}' | '>' if !is_quoted => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0 && !is_quoted
    };
    operands.split(divides).collect()
}

/// The disassembler shows a symbol with its address behind it, which is the plainer of the two.
fn address(shown: &str) -> &str {
    let within = shown.strip_suffix(')').and_then(|shown| shown.rsplit_once(" ("));
    let is_address = |text: &str| text.chars().all(|c| c == '`' || c.is_ascii_hexdigit());
    within.map(|(_, at)| at).filter(|at| is_address(at)).unwrap_or(shown)
}

/// A constant of 64 bits; one that stands for a negative number as such, so that it fits where its sign is extended.
fn number(value: u64) -> String {
    match i32::try_from(value.cast_signed()) {
        Ok(signed) if signed < 0 => signed.to_string(),
        _ => format!("{value:#x}"),
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '`' | '!' | ':' | '@' | '$' | '.' | '~')
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !is_of_word(c)).filter(|word| !word.is_empty())
}

fn is_register(word: &str) -> bool {
    static NAMES: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let named = iced_x86::Register::values().skip(1).map(|register| format!("{register:?}").to_ascii_lowercase());
        // Low bytes have two names.
        named.chain((8..16).map(|number| format!("r{number}b"))).chain(["st".to_owned()]).collect()
    });
    NAMES.contains(&word.to_ascii_lowercase())
}
