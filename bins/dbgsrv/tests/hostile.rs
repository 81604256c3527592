//! Peers that mean harm or are broken: each gets a clear end, and nobody else notices.

#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]

mod common;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{LIMIT, Server};
use outpost_base::ProcessId;
use outpost_target::{AttachMode, BundleRequest, DetachMode, Live, Os, ProcessQuery, Target};
use outpost_testkit::{Running, wait_until};
use outpost_transport::Connection;
use outpost_wire::{
    ClientHandshake, ClientStep, FrameQueue, FrameReader, Header, Identity, Kind, MAX_FRAME, OPEN_REQUEST, Opening,
    Payload, Request, RequestId, Wish, encode_request,
};
use rustix::net::sockopt;

/// Where the server listens: plain, and with all that is said here inside TLS.
const TRANSPORTS: [&str; 2] = ["tcp:port=0", "ssl:port=0,bind=localhost"];

fn dial(server: &Server) -> Connection {
    server.transport().connect().unwrap()
}

/// Everything the server says until it closes the connection. A reset is an end, too.
fn rest(mut stream: &Connection) -> Vec<u8> {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("not closed: {error}"),
        _ => said,
    }
}

fn send(mut stream: &Connection, request: u64, payload: Payload) -> std::io::Result<()> {
    let mut queue = FrameQueue::new();
    queue.push(Header { request: RequestId(request), ..Header::default() }, payload).unwrap();
    while !queue.is_empty() {
        queue.write_to(&mut stream)?;
    }
    Ok(())
}

/// A session whose bytes the test sends itself.
fn raw_session(server: &Server) -> Connection {
    let stream = dial(server);
    let mut reader = FrameReader::new(MAX_FRAME);
    let wish = Wish::Open { take_command_line: false, on_lost: None, opening: Opening::default() };
    let (mut handshake, hello) = ClientHandshake::start("", [7; 32], Identity::default(), wish);
    handshake.bind_channel(stream.channel_binding());
    send(&stream, 0, hello).unwrap();
    loop {
        while reader.fill_exactly_from(&mut &stream).unwrap() > 0 && !reader.has_frame().unwrap() {}
        let frame = reader.next_frame().unwrap().unwrap();
        match handshake.handle(&frame).unwrap() {
            ClientStep::Wait => {}
            ClientStep::Send { authenticate, open, .. } => {
                send(&stream, 0, authenticate).unwrap();
                send(&stream, OPEN_REQUEST.0, open).unwrap();
            }
            ClientStep::Opened { .. } | ClientStep::Resumed { .. } => return stream,
        }
    }
}

#[test]
fn garbage_and_impossible_lengths_end_the_connection_at_once() {
    for transport in TRANSPORTS {
        let server = Server::start(&["-t", transport]);
        let mut other = server.connect();
        let texts: [&[u8]; 6] = [
        b"\xff\xff\xff\xff and a lot of it",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00\x00\x00\x00\x00\x00\x00\x00",
        // A hello's header with a message longer than its frame.
        b"\x20\x00\x00\x00\x01\x00\x00\x00\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\x7f",
        // A hello with garbage in it.
        b"\x24\x00\x00\x00\x01\x00\x00\x00\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x04\0\0\0\xff\xff\xff\xff",
    ];
        for text in texts {
            let stream = dial(&server);
            (&stream).write_all(text).unwrap();
            rest(&stream);
        }
        let refusals = || server.log().iter().filter(|line| line.contains("refused: ")).count();
        outpost_testkit::wait_until("the refusals are logged", Duration::from_secs(60), || refusals() >= 5);
        // At once, that is not by running out of time.
        assert!(!server.log().iter().any(|line| line.contains("in time")), "{:#?}", server.log());
        assert_eq!(server.workers().len(), 1);
        assert!(other.clock().is_ok());
    }
}

