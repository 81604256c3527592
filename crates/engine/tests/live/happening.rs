//! Events: signals, breaking in, threads, modules, processes.

use std::time::Duration;

use outpost_base::ProcessId;
use outpost_engine::*;
use outpost_target::{AttachMode, ExitStatus, ProcessOrigin, StopReason};
use outpost_testkit::{Build, Compiler, Running};

use crate::common::*;

const SIGNALS: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>
static volatile int caught, ticks;
static void on_usr1(int signo) { caught++; }
static void on_alarm(int signo) { ticks++; }
static int busy(void) {
    volatile int sum = 0;
    for (int i = 0; i < 30000000; i++) sum += i;
    return sum;
}
int main(int argc, char **argv) {
    signal(SIGUSR1, on_usr1);
    signal(SIGALRM, on_alarm);
    if (!strcmp(argv[1], "raise")) {
        raise(SIGUSR1); // raise
        printf("caught %d\n", caught);
        fflush(stdout);
        raise(SIGTERM); // end
    }
    if (!strcmp(argv[1], "fault")) {
        *(volatile int *)8 = 1; // fault
    }
    if (!strcmp(argv[1], "timer")) {
        struct itimerval every = { { 0, 1000 }, { 0, 1000 } };
        setitimer(ITIMER_REAL, &every, 0);
        busy(); // busy
        busy(); // busy again
        return ticks > 10 ? 0 : 1; // done
    }
    for (;;) busy();
}
"#;

fn signals(what: &str) -> Session {
    Session::create(Build::source(Compiler::Gcc, "signals", SIGNALS).flags("-g -O0").path(), &[what])
}

#[test]
fn handled_signals_pass_and_fatal_ones_stop_at_their_second_chance() {
    let mut session = signals("raise");
    let stop = session.go();
    assert!(matches!(&stop.reason, StopReason::Signal(info) if info.signo == 15), "{:?}", stop.reason);
    assert_eq!(stop.chance, Some(Chance::Second));
    let description = session.engine.last_event().unwrap().description();
    assert!(description.starts_with("Signal (SIGTERM") && description.ends_with("(second chance)"), "{description}");
    let stop = session.go();
    let killed = ExitStatus::Signal { signo: 15, core_dumped: false };
    assert_eq!(stop.reason, StopReason::Exited { status: killed });
    assert_eq!(session.output, "caught 1\n");
}

#[test]
fn a_fault_breaks_at_its_first_chance_and_can_be_swallowed_or_delivered() {
    let mut session = signals("fault");
    let stop = session.go();
    assert_eq!((stop.chance, stop.filter), (Some(Chance::First), Some("av")));
    assert_eq!(session.line(&stop), line_of(SIGNALS, "// fault"));
    let description = session.engine.last_event().unwrap().description();
    assert_eq!(description, "Access violation (SIGSEGV, SEGV_MAPERR at 0000000000000008) (first chance)");
    assert_eq!(session.engine.register("$exr_code").unwrap().as_u64(), 11);
    // Swallowed, the instruction faults again.
    let options = RunOptions { signal: SignalChoice::Handled, ..RunOptions::default() };
    session.engine.go(&options, &[]).unwrap();
    assert_eq!(session.stop().filter, Some("av"));
    let options = RunOptions { signal: SignalChoice::NotHandled, ..RunOptions::default() };
    session.engine.go(&options, &[]).unwrap();
    let pc = session.engine.register("$ip").unwrap();
    let stop = session.stop();
    assert_eq!((stop.chance, stop.filter, pc.as_u64()), (Some(Chance::Second), Some("av"), stop.pc.0), "nothing ran");
    session.engine.go(&options, &[]).unwrap();
    assert!(matches!(session.stop().reason, StopReason::Exited { status: ExitStatus::Signal { signo: 11, .. } }));
}

#[test]
fn a_storm_of_handled_signals_does_not_disturb_steps() {
    let mut session = signals("timer");
    session.run_to(&format!("`signals.c:{}`", line_of(SIGNALS, "// busy\n".trim_end())));
    assert_eq!(session.line_step(StepKind::Over), line_of(SIGNALS, "// busy again"));
    assert_eq!(session.line_step(StepKind::Over), line_of(SIGNALS, "// done"));
    assert!(matches!(session.go().reason, StopReason::Exited { status: ExitStatus::Code(0) }));
}

