//! Who did what is written down, each time by one line, and nobody can write what was not.

#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]

mod common;
mod debuggee;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use common::{LIMIT, Server, dbgsrv};
use debuggee::{attach, live, space};
use outpost_base::{ProcessId, RegisterContext, ThreadId};
use outpost_remote::{Options, RemoteTarget};
use outpost_target::{BundleRequest, CreateSpec, DetachMode, Live, RegisterSets, StdioSpec, Target, WriteRequest};
use outpost_testkit::{Running, wait_until};
use outpost_transport::Connection;

/// A server with an audit log.
struct Audited {
    server: Server,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Audited {
    fn start(arguments: &[&str]) -> Audited {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        let server = Server::spawn(dbgsrv().args(["--audit", path.to_str().unwrap()]).args(arguments));
        server.wait_for_line("connect with:");
        Audited { server, path, _folder: folder }
    }

    /// Its lines, less the time.
    fn lines(&self) -> Vec<String> {
        lines(&self.path)
    }

    /// The lines of an event, once there are so many.
    fn wait_for(&self, event: &str, count: usize) -> Vec<String> {
        let of = || -> Vec<String> {
            let word = format!("event={event} ");
            self.lines().into_iter().filter(|line| line.starts_with(&word)).collect()
        };
        wait_until(event, LIMIT, || of().len() >= count);
        let found = of();
        assert_eq!(found.len(), count, "{found:#?}");
        found
    }
}

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
}

fn create_spec(program: &str, arguments: &[&str]) -> CreateSpec {
    CreateSpec {
        program: program.into(),
        arguments: arguments.iter().map(|word| (*word).into()).collect(),
        environment: None,
        environment_changes: Vec::new(),
        directory: None,
        stdio: StdioSpec::Client,
        randomize: true,
        break_in: true,
    }
}

fn has(line: &str, words: &[&str]) {
    for word in words {
        assert!(line.contains(word), "{word}: {line}");
    }
}

#[test]
fn each_deed_of_a_session_is_one_line_and_writes_are_summed() {
    let mut audited = Audited::start(&["-t", "tcp:port=0"]);
    let debuggee = Running::start("sleep", &["1000"]);
    let (pid, process) = (debuggee.pid(), ProcessId(debuggee.pid()));
    let mut remote = audited.server.connect();
    let stop = attach(&mut remote, pid);
    let space = space(&mut remote, process);
    let sp = stop.registers[0].1.sp();
    let here = remote.read_many(space, &[outpost_target::ReadRequest { at: sp, len: 8 }]).unwrap().remove(0);
    for _ in 0..100 {
        live(&mut remote).write_many(space, &[WriteRequest { at: sp, bytes: here.clone() }]).unwrap();
    }
    let thread = ThreadId(pid);
    let registers: RegisterContext =
        remote.registers_many(&[thread], RegisterSets::default()).unwrap().remove(0).unwrap();
    live(&mut remote).set_registers(thread, &registers).unwrap();
    remote.detach(process, DetachMode::Deliver).unwrap();
    let spec = create_spec("/bin/sleep", &["1000"]);
    let (created, _) = remote.create(&spec, &BundleRequest::default()).unwrap();
    remote.kill(created).unwrap();
    assert!(remote.kill(ProcessId(1)).is_err());
    drop(remote);

    let end = audited.wait_for("end", 1).remove(0);
    has(&end, &["session=1", "reason=\"ended by the client\"", "write=100", "registers=1", "failed=1"]);
    let connect = audited.wait_for("connect", 1).remove(0);
    has(&connect, &["session=1", "address=127.0.0.1:", "says="]);
    has(&audited.wait_for("attach", 1)[0], &[&format!("process={pid} mode=invasive program=/"), "session=1"]);
    has(&audited.wait_for("write", 1)[0], &["bytes=8", "address=127.0.0.1:"]);
    audited.wait_for("registers", 1);
    has(&audited.wait_for("detach", 1)[0], &[&format!("process={pid}")]);
    has(&audited.wait_for("create", 1)[0], &["program=/bin/sleep", &format!("process={created}")]);
    let kills = audited.wait_for("kill", 2);
    has(&kills[0], &[&format!("process={created}")]);
    has(&kills[1], &["process=1", "error=\"no process 1\""]);
    audited.server.signal("TERM");
    assert!(audited.server.wait().success());
    let lines = audited.lines();
    has(&lines[0], &["event=start transport="]);
    has(lines.last().unwrap(), &["event=stop reason=SIGTERM"]);
    assert_eq!(lines.len(), 11, "{lines:#?}");
}

