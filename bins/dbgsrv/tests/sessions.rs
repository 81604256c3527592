//! Many sessions on one server, some of them hostile: the others notice nothing.

#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]

mod common;
mod debuggee;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{LIMIT, Server};
use debuggee::{
    Debuggee, attach, breakpoint, clear, go, is_free, live, read, run, set, space, step, symbol, worker_program,
};
use outpost_base::{ProcessId, ThreadId};
use outpost_remote::{Options, RemoteTarget};
use outpost_target::{
    AttachMode, BundleRequest, DetachMode, Live, Os, ProcessQuery, ReadRequest, StepPlan, StopReason, Target,
};
use outpost_testkit::{Running, text_differences, tracer, wait_until};
use outpost_transport::Connection;
use outpost_wire::{FrameQueue, Header, Request, RequestId, encode_request};

/// Proportional set size in KiB (proc_pid_smaps(5)).
fn pss(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// KiB that an idle guardian may have: 3 MiB are promised of what is shipped, whose text is a third of a debug build's.
fn guardian_limit() -> u64 {
    if std::env::var_os("OUTPOST_DBGSRV").is_some() { 3 << 10 } else { 6 << 10 }
}

fn raw(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Whether the other end closes within the time allowed; what it says before is passed over.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return true,
            Err(_) => return false,
        }
    }
}

/// What one of the well-behaved sessions does; gives the longest that one request took.
fn work_through(remote: &mut RemoteTarget, pid: u32, work: outpost_base::Va, code: &[u8]) -> Duration {
    let mut longest = Duration::ZERO;
    let mut timed = |begin: Instant| longest = longest.max(begin.elapsed());
    let begin = Instant::now();
    assert_eq!(attach(remote, pid).stop.reason, StopReason::Attached);
    timed(begin);
    let space = space(remote, ProcessId(pid));
    let begin = Instant::now();
    set(remote, breakpoint(1, space, work));
    timed(begin);
    let stop = go(remote);
    assert_eq!((stop.stop.process, stop.registers[0].1.pc()), (ProcessId(pid), work));
    for _ in 0..5 {
        let begin = Instant::now();
        let stop = step(remote, ThreadId(pid), StepPlan::instructions(1));
        assert!(matches!(stop.stop.reason, StopReason::Step { .. }), "{:?}", stop.stop);
        timed(begin);
        let begin = Instant::now();
        assert_eq!(read(remote, space, work, code.len()), code, "breakpoint bytes are hidden");
        timed(begin);
    }
    clear(remote, 1);
    let begin = Instant::now();
    remote.detach(ProcessId(pid), DetachMode::Deliver).unwrap();
    timed(begin);
    longest
}

/// 100 smart clients, of whom one floods, one stalls and one turns to garbage: the others notice nothing.
#[test]
fn check_7_of_a_hundred_sessions_three_misbehave_and_the_others_notice_nothing() {
    const OTHERS: usize = 97;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&["-t", "tcp:port=0", "--grace", "1"]);
    let program = worker_program();
    let work = symbol(&program, "work");
    let debuggees: Vec<Debuggee> =
        (0..OTHERS + 3).map(|number| Debuggee::start("slow", folder.path(), &number.to_string())).collect();
    let guardian_idle = pss(server.pid());

    // One is stopped and says nothing more.
    let mut stalled = server.connect();
    attach(&mut stalled, debuggees[OTHERS].pid());
    // One asks without reading the answers.
    let connection = server.transport().connect().unwrap();
    let wire = connection.try_clone().unwrap();
    let (mut flooding, _) = RemoteTarget::open(connection, Options::default()).unwrap();
    let flooded = debuggees[OTHERS + 1].pid();
    attach(&mut flooding, flooded);
    let flooded_space = space(&mut flooding, ProcessId(flooded));
    let flooding_worker = tracer(flooded);
    // One says what is no message any more.
    let connection = server.transport().connect().unwrap();
    let noise = connection.try_clone().unwrap();
    let (mut garbling, garbled_session) = RemoteTarget::open(connection, Options::default()).unwrap();
    attach(&mut garbling, debuggees[OTHERS + 2].pid());
    let others: Mutex<Vec<RemoteTarget>> = Mutex::new((0..OTHERS).map(|_| server.connect()).collect());
    assert_eq!(server.workers().len(), OTHERS + 3);

    let (done, next) = (AtomicBool::new(false), AtomicUsize::new(0));
    let code = read(&mut stalled, outpost_base::AddressSpaceId(u64::from(debuggees[OTHERS].pid())), work, 8);
    let longest = std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood(&wire, flooded_space, work, &done));
        let clients: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut longest = Duration::ZERO;
                    while let Some(mut remote) = { others.lock().unwrap().pop() } {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number == OTHERS / 2 {
                            (&noise).write_all(&[0xff; 4096]).unwrap();
                        }
                        let one = &debuggees[number];
                        longest = longest.max(work_through(&mut remote, one.pid(), work, &code));
                        assert_eq!(remote.link_statistics().resumes, 0, "its link was never lost");
                        assert!(is_free(one.pid()));
                        assert_eq!(text_differences(one.pid()), []);
                        assert!(one.page.advances(1, LIMIT));
                    }
                    longest
                })
            })
            .collect();
        let longest = clients.into_iter().map(|client| client.join().unwrap()).max().unwrap();
        // The flooding session holds what a bound allows and no more.
        let flooding_pss = pss(flooding_worker);
        eprintln!("flooding session: {flooding_pss} KiB");
        assert!(flooding_pss < 16 << 10, "{flooding_pss} KiB");
        done.store(true, Ordering::Relaxed);
        assert!(flood.join().unwrap() > 100_000, "it did flood");
        longest
    });
    eprintln!(
        "longest request of the others: {longest:?}; guardian: {guardian_idle} KiB idle, {} KiB now",
        pss(server.pid())
    );
    // That they are served does not hang on the flood's end: it ended after they had been.
    assert!(guardian_idle <= guardian_limit(), "{guardian_idle} KiB");
    // The garbling one was ended, its process let go.
    server.wait_for_line(&format!("session {}: ended, client breaks the protocol", garbled_session.number));
    wait_until("its process is let go", LIMIT, || is_free(debuggees[OTHERS + 2].pid()));
    assert!(garbling.clock().is_err());
    // The stalled one can go on where it was. (The flooding one has no room for its goodbye: it is held for its second.)
    assert_eq!(stalled.processes().unwrap().len(), 1);
    run(&mut stalled);
    assert!(debuggees[OTHERS].page.advances(1, LIMIT));
    drop((stalled, flooding, wire, garbling));
    wait_until("all sessions end", LIMIT, || server.workers().is_empty());
    for mut one in debuggees {
        wait_until("it is free", LIMIT, || is_free(one.pid()));
        assert_eq!(one.end(), Some(42));
    }
}

