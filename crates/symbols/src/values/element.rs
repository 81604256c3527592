//! One element of a container, by index or key: `v[2]`, `m["name"]`.

use outpost_base::{MemoryReader, Va};

use super::quoted::end_of_text;
use super::{TextView, Unavailable, Value, View, ViewKind, ViewLimits};
use crate::types::{ArrayBound, Language, Type, TypeId, TypeTable};

/// Entries of a map that are looked through for a key.
const ENTRY_LIMIT: u64 = 1 << 16;
/// Longest key that is compared, in bytes.
const KEY_LIMIT: usize = 4096;
/// References and owners that are gone through to a container.
const DEPTH_LIMIT: usize = 8;

/// What stands in brackets behind a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ElementKey {
    /// An index, or a key that is an integer, a character, a truth value or an enumerator.
    Number(i128),
    /// A key that is text, in UTF-8.
    Text(Vec<u8>),
}

/// Why a container has no such element.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoElement {
    /// It is shorter.
    #[error("index {index} is out of range, the length is {length}")]
    OutOfRange {
        /// As asked for.
        index: i128,
        /// How many elements there are.
        length: u64,
    },
    /// No entry of a map has the key.
    #[error("none of {length} entries has this key")]
    NoEntry {
        /// How many there are.
        length: u64,
    },
    /// Not all entries of a map were looked at, and none of these has the key.
    #[error("none of the first {looked_at} of {length} entries has this key; more are not looked through")]
    TooMany {
        /// How many were.
        looked_at: u64,
        /// How many there are.
        length: u64,
    },
    /// The key is not of the kind that the container's keys are.
    #[error("{expected}")]
    WrongKey {
        /// What is expected instead, as a sentence without its end.
        expected: &'static str,
    },
    /// The container or a key could not be read.
    #[error(transparent)]
    Unreadable(#[from] Unavailable),
}

impl Value {
    /// The element of a container with a [`View`], or of an array of Rust, that a key means: by its position in sequences
    /// and texts, by its key in maps. Where Rust would, references, boxes and counted pointers are gone through first.
    /// `None` for all else, arrays and pointers of C and C++ above all ([`Value::index`] is for them).
    ///
    /// # Errors
    /// Inside: why there is no such element.
    pub fn element_at(&self, key: &ElementKey, memory: &mut dyn MemoryReader) -> Option<Result<Value, NoElement>> {
        self.element_within(key, DEPTH_LIMIT, memory)
    }

    fn element_within(
        &self,
        key: &ElementKey,
        depth: usize,
        memory: &mut dyn MemoryReader,
    ) -> Option<Result<Value, NoElement>> {
        let depth = depth.checked_sub(1)?;
        let resolved = self.value_type().resolved();
        let is_rust = resolved.language() == Language::Rust;
        if is_rust && let Some((_, Some(length))) = resolved.element() {
            return Some(position(key, length).and_then(|index| Ok(self.index(index as i64, memory)?)));
        }
        let kind = resolved.view_kind();
        if is_rust && resolved.is_pointer() {
            // Only what could have elements: a raw pointer to numbers is counted on from.
            let target = resolved.target()?.resolved();
            if target.view_kind().is_none() && target.element().is_none() && !target.is_pointer() {
                return None;
            }
            return match self.deref(memory) {
                Ok(target) => target.element_within(key, depth, memory),
                Err(reason) => Some(Err(reason.into())),
            };
        }
        match kind? {
            ViewKind::Text => Some(self.unit(key, memory)),
            ViewKind::Container => Some(self.entry(key, memory)),
            ViewKind::Single if is_rust => match self.view(&ViewLimits::default(), memory)? {
                Ok(View::Pointer { target: Some(inner), .. } | View::Wrapped(inner) | View::Noted { inner, .. }) => {
                    inner.element_within(key, depth, memory)
                }
                Ok(_) => None,
                Err(reason) => Some(Err(reason.into())),
            },
            ViewKind::Single => None,
        }
    }

    /// A unit of a text: a `char`, or a byte of Rust's.
    fn unit(&self, key: &ElementKey, memory: &mut dyn MemoryReader) -> Result<Value, NoElement> {
        let limits = ViewLimits { text: 0, ..ViewLimits::default() };
        let Some(View::Text(text)) = self.view(&limits, memory).transpose()? else {
            return Err(Unavailable::WrongType.into());
        };
        let index = position(key, text.length)?;
        let unit_type = self.value_type().resolved().template_argument("_CharT", 0);
        let unit_type = unit_type.unwrap_or_else(|| byte(&self.value_type().resolved()));
        let at = text.at.ok_or(Unavailable::WrongType)?;
        Ok(Value::in_memory(unit_type, at + index * u64::from(text.unit)))
    }

    fn entry(&self, key: &ElementKey, memory: &mut dyn MemoryReader) -> Result<Value, NoElement> {
        let start = match key {
            ElementKey::Number(number) => u64::try_from(*number).unwrap_or(u64::MAX),
            ElementKey::Text(_) => 0,
        };
        let one = ViewLimits { start, count: 1, ..ViewLimits::default() };
        match self.view(&one, memory).transpose()? {
            Some(View::Sequence { items, length }) => {
                position(key, length)?;
                // Of a list whose nodes end early less is there than it says.
                items.into_iter().next().ok_or_else(|| Unavailable::Nonsense { problem: "it ends early".into() }.into())
            }
            Some(View::Tuple(mut items)) => {
                let at = position(key, items.len() as u64)?;
                Ok(items.swap_remove(at as usize))
            }
            Some(View::Map { .. }) => {
                let all = ViewLimits { start: 0, count: ENTRY_LIMIT, ..ViewLimits::default() };
                match self.view(&all, memory).transpose()? {
                    Some(View::Map { entries, length }) => find_entry(entries, length, key, memory),
                    _ => Err(Unavailable::WrongType.into()),
                }
            }
            _ => Err(Unavailable::WrongType.into()),
        }
    }

