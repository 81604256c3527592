//! Step plans.

use outpost_base::{Arch, ProcessId, ThreadId, Va, VaRange};
use outpost_ptrace::LiveTarget;
use outpost_target::*;

use super::common::*;

const STEPS: &str = r#"
    #include <pthread.h>
    #include <setjmp.h>
    #include <signal.h>
    #include <string.h>
    #include <stdio.h>
    #include <unistd.h>
    volatile long handled, deep;
    jmp_buf back;
    static void on_signal(int s) { handled++; }
    __attribute__((noinline)) long recurse(long n) { deep++; return n ? recurse(n - 1) + 1 : 0; }
    __attribute__((noinline)) void jumps(void) { longjmp(back, 1); }
    __asm__(
        ".globl asm_start, asm_flags, asm_pushed, asm_repeat, asm_behind, asm_call, asm_syscall, asm_done, asm_self\n"
        "asm_start: nop\n nop\n nop\n"
        "asm_flags: pushfq\n"
        "asm_pushed: popq %rax\n"
        "  leaq -4096(%rsp), %rdi\n  movl $64, %ecx\n  xorl %eax, %eax\n"
        "asm_repeat: rep stosb\n"
        "asm_behind: movl $3, %edi\n"
        "asm_call: call recurse\n"
        "  movl $39, %eax\n"
        "asm_syscall: syscall\n"
        "asm_done: ret\n"
    );
    void asm_start(void);
    static void *other(void *x) { for (;;) deep++; }
    int main(int argc, char **argv) {
        if (argc > 1 && !strcmp(argv[1], "signal")) {
            signal(SIGUSR1, on_signal);
            raise(SIGUSR1);
            raise(SIGUSR1);
            return (int)handled;
        }
        if (argc > 1 && !strcmp(argv[1], "blocked")) {
            sigset_t all;
            sigfillset(&all);
            signal(SIGTRAP, on_signal);
            sigprocmask(SIG_BLOCK, &all, 0);
            puts("ready");
            fflush(stdout);
            for (;;) deep++;
        }
        if (argc > 1 && !strcmp(argv[1], "threads")) {
            pthread_t t;
            pthread_create(&t, 0, other, 0);
            asm_start();
            for (;;) handled++;
        }
        if (argc > 1 && !strcmp(argv[1], "longjmp")) {
            if (!setjmp(back)) jumps();
            return 3;
        }
        asm_start();
        recurse(3);
        return 5;
    }
"#;

fn steps() -> std::path::PathBuf {
    compile("steps", STEPS, "-no-pie")
}

/// A process whose first thread stands at a symbol, reached by a breakpoint that is gone.
fn stopped_at(name: &str, arguments: &[&str]) -> (LiveTarget, ThreadId, std::path::PathBuf) {
    let program = steps();
    let mut target = target();
    let (process, _) = create(&mut target, &program, arguments);
    let space = space(&mut target, process);
    let at = symbol(&program, name);
    set(&mut target, BreakpointSpec { one_shot: true, ..breakpoint(1, space, at) });
    let bundle = go(&mut target);
    assert_eq!(bundle.stop.reason, StopReason::Breakpoint { ids: vec![BreakpointId(1)] });
    clear(&mut target, 1);
    (target, bundle.stop.thread, program)
}

fn outcome(bundle: &StopBundle) -> StepOutcome {
    match bundle.stop.reason {
        StopReason::Step { outcome } => outcome,
        ref other => panic!("{other:?}"),
    }
}

fn pc(bundle: &StopBundle) -> Va {
    bundle.registers[0].1.pc()
}

fn value(bundle: &StopBundle, name: &str) -> u64 {
    bundle.registers[0].1.get_u64(Arch::X86_64.register_by_name(name).unwrap()).unwrap()
}

#[test]
fn instructions_are_counted() {
    let (mut target, thread, program) = stopped_at("asm_start", &[]);
    let bundle = step(&mut target, thread, StepPlan::instructions(1));
    assert_eq!((outcome(&bundle), pc(&bundle)), (StepOutcome::Counted, symbol(&program, "asm_start") + 1));
    let bundle = step(&mut target, thread, StepPlan::instructions(2));
    assert_eq!((outcome(&bundle), pc(&bundle)), (StepOutcome::Counted, symbol(&program, "asm_flags")));
}