/// Sends requests for memory until told to stop, and reads nothing; gives the bytes that would have been answered.
fn flood(wire: &Connection, space: outpost_base::AddressSpaceId, at: outpost_base::Va, done: &AtomicBool) -> u64 {
    let mut queue = FrameQueue::new();
    let (mut request, mut asked) = (1_000_000, 0);
    while !done.load(Ordering::Relaxed) {
        if queue.is_empty() {
            let reads = vec![ReadRequest { at: outpost_base::Va(at.0 & !0xfff), len: 4096 }; 16];
            let header = Header { request: RequestId(request), ..Header::default() };
            queue.push(header, encode_request(Request::Read { space, reads })).unwrap();
            request += 1;
            asked += 16 * 4096;
        }
        match queue.write_to(&mut &*wire) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error}"),
        }
    }
    asked
}

#[test]
fn idle_attached_sessions_take_little() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&["-t", "tcp:port=0"]);
    let debuggees: Vec<Debuggee> =
        (0..32).map(|number| Debuggee::start("slow", folder.path(), &number.to_string())).collect();
    let mut remotes: Vec<RemoteTarget> = debuggees.iter().map(|_| server.connect()).collect();
    for (remote, debuggee) in remotes.iter_mut().zip(&debuggees) {
        attach(remote, debuggee.pid());
    }
    let workers = server.workers();
    let (guardian, all) = (pss(server.pid()), workers.iter().map(|&pid| pss(pid)).sum::<u64>());
    eprintln!("32 attached sessions: guardian {guardian} KiB, workers {all} KiB, each {} KiB", all / 32);
    // The debug build is larger than what is shipped; the limits are those of what is shipped.
    assert!(guardian <= guardian_limit(), "guardian: {guardian} KiB");
    assert!(all / 32 <= 1 << 10, "each attached session: {} KiB", all / 32);
}

