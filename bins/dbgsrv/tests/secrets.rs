//! Passwords and certificates: what is shown to whom, what is refused, and what guessing, replaying and flooding get.

#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]

mod common;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{LIMIT, Server, dbgsrv};
use outpost_remote::{Options, RemoteError, RemoteTarget};
use outpost_target::Os;
use outpost_testkit::wait_until;
use outpost_transport::ClientTransport;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Resource, getrlimit, setrlimit};

fn open(transport: &str) -> Result<RemoteTarget, String> {
    let transport: ClientTransport = transport.parse().map_err(|error| format!("{error}"))?;
    RemoteTarget::connect(&transport, Options::default()).map(|(target, _)| target).map_err(|error| error.to_string())
}

#[test]
fn the_quick_start_needs_nothing_and_says_what_to_paste() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let server = Server::spawn(dbgsrv().env("XDG_CONFIG_HOME", folder.path()));
        server.wait_for_line("connect with:");
        server
    };
    let server = start();
    let key = folder.path().join("outpost/certificates/dbgsrv.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let first = server.client_string();
    assert!(first.starts_with("ssl:Port=") && first.contains(",CertUser="), "{first}");
    assert!(open(&first).unwrap().clock().is_ok());
    // One line for each address, all of them good.
    let lines = || server.log().into_iter().filter(|line| line.contains("connect with: cdb -premote ssl:"));
    for line in lines() {
        let text = line.split(' ').nth(5).unwrap().to_owned();
        assert!(open(&text).is_ok(), "{text}");
    }
    // What is listed does not have the password, and a guess does not get in.
    let password = first.split_once("Password=").unwrap().1;
    assert!(password.len() >= 13 && !server.wait_for_line("listening on").contains(password));
    let error = open(&first.replace(password, "q7wk-2m9x-4tbn-8hrs")).err().unwrap();
    assert!(error.contains("authentication failed") && error.contains("0x80004005"), "{error}");
    let error = open(first.split_once(",Password=").unwrap().0).err().unwrap();
    assert!(error.contains("authentication failed"), "{error}");
    // The certificate is kept, the password is not.
    let again = start().client_string();
    let thumbprint = |text: &str| text.split_once("CertUser=").unwrap().1[..64].to_owned();
    assert_eq!(thumbprint(&again), thumbprint(&first));
    assert!(!again.contains(password));
}

#[test]
fn a_password_is_only_in_the_line_to_paste_if_nobody_knows_it_otherwise() {
    let shown = |transport: &str| {
        let server = Server::start(&["-t", transport]);
        assert!(server.log().iter().all(|line| !line.contains("s3cret")), "{:#?}", server.log());
        server.client_string()
    };
    assert!(shown("ssl:port=0,password=s3cret").ends_with(",Password=*"));
    assert!(!shown("ssl:port=0,bind=localhost").contains("Password"));
    assert!(shown("ssl:port=0").contains(",Password="));
    let thumbprint = "AB".repeat(32);
    let line = shown(&format!("ssl:port=0,clientcert={thumbprint}"));
    assert!(line.ends_with(",ClientCert=NAME") && !line.contains("Password"), "{line}");
}

#[test]
fn a_password_may_be_in_a_file_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "s3cret, with a comma\nsecond line\n").unwrap();
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o600);
    let from_file = format!("password=@{}", path.display());
    let server = Server::start(&["-t", &format!("ssl:port=0,bind=localhost,{from_file}")]);
    let line = server.transport_without_password();
    assert!(open(&format!("{line},{from_file}")).unwrap().clock().is_ok());
    assert!(open(&format!("{line},password=@{{s3cret, with a comma}}")).unwrap().clock().is_ok());
    let error = open(&format!("{line},password=@{{{from_file}}}")).err().unwrap();
    assert!(error.contains("authentication failed"), "{error}");
    assert!(server.log().iter().all(|line| !line.contains("s3cret")), "{:#?}", server.log());
    // What others can read is no secret, on either side.
    mode(0o644);
    let error = open(&format!("{line},{from_file}")).err().unwrap();
    assert!(error.contains("others can read or change it: chmod 600"), "{error}");
    let mut refused = Server::spawn(dbgsrv().args(["-t", &format!("tcp:port=0,{from_file}")]));
    assert_eq!(refused.wait().code(), Some(1));
    refused.wait_for_line("others can read or change it: chmod 600");
    let mut refused = Server::spawn(dbgsrv().args(["-t", &format!("tcp:port=1,clicon=127.0.0.1,{from_file}")]));
    assert_eq!(refused.wait().code(), Some(1), "nobody is dialled");
}

