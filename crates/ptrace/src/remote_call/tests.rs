//! Calls in threads in every state that matters, and with a tracer that is killed in the middle of them.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use outpost_testkit::{Build, Compiler, Running, wait_until};

use super::*;
use crate::regions::read_regions;

/// What the worker process reads: the debuggee's id.
const WORKER: &str = "OUTPOST_TEST_CALLS_IN";
/// Rounds of the test that kills its worker; `OUTPOST_KILL_ROUNDS` sets another number.
const ROUNDS: u32 = 40;
const LIMIT: Duration = Duration::from_secs(20);

/// `compute` checks integer, vector and x87 registers against memory for ever; `sleep` sleeps once and says how long;
/// `pause` waits for SIGUSR1 and says what pause(2) returned.
const PROGRAM: &str = r#"
    #include <errno.h>
    #include <signal.h>
    #include <stdio.h>
    #include <string.h>
    #include <time.h>
    #include <unistd.h>
    static void handler(int signal) { (void)signal; }
    int main(int count, char **argv) {
        (void)count;
        puts("ready"); fflush(stdout);
        if (!strcmp(argv[1], "compute")) {
            unsigned long round = 0;
            for (time_t said = 0;;) {
                double wide[4] = { 1.5 + round, 2.5, 3.5, 4.5 }, seen[4];
                long double deep = 7.25L + round; int mismatch = 0;
                unsigned long out = 0;
                __asm__ volatile(
                    "vmovupd %[wide], %%ymm7\n fldt %[deep]\n mov $123456, %%r12\n mov $1, %%rcx\n"
                    "1: lea -128(%%rsp), %%r13\n mov %%r12, -64(%%rsp)\n mov -64(%%rsp), %%r12\n add $1, %%rcx\n cmp $5000, %%rcx\n jne 1b\n"
                    "vmovupd %%ymm7, %[seen]\n fstpt %[deep]\n mov %%r12, %[out]\n"
                    : [seen] "=m"(seen), [deep] "+m"(deep), [out] "=m"(out)
                    : [wide] "m"(wide) : "rcx", "r12", "r13", "ymm7", "memory", "cc", "st", "st(1)");
                mismatch = memcmp(wide, seen, sizeof wide) || deep != 7.25L + round || out != 123456;
                if (mismatch) { puts("mismatch"); fflush(stdout); return 9; }
                round++;
                if (time(0) != said) { said = time(0); printf("%lu\n", round); fflush(stdout); }
            }
        } else if (!strcmp(argv[1], "sleep")) {
            struct timespec time = { 1, 0 }, rest = { 0, 0 }, begin, end;
            clock_gettime(CLOCK_MONOTONIC, &begin);
            int result = nanosleep(&time, &rest);
            clock_gettime(CLOCK_MONOTONIC, &end);
            printf("%d %d %ld\n", result, result ? errno : 0, (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000);
        } else if (!strcmp(argv[1], "pause")) {
            signal(SIGUSR1, handler);
            puts("waiting"); fflush(stdout);
            int result = pause();
            printf("%d %d\n", result, errno == EINTR);
        }
        fflush(stdout);
        return 0;
    }
"#;

fn program(mode: &str) -> Running {
    let path = Build::source(Compiler::Gcc, "called", PROGRAM).flags("-O1 -mavx").path();
    let mut running = Running::command(Command::new(path).arg(mode).stdin(Stdio::null()));
    assert_eq!(running.line(), "ready");
    running
}

/// A debuggee whose only thread is stopped by this test's thread.
struct Stopped {
    process: ProcessId,
    memory: ProcessMemory,
    gadgets: Gadgets,
}

impl Stopped {
    fn new(pid: u32) -> Stopped {
        let process = ProcessId(pid);
        ptrace::seize(pid).unwrap();
        ptrace::interrupt(pid).unwrap();
        wait_blocking(Whom::Thread(pid)).unwrap();
        let memory = ProcessMemory::open(process).unwrap();
        let gadgets = Gadgets::find(&memory, &read_regions(process, &[]).unwrap()).expect("glibc has both");
        Stopped { process, memory, gadgets }
    }

    fn caller(&self) -> Caller<'_> {
        Caller::new(self.process, self.process.0, &self.memory, self.gadgets, None).unwrap()
    }

    fn let_go(self) {
        ptrace::detach(self.process.0, 0).unwrap();
    }
}

fn wait_for_state(running: &Running, state: char) {
    let stat = || crate::os::ProcRoot::default().stat(running.pid());
    wait_until("it sleeps", LIMIT, || stat().is_some_and(|stat| stat.state == state));
}

#[test]
fn results_and_errors_come_back_and_registers_stay() {
    let mut running = program("compute");
    let stopped = Stopped::new(running.pid());
    let before = registers::general(running.pid()).unwrap();
    let floating = registers::floating(running.pid()).unwrap();
    let caller = stopped.caller();
    for _ in 0..100 {
        assert_eq!(caller.call(libc::SYS_getpid, [0; 6]).unwrap(), Ok(running.pid().into()));
    }
    assert_eq!(caller.call(libc::SYS_close, [9999, 0, 0, 0, 0, 0]).unwrap(), Err(Errno::BADF));
    let scratch = caller.scratch().unwrap();
    assert_eq!(caller.call(libc::SYS_getrandom, [scratch.0, 16, 0, 0, 0, 0]).unwrap(), Ok(16));
    assert_ne!(stopped.memory.read_u64_at(scratch), 0);
    assert_eq!(registers::general(running.pid()).unwrap(), before);
    assert_eq!(registers::floating(running.pid()).unwrap(), floating);
    assert_eq!(ptrace::signal_mask(running.pid()).unwrap(), 0);
    stopped.let_go();
    assert_ne!(running.line(), "mismatch");
    assert_ne!(running.line(), "mismatch");
}

