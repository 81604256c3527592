//! A worker is killed; this process is its guardian. The worker is this test program once more, told by the environment
//! to attach to a debuggee and do one thing in a loop until it is killed.

mod in_code;

use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};

use outpost_testkit::{Build, Compiler, Running, text_differences, wait_until};

use super::*;
use crate::journal::{Journal, SharedJournal, create_shared};
use crate::sys::{ptrace, ptrace_registers as registers, ptrace_wait};
use outpost_base::{AddressSpaceId, Va};

/// What the worker process reads: role, debuggee, address, the guardian's process and its journal's descriptor.
const ROLE: &str = "OUTPOST_TEST_WORKER";
const LIMIT: Duration = Duration::from_secs(20);

/// Prints the address of `site`, then calls it for ever, with a pause between two calls, and counts signals; prints the
/// sum now and then, which is the number of calls as long as each did its work. SIGTERM ends it with code 7. After SIGUSR2
/// it has a child; in SIGHUP's handler it sleeps to the next signal. What the second argument says: `sandboxed`: it is ended
/// by restart_syscall(2); `threaded`: it has another thread, which sleeps, and its child comes by vfork(2) and sleeps, too.
const DEBUGGEE: &str = r#"
    #define _GNU_SOURCE
    #include <linux/filter.h>
    #include <linux/seccomp.h>
    #include <pthread.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/prctl.h>
    #include <sys/syscall.h>
    #include <sys/wait.h>
    #include <time.h>
    #include <unistd.h>
    static volatile int signals, values, children;
    static void count(int signal, siginfo_t *info, void *context) { (void)signal; (void)context; signals++; values += info->si_value.sival_int; }
    static void forked(int signal) { (void)signal; children++; }
    static void end(int signal) { (void)signal; _exit(7); }
    static void nap(int signal) { (void)signal; pause(); }
    static void *rest(void *nothing) { for (;;) pause(); return nothing; }
    __attribute__((noinline, noclone)) int site(int value) { __asm__ volatile("" ::: "memory"); return value + 1; }
    int main(int argc, char **argv) {
        struct sock_filter filter[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_restart_syscall, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = { 4, filter };
        const char *kind = argc > 2 ? argv[2] : "";
        int threaded = !strcmp(kind, "threaded");
        if (!strcmp(kind, "sandboxed") && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))) return 1;
        struct sigaction action = { .sa_sigaction = count, .sa_flags = SA_SIGINFO };
        sigaction(SIGUSR1, &action, 0);
        signal(SIGUSR2, forked);
        signal(SIGHUP, nap);
        signal(SIGTERM, end);
        pthread_t other;
        if (threaded && pthread_create(&other, 0, rest, 0)) return 1;
        printf("%p\n", (void *)site);
        fflush(stdout);
        long nanoseconds = atol(argv[1]);
        int sum = 0;
        for (int round = 1;; round++) {
            sum = site(sum);
            if (sum != round) { printf("wrong %d %d\n", sum, round); fflush(stdout); _exit(9); }
            printf("%d %d %d\n", round, signals, values);
            fflush(stdout);
            struct timespec pause = { 0, nanoseconds };
            nanosleep(&pause, 0);
            if (children && threaded) { children = 0; if (vfork() == 0) rest(0); }
            if (children) { children = 0; if (fork() == 0) for (;;) usleep(50000), site(0); usleep(500000); }
        }
    }
"#;

struct Debuggee {
    running: Running,
    site: Va,
}

impl Debuggee {
    fn start(nanoseconds: u64) -> Debuggee {
        Debuggee::built(&[&nanoseconds.to_string()], "-O1")
    }

    fn built(arguments: &[&str], flags: &str) -> Debuggee {
        let program = Build::source(Compiler::Gcc, "abandoned", DEBUGGEE).flags(flags).path();
        Debuggee::started(program, arguments)
    }

