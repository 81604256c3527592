//! Both ends against each other, and each against strangers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConnection, StreamOwned};

use super::store::{Pair, load_or_make};
use super::*;

/// A connected pair on loopback.
fn network() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn pair(directory: &Path, name: &str) -> Pair {
    load_or_make(directory, name).unwrap()
}

/// The server's near end, with the certificate `server` of the folder.
fn serve(directory: &Path, network: TcpStream, clients: &[Thumbprint]) -> Connection {
    let listen = TlsListen { clients: clients.to_vec(), ..TlsListen::default() };
    let config = config::server_of(pair(directory, "server"), &listen).unwrap();
    pump::serve(network.into(), config, Arc::new(())).unwrap()
}

fn client_config(directory: &Path, own: Option<Pair>) -> Arc<ClientConfig> {
    config::client_of(pair(directory, "server").thumbprint(), own).unwrap()
}

/// Client and server, the handshake behind them.
fn both(directory: &Path) -> (Connection, Connection) {
    let (client, server) = network();
    let server = serve(directory, server, &[]);
    (connect(client.into(), client_config(directory, None)).unwrap(), server)
}

fn read_all(mut connection: &Connection) -> (Vec<u8>, Result<(), String>) {
    let mut bytes = Vec::new();
    let end = connection.read_to_end(&mut bytes);
    (bytes, end.map(drop).map_err(|error| error.to_string()))
}

#[test]
fn both_ends_know_their_channel_and_no_other_has_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut bindings = Vec::new();
    for _ in 0..2 {
        let (client, server) = both(folder.path());
        (&client).write_all(b"over there").unwrap();
        let mut buffer = [0; 10];
        (&server).read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"over there");
        assert_eq!(client.channel_binding().len(), 32);
        assert_eq!(client.channel_binding(), server.channel_binding());
        assert_eq!(client.try_clone().unwrap().channel_binding(), server.channel_binding());
        assert_eq!(client.peer_certificate(), Some(pair(folder.path(), "server").thumbprint()));
        assert_eq!(server.peer_certificate(), None);
        assert!(matches!(server.peer(), crate::Peer::Address(_)));
        bindings.push(client.channel_binding().to_vec());
    }
    assert_ne!(bindings[0], bindings[1]);
}

#[test]
fn much_crosses_both_ways_at_once_and_nothing_is_lost_at_the_end() {
    const LEN: usize = 8 << 20;
    let folder = tempfile::tempdir().unwrap();
    let (client, server) = both(folder.path());
    let pattern = |seed: usize| (0..LEN).map(|at| (at * 31 + at / 7919 + seed) as u8).collect::<Vec<u8>>();
    let say = move |connection: Connection, seed| {
        let reader = connection.try_clone().unwrap();
        let writing = thread::spawn(move || {
            (&connection).write_all(&pattern(seed)).unwrap();
            connection.end_writing();
        });
        let heard = read_all(&reader);
        writing.join().unwrap();
        heard
    };
    let there = thread::spawn(move || say(server, 2));
    assert!(say(client, 1) == (pattern(2), Ok(())), "what the server said");
    assert!(there.join().unwrap() == (pattern(1), Ok(())), "what the client said");
}

#[test]
fn last_words_arrive_though_their_end_is_closed_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let words = vec![7; 300_000];
    let (client, server) = both(folder.path());
    let hearing = thread::spawn(move || read_all(&client));
    (&server).write_all(&words).unwrap();
    drop(server);
    assert!(hearing.join().unwrap() == (words.clone(), Ok(())));
    // A client's process may end as soon as its connection is dropped.
    let (client, server) = both(folder.path());
    let hearing = thread::spawn(move || read_all(&server));
    (&client).write_all(&words).unwrap();
    drop(client);
    assert!(hearing.join().unwrap() == (words, Ok(())));
}

#[test]
fn one_direction_goes_on_when_the_other_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (client, server) = both(folder.path());
    (&client).write_all(b"question").unwrap();
    client.end_writing();
    assert_eq!(read_all(&server), (b"question".to_vec(), Ok(())));
    (&server).write_all(b"answer").unwrap();
    drop(server);
    assert_eq!(read_all(&client), (b"answer".to_vec(), Ok(())));
}