    /// Whether a map's key is the one that is meant.
    fn is_key(&self, key: &ElementKey, memory: &mut dyn MemoryReader) -> Result<bool, NoElement> {
        match key {
            ElementKey::Number(number) => match self.scalar(memory) {
                Ok(scalar) => Ok(scalar.as_i128() == *number),
                Err(Unavailable::WrongType) => Err(NoElement::WrongKey { expected: "the keys are no numbers" }),
                Err(reason) => Err(reason.into()),
            },
            ElementKey::Text(text) => match self.text_bytes(text.len(), memory) {
                Some(found) => Ok(found? == *text),
                None => Err(NoElement::WrongKey { expected: "the keys are no texts" }),
            },
        }
    }

    /// The text that a value is, in UTF-8: a string of a library, what a pointer to characters leads to or an array of
    /// them has up to its NUL; at most 4096 units of it and not many more than `length`. `None` if it is no text.
    pub fn text_bytes(&self, length: usize, memory: &mut dyn MemoryReader) -> Option<Result<Vec<u8>, Unavailable>> {
        let resolved = self.value_type().resolved();
        let wanted = length.min(KEY_LIMIT) + 1;
        if resolved.view_kind() == Some(ViewKind::Text) {
            let limits = ViewLimits { text: wanted as u64, ..ViewLimits::default() };
            return match self.view(&limits, memory)? {
                Ok(View::Text(text)) => Some(Ok(text.utf8())),
                Ok(_) => None,
                Err(reason) => Some(Err(reason)),
            };
        }
        let utf8 = |bytes, unit| TextView { at: None, bytes, unit, length: 0 }.utf8();
        if let Some((element, count)) = resolved.element() {
            let unit = unit_of(&element)?;
            let Some(count) = count else {
                let at = self.address()?;
                let text = memory.read_text(at, usize::from(unit), wanted);
                return Some(text.map(|bytes| utf8(bytes, unit)).ok_or(Unavailable::Memory { at }));
            };
            let looked_at = resolved.table().array_of(element.id(), &[ArrayBound::Count(count.min(wanted as u64))]);
            return Some(self.cast(looked_at).bytes(memory).map(|mut bytes| {
                bytes.truncate(end_of_text(&bytes, unit).unwrap_or(bytes.len()));
                utf8(bytes, unit)
            }));
        }
        let unit = unit_of(&resolved.target()?)?;
        let at = match self.scalar(memory) {
            Ok(scalar) => Va(scalar.as_u64()),
            Err(reason) => return Some(Err(reason)),
        };
        let text = memory.read_text(at, usize::from(unit), wanted);
        Some(text.map(|bytes| utf8(bytes, unit)).ok_or(Unavailable::Memory { at }))
    }
}

/// Bytes of a unit of text; bytes of any type may be some.
fn unit_of(of: &Type) -> Option<u8> {
    let is_byte = of.resolved().size() == Some(1) && !of.resolved().is_aggregate();
    of.letter_size().or(is_byte.then_some(1))
}

/// The value of the entry with this key. All keys are read before one that cannot be is told of, so that a batch knows
/// them all after one round.
fn find_entry(
    entries: Vec<(Value, Value)>,
    length: u64,
    key: &ElementKey,
    memory: &mut dyn MemoryReader,
) -> Result<Value, NoElement> {
    let looked_at = entries.len() as u64;
    let mut problem = None;
    let mut found = None;
    for (of, value) in entries {
        match of.is_key(key, memory) {
            Ok(true) => found = found.or(Some(value)),
            Ok(false) => {}
            Err(wrong @ NoElement::WrongKey { .. }) => return Err(wrong),
            Err(reason) => problem = problem.or(Some(reason)),
        }
    }
    match (found, problem) {
        (Some(value), _) => Ok(value),
        (None, Some(problem)) => Err(problem),
        (None, None) if looked_at < length => Err(NoElement::TooMany { looked_at, length }),
        (None, None) => Err(NoElement::NoEntry { length }),
    }
}

/// The index that a key is, if there is an element of this index.
fn position(key: &ElementKey, length: u64) -> Result<u64, NoElement> {
    let ElementKey::Number(index) = *key else {
        return Err(NoElement::WrongKey { expected: "the index is no integer" });
    };
    u64::try_from(index).ok().filter(|at| *at < length).ok_or(NoElement::OutOfRange { index, length })
}

/// What texts of Rust consist of: the program's own type, which those that hide it know by its name alone.
fn byte(text: &Type) -> Type {
    let pointed_to = text.field("data_ptr").and_then(|field| field.field_type.target());
    let held = text.field("vec").and_then(|field| field.field_type.template_argument("T", 0));
    let found = pointed_to.or(held).filter(|of| of.size() == Some(1));
    let found = found.or_else(|| text.table().named("u8").into_iter().next());
    found.unwrap_or_else(|| TypeTable::builtin().get(TypeId::VOID))
}
