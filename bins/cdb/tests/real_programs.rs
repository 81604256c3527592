//! Programs of the world through a process server: attached to, broken in, stepped, let go. Their stacks are gdb's.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

#[path = "real/client.rs"]
mod client;
#[path = "../../../crates/symbols/tests/oracle/compare.rs"]
mod compare;
#[path = "real/compared.rs"]
mod compared;
#[path = "../../../crates/symbols/tests/oracle/explained.rs"]
mod explained;
#[path = "../../../crates/symbols/tests/oracle/facts.rs"]
mod facts;
#[path = "real/locals.rs"]
mod locals;
#[path = "real/locals_of_programs.rs"]
mod locals_of_programs;
#[path = "real/remote.rs"]
mod remote;
#[path = "real/stacks.rs"]
mod stacks;
#[path = "real/tours.rs"]
mod tours;
#[path = "real/transfers.rs"]
mod transfers;

use std::io::{BufRead, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use outpost_testkit::{Build, Compiler, ProcessServer, Running, skip, text_differences, wait_until};

use client::cdb;
use remote::{Work, step_through};
use stacks::{Frames, Names, of_cdb, of_gdb};

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
fn check_stacks(server: &ProcessServer, name: &str, running: &mut Running) {
    let pid = running.pid();
    let theirs = of_gdb(&gdb(pid, &["thread apply all backtrace"]));
    let ours = of_cdb(&cdb(server, pid, "~*k; qd", || {}));
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
/// * functions that ended by a tail call and that only we find; the comparison of locals checks them one by one.
fn compare(what: &str, ours: &Frames, theirs: &Names) {
    let same = |ours: &str, theirs: &str| theirs == "??" || plain(ours) == plain(theirs);
    let mut rest = theirs.iter().peekable();
    let are_same =
        ours.iter().all(|frame| rest.next_if(|theirs| same(&frame.function, theirs)).is_some() || frame.is_tail_call);
    assert!(are_same && rest.next().is_none(), "{what}:\nours:   {ours:#?}\ngdb's:  {theirs:#?}");
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
    wait_for_state(pid, 'S');
}

/// Waits until every thread of a process is in one state, as proc(5) calls it.
fn wait_for_state(pid: u32, state: char) {
    let are_in_it = || {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        tasks.flatten().all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(state))
        })
    };
    wait_until("the program comes to rest", Duration::from_secs(20), are_in_it);
}

#[test]
fn bash() {
    let program = "echo ready; while read line; do echo got $line; done; exit 3";
    let mut running = Running::command(Command::new("bash").args(["-c", program]).stdin(Stdio::piped()));
    running.line();
    settle(running.pid());
    let server = ProcessServer::start();
    check_stacks(&server, "bash", &mut running);
    let work = Work { breakpoint: "bash!echo_builtin", caller: "bash!execute_command_internal" };
    step_through(&server, &mut running, &work, |running| running.say("one\n"));
    assert_eq!(running.line(), "got one", "it echoes on");
    running.say("two\n");
    assert_eq!(running.line(), "got two");
    running.end_input();
    assert_eq!(running.wait(Duration::from_secs(10)).code(), Some(3), "it ends as it would have");
}

#[test]
fn python_with_threads() {
    let program = "import sys, threading\n\
                   def wait(): threading.Event().wait()\n\
                   for _ in range(3): threading.Thread(target=wait, daemon=True).start()\n\
                   print('ready', flush=True)\n\
                   for line in sys.stdin: print(int(line) ** 2, flush=True)\n";
    let python = "/usr/bin/python3";
    if !std::path::Path::new(python).exists() {
        return skip("the distribution's python3 is not installed");
    }
    let mut running = Running::command(Command::new(python).args(["-c", program]).stdin(Stdio::piped()));
    running.line();
    settle(running.pid());
    let server = ProcessServer::start();
    check_stacks(&server, "python3", &mut running);
    let work = Work { breakpoint: "PyFile_WriteObject", caller: "_PyEval_EvalFrameDefault" };
    step_through(&server, &mut running, &work, |running| running.say("12\n"));
    assert_eq!(running.line(), "144", "it calculates on");
    running.say("5\n");
    assert_eq!(running.line(), "25");
    running.end_input();
    assert!(running.wait(Duration::from_secs(10)).success());
}

