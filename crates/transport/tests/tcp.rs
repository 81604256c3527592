//! TCP listeners and connections on loopback.

#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use outpost_transport::{ClientTransport, Connection, Listener, Peer, ServerTransport, TransportError};

fn listen(text: &str) -> Result<Listener, TransportError> {
    Listener::bind(&text.parse::<ServerTransport>().unwrap())
}

fn accept(listener: &Listener) -> Connection {
    for _ in 0..500 {
        match listener.accept().unwrap() {
            Some(connection) => return connection,
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    panic!("nobody came")
}

fn round_trip(listener: &Listener) {
    let [transport] = &listener.client_transports()[..] else { panic!("one address") };
    let text = transport.to_string();
    let client = text.parse::<ClientTransport>().unwrap().connect().unwrap();
    let server = accept(listener);
    let Peer::Address(address) = server.peer() else { panic!("{:?}", server.peer()) };
    assert!(address.ip().is_loopback());
    (&client).write_all(b"over there").unwrap();
    let mut buf = [0; 10];
    (&server).read_exact(&mut buf).unwrap();
    assert_eq!(&buf, b"over there");
}

#[test]
fn ipv4_and_ipv6_loopback() {
    round_trip(&listen("tcp:port=0").unwrap());
    match listen("tcp:port=0,ipversion=6") {
        Ok(listener) => round_trip(&listener),
        // A machine without IPv6 refuses the address; the grammar is tested elsewhere.
        Err(error) => assert!(error.to_string().contains("listen on ::1"), "{error}"),
    }
}

#[test]
fn a_range_gives_its_first_free_port_and_is_listed_with_its_end() {
    // Two neighbouring ports, the first of which is taken.
    let (_taken, first) = loop {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        if port < 65_000 && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            break (taken, port);
        }
    };
    let listener = listen(&format!("tcp:port={first}:{}", first + 1)).unwrap();
    assert_eq!(listener.transport().to_string(), format!("tcp:Port={}", first + 1));
    round_trip(&listener);
    let error = listen(&format!("tcp:port={first}:{}", first + 1)).unwrap_err();
    assert_eq!(error.to_string(), format!("no free port on 127.0.0.1 in {first} to {}", first + 1));
}

#[test]
fn other_machines_need_a_password() {
    let error = listen("tcp:port=0,bind=0.0.0.0").unwrap_err();
    assert!(matches!(error, TransportError::PasswordRequired { .. }), "{error}");
    let listener = listen("tcp:port=0,bind=0.0.0.0,password=Xy12").unwrap();
    assert!(listener.transport().is_beyond_this_machine());
    let named = listener.client_transports();
    assert!(!named.is_empty() && named.iter().all(|transport| !transport.to_string().contains("0.0.0.0")), "{named:?}");
}

#[test]
fn a_refused_connection_names_the_address() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let transport: ClientTransport = format!("tcp:server=127.0.0.1,port={port}").parse().unwrap();
    let error = transport.connect().unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot connect to 127.0.0.1:{port}: Connection refused")), "{error}");
}

#[test]
fn a_crowd_waits_in_the_queue_and_nobody_is_told_to_come_again() {
    let most: usize = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
    // Beyond what is usual for a queue, and with two descriptors each still below the usual limit of 1,024.
    let crowd = most.min(400);
    for text in ["tcp:port=0", "tcp:port=0,ipversion=6"] {
        let transport: ServerTransport = text.parse().unwrap();
        // A machine without IPv6 refuses the address.
        let Ok(listener) = Listener::bind(&transport) else { continue };
        let [ClientTransport::Tcp(to)] = &listener.client_transports()[..] else { panic!("one address") };
        let address = SocketAddr::new(to.server.parse().unwrap(), to.port);
        // Whoever finds the queue full gets no answer, however often it asks.
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_secs(20)).unwrap();
        let waiting: Vec<TcpStream> = (0..crowd).map(connect).collect();
        assert_eq!(waiting.len(), crowd);
    }
}