#[test]
fn passwords_are_not_in_the_process_list() {
    let long = format!("@{{{}, \u{e4}{{x}}}}", "long ".repeat(100));
    let server = Server::start(&["-t", &format!("tcp:port=0,password={long}"), "-pc", "prog", "password=Xy12secret"]);
    let listed = || String::from_utf8(std::fs::read(format!("/proc/{}/cmdline", server.pid())).unwrap()).unwrap();
    assert!(listed().contains("tcp:port=0,password=**") && !listed().contains("long") && !listed().contains("Xy12"));
    let text = format!("{},password={long}", server.transport_without_password());
    let (_, session) =
        RemoteTarget::connect(&text.parse().unwrap(), Options { take_command_line: true, ..Options::default() })
            .unwrap();
    assert_eq!(session.command_line, ["prog", "password=Xy12secret"], "what is to be started is as it was given");
    for worker in server.workers() {
        let listed = std::fs::read(format!("/proc/{worker}/cmdline")).unwrap();
        assert!(!String::from_utf8_lossy(&listed).contains("password"));
    }
}

#[test]
fn a_client_names_the_certificate_or_is_told_to() {
    let server = Server::start(&["-t", "ssl:port=0,bind=localhost"]);
    let text = server.client_string();
    let mut other = server.connect();
    let error = open(text.split_once(",CertUser=").unwrap().0).err().unwrap();
    assert!(error.contains("certuser=THUMBPRINT") && error.contains("the line to paste"), "{error}");
    let wrong = "0".repeat(64);
    let right = text.split_once("CertUser=").unwrap().1[..64].to_owned();
    let error = open(&text.replace(&right, &wrong)).err().unwrap();
    assert!(error.contains(&right) && error.contains("was not named"), "{error}");
    server.wait_for_line("did not accept the certificate");
    assert!(other.clock().is_ok());
    // As people paste them; of the other store, which plays no part in it.
    let spaced: Vec<String> = right.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into()).collect();
    assert!(open(&text.replace(&right, &spaced.join(" ").to_lowercase())).is_ok());
    assert!(open(&text.replace("CertUser", "machuser").replace(&right, &spaced.join(":"))).is_ok());
    // Plain against encrypted, both ways round.
    let error = open(&format!("tcp:server=127.0.0.1,port={}", server.port())).err().unwrap();
    server.wait_for_line("does not speak TLS");
    assert!(error.contains("protocol") || error.contains("closed") || error.contains("frame"), "{error}");
    let plain = Server::start(&["-t", "tcp:port=0"]);
    let error = open(&format!("ssl:server=127.0.0.1,port={},certuser={right}", plain.port())).err().unwrap();
    assert!(error.contains("no encrypted connection"), "{error}");
}

