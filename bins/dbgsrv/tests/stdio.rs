//! `--stdio`: one debugger on standard input and output.

#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]

mod common;

use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use common::{LIMIT, children, dbgsrv};
use outpost_base::ProcessId;
use outpost_remote::{Connector, Options, RemoteTarget};
use outpost_target::{AttachMode, BundleRequest, CreateSpec, DetachMode, Live, Os, StdioSpec, Target};
use outpost_testkit::{Running, state, tracer, wait_until};
use outpost_transport::Connection;

/// A server on one end of a socket pair, and the other end.
fn start() -> (Child, Connection) {
    start_with(&[])
}

fn start_with(options: &[&str]) -> (Child, Connection) {
    let (near, far) = Connection::pair().unwrap();
    let far = far.into_fd();
    let mut command = dbgsrv();
    command.arg("--stdio").args(options).stdin(Stdio::from(far.try_clone().unwrap())).stdout(Stdio::from(far));
    // What the command holds of the far end would keep the link open.
    (command.stderr(Stdio::null()).spawn().unwrap(), near)
}

/// The same with a session.
fn serve() -> (Child, RemoteTarget) {
    let (server, near) = start();
    let (remote, _) = RemoteTarget::open(near, Options::default()).unwrap();
    (server, remote)
}

fn status(mut server: Child) -> Option<i32> {
    let mut status = None;
    wait_until("the server ends", LIMIT, || {
        status = server.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap().code()
}

#[test]
fn it_ends_with_its_session_by_the_exit_policy() {
    let mut sleeper = Running::start("sleep", &["1000"]);
    let (server, mut remote) = serve();
    let mode = AttachMode::Invasive { break_in: true };
    remote.attach(ProcessId(sleeper.pid()), mode, &BundleRequest::default()).unwrap();
    assert_ne!(tracer(sleeper.pid()), 0);
    drop(remote);
    assert_eq!(status(server), Some(0));
    assert_eq!((tracer(sleeper.pid()), state(sleeper.pid())), (0, Some('S')));
    assert!(sleeper.is_running());
}

#[test]
fn it_allows_what_it_is_told_to_and_writes_who_did_what() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    let sleeper = Running::start("sleep", &["1000"]);
    let options = ["--allow=operation=attach", &format!("--audit={}", file.display())];
    let (server, link) = start_with(&options);
    let (mut remote, _) = RemoteTarget::open(link, Options::default()).unwrap();
    let process = ProcessId(sleeper.pid());
    remote.attach(process, AttachMode::Invasive { break_in: true }, &BundleRequest::default()).unwrap();
    let error = remote.kill(process).unwrap_err().to_string();
    assert!(error.contains("operation kill") && error.contains("operation=attach"), "{error}");
    drop(remote);
    assert_eq!(status(server), Some(0));
    let written = || std::fs::read_to_string(&file).unwrap();
    wait_until("the guardian has written its last line", LIMIT, || written().contains("event=stop"));
    for event in ["event=connect", "event=attach", "event=kill", "event=end"] {
        assert!(written().contains(event), "{event}: {}", written());
    }
    // Sessions of other servers of this user may allow more.
    let (_server, link) = start_with(&options);
    let taken = RemoteTarget::open(link, Options { take_over: Some(0), ..Options::default() });
    assert!(taken.unwrap_err().to_string().contains("a list of what is allowed"));
}

#[test]
fn created_programs_do_not_have_the_link() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("said");
    // It reads and writes what it was given, which must not be frames.
    let script =
        format!("cat; echo noise; {{ readlink /proc/self/fd/0 /proc/self/fd/1; echo end; }} >{}", file.display());
    let (server, mut remote) = serve();
    let spec = CreateSpec {
        program: "sh".into(),
        arguments: vec!["-c".into(), script],
        environment: None,
        environment_changes: Vec::new(),
        directory: None,
        stdio: StdioSpec::Server,
        randomize: true,
        break_in: true,
    };
    let (process, _) = remote.create(&spec, &BundleRequest::default()).unwrap();
    remote.detach(process, DetachMode::Deliver).unwrap();
    let said = || std::fs::read_to_string(&file).unwrap_or_default();
    wait_until("the program has run", LIMIT, || said().ends_with("end\n"));
    assert!(!said().contains("socket:"), "{}", said());
    assert!(remote.clock().is_ok(), "the link is whole");
    drop(remote);
    assert_eq!(status(server), Some(0));
}

