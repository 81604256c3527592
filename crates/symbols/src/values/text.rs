//! One-line text of a value, as `dv`, `??` and `x` show it.

use outpost_base::{MemoryReader, Va};

use super::notation::scalar_text;
use super::quoted::{end_of_text, quoted};
use super::views::erased::erased;
use super::views::rust::trait_object;
use super::{NumberFormat, Scalar, TextView, Unavailable, Value, ViewKind, ViewLimits};
use crate::types::{Language, PointerFlavour, Type, TypeKind};

/// Length at which a text ends whatever is still to come.
const LENGTH_LIMIT: usize = 8 << 10;

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