#[test]
fn breaking_in_stops_a_busy_program() {
    let mut session = signals("forever");
    session.run_to("busy");
    session.engine.go(&RunOptions::default(), &[]).unwrap();
    let interrupter = session.engine.interrupter();
    assert!(interrupter.is_running());
    assert!(matches!(session.engine.scope_frame(), Err(EngineError::Running)));
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        interrupter.interrupt();
    });
    let stop = session.stop();
    other.join().unwrap();
    assert_eq!(stop.reason, StopReason::BreakIn);
    assert_eq!(session.functions()[0], "busy");
}

const THREADS: &str = r#"
#include <pthread.h>
#include <unistd.h>
static volatile long counts[3];
static volatile int stop_now;
static void *count(void *which) {
    long index = (long)which;
    while (!stop_now)
        counts[index]++;
    return 0;
}
static int quiet(int n) { return n + 1; }
int main(void) {
    pthread_t threads[3];
    for (long i = 0; i < 3; i++) pthread_create(&threads[i], 0, count, (void *)i);
    usleep(50000);
    int a = quiet(1); // here
    a = quiet(a); // next
    usleep(50000); // pause
    stop_now = 1;
    for (int i = 0; i < 3; i++) pthread_join(threads[i], 0);
    return a;
}
"#;

fn count(session: &mut Session, index: i64) -> u64 {
    let counts = session.engine.global("counts").unwrap().unwrap();
    let mut memory = session.engine.memory().unwrap();
    counts.index(index, &mut memory).unwrap().scalar(&mut memory).unwrap().as_u64()
}

