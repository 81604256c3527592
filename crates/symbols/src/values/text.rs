//! One-line text of a value, as `dv`, `??` and `x` show it.

use outpost_base::{MemoryReader, Va};

use super::views::erased::erased;
use super::views::rust::trait_object;
use super::{Scalar, TextView, Unavailable, Value, ViewKind, ViewLimits};
use crate::types::{Language, PointerFlavour, Type, TypeKind};

/// Length at which a text ends whatever is still to come.
const LENGTH_LIMIT: usize = 8 << 10;

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

/// How much of a value is shown, and what a debugger can add.
#[derive(Clone, Copy)]
pub struct TextOptions<'a> {
    /// How numbers are written.
    pub numbers: NumberFormat,
    /// How numbers of the type `long` and its kind are written, if not as others.
    pub longs: Option<NumberFormat>,
    /// Enumerations are shown by their names alone, where there is one.
    pub names_only: bool,
    /// Most characters of a string.
    pub string_limit: u64,
    /// Most elements of an array or container, and most members of a record.
    pub element_limit: u64,
    /// How deep records and containers are opened; beyond it they are `{...}`.
    pub depth_limit: usize,
    /// Shows members of library types instead of what they mean.
    pub raw: bool,
    /// What an address is called (`prog!main+0x10`); `None` for addresses without a name worth telling.
    pub symbol: &'a dyn Fn(Va) -> Option<String>,
    /// What somebody else says of a value, who is asked before anything is said here; `None` where that is nothing.
    pub view: &'a dyn Fn(&Value, &mut dyn MemoryReader) -> Option<String>,
}

impl Default for TextOptions<'_> {
    fn default() -> Self {
        TextOptions {
            numbers: NumberFormat::default(),
            longs: None,
            names_only: false,
            string_limit: 200,
            element_limit: 10,
            depth_limit: 3,
            raw: false,
            symbol: &|_| None,
            view: &|_, _| None,
        }
    }
}

impl TextOptions<'_> {
    /// How numbers of this type are written.
    fn numbers_of(&self, of: &Type) -> NumberFormat {
        let name = of.data().name.as_deref().unwrap_or_default();
        let is_long = || name.split(' ').any(|word| word == "long");
        self.longs.filter(|_| is_long()).unwrap_or(self.numbers)
    }
}

impl Value {
    /// The value in one line:
    ///
    /// | Value | Text |
    /// | --- | --- |
    /// | signed, unsigned integer | `0n-5`, `0x1c` |
    /// | truth value | `true` |
    /// | character | `0n97 'a'`, `0x61 'a'` |
    /// | floating point | `1.5`, shortest that reads back the same |
    /// | enumeration | `GREEN (0n5)`, flags `A \| C (0x5)` |
    /// | pointer | ``0x00005555`55558010``, with what it means after it: a symbol, `"text"` |
    /// | reference | ``@0x00007fff`ffffde08: `` and the value |
    /// | struct, union | `{a=0n1, base={...}}` |
    /// | array | `{0n1, 0n2, ...}`; of characters `"text"` |
    /// | Rust reference, box | address and the value |
    /// | Rust enum | `Some(0n5)`, `Circle {radius=0.5}` |
    /// | string, container, smart pointer | `"text"`, `size=2 {0n1, 0n2}`, `size=1 {0n1: "one"}`, ``0x... 0n6 (shared=2, weak=0)`` |
    /// | what cannot be had | `<optimized out>`, `<memory at ... is not readable>` |
    ///
    /// Reads what it shows and nothing else; what cannot be read is said in its place.
    pub fn text(&self, options: &TextOptions<'_>, memory: &mut dyn MemoryReader) -> String {
        let mut writer = Writer { options, memory, text: String::new() };
        writer.value(self, options.depth_limit);
        writer.text
    }
}

/// The notation of addresses: ``0x00007fff`ffffde08``.
pub(super) fn address(at: Va) -> String {
    format!("0x{at}")
}

/// Why there is no value, as it stands in the value's place.
pub(super) fn unavailable(reason: &Unavailable) -> String {
    if reason.is_optimized_out() { "<optimized out>".to_owned() } else { format!("<{reason}>") }
}