#[test]
fn a_session_outlives_its_link_and_goes_on_over_that_of_the_next_server() {
    let mut sleeper = Running::start("sleep", &["1000"]);
    let (server, link) = start();
    let cut = link.try_clone().unwrap();
    let again: Arc<Mutex<Vec<(Child, Connection)>>> = Arc::default();
    let connector = Connector::new({
        let again = Arc::clone(&again);
        move || {
            let (server, link) = start();
            again.lock().unwrap().push((server, link.try_clone().unwrap()));
            Ok(link)
        }
    });
    let options = Options { connector: Some(connector), ..Options::default() };
    let (mut remote, session) = RemoteTarget::open(link, options).unwrap();
    assert!(session.resume && !session.grace.is_zero());
    let mode = AttachMode::Invasive { break_in: true };
    remote.attach(ProcessId(sleeper.pid()), mode, &BundleRequest::default()).unwrap();
    let worker = tracer(sleeper.pid());

    cut.shutdown();
    assert_eq!(status(server), Some(0), "it has nothing to wait for");
    assert!(remote.clock().is_ok());
    assert_eq!((tracer(sleeper.pid()), remote.link_statistics().resumes), (worker, 1));
    // Once more, from a link that was handed over.
    let (second, cut) = again.lock().unwrap().pop().unwrap();
    cut.shutdown();
    assert_eq!(status(second), Some(0));
    assert!(remote.clock().is_ok());
    assert_eq!(tracer(sleeper.pid()), worker);
    let own = remote.sessions().unwrap().into_iter().find(|one| one.own).unwrap();
    assert_eq!((own.number, own.processes), (session.number, vec![ProcessId(sleeper.pid())]));
    drop(remote);
    let (last, _) = again.lock().unwrap().pop().unwrap();
    assert_eq!(status(last), Some(0), "with the session");
    wait_until("it is let go", LIMIT, || tracer(sleeper.pid()) == 0);
    assert!(sleeper.is_running());
}

/// Stands between a server and its client, and cuts the link when the server says that the session is open.
fn cut_at_the_answer(server: Connection) -> Connection {
    let (near, far) = Connection::pair().unwrap();
    let (to_server, from_client) = (server.try_clone().unwrap(), far.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut &from_client, &mut &to_server));
    std::thread::spawn(move || {
        // Its hello and its proof pass; the third message is the answer.
        for number in 0..3 {
            let mut length = [0; 4];
            (&server).read_exact(&mut length).unwrap();
            let mut rest = vec![0; u32::from_le_bytes(length) as usize];
            (&server).read_exact(&mut rest).unwrap();
            if number < 2 {
                (&far).write_all(&[&length[..], &rest].concat()).unwrap();
            }
        }
        [&server, &far].into_iter().for_each(Connection::shutdown);
    });
    near
}

#[test]
fn a_session_whose_opening_was_not_heard_of_is_found_by_the_next_server() {
    let (first, link) = start();
    let mut guardians = Vec::new();
    wait_until("it has a guardian", LIMIT, || {
        guardians = children(first.id());
        !guardians.is_empty()
    });
    let again: Arc<Mutex<Vec<Child>>> = Arc::default();
    let connector = Connector::new({
        let again = Arc::clone(&again);
        move || {
            let (server, link) = start();
            again.lock().unwrap().push(server);
            Ok(link)
        }
    });
    let options = Options { connector: Some(connector), ..Options::default() };
    let (mut remote, session) = RemoteTarget::open(cut_at_the_answer(link), options).unwrap();
    assert_eq!(status(first), Some(0), "it has nothing to wait for");
    let sessions = remote.sessions().unwrap();
    let own = sessions.iter().find(|one| one.own).unwrap();
    assert_eq!((own.number, own.held), (session.number, None));
    assert_eq!(session.number, u64::from(guardians[0]), "the first server's: {sessions:?}");
    let second = again.lock().unwrap().pop().unwrap();
    assert!(again.lock().unwrap().is_empty());
    drop(remote);
    assert_eq!(status(second), Some(0), "with the session");
}

#[test]
fn a_signal_to_the_process_in_front_ends_the_session_in_order() {
    let mut sleeper = Running::start("sleep", &["1000"]);
    let (server, mut remote) = serve();
    let mode = AttachMode::Invasive { break_in: true };
    remote.attach(ProcessId(sleeper.pid()), mode, &BundleRequest::default()).unwrap();
    let front = rustix::process::Pid::from_child(&server);
    rustix::process::kill_process(front, rustix::process::Signal::TERM).unwrap();
    assert_eq!(status(server), Some(0));
    wait_until("it is let go", LIMIT, || tracer(sleeper.pid()) == 0);
    assert!(sleeper.is_running());
    assert!(remote.clock().unwrap_err().to_string().contains("SIGTERM"), "its client is told");
}
