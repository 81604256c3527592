//! `clicon=`: the server dials, the debugger listens.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use outpost_testkit::{tracer, wait_until};

use crate::support::{LIMIT, Program, assert_debugged, cdb, number_behind, run, sleeper};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn dialling(port: u16, more: &str) -> Program {
    Program::server(&["-t", &format!("tcp:port={port},clicon=127.0.0.1{more}")])
}

/// A debugger that waits, and the port it took.
fn waiting(transport: &str, pid: u32, script: &str) -> (Program, u16) {
    let debugger = Program::start(&mut cdb(["-premote", transport, "-p", &pid.to_string(), "-c", script]));
    let port = number_behind(&debugger.line("waiting on port"), "port ");
    (debugger, port)
}

#[test]
fn the_debugger_may_wait_for_the_server() {
    let mut sleeper = sleeper();
    // In a range, the first free port is taken; the one before is held by somebody.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let first = taken.local_addr().unwrap().port();
    let range = format!("tcp:port={first}:{},clicon=localhost", first.saturating_add(20));
    let (debugger, port) = waiting(&range, sleeper.pid(), "r rip; qd");
    assert!(port > first);
    let server = dialling(port, "");
    assert_debugged(&debugger.end(), &mut sleeper);
    let ended = server.end();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(ended.text.contains("session 1: opened"), "{}", ended.text);
}

#[test]
fn the_server_may_wait_for_the_debugger() {
    let mut sleeper = sleeper();
    let port = free_port();
    let server = dialling(port, ",password=Xy12");
    assert!(server.line("trying again").contains("Connection refused"));
    let transport = format!("tcp:port={port},clicon=127.0.0.1,password=Xy12");
    assert_debugged(&run(["-premote", &transport, "-p", &sleeper.pid().to_string(), "-c", "r rip; qd"]), &mut sleeper);
    let ended = server.end();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert!(!ended.text.contains("Xy12"), "{}", ended.text);
}

#[test]
fn one_server_and_one_debugger_find_each_other_and_nobody_else() {
    let sleeper = sleeper();
    let (debugger, port) = waiting("tcp:port=0,clicon=127.0.0.1", sleeper.pid(), "g");
    let server = dialling(port, "");
    wait_until("it is attached", LIMIT, || tracer(sleeper.pid()) != 0);
    // Neither of the two can be reached by a third.
    assert_eq!(TcpStream::connect(("127.0.0.1", port)).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    let listed = outpost_server::registry::Registry::of_this_machine().list();
    assert!(listed.iter().all(|server| !server.transport.contains("CliCon")), "never listed: {listed:?}");
    // A server that has had its debugger is no other's: it ends.
    drop(debugger);
    let ended = server.end();
    assert!(ended.text.contains("session 1: ended") && !ended.text.contains("session 2"), "{}", ended.text);
    wait_until("the process is let go", LIMIT, || tracer(sleeper.pid()) == 0);
}

#[test]
fn a_server_of_another_host_is_sent_away_and_both_can_be_ended() {
    // Both addresses are this machine's, but what dials comes from the first.
    let (debugger, port) = waiting("tcp:port=0,clicon=127.0.0.2", 1, "qd");
    let server = dialling(port, "");
    assert!(debugger.line("sent away: 127.0.0.1:").ends_with("which is not 127.0.0.2"));
    server.line("closes the connection without a word; trying again");
    server.signal("TERM");
    assert_eq!(server.end().code, Some(0));
    debugger.signal("INT");
    assert_eq!(debugger.end().code, None, "ended by the signal");
}

#[test]
fn a_wrong_password_ends_the_server_with_what_to_do() {
    let (debugger, port) = waiting("tcp:port=0,clicon=127.0.0.1,password=wrong", 1, "qd");
    let server = dialling(port, ",password=right");
    let ended = debugger.end();
    assert!(ended.code == Some(1) && ended.text.contains("0x80004005"), "{ended:?}");
    let ended = server.end();
    assert!(ended.code == Some(3) && ended.text.contains("start this server again"), "{ended:?}");
}

#[test]
fn a_broken_link_is_not_dialled_again() {
    let sleeper = sleeper();
    let (debugger, port) = waiting("tcp:port=0,clicon=127.0.0.1", sleeper.pid(), "g");
    // Between the two stands somebody who cuts the link hard.
    let between = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = dialling(between.local_addr().unwrap().port(), "");
    let (to_server, _) = between.accept().unwrap();
    let to_debugger = TcpStream::connect(("127.0.0.1", port)).unwrap();
    for (mut from, mut to) in [
        (to_server.try_clone().unwrap(), to_debugger.try_clone().unwrap()),
        (to_debugger.try_clone().unwrap(), to_server.try_clone().unwrap()),
    ] {
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                if to.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
        });
    }
    wait_until("it is attached", LIMIT, || tracer(sleeper.pid()) != 0);
    // Half a frame that nothing follows is no orderly end.
    (&to_server).write_all(&[40, 0, 0, 0, 9]).unwrap();
    to_server.shutdown(std::net::Shutdown::Both).unwrap();
    let ended = server.end();
    assert_eq!(ended.code, Some(3), "{}", ended.text);
    assert!(ended.text.contains("start this server again"), "{}", ended.text);
    wait_until("the process is let go", LIMIT, || tracer(sleeper.pid()) == 0);
    drop(debugger);
}
