//! Signals, stops and breaking in.

use std::time::Duration;

use outpost_base::{ProcessId, Va};
use outpost_ptrace::LiveTarget;
use outpost_target::*;

use super::common::*;

pub(crate) const SIGNALS: &str = r#"
    #include <signal.h>
    #include <stdio.h>
    #include <string.h>
    #include <sys/types.h>
    #include <unistd.h>
    volatile int count, value;
    volatile void *where;
    static void on(int s, siginfo_t *i, void *c) { count++; value = i->si_value.sival_int; where = i->si_addr; }
    int main(int argc, char **argv) {
        struct sigaction a = { .sa_sigaction = on, .sa_flags = SA_SIGINFO };
        sigaction(SIGUSR1, &a, 0);
        sigaction(SIGRTMIN + 3, &a, 0);
        if (!strcmp(argv[1], "queue")) {
            union sigval v = { .sival_int = 4711 };
            sigqueue(getpid(), SIGRTMIN + 3, v);
            return count == 1 && value == 4711 ? 9 : 1;
        }
        if (!strcmp(argv[1], "raise")) {
            raise(SIGUSR1);
            return count;
        }
        if (!strcmp(argv[1], "fault")) *(volatile int *)0x10 = 1;
        if (!strcmp(argv[1], "trap")) { __asm__ volatile("int3"); return 4; }
        if (!strcmp(argv[1], "wait")) { puts("ready"); fflush(stdout); for (;;) { pause(); printf("%d\n", count); fflush(stdout); } }
        return 0;
    }
"#;

fn signals(how: &str) -> (LiveTarget, StopBundle) {
    let mut target = target();
    let (_, bundle) = create(&mut target, compile("signals", SIGNALS, "-no-pie"), &[how]);
    (target, bundle)
}

fn signal(bundle: &StopBundle) -> &SigInfo {
    match &bundle.stop.reason {
        StopReason::Signal(info) => info,
        other => panic!("{other:?}"),
    }
}

fn go_with(target: &mut LiveTarget, signal: SignalAction) -> StopBundle {
    let plan = Plan { others_signal: signal, ..Plan::run_all(generation(target)) };
    target.resume(&plan).unwrap();
    stop(target)
}