#[test]
fn a_client_certificate_is_an_identity() {
    // The client's certificate is made beside the server's, since both are programs of this test.
    let folder = tempfile::tempdir().unwrap();
    let maker = Server::spawn(dbgsrv().env("XDG_CONFIG_HOME", folder.path()));
    let thumbprint = maker.client_string().split_once("CertUser=").unwrap().1[..64].to_owned();
    let transport = format!("ssl:port=0,clientcert={thumbprint}");
    let server = Server::spawn(dbgsrv().env("XDG_CONFIG_HOME", folder.path()).args(["-t", &transport]));
    let line = server.client_string();
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.env("XDG_CONFIG_HOME", folder.path()).env("OUTPOST_TEST_CONNECT", line.replace("NAME", "dbgsrv"));
    let output = command.args(["--exact", "helper_that_connects", "--nocapture"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let opened = server.wait_for_line("opened for");
    assert!(opened.contains(&format!("certificate {thumbprint}")), "{opened}");
    let error = open(line.split_once(",ClientCert=").unwrap().0).err().unwrap();
    assert!(error.contains("add clientcert="), "{error}");
    server.wait_for_line("showed no certificate");
    // Another one than the server was told of.
    let strange = tempfile::tempdir().unwrap();
    let _maker = Server::spawn(dbgsrv().env("XDG_CONFIG_HOME", strange.path())).client_string();
    command.env("XDG_CONFIG_HOME", strange.path());
    assert!(!command.output().unwrap().status.success());
    server.wait_for_line("the certificate of the other end is not accepted");
    assert_eq!(server.log().iter().filter(|line| line.contains("opened for")).count(), 1, "{:#?}", server.log());
}

/// Started by the test above with a certificate store of its own.
#[test]
fn helper_that_connects() {
    if let Ok(line) = std::env::var("OUTPOST_TEST_CONNECT") {
        assert!(open(&line).unwrap().clock().is_ok());
    }
}

/// A relay that keeps what the client said; only the first connection is passed on.
fn recorder(to: u16) -> (u16, Arc<Mutex<Vec<u8>>>) {
    relay(to, |_| {})
}

/// The same, with what the client says changed on the way.
fn relay(to: u16, change: impl Fn(&mut [u8]) + Send + 'static) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = Arc::new(Mutex::new(Vec::new()));
    let saying = Arc::clone(&said);
    std::thread::spawn(move || {
        let (near, _) = listener.accept().unwrap();
        let far = TcpStream::connect(("127.0.0.1", to)).unwrap();
        let (mut back_from, mut back_to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut back_from, &mut back_to));
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = (&near).read(&mut buffer) {
            change(&mut buffer[..count]);
            saying.lock().unwrap().extend(&buffer[..count]);
            if (&far).write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = far.shutdown(std::net::Shutdown::Write);
    });
    (port, said)
}

#[test]
fn what_was_recorded_is_of_no_use_again() {
    for (transport, words) in [
        ("tcp:port=0,password=Xy12", "refused: authentication failed"),
        ("ssl:port=0,bind=localhost,password=Xy12", "127.0.0.1"),
    ] {
        let server = Server::start(&["-t", transport]);
        let mut other = open(&(server.transport_without_password().to_string() + ",Password=Xy12")).unwrap();
        let (port, said) = recorder(server.port());
        let text = server.transport_without_password().to_string();
        let relayed = text.replace(&format!("Port={}", server.port()), &format!("Port={port}")) + ",Password=Xy12";
        let mut remote = open(&relayed).unwrap();
        assert!(remote.clock().is_ok());
        drop(remote);
        server.wait_for_line("session 2: ended by the client");
        let recorded = said.lock().unwrap().clone();
        let mut again = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        let place = again.local_addr().unwrap();
        again.write_all(&recorded).unwrap();
        again.set_read_timeout(Some(LIMIT)).unwrap();
        let mut answer = Vec::new();
        let _ = again.read_to_end(&mut answer);
        let line = server.wait_for_line(&place.to_string());
        assert!(line.contains(words) && !line.contains("opened"), "{line}");
        assert!(server.log().iter().all(|line| !line.contains("session 3")), "{:#?}", server.log());
        assert!(other.clock().is_ok());
    }
}

#[test]
fn a_hello_that_was_weakened_on_the_way_opens_nothing() {
    let server = Server::start(&["-t", "tcp:port=0,password=Xy12"]);
    let mut other = server.try_connect("Xy12").unwrap();
    // Somebody between the two takes away what both can do.
    let (port, said) = relay(server.port(), |bytes| {
        if let Some(at) = bytes.windows(6).position(|word| word == b"resume") {
            bytes[at] = b'x';
        }
    });
    let error = open(&format!("tcp:server=127.0.0.1,port={port},password=Xy12")).err().unwrap();
    assert!(said.lock().unwrap().windows(6).any(|word| word == b"xesume"), "it was changed");
    assert!(error.contains("authentication failed"), "{error}");
    server.wait_for_line("refused: authentication failed");
    assert!(server.log().iter().all(|line| !line.contains("session 2")), "{:#?}", server.log());
    assert!(other.clock().is_ok());
}

/// Connects from another address of loopback, as another machine would.
fn from(address: [u8; 4], port: u16) -> TcpStream {
    let (stream, connected) = begin_from(address, port, SocketFlags::empty());
    connected.unwrap();
    stream
}

/// The same; what does not block has only begun to connect.
fn begin_from(address: [u8; 4], port: u16, flags: SocketFlags) -> (TcpStream, rustix::io::Result<()>) {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::new(IpAddr::from(address), 0)).unwrap();
    let connected = rustix::net::connect(&socket, &SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    (socket.into(), connected)
}

#[test]
fn guessing_closes_its_source_and_nobody_elses() {
    let server = Server::start(&["-t", "tcp:port=0,password=Xy12"]);
    let mut other = server.try_connect("Xy12").unwrap();
    let guess = |from: TcpStream, password: &str| -> Result<RemoteTarget, RemoteError> {
        let options = Options { password: password.into(), ..Options::default() };
        RemoteTarget::open(from.into(), options).map(|(target, _)| target)
    };
    // All at once: one is looked at.
    let guesses: Vec<_> = (0..8)
        .map(|_| {
            let stream = from([127, 0, 0, 7], server.port());
            let options = Options { password: "wrong".into(), ..Options::default() };
            std::thread::spawn(move || RemoteTarget::open(stream.into(), options).err().unwrap().to_string())
        })
        .collect();
    let errors: Vec<String> = guesses.into_iter().map(|guess| guess.join().unwrap()).collect();
    let looked_at = errors.iter().filter(|error| error.contains("authentication failed")).count();
    let refused = errors.iter().filter(|error| error.contains("too many wrong passwords")).count();
    assert_eq!(looked_at + refused, 8, "{errors:?}");
    assert!(refused > 0, "{errors:?}");
    // While its source is closed, the right one is not looked at either; from elsewhere it is.
    let wrong = from([127, 0, 0, 7], server.port());
    let guessing = std::thread::spawn(move || {
        RemoteTarget::open(wrong.into(), Options { password: "wrong".into(), ..Options::default() }).is_err()
    });
    let refused = loop {
        match guess(from([127, 0, 0, 7], server.port()), "Xy12") {
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    assert!(refused.contains("too many wrong passwords: try again in"), "{refused}");
    assert!(guess(from([127, 0, 0, 8], server.port()), "Xy12").unwrap().clock().is_ok());
    assert!(guessing.join().unwrap());
    assert!(other.clock().is_ok());
}

/// Resident memory of a process in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Memory that a server and its workers take, in KiB: their proportional set sizes (proc_pid_smaps_rollup(5)).
fn memory(server: &Server) -> u64 {
    let of = |pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap())
    };
    of(server.pid()) + server.workers().into_iter().map(of).sum::<u64>()
}

#[test]
fn a_flood_of_half_open_connections_is_in_its_own_way_only() {
    const FLOOD: usize = 10_000;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit }).unwrap();
    // As many as may be open here at once; beyond that in waves.
    let at_once = limit.maximum.map_or(FLOOD, |most| most as usize / 2).min(FLOOD);
    let [.., third, fourth] = std::process::id().to_be_bytes();
    for (number, transport) in ["tcp:port=0", "ssl:port=0,bind=localhost"].into_iter().enumerate() {
        let server = Server::start(&["-t", transport]);
        let mut earlier = server.connect();
        let before = memory(&server);
        // Each run has an address of its own, since ports that were used stay taken for a while.
        let (source, port) = ([127, 1 + number as u8, third, fourth], server.port());
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let flood = std::thread::spawn(move || {
            let mut silent = VecDeque::new();
            for number in 0..FLOOD {
                // Whom the kernel's queue has no place for comes again by itself.
                let (stream, _) = begin_from(source, port, SocketFlags::NONBLOCK);
                if number % 3 == 0 {
                    // The beginning of a handshake, and then nothing. It may not be connected, or closed already.
                    let _ = (&stream).write_all(b"\x16\x03\x01\x02\x00");
                }
                silent.push_back(stream);
                if silent.len() > at_once {
                    silent.pop_front();
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
            silent
        });
        // Those who come meanwhile get in and work, and so does who was there.
        let (mut served, mut most) = (0, 0);
        while made.load(Ordering::Relaxed) < FLOOD {
            assert!(!flood.is_finished() || made.load(Ordering::Relaxed) == FLOOD, "the flood failed");
            assert!(server.connect().clock().is_ok() && earlier.clock().is_ok());
            served += 1;
            most = most.max(memory(&server));
        }
        let silent = flood.join().unwrap();
        let mut later = server.connect();
        most = most.max(memory(&server));
        println!("{transport}: {before} KiB, {most} KiB with {FLOOD} half-open connections; {served} served meanwhile");
        assert!(served > 0 && most < before + (24 << 10), "{before} KiB, {most} KiB");
        assert!(later.clock().is_ok() && earlier.clock().is_ok());
        let is_stranger = |line: &&String| line.contains("made no use of its place") || line.contains("refused: ");
        let lines = || server.log().iter().filter(is_stranger).count();
        wait_until("the flood is told of", LIMIT, || lines() > 0);
        assert!(lines() < 200, "{} lines", lines());
        drop(silent);
        wait_until("the pumps end", LIMIT, || threads(server.pid()) <= 1 + 2);
    }
}

fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

#[test]
fn an_idle_encrypted_session_takes_little_more_than_a_plain_one() {
    let resident_with = |transport: &str| {
        let server = Server::start(&["-t", transport]);
        let _warm = server.connect();
        let before = resident(server.pid());
        let sessions: Vec<_> = (0..20).map(|_| server.connect()).collect();
        (resident(server.pid()).saturating_sub(before)) / sessions.len() as u64
    };
    let (plain, encrypted) = (resident_with("tcp:port=0"), resident_with("ssl:port=0,bind=localhost"));
    println!("the guardian grows by {plain} KiB for a plain session, {encrypted} KiB for an encrypted one");
    assert!(encrypted <= plain + 1024, "{plain} {encrypted}");
}
