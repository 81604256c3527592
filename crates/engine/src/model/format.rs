//! What stands behind the comma of an expression, in `dx` and in views: how an object is shown.

use outpost_base::{MemoryReader, Va};
use outpost_symbols::{ArrayBound, NumberFormat, Scalar, TextView, Value};

use super::Object;
use crate::expr::ExprError;

/// Elements that a pointer can be said to point to.
const ELEMENT_LIMIT: u64 = 1 << 24;
/// Units of a text that are shown.
const TEXT_LIMIT: usize = 200;

/// How an object is shown. Formats of numbers hold for its members, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// How numbers are written.
    pub numbers: NumberFormat,
    /// Members of library types instead of what they mean.
    pub raw: bool,
    /// Names of enumerations without their numbers.
    pub names_only: bool,
    /// Whether what a pointer points to is shown behind the pointer's address, and not instead of it.
    pub addresses: bool,
    /// The view that is asked for by name, of those that a type's author wrote.
    pub view: Option<String>,
    /// Objects are shown as the class that is declared, also where they are a part of another.
    pub declared: bool,
    /// That pointers and arrays are text.
    text: Option<TextFormat>,
    /// How many elements a pointer points to, or of an array are meant.
    elements: Option<Elements>,
    /// Numbers are results of calls, with what files of views know of them.
    pub hresult: bool,
    /// That what a pointer points to is shown as memory.
    dump: Option<Dump>,
}

/// Formats that others may follow without a comma between.
const JOINED: &[&str] = &["na", "nd", "nr", "nvo", "sub", "sb", "su", "s8b", "s8", "en"];

/// How memory is shown in one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dump {
    /// Bytes of a number or letter.
    unit: usize,
    /// Bytes that are shown.
    bytes: usize,
    numbers: bool,
    text: bool,
}

