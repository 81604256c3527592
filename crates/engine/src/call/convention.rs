//! The calling convention of the processor: where arguments go and results come from.
//!
//! Source: SysV x86-64 psABI 1.0, 3.2.3 (classification, passing, returning of values); Itanium C++ ABI, 3.1.1 and 3.1.2
//! (classes that are passed and returned by reference). Rust's own convention is not specified; compilers so far return
//! what fits two registers in `rax` and `rdx`, and the rest in memory at `rax`.

use outpost_base::{RegisterContext, Va};
use outpost_symbols::{BaseEncoding, Language, Type, TypeKind, Value};
use outpost_target::{CallPlan, CallWord};

/// Largest value that registers hold, in bytes.
pub(super) const TWO_WORDS: u64 = 16;

/// Class of an eightbyte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Integer,
    Sse,
}

/// How a function gives its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Returning {
    /// Nothing, or in registers.
    Registers,
    /// In memory of so many bytes, whose address is the first argument.
    Memory(u64),
}

/// Arguments as they are laid out.
#[derive(Debug, Default)]
pub(super) struct Placed {
    pub(super) integers: Vec<CallWord>,
    pub(super) vectors: Vec<u64>,
    pub(super) data: Vec<u8>,
}

impl Placed {
    /// Bytes that are put on the stack; gives where.
    pub(super) fn data(&mut self, bytes: &[u8]) -> Result<CallWord, String> {
        let start = self.data.len().next_multiple_of(TWO_WORDS as usize);
        if start + bytes.len() > CallPlan::MAX_DATA {
            return Err(format!("its texts and records take more than {} bytes", CallPlan::MAX_DATA));
        }
        self.data.resize(start, 0);
        self.data.extend_from_slice(bytes);
        Ok(CallWord::Data(start as u32))
    }

    /// A word in the next integer register.
    pub(super) fn integer(&mut self, word: CallWord) -> Result<(), String> {
        if self.integers.len() == CallPlan::MAX_INTEGERS {
            return Err(on_the_stack());
        }
        self.integers.push(word);
        Ok(())
    }

    /// A number in the next vector register.
    pub(super) fn vector(&mut self, bits: u64) -> Result<(), String> {
        if self.vectors.len() == CallPlan::MAX_VECTORS {
            return Err(on_the_stack());
        }
        self.vectors.push(bits);
        Ok(())
    }

    /// A record by value.
    pub(super) fn record(&mut self, of: &Type, bytes: &[u8]) -> Result<(), String> {
        match by_reference(of) {
            Some(false) => {}
            Some(true) => {
                return Err(format!("{of} is passed as a copy that its copy constructor makes; pass its address"));
            }
            None => return Err(format!("debug info does not say how {of} is passed")),
        }
        let classes = small(of).ok_or_else(|| format!("{of} is passed on the stack, which is not supported"))?;
        let wants = |class| classes.iter().filter(|known| **known == class).count();
        if self.integers.len() + wants(Class::Integer) > CallPlan::MAX_INTEGERS
            || self.vectors.len() + wants(Class::Sse) > CallPlan::MAX_VECTORS
        {
            return Err(on_the_stack());
        }
        for (class, word) in classes.iter().zip(bytes.chunks(8)) {
            let word = u64::from_le_bytes(std::array::from_fn(|at| word.get(at).copied().unwrap_or(0)));
            match class {
                Class::Integer => self.integer(CallWord::Value(word))?,
                Class::Sse => self.vector(word)?,
            }
        }
        Ok(())
    }
}

fn on_the_stack() -> String {
    format!(
        "arguments beyond {} words and {} floating-point numbers are passed on the stack, which is not supported",
        CallPlan::MAX_INTEGERS,
        CallPlan::MAX_VECTORS
    )
}

/// How a value of a type is returned.
///
/// # Errors
/// Why that cannot be told, for the user.
pub(super) fn returning(of: &Type) -> Result<Returning, String> {
    let resolved = of.resolved();
    match (resolved.kind(), resolved.encoding()) {
        (TypeKind::Void, _) => Ok(Returning::Registers),
        (TypeKind::Record(_), _) => {
            let size = resolved.size().ok_or_else(|| format!("{of}, which it returns, has no size here"))?;
            match by_reference(&resolved) {
                Some(false) if size > TWO_WORDS => Ok(Returning::Memory(size)),
                Some(false) if small(&resolved).is_some() => Ok(Returning::Registers),
                Some(true) => Ok(Returning::Memory(size)),
                _ => Err(format!("debug info does not say how {of} is returned")),
            }
        }
        (TypeKind::Array { .. }, _) | (_, Some(BaseEncoding::ComplexFloat)) => Err(format!("it returns {of}")),
        _ => match resolved.size() {
            Some(..=TWO_WORDS) => Ok(Returning::Registers),
            _ => Err(format!("it returns {of}")),
        },
    }
}

/// Whether a record is passed and returned by the address of a copy, being not trivial to copy; `None` if that cannot be
/// told.
fn by_reference(of: &Type) -> Option<bool> {
    let mut left = 256;
    is_by_reference(&of.resolved(), &mut left)
}