#[test]
fn flags_pushed_or_copied_under_a_step_have_no_trap_flag() {
    let (mut target, thread, program) = stopped_at("asm_flags", &[]);
    let bundle = step(&mut target, thread, StepPlan::instructions(2));
    assert_eq!(pc(&bundle), symbol(&program, "asm_pushed") + 1);
    assert_eq!(value(&bundle, "rax") & 0x100, 0, "pushfq");
    assert_eq!(value(&bundle, "efl") & 0x100, 0);

    let (mut target, thread, program) = stopped_at("asm_syscall", &[]);
    let bundle = step(&mut target, thread, StepPlan::instructions(1));
    assert_eq!(pc(&bundle), symbol(&program, "asm_done"));
    assert_eq!(value(&bundle, "rax"), u64::from(thread.0), "getpid");
    assert_eq!(value(&bundle, "r11") & 0x100, 0, "syscall");
}

#[test]
fn repeated_strings_are_stepped_by_iteration_and_stepped_over_at_once() {
    let (mut target, thread, program) = stopped_at("asm_repeat", &[]);
    let repeat = symbol(&program, "asm_repeat");
    let bundle = step(&mut target, thread, StepPlan::instructions(3));
    assert_eq!((pc(&bundle), value(&bundle, "rcx")), (repeat, 61));
    let over = StepPlan { over_calls: true, ..StepPlan::instructions(1) };
    let bundle = step(&mut target, thread, over);
    assert_eq!((pc(&bundle), value(&bundle, "rcx")), (symbol(&program, "asm_behind"), 0));
}

#[test]
fn calls_are_stepped_over_in_the_same_frame() {
    let (mut target, thread, program) = stopped_at("asm_call", &[]);
    let over = StepPlan { over_calls: true, ..StepPlan::instructions(1) };
    let bundle = step(&mut target, thread, over);
    assert_eq!(pc(&bundle), symbol(&program, "asm_call") + 5);
    // Into the call, then out of each instance of the recursion by its own frame.
    let (mut target, thread, program) = stopped_at("recurse", &[]);
    let sp = Va(value(target.last_stop().unwrap(), "rsp"));
    let space = outpost_base::AddressSpaceId(u64::from(thread.0));
    let back = Va(word(&mut target, space, sp));
    let fence = Fence { at: back, min_sp: sp + 8, kind: FenceKind::Return };
    let up = StepPlan { run: true, fences: vec![fence], ..StepPlan::default() };
    let bundle = step(&mut target, thread, up.clone());
    assert_eq!((outcome(&bundle), pc(&bundle)), (StepOutcome::Fence { index: 0 }, back));
    set(&mut target, BreakpointSpec { skip: 2, ..breakpoint(2, space, symbol(&program, "recurse")) });
    // main calls it with 3: the breakpoint is met on the way and ends the plan.
    let bundle = step(&mut target, thread, StepPlan { over_calls: true, ..StepPlan::instructions(60) });
    assert_eq!(bundle.stop.reason, StopReason::Breakpoint { ids: vec![BreakpointId(2)] });
    assert_eq!(hits(&mut target, 2), 3);
}

#[test]
fn breakpoints_on_the_way_are_passed_and_met() {
    let (mut target, thread, program) = stopped_at("asm_start", &[]);
    let start = symbol(&program, "asm_start");
    let space = outpost_base::AddressSpaceId(u64::from(thread.0));
    for (id, offset) in [(2, 0), (3, 2)] {
        set(&mut target, breakpoint(id, space, start + offset));
    }
    let bundle = step(&mut target, thread, StepPlan::instructions(10));
    assert_eq!(bundle.stop.reason, StopReason::Breakpoint { ids: vec![BreakpointId(3)] });
    assert_eq!((pc(&bundle), hits(&mut target, 2), hits(&mut target, 3)), (start + 2, 0, 1));
    let bundle = step(&mut target, thread, StepPlan::instructions(1));
    assert_eq!((outcome(&bundle), pc(&bundle), hits(&mut target, 3)), (StepOutcome::Counted, start + 3, 1));
    for id in [2, 3] {
        clear(&mut target, id);
    }
    assert!(matches!(go(&mut target).stop.reason, StopReason::Exited { status: ExitStatus::Code(5) }));
}

#[test]
fn a_system_call_under_a_breakpoint_is_executed_once() {
    let (mut target, thread, program) = stopped_at("asm_call", &[]);
    let space = outpost_base::AddressSpaceId(u64::from(thread.0));
    let syscall = symbol(&program, "asm_syscall");
    set(&mut target, breakpoint(2, space, syscall));
    assert_eq!(pc(&go(&mut target)), syscall);
    let bundle = step(&mut target, thread, StepPlan::instructions(1));
    assert_eq!((pc(&bundle), value(&bundle, "rax")), (syscall + 2, u64::from(thread.0)));
    assert!(matches!(go(&mut target).stop.reason, StopReason::Exited { status: ExitStatus::Code(5) }));
}

