//! SIGKILL of client, worker, guardian, all of them, and a cut link, in every state, with debuggees that make it hard.
//!
//! Afterwards an attached debuggee runs on as if nobody had been there: all its threads go on, none is traced or stopped,
//! its text equals its file's, it blocks and handles the signals it did, no child of it died, and it ends with its own
//! exit code when told; one that was stopped when it was found, and that nobody resumed, is stopped still, and does all
//! that once it is continued. A created one is ended. What is promised follows from who is left:
//!
//! | killed | left | promised |
//! | --- | --- | --- |
//! | client, link | worker, whose session does not outlive its link here (`cut_links.rs` has those that do) | everything |
//! | guardian | worker, which ends its session in order | everything |
//! | worker | guardian, which rescues | everything where the breakpoints say that they are kill-safe, and where none is hit |
//! | all | nobody | the same, but text and signals stay as they are |
//!
//! What is not promised is measured and printed, and what does hold of it is asserted.

#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]
#![expect(clippy::print_stderr, reason = "figures are part of what these tests are for")]

mod common;
mod debuggee;
#[path = "kill_matrix/states.rs"]
mod states;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::Server;
use debuggee::{
    Debuggee, LIMIT, Page, attach, differences, is_free, is_stopped, live, signal_state, space, worker_program,
};
use outpost_base::ProcessId;
use outpost_remote::{Options, RemoteTarget};
use outpost_target::{BundleRequest, CreateSpec, DetachMode, Live, StdioSpec};
use outpost_testkit::link::DelayLink;
use outpost_testkit::{Running, tracer, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use states::{call_function, enter, let_go_and_attach, plant_and_clear, sites};

/// What the session is doing when it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// Several threads hit software breakpoints that do not stop, as fast as they can.
    Hits,
    /// The same without code for pads, as for instructions that cannot be moved.
    PlainHits,
    /// Their condition is false each time.
    FalseConditions,
    /// Their conditions run in the debuggee: one is false each time, the other true now and then, which does not stop.
    Jumps,
    /// They are written down there: one with a number and a text, the other only after many passes.
    Logging,
    /// Stopped at a breakpoint.
    AtBreakpoint,
    /// Stopped by a break-in; no site is planted.
    BrokenIn,
    /// One thread steps instruction by instruction, the others run.
    Stepping,
    /// Stopped after some steps of one thread.
    Stepped,
    /// One thread steps through its function, over calls; the others run.
    SourceStepping,
    /// Several threads write to a watched variable, as fast as they can.
    Watching,
    /// The same, and the variable is watched by the protection of its pages.
    WatchingPages,
    /// Sites come and go while they are hit.
    Planting,
    /// Attached and let go again and again: most of the time, calls are made in a thread of it.
    Calling,
    /// A function of its own is called in a thread again and again, the others run.
    InFunction,
    /// It was stopped by a signal when it was attached to, and nobody has resumed it; sites are planted.
    FoundStopped,
    /// The same, and it was resumed: several threads hit the sites, as fast as they can.
    FoundStoppedHits,
}

const STATES: [State; 17] = [
    State::Hits,
    State::PlainHits,
    State::FalseConditions,
    State::Jumps,
    State::Logging,
    State::AtBreakpoint,
    State::BrokenIn,
    State::Stepping,
    State::Stepped,
    State::SourceStepping,
    State::Watching,
    State::WatchingPages,
    State::Planting,
    State::Calling,
    State::InFunction,
    State::FoundStopped,
    State::FoundStoppedHits,
];

const DEBUGGEES: [&str; 6] = ["plain", "handlers", "blocked", "fork", "vfork", "spawn"];

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Killed {
    Client,
    Link,
    Worker,
    Guardian,
    All,
}

/// What became of one debuggee.
struct Outcome {
    /// Why breakpoints said that they do not outlive their server; empty if they do.
    unsafe_because: String,
    /// What was found wrong; empty if it is unharmed.
    harm: Vec<String>,
}

