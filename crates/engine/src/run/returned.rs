//! What a function has returned, by its type and the calling convention.
//!
//! Source: SysV x86-64 psABI 1.0, 3.2.3 (classification, returning of values). Rust's own convention is not specified;
//! compilers so far return what fits two registers in `rax` and `rdx`, and the rest in memory at `rax`.

use std::rc::Rc;

use outpost_base::{RegisterContext, Va};
use outpost_symbols::{BaseEncoding, Language, Type, TypeKind, Value};
use outpost_target::RegisterSets;

use super::ReturnedValue;
use crate::modules::Module;
use crate::symbols::ModuleSymbols;
use crate::{Engine, ThreadOrdinal};

/// Largest value that registers return, in bytes.
const TWO_WORDS: u64 = 16;

impl Engine {
    /// What the function around `inside` has just returned to its caller in `thread`.
    pub(super) fn returned_value(&mut self, thread: ThreadOrdinal, inside: Va) -> Option<ReturnedValue> {
        let process = self.process_of(thread).ok()?.ordinal;
        let registers = self.registers(thread, RegisterSets::default()).ok()?;
        let register = registers.get_u64(self.arch().return_value())?;
        let symbol = self.symbol_at(inside);
        let function = symbol.map(|symbol| symbol.name).unwrap_or_default();
        let found = self.module_symbols(process, inside).ok().flatten();
        let returned = found.and_then(|(module, symbols)| return_type(&module, &symbols, inside));
        let Some(returned) = returned else {
            return Some(ReturnedValue { function, type_name: String::new(), register, value: None });
        };
        let type_name = returned.to_string();
        let value = self.value_of_registers(thread, &registers, returned);
        Some(ReturnedValue { function, type_name, register, value })
    }

    fn value_of_registers(
        &mut self,
        thread: ThreadOrdinal,
        registers: &RegisterContext,
        returned: Type,
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
        if is_aggregate && size > TWO_WORDS {
            return Some(Value::in_memory(returned, Va(word("rax")?)));
        }
        let bytes = match (resolved.kind(), resolved.encoding()) {
            (TypeKind::Void | TypeKind::Function { .. }, _) => return None,
            // A class with a destructor or copy constructor is returned in memory, and debug info does not say so here.
            (TypeKind::Record(_), _) if resolved.language() == Language::Cpp => return None,
            (TypeKind::Record(_), _) if resolved.language() == Language::Rust => integers()?,
            (TypeKind::Record(_), _) => {
                let classes = classify(&resolved)?;
                self.gathered(thread, registers, &classes, size)?
            }
            (_, Some(BaseEncoding::Float)) => match size {
                0..=8 => self.vector(thread, "xmm0", size)?,
                _ => self.vector(thread, "st0", 10)?.into_iter().chain([0; 6]).take(size as usize).collect(),
            },
            (_, Some(BaseEncoding::ComplexFloat)) => return None,
            _ if size <= TWO_WORDS => integers()?,
            _ => return None,
        };
        Some(Value::from_bytes(returned, bytes))
    }

    /// The eightbytes of a small struct, each from the next register of its class.
    fn gathered(
        &mut self,
        thread: ThreadOrdinal,
        registers: &RegisterContext,
        classes: &[Class],
        size: u64,
    ) -> Option<Vec<u8>> {
        let (mut integers, mut vectors) = (["rax", "rdx"].iter(), ["xmm0", "xmm1"].iter());
        let mut bytes = Vec::new();
        for class in classes {
            match class {
                Class::Integer => {
                    let id = registers.arch.register_by_name(integers.next()?)?;
                    bytes.extend(registers.get_u64(id)?.to_le_bytes());
                }
                Class::Sse => bytes.extend(self.vector(thread, vectors.next()?, 8)?),
            }
        }
        bytes.truncate(size as usize);
        Some(bytes)
    }

    fn vector(&mut self, thread: ThreadOrdinal, name: &str, len: u64) -> Option<Vec<u8>> {
        let registers = self.registers(thread, RegisterSets { floating: true, debug: false }).ok()?;
        let value = registers.get(registers.arch.register_by_name(name)?)?;
        Some(value.bytes().get(..len as usize)?.to_vec())
    }
}

/// Class of an eightbyte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Integer,
    Sse,
}

fn return_type(module: &Rc<Module>, symbols: &ModuleSymbols, inside: Va) -> Option<Type> {
    let function = symbols.module()?.function_at(inside.to_image(module.info.bias))?;
    let function = symbols.variables()?.function_type(function.die)?;
    match function.kind() {
        TypeKind::Function { returns, .. } => Some(function.sibling(*returns)),
        _ => None,
    }
}

/// Classes of the eightbytes of a struct of at most two; `None` if it has parts that go to memory or the x87 stack.
fn classify(record: &Type) -> Option<Vec<Class>> {
    let size = record.size()?;
    let mut classes: Vec<Option<Class>> = vec![None; size.div_ceil(8) as usize];
    let mut left = 64;
    add_classes(record, 0, &mut classes, &mut left)?;
    // Padding alone counts as SSE (NO_CLASS is passed so), but no eightbyte of a real struct is only that.
    Some(classes.into_iter().map(|class| class.unwrap_or(Class::Sse)).collect())
}

fn add_classes(of: &Type, offset: u64, classes: &mut [Option<Class>], left: &mut u32) -> Option<()> {
    *left = left.checked_sub(1)?;
    let of = of.resolved();
    match of.kind() {
        TypeKind::Record(record) => {
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
