//! Debuggees that say from outside how they fare, and what a test does with them through a target.

#![allow(dead_code, reason = "each test program uses a part")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use outpost_base::{AddressSpaceId, ProcessId, ThreadId, Va};
use outpost_target::{
    Action, AttachMode, BreakpointChange, BreakpointId, BreakpointKind, BreakpointSpec, BreakpointState, BundleRequest,
    Event, EventMask, Live, Plan, SignalAction, StepPlan, StopBundle, StopGeneration, Target, ThreadFilter, ThreadPlan,
    Waited,
};
use outpost_testkit::{Build, Compiler, Running, text_differences};

/// No wait of a test takes longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Threads that call `work` in a tight loop (or now and then), and tell in a mapped file how far they are: word 0 to 3
/// are counters of the threads, 4 those of children that ended wrongly, 5 stray signals handled, 6 is the order to end, 7 counts
/// calls of `slowly`, which only debuggers make.
const WORKER: &str = r#"
    #define _GNU_SOURCE
    #include <fcntl.h>
    #include <pthread.h>
    #include <signal.h>
    #include <spawn.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/mman.h>
    #include <sys/wait.h>
    #include <unistd.h>
    extern char **environ;
    volatile unsigned long *told;
    volatile long watched;
    int slow;
    __attribute__((noinline)) void work(long n) { watched = n; }
    __attribute__((noinline)) void odd(void) {
        __asm__ volatile(".globl odd_site\nodd_site: movzwl %%ax, %%eax" ::: "rax");
    }
    /* For a debugger to call. */
    __attribute__((noinline)) long slowly(long turns) { told[7]++; for (volatile long n = 0; n < turns; n++) {} return turns; }
    __attribute__((noinline)) void elsewhere(void) { __asm__ volatile(""); }
    static void stray(int signo, siginfo_t *info, void *context) { told[5]++; }
    static void *run(void *number) {
        for (long n = 0; !told[6]; n++) {
            work(n);
            odd();
            told[(long)number]++;
            if (slow) usleep(1000);
        }
        return 0;
    }
    __asm__(".globl run_end\nrun_end:");
    static void born(pid_t child) {
        int status;
        if (child > 0 && (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status))) told[4]++;
    }
    static void bear(const char *mode) {
        pid_t child = 0;
        if (!strcmp(mode, "fork")) {
            child = fork();
            if (child == 0) { work(1); odd(); _exit(0); }
        } else if (!strcmp(mode, "vfork")) {
            child = vfork();
            if (child == 0) _exit(0);
        } else {
            char *arguments[] = {"true", 0};
            if (posix_spawn(&child, "/bin/true", 0, 0, arguments, environ)) child = 0;
        }
        born(child);
    }
    int main(int argc, char **argv) {
        const char *mode = argv[1];
        int file = open(argv[2], O_RDWR);
        told = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (told == MAP_FAILED) return 1;
        slow = !strcmp(mode, "slow");
        if (!strcmp(mode, "handlers")) {
            struct sigaction action = {.sa_sigaction = stray, .sa_flags = SA_SIGINFO | SA_RESTART};
            sigaction(SIGILL, &action, 0);
            sigaction(SIGTRAP, &action, 0);
        }
        if (!strcmp(mode, "blocked")) {
            sigset_t all;
            sigfillset(&all);
            pthread_sigmask(SIG_SETMASK, &all, 0);
        }
        pthread_t threads[3];
        int count = slow ? 0 : 2;
        for (long i = 0; i < count; i++) pthread_create(&threads[i], 0, run, (void *)(i + 1));
        puts("ready");
        fflush(stdout);
        if (strstr(mode, "fork") || !strcmp(mode, "spawn")) {
            for (; !told[6]; told[0]++) bear(mode);
        } else {
            run(0);
        }
        for (int i = 0; i < count; i++) pthread_join(threads[i], 0);
        return 42;
    }
"#;

/// The program, at fixed addresses.
pub(crate) fn worker_program() -> PathBuf {
    Build::source(Compiler::Gcc, "worker", WORKER).flags("-g -O0 -no-pie").path()
}

