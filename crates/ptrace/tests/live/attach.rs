//! Attaching, creating, letting go.

use std::time::Duration;

use super::common::*;
use outpost_base::{ProcessId, RegisterContext};
use outpost_ptrace::LiveTarget;
use outpost_target::*;
use outpost_testkit::{text_differences, wait_until};

/// Threads that count, and a line of output for each whole second of counting by any of them.
const THREADS: &str = r#"
    #include <pthread.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <unistd.h>
    volatile long counts[4096];
    static void *count(void *at) { for (;;) { ++*(volatile long *)at; usleep(20000); } return 0; }
    int main(int argc, char **argv) {
        int n = atoi(argv[1]);
        for (int i = 1; i < n; i++) {
            pthread_t t;
            pthread_attr_t a;
            pthread_attr_init(&a);
            pthread_attr_setstacksize(&a, 65536);
            if (pthread_create(&t, &a, count, (void *)&counts[i])) return 1;
        }
        puts("ready");
        fflush(stdout);
        count((void *)&counts[0]);
    }
"#;

fn attach_and_let_go(threads: usize) {
    let program = compile("threads", THREADS, "-no-pie");
    let mut debuggee = start(&program, &[&threads.to_string()]);
    assert_eq!(debuggee.line(), "ready");
    let process = ProcessId(debuggee.pid());
    let mut target = target();
    let bundle = attach(&mut target, debuggee.pid());
    assert_eq!(bundle.stop.reason, StopReason::Attached);
    assert_eq!(bundle.unstoppable, []);
    let infos = bundle.threads.unwrap();
    assert_eq!(infos.len(), threads);
    assert!(infos.iter().all(|info| info.state == ThreadRunState::Stopped && info.name == "threads"));
    let ids: Vec<_> = infos.iter().map(|info| info.id).collect();
    assert!(target.registers_many(&ids, RegisterSets::default()).unwrap().iter().all(Result::is_ok));

    // Stopped means stopped; let go means running.
    let counts = symbol(&program, "counts");
    let space = space(&mut target, process);
    let before: u64 = (0..threads as u64).map(|at| word(&mut target, space, counts + at * 8)).sum();
    std::thread::sleep(Duration::from_millis(20));
    let after: u64 = (0..threads as u64).map(|at| word(&mut target, space, counts + at * 8)).sum();
    assert_eq!(before, after);
    target.detach(process, DetachMode::Deliver).unwrap();
    assert!(target.processes().unwrap().is_empty());
    let memory = outpost_ptrace::memory::ProcessMemory::open(process).unwrap();
    let sum = || {
        let mut bytes = vec![0; threads * 8];
        memory.read(counts, &mut bytes);
        bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect::<Vec<_>>()
    };
    let stopped = sum();
    wait_until("every thread counts again", LIMIT, || sum().iter().zip(&stopped).all(|(now, then)| now > then));
    assert_eq!(text_differences(debuggee.pid()), []);
    assert!(debuggee.is_running());
}

#[test]
fn a_hundred_threads_stop_and_run_on() {
    attach_and_let_go(100);
}

#[test]
fn a_thousand_threads_stop_and_run_on() {
    attach_and_let_go(1000);
}

#[test]
fn dropping_the_target_lets_attached_go_and_ends_created() {
    let program = compile("threads", THREADS, "-no-pie");
    let mut debuggee = start(&program, &["3"]);
    debuggee.line();
    let created = {
        let mut target = target();
        attach(&mut target, debuggee.pid());
        let (created, bundle) = create(&mut target, &program, &["2"]);
        assert_eq!(bundle.stop.reason, StopReason::Created);
        created
    };
    assert!(debuggee.is_running());
    let status = std::fs::read_to_string(format!("/proc/{}/status", debuggee.pid())).unwrap();
    assert!(status.contains("TracerPid:\t0"));
    assert!(!std::path::Path::new(&format!("/proc/{created}")).exists());
}

/// As gdb has it: `continue` lets a process run that was stopped by SIGSTOP, `detach` without it leaves it stopped.
#[test]
fn a_process_found_stopped_runs_when_it_is_resumed_and_not_before() {
    let program = compile("threads", THREADS, "-no-pie");
    let mut debuggee = start(&program, &["3"]);
    debuggee.line();
    let pid = debuggee.pid();
    let process = ProcessId(pid);
    let is_stopped = || outpost_testkit::state(pid) == Some('T');
    let memory = outpost_ptrace::memory::ProcessMemory::open(process).unwrap();
    let counts = symbol(&program, "counts");
    let sum = || {
        let mut bytes = [0; 24];
        memory.read(counts, &mut bytes);
        bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect::<Vec<_>>()
    };
    let all_count = || {
        let before = sum();
        wait_until("every thread counts", LIMIT, || sum().iter().zip(&before).all(|(now, then)| now > then));
    };
    debuggee.signal("STOP");
    wait_until("it is stopped", LIMIT, is_stopped);

    // Let go unresumed, with a breakpoint that came and went.
    let mut target = target();
    let quiet = |target: &mut LiveTarget| {
        let mut plan = Plan::run_all(generation(target));
        plan.events.pass_signals = u128::MAX;
        target.resume(&plan).unwrap();
        let waited = target.wait_event(Some(Duration::from_millis(50)), &[]).unwrap();
        assert!(matches!(waited, Waited::TimedOut), "{waited:?}");
    };
    let stopped = sum();
    assert_eq!(attach(&mut target, pid).stop.reason, StopReason::Attached);
    let space = space(&mut target, process);
    set(&mut target, breakpoint(1, space, symbol(&program, "count")));
    clear(&mut target, 1);
    target.detach(process, DetachMode::Deliver).unwrap();
    wait_until("it is stopped again", LIMIT, is_stopped);
    assert_eq!(sum(), stopped);

    // Resumed: it runs, also when it is let go.
    attach(&mut target, pid);
    quiet(&mut target);
    all_count();
    target.detach(process, DetachMode::Deliver).unwrap();
    all_count();
    assert!(!is_stopped());

    // Without a break-in the attaching itself lets it run.
    debuggee.signal("STOP");
    wait_until("it is stopped", LIMIT, is_stopped);
    let mode = AttachMode::Invasive { break_in: false };
    assert!(target.attach(process, mode, &BundleRequest::default()).unwrap().is_none());
    drop(target.wait_event(Some(Duration::from_millis(50)), &[]).unwrap());
    all_count();
    target.detach(process, DetachMode::Deliver).unwrap();
    all_count();
    assert_eq!(text_differences(pid), []);
}

