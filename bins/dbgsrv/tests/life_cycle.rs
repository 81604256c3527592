//! The server as a program: starting, ending, what it says, what becomes of its sessions and debuggees.

#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]

mod common;

use std::time::Duration;

use common::{LIMIT, Server, dbgsrv};
use outpost_base::ProcessId;
use outpost_remote::{Options, RemoteTarget};
use outpost_target::{
    AttachMode, BundleRequest, CreateSpec, Event, Live, Os, ProcessQuery, StdioSpec, StopReason, Target, Waited,
};
use outpost_testkit::{Running, state, tracer, wait_until};

fn sleeper() -> Running {
    Running::start("sleep", &["1000"])
}

fn attach(remote: &mut RemoteTarget, pid: u32) {
    let mode = AttachMode::Invasive { break_in: true };
    let stop = remote.attach(ProcessId(pid), mode, &BundleRequest::default()).unwrap().unwrap();
    assert_eq!(stop.stop.reason, StopReason::Attached);
}

fn create(remote: &mut RemoteTarget) -> u32 {
    let spec = CreateSpec {
        program: "sleep".into(),
        arguments: vec!["1000".into()],
        environment: None,
        environment_changes: Vec::new(),
        directory: None,
        stdio: StdioSpec::Files { stdin: None, stdout: None, stderr: None },
        randomize: true,
        break_in: true,
    };
    remote.create(&spec, &BundleRequest::default()).unwrap().0.0
}

fn gone_or_zombie(pid: u32) -> bool {
    matches!(state(pid), None | Some('Z'))
}

/// A line of `/proc/PID/status`.
fn status_line(pid: u32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    line.unwrap_or_default().to_owned()
}

#[test]
fn the_guardian_keeps_what_rescues_need_and_workers_keep_all() {
    let server = Server::start(&["-t", "tcp:port=0"]);
    let mut client = server.connect();
    let process = create(&mut client);
    let guardian = server.pid();
    wait_until("it is locked down", LIMIT, || status_line(guardian, "Seccomp") == "2");
    assert_eq!(status_line(guardian, "NoNewPrivs"), "1");
    // CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_KILL, CAP_SYS_PTRACE (include/uapi/linux/capability.h).
    let kept = 1 << 1 | 1 << 2 | 1 << 5 | 1 << 19;
    let effective = |pid| u64::from_str_radix(&status_line(pid, "CapEff"), 16).unwrap();
    assert_eq!(effective(guardian), effective(std::process::id()) & kept);
    // What a debuggee can do is not the server's business.
    for pid in server.workers().into_iter().chain([process]) {
        for name in ["CapEff", "NoNewPrivs", "Seccomp"] {
            assert_eq!(status_line(pid, name), status_line(std::process::id(), name), "{name} of {pid}");
        }
    }
    client.kill(ProcessId(process)).unwrap();
}

#[test]
fn it_listens_says_how_to_connect_and_ends_in_order() {
    let mut server = Server::start(&["-t", "tcp:port=0"]);
    assert!(server.wait_for_line("listening on").ends_with(&format!("tcp:Port={}", server.port())));
    let mut remote = server.connect();
    let me = remote.list_processes(&ProcessQuery::Id(ProcessId(std::process::id())), true).unwrap();
    assert_eq!(me.len(), 1);
    server.wait_for_line("session 1: opened for");
    drop(remote);
    server.wait_for_line("session 1: ended by the client");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    server.wait_for_line("ended: SIGTERM");
}

#[test]
fn a_pipe_is_named_after_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = dbgsrv();
    command.args(["-t", "npipe:pipe=test%d"]).env("XDG_RUNTIME_DIR", directory.path());
    let server = Server::spawn(&mut command);
    assert_eq!(server.client_string(), format!("npipe:Pipe=test{},Server=.", server.pid()));
}