/// Address of a symbol of a program that is not position-independent, by nm(1).
pub(crate) fn symbol(program: &Path, name: &str) -> Va {
    let output = Command::new("nm").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.split_whitespace().nth(2) == Some(name));
    let line = line.unwrap_or_else(|| panic!("no symbol {name}"));
    Va(u64::from_str_radix(line.split_whitespace().next().unwrap(), 16).unwrap())
}

/// What a debuggee shares with its test: the page it writes its counters to.
pub(crate) struct Page {
    pub(crate) path: PathBuf,
    file: File,
}

impl Page {
    pub(crate) fn new(folder: &Path, name: &str) -> Page {
        let path = folder.join(name);
        fs::write(&path, [0; 4096]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        Page { path, file }
    }

    /// Word `at` of it.
    pub(crate) fn word(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, at * 8).unwrap();
        u64::from_le_bytes(bytes)
    }

    /// How often its threads went round.
    pub(crate) fn progress(&self) -> u64 {
        (0..4).map(|at| self.word(at)).sum()
    }

    /// Whether all of its first `threads` threads go on.
    pub(crate) fn advances(&self, threads: u64, limit: Duration) -> bool {
        let before: Vec<u64> = (0..threads).map(|at| self.word(at)).collect();
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if (0..threads).all(|at| self.word(at) != before[at as usize]) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }

    /// Tells it to end.
    pub(crate) fn tell_to_end(&self) {
        self.file.write_all_at(&1_u64.to_le_bytes(), 6 * 8).unwrap();
    }
}

/// A running worker program.
pub(crate) struct Debuggee {
    pub(crate) running: Running,
    pub(crate) page: Page,
}

impl Debuggee {
    /// Starts one: `plain`, `handlers`, `blocked`, `fork`, `vfork`, `spawn` (all in tight loops) or `slow`.
    pub(crate) fn start(mode: &str, folder: &Path, name: &str) -> Debuggee {
        let page = Page::new(folder, name);
        let mut running = Running::start(worker_program(), &[mode, page.path.to_str().unwrap()]);
        assert_eq!(running.line(), "ready");
        Debuggee { running, page }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Tells it to end; gives its exit code, `None` if it died of a signal.
    pub(crate) fn end(&mut self) -> Option<i32> {
        self.page.tell_to_end();
        self.running.wait(LIMIT).code()
    }
}

/// Lines of `/proc/PID/task/TID/status`, by thread.
fn statuses(pid: u32) -> BTreeMap<u32, BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let Ok(text) = fs::read_to_string(entry.path().join("status")) else { continue };
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        let fields = fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        all.insert(entry.file_name().to_str().unwrap().parse().unwrap(), fields);
    }
    all
}

/// What a process's threads block, ignore and handle (proc_pid_status(5)).
pub(crate) fn signal_state(pid: u32) -> Vec<String> {
    let line = |fields: &BTreeMap<String, String>| {
        ["SigBlk", "SigIgn", "SigCgt"].map(|name| fields.get(name).cloned().unwrap_or_default()).join(" ")
    };
    statuses(pid).values().map(line).collect()
}

/// Whether no thread of it is traced or stopped.
pub(crate) fn is_free(pid: u32) -> bool {
    let all = statuses(pid);
    let free = |fields: &BTreeMap<String, String>| {
        fields.get("TracerPid").is_some_and(|tracer| tracer == "0")
            && fields.get("State").is_some_and(|state| !state.starts_with(['t', 'T']))
    };
    !all.is_empty() && all.values().all(free)
}

/// Whether all of its threads are stopped by a signal and traced by nobody.
pub(crate) fn is_stopped(pid: u32) -> bool {
    let all = statuses(pid);
    let stopped = |fields: &BTreeMap<String, String>| fields.get("State").is_some_and(|state| state.starts_with('T'));
    !all.is_empty() && all.values().all(stopped)
}

