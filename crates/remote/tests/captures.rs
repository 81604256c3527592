//! What client and server of a release said to each other, kept as bytes: a later release must still speak so.
//!
//! `captures/RELEASE/client` and `captures/RELEASE/server` are the two directions of one conversation over a scripted
//! target. The client's requests are given to this release's session: it must answer them with the same frames. What the
//! server sent must be read by this release's client. Handshakes have random numbers and the release's name in them, and
//! proofs over both, so of those each side reads what the other began with.

#![expect(clippy::unwrap_used, reason = "a failure in a test helper fails the test")]

mod common;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use common::*;
use outpost_base::*;
use outpost_remote::{Options, RemoteTarget};
use outpost_server::{NoSuperior, SessionEnd, SessionSetup, serve_session};
use outpost_target::*;
use outpost_transport::Connection;
use outpost_wire::*;

const SALT: &[u8] = b"salt of captures";

/// The target of all captures; a release that changes it breaks those of before.
fn target() -> Scripted {
    let (mut target, script) = Scripted::new(3);
    target.fake.memory = vec![(Va(0x10_0000), (0..64).collect())];
    script.after_plan(Event::Stopped(bundle(2, StopReason::Breakpoint { ids: vec![BreakpointId(4)] }, 3)));
    target
}

/// Serves one connection, with what is random otherwise given.
fn serve_captured(connection: Connection) -> SessionEnd {
    let mut handshake = ServerHandshake::new(Key::derive("", SALT, 1), SALT, [2; 32]).offering_resume(true);
    let mut reader = FrameReader::new(HANDSHAKE_FRAME);
    let open = loop {
        while !reader.has_frame().unwrap() {
            assert!(reader.fill_exactly_from(&mut &connection).unwrap() > 0);
        }
        match handshake.handle(&reader.next_frame().unwrap().unwrap()) {
            ServerStep::Send(payload) => (&connection)
                .write_all(&frame_bytes(Header { request: OPEN_REQUEST, ..Header::default() }, payload))
                .unwrap(),
            ServerStep::Open(open) => break open,
            other => panic!("{other:?}"),
        }
    };
    serve_session(connection, &mut target(), setup(open.agreed), &mut NoSuperior)
}

fn setup(agreed: Agreed) -> SessionSetup {
    SessionSetup {
        session: 7,
        token: vec![9; 16],
        request: OPEN_REQUEST,
        agreed,
        command_line: vec!["./daemon".into()],
        on_lost: OnLost::Hold(None),
    }
}

/// The conversation, as a client holds it: one thing after the other, so that it is the same each time.
fn converse(remote: &mut RemoteTarget) {
    let stop = remote.attach(PROCESS, AttachMode::Invasive { break_in: true }, &BundleRequest::default()).unwrap();
    assert_eq!(stop.unwrap().generation, StopGeneration(1));
    assert_eq!(remote.threads(PROCESS).unwrap().len(), 3);
    let mut bytes = [0; 8];
    assert_eq!(remote.read_memory(SPACE, Va(0x10_0004), &mut bytes).unwrap(), 8);
    assert_eq!(remote.write_many(SPACE, &[WriteRequest { at: Va(0x10_0000), bytes: vec![1, 2, 3] }]).unwrap(), [3]);
    assert!(remote.registers_many(&[ThreadId(101)], RegisterSets { floating: true, debug: true }).is_ok());
    assert_eq!(remote.change_breakpoints(&[BreakpointChange::Set(breakpoint())]).unwrap().len(), 1);
    remote.resume(&Plan::run_all(StopGeneration(1))).unwrap();
    assert!(matches!(event(remote), Event::Stopped(stop) if stop.generation == StopGeneration(2)));
    assert!(matches!(remote.resume(&Plan::run_all(StopGeneration(1))), Err(TargetError::StaleGeneration { .. })));
    assert!(matches!(remote.open_file(None, "/none"), Err(TargetError::File { .. })));
    assert_eq!(remote.adjust_suspend(&[THREAD], 1).unwrap(), [1]);
    assert!(matches!(remote.sessions(), Err(TargetError::Unsupported { .. })));
    assert_eq!(remote.clock().unwrap(), (1, 2));
    remote.detach(PROCESS, DetachMode::Deliver).unwrap();
}

/// Copies one direction, and keeps it.
fn copy(from: Connection, to: Connection) -> (std::thread::JoinHandle<()>, Arc<Mutex<Vec<u8>>>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeping = Arc::clone(&kept);
    let thread = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = (&from).read(&mut buffer) {
            keeping.lock().unwrap().extend_from_slice(&buffer[..count]);
            let _ = (&to).write_all(&buffer[..count]);
        }
        to.shutdown();
    });
    (thread, kept)
}

/// Both directions of the conversation: client's, server's.
fn record() -> (Vec<u8>, Vec<u8>) {
    let ((near, near_proxy), (far_proxy, far)) = (Connection::pair().unwrap(), Connection::pair().unwrap());
    let server = std::thread::spawn(move || serve_captured(far));
    let (to_server, client_bytes) = copy(near_proxy.try_clone().unwrap(), far_proxy.try_clone().unwrap());
    let (to_client, server_bytes) = copy(far_proxy, near_proxy);
    let (mut remote, session) = RemoteTarget::open(near, Options::default()).unwrap();
    assert_eq!(session.command_line, ["./daemon"]);
    converse(&mut remote);
    drop(remote);
    assert_eq!(server.join().unwrap(), SessionEnd::Closed, "by its goodbye");
    to_server.join().unwrap();
    to_client.join().unwrap();
    let take = |bytes: Arc<Mutex<Vec<u8>>>| std::mem::take(&mut *bytes.lock().unwrap());
    (take(client_bytes), take(server_bytes))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures")
}

