//! A session with one hostile end: what its fuzz targets call, and the tests that replay their seeds.

#![allow(dead_code, reason = "each fuzz target uses a half")]

use std::io::Write;
use std::time::Duration;

use outpost_base::{ThreadId, Va};
use outpost_remote::{Options, RemoteTarget};
use outpost_server::{NoSuperior, SessionEnd, SessionSetup, serve_session};
use outpost_target::fake::FakeTarget;
use outpost_target::*;
use outpost_transport::Connection;
use outpost_wire::*;

use super::common::*;

/// Longest input that is looked at: what the socket between the two ends holds without anybody reading.
const MAX_INPUT: usize = 48 << 10;
/// Longest frame that the hostile client takes.
const FRAME: usize = 64 << 10;

fn target() -> Scripted {
    let (mut target, script) = Scripted::new(3);
    target.fake.memory = vec![(Va(0x10_0000), (0..64).collect())];
    script.after_plan(Event::Stopped(bundle(2, StopReason::Breakpoint { ids: vec![BreakpointId(4)] }, 3)));
    target
}

/// Gives a session on a scripted target what `data` holds behind its first byte, as its client's bytes, and reads what it
/// answers. The first byte says whether the client knows sessions that outlive their link, and what becomes of this one.
/// Gives how many frames were answered, and how the session ended.
///
/// # Panics
/// If what the server sends is not in frames of the length the client takes, or if it panics: that is looked for.
pub(crate) fn server_session(data: &[u8]) -> (usize, SessionEnd) {
    let (mode, data) = data.split_first().map_or((0, data), |(&mode, rest)| (mode, rest));
    let (near, far) = Connection::pair().expect("a socket pair");
    let setup = SessionSetup {
        session: 7,
        token: vec![9; 16],
        request: OPEN_REQUEST,
        agreed: Agreed { version: 1, frame_bytes: FRAME, requests: MAX_REQUESTS, resume: mode & 1 == 0 },
        command_line: vec!["./daemon".into()],
        on_lost: match mode >> 1 & 3 {
            0 => OnLost::Detach,
            1 => OnLost::Kill,
            2 => OnLost::Run(None),
            _ => OnLost::Hold(None),
        },
    };
    let serving = std::thread::spawn(move || serve_session(far, &mut target(), setup, &mut NoSuperior));
    (&near).write_all(&data[..data.len().min(MAX_INPUT)]).ok();
    near.end_writing();
    let mut reader = FrameReader::new(FRAME);
    let mut answers = 0;
    while matches!(reader.fill_from(&mut &near), Ok(1..)) {
        while reader.next_frame().expect("frames that the client takes").is_some() {
            answers += 1;
        }
    }
    (answers, serving.join().expect("no panic"))
}

/// Opens a session with an honest server that turns hostile: `data` is what it says from then on, up to the next answer
/// whenever something is asked, and all that is left when that is no frame any more. The client asks one thing after the
/// other, whatever it gets. Gives how many of its questions got an answer that it believed.
///
/// # Panics
/// If the client does: that is looked for.
pub(crate) fn client_session(data: &[u8]) -> usize {
    let (near, far) = Connection::pair().expect("a socket pair");
    let hostile = data[..data.len().min(MAX_INPUT)].to_vec();
    let serving = std::thread::spawn(move || turn_hostile(&far, Answers { data: &hostile, event: 0 }));
    let (mut remote, _) = RemoteTarget::open(near, Options::default()).expect("the handshake is honest");
    let believed = ask_everything(&mut remote);
    drop(remote);
    serving.join().expect("no panic");
    believed
}

/// What a hostile server has left to say.
struct Answers<'a> {
    data: &'a [u8],
    /// Highest number of an event or a reply so far.
    event: u64,
}

