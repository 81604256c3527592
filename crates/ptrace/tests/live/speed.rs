//! Speed: system calls are counted and asserted. Figures per second are only printed, by `--ignored --nocapture` in an
//! optimised build, since a shared machine lies.

use std::time::Instant;

use outpost_base::Arch;
use outpost_target::condition::{Assembler, Condition, Op};
use outpost_target::*;

use super::common::*;

const LOOP: &str = r#"
    #include <stdio.h>
    #include <stdlib.h>
    volatile long calls;
    __attribute__((noinline)) void work(long i) { calls += i; }
    int main(int argc, char **argv) {
        for (long i = 0, n = atol(argv[1]); i < n; i++) work(i);
        return 0;
    }
"#;

/// A process that stands at the beginning of `main`.
fn at_main(calls: u64) -> (outpost_ptrace::LiveTarget, StopBundle, std::path::PathBuf) {
    let program = compile("loop", LOOP, "-no-pie");
    let mut target = target();
    let (process, _) = create(&mut target, &program, &[&calls.to_string()]);
    let space = space(&mut target, process);
    set(&mut target, BreakpointSpec { one_shot: true, ..breakpoint(1, space, symbol(&program, "main")) });
    let bundle = go(&mut target);
    clear(&mut target, 1);
    (target, bundle, program)
}

fn report(what: &str, count: u64, begin: Instant) {
    println!("{what}: {:.0}/s", count as f64 / begin.elapsed().as_secs_f64());
}

#[test]
#[ignore = "a measurement"]
fn counted_steps() {
    let (mut target, bundle, _) = at_main(1_000_000);
    let begin = Instant::now();
    step(&mut target, bundle.stop.thread, StepPlan::instructions(100_000));
    report("counted steps", 100_000, begin);
    let begin = Instant::now();
    for _ in 0..5_000 {
        step(&mut target, bundle.stop.thread, StepPlan::instructions(1));
    }
    report("steps shown with a bundle", 5_000, begin);
    let plan = StepPlan { trace: true, ..StepPlan::instructions(20_000) };
    let begin = Instant::now();
    step(&mut target, bundle.stop.thread, plan);
    report("traced steps", 20_000, begin);
}

fn hits_per_second(what: &str, calls: u64, spec: impl FnOnce(BreakpointSpec) -> BreakpointSpec) {
    let (mut target, bundle, program) = at_main(calls);
    let space = space(&mut target, bundle.stop.process);
    set(&mut target, spec(breakpoint(2, space, symbol(&program, "work"))));
    let begin = Instant::now();
    let end = go(&mut target);
    assert!(matches!(end.stop.reason, StopReason::Exited { .. }));
    report(what, calls, begin);
}

#[test]
#[ignore = "a measurement"]
fn auto_continued_hits() {
    hits_per_second("hits, auto-continue", 100_000, |spec| BreakpointSpec { auto_continue: true, ..spec });
}

/// `rdi == -1`
fn never() -> Condition {
    let mut code = Assembler::default();
    code.register(Arch::X86_64.register_by_name("rdi").unwrap());
    code.constant(u64::MAX);
    code.op(Op::Equal);
    code.op(Op::Return);
    code.finish().unwrap()
}

#[test]
#[ignore = "a measurement"]
fn false_conditions() {
    let condition = Some(never());
    hits_per_second("false conditions", 100_000, |spec| BreakpointSpec { condition, ..spec });
}

#[test]
#[ignore = "a measurement"]
fn stops_at_breakpoints() {
    let (mut target, bundle, program) = at_main(5_000);
    let space = space(&mut target, bundle.stop.process);
    set(&mut target, breakpoint(2, space, symbol(&program, "work")));
    let begin = Instant::now();
    for _ in 0..5_000 {
        go(&mut target);
    }
    report("stops with a bundle", 5_000, begin);
}

/// System calls of the calling thread while `work` goes on with so many `stops`, counted by strace(1).
///
/// Looks for a stop that is not there yet, and giving the processor away between them, do not count: they take the place of
/// sleeping where that is slow, as it always is under strace.
fn system_calls(stops: u64, work: impl FnOnce()) -> u64 {
    let folder = std::env::temp_dir().join(format!("calls-{}", unique()));
    let own = rustix::thread::gettid().as_raw_nonzero();
    let output = folder.to_str().unwrap().to_owned();
    // Not a child of this thread, which is about to wait for its tracees.
    let mut strace = std::thread::scope(|scope| {
        let start = || {
            let mut command = std::process::Command::new("strace");
            command.args(["-q", "-c", "-o", &output, "-p", &own.to_string()]).spawn()
        };
        scope.spawn(start).join().unwrap().unwrap()
    });
    outpost_testkit::wait_until("strace is attached", LIMIT, || {
        let status = std::fs::read_to_string(format!("/proc/self/task/{own}/status")).unwrap();
        !status.contains("TracerPid:\t0")
    });
    work();
    let pid = rustix::process::Pid::from_child(&strace);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    strace.wait().unwrap();
    let table = std::fs::read_to_string(&folder).unwrap();
    std::fs::remove_file(folder).unwrap();
    let calls_of = |name: &str| -> u64 {
        let row = table.lines().find(|line| line.split_whitespace().last() == Some(name));
        row.map_or(0, |row| row.split_whitespace().nth(3).unwrap().parse().unwrap())
    };
    calls_of("total") - calls_of("sched_yield") - calls_of("wait4").saturating_sub(stops)
}

fn unique() -> String {
    format!("{}-{}", std::process::id(), rustix::thread::gettid().as_raw_nonzero())
}

/// Room for what begins and ends a run, for signals that strace itself causes, and for sleeping where others want the
/// processor: half a call for each of 5,000 hits.
const AROUND: u64 = 2_500;

#[test]
fn a_counted_step_costs_at_most_four_system_calls() {
    let (mut target, bundle, _) = at_main(1_000_000);
    let steps = 5_000;
    let calls = system_calls(steps, || {
        step(&mut target, bundle.stop.thread, StepPlan::instructions(steps));
    });
    println!("system calls per counted step: {:.2}", calls as f64 / steps as f64);
    assert!(calls > steps && calls <= 4 * steps + AROUND, "{calls} calls for {steps} steps");
}

#[test]
fn a_false_condition_costs_at_most_six_system_calls() {
    let hits = 5_000;
    let (mut target, bundle, program) = at_main(hits);
    let space = space(&mut target, bundle.stop.process);
    let condition = Some(never());
    set(&mut target, BreakpointSpec { condition, ..breakpoint(2, space, symbol(&program, "work")) });
    let calls = system_calls(hits, || assert!(matches!(go(&mut target).stop.reason, StopReason::Exited { .. })));
    println!("system calls per false condition: {:.2}", calls as f64 / hits as f64);
    assert!(calls > hits && calls <= 6 * hits + AROUND, "{calls} calls for {hits} hits");
}