pub(crate) fn exit_code(bundle: &StopBundle) -> i32 {
    match bundle.stop.reason {
        StopReason::Exited { status: ExitStatus::Code(code) } => code,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_signal_stops_first_and_is_delivered_swallowed_or_replaced() {
    let (mut target, _) = signals("raise");
    let bundle = go(&mut target);
    assert_eq!((signal(&bundle).signo, signal(&bundle).fatal_by_default), (10, false));
    assert_eq!(target.pending_signal(bundle.stop.thread).unwrap().unwrap().signo, 10);
    assert_eq!(exit_code(&go(&mut target)), 1);

    let (mut target, _) = signals("raise");
    go(&mut target);
    assert_eq!(exit_code(&go_with(&mut target, SignalAction::Swallow)), 0);

    let (mut target, _) = signals("raise");
    let mut info = signal(&go(&mut target)).clone();
    (info.signo, info.raw) = (15, Vec::new());
    let end = go_with(&mut target, SignalAction::Replace(info));
    let status = ExitStatus::Signal { signo: 15, core_dumped: false };
    assert_eq!(end.stop.reason, StopReason::Exited { status });
}

/// The value queued with a realtime signal arrives, though the thread was stepped in between.
#[test]
fn what_a_signal_carries_survives_stops() {
    let (mut target, _) = signals("queue");
    let bundle = go(&mut target);
    assert_eq!(signal(&bundle).signo, 34 + 3);
    assert_eq!(signal(&bundle).sender, bundle.stop.process);
    let thread = bundle.stop.thread;
    // One instruction with the signal delivered enters the handler.
    let bundle = step(&mut target, thread, StepPlan::instructions(1));
    assert!(matches!(bundle.stop.reason, StopReason::Step { .. }));
    assert_eq!(exit_code(&go(&mut target)), 9);
}

#[test]
fn faults_say_where_and_kill_when_delivered() {
    let (mut target, _) = signals("fault");
    let bundle = go(&mut target);
    assert_eq!((signal(&bundle).signo, signal(&bundle).address), (11, Va(0x10)));
    assert!(signal(&bundle).fatal_by_default);
    let end = go(&mut target);
    assert!(matches!(end.stop.reason, StopReason::Exited { status: ExitStatus::Signal { signo: 11, .. } }));
}

#[test]
fn a_trap_of_the_programs_own_is_told_from_ours() {
    let (mut target, _) = signals("trap");
    assert_eq!(go(&mut target).stop.reason, StopReason::ForeignTrap);
    assert_eq!(exit_code(&go(&mut target)), 4);
}

#[test]
fn signals_by_mask_pass_or_are_dropped_without_a_stop() {
    for (pass, count) in [(true, "1"), (false, "0")] {
        let mut debuggee = start(compile("signals", SIGNALS, "-no-pie"), &["wait"]);
        debuggee.line();
        let mut target = target();
        attach(&mut target, debuggee.pid());
        let mut plan = Plan::run_all(generation(&target));
        let mask = if pass { &mut plan.events.pass_signals } else { &mut plan.events.drop_signals };
        *mask = 1 << 10;
        target.resume(&plan).unwrap();
        debuggee.signal("USR1");
        let waited = target.wait_event(Some(Duration::from_millis(200)), &[]).unwrap();
        assert!(matches!(waited, Waited::TimedOut));
        target.detach(ProcessId(debuggee.pid()), DetachMode::Deliver).unwrap();
        if pass {
            assert_eq!(debuggee.line(), count);
        } else {
            // Forgotten: the next one is the first the program sees.
            debuggee.signal("USR1");
            assert_eq!(debuggee.line(), "1");
        }
    }
}

#[test]
fn detaching_delivers_or_swallows_what_is_pending() {
    for (mode, first) in [(DetachMode::Deliver, "1"), (DetachMode::Swallow, "1")] {
        let mut debuggee = start(compile("signals", SIGNALS, "-no-pie"), &["wait"]);
        debuggee.line();
        let mut target = target();
        attach(&mut target, debuggee.pid());
        run(&mut target);
        debuggee.signal("USR1");
        assert_eq!(signal(&stop(&mut target)).signo, 10);
        target.detach(ProcessId(debuggee.pid()), mode).unwrap();
        if mode == DetachMode::Swallow {
            std::thread::sleep(Duration::from_millis(50));
            debuggee.signal("USR1");
        }
        assert_eq!(debuggee.line(), first, "{mode:?}");
    }
}

#[test]
fn abandoned_processes_stay_stopped_and_can_be_taken_over() {
    let mut debuggee = start(compile("signals", SIGNALS, "-no-pie"), &["wait"]);
    debuggee.line();
    let process = ProcessId(debuggee.pid());
    {
        let mut target = target();
        attach(&mut target, debuggee.pid());
        target.detach(process, DetachMode::LeaveStopped).unwrap();
        assert_eq!(task_states(process), ['T']);
    }
    let mut target = target();
    target.attach(process, AttachMode::Existing, &BundleRequest::default()).unwrap().unwrap();
    let mut plan = Plan::run_all(generation(&target));
    plan.events.pass_signals = u128::MAX;
    target.resume(&plan).unwrap();
    debuggee.signal("USR1");
    let waited = target.wait_event(Some(Duration::from_millis(300)), &[]).unwrap();
    assert!(matches!(waited, Waited::TimedOut));
    assert_eq!(debuggee.line(), "1", "it runs");
}

/// State letters of its threads.
fn task_states(process: ProcessId) -> Vec<char> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let stats = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap());
    stats.map(|stat| stat.rsplit(") ").next().unwrap().chars().next().unwrap()).collect()
}

