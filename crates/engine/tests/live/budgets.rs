//! Round-trip budgets: what an action costs on a link, counted by calls that would be round trips.

use outpost_engine::expr::{Evaluator, ExprOptions};
use outpost_engine::*;
use outpost_ptrace::LiveTarget;
use outpost_target::{AttachMode, StopReason};
use outpost_testkit::{Build, Compiler};

use crate::common::*;
use crate::counting::{Calls, Counting};

const SOURCE: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
struct item { int number; const char *name; };
static int global = 3;
int work(struct item *what, int level) {
    int local = level * 2;
    if (level > 0)
        local += work(what, level - 1); // recursion
    global += local; // bottom
    return local;
}
static void *sleeper(void *argument) {
    for (;;) pause();
    return argument;
}
int main(int argc, char **argv) {
    for (int number = 0; number < 200; number++) {
        pthread_t thread;
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, 65536);
        pthread_create(&thread, &attributes, sleeper, 0);
    }
    struct item what = { 5, "five" };
    puts("ready");
    fflush(stdout);
    if (argc > 1) for (;;) pause();
    int sum = 0;
    for (int round = 0; round < 100; round++)
        sum += work(&what, 4); // call
    return sum == 1;
}
"#;

fn program() -> std::path::PathBuf {
    Build::source(Compiler::Gcc, "budgets", SOURCE).flags("-g -O0").path()
}

fn session() -> (Session, Calls) {
    let (target, calls) = Counting::new(LiveTarget::new("<Local>").unwrap());
    let mut session = Session::over(Box::new(target));
    session.engine.create(session.system, &spec(&program(), &[])).unwrap();
    assert_eq!(session.stop().reason, StopReason::Created);
    (session, calls)
}

/// Runs `action` and gives the calls it made.
fn cost<R>(calls: &Calls, action: impl FnOnce() -> R) -> Vec<&'static str> {
    calls.borrow_mut().clear();
    action();
    calls.borrow().clone()
}

#[test]
fn looking_around_after_a_stop_costs_nothing() {
    let (mut session, calls) = session();
    session.bp(&format!("`budgets.c:{}`", line_of(SOURCE, "// bottom")));
    session.go();
    // Symbols are read the first time.
    look_around(&mut session);
    session.go();
    assert_eq!(cost(&calls, || look_around(&mut session)), [""; 0]);
}

fn look_around(session: &mut Session) {
    let thread = session.engine.current_thread().unwrap();
    let stack = session.engine.stack(thread, 20).unwrap();
    assert!(stack.frames.len() > 3 && stack.frames.last().unwrap().function.contains("start"), "{stack:?}");
    assert!(session.local("local") >= 0);
    assert!(session.engine.register("rax").is_ok());
    let memory = session.engine.memory().unwrap();
    let pc = stack.frames[0].instruction;
    assert_eq!(memory.read_vec(pc, 48).unwrap().len(), 48);
    session.engine.select_frame(2).unwrap();
    assert!(session.local("level") > 0);
}

#[test]
fn steps_cost_one_round_trip() {
    let (mut session, calls) = session();
    session.run_to(&format!("`budgets.c:{}`", line_of(SOURCE, "// call")));
    session.line_step(StepKind::Into);
    session.line_step(StepKind::Over);
    for kind in [StepKind::Over, StepKind::Into, StepKind::Over] {
        let line = cost(&calls, || session.line_step(kind));
        assert_eq!(line, ["resume"], "{kind:?}");
    }
    let instruction = cost(&calls, || session.step(StepKind::Into, StepUnit::Instruction, StepUntil::Count(500)));
    assert_eq!(instruction, ["resume"]);
    let up = cost(&calls, || {
        session.engine.go_up(&RunOptions::default()).unwrap();
        session.stop()
    });
    assert_eq!(up, ["resume"]);
}

#[test]
fn a_call_costs_one_round_trip_and_leaves_the_selected_frame() {
    let (mut session, calls) = session();
    let number = session.bp(&format!("`budgets.c:{}`", line_of(SOURCE, "// bottom")));
    let stopped = session.go();
    session.engine.clear_breakpoints(&[number]).unwrap();
    session.engine.select_frame(1).unwrap();
    let mut call = || {
        let options = ExprOptions { evaluator: Evaluator::Cpp, ..ExprOptions::default() };
        let (expr, _) = session.engine.parse_expression("work(what, 1) + level", options).unwrap();
        assert!(session.engine.evaluate_value(&expr).is_err(), "nobody permitted it");
        session.engine.permit_calls(Some(CallOptions::default()));
        let value = session.engine.evaluate_value(&expr).unwrap();
        session.engine.permit_calls(None);
        value.scalar(&mut session.engine.memory().unwrap()).unwrap().as_u64()
    };
    // Symbols are read the first time, and the lifeline put in.
    assert_eq!(call(), 2 + 1);
    assert_eq!(cost(&calls, || assert_eq!(call(), 2 + 1)), ["resume"]);
    assert_eq!(session.engine.scope_frame().unwrap().index, 1);
    assert_eq!(session.engine.last_event().unwrap().pc, stopped.pc);
}