#[test]
fn a_created_process_runs_to_its_end_with_its_output() {
    let mut target = target();
    let (process, bundle) = create(&mut target, "/bin/echo", &["some", "words"]);
    assert_eq!(bundle.stop.process, process);
    run(&mut target);
    let (mut text, mut status) = (Vec::new(), None);
    while status.is_none() {
        match event(&mut target) {
            Event::Output(output) => text.extend(output.bytes),
            Event::Stopped(bundle) => match bundle.stop.reason {
                StopReason::Exited { status: how } => status = Some(how),
                other => panic!("{other:?}"),
            },
            _ => {}
        }
    }
    assert_eq!(text, b"some words\n");
    assert_eq!(status, Some(ExitStatus::Code(0)));
    assert!(target.processes().unwrap().is_empty());
}

#[test]
fn who_is_traced_already_or_not_there_is_refused() {
    let program = compile("threads", THREADS, "-no-pie");
    let debuggee = start(&program, &["2"]);
    let mut first = target();
    attach(&mut first, debuggee.pid());
    let pid = debuggee.pid();
    let refused = std::thread::spawn(move || {
        let mode = AttachMode::Invasive { break_in: true };
        target().attach(ProcessId(pid), mode, &BundleRequest::default()).unwrap_err()
    });
    assert!(matches!(refused.join().unwrap(), TargetError::AlreadyTraced { .. }));
    let mode = AttachMode::Invasive { break_in: true };
    let missing = first.attach(ProcessId(u32::MAX >> 2), mode, &BundleRequest::default());
    assert!(matches!(missing, Err(TargetError::NoProcess { .. })));
}

/// A thread that has not used its vector registers yet has them in their initial state, which the kernel keeps in place of
/// what is written unless it is told.
#[test]
fn vector_registers_can_be_set_before_they_were_used() {
    let mut target = target();
    let (_, bundle) = create(&mut target, "/bin/true", &[]);
    let thread = bundle.stop.thread;
    let sets = RegisterSets { floating: true, debug: false };
    let floating =
        |target: &mut LiveTarget| target.registers_many(&[thread], sets).unwrap().remove(0).unwrap().floating;
    let mut area = floating(&mut target);
    // xmm0 and, behind the header, the upper half of ymm0 (Intel SDM vol. 1, 13.4).
    area[160..168].copy_from_slice(&1.5f64.to_le_bytes());
    area[576..580].copy_from_slice(&7u32.to_le_bytes());
    let context = RegisterContext { general: Vec::new(), floating: area, ..registers(&mut target, thread) };
    target.set_registers(thread, &context).unwrap();
    let now = floating(&mut target);
    assert_eq!((&now[160..168], &now[576..580]), (&1.5f64.to_le_bytes()[..], &7u32.to_le_bytes()[..]));
}

/// A leader that has ended has neither mappings nor an executable any more; the others' are the process's.
#[test]
fn a_process_whose_first_thread_has_ended() {
    const SOURCE: &str = r#"
        #include <pthread.h>
        #include <stdio.h>
        #include <unistd.h>
        static void *go_on(void *unused) { usleep(100000); puts("ready"); fflush(stdout); for (;;) pause(); }
        int main(void) {
            pthread_t thread;
            pthread_create(&thread, 0, go_on, 0);
            pthread_exit(0);
        }
    "#;
    let program = compile("leaderless", SOURCE, "");
    let mut debuggee = start(&program, &[]);
    assert_eq!(debuggee.line(), "ready");
    let process = ProcessId(debuggee.pid());
    let mut target = target();
    let bundle = attach(&mut target, debuggee.pid());
    assert_ne!(bundle.stop.thread.0, process.0, "the leader is no thread to stop");
    let modules = target.modules(process).unwrap();
    assert!(modules.iter().any(|module| module.is_main && module.path.ends_with("leaderless")), "{modules:?}");
    assert!(modules.iter().any(|module| module.path.contains("libc.so")), "{modules:?}");
    let regions = outpost_ptrace::regions::read_regions(process, &[]).unwrap();
    let main = modules.iter().find(|module| module.is_main).unwrap();
    assert!(regions.iter().any(|region| region.execute && main.range.contains(region.range.start)), "{regions:?}");
    target.detach(process, DetachMode::Deliver).unwrap();
}
