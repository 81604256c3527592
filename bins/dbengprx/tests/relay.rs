//! The repeater as a program: between sockets of a test, and between a real `dbgsrv` and real `cdb`s.
#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outpost_testkit::{ProcessServer, Running, SerialLine, program, text_differences, wait_until};

/// No wait takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// A running repeater, with the lines of its log.
struct Repeater {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Repeater {
    /// Starts one and waits until it listens. Pipes are in `directory`, unless root runs the test.
    fn start(arguments: &[&str], directory: &Path) -> Repeater {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dbengprx"))
            .args(arguments)
            .env("XDG_RUNTIME_DIR", directory)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let (lines, stderr) = (Arc::clone(&log), BufReader::new(child.stderr.take().unwrap()));
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        let mut repeater = Repeater { child, log };
        wait_until("the repeater begins", LIMIT, || {
            repeater.says("connect with:") || repeater.says("dialling ") || !repeater.is_running()
        });
        assert!(repeater.is_running(), "{:?}", repeater.log.lock().unwrap());
        repeater
    }

    /// What it says to type at the other end.
    fn client_string(&self) -> String {
        let log = self.log.lock().unwrap();
        let line = log.iter().find(|line| line.contains("connect with:")).unwrap();
        line.split(' ').skip_while(|word| *word != "-premote").nth(1).unwrap().to_owned()
    }