pub(super) struct Writer<'a, 'b> {
    pub(super) options: &'a TextOptions<'b>,
    pub(super) memory: &'a mut dyn MemoryReader,
    text: String,
}

impl Writer<'_, '_> {
    pub(super) fn push(&mut self, text: &str) {
        if self.text.len() < LENGTH_LIMIT {
            self.text.push_str(text);
        }
    }

    pub(super) fn value(&mut self, value: &Value, depth: usize) {
        if self.text.len() >= LENGTH_LIMIT {
            return;
        }
        if value.is_implicit_pointer() {
            return self.implicit_pointer(value, depth);
        }
        if let Some(reason) = value.missing() {
            return self.push(&unavailable(reason));
        }
        if !self.options.raw {
            if let Some(text) = (self.options.view)(value, self.memory) {
                return self.push(&text);
            }
            let limits = ViewLimits { start: 0, count: self.options.element_limit, text: self.options.string_limit };
            // Deep inside, containers are not opened: neither is what they would need read.
            if depth == 0 && value.value_type().view_kind() == Some(ViewKind::Container) {
                return self.push("{...}");
            }
            if let Some(object) = trait_object(value, self.memory)
                && self.trait_object(&object, depth)
            {
                return;
            }
            if let Some(object) = erased(value, self.memory)
                && self.erased(&object, depth)
            {
                return;
            }
            if let Some(Ok(view)) = value.view(&limits, self.memory) {
                return self.view(&view, depth);
            }
        }
        let resolved = value.value_type().resolved();
        match resolved.kind() {
            TypeKind::Record(record) if record.variants.is_some() => self.variant(value, depth),
            TypeKind::Record(_) => self.record(value, depth),
            TypeKind::Array { .. } => self.array(value, depth),
            TypeKind::Pointer { flavour, .. } => self.pointer(value, *flavour, depth),
            TypeKind::Enumeration { .. } => self.enumeration(value),
            TypeKind::Function { .. } => match value.address() {
                Some(at) => self.symbol(at),
                None => self.push("<function>"),
            },
            TypeKind::Void => self.push("<void>"),
            TypeKind::Damaged { problem } => self.push(&format!("<{problem}>")),
            TypeKind::MemberPointer { .. } if resolved.size() == Some(16) => self.member_function(value),
            _ => self.scalar(value, &resolved),
        }
    }

    fn scalar(&mut self, value: &Value, resolved: &Type) {
        // Rust's `()` and empty types have no bytes to show.
        if resolved.size() == Some(0) {
            return self.push(resolved.data().name.as_deref().unwrap_or("{}"));
        }
        match value.scalar(self.memory) {
            Ok(scalar) => self.push(&scalar_text(scalar, resolved, self.options.numbers_of(resolved))),
            Err(reason) => self.push(&unavailable(&reason)),
        }
    }

    fn enumeration(&mut self, value: &Value) {
        let (scalar, names) = match (value.scalar(self.memory), value.enumerators(self.memory)) {
            (Ok(scalar), Ok(names)) => (scalar, names),
            (Err(reason), _) | (_, Err(reason)) => return self.push(&unavailable(&reason)),
        };
        let number = match scalar {
            Scalar::Signed(_) | Scalar::Unsigned(_) => scalar,
            other => Scalar::Unsigned(other.as_i128() as u128),
        };
        let number = scalar_text(number, &value.value_type().resolved(), self.options.numbers);
        match names.as_slice() {
            [] => self.push(&number),
            names if self.options.names_only => {
                let names: Vec<&str> = names.iter().map(|entry| entry.name.as_str()).collect();
                self.push(&names.join(" | "));
            }
            names => {
                let names: Vec<&str> = names.iter().map(|entry| entry.name.as_str()).collect();
                self.push(&format!("{} ({number})", names.join(" | ")));
            }
        }
    }