    fn started(program: impl AsRef<std::path::Path>, arguments: &[&str]) -> Debuggee {
        let mut running = Running::start(program, arguments);
        let site = running.line();
        let site = Va(u64::from_str_radix(site.trim_start_matches("0x"), 16).unwrap());
        Debuggee { running, site }
    }

    fn id(&self) -> ProcessId {
        ProcessId(self.running.pid())
    }

    /// Rounds, signals counted and the sum of their values, of a line printed from now on.
    fn progress(&mut self) -> [u32; 3] {
        self.running.pass_by();
        let line = self.running.line();
        let numbers: Vec<u32> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
        numbers.try_into().unwrap_or_else(|_| panic!("not a line of progress: {line:?}"))
    }

    /// It runs on from now, is traced by nobody, its code is the file's and it ends when it is told to.
    fn assert_unharmed(mut self) {
        assert_eq!(text_differences(self.id().0), []);
        let status = ProcRoot::default().status(self.id().0).unwrap();
        assert_eq!(status.tracer, 0);
        let before = self.progress();
        wait_until("it runs on", LIMIT, || self.progress()[0] > before[0] + 3);
        self.running.signal("TERM");
        assert_eq!(self.running.wait(LIMIT).code(), Some(7));
    }
}

/// A worker in its role, and the guardian's side of it.
struct Worker {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    rescuer: Rescuer,
    /// The line that said so.
    ready: String,
}

impl Worker {
    fn start(role: &str, debuggee: ProcessId, site: Va) -> Worker {
        become_subreaper().unwrap();
        let journal = create_shared().unwrap();
        let journal_path = format!("/proc/{}/fd/{}", std::process::id(), journal.as_raw_fd());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["rescue::tests::worker", "--exact", "--ignored", "--nocapture"])
            .env(ROLE, format!("{role} {debuggee} {} {journal_path}", site.0))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut worker = Worker { child, lines, rescuer: Rescuer::new(journal), ready: String::new() };
        worker.ready = worker.wait_for("ready");
        worker.rescuer.watch();
        worker
    }

    /// The line that contains a text.
    fn wait_for(&mut self, text: &str) -> String {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "the worker ended before it said {text:?}");
        }
        line
    }

    /// SIGKILL, and the guardian was killed as well.
    fn kill_with_guardian(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGKILL, and then what a guardian does at once when the liveness pipe closes.
    fn kill_and_rescue(self) -> RescueReport {
        self.kill_and_begin_rescue().0
    }

    /// The same, for a rescue that is not over then.
    fn kill_and_begin_rescue(mut self) -> (RescueReport, Rescuer) {
        self.child.kill().unwrap();
        // Its end of the pipe closes as its other files do.
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.lines, &mut rest).unwrap();
        let report = self.rescuer.rescue();
        self.child.wait().unwrap();
        (report, self.rescuer)
    }
}

/// The worker's main function; runs only when it is started as one.
#[test]
#[ignore = "the worker process of the tests in this module"]
fn worker() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let words: Vec<&str> = role.split(' ').collect();
    let [role, debuggee, site, journal] = words[..] else { panic!("{role}") };
    let (process, site) = (ProcessId(debuggee.parse().unwrap()), Va(site.parse().unwrap()));
    let journal = std::fs::OpenOptions::new().read(true).write(true).open(journal).unwrap();
    let journal = SharedJournal::open(journal.into(), None).unwrap();
    let mut part = Part { journal, process, thread: process.0, site, memory: None };
    part.play(role);
}

fn say(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").unwrap();
    out.flush().unwrap();
}

struct Part {
    journal: SharedJournal,
    process: ProcessId,
    thread: u32,
    site: Va,
    memory: Option<ProcessMemory>,
}