/// How often each cell is tried: `OUTPOST_KILL_ROUNDS`, for whoever looks for a rare loss; else 20 times in a soak, else once.
fn rounds() -> u32 {
    let asked = std::env::var("OUTPOST_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    asked.unwrap_or(if std::env::var_os("OUTPOST_SOAK").is_some() { 20 } else { 1 })
}

/// Whether a cell is to be tried: all are, unless `OUTPOST_KILL_CELLS` names states or debuggees (`Hits,fork`).
fn is_wanted(state: State, mode: &str) -> bool {
    let Ok(wanted) = std::env::var("OUTPOST_KILL_CELLS") else { return true };
    let words: Vec<&str> = wanted.split(',').collect();
    let names = |all: &[String], own: &str| {
        let any = words.iter().any(|word| all.iter().any(|name| name == word));
        !any || words.contains(&own)
    };
    let states = STATES.map(|state| format!("{state:?}"));
    names(&states, &format!("{state:?}")) && names(&DEBUGGEES.map(str::to_owned), mode)
}

/// Whether the breakpoints of a cell say that they outlive their server. Those of a program that blocks SIGILL or SIGTRAP
/// do not: the kernel ends a process whose thread faults with the signal blocked, unless somebody traces it. Nor do watched
/// pages, which a system call cannot write to.
fn is_safe(state: State, mode: &str) -> bool {
    let sets_none =
        matches!(state, State::BrokenIn | State::Stepping | State::Stepped | State::Calling | State::InFunction);
    (mode != "blocked" || sets_none) && state != State::WatchingPages
}

fn is_promised(killed: Killed, was_safe: bool) -> bool {
    match killed {
        Killed::Client | Killed::Link | Killed::Guardian => true,
        Killed::Worker | Killed::All => was_safe,
    }
}

#[test]
fn a_killed_client_harms_nobody() {
    matrix(Killed::Client);
}

#[test]
fn a_cut_link_harms_nobody() {
    matrix(Killed::Link);
}

#[test]
fn a_killed_guardian_harms_nobody() {
    matrix(Killed::Guardian);
}

#[test]
fn a_killed_worker_harms_nobody_where_breakpoints_are_safe() {
    matrix(Killed::Worker);
}

#[test]
fn all_killed_at_once_harms_nobody_where_breakpoints_are_safe() {
    matrix(Killed::All);
}

fn matrix(killed: Killed) {
    let folder = tempfile::tempdir().unwrap();
    let mut table = BTreeMap::<(State, &str), (u32, u32, bool)>::new();
    let (mut broken, mut number) = (Vec::new(), 0_u32);
    for round in 0..rounds() {
        for state in STATES {
            for mode in DEBUGGEES.into_iter().filter(|mode| is_wanted(state, mode)) {
                number += 1;
                let moment = Duration::from_micros(u64::from(number * 7919 % 23_000) + 500);
                let outcome = kill(killed, state, mode, folder.path(), moment);
                let was_safe = outcome.unsafe_because.is_empty();
                if was_safe != is_safe(state, mode) {
                    broken
                        .push(format!("{state:?}, {mode}, round {round}: breakpoints say: {}", outcome.unsafe_because));
                }
                let promised = is_promised(killed, was_safe);
                let cell = table.entry((state, mode)).or_default();
                *cell = (cell.0 + u32::from(outcome.harm.is_empty()), cell.1 + 1, promised);
                if promised && !outcome.harm.is_empty() {
                    broken.push(format!("{state:?}, {mode}, round {round}: {}", outcome.harm.join("; ")));
                } else if !outcome.harm.is_empty() {
                    eprintln!("not promised: {killed:?} {state:?}, {mode}: {}", outcome.harm.join("; "));
                }
            }
        }
    }
    let mut text = format!("killed: {killed:?}; unharmed of all, * where it is promised\n{:16}", "");
    DEBUGGEES.iter().for_each(|mode| write!(text, "{mode:>12}").unwrap());
    for state in STATES {
        write!(text, "\n{:16}", format!("{state:?}")).unwrap();
        for mode in DEBUGGEES {
            let (unharmed, all, promised) = table.get(&(state, mode)).copied().unwrap_or_default();
            write!(text, "{:>12}", format!("{unharmed}/{all}{}", if promised { "*" } else { " " })).unwrap();
        }
    }
    eprintln!("{text}");
    assert!(broken.is_empty(), "{text}\n{}", broken.join("\n"));
}

/// A client in a process of its own, which can be killed: this test program again.
struct Client {
    running: Running,
    /// Why its breakpoints do not outlive their server; empty if they do.
    unsafe_because: String,
    /// The process the session created, 0 if it was to create none.
    created: u32,
}

impl Client {
    fn start(port: u16, state: State, debuggee: &str) -> Client {
        let order = format!("{port} {} {debuggee}", STATES.iter().position(|&other| other == state).unwrap());
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "client_process", "--nocapture"]).env(ORDER, order).stderr(Stdio::null());
        let mut running = Running::command(&mut command);
        for _ in 0..20 {
            let line = running.line();
            if let Some((_, said)) = line.split_once("client is ready: ") {
                let (created, unsafe_because) = said.split_once(' ').unwrap_or((said, ""));
                let (created, unsafe_because) = (created.parse().unwrap(), unsafe_because.trim().to_owned());
                return Client { running, unsafe_because, created };
            }
        }
        panic!("{state:?}, {debuggee}: the client did not come to be ready");
    }
}