    fn pointer(&mut self, value: &Value, flavour: PointerFlavour, depth: usize) {
        let at = match value.scalar(self.memory) {
            Ok(scalar) => Va(scalar.as_u64()),
            Err(reason) => return self.push(&unavailable(&reason)),
        };
        let Some(target) = value.value_type().target() else { return self.push(&address(at)) };
        if flavour != PointerFlavour::Pointer {
            self.push(&format!("@{}: ", address(at)));
            return match depth.checked_sub(1) {
                Some(depth) => self.value(&Value::in_memory(target, at), depth),
                None => self.push("..."),
            };
        }
        self.push(&address(at));
        if at == Va(0) {
            return;
        }
        if let Some(unit) = target.letter_size() {
            self.push(" ");
            return self.c_string(at, unit);
        }
        if let Some(name) = (self.options.symbol)(at) {
            self.push(&format!(" {name}"));
        } else if owns_or_borrows(value.value_type())
            && let Some(depth) = depth.checked_sub(1)
        {
            self.push(" ");
            self.value(&Value::in_memory(target, at), depth);
        }
    }

    fn c_string(&mut self, at: Va, unit: u8) {
        let limit = usize::try_from(self.options.string_limit).unwrap_or(usize::MAX).min(LENGTH_LIMIT);
        match self.memory.read_text(at, usize::from(unit), limit.saturating_add(1)) {
            None => self.push(&unavailable(&Unavailable::Memory { at })),
            Some(bytes) => {
                let shown = bytes.get(..limit * usize::from(unit)).unwrap_or(&bytes);
                let length = bytes.len() as u64 / u64::from(unit);
                self.push(&quoted(&TextView { at: None, bytes: shown.to_vec(), unit, length }));
            }
        }
    }

    fn implicit_pointer(&mut self, value: &Value, depth: usize) {
        self.push("<optimized out>");
        if let (Ok(target), Some(depth)) = (value.deref(self.memory), depth.checked_sub(1)) {
            self.push(" -> ");
            self.value(&target, depth);
        }
    }

    /// Itanium C++ ABI, 2.3: address (or vtable offset + 1) and adjustment.
    fn member_function(&mut self, value: &Value) {
        let word = |bytes: &[u8]| bytes.first_chunk().copied().map_or(0, u64::from_le_bytes);
        match value.bytes(self.memory) {
            Err(reason) => self.push(&unavailable(&reason)),
            Ok(bytes) => match word(&bytes) {
                0 => self.push("nullptr"),
                slot if slot & 1 == 1 => self.push(&format!("virtual +{:#x}", slot - 1)),
                at => self.symbol(Va(at)),
            },
        }
    }

    pub(super) fn symbol(&mut self, at: Va) {
        self.push(&address(at));
        if let Some(name) = (self.options.symbol)(at) {
            self.push(&format!(" {name}"));
        }
    }

    fn array(&mut self, value: &Value, depth: usize) {
        let Some((element, count)) = value.value_type().element() else { return self.push("{...}") };
        if let Some(unit) = element.letter_size() {
            return self.characters(value, count, unit);
        }
        let Some(depth) = depth.checked_sub(1) else { return self.push("{...}") };
        let Some(count) = count else { return self.push("{...}") };
        self.push("{");
        for index in 0..count.min(self.options.element_limit) {
            self.push(if index > 0 { ", " } else { "" });
            match value.index(index as i64, self.memory) {
                Ok(item) => self.value(&item, depth),
                Err(reason) => self.push(&unavailable(&reason)),
            }
        }
        self.push(if count > self.options.element_limit { ", ...}" } else { "}" });
    }

    /// An array of characters: text up to its NUL, or all of it.
    fn characters(&mut self, value: &Value, count: Option<u64>, unit: u8) {
        let Some(count) = count else {
            return match value.address() {
                Some(at) => self.c_string(at, unit),
                None => self.push("{...}"),
            };
        };
        let resolved = value.value_type().resolved();
        let shown = count.min(self.options.string_limit);
        let Some((element, _)) = resolved.element() else { return };
        let part = resolved.table().array_of(element.id(), &[crate::ArrayBound::Count(shown)]);
        match value.cast(part).bytes(self.memory) {
            Err(reason) => self.push(&unavailable(&reason)),
            Ok(mut bytes) => {
                let text = end_of_text(&bytes, unit);
                // Bytes after the NUL that are not zero are told by `...`.
                let rest_is_zero = text.is_some_and(|end| bytes.iter().skip(end).all(|byte| *byte == 0));
                bytes.truncate(text.unwrap_or(bytes.len()));
                let whole = rest_is_zero || text.is_none() && shown == count;
                let length = bytes.len() as u64 / u64::from(unit) + u64::from(!whole);
                self.push(&quoted(&TextView { at: None, bytes, unit, length }));
            }
        }
    }