impl Part {
    fn play(&mut self, role: &str) {
        self.journal.process_joined(self.process, role == "created");
        ptrace::seize(self.thread).unwrap();
        self.memory = Some(ProcessMemory::open(self.process).unwrap());
        match role {
            "planted" | "created" => {
                self.plant();
                say("ready");
                self.serve_hits();
            }
            "planned" => {
                let original = self.original();
                self.journal.site_planned(AddressSpaceId(1), self.process, self.site, &original, &[INT3]);
                say("ready");
                std::thread::sleep(LIMIT);
            }
            "sandboxed" => {
                self.journal.begins_anew(self.process);
                self.plant();
                self.stop();
                self.step_over();
                say("ready");
                self.serve_hits();
            }
            "stopped" => {
                ptrace::interrupt(self.thread).unwrap();
                self.stop();
                self.plant();
                say("ready");
                std::thread::sleep(LIMIT);
            }
            // Before pc was moved back, and the signal is eaten: the instant that costs most without the guardian.
            "behind" => {
                self.plant();
                self.stop();
                say("ready");
                std::thread::sleep(LIMIT);
            }
            "stepping" => {
                ptrace::interrupt(self.thread).unwrap();
                self.stop();
                self.journal.stepping(self.process, ThreadId(self.thread), true);
                say("ready");
                loop {
                    ptrace::go(self.thread, ptrace::Go::Step, 0).unwrap();
                    self.stop();
                }
            }
            "watching" => {
                ptrace::interrupt(self.thread).unwrap();
                self.stop();
                self.journal.debug_registers_set(self.process, ThreadId(self.thread));
                registers::set_debug(self.thread, 0, self.site.0).unwrap();
                registers::set_debug(self.thread, 7, 1).unwrap();
                say("ready");
                // The debuggee stops before the site, and stays there.
                ptrace::go(self.thread, ptrace::Go::Continue, 0).unwrap();
                self.stop();
                say("hit");
                std::thread::sleep(LIMIT);
            }
            "holding" => {
                say("ready");
                let signal = self.stop();
                let information = ptrace::signal_info(self.thread).unwrap();
                self.journal.signal_information(self.process, ThreadId(self.thread), &information.0);
                self.journal.signal_held(self.process, ThreadId(self.thread), signal);
                say("held");
                std::thread::sleep(LIMIT);
            }
            "forking" => {
                self.plant();
                say("ready");
                // The fork event is left unanswered: parent and child stay stopped at it until this process dies.
                loop {
                    let (_, status) = ptrace_wait::wait_blocking(ptrace_wait::Whom::Thread(self.thread)).unwrap();
                    match status.decode() {
                        ptrace_wait::Decoded::Stopped { event: libc::PTRACE_EVENT_FORK, .. } => break,
                        ptrace_wait::Decoded::Stopped { signal: libc::SIGTRAP, event: 0 } => self.step_over(),
                        ptrace_wait::Decoded::Stopped { signal, .. } => {
                            ptrace::go(self.thread, ptrace::Go::Continue, signal).unwrap();
                        }
                        other => panic!("{other:?}"),
                    }
                }
                say("forked");
                std::thread::sleep(LIMIT);
            }
            other => self.play_in_code(other),
        }
    }

    fn memory(&self) -> &ProcessMemory {
        self.memory.as_ref().unwrap()
    }

    fn original(&self) -> [u8; 1] {
        let mut original = [0];
        assert_eq!(self.memory().read(self.site, &mut original), 1);
        original
    }

    fn plant(&mut self) {
        let original = self.original();
        self.journal.site_planned(AddressSpaceId(1), self.process, self.site, &original, &[INT3]);
        assert_eq!(self.memory().write(self.site, &[INT3]), 1);
    }

    fn stop(&self) -> i32 {
        match ptrace_wait::wait_blocking(ptrace_wait::Whom::Thread(self.thread)).unwrap().1.decode() {
            ptrace_wait::Decoded::Stopped { signal, .. } => signal,
            other => panic!("{other:?}"),
        }
    }

    fn serve_hits(&mut self) {
        loop {
            match self.stop() {
                libc::SIGTRAP => self.step_over(),
                signal => ptrace::go(self.thread, ptrace::Go::Continue, signal).unwrap(),
            }
        }
    }

