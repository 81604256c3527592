//! A scope made of plain data over the types of one compiled program.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use outpost_base::{Arch, MemoryReader, RegisterContext, RegisterId, RegisterValue, SliceMemory, Va};
use outpost_symbols::{DebugInfo, DwarfTypes, ElfFile, FileSource, Store, Type, TypeTable, Unavailable, Value};
use outpost_testkit::{Build, Compiler};

use super::{ExprError, Lookup, Name, Place, PlaceKind, RegisterSum, Scope, SourceLine, number_value};

const SOURCE: &str = r#"
struct base { int tag; };
struct node : base { node *next; short values[3]; unsigned flags : 3; int level : 5; const char *name; };
template <typename T> struct box { T inside; };
enum class color { red = 1, green = 2 };
namespace ns { typedef unsigned long word; }
node n; box<int> b; color c; ns::word w;
int main() { return 0; }
"#;

/// Where the test memory begins.
pub(super) const MEMORY: Va = Va(0x1000);

pub(super) fn types() -> Arc<TypeTable> {
    static TABLE: OnceLock<Arc<TypeTable>> = OnceLock::new();
    let load = || {
        let path = Build::source(Compiler::Gxx, "types", SOURCE).flags("-g").path();
        let file = ElfFile::parse(FileSource::open(&path).unwrap()).unwrap();
        let info = DebugInfo::load(&file, None, &mut Vec::new()).unwrap().unwrap();
        TypeTable::new(Box::new(DwarfTypes::without_index(Arc::new(info))))
    };
    TABLE.get_or_init(load).clone()
}

pub(super) struct TestScope {
    pub(super) registers: RegisterContext,
    pub(super) bytes: Vec<u8>,
    /// Locals: type and place.
    pub(super) locals: HashMap<&'static str, (Type, PlaceKind)>,
    pub(super) symbols: HashMap<&'static str, Vec<Va>>,
    /// The local that has a type and no value.
    unknown: Option<&'static str>,
}

impl TestScope {
    /// A `node` called `n` at 0x1000 whose `next` is itself; `p` points to it from 0x1080; `i` is an int in rbx.
    pub(super) fn new() -> TestScope {
        let types = types();
        let of = |name: &str| types.named(name).pop().unwrap();
        let node = of("node");
        let mut bytes = vec![0; 0x100];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &(-7i32).to_le_bytes());
        put(8, &MEMORY.0.to_le_bytes());
        put(16, &[1, 0, 2, 0, 0xff, 0xff]);
        // flags 5, level -3: bits 0-2 and 3-7.
        put(22, &[0b1110_1101]);
        put(24, &0x10c0u64.to_le_bytes());
        put(0x80, &MEMORY.0.to_le_bytes());
        put(0xc0, b"worker\0");
        let mut registers = RegisterContext::new(Arch::X86_64);
        let mut set = |name: &str, value: u64| {
            let id = Arch::X86_64.register_by_name(name).unwrap();
            registers.set(id, RegisterValue::from_u64(value, 64));
        };
        set("rax", 0x1234_5678);
        set("rbx", 0xffff_ffff_ffff_fffe);
        set("rsp", 0x1080);
        set("rip", 0x40_1000);
        let rbx = Arch::X86_64.register_by_name("rbx").unwrap();
        let int = of("int");
        let pointer = types.pointer_to(node.id());
        // As optimised code has `p` in `rsp + 2 * rbx + 4 - 0x80` with rbx = -2, and a counter in `rax + 3 * rbx`.
        let rax = Arch::X86_64.register_by_name("rax").unwrap();
        let sum = |constant: u64, terms: [(RegisterId, u64); 2]| {
            let [one, other] = terms.map(Some);
            RegisterSum { constant, terms: [one, other, None, None] }
        };
        let at = sum(4, [(Arch::X86_64.sp(), 1), (rbx, 2)]);
        let counter = sum(0, [(rax, 1), (rbx, 3)]);
        let locals = [
            ("moved", (types.pointer_to(node.id()), PlaceKind::Sum(at))),
            ("counted", (of("int"), PlaceKind::Value(counter))),
            ("n", (node, PlaceKind::Fixed(MEMORY))),
            ("p", (pointer, PlaceKind::Based(Arch::X86_64.sp(), 0))),
            ("i", (int, PlaceKind::Register(rbx))),
        ];
        let symbols = [
            ("main", vec![Va(0x40_1000)]),
            ("twice", vec![Va(0x40_2000), Va(0x40_3000)]),
            ("ns::box<int>::get", vec![Va(0x40_4000)]),
            ("main.cold", vec![Va(0x40_5000)]),
            ("crate::thing::{closure#0}", vec![Va(0x40_6000)]),
            ("<a::B as c::D<u8>>::method", vec![Va(0x40_7000)]),
            ("<fn(i32) -> a::B as c::D>::method", vec![Va(0x40_8000)]),
        ];
        TestScope { registers, bytes, locals: locals.into(), symbols: symbols.into(), unknown: None }
    }

    fn sum(&self, sum: RegisterSum) -> u64 {
        let term = |(id, factor): (RegisterId, u64)| self.registers.get_u64(id).unwrap().wrapping_mul(factor);
        sum.terms.into_iter().flatten().map(term).fold(sum.constant, u64::wrapping_add)
    }

    /// The same within a method of `node`: `this` is `p`, or optimized out.
    pub(super) fn in_method(known: bool) -> TestScope {
        let mut scope = TestScope::new();
        let p = scope.locals["p"].clone();
        scope.locals.insert("this", p);
        scope.unknown = (!known).then_some("this");
        scope
    }
}