#[test]
fn threads_run_and_are_held_as_asked() {
    let mut session = Session::create(Build::source(Compiler::Gcc, "threads", THREADS).flags("-g -O0").path(), &[]);
    let stop = session.run_to(&format!("`threads.c:{}`", line_of(THREADS, "// here")));
    let process = session.engine.current_process().unwrap();
    let threads = session.engine.threads(process).unwrap();
    assert_eq!(threads.iter().map(|thread| thread.ordinal.0).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(threads[0].is_current && threads[0].is_event && stop.thread == threads[0].ordinal);
    assert!(threads.iter().all(|thread| thread.suspend_count == 1 && thread.teb.0 != 0));

    let before = count(&mut session, 0);
    let options = RunOptions { threads: RunThreads::Only(vec![threads[0].ordinal]), ..RunOptions::default() };
    let step = |options: RunOptions| StepRequest {
        kind: StepKind::Over,
        unit: StepUnit::Line,
        until: StepUntil::Count(1),
        show_each: false,
        options,
    };
    session.engine.step(&step(options)).unwrap();
    let stop = session.stop();
    assert_eq!(session.line(&stop), line_of(THREADS, "// next"));
    assert_eq!(count(&mut session, 0), before, "the others were held");

    session.engine.freeze(&[threads[1].ordinal], true).unwrap();
    session.line_step(StepKind::Over);
    session.line_step(StepKind::Over);
    assert_eq!(count(&mut session, 0), before, "frozen");
    session.engine.freeze(&[threads[1].ordinal], false).unwrap();
    let by_thread = session.engine.stacks(&threads.iter().map(|row| row.ordinal).collect::<Vec<_>>(), 99).unwrap();
    assert!(by_thread[2].frames.iter().any(|frame| frame.function == "count"));
    session.engine.select_thread(threads[2].ordinal).unwrap();
    session.engine.select_frame(0).unwrap();
    assert_eq!(session.local("index"), 1);
    assert!(matches!(session.go().reason, StopReason::Exited { status: ExitStatus::Code(3) }));
}

#[test]
fn a_breakpoint_of_one_thread_passes_the_others() {
    let mut session = Session::create(Build::source(Compiler::Gcc, "threads", THREADS).flags("-g -O0").path(), &[]);
    session.run_to(&format!("`threads.c:{}`", line_of(THREADS, "// here")));
    let process = session.engine.current_process().unwrap();
    let third = session.engine.threads(process).unwrap()[3].ordinal;
    let line = line_of(THREADS, "counts[index]++");
    let place = BreakpointPlace::Expression(format!("`threads.c:{line}`"));
    let request = BreakpointRequest { thread: Some(third), ..BreakpointRequest::code(place) };
    session.engine.set_breakpoint(request).unwrap();
    let stop = session.go();
    assert_eq!(stop.thread, third, "{:?}", stop.reason);
    let stop = session.go();
    assert_eq!(stop.thread, third, "{:?}", stop.reason);
}

#[test]
fn a_module_loaded_later_gets_its_breakpoint_before_its_code_runs() {
    let library = "int in_plugin(int x) { return x * 3; }\n__attribute__((constructor)) static void begin(void) { in_plugin(1); }\n";
    let plugin = Build::source(Compiler::Gcc, "plugin.so", library).flags("-g -O0 -shared -fPIC").path();
    let source = r#"
#include <dlfcn.h>
int main(int argc, char **argv) {
    void *handle = dlopen(argv[1], RTLD_NOW);
    int (*call)(int) = dlsym(handle, "in_plugin");
    int result = call(2);
    dlclose(handle);
    return result;
}
"#;
    let program = Build::source(Compiler::Gcc, "loads", source).flags("-g -O0").path();
    let mut session = Session::create(program, &[plugin.to_str().unwrap()]);
    let number = session.bp("plugin!in_plugin");
    assert!(session.engine.breakpoint(number).unwrap().deferred);
    session.go();
    assert_eq!(session.local("x"), 1, "from the constructor");
    assert!(session.functions().contains(&"begin".into()));
    let loaded = |notice: &Notice| matches!(notice, Notice::ModuleLoaded { name, .. } if name == "plugin");
    assert!(session.notices.iter().any(loaded));
    session.go();
    assert_eq!(session.local("x"), 2);
    assert!(matches!(session.go().reason, StopReason::Exited { status: ExitStatus::Code(6) }));
}

#[test]
fn attached_processes_are_looked_at_and_let_go() {
    let mut running =
        Running::start(Build::source(Compiler::Gcc, "signals", SIGNALS).flags("-g -O0").path(), &["forever"]);
    let mut session = Session::empty();
    let id = ProcessId(running.pid());
    let process = session.engine.attach(session.system, id, AttachMode::Invasive { break_in: true }).unwrap();
    assert_eq!(session.stop().reason, StopReason::Attached);
    let rows = session.engine.processes();
    assert_eq!((rows[0].id, rows[0].origin), (id, ProcessOrigin::Attached));
    session.bp("busy");
    session.go();
    assert!(session.functions().contains(&"main".into()));
    session.engine.leave(process, Leave::Detach { deliver: true }).unwrap();
    assert_eq!(session.engine.state(), EngineState::NoDebuggee);
    assert!(session.engine.breakpoints().is_empty());
    assert!(running.is_running());
    assert!(outpost_testkit::text_differences(running.pid()).is_empty());

    let process = session.engine.attach(session.system, id, AttachMode::Noninvasive { suspend: true }).unwrap();
    assert_eq!(process.0, 0, "counted anew");
    if session.engine.state() == EngineState::Running {
        panic!("a noninvasive target does not run for us");
    }
    assert!(session.functions().contains(&"main".into()));
    session.engine.leave(process, Leave::Detach { deliver: true }).unwrap();
    assert!(running.is_running());
}

#[test]
fn exec_keeps_ordinals_and_brings_new_modules() {
    let second =
        Build::source(Compiler::Gcc, "second", "int other(void) { return 4; }\nint main(void) { return other(); }\n");
    let second = second.flags("-g -O0").path();
    let source = r#"
#include <unistd.h>
int main(int argc, char **argv) { execl(argv[1], argv[1], (char *)0); return 1; }
"#;
    let first = Build::source(Compiler::Gcc, "first", source).flags("-g -O0").path();
    let mut session = Session::create(first, &[second.to_str().unwrap()]);
    let number = session.bp("second!other");
    session.engine.filters_mut().get_mut("cpr").unwrap().status = BreakStatus::Break;
    let stop = session.go();
    assert!(matches!(&stop.reason, StopReason::Execed { executable, .. } if executable.ends_with("second")));
    assert_eq!((stop.process.0, stop.thread.0), (0, 0));
    let stop = session.go();
    assert_eq!(stop.breakpoints[0].number, number);
    assert_eq!(session.functions()[..2], ["other", "main"]);
}