#[test]
fn another_certificate_is_refused_with_its_thumbprint() {
    let folder = tempfile::tempdir().unwrap();
    let (client, server) = network();
    let server = serve(folder.path(), server, &[]);
    let shown = pair(folder.path(), "server").thumbprint().to_string();
    let config = config::client_of(pair(folder.path(), "other").thumbprint(), None).unwrap();
    let error = connect(client.into(), config).unwrap_err().to_string();
    assert!(error.contains("not accepted") && error.contains(&shown), "{error}");
    let (_, end) = read_all(&server);
    assert!(end.unwrap_err().contains("did not accept the certificate"));
}

/// A self-signed certificate that differs from those made here.
fn made(change: impl FnOnce(&mut rcgen::CertificateParams)) -> Pair {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    change(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    Pair { chain: vec![certificate.der().clone()], key }
}

/// What a client that names this very certificate says of a server that shows it without a look at it.
fn is_taken(pair: Pair) -> Result<(), String> {
    let config = config::client_of(pair.thumbprint(), None).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
    let server = server.unwrap().with_no_client_auth().with_single_cert(pair.chain, pair.key).unwrap();
    let (client, far) = network();
    let serving = thread::spawn(move || {
        let tls = ServerConnection::new(Arc::new(server)).unwrap();
        let _ = StreamOwned::new(tls, far).read(&mut [0]);
    });
    let connected = connect(client.into(), config);
    let result = connected.map(drop).map_err(|error| error.to_string());
    serving.join().unwrap();
    result
}

#[test]
fn certificates_that_are_named_must_be_good_in_themselves() {
    is_taken(made(|_| ())).unwrap();
    // As `openssl req -x509` makes them.
    is_taken(made(|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained))).unwrap();
    let expired = || made(|params| params.not_after = rcgen::date_time_ymd(2001, 1, 1));
    let error = is_taken(expired()).unwrap_err();
    assert!(error.contains("not accepted") && error.contains("expired"), "{error}");
    let early = made(|params| params.not_before = rcgen::date_time_ymd(4000, 1, 1));
    let error = is_taken(early).unwrap_err();
    assert!(error.contains("not valid yet"), "{error}");
    let client_only = made(|params| params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth]);
    assert!(is_taken(client_only).is_err());
    // A server does not even begin with it.
    let error = config::server_of(expired(), &TlsListen::default()).unwrap_err().to_string();
    assert!(error.contains("expired"), "{error}");
    // Nor with the key of another certificate.
    let mixed = Pair { key: made(|_| ()).key, ..made(|_| ()) };
    let error = config::server_of(mixed, &TlsListen::default()).unwrap_err().to_string();
    assert!(error.contains("do not belong together"), "{error}");
}

#[test]
fn clients_are_let_in_by_their_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let own = || pair(folder.path(), "ada");
    let attempt = |own: Option<Pair>, admitted: &[Thumbprint]| {
        let (client, server) = network();
        let server = serve(folder.path(), server, admitted);
        let client = connect(client.into(), client_config(folder.path(), own)).unwrap();
        // A client is through with the handshake before its certificate is looked at, so it may be able to say something.
        let _ = (&client).write_all(b"x").map(|()| client.end_writing());
        let (said, end) = read_all(&server);
        let identity = server.peer_certificate();
        drop(server);
        (said, end.map(|()| identity), read_all(&client).1)
    };
    let ada = own().thumbprint();
    assert_eq!(attempt(Some(own()), &[ada]), (b"x".to_vec(), Ok(Some(ada)), Ok(())));
    let other = pair(folder.path(), "other").thumbprint();
    let (said, server, client) = attempt(Some(own()), &[other]);
    assert!(said.is_empty() && server.clone().unwrap_err().contains(&ada.to_string()), "{server:?}");
    assert!(client.clone().unwrap_err().contains("did not accept"), "{client:?}");
    let (said, server, client) = attempt(None, &[ada]);
    assert!(said.is_empty() && server.unwrap_err().contains("showed no certificate"));
    assert!(client.clone().unwrap_err().contains("add clientcert="), "{client:?}");
}

/// A client hello without any version but TLS 1.2 in it (RFC 5246, 7.4.1.2).
fn tls12_hello() -> Vec<u8> {
    let extensions: &[u8] = &[
        0, 10, 0, 4, 0, 2, 0, 23, // groups: secp256r1
        0, 11, 0, 2, 1, 0, // point formats
        0, 13, 0, 4, 0, 2, 4, 3, // signatures: ecdsa_secp256r1_sha256
    ];
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    // No session; TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256; no compression.
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0, 0, extensions.len() as u8]);
    body.extend(extensions);
    let mut hello = vec![22, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
    hello.extend(body);
    hello
}

