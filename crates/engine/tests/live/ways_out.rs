//! Steps over and into calls that do not simply return.

use outpost_engine::*;
use outpost_testkit::{Build, Compiler};

use crate::common::*;

const SOURCE: &str = r#"
#include <csetjmp>
#include <cstdio>
#include <stdexcept>
#include <vector>
static std::jmp_buf back;
struct shape { virtual int area(int k) { return k; } virtual ~shape() {} };
struct square : shape {
    int area(int k) override {
        return k * k; // in square
    }
};
int thrower(int n) {
    if (n == 0)
        throw std::runtime_error("deep"); // throw
    return thrower(n - 1) + 1;
}
void jumper(int n) {
    if (n == 0)
        std::longjmp(back, 7); // jump
    jumper(n - 1);
}
int catches_itself(int n) {
    try { return thrower(n); } catch (std::exception &) { return -1; }
}
int jumps_inside(int n) {
    std::jmp_buf own;
    if (setjmp(own) == 0) std::longjmp(own, n);
    return n;
}
int tail(int n) { return n + 1; // in tail
}
__attribute__((optimize("O2"), noinline)) int calls_tail(int n) { return tail(n * 2); }
int main() {
    int result = 0;
    square sq; // make
    shape *object = &sq; // take
    result += object->area(3); // virtual call
    result += catches_itself(2); // caught inside
    result += jumps_inside(1); // jumps inside
    try {
        result += thrower(3); // throws
        result = 1000;
    } catch (const std::exception &error) { // handler
        result += 1; // handled
    }
    if (setjmp(back) == 0) // set jump
        jumper(3); // jumps
    else
        result += 2; // jumped
    result += calls_tail(result); // tail call
    std::vector<int> numbers(3, result); // vector
    return numbers.size() == 3 ? 0 : 1; // last
}
"#;

fn session() -> Session {
    Session::create(Build::source(Compiler::Gxx, "ways", SOURCE).flags("-g -O0").path(), &[])
}

fn line(mark: &str) -> u32 {
    line_of(SOURCE, mark)
}

fn at(session: &mut Session, mark: &str) {
    session.run_to(&format!("`ways.cpp:{}`", line(mark)));
}

#[test]
fn a_virtual_call_is_entered_although_nothing_foretold_it() {
    let mut session = session();
    at(&mut session, "// virtual call");
    // One function of this unit is optimised, so gcc's locations hold in prologues and the entry is the place, as in gdb.
    assert_eq!(session.line_step(StepKind::Into), line("int area(int k) override {"));
    assert_eq!(session.functions()[0], "square::area");
    let before = session.engine.stack(session.engine.current_thread().unwrap(), 9).unwrap().frames.len();
    session.engine.go_up(&RunOptions::default()).unwrap();
    let returned = session.stop().returned.unwrap();
    assert_eq!(returned.register, 9);
    let after = session.engine.stack(session.engine.current_thread().unwrap(), 9).unwrap().frames.len();
    assert_eq!(after, before - 1);
}

#[test]
fn exceptions_and_jumps_inside_a_call_are_its_own_affair() {
    let mut session = session();
    at(&mut session, "// caught inside");
    assert_eq!(session.line_step(StepKind::Over), line("// jumps inside"));
    assert_eq!(session.line_step(StepKind::Over), line("// throws"));
}

#[test]
fn an_exception_ends_the_step_in_its_handler() {
    let mut session = session();
    at(&mut session, "// throws");
    let reached = session.line_step(StepKind::Over);
    assert!([line("// handler"), line("// handled")].contains(&reached), "{reached}");
    assert_eq!(session.functions()[0], "main");
}

#[test]
fn a_longjmp_ends_the_step_where_it_lands() {
    let mut session = session();
    at(&mut session, "// jumps");
    let at = session.engine.scope_frame().unwrap();
    assert_eq!(at.function, "main");
    session.run_to(&format!("`ways.cpp:{}`", line("        jumper(3);")));
    let reached = session.line_step(StepKind::Over);
    assert!([line("// set jump"), line("// jumped")].contains(&reached), "{reached}");
    assert_eq!(session.functions()[0], "main");
}

#[test]
fn instruction_steps_over_a_call_that_jumps_do_not_run_away() {
    let mut session = session();
    session.run_to(&format!("`ways.cpp:{}`", line("        jumper(3);")));
    session.step(StepKind::Over, StepUnit::Instruction, StepUntil::Call(1));
    session.step(StepKind::Over, StepUnit::Instruction, StepUntil::Count(1));
    assert_eq!(session.functions()[0], "main");
}

#[test]
fn a_tail_call_is_entered_and_returns_to_the_right_place() {
    let mut session = session();
    at(&mut session, "// tail call");
    session.line_step(StepKind::Into);
    assert_eq!(session.functions()[0], "calls_tail");
    session.line_step(StepKind::Into);
    assert_eq!(session.functions()[0], "tail");
    assert_eq!(session.line_step(StepKind::Over), line("// in tail") + 1);
    assert_eq!(session.line_step(StepKind::Over), line("// vector"));
    assert_eq!(session.line_step(StepKind::Over), line("// last"));
}
