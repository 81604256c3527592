//! `!analyze` on programs that crash or hang: `fixtures/triage/` has each with the verdict that an expert would give. A
//! verdict has a line for each set of compiler flags, then the class, the function to blame, and what has to be said; a
//! program that hangs says so in the first line, and is attached to when it does.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod heaps;
mod threads;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use outpost_testkit::{Build, Compiler, ProcessServer, Running, fixture, skip};

/// What `cdb` says with these arguments.
fn cdb(arguments: &[&str]) -> String {
    let mut command = Command::new("timeout");
    command.arg("50").arg(env!("CARGO_BIN_EXE_cdb")).args(arguments).stdin(Stdio::null());
    let output = command.stderr(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const SCRIPT: &str = "g; .echo verdict follows; !analyze -v; q";

/// What was said by `!analyze`.
fn verdict(text: &str) -> &str {
    text.rsplit("verdict follows").next().unwrap()
}

/// What is wrong with a verdict; empty if nothing.
fn problems(expected: &str, said: &str) -> Vec<String> {
    let field = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    let mut problems = Vec::new();
    for line in expected.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let fits = match word {
            "flags" | "hangs" => true,
            "class" => field("FAULT:") == rest || field("HANG:") == rest,
            "blame" => {
                let site = field("BLAMED:").split(['+', ' ']).next().unwrap();
                let name = site.rsplit_once('!').map(|(_, name)| name).unwrap_or_default();
                // What GCC calls a part of a function (`run.cold`) is that function's.
                let name = if rest.contains('.') { name } else { name.split('.').next().unwrap() };
                name == rest || name.ends_with(&format!("::{rest}"))
            }
            "says" => said.contains(rest),
            other => panic!("a verdict has no line '{other}'"),
        };
        if !fits {
            problems.push(line.to_owned());
        }
    }
    problems
}

fn program(name: &str, flags: &str) -> std::path::PathBuf {
    Build::fixture(&format!("triage/{name}")).flags(flags).path()
}

/// Programs that are looked at together.
const JUDGES: usize = 4;
/// How often a program is looked at that is not yet in its standstill.
const LOOKS: usize = 40;
const HANG_SCRIPT: &str = ".echo verdict follows; !analyze -hang -v; qd";

/// What is said of a program, and what is wrong with that.
fn judged(name: &str, flags: &str, expected: &str) -> (String, Vec<String>) {
    let path = program(name, flags);
    if !expected.starts_with("hangs") {
        let text = cdb(&["-c", SCRIPT, path.to_str().unwrap()]);
        return (text.clone(), problems(expected, verdict(&text)));
    }
    let running = Running::start(&path, &[]);
    let pid = running.pid().to_string();
    let look = || {
        let text = cdb(&["-p", &pid, "-c", HANG_SCRIPT]);
        let problems = problems(expected, verdict(&text));
        (text, problems)
    };
    // It may not have got that far.
    let mut found = look();
    for _ in 1..LOOKS {
        if found.1.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        found = look();
    }
    found
}

#[test]
fn verdicts_of_the_corpus() {
    let mut names: Vec<String> = std::fs::read_dir(fixture("triage"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".verdict"))
        .collect();
    names.sort();
    let cases: Vec<(&str, String, String)> = names
        .iter()
        .flat_map(|name| {
            let stem = name.rsplit_once('.').unwrap().0;
            let expected = std::fs::read_to_string(fixture(&format!("triage/{stem}.verdict"))).unwrap();
            let flags = expected.lines().filter_map(|line| line.strip_prefix("flags "));
            flags.map(|flags| (name.as_str(), flags.to_owned(), expected.clone())).collect::<Vec<_>>()
        })
        .collect();
    // Most of the time is spent waiting for symbols and standstills.
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        let judge = || {
            while let Some((name, flags, expected)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (text, problems) = judged(name, flags, expected);
                if !problems.is_empty() {
                    let failure = format!("{name} ({flags}): {problems:?}\n{}", verdict(&text));
                    failures.lock().unwrap().push(failure);
                }
            }
        };
        (0..JUDGES).for_each(|_| drop(scope.spawn(judge)));
    });
    let (cases, failures) = (cases.len(), failures.into_inner().unwrap());
    let right = cases - failures.len();
    println!("triage: {right} of {cases} verdicts right, {} programs", names.len());
    assert!(failures.is_empty(), "{right} of {cases} right\n{}", failures.join("\n"));
    assert!(names.len() >= 105 && cases >= 177, "the corpus is there: {} programs, {cases} cases", names.len());
}

