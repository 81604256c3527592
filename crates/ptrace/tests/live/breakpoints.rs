//! Software and hardware breakpoints.

use outpost_base::{Arch, ProcessId, ThreadId, Va};
use outpost_ptrace::LiveTarget;
use outpost_target::condition::{Assembler, Op};
use outpost_target::*;
use outpost_testkit::text_differences;

use super::common::*;

/// Threads that call `work` a number of times each, and say how often that was in all.
const WORKERS: &str = r#"
    #include <pthread.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <unistd.h>
    volatile long calls;
    volatile int watched;
    __attribute__((noinline)) void work(long i) { __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED); }
    __attribute__((noinline)) void odd(void) {
        __asm__ volatile(".globl odd_site\nodd_site: movzwl %%ax, %%eax" ::: "rax");
        __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    }
    static void *run(void *n) { for (long i = 0; i < (long)n; i++) { work(i); odd(); } return 0; }
    int main(int argc, char **argv) {
        int threads = atoi(argv[1]);
        long n = atol(argv[2]);
        if (argc > 3) { puts("ready"); fflush(stdout); }
        pthread_t t[64];
        for (int i = 0; i < threads; i++) pthread_create(&t[i], 0, run, (void *)n);
        for (int i = 0; i < threads; i++) pthread_join(t[i], 0);
        watched = 1;
        watched = 2;
        printf("%ld\n", calls);
        fflush(stdout);
        if (argc > 3) pause();
        return 7;
    }
"#;

fn workers() -> std::path::PathBuf {
    compile("workers", WORKERS, "-no-pie")
}

/// Runs to the end; returns what was printed, the exit status and the hits told with it.
fn finish(target: &mut LiveTarget) -> (String, ExitStatus, u64) {
    run(target);
    let mut text = Vec::new();
    loop {
        match event(target) {
            Event::Output(output) => text.extend(output.bytes),
            Event::Stopped(StopBundle {
                stop: StopRecord { reason: StopReason::Exited { status }, .. }, hits, ..
            }) => {
                let hits = hits.iter().map(|(_, count)| count).sum();
                return (String::from_utf8(text).unwrap(), status, hits);
            }
            Event::Stopped(bundle) => panic!("{:?}", bundle.stop),
            _ => {}
        }
    }
}

#[test]
fn a_hit_stops_at_its_address_and_goes_on_once() {
    let program = workers();
    let mut target = target();
    let (process, bundle) = create(&mut target, &program, &["1", "2"]);
    let space = space(&mut target, process);
    let work = symbol(&program, "work");
    let mut before = [0; 8];
    target.read_memory(space, work, &mut before).unwrap();
    set(&mut target, breakpoint(1, space, work));
    let mut hidden = [0; 8];
    target.read_memory(space, work, &mut hidden).unwrap();
    assert_eq!(before, hidden);
    for hit in 1..=2 {
        let bundle = go(&mut target);
        assert_eq!(bundle.stop.reason, StopReason::Breakpoint { ids: vec![BreakpointId(1)] });
        let (thread, registers) = &bundle.registers[0];
        assert_eq!((*thread, registers.pc()), (bundle.stop.thread, work));
        assert_ne!(bundle.stop.thread, ThreadId(process.0));
        assert_eq!(bundle.hits, [(BreakpointId(1), 1)]);
        assert_eq!(hits(&mut target, 1), hit);
        let code = bundle.memory.iter().find(|block| block.range().contains(work)).unwrap();
        assert_eq!(code.bytes[(work - code.at) as usize..][..8], before);
    }
    assert_eq!(bundle.stop.reason, StopReason::Created);
    assert_eq!(finish(&mut target), ("4\n".into(), ExitStatus::Code(7), 0));
}

/// Eight threads; every call of both functions is counted, whether its instruction is emulated or stepped.
#[test]
fn hits_of_many_threads_are_counted_exactly() {
    let program = workers();
    for (name, calls) in [("work", 2000), ("odd_site", 200)] {
        let mut target = target();
        let (process, _) = create(&mut target, &program, &["8", &calls.to_string()]);
        let space = space(&mut target, process);
        let at = symbol(&program, name);
        set(&mut target, BreakpointSpec { auto_continue: true, ..breakpoint(1, space, at) });
        let (printed, status, counted) = finish(&mut target);
        assert_eq!(status, ExitStatus::Code(7));
        assert_eq!(counted, calls * 8, "{name}");
        assert_eq!(printed, format!("{}\n", calls * 16));
    }
}