/// Brings a session into the state and kills.
fn kill(killed: Killed, state: State, mode: &str, folder: &Path, moment: Duration) -> Outcome {
    let mut debuggee = Debuggee::start(mode, folder, "page");
    // While a thread is made it blocks everything.
    assert!(debuggee.page.advances(3, LIMIT));
    let before = signal_state(debuggee.pid());
    if matches!(state, State::FoundStopped | State::FoundStoppedHits) {
        debuggee.running.signal("STOP");
        // A parent waits for its vfork child first.
        wait_until("it is stopped", LIMIT, || is_stopped(debuggee.pid()));
    }
    let mut server = Server::start(&["-t", "tcp:port=0", "--grace", "0"]);
    let link = DelayLink::start(server.port(), Duration::ZERO).unwrap();
    let port = if killed == Killed::Link { link.port() } else { server.port() };
    let client = Client::start(port, state, &debuggee.pid().to_string());
    std::thread::sleep(moment);
    strike(&format!("{state:?}, {mode}"), killed, &mut server, &client, &link, debuggee.pid());
    let left = Left { sites: killed == Killed::All };
    if state == State::FoundStopped {
        wait_until(&format!("{killed:?}, {mode}: it is as it was found"), LIMIT, || {
            tracer(debuggee.pid()) == 0 && is_stopped(debuggee.pid())
        });
        debuggee.running.signal("CONT");
    }
    let mut harm = harm(&mut debuggee, &before, mode, left);
    if state == State::InFunction && debuggee.page.word(7) == 0 {
        harm.push("no call was ever made in it".into());
    }
    if !harm.is_empty() {
        harm.extend(server.log().into_iter().filter(|line| line.contains("WARN")));
    }
    Outcome { unsafe_because: client.unsafe_because, harm }
}

fn strike(what: &str, killed: Killed, server: &mut Server, client: &Client, link: &DelayLink, debuggee: u32) {
    let mut worker = 0;
    // Where it is attached again and again, it is not traced for a moment.
    let end = Instant::now() + LIMIT;
    while worker == 0 {
        let (one, other) = (outpost_testkit::state(debuggee), outpost_testkit::state(client.running.pid()));
        assert!(Instant::now() < end, "{what}: nobody traces it; its state is {one:?}, the client's {other:?}");
        worker = tracer(debuggee);
    }
    let kill = |pid: u32| kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
    match killed {
        Killed::Client => kill(client.running.pid()),
        Killed::Link => link.cut(),
        Killed::Worker => kill(worker),
        Killed::Guardian => kill(server.pid()),
        Killed::All => [server.pid(), worker, client.running.pid()].into_iter().for_each(kill),
    }
}

/// What stays behind because nobody is left to take it away.
struct Left {
    sites: bool,
}

