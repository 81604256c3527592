//! `!uniqstack`, `!runaway`, `!proc` and `!tcb` on a process of many threads.

use std::process::Command;

use outpost_testkit::{Build, Compiler, ProcessServer, Running};

use crate::cdb;

const WORKERS: &str = r#"
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>
static sem_t ready;
static void *idle(void *argument) {
    sem_post(&ready);
    for (;;) pause();
    return argument;
}
int main(void) {
    pthread_t thread;
    for (int number = 0; number < 200; number++) pthread_create(&thread, 0, idle, 0);
    for (int number = 0; number < 200; number++) sem_wait(&ready);
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}
"#;

/// Stacks of all threads cost two round trips at most, and equal ones are told once.
#[test]
fn equal_stacks_are_told_once_for_two_round_trips() {
    let program = Build::source(Compiler::Gcc, "workers", WORKERS).flags("-g -O0").path();
    let mut running = Running::start(&program, &[]);
    assert_eq!(running.line(), "ready");
    let server = ProcessServer::start();
    // The first stack makes sure that the symbols are there; the first report closes the account of all that.
    let script = "k; .linkstats; !uniqstack; .linkstats; !uniqstack -p; !runaway; .linkstats; qd";
    let text = cdb(&["-premote", server.connection(), "-p", &running.pid().to_string(), "-c", script]);
    let trips: Vec<u64> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("round trips")?.split_whitespace().next()?.parse().ok())
        .collect();
    assert_eq!(trips.len(), 3, "{text}");
    assert!(trips[1] <= 2, "{trips:?} {text}");
    // What is read for parameters, and the times.
    assert!(trips[2] <= 3, "{trips:?} {text}");
    assert_eq!(text.matches("Total threads: 201").count(), 2, "{text}");
    assert!(text.contains("200 threads in libc_so!") || text.contains("199 threads in libc_so!"), "{text}");
    assert!(text.contains("User Mode Time"), "{text}");
}

#[test]
fn a_process_and_its_threads_are_described_from_memory() {
    let program = Build::source(Compiler::Gcc, "workers", WORKERS).flags("-g -O0").path();
    let mut command = Command::new(&program);
    let mut running = Running::command(command.arg("with blank").env("OUTPOST_PROBE", "found"));
    assert_eq!(running.line(), "ready");
    let pid = running.pid();
    let text = cdb(&["-p", &pid.to_string(), "-c", "!proc; ~1s; !tcb; qd"]);
    assert!(text.contains(&format!("Process {pid:x}, parent ")), "{text}");
    assert!(text.contains("workers 'with blank'\n"), "{text}");
    assert!(text.contains("\n  OUTPOST_PROBE=found\n"), "{text}");
    assert!(text.contains("  AT_ENTRY "), "{text}");
    let block = text.rsplit("TCB at ").next().unwrap();
    let field = |name: &str| block.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    // Its own record agrees with the kernel's.
    assert_eq!(field("Self:"), block.split_whitespace().next(), "{block}");
    let id = block.split("(id ").nth(1).unwrap().split(')').next();
    assert_eq!(field("Library's id:"), id, "{block}");
    assert!(field("Start function:").unwrap().ends_with("workers!idle"), "{block}");
    assert_eq!(field("errno:"), Some("0n0"), "{block}");
}
