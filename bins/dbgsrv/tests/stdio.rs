//! `--stdio`: one debugger on standard input and output.

#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]

mod common;

use std::process::{Child, Stdio};

use common::{LIMIT, dbgsrv};
use outpost_base::ProcessId;
use outpost_remote::{Options, RemoteTarget};
use outpost_target::{AttachMode, BundleRequest, CreateSpec, DetachMode, Live, Os, StdioSpec};
use outpost_testkit::{Running, state, tracer, wait_until};
use outpost_transport::Connection;

/// A server on one end of a socket pair, and a session on the other.
fn serve() -> (Child, RemoteTarget) {
    let (near, far) = Connection::pair().unwrap();
    let far = far.into_fd();
    let mut command = dbgsrv();
    command.arg("--stdio").stdin(Stdio::from(far.try_clone().unwrap())).stdout(Stdio::from(far));
    let server = command.stderr(Stdio::null()).spawn().unwrap();
    // What the command holds of the far end would keep the link open.
    drop(command);
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
