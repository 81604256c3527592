//! `cdb` and `dbgsrv` over a serial line: two pseudo-terminals, joined by a thread that loses and garbles bytes.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use outpost_testkit::{Build, Compiler, ProcessServer, Running, SerialLine, text_differences, wait_until};

/// No wait takes longer.
const LIMIT: Duration = Duration::from_secs(60);
/// Of 1,000 bytes, how many suffer on a bad line.
const NOISE: u32 = 20;

const PROGRAM: &str = r#"
#include <unistd.h>
__attribute__((noinline)) void wait_here(void) { for (;;) pause(); }
int main(void) { write(1, "ready\n", 6); wait_here(); }
"#;

fn debuggee() -> Running {
    let mut running = Running::start(Build::source(Compiler::Gcc, "waiting", PROGRAM).flags("-g -O0").path(), &[]);
    assert_eq!(running.line(), "ready");
    running
}

/// A server that holds the session of a lost link for so many seconds.
fn server(line: &SerialLine, channel: u8, grace: &str) -> ProcessServer {
    let transport = format!("com:port={},baud=115200,channel={channel}", line.device(0));
    ProcessServer::start_with(&["-t", &transport, "--grace", grace])
}

/// Starts `cdb` at the other end of the line; its standard input and output are pipes.
fn cdb(line: &SerialLine, channel: u8, arguments: &[&str]) -> Child {
    let transport = format!("com:port={},baud=115200,channel={channel}", line.device(1));
    Command::new(env!("CARGO_BIN_EXE_cdb"))
        .args(["-premote", &transport])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Its exit status and all it said; past the limit it is ended.
fn end(mut child: Child) -> (Option<i32>, String) {
    drop(child.stdin.take());
    let read = |stream: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            drop(stream.map(|mut stream| stream.read_to_end(&mut text)));
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let stdout = read(child.stdout.take().map(|stream| Box::new(stream) as _));
    let stderr = read(child.stderr.take().map(|stream| Box::new(stream) as _));
    let mut status = None;
    let end = std::time::Instant::now() + LIMIT;
    while status.is_none() && std::time::Instant::now() < end {
        status = child.try_wait().unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(child.kill());
    drop(child.wait());
    (status.and_then(|status| status.code()), stdout.join().unwrap() + &stderr.join().unwrap())
}

/// A `cdb` that has attached and waits at its prompt; its output so far was read.
fn attached(line: &SerialLine, channel: u8, pid: u32) -> (Child, BufReader<ChildStdout>) {
    let mut child = cdb(line, channel, &["-p", &pid.to_string(), "-c", ".echo it stands"]);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    while !said.contains("it stands") {
        let mut text = String::new();
        if stdout.read_line(&mut text).unwrap() == 0 {
            let (status, errors) = end(child);
            panic!("{status:?}: {said}{errors}");
        }
        said += &text;
    }
    (child, stdout)
}

fn is_free(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.contains("TracerPid:\t0\n") && status.contains("State:\tS")
}

#[test]
fn a_session_over_a_line_that_loses_and_garbles_bytes() {
    let line = SerialLine::start(NOISE).unwrap();
    let mut running = debuggee();
    let _server = server(&line, 3, "60");
    let (status, said) = end(cdb(&line, 3, &["-p", &running.pid().to_string(), "-c", "k;q"]));
    assert!(said.contains("waiting!wait_here") && said.contains("waiting!main"), "{said}");
    assert_eq!(status, Some(0), "{said}");
    wait_until("the program is let go", LIMIT, || is_free(running.pid()));
    assert!(running.is_running() && text_differences(running.pid()).is_empty());
}

#[test]
fn two_servers_and_two_clients_share_a_line() {
    let line = SerialLine::start(0).unwrap();
    let (one, two) = (debuggee(), debuggee());
    let _servers = [server(&line, 0, "60"), server(&line, 254, "60")];
    let (first, _first_says) = attached(&line, 0, one.pid());
    let (second, _second_says) = attached(&line, 254, two.pid());
    // Channels have one connection at a time, and a server for each.
    let (status, said) = end(cdb(&line, 0, &["-p", "1", "-c", "q"]));
    assert!(said.contains("channel 0 of") && said.contains(&format!("in use by process {}", first.id())), "{said}");
    assert_eq!(status, Some(1), "{said}");
    let (status, said) = end(cdb(&line, 7, &["-p", "1", "-c", "q"]));
    assert!(said.contains("no server listens on it at the other end"), "{said}");
    assert_eq!(status, Some(1), "{said}");
    let refused = Command::new(outpost_testkit::program("dbgsrv"))
        .args(["-t", &format!("com:port={},baud=115200,channel=254", line.device(0))])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains(&format!("in use by process {}", _servers[1].pid())), "{said}");
    // The second came through the first, and ends by itself.
    let mut second = second;
    second.stdin.as_mut().unwrap().write_all(b"q\n").unwrap();
    assert_eq!(end(second).0, Some(0));
    wait_until("the second program is let go", LIMIT, || is_free(two.pid()));
    assert!(!is_free(one.pid()));
    let mut first = first;
    first.stdin.as_mut().unwrap().write_all(b"q\n").unwrap();
    assert_eq!(end(first).0, Some(0));
    wait_until("the first program is let go", LIMIT, || is_free(one.pid()));
}

#[test]
fn a_line_that_stays_cut_ends_the_session_when_its_grace_is_over() {
    let mut line = SerialLine::start(0).unwrap();
    let mut running = debuggee();
    let _server = server(&line, 3, "1");
    let (mut client, mut stdout) = attached(&line, 3, running.pid());
    line.cut();
    wait_until("the program is let go", LIMIT, || is_free(running.pid()));
    // The prompt finds out by the next command that asks the server.
    drop(client.stdin.take().unwrap().write_all(b".tlist\n"));
    let mut said = String::new();
    stdout.read_to_string(&mut said).unwrap();
    let (status, errors) = end(client);
    said += &errors;
    assert!(said.contains(" is lost: "), "{said}");
    assert_eq!(status, Some(3), "{said}");
    assert!(running.is_running() && text_differences(running.pid()).is_empty());
}

#[test]
fn when_an_owner_is_killed_another_takes_over_and_sessions_go_on() {
    let line = SerialLine::start(0).unwrap();
    let (one, two) = (debuggee(), debuggee());
    let servers = [server(&line, 1, "5"), server(&line, 2, "5")];
    let (mut owner, _says) = attached(&line, 1, one.pid());
    let (mut other, mut other_says) = attached(&line, 2, two.pid());
    owner.kill().unwrap();
    owner.wait().unwrap();
    // Its former user is the owner now, and its session goes on.
    other.stdin.take().unwrap().write_all(b".tlist\nq\n").unwrap();
    let mut said = String::new();
    other_says.read_to_string(&mut said).unwrap();
    let (status, errors) = end(other);
    said += &errors;
    assert!(said.contains("link resumed"), "{said}");
    assert_eq!(status, Some(0), "{said}");
    // That of the killed one ends with its grace.
    wait_until("both programs are let go", LIMIT, || is_free(one.pid()) && is_free(two.pid()));
    // The same among the servers: the second has come through the first.
    assert!(Command::new("kill").args(["-s", "KILL", &servers[0].pid().to_string()]).status().unwrap().success());
    let (status, said) = end(cdb(&line, 2, &["-p", &two.pid().to_string(), "-c", "q"]));
    assert_eq!(status, Some(0), "{said}");
}