impl ProcessMemory {
    fn read_u64_at(&self, at: Va) -> u64 {
        let mut bytes = [0; 8];
        assert_eq!(self.read(at, &mut bytes), 8);
        u64::from_le_bytes(bytes)
    }
}

#[test]
fn a_sleep_goes_on_for_its_time() {
    let mut running = program("sleep");
    wait_for_state(&running, 'S');
    let stopped = Stopped::new(running.pid());
    for _ in 0..20 {
        assert!(stopped.caller().call(libc::SYS_getpid, [0; 6]).unwrap().is_ok());
    }
    stopped.let_go();
    let line = running.line();
    let numbers: Vec<i64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
    assert!(numbers[..2] == [0, 0] && (1000..1500).contains(&numbers[2]), "{line}");
}

#[test]
fn a_signal_that_comes_meanwhile_interrupts_as_it_should() {
    let mut running = program("pause");
    assert_eq!(running.line(), "waiting");
    wait_for_state(&running, 'S');
    let stopped = Stopped::new(running.pid());
    running.signal("USR1");
    // The stop that was asked for comes before signals are looked at; then it is still pending.
    assert!(stopped.caller().call(libc::SYS_getpid, [0; 6]).unwrap().is_ok());
    stopped.let_go();
    assert_eq!(running.line(), "-1 1");
}

#[test]
fn an_interrupted_wait_is_begun_anew() {
    let mut running = program("pause");
    assert_eq!(running.line(), "waiting");
    wait_for_state(&running, 'S');
    let stopped = Stopped::new(running.pid());
    assert!(stopped.caller().call(libc::SYS_getpid, [0; 6]).unwrap().is_ok());
    stopped.let_go();
    std::thread::sleep(Duration::from_millis(50));
    wait_for_state(&running, 'S');
    running.signal("USR1");
    assert_eq!(running.line(), "-1 1", "pause was waiting again");
}

#[test]
fn filtered_threads_are_left_alone() {
    let source = r#"
        #include <linux/seccomp.h>
        #include <linux/filter.h>
        #include <stdio.h>
        #include <sys/prctl.h>
        #include <unistd.h>
        int main(void) {
            struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
            struct sock_fprog filter = { 1, &allow };
            prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
            puts("ready"); fflush(stdout);
            pause();
        }
    "#;
    let mut running = Running::start(Build::source(Compiler::Gcc, "filtered", source).path(), &[]);
    assert_eq!(running.line(), "ready");
    let stopped = Stopped::new(running.pid());
    let caller = Caller::new(stopped.process, running.pid(), &stopped.memory, stopped.gadgets, None);
    assert!(matches!(caller, Err(CallError::Unsuitable(reason)) if reason.contains("seccomp")));
    stopped.let_go();
}

/// The worker's main function; runs only when it is started as one. It stops the debuggee, calls, lets it run a moment.
#[test]
#[ignore = "the worker process of the test below"]
fn worker() {
    let Ok(pid) = std::env::var(WORKER) else { return };
    let stopped = Stopped::new(pid.parse().unwrap());
    loop {
        for _ in 0..5 {
            let called = stopped.caller().call(libc::SYS_getpid, [0; 6]).unwrap();
            assert_eq!(called, Ok(stopped.process.0.into()));
        }
        ptrace::go(stopped.process.0, Go::Continue, 0).unwrap();
        std::thread::sleep(Duration::from_micros(20));
        ptrace::interrupt(stopped.process.0).unwrap();
        wait_blocking(Whom::Thread(stopped.process.0)).unwrap();
    }
}

#[test]
fn killing_the_tracer_in_the_middle_harms_nobody() {
    let rounds = std::env::var("OUTPOST_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let mut running = program("compute");
    let pid = running.pid();
    for round in 0..rounds {
        let mut worker = Command::new(std::env::current_exe().unwrap())
            .args(["remote_call::tests::worker", "--exact", "--ignored"])
            .env(WORKER, running.pid().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let traced = || crate::os::ProcRoot::default().status(pid).is_some_and(|status| status.tracer != 0);
        wait_until("it is traced", LIMIT, traced);
        // Spread over the few hundred microseconds that a round of the worker takes.
        let until = Instant::now() + Duration::from_micros(2000 + u64::from(round) * 137 % 1500);
        while Instant::now() < until {}
        worker.kill().unwrap();
        worker.wait().unwrap();
        assert!(running.is_running(), "round {round}");
        wait_until("it is let go", LIMIT, || !traced());
    }
    // It goes on and its registers were right all the time; no signal stayed blocked.
    for _ in 0..2 {
        assert_ne!(running.line(), "mismatch");
    }
    let nothing_is_blocked = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.contains("SigBlk:\t0000000000000000")
    };
    // It may not have run at all since it was let go.
    wait_until("it returned from the last call", LIMIT, nothing_is_blocked);
    assert!(running.is_running());
}
