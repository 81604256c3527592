//! The ways: each is a test, so that they run beside one another.

use std::cell::RefCell;
use std::process::Command;
use std::time::Duration;

use outpost_ptrace::LiveTarget;
use outpost_remote::{Options, RemoteTarget};
use outpost_server::{NoSuperior, serve_connection};
use outpost_testkit::link::DelayLink;
use outpost_testkit::{SerialLine, Sshd, program, sleeper_in_its_own_network};
use outpost_transport::{ClientTransport, Connection, ReverseListener};

use crate::common::{Server, dbgsrv};
use crate::suite::{conforms, conforms_with};

/// Over what a debugger is given behind `-premote`.
fn conforms_over(way: &str, transport: &str) {
    let transport: ClientTransport = transport.parse().unwrap();
    conforms(way, &|| Box::new(RemoteTarget::connect(&transport, Options::default()).unwrap().0));
}

/// Over what a server that listens there says to type.
fn conforms_listening(way: &str, transport: &str) {
    let server = Server::start(&["-t", transport]);
    conforms_over(way, &server.client_string());
}

/// A name for a pipe that nobody else uses: the runtime directory is shared.
fn pipe_name(suffix: &str) -> String {
    format!("conformance-{}-{suffix}", std::process::id())
}

/// A client of a tracer in another thread of this process.
pub(crate) fn over_a_pair(options: Options) -> RemoteTarget {
    let (near, far) = Connection::pair().unwrap();
    std::thread::spawn(move || {
        let mut target = LiveTarget::new("<Local>").unwrap();
        serve_connection(far, "", &mut target, &mut NoSuperior)
    });
    RemoteTarget::open(near, options).unwrap().0
}

#[test]
fn in_this_process() {
    conforms("direct", &|| Box::new(LiveTarget::new("<Local>").unwrap()));
}

#[test]
fn over_memory() {
    conforms("memory", &|| Box::new(over_a_pair(Options::default())));
}

#[test]
fn over_tcp() {
    conforms_listening("tcp", "tcp:port=0");
}

#[test]
fn over_npipe() {
    conforms_listening("npipe", &format!("npipe:pipe={}", pipe_name("plain")));
}

#[test]
fn over_ssl() {
    conforms_listening("ssl", "ssl:port=0,bind=localhost");
}

#[test]
fn over_spipe() {
    conforms_listening("spipe", &format!("spipe:pipe={}", pipe_name("tls")));
}

#[test]
fn over_a_slow_link() {
    let server = Server::start(&["-t", "tcp:port=0"]);
    let link = DelayLink::start(server.port(), Duration::from_millis(50)).unwrap();
    conforms_over("50 ms", &format!("tcp:server=127.0.0.1,port={}", link.port()));
}

#[test]
fn over_com_on_a_bad_line() {
    let line = SerialLine::start(5).unwrap();
    let at = |end| format!("com:port={},baud=115200,channel=3", line.device(end));
    let _server = Server::start(&["-t", &at(0)]);
    let transport: ClientTransport = at(1).parse().unwrap();
    // A bad line carries little, and a larger file shows no more than this one.
    let make = || Box::new(RemoteTarget::connect(&transport, Options::default()).unwrap().0) as Box<_>;
    conforms_with("com", 30_000, &make);
}

#[test]
fn over_ssh() {
    /// Set in this test's second process, whose ssh knows the sshd.
    const SERVER: &str = "OUTPOST_TEST_SSH_SERVER";
    let program = dbgsrv().get_program().to_str().unwrap().to_owned();
    if std::env::var_os(SERVER).is_some() {
        return conforms_over("ssh", &format!("ssh:server=alder,path={program}"));
    }
    let Some(sshd) = Sshd::start() else { return };
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.env(SERVER, "alder").env("PATH", sshd.search_path());
    let output = again.args(["--exact", "links::over_ssh", "--nocapture"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn over_exec_through_sh() {
    let program = dbgsrv().get_program().to_str().unwrap().to_owned();
    conforms_over("exec sh", &format!("exec:sh -c 'exec {program} --stdio'"));
}

#[test]
fn over_exec_through_nsenter() {
    let Some(inside) = sleeper_in_its_own_network() else { return };
    let program = dbgsrv().get_program().to_str().unwrap().to_owned();
    conforms_over("exec nsenter", &format!("exec:nsenter -t {} -n -- {program} --stdio", inside.pid()));
}

#[test]
fn over_a_chain_of_repeaters() {
    let server = Server::start(&["-t", "tcp:port=0"]);
    let repeat = |from: &str, to: &str| {
        let repeater = Server::spawn(Command::new(program("dbengprx")).args(["-p", "-c", from, "-s", to]));
        repeater.wait_for_line("connect with:");
        repeater
    };
    let near_server = repeat(&server.client_string(), &format!("npipe:pipe={}", pipe_name("chain")));
    let near_client = repeat(&near_server.client_string(), "tcp:port=0");
    conforms_over("dbengprx", &near_client.client_string());
}

#[test]
fn over_reverse() {
    reverse("tcp:port=0,clicon=127.0.0.1");
}

#[test]
fn over_encrypted_reverse() {
    reverse(&format!("spipe:pipe={},clicon=.", pipe_name("reverse")));
    reverse("ssl:port=0,clicon=127.0.0.1");
}

/// The suite over connections that a server makes.
fn reverse(waiting: &str) {
    let ended = RefCell::new(Vec::new());
    conforms("reverse", &|| {
        let ClientTransport::Reverse(listen) = waiting.parse().unwrap() else { panic!() };
        let listener = ReverseListener::bind(&listen).unwrap();
        let dial = listener.counterparts().remove(0).to_string();
        ended.borrow_mut().push(Server::spawn(dbgsrv().args(["-t", &dial])));
        let connection = listener.accept(&mut |other, why| panic!("{other}: {why}")).unwrap();
        Box::new(RemoteTarget::open(connection, Options::default()).unwrap().0)
    });
    // Each server was for one debugger.
    assert!(ended.borrow_mut().iter_mut().all(|server| server.wait().success()));
}
