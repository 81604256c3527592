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
fn check_12_the_debugger_may_wait_for_the_server() {
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
fn check_12_the_server_may_wait_for_the_debugger() {
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

/// The string that a waiting debugger shows for its server, with the password in it.
fn to_paste(debugger: &Program, password: &str) -> String {
    let line = debugger.line("there: dbgsrv -t ");
    line.split_once(" -t ").unwrap().1.replace("Password=*", &format!("password={password}"))
}

fn pipe(name: &str) -> String {
    format!("spipe:pipe={name}{},clicon=.", std::process::id())
}

#[test]
fn inside_tls_the_debugger_may_wait_for_the_server() {
    for waiting in ["ssl:port=0:0,clicon=localhost,password=Xy12".to_owned(), pipe("waits") + ",password=Xy12"] {
        let mut sleeper = sleeper();
        let pid = sleeper.pid().to_string();
        let debugger = Program::start(&mut cdb(["-premote", &waiting, "-p", &pid, "-c", "r rip; qd"]));
        let line = to_paste(&debugger, "Xy12");
        assert!(line.contains(",CertUser="), "{line}");
        let server = Program::server(&["-t", &line]);
        assert_debugged(&debugger.end(), &mut sleeper);
        let ended = server.end();
        assert_eq!(ended.code, Some(0), "{}", ended.text);
        assert!(!ended.text.contains("Xy12"), "{}", ended.text);
    }
}

#[test]
fn inside_tls_the_server_may_wait_for_the_debugger_that_it_names() {
    for waiting in [format!("ssl:port={},clicon=127.0.0.1", free_port()), pipe("dials")] {
        // The certificate of the debugger stays, so that its thumbprint is known from then on.
        let debugger = Program::start(&mut cdb(["-premote", &waiting, "-p", "1"]));
        let line = to_paste(&debugger, "");
        debugger.signal("INT");
        debugger.end();
        let server = Program::server(&["-t", &line]);
        server.line("trying again");
        // What the server shows is as good as what the debugger knows.
        let there = server.line("there: cdb -premote ").split(' ').nth(4).unwrap().to_owned();
        let mut sleeper = sleeper();
        let pid = sleeper.pid().to_string();
        assert_debugged(&run(["-premote", &there, "-p", &pid, "-c", "r rip; qd"]), &mut sleeper);
        let ended = server.end();
        assert_eq!(ended.code, Some(0), "{}", ended.text);
    }
}

#[test]
fn a_debugger_with_another_certificate_gets_no_session() {
    let (debugger, port) = waiting("ssl:port=0,clicon=127.0.0.1", 1, "qd");
    let right = to_paste(&debugger, "");
    let (before, thumbprint) = right.split_once("CertUser=").unwrap();
    let wrong = Program::server(&["-t", &format!("{before}CertUser=0000{}", &thumbprint[4..])]);
    let told = wrong.line("which was not named; trying again");
    assert!(told.contains(thumbprint), "{told}");
    debugger.line("sent away: tcp 127.0.0.1:");
    // A stranger that speaks no TLS is sent away, too, and the one that is waited for gets through.
    TcpStream::connect(("127.0.0.1", port)).unwrap().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    debugger.line("does not speak TLS");
    wrong.signal("TERM");
    assert_eq!(wrong.end().code, Some(0));
    let server = Program::server(&["-t", &right]);
    server.line("session 1: opened");
    drop(debugger);
    server.end();
}

#[test]
fn a_debugger_lets_in_the_certificate_that_it_names() {
    // The server's certificate is made by its first attempt, which does not find anybody.
    let port = free_port();
    let named = "AB".repeat(32);
    let shown = format!("ssl:port={port},clicon=127.0.0.1,certuser={named},clientcert=reverse");
    let first = Program::server(&["-t", &shown]);
    let there = first.line("there: cdb -premote ").split(' ').nth(4).unwrap().to_owned();
    let thumbprint = there.split_once(",ClientCert=").unwrap().1.to_owned();
    first.signal("TERM");
    first.end();
    let mut sleeper = sleeper();
    let waiting_for = |thumbprint: &str| {
        waiting(&format!("ssl:port=0,clicon=localhost,clientcert={thumbprint}"), sleeper.pid(), "qd")
    };
    let (debugger, _) = waiting_for(&named);
    let line = to_paste(&debugger, "");
    assert!(line.ends_with(",ClientCert=NAME"), "{line}");
    let server = Program::server(&["-t", &line.replace("NAME", "reverse")]);
    assert_eq!(server.end().code, Some(3), "its certificate is not the one that is let in");
    debugger.line("the certificate of the other end is not accepted");
    drop(debugger);
    let (debugger, _) = waiting_for(&thumbprint);
    let server = Program::server(&["-t", &to_paste(&debugger, "").replace("NAME", "reverse")]);
    let ended = debugger.end();
    assert_eq!((ended.code, server.end().code), (Some(0), Some(0)), "{}", ended.text);
    assert!(sleeper.is_running());
}

#[test]
fn check_12_one_server_and_one_debugger_find_each_other_and_nobody_else() {
    let sleeper = sleeper();
    let (debugger, port) = waiting("ssl:port=0,clicon=127.0.0.1", sleeper.pid(), "g");
    let server = Program::server(&["-t", &to_paste(&debugger, "")]);
    wait_until("it is attached", LIMIT, || tracer(sleeper.pid()) != 0);
    // Neither of the two can be reached by a third.
    assert_eq!(TcpStream::connect(("127.0.0.1", port)).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    let listed = outpost_server::registry::Registry::of_this_machine().list();
    assert!(listed.iter().all(|server| !server.transport.contains("CliCon")), "never listed: {listed:?}");
    assert!(!run(["-QR", "localhost"]).text.contains(&port.to_string()), "by nobody");
    // A server that has had its debugger is no other's, though there is one at the very port that it dialled: it ends.
    let (second, _) = waiting(&format!("tcp:port={port},clicon=127.0.0.1"), sleeper.pid(), "qd");
    drop(debugger);
    let ended = server.end();
    assert!(ended.text.contains("session 1: ended") && !ended.text.contains("session 2"), "{}", ended.text);
    wait_until("the process is let go", LIMIT, || tracer(sleeper.pid()) == 0);
    second.signal("INT");
    assert!(!second.end().text.contains("Attached"));
}

#[test]
fn a_server_of_another_host_is_sent_away_and_both_can_be_ended() {
    // Both addresses are this machine's, but what dials comes from the first.
    let (debugger, port) = waiting("tcp:port=0,clicon=127.0.0.2", 1, "qd");
    let server = dialling(port, "");
    assert!(debugger.line("sent away: tcp 127.0.0.1:").ends_with("which is not 127.0.0.2"));
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