    /// The plain way past an int3: byte back, one step, byte in.
    fn step_over(&mut self) {
        let mut general = registers::general(self.thread).unwrap();
        assert_eq!(general.pc(), self.site.0 + 1);
        general.set_pc(self.site.0);
        registers::set_general(self.thread, &general).unwrap();
        let image = JournalImage::read(self.journal.descriptor()).unwrap();
        self.memory().write(self.site, &image.sites[0].original);
        self.journal.stepping(self.process, ThreadId(self.thread), true);
        ptrace::go(self.thread, ptrace::Go::Step, 0).unwrap();
        self.stop();
        self.journal.stepping(self.process, ThreadId(self.thread), false);
        self.memory().write(self.site, &[INT3]);
        ptrace::go(self.thread, ptrace::Go::Continue, 0).unwrap();
    }
}

const INT3: u8 = 0xcc;
/// Half a second between two calls: no hit at the very moment of the death. What helps in the other case is the lifeline.
const SELDOM: u64 = 500_000_000;
/// 1 ms.
const OFTEN: u64 = 1_000_000;

#[test]
fn a_planted_byte_is_taken_back() {
    let debuggee = Debuggee::start(SELDOM);
    let mut worker = Worker::start("stopped", debuggee.id(), debuggee.site);
    assert_eq!(text_differences(debuggee.id().0), [debuggee.site.0]);
    worker.rescuer.watch();
    let report = rescue_while_stopped(&debuggee, worker);
    assert_eq!((report.sites_restored, report.sites_failed, report.journal_damaged), (1, 0, false), "{report:?}");
    assert_eq!(report.released, [debuggee.id()]);
    debuggee.assert_unharmed();
}

#[test]
fn hits_are_served_until_the_end() {
    let mut debuggee = Debuggee::start(SELDOM);
    let worker = Worker::start("planted", debuggee.id(), debuggee.site);
    let start = debuggee.progress()[0];
    wait_until("some hits", LIMIT, || debuggee.progress()[0] > start + 3);
    let report = worker.kill_and_rescue();
    assert_eq!(report.sites_restored, 1, "{report}");
    debuggee.assert_unharmed();
}

#[test]
fn what_was_only_planned_is_left_alone() {
    let debuggee = Debuggee::start(OFTEN);
    let report = Worker::start("planned", debuggee.id(), debuggee.site).kill_and_rescue();
    assert_eq!((report.sites_restored, report.sites_untouched), (0, 1), "{report}");
    debuggee.assert_unharmed();
}

#[test]
fn created_processes_end_by_policy() {
    let mut debuggee = Debuggee::start(OFTEN);
    let report = Worker::start("created", debuggee.id(), debuggee.site).kill_and_rescue();
    assert_eq!(report.ended, [debuggee.id()]);
    assert!(!debuggee.running.wait(LIMIT).success());
}

/// Stops the debuggee by job control, so that it cannot run before its guardian comes.
fn rescue_while_stopped(debuggee: &Debuggee, worker: Worker) -> RescueReport {
    debuggee.running.signal("STOP");
    let report = worker.kill_and_rescue();
    wait_until("it is stopped as before", LIMIT, || ProcRoot::default().stat(debuggee.id().0).unwrap().state == 'T');
    debuggee.running.signal("CONT");
    report
}

#[test]
fn a_hardware_breakpoint_is_cleared() {
    let debuggee = Debuggee::start(OFTEN);
    let mut worker = Worker::start("watching", debuggee.id(), debuggee.site);
    worker.wait_for("hit");
    let report = rescue_while_stopped(&debuggee, worker);
    assert_eq!(report.threads_stopped, 1, "{report}");
    debuggee.assert_unharmed();
}

#[test]
fn a_thread_behind_a_hit_goes_back() {
    let debuggee = Debuggee::start(OFTEN);
    let worker = Worker::start("behind", debuggee.id(), debuggee.site);
    let report = rescue_while_stopped(&debuggee, worker);
    assert_eq!((report.threads_moved, report.sites_restored), (1, 1), "{report}");
    debuggee.assert_unharmed();
}

