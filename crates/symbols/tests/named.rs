//! Functions and enumerators by name, with their types.

use std::sync::Arc;

use outpost_base::{ImageOffset, SliceMemory, Va};
use outpost_symbols::{
    CaseRule, DebugInfo, DwarfTypes, ElfFile, FileSource, Module, ModuleFiles, TypeTable, Value, Variables, Wildcard,
};
use outpost_testkit::{Build, Compiler};

const SOURCE: &str = r#"
enum plain { FIRST = 3, SECOND = -4 };
namespace ns { enum class color : unsigned char { red = 200 }; }
struct shop { long sell(int count, const char *what) const; };
long shop::sell(int count, const char *) const { return count; }
plain p; ns::color c;
static inline __attribute__((always_inline)) short twice(short x) { return x * 2; }
int main(int argc, char **) { shop s; return s.sell(twice(argc), "") + SECOND; }
"#;

#[test]
fn functions_and_enumerators_have_their_types() {
    let path = Build::source(Compiler::Gxx, "named", SOURCE).flags("-g -O0").path();
    let image = Arc::new(ElfFile::parse(FileSource::open(&path).unwrap()).unwrap());
    let module = Module::new(ModuleFiles { cache: None, ..ModuleFiles::new(image.clone()) });
    let info = Arc::new(DebugInfo::load(&image, None, &mut Vec::new()).unwrap().unwrap());
    let variables = Variables::new(info.clone(), TypeTable::new(Box::new(DwarfTypes::without_index(info))));

    let function = |name: &str| module.symbols_named(name, CaseRule::Exact).pop().unwrap().die.unwrap();
    let check = |name: &str, expected: &str| {
        assert_eq!(variables.function_type(function(name)).unwrap().to_string(), expected);
    };
    check("main", "int (int, char **)");
    check("sell", "long (const shop *, int, const char *)");
    assert_eq!(variables.function_value(function("main"), Va(0x1000)).unwrap().address(), Some(Va(0x1000)));

    let mut memory = SliceMemory { start: Va(0), bytes: &[] };
    let mut constant = |name: &str| {
        let die = module.enumerators_named(name, CaseRule::Exact).pop().unwrap();
        let value = variables.enumerator_value(die).unwrap();
        (value.value_type().to_string(), value.scalar(&mut memory).unwrap().as_i128())
    };
    assert_eq!(constant("SECOND"), ("plain".into(), -4));
    assert_eq!(constant("red"), ("ns::color".into(), 200));
}

/// Names for several flags at once do not keep the others from being told.
#[test]
fn flags_are_told_beside_names_for_several_of_them() {
    const FLAGS: &str = r#"
enum access { NONE = 0, READ = 1, WRITE = 2, EXEC = 4, ALL = 7 }; enum access a;
enum sizes { SMALL = 1, LARGE = 12 }; enum sizes s;
int main(void) { return a + s; }
"#;
    let path = Build::source(Compiler::Gcc, "flags", FLAGS).flags("-g -O0").path();
    let image = Arc::new(ElfFile::parse(FileSource::open(&path).unwrap()).unwrap());
    let module = Module::new(ModuleFiles { cache: None, ..ModuleFiles::new(image.clone()) });
    let info = Arc::new(DebugInfo::load(&image, None, &mut Vec::new()).unwrap().unwrap());
    let variables = Variables::new(info.clone(), TypeTable::new(Box::new(DwarfTypes::without_index(info))));
    let check = |of: &str, number: u32, expected: &[&str]| {
        let die = module.enumerators_named(of, CaseRule::Exact).pop().unwrap();
        let of = variables.enumerator_value(die).unwrap().value_type().clone();
        let mut memory = SliceMemory { start: Va(0x1000), bytes: &number.to_le_bytes() };
        let found = Value::in_memory(of, Va(0x1000)).enumerators(&mut memory).unwrap();
        assert_eq!(found.iter().map(|entry| &*entry.name).collect::<Vec<_>>(), expected, "{number}");
    };
    check("READ", 3, &["READ", "WRITE"]);
    check("READ", 7, &["ALL"]);
    check("READ", 0, &["NONE"]);
    check("READ", 9, &[]);
    // Its bits are no flags of their own, so 5 is no sum of names.
    check("SMALL", 5, &[]);
}

/// glibc's debug info knows `__libc_malloc` only; `malloc`, which everybody asks for, is in the symbol table.
#[test]
fn names_that_only_the_symbol_table_knows_are_found_where_debug_info_has_another() {
    const ALIASED: &str = r#"
int __inner(int x) { return x + 1; }
extern __typeof(__inner) known_as __attribute__((alias("__inner"), weak));
int main(void) { return known_as(1); }
"#;
    let path = Build::source(Compiler::Gcc, "aliased", ALIASED).flags("-g -O1").path();
    let image = Arc::new(ElfFile::parse(FileSource::open(&path).unwrap()).unwrap());
    let module = Module::new(ModuleFiles { cache: None, ..ModuleFiles::new(image) });
    let names = |pattern: &str| {
        let found = module.symbols_matching(&Wildcard::new(pattern));
        found.into_iter().map(|symbol| symbol.name).collect::<Vec<_>>()
    };
    assert_eq!(names("known_*"), ["known_as"]);
    assert_eq!(names("__inn*"), ["__inner"]);
    assert_eq!(module.symbols_named("known_as", CaseRule::Exact).len(), 1);
    let alias = &module.code_locations("known_as", CaseRule::Exact)[0];
    let function = &module.code_locations("__inner", CaseRule::Exact)[0];
    assert_eq!((alias.entry, alias.body, alias.die), (function.entry, function.body, function.die));
    assert!(alias.die.is_some(), "a breakpoint on it is no breakpoint on a stub");
}

/// A function whose symbol was stripped must not be shown under the name of the one before it.
#[test]
fn code_behind_the_end_of_a_sized_symbol_has_no_name() {
    const SOURCE: &str = "static __attribute__((noinline)) int hidden(int x) { return x * 3; }\n\
                          __attribute__((noinline)) int shown(int x) { return x + 1; }\n\
                          int main(int n, char **v) { return shown(n) + hidden(n); }\n";
    let build = Build::source(Compiler::Gcc, "stripped_of_locals", SOURCE).flags("-O1 -fno-toplevel-reorder -Wl,-x");
    let image = Arc::new(ElfFile::parse(FileSource::open(build.path()).unwrap()).unwrap());
    let module = Module::new(ModuleFiles { cache: None, ..ModuleFiles::new(image) });
    let shown = module.symbols_named("shown", CaseRule::Exact).pop().unwrap();
    assert!(module.symbols_named("hidden", CaseRule::Exact).is_empty());
    let inside = ImageOffset(shown.address.0 + shown.size - 1);
    assert_eq!(module.symbol_at(inside).map(|found| found.symbol.name).as_deref(), Some("shown"));
    let hidden = ImageOffset(shown.address.0 - 1);
    let found = module.symbol_at(hidden).map(|found| found.symbol);
    assert!(found.as_ref().is_none_or(|symbol| symbol.size == 0), "{found:?}");
}
