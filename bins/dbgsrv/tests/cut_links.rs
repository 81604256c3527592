//! The link is cut in every state of the protocol, and nobody above it notices anything but time.
//!
//! Each fault brings a session into a state and cuts the link there: at a byte, behind a message, or from outside. The
//! client's library comes back by itself. What is asserted: each call gives its right answer, once; stops have numbers
//! without a gap and without a double; nothing that changes something was carried out twice; and afterwards the debuggee's
//! text is its file's, it is traced by nobody, runs on, and ends with its own exit code when told.
//!
//! 50 faults, always the same; 1,000 in a row with `OUTPOST_SOAK`, other ones each time. The seed is printed:
//! `OUTPOST_CUT_SEED` repeats a run, with `OUTPOST_CUT_FAULT` one fault of it by its number, with `OUTPOST_CUT_STATE` those of
//! a state; `OUTPOST_CUT_FAULTS` says how many there are.

#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]

mod common;
mod debuggee;

use std::time::{Duration, Instant, SystemTime};

use common::Server;
use debuggee::{
    Debuggee, LIMIT, attach, breakpoint, clear, differences, event, go, is_free, live, read, run, set, space, step,
    stop, symbol, worker_program,
};
use outpost_base::{AddressSpaceId, ProcessId, ThreadId};
use outpost_remote::{Options, RemoteTarget};
use outpost_target::{
    BreakpointSpec, Breakpoints, DetachMode, Event, Live, Os, ProcessQuery, StepPlan, StopGeneration, StopReason,
    Target,
};
use outpost_testkit::link::{After, DelayLink, Towards};
use outpost_testkit::wait_until;
use outpost_transport::ClientTransport;

/// What the session is doing when its link is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// From the first byte to the open session.
    Handshake,
    /// Nothing is under way.
    Idle,
    /// Questions are under way.
    Pure,
    /// Something is under way that must not be done twice.
    Acting,
    /// A stop is about to be told.
    Stopping,
    /// A long read is under way.
    Bulk,
    /// It runs, and hits breakpoints that do not stop.
    Hits,
    /// It steps, one instruction after the other.
    Steps,
    /// The debuggee is let go.
    Detach,
    /// The debuggee is ended.
    Kill,
    /// The link is lost already, and is cut again while the session is being resumed.
    Resuming,
}

const STATES: [State; 11] = [
    State::Handshake,
    State::Idle,
    State::Pure,
    State::Acting,
    State::Stopping,
    State::Bulk,
    State::Hits,
    State::Steps,
    State::Detach,
    State::Kill,
    State::Resuming,
];

/// Numbers that look random and are the same for the same seed (xorshift64).
struct Random(u64);

