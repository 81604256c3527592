//! Running: breakpoints, going up, steps, the end.

use outpost_engine::*;
use outpost_target::{ExitStatus, StopReason};
use outpost_testkit::{Build, Compiler};

use crate::common::*;

pub(crate) const SOURCE: &str = r#"
#include <stdio.h>
int depth(int n) {
    if (n == 0)
        return 1; // bottom
    int below = depth(n - 1); // deeper
    return below + 1; // up
}
int twice(int x) {
    return x * 2; // in twice
}
int main(void) {
    int a = 1; // first
    a = twice(a); // call twice
    for (int i = 0; i < 1000; i++) a += i; // loop
    printf("%d\n", a); // print
    a = depth(3); // call depth
    return a; // last
}
"#;

fn session() -> Session {
    Session::create(Build::source(Compiler::Gcc, "running", SOURCE).flags("-g -O0").path(), &[])
}

#[test]
fn a_program_runs_to_its_end_with_its_output() {
    let mut session = session();
    let stop = session.go();
    assert_eq!(stop.reason, StopReason::Exited { status: ExitStatus::Code(4) });
    assert_eq!(session.output, "499502\n");
    assert_eq!(session.engine.state(), EngineState::NoDebuggee);
    assert!(matches!(session.engine.go(&RunOptions::default(), &[]), Err(EngineError::NoDebuggee)));
}

#[test]
fn lines_are_stepped_over_and_into() {
    let mut session = session();
    session.run_to("main");
    let line = |mark| line_of(SOURCE, mark);
    assert_eq!(session.line_step(StepKind::Over), line("// call twice"));
    assert_eq!(session.line_step(StepKind::Into), line("// in twice"));
    assert_eq!(session.functions()[0], "twice");
    session.line_step(StepKind::Over);
    assert_eq!(
        session.line_step(StepKind::Over),
        line("// loop"),
        "the rest of the caller's line belongs to the return"
    );
    assert_eq!(session.line_step(StepKind::Over), line("// print"), "a whole loop is one line");
    assert_eq!(session.line_step(StepKind::Into), line("// call depth"), "printf has no lines");
    assert_eq!(session.line_step(StepKind::Over), line("// last"), "recursion below is no stop");
    assert_eq!(session.local("a"), 4);
}

#[test]
fn going_up_means_this_instance() {
    let mut session = session();
    let at = format!("`running.c:{}`", line_of(SOURCE, "// deeper"));
    session.run_to(&at);
    let before = session.functions().len();
    session.engine.go_up(&RunOptions::default()).unwrap();
    let stop = session.stop();
    assert_eq!(session.functions().len(), before - 1);
    let returned = stop.returned.unwrap();
    assert_eq!((returned.function.as_str(), returned.register), ("depth", 4));
}

#[test]
fn passes_are_counted_and_hits_told() {
    let mut session = session();
    let place = BreakpointPlace::Expression("depth".into());
    let request = BreakpointRequest { passes: 3, ..BreakpointRequest::code(place) };
    let number = session.engine.set_breakpoint(request).unwrap();
    session.go();
    assert_eq!(session.local("n"), 1, "the third call");
    let info = session.engine.breakpoint(number).unwrap();
    assert_eq!((info.hits, info.remaining), (3, 1));
    session.go();
    assert_eq!(session.local("n"), 0);
    session.engine.enable_breakpoints(&[number], false).unwrap();
    let stop = session.go();
    assert!(matches!(stop.reason, StopReason::Exited { .. }));
}

#[test]
fn deferred_breakpoints_wait_for_their_module() {
    let mut session = session();
    let number = session.bp("libc_so!puts");
    assert!(session.engine.breakpoint(number).unwrap().deferred, "libc is not loaded yet");
    session.run_to("main");
    assert!(!session.engine.breakpoint(number).unwrap().deferred);
    assert!(
        session.notices.iter().any(|notice| matches!(notice, Notice::ModuleLoaded { name, .. } if name == "libc_so"))
    );
}

#[test]
fn instruction_steps_move_by_instructions_and_over_calls() {
    let mut session = session();
    session.run_to("main");
    let stop = session.step(StepKind::Over, StepUnit::Instruction, StepUntil::Call(1));
    let call = stop.pc;
    let stop = session.step(StepKind::Over, StepUnit::Instruction, StepUntil::Count(1));
    assert_eq!(stop.pc, call + 5);
    session.engine.restart(session.system).unwrap();
    assert_eq!(session.stop().reason, StopReason::Created);
    session.run_to("main");
    session.step(StepKind::Into, StepUnit::Instruction, StepUntil::Call(1));
    let stop = session.step(StepKind::Into, StepUnit::Instruction, StepUntil::Count(1));
    assert_eq!(stop.pc, session.address("twice"));
    let request = StepRequest {
        kind: StepKind::Into,
        unit: StepUnit::Instruction,
        until: StepUntil::Count(4),
        show_each: true,
        options: RunOptions::default(),
    };
    session.engine.step(&request).unwrap();
    session.stop();
    assert_eq!(session.steps.len(), 3, "the last one is the stop");
}

#[test]
fn temporary_breakpoints_last_for_one_run() {
    let mut session = session();
    session.run_to("main");
    let at = session.engine.resolve_place(&BreakpointPlace::Expression("twice".into())).unwrap()[0];
    let temporary = Temporary { at, hardware: false, current_thread_only: false };
    session.engine.go(&RunOptions::default(), &[temporary]).unwrap();
    let stop = session.stop();
    assert!(stop.at_temporary && stop.pc == at);
    assert!(session.engine.breakpoints().is_empty());
    assert!(matches!(session.go().reason, StopReason::Exited { .. }));
}