/// A call through libffi is the fault of who asked for it.
#[test]
fn trampolines_are_not_to_blame() {
    let which = "import ctypes, sys; print(sys.executable)";
    let Ok(found) = Command::new("python3").args(["-c", which]).output() else { return skip("there is no Python") };
    let python = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    if python.is_empty() {
        return skip("Python has no ctypes");
    }
    let text = cdb(&["-c", SCRIPT, &python, "-c", "import ctypes; ctypes.CDLL(None).strlen(8)"]);
    let said = verdict(&text);
    let blamed = said.lines().find_map(|line| line.strip_prefix("BLAMED:")).unwrap_or_default();
    assert!(said.contains("NULL_POINTER_READ") && blamed.contains("ctypes"), "{text}");
}

/// The verdict through a process server, and on a core, is that of the process itself; the bucket, too.
#[test]
fn verdicts_are_the_same_at_a_distance_and_of_a_core() {
    let server = ProcessServer::start();
    // The second needs the heap.
    for (name, class) in [("null_string", "NULL_POINTER_READ"), ("double_free_large", "DOUBLE_FREE")] {
        let program = program(&format!("{name}.c"), "-g -O0 -w");
        let path = program.to_str().unwrap();
        let expected = std::fs::read_to_string(fixture(&format!("triage/{name}.verdict"))).unwrap();
        let here = cdb(&["-c", SCRIPT, path]);
        let bucket =
            |text: &str| verdict(text).lines().find(|line| line.starts_with("BUCKET:")).unwrap_or_default().to_owned();
        assert!(bucket(&here).contains(class), "{here}");
        let there = cdb(&["-premote", server.connection(), "-c", SCRIPT, path]);
        assert_eq!(problems(&expected, verdict(&there)), Vec::<String>::new(), "{there}");
        assert_eq!(bucket(&there), bucket(&here));
        let folder = tempfile::tempdir().unwrap();
        let Some(core) = core_of(&program, folder.path()) else { return skip("gdb writes no core here") };
        let dead = cdb(&["-z", &core, "-c", ".echo verdict follows; !analyze -v; q"]);
        assert_eq!(problems(&expected, verdict(&dead)), Vec::<String>::new(), "{dead}");
        assert_eq!(bucket(&dead), bucket(&here));
    }
}

/// A standstill is told the same of a core, through a server, and without the C library's debug information.
#[test]
fn standstills_are_the_same_at_a_distance_and_of_a_core() {
    let program = program("deadlock.c", "-g -O2");
    let expected = std::fs::read_to_string(fixture("triage/deadlock.verdict")).unwrap();
    let (here, wrong) = judged("deadlock.c", "-g -O2", &expected);
    assert_eq!(wrong, Vec::<String>::new(), "{here}");
    let running = Running::start(&program, &[]);
    let pid = running.pid().to_string();
    let server = ProcessServer::start();
    let look = || cdb(&["-premote", server.connection(), "-p", &pid, "-c", HANG_SCRIPT]);
    let there = (0..LOOKS).map(|_| look()).find(|text| problems(&expected, verdict(text)).is_empty());
    assert!(there.is_some(), "{}", look());
    let folder = tempfile::tempdir().unwrap();
    let core = folder.path().join("core").to_str().unwrap().to_owned();
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-ex", "set debuginfod enabled off", "-p", &pid, "-ex"]);
    let output = gdb.arg(format!("generate-core-file {core}")).stdin(Stdio::null()).output();
    if output.is_err() || !Path::new(&core).exists() {
        return skip("gdb writes no core here");
    }
    let dead = cdb(&["-z", &core, "-c", ".echo verdict follows; !analyze -hang -v; q"]);
    assert_eq!(problems(&expected, verdict(&dead)), Vec::<String>::new(), "{dead}");
}