#[test]
fn a_process_that_is_left_stopped_is_so_with_all_its_threads() {
    let program = r#"
        #include <pthread.h>
        #include <signal.h>
        #include <stdio.h>
        #include <unistd.h>
        static void on_alarm(int s) { }
        static void *run(void *n) { for (volatile long i = 0;; i++) if (n) usleep(1); return 0; }
        int main(void) {
            struct sigaction action = { .sa_handler = on_alarm };
            sigaction(SIGALRM, &action, 0);
            ualarm(500, 500);
            for (long i = 0; i < 12; i++) { pthread_t t; pthread_create(&t, 0, run, (void *)(i % 3)); }
            puts("ready"); fflush(stdout);
            for (;;) pause();
        }
    "#;
    let mut debuggee = start(compile("left_stopped", program, "-pthread"), &[]);
    debuggee.line();
    let process = ProcessId(debuggee.pid());
    let mut target = target();
    for _ in 0..20 {
        attach(&mut target, debuggee.pid());
        target.detach(process, DetachMode::LeaveStopped).unwrap();
        assert_eq!(task_states(process), ['T'; 13]);
    }
}

#[test]
fn group_stops_are_left_to_job_control() {
    let mut debuggee = start(compile("signals", SIGNALS, "-no-pie"), &["wait"]);
    debuggee.line();
    let mut target = target();
    attach(&mut target, debuggee.pid());
    let mut plan = Plan::run_all(generation(&target));
    plan.events.pass_signals = u128::MAX;
    target.resume(&plan).unwrap();
    debuggee.signal("STOP");
    let waited = target.wait_event(Some(Duration::from_millis(100)), &[]).unwrap();
    assert!(matches!(waited, Waited::TimedOut));
    // Breaking in works meanwhile, and going on does not end the group-stop.
    target.interrupter().break_in();
    let bundle = stop(&mut target);
    assert_eq!(bundle.stop.reason, StopReason::BreakIn);
    let thread = bundle.stop.thread;
    assert_ne!(registers(&mut target, thread).pc(), Va(0));
    let mut plan = Plan::run_all(generation(&target));
    plan.events.pass_signals = u128::MAX;
    target.resume(&plan).unwrap();
    debuggee.signal("USR1");
    target.wait_event(Some(Duration::from_millis(100)), &[]).unwrap();
    debuggee.signal("CONT");
    target.wait_event(Some(Duration::from_millis(200)), &[]).unwrap();
    assert_eq!(debuggee.line(), "1");
}

#[test]
fn breaking_in_from_another_thread_stops_what_runs() {
    let mut debuggee = start(compile("signals", SIGNALS, "-no-pie"), &["wait"]);
    debuggee.line();
    let mut target = target();
    attach(&mut target, debuggee.pid());
    run(&mut target);
    let interrupter = target.interrupter();
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        interrupter.break_in();
    });
    assert_eq!(stop(&mut target).stop.reason, StopReason::BreakIn);
    other.join().unwrap();
    // Nothing runs: breaking in again has no effect.
    target.interrupter().break_in();
    let waited = target.wait_event(Some(Duration::from_millis(50)), &[]).unwrap();
    assert!(matches!(waited, Waited::TimedOut));
}

/// The link is looked at while a debuggee runs, also in the middle of a plan that takes long, and nothing is lost.
#[test]
fn other_descriptors_end_a_wait_and_the_run_goes_on() {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    let program = compile("spin", "volatile long n; int main(void) { for (;;) n++; }", "-no-pie");
    let debuggee = start(&program, &[]);
    let mut target = target();
    let thread = attach(&mut target, debuggee.pid()).stop.thread;
    let plan = step_plan(&target, thread, StepPlan::instructions(3_000_000));
    target.resume(&plan).unwrap();
    let (mut near, mut far) = UnixStream::pair().unwrap();
    for _ in 0..50 {
        far.write_all(b"x").unwrap();
        let waited = target.wait_event(Some(LIMIT), &[near.as_fd()]).unwrap();
        assert!(matches!(waited, Waited::OtherReadable));
        near.read_exact(&mut [0]).unwrap();
    }
    let begin = std::time::Instant::now();
    let waited = target.wait_event(Some(Duration::from_millis(30)), &[near.as_fd()]).unwrap();
    assert!(matches!(waited, Waited::TimedOut));
    assert!(begin.elapsed() < Duration::from_secs(2));
    target.interrupter().break_in();
    assert_eq!(stop(&mut target).stop.reason, StopReason::BreakIn);
}
