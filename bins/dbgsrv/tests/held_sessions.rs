//! Sessions whose client is gone: what becomes of their debuggees, who may have them, and when they end.

#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]

mod common;
mod debuggee;

use std::time::Duration;

use common::Server;
use debuggee::{
    Debuggee, LIMIT, attach, breakpoint, differences, go, is_free, live, read, run, set, space, stop, symbol,
    worker_program,
};
use outpost_base::ProcessId;
use outpost_remote::{OnLost, Options, RemoteError, RemoteTarget};
use outpost_target::{BreakpointSpec, Breakpoints, DetachMode, Live, Os, StopReason, Target};
use outpost_testkit::{state, tracer, wait_until};
use outpost_transport::Connection;

/// A session, and the means to cut it off without a goodbye, as a killed client does.
fn open(server: &Server, on_lost: Option<OnLost>) -> (RemoteTarget, Connection, u64) {
    let connection = server.transport().connect().unwrap();
    let wire = connection.try_clone().unwrap();
    let (remote, session) = RemoteTarget::open(connection, Options { on_lost, ..Options::default() }).unwrap();
    (remote, wire, session.number)
}

fn take_over(server: &Server, session: u64) -> Result<RemoteTarget, RemoteError> {
    let options = Options { take_over: Some(session), ..Options::default() };
    RemoteTarget::connect(&server.transport(), options).map(|(remote, _)| remote)
}

fn refused(server: &Server, session: u64) -> String {
    take_over(server, session).unwrap_err().to_string()
}

fn let_go(remote: &mut RemoteTarget, debuggee: &mut Debuggee) {
    live(remote).detach(ProcessId(debuggee.pid()), DetachMode::Deliver).unwrap();
    wait_until("it is free", LIMIT, || is_free(debuggee.pid()));
    assert_eq!(differences(debuggee.pid()), Some(Vec::new()));
    assert_eq!(debuggee.end(), Some(42));
}

#[test]
fn a_killed_clients_session_is_taken_over_stopped_and_without_its_breakpoints() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&["-t", "tcp:port=0"]);
    let mut debuggee = Debuggee::start("slow", folder.path(), "page");
    let pid = debuggee.pid();
    let work = symbol(&worker_program(), "work");
    assert_eq!(refused(&server, 0), "no session is held here that could be taken over");
    let (mut remote, wire, number) = open(&server, None);
    attach(&mut remote, pid);
    let space = space(&mut remote, ProcessId(pid));
    set(&mut remote, breakpoint(1, space, work));
    let at_breakpoint = go(&mut remote);
    assert!(refused(&server, number).contains("no session is held"), "its client is there");
    wire.shutdown();
    server.wait_for_line(&format!("session {number}: link lost: closed without a goodbye; held for 60 s"));
    assert!(tracer(pid) != 0 && !debuggee.page.advances(1, Duration::from_millis(30)), "it stays stopped");

    let mut other = take_over(&server, 0).unwrap();
    assert_eq!(other.last_stop().map(|stop| stop.generation), Some(at_breakpoint.generation));
    assert_eq!(other.processes().unwrap()[0].id, ProcessId(pid));
    assert_eq!(other.breakpoint_states().unwrap(), [], "none that it does not know");
    // The server watches the loader's list of modules as long as it traces.
    assert!(differences(pid).is_some_and(|places| !places.contains(&work.0)), "its site is as in the file");
    // Its own have numbers of their own.
    set(&mut other, breakpoint(1, space, work));
    assert!(go(&mut other).generation > at_breakpoint.generation);
    let listed = other.sessions().unwrap();
    assert_eq!((listed.len(), listed[0].number, listed[0].own, listed[0].held), (1, number, true, None));
    assert_eq!(listed[0].processes, [ProcessId(pid)]);
    let_go(&mut other, &mut debuggee);
    drop(other);
    server.wait_for_line(&format!("session {number}: ended by the client"));
}

#[test]
fn what_runs_runs_on_while_it_is_held_and_a_takeover_stops_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&["-t", "tcp:port=0"]);
    let mut debuggee = Debuggee::start("plain", folder.path(), "page");
    let work = symbol(&worker_program(), "work");
    let (mut remote, wire, _) = open(&server, None);
    attach(&mut remote, debuggee.pid());
    let space = space(&mut remote, ProcessId(debuggee.pid()));
    set(&mut remote, BreakpointSpec { auto_continue: true, ..breakpoint(1, space, work) });
    run(&mut remote);
    wire.shutdown();
    server.wait_for_line("held for 60 s");
    assert!(debuggee.page.advances(3, LIMIT), "hits are passed with nobody there");
    let mut other = take_over(&server, 0).unwrap();
    let last = other.last_stop().unwrap().clone();
    assert_eq!(last.stop.reason, StopReason::BreakIn);
    assert!(!read(&mut other, space, work, 16).is_empty());
    run(&mut other);
    assert!(debuggee.page.advances(3, LIMIT));
    other.interrupter().break_in();
    assert!(stop(&mut other).generation > last.generation);
    let_go(&mut other, &mut debuggee);
}