/// The source lay in a folder that is nowhere any more: the target's machine is asked for it once, not at each step.
#[test]
fn a_source_that_is_missing_is_asked_for_once() {
    let flags = "-g -O0 -ffile-prefix-map=.=/nowhere";
    let built = Build::source(Compiler::Gcc, "sourceless", SOURCE).flags(flags).path();
    // Beside the program, where the source lies, it would be found.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("sourceless");
    std::fs::copy(built, &program).unwrap();
    let (target, calls) = Counting::new(LiveTarget::new("<Local>").unwrap());
    let mut session = Session::over(Box::new(target));
    session.engine.create(session.system, &spec(&program, &[])).unwrap();
    session.stop();
    session.run_to("work");
    let recorded = "/nowhere/sourceless.c";
    let ask = |session: &mut Session| session.engine.source_file(recorded).unwrap_err().to_string();
    let mut text = String::new();
    assert_eq!(cost(&calls, || text = ask(&mut session)), ["open_file"]);
    assert!(text.contains(&format!("{recorded} on the target's machine")), "{text}");
    assert_eq!(cost(&calls, || drop(ask(&mut session))), [""; 0]);
    // Another path may lead to others: it is asked for anew.
    session.engine.set_source_path("/elsewhere");
    assert_eq!(cost(&calls, || drop(ask(&mut session))), ["open_file"]);
}

#[test]
fn a_hundred_breakpoints_cost_one_round_trip() {
    let (mut session, calls) = session();
    session.run_to("main");
    let start = session.address("work");
    // Places that are instructions, whatever they are.
    let mut memory = session.engine.memory().unwrap();
    let names = &mut disassembly::NoSymbols;
    let code = disassembly::disassemble(session.engine.arch(), &mut memory, names, start, 10, false);
    let places: Vec<_> = code.iter().map(|instruction| instruction.at).collect();
    let made = cost(&calls, || {
        for round in 0..10 {
            for at in &places {
                let request = BreakpointRequest::code(BreakpointPlace::Address(*at));
                session.engine.set_breakpoint(BreakpointRequest { passes: 100_000 + round, ..request }).unwrap();
            }
        }
        session.engine.flush_breakpoints().unwrap();
    });
    assert_eq!(made, ["change_breakpoints"]);
    assert_eq!(session.engine.breakpoints().len(), 100);
    assert!(session.engine.breakpoints().iter().all(|known| known.locations[0].safety.is_some()));
}

#[test]
fn all_stacks_of_two_hundred_threads_cost_two_round_trips() {
    let mut running = outpost_testkit::Running::start(program(), &["wait"]);
    assert_eq!(running.line(), "ready");
    let (target, calls) = Counting::new(LiveTarget::new("<Local>").unwrap());
    let mut session = Session::over(Box::new(target));
    let pid = outpost_base::ProcessId(running.pid());
    let attach = cost(&calls, || {
        session.engine.attach(session.system, pid, AttachMode::Invasive { break_in: true }).unwrap();
        let stop = session.stop();
        assert_eq!(stop.reason, StopReason::Attached);
        let thread = session.engine.current_thread().unwrap();
        assert!(!session.engine.stack(thread, 10).unwrap().frames.is_empty());
    });
    assert!(attach.len() <= 4, "{attach:?}");
    let process = session.engine.current_process().unwrap();
    let threads: Vec<_> = session.engine.threads(process).unwrap().iter().map(|thread| thread.ordinal).collect();
    assert_eq!(threads.len(), 201);
    let stacks = cost(&calls, || {
        let stacks = session.engine.stacks(&threads, 256).unwrap();
        let complete = |stack: &&ThreadStack| stack.frames.iter().any(|frame| frame.function.contains("clone"));
        assert_eq!(stacks.iter().filter(complete).count(), 200);
    });
    assert_eq!(stacks, ["registers_many", "read_many"]);
    session.engine.leave(process, Leave::Detach { deliver: true }).unwrap();
    assert!(running.is_running());
}

#[test]
fn false_conditions_and_skipped_passes_cost_nothing() {
    let (mut session, calls) = session();
    session.run_to("main");
    let place = || BreakpointPlace::Expression("work".into());
    let condition = Some("level == 1 && what->number == 5 && global > 100".into());
    let request = BreakpointRequest { condition, passes: 3, ..BreakpointRequest::code(place()) };
    let number = session.engine.set_breakpoint(request).unwrap();
    let run = cost(&calls, || session.go());
    assert_eq!(run, ["change_breakpoints", "resume"]);
    assert!(session.engine.breakpoint(number).unwrap().condition_on_target);
    assert_eq!(session.local("level"), 1);
    let value = session.engine.global("global").unwrap().unwrap();
    let global = value.scalar(&mut session.engine.memory().unwrap()).unwrap().as_i128();
    assert!(global > 100, "{global}");
    session.engine.clear_breakpoints(&[number]).unwrap();

    // What only the engine can evaluate stops each time and goes on by itself.
    let condition = Some("sizeof(*what) * 1.0 > 15.5 && level == 3".into());
    let request = BreakpointRequest { condition, ..BreakpointRequest::code(place()) };
    let number = session.engine.set_breakpoint(request).unwrap();
    session.go();
    assert_eq!(session.local("level"), 3);
    let info = session.engine.breakpoint(number).unwrap();
    assert_eq!((info.condition_on_target, info.hits), (false, 1));

    // A condition that cannot be evaluated stops and says so.
    session.engine.clear_breakpoints(&[number]).unwrap();
    let request = BreakpointRequest { condition: Some("no_such_thing > 1".into()), ..BreakpointRequest::code(place()) };
    session.engine.set_breakpoint(request).unwrap();
    let stop = session.go();
    assert!(stop.breakpoints[0].condition_problem.as_ref().unwrap().contains("no_such_thing"));
}