/// A program of testkit's examples, which bring crates with them.
fn example(name: &str) -> Option<std::path::PathBuf> {
    let program = Path::new(env!("CARGO_BIN_EXE_cdb")).with_file_name("examples").join(name);
    if !program.exists() {
        skip(&format!("the example {name} of testkit is not built (cargo test --workspace builds it)"));
        return None;
    }
    Some(program)
}

/// Without symbols places stand for functions; what is wrong is the same.
#[test]
fn verdicts_over_programs_without_symbols() {
    let cases = [
        ("mutual_recursion.c", "-O2 -s", "class STACK_OVERFLOW\nsays endless recursion: mutual_recursion+0x"),
        ("alloca.c", "-O2 -s", "class STACK_OVERFLOW\nsays the frame of alloca+0x"),
        (
            "return_address.c",
            "-O2 -s -fno-stack-protector",
            "class STACK_BUFFER_OVERFLOW\nsays the return address of return_address+0x\nsays its bytes are the text",
        ),
    ];
    for (name, flags, expected) in cases {
        let (text, problems) = judged(name, flags, expected);
        assert_eq!(problems, Vec::<String>::new(), "{name}: {text}");
    }
}

/// A call into a library that is gone is told with its name, if it was seen while it was there.
#[test]
fn a_call_into_a_library_that_was_unloaded() {
    const PROGRAM: &str = r#"
#include <dlfcn.h>
static int (*hook)(int);
__attribute__((noinline)) int call_hook(int number) { return hook(number) + 1; }
int main(int count, char **words) {
    void *library = dlopen(words[count - 1], RTLD_NOW);
    hook = (int (*)(int))dlsym(library, "twice");
    call_hook(1);
    dlclose(library);
    return call_hook(2);
}
"#;
    let library = Build::source(Compiler::Gcc, "plugin", "int twice(int number) { return number * 2; }");
    let library = library.flags("-g -shared -fPIC").path();
    let program = Build::source(Compiler::Gcc, "unloading", PROGRAM).flags("-g -O0").path();
    let script = "bp call_hook; g; bc *; g; .echo verdict follows; !analyze -v; q";
    let said = cdb(&["-c", script, program.to_str().unwrap(), library.to_str().unwrap()]);
    let expected = format!(
        "class WILD_POINTER_CALL\nblame call_hook\nsays the function pointer hook was called\nsays where {} was before it was \
         unloaded (its offset 0x",
        library.display()
    );
    assert_eq!(problems(&expected, verdict(&said)), Vec::<String>::new(), "{said}");
}

/// What a lock of parking_lot is waited for by is in its table, whose layout only debug info tells.
#[test]
fn a_deadlock_of_parking_lot() {
    let Some(program) = example("parking_lot_deadlock") else { return };
    let running = Running::start(&program, &[]);
    let pid = running.pid().to_string();
    let look = || cdb(&["-p", &pid, "-c", "!locks; .echo verdict follows; !analyze -hang -v; qd"]);
    let expected = "class DEADLOCK\nblame transfer\nsays a deadlock of 0n2 threads\n\
                    says the parking_lot lock parking_lot_deadlock!parking_lot_deadlock::ALICE\n\
                    says the parking_lot lock parking_lot_deadlock!parking_lot_deadlock::BOB";
    let is_waited_for =
        |text: &str| text.contains("parking_lot_deadlock::RATES: parking_lot lock\n    Held by:    thread 0 ");
    let is_right = |text: &String| problems(expected, verdict(text)).is_empty() && is_waited_for(text);
    let found = (0..LOOKS).map(|_| look()).find(is_right);
    assert!(found.is_some(), "{:?}: {}", problems(expected, verdict(&look())), look());
}