fn is_by_reference(of: &Type, left: &mut u32) -> Option<bool> {
    *left = left.checked_sub(1)?;
    let record = of.record()?;
    match (of.language(), record.declaration) {
        (Language::C, _) => return Some(false),
        (Language::Rust, _) | (_, true) => return None,
        _ => {}
    }
    if record.by_reference? {
        return Some(true);
    }
    let bases = record.bases.iter().map(|base| base.base_type);
    for part in bases.chain(record.members.iter().map(|member| member.member_type)) {
        let mut part = of.sibling(part).resolved();
        while let Some((element, _)) = part.element() {
            part = element.resolved();
        }
        if matches!(part.kind(), TypeKind::Record(_)) && is_by_reference(&part, left)? {
            return Some(true);
        }
    }
    Some(false)
}

/// A value out of the registers in which a function returned it; `None` if it returns nothing, or cannot be told.
///
/// `vector` gives the first bytes of a vector or x87 register.
pub(crate) fn value_of_registers(
    registers: &RegisterContext,
    returned: Type,
    vector: &mut dyn FnMut(&str, u64) -> Option<Vec<u8>>,
) -> Option<Value> {
    let resolved = returned.resolved();
    let size = resolved.size()?;
    let word = |name: &str| registers.get_u64(registers.arch.register_by_name(name)?);
    let integers = || {
        let mut bytes = word("rax")?.to_le_bytes().to_vec();
        bytes.extend(word("rdx")?.to_le_bytes());
        bytes.truncate(size as usize);
        Some(bytes)
    };
    let is_aggregate = matches!(resolved.kind(), TypeKind::Record(_) | TypeKind::Array { .. });
    if is_aggregate && (size > TWO_WORDS || by_reference(&resolved) == Some(true)) {
        return Some(Value::in_memory(returned, Va(word("rax")?)));
    }
    let bytes = match (resolved.kind(), resolved.encoding()) {
        (TypeKind::Void | TypeKind::Function { .. }, _) => return None,
        (TypeKind::Record(_), _) if resolved.language() == Language::Rust => integers()?,
        (TypeKind::Record(_), _) => {
            by_reference(&resolved)?;
            gathered(&small(&resolved)?, &word, vector, size)?
        }
        (_, Some(BaseEncoding::Float)) => match size {
            0..=8 => vector("xmm0", size)?,
            _ => vector("st0", 10)?.into_iter().chain([0; 6]).take(size as usize).collect(),
        },
        (_, Some(BaseEncoding::ComplexFloat)) => return None,
        _ if size <= TWO_WORDS => integers()?,
        _ => return None,
    };
    Some(Value::from_bytes(returned, bytes))
}

/// The eightbytes of a small record, each from the next register of its class.
fn gathered(
    classes: &[Class],
    word: &dyn Fn(&str) -> Option<u64>,
    vector: &mut dyn FnMut(&str, u64) -> Option<Vec<u8>>,
    size: u64,
) -> Option<Vec<u8>> {
    let (mut integers, mut vectors) = (["rax", "rdx"].iter(), ["xmm0", "xmm1"].iter());
    let mut bytes = Vec::new();
    for class in classes {
        match class {
            Class::Integer => bytes.extend(word(integers.next()?)?.to_le_bytes()),
            Class::Sse => bytes.extend(vector(vectors.next()?, 8)?),
        }
    }
    bytes.truncate(size as usize);
    Some(bytes)
}

/// Classes of the eightbytes of a record of at most two; `None` if it is larger, or has parts that go to memory or the x87
/// stack, or nothing in it.
fn small(record: &Type) -> Option<Vec<Class>> {
    let size = record.size().filter(|size| (1..=TWO_WORDS).contains(size))?;
    let mut classes: Vec<Option<Class>> = vec![None; size.div_ceil(8) as usize];
    let mut left = 64;
    add_classes(record, 0, &mut classes, &mut left)?;
    if classes.iter().all(Option::is_none) {
        return None;
    }
    // Padding alone counts as SSE (NO_CLASS is passed so), but no eightbyte of a real struct is only that.
    Some(classes.into_iter().map(|class| class.unwrap_or(Class::Sse)).collect())
}

fn add_classes(of: &Type, offset: u64, classes: &mut [Option<Class>], left: &mut u32) -> Option<()> {
    *left = left.checked_sub(1)?;
    let of = of.resolved();
    match of.kind() {
        TypeKind::Record(record) => {
            for base in &record.bases {
                let outpost_symbols::BaseOffset::Fixed(at) = base.offset else { return None };
                add_classes(&of.sibling(base.base_type), offset.checked_add(at)?, classes, left)?;
            }
            for member in &record.members {
                add_classes(&of.sibling(member.member_type), offset.checked_add(member.offset)?, classes, left)?;
            }
            Some(())
        }
        TypeKind::Array { .. } => {
            let (element, count) = of.element()?;
            let size = element.size()?;
            (0..count?).try_for_each(|index| add_classes(&element, offset + index * size, classes, left))
        }
        _ => {
            let size = of.size().filter(|size| (1..=8).contains(size))?;
            // Packed fields that lie across words go to memory.
            let natural = offset.is_multiple_of(size);
            let slot = classes.get_mut(usize::try_from(offset / 8).ok()?).filter(|_| natural)?;
            let class = if of.encoding() == Some(BaseEncoding::Float) { Class::Sse } else { Class::Integer };
            *slot = Some(if *slot == Some(Class::Integer) { Class::Integer } else { class });
            Some(())
        }
    }
}