#[test]
fn check_16_versions_that_differ_are_told_to_both_sides_before_anything_else() {
    for transport in TRANSPORTS {
        let server = Server::start(&["-t", transport]);
        let mut other = server.connect();
        // ClientHello: magic (1), versions packed (2), release (3).
        let message = b"\x0a\x07OUTPOST\x12\x01\x63\x1a\x039.9".to_vec();
        let stream = dial(&server);
        send(&stream, 0, Payload { kind: Kind::ClientHello.number(), message, tail: Vec::new() }).unwrap();
        let said = String::from_utf8_lossy(&rest(&stream)).into_owned();
        for words in
            ["protocol 99", "release 9.9", "protocol 1", "the server is older", "not using same version of remoting"]
        {
            assert!(said.contains(words), "{words}: {said:?}");
        }
        server.wait_for_line("protocol versions differ");
        assert!(other.clock().is_ok());
        assert_eq!(server.workers().len(), 1, "no process was started for it, so no target was touched");
        assert_eq!(server.log().iter().filter(|line| line.contains("opened")).count(), 1, "{:#?}", server.log());
    }
}

#[test]
fn slow_and_silent_peers_keep_nobody_out() {
    for transport in TRANSPORTS {
        let server = Server::start(&["-t", transport]);
        // More than there are places for those who have not proved anything.
        let silent: Vec<Connection> = (0..40).map(|_| dial(&server)).collect();
        let slow = dial(&server);
        (&slow).write_all(b"\x24\x00").unwrap();
        // A byte now and then is no reason to wait longer.
        let dripping = dial(&server);
        let drip = dripping.try_clone().unwrap();
        let drips = std::thread::spawn(move || {
            let hello = [0x24, 0, 0, 0, 1].into_iter().chain(std::iter::repeat(0)).take(36);
            hello
                .take_while(|byte| {
                    std::thread::sleep(Duration::from_millis(400));
                    (&drip).write_all(&[*byte]).is_ok()
                })
                .count()
        });
        let begin = Instant::now();
        assert!(server.connect().clock().is_ok());
        assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
        rest(&slow);
        rest(&dripping);
        assert!(drips.join().unwrap() < 36, "it was cut before its hello was whole");
        silent.iter().for_each(|stream| drop(rest(stream)));
        assert!(begin.elapsed() < Duration::from_secs(30));
    }
}

#[test]
fn half_frames_and_wrong_order_end_only_their_own_session() {
    for transport in TRANSPORTS {
        let server = Server::start(&["-t", transport, "--grace", "0"]);
        let mut other = server.connect();
        let cut = raw_session(&server);
        (&cut).write_all(b"\x30\x00\x00\x00\x09\x04").unwrap();
        drop(cut);
        server.wait_for_line("link lost: closed within a message");
        let huge = raw_session(&server);
        (&huge).write_all(b"\xff\xff\xff\xff").unwrap();
        rest(&huge);
        server.wait_for_line("a frame of 4294967299 bytes exceeds the limit");
        let backwards = raw_session(&server);
        send(&backwards, 5, Payload { kind: Kind::Stopped.number(), ..Payload::default() }).unwrap();
        rest(&backwards);
        server.wait_for_line("unexpected message kind 0x4001");
        let nonsense = raw_session(&server);
        let wild = Payload { kind: Kind::Resume.number(), message: vec![0xff; 100], tail: Vec::new() };
        send(&nonsense, 5, wild).unwrap();
        rest(&nonsense);
        server.wait_for_line("malformed message of kind 0x0203");
        assert!(other.clock().is_ok());
        wait_until("their workers end", LIMIT, || server.workers().len() == 1);
    }
}