/// Tasks of tokio are told with the lines that await, on a process, through a server and of a core.
#[test]
fn tasks_of_tokio_and_what_they_await() {
    let Some(program) = example("tokio_tasks") else { return };
    let source = std::fs::read_to_string(fixture("../crates/testkit/examples/tokio_tasks.rs")).unwrap();
    let at = |mark: &str| {
        let line = source.lines().position(|line| line.ends_with(&format!("// here: {mark}"))).unwrap() + 1;
        format!(" [crates/testkit/examples/tokio_tasks.rs @ {line}]")
    };
    let expected = [
        format!(": idle\n  tokio_tasks::outer{}\n    awaits tokio_tasks::middle{}\n", at("outer"), at("middle")),
        format!("      awaits tokio_tasks::locked{}\n        awaits tokio::sync::mutex::", at("locked")),
        " awaits tokio::sync::batch_semaphore::Acquire\n".to_owned(),
        format!(
            "  tokio_tasks::joined{}\n    awaits tokio::runtime::task::join::JoinHandle<u64> of task 0n",
            at("joined")
        ),
        format!("  tokio_tasks::received{}\n    awaits tokio::sync::mpsc::bounded::", at("received")),
        format!("::{{async block#0}}{}\n    awaits tokio::time::sleep::Sleep\n", at("block")),
        // join! of a limited future and of select!.
        format!(
            "\n      awaits tokio::time::timeout::Timeout<tokio_tasks::locked::{{async_fn_env#0}}>\n        awaits \
             tokio_tasks::locked{}\n          awaits tokio::sync::mutex::",
            at("locked")
        ),
        "\n      awaits tokio_tasks::combined::{async_fn#0}::{async block#0} [".to_owned(),
        format!("\n          awaits tokio_tasks::locked{}\n            awaits ", at("locked")),
        "\n          awaits tokio::time::sleep::Sleep\n".to_owned(),
    ];
    let missing = |text: &str| expected.iter().filter(|part| !text.contains(*part)).cloned().collect::<Vec<_>>();
    let mut running = Running::start(&program, &[]);
    assert_eq!(running.line(), "ready");
    let pid = running.pid().to_string();
    let here = || cdb(&["-p", &pid, "-c", ".echo verdict follows; !tasks; qd"]);
    let found = (0..LOOKS).map(|_| here()).find(|text| missing(text).is_empty());
    let here = found.unwrap_or_else(|| panic!("{:?}\n{}", missing(&here()), here()));
    // The task that is joined is the one that does not go on.
    let joined = here.split("JoinHandle<u64> of task ").nth(1).unwrap().split_whitespace().next().unwrap();
    assert!(here.contains(&format!("Task {joined} at ")), "{here}");
    let server = ProcessServer::start();
    let there = cdb(&["-premote", server.connection(), "-p", &pid, "-c", ".echo verdict follows; !tasks; qd"]);
    let tasks = |text: &str| verdict(text).split_once("Task ").unwrap().1.split(" tasks\n").next().unwrap().to_owned();
    assert_eq!(tasks(&there), tasks(&here));
    let folder = tempfile::tempdir().unwrap();
    let core = folder.path().join("core").to_str().unwrap().to_owned();
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-ex", "set debuginfod enabled off", "-p", &pid, "-ex"]);
    let written = gdb.arg(format!("generate-core-file {core}")).stdin(Stdio::null()).output();
    if written.is_err() || !Path::new(&core).exists() {
        return skip("gdb writes no core here");
    }
    let dead = cdb(&["-z", &core, "-c", ".echo verdict follows; !tasks; q"]);
    assert_eq!(tasks(&dead), tasks(&here));
}