/// Every thread stops at each of its calls, and no stop is lost or told twice.
#[test]
fn simultaneous_stops_are_told_one_by_one() {
    let program = workers();
    let mut target = target();
    let (process, _) = create(&mut target, &program, &["8", "20"]);
    let space = space(&mut target, process);
    set(&mut target, breakpoint(1, space, symbol(&program, "work")));
    let mut stops = std::collections::BTreeMap::<ThreadId, u32>::new();
    loop {
        let bundle = go(&mut target);
        match bundle.stop.reason {
            StopReason::Breakpoint { .. } => *stops.entry(bundle.stop.thread).or_default() += 1,
            StopReason::Exited { status } => {
                assert_eq!(status, ExitStatus::Code(7));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(stops.values().copied().collect::<Vec<_>>(), [20; 8]);
}

#[test]
fn conditions_filters_and_skips_decide_beside_the_target() {
    let program = workers();
    let mut target = target();
    let (process, _) = create(&mut target, &program, &["2", "100"]);
    let space = space(&mut target, process);
    // rdi == 41
    let mut code = Assembler::default();
    code.register(Arch::X86_64.register_by_name("rdi").unwrap());
    code.constant(41);
    code.op(Op::Equal);
    code.op(Op::Return);
    let condition = Some(code.finish().unwrap());
    let work = symbol(&program, "work");
    set(&mut target, BreakpointSpec { condition, ..breakpoint(1, space, work) });
    set(&mut target, BreakpointSpec { skip: 150, ..breakpoint(2, space, work) });
    let mut seen = Vec::new();
    loop {
        let bundle = go(&mut target);
        let StopReason::Breakpoint { ids } = &bundle.stop.reason else { break };
        if ids.contains(&BreakpointId(1)) {
            assert_eq!(bundle.registers[0].1.get_u64(Arch::X86_64.register_by_name("rdi").unwrap()), Some(41));
        }
        seen.extend(ids.clone());
        if ids.contains(&BreakpointId(2)) {
            let only = ThreadFilter::Only(ThreadId(process.0));
            set(&mut target, BreakpointSpec { threads: only, ..breakpoint(2, space, work) });
        }
    }
    seen.sort();
    assert_eq!(seen, [BreakpointId(1), BreakpointId(1), BreakpointId(2)]);
}

#[test]
fn one_shot_and_cleared_breakpoints_leave_no_byte() {
    let program = workers();
    let mut target = target();
    let (process, _) = create(&mut target, &program, &["2", "50"]);
    let space = space(&mut target, process);
    set(&mut target, BreakpointSpec { one_shot: true, ..breakpoint(1, space, symbol(&program, "work")) });
    set(&mut target, breakpoint(2, space, symbol(&program, "odd_site")));
    let first = go(&mut target);
    assert_eq!(first.stop.reason, StopReason::Breakpoint { ids: vec![BreakpointId(1)] });
    let second = go(&mut target);
    assert_eq!(second.stop.reason, StopReason::Breakpoint { ids: vec![BreakpointId(2)] });
    clear(&mut target, 2);
    let main = symbol(&program, "main");
    set(&mut target, breakpoint(3, space, main));
    assert_ne!(text_differences(process.0), []);
    clear(&mut target, 3);
    // The loader's function is watched until the process is let go.
    assert!(text_differences(process.0).len() <= 1);
    assert_eq!(finish(&mut target), ("200\n".into(), ExitStatus::Code(7), 0));
}

#[test]
fn writes_land_under_a_breakpoint() {
    let program = workers();
    let mut target = target();
    let (process, _) = create(&mut target, &program, &["1", "1"]);
    let space = space(&mut target, process);
    let odd = symbol(&program, "odd_site");
    set(&mut target, breakpoint(1, space, odd));
    // mov $5, %eax; nop... : nothing that can be told from outside but by reading and running it.
    let patch = [0x90, 0x90, 0x90];
    let wrote =
        target.as_live().unwrap().write_many(space, &[WriteRequest { at: odd, bytes: patch.to_vec() }]).unwrap();
    assert_eq!(wrote, [3]);
    let mut read = [0; 3];
    target.read_memory(space, odd, &mut read).unwrap();
    assert_eq!(read, patch);
    assert!(matches!(go(&mut target).stop.reason, StopReason::Breakpoint { .. }), "it is still there");
    clear(&mut target, 1);
    target.read_memory(space, odd, &mut read).unwrap();
    assert_eq!(read, patch, "removing it leaves what was written");
    assert_eq!(finish(&mut target).1, ExitStatus::Code(7));
}

#[test]
fn data_breakpoints_stop_after_the_access() {
    let program = workers();
    let mut target = target();
    let (process, _) = create(&mut target, &program, &["2", "10"]);
    let space = space(&mut target, process);
    let watched = symbol(&program, "watched");
    let watch = |id, at, access, len| BreakpointSpec {
        kind: BreakpointKind::Hardware { access, len },
        ..breakpoint(id, space, at)
    };
    set(&mut target, watch(1, watched, HardwareAccess::Write, 4));
    for value in [1, 2] {
        let bundle = go(&mut target);
        assert_eq!(bundle.stop.reason, StopReason::Breakpoint { ids: vec![BreakpointId(1)] });
        assert_eq!(word(&mut target, space, watched) as u32, value);
    }
    for id in 2..=4 {
        set(&mut target, watch(id, watched, HardwareAccess::ReadWrite, 4));
    }
    let fifth = BreakpointChange::Set(watch(5, symbol(&program, "work"), HardwareAccess::Execute, 1));
    let refused = target.change_breakpoints(&[fifth]).unwrap().remove(0);
    assert!(refused.unwrap_err().to_string().contains("all four"), "a fifth for execution is refused");
    assert_eq!(finish(&mut target).1, ExitStatus::Code(7));
}

/// Threads that did not exist when the breakpoint was set have it, and it passes its own instruction.
#[test]
fn execution_breakpoints_hit_in_new_threads() {
    let program = workers();
    let mut target = target();
    let (process, _) = create(&mut target, &program, &["3", "4"]);
    let space = space(&mut target, process);
    let work = symbol(&program, "work");
    let kind = BreakpointKind::Hardware { access: HardwareAccess::Execute, len: 1 };
    set(&mut target, BreakpointSpec { kind, ..breakpoint(1, space, work) });
    for _ in 0..12 {
        let bundle = go(&mut target);
        assert_eq!(bundle.stop.reason, StopReason::Breakpoint { ids: vec![BreakpointId(1)] });
        assert_eq!(bundle.registers[0].1.pc(), work);
    }
    assert_eq!(finish(&mut target), ("24\n".into(), ExitStatus::Code(7), 0));
}

#[test]
fn letting_go_with_breakpoints_hit_all_the_time_leaves_the_text_as_the_file() {
    let program = workers();
    for round in 0..5 {
        let mut debuggee = start(&program, &["8", "3000000", "waits"]);
        assert_eq!(debuggee.line(), "ready");
        let mut target = target();
        attach(&mut target, debuggee.pid());
        let process = ProcessId(debuggee.pid());
        let space = space(&mut target, process);
        for (id, name) in [(1, "work"), (2, "odd_site")] {
            set(&mut target, BreakpointSpec { auto_continue: true, ..breakpoint(id, space, symbol(&program, name)) });
        }
        run(&mut target);
        let waited = target.wait_event(Some(std::time::Duration::from_millis(30 + 10 * round)), &[]).unwrap();
        assert!(!matches!(waited, Waited::Event(Event::Stopped(_))));
        target.detach(process, DetachMode::Deliver).unwrap();
        assert_eq!(text_differences(debuggee.pid()), []);
        assert_eq!(debuggee.line(), "48000000");
        assert!(debuggee.is_running());
    }
}

#[test]
fn an_unmapped_address_is_refused() {
    let mut target = target();
    let (process, _) = create(&mut target, workers(), &["1", "1"]);
    let space = space(&mut target, process);
    let answers = target.change_breakpoints(&[BreakpointChange::Set(breakpoint(1, space, Va(16)))]).unwrap();
    assert_eq!(answers, [Err(TargetError::Unmapped { at: Va(16) })]);
}

/// What is mapped: executable, or as the room for our calls' frames is.
fn mappings(process: ProcessId) -> Vec<String> {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    maps.lines().filter(|line| line.contains("r-xp") || line.split(' ').count() < 7).map(str::to_owned).collect()
}

/// A program low in memory: the flags and sizes on its stacks look like addresses just below it.
#[test]
fn numbers_like_addresses_keep_nothing_of_ours() {
    let source = r#"
        #include <stdio.h>
        #include <unistd.h>
        volatile long calls;
        volatile int ended;
        __attribute__((noinline)) void work(volatile long *n) { calls += n[1]; }
        int main(void) {
            volatile long numbers[4096];
            /* As clone's flags are, 0x3d0f00; and the ends of pages. */
            for (long i = 0; i < 4096; i++) numbers[i] = (i << 12) + (i % 2 ? 0xf00 : 0xff8);
            puts("ready"); fflush(stdout);
            while (!ended) { work(numbers); usleep(100); }
            return 7;
        }
    "#;
    for flags in ["-no-pie", "-no-pie -static", "-pie -fpie"] {
        let mut debuggee = start(compile("numbers", source, flags), &[]);
        debuggee.line();
        let process = ProcessId(debuggee.pid());
        let before = mappings(process);
        let mut target = target();
        attach(&mut target, debuggee.pid());
        let space = space(&mut target, process);
        let base = target.modules(process).unwrap()[0].range.start;
        let at = symbol(compile("numbers", source, flags), "work");
        let at = if at < Va(0x1_0000) { base + at.0 } else { at };
        let state = set(&mut target, breakpoint(1, space, at));
        assert_eq!(state.safety, KillSafety::Safe, "{flags}");
        for _ in 0..3 {
            assert!(matches!(go(&mut target).stop.reason, StopReason::Breakpoint { .. }));
        }
        assert_ne!(mappings(process), before);
        target.detach(process, DetachMode::Deliver).unwrap();
        assert_eq!(mappings(process), before, "{flags}");
        assert_eq!(text_differences(debuggee.pid()), []);
    }
}

/// Let go in the middle of a signal's delivery, the program has nothing of ours any more, and gets the signal with all it carries.
#[test]
fn a_signal_on_its_way_keeps_nothing_of_ours() {
    let source = r#"
        #define _GNU_SOURCE
        #include <setjmp.h>
        #include <signal.h>
        #include <stdio.h>
        #include <unistd.h>
        static sigjmp_buf back;
        static void *volatile wrong;
        static void on_fault(int s, siginfo_t *info, void *context) {
            if (info->si_addr != (void *)8 || info->si_code != SEGV_MAPERR) { puts("not whole"); _exit(9); }
            siglongjmp(back, 1);
        }
        __attribute__((noinline)) void work(long n) { __asm__ volatile("" :: "r"(n)); }
        int main(void) {
            struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
            sigaction(SIGSEGV, &action, 0);
            puts("ready"); fflush(stdout);
            for (long n = 0;; n++) {
                work(n);
                if (!sigsetjmp(back, 1)) { *(volatile int *)8 = 1; }
                if (n % 1000 == 0) { puts("on"); fflush(stdout); }
            }
        }
    "#;
    let program = compile("on_its_way", source, "-no-pie");
    let mut debuggee = start(&program, &[]);
    debuggee.line();
    let process = ProcessId(debuggee.pid());
    let before = mappings(process);
    let mut target = target();
    attach(&mut target, debuggee.pid());
    let space = space(&mut target, process);
    let id = BreakpointSpec { auto_continue: true, ..breakpoint(1, space, symbol(&program, "work")) };
    set(&mut target, id);
    // At the second stop of this kind the site was hit in between.
    while hits(&mut target, 1) < 3 {
        assert!(matches!(&go(&mut target).stop.reason, StopReason::Signal(info) if info.signo == 11));
    }
    target.detach(process, DetachMode::Deliver).unwrap();
    assert_eq!(mappings(process), before);
    assert_eq!(text_differences(debuggee.pid()), []);
    for _ in 0..3 {
        assert_eq!(debuggee.line(), "on");
    }
}
