//! Signals, threads, processes and modules that come and go.

use std::time::Duration;

use outpost_base::{ProcessId, ThreadId, Va};
use outpost_ptrace::LiveTarget;
use outpost_target::*;
use outpost_testkit::text_differences;

use super::common::*;

const SIGNALS: &str = r#"
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

fn exit_code(bundle: &StopBundle) -> i32 {
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

const FAMILY: &str = r#"
    #define _GNU_SOURCE
    #include <pthread.h>
    #include <spawn.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/wait.h>
    #include <unistd.h>
    extern char **environ;
    volatile long calls;
    __attribute__((noinline)) void work(void) { calls++; }
    static char *self;
    static void *other(void *x) { work(); return x; }
    static void *execer(void *x) { execl(self, self, "five", (char *)0); return x; }
    static void *waits(void *x) { for (;;) pause(); }
    int main(int argc, char **argv) {
        self = argv[0];
        char *how = argv[1];
        int n = argc > 2 ? atoi(argv[2]) : 1, failed = 0;
        work();
        if (!strcmp(how, "five")) return 5;
        if (!strcmp(how, "exec")) execl(self, self, "five", (char *)0);
        if (!strcmp(how, "thread-exec")) {
            pthread_t a, b;
            pthread_create(&a, 0, waits, 0);
            pthread_create(&b, 0, execer, 0);
            for (;;) pause();
        }
        if (!strcmp(how, "leader-exit")) {
            pthread_t a;
            pthread_create(&a, 0, other, 0);
            pthread_exit(0);
        }
        for (int i = 0; i < n; i++) {
            int status = 0;
            if (!strcmp(how, "fork")) {
                pid_t p = fork();
                if (!p) { work(); _exit(6); }
                waitpid(p, &status, 0);
                failed += !WIFEXITED(status) || WEXITSTATUS(status) != 6;
            }
            if (!strcmp(how, "vfork")) {
                pid_t p = vfork();
                if (!p) { work(); _exit(6); }
                waitpid(p, &status, 0);
                failed += !WIFEXITED(status) || WEXITSTATUS(status) != 6;
            }
            if (!strcmp(how, "spawn")) {
                pid_t p;
                char *arguments[] = { self, "five", 0 };
                if (posix_spawn(&p, self, 0, 0, arguments, environ)) failed++;
                waitpid(p, &status, 0);
                failed += !WIFEXITED(status) || WEXITSTATUS(status) != 5;
            }
            if (!strcmp(how, "threads")) {
                pthread_t t;
                if (pthread_create(&t, 0, other, 0)) failed++;
                pthread_join(t, 0);
            }
        }
        work();
        return failed ? 1 : 7;
    }
"#;

/// SIGCHLD, which hardly anybody wants to stop for.
const CHILD: u128 = 1 << 17;

fn family(how: &str, count: &str) -> (LiveTarget, ProcessId, std::path::PathBuf) {
    let program = compile("family", FAMILY, "-no-pie");
    let mut target = target();
    let (process, _) = create(&mut target, &program, &[how, count]);
    (target, process, program)
}

/// A breakpoint is in memory all the time; children that are not followed never see it, and none is lost.
#[test]
fn storms_of_children_leave_parent_and_children_unharmed() {
    for how in ["fork", "vfork", "spawn", "threads"] {
        let (mut target, process, program) = family(how, "100");
        let space = space(&mut target, process);
        set(&mut target, BreakpointSpec { auto_continue: true, ..breakpoint(1, space, symbol(&program, "work")) });
        let mut plan = Plan::run_all(generation(&target));
        plan.events.pass_signals = CHILD;
        target.resume(&plan).unwrap();
        let end = stop(&mut target);
        assert_eq!(exit_code(&end), 7, "{how}");
        let expected = if how == "threads" { 102 } else { 2 };
        assert_eq!(end.hits, [(BreakpointId(1), expected)], "{how}");
        assert!(target.processes().unwrap().is_empty());
    }
}

#[test]
fn forks_stop_when_asked_and_children_are_followed() {
    let (mut target, process, program) = family("fork", "1");
    let mut plan = Plan::run_all(generation(&target));
    (plan.events.fork, plan.events.follow_forks) = (true, true);
    plan.events.pass_signals = CHILD;
    target.resume(&plan).unwrap();
    let bundle = stop(&mut target);
    let StopReason::Forked { child, vfork: false, followed: true } = bundle.stop.reason else {
        panic!("{:?}", bundle.stop)
    };
    assert_eq!(bundle.stop.process, process);
    let processes = target.processes().unwrap();
    let info = processes.iter().find(|known| known.id == child).unwrap();
    assert_eq!((info.parent, info.origin), (process, ProcessOrigin::Child));
    set(&mut target, breakpoint(1, info.space, symbol(&program, "work")));
    let bundle = go(&mut target);
    assert_eq!((bundle.stop.process, bundle.stop.thread), (child, ThreadId(child.0)));
    for (process, code) in [(child, 6), (process, 7)] {
        let mut plan = Plan::run_all(generation(&target));
        plan.events.pass_signals = CHILD;
        target.resume(&plan).unwrap();
        let end = stop(&mut target);
        assert_eq!((end.stop.process, exit_code(&end)), (process, code));
    }
}

#[test]
fn exec_is_a_stop_and_drops_breakpoints() {
    for how in ["exec", "thread-exec"] {
        let (mut target, process, program) = family(how, "1");
        let old_space = space(&mut target, process);
        set(&mut target, breakpoint(1, old_space, symbol(&program, "main")));
        assert!(matches!(go(&mut target).stop.reason, StopReason::Breakpoint { .. }));
        let bundle = go(&mut target);
        let StopReason::Execed { executable, former_thread } = &bundle.stop.reason else { panic!("{:?}", bundle.stop) };
        assert_eq!(executable, program.canonicalize().unwrap().to_str().unwrap());
        assert_eq!(bundle.stop.thread, ThreadId(process.0));
        assert_eq!(*former_thread != ThreadId(process.0), how == "thread-exec");
        assert_eq!(target.threads(process).unwrap().len(), 1);
        assert!(target.breakpoint_states().unwrap().is_empty());
        // It can be set again in the new image, and is met.
        let space = space(&mut target, process);
        set(&mut target, breakpoint(2, space, symbol(&program, "work")));
        assert!(matches!(go(&mut target).stop.reason, StopReason::Breakpoint { .. }), "{how}");
        assert_eq!(exit_code(&go(&mut target)), 5);
    }
}

#[test]
fn a_leader_that_ends_first_ends_its_process_last() {
    let (mut target, process, program) = family("leader-exit", "1");
    let space = space(&mut target, process);
    let mut plan = Plan::run_all(generation(&target));
    plan.events.thread_exit = true;
    set(&mut target, BreakpointSpec { skip: 1, ..breakpoint(1, space, symbol(&program, "work")) });
    let mut reasons = Vec::new();
    loop {
        target.resume(&plan).unwrap();
        let bundle = stop(&mut target);
        plan.generation = bundle.generation;
        let ended = matches!(bundle.stop.reason, StopReason::Exited { .. });
        reasons.push(bundle.stop.reason);
        if ended {
            break;
        }
    }
    // The last thread ends the process by exit_group, which may take the leader out of its own exit stop.
    let exits = reasons.iter().filter(|reason| matches!(reason, StopReason::ThreadExiting { .. })).count();
    assert!((1..=2).contains(&exits), "{exits} exits");
    assert_eq!(reasons.iter().filter(|reason| matches!(reason, StopReason::Breakpoint { .. })).count(), 1);
    assert_eq!(reasons.last(), Some(&StopReason::Exited { status: ExitStatus::Code(0) }));
}

#[test]
fn thread_starts_stop_when_asked() {
    let (mut target, process, _) = family("threads", "3");
    let mut started = Vec::new();
    loop {
        let mut plan = Plan::run_all(generation(&target));
        plan.events.thread_start = true;
        target.resume(&plan).unwrap();
        let bundle = stop(&mut target);
        if bundle.stop.reason != StopReason::ThreadStarted {
            assert_eq!(exit_code(&bundle), 7);
            break;
        }
        assert!(bundle.threads.unwrap().iter().any(|info| info.id == bundle.stop.thread && info.process == process));
        started.push(bundle.stop.thread);
    }
    started.dedup();
    assert_eq!(started.len(), 3);
}

/// Threads come and go while we attach, step and let go; the program is none the wiser.
#[test]
fn attaching_in_a_storm_of_threads() {
    let source = r#"
        #include <pthread.h>
        #include <stdio.h>
        volatile long made;
        static void *end(void *x) { return x; }
        static void *make(void *x) {
            for (;;) { pthread_t t; if (!pthread_create(&t, 0, end, 0)) pthread_join(t, 0); made++; }
        }
        int main(void) {
            pthread_t t[4];
            for (int i = 0; i < 4; i++) pthread_create(&t[i], 0, make, 0);
            puts("ready");
            fflush(stdout);
            make(0);
        }
    "#;
    let mut debuggee = start(compile("storm", source, "-no-pie"), &[]);
    debuggee.line();
    let process = ProcessId(debuggee.pid());
    for _ in 0..20 {
        let mut target = target();
        let bundle = attach(&mut target, debuggee.pid());
        assert_eq!(bundle.unstoppable, []);
        let thread = bundle.stop.thread;
        // The others run, since the thread may be about to wait for one of them.
        let plan = Plan { others: Action::Run, ..step_plan(&target, thread, StepPlan::instructions(20)) };
        target.resume(&plan).unwrap();
        let reason = stop(&mut target).stop.reason;
        assert_eq!(reason, StopReason::Step { outcome: StepOutcome::Counted });
        run(&mut target);
        drop(target.wait_event(Some(Duration::from_millis(5)), &[]).unwrap());
        target.interrupter().break_in();
        assert_eq!(stop(&mut target).stop.reason, StopReason::BreakIn);
        target.detach(process, DetachMode::Deliver).unwrap();
    }
    assert!(debuggee.is_running());
    assert_eq!(text_differences(debuggee.pid()), []);
}

#[test]
fn modules_are_told_when_they_come_and_go() {
    let source = r#"
        #include <dlfcn.h>
        int main(void) {
            for (int i = 0; i < 2; i++) {
                void *m = dlopen("libm.so.6", RTLD_NOW);
                if (!m) return 1;
                dlclose(m);
            }
            return 7;
        }
    "#;
    let mut target = target();
    let (process, bundle) = create(&mut target, compile("dlopens", source, ""), &[]);
    assert!(bundle.modules.is_some_and(|lists| !lists[0].1.is_empty()));
    let mut counts = Vec::new();
    let has_libm = |modules: &[ModuleInfo]| modules.iter().any(|module| module.path.ends_with("libm.so.6"));
    loop {
        let mut plan = Plan::run_all(generation(&target));
        plan.events.modules = true;
        target.resume(&plan).unwrap();
        let bundle = stop(&mut target);
        if bundle.stop.reason != StopReason::ModulesChanged {
            assert_eq!(exit_code(&bundle), 7);
            break;
        }
        let lists = bundle.modules.unwrap();
        assert_eq!(lists[0].0, process);
        assert!(lists[0].1.iter().any(|module| module.path.contains("libc.so")));
        counts.push(has_libm(&lists[0].1));
        assert_eq!(has_libm(&target.modules(process).unwrap()), has_libm(&lists[0].1));
    }
    assert_eq!(counts, [false, true, false, true, false]);
}

#[test]
fn suspended_threads_stay_and_stale_plans_are_refused() {
    let (mut target, process, _) = family("threads", "1");
    let thread = ThreadId(process.0);
    assert_eq!(target.adjust_suspend(&[thread], 1).unwrap(), [1]);
    run(&mut target);
    let waited = target.wait_event(Some(Duration::from_millis(50)), &[]).unwrap();
    assert!(matches!(waited, Waited::TimedOut));
    let stale = Plan::run_all(StopGeneration(0));
    let error = target.resume(&stale).unwrap_err();
    assert_eq!(error, TargetError::StaleGeneration { asked: 0, current: 1 });
    assert_eq!(target.adjust_suspend(&[thread], -1).unwrap(), [0]);
    run(&mut target);
    assert_eq!(exit_code(&stop(&mut target)), 7);
}

#[test]
fn a_killed_process_is_gone_and_one_killed_from_outside_is_told() {
    let program = compile("signals", SIGNALS, "-no-pie");
    let mut target = target();
    let (process, _) = create(&mut target, &program, &["wait"]);
    target.kill(process).unwrap();
    assert!(target.processes().unwrap().is_empty());
    assert!(!std::path::Path::new(&format!("/proc/{process}")).exists());
    let (process, _) = create(&mut target, &program, &["wait"]);
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(process.0 as i32).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let end = stop(&mut target);
    assert_eq!(end.stop.process, process);
    let status = ExitStatus::Signal { signo: 9, core_dumped: false };
    assert_eq!(end.stop.reason, StopReason::Exited { status });
}

/// A program that was told what to do and has three threads beside its main one, attached to: `last` comes next.
fn about_to(name: &str, last: &str) -> (outpost_testkit::Running, LiveTarget, Vec<ThreadId>) {
    const SOURCE: &str = r#"
        #include <pthread.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <unistd.h>
        static void *body(void *p) { for (;;) pause(); return p; }
        int main(void) {
            pthread_t t;
            for (int i = 0; i < 3; i++) pthread_create(&t, 0, body, 0);
            puts("ready"); fflush(stdout);
            getchar();
            LAST;
        }
    "#;
    let program = compile(name, &SOURCE.replace("LAST", last), "");
    let mut command = std::process::Command::new(program);
    let mut debuggee = outpost_testkit::Running::command(command.stdin(std::process::Stdio::piped()));
    assert_eq!(debuggee.line(), "ready");
    let mut target = target();
    let process = ProcessId(debuggee.pid());
    attach(&mut target, process.0);
    debuggee.say("go\n");
    let threads = target.threads(process).unwrap();
    let others: Vec<ThreadId> = threads.iter().map(|thread| thread.id).filter(|id| id.0 != process.0).collect();
    assert_eq!(others.len(), 3);
    (debuggee, target, others)
}

/// A plan in which only the main thread runs.
fn main_alone(target: &LiveTarget, process: u32) -> Plan {
    let runs = ThreadPlan { thread: ThreadId(process), action: Action::Run, signal: SignalAction::Deliver };
    Plan { threads: vec![runs], others: Action::Hold, ..Plan::run_all(generation(target)) }
}

/// The kernel lets a process end only once each of its threads has; one that a plan holds would be waited for for ever.
#[test]
fn a_process_ends_with_threads_that_are_held_or_suspended() {
    for suspends in [false, true] {
        let (debuggee, mut target, others) = about_to("ends_held", "exit(7)");
        let plan = if suspends {
            target.adjust_suspend(&others, 1).unwrap();
            Plan::run_all(generation(&target))
        } else {
            main_alone(&target, debuggee.pid())
        };
        target.resume(&plan).unwrap();
        assert_eq!(exit_code(&stop(&mut target)), 7);
    }
}

/// The same by exec, which ends the other threads and waits for them in the kernel.
#[test]
fn a_thread_executes_a_program_while_others_are_held() {
    let last = "execl(\"/bin/sh\", \"sh\", \"-c\", \"exit 9\", (char *)0)";
    let (debuggee, mut target, _) = about_to("execs_held", last);
    target.resume(&main_alone(&target, debuggee.pid())).unwrap();
    let mut bundle = stop(&mut target);
    while !matches!(bundle.stop.reason, StopReason::Exited { .. }) {
        bundle = go(&mut target);
    }
    assert_eq!(exit_code(&bundle), 9);
}