#[test]
fn sqlite() {
    if Command::new("sqlite3").arg("--version").output().is_err() {
        return skip("sqlite3 is not installed");
    }
    let mut command = Command::new("sqlite3");
    let mut running = Running::command(command.args(["-batch", ":memory:"]).stdin(Stdio::piped()));
    settle(running.pid());
    let server = ProcessServer::start();
    check_stacks(&server, "sqlite3", &mut running);
    let work = Work { breakpoint: "sqlite3_step", caller: "sqlite3+" };
    step_through(&server, &mut running, &work, |running| running.say("select 6 * 7;\n"));
    running.say("select 'still ' || 'here';\n");
    running.end_input();
    assert_eq!([running.line(), running.line()], ["42", "still here"], "it answers");
    assert!(running.wait(Duration::from_secs(10)).success());
}

#[test]
fn optimised_cpp_with_threads() {
    let mut running = Running::start(Build::fixture("shop.cpp").flags("-g -O2").path(), &[]);
    let port: u16 = running.line().parse().unwrap();
    settle(running.pid());
    let server = ProcessServer::start();
    check_stacks(&server, "shop -O2", &mut running);
    let mut customer = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut ask = |question: &str| customer.write_all(question.as_bytes()).unwrap();
    let work = Work { breakpoint: "shop::Inventory::left", caller: "shop::Server::work" };
    step_through(&server, &mut running, &work, |_| ask("STOCK apple\nPING\n"));
    let mut answers = std::io::BufReader::new(customer).lines().map(Result::unwrap);
    assert_eq!([answers.next(), answers.next()].map(Option::unwrap), ["120", "PONG"], "it serves on");
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
        __attribute__((noinline)) int answer(const char *line) {
            int sum = 0;
            for (; *line; ++line) sum += *line;
            printf("%d\n", sum);
            return fflush(stdout);
        }
        int main(void) {
            char line[64];
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
            while (fgets(line, sizeof line, stdin)) answer(line);
        }"#;
    let program = Build::source(Compiler::Gcc, "thousand", PROGRAM).flags("-g -O1");
    let mut running = Running::command(Command::new(program.path()).stdin(Stdio::piped()));
    assert_eq!(running.line(), "ready");
    settle(running.pid());
    let server = ProcessServer::start();
    check_stacks(&server, "1,000 threads", &mut running);
    let work = Work { breakpoint: "answer", caller: "thousand!main" };
    step_through(&server, &mut running, &work, |running| running.say("a\n"));
    assert_eq!(running.line(), "107", "it answers");
    running.say("b\n");
    assert_eq!(running.line(), "108");
}

#[test]
fn rust_on_tokio() {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_cdb")).with_file_name("examples").join("tokio_service");
    if !program.exists() {
        return skip("the tokio example of testkit is not built (cargo test --workspace builds it)");
    }
    let mut running = Running::command(Command::new(program).stdin(Stdio::piped()));
    running.line();
    settle(running.pid());
    let server = ProcessServer::start();
    check_stacks(&server, "tokio", &mut running);
    let work = Work { breakpoint: "tokio_service::answer", caller: "tokio_service::main" };
    step_through(&server, &mut running, &work, |running| running.say("how many words\n"));
    assert_eq!(running.line(), "3 words, 6 counted", "it answers");
    running.say("and now\n");
    assert_eq!(running.line(), "2 words, 6 counted");
    running.end_input();
    assert!(running.wait(Duration::from_secs(10)).success());
}