#[test]
fn nobody_comes_and_the_exit_policy_is_carried_out() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&["-t", "tcp:port=0", "--grace", "1"]);
    let mut debuggee = Debuggee::start("slow", folder.path(), "page");
    let (mut remote, wire, number) = open(&server, None);
    attach(&mut remote, debuggee.pid());
    wire.shutdown();
    server.wait_for_line(&format!("session {number}: ended, given up: nobody came back within 1 s"));
    wait_until("it is free", LIMIT, || is_free(debuggee.pid()));
    assert_eq!(differences(debuggee.pid()), Some(Vec::new()));
    assert_eq!(debuggee.end(), Some(42));
    assert!(refused(&server, number).contains("no session is held"));
}

#[test]
fn a_goodbye_ends_a_session_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&["-t", "tcp:port=0"]);
    let mut debuggee = Debuggee::start("slow", folder.path(), "page");
    let (mut remote, _wire, number) = open(&server, None);
    attach(&mut remote, debuggee.pid());
    drop(remote);
    server.wait_for_line(&format!("session {number}: ended by the client"));
    wait_until("it is free", LIMIT, || is_free(debuggee.pid()));
    assert_eq!(debuggee.end(), Some(42));
}

#[test]
fn detach_and_kill_do_so_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&["-t", "tcp:port=0"]);
    for on_lost in [OnLost::Detach, OnLost::Kill] {
        let mut debuggee = Debuggee::start("slow", folder.path(), "page");
        let pid = debuggee.pid();
        let (mut remote, wire, number) = open(&server, Some(on_lost));
        attach(&mut remote, pid);
        wire.shutdown();
        server.wait_for_line(&format!("session {number}: ended, link lost"));
        match on_lost {
            OnLost::Kill => wait_until("it is ended", LIMIT, || matches!(state(pid), None | Some('Z'))),
            _ => {
                wait_until("it is free", LIMIT, || is_free(pid));
                assert_eq!(debuggee.end(), Some(42));
            }
        }
    }
}

#[test]
fn run_lets_what_is_stopped_run_on_and_its_client_is_told_why_it_cannot_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&["-t", "tcp:port=0"]);
    let mut debuggee = Debuggee::start("slow", folder.path(), "page");
    let link = outpost_testkit::link::DelayLink::start(server.port(), Duration::ZERO).unwrap();
    let transport = format!("tcp:server=127.0.0.1,port={}", link.port()).parse().unwrap();
    let options = Options { on_lost: Some(OnLost::Run(Some(Duration::from_secs(20)))), ..Options::default() };
    let (mut remote, _) = RemoteTarget::connect(&transport, options).unwrap();
    attach(&mut remote, debuggee.pid());
    let space = space(&mut remote, ProcessId(debuggee.pid()));
    set(&mut remote, breakpoint(1, space, symbol(&worker_program(), "work")));
    go(&mut remote);
    link.cut();
    let error = remote.clock().unwrap_err().to_string();
    assert!(error.contains("-onlost run") && error.contains("-resume"), "{error}");
    assert!(debuggee.page.advances(1, LIMIT), "it runs on, past its breakpoint");
    let mut taken = None;
    // It was offered to its client, who was refused: the guardian hears that a moment later.
    wait_until("it can be taken over", LIMIT, || {
        taken = take_over(&server, 0).ok();
        taken.is_some()
    });
    let mut other = taken.unwrap();
    assert!(other.last_stop().is_some());
    let_go(&mut other, &mut debuggee);
}

#[test]
fn of_several_held_sessions_one_is_to_be_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&["-t", "tcp:port=0"]);
    let mut debuggees = [Debuggee::start("slow", folder.path(), "a"), Debuggee::start("slow", folder.path(), "b")];
    let mut numbers = Vec::new();
    for debuggee in &debuggees {
        let (mut remote, wire, number) = open(&server, None);
        attach(&mut remote, debuggee.pid());
        wire.shutdown();
        server.wait_for_line(&format!("session {number}: link lost"));
        numbers.push(number);
    }
    wait_until("both are known to be held", LIMIT, || refused(&server, 0).contains("several sessions are held"));
    let list = refused(&server, 0);
    for (debuggee, number) in debuggees.iter().zip(&numbers) {
        assert!(list.contains(&format!("session {number} of ")), "{list}");
        assert!(list.contains(&format!("processes: {}; held for another ", debuggee.pid())), "{list}");
    }
    assert!(refused(&server, 77).contains("session 77 is not held"));
    for (debuggee, number) in debuggees.iter_mut().zip(&numbers) {
        let mut other = take_over(&server, *number).unwrap();
        assert_eq!(other.processes().unwrap()[0].id, ProcessId(debuggee.pid()));
        let_go(&mut other, debuggee);
    }
}

#[test]
fn the_end_of_the_server_ends_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&["-t", "tcp:port=0"]);
    let mut debuggee = Debuggee::start("slow", folder.path(), "page");
    let (mut remote, wire, number) = open(&server, None);
    attach(&mut remote, debuggee.pid());
    wire.shutdown();
    server.wait_for_line(&format!("session {number}: link lost"));
    let pid = rustix::process::Pid::from_raw(server.pid() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    wait_until("it is free", LIMIT, || is_free(debuggee.pid()));
    assert_eq!(debuggee.end(), Some(42));
}