#[test]
fn a_single_step_in_a_sleep_is_ended() {
    let debuggee = Debuggee::start(SELDOM);
    let worker = Worker::start("stepping", debuggee.id(), debuggee.site);
    wait_until("it sleeps", LIMIT, || ProcRoot::default().stat(debuggee.id().0).unwrap().state == 'S');
    let report = worker.kill_and_rescue();
    assert_eq!(report.threads_stopped, 1, "{report}");
    debuggee.assert_unharmed();
}

#[test]
fn a_signal_that_was_held_arrives_with_what_it_carries() {
    let mut debuggee = Debuggee::start(OFTEN);
    let mut worker = Worker::start("holding", debuggee.id(), debuggee.site);
    let value = debuggee.progress()[1];
    assert_eq!(value, 0);
    let status = Command::new("python3")
        .args(["-c", &format!("import ctypes; ctypes.CDLL(None).sigqueue({}, 10, ctypes.c_void_p(42))", debuggee.id())])
        .status()
        .unwrap();
    assert!(status.success());
    worker.wait_for("held");
    let report = worker.kill_and_rescue();
    assert_eq!(report.signals_restored, 1, "{report}");
    wait_until("it arrives", LIMIT, || debuggee.progress()[1..] == [1, 42]);
    debuggee.assert_unharmed();
}

#[test]
fn a_child_that_nobody_told_of_is_cleaned() {
    let debuggee = Debuggee::start(SELDOM);
    let mut worker = Worker::start("forking", debuggee.id(), debuggee.site);
    debuggee.running.signal("USR2");
    worker.wait_for("forked");
    let report = worker.kill_and_rescue();
    assert_eq!(report.children.len(), 1, "{report}");
    let child = report.children[0];
    assert_eq!(text_differences(child.0), []);
    assert_eq!(ProcRoot::default().stat(child.0).unwrap().parent, debuggee.id().0);
    kill_process(Pid::from_raw(child.0 as i32).unwrap(), Signal::KILL).unwrap();
    debuggee.assert_unharmed();
}

/// The same program, later, with a breakpoint at the same place: all that a child forked by the first one would show.
#[test]
fn another_session_keeps_its_breakpoints() {
    let start = || Debuggee::built(&[&SELDOM.to_string()], "-O1 -no-pie");
    let (debuggee, other) = (start(), start());
    let worker = Worker::start("stopped", debuggee.id(), debuggee.site);
    let others_worker = Worker::start("stopped", other.id(), other.site);
    let report = rescue_while_stopped(&debuggee, worker);
    assert_eq!((report.sites_restored, &report.children[..]), (1, &[][..]), "{report}");
    debuggee.assert_unharmed();
    assert_eq!(text_differences(other.id().0), [other.site.0]);
    rescue_while_stopped(&other, others_worker);
    other.assert_unharmed();
}

/// Stopping it in its sleep would end it, if it went on as others do.
#[test]
fn a_sandboxed_sleep_is_not_the_end() {
    let debuggee = Debuggee::built(&[&SELDOM.to_string(), "sandboxed"], "-O1");
    let worker = Worker::start("sandboxed", debuggee.id(), debuggee.site);
    wait_until("it sleeps", LIMIT, || ProcRoot::default().stat(debuggee.id().0).unwrap().state == 'S');
    let report = worker.kill_and_rescue();
    assert_eq!((report.sites_restored, report.threads_stopped), (1, 1), "{report}");
    debuggee.assert_unharmed();
}

#[test]
fn a_session_without_debuggees_needs_nothing() {
    let mut rescuer = Rescuer::new(create_shared().unwrap());
    rescuer.watch();
    assert_eq!(rescuer.rescue(), RescueReport::default());
    assert!(rescuer.continue_rescue());
}