/// Addresses at which its text differs from its file's; `None` if it is gone.
pub(crate) fn differences(pid: u32) -> Option<Vec<u64>> {
    fs::metadata(format!("/proc/{pid}/exe")).ok()?;
    std::panic::catch_unwind(|| text_differences(pid)).ok()
}

/// Attaches and stops.
pub(crate) fn attach(target: &mut dyn Target, pid: u32) -> StopBundle {
    let mode = AttachMode::Invasive { break_in: true };
    live(target).attach(ProcessId(pid), mode, &BundleRequest::default()).unwrap().unwrap()
}

pub(crate) fn live(target: &mut dyn Target) -> &mut dyn Live {
    target.as_live().unwrap()
}

/// The next event, whatever it is.
pub(crate) fn event(target: &mut dyn Target) -> Event {
    let begin = Instant::now();
    loop {
        match live(target).wait_event(Some(LIMIT), &[]).unwrap() {
            Waited::Event(event) => return event,
            _ => assert!(begin.elapsed() < LIMIT, "no event"),
        }
    }
}

/// The next stop; notices, output and traces are passed over.
pub(crate) fn stop(target: &mut dyn Target) -> StopBundle {
    let begin = Instant::now();
    loop {
        if let Event::Stopped(bundle) = event(target) {
            return bundle;
        }
        assert!(begin.elapsed() < LIMIT, "no stop");
    }
}

pub(crate) fn generation(target: &dyn Target) -> StopGeneration {
    target.last_stop().map_or(StopGeneration(0), |bundle| bundle.generation)
}

/// Everything runs.
pub(crate) fn run(target: &mut dyn Target) {
    let plan = run_all(target);
    live(target).resume(&plan).unwrap();
}

/// Runs to the next stop.
pub(crate) fn go(target: &mut dyn Target) -> StopBundle {
    run(target);
    stop(target)
}

/// One thread follows a step plan, the others do as told.
pub(crate) fn step_plan(target: &dyn Target, thread: ThreadId, step: StepPlan, others: Action) -> Plan {
    Plan {
        threads: vec![ThreadPlan { thread, action: Action::Step(step), signal: SignalAction::Deliver }],
        others,
        ..run_all(target)
    }
}

/// Everybody runs; children that end stop nobody.
fn run_all(target: &dyn Target) -> Plan {
    const SIGCHLD: u32 = 17;
    let events = EventMask { pass_signals: 1 << SIGCHLD, ..EventMask::default() };
    Plan { events, ..Plan::run_all(generation(target)) }
}

/// One thread steps to the plan's end, the others hold.
pub(crate) fn step(target: &mut dyn Target, thread: ThreadId, step: StepPlan) -> StopBundle {
    let plan = step_plan(target, thread, step, Action::Hold);
    live(target).resume(&plan).unwrap();
    stop(target)
}

pub(crate) fn breakpoint(id: u32, space: AddressSpaceId, at: Va) -> BreakpointSpec {
    BreakpointSpec {
        id: BreakpointId(id),
        space,
        at,
        kind: BreakpointKind::Software,
        threads: ThreadFilter::All,
        condition: None,
        skip: 0,
        one_shot: false,
        auto_continue: false,
        pad: None,
        log: None,
        jump: None,
    }
}

pub(crate) fn set(target: &mut dyn Target, spec: BreakpointSpec) -> BreakpointState {
    let breakpoints = target.as_breakpoints().unwrap();
    breakpoints.change_breakpoints(&[BreakpointChange::Set(spec)]).unwrap().remove(0).unwrap()
}

pub(crate) fn clear(target: &mut dyn Target, id: u32) {
    let breakpoints = target.as_breakpoints().unwrap();
    breakpoints.change_breakpoints(&[BreakpointChange::Clear(BreakpointId(id))]).unwrap();
}

pub(crate) fn space(target: &mut dyn Target, process: ProcessId) -> AddressSpaceId {
    target.processes().unwrap().iter().find(|known| known.id == process).unwrap().space
}

pub(crate) fn read(target: &mut dyn Target, space: AddressSpaceId, at: Va, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let count = target.read_memory(space, at, &mut bytes).unwrap();
    bytes.truncate(count);
    bytes
}
