//! Programs nobody here wrote, attached to, broken in, stepped and let go; their stacks are gdb's.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

#[path = "real/stacks.rs"]
mod stacks;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use outpost_testkit::{Build, Compiler, Running, skip, text_differences, wait_until};

use stacks::{Frames, of_cdb, of_gdb};

/// What `cdb` says to a script on a process.
fn cdb(pid: u32, script: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cdb"))
        .args(["-p", &pid.to_string(), "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut output = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut output).unwrap();
    child.wait().unwrap();
    output
}

fn gdb(pid: u32, commands: &[&str]) -> String {
    let mut command = Command::new("gdb");
    command.args(["-nx", "-batch", "-ex", "set debuginfod enabled off", "-ex", "set print frame-arguments none"]);
    command.args([
        "-ex",
        "set backtrace past-main on",
        "-ex",
        "set backtrace past-entry on",
        "-ex",
        "set width 0",
        "-p",
        &pid.to_string(),
    ]);
    for line in commands {
        command.args(["-ex", line]);
    }
    String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
}

/// Compares the stacks of all threads of a process that is at rest, and sees that it goes on unharmed.
fn check_stacks(name: &str, running: &mut Running) {
    let pid = running.pid();
    let theirs = of_gdb(&gdb(pid, &["thread apply all backtrace"]));
    let ours = of_cdb(&cdb(pid, "~*k; qd"));
    assert!(!ours.is_empty(), "{name}: no stacks");
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "{name}: threads");
    for (thread, frames) in &ours {
        compare(&format!("{name}, thread {thread:x}"), frames, &theirs[thread]);
    }
    assert!(running.is_running(), "{name} was harmed");
    assert_eq!(text_differences(pid), [0; 0], "{name}");
}

/// Frame by frame, from the innermost out. What is no difference:
///
/// * a name gdb does not know (`??`), where ours is the nearest symbol or the module;
/// * the C library's several names for one function (`pause`, `__libc_pause`, `__GI___libc_pause`);
/// * frames that only gdb has in between: it makes up one for a function that ended by a tail call and so has none.
fn compare(what: &str, ours: &Frames, theirs: &Frames) {
    let same = |ours: &str, theirs: &str| theirs == "??" || plain(ours) == plain(theirs);
    let mut rest = theirs.iter();
    let mut made_up = 0;
    for frame in ours {
        let skipped = rest.by_ref().take_while(|theirs| !same(frame, theirs)).count();
        made_up += skipped;
    }
    let all = rest.len() == 0 && ours.len() + made_up == theirs.len() && made_up * 2 <= theirs.len();
    assert!(all, "{what}:\nours:   {ours:#?}\ngdb's:  {theirs:#?}");
}

/// A name without what only tells aliases in the C library apart.
fn plain(name: &str) -> &str {
    let mut name = name;
    while let Some(rest) =
        ["__GI_", "__libc_", "_IO_new_", "_IO_", "__", "_"].iter().find_map(|prefix| name.strip_prefix(prefix))
    {
        name = rest;
    }
    name
}

/// Waits until every thread of a process sleeps.
fn settle(pid: u32) {
    let asleep = || {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        tasks.flatten().all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('S'))
        })
    };
    wait_until("the program comes to rest", Duration::from_secs(20), asleep);
}

#[test]
fn bash() {
    let mut running =
        Running::command(Command::new("bash").args(["-c", "echo ready; read line; exit 3"]).stdin(Stdio::piped()));
    running.line();
    settle(running.pid());
    check_stacks("bash", &mut running);
}

#[test]
fn python_with_threads() {
    let program = "import threading, time\n\
                   def wait(): threading.Event().wait()\n\
                   for _ in range(3): threading.Thread(target=wait, daemon=True).start()\n\
                   print('ready', flush=True)\n\
                   time.sleep(1000)\n";
    let python = "/usr/bin/python3";
    if !std::path::Path::new(python).exists() {
        return skip("the distribution's python3 is not installed");
    }
    let mut running = Running::command(Command::new(python).args(["-c", program]));
    running.line();
    settle(running.pid());
    check_stacks("python3", &mut running);
}

#[test]
fn sqlite() {
    if Command::new("sqlite3").arg("--version").output().is_err() {
        return skip("sqlite3 is not installed");
    }
    let mut command = Command::new("sqlite3");
    let mut running = Running::command(command.args(["-batch", ":memory:"]).stdin(Stdio::piped()));
    let _ = &mut running;
    settle(running.pid());
    check_stacks("sqlite3", &mut running);
}

#[test]
fn optimised_cpp_with_threads() {
    let mut running = Running::start(Build::fixture("shop.cpp").flags("-g -O2").path(), &[]);
    let port: u16 = running.line().parse().unwrap();
    settle(running.pid());
    check_stacks("shop -O2", &mut running);
    let mut customer = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    customer.write_all(b"PING\n").unwrap();
    let mut answer = [0; 5];
    std::io::Read::read_exact(&mut customer, &mut answer).unwrap();
    assert_eq!(&answer, b"PONG\n", "it serves on");
}

#[test]
fn a_thousand_threads() {
    const PROGRAM: &str = r#"
        #include <pthread.h>
        #include <semaphore.h>
        #include <stdio.h>
        #include <unistd.h>
        static sem_t ready;
        __attribute__((noinline)) int deeper(int depth) {
            if (depth > 0) return deeper(depth - 1) + 1;
            sem_post(&ready);
            for (;;) pause();
        }
        static void *body(void *number) { return (void *)(long)deeper((long)number & 3); }
        int main(void) {
            pthread_attr_t attributes;
            pthread_attr_init(&attributes);
            pthread_attr_setstacksize(&attributes, 64 << 10);
            sem_init(&ready, 0, 0);
            for (long number = 0; number < 999; ++number) {
                pthread_t thread;
                if (pthread_create(&thread, &attributes, body, (void *)number)) return 1;
            }
            for (int number = 0; number < 999; ++number) sem_wait(&ready);
            puts("ready");
            fflush(stdout);
            for (;;) pause();
        }"#;
    let mut running = Running::start(Build::source(Compiler::Gcc, "thousand", PROGRAM).flags("-g -O1").path(), &[]);
    assert_eq!(running.line(), "ready");
    settle(running.pid());
    check_stacks("1,000 threads", &mut running);
}

#[test]
fn rust_on_tokio() {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_cdb")).with_file_name("examples").join("tokio_service");
    if !program.exists() {
        return skip("the tokio example of testkit is not built (cargo test --workspace builds it)");
    }
    let mut running = Running::start(program, &[]);
    running.line();
    settle(running.pid());
    check_stacks("tokio", &mut running);
}
