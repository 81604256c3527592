//! Serial lines through the public calls: what is shared, what ends when, what is refused. The line's protocol has its
//! own tests; whole sessions over a bad line are among `cdb`'s.
#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]

use std::io::{Read, Write};
use std::time::Duration;

use outpost_testkit::{SerialLine, wait_until};
use outpost_transport::{ClientTransport, Connection, Listener, Peer, ServerTransport, TransportError};

const LIMIT: Duration = Duration::from_secs(30);

fn listen(line: &SerialLine, end: usize, channel: u8) -> Listener {
    let text = format!("com:port={},baud=115200,channel={channel}", line.device(end));
    Listener::bind(&text.parse::<ServerTransport>().unwrap()).unwrap()
}

fn connect_at(line: &SerialLine, baud: u32, channel: u8) -> Result<Connection, TransportError> {
    let text = format!("com:port={},baud={baud},channel={channel}", line.device(1));
    text.parse::<ClientTransport>().unwrap().connect()
}

fn connect(line: &SerialLine, channel: u8) -> Result<Connection, TransportError> {
    connect_at(line, 115_200, channel)
}

fn accept(listener: &Listener) -> Connection {
    let mut accepted = None;
    wait_until("a client comes", LIMIT, || {
        accepted = listener.accept().unwrap();
        accepted.is_some()
    });
    accepted.unwrap()
}

fn read(mut connection: &Connection, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    connection.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn bytes_and_last_words_cross_a_bad_line() {
    let line = SerialLine::start(20).unwrap();
    let listener = listen(&line, 0, 9);
    assert_eq!(listener.transport().to_string(), listener.client_transports()[0].to_string());
    assert!(listener.accept().unwrap().is_none(), "accept does not block");
    for round in 0..2_u8 {
        let client = connect(&line, 9).unwrap();
        let server = accept(&listener);
        assert_eq!((client.peer(), server.peer()), (Peer::Serial { channel: 9 }, Peer::Serial { channel: 9 }));
        let bytes: Vec<u8> = (0..3000_u32).map(|at| (at % 251) as u8 ^ round).collect();
        (&client).write_all(&bytes).unwrap();
        client.end_writing();
        let mut arrived = Vec::new();
        (&server).read_to_end(&mut arrived).unwrap();
        assert_eq!(arrived, bytes);
        (&server).write_all(b"last words").unwrap();
        drop(server);
        assert_eq!(read(&client, 10), b"last words");
        assert_eq!((&client).read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn a_reader_that_stalls_holds_up_no_other_channel() {
    let line = SerialLine::start(0).unwrap();
    let listeners = [listen(&line, 0, 1), listen(&line, 0, 2)];
    let clients = [connect(&line, 1).unwrap(), connect(&line, 2).unwrap()];
    let servers = listeners.each_ref().map(accept);
    clients[0].set_nonblocking(true).unwrap();
    // More than buffers hold: the writer is held up, whoever reads nothing.
    let mut written = 0_u64;
    wait_until("the writer is held up", LIMIT, || {
        let mut held_up = false;
        while !held_up {
            match (&clients[0]).write(&[1; 4096]) {
                Ok(count) => written += count as u64,
                Err(_) => held_up = true,
            }
        }
        std::thread::sleep(Duration::from_millis(50));
        (&clients[0]).write(&[1]).is_err()
    });
    assert!(written < 4 << 20, "{written} bytes are held for nobody");
    (&clients[1]).write_all(&[2; 5000]).unwrap();
    assert_eq!(read(&servers[1], 5000), [2; 5000]);
    (&servers[0]).write_all(b"the other way").unwrap();
    clients[0].set_nonblocking(false).unwrap();
    assert_eq!(read(&clients[0], 13), b"the other way");
    // A closed connection is over even though nobody reads what it said.
    drop(servers);
    wait_until("the writer finds out", LIMIT, || (&clients[0]).write(&[1]).is_err());
}

#[test]
fn refusals_say_why() {
    let line = SerialLine::start(0).unwrap();
    let listener = listen(&line, 0, 5);
    let error = connect(&line, 6).unwrap_err().to_string();
    assert_eq!(error, format!("channel 6 of {}: no server listens on it at the other end", line.device(1)));
    let client = connect(&line, 5).unwrap();
    let own = std::process::id();
    let error = connect(&line, 5).unwrap_err().to_string();
    assert_eq!(error, format!("channel 5 of {}: it is in use by process {own}", line.device(1)));
    let error = connect_at(&line, 9600, 7).unwrap_err().to_string();
    assert!(error.contains(&format!("open at 115200 baud, by process {own}")), "{error}");
    drop((client, listener));
    let error = "com:port=/dev/null,baud=9600,channel=1".parse::<ClientTransport>().unwrap().connect().unwrap_err();
    assert!(error.to_string().contains("/dev/null"), "{error}");
    let error = "com:port=/dev/no-such-tty,baud=9600,channel=1".parse::<ClientTransport>().unwrap().connect();
    assert!(error.unwrap_err().to_string().contains("open /dev/no-such-tty"));
}

#[test]
fn a_listener_outlives_its_line_and_says_so_once() {
    let mut line = SerialLine::start(0).unwrap();
    let listener = listen(&line, 0, 5);
    let client = connect(&line, 5).unwrap();
    let server = accept(&listener);
    (&client).write_all(b"last words").unwrap();
    assert_eq!(read(&server, 10), b"last words");
    line.cut();
    assert_eq!((&server).read(&mut [0]).unwrap(), 0);
    assert_eq!((&client).read(&mut [0]).unwrap(), 0);
    let mut error = String::new();
    wait_until("the loss is told", LIMIT, || match listener.accept() {
        Ok(client) => client.is_some(),
        Err(lost) => {
            error = lost.to_string();
            true
        }
    });
    assert!(error.contains("is gone") && error.contains("tried again every second"), "{error}");
    assert!(listener.accept().unwrap().is_none());
}

#[test]
fn a_line_is_given_up_when_nobody_uses_it() {
    let line = SerialLine::start(0).unwrap();
    let is_free = |end: usize| {
        let file = std::fs::File::open(line.device(end)).unwrap();
        file.try_lock().is_ok()
    };
    let listener = listen(&line, 0, 5);
    let client = connect(&line, 5).unwrap();
    assert!(!is_free(0) && !is_free(1));
    drop(client);
    drop(listener);
    wait_until("the devices are free", LIMIT, || is_free(0) && is_free(1));
}

#[test]
fn any_rate_can_be_set() {
    // 250,000 baud is none of the customary rates.
    let line = SerialLine::start(0).unwrap();
    let text = format!("com:port={},baud=250000,channel=1", line.device(0));
    let listener = Listener::bind(&text.parse::<ServerTransport>().unwrap()).unwrap();
    assert!(listener.accept().unwrap().is_none());
}
