//! What `gu` says a function returned.

use outpost_engine::*;
use outpost_symbols::Value;
use outpost_testkit::{Build, Compiler};

use crate::common::*;

const SOURCE: &str = r#"
struct small { int a; float b; };
struct pair { double d; long l; };
struct floats { float x, y, z; };
struct big { long words[5]; };
char get_char(void) { return 'x'; }
short get_short(void) { return -3; }
double get_double(void) { return 2.5; }
float get_float(void) { return -0.5f; }
long double get_long_double(void) { return 1.25L; }
__int128 get_wide(void) { return -5; }
const char *get_string(void) { return "text"; }
struct small get_small(void) { struct small s = { 7, 0.75f }; return s; }
struct pair get_pair(void) { struct pair p = { 1.5, -9 }; return p; }
struct floats get_floats(void) { struct floats f = { 1, 2, 3 }; return f; }
struct big get_big(void) { struct big b = { { 1, 2, 3, 4, 5 } }; return b; }
static inline __attribute__((always_inline)) int inlined(int n) {
    int twice = n * 2; // in inlined
    return twice + get_short();
}
void get_nothing(void) {}
int main(void) {
    get_char(); get_short(); get_double(); get_float(); get_long_double(); get_wide(); get_string();
    get_small(); get_pair(); get_floats(); get_big(); get_nothing();
    int n = inlined(4); // call inlined
    return n; // end
}
"#;

fn session() -> Session {
    Session::create(Build::source(Compiler::Gcc, "returning", SOURCE).flags("-g -O0").path(), &[])
}

fn returned(session: &mut Session, function: &str) -> ReturnedValue {
    session.run_to(function);
    session.engine.go_up(&RunOptions::default()).unwrap();
    let returned = session.stop().returned.unwrap();
    assert_eq!(returned.function, function);
    returned
}

fn number(session: &Session, value: &Value) -> f64 {
    value.scalar(&mut session.engine.memory().unwrap()).unwrap().as_f64()
}

fn member(session: &Session, value: &Value, name: &str) -> f64 {
    let member = value.member(name, &mut session.engine.memory().unwrap()).unwrap();
    number(session, &member)
}

#[test]
fn values_come_from_the_registers_of_their_class() {
    let mut session = session();
    let scalars = [
        ("get_char", "char", 120.0),
        ("get_short", "short", -3.0),
        ("get_double", "double", 2.5),
        ("get_float", "float", -0.5),
        ("get_long_double", "long double", 1.25),
        ("get_wide", "__int128", -5.0),
    ];
    for (function, type_name, expected) in scalars {
        let value = returned(&mut session, function);
        assert_eq!((value.type_name.as_str(), number(&session, &value.value.unwrap())), (type_name, expected));
    }
    let string = returned(&mut session, "get_string");
    assert_eq!(string.value.unwrap().value_type().to_string(), "const char *");
    let small = returned(&mut session, "get_small").value.unwrap();
    assert_eq!((member(&session, &small, "a"), member(&session, &small, "b")), (7.0, 0.75));
    let pair = returned(&mut session, "get_pair").value.unwrap();
    assert_eq!((member(&session, &pair, "d"), member(&session, &pair, "l")), (1.5, -9.0));
    let floats = returned(&mut session, "get_floats").value.unwrap();
    assert_eq!((member(&session, &floats, "x"), member(&session, &floats, "z")), (1.0, 3.0));
    let big = returned(&mut session, "get_big").value.unwrap();
    let mut memory = session.engine.memory().unwrap();
    let last = big.member("words", &mut memory).unwrap().index(4, &mut memory).unwrap();
    assert_eq!(number(&session, &last), 5.0);
    assert!(returned(&mut session, "get_nothing").value.is_none());
}

#[test]
fn going_up_from_an_inlined_function_leaves_its_code() {
    let mut session = session();
    session.run_to(&format!("`returning.c:{}`", line_of(SOURCE, "// in inlined")));
    assert_eq!(session.functions()[..2], ["inlined", "main"]);
    session.engine.go_up(&RunOptions::default()).unwrap();
    let stop = session.stop();
    assert!(stop.ends_step && stop.returned.is_none());
    assert_eq!(session.functions()[0], "main");
    assert_eq!(session.line(&stop), line_of(SOURCE, "// call inlined"));
}