    fn record(&mut self, value: &Value, depth: usize) {
        let resolved = value.value_type().resolved();
        let Some(record) = resolved.record() else { return };
        if record.declaration {
            return self.push("<incomplete type>");
        }
        let Some(depth) = depth.checked_sub(1) else { return self.push("{...}") };
        let positional = !record.members.is_empty()
            && resolved.language() == Language::Rust
            && record.members.iter().all(|member| is_positional(member.name.as_deref()));
        let (open, close) = if positional { ("(", ")") } else { ("{", "}") };
        self.push(open);
        let limit = usize::try_from(self.options.element_limit).unwrap_or(usize::MAX).saturating_mul(2);
        let mut first = true;
        let mut separate = |writer: &mut Self| {
            writer.push(if first { "" } else { ", " });
            first = false;
        };
        for (number, base) in record.bases.iter().enumerate().take(limit) {
            let base_type = resolved.sibling(base.base_type);
            if is_empty(&base_type) {
                continue;
            }
            separate(self);
            self.push(&format!("{}=", base_type.qualified_name()));
            match value.base(number, self.memory) {
                Ok(base) => self.value(&base, depth),
                Err(reason) => self.push(&unavailable(&reason)),
            }
        }
        for field in resolved.fields().iter().take(limit) {
            separate(self);
            if !positional && !field.name.is_empty() {
                self.push(&format!("{}=", field.name));
            }
            self.value(&value.field(field), depth);
        }
        if record.members.len() > limit {
            self.push(", ...");
        }
        self.push(close);
    }

    fn variant(&mut self, value: &Value, depth: usize) {
        let (name, payload) = match value.variant(self.memory) {
            Ok(found) => found,
            Err(reason) => return self.push(&unavailable(&reason)),
        };
        self.push(&name);
        let resolved = payload.value_type().resolved();
        let members = resolved.record().map_or(&[][..], |record| &record.members);
        if members.is_empty() {
            return;
        }
        if members.iter().any(|member| !is_positional(member.name.as_deref())) {
            self.push(" ");
        }
        // The variant's own braces are part of it, not a level.
        self.record(&payload, depth.max(1));
    }
}

/// Whether a pointer is one that Rust programs do not think of as an address: `&T`, `&mut T`, `Box<T>`.
fn owns_or_borrows(pointer: &Type) -> bool {
    let resolved = pointer.resolved();
    let name = resolved.data().name.as_deref().unwrap_or_default();
    resolved.language() == Language::Rust && (name.starts_with('&') || name.contains("boxed::Box<"))
}

/// A base class without data; showing it would only be noise.
fn is_empty(of: &Type) -> bool {
    of.resolved().record().is_some_and(|record| {
        record.members.is_empty() && record.bases.is_empty() && record.variants.is_none() && !record.declaration
    })
}

/// rustc calls the fields of tuples `__0`, `__1`, ...
fn is_positional(name: Option<&str>) -> bool {
    let digits = name.and_then(|name| name.strip_prefix("__"));
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
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
        Some(letter @ ('\t' | '\n' | '\r' | '\'' | '\\' | ' '..='~')) => format!(" '{}'", letter.escape_debug()),
        Some(letter) if u32::from(letter) > 0xff => format!(" '{letter}'"),
        _ => String::new(),
    }
}

/// Where the NUL of a text is, in bytes.
pub(super) fn end_of_text(bytes: &[u8], unit: u8) -> Option<usize> {
    let unit = usize::from(unit.max(1));
    bytes.chunks_exact(unit).position(|unit| unit.iter().all(|byte| *byte == 0)).map(|units| units * unit)
}

/// The same of a code of Unicode, whose characters above ASCII are known.
fn wide_character(code: i64) -> String {
    let letter = u8::try_from(code).ok().map(char::from).filter(|letter| !letter.is_ascii() && !letter.is_control());
    letter.map_or_else(|| character(code), |letter| format!(" '{letter}'"))
}

