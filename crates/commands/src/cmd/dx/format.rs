//! What stands behind the comma: how an object is shown.

use outpost_base::{MemoryReader, Va};
use outpost_engine::expr::ExprError;
use outpost_engine::model::Object;
use outpost_engine::values::{ArrayBound, NumberFormat, Scalar, TextView, Value};

/// Elements that a pointer can be said to point to.
const ELEMENT_LIMIT: u64 = 1 << 24;
/// Units of a text that are shown.
const TEXT_LIMIT: usize = 200;

/// How an object is shown. Formats of numbers hold for its members, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) numbers: NumberFormat,
    /// Members of library types instead of what they mean.
    pub(super) raw: bool,
    /// Names of enumerations without their numbers.
    pub(super) names_only: bool,
    /// Bytes in a unit of the text that pointers and arrays are.
    text: Option<u8>,
    /// How many elements a pointer points to, or of an array are meant.
    elements: Option<u64>,
}

impl Default for Format {
    fn default() -> Format {
        Format { numbers: NumberFormat::Plain, raw: false, names_only: false, text: None, elements: None }
    }
}

impl Format {
    /// Formats that may follow each other, separated by commas.
    pub(super) fn parse(text: &str) -> Result<Format, String> {
        let mut format = Format::default();
        for word in text.split(',').map(str::trim) {
            match word {
                "x" | "h" | "X" | "H" => format.numbers = NumberFormat::Hexadecimal,
                "d" => format.numbers = NumberFormat::Decimal,
                "o" => format.numbers = NumberFormat::Octal,
                "b" => format.numbers = NumberFormat::Binary,
                "c" => format.numbers = NumberFormat::Character,
                "s" | "s8" => format.text = Some(1),
                "su" => format.text = Some(2),
                "s32" => format.text = Some(4),
                "en" => format.names_only = true,
                "!" => format.raw = true,
                // Objects are shown by their declared type as it is.
                "nd" => {}
                _ => format.elements = Some(elements(word)?),
            }
        }
        Ok(format)
    }

    /// The object that is meant: a pointer with a number of elements is an array.
    pub(super) fn applied(&self, object: Object, memory: &mut dyn MemoryReader) -> Result<Object, ExprError> {
        let Some(count) = self.elements else { return Ok(object) };
        let refused = |reason: &str| ExprError::Operand { operation: format!(",{count}"), reason: reason.to_owned() };
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
    pub(super) fn is_text(&self) -> bool {
        self.text.is_some()
    }

    /// The text that a value is to be shown as; `None` if it is no pointer and no array, or no text is asked for.
    pub(super) fn text(&self, value: &Value, memory: &mut dyn MemoryReader) -> Option<String> {
        let unit = self.text?;
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
        text_at(at, unit, limit, memory).map(|text| if at == Va(0) { at.to_string() } else { text.quoted() })
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
        let hexadecimal = Format { numbers: NumberFormat::Hexadecimal, elements: Some(16), ..Format::default() };
        assert_eq!(Format::parse("x, 0x10"), Ok(hexadecimal));
        assert_eq!(Format::parse("su,!"), Ok(Format { text: Some(2), raw: true, ..Format::default() }));
        assert_eq!(Format::parse("en,nd"), Ok(Format { names_only: true, ..Format::default() }));
        for wrong in ["", "q", "0", "-1", "99999999999", "x,,d", "5 6"] {
            assert!(Format::parse(wrong).is_err(), "{wrong}");
        }
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