    fn port(&self) -> u16 {
        self.client_string().split(['=', ',']).nth(1).unwrap().parse().unwrap()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port())).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    fn says(&self, words: &str) -> bool {
        self.log.lock().unwrap().iter().any(|line| line.contains(words))
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn wait(&mut self) -> Option<i32> {
        wait_until("the repeater ends", LIMIT, || !self.is_running());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Repeater {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn server() -> (TcpListener, String) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let transport = format!("tcp:server=127.0.0.1,port={}", server.local_addr().unwrap().port());
    (server, transport)
}

fn accept(server: &TcpListener) -> TcpStream {
    let (stream, _) = server.accept().unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

fn read(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// A name for a pipe that nobody else uses: the runtime directory is shared.
fn pipe_name(suffix: &str) -> String {
    format!("relay-{}-{suffix}", std::process::id())
}

fn free_range() -> (u16, TcpListener) {
    loop {
        let busy = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = busy.local_addr().unwrap().port();
        if port < u16::MAX - 9 && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return (port, busy);
        }
    }
}

#[test]
fn bytes_half_closes_and_last_words_pass_and_the_servers_end_is_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let (listener, transport) = server();
    let mut repeater = Repeater::start(&["-c", &transport, "-s", "tcp:port=0"], directory.path());
    // Somebody who only looks, and a client of another server: neither ends it.
    drop(repeater.connect());
    drop(accept(&listener));
    let mut client = repeater.connect();
    let mut server = accept(&listener);
    let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    let (sent, mut writer) = (bytes.clone(), client.try_clone().unwrap());
    let writing = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut arrived = Vec::new();
    server.read_to_end(&mut arrived).unwrap();
    writing.join().unwrap();
    assert!(arrived == bytes);
    assert!(repeater.is_running(), "the client's end is not the server's");
    server.write_all(b"last words").unwrap();
    drop(server);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"last words");
    assert_eq!(repeater.wait(), Some(0));
    assert!(repeater.says("the server closed"));
}

#[test]
fn check_13_a_persistent_one_outlives_both_ends_and_sigterm_ends_it_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let (listener, transport) = server();
    let mut repeater = Repeater::start(&["-p", "-c", &transport, "-s", "tcp:port=0"], directory.path());
    for _ in 0..2 {
        let mut client = repeater.connect();
        let mut server = accept(&listener);
        server.write_all(b"x").unwrap();
        assert_eq!(read(&mut client, 1), b"x");
        drop(server);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
    drop(listener);
    // Without a server, clients are let go one by one.
    assert_eq!(repeater.connect().read(&mut [0]).unwrap_or(0), 0);
    wait_until("the failure is told", LIMIT, || repeater.says("cannot connect to"));
    assert!(repeater.is_running());
    let port = transport.rsplit('=').next().unwrap();
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    let mut client = repeater.connect();
    let mut server = accept(&listener);
    client.write_all(b"y").unwrap();
    assert_eq!(read(&mut server, 1), b"y");
    repeater.signal("TERM");
    assert_eq!(repeater.wait(), Some(0));
    assert!(repeater.says("ended: SIGTERM"));
    assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn a_hundred_clients_and_one_that_does_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let (listener, transport) = server();
    let repeater = Repeater::start(&["-p", "-c", &transport, "-s", "tcp:port=0"], directory.path());
    let mut stalled = repeater.connect();
    let mut flooding = accept(&listener);
    flooding.set_nonblocking(true).unwrap();
    // What the repeater and the kernel hold for it is bounded, so the server is held up in the end.
    wait_until("the server is held up", LIMIT, || {
        let mut held_up = false;
        while !held_up {
            held_up = flooding.write(&[0; 65536]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        }
        std::thread::sleep(Duration::from_millis(50));
        flooding.write(&[0]).is_err()
    });
    let mut pairs: Vec<_> = (0..100)
        .map(|_| {
            let client = repeater.connect();
            (client, accept(&listener))
        })
        .collect();
    for (number, (client, server)) in pairs.iter_mut().enumerate() {
        // Each server answers the client that is its own.
        let number = (number as u32).to_le_bytes();
        client.write_all(&number).unwrap();
        let got = read(server, 4);
        server.write_all(&got).unwrap();
        assert_eq!(read(client, 4), number);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", repeater.child.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim();
    let kib: u64 = resident.trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 32 << 10, "{resident}");
    assert_eq!(read(&mut stalled, 5), [0; 5]);
}

#[test]
fn wrong_command_lines_and_taken_ports_are_told_by_the_exit_status() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_dbengprx")).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run(&["-c", "npipe:pipe=x"]);
    assert!(code == Some(2) && said.contains("-s SERVER-TRANSPORT is missing"), "{said}");
    let (port, _busy) = free_range();
    let (code, said) = run(&["-c", "npipe:pipe=x", "-s", &format!("tcp:port={port}")]);
    assert!(code == Some(1) && said.contains("no free port"), "{said}");
    let output = Command::new(env!("CARGO_BIN_EXE_dbengprx")).arg("-?").output().unwrap();
    assert!(output.status.success() && output.stdout.starts_with(b"dbengprx: repeater"));
}

#[test]
fn a_range_of_ports_and_an_address_without_password() {
    let directory = tempfile::tempdir().unwrap();
    let (port, _busy) = free_range();
    let range = format!("tcp:port={port}:{},bind=0.0.0.0", port + 9);
    let repeater = Repeater::start(&["-c", "npipe:pipe=x", "-s", &range], directory.path());
    assert_ne!(repeater.port(), port);
    assert!(repeater.says(&format!("listening on tcp:Port={}:{}", repeater.port(), port + 9)));
    assert!(repeater.says("the server's own password"));
}

fn cdb(transport: &str, pid: u32, script: &str) -> Command {
    let mut command = Command::new(program("cdb"));
    command.args(["-premote", transport, "-p", &pid.to_string(), "-c", script]).stdin(Stdio::null());
    command
}

fn said(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn is_free(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap().contains("TracerPid:\t0\n")
}

#[test]
fn check_13_a_chain_of_tcp_npipe_tcp_carries_sessions_and_passwords() {
    let directory = tempfile::tempdir().unwrap();
    let server = ProcessServer::start_on("tcp:port=0,password=Xy12");
    let port = server.connection().split(['=', ',']).nth(1).unwrap().to_owned();
    let name = pipe_name("mid");
    let near_server = ["-p", "-c", &format!("tcp:server=localhost,port={port}"), "-s", &format!("npipe:pipe={name}")];
    let _first = Repeater::start(&near_server, directory.path());
    let mut second = Repeater::start(&["-c", &format!("npipe:pipe={name}"), "-s", "tcp:port=0"], directory.path());
    let mut running = Running::start("sleep", &["1000"]);
    let transport = format!("tcp:server=localhost,port={}", second.port());
    let wrong = format!("{transport},password=wrong");
    let output = cdb(&wrong, running.pid(), "q").output().unwrap();
    assert!(said(&output).contains("authentication failed"), "{}", said(&output));
    // The server rejected: the repeater without -p ends, the one with it stays.
    assert_eq!(second.wait(), Some(0));
    let second = Repeater::start(&["-p", "-c", &format!("npipe:pipe={name}"), "-s", "tcp:port=0"], directory.path());
    let transport = format!("tcp:server=localhost,port={},password=Xy12", second.port());
    for _ in 0..2 {
        let output = cdb(&transport, running.pid(), "k;q").output().unwrap();
        assert!(output.status.success() && said(&output).contains("Child-SP"), "{}", said(&output));
    }
    wait_until("the program is let go", LIMIT, || is_free(running.pid()));
    assert!(running.is_running() && text_differences(running.pid()).is_empty());
}

#[test]
fn a_killed_repeater_breaks_links_that_another_resumes_and_harms_no_program() {
    let directory = tempfile::tempdir().unwrap();
    let server = ProcessServer::start_with(&["-t", "tcp:port=0", "--grace", "5"]);
    let port = server.connection().split(['=', ',']).nth(1).unwrap().to_owned();
    let to_server = format!("tcp:server=localhost,port={port}");
    let repeater = Repeater::start(&["-c", &to_server, "-s", "tcp:port=0"], directory.path());
    let mut running = Running::start("sleep", &["1000"]);
    let transport = format!("tcp:server=localhost,port={}", repeater.port());
    let mut client = cdb(&transport, running.pid(), ".echo it stands")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(client.stdout.take().unwrap());
    let mut output = String::new();
    while !output.contains("it stands") {
        assert_ne!(stdout.read_line(&mut output).unwrap(), 0, "{output}");
    }
    assert!(!is_free(running.pid()));
    repeater.signal("KILL");
    // Another one at the same place, and the session goes on.
    let again = Repeater::start(&["-c", &to_server, "-s", &format!("tcp:port={}", repeater.port())], directory.path());
    let mut commands = client.stdin.take().unwrap();
    commands.write_all(b".tlist; .echo still there\n").unwrap();
    while !output.contains("still there") {
        assert_ne!(stdout.read_line(&mut output).unwrap(), 0, "{output}");
    }
    assert!(!is_free(running.pid()));
    again.signal("KILL");
    wait_until("the program is let go", LIMIT, || is_free(running.pid()));
    drop(commands.write_all(b".tlist\n"));
    drop(commands);
    stdout.read_to_string(&mut output).unwrap();
    assert!(output.contains(" is lost: "), "{output}");
    assert_eq!(client.wait().unwrap().code(), Some(3), "{output}");
    assert!(running.is_running() && text_differences(running.pid()).is_empty());
}

#[test]
fn check_13_a_serial_line_towards_the_server() {
    let line = SerialLine::start(10).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let server = ProcessServer::start_on(&format!("com:port={},baud=115200,channel=3", line.device(0)));
    assert!(server.connection().contains("Channel=3"));
    let to_server = format!("com:port={},baud=115200,channel=3", line.device(1));
    let mut repeater = Repeater::start(&["-c", &to_server, "-s", "tcp:port=0"], directory.path());
    let running = Running::start("sleep", &["1000"]);
    let transport = format!("tcp:server=localhost,port={}", repeater.port());
    let output = cdb(&transport, running.pid(), "k;q").output().unwrap();
    assert!(output.status.success() && said(&output).contains("Child-SP"), "{}", said(&output));
    assert_eq!(repeater.wait(), Some(0));
}

#[test]
fn check_13_a_serial_line_towards_the_client() {
    let line = SerialLine::start(10).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let server = ProcessServer::start_on("tcp:port=0,password=Xy12");
    let port = server.connection().split(['=', ',']).nth(1).unwrap().to_owned();
    let to_server = format!("tcp:server=localhost,port={port}");
    let clients = format!("com:port={},baud=115200,channel=7", line.device(0));
    let mut repeater = Repeater::start(&["-p", "-c", &to_server, "-s", &clients], directory.path());
    let running = Running::start("sleep", &["1000"]);
    let transport = format!("com:port={},baud=115200,channel=7,password=Xy12", line.device(1));
    for _ in 0..2 {
        let output = cdb(&transport, running.pid(), "k;q").output().unwrap();
        assert!(output.status.success() && said(&output).contains("Child-SP"), "{}", said(&output));
    }
    wait_until("the program is let go", LIMIT, || is_free(running.pid()));
    assert!(repeater.is_running(), "with -p it outlives its clients and the server's connections");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server that dials; its certificates, and those of debuggers that it is to find, are in the directory.
fn dialling(transport: &str, directory: &Path) -> Child {
    let mut command = Command::new(program("dbgsrv"));
    command.args(["-t", transport]).env("XDG_CONFIG_HOME", directory).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_server_that_dials_is_waited_for_while_a_client_is_there_and_again_for_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let waiting = format!("tcp:port={port},clicon=localhost");
    let repeater = Repeater::start(&["-p", "-c", &waiting, "-s", "tcp:port=0"], directory.path());
    // Without a client nobody waits there: a server would wait in vain.
    assert_eq!(TcpStream::connect(("127.0.0.1", port)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    // A client that has gone again leaves nothing behind.
    drop(repeater.connect());
    wait_until("the client is forgotten", LIMIT, || repeater.says("gone before the server came"));
    let mut running = Running::start("sleep", &["1000"]);
    let transport = format!("tcp:server=localhost,port={},password=Xy12", repeater.port());
    for _ in 0..2 {
        let mut server = dialling(&format!("tcp:port={port},clicon=127.0.0.1,password=Xy12"), directory.path());
        let output = cdb(&transport, running.pid(), "k;q").output().unwrap();
        assert!(output.status.success() && said(&output).contains("Child-SP"), "{}", said(&output));
        assert!(server.wait().unwrap().success(), "its only session is over");
    }
    assert!(running.is_running() && text_differences(running.pid()).is_empty());
}

#[test]
fn a_chain_may_be_reversed_from_end_to_end_and_encrypted() {
    let directory = tempfile::tempdir().unwrap();
    let (near, far) = (free_port(), free_port());
    let mut running = Running::start("sleep", &["1000"]);
    let mut repeater = Repeater::start(
        &["-c", &format!("tcp:port={far},clicon=localhost"), "-s", &format!("tcp:port={near},clicon=127.0.0.1")],
        directory.path(),
    );
    wait_until("it dials in vain", LIMIT, || repeater.says("trying again until the debugger is there"));
    let mut client = cdb(&format!("ssl:port={near},clicon=localhost"), running.pid(), "r rip; q");
    client.env("XDG_CONFIG_HOME", directory.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = client.spawn().unwrap();
    let mut errors = BufReader::new(client.stderr.take().unwrap()).lines().map(Result::unwrap);
    let line = errors.find(|line| line.contains("there: dbgsrv -t ")).unwrap();
    // What the client wants pasted, but for the port: between the two is the repeater.
    let line = line.split(" -t ").nth(1).unwrap().replace(&format!("Port={near}"), &format!("Port={far}"));
    let mut server = dialling(&line, directory.path());
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success() && said(&output).contains("rip="), "{}", said(&output));
    assert!(server.wait().unwrap().success());
    assert_eq!(repeater.wait(), Some(0), "with its only client");
    wait_until("the program is let go", LIMIT, || is_free(running.pid()));
    assert!(running.is_running() && text_differences(running.pid()).is_empty());
}