impl Random {
    /// Those of one fault of a run, whichever others were tried before it.
    fn of_fault(seed: u64, number: u64) -> Random {
        let mut random = Random(seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1);
        // Seeds that differ in few bits begin alike.
        for _ in 0..8 {
            random.below(2);
        }
        random
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// A cut within about so many bytes.
    fn plan(&mut self, bytes: u64) -> (Towards, After) {
        let towards = if self.below(2) == 0 { Towards::Server } else { Towards::Client };
        let after = match self.below(3) {
            0 => After::Messages(self.below((bytes / 100).clamp(2, 40)) + 1),
            _ => After::Bytes(self.below(bytes)),
        };
        (towards, after)
    }
}

/// A number that whoever runs the test may choose.
fn chosen(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

fn is_soak() -> bool {
    std::env::var_os("OUTPOST_SOAK").is_some()
}

fn faults() -> u64 {
    chosen("OUTPOST_CUT_FAULTS").unwrap_or(if is_soak() { 1000 } else { 50 })
}

fn seed() -> u64 {
    let now = || SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
    chosen("OUTPOST_CUT_SEED").unwrap_or_else(|| if is_soak() { now() } else { 0x5eed_0f00_7100_0057 })
}

#[test]
fn a_cut_link_is_resumed_in_every_state() {
    let (seed, only, one) = (seed(), std::env::var("OUTPOST_CUT_STATE").ok(), chosen("OUTPOST_CUT_FAULT"));
    eprintln!("{} faults, OUTPOST_CUT_SEED={seed}", faults());
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&["-t", "tcp:port=0", "--grace", "30"]);
    let link = DelayLink::start(server.port(), Duration::ZERO).unwrap();
    let (mut resumes, mut by_state) = (0, [0_u32; STATES.len()]);
    for number in 0..faults() {
        let at = number as usize % STATES.len();
        let state = STATES[at];
        let is_other_state = only.as_ref().is_some_and(|only| *only != format!("{state:?}"));
        if is_other_state || one.is_some_and(|one| one != number) {
            continue;
        }
        by_state[at] += 1;
        let before = link.cuts();
        let text = format!("fault {number}, {state:?}");
        // A panic deep in a fault does not name it.
        eprintln!("{text}");
        let mut random = Random::of_fault(seed, number);
        resumes += fault(state, &link, folder.path(), &mut random, &text);
        assert!(link.cuts() > before, "{text}: nothing was cut");
    }
    eprintln!("{} cuts, {resumes} resumes; faults by state: {by_state:?}", link.cuts());
    assert!(resumes > 0);
}

/// One fault; gives how often the link was resumed.
fn fault(state: State, link: &DelayLink, folder: &std::path::Path, random: &mut Random, text: &str) -> u64 {
    let mode = if state == State::Hits { "plain" } else { "slow" };
    let mut debuggee = Debuggee::start(mode, folder, "page");
    let pid = debuggee.pid();
    if state == State::Handshake {
        link.cut_later(Some(random.plan(700)));
    }
    let mut remote = connect(link, state == State::Handshake);
    link.cut_later(None);
    if state == State::Handshake && link.cuts() == 0 {
        link.cut();
    }
    attach(&mut remote, pid);
    let space = space(&mut remote, ProcessId(pid));
    match state {
        State::Handshake | State::Idle => link.cut(),
        State::Pure => pure(&mut remote, space, link, random),
        State::Acting => acting(&mut remote, pid, link, random),
        State::Stopping => stopping(&mut remote, space, link, random),
        State::Bulk => bulk(&mut remote, link, random),
        State::Hits => hits(&mut remote, space, link, random),
        State::Steps => steps(&mut remote, pid, link, random),
        State::Detach | State::Kill => link.cut_later(Some(random.plan(120))),
        State::Resuming => {
            link.cut_later(Some(random.plan(500)));
            link.cut();
        }
    }
    if state == State::Kill {
        remote.kill(ProcessId(pid)).unwrap();
        cut_at_last(&mut remote, link);
        assert_eq!(debuggee.running.wait(LIMIT).code(), None, "{text}: it was ended by a signal");
        return remote.link_statistics().resumes;
    }
    remote.detach(ProcessId(pid), DetachMode::Deliver).unwrap();
    cut_at_last(&mut remote, link);
    wait_until("it is let go", LIMIT, || is_free(pid));
    assert_eq!(differences(pid), Some(Vec::new()), "{text}: its text is its file's");
    assert!(debuggee.page.advances(1, LIMIT), "{text}: it goes on");
    assert_eq!(debuggee.end(), Some(42), "{text}");
    assert!(remote.processes().unwrap().is_empty(), "{text}");
    let resumes = remote.link_statistics().resumes;
    assert!(resumes > 0 || state == State::Handshake, "{text}: it was resumed");
    resumes
}

/// Wherever the link is cut while a session is being opened: it is opened once, and its client is told.
#[test]
fn a_session_is_opened_once_however_often_its_answer_is_lost() {
    let (mut cuts, mut again) = (0, 0);
    // Behind each message of the handshake, and within the answer.
    let behind = (1..=5).flat_map(|count| [Towards::Server, Towards::Client].map(|way| (way, After::Messages(count))));
    let within = (150..700).step_by(25).map(|bytes| (Towards::Client, After::Bytes(bytes)));
    for plan in behind.chain(within) {
        let text = format!("{plan:?}");
        let server = Server::start(&["-t", "tcp:port=0", "--grace", "30", "-pc", "pending", "a b"]);
        let link = DelayLink::start(server.port(), Duration::ZERO).unwrap();
        let transport = format!("tcp:server=127.0.0.1,port={}", link.port()).parse().unwrap();
        let options = Options { first_query: Some(ProcessQuery::All), take_command_line: true, ..Options::default() };
        link.cut_later(Some(plan));
        // Before it has asked for one nothing is opened, and it is told so.
        let (mut remote, session) = RemoteTarget::connect(&transport, options.clone())
            .or_else(|error| {
                assert!(server.log().iter().all(|line| !line.contains("opened for")), "{text}: {error}");
                RemoteTarget::connect(&transport, options)
            })
            .unwrap();
        link.cut_later(None);
        assert_eq!(session.command_line, ["pending", "a b"], "{text}: what can be taken once is not lost");
        assert!(!remote.list_processes(&ProcessQuery::All, true).unwrap().is_empty(), "{text}");
        let sessions = remote.sessions().unwrap();
        assert_eq!((sessions.len(), sessions[0].held), (1, None), "{text}: {sessions:?}");
        // What is done in it is done as in any other, also when the link is lost later.
        link.cut();
        remote.clock().unwrap();
        assert!(remote.link_statistics().resumes >= 1, "{text}");
        assert_eq!(server.log().iter().filter(|line| line.contains("opened for")).count(), 1, "{text}");
        cuts += link.cuts();
        again += server.log().iter().filter(|line| line.contains("hears that it is open")).count();
    }
    println!("{cuts} cuts, {again} sessions asked for once more");
    assert!(again > 5, "{again} of {cuts} cuts");
}

/// The same for one that is taken over from a debugger that is gone.
#[test]
fn a_session_is_taken_over_although_the_answer_is_lost() {
    for plan in [After::Messages(2), After::Bytes(250), After::Bytes(300)] {
        let server = Server::start(&["-t", "tcp:port=0", "--grace", "30"]);
        let link = DelayLink::start(server.port(), Duration::ZERO).unwrap();
        let transport: ClientTransport = format!("tcp:server=127.0.0.1,port={}", link.port()).parse().unwrap();
        // Nobody makes another link for this one.
        let (gone, session) = RemoteTarget::open(transport.connect().unwrap(), Options::default()).unwrap();
        link.cut();
        server.wait_for_line("link lost");
        link.cut_later(Some((Towards::Client, plan)));
        let options = Options { take_over: Some(0), ..Options::default() };
        let (mut remote, taken) = RemoteTarget::connect(&transport, options).unwrap();
        assert!(link.cuts() >= 2, "{plan:?}");
        let sessions = remote.sessions().unwrap();
        assert_eq!((taken.number, sessions.len(), sessions[0].held), (session.number, 1, None), "{plan:?}");
        drop(gone);
        assert!(remote.clock().is_ok());
    }
}

/// A session; with `may_fail`, after a failure once more: one that was not asked for yet is not asked for by itself.
fn connect(link: &DelayLink, may_fail: bool) -> RemoteTarget {
    let transport = format!("tcp:server=127.0.0.1,port={}", link.port()).parse().unwrap();
    let options = Options { first_query: Some(ProcessQuery::All), ..Options::default() };
    let open = || RemoteTarget::connect(&transport, options.clone());
    match open() {
        Ok((remote, _)) => remote,
        Err(_) if may_fail => open().unwrap().0,
        Err(error) => panic!("{error}"),
    }
}

/// A cut that was to come and did not, since little was said, comes now; the session goes on all the same.
fn cut_at_last(remote: &mut RemoteTarget, link: &DelayLink) {
    if link.is_cut_to_come() {
        link.cut_later(None);
        link.cut();
    }
    remote.clock().unwrap();
}

fn pure(remote: &mut RemoteTarget, space: AddressSpaceId, link: &DelayLink, random: &mut Random) {
    let work = symbol(&worker_program(), "work");
    let code = read(remote, space, work, 64);
    link.cut_later(Some(random.plan(2000)));
    for _ in 0..20 {
        assert_eq!(read(remote, space, work, 64), code);
        let listed = remote.list_processes(&ProcessQuery::Id(ProcessId(std::process::id())), false).unwrap();
        assert_eq!(listed.len(), 1);
    }
}

/// Suspend counts tell how often something was done.
fn acting(remote: &mut RemoteTarget, pid: u32, link: &DelayLink, random: &mut Random) {
    link.cut_later(Some(random.plan(1500)));
    for count in 1..=20 {
        assert_eq!(remote.adjust_suspend(&[ThreadId(pid)], 1).unwrap(), [count], "done once, and told");
    }
    for count in (0..20).rev() {
        assert_eq!(remote.adjust_suspend(&[ThreadId(pid)], -1).unwrap(), [count]);
    }
}

fn stopping(remote: &mut RemoteTarget, space: AddressSpaceId, link: &DelayLink, random: &mut Random) {
    let work = symbol(&worker_program(), "work");
    set(remote, breakpoint(1, space, work));
    let StopGeneration(mut generation) = remote.last_stop().unwrap().generation;
    link.cut_later(Some(random.plan(30_000)));
    for _ in 0..6 {
        let stop = go(remote);
        generation += 1;
        assert_eq!(stop.generation, StopGeneration(generation), "no stop is missed, none comes twice");
        assert_eq!(stop.registers[0].1.pc(), work);
    }
    clear(remote, 1);
}

fn bulk(remote: &mut RemoteTarget, link: &DelayLink, random: &mut Random) {
    let path = std::env::current_exe().unwrap();
    let own = std::fs::read(&path).unwrap();
    let (file, len) = remote.open_file(None, path.to_str().unwrap()).unwrap();
    assert_eq!(len, own.len() as u64);
    let (towards, _) = random.plan(2);
    let most = if towards == Towards::Client { len / 2 } else { 1000 };
    link.cut_later(Some((towards, After::Bytes(random.below(most)))));
    let read = remote.read_file(file, &[(0, len)]).unwrap();
    assert!(read[0] == own, "whole, in order");
    remote.close_file(file).unwrap();
}

fn hits(remote: &mut RemoteTarget, space: AddressSpaceId, link: &DelayLink, random: &mut Random) {
    let work = symbol(&worker_program(), "work");
    set(remote, BreakpointSpec { auto_continue: true, ..breakpoint(1, space, work) });
    run(remote);
    std::thread::sleep(Duration::from_micros(random.below(3000)));
    match random.below(2) {
        0 => link.cut(),
        _ => link.cut_later(Some(random.plan(200))),
    }
    std::thread::sleep(Duration::from_micros(random.below(3000)));
    remote.interrupter().break_in();
    let mut told = 0;
    let begin = Instant::now();
    let stopped = loop {
        match event(remote) {
            Event::Stopped(stop) => break stop,
            _ => assert!(begin.elapsed() < LIMIT),
        }
    };
    assert_eq!(stopped.stop.reason, StopReason::BreakIn);
    told += stopped.hits.iter().map(|(_, hits)| hits).sum::<u64>();
    let counted: u64 = remote.breakpoint_states().unwrap().iter().map(|state| state.hits).sum();
    assert_eq!(told, counted, "each hit is told once");
    clear(remote, 1);
}

fn steps(remote: &mut RemoteTarget, pid: u32, link: &DelayLink, random: &mut Random) {
    let StopGeneration(mut generation) = remote.last_stop().unwrap().generation;
    link.cut_later(Some(random.plan(30_000)));
    for _ in 0..10 {
        let stop = step(remote, ThreadId(pid), StepPlan::instructions(1));
        generation += 1;
        assert_eq!(stop.generation, StopGeneration(generation));
        assert!(matches!(stop.stop.reason, StopReason::Step { .. }), "{:?}", stop.stop);
    }
}

/// A break-in and what it stops go over the link like everything else.
#[test]
fn a_debuggee_that_ends_while_the_link_is_down_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&["-t", "tcp:port=0", "--grace", "30"]);
    let link = DelayLink::start(server.port(), Duration::ZERO).unwrap();
    let mut debuggee = Debuggee::start("slow", folder.path(), "page");
    let mut remote = connect(&link, false);
    attach(&mut remote, debuggee.pid());
    run(&mut remote);
    link.cut();
    assert_eq!(debuggee.end(), Some(42));
    let told = stop(&mut remote);
    assert!(matches!(told.stop.reason, StopReason::Exited { .. }), "{:?}", told.stop);
    assert!(remote.processes().unwrap().is_empty());
    assert!(
        live(&mut remote)
            .wait_event(Some(Duration::from_millis(20)), &[])
            .is_ok_and(|waited| { matches!(waited, outpost_target::Waited::TimedOut) })
    );
}