/// Resident memory of a process in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn of_a_hundred_sessions_one_floods_and_one_stalls_and_the_others_notice_nothing() {
    let server = Server::start(&["-t", "tcp:port=0"]);
    let mut debuggees: Vec<Running> = (0..98).map(|_| Running::start("sleep", &["1000"])).collect();
    let mut sessions: Vec<_> = (0..98).map(|_| server.connect()).collect();
    let known = server.workers();

    // Asks for much and reads nothing of it, until the server takes no more.
    let stalled = raw_session(&server);
    let stalled_worker = server.workers().into_iter().find(|pid| !known.contains(pid)).unwrap();
    sockopt::set_socket_timeout(&stalled, sockopt::Timeout::Send, Some(Duration::from_secs(1))).unwrap();
    let list = Request::ListProcesses { query: ProcessQuery::All, with_attachability: false };
    let mut asked = 0;
    while asked < 200_000 && send(&stalled, asked + 2, encode_request(list.clone())).is_ok() {
        asked += 1;
    }
    assert!(asked < 200_000, "the server went on reading");

    // Asks as fast as it can, all the time.
    let flooding = raw_session(&server);
    let (ended, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let reader = flooding.try_clone().unwrap();
    let (stop, count) = (Arc::clone(&ended), Arc::clone(&answered));
    let discarding = std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read) = (&reader).read(&mut buffer)
            && read > 0
        {
            count.fetch_add(read as u64, Ordering::Relaxed);
        }
    });
    let flood = std::thread::spawn(move || {
        let mut id = 2;
        while !stop.load(Ordering::Relaxed) && send(&flooding, id, encode_request(Request::Clock)).is_ok() {
            id += 1;
        }
        flooding.shutdown();
    });

    let mut times = Vec::new();
    for (session, debuggee) in sessions.iter_mut().zip(&debuggees) {
        let process = ProcessId(debuggee.pid());
        let begin = Instant::now();
        let mode = AttachMode::Invasive { break_in: true };
        let stop = session.attach(process, mode, &BundleRequest::default()).unwrap().unwrap();
        assert_eq!(session.threads(process).unwrap().len(), 1);
        session.resume(&outpost_target::Plan::run_all(stop.generation)).unwrap();
        session.detach(process, DetachMode::Deliver).unwrap();
        times.push(begin.elapsed());
    }
    ended.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    discarding.join().unwrap();
    assert!(answered.load(Ordering::Relaxed) > 1 << 20, "the flood was one");
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!("attach, list, resume, detach: median {median:?}, worst {worst:?}");
    assert!(resident(stalled_worker) < 24 << 10, "{} KiB wait for one that does not read", resident(stalled_worker));
    assert!(debuggees.iter_mut().all(Running::is_running));
    // The stalled one is still served once it reads.
    let mut reader = FrameReader::new(MAX_FRAME);
    while reader.next_frame().unwrap().is_none() {
        assert!(reader.fill_from(&mut &stalled).unwrap() > 0);
    }
}

/// Answers wait until the server holds all it will, and then go out at once: the requests behind them are carried out
/// although nothing more arrives.
#[test]
fn a_client_that_reads_late_gets_every_answer() {
    for transport in TRANSPORTS {
        let server = Server::start(&["-t", transport]);
        let memory = vec![7_u8; 256 << 10];
        let (pid, at) = (std::process::id(), memory.as_ptr() as u64);
        let late = raw_session(&server);
        let mode = AttachMode::Noninvasive { suspend: false };
        let attach = Request::Attach { process: ProcessId(pid), mode, bundle: BundleRequest::default() };
        send(&late, 2, encode_request(attach)).unwrap();
        const READS: u64 = 200;
        for id in 0..READS {
            let reads = vec![outpost_target::ReadRequest { at: outpost_base::Va(at), len: memory.len() as u64 }];
            let space = outpost_base::AddressSpaceId(u64::from(pid));
            send(&late, 3 + id, encode_request(Request::Read { space, reads })).unwrap();
        }
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(100));
        }
        let mut reader = FrameReader::new(MAX_FRAME);
        let mut answers = 0;
        while answers < READS + 1 {
            match reader.next_frame().unwrap() {
                Some(frame) => {
                    assert!(frame.header.kind != Kind::Failed.number());
                    answers += 1;
                }
                None => assert!(reader.fill_from(&mut &late).expect("the server goes on answering") > 0),
            }
        }
    }
}