impl Answers<'_> {
    /// Up to the next answer and the events behind it.
    fn next(&mut self) -> &[u8] {
        let (mut end, mut answered) = (0, false);
        loop {
            let mut reader = FrameReader::new(MAX_FRAME);
            let mut source = &self.data[end..];
            while matches!(reader.has_frame(), Ok(false)) && matches!(reader.fill_from(&mut source), Ok(1..)) {}
            let Ok(Some(frame)) = reader.next_frame() else {
                end = self.data.len();
                break;
            };
            let (is_answer, len) = (frame.header.kind >= 0x8000, frame.len());
            if is_answer && answered {
                break;
            }
            // What the client has it drops, and waits on.
            let is_new = frame.header.event == 0 || frame.header.event > self.event;
            self.event = self.event.max(frame.header.event);
            answered |= is_answer && is_new;
            end += len;
        }
        self.data.split_off(..end).unwrap_or_default()
    }
}

/// Opens a session for the client at the other end, then says what it was given and nothing more.
fn turn_hostile(mut far: &Connection, mut answers: Answers<'_>) {
    let mut handshake =
        ServerHandshake::new(Key::derive("", b"salt", 1), b"salt", [2; NONCE_LEN]).offering_resume(true);
    let mut reader = FrameReader::new(MAX_REQUEST_FRAME);
    let mut is_open = false;
    loop {
        let mut out = Vec::new();
        while let Some(frame) = reader.next_frame().expect("an honest client") {
            if is_open {
                out.extend(answers.next());
                continue;
            }
            match handshake.handle(&frame) {
                ServerStep::Send(payload) => out.extend(frame_bytes(Header::default(), payload)),
                ServerStep::Open(open) => {
                    let header = Header { request: open.request, ..Header::default() };
                    out.extend(frame_bytes(header, encode_opened(opened())));
                    is_open = true;
                }
                other => panic!("{other:?}"),
            }
        }
        // A client that has seen through it may be gone.
        let _ = far.write_all(&out);
        if is_open && answers.data.is_empty() {
            far.end_writing();
        }
        if !matches!(reader.fill_from(&mut far), Ok(1..)) {
            return;
        }
    }
}

fn opened() -> Opened {
    Opened {
        session: 7,
        token: vec![9; 16],
        info: FakeTarget::with_threads(3).info().clone(),
        capabilities: Capabilities { live: true, breakpoints: true, os: true, ..Capabilities::default() },
        stop: None,
        command_line: Vec::new(),
        grace: Duration::from_secs(60),
    }
}

/// Everything that a client may ask, once; and the events there are.
fn ask_everything(remote: &mut RemoteTarget) -> usize {
    let mut believed = 0;
    let mut count = |answered: bool| believed += usize::from(answered);
    let request = BundleRequest::default();
    count(remote.attach(PROCESS, AttachMode::Invasive { break_in: true }, &request).is_ok());
    count(remote.threads(PROCESS).is_ok());
    count(remote.read_memory(SPACE, Va(0x10_0004), &mut [0; 8]).is_ok());
    count(remote.write_many(SPACE, &[WriteRequest { at: Va(0x10_0000), bytes: vec![1, 2, 3] }]).is_ok());
    count(remote.registers_many(&[ThreadId(101)], RegisterSets { floating: true, debug: true }).is_ok());
    count(remote.change_breakpoints(&[BreakpointChange::Set(breakpoint())]).is_ok());
    count(remote.resume(&Plan::run_all(StopGeneration(1))).is_ok());
    for _ in 0..100 {
        let Ok(Waited::Event(_)) = remote.wait_event(Some(Duration::ZERO), &[]) else { break };
        count(true);
        // What came with a stop is looked for in the cache.
        let _ = remote.read_memory(SPACE, Va(0x7000), &mut [0; 8]);
        let _ = remote.registers_many(&[THREAD], RegisterSets::default());
    }
    count(remote.resume(&Plan::run_all(StopGeneration(2))).is_ok());
    count(remote.open_file(None, "/none").is_ok());
    count(remote.adjust_suspend(&[THREAD], 1).is_ok());
    count(remote.sessions().is_ok());
    count(remote.clock().is_ok());
    count(remote.detach(PROCESS, DetachMode::Deliver).is_ok());
    count(remote.list_processes(&ProcessQuery::All, true).is_ok());
    count(remote.regions(PROCESS).is_ok());
    count(remote.modules(PROCESS).is_ok());
    believed
}