/// What is wrong with a debuggee that was let go by a death.
fn harm(debuggee: &mut Debuggee, before: &[String], mode: &str, left: Left) -> Vec<String> {
    let pid = debuggee.pid();
    let mut harm = Vec::new();
    let within = Instant::now() + Duration::from_secs(6);
    let mut eventually = |debuggee: &mut Debuggee, what: &str, holds: &dyn Fn() -> Result<(), String>| {
        loop {
            let Err(found) = holds() else { return };
            if !debuggee.running.is_running() {
                return;
            }
            if Instant::now() >= within {
                return harm.push(format!("{what}: {found}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    let yes = |holds: bool| if holds { Ok(()) } else { Err("no".to_owned()) };
    eventually(debuggee, "it is let go", &|| yes(is_free(pid)));
    if !left.sites {
        eventually(debuggee, "its text is its file's", &|| match differences(pid) {
            Some(differences) if !differences.is_empty() => Err(format!("differs at {differences:x?}")),
            _ => Ok(()),
        });
        eventually(debuggee, "its signals are as before", &|| match signal_state(pid) {
            now if now == before || now.is_empty() => Ok(()),
            now => Err(format!("{before:?} became {now:?}")),
        });
    }
    if debuggee.running.is_running()
        && !debuggee.page.advances(3, Duration::from_secs(5))
        && debuggee.running.is_running()
    {
        harm.push("its threads do not all go on".into());
    }
    debuggee.page.tell_to_end();
    let mut status = None;
    let end = Instant::now() + Duration::from_secs(5);
    while status.is_none() && Instant::now() < end {
        status = (!debuggee.running.is_running()).then(|| debuggee.running.wait(LIMIT));
        std::thread::sleep(Duration::from_millis(1));
    }
    match status {
        Some(status) if status.code() == Some(42) => {}
        Some(status) => harm.push(format!("it ended with {status}")),
        None => harm.push("it does not end when told".into()),
    }
    if debuggee.page.word(4) != 0 {
        harm.push(format!("{} of its children ended wrongly", debuggee.page.word(4)));
    }
    if mode == "handlers" && debuggee.page.word(5) != 0 {
        harm.push(format!("{} stray signals reached its handlers", debuggee.page.word(5)));
    }
    harm
}

/// Where nobody was left to clean up, the next session does: text and signals are the program's when that is over.
#[test]
fn what_all_of_a_session_left_is_cleaned_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let states =
        [State::Hits, State::PlainHits, State::Jumps, State::Logging, State::SourceStepping, State::FoundStoppedHits];
    for state in states {
        for mode in ["plain", "handlers", "fork"] {
            let what = format!("{state:?}, {mode}");
            let mut debuggee = Debuggee::start(mode, folder.path(), "page");
            assert!(debuggee.page.advances(3, LIMIT));
            let (before, mappings) = (signal_state(debuggee.pid()), code_of_no_file(debuggee.pid()));
            if state == State::FoundStoppedHits {
                debuggee.running.signal("STOP");
                wait_until("it is stopped", LIMIT, || is_stopped(debuggee.pid()));
            }
            let mut server = Server::start(&["-t", "tcp:port=0", "--grace", "0"]);
            let link = DelayLink::start(server.port(), Duration::ZERO).unwrap();
            let client = Client::start(server.port(), state, &debuggee.pid().to_string());
            std::thread::sleep(Duration::from_millis(3));
            strike(&what, Killed::All, &mut server, &client, &link, debuggee.pid());
            wait_until(&format!("{what}: it is let go"), LIMIT, || is_free(debuggee.pid()));
            assert!(code_of_no_file(debuggee.pid()) > mappings, "{what}: nothing was left");

            let next = Server::start(&["-t", "tcp:port=0", "--grace", "0"]);
            let transport = format!("tcp:server=127.0.0.1,port={}", next.port()).parse().unwrap();
            let (mut remote, _) = RemoteTarget::connect(&transport, Options::default()).unwrap();
            attach(&mut remote, debuggee.pid());
            live(&mut remote).detach(ProcessId(debuggee.pid()), DetachMode::Deliver).unwrap();
            drop(remote);
            // What was left of a handler's frame in a stack may look like a way back: then it stays, out of use.
            if code_of_no_file(debuggee.pid()) != mappings {
                eprintln!("{what}: stays mapped, out of use");
            }
            let mut harm = harm(&mut debuggee, &before, mode, Left { sites: false });
            if !harm.is_empty() {
                harm.extend(next.log());
            }
            assert_eq!(harm, Vec::<String>::new(), "{what}");
        }
    }
}

/// Mappings of a process that can be executed and have no file, such as ours.
fn code_of_no_file(pid: u32) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    maps.lines().filter(|line| line.contains(" r-xp ") && line.split_whitespace().count() == 5).count()
}

/// A session's own process ends with it, as far as there is somebody to end it.
#[test]
fn what_a_session_created_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    for killed in [Killed::Client, Killed::Link, Killed::Worker, Killed::Guardian, Killed::All] {
        for state in [State::Hits, State::AtBreakpoint, State::BrokenIn] {
            let page = Page::new(folder.path(), "created");
            let mut server = Server::start(&["-t", "tcp:port=0", "--grace", "0"]);
            let link = DelayLink::start(server.port(), Duration::ZERO).unwrap();
            let port = if killed == Killed::Link { link.port() } else { server.port() };
            let client = Client::start(port, state, page.path.to_str().unwrap());
            let created = client.created;
            strike(&format!("{state:?}"), killed, &mut server, &client, &link, created);
            let ended = || matches!(outpost_testkit::state(created), None | Some('Z'));
            if killed == Killed::All {
                // Nobody is left to end it, and PTRACE_O_EXITKILL would end attached ones, too.
                wait_until("it is let go", LIMIT, || ended() || tracer(created) == 0);
                page.tell_to_end();
                if !ended() {
                    let _ = kill_process(Pid::from_raw(created as i32).unwrap(), Signal::KILL);
                }
            }
            wait_until(&format!("{killed:?}, {state:?}: the created process ends"), LIMIT, ended);
        }
    }
}

/// Names the order to a client process: port, state, process to attach to or page of one to create.
const ORDER: &str = "OUTPOST_TEST_CLIENT";

/// No test: the client of the tests above, when started by them.
#[test]
fn client_process() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let [port, state, debuggee] = order.split(' ').collect::<Vec<_>>()[..] else { panic!("{order}") };
    let state = STATES[state.parse::<usize>().unwrap()];
    let transport = format!("tcp:server=127.0.0.1,port={port}").parse().unwrap();
    let (mut remote, _) = RemoteTarget::connect(&transport, Options::default()).unwrap();
    let (process, created) = match debuggee.parse() {
        Ok(pid) => {
            attach(&mut remote, pid);
            (ProcessId(pid), "0".to_owned())
        }
        Err(_) => {
            let process = create(&mut remote, debuggee);
            (process, process.to_string())
        }
    };
    let sites = sites(space(&mut remote, process));
    let unsafe_because = enter(&mut remote, process, state, &sites);
    let mut stdout = std::io::stdout();
    writeln!(stdout, "client is ready: {created} {unsafe_because}").and_then(|()| stdout.flush()).unwrap();
    // Until somebody dies; the test that started this ends it otherwise.
    let end = Instant::now() + LIMIT;
    let mut number = 0;
    while Instant::now() < end {
        number += 1;
        let lives = match state {
            State::Planting => plant_and_clear(&mut remote, &sites, number),
            State::Calling => let_go_and_attach(&mut remote, process),
            State::InFunction => call_function(&mut remote, process, number),
            _ => live(&mut remote).wait_event(Some(Duration::from_secs(1)), &[]).is_ok(),
        };
        if !lives {
            return;
        }
    }
}

fn create(remote: &mut RemoteTarget, page: &str) -> ProcessId {
    let program = worker_program();
    let spec = CreateSpec {
        program: program.to_str().unwrap().into(),
        arguments: vec!["plain".into(), page.into()],
        environment: None,
        environment_changes: Vec::new(),
        directory: None,
        stdio: StdioSpec::Files { stdin: None, stdout: None, stderr: None },
        randomize: true,
        break_in: true,
    };
    remote.create(&spec, &BundleRequest::default()).unwrap().0
}