#[test]
fn what_cannot_be_attached_says_why_and_the_session_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&["-t", "tcp:port=0"]);
    let mut remote = server.connect();
    let mode = AttachMode::Invasive { break_in: true };
    let mut refused = |pid: u32| {
        let error = remote.attach(ProcessId(pid), mode, &BundleRequest::default()).unwrap_err().to_string();
        assert!(remote.clock().is_ok(), "the session goes on");
        error
    };
    // A process that is gone for certain: its number was in use a moment ago.
    let mut short = Running::start("true", &[]);
    let gone = short.pid();
    short.wait(LIMIT);
    assert_eq!(refused(gone), format!("no process {gone}"));
    assert_eq!(refused(0), "no process 0");
    assert_eq!(refused(u32::MAX), format!("no process {}", u32::MAX));

    let mut debuggee = Debuggee::start("slow", folder.path(), "page");
    let mut strace = Command::new("strace")
        .args(["-f", "-e", "trace=none", "-p", &debuggee.pid().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("strace traces it", LIMIT, || tracer(debuggee.pid()) == strace.id());
    let error = refused(debuggee.pid());
    assert_eq!(error, format!("process {} is already traced by process {} (strace)", debuggee.pid(), strace.id()));
    let list = remote.list_processes(&ProcessQuery::Id(ProcessId(debuggee.pid())), true).unwrap();
    assert_eq!((list[0].tracer, list[0].tracer_name.as_str()), (ProcessId(strace.id()), "strace"));
    strace.kill().unwrap();
    strace.wait().unwrap();
    wait_until("it is free", LIMIT, || is_free(debuggee.pid()));
    attach(&mut remote, debuggee.pid());
    live(&mut remote).detach(ProcessId(debuggee.pid()), DetachMode::Deliver).unwrap();
    assert_eq!(debuggee.end(), Some(42));
}

#[test]
fn garbage_half_frames_and_enormous_lengths_end_only_their_own_connection() {
    let server = Server::start(&["-t", "tcp:port=0"]);
    let mut bystander = server.connect();
    let mut seed = 0x1234_5678_9abc_def1_u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..40 {
        let mut stream = raw(&server);
        let garbage: Vec<u8> = (0..random() % 2000 + 37).map(|_| random() as u8).collect();
        let _ = stream.write_all(&garbage);
        if round % 2 == 0 {
            drop(stream.shutdown(std::net::Shutdown::Write));
            assert!(is_closed(&mut stream), "round {round}");
        }
    }
    // 4 GiB announced, and one that cannot hold a header.
    for length in [u32::MAX, 1 << 20, 3] {
        let mut stream = raw(&server);
        stream.write_all(&length.to_le_bytes()).unwrap();
        stream.write_all(&[0; 40]).unwrap_or_default();
        assert!(is_closed(&mut stream), "length {length}");
    }
    // Half a frame, then the end.
    let mut stream = raw(&server);
    stream.write_all(&100_u32.to_le_bytes()).unwrap();
    stream.write_all(&[1; 30]).unwrap();
    drop(stream.shutdown(std::net::Shutdown::Write));
    assert!(is_closed(&mut stream));
    assert!(bystander.clock().is_ok());
    assert_eq!(server.workers().len(), 1, "nothing was started for those");
    assert!(server.connect().clock().is_ok());
    assert!(pss(server.pid()) <= guardian_limit(), "{} KiB", pss(server.pid()));
}

#[test]
fn garbage_within_a_session_ends_it_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&["-t", "tcp:port=0", "--grace", "0"]);
    let mut bystander = server.connect();
    let length = |length: u32| [length.to_le_bytes().to_vec(), vec![0; 60]].concat();
    for (number, bytes) in [vec![0xff; 4096], length(u32::MAX), length(8), vec![40, 0, 0]].into_iter().enumerate() {
        let mut debuggee = Debuggee::start("slow", folder.path(), &number.to_string());
        let connection = server.transport().connect().unwrap();
        let wire = connection.try_clone().unwrap();
        let (mut remote, session) = RemoteTarget::open(connection, Options::default()).unwrap();
        attach(&mut remote, debuggee.pid());
        (&wire).write_all(&bytes).unwrap();
        if bytes.len() == 3 {
            wire.shutdown();
        }
        server.wait_for_line(&format!("session {}: ended", session.number));
        wait_until("it is free", LIMIT, || is_free(debuggee.pid()));
        assert!(remote.clock().is_err());
        assert_eq!(debuggee.end(), Some(42));
        assert!(bystander.clock().is_ok());
    }
}

#[test]
fn those_who_say_nothing_or_little_do_not_keep_others_out() {
    let server = Server::start(&["-t", "tcp:port=0"]);
    let silent: Vec<TcpStream> = (0..100).map(|_| raw(&server)).collect();
    let begin = Instant::now();
    let mut slow = raw(&server);
    let drip = std::thread::spawn(move || {
        for byte in 90_u32.to_le_bytes().into_iter().chain(std::iter::repeat_n(0, 86)) {
            if slow.write_all(&[byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(300));
        }
        assert!(is_closed(&mut slow));
        begin.elapsed()
    });
    // All places are taken and a queue waits in front of us: each 2 seconds they must make room.
    let mut remote = server.connect();
    eprintln!("behind 101 that say nothing, connecting took {:?}", begin.elapsed());
    assert!(remote.clock().is_ok());
    assert!(server.workers().len() == 1);
    assert!(pss(server.pid()) <= guardian_limit(), "{} KiB", pss(server.pid()));
    let dripped = drip.join().unwrap();
    assert!(dripped < Duration::from_secs(20), "{dripped:?}");
    drop(silent);
    assert!(server.connect().clock().is_ok());
}
