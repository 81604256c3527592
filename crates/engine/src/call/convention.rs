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
    /// What registers do not hold, the first at the lowest address.
    pub(super) stack: Vec<CallWord>,
    pub(super) data: Vec<u8>,
}

/// How a record of registers' size is passed and returned.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Small {
    /// In registers, an eightbyte in each.
    Registers(Vec<Class>),
    /// Passed on the stack and returned in memory.
    Memory,
    /// It is a `long double`: passed on the stack, returned in `st0`.
    LongDouble,
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

    /// A word in the next integer register, or on the stack where there is none left.
    pub(super) fn integer(&mut self, word: CallWord) -> Result<(), String> {
        if self.integers.len() == CallPlan::MAX_INTEGERS {
            return self.stacked(&[word], 8);
        }
        self.integers.push(word);
        Ok(())
    }

    /// A number in the next vector register, or on the stack where there is none left.
    pub(super) fn vector(&mut self, bits: u64) -> Result<(), String> {
        if self.vectors.len() == CallPlan::MAX_VECTORS {
            return self.stacked(&[CallWord::Value(bits)], 8);
        }
        self.vectors.push(bits);
        Ok(())
    }

    /// Words on the stack, the first at a multiple of `alignment`.
    fn stacked(&mut self, words: &[CallWord], alignment: u64) -> Result<(), String> {
        if alignment > TWO_WORDS {
            return Err(format!("an argument that has to be aligned to {alignment} bytes is not supported"));
        }
        if alignment > 8 && !self.stack.len().is_multiple_of(2) {
            self.stack.push(CallWord::Value(0));
        }
        if self.stack.len() + words.len() > CallPlan::MAX_STACK {
            return Err(format!("its arguments take more than {} words on the stack", CallPlan::MAX_STACK));
        }
        self.stack.extend_from_slice(words);
        Ok(())
    }

    /// The bytes of a value on the stack.
    pub(super) fn in_memory(&mut self, bytes: &[u8], alignment: u64) -> Result<(), String> {
        let words: Vec<CallWord> = bytes.chunks(8).map(|bytes| CallWord::Value(word_of(bytes))).collect();
        self.stacked(&words, alignment)
    }

    /// Eightbytes in registers, or all of them on the stack where there are not enough.
    fn eightbytes(&mut self, classes: &[Class], bytes: &[u8], alignment: u64) -> Result<(), String> {
        let wants = |class| classes.iter().filter(|known| **known == class).count();
        if self.integers.len() + wants(Class::Integer) > CallPlan::MAX_INTEGERS
            || self.vectors.len() + wants(Class::Sse) > CallPlan::MAX_VECTORS
        {
            return self.in_memory(bytes, alignment);
        }
        for (class, word) in classes.iter().zip(bytes.chunks(8)) {
            match class {
                Class::Integer => self.integer(CallWord::Value(word_of(word)))?,
                Class::Sse => self.vector(word_of(word))?,
            }
        }
        Ok(())
    }

    /// A number of 16 bytes.
    pub(super) fn wide_integer(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.eightbytes(&[Class::Integer; 2], bytes, TWO_WORDS)
    }

    /// A complex number: its halves as numbers of their own, or both in one word.
    pub(super) fn complex(&mut self, bytes: &[u8]) -> Result<(), String> {
        match bytes.len() {
            8 => self.eightbytes(&[Class::Sse], bytes, 8),
            16 => self.eightbytes(&[Class::Sse; 2], bytes, 8),
            _ => self.in_memory(bytes, TWO_WORDS),
        }
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
        let alignment = of.alignment().unwrap_or(8).max(8);
        if of.size().is_some_and(|size| size > TWO_WORDS) {
            return self.in_memory(bytes, alignment);
        }
        match small(of).ok_or_else(|| format!("debug info does not say how {of} is passed"))? {
            Small::Registers(classes) => self.eightbytes(&classes, bytes, alignment),
            Small::Memory | Small::LongDouble => self.in_memory(bytes, alignment),
        }
    }
}

