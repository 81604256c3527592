//! Looking around: stacks, variables, symbols, modules, registers.

use outpost_base::RegisterValue;
use outpost_engine::*;
use outpost_testkit::{Build, Compiler};

use crate::common::*;

const SOURCE: &str = r#"
#include <stdio.h>
struct point { int x; long y; };
static int counter = 7;
__thread int per_thread = 41;
static inline __attribute__((always_inline)) int add(int a, int b) {
    int sum = a + b;
    counter += sum; // in add
    return sum;
}
int inner(struct point *p, int times) {
    int total = 0;
    for (int i = 0; i < times; i++)
        total += add(p->x, i); // call of add
    return total; // end of inner
}
int outer(int n) {
    struct point where = { 5, -6 };
    int result = inner(&where, n);
    return result + 1; // after inner
}
int main(void) {
    per_thread++;
    printf("%d\n", outer(3));
    return 0;
}
"#;

fn program() -> std::path::PathBuf {
    Build::source(Compiler::Gcc, "looking", SOURCE).flags("-g -O0").path()
}

#[test]
fn a_breakpoint_shows_stack_locals_and_line() {
    let mut session = Session::create(program(), &[]);
    let stop = session.run_to("inner");
    assert_eq!(session.functions()[..3], ["inner", "outer", "main"]);
    assert_eq!(session.local("times"), 3, "behind the prologue parameters have their values");
    assert_eq!(session.line(&stop), line_of(SOURCE, "int total = 0"));
    session.engine.select_frame(1).unwrap();
    assert_eq!(session.local("n"), 3);
    let frame = session.engine.scope_frame().unwrap();
    assert_eq!(frame.source.unwrap().line, line_of(SOURCE, "inner(&where, n)"));
    let where_ = session.engine.local("where").unwrap().unwrap();
    let mut memory = session.engine.memory().unwrap();
    let y = where_.member("y", &mut memory).unwrap().scalar(&mut memory).unwrap().as_i128();
    assert_eq!(y, -6);
}

#[test]
fn inline_frames_have_names_lines_and_variables_of_their_own() {
    let mut session = Session::create(program(), &[]);
    let place = format!("`looking.c:{}`", line_of(SOURCE, "// in add"));
    session.run_to(&place);
    let thread = session.engine.current_thread().unwrap();
    let frames = session.engine.stack(thread, 100).unwrap().frames;
    assert_eq!((frames[0].function.as_str(), frames[0].kind), ("add", FrameKind::Inline));
    assert_eq!((frames[1].function.as_str(), frames[1].kind), ("inner", FrameKind::Physical));
    assert_eq!(frames[0].physical, frames[1].physical);
    assert_eq!(frames[0].source.as_ref().unwrap().line, line_of(SOURCE, "// in add"));
    assert_eq!(frames[1].source.as_ref().unwrap().line, line_of(SOURCE, "// call of add"));
    assert_eq!((session.local("a"), session.local("sum")), (5, 5));
    session.engine.select_frame(1).unwrap();
    assert_eq!(session.local("i"), 0);
    assert!(session.engine.local("sum").unwrap().is_none());
}

#[test]
fn globals_thread_locals_functions_and_types_are_found_by_name() {
    let mut session = Session::create(program(), &[]);
    session.run_to("outer");
    let number = |session: &mut Session, name: &str| {
        let value = session.engine.global(name).unwrap().unwrap_or_else(|| panic!("no {name}"));
        value.scalar(&mut session.engine.memory().unwrap()).unwrap().as_i128()
    };
    assert_eq!(number(&mut session, "counter"), 7);
    assert_eq!(number(&mut session, "looking!counter"), 7);
    assert_eq!(number(&mut session, "per_thread"), 42);
    let main = session.engine.global("main").unwrap().unwrap();
    assert_eq!(main.value_type().to_string(), "int (void)");
    assert_eq!(session.engine.find_types("point").unwrap()[0].size(), Some(16));
    assert!(matches!(session.engine.find_name("nothing_of_this"), Err(EngineError::NoSymbol { .. })));
    assert!(matches!(session.engine.find_name("nowhere!x"), Err(EngineError::NoModule { .. })));
    let hits = session.engine.match_names("looking!*nne?").unwrap();
    assert_eq!(hits.iter().map(|hit| hit.name.as_str()).collect::<Vec<_>>(), ["inner"]);
    let at = session.address("inner");
    let symbol = session.engine.symbol_at(at + 4).unwrap();
    assert_eq!(symbol.to_string(), "looking!inner+0x4");
}

#[test]
fn modules_have_names_and_load_symbols_when_asked() {
    let mut session = Session::create(program(), &[]);
    session.run_to("main");
    let process = session.engine.current_process().unwrap();
    let modules = session.engine.modules(process).unwrap();
    let names: Vec<&str> = modules.iter().map(|module| module.name.as_str()).collect();
    for name in ["looking", "libc_so", "linux_vdso_so"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let vdso = session.engine.modules_named("linux_vdso_so").unwrap().remove(0);
    let time = session.engine.find_name("linux_vdso_so!clock_gettime").unwrap();
    assert!(time.iter().all(|name| vdso.range.contains(name.address)), "{time:?}");
    assert_eq!(session.engine.modules_named("looking").unwrap()[0].status, SymbolState::Dwarf);
}

#[test]
fn registers_are_read_and_written_by_name() {
    let mut session = Session::create(program(), &[]);
    let stop = session.run_to("inner");
    let mut get = |name: &str| session.engine.register(name).unwrap().as_u64();
    assert_eq!(get("rip"), stop.pc.0);
    assert_eq!(get("$ip"), stop.pc.0);
    assert_eq!(get("$csp"), get("rsp"));
    let return_address = get("$ra");
    let caller = session.engine.symbol_at(outpost_base::Va(return_address)).unwrap();
    assert_eq!(caller.name, "outer");
    session.engine.set_register("rbx", RegisterValue::from_u64(0x1234, 64)).unwrap();
    session.engine.set_register("$t3", RegisterValue::from_u64(9, 64)).unwrap();
    assert_eq!(session.engine.register("bx").unwrap().as_u64(), 0x1234);
    assert_eq!(session.engine.register("$t3").unwrap().as_u64(), 9);
    assert!(session.engine.register("xmm0").is_ok());
    assert!(matches!(session.engine.register("nonsense"), Err(EngineError::NoRegister { .. })));
    let caller_rsp = session.engine.register("rsp").unwrap().as_u64();
    session.engine.select_frame(1).unwrap();
    assert!(session.engine.register("rsp").unwrap().as_u64() > caller_rsp, "as the caller has it");
    assert_eq!(session.engine.register("rip").unwrap().as_u64(), return_address);
}
