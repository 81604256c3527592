//! Functions and enumerators by name, with their types.

use std::sync::Arc;

use outpost_base::{SliceMemory, Va};
use outpost_symbols::{
    CaseRule, DebugInfo, DwarfTypes, ElfFile, FileSource, Module, ModuleFiles, TypeTable, Variables,
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