#[test]
fn wrong_command_lines_and_taken_ports_are_told_by_the_exit_status() {
    let run = |arguments: &[&str]| {
        let mut server = Server::spawn(dbgsrv().args(arguments));
        (server.wait().code(), server.wait_for_line("dbgsrv:"))
    };
    let (code, line) = run(&["-t", "ssl:proto=ssl3,port=5"]);
    assert_eq!(code, Some(2), "{line}");
    assert!(line.contains("older protocols are not secure"), "{line}");
    let (code, line) = run(&["-t", "ssl:certuser=nosuch,port=0"]);
    assert_eq!(code, Some(1), "{line}");
    assert!(line.contains("there is no certificate 'nosuch'"), "{line}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (code, line) = run(&["-t", &format!("tcp:port={port}")]);
    assert_eq!((code, line), (Some(1), format!("dbgsrv: no free port on 127.0.0.1 in {port} to {port}")));
    let (code, line) = run(&["-t", "tcp:port=0,bind=*"]);
    assert_eq!(code, Some(1), "{line}");
    assert!(line.contains("add password="), "{line}");
    let (code, line) = run(&["-t", "tcp:port=0", "--audit", "/no/such/folder/log"]);
    let reason = "No such file or directory (os error 2)";
    assert_eq!((code, line), (Some(1), format!("dbgsrv: cannot write the audit log to /no/such/folder/log: {reason}")));
    let (code, line) = run(&["-t", "tcp:port=0", "-c", "/no/such/program"]);
    assert_eq!(code, Some(1), "{line}");
    assert!(line.contains("/no/such/program"), "{line}");
}

/// No session object is created, the error carries 0x80004005, nothing is given away.
#[test]
fn check_6_a_wrong_password_opens_nothing_and_learns_nothing() {
    let server = Server::start(&["-t", "tcp:port=0,password=Xy12secret"]);
    assert!(server.client_string().ends_with(",Password=*"));
    // Whether there is a password at all is told to nobody: a server without one refuses in the same words.
    let open = Server::start(&["-t", "tcp:port=0"]);
    let mut errors = Vec::new();
    for (server, wrong) in [(&server, ""), (&server, "xy12secret"), (&open, "xy12secret")] {
        let error = server.try_connect(wrong).unwrap_err().to_string();
        assert!(error.contains("authentication failed") && error.contains("0x80004005"), "{error}");
        assert!(!error.to_lowercase().contains("secret"), "{error}");
        errors.push(error);
    }
    assert!(errors.iter().all(|error| *error == errors[0]), "{errors:#?}");
    for server in [&server, &open] {
        server.wait_for_line("refused: authentication failed");
        assert!(server.workers().is_empty(), "nothing was started for those");
        assert!(server.log().iter().all(|line| !line.contains("session")), "{:#?}", server.log());
    }
    server.try_connect("Xy12secret").unwrap();
    assert!(server.log().iter().all(|line| !line.contains("secret")), "{:#?}", server.log());
}

#[test]
fn an_ending_server_lets_attached_processes_go_and_ends_created_ones() {
    let mut sleeper = sleeper();
    let mut server = Server::start(&["-t", "tcp:port=0"]);
    let mut remote = server.connect();
    attach(&mut remote, sleeper.pid());
    let created = create(&mut remote);
    assert_eq!(state(sleeper.pid()), Some('t'));
    server.signal("INT");
    match remote.wait_event(Some(LIMIT), &[]).unwrap() {
        Waited::Event(Event::ServerEnding { reason }) => assert!(reason.contains("SIGINT"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(server.wait().code(), Some(0));
    let error = remote.clock().unwrap_err().to_string();
    assert!(error.contains("SIGINT"), "{error}");
    assert_eq!((state(sleeper.pid()), tracer(sleeper.pid())), (Some('S'), 0));
    assert!(sleeper.is_running());
    wait_until("the created process ends", LIMIT, || gone_or_zombie(created));
}

#[test]
fn a_client_that_is_gone_ends_its_session_only() {
    let (mut first, mut second) = (sleeper(), sleeper());
    let server = Server::start(&["-t", "tcp:port=0"]);
    let (mut one, mut two) = (server.connect(), server.connect());
    attach(&mut one, first.pid());
    attach(&mut two, second.pid());
    let created = create(&mut one);
    drop(one);
    wait_until("the first is let go", LIMIT, || state(first.pid()) == Some('S') && tracer(first.pid()) == 0);
    wait_until("the created process ends", LIMIT, || gone_or_zombie(created));
    assert_eq!(two.processes().unwrap().len(), 1);
    assert_eq!(state(second.pid()), Some('t'));
    assert!(first.is_running() && second.is_running());
}

#[test]
fn a_traced_process_is_refused_naming_its_tracer() {
    let sleeper = sleeper();
    let server = Server::start(&["-t", "tcp:port=0"]);
    let (mut one, mut two) = (server.connect(), server.connect());
    attach(&mut one, sleeper.pid());
    let mode = AttachMode::Invasive { break_in: true };
    let error = two.attach(ProcessId(sleeper.pid()), mode, &BundleRequest::default()).unwrap_err().to_string();
    assert!(error.contains(&format!("already traced by process {}", tracer(sleeper.pid()))), "{error}");
    assert!(two.clock().is_ok());
}

#[test]
fn a_killed_worker_harms_neither_its_debuggees_nor_other_sessions() {
    let mut sleeper = sleeper();
    let server = Server::start(&["-t", "tcp:port=0"]);
    let mut other = server.connect();
    let bystanders = server.workers();
    let mut remote = server.connect();
    attach(&mut remote, sleeper.pid());
    let created = create(&mut remote);
    let worker = server.workers().into_iter().find(|pid| !bystanders.contains(pid)).unwrap();
    common::signal(worker, "KILL");
    server.wait_for_line("its worker died");
    wait_until("it is let go", LIMIT, || state(sleeper.pid()) == Some('S') && tracer(sleeper.pid()) == 0);
    wait_until("the created process ends", LIMIT, || gone_or_zombie(created));
    assert!(sleeper.is_running());
    assert!(remote.clock().is_err());
    assert!(other.clock().is_ok());
    assert!(server.connect().clock().is_ok());
    wait_until("its worker is collected", LIMIT, || state(worker).is_none());
}

#[test]
fn a_killed_guardian_ends_its_workers_in_order() {
    let mut sleeper = sleeper();
    let mut server = Server::start(&["-t", "tcp:port=0"]);
    let mut remote = server.connect();
    attach(&mut remote, sleeper.pid());
    let created = create(&mut remote);
    let workers = server.workers();
    server.child.kill().unwrap();
    server.wait();
    match remote.wait_event(Some(LIMIT), &[]) {
        Ok(Waited::Event(Event::ServerEnding { reason })) => assert!(reason.contains("guardian"), "{reason}"),
        other => panic!("{other:?}"),
    }
    wait_until("it is let go", LIMIT, || state(sleeper.pid()) == Some('S') && tracer(sleeper.pid()) == 0);
    wait_until("created process and worker end", LIMIT, || {
        gone_or_zombie(created) && workers.iter().all(|&worker| gone_or_zombie(worker))
    });
    assert!(sleeper.is_running());
}

#[test]
fn a_client_can_end_the_server() {
    let mut server = Server::start(&["-t", "tcp:port=0"]);
    let mut bystander = server.connect();
    let mut remote = server.connect();
    remote.end_server().unwrap();
    assert_eq!(server.wait().code(), Some(0));
    assert!(matches!(bystander.wait_event(Some(LIMIT), &[]), Ok(Waited::Event(Event::ServerEnding { .. }))));
    assert!(bystander.clock().is_err());
}

#[test]
fn a_server_that_no_client_may_end_goes_on() {
    let server = Server::start(&["-t", "tcp:port=0", "--no-remote-end"]);
    let mut remote = server.connect();
    let error = remote.end_server().unwrap_err().to_string();
    assert!(error.contains("--no-remote-end"), "{error}");
    assert!(remote.clock().is_ok() && server.connect().clock().is_ok());
}

#[test]
fn a_server_that_nobody_uses_ends_by_itself() {
    let mut server = Server::start(&["-t", "tcp:port=0", "--idle-exit", "1"]);
    let mut remote = server.connect();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(remote.clock().is_ok(), "somebody is there");
    drop(remote);
    assert_eq!(server.wait().code(), Some(0));
    server.wait_for_line("ended: nobody came for the time of --idle-exit");
}

#[test]
fn programs_are_created_with_the_server() {
    let server = Server::start(&["-t", "tcp:port=0", "-c", "sleep", "1000"]);
    let line = server.wait_for_line("created process");
    let pid = |line: &str| line.split([' ', ',', ':']).find_map(|word| word.parse::<u32>().ok()).unwrap();
    assert!(line.ends_with(": sleep 1000"), "{line}");
    wait_until("it runs", LIMIT, || state(pid(&line)) == Some('S'));
    common::signal(pid(&line), "KILL");
    wait_until("it is collected", LIMIT, || state(pid(&line)).is_none());

    let server = Server::start(&["-t", "tcp:port=0", "-cs", "sleep", "1000"]);
    let suspended = pid(&server.wait_for_line("created process"));
    wait_until("it is held", LIMIT, || state(suspended) == Some('T'));
    assert_eq!(tracer(suspended), 0);
    let executable = std::fs::read_link(format!("/proc/{suspended}/exe")).unwrap();
    assert!(!executable.ends_with("dbgsrv"), "it has executed: {executable:?}");
    // Nothing of it has run yet: the loader would have mapped the C library.
    let maps = std::fs::read_to_string(format!("/proc/{suspended}/maps")).unwrap();
    assert!(!maps.contains("libc.so"), "{maps}");
    common::signal(suspended, "KILL");
}

#[test]
fn the_implicit_command_line_is_given_once() {
    let server = Server::start(&["-t", "tcp:port=0", "-pc", "./daemon", "-f", "a b"]);
    let ask = |take| {
        let options = Options { take_command_line: take, ..Options::default() };
        RemoteTarget::connect(&server.transport(), options).unwrap().1.command_line
    };
    assert!(ask(false).is_empty());
    assert_eq!(ask(true), ["./daemon", "-f", "a b"]);
    assert!(ask(true).is_empty());
}

#[test]
fn a_daemon_leaves_its_starter_and_listens() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let file = std::fs::File::create(&log).unwrap();
    let mut command = dbgsrv();
    let status = command.args(["--daemon", "-t", "tcp:port=0"]).stderr(file).status().unwrap();
    assert_eq!(status.code(), Some(0));
    let said = std::fs::read_to_string(&log).unwrap();
    let transport = said.split(' ').skip_while(|word| *word != "-premote").nth(1).unwrap();
    let (mut remote, _) = RemoteTarget::connect(&transport.parse().unwrap(), Options::default()).unwrap();
    remote.end_server().unwrap();
    wait_until("it ends", LIMIT, || std::fs::read_to_string(&log).unwrap().contains("ended: "));
    // A failure is the starter's exit status.
    let mut command = dbgsrv();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = command.args(["--daemon", "-t", &format!("tcp:port={port}")]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn idle_sessions_take_little() {
    let server = Server::start(&["-t", "tcp:port=0"]);
    let sessions: Vec<_> = (0..20).map(|_| server.connect()).collect();
    std::thread::sleep(Duration::from_millis(200));
    let pss = |pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let workers = server.workers();
    assert_eq!(workers.len(), sessions.len());
    let (guardian, each) = (pss(server.pid()), workers.iter().map(|&pid| pss(pid)).sum::<u64>() / 20);
    // The debug build is larger than what is shipped; the limits are those of what is shipped.
    println!("guardian: {guardian} KiB, each idle session: {each} KiB");
    assert!(guardian <= 3 << 10, "guardian: {guardian} KiB");
    assert!(each <= 1 << 10, "each idle session: {each} KiB");
}