fn say(stream: &Connection, bytes: &[u8]) {
    let mut stream = stream;
    // One that is refused at once may be closed already.
    let _ = stream.write_all(bytes);
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn each_refusal_is_one_line() {
    for transport in ["tcp:port=0,password=Xy12", "ssl:port=0,bind=localhost,password=Xy12"] {
        let audited = Audited::start(&["-t", transport]);
        assert!(audited.server.try_connect("wrong").is_err());
        has(&audited.wait_for("refused", 1)[0], &["authentication failed", "address=127.0.0.1:"]);
        let garbage = audited.server.transport_without_password().connect().unwrap();
        say(&garbage, b"\xff\xff\xff\xff");
        has(&audited.wait_for("refused", 2)[1], &["reason=\"refused: a frame"]);
        // Somebody who only looks says nothing, and is nobody's event; TLS is begun by its client.
        if transport.starts_with("tcp") {
            drop(std::net::TcpStream::connect(("127.0.0.1", audited.server.port())).unwrap());
        }
        assert!(audited.server.try_connect("Xy12").is_ok());
        audited.wait_for("connect", 1);
        audited.wait_for("refused", 2);
    }
}

#[test]
fn a_wrong_certificate_is_one_line() {
    let audited = Audited::start(&["-t", &format!("ssl:port=0,bind=localhost,clientcert={}", "AB".repeat(32))]);
    let text = audited.server.client_string().split_once(",ClientCert=").unwrap().0.to_owned();
    let open = RemoteTarget::connect(&text.parse().unwrap(), Options::default());
    assert!(open.is_err());
    has(&audited.wait_for("refused", 1)[0], &["showed no certificate"]);
}

#[test]
fn a_hello_that_is_replayed_is_one_line() {
    let audited = Audited::start(&["-t", "tcp:port=0,password=Xy12"]);
    let (near, far) = Connection::pair().unwrap();
    // What a client says to a server that is none of ours, and answers nothing.
    let saying = std::thread::spawn(move || {
        let options = Options { password: "Xy12".into(), ..Options::default() };
        RemoteTarget::open(near, options).is_err()
    });
    let mut hello = vec![0; 4096];
    let count = (&far).read(&mut hello).unwrap();
    drop(far);
    assert!(saying.join().unwrap());
    for replay in 1..=2 {
        let stream = audited.server.transport_without_password().connect().unwrap();
        (&stream).write_all(&hello[..count]).unwrap();
        // The same proof cannot fit the challenge that comes back; neither does one of zeros.
        say(
            &stream,
            b"\x22\x00\x00\x00\x03\x00\x00\x00\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x0a\0",
        );
        let line = audited.wait_for("refused", replay).remove(replay - 1);
        has(&line, &["refused: ", "address=127.0.0.1:"]);
    }
}

#[test]
fn a_user_of_this_machine_is_proved_and_a_name_forges_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit");
    let name = format!("audit{}", std::process::id());
    let mut command = dbgsrv();
    command.args(["-t", &format!("npipe:pipe={name}"), "--audit", path.to_str().unwrap()]);
    let server = Server::spawn(&mut command);
    server.wait_for_line("connect with:");
    let mut remote = server.connect();
    let spec = create_spec("/no\nevent=connect uid=0\"", &[]);
    assert!(remote.create(&spec, &BundleRequest::default()).is_err());
    drop(remote);
    wait_until("the end", LIMIT, || lines(&path).iter().any(|line| line.starts_with("event=end ")));
    let lines = lines(&path);
    let uid = format!("uid={}", rustix::process::getuid().as_raw());
    has(&lines[1], &["event=connect", &uid, &format!("pid={}", std::process::id())]);
    has(&lines[2], &["event=create program=\"/no\\nevent=connect uid=0\\\"\"", "error=\""]);
    assert_eq!(lines.len(), 4, "{lines:#?}");
}

#[test]
fn a_server_without_a_place_for_its_audit_log_does_not_start() {
    let mut server = Server::spawn(dbgsrv().args(["-t", "tcp:port=0", "--audit", "/nowhere/at/all"]));
    assert_eq!(server.wait().code(), Some(1));
    server.wait_for_line("cannot write the audit log to /nowhere/at/all");
}