#[test]
fn older_protocols_and_garbage_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |said: &[u8]| {
        let (mut client, server) = network();
        let server = serve(folder.path(), server, &[]);
        client.write_all(said).unwrap();
        let (_, end) = read_all(&server);
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        (end.unwrap_err(), answer)
    };
    let (error, answer) = refused(&tls12_hello());
    assert!(error.contains("TLS 1.3"), "{error}");
    // A fatal alert: protocol_version (RFC 8446, 6.2).
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 70]);
    for garbage in
        [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"\xff\xff\xff\xff and a lot of it", &[22, 3, 1, 0, 4, 9, 9, 9, 9]]
    {
        let (error, _) = refused(garbage);
        assert!(error.contains("does not speak TLS"), "{error}");
    }
    // The other way round: a client that meets no TLS, or nobody.
    for said in [&b"Outpost\n"[..], b""] {
        let (client, mut server) = network();
        let answering = thread::spawn(move || {
            server.write_all(said).unwrap();
            let _ = server.read(&mut [0; 4096]);
        });
        let error = connect(client.into(), client_config(folder.path(), None)).unwrap_err().to_string();
        assert!(error.contains("does not speak TLS") || error.contains("closed the connection"), "{error}");
        answering.join().unwrap();
    }
}

#[test]
fn a_stream_that_is_cut_off_is_told_from_one_that_ends() {
    let folder = tempfile::tempdir().unwrap();
    // A relay that passes on whole, then just stops.
    let (client, relay_client) = network();
    let (relay_server, server) = network();
    let server = serve(folder.path(), server, &[]);
    let cutting = relay_client.try_clone().unwrap();
    for (mut from, mut to) in [
        (relay_client.try_clone().unwrap(), relay_server.try_clone().unwrap()),
        (relay_server.try_clone().unwrap(), relay_client.try_clone().unwrap()),
    ] {
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Both);
        });
    }
    let client = connect(client.into(), client_config(folder.path(), None)).unwrap();
    (&client).write_all(b"so far").unwrap();
    let mut buffer = [0; 6];
    (&server).read_exact(&mut buffer).unwrap();
    cutting.shutdown(std::net::Shutdown::Both).unwrap();
    for end in [&client, &server] {
        let (said, end) = read_all(end);
        assert!(said.is_empty() && end.unwrap_err().contains("cut off"));
    }
}

#[test]
fn a_pump_ends_with_either_side_and_at_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let config = config::server_of(pair(folder.path(), "server"), &TlsListen::default()).unwrap();
    let acceptor = Acceptor {
        config,
        certificate: CertificateName { store: Store::User, which: Which::File("server".into()) },
        pumps: Arc::new(()),
    };
    let all_ended = || {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while Arc::strong_count(&acceptor.pumps) > 1 {
            assert!(std::time::Instant::now() < end, "{} pumps are left", Arc::strong_count(&acceptor.pumps) - 1);
            thread::sleep(std::time::Duration::from_millis(2));
        }
    };
    // Nobody says anything, and the place is taken away; the client goes without a word.
    let (client, server) = network();
    let near = acceptor.wrap(server.into()).unwrap().unwrap();
    drop(near);
    all_ended();
    assert_eq!((&client).read(&mut [0]).unwrap(), 0);
    let (client, server) = network();
    let near = acceptor.wrap(server.into()).unwrap().unwrap();
    drop(client);
    assert_eq!(read_all(&near).0, b"");
    all_ended();
    // Half a hello, and the place is taken away.
    let (mut client, server) = network();
    client.write_all(&tls12_hello()[..20]).unwrap();
    let near = acceptor.wrap(server.into()).unwrap().unwrap();
    thread::sleep(std::time::Duration::from_millis(20));
    drop(near);
    all_ended();
    // A session whose client does not read: its near end is closed, and its words are not waited for endlessly.
    let (client, server) = network();
    let near = acceptor.wrap(server.into()).unwrap().unwrap();
    let client = connect(client.into(), client_config(folder.path(), None)).unwrap();
    near.set_nonblocking(true).unwrap();
    while (&near).write(&[0; 65536]).is_ok() {}
    drop(near);
    all_ended();
    drop(client);
}