fn word_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|at| bytes.get(at).copied().unwrap_or(0)))
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
                Some(false) => match small(&resolved) {
                    Some(Small::Registers(_) | Small::LongDouble) => Ok(Returning::Registers),
                    Some(Small::Memory) => Ok(Returning::Memory(size)),
                    None => Err(format!("debug info does not say how {of} is returned")),
                },
                Some(true) => Ok(Returning::Memory(size)),
                _ => Err(format!("debug info does not say how {of} is returned")),
            }
        }
        (TypeKind::Array { .. }, _) => Err(format!("it returns {of}")),
        // A complex number of two long doubles is in st0 and st1.
        (_, Some(BaseEncoding::ComplexFloat)) => Ok(Returning::Registers),
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
            match small(&resolved)? {
                Small::Registers(classes) => gathered(&classes, &word, vector, size)?,
                Small::LongDouble => long_double("st0", vector)?,
                Small::Memory => return Some(Value::in_memory(returned, Va(word("rax")?))),
            }
        }
        (_, Some(BaseEncoding::Float)) => match size {
            0..=8 => vector("xmm0", size)?,
            _ => long_double("st0", vector)?,
        },
        (_, Some(BaseEncoding::ComplexFloat)) => match size {
            8 => vector("xmm0", 8)?,
            16 => [vector("xmm0", 8)?, vector("xmm1", 8)?].concat(),
            32 => [long_double("st0", vector)?, long_double("st1", vector)?].concat(),
            _ => return None,
        },
        _ if size <= TWO_WORDS => integers()?,
        _ => return None,
    };
    Some(Value::from_bytes(returned, bytes))
}

/// A number on the x87 stack, in 16 bytes as memory has it.
fn long_double(register: &str, vector: &mut dyn FnMut(&str, u64) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    Some(vector(register, 10)?.into_iter().chain([0; 6]).collect())
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

/// How a record of at most two eightbytes is passed; `None` if it is larger, has nothing in it, or that cannot be told.
fn small(record: &Type) -> Option<Small> {
    let size = record.size().filter(|size| (1..=TWO_WORDS).contains(size))?;
    let mut classes: Vec<Option<Class>> = vec![None; size.div_ceil(8) as usize];
    let mut left = 64;
    if let Some(special) = add_classes(record, 0, &mut classes, &mut left)? {
        return Some(special);
    }
    if classes.iter().all(Option::is_none) {
        return None;
    }
    // Padding alone counts as SSE (NO_CLASS is passed so), but no eightbyte of a real struct is only that.
    Some(Small::Registers(classes.into_iter().map(|class| class.unwrap_or(Class::Sse)).collect()))
}

/// Adds the parts of a type; what makes the whole go elsewhere, if one does. `None`: it cannot be told.
#[expect(clippy::option_option, reason = "whether it can be told, and whether it is special")]
fn add_classes(of: &Type, offset: u64, classes: &mut [Option<Class>], left: &mut u32) -> Option<Option<Small>> {
    *left = left.checked_sub(1)?;
    let of = of.resolved();
    match of.kind() {
        TypeKind::Record(record) => {
            let mut parts = Vec::new();
            for base in &record.bases {
                let outpost_symbols::BaseOffset::Fixed(at) = base.offset else { return None };
                parts.push((base.base_type, at));
            }
            parts.extend(record.members.iter().map(|member| (member.member_type, member.offset)));
            for (part, at) in parts {
                let special = add_classes(&of.sibling(part), offset.checked_add(at)?, classes, left)?;
                if special.is_some() {
                    return Some(special);
                }
            }
            Some(None)
        }
        TypeKind::Array { .. } => {
            let (element, count) = of.element()?;
            let size = element.size()?;
            for index in 0..count? {
                let special = add_classes(&element, offset + index * size, classes, left)?;
                if special.is_some() {
                    return Some(special);
                }
            }
            Some(None)
        }
        _ => {
            let size = of.size().filter(|size| (1..=TWO_WORDS).contains(size))?;
            let is_float = matches!(of.encoding(), Some(BaseEncoding::Float | BaseEncoding::ComplexFloat));
            let part = if of.encoding() == Some(BaseEncoding::ComplexFloat) { size / 2 } else { size };
            // Packed fields that lie across words go to memory.
            if part == 0 || !offset.is_multiple_of(part) {
                return Some(Some(Small::Memory));
            }
            if is_float && part == TWO_WORDS {
                return Some(Some(Small::LongDouble));
            }
            let class = if is_float { Class::Sse } else { Class::Integer };
            let first = usize::try_from(offset / 8).ok()?;
            for slot in classes.get_mut(first..first + size.div_ceil(8) as usize)? {
                *slot = Some(if *slot == Some(Class::Integer) { Class::Integer } else { class });
            }
            Some(None)
        }
    }
}