impl Dump {
    fn text(self, bytes: &[u8]) -> String {
        let units = || {
            bytes.chunks_exact(self.unit).map(|unit| {
                let mut number = [0; 8];
                number[..self.unit].copy_from_slice(unit);
                u64::from_le_bytes(number)
            })
        };
        let mut parts = Vec::new();
        if self.numbers {
            let width = 2 * self.unit;
            parts.push(units().map(|unit| format!("{unit:0width$x}")).collect::<Vec<_>>().join(" "));
        }
        if self.text {
            let letter = |unit| u32::try_from(unit).ok().and_then(char::from_u32).filter(|c| matches!(c, ' '..='~'));
            parts.push(units().map(|unit| letter(unit).unwrap_or('.')).collect());
        }
        parts.join("  ")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TextFormat {
    /// Bytes in a unit of it.
    unit: u8,
    quotes: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Elements {
    Count(u64),
    /// What an expression in brackets gives.
    Expr(String),
}

impl Default for Format {
    fn default() -> Format {
        Format {
            numbers: NumberFormat::Plain,
            raw: false,
            names_only: false,
            addresses: true,
            view: None,
            declared: false,
            text: None,
            elements: None,
            hresult: false,
            dump: None,
        }
    }
}

impl Format {
    /// Formats that may follow each other, separated by commas.
    ///
    /// # Errors
    /// A sentence about the first that is unknown.
    pub fn parse(text: &str) -> Result<Format, String> {
        let mut format = Format::default();
        let mut rest = text;
        loop {
            let end = end_of_word(rest);
            let (word, after) = rest.split_at(end);
            format.word(word.trim())?;
            match after.strip_prefix(',') {
                Some(after) => rest = after,
                None => return Ok(format),
            }
        }
    }

    /// Formats behind an expression, with the comma between; the usual ones if there are none.
    ///
    /// # Errors
    /// As [`Format::parse`].
    pub(crate) fn parse_behind(text: &str) -> Result<Format, String> {
        match text.strip_prefix(',') {
            Some(format) => Format::parse(format),
            None => Ok(Format::default()),
        }
    }

    /// Text as it is.
    pub(crate) fn plain_text() -> Format {
        Format { text: Some(TextFormat { unit: 1, quotes: false }), ..Format::default() }
    }

    /// The same without quotes.
    pub(crate) fn without_quotes(mut self) -> Format {
        if let Some(text) = &mut self.text {
            text.quotes = false;
        }
        self
    }

    /// The text of a value as it is shown: what is said of the object behind a pointer is alone if no address is wanted.
    pub fn finished(&self, value: &Value, text: String) -> String {
        match text.split_once(' ').filter(|_| !self.addresses && value.value_type().is_pointer()) {
            Some((_, behind)) => behind.to_owned(),
            None => text,
        }
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        // `[count]s8` and `view(name)na` are written as one word.
        if let Some(inside) = word.strip_prefix('[') {
            let (count, after) = inside.rsplit_once(']').ok_or_else(|| format!("']' is missing in '{word}'"))?;
            self.elements = Some(Elements::Expr(count.to_owned()));
            return if after.is_empty() { Ok(()) } else { self.word(after) };
        }
        if let Some(inside) = word.strip_prefix("view(") {
            let (name, after) = inside.split_once(')').ok_or_else(|| format!("')' is missing in '{word}'"))?;
            self.view = Some(name.trim().to_owned());
            return if after.is_empty() { Ok(()) } else { self.word(after) };
        }
        let text = |unit, quotes| Some(TextFormat { unit, quotes });
        match word {
            "x" | "h" => self.numbers = NumberFormat::Hexadecimal,
            "X" | "H" => self.numbers = NumberFormat::HexadecimalCapital,
            "xb" | "hb" => self.numbers = NumberFormat::HexadecimalBare,
            "Xb" | "Hb" => self.numbers = NumberFormat::HexadecimalCapitalBare,
            // What is shown of a number with a fraction is the shorter of both notations as it is.
            "d" | "i" | "nvo" | "g" => self.numbers = NumberFormat::Decimal,
            "u" => self.numbers = NumberFormat::Unsigned,
            "o" => self.numbers = NumberFormat::Octal,
            "b" => self.numbers = NumberFormat::Binary,
            "bb" => self.numbers = NumberFormat::BinaryBare,
            "e" => self.numbers = NumberFormat::Exponent,
            "f" => self.numbers = NumberFormat::Fixed,
            "c" => self.numbers = NumberFormat::Character,
            "s" | "s8" => self.text = text(1, true),
            "sb" | "s8b" => self.text = text(1, false),
            "su" => self.text = text(2, true),
            "sub" | "bstr" => self.text = text(2, false),
            "s32" => self.text = text(4, true),
            "s32b" => self.text = text(4, false),
            "en" => self.names_only = true,
            "na" => self.addresses = false,
            "!" => self.raw = true,
            "nd" => self.declared = true,
            // No raw view is added to objects as it is, and arrays on the heap have no bounds that could be taken.
            "nr" | "hv" => {}
            "hr" => self.hresult = true,
            "wc" | "wm" => return Err(format!("the format '{word}' is for numbers that Windows alone has")),
            "m" | "mb" => self.dump = Some(Dump { unit: 1, bytes: 16, numbers: true, text: true }),
            "ma" => self.dump = Some(Dump { unit: 1, bytes: 64, numbers: false, text: true }),
            "mu" => self.dump = Some(Dump { unit: 2, bytes: 64, numbers: false, text: true }),
            "mw" => self.dump = Some(Dump { unit: 2, bytes: 16, numbers: true, text: false }),
            "md" => self.dump = Some(Dump { unit: 4, bytes: 16, numbers: true, text: false }),
            "mq" => self.dump = Some(Dump { unit: 8, bytes: 16, numbers: true, text: false }),
            // Files have them one behind the other, too: `nanr`.
            _ => match JOINED.iter().find_map(|first| Some((first, word.strip_prefix(first)?))) {
                Some((first, rest)) if !rest.is_empty() => {
                    self.word(first)?;
                    self.word(rest).map_err(|_| format!("unknown format '{word}'"))?;
                }
                _ => self.elements = Some(Elements::Count(elements(word)?)),
            },
        }
        Ok(())
    }

    /// What the memory holds that a pointer leads to, or that an array is; `None` if that is not asked for, or it is
    /// neither.
    fn dumped(&self, value: &Value, memory: &mut dyn MemoryReader) -> Option<String> {
        let dump = self.dump?;
        let at = match value.value_type().element() {
            Some(_) => value.address()?,
            None => match value.scalar(memory).ok()? {
                Scalar::Pointer(at) => at,
                _ => return None,
            },
        };
        let mut bytes = vec![0; dump.bytes];
        let readable = memory.read(at, &mut bytes);
        bytes.truncate(readable - readable % dump.unit);
        Some(format!("0x{at} {}", dump.text(&bytes)))
    }

    /// The object that is meant: a pointer with a number of elements is an array. `evaluate` is asked for the number
    /// where an expression in brackets says it.
    ///
    /// # Errors
    /// [`ExprError::Operand`] for what has no elements; what `evaluate` gives.
    pub fn applied(
        &self,
        object: Object,
        memory: &mut dyn MemoryReader,
        evaluate: &mut dyn FnMut(&str, &mut dyn MemoryReader) -> Result<u64, ExprError>,
    ) -> Result<Object, ExprError> {
        let count = match &self.elements {
            None => return Ok(object),
            Some(Elements::Count(count)) => *count,
            Some(Elements::Expr(text)) => evaluate(text, memory)?,
        };
        let refused = |reason: &str| ExprError::Operand { operation: format!(",{count}"), reason: reason.to_owned() };
        if count > ELEMENT_LIMIT {
            return Err(refused("that many elements are nonsense"));
        }
        let Object::Value(value) = &object else {
            return Err(refused("only pointers and arrays have so many elements"));
        };
        let first = match value.value_type().element() {
            Some(_) => value.index(0, memory),
            None => value.deref(memory),
        };
        let first = first.map_err(|_| refused("the value is no pointer and no array"))?;
        let Some(at) = first.address() else { return Err(refused("the elements are not in memory")) };
        let element = first.value_type();
        let array = element.table().array_of(element.id(), &[ArrayBound::Count(count)]);
        Ok(Object::Value(Value::in_memory(array, at)))
    }

    /// Whether pointers and arrays are shown as texts, and not by what is in them.
    pub fn is_text(&self) -> bool {
        self.text.is_some() || self.dump.is_some()
    }

    /// The text that a value is to be shown as; `None` if it is no pointer and no array, or no text is asked for.
    pub fn text(&self, value: &Value, memory: &mut dyn MemoryReader) -> Option<String> {
        if let Some(dumped) = self.dumped(value, memory) {
            return Some(dumped);
        }
        let TextFormat { unit, quotes } = self.text?;
        let (at, count) = match value.value_type().element() {
            Some((_, count)) => (value.address()?, count),
            None => match value.scalar(memory).ok()? {
                Scalar::Pointer(at) => (at, None),
                _ => return None,
            },
        };
        let bytes = match count {
            Some(_) => value.value_type().size()?,
            None => u64::MAX,
        };
        let limit = usize::try_from(bytes / u64::from(unit)).unwrap_or(usize::MAX).min(TEXT_LIMIT + 1);
        if limit == 0 {
            return Some(if quotes { "\"\"".to_owned() } else { String::new() });
        }
        if at == Va(0) {
            return Some(at.to_string());
        }
        let text = text_at(at, unit, limit, memory)?.quoted();
        Some(if quotes { text } else { without_quotes(&text) })
    }
}

/// The units from an address on up to a NUL, at most `limit` of them. They are read together, as far as they can be.
fn text_at(at: Va, unit: u8, limit: usize, memory: &mut dyn MemoryReader) -> Option<TextView> {
    let mut bytes = vec![0; limit * usize::from(unit)];
    let readable = memory.read(at, &mut bytes);
    bytes.truncate(readable - readable % usize::from(unit));
    if bytes.is_empty() {
        return None;
    }
    let units = bytes.chunks_exact(usize::from(unit));
    let end = units.clone().position(|unit| unit.iter().all(|byte| *byte == 0));
    let length = end.unwrap_or(units.len());
    let shown = length.min(TEXT_LIMIT);
    bytes.truncate(shown * usize::from(unit));
    Some(TextView { at: Some(at), bytes, unit, length: length as u64 })
}

/// Bytes up to the comma that ends a word; those in brackets end none.
fn end_of_word(text: &str) -> usize {
    let mut depth = 0usize;
    let end = text.find(|c| {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    end.unwrap_or(text.len())
}

fn without_quotes(text: &str) -> String {
    let text = text.strip_prefix('"').unwrap_or(text);
    text.rsplit_once('"').map_or_else(|| text.to_owned(), |(inside, after)| format!("{inside}{after}"))
}

fn elements(word: &str) -> Result<u64, String> {
    let unknown = || format!("unknown format '{word}'");
    let digits = word.strip_prefix("0n").unwrap_or(word);
    let parsed = match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    parsed.ok().filter(|count| (1..=ELEMENT_LIMIT).contains(count)).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_read_together() {
        let hexadecimal =
            Format { numbers: NumberFormat::Hexadecimal, elements: Some(Elements::Count(16)), ..Format::default() };
        assert_eq!(Format::parse("x, 0x10"), Ok(hexadecimal));
        assert_eq!(
            Format::parse("su,!"),
            Ok(Format { text: Some(TextFormat { unit: 2, quotes: true }), raw: true, ..Format::default() })
        );
        assert_eq!(Format::parse("en,nd"), Ok(Format { names_only: true, declared: true, ..Format::default() }));
        let counted = Format::parse("[size(a, b)]sb,view(simple)na").unwrap();
        assert_eq!(counted.elements, Some(Elements::Expr("size(a, b)".to_owned())));
        assert_eq!(counted.text, Some(TextFormat { unit: 1, quotes: false }));
        assert_eq!((counted.view.as_deref(), counted.addresses), (Some("simple"), false));
        let joined = Format::parse("view(simple)nand").unwrap();
        assert_eq!((joined.addresses, joined.declared, joined.view.as_deref()), (false, true, Some("simple")));
        assert!(Format::parse("[3]sbna").is_ok_and(|format| format.is_text() && !format.addresses));
        assert_eq!(Format::parse("wm").unwrap_err(), "the format 'wm' is for numbers that Windows alone has");
        for wrong in ["naq", "na3x", "", "q", "0", "-1", "99999999999", "x,,d", "5 6", "[3", "view(", "[3]q"] {
            assert!(Format::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn memory_is_shown_in_units() {
        let dump = |word: &str| {
            let bytes: Vec<u8> = (0..16).map(|number| b'A' + number).collect();
            Format::parse(word).unwrap().dump.unwrap().text(&bytes)
        };
        assert_eq!(dump("mb"), "41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f 50  ABCDEFGHIJKLMNOP");
        assert_eq!(dump("mw"), "4241 4443 4645 4847 4a49 4c4b 4e4d 504f");
        assert_eq!(dump("md"), "44434241 48474645 4c4b4a49 504f4e4d");
        assert_eq!(dump("mq"), "4847464544434241 504f4e4d4c4b4a49");
        assert_eq!(dump("ma"), "ABCDEFGHIJKLMNOP");
        assert_eq!(dump("mu"), "........");
    }

    #[test]
    fn texts_end_at_their_nul_and_at_the_end_of_memory() {
        let bytes = [b'a', 0, b'b', 0, 0, 0, b'c', 0];
        let text = |at: u64, unit, limit| {
            let mut memory = outpost_base::SliceMemory { start: Va(0x1000), bytes: &bytes };
            text_at(Va(at), unit, limit, &mut memory).map(|text| text.quoted())
        };
        assert_eq!(text(0x1000, 1, 100), Some("\"a\"".to_owned()));
        assert_eq!(text(0x1000, 2, 100), Some("\"ab\"".to_owned()));
        assert_eq!(text(0x1006, 2, 100), Some("\"c\"".to_owned()));
        assert_eq!(text(0x1006, 4, 100), None);
        assert_eq!(text(0x2000, 1, 100), None);
    }
}
