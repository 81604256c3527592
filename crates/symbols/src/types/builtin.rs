//! Types that exist without any debug info: what literals and registers have, and what casts may name.

use std::sync::{Arc, OnceLock};

use super::{BaseEncoding, Language, TypeData, TypeId, TypeKind, TypeSource, TypeTable};

use BaseEncoding::{Bool, Float, Signed, SignedChar, Unicode, Unsigned, UnsignedChar};

/// Spelling, encoding and size on LP64 systems (SysV x86-64 psABI, fig. 3.1). The first spelling of a pair of encoding
/// and size is the one that results of arithmetic carry.
const BASE_TYPES: &[(&str, BaseEncoding, u64)] = &[
    ("bool", Bool, 1),
    ("char", SignedChar, 1),
    ("signed char", SignedChar, 1),
    ("unsigned char", UnsignedChar, 1),
    ("short", Signed, 2),
    ("unsigned short", Unsigned, 2),
    ("int", Signed, 4),
    ("unsigned int", Unsigned, 4),
    ("long", Signed, 8),
    ("unsigned long", Unsigned, 8),
    ("long long", Signed, 8),
    ("unsigned long long", Unsigned, 8),
    ("__int128", Signed, 16),
    ("unsigned __int128", Unsigned, 16),
    ("float", Float, 4),
    ("double", Float, 8),
    ("long double", Float, 16),
    ("wchar_t", Signed, 4),
    ("char8_t", Unicode, 1),
    ("char16_t", Unicode, 2),
    ("char32_t", Unicode, 4),
    ("int8_t", SignedChar, 1),
    ("uint8_t", UnsignedChar, 1),
    ("int16_t", Signed, 2),
    ("uint16_t", Unsigned, 2),
    ("int32_t", Signed, 4),
    ("uint32_t", Unsigned, 4),
    ("int64_t", Signed, 8),
    ("uint64_t", Unsigned, 8),
    ("intptr_t", Signed, 8),
    ("uintptr_t", Unsigned, 8),
    ("ptrdiff_t", Signed, 8),
    ("ssize_t", Signed, 8),
    ("size_t", Unsigned, 8),
    ("i8", Signed, 1),
    ("u8", Unsigned, 1),
    ("i16", Signed, 2),
    ("u16", Unsigned, 2),
    ("i32", Signed, 4),
    ("u32", Unsigned, 4),
    ("i64", Signed, 8),
    ("u64", Unsigned, 8),
    ("i128", Signed, 16),
    ("u128", Unsigned, 16),
    ("isize", Signed, 8),
    ("usize", Unsigned, 8),
    ("f32", Float, 4),
    ("f64", Float, 8),
];

struct Builtin;

impl TypeSource for Builtin {
    fn load(&self, id: TypeId) -> TypeData {
        let row = usize::try_from(id.0).ok().and_then(|number| BASE_TYPES.get(number.checked_sub(1)?));
        match row {
            Some((name, encoding, size)) => TypeData {
                name: Some((*name).to_owned()),
                size: Some(*size),
                language: Language::Cpp,
                kind: TypeKind::Base(*encoding),
                ..TypeData::default()
            },
            None => TypeData::default(),
        }
    }

    fn named(&self, qualified: &str) -> Vec<TypeId> {
        if qualified == "void" {
            return vec![TypeId::VOID];
        }
        let found = BASE_TYPES.iter().position(|(name, ..)| *name == qualified);
        found.map(|row| TypeId(row as u64 + 1)).into_iter().collect()
    }
}

impl TypeTable {
    /// The table of types that need no debug info: `void`, the base types of C and C++ under their shortest full
    /// spelling (`unsigned long`), those of `<stdint.h>` and of Rust. One for the whole program.
    pub fn builtin() -> Arc<TypeTable> {
        static TABLE: OnceLock<Arc<TypeTable>> = OnceLock::new();
        TABLE.get_or_init(|| TypeTable::new(Box::new(Builtin))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builtin_types_are_found_by_name_and_make_pointers() {
        let table = TypeTable::builtin();
        let long = table.named("unsigned long").remove(0);
        assert_eq!((long.size(), long.encoding()), (Some(8), Some(Unsigned)));
        let pointer = table.pointer_to(long.id());
        assert_eq!((pointer.to_string().as_str(), pointer.size()), ("unsigned long *", Some(8)));
        assert_eq!(table.named("void").remove(0).size(), None);
        assert!(table.named("struct list").is_empty());
    }
}
