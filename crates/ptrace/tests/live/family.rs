//! Threads, processes, programs and modules that come and go.

use std::time::Duration;

use outpost_base::{ProcessId, ThreadId};
use outpost_ptrace::LiveTarget;
use outpost_target::*;
use outpost_testkit::text_differences;

use super::common::*;
use super::events::{SIGNALS, exit_code};

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