impl MemoryReader for TestScope {
    fn read(&mut self, at: Va, buf: &mut [u8]) -> usize {
        SliceMemory { start: MEMORY, bytes: &self.bytes }.read(at, buf)
    }
}

impl Scope for TestScope {
    fn arch(&self) -> Arch {
        Arch::X86_64
    }

    fn memory(&mut self) -> &mut dyn MemoryReader {
        self
    }

    fn register(&mut self, id: RegisterId) -> Option<RegisterValue> {
        self.registers.get(id)
    }

    fn pseudo_register(&mut self, name: &str) -> Result<Value, ExprError> {
        match name {
            "$t0" => Ok(number_value(0x77)),
            "$teb" | "$peb" => Ok(number_value(MEMORY.0)),
            _ => Err(ExprError::Register { name: name.to_owned() }),
        }
    }

    fn pointed_to(&mut self, register: &str) -> Option<Result<Type, ExprError>> {
        match register {
            "$teb" => types().named("node").pop().map(Ok),
            "$peb" => {
                let reason = "its type is not here".to_owned();
                Some(Err(ExprError::PseudoRegister { name: register.to_owned(), reason }))
            }
            _ => None,
        }
    }

    fn addresses(&mut self, name: &Name) -> Result<Vec<Va>, ExprError> {
        let own = name.module.as_deref().is_none_or(|module| module == "prog");
        Ok(self.symbols.get(name.text.as_str()).filter(|_| own).cloned().unwrap_or_default())
    }

    fn line_addresses(&mut self, line: &SourceLine) -> Result<Vec<Va>, ExprError> {
        match (line.file.as_deref(), line.line) {
            (Some("shop.cpp"), Some(10)) => Ok(vec![Va(0x40_1010), Va(0x40_2010)]),
            _ => Err(ExprError::NoCode { line: line.to_string() }),
        }
    }

    fn variable(&mut self, name: &Name, _: Lookup) -> Result<Option<Value>, ExprError> {
        if self.unknown == Some(name.text.as_str()) {
            return Err(ExprError::Value { name: name.to_string(), reason: Unavailable::OptimizedOut });
        }
        let Some((of, at)) = self.locals.get(name.text.as_str()).cloned() else { return Ok(None) };
        Ok(Some(match at {
            PlaceKind::Fixed(at) => Value::in_memory(of, at),
            PlaceKind::Based(id, offset) => {
                let base = Va(self.registers.get_u64(id).unwrap());
                Value::in_memory(of, base.wrapping_offset(offset))
            }
            PlaceKind::Sum(sum) => Value::in_memory(of, Va(self.sum(sum))),
            PlaceKind::Value(sum) => {
                let size = of.size().unwrap() as usize;
                Value::from_bytes(of, self.sum(sum).to_le_bytes()[..size].to_vec())
            }
            PlaceKind::Register(id) => {
                let size = of.size().unwrap() as usize;
                Value::from_bytes(of, self.registers.get(id).unwrap().bytes()[..size].to_vec())
            }
        }))
    }

    fn this_class(&mut self) -> Option<Type> {
        self.locals.get("this")?.0.target()
    }

    fn named_type(&mut self, name: &Name) -> Option<Type> {
        types().named(&name.text).pop()
    }

    fn entry_point(&mut self, base: Va) -> Option<Va> {
        Some(base + 0x40)
    }

    fn write(&mut self, stores: &[Store]) -> Result<(), ExprError> {
        for store in stores {
            let Store::Memory { at, bytes } = store else {
                return Err(ExprError::Assign { reason: "not here".into() });
            };
            let start = (*at - MEMORY) as usize;
            self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        }
        Ok(())
    }

    fn place(&mut self, name: &Name) -> Option<Place> {
        let (value_type, at) = self.locals.get(name.text.as_str()).cloned()?;
        Some(Place { value_type, at })
    }
}