#[test]
fn ranges_are_left_and_a_longjmp_leaves_no_trap_behind() {
    let (mut target, thread, program) = stopped_at("asm_start", &[]);
    let (start, call) = (symbol(&program, "asm_start"), symbol(&program, "asm_call"));
    let range = VaRange { start, end: call };
    let bundle = step(&mut target, thread, StepPlan { ranges: vec![range], ..StepPlan::default() });
    assert_eq!((outcome(&bundle), pc(&bundle)), (StepOutcome::LeftRanges, call));

    let (mut target, thread, _) = stopped_at("jumps", &["longjmp"]);
    let bundle = step(&mut target, thread, StepPlan { over_calls: true, ..StepPlan::instructions(50) });
    // The call of longjmp never returns; the program runs to its end instead of leaving the plan hanging.
    assert!(matches!(bundle.stop.reason, StopReason::Exited { status: ExitStatus::Code(3) }), "{:?}", bundle.stop);
}

#[test]
fn a_trace_has_every_instruction() {
    let (mut target, thread, program) = stopped_at("asm_start", &[]);
    let plan = step_plan(&target, thread, StepPlan { trace: true, ..StepPlan::instructions(200) });
    target.resume(&plan).unwrap();
    let mut steps = Vec::new();
    let bundle = loop {
        match event(&mut target) {
            Event::Trace { steps: portion, .. } => steps.extend(portion),
            Event::Stopped(bundle) => break bundle,
            _ => {}
        }
    };
    steps.extend(bundle.trace.clone());
    assert_eq!(steps.len(), 200);
    let pcs: Vec<u64> = steps.iter().map(|step| step.general[16]).collect();
    let start = symbol(&program, "asm_start").0;
    assert_eq!(pcs[..5], [start + 1, start + 2, start + 3, start + 4, start + 5]);
    assert_eq!(pcs[199], pc(&bundle).0);
    assert_eq!(steps[2].code[0], 0x9c);
}

#[test]
fn blocked_sigtrap_neither_hinders_steps_nor_is_changed_by_them() {
    let mut debuggee = start(steps(), &["blocked"]);
    assert_eq!(debuggee.line(), "ready");
    let mut target = target();
    let pid = debuggee.pid();
    let masks = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        (line("SigBlk"), line("SigCgt"))
    };
    let before = masks();
    assert!(before.0.contains("ffff") && before.1.ends_with("10"), "{before:?}");
    let thread = attach(&mut target, pid).stop.thread;
    for _ in 0..3 {
        assert_eq!(outcome(&step(&mut target, thread, StepPlan::instructions(40))), StepOutcome::Counted);
    }
    assert_eq!(masks().0, before.0);
    // While it is debugged, the lifeline catches SIGILL, too.
    target.detach(ProcessId(pid), DetachMode::Deliver).unwrap();
    assert_eq!(masks(), before);
}

#[test]
fn other_threads_hold_or_run_as_told() {
    let (mut target, thread, program) = stopped_at("asm_start", &["threads"]);
    let space = outpost_base::AddressSpaceId(u64::from(thread.0));
    let deep = symbol(&program, "deep");
    let before = word(&mut target, space, deep);
    step(&mut target, thread, StepPlan::instructions(3));
    assert_eq!(word(&mut target, space, deep), before, "held");
    let plan = Plan { others: Action::Run, ..step_plan(&target, thread, StepPlan::instructions(3000)) };
    target.resume(&plan).unwrap();
    stop(&mut target);
    assert_ne!(word(&mut target, space, deep), before, "running");
}

#[test]
fn signal_handlers_run_in_mid_step_without_ending_it() {
    let program = steps();
    let mut target = target();
    let (process, _) = create(&mut target, &program, &["signal"]);
    let space = space(&mut target, process);
    set(&mut target, breakpoint(1, space, symbol(&program, "main")));
    let bundle = go(&mut target);
    let thread = bundle.stop.thread;
    clear(&mut target, 1);
    let mut plan = step_plan(&target, thread, StepPlan { over_calls: true, ..StepPlan::instructions(40) });
    plan.events.pass_signals = 1 << 10;
    target.resume(&plan).unwrap();
    let bundle = stop(&mut target);
    // main returns the number of handled signals within these steps, or is about to.
    match bundle.stop.reason {
        StopReason::Step { outcome: StepOutcome::Counted } => {}
        StopReason::Exited { status } => assert_eq!(status, ExitStatus::Code(2)),
        other => panic!("{other:?}"),
    }
}