/// The conversations that are kept, oldest release first: client's bytes, server's bytes.
fn captures() -> Vec<(String, Vec<u8>, Vec<u8>)> {
    if std::env::var_os("OUTPOST_WRITE_CAPTURE").is_some() {
        let own = folder().join(RELEASE);
        let (client, server) = record();
        std::fs::create_dir_all(&own).unwrap();
        std::fs::write(own.join("client"), client).unwrap();
        std::fs::write(own.join("server"), server).unwrap();
    }
    let folders = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = folders.filter(|path| path.is_dir()).collect();
    folders.sort();
    let read = |path: &PathBuf, name: &str| std::fs::read(path.join(name)).unwrap();
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    folders.iter().map(|path| (name(path), read(path, "client"), read(path, "server"))).collect()
}

/// Frames of a stream, with owned parts.
fn frames(mut bytes: &[u8]) -> Vec<(Header, Vec<u8>, Vec<u8>)> {
    let mut reader = FrameReader::new(MAX_FRAME);
    let mut frames = Vec::new();
    loop {
        while let Some(frame) = reader.next_frame().unwrap() {
            frames.push((frame.header, frame.message.to_vec(), frame.tail.to_vec()));
        }
        if reader.fill_from(&mut bytes).unwrap() == 0 {
            assert!(reader.is_empty(), "whole frames only");
            return frames;
        }
    }
}

/// Frames before this one belong to the handshake.
fn starts_session(frames: &[(Header, Vec<u8>, Vec<u8>)], kind: Kind) -> usize {
    frames.iter().position(|(header, ..)| header.kind == kind.number()).unwrap()
}

#[test]
fn this_release_holds_its_own_conversation_as_it_is_kept() {
    let (_, _, kept) = captures().into_iter().find(|(release, ..)| release == RELEASE).expect("its own is kept");
    let (_, server) = record();
    let session = |bytes: &[u8]| {
        let all = frames(bytes);
        all[starts_session(&all, Kind::SessionOpened)..].to_vec()
    };
    assert!(session(&server) == session(&kept), "the server of this release answers otherwise than it did");
}

#[test]
fn clients_of_every_kept_release_are_answered_as_they_were() {
    for (release, client, server) in captures() {
        let (asked, said) = (frames(&client), frames(&server));
        let mut handshake = ServerHandshake::new(Key::derive("", SALT, 1), SALT, [2; 32]).offering_resume(true);
        let (hello, message, tail) = &asked[0];
        let step = handshake.handle(&Frame { header: *hello, message, tail });
        assert!(matches!(step, ServerStep::Send(_)), "{release}: {step:?}");

        let (near, far) = Connection::pair().unwrap();
        let agreed = Agreed { version: 1, frame_bytes: MAX_FRAME, requests: MAX_REQUESTS, resume: true };
        let serving = std::thread::spawn(move || serve_session(far, &mut target(), setup(agreed), &mut NoSuperior));
        let opened = starts_session(&said, Kind::SessionOpened);
        let mut reader = FrameReader::new(MAX_FRAME);
        let mut answers = said[opened..].iter();
        // Takes the next answer in; gives its number.
        let mut next = |reader: &mut FrameReader| {
            let (header, message, tail) = answers.next()?;
            while !reader.has_frame().unwrap() {
                assert!(reader.fill_from(&mut &near).unwrap() > 0, "{release}: the session ended before its answers");
            }
            let got = reader.next_frame().unwrap().unwrap();
            assert_eq!(got.header, *header, "{release}");
            assert!(
                got.message == message && got.tail == tail,
                "{release}: {:#06x} is answered otherwise",
                header.kind
            );
            Some(header.event)
        };
        next(&mut reader);
        let mut seen = 0;
        let open = starts_session(&asked, Kind::OpenSession);
        for (header, message, tail) in &asked[open + 1..] {
            // It had this when it asked.
            while seen < header.seen {
                seen = seen.max(next(&mut reader).unwrap());
            }
            let mut bytes = header.encode(message.len(), tail.len()).unwrap().to_vec();
            bytes.extend_from_slice(message);
            bytes.extend_from_slice(tail);
            (&near).write_all(&bytes).unwrap();
        }
        while next(&mut reader).is_some() {}
        assert_eq!(serving.join().unwrap(), SessionEnd::Closed, "{release}");
    }
}

#[test]
fn servers_of_every_kept_release_are_understood() {
    for (release, client, server) in captures() {
        let (asked, said) = (frames(&client), frames(&server));
        let wish = Wish::Open { take_command_line: false, on_lost: None, opening: Opening::default() };
        let (mut handshake, _) = ClientHandshake::start("", [1; 32], Identity::default(), wish);
        let (hello, message, tail) = &said[0];
        let step = handshake.handle(&Frame { header: *hello, message, tail }).unwrap();
        assert!(matches!(step, ClientStep::Send { agreed, .. } if agreed.resume), "{release}: {step:?}");

        let kind_of = |request: RequestId| {
            let asked = asked.iter().find(|(header, ..)| header.request == request && header.kind > 0x0100);
            asked.map(|(header, ..)| Kind::of(header.kind).unwrap())
        };
        let mut numbers = 0;
        let opened = starts_session(&said, Kind::SessionOpened);
        for (header, message, tail) in &said[opened + 1..] {
            let frame = Frame { header: *header, message, tail };
            match kind_of(header.request) {
                Some(kind) => drop(decode_reply(kind, &frame).unwrap()),
                None => drop(decode_event(&frame).unwrap()),
            }
            if header.event != 0 {
                numbers += 1;
                assert_eq!(header.event, numbers, "{release}: numbers without a gap");
            }
        }
        assert!(numbers > 5, "{release}: there are events and acting replies in it");
    }
}