impl TextView {
    /// The text in UTF-8, whatever its encoding; bytes of an encoding that is not known are as they are. Halves of UTF-16
    /// that stand alone are encoded as if they were characters, so that what differs stays different.
    pub fn utf8(&self) -> Vec<u8> {
        match self.unit {
            2 => {
                let units = self.bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
                let codes = char::decode_utf16(units).map(|decoded| match decoded {
                    Ok(letter) => u32::from(letter),
                    Err(alone) => u32::from(alone.unpaired_surrogate()),
                });
                utf8_of(codes)
            }
            4 => {
                let units = self.bytes.chunks_exact(4);
                utf8_of(units.map(|unit| u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]])))
            }
            _ => self.bytes.clone(),
        }
    }

    /// The text in quotes, escaped; `...` after it if there is more.
    pub fn quoted(&self) -> String {
        quoted(self)
    }
}

fn utf8_of(codes: impl Iterator<Item = u32>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for code in codes {
        match char::from_u32(code) {
            Some(letter) => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            None if code < 0x1_0000 => {
                bytes.extend([0xe0 | (code >> 12) as u8, 0x80 | (code >> 6 & 0x3f) as u8, 0x80 | (code & 0x3f) as u8]);
            }
            None => bytes.extend("\u{fffd}".bytes()),
        }
    }
    bytes
}

pub(super) fn quoted(text: &TextView) -> String {
    let units = text.bytes.len() as u64 / u64::from(text.unit.max(1));
    let decoded = match text.unit {
        2 => {
            let units: Vec<u16> =
                text.bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
            String::from_utf16_lossy(&units)
        }
        4 => {
            let codes = text.bytes.chunks_exact(4).map(|unit| u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]]));
            codes.map(|code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        _ => String::from_utf8_lossy(&text.bytes).into_owned(),
    };
    let mut escaped = String::with_capacity(decoded.len() + 2);
    escaped.push('"');
    for letter in decoded.chars() {
        match letter {
            '\0' => escaped.push_str("\\0"),
            '"' | '\\' | '\t' | '\n' | '\r' => escaped.extend(letter.escape_debug()),
            letter if letter.is_control() => escaped.push_str(&format!("\\x{:02x}", u32::from(letter))),
            letter => escaped.push(letter),
        }
    }
    escaped.push('"');
    if units < text.length {
        escaped.push_str("...");
    }
    escaped
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
    fn text_is_escaped_and_cut_visibly() {
        let text = |bytes: &[u8], unit, length| quoted(&TextView { at: None, bytes: bytes.to_vec(), unit, length });
        assert_eq!(text(b"a\"b\n\x01", 1, 5), r#""a\"b\n\x01""#);
        assert_eq!(text(b"ab", 1, 7), r#""ab"..."#);
        assert_eq!(text("€".as_bytes(), 1, 3), "\"€\"");
        assert_eq!(text(&[0xac, 0x20], 2, 1), "\"€\"");
        assert_eq!(text(&[0, 0xf6, 1, 0], 4, 1), "\"\u{1f600}\"");
        assert_eq!(text(&[0xff], 1, 1), "\"\u{fffd}\"");
    }

    #[test]
    fn texts_of_all_encodings_are_the_same_in_utf8() {
        let text = "a\u{e9}\u{20ac}\u{1f600}";
        let view = |bytes: Vec<u8>, unit| TextView { at: None, bytes, unit, length: 0 }.utf8();
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let utf32: Vec<u8> = text.chars().flat_map(|letter| u32::from(letter).to_le_bytes()).collect();
        assert_eq!(view(text.as_bytes().to_vec(), 1), text.as_bytes());
        assert_eq!(view(utf16, 2), text.as_bytes());
        assert_eq!(view(utf32, 4), text.as_bytes());
        assert_eq!(view(vec![0x00, 0xd8, 0x41, 0x00], 2), b"\xed\xa0\x80A", "half of a pair");
        assert_eq!(view(vec![0xff; 4], 4), "\u{fffd}".as_bytes());
    }

    #[test]
    fn characters_show_what_can_be_shown() {
        assert_eq!(character(97), " 'a'");
        assert_eq!(character(10), " '\\n'");
        assert_eq!(character(0x20ac), " '€'");
        assert_eq!(character(0x80), "");
        assert_eq!(character(-1), "");
        assert_eq!(wide_character(0xe9), " 'é'");
        assert_eq!(wide_character(0x85), "");
        assert_eq!(wide_character(0x27), " '\\''");
    }
}
