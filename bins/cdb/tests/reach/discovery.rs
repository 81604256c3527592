//! `-QR`: which servers are there.

use std::net::TcpListener;

use outpost_testkit::wait_until;

use crate::support::{Ended, LIMIT, Program, run};

fn query(host: &str) -> Ended {
    run(["-QR", host])
}

fn row(transport: &str) -> String {
    format!("Remote Process Server - {transport}")
}

#[test]
fn check_14_this_machine_lists_servers_that_are_there_and_not_hidden() {
    let server = Program::server(&["-t", "tcp:port=0,password=Xy12secret"]);
    let hidden = Program::server(&["-t", "tcp:port=0,hidden"]);
    let pipe = Program::server(&["-t", "npipe:pipe=listed%d"]);
    let killed = Program::server(&["-t", "tcp:port=0"]);
    let dialled = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let reverse = Program::server(&["-t", &format!("tcp:port={dialled},clicon=localhost")]);
    reverse.line("trying again");
    let (shown, hidden_row) =
        (row(&format!("tcp:Port={},Password=*", server.port())), format!("Port={}", hidden.port()));
    let (pipe_row, killed_row) =
        (row(&format!("npipe:Pipe=listed{}", pipe.pid())), row(&format!("tcp:Port={}", killed.port())));
    pipe.connection();
    // The entry is there as soon as the server waits for clients.
    wait_until("all are listed", LIMIT, || {
        let text = query("\\\\localhost").text;
        [&shown, &pipe_row, &killed_row].iter().all(|row| text.lines().any(|line| line == *row))
    });
    let ended = query(".");
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert_eq!((ended.code, ended.text.lines().next()), (Some(0), Some(format!("Servers on \\\\{host}:").as_str())));
    assert!(!ended.text.contains(&hidden_row) && !ended.text.contains("secret"), "{}", ended.text);

    assert!(
        !ended.text.to_lowercase().contains("clicon") && !ended.text.contains(&dialled.to_string()),
        "{}",
        ended.text
    );

    let dead = killed.connection();
    killed.signal("KILL");
    killed.end();
    // Whoever has the entry from before gets an error, and no more.
    let connecting = run(["-premote", &dead, "-p", "1", "-c", "q"]);
    assert_eq!(connecting.code, Some(1), "{}", connecting.text);
    assert!(connecting.text.contains("cannot connect"), "{}", connecting.text);
    server.signal("TERM");
    assert_eq!(server.end().code, Some(0));
    let text = query("localhost").text;
    assert!(!text.contains(&shown) && !text.contains(&killed_row) && text.contains(&pipe_row), "{text}");
}

#[test]
fn another_machine_is_asked_through_any_of_its_servers_without_a_password() {
    let listed = Program::server(&["-t", "ssl:port=0,bind=localhost,password=Xy12secret"]);
    let certificate = listed.connection().split_once(",CertUser=").unwrap().1[..64].to_owned();
    let expected = row(&format!("ssl:Port={},Bind=127.0.0.1,CertUser={certificate},Password=*", listed.port()));
    for transport in ["tcp:port=0,password=Xy12secret,hidden", "ssl:port=0,bind=localhost,password=Xy12secret,hidden"] {
        let asked = Program::server(&["-t", transport]);
        let host = format!("127.0.0.1:{}", asked.port());
        wait_until("it is listed", LIMIT, || query(&host).text.lines().any(|line| line == expected));
        let ended = query(&host);
        assert_eq!((ended.code, ended.text.lines().next()), (Some(0), Some("Servers on \\\\127.0.0.1:")));
        assert!(!ended.text.contains(&format!("Port={}", asked.port())), "a hidden server does not list itself");
        assert!(!ended.text.contains("secret"), "{}", ended.text);
        asked.line("asked which servers there are");
        assert!(asked.lines().iter().all(|line| !line.contains("session")), "nothing was started for it");
    }
}

#[test]
fn a_server_that_lets_in_certificates_alone_tells_strangers_nothing() {
    let thumbprint = "AB".repeat(32);
    let closed = Program::server(&["-t", &format!("ssl:port=0,bind=localhost,clientcert={thumbprint}")]);
    let ended = query(&format!("127.0.0.1:{}", closed.port()));
    assert_eq!(ended.code, Some(1));
    assert!(ended.text.contains("asks for a certificate") && ended.text.contains("another server there"), "{ended:?}");
    assert!(!ended.text.contains("Servers on"), "{ended:?}");
}

#[test]
fn hosts_that_do_not_answer_are_an_error() {
    let fails = |host: &str, words: &str| {
        let ended = query(host);
        assert!(ended.code == Some(1) && ended.text.contains(words), "{host}: {ended:?}");
        assert!(!ended.text.contains("Servers on"), "{}", ended.text);
    };
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    fails(&format!("127.0.0.1:{closed}"), "Connection refused");
    fails("127.0.0.1:port", "name a host");
    // Somebody who takes the call and hangs up.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port();
    let hanging_up = std::thread::spawn(move || drop(mute.accept()));
    fails(&format!("127.0.0.1:{port}"), "not known");
    hanging_up.join().unwrap();
}