/// glibc 2.42 makes the guards of its threads' stacks with `madvise(MADV_GUARD_INSTALL)`: they are within the mapping.
#[test]
fn a_stack_that_runs_into_a_guard_of_its_own_mapping_is_used_up() {
    const GUARDED: &str = r#"
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
__attribute__((noinline)) int deep(int round, char *before) {
    char here[300];
    memset(here, round, sizeof here);
    return deep(round + 1, here) + here[round % 300];
}
static void *run(void *nothing) { return (void *)(long)deep(0, nothing); }
int main(void) {
    char *two = mmap(0, 0x40000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (madvise(two + 0x20000, 0x1000, 102) != 0) {
        puts("no guards");
        return 0;
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, two + 0x20000, 0x20000);
    pthread_t thread;
    pthread_create(&thread, &attributes, run, 0);
    pthread_join(thread, 0);
}
"#;
    let path = Build::source(Compiler::Gcc, "guarded", GUARDED).flags("-g -O0 -w").path();
    let text = cdb(&["-c", SCRIPT, path.to_str().unwrap()]);
    if text.contains("no guards") {
        return skip("the kernel has no MADV_GUARD_INSTALL (6.13)");
    }
    let is_right = |said: &str| {
        assert!(said.contains("FAULT: STACK_OVERFLOW"), "{said}");
        assert!(said.contains("bytes below the stack"), "{said}");
    };
    is_right(verdict(&text));
    assert!(verdict(&text).contains("CAUSE: endless recursion: deep"), "{text}");
    // A core has no page tables. gdb 13 loses the pages behind a guard, too, and with them the callers.
    let folder = tempfile::tempdir().unwrap();
    let core = folder.path().join("core").to_str().unwrap().to_owned();
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-ex", "set debuginfod enabled off", "-ex", "run", "-ex"]);
    let written = gdb.arg(format!("generate-core-file {core}")).arg(&path).stdin(Stdio::null()).output();
    if written.is_err() || !Path::new(&core).exists() {
        return skip("gdb writes no core here");
    }
    is_right(verdict(&cdb(&["-z", &core, "-c", ".echo verdict follows; !analyze -v; q"])));
}

/// musl's locks and control blocks are others than glibc's, and a static program has its C library among its own code.
#[test]
fn a_deadlock_in_programs_of_musl_and_in_static_ones() {
    const LOCKS: &str = r#"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER, strict, again;
static pthread_barrier_t all;
void *one(void *p) { errno = 17; pthread_mutex_lock(&strict); pthread_barrier_wait(&all); pthread_mutex_lock(&again); return p; }
void *two(void *p) { pthread_mutex_lock(&again); pthread_mutex_lock(&plain); pthread_barrier_wait(&all); pthread_mutex_lock(&strict); return p; }
void *three(void *p) { pthread_barrier_wait(&all); pthread_mutex_lock(&plain); return p; }
int main(void) {
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&strict, &kind);
    pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&again, &kind);
    pthread_barrier_init(&all, 0, 4);
    void *(*threads[])(void *) = { one, two, three };
    pthread_t thread;
    for (int n = 0; n < 3; n++) pthread_create(&thread, 0, threads[n], 0);
    pthread_barrier_wait(&all);
    for (;;) pause();
}
"#;
    let has_musl = Command::new("musl-gcc").arg("--version").output().is_ok();
    let mut builds = vec![(Compiler::Gcc, "-static", true), (Compiler::Gcc, "-static-pie", true)];
    if has_musl {
        builds.extend([(Compiler::MuslGcc, "-static", false), (Compiler::MuslGcc, "", false)]);
    } else {
        skip("musl-gcc is not installed");
    }
    for (compiler, flags, is_glibc) in builds {
        let path = Build::source(compiler, "locks", LOCKS).flags("-g -O0").flags(flags).path();
        let Ok(mut child) = Command::new(&path).spawn() else {
            // The loader may not be installed where the compiler is.
            skip("programs of musl do not run here");
            continue;
        };
        let pid = child.id().to_string();
        let threads = || std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        outpost_testkit::wait_until("its threads are there", std::time::Duration::from_secs(20), || threads() == 4);
        let mut said = String::new();
        for _ in 0..LOOKS {
            said = cdb(&["-p", &pid, "-c", ".echo verdict follows; !locks; !analyze -hang; ~1s; !tcb; !gle; qd"]);
            if said.contains("HANG: DEADLOCK") {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let said = verdict(&said);
        let id = |ordinal: u32| {
            let line = said.lines().find_map(|line| line.split_once(&format!("thread {ordinal} (id ")));
            line.and_then(|(_, rest)| rest.split(')').next()).unwrap_or_default().to_owned()
        };
        let holder = format!("    Held by:    thread 1 (id {})", id(1));
        for wanted in [
            "locks!strict: pthread mutex (error checking)",
            "locks!again: pthread mutex (recursive)",
            "locks!plain: pthread mutex\n",
            &holder,
            "CAUSE: thread 1 \"locks\" waits for the pthread mutex locks!again",
            "BLAMED: locks!one+",
            &format!("Library's id:    {}", id(1)),
            "errno: 0n17 (EEXIST)",
        ] {
            // What glibc says of a thread's id is not linked into a static program.
            if wanted.starts_with("Library") && is_glibc {
                continue;
            }
            assert!(said.contains(wanted), "{compiler:?} {flags}: no {wanted} in {said}");
        }
        let plain = said.split("locks!plain: pthread mutex\n").nth(1).unwrap();
        // musl's plain mutexes record nobody.
        let owner = if is_glibc { "    Held by:    thread 2 " } else { "    Held by:    not recorded" };
        assert!(plain.starts_with(owner), "{compiler:?} {flags}: {said}");
    }
}

/// A glibc before 2.34 tells debuggers nothing of its structures in a program without libpthread. One of this machine is
/// made such a one: the names of the constants that tell are changed, and so is its build-id.
#[test]
fn a_c_library_that_tells_debuggers_nothing() {
    const THROWS: &str = r#"
#include <cerrno>
#include <stdexcept>
int main() {
    errno = 7;
    throw std::logic_error("last");
}
"#;
    let path = Build::source(Compiler::Gxx, "throws", THROWS).flags("-g -O0").path();
    let map = String::from_utf8(Command::new("ldd").arg(&path).output().unwrap().stdout).unwrap();
    let library = map.split_whitespace().find(|word| word.starts_with('/') && word.ends_with("/libc.so.6")).unwrap();
    let mut bytes = std::fs::read(library).unwrap();
    let mut change = |from: &[u8], to: &[u8]| {
        let places: Vec<usize> =
            bytes.windows(from.len()).enumerate().filter(|(_, window)| *window == from).map(|(at, _)| at).collect();
        for at in &places {
            bytes[*at..*at + to.len()].copy_from_slice(to);
        }
        assert!(!places.is_empty());
    };
    change(b"_thread_db_", b"_thread_no_");
    // The note's header and name; the id follows.
    change(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0", b"\x04\0\0\0\x14\0\0\0\x07\0\0\0GNU\0");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("libc.so.6"), &bytes).unwrap();
    let script =
        "g; .echo verdict follows; !analyze; !gle; !tls -1; .catch {? libc_so!errno}; .catch {?? libc_so!errno}; q";
    let mut command = Command::new("timeout");
    command.arg("50").arg(env!("CARGO_BIN_EXE_cdb")).args(["-c", script]);
    let there = format!("LD_LIBRARY_PATH={}", folder.path().display());
    command.args(["/usr/bin/env", &there, path.to_str().unwrap()]);
    let text = String::from_utf8(command.stdin(Stdio::null()).output().unwrap().stdout).unwrap();
    let said = verdict(&text);
    assert!(said.contains("nothing catches the exception std::logic_error: \"last\""), "{text}");
    assert!(said.contains("errno: 0n7 "), "{text}");
    assert!(said.contains("tells debuggers nothing of its structures") && said.contains("not known"), "{text}");
    // Address 0 would be a wrong answer.
    assert_eq!(said.matches("'libc_so!errno' is not available: thread-local address unknown").count(), 2, "{text}");
}

fn core_of(program: &Path, folder: &Path) -> Option<String> {
    let core = folder.join("core").to_str().unwrap().to_owned();
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-ex", "set debuginfod enabled off", "-ex", "run", "-ex"]);
    gdb.arg(format!("generate-core-file {core}")).arg(program).stdin(Stdio::null()).output().ok()?;
    Path::new(&core).exists().then_some(core)
}
